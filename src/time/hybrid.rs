//! The hybrid logical clock of an embedded store.
//!
//! ```text
//!   estimate = anchor + monotonic time since the anchor was set
//!   |wall - estimate| <= max_offset   ->  believe the wall clock, anchor there
//!   otherwise                         ->  keep the estimate (somebody set the clock)
//!   now() = max(last + 1, estimate)
//! ```
//!
//! Timestamps start after the floor that the store persisted ahead of use, so time never runs backward across restarts. A
//! floor that is only a little ahead of the wall clock is what a crash leaves: timestamps then tick by one until the wall
//! clock has caught up. A wall clock far behind the floor was set back, and time goes on from the floor at the right pace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Clock, Timestamp};

/// How far the wall clock may be from where the monotonic clock expects it before it is not believed.
pub const MAX_OFFSET: Duration = Duration::from_millis(500);

/// A floor further ahead of the wall clock than this is not just what was persisted ahead of use.
const MAX_FLOOR_AHEAD: Duration = Duration::from_secs(10);

/// A source of timestamps that never repeat and never run backward.
pub struct HybridClock {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    last: Timestamp,
    anchor: Timestamp,
    anchor_monotonic_nanos: i64,
    disbelieving: bool,
}

impl HybridClock {
    /// A clock whose every timestamp is later than `floor`.
    pub fn new(clock: Arc<dyn Clock>, floor: Timestamp) -> Self {
        let wall = Timestamp(clock.wall_nanos());
        let state = State {
            last: floor,
            anchor: if floor > wall.plus(MAX_FLOOR_AHEAD) { floor } else { wall },
            anchor_monotonic_nanos: clock.monotonic_nanos(),
            disbelieving: false,
        };
        HybridClock { clock, state: Mutex::new(state) }
    }

    /// A timestamp later than every one handed out before.
    pub fn now(&self) -> Timestamp {
        self.tick(|time| time)
    }

    /// The same, at a whole microsecond: the time of a commit. So rounding a time down to microseconds changes nothing of what
    /// is there at that time, and times of commits can be typed.
    pub fn commit_time(&self) -> Timestamp {
        self.tick(Timestamp::ceil_micros)
    }

    fn tick(&self, rounded_up: impl Fn(Timestamp) -> Timestamp) -> Timestamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let monotonic_nanos = self.clock.monotonic_nanos();
        let wall = Timestamp(self.clock.wall_nanos());
        let estimate = Timestamp(state.anchor.0.saturating_add(monotonic_nanos - state.anchor_monotonic_nanos));
        let believed = wall.0.abs_diff(estimate.0) <= MAX_OFFSET.as_nanos() as u64;
        if !believed && !state.disbelieving {
            tracing::warn!(%wall, expected = %estimate, "the wall clock jumped and is not believed");
        }
        state.disbelieving = !believed;
        state.anchor = if believed { wall } else { estimate };
        state.anchor_monotonic_nanos = monotonic_nanos;
        state.last = rounded_up(state.last.next().max(state.anchor));
        state.last
    }

    /// The clock underneath.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ManualClock;

    const SECOND: i64 = 1_000_000_000;

    fn clocks(wall: i64, floor: i64) -> (Arc<ManualClock>, HybridClock) {
        let manual = Arc::new(ManualClock::new(wall));
        (manual.clone(), HybridClock::new(manual, Timestamp(floor)))
    }

    #[test]
    fn never_repeats_while_the_wall_clock_stands_still() {
        let (_, hybrid) = clocks(SECOND, 0);
        let first = hybrid.now();
        assert!(
            (0..1000).fold(first, |last, _| {
                let next = hybrid.now();
                assert!(next > last);
                next
            }) > first
        );
    }

    #[test]
    fn commits_are_at_whole_microseconds_even_while_the_wall_clock_is_behind() {
        let (manual, hybrid) = clocks(SECOND, SECOND + 1_500);
        let mut last = hybrid.now();
        for round in 0..1000 {
            let commit = hybrid.commit_time();
            assert!(commit > last && commit.0 % 1_000 == 0, "{commit} after {last}");
            // Nobody has committed between a time and that time rounded down.
            last = hybrid.now();
            assert!(last > commit && Timestamp::from_micros(last.micros()) >= commit);
            manual.advance(Duration::from_nanos(round % 3 * 100));
        }
    }

    #[test]
    fn a_jump_forward_is_not_believed_but_time_goes_on() {
        let (manual, hybrid) = clocks(100 * SECOND, 0);
        let before = hybrid.now();
        manual.jump(3600 * SECOND);
        manual.advance(Duration::from_secs(1));
        let after = hybrid.now();
        assert_eq!(after.0 - before.0, SECOND);
    }

    #[test]
    fn a_jump_back_is_not_believed_but_time_goes_on() {
        let (manual, hybrid) = clocks(7200 * SECOND, 0);
        let before = hybrid.now();
        manual.jump(-3600 * SECOND);
        manual.advance(Duration::from_secs(1));
        assert_eq!(hybrid.now().0 - before.0, SECOND);
    }

    #[test]
    fn a_small_correction_is_followed() {
        let (manual, hybrid) = clocks(100 * SECOND, 0);
        hybrid.now();
        manual.jump(SECOND / 10);
        assert_eq!(hybrid.now().0, 100 * SECOND + SECOND / 10);
    }

    #[test]
    fn starts_after_the_floor_and_keeps_pace() {
        let (manual, hybrid) = clocks(SECOND, 50 * SECOND);
        assert!(hybrid.now().0 > 50 * SECOND);
        manual.advance(Duration::from_secs(5));
        assert!(hybrid.now().0 >= 55 * SECOND);
    }

    #[test]
    fn after_a_crash_the_wall_clock_catches_up_with_the_floor() {
        let (manual, hybrid) = clocks(100 * SECOND, 103 * SECOND);
        assert_eq!(hybrid.now().0, 103 * SECOND + 1);
        manual.advance(Duration::from_secs(2));
        assert_eq!(hybrid.now().0, 103 * SECOND + 2);
        manual.advance(Duration::from_secs(2));
        assert_eq!(hybrid.now().0, 104 * SECOND);
    }
}
