//! Commit order, the closed timestamp, and group commit.
//!
//! ```text
//!   commit():   validate | take a timestamp | queue          (under one short lock)
//!   thread:     take the whole queue | one fjall batch, one fsync | closed = its last timestamp | wake the committers
//! ```
//!
//! Timestamps are taken in queue order, so `closed` only moves forward and everything at or below it is durable.
//! `clock` in the meta keyspace is an upper bound on every timestamp ever handed out, made durable ahead of use.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, PersistMode};
use tokio::sync::{oneshot, watch};

use super::REOPENED;
use super::changes::ChangeIndex;
use super::conflicts::{ReadSet, Recent};
use super::encoding::{encode_value, with_time};
use super::rows::Rows;
use super::spaces::{SpaceChange, Spaces};
use super::stats::{Counts, Stats};
use crate::kv::{Error, Result, SpaceId};
use crate::time::{Clock, HybridClock, Timestamp};

const CLOCK_KEY: &str = "clock";
/// How far ahead of use the clock's upper bound is made durable.
const CLOCK_AHEAD: Duration = Duration::from_secs(3);
const CLOCK_RENEWAL: Duration = Duration::from_secs(1);
/// A group closes at this many bytes, so that a burst of big commits does not build one giant batch.
const MAX_GROUP_BYTES: usize = 16 << 20;

/// One write of a commit.
pub struct Write {
    /// The space.
    pub space: SpaceId,
    /// How long its key is.
    pub key_bytes: usize,
    /// Everything of the fjall key but the time.
    pub prefix: Vec<u8>,
    /// The new value; `None` is a delete.
    pub value: Option<Bytes>,
    /// What it replaces.
    pub before: Before,
}

/// How long the value was that a key had before a commit.
#[derive(Clone, Copy)]
pub enum Before {
    /// The transaction knows, and is validated for it.
    Certain(Option<usize>),
    /// That is what it was at this time; something may have been committed since.
    At(Timestamp, Option<usize>),
}

impl Write {
    fn size_bytes(&self) -> usize {
        self.prefix.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Takes the write into account, before it is among the recent ones.
    fn count(&self, recent: &Recent, counts: &mut BTreeMap<SpaceId, Counts>) {
        let before = match self.before {
            Before::Certain(before) => before,
            Before::At(time, before) => recent.value_bytes_since(&self.prefix, time).unwrap_or(before),
        };
        let row = |value_bytes: usize| self.key_bytes + value_bytes;
        let after = self.value.as_ref().map(|value| row(value.len()));
        counts.entry(self.space).or_default().replace(before.map(row), after);
    }
}

pub struct Committer {
    database: Database,
    rows: Rows,
    meta: Keyspace,
    changes: Arc<ChangeIndex>,
    spaces: Arc<Spaces>,
    stats: Arc<Stats>,
    clock: HybridClock,
    /// Every timestamp handed out so far is at or below this, durably.
    clock_bound: AtomicI64,
    /// Held while the bound is written, so that it never goes back on disk.
    bound_writer: Mutex<()>,
    state: Mutex<State>,
    work: Condvar,
    closed: watch::Sender<Timestamp>,
    /// Becomes true when it fails.
    has_failed: watch::Sender<bool>,
    /// Who opens the engine again.
    failures: mpsc::Sender<()>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    closed: Timestamp,
    queue: Vec<Pending>,
    /// First timestamp of the group being written.
    writing: Option<Timestamp>,
    recent: Recent,
    /// Running transactions by snapshot.
    active: BTreeMap<Timestamp, usize>,
    /// Running transactions by the snapshot they began with.
    begun: BTreeMap<Timestamp, usize>,
    failed: Option<Error>,
    stopped: bool,
}

struct Pending {
    time: Timestamp,
    writes: Vec<Write>,
    space_changes: Vec<SpaceChange>,
    counts: BTreeMap<SpaceId, Counts>,
    size_bytes: usize,
    done: oneshot::Sender<Result<()>>,
}

impl State {
    /// Nothing at or below this can still appear.
    fn closable(&self) -> Option<Timestamp> {
        self.writing.or_else(|| self.queue.first().map(|pending| pending.time)).map(Timestamp::prev)
    }

    fn check_running(&self) -> Result<()> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.stopped => Err(Error::Engine("the store is shutting down".into())),
            None => Ok(()),
        }
    }

    fn register(&mut self, snapshot: Timestamp) {
        *self.active.entry(snapshot).or_default() += 1;
        *self.begun.entry(snapshot).or_default() += 1;
    }

    fn deregister(&mut self, began: Timestamp, snapshot: Timestamp) {
        decrement(&mut self.begun, began);
        self.leave(snapshot);
    }

    fn leave(&mut self, snapshot: Timestamp) {
        decrement(&mut self.active, snapshot);
        let oldest = self.active.first_key_value().map_or(self.closed, |(&snapshot, _)| snapshot);
        self.recent.forget(oldest.min(self.closed));
    }
}

fn decrement(counts: &mut BTreeMap<Timestamp, usize>, time: Timestamp) {
    if let Entry::Occupied(mut count) = counts.entry(time) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// The upper bound on every timestamp that a store ever handed out.
pub fn clock_bound(meta: &Keyspace) -> Result<Timestamp> {
    match meta.get(CLOCK_KEY)?.as_deref().map(<[u8; 8]>::try_from) {
        None => Ok(Timestamp::MIN),
        Some(Ok(bytes)) => Ok(Timestamp(i64::from_be_bytes(bytes))),
        Some(Err(_)) => Err(Error::Corrupt("the clock's bound has a wrong size".into())),
    }
}

impl Committer {
    #[expect(clippy::too_many_arguments, reason = "it is put together in one place")]
    pub fn start(
        database: Database,
        rows: Rows,
        meta: Keyspace,
        changes: Arc<ChangeIndex>,
        spaces: Arc<Spaces>,
        stats: Arc<Stats>,
        clock: Arc<dyn Clock>,
        failures: mpsc::Sender<()>,
    ) -> Result<Arc<Committer>> {
        let bound = clock_bound(&meta)?;
        let clock = HybridClock::new(clock, bound);
        let closed = clock.now();
        let committer = Arc::new(Committer {
            database,
            rows,
            meta,
            changes,
            spaces,
            stats,
            clock,
            clock_bound: AtomicI64::new(bound.0),
            bound_writer: Mutex::new(()),
            state: Mutex::new(State { closed, ..State::default() }),
            work: Condvar::new(),
            closed: watch::channel(closed).0,
            has_failed: watch::channel(false).0,
            failures,
            thread: Mutex::new(None),
        });
        committer.persist_bound(closed)?;
        let runner = committer.clone();
        let thread = std::thread::Builder::new().name("keepsafe-commit".into()).spawn(move || runner.run());
        let thread = thread.map_err(|error| Error::Engine(format!("cannot start the commit thread: {error}")))?;
        *committer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(committer)
    }

    /// Ends the thread.
    pub fn abandon(&self) {
        self.lock().stopped = true;
        self.work.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the commit thread panicked");
        }
    }

    /// Writes what is queued and ends the thread.
    pub fn stop(&self) {
        self.abandon();
        // After a clean stop time goes on where it was, not at the bound.
        let last = self.clock.now();
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.meta, CLOCK_KEY, last.0.to_be_bytes());
        if let Err(error) = batch.commit() {
            tracing::warn!(%error, "cannot persist the clock");
        }
    }

    pub fn check_running(&self) -> Result<()> {
        self.lock().check_running()
    }

    /// Waits until it fails; the error it failed with.
    pub async fn failure(&self) -> Error {
        let mut has_failed = self.has_failed.subscribe();
        if has_failed.wait_for(|failed| *failed).await.is_err() {
            return REOPENED;
        }
        self.lock().failed.clone().unwrap_or(REOPENED)
    }

    /// Nothing can be written any more: what was last written may be durable or not.
    pub fn fail(&self, error: &Error) {
        tracing::error!(%error, "the store can no longer write");
        let orphans = {
            let mut state = self.lock();
            state.failed.get_or_insert_with(|| error.clone());
            std::mem::take(&mut state.queue)
        };
        self.has_failed.send_replace(true);
        // Whoever waits for time to close looks again.
        self.closed.send_modify(|_| {});
        // A committer that went away has nobody to tell.
        orphans.into_iter().for_each(|pending| drop(pending.done.send(Err(error.clone()))));
        // Without a handle nobody is there to use it either.
        let _ = self.failures.send(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Result<Timestamp> {
        let now = self.clock.now();
        self.ensure_bound(now)?;
        Ok(now)
    }

    fn ensure_bound(&self, time: Timestamp) -> Result<()> {
        if time.0 <= self.clock_bound.load(Ordering::Acquire) { Ok(()) } else { self.persist_bound(time) }
    }

    fn persist_bound(&self, time: Timestamp) -> Result<()> {
        let _writer = self.bound_writer.lock().unwrap_or_else(PoisonError::into_inner);
        if time.plus(CLOCK_RENEWAL).0 <= self.clock_bound.load(Ordering::Acquire) {
            return Ok(());
        }
        let bound = time.plus(CLOCK_AHEAD);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        batch.insert(&self.meta, CLOCK_KEY, bound.0.to_be_bytes());
        batch.commit().map_err(Error::from).inspect_err(|error| self.fail(error))?;
        self.clock_bound.fetch_max(bound.0, Ordering::AcqRel);
        Ok(())
    }

    /// Waits until nothing can appear at or below `at` any more.
    pub async fn close_at(&self, at: Timestamp) -> Result<()> {
        let mut closed = self.closed.subscribe();
        if *closed.borrow() >= at {
            return Ok(());
        }
        let now = self.now()?;
        if at > now {
            return Err(Error::Future { at, now });
        }
        loop {
            {
                let mut state = self.lock();
                if state.closed >= at {
                    return Ok(());
                }
                // What could not be written may be found to be there after all when the engine is opened again.
                state.check_running()?;
                if state.closable().is_none_or(|closable| closable >= at) {
                    // Commits still to come take a timestamp later than `now`, hence than `at`.
                    state.closed = at;
                    self.closed.send_replace(at);
                    return Ok(());
                }
            }
            if closed.changed().await.is_err() {
                return Err(Error::Engine("the store is shutting down".into()));
            }
        }
    }

    /// Nothing can appear at or below this any more.
    pub fn closed(&self) -> Timestamp {
        self.lock().closed
    }

    /// Registers a transaction at the newest snapshot that needs no waiting.
    pub fn register_newest(&self) -> Result<Timestamp> {
        let mut state = self.lock();
        state.check_running()?;
        if state.closable().is_none() {
            let now = self.clock.now();
            state.closed = now;
            self.closed.send_replace(now);
        }
        let snapshot = state.closed;
        state.register(snapshot);
        drop(state);
        self.ensure_bound(snapshot).inspect_err(|_| self.deregister(snapshot, snapshot))?;
        Ok(snapshot)
    }

    /// Registers a transaction at a closed snapshot.
    pub fn register(&self, snapshot: Timestamp) {
        self.lock().register(snapshot);
    }

    /// Takes a transaction off the lists: the snapshot it began with, and the one it has now.
    pub fn deregister(&self, began: Timestamp, snapshot: Timestamp) {
        self.lock().deregister(began, snapshot);
    }

    /// The snapshot that the oldest running transaction began with; without one, the earliest that the next could get.
    pub fn oldest_begin(&self) -> Timestamp {
        let state = self.lock();
        state.begun.first_key_value().map_or(state.closed, |(began, _)| *began)
    }

    /// Whether a commit later than `snapshot` wrote the key.
    pub fn changed_since(&self, version_prefix: &[u8], snapshot: Timestamp) -> bool {
        self.lock().recent.changed(version_prefix, snapshot)
    }

    /// Moves a transaction to the newest snapshot, unless something in `reads` has changed since its own.
    pub fn refresh(&self, reads: &ReadSet, snapshot: Timestamp) -> Result<Timestamp> {
        let mut state = self.lock();
        if state.recent.conflicts(reads, snapshot) {
            return Err(Error::Retry("something read earlier has been changed by another transaction"));
        }
        let newest = state.closed.max(snapshot);
        *state.active.entry(newest).or_default() += 1;
        state.leave(snapshot);
        Ok(newest)
    }

    /// Validates `reads` against every commit since `snapshot`, then commits `writes` and `space_changes`.
    pub async fn commit(
        &self,
        reads: &ReadSet,
        snapshot: Timestamp,
        writes: Vec<Write>,
        space_changes: Vec<SpaceChange>,
    ) -> Result<Timestamp> {
        let size_bytes = writes.iter().map(Write::size_bytes).sum();
        let (done, outcome) = oneshot::channel();
        let time = {
            let mut state = self.lock();
            state.check_running()?;
            if state.recent.conflicts(reads, snapshot) {
                return Err(Error::Retry("something read has been changed by another transaction"));
            }
            let time = self.clock.commit_time();
            let mut counts = BTreeMap::new();
            for write in &writes {
                write.count(&state.recent, &mut counts);
                state.recent.add(write.prefix.clone(), time, write.value.as_ref().map(Bytes::len));
            }
            state.queue.push(Pending { time, writes, space_changes, counts, size_bytes, done });
            time
        };
        self.work.notify_one();
        outcome.await.unwrap_or_else(|_| Err(Error::Engine("the commit thread has ended".into())))?;
        Ok(time)
    }

    fn run(&self) {
        loop {
            let group = {
                let mut state = self.lock();
                while state.queue.is_empty() && !state.stopped {
                    let waited = self.work.wait_timeout(state, CLOCK_RENEWAL).unwrap_or_else(PoisonError::into_inner);
                    state = waited.0;
                    if waited.1.timed_out() {
                        drop(state);
                        self.renew_bound();
                        state = self.lock();
                    }
                }
                if state.queue.is_empty() {
                    return;
                }
                let mut group_bytes = 0;
                let fits = |pending: &&Pending| {
                    group_bytes += pending.size_bytes;
                    group_bytes <= MAX_GROUP_BYTES
                };
                let count = state.queue.iter().take_while(fits).count().max(1);
                let group: Vec<Pending> = state.queue.drain(..count).collect();
                state.writing = Some(group[0].time);
                group
            };
            self.write_group(group);
        }
    }

    /// While timestamps are being used, keeps their bound ahead so that no reader has to wait for an fsync.
    fn renew_bound(&self) {
        let used = self.lock().closed;
        if used.plus(CLOCK_RENEWAL * 2).0 > self.clock_bound.load(Ordering::Acquire)
            && let Err(error) = self.persist_bound(used)
        {
            tracing::warn!(%error, "cannot renew the clock's bound");
        }
    }

    fn write_group(&self, group: Vec<Pending>) {
        let last = group[group.len() - 1].time;
        // A panic in the engine must not leave committers waiting for ever.
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.write_batch(&group, last)));
        let outcome = written.unwrap_or_else(|_| Err(Error::Engine("the engine panicked while writing".into())));
        if outcome.is_ok() {
            group.iter().for_each(|pending| self.spaces.apply(&pending.space_changes, pending.time));
        }
        {
            let mut state = self.lock();
            state.writing = None;
            match &outcome {
                Ok(()) => state.closed = state.closed.max(last),
                // In one step with the end of writing: nothing may close beyond what could not be written.
                Err(error) => state.failed = Some(error.clone()),
            }
        }
        match &outcome {
            Ok(()) => self.closed.send_modify(|closed| *closed = last.max(*closed)),
            Err(error) => self.fail(error),
        }
        for pending in group {
            let _ = pending.done.send(outcome.clone());
        }
    }

    fn write_batch(&self, group: &[Pending], last: Timestamp) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for pending in group {
            for Write { space, prefix, value, .. } in &pending.writes {
                batch.insert(self.rows.of(*space), with_time(prefix, pending.time), encode_value(value.as_deref()));
            }
            for change in &pending.space_changes {
                change.write(&mut batch, &self.meta, pending.time);
            }
        }
        self.changes.add(&mut batch, group.iter().map(|pending| (pending.time, &pending.writes[..])));
        let writes = group.iter().flat_map(|pending| &pending.writes);
        self.stats.sample(&mut batch, writes.map(|write| (&write.prefix[..], write.value.is_some())));
        let counts = group.iter().flat_map(|pending| pending.counts.iter().map(|(space, counts)| (*space, *counts)));
        let counts = self.stats.write(&mut batch, counts);
        let _writer = self.bound_writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound = self.clock_bound.load(Ordering::Acquire);
        if last.plus(CLOCK_RENEWAL).0 > bound {
            bound = last.plus(CLOCK_AHEAD).0;
            batch.insert(&self.meta, CLOCK_KEY, bound.to_be_bytes());
        }
        batch.commit()?;
        counts.done();
        self.clock_bound.fetch_max(bound, Ordering::AcqRel);
        Ok(())
    }
}
