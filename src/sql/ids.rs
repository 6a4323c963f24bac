//! Ids of jobs and schedules, out of a query with one column.

use futures::TryStreamExt;
use sqlparser::ast::{SetExpr, Statement as Ast};

use super::context::Context;
use super::error::{Error, Result, code};
use super::query::{self, Visibility};
use super::settings::SessionSettings;
use super::show;
use crate::catalog::{ColumnType, Datum};
use crate::parser::Ordinary;

/// Whether a query is a list of values: ids that somebody has named one by one.
pub fn is_values(query: &Ordinary) -> bool {
    matches!(&query.ast, Ast::Query(query) if query.with.is_none() && matches!(*query.body, SetExpr::Values(_)))
}

/// The ids a query gives, each once, in order.
pub async fn of_query(
    context: &Context,
    query: &Ordinary,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Vec<i64>> {
    let Ast::Query(ast) = &query.ast else {
        return Err(Error::new(code::SYNTAX_ERROR, "ids come from a query"));
    };
    if query.as_of.is_some() {
        return Err(Error::unsupported("AS OF SYSTEM TIME in a query for ids"));
    }
    let extra = show::relations(context, &query.shows, settings, parameters).await?;
    let parameters = parameters.iter().map(|text| match text {
        Some(text) => match text.parse() {
            Ok(number) => (ColumnType::Int8, Datum::Int(number)),
            Err(_) => (ColumnType::Text, Datum::from(text.clone())),
        },
        None => (ColumnType::Int8, Datum::Null),
    });
    let mut bound = (**ast).clone();
    query::bind(&mut bound, &parameters.collect::<Vec<_>>())?;
    let planned = query::plan(context, &bound, &extra, Visibility::AsNamed).await?;
    let (columns, mut batches) = planned.run().await?;
    let [column] = &columns[..] else {
        return Err(Error::new(code::SYNTAX_ERROR, "the query must have one column, of ids"));
    };
    let mut ids = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for datum in super::arrays::assign(batch.column(0), &column.column_type, &ColumnType::Int8)? {
            ids.extend(datum.as_int());
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
