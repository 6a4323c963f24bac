//! Key locks: first come, first served, with deadlock detection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::kv::{Error, LockMode, Result};

/// Names a transaction in the lock table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HolderId(pub u64);

/// How an attempt to take a lock without waiting went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The holder has it from now on.
    Granted,
    /// The holder had it.
    HadIt,
    /// Somebody else has it, or is to get it next.
    InTheWay,
}

/// All locks of a store, by version prefix.
#[derive(Default)]
pub struct LockTable {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    locks: HashMap<Vec<u8>, Lock>,
    /// Which lock each waiting holder waits for. A holder waits for one lock at a time.
    waiting: HashMap<HolderId, Vec<u8>>,
}

#[derive(Default)]
struct Lock {
    holders: Vec<(HolderId, LockMode)>,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    holder: HolderId,
    mode: LockMode,
    granted: oneshot::Sender<()>,
}

impl Lock {
    fn held_by(&self, holder: HolderId) -> Option<LockMode> {
        self.holders.iter().find(|(id, _)| *id == holder).map(|(_, mode)| *mode)
    }

    fn compatible(&self, holder: HolderId, mode: LockMode) -> bool {
        let shared = |other: LockMode| mode == LockMode::Shared && other == LockMode::Shared;
        self.holders.iter().all(|&(id, other)| id == holder || shared(other))
    }

    fn grant(&mut self, holder: HolderId, mode: LockMode) {
        match self.holders.iter_mut().find(|(id, _)| *id == holder) {
            Some(held) if mode == LockMode::Exclusive => held.1 = mode,
            Some(_) => {}
            None => self.holders.push((holder, mode)),
        }
    }

    /// Grants it if nobody is in the way.
    fn attempt(&mut self, holder: HolderId, mode: LockMode) -> Attempt {
        let held = self.held_by(holder);
        if held == Some(LockMode::Exclusive) || held == Some(mode) {
            return Attempt::HadIt;
        }
        if self.compatible(holder, mode) && (self.queue.is_empty() || held.is_some()) {
            self.grant(holder, mode);
            return Attempt::Granted;
        }
        Attempt::InTheWay
    }

    /// Grants from the head of the queue as far as the holders allow.
    fn advance(&mut self) -> Vec<HolderId> {
        let mut granted = Vec::new();
        while let Some(waiter) = self.queue.front()
            && self.compatible(waiter.holder, waiter.mode)
        {
            if let Some(waiter) = self.queue.pop_front()
                && waiter.granted.send(()).is_ok()
            {
                self.grant(waiter.holder, waiter.mode);
                granted.push(waiter.holder);
            }
        }
        granted
    }

    /// Whom a waiter at `position` in the queue waits for.
    fn blockers(&self, position: usize) -> impl Iterator<Item = HolderId> {
        let me = self.queue.get(position).map(|waiter| waiter.holder);
        let holders = self.holders.iter().map(|&(id, _)| id);
        holders.chain(self.queue.iter().take(position).map(|waiter| waiter.holder)).filter(move |id| Some(*id) != me)
    }
}

impl State {
    /// Whether `start`, about to wait, would wait for itself.
    fn deadlocks(&self, start: HolderId) -> bool {
        let mut seen = HashSet::new();
        let mut todo = vec![start];
        while let Some(holder) = todo.pop() {
            let Some(lock) = self.waiting.get(&holder).and_then(|key| self.locks.get(key)) else { continue };
            let Some(position) = lock.queue.iter().position(|waiter| waiter.holder == holder) else { continue };
            for blocker in lock.blockers(position) {
                if blocker == start {
                    return true;
                }
                if seen.insert(blocker) {
                    todo.push(blocker);
                }
            }
        }
        false
    }

    fn leave_queue(&mut self, holder: HolderId) {
        let Some(key) = self.waiting.remove(&holder) else { return };
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.queue.retain(|waiter| waiter.holder != holder);
        }
        self.advance(&key);
    }

    fn advance(&mut self, key: &[u8]) {
        let Some(lock) = self.locks.get_mut(key) else { return };
        for granted in lock.advance() {
            self.waiting.remove(&granted);
        }
        if lock.holders.is_empty() && lock.queue.is_empty() {
            self.locks.remove(key);
        }
    }
}

/// Takes a waiter out of its queue when it stops waiting, for whatever reason.
struct Waiting<'a> {
    table: &'a LockTable,
    holder: HolderId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.table.lock_state().leave_queue(self.holder);
    }
}

impl LockTable {
    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, waiting for it if need be. True if the holder did not have it in this mode before.
    pub async fn acquire(&self, holder: HolderId, key: &[u8], mode: LockMode) -> Result<bool> {
        let granted = {
            let mut state = self.lock_state();
            let lock = state.locks.entry(key.to_vec()).or_default();
            match lock.attempt(holder, mode) {
                Attempt::HadIt => return Ok(false),
                Attempt::Granted => return Ok(true),
                Attempt::InTheWay => {}
            }
            let held = lock.held_by(holder);
            let (granted, receiver) = oneshot::channel();
            let waiter = Waiter { holder, mode, granted };
            if held.is_some() {
                lock.queue.push_front(waiter)
            } else {
                lock.queue.push_back(waiter)
            }
            state.waiting.insert(holder, key.to_vec());
            if state.deadlocks(holder) {
                state.leave_queue(holder);
                return Err(Error::Retry("deadlock detected"));
            }
            receiver
        };
        let _waiting = Waiting { table: self, holder };
        granted.await.map_err(|_| Error::Retry("the lock wait was cut short"))?;
        Ok(true)
    }

    /// Takes the lock if nobody is in the way.
    pub fn try_acquire(&self, holder: HolderId, key: &[u8], mode: LockMode) -> Attempt {
        // One that is not free is there already.
        self.lock_state().locks.entry(key.to_vec()).or_default().attempt(holder, mode)
    }

    /// Gives back every lock in `keys`.
    pub fn release(&self, holder: HolderId, keys: impl IntoIterator<Item = Vec<u8>>) {
        let mut state = self.lock_state();
        for key in keys {
            if let Some(lock) = state.locks.get_mut(&key) {
                lock.holders.retain(|(id, _)| *id != holder);
            }
            state.advance(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const A: HolderId = HolderId(1);
    const B: HolderId = HolderId(2);

    #[tokio::test]
    async fn writers_queue_and_readers_share() {
        let table = Arc::new(LockTable::default());
        assert!(table.acquire(A, b"k", LockMode::Shared).await.unwrap());
        assert!(table.acquire(B, b"k", LockMode::Shared).await.unwrap());
        let waiter = tokio::spawn({
            let table = table.clone();
            async move { table.acquire(B, b"k", LockMode::Exclusive).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiter.is_finished());
        table.release(A, [b"k".to_vec()]);
        assert_eq!(waiter.await.unwrap(), Ok(true));
        assert!(!table.acquire(B, b"k", LockMode::Shared).await.unwrap(), "exclusive includes shared");
        table.release(B, [b"k".to_vec()]);
        assert!(table.lock_state().locks.is_empty());
    }

    #[tokio::test]
    async fn a_cycle_fails_the_one_that_closes_it() {
        let table = Arc::new(LockTable::default());
        table.acquire(A, b"x", LockMode::Exclusive).await.unwrap();
        table.acquire(B, b"y", LockMode::Exclusive).await.unwrap();
        let waiter = tokio::spawn({
            let table = table.clone();
            async move { table.acquire(A, b"y", LockMode::Exclusive).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(matches!(table.acquire(B, b"x", LockMode::Exclusive).await, Err(Error::Retry(_))));
        table.release(B, [b"y".to_vec()]);
        assert_eq!(waiter.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn two_upgrades_of_a_shared_lock_are_a_deadlock() {
        let table = Arc::new(LockTable::default());
        table.acquire(A, b"x", LockMode::Shared).await.unwrap();
        table.acquire(B, b"x", LockMode::Shared).await.unwrap();
        let waiter = tokio::spawn({
            let table = table.clone();
            async move { table.acquire(A, b"x", LockMode::Exclusive).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(matches!(table.acquire(B, b"x", LockMode::Exclusive).await, Err(Error::Retry(_))));
        table.release(B, [b"x".to_vec()]);
        assert_eq!(waiter.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn an_attempt_takes_only_what_is_free() {
        let table = Arc::new(LockTable::default());
        assert_eq!(table.try_acquire(A, b"x", LockMode::Shared), Attempt::Granted);
        assert_eq!(table.try_acquire(B, b"x", LockMode::Shared), Attempt::Granted);
        assert_eq!(table.try_acquire(A, b"x", LockMode::Exclusive), Attempt::InTheWay);
        table.release(B, [b"x".to_vec()]);
        assert_eq!(table.try_acquire(A, b"x", LockMode::Exclusive), Attempt::Granted);
        assert_eq!(table.try_acquire(A, b"x", LockMode::Shared), Attempt::HadIt);
        assert_eq!(table.try_acquire(B, b"x", LockMode::Shared), Attempt::InTheWay);
        // Nor does it overtake who waits.
        let waiter = tokio::spawn({
            let table = table.clone();
            async move { table.acquire(B, b"x", LockMode::Exclusive).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        table.release(A, [b"x".to_vec()]);
        assert_eq!(table.try_acquire(A, b"x", LockMode::Shared), Attempt::InTheWay);
        assert_eq!(waiter.await.unwrap(), Ok(true));
        table.release(B, [b"x".to_vec()]);
        assert!(table.lock_state().locks.is_empty());
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_leaves_the_queue() {
        let table = Arc::new(LockTable::default());
        table.acquire(A, b"x", LockMode::Exclusive).await.unwrap();
        let wait = table.acquire(B, b"x", LockMode::Exclusive);
        assert!(tokio::time::timeout(Duration::from_millis(20), wait).await.is_err());
        table.release(A, [b"x".to_vec()]);
        assert!(table.lock_state().locks.is_empty());
    }
}
