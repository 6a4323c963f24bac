//! What the store knows of its spaces: the next id, which are dropped, and how much history each still has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode};

use super::stats::{Counts, Stats};
use crate::kv::{Error, Result, SpaceHistory, SpaceId};
use crate::time::Timestamp;

const NEXT_KEY: &str = "space/next";
const DROPPED_PREFIX: &str = "space/dropped/";
const THRESHOLD_PREFIX: &str = "space/threshold/";
/// Bulk loads: `space/loaded/<space>/<time>/<number>`, the number standing for what was loaded, so that a load that is done
/// again is the same one. The value is how much it was.
const LOADED_PREFIX: &str = "space/loaded/";
/// Ids are reserved this many at a time, so that a thousand tables do not cost a thousand fsyncs.
const RESERVED_AT_ONCE: u64 = 256;

/// What a transaction does to a space itself.
#[derive(Clone, Copy, Debug)]
pub enum SpaceChange {
    /// Hides it as of the commit.
    Drop(SpaceId),
    /// Lets it forget what no read from this time on needs.
    Threshold(SpaceId, Timestamp),
}

impl SpaceChange {
    /// Adds the change, as of `commit`, to the batch that carries the commit.
    pub fn write(self, batch: &mut OwnedWriteBatch, meta: &Keyspace, commit: Timestamp) {
        match self {
            SpaceChange::Drop(space) => batch.insert(meta, dropped_key(space), commit.0.to_be_bytes()),
            SpaceChange::Threshold(space, time) => batch.insert(meta, threshold_key(space), time.0.to_be_bytes()),
        }
    }
}

fn dropped_key(space: SpaceId) -> String {
    format!("{DROPPED_PREFIX}{space}")
}

fn threshold_key(space: SpaceId) -> String {
    format!("{THRESHOLD_PREFIX}{space}")
}

/// One bulk load into one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The time of its rows.
    pub at: Timestamp,
    /// The same if and only if it is the same load.
    pub number: u64,
    /// How much it was.
    pub counts: Counts,
}

/// Adds the removal of a load's record, as this version writes it and as one before statistics did.
fn remove_load(batch: &mut OwnedWriteBatch, meta: &Keyspace, space: SpaceId, load: &Load) {
    batch.remove(meta, loaded_key(space, load));
    if load.number == 0 {
        batch.remove(meta, format!("{LOADED_PREFIX}{space}/{}", load.at.0));
    }
}

fn loaded_key(space: SpaceId, load: &Load) -> String {
    format!("{LOADED_PREFIX}{space}/{}/{:016x}", load.at.0, load.number)
}

pub struct Spaces {
    database: Database,
    meta: Keyspace,
    stats: Arc<Stats>,
    ids: Mutex<Ids>,
    limits: RwLock<BTreeMap<SpaceId, Limits>>,
}

struct Ids {
    next: u64,
    reserved: u64,
}

/// When a space can be read: from `threshold` on, and before `dropped`; and when it was loaded in bulk.
#[derive(Clone, Default)]
struct Limits {
    threshold: Option<Timestamp>,
    dropped: Option<Timestamp>,
    loaded: Vec<Load>,
}

impl Limits {
    /// Whether no read of it can succeed any more.
    fn is_dead(&self) -> bool {
        self.dropped.is_some_and(|dropped| dropped <= self.threshold.unwrap_or(Timestamp::MIN))
    }
}

impl Spaces {
    pub fn load(database: Database, meta: Keyspace, stats: Arc<Stats>, first: u64) -> Result<Spaces> {
        let next = match meta.get(NEXT_KEY)? {
            Some(bytes) => read_number(&bytes)?.max(first),
            None => first,
        };
        let mut limits: BTreeMap<SpaceId, Limits> = BTreeMap::new();
        for (prefix, dropped) in [(DROPPED_PREFIX, true), (THRESHOLD_PREFIX, false)] {
            for guard in meta.prefix(prefix) {
                let (key, value) = guard.into_inner()?;
                let id = std::str::from_utf8(&key[prefix.len()..]).ok().and_then(|id| id.parse().ok());
                let space = SpaceId(id.ok_or_else(|| Error::Corrupt("a space record has no id".into()))?);
                let time = Some(Timestamp(read_number(&value)? as i64));
                let entry = limits.entry(space).or_default();
                if dropped { entry.dropped = time } else { entry.threshold = time }
            }
        }
        for guard in meta.prefix(LOADED_PREFIX) {
            let (key, value) = guard.into_inner()?;
            let parts = std::str::from_utf8(&key[LOADED_PREFIX.len()..]).ok().map(|rest| rest.split('/'));
            let load = parts.and_then(|mut parts| {
                let space = SpaceId(parts.next()?.parse().ok()?);
                let at = Timestamp(parts.next()?.parse().ok()?);
                // A store from before statistics has one record for all loads of a time.
                let number = parts.next().map_or(Some(0), |number| u64::from_str_radix(number, 16).ok())?;
                Some((space, at, number))
            });
            let (space, at, number) = load.ok_or_else(|| Error::Corrupt("a bulk load's record is not one".into()))?;
            limits.entry(space).or_default().loaded.push(Load { at, number, counts: Counts::decode(&value)? });
        }
        let ids = Mutex::new(Ids { next, reserved: next });
        Ok(Spaces { database, meta, stats, ids, limits: RwLock::new(limits) })
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> RwLockReadGuard<'_, BTreeMap<SpaceId, Limits>> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn persist(&self, key: &str, number: u64) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.meta, key, number.to_be_bytes());
        Ok(batch.commit()?)
    }

    pub fn create(&self) -> Result<SpaceId> {
        let mut ids = self.ids();
        if ids.next == ids.reserved {
            let reserved = ids.next + RESERVED_AT_ONCE;
            self.persist(NEXT_KEY, reserved)?;
            ids.reserved = reserved;
        }
        ids.next += 1;
        Ok(SpaceId(ids.next - 1))
    }

    /// Fails if a read of `space` at `at` would see less than there was.
    pub fn check_readable(&self, space: SpaceId, at: Timestamp) -> Result<()> {
        match self.limits().get(&space) {
            Some(Limits { threshold: Some(threshold), .. }) if at < *threshold => {
                Err(Error::BelowThreshold { at, threshold: *threshold })
            }
            Some(Limits { dropped: Some(dropped), .. }) if at >= *dropped => Err(Error::Dropped(space)),
            _ => Ok(()),
        }
    }

    /// Notes bulk loads, durably, before anybody can see their rows.
    pub fn note_loads(&self, loads: &[(SpaceId, Load)]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (space, load) in loads {
            batch.insert(&self.meta, loaded_key(*space, load), load.counts.encode());
        }
        batch.commit()?;
        for (space, load) in loads {
            self.update(*space, |limits| {
                limits.loaded.retain(|known| (known.at, known.number) != (load.at, load.number));
                limits.loaded.push(*load);
            });
        }
        Ok(())
    }

    /// The bulk loads of a space.
    pub fn loads(&self, space: SpaceId) -> Vec<Load> {
        self.limits().get(&space).map_or_else(Vec::new, |limits| limits.loaded.clone())
    }

    /// How much bulk loads have put into a space and is not among what commits did.
    pub fn loaded(&self, space: SpaceId) -> Counts {
        let limits = self.limits();
        let loads = limits.get(&space).into_iter().flat_map(|limits| &limits.loaded);
        loads.fold(Counts::default(), |counts, load| counts.plus(load.counts))
    }

    /// Whether a bulk load wrote to the space in `(after, upto]`.
    pub fn was_loaded(&self, space: SpaceId, after: Timestamp, upto: Timestamp) -> bool {
        self.limits()
            .get(&space)
            .is_some_and(|limits| limits.loaded.iter().any(|load| after < load.at && load.at <= upto))
    }

    fn update(&self, space: SpaceId, change: impl FnOnce(&mut Limits)) {
        change(self.limits.write().unwrap_or_else(PoisonError::into_inner).entry(space).or_default());
    }

    /// Takes note of changes that a commit has made durable.
    pub fn apply(&self, changes: &[SpaceChange], commit: Timestamp) {
        for change in changes {
            match *change {
                SpaceChange::Drop(space) => self.hide(space, commit),
                SpaceChange::Threshold(space, threshold) => {
                    self.update(space, |limits| limits.threshold = limits.threshold.max(Some(threshold)));
                }
            }
        }
    }

    fn hide(&self, space: SpaceId, at: Timestamp) {
        self.update(space, |limits| limits.dropped = Some(limits.dropped.map_or(at, |earlier| earlier.min(at))));
    }

    /// Whether a threshold would be raised.
    pub fn would_raise(&self, space: SpaceId, threshold: Timestamp) -> bool {
        self.limits().get(&space).and_then(|limits| limits.threshold).is_none_or(|current| current < threshold)
    }

    /// Hides spaces that nobody ever saw.
    pub fn discard(&self, spaces: &[SpaceId]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for &space in spaces {
            SpaceChange::Drop(space).write(&mut batch, &self.meta, Timestamp::MIN);
        }
        batch.commit()?;
        spaces.iter().for_each(|space| self.hide(*space, Timestamp::MIN));
        Ok(())
    }

    /// Removes every trace of spaces that are dropped and below their threshold.
    pub fn forget(&self, spaces: &[SpaceId]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        let dead = |space: &&SpaceId| self.limits().get(space).is_some_and(Limits::is_dead);
        let spaces: Vec<SpaceId> = spaces.iter().filter(dead).copied().collect();
        for &space in &spaces {
            batch.remove(&self.meta, dropped_key(space));
            batch.remove(&self.meta, threshold_key(space));
            for load in self.limits().get(&space).map(|limits| limits.loaded.clone()).unwrap_or_default() {
                remove_load(&mut batch, &self.meta, space, &load);
            }
            self.stats.forget(&mut batch, space);
        }
        batch.commit()?;
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        spaces.iter().for_each(|space| drop(limits.remove(space)));
        Ok(())
    }

    /// Forgets bulk loads at or before `threshold`: no window that can still be read begins before them. How much they were
    /// goes to the statistics.
    pub fn forget_loads(&self, space: SpaceId, threshold: Timestamp) -> Result<()> {
        let loaded = self.limits().get(&space).map(|limits| limits.loaded.clone()).unwrap_or_default();
        let gone: Vec<Load> = loaded.into_iter().filter(|load| load.at <= threshold).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut batch = self.database.batch();
        gone.iter().for_each(|load| remove_load(&mut batch, &self.meta, space, load));
        let writing = self.stats.write(&mut batch, gone.iter().map(|load| (space, load.counts)));
        batch.commit()?;
        self.update(space, |limits| limits.loaded.retain(|load| !gone.contains(load)));
        writing.done();
        Ok(())
    }

    /// Every space that is known to be anything but ordinary.
    pub fn histories(&self) -> Vec<SpaceHistory> {
        let history = |(space, limits): (&SpaceId, &Limits)| SpaceHistory {
            space: *space,
            threshold: limits.threshold.unwrap_or(Timestamp::MIN),
            dropped: limits.dropped,
            loaded: limits.loaded.iter().map(|load| load.at).max(),
        };
        self.limits().iter().map(history).collect()
    }
}

fn read_number(bytes: &[u8]) -> Result<u64> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| Error::Corrupt("a space record has a wrong size".into()))?;
    Ok(u64::from_be_bytes(bytes))
}
