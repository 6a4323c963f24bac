//! The attached multi-version key-value store: what every backup is a backup of.
//!
//! A store is a set of **spaces**, each one ordered key-value map: a table's rows, one secondary index, one system table.
//! Keys do not contain the table's id, so a table is dropped by dropping its spaces and restored by ingesting files into
//! new ones. Every value is versioned by its commit timestamp, and a delete is a version too:
//!
//! ```text
//!   time
//!    40            x            x = tombstone
//!    30   b2
//!    20            c1
//!    10   b1   a1
//!        key1 key2 key3         a scan at 35 sees key1=b2, key2=a1, key3=c1; at 45 key3 is gone
//! ```
//!
//! [`Read`] is also what a chain of backup layers implements, so restore and validation share its readers.
//! [`Store`] adds transactions, spaces and bulk ingest. The contract names no engine; [`embedded`] is the one on fjall.
//! `changes`, `versions`, `ingest` and per-space thresholds are capabilities a cluster store may lack: its fallback is
//! a full scan for the first two, batched transactions for `ingest`, and its own safe point for thresholds.
//!
//! **Closed time.** Once a reader has read at `t`, no commit ever appears at or below `t`.

mod batch;
pub mod embedded;
mod error;
mod overlay;
mod span;
pub mod varint;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use batch::{BATCH_BYTES, BATCH_ENTRIES, Batch, Entry};
pub use error::{Error, MAX_KEY_BYTES, Result};
pub use span::{SpaceId, Span, successor_of_prefix};

use crate::time::Timestamp;

/// A stream of batches; entries ascend (or descend) by key across the whole stream.
pub type BatchStream = BoxStream<'static, Result<Batch>>;

/// A sorted stream for [`Store::ingest`]: spaces ascend, and keys ascend strictly within a space.
pub type IngestStream = BoxStream<'static, Result<(SpaceId, Batch)>>;

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// How a transaction holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Many holders; keeps exclusive ones out.
    Shared,
    /// One holder.
    Exclusive,
}

/// A value and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes that were put.
    pub value: Bytes,
    /// The commit timestamp.
    pub time: Timestamp,
}

/// How much of its history a space still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceHistory {
    /// The space.
    pub space: SpaceId,
    /// It can be read from here on; [`Timestamp::MIN`] if nothing was ever forgotten.
    pub threshold: Timestamp,
    /// It can be read before this.
    pub dropped: Option<Timestamp>,
    /// When it was loaded in bulk last, until that is below the threshold.
    pub loaded: Option<Timestamp>,
}

/// What a round of [`Store::collect`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Versions removed.
    pub versions: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// What an ingest wrote, or what a space holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceStats {
    /// Number of keys.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Reading history.
#[async_trait]
pub trait Read: Send + Sync {
    /// The newest version of `key` at or before `at`, unless it is a tombstone.
    async fn get(&self, space: SpaceId, key: &[u8], at: Timestamp) -> Result<Option<Versioned>>;

    /// For each key of `span` the newest version at or before `at`, tombstones left out; at most `limit` entries.
    fn scan(&self, span: Span, at: Timestamp, direction: Direction, limit: Option<usize>) -> BatchStream;

    /// Every version in `(after, upto]`, tombstones included; keys ascend, times descend.
    fn versions(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream;

    /// For each key with a version in `(after, upto]` its newest version at or before `upto`, tombstones included.
    fn changes(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream;
}

/// A multi-version store with serializable transactions.
#[async_trait]
pub trait Store: Read {
    /// A timestamp later than every one handed out before, across restarts too.
    fn now(&self) -> Result<Timestamp>;

    /// Starts a transaction that reads the newest closed snapshot.
    async fn begin(&self) -> Result<Arc<dyn Txn>>;

    /// Starts a read-only transaction at `at`, which must not lie in the future.
    async fn begin_at(&self, at: Timestamp) -> Result<Arc<dyn Txn>>;

    /// A new empty space. Its id was never used before; descriptors share the numbering.
    async fn create_space(&self) -> Result<SpaceId>;

    /// Gives up spaces that nobody ever saw, such as those of a load that failed.
    async fn discard_spaces(&self, spaces: &[SpaceId]) -> Result<()>;

    /// Forgets that there ever were these spaces, those of them that have been collected whole. Reads of them find nothing
    /// from then on instead of failing, so it is for when no descriptor that names them can be read any more.
    async fn forget_spaces(&self, spaces: &[SpaceId]) -> Result<()>;

    /// Every space with a threshold, a drop or a bulk load, in order.
    fn histories(&self) -> Result<Vec<SpaceHistory>>;

    /// No transaction that is running, or still to begin, began with an earlier snapshot.
    fn oldest_begin(&self) -> Result<Timestamp>;

    /// Removes what thresholds ([`Txn::set_threshold`]) allow to be forgotten, looking at no more than about `keys` keys, and
    /// gives the space back to the disk.
    async fn collect(&self, keys: usize) -> Result<Collected>;

    /// Loads sorted rows into spaces that nobody can see yet, every row with the timestamp `at`.
    /// Repeating an ingest with the same rows and `at` changes nothing.
    async fn ingest(&self, rows: IngestStream, at: Timestamp) -> Result<SpaceStats>;

    /// Rows and bytes of a space as of the last commit, without looking at them.
    async fn stats(&self, space: SpaceId) -> Result<SpaceStats>;

    /// Up to `parts - 1` keys, ascending, that cut `span` into parts of about as many rows each, without scanning it.
    async fn split_points(&self, span: &Span, parts: usize) -> Result<Vec<Bytes>>;
}

/// One transaction: it sees one snapshot and its own writes, and commits whole or not at all.
#[async_trait]
pub trait Txn: Send + Sync {
    /// The snapshot it reads. [`Txn::lock`] may move it forward.
    fn snapshot(&self) -> Timestamp;

    /// Whether it was begun with [`Store::begin_at`].
    fn is_read_only(&self) -> bool;

    /// The value of `key`, own writes included. The time is `None` for an own write.
    async fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<(Bytes, Option<Timestamp>)>>;

    /// The keys of `span` with their values, own writes included (their time is [`Timestamp::MAX`]).
    fn scan(&self, span: Span, direction: Direction, limit: Option<usize>) -> BatchStream;

    /// Puts a value, to be seen by others after the commit.
    fn put(&self, space: SpaceId, key: &[u8], value: Bytes) -> Result<()>;

    /// The same for a key that the caller knows to have no value, such as a new row's entry in an index. The store need not
    /// look, to keep its statistics, what the value replaces.
    fn put_new(&self, space: SpaceId, key: &[u8], value: Bytes) -> Result<()> {
        self.put(space, key, value)
    }

    /// Deletes a key.
    fn delete(&self, space: SpaceId, key: &[u8]) -> Result<()>;

    /// Hides a space as of the commit. It stays readable before, until its threshold passes that time.
    fn drop_space(&self, space: SpaceId) -> Result<()>;

    /// Raises, with the commit, the time below which versions of `space` may be forgotten; never lowers it. Reads below it
    /// fail with [`Error::BelowThreshold`]. It must not lie after the transaction's snapshot.
    fn set_threshold(&self, space: SpaceId, threshold: Timestamp) -> Result<()>;

    /// Waits for the key. After a wait the snapshot moves to now if nothing already read has changed;
    /// otherwise, or when waiting would close a cycle, the result is [`Error::Retry`].
    async fn lock(&self, space: SpaceId, key: &[u8], mode: LockMode) -> Result<()>;

    /// The same without the wait: false if somebody else has the key, or waits for it.
    fn try_lock(&self, space: SpaceId, key: &[u8], mode: LockMode) -> Result<bool>;

    /// Marks a point that [`Txn::rollback_to`] can return to.
    fn savepoint(&self) -> usize;

    /// Undoes every write since `savepoint`; locks are kept.
    fn rollback_to(&self, savepoint: usize);

    /// Number of writes not yet committed.
    fn pending_writes(&self) -> usize;

    /// Commits. Returns the commit timestamp, or the snapshot when nothing was written.
    async fn commit(&self) -> Result<Timestamp>;

    /// Forgets every write and releases every lock.
    fn rollback(&self);
}
