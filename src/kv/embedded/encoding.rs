//! How a version becomes a fjall pair.
//!
//! ```text
//!   key:    space (8, big-endian) | key, 00 -> 00 FF | 00 01 | !time (8, big-endian)
//!   value:  format (1) | 1 put, 0 tombstone | bytes
//! ```
//!
//! The terminator `00 01` sorts below every escaped continuation, so no key is a prefix of another and keys sort as their
//! bytes do. The inverted time puts the newest version of a key first.

use crate::kv::{Error, Result, SpaceId, Span};
use crate::time::Timestamp;

const VALUE_FORMAT: u8 = 1;
const TOMBSTONE: u8 = 0;
const PUT: u8 = 1;
const TIME_BYTES: usize = 8;
const SPACE_BYTES: usize = 8;
const TERMINATOR: [u8; 2] = [0x00, 0x01];
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xff];
/// From this length on it pays to look for a zero first.
const LONG_KEY_BYTES: usize = 32;

/// The shortest version prefix there can be.
pub const MIN_PREFIX_BYTES: usize = SPACE_BYTES + TERMINATOR.len();

fn push_escaped(buffer: &mut Vec<u8>, key: &[u8]) {
    for &byte in key {
        if byte == 0 {
            buffer.extend_from_slice(&ESCAPED_ZERO);
        } else {
            buffer.push(byte);
        }
    }
}

/// Everything of the fjall key but the time: what all versions of one key share.
pub fn version_prefix(space: SpaceId, key: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(SPACE_BYTES + key.len() + key.len() / 4 + TERMINATOR.len() + TIME_BYTES);
    buffer.extend_from_slice(&space.0.to_be_bytes());
    push_escaped(&mut buffer, key);
    buffer.extend_from_slice(&TERMINATOR);
    buffer
}

/// The fjall key of one version.
pub fn with_time(version_prefix: &[u8], time: Timestamp) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(version_prefix.len() + TIME_BYTES);
    buffer.extend_from_slice(version_prefix);
    buffer.extend_from_slice(&(!time.0 as u64).to_be_bytes());
    buffer
}

/// The fjall keys between which every version of every key in `span` lies: start inclusive, end exclusive.
pub fn span_bounds(span: &Span) -> (Vec<u8>, Vec<u8>) {
    let bound = |key: &[u8]| {
        let mut buffer = span.space.0.to_be_bytes().to_vec();
        push_escaped(&mut buffer, key);
        buffer
    };
    let end = match &span.end {
        Some(end) => bound(end),
        None => (span.space.0 + 1).to_be_bytes().to_vec(),
    };
    (bound(&span.start), end)
}

/// Splits a fjall key into its version prefix and its time.
#[inline]
pub fn split_time(versioned_key: &[u8]) -> Result<(&[u8], Timestamp)> {
    if versioned_key.len() < SPACE_BYTES + TERMINATOR.len() + TIME_BYTES {
        return Err(Error::Corrupt("a key is too short".into()));
    }
    let (prefix, time) = versioned_key.split_at(versioned_key.len() - TIME_BYTES);
    let mut bytes = [0; TIME_BYTES];
    bytes.copy_from_slice(time);
    Ok((prefix, Timestamp(!u64::from_be_bytes(bytes) as i64)))
}

/// Whether a fjall key is a version of the key with this prefix.
#[inline]
pub fn is_version_of(versioned_key: &[u8], version_prefix: &[u8]) -> bool {
    versioned_key.len() == version_prefix.len() + TIME_BYTES && versioned_key.starts_with(version_prefix)
}

/// The space of a fjall key or version prefix.
pub fn space_of(key: &[u8]) -> Result<SpaceId> {
    let bytes = key.get(..SPACE_BYTES).and_then(|bytes| <[u8; SPACE_BYTES]>::try_from(bytes).ok());
    bytes.map(|bytes| SpaceId(u64::from_be_bytes(bytes))).ok_or_else(|| Error::Corrupt("a key has no space".into()))
}

/// The time of a fjall key.
pub fn time_of(versioned_key: &[u8]) -> Result<Timestamp> {
    split_time(versioned_key).map(|(_, time)| time)
}

/// Appends the user key inside a version prefix to `buffer`.
#[inline]
pub fn push_user_key(buffer: &mut Vec<u8>, version_prefix: &[u8]) {
    push_unescaped(buffer, &version_prefix[SPACE_BYTES..version_prefix.len() - TERMINATOR.len()]);
}

/// Bytes of the user key inside a version prefix.
pub fn user_key_bytes(version_prefix: &[u8]) -> usize {
    let escaped = &version_prefix[SPACE_BYTES..version_prefix.len() - TERMINATOR.len()];
    escaped.len() - escaped.iter().filter(|byte| **byte == 0).count()
}

/// Appends an escaped key as it is unescaped.
#[inline(always)]
fn push_unescaped(buffer: &mut Vec<u8>, escaped: &[u8]) {
    if escaped.len() >= LONG_KEY_BYTES && !escaped.contains(&0) {
        return buffer.extend_from_slice(escaped);
    }
    let start = buffer.len();
    buffer.resize(start + escaped.len(), 0);
    // Without a branch a byte: keys of numbers are half zeros.
    let (mut length, mut after_zero) = (0, false);
    let target = &mut buffer[start..];
    for &byte in escaped {
        target[length] = byte;
        length += usize::from(!after_zero);
        after_zero = byte == 0 && !after_zero;
    }
    buffer.truncate(start + length);
}

/// The stored form of a value, `None` being a tombstone.
pub fn encode_value(value: Option<&[u8]>) -> Vec<u8> {
    let bytes = value.unwrap_or_default();
    let mut buffer = Vec::with_capacity(2 + bytes.len());
    buffer.extend_from_slice(&[VALUE_FORMAT, if value.is_some() { PUT } else { TOMBSTONE }]);
    buffer.extend_from_slice(bytes);
    buffer
}

/// The value inside its stored form.
#[inline]
pub fn decode_value(stored: &[u8]) -> Result<Option<&[u8]>> {
    match stored {
        [VALUE_FORMAT, PUT, bytes @ ..] => Ok(Some(bytes)),
        [VALUE_FORMAT, TOMBSTONE] => Ok(None),
        [format, ..] if *format != VALUE_FORMAT => Err(Error::Corrupt(format!("unknown value format {format}"))),
        _ => Err(Error::Corrupt("a value has no valid header".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_key(prefix: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        push_user_key(&mut key, prefix);
        key
    }

    #[test]
    fn keys_sort_as_their_bytes_and_newest_first() {
        let keys: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"a", b"a\0", b"a\0b", b"ab"];
        let mut encoded = Vec::new();
        for key in keys {
            let prefix = version_prefix(SpaceId(7), key);
            assert_eq!(user_key(&prefix), key);
            assert_eq!(user_key_bytes(&prefix), key.len());
            encoded.push(with_time(&prefix, Timestamp(9)));
            encoded.push(with_time(&prefix, Timestamp(3)));
        }
        assert!(encoded.is_sorted());
        assert!(encoded.iter().all(|key| key < &version_prefix(SpaceId(8), b"")));
        assert_eq!(time_of(&encoded[0]), Ok(Timestamp(9)));
    }

    #[test]
    fn awkward_keys_come_back_as_they_were() {
        let bytes: [u8; 5] = [0, 1, 2, 0xfe, 0xff];
        let short = (0..5_u32).flat_map(|length| {
            (0..5_usize.pow(length))
                .map(move |number| (0..length).map(|digit| bytes[number / 5_usize.pow(digit) % 5]).collect::<Vec<u8>>())
        });
        for key in short {
            for tail in [0, LONG_KEY_BYTES - 2, 3 * LONG_KEY_BYTES] {
                let key = [&key[..], &vec![7; tail]].concat();
                let prefix = version_prefix(SpaceId(7), &key);
                assert_eq!((user_key(&prefix), user_key_bytes(&prefix)), (key.clone(), key.len()));
                let versioned = with_time(&prefix, Timestamp(9));
                assert!(is_version_of(&versioned, &prefix));
                assert!(!is_version_of(&versioned, &version_prefix(SpaceId(7), &[&key[..], &[0]].concat())));
            }
        }
    }

    #[test]
    fn span_bounds_hold_exactly_the_keys_of_the_span() {
        let span = Span { space: SpaceId(7), start: "a\0".into(), end: Some("b".into()) };
        let (start, end) = span_bounds(&span);
        for (key, inside) in [(&b"a"[..], false), (b"a\0", true), (b"a\0\0", true), (b"ab", true), (b"b", false)] {
            let encoded = with_time(&version_prefix(SpaceId(7), key), Timestamp(5));
            assert_eq!(encoded >= start && encoded < end, inside, "{key:?}");
        }
    }

    #[test]
    fn an_unknown_value_format_is_refused() {
        assert_eq!(decode_value(&encode_value(Some(b"x"))), Ok(Some(&b"x"[..])));
        assert_eq!(decode_value(&encode_value(None)), Ok(None));
        assert!(decode_value(&[9, 1, 2]).is_err() && decode_value(&[]).is_err() && decode_value(&[1, 0, 5]).is_err());
    }
}
