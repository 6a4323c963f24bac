//! Merging sorted runs: the layers of a chain seen as one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::Result;
use crate::kv::{Batch, Entry};
use crate::time::Timestamp;

/// What of each key a merge yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The newest version at or before a time, unless it is a tombstone.
    NewestAt(Timestamp),
    /// Every version in `(after, upto]`.
    Versions {
        /// Exclusive.
        after: Timestamp,
        /// Inclusive.
        upto: Timestamp,
    },
    /// The newest version in `(after, upto]`, tombstones included.
    Changes {
        /// Exclusive.
        after: Timestamp,
        /// Inclusive.
        upto: Timestamp,
    },
}

/// Merges runs of one space. Where two hold the same version of a key, it comes out once.
pub fn merge(runs: Vec<BoxStream<'static, Result<Batch>>>, merged: Merged) -> BoxStream<'static, Result<Batch>> {
    let state =
        Merge { waiting: runs, heap: BinaryHeap::new(), merged, key: Vec::new(), time: None, done_with_key: false };
    stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|batch| (batch, state))) }).boxed()
}

struct Cursor {
    batch: Batch,
    position: usize,
    stream: BoxStream<'static, Result<Batch>>,
}

impl Cursor {
    fn entry(&self) -> Entry<'_> {
        self.batch.entry(self.position)
    }
}

impl Ord for Cursor {
    /// The greatest is the next to come: smallest key, then newest time.
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.entry(), other.entry());
        b.key.cmp(a.key).then(a.time.cmp(&b.time))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cursor {}

struct Merge {
    /// Runs whose next batch has to be fetched.
    waiting: Vec<BoxStream<'static, Result<Batch>>>,
    heap: BinaryHeap<Cursor>,
    merged: Merged,
    key: Vec<u8>,
    /// The time of the version seen last, if it belongs to `key`.
    time: Option<Timestamp>,
    done_with_key: bool,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<Batch>> {
        let mut out = Batch::default();
        while !out.is_full() {
            while let Some(mut stream) = self.waiting.pop() {
                if let Some(batch) = stream.try_next().await? {
                    if batch.is_empty() {
                        self.waiting.push(stream);
                    } else {
                        self.heap.push(Cursor { batch, position: 0, stream });
                    }
                }
            }
            let Some(mut top) = self.heap.pop() else { break };
            // As long as this run stays in front, its entries come without touching the heap.
            loop {
                self.take(top.entry(), &mut out);
                top.position += 1;
                if top.position == top.batch.len() {
                    self.waiting.push(top.stream);
                    break;
                }
                if out.is_full() || self.heap.peek().is_some_and(|next| *next > top) {
                    self.heap.push(top);
                    break;
                }
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn take(&mut self, entry: Entry<'_>, out: &mut Batch) {
        if self.time.is_none() || entry.key != &self.key[..] {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.done_with_key = false;
        } else if self.time == Some(entry.time) {
            return;
        }
        self.time = Some(entry.time);
        if self.done_with_key {
            return;
        }
        match self.merged {
            Merged::NewestAt(at) if entry.time <= at => {
                self.done_with_key = true;
                if entry.value.is_some() {
                    out.push(entry.key, entry.value, entry.time);
                }
            }
            Merged::Versions { after, upto } if entry.time > after && entry.time <= upto => {
                out.push(entry.key, entry.value, entry.time);
            }
            Merged::Changes { after, upto } if entry.time <= upto => {
                self.done_with_key = true;
                if entry.time > after {
                    out.push(entry.key, entry.value, entry.time);
                }
            }
            _ => {}
        }
    }
}
