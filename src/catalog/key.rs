//! Keys that sort as SQL sorts.
//!
//! Each value starts with a tag and delimits itself, so columns are simply concatenated and a key can be decoded:
//!
//! ```text
//!   10, 11            false, true
//!   12 bytes 00 01    text and bytes, with 00 written as 00 FF
//!   13 (8)            float, its bits made to sort; NaN is the greatest, -0 is 0
//!   14 (16)(4)(4)(8)  interval: comparable length, then its parts
//!   15 (01 value)* 00 array
//!   20..40            decimal: 30 is zero, 30+n a positive one of n bytes, 30-n a negative one
//!   80..fd            integer: 88 is zero, small ones in the tag itself, else n bytes
//!   fe                NULL: the greatest, as PostgreSQL sorts
//! ```
//!
//! A descending column has all its bytes inverted, which turns its order around, NULLs first included.

use super::{ColumnType, Datum, Error, Interval, Result};

const FALSE: u8 = 0x10;
const TRUE: u8 = 0x11;
const BYTES: u8 = 0x12;
const FLOAT: u8 = 0x13;
const INTERVAL: u8 = 0x14;
const ARRAY: u8 = 0x15;
const DECIMAL_ZERO: u8 = 0x30;
const INT_ZERO: u8 = 0x88;
/// Up to here an integer lies in its tag.
const INT_SMALL_MAX: i64 = 109;
const INT_LONG: u8 = 0xf5;
const NULL: u8 = 0xfe;

const ARRAY_ITEM: u8 = 1;
const ARRAY_END: u8 = 0;

/// Appends one value to a key.
pub fn push(key: &mut Vec<u8>, datum: &Datum<'_>, descending: bool) {
    let start = key.len();
    push_ascending(key, datum);
    if descending {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn push_ascending(key: &mut Vec<u8>, datum: &Datum<'_>) {
    match datum {
        Datum::Null => key.push(NULL),
        Datum::Bool(value) => key.push(if *value { TRUE } else { FALSE }),
        Datum::Int(value) => push_int(key, *value),
        Datum::Float(value) => {
            let value = if *value == 0.0 { 0.0 } else { *value };
            let bits = if value.is_nan() { f64::NAN.to_bits() & !(1 << 63) } else { value.to_bits() };
            let sortable = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
            key.push(FLOAT);
            key.extend_from_slice(&sortable.to_be_bytes());
        }
        Datum::Decimal(value) => push_decimal(key, *value),
        Datum::Text(text) => push_bytes(key, text.as_bytes()),
        Datum::Bytes(bytes) => push_bytes(key, bytes),
        Datum::Interval(interval) => {
            key.push(INTERVAL);
            key.extend_from_slice(&(interval.comparable_micros() ^ i128::MIN).to_be_bytes());
            key.extend_from_slice(&(interval.months ^ i32::MIN).to_be_bytes());
            key.extend_from_slice(&(interval.days ^ i32::MIN).to_be_bytes());
            key.extend_from_slice(&(interval.micros ^ i64::MIN).to_be_bytes());
        }
        Datum::Array(items) => {
            key.push(ARRAY);
            for item in items {
                key.push(ARRAY_ITEM);
                push_ascending(key, item);
            }
            key.push(ARRAY_END);
        }
    }
}

fn push_int(key: &mut Vec<u8>, value: i64) {
    if (0..=INT_SMALL_MAX - 1).contains(&value) {
        key.push(INT_ZERO + value as u8);
    } else {
        let magnitude_bytes = |bits: u64| (8 - bits.leading_zeros() as usize / 8).max(1);
        let length = magnitude_bytes(if value < 0 { !value as u64 } else { value as u64 });
        key.push(if value < 0 { INT_ZERO - length as u8 } else { INT_LONG + length as u8 });
        key.extend_from_slice(&value.to_be_bytes()[8 - length..]);
    }
}

fn push_decimal(key: &mut Vec<u8>, value: i128) {
    let bits = if value < 0 { !value as u128 } else { value as u128 };
    let length = if value == 0 { 0 } else { (16 - bits.leading_zeros() as usize / 8).max(1) };
    key.push(if value < 0 { DECIMAL_ZERO - length as u8 } else { DECIMAL_ZERO + length as u8 });
    key.extend_from_slice(&value.to_be_bytes()[16 - length..]);
}

fn push_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    key.push(BYTES);
    for &byte in bytes {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
    key.extend_from_slice(&[0, 1]);
}

/// Reads the values of a key one after the other.
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Reads from the start of `key`.
    pub fn new(key: &'a [u8]) -> Self {
        KeyReader { rest: key }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next value, which belongs to a column of the given type.
    pub fn next(&mut self, column_type: &ColumnType, descending: bool) -> Result<Datum<'static>> {
        let mut source = Source { rest: self.rest, invert: if descending { 0xff } else { 0 } };
        let datum = source.datum(column_type)?;
        self.rest = source.rest;
        Ok(datum)
    }
}

struct Source<'a> {
    rest: &'a [u8],
    invert: u8,
}

impl Source<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().ok_or_else(|| Error::corrupt("a key ends too early"))?;
        self.rest = rest;
        Ok(first ^ self.invert)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes)
    }

    /// `length` big-endian bytes, sign-extended with `fill`.
    fn number(&mut self, length: usize, fill: u8) -> Result<i128> {
        let mut bytes = [fill; 16];
        for byte in &mut bytes[16 - length..] {
            *byte = self.byte()?;
        }
        Ok(i128::from_be_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                0 if self.byte()? == 1 => return Ok(bytes),
                byte => bytes.push(byte),
            }
        }
    }

    fn datum(&mut self, column_type: &ColumnType) -> Result<Datum<'static>> {
        match self.byte()? {
            NULL => Ok(Datum::Null),
            FALSE => Ok(Datum::Bool(false)),
            TRUE => Ok(Datum::Bool(true)),
            BYTES => {
                let bytes = self.bytes()?;
                if column_type.is_character() || *column_type == ColumnType::Json {
                    let text = String::from_utf8(bytes).map_err(|_| Error::corrupt("text in a key is not UTF-8"))?;
                    Ok(text.into())
                } else {
                    Ok(Datum::Bytes(bytes.into()))
                }
            }
            FLOAT => {
                let sortable = u64::from_be_bytes(self.array()?);
                let bits = if sortable >> 63 == 1 { sortable & !(1 << 63) } else { !sortable };
                Ok(Datum::Float(f64::from_bits(bits)))
            }
            INTERVAL => {
                self.array::<16>()?;
                let months = i32::from_be_bytes(self.array()?) ^ i32::MIN;
                let days = i32::from_be_bytes(self.array()?) ^ i32::MIN;
                let micros = i64::from_be_bytes(self.array()?) ^ i64::MIN;
                Ok(Datum::Interval(Interval { months, days, micros }))
            }
            ARRAY => {
                let ColumnType::Array(element) = column_type else {
                    return Err(Error::corrupt("a key holds an array its column does not have"));
                };
                let mut items = Vec::new();
                while self.byte()? == ARRAY_ITEM {
                    items.push(self.datum(element)?);
                }
                Ok(Datum::Array(items))
            }
            tag @ 0x20..=0x40 => {
                let (length, fill) =
                    if tag < DECIMAL_ZERO { (DECIMAL_ZERO - tag, 0xff) } else { (tag - DECIMAL_ZERO, 0) };
                self.number(length as usize, fill).map(Datum::Decimal)
            }
            tag @ 0x80..=0xfd => {
                let value = match tag {
                    0x80..INT_ZERO => self.number((INT_ZERO - tag) as usize, 0xff)? as i64,
                    INT_ZERO..=0xf4 => i64::from(tag - INT_ZERO),
                    _ => self.number((tag - INT_LONG) as usize, 0)? as i64,
                };
                Ok(Datum::Int(value))
            }
            tag => Err(Error::corrupt(format!("unknown tag {tag:#04x} in a key"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_sorted(column_type: &ColumnType, ascending: &[Datum<'static>]) {
        for descending in [false, true] {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            for datum in ascending {
                let mut key = Vec::new();
                push(&mut key, datum, descending);
                let mut reader = KeyReader::new(&key);
                assert_eq!(reader.next(column_type, descending).unwrap(), *datum);
                assert!(reader.rest().is_empty());
                // What follows must not change the order.
                key.push(if keys.len().is_multiple_of(2) { 0xff } else { 0 });
                keys.push(key);
            }
            if descending {
                keys.reverse();
            }
            assert!(keys.is_sorted_by(|a, b| a < b), "{column_type} descending={descending}");
        }
    }

    #[test]
    fn every_type_sorts_as_sql_sorts_both_ways() {
        let ints = [i64::MIN, -65_537, -65_536, -257, -256, -255, -1, 0, 1, 108, 109, 110, 255, 256, 1 << 40, i64::MAX];
        check_sorted(&ColumnType::Int8, &[&ints.map(Datum::Int)[..], &[Datum::Null]].concat());
        let decimals = [i128::MIN, -(1 << 70), -256, -255, -1, 0, 1, 255, 256, 1 << 70, i128::MAX];
        check_sorted(&ColumnType::DECIMAL, &[&decimals.map(Datum::Decimal)[..], &[Datum::Null]].concat());
        let floats = [f64::NEG_INFINITY, -1.5, -1e-300, 0.0, 1e-300, 1.5, f64::INFINITY];
        check_sorted(&ColumnType::Float8, &[&floats.map(Datum::Float)[..], &[Datum::Null]].concat());
        let texts = ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "a\0b", "ab", "b", "é", "\u{10ffff}"];
        check_sorted(
            &ColumnType::Text,
            &[&texts.map(|text| Datum::from(text.to_string()))[..], &[Datum::Null]].concat(),
        );
        check_sorted(&ColumnType::Bool, &[Datum::Bool(false), Datum::Bool(true), Datum::Null]);
        let bytes = [&b""[..], b"\0", b"\0\xff", b"\x01", b"\xff", b"\xff\xff"];
        check_sorted(&ColumnType::Bytes, &bytes.map(|bytes| Datum::Bytes(bytes.to_vec().into())));
        let interval = |months, days, micros| Datum::Interval(Interval { months, days, micros });
        let intervals =
            [interval(-1, 0, 0), interval(0, 0, -1), interval(0, 0, 0), interval(0, 1, 0), interval(0, 29, 1)];
        check_sorted(&ColumnType::Interval, &[&intervals[..], &[interval(1, 0, 0), Datum::Null]].concat());
        let array = |items: &[i64]| Datum::Array(items.iter().map(|&item| Datum::Int(item)).collect());
        let arrays =
            [array(&[]), array(&[1]), array(&[1, 2]), array(&[2]), Datum::Array(vec![Datum::Null]), Datum::Null];
        check_sorted(&ColumnType::Array(Box::new(ColumnType::Int8)), &arrays);
    }

    #[test]
    fn equal_floats_have_equal_keys_and_nan_is_greatest() {
        let encode = |value: f64| {
            let mut key = Vec::new();
            push(&mut key, &Datum::Float(value), false);
            key
        };
        assert_eq!(encode(0.0), encode(-0.0));
        assert_eq!(encode(f64::NAN), encode(-f64::NAN));
        assert!(encode(f64::NAN) > encode(f64::INFINITY));
    }

    #[test]
    fn damaged_keys_are_errors() {
        for key in [&[][..], &[BYTES, 1], &[INT_LONG + 4, 1], &[ARRAY, 1], &[0x01], &[FLOAT, 1]] {
            let mut reader = KeyReader::new(key);
            assert!(reader.next(&ColumnType::Array(Box::new(ColumnType::Int8)), false).is_err(), "{key:?}");
        }
    }
}
