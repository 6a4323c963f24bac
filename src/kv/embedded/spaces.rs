//! What the store knows of its spaces: the next id, which are dropped, and how much history each still has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use fjall::{Database, Keyspace, PersistMode};

use crate::kv::{Error, Result, SpaceId};
use crate::time::Timestamp;

const NEXT_KEY: &str = "space/next";
const DROPPED_PREFIX: &str = "space/dropped/";
const THRESHOLD_PREFIX: &str = "space/threshold/";
/// Bulk loads: `space/loaded/<space>/<time>`.
const LOADED_PREFIX: &str = "space/loaded/";
/// Ids are reserved this many at a time, so that a thousand tables do not cost a thousand fsyncs.
const RESERVED_AT_ONCE: u64 = 256;

/// Where it is written when a space was dropped.
pub fn dropped_key(space: SpaceId) -> String {
    format!("{DROPPED_PREFIX}{space}")
}

pub struct Spaces {
    database: Database,
    meta: Keyspace,
    ids: Mutex<Ids>,
    limits: RwLock<HashMap<SpaceId, Limits>>,
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
    loaded: Vec<Timestamp>,
}

impl Spaces {
    pub fn load(database: Database, meta: Keyspace, first: u64) -> Result<Spaces> {
        let next = match meta.get(NEXT_KEY)? {
            Some(bytes) => read_number(&bytes)?.max(first),
            None => first,
        };
        let mut limits: HashMap<SpaceId, Limits> = HashMap::new();
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
            let (key, _) = guard.into_inner()?;
            let parts = std::str::from_utf8(&key[LOADED_PREFIX.len()..]).ok().and_then(|rest| rest.split_once('/'));
            let event = parts.and_then(|(space, time)| Some((space.parse().ok()?, time.parse().ok()?)));
            let (space, time) = event.ok_or_else(|| Error::Corrupt("a bulk load's record is not one".into()))?;
            limits.entry(SpaceId(space)).or_default().loaded.push(Timestamp(time));
        }
        let ids = Mutex::new(Ids { next, reserved: next });
        Ok(Spaces { database, meta, ids, limits: RwLock::new(limits) })
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
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
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        match limits.get(&space) {
            Some(Limits { threshold: Some(threshold), .. }) if at < *threshold => {
                Err(Error::BelowThreshold { at, threshold: *threshold })
            }
            Some(Limits { dropped: Some(dropped), .. }) if at >= *dropped => Err(Error::Dropped(space)),
            _ => Ok(()),
        }
    }

    /// Notes bulk loads, durably, before anybody can see their rows.
    pub fn note_loads(&self, spaces: &[SpaceId], at: Timestamp) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for space in spaces {
            batch.insert(&self.meta, format!("{LOADED_PREFIX}{space}/{}", at.0), []);
        }
        batch.commit()?;
        for &space in spaces {
            self.update(space, |limits| {
                if !limits.loaded.contains(&at) {
                    limits.loaded.push(at);
                }
            });
        }
        Ok(())
    }

    /// Whether a bulk load wrote to the space in `(after, upto]`.
    pub fn was_loaded(&self, space: SpaceId, after: Timestamp, upto: Timestamp) -> bool {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.get(&space).is_some_and(|limits| limits.loaded.iter().any(|at| after < *at && *at <= upto))
    }

    fn update(&self, space: SpaceId, change: impl FnOnce(&mut Limits)) {
        change(self.limits.write().unwrap_or_else(PoisonError::into_inner).entry(space).or_default());
    }

    pub fn drop_all(&self, spaces: &[SpaceId], at: Timestamp) -> Result<()> {
        if spaces.is_empty() {
            return Ok(());
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for &space in spaces {
            batch.insert(&self.meta, dropped_key(space), at.0.to_be_bytes());
        }
        batch.commit()?;
        self.hide_all(spaces, at);
        Ok(())
    }

    /// Hides spaces whose drop has been written already.
    pub fn hide_all(&self, spaces: &[SpaceId], at: Timestamp) {
        for &space in spaces {
            self.update(space, |limits| limits.dropped = Some(limits.dropped.map_or(at, |earlier| earlier.min(at))));
        }
    }

    pub fn set_threshold(&self, space: SpaceId, threshold: Timestamp) -> Result<()> {
        let current =
            self.limits.read().unwrap_or_else(PoisonError::into_inner).get(&space).and_then(|limits| limits.threshold);
        if current.is_some_and(|current| current >= threshold) {
            return Ok(());
        }
        self.persist(&format!("{THRESHOLD_PREFIX}{space}"), threshold.0 as u64)?;
        self.update(space, |limits| limits.threshold = limits.threshold.max(Some(threshold)));
        Ok(())
    }
}

fn read_number(bytes: &[u8]) -> Result<u64> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| Error::Corrupt("a space record has a wrong size".into()))?;
    Ok(u64::from_be_bytes(bytes))
}
