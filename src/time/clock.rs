use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

/// Where time comes from: the wall clock, a monotonic clock, and sleep.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch, as the machine believes; may jump either way.
    fn wall_nanos(&self) -> i64;
    /// Nanoseconds since some fixed instant; never goes back.
    fn monotonic_nanos(&self) -> i64;
    /// Returns after `duration` of monotonic time.
    async fn sleep(&self, duration: Duration);
}

/// The machine's own clocks.
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { origin: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn wall_nanos(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
    }

    fn monotonic_nanos(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock that moves only when told to, for tests.
pub struct ManualClock {
    wall_nanos: AtomicI64,
    monotonic_nanos: AtomicI64,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// A clock that shows `wall_nanos`.
    pub fn new(wall_nanos: i64) -> Self {
        let (moved, _) = watch::channel(());
        ManualClock { wall_nanos: AtomicI64::new(wall_nanos), monotonic_nanos: AtomicI64::new(0), moved }
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, duration: Duration) {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        self.wall_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.monotonic_nanos.fetch_add(nanos, Ordering::SeqCst);
        self.moved.send_replace(());
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn jump(&self, nanos: i64) {
        self.wall_nanos.fetch_add(nanos, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn wall_nanos(&self) -> i64 {
        self.wall_nanos.load(Ordering::SeqCst)
    }

    fn monotonic_nanos(&self) -> i64 {
        self.monotonic_nanos.load(Ordering::SeqCst)
    }

    async fn sleep(&self, duration: Duration) {
        let mut moved = self.moved.subscribe();
        let until = self.monotonic_nanos().saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX));
        while self.monotonic_nanos() < until {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }
}
