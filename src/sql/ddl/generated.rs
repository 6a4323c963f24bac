//! Columns that are computed from the others of their row and stored with it: `GENERATED ALWAYS AS (...) STORED`, and hidden ones with which
//! indexes are on expressions and on some rows only.

use std::collections::HashSet;

use sqlparser::ast::Expr;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::query::expression::{self, columns_named, compile, is_immutable, row_schema};
use super::super::query::has_subquery;
use super::super::types::pg_name;
use super::alter_column::can_assign;
use super::build::Computed;
use super::{named_column, stored};
use crate::catalog::{Column, ColumnId, ColumnType, TableDescriptor};
use crate::parser::sql_text;

/// What an expression is for, as errors say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A column that somebody declared.
    Column,
    /// What an index is sorted by.
    Index,
    /// Which rows an index has.
    Predicate,
}

/// Reads what the columns at these positions are computed from, when all columns of the table are known.
pub async fn settle(context: &Context, table: &mut TableDescriptor, positions: &[usize]) -> Result<()> {
    for &position in positions {
        let Some(sql) = table.columns[position].generated.clone() else { continue };
        let (sql, from) = settled(context, table, &expression::parse(&sql)?, Purpose::Column).await?;
        let column = &table.columns[position];
        if !can_assign(&from, &column.column_type) {
            let (wanted, given) = (pg_name(&column.column_type), pg_name(&from));
            let message =
                format!("column \"{}\" is of type {wanted} but default expression is of type {given}", column.name);
            return Err(Error::new(code::DATATYPE_MISMATCH, message));
        }
        table.columns[position].generated = Some(sql);
    }
    Ok(())
}

/// An expression over the columns of a table as it is kept, and its type.
async fn settled(
    context: &Context,
    table: &TableDescriptor,
    expression: &Expr,
    purpose: Purpose,
) -> Result<(String, ColumnType)> {
    if has_subquery(expression) {
        let message = match purpose {
            Purpose::Column => "cannot use subquery in column generation expression",
            Purpose::Index => "cannot use subquery in index expression",
            Purpose::Predicate => "cannot use subquery in index predicate",
        };
        return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message));
    }
    let mut expression = expression.clone();
    // It gets its parentheses wherever it is written.
    while let Expr::Nested(inner) = expression {
        expression = *inner;
    }
    stored::settle(context, table.database, &mut expression).await?;
    let sql = sql_text(&expression);
    if purpose == Purpose::Column {
        let named = columns_named(&sql);
        if let Some(other) =
            table.columns.iter().find(|column| column.generated.is_some() && named.contains(&column.name))
        {
            let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
            let detail = "A generated column cannot reference another generated column.";
            return Err(Error::new(code::INVALID_OBJECT_DEFINITION, message).detail(detail));
        }
    }
    let schema = row_schema(table);
    let context = &context.for_stored_values(table.database).await?;
    let compiled = compile(context, expression.clone(), &schema)?;
    if !is_immutable(context, expression, &schema)? {
        let message = match purpose {
            Purpose::Column => "generation expression is not immutable",
            Purpose::Index => "functions in index expression must be marked IMMUTABLE",
            Purpose::Predicate => "functions in index predicate must be marked IMMUTABLE",
        };
        return Err(Error::new(code::INVALID_OBJECT_DEFINITION, message));
    }
    Ok((sql, compiled.column_type))
}

/// A hidden column with the values of an expression: one that is there already, or a new one at the end.
pub async fn hidden(
    context: &Context,
    table: &mut TableDescriptor,
    expression: &Expr,
    purpose: Purpose,
) -> Result<ColumnId> {
    let (sql, column_type) = settled(context, table, expression, purpose).await?;
    if purpose == Purpose::Predicate && column_type != ColumnType::Bool {
        let message = format!("argument of WHERE must be type boolean, not type {}", pg_name(&column_type));
        return Err(Error::new(code::DATATYPE_MISMATCH, message));
    }
    let known = table.columns.iter().find(|column| column.hidden && column.generated.as_ref() == Some(&sql));
    if let Some(known) = known {
        return Ok(known.id);
    }
    let id = ColumnId(table.next_column);
    table.next_column += 1;
    // Nobody calls a column so.
    let name = format!("index expression {}", id.0);
    table.columns.push(Column { hidden: true, generated: Some(sql), ..Column::new(id, name, column_type) });
    Ok(id)
}

/// How to compute the columns of `new` that `old` does not have, from the rows of `old`.
pub async fn computed(context: &Context, old: &TableDescriptor, new: &TableDescriptor) -> Result<Vec<Computed>> {
    let context = &context.for_stored_values(new.database).await?;
    let mut computed = Vec::new();
    for (position, column) in new.columns.iter().enumerate() {
        if let (None, Some(sql)) = (old.column(column.id), &column.generated) {
            let value = compile(context, expression::parse(sql)?, &row_schema(old))?;
            computed.push(Computed { position, value });
        }
    }
    Ok(computed)
}

/// Takes out the hidden columns that no index has any more.
pub fn drop_unused(table: &mut TableDescriptor) {
    let used: HashSet<ColumnId> = table.all_indexes().flat_map(|index| index.all_columns()).collect();
    table.columns.retain(|column| !column.hidden || column.generated.is_none() || used.contains(&column.id));
}

/// The columns that are computed from the one with a name.
pub fn computed_from<'a>(table: &'a TableDescriptor, name: &str) -> Vec<&'a Column> {
    let uses = |column: &&Column| column.generated.as_ref().is_some_and(|sql| columns_named(sql).contains(name));
    table.columns.iter().filter(uses).collect()
}

/// Fails if a column is computed.
pub fn refuse(table: &TableDescriptor, name: &str) -> Result<()> {
    let id = named_column(table, name)?;
    if table.column(id).is_none_or(|column| column.generated.is_none()) {
        return Ok(());
    }
    let message = format!("column \"{name}\" of relation \"{}\" is a generated column", table.identity.name);
    Err(Error::new(code::SYNTAX_ERROR, message))
}
