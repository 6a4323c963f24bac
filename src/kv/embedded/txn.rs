//! A transaction: a snapshot, a buffer of writes, what was read, and the locks held.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt};

use super::committer::{Before, Write};
use super::conflicts::ReadSet;
use super::encoding::{span_bounds, version_prefix};
use super::locks::{Attempt, HolderId};
use super::scan::{Scan, Select};
use super::spaces::SpaceChange;
use super::{Engine, REOPENED, yielding};
use crate::kv::overlay::{OwnWrite, overlay};
use crate::kv::{BatchStream, Direction, Error, LockMode, MAX_KEY_BYTES, Result, SpaceId, Span, Txn};
use crate::time::Timestamp;

/// Bytes of keys and values one transaction may hold in memory.
const MAX_WRITE_BYTES: usize = 1 << 30;

type Key = (SpaceId, Bytes);

pub struct EmbeddedTxn {
    engine: Weak<Engine>,
    holder: HolderId,
    read_only: bool,
    began: Timestamp,
    state: Mutex<State>,
}

/// A write of the transaction that is not committed yet.
#[derive(Clone)]
struct Own {
    /// `None` is a delete.
    value: Option<Bytes>,
    /// Whether the key is known to have had no value before the transaction.
    is_new: bool,
}

/// How to take back one thing.
enum Undo {
    /// A write: the key, and what the transaction had written there before.
    Write(Key, Option<Own>),
    /// A change of a space, the last one in the list.
    SpaceChange,
}

struct State {
    snapshot: Timestamp,
    writes: BTreeMap<Key, Own>,
    write_bytes: usize,
    /// What was done, for savepoints.
    undo: Vec<Undo>,
    reads: ReadSet,
    locks: Vec<Vec<u8>>,
    space_changes: Vec<SpaceChange>,
    ended: bool,
}

impl EmbeddedTxn {
    /// A transaction at `snapshot`, at which the committer has registered it.
    pub fn new(engine: &Arc<Engine>, snapshot: Timestamp, read_only: bool) -> EmbeddedTxn {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let state = State {
            snapshot,
            writes: BTreeMap::new(),
            write_bytes: 0,
            undo: Vec::new(),
            reads: ReadSet::default(),
            locks: Vec::new(),
            space_changes: Vec::new(),
            ended: false,
        };
        EmbeddedTxn {
            engine: Arc::downgrade(engine),
            holder: HolderId(NEXT.fetch_add(1, Ordering::Relaxed)),
            read_only,
            began: snapshot,
            state: Mutex::new(state),
        }
    }

    /// The engine it was begun in.
    fn engine(&self) -> Result<Arc<Engine>> {
        self.engine.upgrade().ok_or(REOPENED)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key under which a lock is known, noted before it is taken: a wait that is cut short may have been granted already.
    fn lock_key(&self, space: SpaceId, key: &[u8]) -> Result<Vec<u8>> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(Error::KeyTooLong(key.len()));
        }
        let key = version_prefix(space, key);
        let mut state = self.state();
        if state.ended {
            return Err(Error::Ended);
        }
        state.locks.push(key.clone());
        Ok(key)
    }

    /// Moves the snapshot to now, so that it has what the last holder of a lock has written.
    fn see_what_is_locked(&self, engine: &Engine, key: &[u8]) -> Result<()> {
        let mut state = self.state();
        match engine.committer.refresh(&state.reads, state.snapshot) {
            Ok(snapshot) => state.snapshot = snapshot,
            // Something else that was read has changed: the old snapshot will do, unless it is too old for this key.
            Err(error) if engine.committer.changed_since(key, state.snapshot) => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    fn write(&self, space: SpaceId, key: &[u8], value: Option<Bytes>, is_new: bool) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(Error::KeyTooLong(key.len()));
        }
        let mut state = self.state();
        if state.ended {
            return Err(Error::Ended);
        }
        state.write_bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        if state.write_bytes > MAX_WRITE_BYTES {
            return Err(Error::TooLarge(MAX_WRITE_BYTES));
        }
        let key = (space, Bytes::copy_from_slice(key));
        let before = state.writes.insert(key.clone(), Own { value, is_new });
        if let Some(before) = &before
            && let Some(own) = state.writes.get_mut(&key)
        {
            own.is_new = before.is_new;
        }
        state.undo.push(Undo::Write(key, before));
        Ok(())
    }

    fn change_space(&self, change: SpaceChange) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let mut state = self.state();
        state.space_changes.push(change);
        state.undo.push(Undo::SpaceChange);
        Ok(())
    }

    fn own_writes(state: &State, span: &Span, direction: Direction) -> Vec<OwnWrite> {
        let start = Bound::Included((span.space, span.start.clone()));
        let end = Bound::Excluded(match &span.end {
            Some(end) => (span.space, end.clone()),
            None => (SpaceId(span.space.0 + 1), Bytes::new()),
        });
        if state.writes.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let own = state.writes.range((start, end)).map(|((_, key), own)| (key.clone(), own.value.clone()));
        match direction {
            Direction::Forward => own.collect(),
            Direction::Backward => own.rev().collect(),
        }
    }

    fn end(&self, state: &mut State) {
        if !state.ended {
            state.ended = true;
            state.writes.clear();
            state.undo.clear();
            if let Some(engine) = self.engine.upgrade() {
                engine.locks.release(self.holder, std::mem::take(&mut state.locks));
                engine.committer.deregister(self.began, state.snapshot);
            }
        }
    }
}

#[async_trait]
impl Txn for EmbeddedTxn {
    fn snapshot(&self) -> Timestamp {
        self.state().snapshot
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    async fn get(&self, space: SpaceId, key: &[u8]) -> Result<Option<(Bytes, Option<Timestamp>)>> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        let snapshot = {
            let mut state = self.state();
            // Rows often come in order: then it is not looked for among all that were written.
            let is_last = |(last, _): (&Key, &Own)| (last.0, &last.1[..]) < (space, key);
            if !state.writes.last_key_value().is_none_or(is_last)
                && let Some(own) = state.writes.get(&(space, Bytes::copy_from_slice(key)))
            {
                return Ok(own.value.clone().map(|value| (value, None)));
            }
            if !self.read_only {
                state.reads.add_point(version_prefix(space, key));
            }
            state.snapshot
        };
        let found = self.engine()?.get(space, key, snapshot)?;
        if let Some(found) = &found
            && !self.read_only
        {
            self.state().reads.set_value_bytes(&version_prefix(space, key), Some(found.value.len()));
        }
        Ok(found.map(|versioned| (versioned.value, Some(versioned.time))))
    }

    fn scan(&self, span: Span, direction: Direction, limit: Option<usize>) -> BatchStream {
        let mut state = self.state();
        if !self.read_only {
            let (start, end) = span_bounds(&span);
            state.reads.add_range(start, end);
        }
        let own = Self::own_writes(&state, &span, direction);
        let base_limit = if own.is_empty() { limit } else { None };
        let select = Select::Newest { at: state.snapshot, direction };
        let base = match self.engine().and_then(|engine| Scan::open(&engine, span, select, base_limit)) {
            Ok(scan) => yielding(scan),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        overlay(base, own, direction, limit)
    }

    fn put(&self, space: SpaceId, key: &[u8], value: Bytes) -> Result<()> {
        self.write(space, key, Some(value), false)
    }

    fn put_new(&self, space: SpaceId, key: &[u8], value: Bytes) -> Result<()> {
        self.write(space, key, Some(value), true)
    }

    fn delete(&self, space: SpaceId, key: &[u8]) -> Result<()> {
        self.write(space, key, None, false)
    }

    fn drop_space(&self, space: SpaceId) -> Result<()> {
        self.change_space(SpaceChange::Drop(space))
    }

    fn set_threshold(&self, space: SpaceId, threshold: Timestamp) -> Result<()> {
        let now = self.snapshot();
        if threshold > now {
            return Err(Error::Future { at: threshold, now });
        }
        if !self.engine()?.spaces.would_raise(space, threshold) {
            return Ok(());
        }
        self.change_space(SpaceChange::Threshold(space, threshold))
    }

    async fn lock(&self, space: SpaceId, key: &[u8], mode: LockMode) -> Result<()> {
        let key = self.lock_key(space, key)?;
        let engine = self.engine()?;
        let fresh = tokio::select! {
            fresh = engine.locks.acquire(self.holder, &key, mode) => fresh?,
            error = engine.committer.failure() => return Err(error),
        };
        if !fresh {
            self.state().locks.pop();
            return Ok(());
        }
        self.see_what_is_locked(&engine, &key)
    }

    fn try_lock(&self, space: SpaceId, key: &[u8], mode: LockMode) -> Result<bool> {
        let key = self.lock_key(space, key)?;
        let engine = self.engine()?;
        let attempt = engine.locks.try_acquire(self.holder, &key, mode);
        if attempt == Attempt::Granted {
            self.see_what_is_locked(&engine, &key)?;
        } else {
            self.state().locks.pop();
        }
        Ok(attempt != Attempt::InTheWay)
    }

    fn savepoint(&self) -> usize {
        self.state().undo.len()
    }

    fn rollback_to(&self, savepoint: usize) {
        let mut state = self.state();
        while state.undo.len() > savepoint {
            match state.undo.pop() {
                Some(Undo::Write(key, Some(before))) => drop(state.writes.insert(key, before)),
                Some(Undo::Write(key, None)) => drop(state.writes.remove(&key)),
                Some(Undo::SpaceChange) => drop(state.space_changes.pop()),
                None => break,
            }
        }
    }

    fn pending_writes(&self) -> usize {
        self.state().writes.len()
    }

    async fn commit(&self) -> Result<Timestamp> {
        let (snapshot, reads, writes, space_changes) = {
            let mut state = self.state();
            if state.ended {
                return Err(Error::Ended);
            }
            state.undo.clear();
            let writes = std::mem::take(&mut state.writes);
            let space_changes = std::mem::take(&mut state.space_changes);
            (state.snapshot, std::mem::take(&mut state.reads), writes, space_changes)
        };
        let engine = self.engine().inspect_err(|_| self.end(&mut self.state()))?;
        let written = |((space, key), own): (Key, Own)| -> Result<Write> {
            let prefix = version_prefix(space, &key);
            let before = match reads.value_bytes(&prefix) {
                Some(value_bytes) => Before::Certain(value_bytes),
                None if own.is_new => Before::Certain(None),
                None => Before::At(snapshot, engine.newest_value_bytes(space, &prefix, snapshot)?),
            };
            Ok(Write { space, key_bytes: key.len(), prefix, value: own.value, before })
        };
        let writes = writes.into_iter().map(written).collect::<Result<Vec<_>>>();
        let writes = writes.inspect_err(|_| self.end(&mut self.state()))?;
        let committed = if writes.is_empty() && space_changes.is_empty() {
            Ok(snapshot)
        } else {
            // What frees space, and what the system notes for itself, may use the last of it.
            let is_essential = !space_changes.is_empty() || writes.iter().all(|w| !engine.rows.is_user(w.space));
            match engine.disk.check(is_essential) {
                Ok(()) => engine.committer.commit(&reads, snapshot, writes, space_changes).await,
                Err(error) => Err(error),
            }
        };
        self.end(&mut self.state());
        committed
    }

    fn rollback(&self) {
        self.end(&mut self.state());
    }
}

impl Drop for EmbeddedTxn {
    fn drop(&mut self) {
        self.end(&mut self.state());
    }
}
