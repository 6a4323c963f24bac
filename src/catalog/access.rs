//! Names to descriptors and descriptors to rows, inside one transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;

use super::key::{self, KeyReader};
use super::retention;
use super::role::Role;
use super::row::{RowReader, RowWriter};
use super::system::{self, CLUSTER, DESCRIPTOR, NAMESPACE, USERS};
use super::{
    DatabaseDescriptor, Datum, Descriptor, DescriptorId, Error, Identity, Index, PUBLIC_SCHEMA, ROOT_USER, Result,
    SchemaDescriptor, TableDescriptor,
};
use crate::kv::{Direction, LockMode, SpaceId, Span, Store, Txn};
use crate::time::Timestamp;

/// The row of [`CLUSTER`] with the cluster's id.
const CLUSTER_ID: &str = "id";

/// Decoded descriptors kept at most.
const CACHED_DESCRIPTORS: usize = 8192;

/// Descriptors by id and commit timestamp: a version never changes, so nothing ever needs to be invalidated.
#[derive(Default)]
pub struct DescriptorCache {
    versions: Mutex<HashMap<(DescriptorId, Timestamp), Arc<Descriptor>>>,
}

impl DescriptorCache {
    fn get(&self, id: DescriptorId, time: Timestamp) -> Option<Arc<Descriptor>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&(id, time)).cloned()
    }

    fn insert(&self, id: DescriptorId, time: Timestamp, descriptor: Arc<Descriptor>) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= CACHED_DESCRIPTORS {
            versions.clear();
        }
        versions.insert((id, time), descriptor);
    }
}

/// The catalog as one transaction sees and changes it.
#[derive(Clone)]
pub struct Catalog {
    txn: Arc<dyn Txn>,
    cache: Arc<DescriptorCache>,
}

impl Catalog {
    /// The catalog in `txn`.
    pub fn new(txn: Arc<dyn Txn>, cache: Arc<DescriptorCache>) -> Catalog {
        Catalog { txn, cache }
    }

    /// The transaction.
    pub fn txn(&self) -> &Arc<dyn Txn> {
        &self.txn
    }

    /// Names the cluster; no other has the same.
    pub async fn cluster_id(&self) -> Result<String> {
        let row = CLUSTER.get(&*self.txn, &[CLUSTER_ID.into()]).await?;
        let id = row.as_ref().and_then(|row| row.get(1)?.as_text());
        id.map(String::from).ok_or_else(|| Error::corrupt("the cluster has no id"))
    }

    /// The object of that name in a database and schema; `None` for the parents looks up a database or schema.
    pub async fn lookup(
        &self,
        database: Option<DescriptorId>,
        schema: Option<DescriptorId>,
        name: &str,
    ) -> Result<Option<Arc<Descriptor>>> {
        let built_in =
            system::descriptors().iter().find(|found| found.parents() == (database, schema) && found.name() == name);
        if let Some(found) = built_in {
            return Ok(Some(found.clone()));
        }
        let row = NAMESPACE.get(&*self.txn, &namespace_key(database, schema, name)).await?;
        match row.and_then(|row| row[3].as_int()) {
            Some(id) => self.get(DescriptorId(id as u64)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The descriptor with an id, which must exist.
    pub async fn get(&self, id: DescriptorId) -> Result<Arc<Descriptor>> {
        self.find(id).await?.ok_or_else(|| Error::corrupt(format!("descriptor {} is missing", id.0)))
    }

    /// The descriptor with an id.
    pub async fn find(&self, id: DescriptorId) -> Result<Option<Arc<Descriptor>>> {
        if id.0 < system::FIRST_USER_ID {
            return Ok(system::descriptors().iter().find(|found| found.id() == id).cloned());
        }
        let key = DESCRIPTOR.key(&[id.0.into()]);
        let Some((value, time)) = self.txn.get(DESCRIPTOR.space(), &key).await? else { return Ok(None) };
        if let Some(cached) = time.and_then(|time| self.cache.get(id, time)) {
            return Ok(Some(cached));
        }
        let row = decode_row(table_of(&DESCRIPTOR.descriptor)?, &key, &value)?;
        self.decode(id, &row, time).map(Some)
    }

    /// Everything directly inside a database (its schemas), a schema (its objects), or, with two `None`, all databases;
    /// in name order.
    pub async fn list(
        &self,
        database: Option<DescriptorId>,
        schema: Option<DescriptorId>,
    ) -> Result<Vec<Arc<Descriptor>>> {
        let built_in = system::descriptors().iter().filter(|found| found.parents() == (database, schema));
        let mut found: Vec<_> = built_in.cloned().collect();
        let prefix = &namespace_key(database, schema, "")[..2];
        for row in NAMESPACE.scan(&*self.txn, prefix).await? {
            if let Some(id) = row[3].as_int() {
                found.push(self.get(DescriptorId(id as u64)).await?);
            }
        }
        found.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(found)
    }

    /// Every descriptor there is but those of the system database, by id.
    pub async fn all(&self) -> Result<Vec<Arc<Descriptor>>> {
        let mut all = Vec::new();
        let mut rows = self.txn.scan(Span::all(DESCRIPTOR.space()), Direction::Forward, None);
        while let Some(batch) = rows.try_next().await? {
            for entry in batch.iter() {
                let Some(value) = entry.value else { continue };
                let row = decode_row(table_of(&DESCRIPTOR.descriptor)?, entry.key, value)?;
                let id = DescriptorId(row[0].as_int().unwrap_or_default() as u64);
                let is_own_write = entry.time == Timestamp::MAX;
                let cached = if is_own_write { None } else { self.cache.get(id, entry.time) };
                all.push(match cached {
                    Some(descriptor) => descriptor,
                    None => self.decode(id, &row, Some(entry.time).filter(|_| !is_own_write))?,
                });
            }
        }
        Ok(all)
    }

    fn decode(&self, id: DescriptorId, row: &[Datum<'_>], time: Option<Timestamp>) -> Result<Arc<Descriptor>> {
        let descriptor = Arc::new(decode_descriptor(row)?);
        if let Some(time) = time {
            self.cache.insert(id, time, descriptor.clone());
        }
        Ok(descriptor)
    }

    /// The tables, views and sequences of all schemas of a database.
    pub async fn list_objects(&self, database: DescriptorId) -> Result<Vec<Arc<Descriptor>>> {
        let mut objects = Vec::new();
        for schema in self.list(Some(database), None).await? {
            objects.extend(self.list(Some(database), Some(schema.id())).await?);
        }
        Ok(objects)
    }

    /// Adds a descriptor and its name.
    pub async fn create(&self, descriptor: &Descriptor) -> Result<()> {
        let (database, schema) = descriptor.parents();
        if self.lookup(database, schema, descriptor.name()).await?.is_some() {
            return Err(Error::Exists(descriptor.name().into()));
        }
        if self.find(descriptor.id()).await?.is_some() {
            return Err(Error::corrupt(format!("descriptor id {} is in use", descriptor.id().0)));
        }
        let mut row = namespace_key(database, schema, descriptor.name()).to_vec();
        row.push(descriptor.id().0.into());
        NAMESPACE.put(&*self.txn, &row)?;
        self.write(descriptor)
    }

    /// Replaces a descriptor; its name and parents must be the same.
    pub fn write(&self, descriptor: &Descriptor) -> Result<()> {
        let mut descriptor = descriptor.clone();
        descriptor.identity_mut().format = descriptor.needed_format();
        let json = serde_json::to_string(&descriptor).map_err(|error| Error::corrupt(error.to_string()))?;
        DESCRIPTOR.put(&*self.txn, &[descriptor.id().0.into(), json.into()])
    }

    /// Replaces a descriptor whose name or parents have changed.
    pub async fn rename(&self, before: &Descriptor, after: &Descriptor) -> Result<()> {
        let (database, schema) = before.parents();
        NAMESPACE.delete(&*self.txn, &namespace_key(database, schema, before.name()))?;
        DESCRIPTOR.delete(&*self.txn, &[before.id().0.into()])?;
        self.create(after).await
    }

    /// Removes a descriptor and its name, and hides its spaces.
    pub fn remove(&self, descriptor: &Descriptor) -> Result<()> {
        let (database, schema) = descriptor.parents();
        NAMESPACE.delete(&*self.txn, &namespace_key(database, schema, descriptor.name()))?;
        DESCRIPTOR.delete(&*self.txn, &[descriptor.id().0.into()])?;
        self.drop_spaces(descriptor)
    }

    /// Hides all spaces that a descriptor had until now.
    pub fn drop_spaces(&self, descriptor: &Descriptor) -> Result<()> {
        retention::drop_all_spaces(&*self.txn, descriptor)
    }

    /// Hides a space that `table` had until now.
    pub fn drop_space(&self, table: &TableDescriptor, space: SpaceId) -> Result<()> {
        retention::drop_space(&*self.txn, table, space)
    }

    /// Keeps a descriptor from changing (shared, for DML) or being used (exclusive, for DDL) until the transaction ends.
    pub async fn lock(&self, id: DescriptorId, mode: LockMode) -> Result<()> {
        Ok(self.txn.lock(DESCRIPTOR.space(), &DESCRIPTOR.key(&[id.0.into()]), mode).await?)
    }

    /// Keeps a name from being taken or freed by others until the transaction ends.
    pub async fn lock_name(
        &self,
        database: Option<DescriptorId>,
        schema: Option<DescriptorId>,
        name: &str,
    ) -> Result<()> {
        let key = NAMESPACE.key(&namespace_key(database, schema, name));
        Ok(self.txn.lock(NAMESPACE.space(), &key, LockMode::Exclusive).await?)
    }

    /// Whether a user or role exists.
    pub async fn user_exists(&self, name: &str) -> Result<bool> {
        Ok(USERS.get(&*self.txn, &[name.into()]).await?.is_some())
    }

    /// Whether somebody may connect under a name: users may, roles may not.
    pub async fn may_log_in(&self, name: &str) -> Result<bool> {
        Ok(Role::find(&*self.txn, name).await?.is_some_and(|role| role.can_login))
    }
}

fn namespace_key<'a>(database: Option<DescriptorId>, schema: Option<DescriptorId>, name: &'a str) -> [Datum<'a>; 3] {
    let number = |id: Option<DescriptorId>| Datum::from(id.map_or(0, |id| id.0));
    [number(database), number(schema), name.into()]
}

fn table_of(descriptor: &Descriptor) -> Result<&TableDescriptor> {
    match descriptor {
        Descriptor::Table(table) => Ok(table),
        other => Err(Error::corrupt(format!("\"{}\" is a {}, not a table", other.name(), other.kind()))),
    }
}

/// The descriptor in a row of `system.descriptor`.
pub fn decode_descriptor(row: &[Datum<'_>]) -> Result<Descriptor> {
    let json = row.get(1).and_then(Datum::as_text).ok_or_else(|| Error::corrupt("a descriptor is not text"))?;
    let cannot = |error: serde_json::Error| Error::corrupt(format!("a descriptor cannot be read: {error}"));
    let descriptor: Descriptor = serde_json::from_str(json).map_err(cannot)?;
    descriptor.check_format()?;
    Ok(descriptor)
}

/// Fills a fresh store: databases `defaultdb` and `postgres`, user `root`. Does nothing on one that has them.
pub async fn bootstrap(store: &dyn Store) -> Result<()> {
    let txn = store.begin().await?;
    let catalog = Catalog::new(txn.clone(), Arc::default());
    if CLUSTER.get(&*txn, &[CLUSTER_ID.into()]).await?.is_none() {
        let id = uuid::Uuid::new_v4().to_string();
        CLUSTER.put(&*txn, &[CLUSTER_ID.into(), id.into()])?;
    }
    if catalog.user_exists(ROOT_USER).await? {
        txn.commit().await?;
        return Ok(());
    }
    let now = txn.snapshot().micros();
    for (name, is_role) in [(ROOT_USER, false), (super::ADMIN_ROLE, true)] {
        Role::new(name, !is_role, now).write(&*txn)?;
    }
    for name in ["defaultdb", "postgres"] {
        let id = DescriptorId(store.create_space().await?.0);
        create_database(&catalog, store, Identity::new(id, name, ROOT_USER)).await?;
    }
    txn.commit().await?;
    Ok(())
}

/// Adds a database with its public schema.
pub async fn create_database(catalog: &Catalog, store: &dyn Store, identity: Identity) -> Result<()> {
    let database = identity.id;
    let schema_id = DescriptorId(store.create_space().await?.0);
    let schema = Identity::new(schema_id, PUBLIC_SCHEMA, super::ADMIN_ROLE);
    catalog.create(&Descriptor::Database(DatabaseDescriptor { identity })).await?;
    catalog.create(&Descriptor::Schema(SchemaDescriptor { identity: schema, database, temporary: false })).await
}

/// The key of a row in an index, up to but not including what makes a secondary entry unique.
pub fn push_index_key(buffer: &mut Vec<u8>, table: &TableDescriptor, index: &Index, row: &[Datum<'_>]) -> Result<()> {
    for part in &index.columns {
        let position =
            table.position(part.column).ok_or_else(|| Error::corrupt("an index has a column its table lacks"))?;
        key::push(buffer, &row[position], part.descending);
    }
    Ok(())
}

/// A row is not longer than what a transaction may write; batches of the store rely on it.
const MAX_ROW_BYTES: usize = 1 << 30;

/// The key and value of a row, one datum per column of the table.
pub fn encode_row(table: &TableDescriptor, row: &[Datum<'_>]) -> Result<(Vec<u8>, Vec<u8>)> {
    debug_assert_eq!(row.len(), table.columns.len());
    let mut key = Vec::with_capacity(16);
    push_index_key(&mut key, table, &table.primary, row)?;
    let mut writer = RowWriter::default();
    for (column, datum) in table.columns.iter().zip(row) {
        let left_out = table.in_primary_key(column.id) || (datum.is_null() && column.missing.is_none());
        if !left_out {
            writer.push(column.id, datum);
        }
    }
    let value = writer.finish();
    if value.len() > MAX_ROW_BYTES {
        return Err(crate::kv::Error::TooLarge(MAX_ROW_BYTES).into());
    }
    Ok((key, value))
}

/// The row with a key and value, one datum per column of the table.
pub fn decode_row(table: &TableDescriptor, key: &[u8], value: &[u8]) -> Result<Vec<Datum<'static>>> {
    let mut row = table.columns.iter().map(super::Column::missing_value).collect::<Result<Vec<_>>>()?;
    let mut key = KeyReader::new(key);
    for part in &table.primary.columns {
        let position = table
            .position(part.column)
            .ok_or_else(|| Error::corrupt("the primary key has a column its table lacks"))?;
        row[position] = key.next(&table.columns[position].column_type, part.descending)?;
    }
    let mut reader = RowReader::new(value)?;
    while let Some((id, datum)) = reader.next_column()? {
        if let Some(position) = table.position(id) {
            row[position] = datum.into_owned();
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, ColumnId, ColumnType};

    #[test]
    fn rows_survive_added_and_dropped_columns() {
        let mut table = table_of(&system::USERS.descriptor).unwrap().clone();
        let row = [Datum::from("root"), Datum::Bool(true), Datum::Int(5), Datum::Null];
        let (key, value) = encode_row(&table, &row).unwrap();
        table.columns.remove(1);
        let mut writer = RowWriter::default();
        writer.push(ColumnId(9), &"none".into());
        let missing: String = writer.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        for (id, missing) in [(8, None), (9, Some(missing))] {
            table.columns.push(Column { missing, ..Column::new(ColumnId(id), format!("added{id}"), ColumnType::Text) });
        }
        let read = decode_row(&table, &key, &value).unwrap();
        assert_eq!(read, [Datum::from("root"), Datum::Int(5), Datum::Null, Datum::Null, "none".into()]);
        let with_null = [Datum::from("root"), Datum::Int(5), Datum::Null, Datum::Null, Datum::Null];
        let (key, value) = encode_row(&table, &with_null).unwrap();
        assert_eq!(decode_row(&table, &key, &value).unwrap(), with_null, "a stored NULL is not a missing value");
    }

    #[test]
    fn what_older_versions_do_not_know_they_are_told_to_refuse() {
        let table = table_of(&system::USERS.descriptor).unwrap();
        let with = |change: fn(&mut TableDescriptor)| {
            let mut table = table.clone();
            change(&mut table);
            Descriptor::Table(table).needed_format()
        };
        assert_eq!(with(|_| {}), 1);
        assert_eq!(with(|table| table.columns[1].generated = Some("1".into())), 2);
        assert_eq!(
            with(|table| table.indexes.push(Index { predicate: Some(ColumnId(1)), ..table.primary.clone() })),
            2
        );
        assert_eq!(with(|table| table.indexes.push(Index { stored: vec![ColumnId(1)], ..table.primary.clone() })), 3);
    }

    #[test]
    fn descriptors_are_self_describing_json() {
        for descriptor in system::descriptors() {
            let json = serde_json::to_string(&**descriptor).unwrap();
            assert!(json.contains("\"kind\":\"") && json.contains("\"owner\":\"node\""));
            assert_eq!(serde_json::from_str::<Descriptor>(&json).unwrap(), **descriptor);
        }
    }
}
