//! The embedded store, on fjall.
//!
//! The user's spaces share one fjall keyspace, the system's another ([`rows`]); [`encoding`] says how a version becomes a fjall key.
//! What matters most:
//!
//! - **Reads never rely on a fjall snapshot for atomicity**: a flush can publish half a batch. They happen at or below the
//!   *closed* timestamp, which [`committer`] advances in order and only after the batch that carries it is durable.
//! - **Commits** are validated in memory ([`conflicts`]), given a timestamp, queued, and written by one thread: everything
//!   queued while the last fsync ran goes into the next batch, with one fsync.
//! - **Locks** ([`locks`]) only order writers ahead of time, so that hot rows queue; serializability comes from validation.
//! - Reads run on the caller's thread: a point read takes about a microsecond and a batch of a scan well under a
//!   millisecond, less than handing them to another thread would cost.

mod changes;
mod collector;
mod committer;
mod conflicts;
mod disk;
mod encoding;
mod handle;
mod ingest;
mod locks;
mod rows;
mod scan;
mod spaces;
mod stats;
mod txn;
mod verify;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions};
use futures::stream::{self, StreamExt};

use self::changes::{ChangeIndex, ChangeScan};
use self::collector::Collector;
use self::committer::Committer;
use self::disk::Disk;
use self::encoding::{decode_value, version_prefix};
use self::handle::{Handle, Options};
use self::locks::LockTable;
use self::rows::Rows;
use self::scan::{Scan, Select};
use self::spaces::Spaces;
use self::stats::Stats;
use self::txn::EmbeddedTxn;
use super::{
    Batch, BatchStream, Collected, Direction, Error, IngestStream, MAX_KEY_BYTES, Read, Result, SpaceHistory, SpaceId,
    SpaceStats, Span, Store, Txn, Versioned,
};
use crate::time::{Clock, Timestamp};

/// The newest store format this version reads and writes.
///
/// 2 has the change index, 3 statistics, 4 the system's rows in a keyspace of their own.
const FORMAT_VERSION: u8 = 4;
const FORMAT_KEY: &str = "format";
/// Blocks read are kept in memory up to this size, unless said otherwise; the machine's own cache of files comes below.
pub const DEFAULT_CACHE_BYTES: u64 = 64 << 20;
/// What is to be written to the tables of counts, samples and changes is collected up to this size.
const SIDE_MEMTABLE_BYTES: u64 = 8 << 20;
/// Journals are kept up to this size, and replayed after a crash at about 50 MB a second.
const JOURNAL_BYTES: u64 = 192 << 20;
/// Threads that flush and compact. fjall's first one takes no compaction: while all others are busy with some, it hands the next from
/// itself to itself, and with only two threads that costs a processor whenever something is compacted.
const MIN_WORKERS: usize = 4;
/// A flush that takes longer is not waited for.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// What a transaction or scan gets to know that was begun before the engine was opened again.
const REOPENED: Error = Error::Retry("the store was opened again after an error");

/// A store in a directory of its own, held by one process at a time.
#[derive(Clone)]
pub struct Embedded {
    handle: Arc<Handle>,
}

struct Engine {
    database: Database,
    rows: Rows,
    changes: Arc<ChangeIndex>,
    committer: Arc<Committer>,
    locks: LockTable,
    spaces: Arc<Spaces>,
    stats: Arc<Stats>,
    collector: Collector,
    disk: Disk,
}

impl Engine {
    /// Opens the store in a directory, creating it if there is none. The sender is told if the engine fails.
    fn open(options: &Options, failed: mpsc::Sender<()>) -> Result<Engine> {
        let directory = options.directory.as_path();
        let workers = std::thread::available_parallelism().map_or(MIN_WORKERS, |count| count.get().max(MIN_WORKERS));
        let database = Database::builder(directory).cache_size(options.cache_bytes).max_journaling_size(JOURNAL_BYTES);
        let database = database.worker_threads(workers).open().map_err(|error| match error {
            fjall::Error::Locked => {
                Error::Unopenable(format!("the store {} is in use by another process", directory.display()))
            }
            other => Error::Unopenable(format!("cannot open the store {}: {other}", directory.display())),
        })?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default)?;
        let format = meta.get(FORMAT_KEY)?;
        // A store that had no change index has one from now on.
        let existing = match format.as_deref() {
            Some([1]) => Some(committer::clock_bound(&meta)?),
            _ => None,
        };
        match format.as_deref() {
            Some([1..=FORMAT_VERSION]) | None => {}
            Some(other) => {
                return Err(Error::Unopenable(format!(
                    "the store {} has format {other:?}; this version of keepsafe reads up to {FORMAT_VERSION}",
                    directory.display()
                )));
            }
        }
        let rows = Rows::open(&database, options.first_space)?;
        let stats = Arc::new(Stats::open(&database)?);
        if matches!(format.as_deref(), Some([1 | 2])) {
            stats.rebuild(&database, &rows)?;
        }
        let spaces = Arc::new(Spaces::load(database.clone(), meta.clone(), stats.clone(), options.first_space)?);
        let changes = Arc::new(ChangeIndex::open(&database, &meta, existing)?);
        if format.as_deref() != Some(&[FORMAT_VERSION]) {
            let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncAll));
            rows.separate(&mut batch)?;
            batch.insert(&meta, FORMAT_KEY, [FORMAT_VERSION]);
            batch.commit()?;
        }
        let clock = options.clock.clone();
        let committer = Committer::start(
            database.clone(),
            rows.clone(),
            meta,
            changes.clone(),
            spaces.clone(),
            stats.clone(),
            clock.clone(),
            failed,
        )?;
        Ok(Engine {
            database,
            rows,
            changes,
            committer,
            locks: LockTable::default(),
            spaces,
            stats,
            collector: Collector::default(),
            disk: Disk::new(options.look.clone(), clock),
        })
    }

    /// Makes everything durable and stops the commit thread; later commits fail.
    fn close(&self) -> Result<()> {
        // What is in tables already need not be read from the journal into memory when the store is opened again.
        let side = [self.changes.keyspace(), self.stats.samples_keyspace()];
        for keyspace in side.into_iter().chain([&self.rows.system, &self.rows.user]) {
            if let Err(error) = self.flush_keyspace(keyspace) {
                tracing::info!(%error, "the store is closed without having been flushed");
            }
        }
        self.committer.stop();
        self.database.persist(fjall::PersistMode::SyncAll).map_err(Error::from)
    }

    /// Writes what is in memory of the user's rows to table files, or gives up: it is never needed, only good for what comes after.
    fn flush(&self) -> Result<()> {
        self.flush_keyspace(&self.rows.user)
    }

    fn flush_keyspace(&self, keyspace: &Keyspace) -> Result<()> {
        let began = Instant::now();
        if keyspace.rotate_memtable()? {
            while keyspace.tree.sealed_memtable_count() > 0 && began.elapsed() < FLUSH_PATIENCE {
                self.committer.check_running()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

impl Embedded {
    /// Opens the store in `directory`, creating it if there is none. Ids below `first_space` are never handed out.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>, first_space: u64) -> Result<Embedded> {
        Embedded::open_with_cache(directory, clock, first_space, DEFAULT_CACHE_BYTES)
    }

    /// The same, with another size of the cache of blocks.
    pub fn open_with_cache(
        directory: &Path,
        clock: Arc<dyn Clock>,
        first_space: u64,
        cache_bytes: u64,
    ) -> Result<Embedded> {
        let look = disk::look_at(directory);
        Embedded::open_with(Options { directory: directory.to_path_buf(), clock, first_space, look, cache_bytes })
    }

    fn open_with(options: Options) -> Result<Embedded> {
        Ok(Embedded { handle: Handle::open(options)? })
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        self.handle.engine()
    }

    /// Makes everything durable and stops the commit thread; later commits fail.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }

    /// Walks every version there is and says what does not fit together. Returns how many versions there are. For a store
    /// that nothing else uses.
    pub fn verify(&self, mut report: impl FnMut(String)) -> Result<u64> {
        verify::verify(&*self.engine()?, &mut report)
    }

    /// Changes by the index where that is possible, else by walking all versions.
    fn stream_changes(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream {
        let store = self.clone();
        let opened = async move {
            let engine = store.engine()?;
            engine.committer.close_at(upto).await?;
            let found = ChangeScan::open(&engine, &span, after, upto)?;
            Ok(match found {
                Some(scan) => yielding(scan),
                None => store.stream(span, upto, Select::Changes { after, upto }, None),
            })
        };
        stream::once(opened)
            .flat_map(|changes: Result<BatchStream>| changes.unwrap_or_else(|error| stream::iter([Err(error)]).boxed()))
            .boxed()
    }

    fn stream(&self, span: Span, at: Timestamp, select: Select, limit: Option<usize>) -> BatchStream {
        let store = self.clone();
        let opened = async move {
            let engine = store.engine()?;
            engine.committer.close_at(at).await?;
            Scan::open(&engine, span, select, limit)
        };
        stream::once(opened)
            .flat_map(|scan| match scan {
                Ok(scan) => yielding(scan),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }
}

/// The batches of a scan; between them, others get their turn.
fn yielding(scan: impl Iterator<Item = Result<Batch>> + Send + 'static) -> BatchStream {
    let fair = |batch| async move {
        tokio::task::consume_budget().await;
        batch
    };
    stream::iter(scan).then(fair).boxed()
}

impl Engine {
    fn stats_of(&self, space: SpaceId) -> SpaceStats {
        self.spaces.loaded(space).plus(self.stats.get(space)).stats()
    }

    /// How long the value is that a key has at a closed time.
    fn newest_value_bytes(&self, space: SpaceId, prefix: &[u8], at: Timestamp) -> Result<Option<usize>> {
        let versions = encoding::with_time(prefix, at)..=encoding::with_time(prefix, Timestamp::MIN);
        let Some(guard) = self.rows.of(space).range(versions).next() else { return Ok(None) };
        Ok(decode_value(&guard.into_inner()?.1)?.map(<[u8]>::len))
    }

    /// The newest version at or before `at`, which must be closed.
    fn get(&self, space: SpaceId, key: &[u8], at: Timestamp) -> Result<Option<Versioned>> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        let prefix = version_prefix(space, key);
        let newest = encoding::with_time(&prefix, at);
        let oldest = encoding::with_time(&prefix, Timestamp::MIN);
        let found = self.rows.of(space).range(newest..=oldest).next();
        self.spaces.check_readable(space, at)?;
        let Some(guard) = found else { return Ok(None) };
        let (versioned_key, value) = guard.into_inner()?;
        let time = encoding::time_of(&versioned_key)?;
        let value: Bytes = value.into();
        Ok(decode_value(&value)?.map(|live| Versioned { value: value.slice_ref(live), time }))
    }
}

#[async_trait]
impl Read for Embedded {
    async fn get(&self, space: SpaceId, key: &[u8], at: Timestamp) -> Result<Option<Versioned>> {
        let engine = self.engine()?;
        engine.committer.close_at(at).await?;
        engine.get(space, key, at)
    }

    fn scan(&self, span: Span, at: Timestamp, direction: Direction, limit: Option<usize>) -> BatchStream {
        self.stream(span, at, Select::Newest { at, direction }, limit)
    }

    fn versions(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream {
        self.stream(span, upto, Select::Versions { after, upto }, None)
    }

    fn changes(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream {
        self.stream_changes(span, after, upto)
    }
}

#[async_trait]
impl Store for Embedded {
    fn now(&self) -> Result<Timestamp> {
        self.engine()?.committer.now()
    }

    async fn begin(&self) -> Result<Arc<dyn Txn>> {
        let engine = self.engine()?;
        let snapshot = engine.committer.register_newest()?;
        Ok(Arc::new(EmbeddedTxn::new(&engine, snapshot, false)))
    }

    async fn begin_at(&self, at: Timestamp) -> Result<Arc<dyn Txn>> {
        let engine = self.engine()?;
        engine.committer.close_at(at).await?;
        engine.committer.register(at);
        Ok(Arc::new(EmbeddedTxn::new(&engine, at, true)))
    }

    async fn create_space(&self) -> Result<SpaceId> {
        self.engine()?.spaces.create()
    }

    async fn discard_spaces(&self, spaces: &[SpaceId]) -> Result<()> {
        self.engine()?.spaces.discard(spaces)
    }

    async fn forget_spaces(&self, spaces: &[SpaceId]) -> Result<()> {
        let engine = self.engine()?;
        engine.spaces.forget(&engine.collector.emptied(spaces))
    }

    fn histories(&self) -> Result<Vec<SpaceHistory>> {
        Ok(self.engine()?.spaces.histories())
    }

    fn oldest_begin(&self) -> Result<Timestamp> {
        Ok(self.engine()?.committer.oldest_begin())
    }

    async fn collect(&self, keys: usize) -> Result<Collected> {
        let engine = self.engine()?;
        let collected = tokio::task::spawn_blocking(move || collector::collect(&engine, keys)).await;
        collected.unwrap_or_else(|error| Err(Error::Engine(format!("a collection did not finish: {error}"))))
    }

    async fn ingest(&self, rows: IngestStream, at: Timestamp) -> Result<SpaceStats> {
        ingest::ingest(self.engine()?, rows, at).await
    }

    async fn stats(&self, space: SpaceId) -> Result<SpaceStats> {
        Ok(self.engine()?.stats_of(space))
    }

    async fn split_points(&self, span: &Span, parts: usize) -> Result<Vec<Bytes>> {
        stats::split_points(&*self.engine()?, span, parts)
    }
}

/// How a keyspace is kept that few bytes go into for each row.
fn side_keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(SIDE_MEMTABLE_BYTES)
}

#[cfg(test)]
mod tests;
