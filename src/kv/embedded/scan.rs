//! Walking the versions of a span.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::encoding::{decode_value, is_version_of, push_user_key, span_bounds, split_time, with_time};
use super::{Engine, REOPENED};
use crate::kv::{Batch, Direction, MAX_KEY_BYTES, Result, Span, successor_of_prefix};
use crate::time::Timestamp;

/// Versions of one key passed over one by one before seeking to the next key.
const STEPS_BEFORE_SEEK: usize = 32;

/// Which versions a scan yields.
#[derive(Clone, Copy)]
pub enum Select {
    /// The newest at or before `at`, tombstones left out.
    Newest { at: Timestamp, direction: Direction },
    /// All in `(after, upto]`.
    Versions { after: Timestamp, upto: Timestamp },
    /// The newest in `(after, upto]`.
    Changes { after: Timestamp, upto: Timestamp },
}

impl Select {
    fn upto(self) -> Timestamp {
        match self {
            Select::Newest { at, .. } => at,
            Select::Versions { upto, .. } | Select::Changes { upto, .. } => upto,
        }
    }

    /// The earliest time whose state the scan needs.
    fn earliest(self) -> Timestamp {
        match self {
            Select::Newest { at, .. } => at,
            Select::Versions { after, .. } | Select::Changes { after, .. } => after,
        }
    }
}

/// A running scan: an iterator of batches.
pub struct Scan {
    engine: Weak<Engine>,
    span: Span,
    select: Select,
    left: usize,
    end: Vec<u8>,
    iter: fjall::Iter,
    /// The fjall key of the version looked at last.
    last: Option<fjall::UserKey>,
    /// Whether no more versions of that key are needed.
    done_with_key: bool,
    skipped: usize,
    /// Backward only: the newest fitting version of the key the walk is in.
    candidate: Option<(Vec<u8>, Timestamp, fjall::UserValue)>,
    finished: bool,
}

impl Scan {
    pub fn open(engine: &Arc<Engine>, span: Span, select: Select, limit: Option<usize>) -> Result<Scan> {
        let (start, end) = span_bounds(&clamp(&span));
        let finished = start >= end || limit == Some(0);
        let rows = engine.rows.of(span.space);
        let iter = if finished { rows.range(end.clone()..end.clone()) } else { rows.range(start..end.clone()) };
        let left = limit.unwrap_or(usize::MAX);
        let weak = Arc::downgrade(engine);
        let scan = Scan {
            engine: weak,
            span,
            select,
            left,
            end,
            iter,
            last: None,
            done_with_key: false,
            skipped: 0,
            candidate: None,
            finished,
        };
        scan.check_readable(engine)?;
        Ok(scan)
    }

    /// Checked after the iterator is open and again for every batch, so that a scan never returns less than there was.
    fn check_readable(&self, engine: &Engine) -> Result<()> {
        let spaces = &engine.spaces;
        spaces.check_readable(self.span.space, self.select.earliest())?;
        match self.select {
            // A dropped space has a history up to its drop; only its state ends there.
            Select::Versions { .. } | Select::Changes { .. } => Ok(()),
            Select::Newest { at, .. } => spaces.check_readable(self.span.space, at),
        }
    }

    fn fill(&mut self) -> Result<Batch> {
        let engine = self.engine.upgrade().ok_or(REOPENED)?;
        let mut batch = Batch::with_room();
        let backward = matches!(self.select, Select::Newest { direction: Direction::Backward, .. });
        while !self.finished && !batch.is_full() {
            if backward {
                self.step_backward(&mut batch)?
            } else {
                self.step_forward(&engine, &mut batch)?
            }
            self.finished |= self.left == 0;
        }
        self.check_readable(&engine)?;
        Ok(batch)
    }

    /// Adds everything that is left to `batch`, unless that takes more than `steps` versions; whether it did not.
    pub fn fill_within(&mut self, engine: &Engine, batch: &mut Batch, steps: usize) -> Result<bool> {
        for _ in 0..steps {
            if self.finished {
                return self.check_readable(engine).map(|()| true);
            }
            self.step_forward(engine, batch)?;
        }
        Ok(false)
    }

    // What a row costs beside fjall's iterator is what the benchmark measures: calls count.
    #[inline(always)]
    fn step_forward(&mut self, engine: &Engine, batch: &mut Batch) -> Result<()> {
        let Some(guard) = self.iter.next() else {
            self.finished = true;
            return Ok(());
        };
        let (key, value) = guard.into_inner()?;
        let (prefix, time) = split_time(&key)?;
        if self.done_with_key && self.last.as_deref().is_some_and(|last| is_version_of(last, prefix)) {
            self.skipped += 1;
            if self.skipped >= STEPS_BEFORE_SEEK {
                self.seek_past(engine, with_time(prefix, Timestamp::MIN));
            }
            return Ok(());
        }
        if time > self.select.upto() {
            return Ok(());
        }
        let value = decode_value(&value)?;
        let fits = match self.select {
            Select::Newest { .. } => value.is_some(),
            Select::Versions { after, .. } | Select::Changes { after, .. } => time > after,
        };
        if fits {
            batch.push_with(|buffer| push_user_key(buffer, prefix), value, time);
            self.left -= 1;
        }
        self.last = Some(key);
        self.done_with_key = !fits || !matches!(self.select, Select::Versions { .. });
        self.skipped = 0;
        Ok(())
    }

    /// Goes on after the oldest version a key can have. The new iterator sees a later fjall snapshot, which is
    /// harmless: everything at or below a closed timestamp is in both.
    fn seek_past(&mut self, engine: &Engine, oldest: Vec<u8>) {
        let after = (std::ops::Bound::Excluded(oldest), std::ops::Bound::Excluded(self.end.clone()));
        self.iter = engine.rows.of(self.span.space).range::<Vec<u8>, _>(after);
        self.skipped = 0;
    }

    fn step_backward(&mut self, batch: &mut Batch) -> Result<()> {
        let next = self.iter.next_back().map(fjall::Guard::into_inner).transpose()?;
        let key_and_time = next.as_ref().map(|(key, _)| split_time(key)).transpose()?;
        let same_key = |candidate: &(Vec<u8>, Timestamp, fjall::UserValue)| {
            key_and_time.is_some_and(|(prefix, _)| prefix == candidate.0)
        };
        if let Some(candidate) = self.candidate.take_if(|candidate| !same_key(candidate)) {
            let (prefix, time, value) = candidate;
            if let Some(live) = decode_value(&value)? {
                batch.push_with(|buffer| push_user_key(buffer, &prefix), Some(live), time);
                self.left -= 1;
            }
        }
        match (key_and_time, &next) {
            (Some((prefix, time)), Some((_, value))) if time <= self.select.upto() => {
                self.candidate = Some((prefix.to_vec(), time, value.clone()));
            }
            (None, _) => self.finished = true,
            _ => {}
        }
        Ok(())
    }
}

/// The span with bounds no longer than a key can be; it may be a little wider, never narrower.
fn clamp(span: &Span) -> Span {
    let cut = |bound: &Bytes| bound.slice(..bound.len().min(MAX_KEY_BYTES));
    let end = span
        .end
        .as_ref()
        .map(|end| if end.len() <= MAX_KEY_BYTES { Some(end.clone()) } else { successor_of_prefix(&cut(end)) });
    Span { space: span.space, start: cut(&span.start), end: end.flatten() }
}

impl Iterator for Scan {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.fill() {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some(Ok(batch)),
            Err(error) => {
                self.finished = true;
                Some(Err(error))
            }
        }
    }
}
