//! Offline verification of a store: everything is read, so every checksum is; what belongs together must agree.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;

use crate::catalog::system::{self, DESCRIPTOR, NAMESPACE};
use crate::catalog::{
    Descriptor, DescriptorId, Error as CatalogError, Index, TableDescriptor, decode_descriptor, decode_row, index_entry,
};
use crate::kv::embedded::Embedded;
use crate::kv::{self, Direction, Read, SpaceId, Span, Store};
use crate::time::{SystemClock, Timestamp};

/// Findings listed at most; the rest are counted.
const LISTED: usize = 100;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Databases, schemas, tables, views and sequences.
    pub descriptors: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Entries of all secondary indexes.
    pub index_entries: u64,
    /// Versions of everything, old ones included.
    pub versions: u64,
    /// What is wrong, the first of it.
    pub findings: Vec<String>,
    /// How much more is wrong.
    pub more: u64,
}

/// A store that cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("there is no store in {0}")]
    Missing(String),
    /// It cannot be opened or read.
    #[error(transparent)]
    Store(#[from] kv::Error),
    /// Its catalog cannot be read at all.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The check's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Report {
    fn note(&mut self, finding: String) {
        if self.findings.len() < LISTED { self.findings.push(finding) } else { self.more += 1 }
    }
}

/// Checks the store in a directory that no server uses now.
pub async fn check(directory: &Path) -> Result<Report> {
    let data = directory.join("data");
    if !data.is_dir() {
        return Err(Error::Missing(directory.display().to_string()));
    }
    let store = Embedded::open(&data, Arc::new(SystemClock::default()), system::FIRST_USER_ID)?;
    let report = Checker { at: store.now()?, store: store.clone(), report: Report::default() }.run().await;
    store.close()?;
    report
}

struct Checker {
    store: Embedded,
    at: Timestamp,
    report: Report,
}

impl Checker {
    async fn run(mut self) -> Result<Report> {
        let descriptors = self.descriptors().await?;
        self.names(&descriptors).await?;
        self.spaces(&descriptors);
        for descriptor in descriptors.values() {
            if let Descriptor::Table(table) = descriptor {
                self.references(table, &descriptors);
                self.table(table).await?;
            }
        }
        let report = &mut self.report;
        report.versions = self.store.verify(|finding| report.note(finding))?;
        Ok(self.report)
    }

    async fn descriptors(&mut self) -> Result<HashMap<DescriptorId, Descriptor>> {
        let txn = self.store.begin_at(self.at).await?;
        let mut descriptors = HashMap::new();
        for row in DESCRIPTOR.scan(&*txn, &[]).await? {
            match decode_descriptor(&row) {
                Ok(descriptor) => drop(descriptors.insert(descriptor.id(), descriptor)),
                Err(error) => self.report.note(format!("a descriptor cannot be read: {error}")),
            }
        }
        self.report.descriptors = descriptors.len() as u64;
        Ok(descriptors)
    }

    /// Every name must lead to a descriptor of that name, every descriptor must have one, and parents must be there.
    async fn names(&mut self, descriptors: &HashMap<DescriptorId, Descriptor>) -> Result<()> {
        let txn = self.store.begin_at(self.at).await?;
        let mut named = HashMap::new();
        for row in NAMESPACE.scan(&*txn, &[]).await? {
            let number = |column: usize| row[column].as_int().unwrap_or_default() as u64;
            let parent = |column: usize| Some(DescriptorId(number(column))).filter(|id| id.0 != 0);
            let id = DescriptorId(number(3));
            let name = row[2].as_text().unwrap_or_default().to_string();
            let agrees = |found: &Descriptor| found.name() == name && found.parents() == (parent(0), parent(1));
            if !descriptors.get(&id).is_some_and(agrees) {
                self.report
                    .note(format!("the name \"{name}\" leads to descriptor {}, which is not of that name", id.0));
            }
            named.insert(id, name);
        }
        let is_there = |id: DescriptorId| id.0 < system::FIRST_USER_ID || descriptors.contains_key(&id);
        for (id, descriptor) in descriptors {
            if !named.contains_key(id) {
                self.report.note(format!("{} has no name in the catalog", title(descriptor)));
            }
            let (database, schema) = descriptor.parents();
            if !database.into_iter().chain(schema).all(is_there) {
                self.report.note(format!("{} is in a database or schema that is gone", title(descriptor)));
            }
        }
        Ok(())
    }

    /// No two descriptors may share a space, and none may use one that was dropped.
    fn spaces(&mut self, descriptors: &HashMap<DescriptorId, Descriptor>) {
        let mut owners: HashMap<SpaceId, String> = HashMap::new();
        for descriptor in descriptors.values() {
            for space in descriptor.spaces() {
                if let Some(other) = owners.insert(space, title(descriptor)) {
                    self.report.note(format!("{} and {other} share space {space}", title(descriptor)));
                }
            }
        }
    }

    fn references(&mut self, table: &TableDescriptor, descriptors: &HashMap<DescriptorId, Descriptor>) {
        let name = &table.identity.name;
        for foreign in &table.foreign_keys {
            let Some(Descriptor::Table(referenced)) = descriptors.get(&foreign.referenced_table) else {
                self.report
                    .note(format!("table \"{name}\": constraint \"{}\" references a table that is gone", foreign.name));
                continue;
            };
            let missing = foreign.columns.iter().any(|column| table.column(*column).is_none())
                || foreign.referenced_columns.iter().any(|column| referenced.column(*column).is_none());
            if missing {
                self.report
                    .note(format!("table \"{name}\": constraint \"{}\" is about a column that is gone", foreign.name));
            }
        }
    }

    /// Every row must be readable and have its entry in each index, and no index may have more.
    async fn table(&mut self, table: &TableDescriptor) -> Result<()> {
        let name = &table.identity.name;
        let mut rows = 0;
        // Entries that each index should have.
        let mut entries: HashMap<SpaceId, u64> = HashMap::new();
        let mut batches = self.store.scan(Span::all(table.primary.space), self.at, Direction::Forward, None);
        loop {
            let batch = match batches.try_next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => {
                    self.report.note(format!("table \"{name}\" cannot be read: {error}"));
                    return Ok(());
                }
            };
            for entry in batch.iter() {
                rows += 1;
                let row = match decode_row(table, entry.key, entry.value.unwrap_or_default()) {
                    Ok(row) => row,
                    Err(error) => {
                        self.report.note(format!("table \"{name}\": a row cannot be read: {error}"));
                        continue;
                    }
                };
                let null = table.columns.iter().zip(&row).find(|(column, datum)| !column.nullable && datum.is_null());
                if let Some((column, _)) = null {
                    self.report.note(format!("table \"{name}\": column \"{}\" of a row is NULL", column.name));
                }
                for index in &table.indexes {
                    let Some((key, value)) = index_entry(table, index, &row, entry.key)? else { continue };
                    *entries.entry(index.space).or_insert(0) += 1;
                    let found = self.store.get(index.space, &key, self.at).await?;
                    if found.is_none_or(|found| found.value[..] != value[..]) {
                        self.report
                            .note(format!("index \"{}\" of table \"{name}\" lacks the entry of a row", index.name));
                    }
                }
            }
        }
        self.report.rows += rows;
        for index in &table.indexes {
            self.index(name, index, entries.get(&index.space).copied().unwrap_or(0)).await?;
        }
        Ok(())
    }

    async fn index(&mut self, table: &str, index: &Index, rows: u64) -> Result<()> {
        let batches = self.store.scan(Span::all(index.space), self.at, Direction::Forward, None);
        let count = |entries, batch: kv::Batch| async move { Ok(entries + batch.len() as u64) };
        let entries = batches.try_fold(0, count).await?;
        self.report.index_entries += entries;
        if entries != rows {
            let finding =
                format!("index \"{}\" of table \"{table}\" has {entries} entries for {rows} rows", index.name);
            self.report.note(finding);
        }
        Ok(())
    }
}

fn title(descriptor: &Descriptor) -> String {
    format!("{} \"{}\"", descriptor.kind(), descriptor.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{
        Catalog, Column, ColumnId, ColumnType, Datum, DescriptorCache, Identity, IndexColumn, encode_row,
    };

    const DATABASE: DescriptorId = DescriptorId(1000);

    fn index(name: &str, space: u64, column: u32) -> Index {
        let columns = vec![IndexColumn { column: ColumnId(column), descending: false }];
        Index::new(name, SpaceId(space), false, columns)
    }

    /// A store with one table of ten rows and an index; `spoil` then does something to it.
    async fn findings(spoil: impl AsyncFnOnce(&Embedded, &TableDescriptor)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let store = Embedded::open(&data, Arc::new(SystemClock::default()), system::FIRST_USER_ID).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut table = TableDescriptor::new(
            Identity::new(DescriptorId(1002), "t", "root"),
            DATABASE,
            DescriptorId(1001),
            index("t_pkey", 1002, 1),
        );
        let column =
            |id: u32, name: &str| Column { nullable: false, ..Column::new(ColumnId(id), name, ColumnType::Int8) };
        table.columns = vec![column(1, "a"), column(2, "b")];
        table.indexes = vec![index("t_b_idx", 1003, 2)];
        let catalog = Catalog::new(shared.begin().await.unwrap(), Arc::new(DescriptorCache::default()));
        let schema = crate::catalog::SchemaDescriptor {
            identity: Identity::new(DescriptorId(1001), "public", "root"),
            database: DATABASE,
            temporary: false,
        };
        let database = crate::catalog::DatabaseDescriptor { identity: Identity::new(DATABASE, "d", "root") };
        for descriptor in [Descriptor::Database(database), Descriptor::Schema(schema), Descriptor::Table(table.clone())]
        {
            catalog.create(&descriptor).await.unwrap();
        }
        for number in 0..10 {
            let row = [Datum::Int(number), Datum::Int(number * 7 % 10)];
            let (key, value) = encode_row(&table, &row).unwrap();
            let (entry, pointer) = index_entry(&table, &table.indexes[0], &row, &key).unwrap().unwrap();
            catalog.txn().put(table.primary.space, &key, value.into()).unwrap();
            catalog.txn().put(table.indexes[0].space, &entry, pointer.into()).unwrap();
        }
        catalog.txn().commit().await.unwrap();
        drop((catalog, shared));
        spoil(&store, &table).await;
        store.close().unwrap();
        drop(store);
        let report = check(directory.path()).await.unwrap();
        assert_eq!((report.descriptors, report.more), (3, 0));
        report.findings
    }

    async fn first_key(store: &Embedded, space: SpaceId) -> Vec<u8> {
        let now = store.now().unwrap();
        let mut batches = store.scan(Span::all(space), now, Direction::Forward, Some(1));
        batches.try_next().await.unwrap().unwrap().first_key().unwrap().to_vec()
    }

    #[tokio::test]
    async fn what_is_wrong_is_found_and_what_is_right_is_not() {
        assert_eq!(findings(async |_, _| {}).await, [] as [&str; 0]);
        let lost = findings(async |store, table| {
            let txn = store.begin().await.unwrap();
            txn.delete(table.indexes[0].space, &first_key(store, table.indexes[0].space).await).unwrap();
            txn.commit().await.unwrap();
        });
        assert_eq!(
            lost.await,
            [
                "index \"t_b_idx\" of table \"t\" lacks the entry of a row",
                "index \"t_b_idx\" of table \"t\" has 9 entries for 10 rows"
            ]
        );
        let spoilt = findings(async |store, table| {
            let txn = store.begin().await.unwrap();
            txn.put(table.primary.space, &first_key(store, table.primary.space).await, "nonsense".into()).unwrap();
            txn.commit().await.unwrap();
        });
        assert!(spoilt.await[0].starts_with("table \"t\": a row cannot be read: "));
        let nameless = findings(async |store, _| {
            let txn = store.begin().await.unwrap();
            let name = NAMESPACE.scan(&*txn, &[Datum::Int(1000), Datum::Int(1001)]).await.unwrap().remove(0);
            NAMESPACE.delete(&*txn, &name[..3]).unwrap();
            txn.commit().await.unwrap();
        });
        assert_eq!(nameless.await, ["table \"t\" has no name in the catalog"]);
        let dropped = findings(async |store, table| store.discard_spaces(&[table.primary.space]).await.unwrap());
        assert!(dropped.await[0].starts_with("table \"t\" cannot be read: "));
    }
}
