//! Locking rows before they are read.
//!
//! A statement that confines its table to single primary keys locks those keys without reading anything. Any other first
//! looks for its rows in a transaction of its own, whose reads do not count, and locks what it finds. Either way the
//! statement's own reads come after the locks, at a snapshot that includes whatever was waited for.

use bytes::Bytes;
use futures::TryStreamExt;
use sqlparser::ast::Query;

use super::super::arrays::datum_at;
use super::super::context::Context;
use super::super::error::Result;
use super::super::query::{self, ExtraTables, Visibility, point_keys};
use super::Row;
use crate::catalog::{Descriptor, TableDescriptor, push_index_key};
use crate::kv::LockMode;

/// Locks the rows of `table` that `query` selects. The query's first columns are all columns of the table.
pub async fn lock_rows(
    context: &Context,
    table: &TableDescriptor,
    query: &Query,
    extra: &ExtraTables,
    mode: LockMode,
) -> Result<()> {
    let planned = query::plan(context, query, extra, Visibility::All).await?;
    let keys = match point_keys(planned.logical(), table) {
        Some(keys) => keys,
        None => find_keys(context, table, query, extra).await?,
    };
    for key in keys {
        context.txn().lock(table.primary.space, &key, mode).await?;
    }
    Ok(())
}

/// The keys of the rows that a query finds, as others see them.
async fn find_keys(
    context: &Context,
    table: &TableDescriptor,
    query: &Query,
    extra: &ExtraTables,
) -> Result<Vec<Bytes>> {
    match committed_keys(context, table, query, extra).await {
        // Another table that it names may be new in this transaction, or of other types before. If not, the statement fails as well.
        Err(error) if !error.is_retryable() => Ok(Vec::new()),
        found => found,
    }
}

async fn committed_keys(
    context: &Context,
    table: &TableDescriptor,
    query: &Query,
    extra: &ExtraTables,
) -> Result<Vec<Bytes>> {
    let scratch = context.in_txn(context.engine().store().begin().await?);
    // Whoever changes the definition of a table has the whole of it locked, and the rows of others may be of other types.
    let committed = scratch.catalog().find(table.identity.id).await?;
    if !matches!(committed.as_deref(), Some(Descriptor::Table(committed)) if committed == table) {
        return Ok(Vec::new());
    }
    let planned = query::plan(&scratch, query, extra, Visibility::All).await?;
    let (_, mut batches) = planned.run().await?;
    let mut keys = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for index in 0..batch.num_rows() {
            let row = row_at(table, &batch, index)?;
            let mut key = Vec::new();
            push_index_key(&mut key, table, &table.primary, &row)?;
            keys.push(Bytes::from(key));
        }
    }
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// A row of the table from the first columns of a batch.
pub fn row_at(table: &TableDescriptor, batch: &datafusion::arrow::array::RecordBatch, index: usize) -> Result<Row> {
    let columns = table.columns.iter().zip(batch.columns());
    columns.map(|(column, array)| Ok(datum_at(&**array, index, &column.column_type)?.into_owned())).collect()
}
