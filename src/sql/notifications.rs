//! `LISTEN`, `NOTIFY` and `UNLISTEN`, after <https://www.postgresql.org/docs/15/sql-notify.html>: messages between the sessions of a node that are in
//! one database. What a transaction asks for happens after it has ended, and only if it has committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::error::{Error, Result, code};

/// Bytes of a payload, as in PostgreSQL less than this.
const MAX_PAYLOAD: usize = 8000;
/// Bytes of the name of a channel, as in PostgreSQL less than this.
const MAX_CHANNEL: usize = 64;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The number of the session that sent it.
    pub sender: i32,
    /// Where it was sent.
    pub channel: String,
    /// What it says.
    pub payload: String,
}

/// Database and channel, and there the numbers of sessions.
type Listeners = HashMap<(String, String), BTreeMap<i32, UnboundedSender<Notification>>>;

/// Who listens where.
#[derive(Default)]
pub struct Channels {
    listeners: Mutex<Listeners>,
}

/// What a transaction has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Request {
    Listen(String),
    /// On one channel, or on all.
    Unlisten(Option<String>),
    Notify(String, String),
}

/// A session's own part.
pub struct Listener {
    all: Arc<Channels>,
    id: i32,
    sender: UnboundedSender<Notification>,
    requests: Mutex<Vec<Request>>,
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, id: i32, channel: Option<&str>) {
        self.lock().retain(|(_, known), sessions| {
            if channel.is_none_or(|channel| channel == known) {
                sessions.remove(&id);
            }
            !sessions.is_empty()
        });
    }
}

impl Listener {
    /// That of a new session, and what is sent to it.
    pub fn new(all: Arc<Channels>, id: i32) -> (Listener, UnboundedReceiver<Notification>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Listener { all, id, sender, requests: Mutex::default() }, receiver)
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `LISTEN`
    pub fn listen(&self, channel: &str) -> Result<()> {
        self.requests().push(Request::Listen(checked(channel)?));
        Ok(())
    }

    /// `UNLISTEN`; none is all.
    pub fn unlisten(&self, channel: Option<&str>) {
        self.requests().push(Request::Unlisten(channel.map(str::to_string)));
    }

    /// `NOTIFY`; the same message is sent once in a transaction.
    pub fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        if payload.len() >= MAX_PAYLOAD {
            return Err(Error::new(code::INVALID_PARAMETER, "payload string too long"));
        }
        let request = Request::Notify(checked(channel)?, payload.into());
        let mut requests = self.requests();
        if !requests.contains(&request) {
            requests.push(request);
        }
        Ok(())
    }

    /// How much the transaction has asked for so far.
    pub fn mark(&self) -> usize {
        self.requests().len()
    }

    /// Forgets what was asked for since then.
    pub fn go_back(&self, mark: usize) {
        self.requests().truncate(mark);
    }

    /// The transaction has committed, in a database.
    pub fn committed(&self, database: &str) {
        for request in std::mem::take(&mut *self.requests()) {
            match request {
                Request::Listen(channel) => {
                    let mut all = self.all.lock();
                    all.entry((database.into(), channel)).or_default().insert(self.id, self.sender.clone());
                }
                Request::Unlisten(channel) => self.all.forget(self.id, channel.as_deref()),
                Request::Notify(channel, payload) => {
                    let key = (database.to_string(), channel.clone());
                    let notification = Notification { sender: self.id, channel, payload };
                    for listener in self.all.lock().get(&key).iter().flat_map(|sessions| sessions.values()) {
                        // One that is gone hears nothing.
                        let _ = listener.send(notification.clone());
                    }
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.all.forget(self.id, None);
    }
}

fn checked(channel: &str) -> Result<String> {
    match channel.len() {
        0 => Err(Error::new(code::INVALID_PARAMETER, "channel name cannot be empty")),
        MAX_CHANNEL.. => Err(Error::new(code::INVALID_PARAMETER, "channel name too long")),
        _ => Ok(channel.into()),
    }
}
