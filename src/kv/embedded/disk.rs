//! Room on the disk. Writes are refused while there is still a little left: an engine that runs into the end of the disk stops,
//! and what frees space (a drop, a shorter time to keep history, a collection) has to write too.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::kv::{Error, Result};
use crate::time::Clock;

/// Ordinary writes are refused when less than this is free, or than this part of a small disk.
const RESERVE_BYTES: u64 = 256 << 20;
const RESERVE_PART: u64 = 20;
/// Writes of the system's own, and those that free space, may use all of the reserve but this part of it.
const LAST_PART: u64 = 4;
/// How long a look at the disk is good for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Free and total bytes of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub free: u64,
    pub total: u64,
}

/// Looks at the disk.
pub type Look = Arc<dyn Fn() -> std::io::Result<Room> + Send + Sync>;

/// Looks at the disk that a directory is on.
pub fn look_at(directory: &Path) -> Look {
    let directory = directory.to_path_buf();
    Arc::new(move || {
        let found = rustix::fs::statvfs(&directory)?;
        Ok(Room { free: found.f_bavail * found.f_frsize, total: found.f_blocks * found.f_frsize })
    })
}

/// Whether there is room for writes.
pub struct Disk {
    look: Look,
    clock: Arc<dyn Clock>,
    looked_at: AtomicI64,
    free: AtomicU64,
    reserve: AtomicU64,
}

impl Disk {
    pub fn new(look: Look, clock: Arc<dyn Clock>) -> Disk {
        let (free, reserve) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Disk { look, clock, looked_at: AtomicI64::new(i64::MIN), free, reserve }
    }

    /// Fails if a write must not be done now. `essential` ones may go further.
    pub fn check(&self, essential: bool) -> Result<()> {
        let (free, reserve) = self.look();
        let needed = if essential { reserve / LAST_PART } else { reserve };
        if free < needed { Err(Error::DiskFull { free }) } else { Ok(()) }
    }

    /// Whether so many bytes can be written without touching the reserve.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let (free, reserve) = self.look();
        free >= bytes.saturating_add(reserve)
    }

    /// Free bytes, and how many of them are in reserve.
    fn look(&self) -> (u64, u64) {
        let now = self.clock.monotonic_nanos();
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        if now.saturating_sub(looked_at) >= LOOK_EVERY.as_nanos() as i64 {
            match (self.look)() {
                Ok(Room { free, total }) => {
                    self.free.store(free, Ordering::Relaxed);
                    self.reserve.store(RESERVE_BYTES.min(total / RESERVE_PART), Ordering::Relaxed);
                }
                // Not knowing is no reason to refuse: the write itself will tell.
                Err(error) => tracing::warn!(%error, "cannot find out how much room is on the disk"),
            }
            self.looked_at.store(now, Ordering::Relaxed);
        }
        (self.free.load(Ordering::Relaxed), self.reserve.load(Ordering::Relaxed))
    }
}
