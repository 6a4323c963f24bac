//! The garbage collector: removes what thresholds allow to be forgotten.
//!
//! Every version that can go was superseded by a later write, and that write has an entry in the change index. So the
//! collector walks the entries from one threshold to the next and, for each key in them, the versions at or below the new
//! threshold: the newest of those is what a read at the threshold sees and stays, unless it is a tombstone; the others go.
//! What never changed is never looked at.
//!
//! **A tombstone goes in a later batch than what it hides.** A reader may see one batch and not yet the next, and a crash may
//! keep one and lose the next; in this order neither brings a deleted key back to life.
//!
//! **Index entries go only when their bucket has closed**, that is, when no commit can write to it any more: a removal and
//! a fresh entry of the same key must not meet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fjall::{AbstractTree, PersistMode};

use super::Engine;
use super::changes::bucket_of;
use super::encoding::{decode_value, span_bounds, with_time};
use crate::kv::{Collected, Result, SpaceHistory, SpaceId, Span};
use crate::time::Timestamp;

/// Entries or versions that are dealt with in one batch.
const SLICE: usize = 512;
/// The store is compacted once the versions removed since the last time took this share of it, in percent...
const COMPACT_PERCENT: u64 = 20;
/// ... and this much, so that small stores do not compact all the time ...
const COMPACT_MIN_BYTES: u64 = 16 << 20;
/// ... unless it is so large that this would take many minutes. What is removed then leaves the disk with the compactions
/// that new writes cause.
const COMPACT_MAX_STORE_BYTES: u64 = 8 << 30;

/// What the collector remembers between rounds. All of it can be lost: it is then found again.
#[derive(Default)]
pub struct Collector {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The threshold up to which a space has been collected.
    done: HashMap<SpaceId, Timestamp>,
    /// Dropped spaces of which nothing is left.
    emptied: HashSet<SpaceId>,
    /// Where the last round stopped. Entries that cannot go yet are passed over, and must not be passed over again and again.
    cursor: Option<Cursor>,
    /// Bytes of versions removed since the last compaction.
    removed_bytes: u64,
}

/// A place in the change index, on the way to a threshold of a space.
#[derive(Clone, PartialEq, Eq)]
struct Cursor {
    space: SpaceId,
    threshold: Timestamp,
    bucket: u64,
    after: Option<Vec<u8>>,
}

impl Collector {
    /// Of these spaces those of which nothing is left.
    pub fn emptied(&self, spaces: &[SpaceId]) -> Vec<SpaceId> {
        let state = self.lock();
        spaces.iter().filter(|space| state.emptied.contains(space)).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One round; rounds do not overlap.
pub fn collect(engine: &Engine, keys: usize) -> Result<Collected> {
    let mut state = engine.collector.lock();
    let mut round = Round { engine, left: keys, removed_bytes: 0, collected: Collected::default() };
    let outcome = round.run(&mut state);
    state.removed_bytes += round.removed_bytes;
    outcome?;
    let store_bytes = engine.rows.user.disk_space();
    // Compacting needs room for all of it once more.
    let is_worth_it = is_worth_compacting(state.removed_bytes, store_bytes) && engine.disk.has_room_for(store_bytes);
    if !round.collected.more && is_worth_it {
        engine.flush()?;
        engine.rows.user.major_compact()?;
        state.removed_bytes = 0;
    }
    Ok(round.collected)
}

fn is_worth_compacting(removed_bytes: u64, store_bytes: u64) -> bool {
    let wanted = (store_bytes / 100 * COMPACT_PERCENT).max(COMPACT_MIN_BYTES);
    removed_bytes >= wanted && store_bytes <= COMPACT_MAX_STORE_BYTES
}

struct Round<'e> {
    engine: &'e Engine,
    /// Keys that may still be looked at.
    left: usize,
    removed_bytes: u64,
    collected: Collected,
}

impl Round<'_> {
    fn run(&mut self, state: &mut State) -> Result<()> {
        // Read first: what has closed by now stays closed.
        let open_bucket = bucket_of(self.engine.committer.closed());
        let mut buckets = None;
        for history in self.engine.spaces.histories() {
            let SpaceHistory { space, threshold, dropped, .. } = history;
            let is_dead = dropped.is_some_and(|dropped| dropped <= threshold);
            let done = state.done.get(&space).copied();
            if state.emptied.contains(&space) || (!is_dead && done.unwrap_or(Timestamp::MIN) >= threshold) {
                continue;
            }
            let buckets = match &buckets {
                Some(known) => known,
                None => &*buckets.insert(self.engine.changes.all_buckets()?),
            };
            if is_dead {
                if !self.empty(space, buckets)? {
                    self.collected.more = true;
                    return Ok(());
                }
                state.emptied.insert(space);
                state.done.remove(&space);
                if dropped == Some(Timestamp::MIN) {
                    self.engine.spaces.forget(&[space])?;
                    state.emptied.remove(&space);
                }
                continue;
            }
            let stopped = state.cursor.take().filter(|at| at.space == space && at.threshold == threshold);
            let from = stopped.as_ref().map_or_else(|| done.map_or(0, bucket_of), |at| at.bucket);
            for &bucket in buckets.iter().filter(|bucket| (from..=bucket_of(threshold)).contains(bucket)) {
                let after = stopped.as_ref().filter(|at| at.bucket == bucket).and_then(|at| at.after.clone());
                let mut cursor = Cursor { space, threshold, bucket, after };
                if !self.collect_bucket(&mut cursor, bucket < open_bucket, done)? {
                    state.cursor = Some(cursor);
                    self.collected.more = true;
                    return Ok(());
                }
            }
            self.engine.spaces.forget_loads(space, threshold)?;
            state.done.insert(space, threshold);
        }
        for bucket in buckets.unwrap_or_default().into_iter().filter(|bucket| *bucket < open_bucket) {
            self.engine.changes.drop_if_empty(&self.engine.database, bucket)?;
        }
        Ok(())
    }

    /// Removes what the entries of a space in a bucket say has been superseded, from the cursor on; whether it came to the end.
    fn collect_bucket(&mut self, cursor: &mut Cursor, is_closed: bool, done: Option<Timestamp>) -> Result<bool> {
        let changes = &self.engine.changes;
        let rows = self.engine.rows.of(cursor.space);
        let (bucket, threshold) = (cursor.bucket, cursor.threshold);
        loop {
            if self.left == 0 {
                return Ok(false);
            }
            let entries = changes.entries_of(bucket, cursor.space, cursor.after.as_deref(), SLICE)?;
            let Some((last, _)) = entries.last() else { return Ok(true) };
            let last = last.clone();
            self.left = self.left.saturating_sub(entries.len());
            let mut later = self.engine.database.batch();
            let mut hidden = self.engine.database.batch().durability(Some(PersistMode::SyncData));
            let mut is_anything_hidden = false;
            for (prefix, newest) in &entries {
                // Below the former threshold one version is left of every key.
                if done.is_none_or(|done| *newest > done) {
                    let versions = with_time(prefix, threshold)..=with_time(prefix, Timestamp::MIN);
                    let mut versions = rows.range(versions);
                    // Of a key that was deleted nothing may be left: another bucket's entry came first.
                    if let Some(survivor) = versions.next() {
                        let (key, value) = survivor.into_inner()?;
                        if decode_value(&value)?.is_none() {
                            self.removed_bytes += (key.len() + value.len()) as u64;
                            self.collected.versions += 1;
                            later.remove(rows, key);
                        }
                    }
                    for version in versions {
                        let (key, value) = version.into_inner()?;
                        self.removed_bytes += (key.len() + value.len()) as u64;
                        self.collected.versions += 1;
                        self.left = self.left.saturating_sub(1);
                        hidden.remove(rows, key);
                        is_anything_hidden = true;
                    }
                }
                if is_closed && *newest <= threshold {
                    changes.remove(&mut later, bucket, prefix);
                }
            }
            if is_anything_hidden {
                hidden.commit()?;
            }
            later.commit()?;
            cursor.after = Some(last);
        }
    }

    /// Removes everything of a space that no read can reach any more; whether it came to the end.
    fn empty(&mut self, space: SpaceId, buckets: &[u64]) -> Result<bool> {
        let rows = self.engine.rows.of(space);
        let (mut start, end) = span_bounds(&Span::all(space));
        // Whole table files go at once. A newer file may go before an older one that reaches beyond the space: then old
        // versions come back, of a space that cannot be read, and are removed with the rest below.
        rows.tree.drop_range(&start[..]..&end[..]).map_err(fjall::Error::from)?;
        loop {
            if self.left == 0 {
                return Ok(false);
            }
            let mut batch = self.engine.database.batch();
            let mut removed = 0;
            for version in rows.range(&start[..]..&end[..]).take(SLICE) {
                let (key, value) = version.into_inner()?;
                self.removed_bytes += (key.len() + value.len()) as u64;
                removed += 1;
                start = key.to_vec();
                batch.remove(rows, key);
            }
            if removed == 0 {
                break;
            }
            self.left = self.left.saturating_sub(removed);
            self.collected.versions += removed as u64;
            batch.commit()?;
        }
        self.engine.stats.drop_samples(&self.engine.database, space)?;
        // Nobody writes to the space any more, so its entries can go from an open bucket too.
        for &bucket in buckets {
            loop {
                if self.left == 0 {
                    return Ok(false);
                }
                let entries = self.engine.changes.entries_of(bucket, space, None, SLICE)?;
                if entries.is_empty() {
                    break;
                }
                self.left = self.left.saturating_sub(entries.len());
                let mut batch = self.engine.database.batch();
                entries.iter().for_each(|(prefix, _)| self.engine.changes.remove(&mut batch, bucket, prefix));
                batch.commit()?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_is_for_much_garbage_in_stores_of_a_size() {
        assert!(!is_worth_compacting(COMPACT_MIN_BYTES - 1, 0));
        assert!(is_worth_compacting(COMPACT_MIN_BYTES, 0));
        assert!(!is_worth_compacting(COMPACT_MIN_BYTES, 1 << 30));
        assert!(is_worth_compacting(300 << 20, 1 << 30));
        assert!(!is_worth_compacting(u64::MAX, COMPACT_MAX_STORE_BYTES + 1));
    }
}
