use std::ops::Range;

use bytes::Bytes;

use crate::time::Timestamp;

/// A reader closes a batch at about this many bytes: it stays in a core's cache until it has been used, and below the size from
/// which an allocation is mapped anew each time.
pub const BATCH_BYTES: usize = 96 << 10;
/// A reader closes a batch at this many entries.
pub const BATCH_ENTRIES: usize = 4096;

/// Contiguous entries of one space: their keys and values lie one after the other in a single buffer.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Its highest bit says that the entry is a tombstone.
    key_end: u32,
    value_end: u32,
    time: Timestamp,
}

const TOMBSTONE: u32 = 1 << 31;

impl Slot {
    fn key_end(self) -> usize {
        (self.key_end & !TOMBSTONE) as usize
    }

    fn is_tombstone(self) -> bool {
        self.key_end & TOMBSTONE != 0
    }
}

/// One version of one key, borrowed from a [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The commit timestamp.
    pub time: Timestamp,
}

impl Batch {
    /// An empty batch with room for a full one.
    pub fn with_room() -> Batch {
        Batch { buffer: Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 8), slots: Vec::with_capacity(1024) }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds no entry.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a reader should hand it over now.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= BATCH_BYTES || self.slots.len() >= BATCH_ENTRIES
    }

    /// Appends an entry.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>, time: Timestamp) {
        self.push_with(|buffer| buffer.extend_from_slice(key), value, time);
    }

    /// Appends an entry whose key is written by `write_key`.
    #[inline(always)]
    pub fn push_with(&mut self, write_key: impl FnOnce(&mut Vec<u8>), value: Option<&[u8]>, time: Timestamp) {
        write_key(&mut self.buffer);
        let key_end = self.buffer.len() as u32;
        self.buffer.extend_from_slice(value.unwrap_or_default());
        // Cannot be: a row is a gibibyte at most (`catalog::encode_row`), and a batch with more than this closes.
        assert!(self.buffer.len() < TOMBSTONE as usize, "a batch of two gibibytes");
        let value_end = self.buffer.len() as u32;
        self.slots.push(Slot { key_end: if value.is_none() { key_end | TOMBSTONE } else { key_end }, value_end, time });
    }

    fn ranges(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let start = if index == 0 { 0 } else { self.slots[index - 1].value_end as usize };
        let slot = self.slots[index];
        (start..slot.key_end(), slot.key_end()..slot.value_end as usize)
    }

    /// The entry at `index`, which must be below [`Batch::len`].
    pub fn entry(&self, index: usize) -> Entry<'_> {
        let (key, value) = self.ranges(index);
        let slot = self.slots[index];
        Entry { key: &self.buffer[key], value: (!slot.is_tombstone()).then(|| &self.buffer[value]), time: slot.time }
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The first key.
    pub fn first_key(&self) -> Option<&[u8]> {
        (!self.is_empty()).then(|| self.entry(0).key)
    }

    /// The last key.
    pub fn last_key(&self) -> Option<&[u8]> {
        (!self.is_empty()).then(|| self.entry(self.len() - 1).key)
    }

    /// Copies of the live keys and values, for small results.
    pub fn to_pairs(&self) -> Vec<(Bytes, Bytes)> {
        let live = self.iter().filter_map(|entry| Some((entry.key, entry.value?)));
        live.map(|(key, value)| (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))).collect()
    }
}
