//! Advisory locks: locks on numbers that mean something to clients only. Migration tools take one to be alone.
//!
//! Each is held by a [`Holder`], a session or a transaction, and goes with it. They are of this process and outlive nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::error::{Error, Result, code};

/// What is locked: numbers of one database, one of 64 bits or two of 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The database's name.
    pub database: String,
    /// The numbers.
    pub numbers: (i64, Option<i64>),
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// With others that do so too.
    Shared,
}

#[derive(Clone, Copy)]
struct Held {
    holder: u64,
    /// Holders of one session do not wait for each other.
    session: u64,
    mode: Mode,
    times: u32,
}

/// All advisory locks of a server.
#[derive(Default)]
pub struct AdvisoryLocks {
    held: Mutex<HashMap<Key, Vec<Held>>>,
    released: Notify,
    next_id: AtomicU64,
}

impl AdvisoryLocks {
    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Vec<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session or a transaction, as far as it holds advisory locks.
pub struct Holder {
    locks: Arc<AdvisoryLocks>,
    id: u64,
    session: u64,
    /// Counts the statements that were given up: one that waits must not get a lock that nobody expects any more.
    given_up: Arc<AtomicU64>,
    /// Whether it ever held one: most transactions do not.
    used: AtomicBool,
}

impl Holder {
    /// A session that holds none.
    pub fn session(locks: Arc<AdvisoryLocks>) -> Holder {
        let id = locks.id();
        Holder { locks, id, session: id, given_up: Arc::new(AtomicU64::new(0)), used: AtomicBool::new(false) }
    }

    /// A transaction of this session.
    pub fn transaction(&self) -> Holder {
        Holder {
            locks: self.locks.clone(),
            id: self.locks.id(),
            session: self.session,
            given_up: self.given_up.clone(),
            used: AtomicBool::new(false),
        }
    }

    /// The statement that is running has failed or been canceled.
    pub fn give_up(&self) {
        // Under the lock of the table, so that nothing is granted in between.
        let table = self.locks.table();
        self.given_up.fetch_add(1, Ordering::SeqCst);
        drop(table);
        self.locks.released.notify_waiters();
    }

    /// Takes a lock, unless another session has it.
    pub fn try_lock(&self, key: &Key, mode: Mode) -> bool {
        self.grant(&mut self.locks.table(), key, mode)
    }

    fn grant(&self, table: &mut HashMap<Key, Vec<Held>>, key: &Key, mode: Mode) -> bool {
        let holders = table.entry(key.clone()).or_default();
        let conflicts =
            |held: &Held| held.session != self.session && (mode == Mode::Exclusive || held.mode == Mode::Exclusive);
        if holders.iter().any(conflicts) {
            return false;
        }
        self.used.store(true, Ordering::SeqCst);
        match holders.iter_mut().find(|held| held.holder == self.id && held.mode == mode) {
            Some(held) => held.times += 1,
            None => holders.push(Held { holder: self.id, session: self.session, mode, times: 1 }),
        }
        true
    }

    /// Waits for a lock.
    pub async fn lock(&self, key: &Key, mode: Mode) -> Result<()> {
        let begun = self.given_up.load(Ordering::SeqCst);
        loop {
            let mut released = std::pin::pin!(self.locks.released.notified());
            released.as_mut().enable();
            {
                let mut table = self.locks.table();
                if self.given_up.load(Ordering::SeqCst) != begun {
                    return Err(Error::new(
                        code::QUERY_CANCELED,
                        "canceling statement that waited for an advisory lock",
                    ));
                }
                if self.grant(&mut table, key, mode) {
                    return Ok(());
                }
            }
            released.await;
        }
    }

    /// Gives a lock back that was taken once more than it was given back; whether it was.
    pub fn unlock(&self, key: &Key, mode: Mode) -> bool {
        let mut table = self.locks.table();
        let Some(holders) = table.get_mut(key) else { return false };
        let Some(at) = holders.iter().position(|held| held.holder == self.id && held.mode == mode) else {
            return false;
        };
        holders[at].times -= 1;
        if holders[at].times == 0 {
            holders.remove(at);
        }
        if holders.is_empty() {
            table.remove(key);
        }
        drop(table);
        self.locks.released.notify_waiters();
        true
    }

    /// Whether it may hold some.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::SeqCst)
    }

    /// Gives all back.
    pub fn unlock_all(&self) {
        if !self.used.swap(false, Ordering::SeqCst) {
            return;
        }
        let mut table = self.locks.table();
        table.retain(|_, holders| {
            holders.retain(|held| held.holder != self.id);
            !holders.is_empty()
        });
        drop(table);
        self.locks.released.notify_waiters();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.unlock_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: i64) -> Key {
        Key { database: "d".into(), numbers: (number, None) }
    }

    #[test]
    fn a_lock_is_held_as_often_as_it_was_taken_and_goes_with_its_holder() {
        let locks = Arc::new(AdvisoryLocks::default());
        let (one, other) = (Holder::session(locks.clone()), Holder::session(locks.clone()));
        assert!(one.try_lock(&key(1), Mode::Exclusive) && one.try_lock(&key(1), Mode::Exclusive));
        assert!(!other.try_lock(&key(1), Mode::Shared) && other.try_lock(&key(2), Mode::Shared));
        assert!(one.unlock(&key(1), Mode::Exclusive) && !other.try_lock(&key(1), Mode::Exclusive));
        assert!(one.unlock(&key(1), Mode::Exclusive) && !one.unlock(&key(1), Mode::Exclusive));
        assert!(other.try_lock(&key(1), Mode::Exclusive));
        assert!(one.try_lock(&key(2), Mode::Shared) && !one.try_lock(&key(2), Mode::Exclusive));
        drop(other);
        assert!(one.try_lock(&key(1), Mode::Exclusive) && one.try_lock(&key(2), Mode::Exclusive));
        let transaction = one.transaction();
        assert!(transaction.try_lock(&key(1), Mode::Exclusive), "one session does not wait for itself");
        drop(one);
        assert!(!Holder::session(locks.clone()).try_lock(&key(1), Mode::Exclusive));
        drop(transaction);
        assert!(locks.table().is_empty());
    }

    #[tokio::test]
    async fn a_statement_that_was_given_up_gets_no_lock() {
        let locks = Arc::new(AdvisoryLocks::default());
        let (one, other) = (Holder::session(locks.clone()), Arc::new(Holder::session(locks.clone())));
        assert!(one.try_lock(&key(1), Mode::Exclusive));
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.lock(&key(1), Mode::Exclusive).await }
        });
        while Arc::strong_count(&other) < 2 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        other.give_up();
        drop(one);
        assert!(waiting.await.unwrap().is_err());
        assert!(locks.table().is_empty());
        // The next one does.
        other.lock(&key(1), Mode::Exclusive).await.unwrap();
    }
}
