//! How long history stays: what decides the thresholds below which a store may forget.
//!
//! ```text
//!   threshold of a space = the earlier of   now - gc.ttlseconds of its table (zone)
//!                                           every protected timestamp that holds its table
//!   ... of a system table = the lowest of all of them
//! ```
//!
//! **Protected timestamps are read in the transaction that raises the thresholds**, so none is written meanwhile and missed.
//! One written later may be too late; then the reads it was for fail with a clear error.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::access::{Catalog, DescriptorCache};
use super::protection::Protection;
use super::system::{self, DROPPED_SPACES};
use super::zone::{self, DEFAULT_ZONE, Zones};
use super::{Datum, Descriptor, DescriptorId, Error, Result, TableDescriptor};
use crate::kv::{self, SpaceHistory, SpaceId, Store, Txn};
use crate::time::Timestamp;

/// A threshold is raised when it can go by this part of the time to keep: moving it a little for every table and minute would
/// write more than it frees.
const STEPS_PER_TTL: u32 = 16;
/// A dropped space is remembered for so long after nobody could name it any more: whoever could is done by then.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Attempts at raising thresholds, each ended by somebody protecting a timestamp.
const ATTEMPTS: usize = 20;

/// Whose history a space holds.
#[derive(Clone, Copy, Debug)]
struct Holder {
    object: DescriptorId,
    database: DescriptorId,
    /// Backups leave its rows out, so their protected timestamps do not hold them.
    excluded: bool,
}

impl Holder {
    fn of(descriptor: &Descriptor) -> Option<Holder> {
        match descriptor {
            Descriptor::Table(table) => Some(Holder::of_table(table)),
            other => Some(Holder { object: other.id(), database: other.parents().0?, excluded: false }),
        }
    }

    fn of_table(table: &TableDescriptor) -> Holder {
        Holder { object: table.identity.id, database: table.database, excluded: table.exclude_data_from_backup }
    }

    /// Hides one of its spaces, and notes whose it was, so that its history is kept as long as if it were still in use.
    fn drop_space(&self, txn: &dyn Txn, space: SpaceId) -> Result<()> {
        let row = [space.0.into(), self.object.0.into(), self.database.0.into(), Datum::Bool(self.excluded)];
        DROPPED_SPACES.put(txn, &row)?;
        Ok(txn.drop_space(space)?)
    }

    fn path(&self) -> [DescriptorId; 2] {
        [self.object, self.database]
    }
}

/// Hides all spaces of a descriptor as of the commit; they stay readable before for as long as its zone says.
pub fn drop_all_spaces(txn: &dyn Txn, descriptor: &Descriptor) -> Result<()> {
    let Some(holder) = Holder::of(descriptor) else { return Ok(()) };
    descriptor.spaces().into_iter().try_for_each(|space| holder.drop_space(txn, space))
}

/// Hides one space of a table, in the same way.
pub fn drop_space(txn: &dyn Txn, table: &TableDescriptor, space: SpaceId) -> Result<()> {
    Holder::of_table(table).drop_space(txn, space)
}

/// What there is to be kept, and for how long.
struct Rules {
    now: Timestamp,
    zones: Zones,
    protections: Vec<Protection>,
    current: BTreeMap<SpaceId, SpaceHistory>,
}

impl Rules {
    /// The threshold a space should have.
    fn threshold(&self, holder: &Holder) -> Timestamp {
        let expired = self.now.minus(self.zones.gc_ttl(&holder.path()));
        let holds =
            |protection: &&Protection| !holder.excluded && protection.target.holds(holder.object, holder.database);
        let protected = self.protections.iter().filter(holds).map(|protection| protection.timestamp).min();
        protected.map_or(expired, |protected| protected.min(expired))
    }

    fn current_threshold(&self, space: SpaceId) -> Timestamp {
        self.current.get(&space).map_or(Timestamp::MIN, |history| history.threshold)
    }

    /// Spaces that somebody could see, and that have been dropped.
    fn dropped(&self) -> impl Iterator<Item = SpaceId> {
        let was_seen = |history: &&SpaceHistory| history.dropped.is_some_and(|dropped| dropped > Timestamp::MIN);
        self.current.values().filter(was_seen).map(|history| history.space)
    }

    /// Whether it is worth raising a space's threshold to this.
    fn is_due(&self, space: SpaceId, threshold: Timestamp, ttl: Duration) -> bool {
        let current = self.current_threshold(space);
        let dropped = self.current.get(&space).and_then(|history| history.dropped);
        let passes_drop = dropped.is_some_and(|dropped| current < dropped && dropped <= threshold);
        threshold.0 > 0 && (passes_drop || threshold >= current.plus(ttl / STEPS_PER_TTL))
    }
}

/// Raises the thresholds of all spaces to what zones and protected timestamps allow.
pub async fn advance(store: &dyn Store, cache: &Arc<DescriptorCache>) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match try_advance(store, cache).await {
            Err(Error::Store(kv::Error::Retry(_))) => {}
            done => return done,
        }
    }
    // The next round will do.
    Ok(())
}

async fn try_advance(store: &dyn Store, cache: &Arc<DescriptorCache>) -> Result<()> {
    let txn = store.begin().await?;
    let protections = Protection::read_all(&*txn).await?;
    // Only the protected timestamps must not change before the commit; the rest is read without being validated.
    let past = store.begin_at(txn.snapshot()).await?;
    let zones = Zones::read(&*past).await?;
    let current = store.histories()?.into_iter().map(|history| (history.space, history)).collect();
    let rules = Rules { now: txn.snapshot(), zones, protections, current };

    let default = rules.zones.gc_ttl(&[]);
    let protected = rules.protections.iter().map(|protection| protection.timestamp);
    let mut lowest = protected.fold(rules.now.minus(default), Timestamp::min);
    let mut raise = |space: SpaceId, holder: &Holder| -> Result<()> {
        let threshold = rules.threshold(holder);
        let is_due = rules.is_due(space, threshold, rules.zones.gc_ttl(&holder.path()));
        if is_due {
            txn.set_threshold(space, threshold)?;
        }
        // What can still be read must still have its name.
        lowest = lowest.min(if is_due { threshold } else { rules.current_threshold(space).min(threshold) });
        Ok(())
    };
    let catalog = Catalog::new(past.clone(), cache.clone());
    let mut known: HashSet<DescriptorId> = HashSet::from([DEFAULT_ZONE]);
    for descriptor in catalog.all().await? {
        known.insert(descriptor.id());
        let Some(holder) = Holder::of(&descriptor) else { continue };
        for space in descriptor.spaces() {
            raise(space, &holder)?;
        }
    }
    let mut dropped = BTreeSet::new();
    for row in DROPPED_SPACES.scan(&*past, &[]).await? {
        let id = |at: usize| row[at].as_int().unwrap_or_default() as u64;
        let space = SpaceId(id(0));
        let excluded = row[3] == Datum::Bool(true);
        let holder = Holder { object: DescriptorId(id(1)), database: DescriptorId(id(2)), excluded };
        raise(space, &holder)?;
        known.extend(holder.path());
        dropped.insert(space);
    }
    // Dropped by a version of keepsafe that did not note whose they were.
    let nobodys: Vec<SpaceId> = rules.dropped().filter(|space| !dropped.contains(space)).collect();
    for space in nobodys {
        if rules.is_due(space, lowest, default) {
            txn.set_threshold(space, lowest)?;
        }
        dropped.insert(space);
    }
    for table in system::tables() {
        if rules.is_due(table.space(), lowest, default) {
            txn.set_threshold(table.space(), lowest)?;
        }
    }
    let forgotten: Vec<SpaceId> = dropped.into_iter().filter(|space| is_beyond_memory(&rules, *space)).collect();
    for space in &forgotten {
        DROPPED_SPACES.delete(&*txn, &[space.0.into()])?;
    }
    for zone in rules.zones.configured().filter(|zone| !known.contains(zone)) {
        zone::write(&*txn, zone, None)?;
    }
    txn.commit().await?;
    store.forget_spaces(&forgotten).await?;
    Ok(())
}

/// Whether nothing that can be read names a dropped space, nor has for a while.
fn is_beyond_memory(rules: &Rules, space: SpaceId) -> bool {
    let catalog = rules.current.get(&system::DESCRIPTOR.space()).map_or(Timestamp::MIN, |history| history.threshold);
    match rules.current.get(&space) {
        Some(SpaceHistory { dropped: Some(dropped), threshold, .. }) => {
            dropped <= threshold && dropped.plus(REMEMBERED) <= catalog
        }
        Some(_) => false,
        // Forgotten by the store in a round that did not live to remove the row.
        None => true,
    }
}

/// Gives up what loads that were never finished have left behind: spaces loaded before `horizon` that no descriptor names.
/// No live job began before the horizon, and a job loads with times of after it began.
pub async fn sweep(store: &dyn Store, cache: &Arc<DescriptorCache>, horizon: Timestamp) -> Result<()> {
    let horizon = horizon.min(store.oldest_begin()?);
    let left: Vec<SpaceId> = store
        .histories()?
        .into_iter()
        .filter(|history| history.dropped.is_none() && history.loaded.is_some_and(|loaded| loaded < horizon))
        .map(|history| history.space)
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    // Begun after the horizon: whatever was loaded before it has been published by now, or never will be.
    let catalog = Catalog::new(store.begin().await?, cache.clone());
    let named: HashSet<SpaceId> = catalog.all().await?.iter().flat_map(|descriptor| descriptor.spaces()).collect();
    let orphans: Vec<SpaceId> = left.into_iter().filter(|space| !named.contains(space)).collect();
    if !orphans.is_empty() {
        tracing::info!(?orphans, "removing what an unfinished load left behind");
        store.discard_spaces(&orphans).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
