//! The background work that lets history go: decide what may be forgotten ([`crate::catalog::retention`]), then have the store
//! forget it, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::settings::GC_INTERVAL;
use crate::catalog::{DescriptorCache, retention};
use crate::jobs::Registry;
use crate::kv::Store;
use crate::sql::Result;
use crate::time::Clock;

/// Keys looked at in one go.
const ROUND_KEYS: usize = 4096;
/// What the interval is while the setting cannot be read.
const FALLBACK_INTERVAL: Duration = Duration::from_secs(60);

/// Collects what nobody needs any more, again and again.
pub struct Collector {
    pub store: Arc<dyn Store>,
    pub descriptors: Arc<DescriptorCache>,
    pub jobs: Arc<Registry>,
    pub clock: Arc<dyn Clock>,
}

impl Collector {
    /// Works until told to stop.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let work = async {
            loop {
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "cannot collect history now");
                }
                GC_INTERVAL.wait(&*self.store, &*self.clock, FALLBACK_INTERVAL).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    async fn round(&self) -> Result<()> {
        self.jobs.release_orphans().await?;
        self.jobs.forget_ended().await?;
        retention::sweep(&*self.store, &self.descriptors, self.jobs.oldest_live().await?).await?;
        retention::advance(&*self.store, &self.descriptors).await?;
        loop {
            let began = self.clock.monotonic_nanos();
            if !self.store.collect(ROUND_KEYS).await?.more {
                return Ok(());
            }
            // Half of the time is for others.
            let took = self.clock.monotonic_nanos() - began;
            self.clock.sleep(Duration::from_nanos(took.max(0) as u64)).await;
        }
    }
}
