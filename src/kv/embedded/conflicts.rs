//! What was committed recently, for validating the reads of transactions that began before.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use foldhash::fast::RandomState;

use crate::time::Timestamp;

/// Keys remembered at most; beyond it the oldest are forgotten and transactions older than them must restart.
const MAX_KEYS: usize = 2_000_000;

/// Everything a transaction has read, as version prefixes and as ranges of them.
#[derive(Default)]
pub struct ReadSet {
    /// With the bytes of the value that was found, for the statistics.
    points: HashMap<Vec<u8>, Option<usize>, RandomState>,
    /// Ends by starts.
    ranges: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl ReadSet {
    /// Notes the read of one key.
    pub fn add_point(&mut self, version_prefix: Vec<u8>) {
        self.points.entry(version_prefix).or_default();
    }

    /// Notes how long the value was that the read of a key found.
    pub fn set_value_bytes(&mut self, version_prefix: &[u8], value_bytes: Option<usize>) {
        if let Some(noted) = self.points.get_mut(version_prefix) {
            *noted = value_bytes;
        }
    }

    /// What a read of the key found, if it was read.
    pub fn value_bytes(&self, version_prefix: &[u8]) -> Option<Option<usize>> {
        self.points.get(version_prefix).copied()
    }

    /// Notes the read of every key from `start` (inclusive) to `end` (exclusive).
    pub fn add_range(&mut self, start: Vec<u8>, end: Vec<u8>) {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(&start[..]))).next_back();
        let covered = before.is_some_and(|(_, before_end)| *before_end >= end);
        if start < end && !covered {
            self.ranges.insert(start, end);
        }
    }
}

/// The newest commit timestamp of every key written since the oldest running transaction began, and the bytes of the value
/// that was written.
#[derive(Default)]
pub struct Recent {
    newest: BTreeMap<Vec<u8>, (Timestamp, Option<usize>)>,
    order: VecDeque<(Timestamp, Vec<u8>)>,
    forgotten: Timestamp,
}

impl Recent {
    /// Notes a commit.
    pub fn add(&mut self, version_prefix: Vec<u8>, time: Timestamp, value_bytes: Option<usize>) {
        self.order.push_back((time, version_prefix.clone()));
        self.newest.insert(version_prefix, (time, value_bytes));
        while self.order.len() > MAX_KEYS {
            if let Some((time, _)) = self.order.front() {
                self.forget(*time);
            }
        }
    }

    /// Forgets commits at or before `time`.
    pub fn forget(&mut self, time: Timestamp) {
        while let Some((oldest, key)) = self.order.front()
            && *oldest <= time
        {
            if self.newest.get(key).is_some_and(|(time, _)| time == oldest) {
                self.newest.remove(key);
            }
            self.forgotten = self.forgotten.max(*oldest);
            self.order.pop_front();
        }
    }

    /// Whether a commit later than `snapshot` wrote `key`, or may have.
    pub fn changed(&self, version_prefix: &[u8], snapshot: Timestamp) -> bool {
        snapshot < self.forgotten || self.newest.get(version_prefix).is_some_and(|&(time, _)| time > snapshot)
    }

    /// What the newest commit after `snapshot` wrote to the key, if there was one.
    pub fn value_bytes_since(&self, version_prefix: &[u8], snapshot: Timestamp) -> Option<Option<usize>> {
        self.newest.get(version_prefix).filter(|(time, _)| *time > snapshot).map(|(_, value_bytes)| *value_bytes)
    }

    /// Whether a commit later than `snapshot` wrote anything in `reads`, or may have.
    pub fn conflicts(&self, reads: &ReadSet, snapshot: Timestamp) -> bool {
        if snapshot < self.forgotten {
            return !(reads.points.is_empty() && reads.ranges.is_empty());
        }
        let later = |key: &Vec<u8>| self.newest.get(key).is_some_and(|&(time, _)| time > snapshot);
        let range_changed = |start: &[u8], end: &[u8]| {
            let range = self.newest.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)));
            range.into_iter().any(|(_, &(time, _))| time > snapshot)
        };
        reads.points.keys().any(later) || reads.ranges.iter().any(|(start, end)| range_changed(start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(points: &[&str], ranges: &[(&str, &str)]) -> ReadSet {
        let mut reads = ReadSet::default();
        points.iter().for_each(|key| reads.add_point(key.as_bytes().to_vec()));
        ranges.iter().for_each(|(start, end)| reads.add_range(start.as_bytes().to_vec(), end.as_bytes().to_vec()));
        reads
    }

    #[test]
    fn only_later_commits_of_what_was_read_conflict() {
        let mut recent = Recent::default();
        recent.add(b"b".to_vec(), Timestamp(10), None);
        recent.add(b"m".to_vec(), Timestamp(20), Some(1));
        assert!(recent.conflicts(&reads(&["b"], &[]), Timestamp(9)));
        assert!(!recent.conflicts(&reads(&["b"], &[]), Timestamp(10)));
        assert!(recent.conflicts(&reads(&[], &[("a", "n")]), Timestamp(15)));
        assert!(!recent.conflicts(&reads(&[], &[("a", "m")]), Timestamp(15)));
        recent.forget(Timestamp(10));
        assert!(!recent.conflicts(&reads(&["b"], &[]), Timestamp(10)));
        assert!(recent.conflicts(&reads(&["zzz"], &[]), Timestamp(9)), "what was forgotten counts as changed");
    }
}
