//! Time: one kind of timestamp orders everything in keepsafe (commits, backups, `AS OF SYSTEM TIME`).
//!
//! A [`Timestamp`] is nanoseconds since the Unix epoch, UTC. Fresh ones come from a [`HybridClock`], which
//! follows the wall clock but never repeats, never runs backward and does not believe a wall clock that jumps.
//! Whatever reads a clock or sleeps does so through a [`Clock`], so that tests can own time.

mod clock;
mod duration;
mod hybrid;
mod timestamp;

pub use clock::{Clock, ManualClock, SystemClock};
pub use duration::parse_duration;
pub use hybrid::HybridClock;
pub use timestamp::Timestamp;
