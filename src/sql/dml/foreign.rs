//! Foreign keys: at the end of each statement, rows of other tables follow what they refer to, as their keys say; then all keys
//! are checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::query::primary_key_of_entry;
use super::super::text;
use super::Row;
use super::writer::TableWriter;
use crate::catalog::{
    self, ColumnId, Datum, Descriptor, ForeignKey, Index, ReferentialAction, TableDescriptor, decode_row, key,
};
use crate::kv::{Direction, Span};

/// What a statement has to check.
pub struct ForeignKeys {
    table: Arc<TableDescriptor>,
    /// Keys of this table, with the table each refers to, and the values that must exist there.
    outbound: Vec<Reference<Row>>,
    /// Keys of other tables that refer to this one, with the values that are gone.
    inbound: Vec<Reference<Gone>>,
}

struct Reference<V> {
    key: ForeignKey,
    /// The table at the other end.
    other: Arc<TableDescriptor>,
    /// Values to look for, by their encoding so that each is looked for once.
    values: BTreeMap<Vec<u8>, V>,
}

/// Values that no row has any more.
#[derive(Clone)]
struct Gone {
    values: Row,
    /// What the row has now, if it is still there.
    became: Option<Row>,
}

impl ForeignKeys {
    /// The foreign keys from and to a table.
    pub async fn new(context: &Context, table: &Arc<TableDescriptor>) -> Result<ForeignKeys> {
        let mut keys = ForeignKeys { table: table.clone(), outbound: Vec::new(), inbound: Vec::new() };
        for key in &table.foreign_keys {
            let other = table_with_id(context, table, key.referenced_table).await?;
            keys.outbound.push(Reference { key: key.clone(), other, values: BTreeMap::new() });
        }
        for &id in &table.referenced_by {
            let other = table_with_id(context, table, id).await?;
            for key in other.foreign_keys.iter().filter(|key| key.referenced_table == table.identity.id) {
                keys.inbound.push(Reference { key: key.clone(), other: other.clone(), values: BTreeMap::new() });
            }
        }
        Ok(keys)
    }

    /// A row has been added.
    pub fn added(&mut self, row: &Row) -> Result<()> {
        for reference in &mut self.outbound {
            let values = pick(&self.table, &reference.key.columns, row)?;
            reference.note(&values, values.clone());
        }
        Ok(())
    }

    /// A row is gone.
    pub fn removed(&mut self, row: &Row) -> Result<()> {
        for reference in &mut self.inbound {
            let values = pick(&self.table, &reference.key.referenced_columns, row)?;
            reference.note(&values, Gone { values: values.clone(), became: None });
        }
        Ok(())
    }

    /// A row has changed.
    pub fn changed(&mut self, old: &Row, new: &Row) -> Result<()> {
        for reference in &mut self.outbound {
            let values = pick(&self.table, &reference.key.columns, new)?;
            if values != pick(&self.table, &reference.key.columns, old)? {
                reference.note(&values, values.clone());
            }
        }
        for reference in &mut self.inbound {
            let values = pick(&self.table, &reference.key.referenced_columns, old)?;
            let became = pick(&self.table, &reference.key.referenced_columns, new)?;
            if values != became {
                reference.note(&values, Gone { values: values.clone(), became: Some(became) });
            }
        }
        Ok(())
    }

    /// Lets rows of other tables follow.
    pub async fn follow(&self, context: &Context) -> Result<()> {
        for reference in &self.inbound {
            let key = &reference.key;
            if (key.on_delete, key.on_update) == (ReferentialAction::NoAction, ReferentialAction::NoAction) {
                continue;
            }
            let positions = key.columns.iter().filter_map(|id| reference.other.position(*id));
            let positions: Vec<usize> = positions.collect();
            // All are found before any is changed: values may move from row to row.
            let (mut deleted, mut changed) = (Vec::new(), Vec::new());
            for gone in reference.values.values() {
                let action = if gone.became.is_some() { key.on_update } else { key.on_delete };
                let given = match (action, &gone.became) {
                    (ReferentialAction::NoAction, _) => continue,
                    (ReferentialAction::Cascade, None) => None,
                    (ReferentialAction::Cascade, Some(became)) => Some(became.clone()),
                    (ReferentialAction::SetNull, _) => Some(vec![Datum::Null; key.columns.len()]),
                };
                let rows = rows_with(context, &reference.other, &key.columns, &gone.values).await?;
                let Some(values) = given else {
                    deleted.extend(rows);
                    continue;
                };
                let change = |old: Row| {
                    let mut new = old.clone();
                    positions.iter().zip(&values).for_each(|(&position, value)| new[position] = value.clone());
                    (old, new)
                };
                changed.extend(rows.into_iter().map(change));
            }
            if deleted.is_empty() && changed.is_empty() {
                continue;
            }
            let mut writer = TableWriter::new(context, reference.other.clone()).await?;
            writer.delete(deleted).await?;
            writer.update(changed).await?;
            Box::pin(writer.finish()).await?;
        }
        Ok(())
    }

    /// Fails if a key refers to nothing.
    pub async fn check(&self, context: &Context) -> Result<()> {
        for reference in &self.outbound {
            for values in reference.values.values() {
                if !exists(context, &reference.other, &reference.key.referenced_columns, values).await? {
                    return Err(self.violation(reference, values, false));
                }
            }
        }
        for reference in &self.inbound {
            for Gone { values, .. } in reference.values.values() {
                let still_there = exists(context, &self.table, &reference.key.referenced_columns, values).await?;
                if !still_there && exists(context, &reference.other, &reference.key.columns, values).await? {
                    return Err(self.violation(reference, values, true));
                }
            }
        }
        Ok(())
    }

    fn violation<V>(&self, reference: &Reference<V>, values: &Row, inbound: bool) -> Error {
        let (table, other) = (&self.table.identity.name, &reference.other.identity.name);
        let columns = if inbound { &reference.key.referenced_columns } else { &reference.key.columns };
        let mut names = Vec::new();
        let mut shown = Vec::new();
        for (column, datum) in columns.iter().filter_map(|id| self.table.column(*id)).zip(values) {
            let mut value = String::new();
            text::format(&mut value, datum, &column.column_type);
            names.push(column.name.clone());
            shown.push(value);
        }
        let key = format!("Key ({})=({})", names.join(", "), shown.join(", "));
        let name = &reference.key.name;
        let (message, detail) = if inbound {
            let message = format!(
                "update or delete on table \"{table}\" violates foreign key constraint \"{name}\" on table \"{other}\""
            );
            (message, format!("{key} is still referenced from table \"{other}\"."))
        } else {
            let message = format!("insert or update on table \"{table}\" violates foreign key constraint \"{name}\"");
            (message, format!("{key} is not present in table \"{other}\"."))
        };
        Error::new(code::FOREIGN_KEY_VIOLATION, message).detail(detail).constraint(name)
    }
}

impl<V> Reference<V> {
    fn note(&mut self, values: &Row, noted: V) {
        if values.iter().any(Datum::is_null) {
            return;
        }
        let mut encoded = Vec::new();
        values.iter().for_each(|value| key::push(&mut encoded, value, false));
        self.values.insert(encoded, noted);
    }
}

async fn table_with_id(
    context: &Context,
    own: &Arc<TableDescriptor>,
    id: crate::catalog::DescriptorId,
) -> Result<Arc<TableDescriptor>> {
    if id == own.identity.id {
        return Ok(own.clone());
    }
    match &*context.catalog().get(id).await? {
        Descriptor::Table(table) => Ok(Arc::new(table.clone())),
        other => Err(Error::internal(format!("a foreign key refers to {} {}", other.kind(), other.name()))),
    }
}

fn pick(table: &TableDescriptor, columns: &[ColumnId], row: &Row) -> Result<Row> {
    let value = |id: &ColumnId| table.position(*id).map(|position| row[position].clone());
    columns
        .iter()
        .map(|id| value(id).ok_or_else(|| Error::internal("a foreign key has a column its table lacks")))
        .collect()
}

/// The rows of a table with these values in these columns.
async fn rows_with(context: &Context, table: &TableDescriptor, columns: &[ColumnId], values: &Row) -> Result<Vec<Row>> {
    let (txn, primary) = (context.txn(), table.primary.space);
    let index = table.all_indexes().find(|index| starts_with(index, columns));
    let span = match index {
        Some(index) => Span::prefix(index.space, &index_prefix(index, columns, values)),
        None => Span::all(primary),
    };
    let mut found = Vec::new();
    let mut entries = txn.scan(span, Direction::Forward, None);
    while let Some(batch) = entries.try_next().await? {
        for entry in batch.iter() {
            let Some(value) = entry.value else { continue };
            let row = match index {
                Some(index) if index.space != primary => {
                    let key = primary_key_of_entry(table, index, entry.key, value)?;
                    let missing =
                        || catalog::Error::corrupt(format!("index {} points to a row that is not there", index.name));
                    let (value, _) = txn.get(primary, &key).await?.ok_or_else(missing)?;
                    decode_row(table, &key, &value)?
                }
                _ => decode_row(table, entry.key, value)?,
            };
            if index.is_some() || pick(table, columns, &row)? == *values {
                found.push(row);
            }
        }
    }
    Ok(found)
}

/// The beginning of the keys of an index that starts with these columns.
fn index_prefix(index: &Index, columns: &[ColumnId], values: &Row) -> Vec<u8> {
    let mut prefix = Vec::new();
    for part in &index.columns[..columns.len()] {
        let value = columns.iter().position(|id| *id == part.column).map(|at| &values[at]);
        key::push(&mut prefix, value.unwrap_or(&Datum::Null), part.descending);
    }
    prefix
}

/// Whether a table has a row with these values in these columns.
pub async fn exists(context: &Context, table: &TableDescriptor, columns: &[ColumnId], values: &Row) -> Result<bool> {
    let txn = context.txn();
    if let Some(index) = table.all_indexes().find(|index| starts_with(index, columns)) {
        let prefix = index_prefix(index, columns, values);
        let mut found = txn.scan(Span::prefix(index.space, &prefix), Direction::Forward, Some(1));
        return Ok(found.try_next().await?.is_some_and(|batch| !batch.is_empty()));
    }
    let mut rows = txn.scan(Span::all(table.primary.space), Direction::Forward, None);
    while let Some(batch) = rows.try_next().await? {
        for entry in batch.iter() {
            let Some(value) = entry.value else { continue };
            let row = decode_row(table, entry.key, value)?;
            if pick(table, columns, &row)? == *values {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the first columns of an index are these, in any order.
pub fn starts_with(index: &Index, columns: &[ColumnId]) -> bool {
    let first = index.columns.get(..columns.len());
    first.is_some_and(|first| columns.iter().all(|id| first.iter().any(|part| part.column == *id)))
}
