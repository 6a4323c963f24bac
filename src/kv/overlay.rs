//! A transaction's own writes laid over what the store holds.

use std::cmp::Ordering;
use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Batch, BatchStream, Direction, Result};
use crate::time::Timestamp;

/// One own write: a key and its new value, `None` for a delete.
pub type OwnWrite = (Bytes, Option<Bytes>);

/// Merges `own` (in scan order) over `base`: an own write hides the stored version, an own delete hides the key.
pub fn overlay(base: BatchStream, own: Vec<OwnWrite>, direction: Direction, limit: Option<usize>) -> BatchStream {
    if own.is_empty() {
        return base;
    }
    let merge = Merge { base, own: own.into(), direction, left: limit.unwrap_or(usize::MAX), base_done: false };
    stream::try_unfold(merge, |mut merge| async move { Ok(merge.next().await?.map(|batch| (batch, merge))) }).boxed()
}

struct Merge {
    base: BatchStream,
    own: VecDeque<OwnWrite>,
    direction: Direction,
    left: usize,
    base_done: bool,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if self.left == 0 || (self.base_done && self.own.is_empty()) {
                return Ok(None);
            }
            let mut merged = Batch::default();
            match if self.base_done { None } else { self.base.try_next().await? } {
                Some(stored) => {
                    for entry in stored.iter() {
                        if !self.push_own_before(&mut merged, Some(entry.key)) && self.left > 0 {
                            merged.push(entry.key, entry.value, entry.time);
                            self.left -= 1;
                        }
                    }
                }
                None => {
                    self.base_done = true;
                    self.push_own_before(&mut merged, None);
                }
            }
            if !merged.is_empty() {
                return Ok(Some(merged));
            }
        }
    }

    /// Moves the own writes that come before `key`, and the one at it, into `merged`; true if there was one at it.
    fn push_own_before(&mut self, merged: &mut Batch, key: Option<&[u8]>) -> bool {
        while let Some((own_key, value)) = self.own.front() {
            let order = match (key, self.direction) {
                (None, _) => Ordering::Less,
                (Some(key), Direction::Forward) => own_key[..].cmp(key),
                (Some(key), Direction::Backward) => key.cmp(&own_key[..]),
            };
            if order == Ordering::Greater {
                return false;
            }
            if let Some(value) = value
                && self.left > 0
            {
                merged.push(own_key, Some(value), Timestamp::MAX);
                self.left -= 1;
            }
            self.own.pop_front();
            if order == Ordering::Equal {
                return true;
            }
        }
        false
    }
}
