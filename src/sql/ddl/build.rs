//! Filling new spaces from the rows of a table.

use std::sync::Arc;

use futures::TryStreamExt;

use super::super::context::Context;
use super::super::dml::bulk::BulkSorter;
use super::super::error::{Error, Result, code};
use crate::catalog::{Datum, TableDescriptor, decode_row, encode_row, index_entry};
use crate::kv::{Direction, Span};

/// Builds all spaces of `new` from the rows of `old`; columns are matched by id.
pub async fn rebuild(context: &Context, old: &TableDescriptor, new: &TableDescriptor) -> Result<()> {
    build(context, old, new, true, &(0..new.indexes.len()).collect::<Vec<_>>()).await
}

/// Builds the secondary indexes of `table` at these positions.
pub async fn build_indexes(context: &Context, table: &TableDescriptor, positions: &[usize]) -> Result<()> {
    build(context, table, table, false, positions).await
}

async fn build(
    context: &Context,
    old: &TableDescriptor,
    new: &TableDescriptor,
    rows_too: bool,
    indexes: &[usize],
) -> Result<()> {
    let mut sorter = BulkSorter::new(context, Arc::new(new.clone()));
    let spaces = indexes.iter().map(|&at| new.indexes[at].space).chain(rows_too.then_some(new.primary.space));
    context.fresh_spaces().forget(&spaces.collect::<Vec<_>>());
    let sources: Vec<Option<usize>> = new.columns.iter().map(|column| old.position(column.id)).collect();
    let mut stored = context.txn().scan(Span::all(old.primary.space), Direction::Forward, None);
    while let Some(batch) = stored.try_next().await? {
        for entry in batch.iter() {
            let Some(value) = entry.value else { continue };
            let mut old_row = decode_row(old, entry.key, value)?;
            let mut take = |source: &Option<usize>| {
                source.map_or(Datum::Null, |at| std::mem::replace(&mut old_row[at], Datum::Null))
            };
            let row: Vec<Datum<'static>> = sources.iter().map(&mut take).collect();
            refuse_null(new, &row)?;
            let (key, value) = encode_row(new, &row)?;
            for &at in indexes {
                let index = &new.indexes[at];
                let (entry, pointer) = index_entry(new, index, &row, &key)?;
                sorter.push(index.space, entry.into(), pointer.into()).await?;
            }
            if rows_too {
                sorter.push(new.primary.space, key.into(), value.into()).await?;
            }
        }
    }
    sorter.finish().await
}

fn refuse_null(table: &TableDescriptor, row: &[Datum<'_>]) -> Result<()> {
    let violated = table.columns.iter().zip(row).find(|(column, datum)| !column.nullable && datum.is_null());
    let Some((column, _)) = violated else { return Ok(()) };
    let message = format!("column \"{}\" of relation \"{}\" contains null values", column.name, table.identity.name);
    Err(Error::new(code::NOT_NULL_VIOLATION, message))
}
