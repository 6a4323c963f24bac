//! The tables of the `system` database. Their descriptors are compiled in, so that the catalog can be read at all.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::TryStreamExt;

use super::access::{decode_row, encode_row};
use super::{
    Column, ColumnId, ColumnType, DatabaseDescriptor, Datum, Descriptor, DescriptorId, Identity, Index, IndexColumn,
    PUBLIC_SCHEMA, Result, SchemaDescriptor, TableDescriptor,
};
use crate::kv::{Direction, SpaceId, Span, Txn};

/// Ids below this belong to the system; stores hand out ids from here on.
pub const FIRST_USER_ID: u64 = 100;
/// The name of the system database.
pub const SYSTEM_DATABASE: &str = "system";

const SYSTEM_DATABASE_ID: DescriptorId = DescriptorId(1);
const SYSTEM_SCHEMA_ID: DescriptorId = DescriptorId(2);
const NODE_USER: &str = "node";

/// One table of the system database.
pub struct SystemTable {
    /// Its descriptor.
    pub descriptor: Arc<Descriptor>,
    table: TableDescriptor,
    space: SpaceId,
}

macro_rules! system_tables {
    ($($(#[$doc:meta])* $constant:ident = $id:literal $name:literal ($($column:literal $kind:ident),*) key $keys:literal;)*) => {
        $($(#[$doc])*
        pub static $constant: LazyLock<SystemTable> = LazyLock::new(|| {
            SystemTable::new($id, $name, &[$(($column, ColumnType::$kind)),*], $keys)
        });)*

        /// Every system table.
        pub fn tables() -> impl Iterator<Item = &'static SystemTable> {
            [$(&*$constant),*].into_iter()
        }
    };
}

system_tables! {
    /// id -> descriptor.
    DESCRIPTOR = 3 "descriptor" ("id" Int8, "descriptor" Json) key 1;
    /// Names to ids. A parent of 0 stands for none.
    NAMESPACE = 4 "namespace" ("parent_id" Int8, "parent_schema_id" Int8, "name" Text, "id" Int8) key 3;
    /// Users.
    USERS = 5 "users" ("username" Text, "is_role" Bool, "created" TimestampTz, "attributes" Json) key 1;
    /// Cluster settings that are not at their default.
    SETTINGS = 6 "settings" ("name" Text, "value" Text, "last_updated" TimestampTz) key 1;
    /// Jobs: what they are and what state they are in.
    JOBS = 7 "jobs" (
        "id" Int8, "status" Text, "job_type" Text, "description" Text, "user_name" Text, "created" TimestampTz,
        "started" TimestampTz, "finished" TimestampTz, "error" Text, "payload" Json, "claim_session" Text,
        "claim_epoch" Int8, "claim_expires" TimestampTz, "canceled" Bool, "pause_reason" Text, "schedule_id" Int8,
        "execution_errors" Json
    ) key 1;
    /// Jobs: how far they are, and where to go on.
    JOB_PROGRESS = 8 "job_progress" (
        "id" Int8, "fraction_completed" Float8, "running_status" Text, "modified" TimestampTz, "checkpoint" Json,
        "result" Json
    ) key 1;
    /// Times whose history must not be collected.
    PROTECTED_TIMESTAMPS = 9 "protected_ts_records" (
        "id" Int8, "timestamp" Int8, "target" Json, "owner_type" Text, "owner_id" Int8
    ) key 1;
    /// Zone configurations, by the id of a database or table; 0 is the default range.
    ZONES = 10 "zones" ("id" Int8, "config" Json) key 1;
    /// What jobs and schedules must keep to themselves, sealed with the key of the store.
    SECRETS = 12 "secrets" ("id" Int8, "owner_type" Text, "owner_id" Int8, "sealed" Bytes) key 1;
    /// What is so of the cluster as a whole, such as its id. Never in a backup.
    CLUSTER = 13 "cluster" ("name" Text, "value" Text) key 1;
    /// Schedules: when they run, what they run, and how that went.
    SCHEDULED_JOBS = 14 "scheduled_jobs" (
        "id" Int8, "label" Text, "owner" Text, "created" TimestampTz, "next_run" TimestampTz, "recurrence" Text,
        "on_previous_running" Text, "on_execution_failure" Text, "state" Text, "statement" Text, "has_secret" Bool,
        "options" Json, "runs" Json
    ) key 1;
    /// Spaces that were dropped and still have history: whose they were, and whether backups left them out.
    DROPPED_SPACES = 11 "dropped_spaces" ("space" Int8, "object_id" Int8, "database_id" Int8, "excluded" Bool) key 1;
}

impl SystemTable {
    fn new(id: u64, name: &str, columns: &[(&str, ColumnType)], key_columns: u32) -> SystemTable {
        let column = |(index, (name, column_type)): (usize, &(&str, ColumnType))| Column {
            nullable: index as u32 >= key_columns,
            ..Column::new(ColumnId(index as u32 + 1), *name, column_type.clone())
        };
        let part = |id: u32| IndexColumn { column: ColumnId(id), descending: false };
        let space = SpaceId(id);
        let primary = Index::new("primary", space, true, (1..=key_columns).map(part).collect());
        let identity = Identity::new(DescriptorId(id), name, NODE_USER);
        let mut table = TableDescriptor::new(identity, SYSTEM_DATABASE_ID, SYSTEM_SCHEMA_ID, primary);
        table.columns = columns.iter().enumerate().map(column).collect();
        table.next_column = columns.len() as u32 + 1;
        SystemTable { descriptor: Arc::new(Descriptor::Table(table.clone())), table, space }
    }

    fn table(&self) -> &TableDescriptor {
        &self.table
    }

    /// The space of its rows.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    /// The position of a column that the table has.
    pub fn column(&self, name: &str) -> usize {
        self.table.columns.iter().position(|column| column.name == name).unwrap_or_default()
    }

    /// The key of the row whose key columns have these values.
    pub fn key(&self, values: &[Datum<'_>]) -> Vec<u8> {
        let mut key = Vec::new();
        values.iter().for_each(|value| super::key::push(&mut key, value, false));
        key
    }

    /// Writes a whole row, one value per column.
    pub fn put(&self, txn: &dyn Txn, row: &[Datum<'_>]) -> Result<()> {
        let (key, value) = encode_row(self.table(), row)?;
        Ok(txn.put(self.space, &key, Bytes::from(value))?)
    }

    /// Deletes the row with this key.
    pub fn delete(&self, txn: &dyn Txn, key: &[Datum<'_>]) -> Result<()> {
        Ok(txn.delete(self.space, &self.key(key))?)
    }

    /// The row with this key, one value per column.
    pub async fn get(&self, txn: &dyn Txn, key: &[Datum<'_>]) -> Result<Option<Vec<Datum<'static>>>> {
        let key = self.key(key);
        match txn.get(self.space, &key).await? {
            Some((value, _)) => decode_row(self.table(), &key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// A row out of its key and value, one value per column.
    pub fn decode(&self, key: &[u8], value: &[u8]) -> Result<Vec<Datum<'static>>> {
        decode_row(self.table(), key, value)
    }

    /// The rows whose key begins with these values, in key order.
    pub async fn scan(&self, txn: &dyn Txn, prefix: &[Datum<'_>]) -> Result<Vec<Vec<Datum<'static>>>> {
        let span = Span::prefix(self.space, &self.key(prefix));
        let batches: Vec<_> = txn.scan(span, Direction::Forward, None).try_collect().await?;
        let entries = batches.iter().flat_map(|batch| batch.iter());
        entries
            .filter_map(|entry| Some((entry.key, entry.value?)))
            .map(|(key, value)| decode_row(self.table(), key, value))
            .collect()
    }
}

/// The descriptors of the system database, its schema and its tables.
pub fn descriptors() -> &'static [Arc<Descriptor>] {
    static ALL: LazyLock<Vec<Arc<Descriptor>>> = LazyLock::new(|| {
        let database = Identity::new(SYSTEM_DATABASE_ID, SYSTEM_DATABASE, NODE_USER);
        let schema = Identity::new(SYSTEM_SCHEMA_ID, PUBLIC_SCHEMA, NODE_USER);
        let mut all = vec![
            Arc::new(Descriptor::Database(DatabaseDescriptor { identity: database })),
            Arc::new(Descriptor::Schema(SchemaDescriptor {
                identity: schema,
                database: SYSTEM_DATABASE_ID,
                temporary: false,
            })),
        ];
        all.extend(tables().map(|table| table.descriptor.clone()));
        all
    });
    &ALL
}
