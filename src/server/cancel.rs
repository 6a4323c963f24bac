//! Query cancellation: a client opens another connection and names the one whose query is to stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The connections that can be canceled, by process id and secret.
#[derive(Default)]
pub struct CancelKeys {
    keys: Mutex<HashMap<(i32, i32), watch::Sender<u64>>>,
    last_pid: AtomicI32,
}

/// A connection's entry, taken out when it ends.
pub struct CancelKey {
    keys: Arc<CancelKeys>,
    /// The process id told to the client.
    pub pid: i32,
    /// The secret told to the client.
    pub secret: i32,
    requests: watch::Receiver<u64>,
}

impl CancelKeys {
    /// Registers a connection.
    pub fn register(self: &Arc<Self>) -> CancelKey {
        let pid = self.last_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let secret = rand::random();
        let (sender, requests) = watch::channel(0);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert((pid, secret), sender);
        CancelKey { keys: self.clone(), pid, secret, requests }
    }

    /// Cancels what the connection is doing; a wrong secret does nothing.
    pub fn cancel(&self, pid: i32, secret: i32) {
        if let Some(sender) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&(pid, secret)) {
            sender.send_modify(|requests| *requests += 1);
        }
    }
}

impl CancelKey {
    /// Requests so far were for earlier statements.
    pub fn begin_statement(&mut self) {
        self.requests.mark_unchanged();
    }

    /// Returns when the statement is to be canceled.
    pub fn requested(&self) -> impl Future<Output = ()> + use<> {
        let mut requests = self.requests.clone();
        async move {
            if requests.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.keys.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&(self.pid, self.secret));
    }
}
