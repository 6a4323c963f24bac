//! `CREATE TABLE ... AS`: a table of the columns of a query, with its rows.

use sqlparser::ast::{CreateTable, Statement as Ast};

use super::super::context::Context;
use super::super::dml;
use super::super::error::{Error, Result};
use super::super::names::{name_parts, written_name};
use super::super::query::{self, ExtraTables, Visibility};
use super::super::temporary;
use super::{Outcome, create_table};
use crate::parser::quote_ident_in_sql;

/// Makes the table, which is the query's part of the statement taken away, and loads it: the number of rows, and what else is to
/// be said.
pub async fn create(context: &Context, create: &CreateTable, extra: &ExtraTables) -> Result<(u64, Outcome)> {
    let Some(query) = &create.query else { return Err(Error::internal("CREATE TABLE AS without a query")) };
    if !create.columns.is_empty() || !create.constraints.is_empty() {
        return Err(Error::unsupported("CREATE TABLE AS with columns of its own"));
    }
    let planned = query::plan(context, query, extra, Visibility::AsNamed).await?;
    let column = |column: &query::OutputColumn| format!("{} {}", quote_ident_in_sql(&column.name), column.column_type);
    let columns: Vec<String> = planned.columns.iter().map(column).collect();
    let Ast::CreateTable(definition) = parse(&format!("CREATE TABLE t ({})", columns.join(", ")))? else {
        return Err(Error::internal("a template is not a CREATE TABLE"));
    };
    // Where it goes, whatever else there is of that name.
    let parts = name_parts(&create.name)?;
    let parts = if create.temporary { temporary::place(context, &parts)? } else { parts };
    let parts = context.whole_name(&parts).await?;
    let (name, temporary) = (written_name(&parts), false);
    let plain = CreateTable { query: None, columns: definition.columns, name, temporary, ..create.clone() };
    let outcome = create_table::create(context, &plain, &[]).await?;
    if !outcome.notices.is_empty() {
        return Ok((0, outcome));
    }
    // The query was planned before there was the table: what it names is what was named.
    let table = dml::table_named(context, &parts).await?;
    Ok((dml::load(context, table, planned).await?, outcome))
}

fn parse(sql: &str) -> Result<Ast> {
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let parsed = sqlparser::parser::Parser::parse_sql(&dialect, sql).map_err(Error::internal)?;
    parsed.into_iter().next().ok_or_else(|| Error::internal("a template is empty"))
}
