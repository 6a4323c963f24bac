use std::collections::HashSet;

use futures::TryStreamExt;
use sqlparser::ast::{Delete, FromTable};

use super::super::context::Context;
use super::super::error::{Error, Result};
use super::super::query::{self, ExtraTables, Visibility};
use super::Changed;
use super::Row;
use super::locking::{lock_rows, row_at};
use super::returning::{Beside, names_beside, returning, select_beside};
use super::update::{matching_rows, short_name, target};
use super::writer::TableWriter;
use crate::catalog::push_index_key;
use crate::kv::LockMode;

/// `DELETE`
pub async fn delete(context: &Context, delete: &Delete, extra: &ExtraTables) -> Result<Changed> {
    if !delete.order_by.is_empty() || delete.limit.is_some() || !delete.tables.is_empty() {
        return Err(Error::unsupported("this form of DELETE"));
    }
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let [first] = &tables[..] else { return Err(Error::unsupported("DELETE from several tables")) };
    let (table, alias) = target(context, first).await?;
    let mut from = vec![first.clone()];
    from.extend(delete.using.iter().flatten().cloned());
    let mut writer = TableWriter::new(context, table.clone()).await?;
    let names = match &delete.returning {
        Some(_) => names_beside(&from[1..])?,
        None => Vec::new(),
    };
    let mut query = matching_rows(&alias, from, delete.selection.clone(), [])?;
    lock_rows(context, &table, &query, extra, LockMode::Exclusive).await?;
    select_beside(&mut query, &names);
    let (columns, mut batches) = query::plan(context, &query, extra, Visibility::All).await?.run().await?;
    let mut beside = Beside::all(context, &names, &columns).await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = HashSet::new();
    while let Some(batch) = batches.try_next().await? {
        for index in 0..batch.num_rows() {
            let row = row_at(&table, &batch, index)?;
            let mut key = Vec::new();
            push_index_key(&mut key, &table, &table.primary, &row)?;
            if seen.insert(key) {
                rows.push(row);
                beside.iter_mut().try_for_each(|beside| beside.keep(&batch, index))?;
            }
        }
    }
    let count = rows.len() as u64;
    let kept = delete.returning.as_ref().map(|_| rows.clone());
    writer.delete(rows).await?;
    writer.finish().await?;
    let returned = match (&delete.returning, kept) {
        (Some(items), Some(rows)) => {
            Some(returning(context, (&table, &short_name(&alias)?), items, &rows, &beside).await?)
        }
        _ => None,
    };
    Ok(Changed { rows: count, returning: returned })
}
