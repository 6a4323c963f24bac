//! The entries of one block.

use super::MAX_BLOCK_BYTES;
use crate::kv::{Batch, varint};
use crate::time::Timestamp;

/// Appends entries of one space, each key sharing what it can with the key before.
#[derive(Default)]
pub struct BlockWriter {
    pub bytes: Vec<u8>,
    pub entries: u32,
    /// Bytes of keys and values, what keys share counted for each.
    pub decoded_bytes: usize,
    last_key: Vec<u8>,
    last_time: i64,
}

impl BlockWriter {
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>, time: Timestamp) {
        let shared = self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count();
        varint::push(&mut self.bytes, shared as u64);
        varint::push(&mut self.bytes, (key.len() - shared) as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        let step = time.0.wrapping_sub(self.last_time);
        varint::push_signed(&mut self.bytes, step);
        match value {
            None => varint::push(&mut self.bytes, 0),
            Some(value) => {
                varint::push(&mut self.bytes, value.len() as u64 + 1);
                self.bytes.extend_from_slice(value);
            }
        }
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.last_time = time.0;
        self.entries += 1;
        self.decoded_bytes += key.len() + value.map_or(0, <[u8]>::len);
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.last_key.clear();
        self.last_time = 0;
        self.entries = 0;
        self.decoded_bytes = 0;
    }
}

/// Decodes a block's raw bytes; `None` if they are not a block.
pub fn decode(mut rest: &[u8], entries: u32) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut key: Vec<u8> = Vec::new();
    let mut time = 0i64;
    for _ in 0..entries {
        let shared = varint::take_number(&mut rest)? as usize;
        let unshared = varint::take_number(&mut rest)? as usize;
        let suffix = varint::take(&mut rest, unshared)?;
        if shared > key.len() {
            return None;
        }
        key.truncate(shared);
        key.extend_from_slice(suffix);
        time = time.wrapping_add(varint::take_signed(&mut rest)?);
        let value = match varint::take_number(&mut rest)? {
            0 => None,
            length => Some(varint::take(&mut rest, (length - 1) as usize)?),
        };
        batch.push(&key, value, Timestamp(time));
        if batch.size_bytes() > MAX_BLOCK_BYTES {
            return None;
        }
    }
    rest.is_empty().then_some(batch)
}
