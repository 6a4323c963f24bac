//! Foreign keys: at the end of each statement, rows of other tables follow what they refer to, as their keys say; then all keys
//! are checked, other than those that wait for the end of the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;

use super::super::context::Context;
use super::super::deferred::{KeyId, Suspect};
use super::super::error::{Error, Result, code};
use super::super::query::expression;
use super::super::text;
use super::super::time_zone::TimeZone;
use super::Row;
use super::writer::TableWriter;
use crate::catalog::{
    self, Column, ColumnId, Datum, Descriptor, DescriptorId, ForeignKey, Index, ReferentialAction, TableDescriptor,
    decode_row, key, primary_key_of_entry,
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
        // Older descriptors may name their own table twice.
        let others: BTreeSet<DescriptorId> = table.referenced_by.iter().copied().collect();
        for id in others {
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

    /// Lets rows of other tables follow, and those that refer to them in turn; what each table has to check then goes to `followed`.
    pub async fn follow(&self, context: &Context, followed: &mut Vec<ForeignKeys>) -> Result<()> {
        for reference in &self.inbound {
            let key = &reference.key;
            let refuses = |action| matches!(action, ReferentialAction::NoAction | ReferentialAction::Restrict);
            if refuses(key.on_delete) && refuses(key.on_update) {
                continue;
            }
            let positions = key.columns.iter().filter_map(|id| reference.other.position(*id));
            let positions: Vec<usize> = positions.collect();
            // All are found before any is changed: values may move from row to row.
            let (mut deleted, mut changed) = (Vec::new(), Vec::new());
            for gone in reference.values.values() {
                let given = match (gone.action(key), &gone.became) {
                    (ReferentialAction::NoAction | ReferentialAction::Restrict, _) => continue,
                    (ReferentialAction::Cascade, None) => None,
                    (ReferentialAction::Cascade, Some(became)) => {
                        Some(fitting(&reference.other, &key.columns, became)?)
                    }
                    (ReferentialAction::SetNull, _) => Some(vec![Datum::Null; key.columns.len()]),
                    (ReferentialAction::SetDefault, _) => {
                        Some(defaults(context, &reference.other, &key.columns).await?)
                    }
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
            let keys = Box::pin(writer.finish_without_check(followed)).await?;
            followed.push(keys);
        }
        Ok(())
    }

    /// Fails if a key that lets nobody go is referred to.
    pub async fn restrict(&self, context: &Context) -> Result<()> {
        for Reference { key, other, values } in &self.inbound {
            for gone in values.values().filter(|gone| gone.action(key) == ReferentialAction::Restrict) {
                if is_broken(context, other, key, &self.table, &gone.values).await? {
                    return Err(still_referenced(other, key, &self.table, &gone.values));
                }
            }
        }
        Ok(())
    }

    /// Fails if a key refers to nothing, unless it may until the end of the transaction or lets nobody go.
    pub async fn check(&self, context: &Context) -> Result<()> {
        self.check_unless(context, |id, key| context.deferred_keys().waits(id, key.checked)).await
    }

    /// Fails if a key refers to nothing.
    pub async fn check_at_once(&self, context: &Context) -> Result<()> {
        self.check_unless(context, |_, _| false).await
    }

    /// Fails if a key refers to nothing, other than those that wait.
    async fn check_unless(&self, context: &Context, waits: impl Fn(&KeyId, &ForeignKey) -> bool) -> Result<()> {
        let deferred = context.deferred_keys();
        for Reference { key, other, values } in &self.outbound {
            let id = KeyId::of(self.table.identity.id, key);
            if waits(&id, key) {
                let suspect = |values: &Row| Suspect { values: values.clone(), gone: false };
                deferred.note(&id, values.iter().map(|(encoded, values)| (encoded.clone(), suspect(values))));
                continue;
            }
            for values in values.values() {
                // The row may have followed what it refers to.
                if is_broken(context, &self.table, key, other, values).await? {
                    return Err(not_present(&self.table, key, other, values));
                }
            }
        }
        for Reference { key, other, values } in &self.inbound {
            let id = KeyId::of(other.identity.id, key);
            let waits = waits(&id, key);
            for (encoded, gone) in values {
                let values = &gone.values;
                if gone.action(key) == ReferentialAction::Restrict {
                    continue;
                }
                if waits {
                    deferred.note(&id, [(encoded.clone(), Suspect { values: values.clone(), gone: true })]);
                } else if is_broken(context, other, key, &self.table, values).await? {
                    return Err(still_referenced(other, key, &self.table, values));
                }
            }
        }
        Ok(())
    }
}

impl Gone {
    /// What is to happen to rows that refer to it.
    fn action(&self, key: &ForeignKey) -> ReferentialAction {
        if self.became.is_some() { key.on_update } else { key.on_delete }
    }
}

/// Fails if a key that waited is broken at the end of the transaction.
pub async fn check_deferred(context: &Context) -> Result<()> {
    for id in context.deferred_keys().noted() {
        check_noted(context, &id).await?;
    }
    Ok(())
}

/// Fails if a key that waited is broken, and waits no longer.
pub async fn check_no_longer_deferred(context: &Context) -> Result<()> {
    let deferred = context.deferred_keys();
    for id in deferred.noted() {
        let waits = key_with_id(context, &id).await?.is_some_and(|(_, key)| deferred.waits(&id, key.checked));
        if !waits {
            check_noted(context, &id).await?;
        }
    }
    Ok(())
}

/// Whether rows of a table, or what refers to one of its columns, still wait to be checked.
pub async fn has_waiting_keys(context: &Context, table: DescriptorId, column: ColumnId) -> Result<bool> {
    let deferred = context.deferred_keys();
    for id in deferred.noted().into_iter().filter(|id| [id.table, id.referenced].contains(&table)) {
        let Some((_, key)) = key_with_id(context, &id).await?.filter(|(_, key)| deferred.waits(&id, key.checked))
        else {
            continue;
        };
        let is_of_rows = |suspect: &Suspect| table == if suspect.gone { id.referenced } else { id.table };
        let is_key = id.referenced == table && key.referenced_columns.contains(&column);
        if is_key || deferred.suspects(&id).iter().any(is_of_rows) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn check_noted(context: &Context, id: &KeyId) -> Result<()> {
    let Some((table, key)) = key_with_id(context, id).await? else { return Ok(()) };
    let referenced = table_with_id(context, &table, id.referenced).await?;
    for Suspect { values, gone } in context.deferred_keys().suspects(id) {
        if is_broken(context, &table, &key, &referenced, &values).await? {
            return Err(match gone {
                true => still_referenced(&table, &key, &referenced, &values),
                false => not_present(&table, &key, &referenced, &values),
            });
        }
    }
    Ok(())
}

/// A key and its table, if both are still there.
async fn key_with_id(context: &Context, id: &KeyId) -> Result<Option<(Arc<TableDescriptor>, ForeignKey)>> {
    let found = context.catalog().find(id.table).await?;
    let Some(Descriptor::Table(table)) = found.as_deref() else { return Ok(None) };
    let key = table.foreign_keys.iter().find(|key| KeyId::of(id.table, key) == *id);
    Ok(key.map(|key| (Arc::new(table.clone()), key.clone())))
}

/// Whether a row of `table` refers to values that no row of `referenced` has.
async fn is_broken(
    context: &Context,
    table: &TableDescriptor,
    key: &ForeignKey,
    referenced: &TableDescriptor,
    values: &Row,
) -> Result<bool> {
    Ok(!exists(context, referenced, &key.referenced_columns, values).await?
        && exists(context, table, &key.columns, values).await?)
}

/// The error of a row that refers to nothing.
fn not_present(table: &TableDescriptor, key: &ForeignKey, referenced: &TableDescriptor, values: &Row) -> Error {
    let (name, other) = (&key.name, &referenced.identity.name);
    let message =
        format!("insert or update on table \"{}\" violates foreign key constraint \"{name}\"", table.identity.name);
    let detail = format!("{} is not present in table \"{other}\".", shown_key(table, &key.columns, values));
    Error::new(code::FOREIGN_KEY_VIOLATION, message).detail(detail).constraint(name).table(table)
}

/// The error of a row that went and is referred to.
fn still_referenced(table: &TableDescriptor, key: &ForeignKey, referenced: &TableDescriptor, values: &Row) -> Error {
    let (name, other) = (&key.name, &table.identity.name);
    let message = format!(
        "update or delete on table \"{}\" violates foreign key constraint \"{name}\" on table \"{other}\"",
        referenced.identity.name
    );
    let shown = shown_key(referenced, &key.referenced_columns, values);
    let detail = format!("{shown} is still referenced from table \"{other}\".");
    Error::new(code::FOREIGN_KEY_VIOLATION, message).detail(detail).constraint(name).table(table)
}

/// `Key (names)=(values)`
fn shown_key(table: &TableDescriptor, columns: &[ColumnId], values: &Row) -> String {
    let mut names = Vec::new();
    let mut shown = Vec::new();
    for (column, datum) in columns.iter().filter_map(|id| table.column(*id)).zip(values) {
        let mut value = String::new();
        text::format(&mut value, datum, &column.column_type, TimeZone::UTC);
        names.push(column.name.clone());
        shown.push(value);
    }
    format!("Key ({})=({})", names.join(", "), shown.join(", "))
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
    id: DescriptorId,
) -> Result<Arc<TableDescriptor>> {
    if id == own.identity.id {
        return Ok(own.clone());
    }
    match &*context.catalog().get(id).await? {
        Descriptor::Table(table) => Ok(Arc::new(table.clone())),
        other => Err(Error::internal(format!("a foreign key refers to {} {}", other.kind(), other.name()))),
    }
}

/// Values as columns that refer to them take them: those may be narrower.
fn fitting(table: &TableDescriptor, columns: &[ColumnId], values: &Row) -> Result<Row> {
    let fit = |(id, value): (&ColumnId, &Datum<'static>)| match (table.column(*id), value) {
        (Some(column), Datum::Int(number)) if column.column_type.is_integer() => {
            text::fit_int(*number, &column.column_type)
        }
        (Some(column), Datum::Text(given)) if column.column_type.is_character() => {
            text::fit_text(given.to_string(), &column.column_type, false)
        }
        _ => Ok(value.clone()),
    };
    columns.iter().zip(values).map(fit).collect()
}

/// The defaults of some columns.
async fn defaults(context: &Context, table: &TableDescriptor, columns: &[ColumnId]) -> Result<Row> {
    // They name what they name as seen from the table's own database.
    let context = context.inside_database(table.database).await?;
    let value = |id: &ColumnId| match table.column(*id) {
        Some(Column { default: Some(sql), column_type, .. }) => {
            expression::value_for(&context, &expression::parse(sql)?, column_type)
        }
        _ => Ok(Datum::Null),
    };
    columns.iter().map(value).collect()
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
    let index = table.all_indexes().find(|index| index.predicate.is_none() && starts_with(index, columns));
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
                    let (value, _) = txn.get(primary, key).await?.ok_or_else(missing)?;
                    decode_row(table, key, &value)?
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
    let for_all = |index: &&Index| index.predicate.is_none() && starts_with(index, columns);
    if let Some(index) = table.all_indexes().find(for_all) {
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
