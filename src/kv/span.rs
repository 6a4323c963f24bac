use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names one ordered key-value map of a store. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpaceId(pub u64);

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The keys of one space from `start` (inclusive) to `end` (exclusive; `None` is the end of the space).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The space.
    pub space: SpaceId,
    /// First key that may be in the span.
    pub start: Bytes,
    /// First key after it.
    pub end: Option<Bytes>,
}

impl Span {
    /// Every key of a space.
    pub fn all(space: SpaceId) -> Span {
        Span { space, start: Bytes::new(), end: None }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(space: SpaceId, prefix: &[u8]) -> Span {
        Span { space, start: Bytes::copy_from_slice(prefix), end: successor_of_prefix(prefix) }
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// Cuts the span at ascending `points`.
    pub fn split(&self, points: &[Bytes]) -> Vec<Span> {
        let mut parts = Vec::with_capacity(points.len() + 1);
        let mut start = self.start.clone();
        for point in points {
            parts.push(Span { space: self.space, start, end: Some(point.clone()) });
            start = point.clone();
        }
        parts.push(Span { space: self.space, start, end: self.end.clone() });
        parts
    }
}

/// The first key after every key that begins with `prefix`; `None` if there is no such key.
pub fn successor_of_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_span_ends_after_the_last_key_with_it() {
        assert_eq!(successor_of_prefix(b"ab"), Some(Bytes::from_static(b"ac")));
        assert_eq!(successor_of_prefix(&[1, 0xff, 0xff]), Some(Bytes::from_static(&[2])));
        assert_eq!(successor_of_prefix(&[0xff]), None);
        let span = Span::prefix(SpaceId(1), &[1, 0xff]);
        assert!(span.contains(&[1, 0xff, 0xff, 9]) && !span.contains(&[2]) && !span.contains(&[1, 0xfe]));
    }
}
