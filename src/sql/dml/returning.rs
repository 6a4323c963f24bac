//! `RETURNING`: a query over the rows a statement has changed.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use sqlparser::ast::{Query, SelectItem, SetExpr};

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::error::{Error, Result};
use super::super::query::expression::row_schema;
use super::super::query::{self, Batches, ExtraTables, OutputColumn, Visibility};
use super::Row;
use crate::catalog::{ColumnType, TableDescriptor};

/// Evaluates `items` over `rows` of `table`, which the statement calls `alias`.
pub async fn returning(
    context: &Context,
    table: &TableDescriptor,
    alias: &str,
    items: &[SelectItem],
    rows: &[Row],
) -> Result<(Vec<OutputColumn>, Batches)> {
    if items.iter().any(query::has_subquery) {
        return Err(Error::unsupported("a subquery in RETURNING"));
    }
    let schema = row_schema(table);
    let types: Vec<ColumnType> = table.columns.iter().map(|column| column.column_type.clone()).collect();
    let visible: Vec<usize> = (0..types.len()).filter(|&position| !table.columns[position].hidden).collect();
    let mentions_hidden = format!("{items:?}").contains(super::super::ddl::ROW_ID);
    let batch = batch_of_rows(&schema, &types, rows)?;
    let batch = if mentions_hidden { batch } else { batch.project(&visible)? };
    let source = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    let extra = ExtraTables::from([(alias.to_string(), Arc::new(source) as _)]);
    let mut query = select_from(alias)?;
    let SetExpr::Select(select) = &mut *query.body else { return Err(Error::internal("a template is not a SELECT")) };
    select.projection = items.to_vec();
    query::plan(context, &query, &extra, Visibility::AsNamed).await?.run().await
}

/// `SELECT * FROM alias`
pub fn select_from(alias: &str) -> Result<Query> {
    let quoted = format!("\"{}\"", alias.replace('"', "\"\""));
    super::super::parse_query(&format!("SELECT * FROM {quoted}"))
}
