//! Writing rows: constraints, the row itself, its index entries.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::query::expression::{self, Compiled, compile, row_schema, rows_without_columns};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::Row;
use super::bulk::BulkSorter;
use super::foreign::ForeignKeys;
use crate::catalog::{
    self, Column, ColumnType, Datum, Index, TableDescriptor, decode_row, encode_row, index_entry, primary_key_of_entry,
    push_index_key,
};
use crate::kv::LockMode;

/// Of a value in an error.
const SHOWN_CHARACTERS: usize = 64;

/// Rows in one table, inside one statement.
pub struct TableWriter {
    context: Context,
    table: Arc<TableDescriptor>,
    schema: SchemaRef,
    types: Vec<ColumnType>,
    checks: Vec<(String, Compiled)>,
    /// The columns that are computed, by position: those that indexes need may be computed from the others.
    generated: Vec<(usize, Compiled)>,
    foreign: ForeignKeys,
    bulk: Option<BulkSorter>,
}

/// What to do with a row whose primary key is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse it.
    Fail,
    /// Change the columns at these positions in the row that is there.
    Replace(Vec<usize>),
}

impl TableWriter {
    /// A writer for `table`, whose definition cannot change until the transaction ends.
    pub async fn new(context: &Context, table: Arc<TableDescriptor>) -> Result<TableWriter> {
        if table.identity.id.0 < crate::catalog::system::FIRST_USER_ID {
            return Err(Error::new("42501", "the tables of the system database cannot be written"));
        }
        context.catalog().lock(table.identity.id, LockMode::Shared).await?;
        let foreign = ForeignKeys::new(context, &table).await?;
        // What is kept as SQL names sequences and types as seen from the table's own database.
        let context = &context.inside_database(table.database).await?;
        let schema = row_schema(&table);
        let check = |check: &crate::catalog::Check| {
            let condition = expression::parse(&check.condition)?;
            Ok((check.name.clone(), compile(context, condition, &schema)?))
        };
        let checks = table.checks.iter().map(check).collect::<Result<_>>()?;
        let stored = context.for_stored_values(table.database).await?;
        let mut generated = Vec::new();
        for (position, column) in table.columns.iter().enumerate() {
            if let Some(sql) = &column.generated {
                generated.push((position, compile(&stored, expression::parse(sql)?, &schema)?));
            }
        }
        generated.sort_by_key(|(position, _)| table.columns[*position].hidden);
        let types = table.columns.iter().map(|column| column.column_type.clone()).collect();
        Ok(TableWriter { context: context.clone(), table, schema, types, checks, generated, foreign, bulk: None })
    }

    /// Loads through a sort into the table's spaces, if they are new in this transaction and still empty.
    pub fn use_bulk_load(&mut self) {
        let spaces: Vec<_> = self.table.all_indexes().map(|index| index.space).collect();
        if self.context.fresh_spaces().take(&spaces) {
            self.bulk = Some(BulkSorter::new(&self.context, self.table.clone()));
        }
    }

    /// Completes rows given for some columns with the defaults of the others.
    pub fn complete(&self, positions: &[usize], given: Vec<Row>) -> Result<Vec<Row>> {
        if positions.len() == self.table.columns.len() && positions.iter().enumerate().all(|(index, &at)| index == at) {
            let mut rows = given;
            self.compute(&mut rows)?;
            return Ok(rows);
        }
        let mut rows: Vec<Row> = vec![vec![Datum::Null; self.table.columns.len()]; given.len()];
        for (position, column) in self.table.columns.iter().enumerate() {
            if positions.contains(&position) || column.default.is_none() {
                continue;
            }
            let values = self.defaults(column, given.len())?;
            rows.iter_mut().zip(values).for_each(|(row, value)| row[position] = value);
        }
        for (row, given) in rows.iter_mut().zip(given) {
            for (&position, datum) in positions.iter().zip(given) {
                row[position] = datum;
            }
        }
        self.compute(&mut rows)?;
        Ok(rows)
    }

    /// Rounds times as their columns want them, then computes the columns that are generated.
    fn compute(&self, rows: &mut [Row]) -> Result<()> {
        let rounding = |(_, column): &(usize, &Column)| column.time_precision.is_some();
        for (position, column) in self.table.columns.iter().enumerate().filter(rounding) {
            for row in rows.iter_mut() {
                row[position] = column.kept(std::mem::replace(&mut row[position], Datum::Null));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        for hidden in [false, true] {
            let is_now = |(position, _): &&(usize, Compiled)| self.table.columns[*position].hidden == hidden;
            let now: Vec<&(usize, Compiled)> = self.generated.iter().filter(is_now).collect();
            if now.is_empty() {
                continue;
            }
            let batch = batch_of_rows(&self.schema, &self.types, rows)?;
            for (position, value) in now {
                let values = value.assigned(&batch, &self.types[*position])?;
                rows.iter_mut().zip(values).for_each(|(row, value)| row[*position] = value);
            }
        }
        Ok(())
    }

    fn defaults(&self, column: &Column, count: usize) -> Result<Row> {
        let Some(default) = &column.default else { return Ok(vec![Datum::Null; count]) };
        if default == super::super::ddl::ROW_ID_DEFAULT && column.column_type == ColumnType::Int8 {
            return (0..count).map(|_| self.context.engine().unique_row_id().map(Datum::Int)).collect();
        }
        let empty = Arc::new(datafusion::arrow::datatypes::Schema::empty());
        let compiled = compile(&self.context, expression::parse(default)?, &empty)?;
        compiled.assigned(&rows_without_columns(count)?, &column.column_type)
    }

    /// Checks that rows have values where they must, and fulfil the conditions of the table.
    pub fn check_rows(&self, rows: &[Row]) -> Result<()> {
        for (position, column) in self.table.columns.iter().enumerate().filter(|(_, column)| !column.nullable) {
            if let Some(row) = rows.iter().find(|row| row[position].is_null()) {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, self.table.identity.name
                );
                let error = Error::new(code::NOT_NULL_VIOLATION, message).detail(failing_row(&self.table, row));
                return Err(error.table(&self.table).column(&column.name));
            }
        }
        if self.checks.is_empty() || rows.is_empty() {
            return Ok(());
        }
        let batch = batch_of_rows(&self.schema, &self.types, rows)?;
        for (name, check) in &self.checks {
            if let Some(row) = check.first_false(&batch)? {
                let message = format!(
                    "new row for relation \"{}\" violates check constraint \"{name}\"",
                    self.table.identity.name
                );
                let error = Error::new(code::CHECK_VIOLATION, message).detail(failing_row(&self.table, &rows[row]));
                return Err(error.table(&self.table).constraint(name));
            }
        }
        Ok(())
    }

    /// Locks the places that rows take, or would take, in unique indexes.
    pub async fn lock_in(&self, indexes: &[Index], rows: &[Row]) -> Result<()> {
        let mut places = Vec::new();
        for row in rows {
            for index in indexes {
                places.extend(self.place_in(index, row)?.map(|place| (index.space, place)));
            }
        }
        places.sort();
        places.dedup();
        for (space, place) in places {
            self.context.txn().lock(space, &place, LockMode::Exclusive).await?;
        }
        Ok(())
    }

    /// The row that has the values of `row` in a unique index.
    pub async fn existing(&self, index: &Index, row: &Row) -> Result<Option<Row>> {
        let (txn, primary) = (self.context.txn(), self.table.primary.space);
        let Some(place) = self.place_in(index, row)? else { return Ok(None) };
        let Some((found, _)) = txn.get(index.space, &place).await? else { return Ok(None) };
        if index.space == primary {
            return Ok(Some(decode_row(&self.table, &place, &found)?));
        }
        let missing = || catalog::Error::corrupt(format!("index {} points to a row that is not there", index.name));
        let key = primary_key_of_entry(&self.table, index, &place, &found)?;
        let (value, _) = txn.get(primary, key).await?.ok_or_else(missing)?;
        Ok(Some(decode_row(&self.table, key, &value)?))
    }

    /// The key of a row in a unique index; `None` if it has a NULL there, which is like no other.
    fn place_in(&self, index: &Index, row: &Row) -> Result<Option<Vec<u8>>> {
        if index.space == self.table.primary.space {
            let mut key = Vec::new();
            push_index_key(&mut key, &self.table, index, row)?;
            return Ok(Some(key));
        }
        if values_in_index(&self.table, index).any(|position| row[position].is_null()) {
            return Ok(None);
        }
        Ok(index_entry(&self.table, index, row, &[])?.map(|(entry, _)| entry))
    }

    /// Inserts whole rows; returns them as they were written.
    pub async fn insert(&mut self, rows: Vec<Row>, on_conflict: &OnConflict) -> Result<Vec<Row>> {
        self.check_rows(&rows)?;
        let mut written = Vec::with_capacity(rows.len());
        for row in rows {
            let (key, value) = encode_row(&self.table, &row)?;
            if let Some(bulk) = &mut self.bulk {
                for index in &self.table.indexes {
                    let Some((entry, pointer)) = index_entry(&self.table, index, &row, &key)? else { continue };
                    bulk.push(index.space, entry.into(), pointer.into()).await?;
                }
                bulk.push(self.table.primary.space, key.into(), value.into()).await?;
                self.foreign.added(&row)?;
                written.push(row);
                continue;
            }
            let txn = self.context.txn().clone();
            if matches!(on_conflict, OnConflict::Replace(_)) {
                txn.lock(self.table.primary.space, &key, LockMode::Exclusive).await?;
            }
            let existing = txn.get(self.table.primary.space, &key).await?;
            match (existing, on_conflict) {
                (None, _) => {}
                (Some(_), OnConflict::Fail) => return Err(duplicate_key(&self.table, &self.table.primary, &row)),
                (Some((old, _)), OnConflict::Replace(positions)) => {
                    let old = decode_row(&self.table, &key, &old)?;
                    let mut new = old.clone();
                    positions.iter().for_each(|&position| new[position] = row[position].clone());
                    self.compute(std::slice::from_mut(&mut new))?;
                    self.check_rows(std::slice::from_ref(&new))?;
                    self.replace(&old, &new).await?;
                    written.push(new);
                    continue;
                }
            }
            txn.put(self.table.primary.space, &key, value.into())?;
            for index in &self.table.indexes {
                let Some((entry, pointer)) = index_entry(&self.table, index, &row, &key)? else { continue };
                if index.unique && txn.get(index.space, &entry).await?.is_some() {
                    return Err(duplicate_key(&self.table, index, &row));
                }
                txn.put_new(index.space, &entry, pointer.into())?;
            }
            self.foreign.added(&row)?;
            written.push(row);
        }
        Ok(written)
    }

    /// Replaces rows: each is the old one and the new one. Returns the new ones as they were written.
    pub async fn update(&mut self, changes: Vec<(Row, Row)>) -> Result<Vec<Row>> {
        let (old, mut new): (Vec<Row>, Vec<Row>) = changes.into_iter().unzip();
        self.compute(&mut new)?;
        self.check_rows(&new)?;
        let written = new.clone();
        // Keys that change are freed first, so that rows may swap them.
        let mut moved = Vec::new();
        for (old, new) in old.into_iter().zip(new) {
            let (old_key, _) = encode_row(&self.table, &old)?;
            let (new_key, _) = encode_row(&self.table, &new)?;
            if old_key == new_key {
                self.foreign.changed(&old, &new)?;
                self.replace(&old, &new).await?;
            } else {
                self.foreign.changed(&old, &new)?;
                self.take_out(&old)?;
                moved.push(new);
            }
        }
        self.insert(moved, &OnConflict::Fail).await?;
        Ok(written)
    }

    /// Writes `new` over `old`, which has the same primary key.
    async fn replace(&mut self, old: &Row, new: &Row) -> Result<()> {
        self.foreign.changed(old, new)?;
        let txn = self.context.txn().clone();
        let (key, value) = encode_row(&self.table, new)?;
        txn.put(self.table.primary.space, &key, value.into())?;
        for index in &self.table.indexes {
            let old_entry = index_entry(&self.table, index, old, &key)?;
            let new_entry = index_entry(&self.table, index, new, &key)?;
            if old_entry == new_entry {
                continue;
            }
            let stays = matches!((&old_entry, &new_entry), (Some((old, _)), Some((new, _))) if old == new);
            if let Some((entry, _)) = old_entry.filter(|_| !stays) {
                txn.delete(index.space, &entry)?;
            }
            if let Some((entry, pointer)) = new_entry {
                if !stays && index.unique && txn.get(index.space, &entry).await?.is_some() {
                    return Err(duplicate_key(&self.table, index, new));
                }
                txn.put(index.space, &entry, pointer.into())?;
            }
        }
        Ok(())
    }

    /// Deletes rows.
    pub async fn delete(&mut self, rows: Vec<Row>) -> Result<()> {
        for row in rows {
            self.remove(&row)?;
        }
        Ok(())
    }

    fn remove(&mut self, row: &Row) -> Result<()> {
        self.foreign.removed(row)?;
        self.take_out(row)
    }

    /// Deletes a row and its index entries.
    fn take_out(&self, row: &Row) -> Result<()> {
        let txn = self.context.txn();
        let (key, _) = encode_row(&self.table, row)?;
        txn.delete(self.table.primary.space, &key)?;
        for index in &self.table.indexes {
            if let Some((entry, _)) = index_entry(&self.table, index, row, &key)? {
                txn.delete(index.space, &entry)?;
            }
        }
        Ok(())
    }

    /// Ends the statement: loads what was sorted, lets rows of other tables follow, and checks foreign keys.
    pub async fn finish(self) -> Result<()> {
        let (context, mut followed) = (self.context.clone(), Vec::new());
        let own = self.finish_without_check(&mut followed).await?;
        followed.push(own);
        for keys in &followed {
            keys.check(&context).await?;
        }
        Ok(())
    }

    /// The same without the check. A row that is left without what it refers to may be gone when all rows have followed.
    pub async fn finish_without_check(mut self, followed: &mut Vec<ForeignKeys>) -> Result<ForeignKeys> {
        if let Some(bulk) = self.bulk.take() {
            bulk.finish().await?;
        }
        self.context.fresh_spaces().forget(&self.table.all_indexes().map(|index| index.space).collect::<Vec<_>>());
        // Before others follow: what is referred to stays, whatever would go with it.
        self.foreign.restrict(&self.context).await?;
        self.foreign.follow(&self.context, followed).await?;
        Ok(self.foreign)
    }
}

/// The positions of an index's columns in its table.
pub fn values_in_index(table: &TableDescriptor, index: &Index) -> impl Iterator<Item = usize> {
    index.columns.iter().filter_map(|part| table.position(part.column))
}

/// What an error says of a row that breaks a rule.
fn failing_row(table: &TableDescriptor, row: &[Datum<'_>]) -> String {
    let shown = table.columns.iter().zip(row).filter(|(column, _)| !column.hidden).map(|(column, datum)| {
        let mut value = String::new();
        match datum {
            Datum::Null => value.push_str("null"),
            datum => text::format(&mut value, datum, &column.column_type, TimeZone::UTC),
        }
        match value.char_indices().nth(SHOWN_CHARACTERS) {
            Some((end, _)) => format!("{}...", &value[..end]),
            None => value,
        }
    });
    format!("Failing row contains ({}).", shown.collect::<Vec<_>>().join(", "))
}

/// The error that a row's values in an index are taken.
pub fn duplicate_key(table: &TableDescriptor, index: &Index, row: &[Datum<'_>]) -> Error {
    let mut names = Vec::new();
    let mut values = Vec::new();
    for part in &index.columns {
        if let Some(position) = table.position(part.column) {
            let column = &table.columns[position];
            let mut value = String::new();
            text::format(&mut value, &row[position], &column.column_type, TimeZone::UTC);
            let expression = column.generated.as_ref().filter(|_| column.hidden);
            names.push(expression.unwrap_or(&column.name).clone());
            values.push(value);
        }
    }
    let message = format!("duplicate key value violates unique constraint \"{}\"", index.name);
    let detail = format!("Key ({})=({}) already exists.", names.join(", "), values.join(", "));
    Error::new(code::UNIQUE_VIOLATION, message).detail(detail).constraint(&index.name).table(table)
}
