//! `EXCEPT ALL` and `INTERSECT ALL`, which count rows: DataFusion's do not.
//!
//! `A EXCEPT ALL B` becomes the rows of `A` without those of `B`, each with a number among its equals: the third of a kind in `A` stays unless
//! there is a third of it in `B`.

use sqlparser::ast::{Query, SelectItem, SetExpr, SetOperator, SetQuantifier};

use super::super::error::{Error, Result};
use crate::parser::sql_text;

/// Rewords them everywhere in what a query is made of.
pub fn reword(body: &mut SetExpr) -> Result<()> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    reword(left)?;
    reword(right)?;
    if !matches!(op, SetOperator::Except | SetOperator::Intersect) || *set_quantifier != SetQuantifier::All {
        return Ok(());
    }
    let names = columns(left)?;
    let shown: Vec<String> = names.iter().enumerate().map(|(at, name)| format!("\"set:{at}\" AS {name}")).collect();
    let columns: Vec<String> = (0..names.len()).map(|at| format!("\"set:{at}\"")).collect();
    let columns = columns.join(", ");
    let numbered = |side: &SetExpr| {
        format!(
            "SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS \"set:number\" FROM ({}) AS \"set:side\" ({columns})",
            sql_text(side)
        )
    };
    let text = format!(
        "SELECT {} FROM ({} {op} {}) AS \"set:both\" ({columns}, \"set:number\")",
        shown.join(", "),
        numbered(left),
        numbered(right)
    );
    let Query { body: reworded, .. } = super::super::parse_query(&text)?;
    *body = *reworded;
    Ok(())
}

/// What the columns of a side are called, as SQL.
fn columns(side: &SetExpr) -> Result<Vec<String>> {
    let unknown = || Error::unsupported("EXCEPT ALL or INTERSECT ALL of a query with *").hint("Name its columns.");
    match side {
        SetExpr::Select(select) => {
            let name = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expression) => Ok(super::output_names::output_name(expression)),
                SelectItem::ExprWithAlias { alias, .. } => Ok(super::rewrite::normalized(alias)),
                _ => Err(unknown()),
            };
            let quoted = |name: String| format!("\"{}\"", name.replace('"', "\"\""));
            select.projection.iter().map(|item| name(item).map(quoted)).collect()
        }
        SetExpr::Query(query) => columns(&query.body),
        SetExpr::SetOperation { left, .. } => columns(left),
        SetExpr::Values(values) => {
            let count = values.rows.first().map_or(0, |row| row.len());
            Ok((1..=count).map(|at| format!("column{at}")).collect())
        }
        _ => Err(unknown()),
    }
}
