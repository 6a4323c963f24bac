//! How much there is: rows and bytes of every space, and where to cut one into even parts.
//!
//! **Counts** are kept exactly. A commit knows for each key it writes what was there before: what the transaction read (and
//! validation says is still so), or else what a look before the commit finds, put right by what was committed since. The new
//! counts go into the batch that carries the commit. A bulk load's counts stand in its record until that is folded in.
//!
//! ```text
//!   key:    space (8, big-endian)
//!   value:  rows (8, big-endian, signed) | bytes of keys and values (8, big-endian, signed)
//! ```
//!
//! **Samples** are one key in [`SAMPLE_EVERY`], chosen by a hash of the key, kept in a keyspace of their own for as long as the
//! key is there. Being chosen by hash they are evenly spread over the rows, whatever the keys look like.
//!
//! ```text
//!   key:    space | key, escaped and terminated
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode};

use super::Engine;
use super::encoding::{
    MIN_PREFIX_BYTES, decode_value, push_user_key, space_of, span_bounds, split_time, user_key_bytes,
};
use super::rows::Rows;
use crate::kv::{Error, Result, SpaceId, SpaceStats, Span};

/// Bytes of samples in memory.
const SAMPLES_MEMTABLE_BYTES: u64 = 1 << 20;
/// One key in so many is a sample.
const SAMPLE_EVERY: u64 = 32;
/// Parts are cut by samples if there are so many for each.
const SAMPLES_PER_PART: usize = 64;
/// Of more than so many times that, not all are looked at.
const THINNED_FROM: usize = 4;
/// Entries written or removed in one batch.
const SLICE: usize = 4096;

/// Rows and bytes, or by how many there are more or fewer. Below zero where bulk-loaded rows were deleted: those are counted
/// elsewhere until their load is folded in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    rows: i64,
    bytes: i64,
}

impl Counts {
    /// Takes note that a key has one value instead of another; both are given as the bytes of key and value together.
    pub fn replace(&mut self, before: Option<usize>, after: Option<usize>) {
        self.rows += i64::from(after.is_some()) - i64::from(before.is_some());
        self.bytes += after.unwrap_or_default() as i64 - before.unwrap_or_default() as i64;
    }

    /// Both together.
    pub fn plus(self, other: Counts) -> Counts {
        Counts { rows: self.rows.saturating_add(other.rows), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// What they say to the world.
    pub fn stats(self) -> SpaceStats {
        SpaceStats { rows: self.rows.max(0) as u64, bytes: self.bytes.max(0) as u64 }
    }

    /// As stored.
    pub fn encode(self) -> Vec<u8> {
        [self.rows.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }

    /// From the stored form; nothing stands for none.
    pub fn decode(stored: &[u8]) -> Result<Counts> {
        if stored.is_empty() {
            return Ok(Counts::default());
        }
        Ok(Counts { rows: number(stored, 0)? as i64, bytes: number(stored, 8)? as i64 })
    }
}

impl From<SpaceStats> for Counts {
    fn from(stats: SpaceStats) -> Counts {
        Counts { rows: stats.rows as i64, bytes: stats.bytes as i64 }
    }
}

/// The counts and samples of all spaces.
pub struct Stats {
    counts: Keyspace,
    samples: Keyspace,
    known: Mutex<HashMap<SpaceId, Counts>>,
    /// Held by whoever writes new counts, until they are durable.
    writer: Mutex<()>,
}

/// New counts that are being made durable.
pub struct Writing<'s> {
    stats: &'s Stats,
    changed: BTreeMap<SpaceId, Counts>,
    _writer: MutexGuard<'s, ()>,
}

impl Writing<'_> {
    /// They are durable now.
    pub fn done(self) {
        self.stats.known().extend(self.changed);
    }
}

impl Stats {
    /// Opens them.
    pub fn open(database: &Database) -> Result<Stats> {
        let counts = database.keyspace("stats", super::side_keyspace)?;
        // A sample is small, and its place in a memtable several times as large.
        let samples =
            database.keyspace("samples", || super::side_keyspace().max_memtable_size(SAMPLES_MEMTABLE_BYTES))?;
        let mut known = HashMap::new();
        for guard in counts.iter() {
            let (key, value) = guard.into_inner()?;
            known.insert(space_of(&key)?, Counts::decode(&value)?);
        }
        Ok(Stats { counts, samples, known: Mutex::new(known), writer: Mutex::new(()) })
    }

    /// Counts and samples the newest versions there are, of a store that had no statistics.
    pub fn rebuild(&self, database: &Database, rows: &Rows) -> Result<()> {
        self.counts.clear()?;
        self.samples.clear()?;
        self.known().clear();
        let mut counts: BTreeMap<SpaceId, Counts> = BTreeMap::new();
        let mut last = Vec::new();
        let mut batch = database.batch();
        for guard in rows.all() {
            let (key, value) = guard.into_inner()?;
            let (prefix, _) = split_time(&key)?;
            if prefix == last {
                continue;
            }
            last = prefix.to_vec();
            let Some(value) = decode_value(&value)? else { continue };
            let space = space_of(prefix)?;
            counts.entry(space).or_default().replace(None, Some(user_key_bytes(prefix) + value.len()));
            if is_sample(prefix) {
                batch.insert(&self.samples, prefix, []);
            }
            if batch.len() >= SLICE {
                std::mem::replace(&mut batch, database.batch()).commit()?;
            }
        }
        batch.commit()?;
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        let writing = self.write(&mut batch, counts);
        batch.commit()?;
        writing.done();
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SpaceId, Counts>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What commits have put into a space; bulk loads come on top.
    pub fn get(&self, space: SpaceId) -> Counts {
        self.known().get(&space).copied().unwrap_or_default()
    }

    /// Adds the counts as they are after these changes to the batch that makes them true.
    pub fn write(
        &self,
        batch: &mut OwnedWriteBatch,
        changes: impl IntoIterator<Item = (SpaceId, Counts)>,
    ) -> Writing<'_> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed: BTreeMap<SpaceId, Counts> = BTreeMap::new();
        for (space, change) in changes {
            let counts = changed.entry(space).or_insert_with(|| self.get(space));
            *counts = counts.plus(change);
        }
        for (space, counts) in &changed {
            batch.insert(&self.counts, space.0.to_be_bytes(), counts.encode());
        }
        Writing { stats: self, changed, _writer: writer }
    }

    /// Adds the removal of a space's counts to a batch.
    pub fn forget(&self, batch: &mut OwnedWriteBatch, space: SpaceId) {
        batch.remove(&self.counts, space.0.to_be_bytes());
        self.known().remove(&space);
    }

    /// Adds those of some writes that are of samples, in order, to the batch that carries the writes.
    pub fn sample<'w>(&self, batch: &mut OwnedWriteBatch, writes: impl Iterator<Item = (&'w [u8], bool)>) {
        // One batch must not write one key twice.
        let newest: BTreeMap<&[u8], bool> = writes.filter(|(prefix, _)| is_sample(prefix)).collect();
        for (prefix, is_there) in newest {
            match is_there {
                true => batch.insert(&self.samples, prefix, []),
                false => batch.remove(&self.samples, prefix),
            }
        }
    }

    /// Adds the samples among the rows of a bulk load.
    pub fn add_samples(&self, database: &Database, prefixes: &[Vec<u8>]) -> Result<()> {
        for prefixes in prefixes.chunks(SLICE) {
            let mut batch = database.batch();
            prefixes.iter().for_each(|prefix| batch.insert(&self.samples, &prefix[..], []));
            batch.commit()?;
        }
        Ok(())
    }

    /// Removes the samples of a space that is gone.
    pub fn drop_samples(&self, database: &Database, space: SpaceId) -> Result<()> {
        let (mut start, end) = span_bounds(&Span::all(space));
        self.samples.tree.drop_range(&start[..]..&end[..]).map_err(fjall::Error::from)?;
        loop {
            let mut batch = database.batch();
            for guard in self.samples.range(&start[..]..&end[..]).take(SLICE) {
                start = guard.key()?.to_vec();
                batch.remove(&self.samples, start.clone());
            }
            if batch.is_empty() {
                return Ok(());
            }
            batch.commit()?;
        }
    }

    /// Where samples are kept.
    pub fn samples_keyspace(&self) -> &Keyspace {
        &self.samples
    }

    /// The sampled keys of a span. Of more than `most`, an even number, some are left out, as evenly: memory stays flat.
    pub fn samples(&self, span: &Span, most: usize) -> Result<Vec<Bytes>> {
        let (start, end) = span_bounds(span);
        if start >= end {
            return Ok(Vec::new());
        }
        let (mut keys, mut stride): (Vec<Bytes>, usize) = (Vec::new(), 1);
        for (at, guard) in self.samples.range(start..end).enumerate() {
            if keys.len() == most {
                let mut stays = false;
                keys.retain(|_| {
                    stays = !stays;
                    stays
                });
                stride *= 2;
            }
            if !at.is_multiple_of(stride) {
                continue;
            }
            let prefix = guard.key()?;
            if prefix.len() < MIN_PREFIX_BYTES {
                return Err(Error::Corrupt("a sampled key is too short".into()));
            }
            let mut key = Vec::new();
            push_user_key(&mut key, &prefix);
            keys.push(key.into());
        }
        Ok(keys)
    }
}

/// Keys that cut a span into parts of about as many rows each.
pub fn split_points(engine: &Engine, span: &Span, parts: usize) -> Result<Vec<Bytes>> {
    if parts < 2 {
        return Ok(Vec::new());
    }
    let mut keys = engine.stats.samples(span, parts * SAMPLES_PER_PART * THINNED_FROM)?;
    if keys.len() < parts * SAMPLES_PER_PART {
        // So few that looking at all of them is no scan to speak of.
        keys = first_keys(engine, span, parts * SAMPLES_PER_PART * SAMPLE_EVERY as usize)?;
    }
    let mut points: Vec<Bytes> = (1..parts).filter_map(|part| keys.get(part * keys.len() / parts).cloned()).collect();
    points.dedup();
    points.retain(|point| *point > span.start && Some(point) != keys.first());
    Ok(points)
}

fn first_keys(engine: &Engine, span: &Span, limit: usize) -> Result<Vec<Bytes>> {
    let (start, end) = span_bounds(span);
    let mut keys: Vec<Bytes> = Vec::new();
    if start >= end {
        return Ok(keys);
    }
    let mut last = Vec::new();
    for guard in engine.rows.of(span.space).range(start..end) {
        let key = guard.key()?;
        let (prefix, _) = split_time(&key)?;
        if prefix == last {
            continue;
        }
        if keys.len() == limit {
            break;
        }
        last = prefix.to_vec();
        let mut user_key = Vec::new();
        push_user_key(&mut user_key, prefix);
        keys.push(user_key.into());
    }
    Ok(keys)
}

/// Whether the key with this version prefix is a sample.
pub fn is_sample(prefix: &[u8]) -> bool {
    (hash(prefix) >> 32).is_multiple_of(SAMPLE_EVERY)
}

/// FNV-1a, its bits mixed at the end. It is part of what is stored and must never change.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn number(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| Error::Corrupt("the statistics of a space are too short".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::embedded::encoding::version_prefix;

    #[test]
    fn samples_are_a_fixed_share_of_any_keys() {
        for keys in [
            (0..100_000_u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>(),
            (0..100_000_u32).map(|n| format!("user{n:09}").into_bytes()).collect(),
            (0..100_000_u64).map(|n| (n << 40).to_be_bytes().to_vec()).collect(),
        ] {
            let found = keys.iter().filter(|key| is_sample(&version_prefix(SpaceId(7), key))).count();
            assert!((2800..3450).contains(&found), "{found} of 100000");
        }
    }

    #[test]
    fn counts_follow_keys_that_come_and_go() {
        let mut counts = Counts::default();
        counts.replace(None, Some(10));
        counts.replace(Some(4), Some(6));
        counts.replace(Some(7), None);
        assert_eq!(counts, Counts { rows: 0, bytes: 5 });
        assert_eq!(Counts::decode(&counts.encode()), Ok(counts));
        assert_eq!(Counts { rows: -1, bytes: -7 }.stats(), SpaceStats::default());
        assert!(Counts::decode(&[0; 9]).is_err());
    }
}
