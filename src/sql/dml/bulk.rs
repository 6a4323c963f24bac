//! Loading many rows into new spaces: sort, spill to disk if need be, ingest.
//!
//! Entries of all the table's spaces go into one sort, so one ingest carries them all. What does not fit in memory is
//! written as sorted runs in the backup's own file format and merged. An entry's number stands in for its timestamp, so that
//! two entries of one key both come out of the merge and are found.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use crate::catalog::TableDescriptor;
use crate::kv::{self, Batch, Entry, SpaceId, Span};
use crate::runfile::{Merged, RunMeta, RunReader, RunWriter, merge};
use crate::storage::{Location, NodeLocal};
use crate::time::Timestamp;

/// Entries are sorted in pieces of about this size.
const SORT_BYTES: usize = 64 << 20;
/// Less than this goes through the transaction: an ingest is not worth it.
const MIN_INGEST_BYTES: usize = 4 << 20;
/// What an entry costs in memory besides its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 96;

struct Pending {
    space: SpaceId,
    key: Bytes,
    value: Bytes,
}

/// Sorts the entries of a table's spaces and loads them.
pub struct BulkSorter {
    context: Context,
    table: Arc<TableDescriptor>,
    entries: Vec<Pending>,
    bytes: usize,
    pushed: i64,
    directory: PathBuf,
    spilled: Vec<RunMeta>,
}

impl BulkSorter {
    /// A sorter for a table whose spaces nobody else can see.
    pub fn new(context: &Context, table: Arc<TableDescriptor>) -> BulkSorter {
        let directory = context.engine().temporary().join(format!("sort-{:016x}", rand::random::<u64>()));
        BulkSorter {
            context: context.clone(),
            table,
            entries: Vec::new(),
            bytes: 0,
            pushed: 0,
            directory,
            spilled: Vec::new(),
        }
    }

    fn location(&self) -> Location {
        Location::new(Arc::new(NodeLocal::new(self.directory.clone())), "temporary files")
    }

    /// Adds an entry.
    pub async fn push(&mut self, space: SpaceId, key: Bytes, value: Bytes) -> Result<()> {
        self.bytes += key.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        self.entries.push(Pending { space, key, value });
        if self.bytes >= SORT_BYTES {
            self.spill().await?;
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.entries.sort_by(|a, b| (a.space, &a.key).cmp(&(b.space, &b.key)));
    }

    async fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut writer = RunWriter::new();
        let failed = |error: std::io::Error| Error::new(code::IO_ERROR, format!("cannot sort: {error}"));
        // Numbers descend within a key, as times do.
        let count = self.entries.len() as i64;
        for (index, entry) in self.entries.iter().enumerate() {
            let time = Timestamp(self.pushed + count - index as i64);
            writer.push(entry.space, Entry { key: &entry.key, value: Some(&entry.value), time }).map_err(failed)?;
        }
        self.pushed += count;
        self.entries.clear();
        self.bytes = 0;
        let run = writer.finish().map_err(failed)?;
        self.location().write(&run.meta.id.to_string(), run.bytes).await?;
        self.spilled.push(run.meta);
        Ok(())
    }

    /// Loads everything. A key that came twice is a violation of the constraint whose space it is in.
    pub async fn finish(mut self) -> Result<()> {
        self.load().await
    }

    async fn load(&mut self) -> Result<()> {
        self.sort();
        let twice = self.entries.windows(2).find(|pair| (pair[0].space, &pair[0].key) == (pair[1].space, &pair[1].key));
        if let Some(pair) = twice {
            return Err(self.duplicate(pair[0].space));
        }
        let txn = self.context.txn().clone();
        if self.spilled.is_empty() && self.bytes < MIN_INGEST_BYTES {
            for entry in &self.entries {
                txn.put(entry.space, &entry.key, entry.value.clone())?;
            }
            return Ok(());
        }
        let sorted = if self.spilled.is_empty() { self.in_memory() } else { self.merged().await? };
        // The spaces appear with this transaction's commit, and its own reads are at its snapshot: rows of that time are
        // seen by both.
        match self.context.engine().store().ingest(sorted, txn.snapshot()).await {
            Ok(_) => Ok(()),
            Err(kv::Error::Unsorted) => Err(self.duplicate(self.table.primary.space)),
            Err(error) => Err(error.into()),
        }
    }

    fn duplicate(&self, space: SpaceId) -> Error {
        let index = self.table.all_indexes().find(|index| index.space == space);
        let name = index.map_or("", |index| &index.name);
        Error::new(code::UNIQUE_VIOLATION, format!("duplicate key value violates unique constraint \"{name}\""))
            .constraint(name)
            .table(&self.table)
    }

    fn in_memory(&mut self) -> kv::IngestStream {
        let mut entries = std::mem::take(&mut self.entries).into_iter().peekable();
        let batches = std::iter::from_fn(move || {
            let space = entries.peek()?.space;
            let mut batch = Batch::with_room();
            while let Some(entry) = entries.next_if(|entry| entry.space == space) {
                batch.push(&entry.key, Some(&entry.value), Timestamp::MAX);
                if batch.is_full() {
                    break;
                }
            }
            Some(Ok((space, batch)))
        });
        stream::iter(batches).boxed()
    }

    async fn merged(&mut self) -> Result<kv::IngestStream> {
        if !self.entries.is_empty() {
            self.spill().await?;
        }
        let location = self.location();
        let mut readers = Vec::new();
        for meta in &self.spilled {
            readers.push(RunReader::open(&location, &meta.id.to_string(), meta, None).await?);
        }
        let mut spaces: Vec<SpaceId> = self.table.all_indexes().map(|index| index.space).collect();
        spaces.sort();
        let everything = Merged::Versions { after: Timestamp::MIN, upto: Timestamp::MAX };
        let of_space = move |space: SpaceId| -> BoxStream<'static, kv::Result<(SpaceId, Batch)>> {
            let runs = readers.iter().map(|reader| reader.read(Span::all(space))).collect();
            let failed = |error: crate::runfile::Error| kv::Error::Engine(error.to_string());
            merge(runs, everything).map(move |batch| batch.map(|batch| (space, batch)).map_err(failed)).boxed()
        };
        Ok(stream::iter(spaces).flat_map(of_space).boxed())
    }
}

impl Drop for BulkSorter {
    fn drop(&mut self) {
        if !self.spilled.is_empty()
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            tracing::warn!(%error, "cannot remove the files of a sort");
        }
    }
}
