//! Filling new spaces from the rows of a table.

use std::sync::Arc;

use futures::TryStreamExt;

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::dml::Row;
use super::super::dml::bulk::BulkSorter;
use super::super::error::{Error, Result, code};
use super::super::query::expression::{Compiled, row_schema};
use crate::catalog::{ColumnType, Datum, TableDescriptor, decode_row, encode_row, index_entry};
use crate::kv::{Direction, Span};

/// A column of new rows that is computed from the old ones.
pub struct Computed {
    /// Where it is among the columns of the new rows.
    pub position: usize,
    /// Its value, compiled for the old rows.
    pub value: Compiled,
}

/// Builds `new` from the rows of `old`, in new spaces, and drops the old ones; columns that are not computed are matched by id.
pub async fn rebuild(
    context: &Context,
    old: &TableDescriptor,
    new: &mut TableDescriptor,
    computed: &[Computed],
) -> Result<()> {
    for index in std::iter::once(&mut new.primary).chain(&mut new.indexes) {
        if old.all_indexes().any(|old| old.space == index.space) {
            index.space = context.engine().store().create_space().await?;
        }
    }
    build(context, old, new, Some(computed), &(0..new.indexes.len()).collect::<Vec<_>>()).await?;
    for index in old.all_indexes() {
        context.catalog().drop_space(old, index.space)?;
    }
    Ok(())
}

/// Builds the secondary indexes of `table` at these positions.
pub async fn build_indexes(context: &Context, table: &TableDescriptor, positions: &[usize]) -> Result<()> {
    build(context, table, table, None, positions).await
}

async fn build(
    context: &Context,
    old: &TableDescriptor,
    new: &TableDescriptor,
    computed: Option<&[Computed]>,
    indexes: &[usize],
) -> Result<()> {
    let rows_too = computed.is_some();
    let mut sorter = BulkSorter::new(context, Arc::new(new.clone()));
    let spaces = indexes.iter().map(|&at| new.indexes[at].space).chain(rows_too.then_some(new.primary.space));
    context.fresh_spaces().forget(&spaces.collect::<Vec<_>>());
    let sources: Vec<Option<usize>> = new.columns.iter().map(|column| old.position(column.id)).collect();
    let mut stored = context.txn().scan(Span::all(old.primary.space), Direction::Forward, None);
    while let Some(batch) = stored.try_next().await? {
        let live = batch.iter().filter_map(|entry| Some((entry.key, entry.value?)));
        let old_rows = live.map(|(key, value)| decode_row(old, key, value)).collect::<Result<Vec<_>, _>>()?;
        let mut values = compute(old, new, computed.unwrap_or_default(), &old_rows)?;
        for (number, mut old_row) in old_rows.into_iter().enumerate() {
            let mut take = |source: &Option<usize>| {
                source.map_or(Datum::Null, |at| std::mem::replace(&mut old_row[at], Datum::Null))
            };
            let mut row: Vec<Datum<'static>> = sources.iter().map(&mut take).collect();
            for (position, values) in &mut values {
                row[*position] = std::mem::replace(&mut values[number], Datum::Null);
            }
            refuse_null(new, &row)?;
            let (key, value) = encode_row(new, &row)?;
            for &at in indexes {
                let index = &new.indexes[at];
                if let Some((entry, pointer)) = index_entry(new, index, &row, &key)? {
                    sorter.push(index.space, entry.into(), pointer.into()).await?;
                }
            }
            if rows_too {
                sorter.push(new.primary.space, key.into(), value.into()).await?;
            }
        }
    }
    sorter.finish().await
}

/// The values of computed columns, with their positions in the new rows.
fn compute(
    old: &TableDescriptor,
    new: &TableDescriptor,
    computed: &[Computed],
    rows: &[Row],
) -> Result<Vec<(usize, Row)>> {
    if computed.is_empty() || rows.is_empty() {
        return Ok(Vec::new());
    }
    let types: Vec<ColumnType> = old.columns.iter().map(|column| column.column_type.clone()).collect();
    let batch = batch_of_rows(&row_schema(old), &types, rows)?;
    let column = |Computed { position, value }: &Computed| {
        Ok((*position, value.assigned(&batch, &new.columns[*position].column_type)?))
    };
    computed.iter().map(column).collect()
}

fn refuse_null(table: &TableDescriptor, row: &[Datum<'_>]) -> Result<()> {
    let violated = table.columns.iter().zip(row).find(|(column, datum)| !column.nullable && datum.is_null());
    violated.map_or(Ok(()), |(column, _)| Err(contains_null(table, &column.name)))
}

/// The error of a column that is to have no NULL and has one.
pub fn contains_null(table: &TableDescriptor, column: &str) -> Error {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.identity.name);
    Error::new(code::NOT_NULL_VIOLATION, message).table(table).column(column)
}
