//! Ids of jobs, schedules, statements and sessions, out of a query with one column.

use futures::TryStreamExt;
use sqlparser::ast::{SetExpr, Statement as Ast};

use super::context::Context;
use super::describe;
use super::error::{Error, Result, code};
use super::query::{self, Visibility};
use super::settings::SessionSettings;
use super::show;
use super::text;
use crate::catalog::{ColumnType, Datum};
use crate::parser::Ordinary;

/// Whether a query is a list of values: ids that somebody has named one by one.
pub fn is_values(query: &Ordinary) -> bool {
    matches!(&query.ast, Ast::Query(query) if query.with.is_none() && matches!(*query.body, SetExpr::Values(_)))
}

/// What the placeholders of a query for ids of a type stand for, if there is one.
pub async fn parameter_types(
    context: &Context,
    query: Option<&Ordinary>,
    id: &ColumnType,
    settings: &SessionSettings,
) -> Result<Vec<ColumnType>> {
    let Some(query) = query else { return Ok(Vec::new()) };
    if is_values(query) {
        return Ok(vec![id.clone(); describe::placeholders(&query.ast)]);
    }
    Ok(describe::describe_ordinary(context, query, settings, &[]).await?.parameters)
}

/// The numbers a query gives, each once, in order.
pub async fn of_query(
    context: &Context,
    query: &Ordinary,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Vec<i64>> {
    let values = values_of(context, query, &ColumnType::Int8, settings, parameters).await?;
    let mut ids: Vec<i64> = values.iter().filter_map(Datum::as_int).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The ids of a type that a query gives.
pub async fn values_of(
    context: &Context,
    query: &Ordinary,
    id: &ColumnType,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Vec<Datum<'static>>> {
    let Ast::Query(ast) = &query.ast else {
        return Err(Error::new(code::SYNTAX_ERROR, "ids come from a query"));
    };
    if query.as_of.is_some() {
        return Err(Error::unsupported("AS OF SYSTEM TIME in a query for ids"));
    }
    let extra = show::relations(context, &query.shows, settings, parameters).await?;
    let mut values = Vec::new();
    for (text, column_type) in parameters.iter().zip(parameter_types(context, Some(query), id, settings).await?) {
        let value = match text {
            Some(text) => text::parse(text, &column_type, context.zone())?,
            None => Datum::Null,
        };
        values.push((column_type, value));
    }
    let mut bound = (**ast).clone();
    query::bind(&mut bound, &values)?;
    let planned = query::plan(context, &bound, &extra, Visibility::AsNamed).await?;
    let (columns, mut batches) = planned.run().await?;
    let [column] = &columns[..] else {
        return Err(Error::new(code::SYNTAX_ERROR, "the query must have one column, of ids"));
    };
    let mut ids = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        ids.extend(super::arrays::assign(batch.column(0), &column.column_type, id, context.zone())?);
    }
    Ok(ids)
}
