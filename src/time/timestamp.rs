use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch, UTC. Prints as that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before everything; no version carries it.
    pub const MIN: Timestamp = Timestamp(0);
    /// After everything.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The next instant.
    pub fn next(self) -> Timestamp {
        Timestamp(self.0.saturating_add(1))
    }

    /// The instant just before.
    pub fn prev(self) -> Timestamp {
        Timestamp(self.0.saturating_sub(1))
    }

    /// Later by `duration`, saturating.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `duration`, saturating.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Whole microseconds, rounded down: the precision of SQL's `TIMESTAMP`.
    pub fn micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The first timestamp of the given microsecond.
    pub fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros.saturating_mul(1_000))
    }

    /// Rounded up to a whole microsecond, so that it can be typed back in SQL without loss.
    pub fn ceil_micros(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_add(999).div_euclid(1_000))
    }

    /// As a calendar date and time, UTC.
    pub fn to_utc(self) -> DateTime<Utc> {
        Utc.timestamp_nanos(self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_up_to_microseconds_never_goes_back() {
        for nanos in [0, 1, 999, 1_000, 1_001, 1_700_000_000_123_456_789] {
            let up = Timestamp(nanos).ceil_micros();
            assert!(up >= Timestamp(nanos) && up.0 - nanos < 1_000 && up.0 % 1_000 == 0);
        }
        assert_eq!(Timestamp(-1).micros(), -1);
    }
}
