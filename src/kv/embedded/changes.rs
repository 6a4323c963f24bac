//! The change index: which keys changed when, so that reading changes costs what changed.
//!
//! ```text
//!   key:    bucket (8, big-endian): 15 minutes of commits | space | key, escaped and terminated
//!   value:  the newest time in the bucket at which the key was written (8, big-endian)
//! ```
//!
//! Every commit writes its entries in the same batch as its versions. A reader merges the buckets of its window in key order and
//! fetches each changed key by its exact version. Where most keys have changed, walking the versions is cheaper than fetching
//! them one by one, so the reader tries that now and then and keeps to what is cheaper (see [`ChangeScan::fill`]).
//!
//! A bulk load writes no entries: it is remembered as one event of its space ([`super::spaces`]), and a window with such an
//! event in it is read by walking all versions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch};

use super::committer::Write;
use super::encoding::{MIN_PREFIX_BYTES, decode_value, push_user_key, span_bounds, split_time, with_time};
use super::scan::{Scan, Select};
use super::{Engine, REOPENED};
use crate::kv::{Batch, Error, Result, SpaceId, Span};
use crate::time::Timestamp;

/// Time that one bucket covers.
const BUCKET: Duration = Duration::from_secs(15 * 60);
/// A window of more buckets than this is read by walking all versions.
const MAX_BUCKETS: usize = 1024;
/// Changed keys looked at together.
const GROUP: usize = 256;
/// Walking pays while it passes at most this many versions per changed key.
const STEPS_PER_CHANGE: usize = 8;
/// While keys are fetched one by one, every so many groups walking is tried.
const GROUPS_BETWEEN_TRIALS: usize = 16;
const FROM_KEY: &str = "changes/from";

/// The bucket that commits of this time write to.
pub fn bucket_of(time: Timestamp) -> u64 {
    (time.0.max(0) as u64) / BUCKET.as_nanos() as u64
}

/// The index as it is on disk.
pub struct ChangeIndex {
    entries: Keyspace,
    /// Commits at or before this were made before there was an index.
    from: Timestamp,
}

impl ChangeIndex {
    /// Where it is kept.
    pub fn keyspace(&self) -> &Keyspace {
        &self.entries
    }

    /// Opens the index. Of a store that had none (`existing` is the time it was opened) it knows nothing earlier.
    pub fn open(database: &Database, meta: &Keyspace, existing: Option<Timestamp>) -> Result<ChangeIndex> {
        let entries = database.keyspace("changes", super::side_keyspace)?;
        let from = match meta.get(FROM_KEY)?.as_deref().map(<[u8; 8]>::try_from) {
            Some(Ok(bytes)) => Timestamp(i64::from_be_bytes(bytes)),
            Some(Err(_)) => return Err(Error::Corrupt("the beginning of the change index has a wrong size".into())),
            None => {
                let from = existing.unwrap_or(Timestamp::MIN);
                let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncData));
                batch.insert(meta, FROM_KEY, from.0.to_be_bytes());
                batch.commit()?;
                from
            }
        };
        Ok(ChangeIndex { entries, from })
    }

    /// Adds the entries of some commits, in order of their times, to the batch that carries them.
    pub fn add<'w>(&self, batch: &mut OwnedWriteBatch, commits: impl Iterator<Item = (Timestamp, &'w [Write])>) {
        // One batch must not write one key twice.
        let mut newest: BTreeMap<(u64, &[u8]), Timestamp> = BTreeMap::new();
        for (time, writes) in commits {
            for write in writes {
                newest.insert((bucket_of(time), &write.prefix), time);
            }
        }
        for ((bucket, prefix), time) in newest {
            batch.insert(&self.entries, entry_key(bucket, prefix), time.0.to_be_bytes());
        }
    }

    /// Whether the index has, or may have had, the change that made a version.
    pub fn knows(&self, prefix: &[u8], time: Timestamp) -> Result<bool> {
        if time <= self.from {
            return Ok(true);
        }
        let entry = self.entries.get(entry_key(bucket_of(time), prefix))?;
        let newest = entry.map(|bytes| read_u64(Some(&bytes))).transpose()?;
        Ok(newest.is_some_and(|newest| newest as i64 >= time.0))
    }

    /// The buckets of a window that have entries, or `None` if there are too many or the index does not reach back so far.
    fn buckets(&self, after: Timestamp, upto: Timestamp) -> Result<Option<Vec<u64>>> {
        if after < self.from {
            return Ok(None);
        }
        let (mut next, last) = (bucket_of(after), bucket_of(upto));
        let mut buckets = Vec::new();
        while next <= last {
            let Some(guard) = self.entries.range(next.to_be_bytes()..).next() else { break };
            let found = read_u64(guard.key()?.get(..8))?;
            if found > last {
                break;
            }
            buckets.push(found);
            next = found + 1;
            if buckets.len() > MAX_BUCKETS {
                return Ok(None);
            }
        }
        Ok(Some(buckets))
    }

    /// Every bucket that has entries.
    pub fn all_buckets(&self) -> Result<Vec<u64>> {
        let mut buckets = Vec::new();
        let mut next = 0_u64;
        while let Some(guard) = self.entries.range(next.to_be_bytes()..).next() {
            let found = read_u64(guard.key()?.get(..8))?;
            buckets.push(found);
            next = found.checked_add(1).ok_or_else(|| Error::Corrupt("a bucket lies at the end of time".into()))?;
        }
        Ok(buckets)
    }

    /// The entries of a space in a bucket, as prefixes and newest times: at most `limit` of those after a prefix.
    pub fn entries_of(
        &self,
        bucket: u64,
        space: SpaceId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Timestamp)>> {
        let (start, end) = span_bounds(&Span::all(space));
        let start = match after {
            Some(prefix) => Bound::Excluded(entry_key(bucket, prefix)),
            None => Bound::Included(entry_key(bucket, &start)),
        };
        let found = self.entries.range((start, Bound::Excluded(entry_key(bucket, &end)))).take(limit);
        let entry = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner()?;
            let prefix = key.get(8..).filter(|prefix| prefix.len() >= MIN_PREFIX_BYTES).ok_or_else(too_short)?;
            Ok((prefix.to_vec(), Timestamp(read_u64(Some(&value))? as i64)))
        };
        found.map(entry).collect()
    }

    /// Adds the removal of an entry to a batch.
    pub fn remove(&self, batch: &mut OwnedWriteBatch, bucket: u64, prefix: &[u8]) {
        batch.remove(&self.entries, entry_key(bucket, prefix));
    }

    /// Gives back the files of a closed bucket in which no entry is left.
    pub fn drop_if_empty(&self, database: &Database, bucket: u64) -> Result<()> {
        let range = || bucket.to_be_bytes()..(bucket + 1).to_be_bytes();
        if self.entries.range(range()).next().is_some() {
            return Ok(());
        }
        // What hides the removed entries goes too. Where a file reaches beyond the bucket, some come back.
        self.entries.tree.drop_range(range()).map_err(fjall::Error::from)?;
        let mut batch = database.batch();
        for guard in self.entries.range(range()) {
            batch.remove(&self.entries, guard.key()?);
        }
        Ok(batch.commit()?)
    }
}

fn too_short() -> Error {
    Error::Corrupt("an entry of the change index is too short".into())
}

fn entry_key(bucket: u64, prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + prefix.len());
    key.extend_from_slice(&bucket.to_be_bytes());
    key.extend_from_slice(prefix);
    key
}

fn read_u64(bytes: Option<&[u8]>) -> Result<u64> {
    let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(too_short)
}

/// One bucket's entries in a span, the next of them read.
struct Bucket {
    iter: fjall::Iter,
    next: Option<(fjall::UserKey, Timestamp)>,
}

impl Bucket {
    fn advance(&mut self) -> Result<()> {
        self.next = match self.iter.next() {
            None => None,
            Some(guard) => {
                let (key, value) = guard.into_inner()?;
                if key.len() < 8 + MIN_PREFIX_BYTES {
                    return Err(too_short());
                }
                let time = Timestamp(read_u64(Some(&value))? as i64);
                Some((key, time))
            }
        };
        Ok(())
    }

    fn prefix(&self) -> Option<&[u8]> {
        self.next.as_ref().map(|(key, _)| &key[8..])
    }
}

/// How a reader gets at the versions of changed keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// One by one; walking is tried after so many groups more.
    Fetch(usize),
    /// By walking all versions from the first to the last of a group.
    Walk,
}

/// Reads the changes of a window: an iterator of batches.
pub struct ChangeScan {
    engine: Weak<Engine>,
    space: SpaceId,
    after: Timestamp,
    upto: Timestamp,
    buckets: Vec<Bucket>,
    mode: Mode,
    finished: bool,
}

impl ChangeScan {
    /// Reads the window by the index; `None` if that is not possible, or would cost more than walking all versions.
    pub fn open(engine: &Arc<Engine>, span: &Span, after: Timestamp, upto: Timestamp) -> Result<Option<ChangeScan>> {
        engine.spaces.check_readable(span.space, after)?;
        if engine.spaces.was_loaded(span.space, after, upto) {
            return Ok(None);
        }
        let Some(found) = engine.changes.buckets(after, upto)? else { return Ok(None) };
        let (start, end) = span_bounds(span);
        let mut buckets = Vec::with_capacity(found.len());
        for bucket in found {
            let iter = engine.changes.entries.range(entry_key(bucket, &start)..entry_key(bucket, &end));
            let mut bucket = Bucket { iter, next: None };
            bucket.advance()?;
            if bucket.next.is_some() {
                buckets.push(bucket);
            }
        }
        let mode = Mode::Fetch(0);
        Ok(Some(ChangeScan {
            engine: Arc::downgrade(engine),
            space: span.space,
            after,
            upto,
            buckets,
            mode,
            finished: false,
        }))
    }

    /// The next changed keys in order, each with its newest time in the index.
    fn next_group(&mut self) -> Result<Vec<(Vec<u8>, Timestamp)>> {
        let mut group: Vec<(Vec<u8>, Timestamp)> = Vec::with_capacity(GROUP);
        while group.len() < GROUP {
            let Some(lowest) = self.buckets.iter().filter_map(Bucket::prefix).min().map(<[u8]>::to_vec) else { break };
            let mut newest = Timestamp::MIN;
            for bucket in &mut self.buckets {
                if bucket.prefix() == Some(&lowest) {
                    newest = newest.max(bucket.next.as_ref().map_or(newest, |(_, time)| *time));
                    bucket.advance()?;
                }
            }
            self.buckets.retain(|bucket| bucket.next.is_some());
            // The first bucket of the window has entries from before it.
            if newest > self.after {
                group.push((lowest, newest));
            }
        }
        Ok(group)
    }

    fn fill(&mut self) -> Result<Batch> {
        let engine = self.engine.upgrade().ok_or(REOPENED)?;
        let mut batch = Batch::with_room();
        while !self.finished && !batch.is_full() {
            let group = self.next_group()?;
            self.finished = group.len() < GROUP;
            let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else { break };
            self.mode = match self.mode {
                Mode::Fetch(trials) if trials > 0 || group.len() < GROUP => {
                    self.fetch(&engine, &group, &mut batch)?;
                    Mode::Fetch(trials.saturating_sub(1))
                }
                _ if self.walk(&engine, first, last, group.len(), &mut batch)? => Mode::Walk,
                _ => {
                    self.fetch(&engine, &group, &mut batch)?;
                    Mode::Fetch(GROUPS_BETWEEN_TRIALS)
                }
            };
        }
        engine.spaces.check_readable(self.space, self.after)?;
        Ok(batch)
    }

    fn fetch(&self, engine: &Engine, group: &[(Vec<u8>, Timestamp)], batch: &mut Batch) -> Result<()> {
        let data = engine.rows.of(self.space);
        for (prefix, newest) in group {
            let found = if *newest <= self.upto {
                let value = data.get(with_time(prefix, *newest))?;
                let missing = || Error::Corrupt("the change index names a version that is not there".into());
                // Collected meanwhile: the check after the batch says so.
                let is_gone = || engine.spaces.check_readable(self.space, self.after).is_err();
                match value {
                    Some(value) => Some((value, *newest)),
                    None if is_gone() => return engine.spaces.check_readable(self.space, self.after),
                    None => return Err(missing()),
                }
            } else {
                // Written again since: the version of the window is another.
                let versions = with_time(prefix, self.upto)..=with_time(prefix, self.after.next());
                match data.range(versions).next() {
                    None => None,
                    Some(guard) => {
                        let (key, value) = guard.into_inner()?;
                        Some((value, split_time(&key)?.1))
                    }
                }
            };
            if let Some((value, time)) = found {
                batch.push_with(|buffer| push_user_key(buffer, prefix), decode_value(&value)?, time);
            }
        }
        Ok(())
    }

    /// Adds what walking from the first to the last key of a group finds, unless that takes too many steps.
    fn walk(&self, engine: &Arc<Engine>, first: &[u8], last: &[u8], changed: usize, batch: &mut Batch) -> Result<bool> {
        let user_key = |prefix: &[u8]| {
            let mut key = Vec::new();
            push_user_key(&mut key, prefix);
            key
        };
        let mut end = user_key(last);
        end.push(0);
        let span = Span { space: self.space, start: user_key(first).into(), end: Some(Bytes::from(end)) };
        let select = Select::Changes { after: self.after, upto: self.upto };
        let mut scan = Scan::open(engine, span, select, None)?;
        let mut found = Batch::with_room();
        if !scan.fill_within(engine, &mut found, changed * STEPS_PER_CHANGE)? {
            return Ok(false);
        }
        for entry in found.iter() {
            batch.push_with(|buffer| buffer.extend_from_slice(entry.key), entry.value, entry.time);
        }
        Ok(true)
    }
}

impl Iterator for ChangeScan {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.finished {
            match self.fill() {
                Ok(batch) if batch.is_empty() => {}
                Ok(batch) => return Some(Ok(batch)),
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
