//! The engine behind a store, which can be closed and opened again in process: fjall stops for good after an I/O error.
//!
//! Only the handle keeps the engine. Everybody else borrows it for one operation: transactions and scans hold a weak
//! reference, find it gone after a reopening, and have to start again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::Engine;
use super::disk::Look;
use crate::kv::{Error, Result};
use crate::time::Clock;

/// Waits between looks whether everybody has let go of the engine, and between attempts to open it.
const POLL: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(500);

/// How to open an engine.
pub struct Options {
    pub directory: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub first_space: u64,
    pub look: Look,
    pub cache_bytes: u64,
}

/// The engine, while it is open.
pub struct Handle {
    options: Options,
    engine: RwLock<Option<Arc<Engine>>>,
    closed: AtomicBool,
}

impl Handle {
    pub fn open(options: Options) -> Result<Arc<Handle>> {
        let (failed, failures) = mpsc::channel();
        let engine = Engine::open(&options, failed.clone())?;
        let handle =
            Arc::new(Handle { options, engine: RwLock::new(Some(Arc::new(engine))), closed: AtomicBool::new(false) });
        let weak = Arc::downgrade(&handle);
        let reopen = move || reopen_after_failures(&weak, &failures, &failed);
        let spawned = std::thread::Builder::new().name("keepsafe-reopen".into()).spawn(reopen);
        spawned.map_err(|error| Error::Engine(format!("cannot start a thread: {error}")))?;
        Ok(handle)
    }

    /// The engine, to be used for one operation and not kept.
    pub fn engine(&self) -> Result<Arc<Engine>> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().ok_or_else(|| Error::Engine("the store is being opened again after an error".into()))
    }

    pub fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.engine()?.close()
    }

    fn reopen(&self, failures: &Receiver<()>, failed: &mpsc::Sender<()>) {
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(engine) = engine {
            engine.committer.abandon();
            // Whoever is using it finds that out and lets go.
            let mut waited = Duration::ZERO;
            while Arc::strong_count(&engine) > 1 {
                std::thread::sleep(POLL);
                waited += POLL;
                if waited.as_secs() > 0 && waited.as_secs().is_multiple_of(10) && waited.subsec_nanos() == 0 {
                    tracing::warn!("waiting for {} operations on the store to end", Arc::strong_count(&engine) - 1);
                }
            }
        }
        // What the former engine had still to say is of no interest; what the next one says is.
        while failures.try_recv().is_ok() {}
        while !self.closed.load(Ordering::Acquire) {
            match Engine::open(&self.options, failed.clone()) {
                Ok(engine) => {
                    *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(engine));
                    tracing::warn!("the store is open again");
                    return;
                }
                Err(error) => tracing::warn!(%error, "cannot open the store again yet"),
            }
            std::thread::sleep(RETRY);
        }
    }
}

/// Opens the engine again whenever it says that it failed, for as long as there is a handle.
fn reopen_after_failures(handle: &Weak<Handle>, failures: &Receiver<()>, failed: &mpsc::Sender<()>) {
    loop {
        match failures.recv_timeout(Duration::from_secs(1)) {
            Ok(()) => {
                let Some(handle) = handle.upgrade() else { return };
                if handle.closed.load(Ordering::Acquire) {
                    return;
                }
                handle.reopen(failures, failed);
            }
            Err(_) if handle.strong_count() == 0 => return,
            Err(_) => {}
        }
    }
}
