//! Row values that survive added and dropped columns.
//!
//! ```text
//!   format (1) | for each column, ids ascending:  varint(id * 8 + kind) | payload
//! ```
//!
//! Columns of the primary key are not here: their values are in the key. A column that is missing has its descriptor's
//! `missing` value, which is NULL unless the column was added with a default; so NULLs are left out only where that is
//! NULL. An unknown column id is one that was dropped, and is passed over.

use std::borrow::Cow;

use super::{ColumnId, Datum, Error, Interval, Result};
use crate::kv::varint;

const FORMAT: u8 = 1;

const KIND_NULL: u8 = 0;
const KIND_INT: u8 = 1;
const KIND_FLOAT: u8 = 2;
const KIND_DECIMAL: u8 = 3;
const KIND_TEXT: u8 = 4;
const KIND_BYTES: u8 = 5;
const KIND_INTERVAL: u8 = 6;
/// Booleans and arrays, told apart by a second byte.
const KIND_OTHER: u8 = 7;
const OTHER_FALSE: u8 = 0;
const OTHER_TRUE: u8 = 1;
const OTHER_ARRAY: u8 = 2;
/// Arrays inside arrays are not SQL here; the limit keeps damaged bytes from exhausting the stack.
const MAX_DEPTH: usize = 4;

/// Writes one row value.
pub struct RowWriter {
    buffer: Vec<u8>,
}

impl Default for RowWriter {
    fn default() -> Self {
        RowWriter { buffer: vec![FORMAT] }
    }
}

impl RowWriter {
    /// Appends a column; ids must ascend.
    pub fn push(&mut self, column: ColumnId, datum: &Datum<'_>) {
        varint::push(&mut self.buffer, u64::from(column.0) << 3 | u64::from(kind(datum)));
        push_payload(&mut self.buffer, datum);
    }

    /// The finished value.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }
}

fn kind(datum: &Datum<'_>) -> u8 {
    match datum {
        Datum::Null => KIND_NULL,
        Datum::Int(_) => KIND_INT,
        Datum::Float(_) => KIND_FLOAT,
        Datum::Decimal(_) => KIND_DECIMAL,
        Datum::Text(_) => KIND_TEXT,
        Datum::Bytes(_) => KIND_BYTES,
        Datum::Interval(_) => KIND_INTERVAL,
        Datum::Bool(_) | Datum::Array(_) => KIND_OTHER,
    }
}

fn push_payload(buffer: &mut Vec<u8>, datum: &Datum<'_>) {
    match datum {
        Datum::Null => {}
        Datum::Int(value) => varint::push_signed(buffer, *value),
        Datum::Float(value) => buffer.extend_from_slice(&value.to_le_bytes()),
        Datum::Decimal(value) => {
            let bits = if *value < 0 { !*value } else { *value };
            let length = 16 - (bits.leading_zeros() as usize - 1) / 8;
            buffer.push(length as u8);
            buffer.extend_from_slice(&value.to_be_bytes()[16 - length..]);
        }
        Datum::Text(text) => push_slice(buffer, text.as_bytes()),
        Datum::Bytes(bytes) => push_slice(buffer, bytes),
        Datum::Interval(interval) => {
            varint::push_signed(buffer, interval.months.into());
            varint::push_signed(buffer, interval.days.into());
            varint::push_signed(buffer, interval.micros);
        }
        Datum::Bool(value) => buffer.push(if *value { OTHER_TRUE } else { OTHER_FALSE }),
        Datum::Array(items) => {
            buffer.push(OTHER_ARRAY);
            varint::push(buffer, items.len() as u64);
            for item in items {
                buffer.push(kind(item));
                push_payload(buffer, item);
            }
        }
    }
}

fn push_slice(buffer: &mut Vec<u8>, bytes: &[u8]) {
    varint::push(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// Reads the columns of one row value, in the order they were written.
pub struct RowReader<'a> {
    rest: &'a [u8],
}

impl<'a> RowReader<'a> {
    /// Reads `value`, which must start with a format this version knows.
    pub fn new(value: &'a [u8]) -> Result<RowReader<'a>> {
        match value {
            [FORMAT, rest @ ..] => Ok(RowReader { rest }),
            [format, ..] => Err(Error::corrupt(format!("unknown row format {format}"))),
            [] => Err(Error::corrupt("an empty row")),
        }
    }

    /// The next column, or `None` at the end.
    pub fn next_column(&mut self) -> Result<Option<(ColumnId, Datum<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let column = u32::try_from(tag >> 3).map_err(|_| Error::corrupt("a column id is too large"))?;
        let datum = self.payload((tag & 7) as u8, 0)?;
        Ok(Some((ColumnId(column), datum)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        varint::take(&mut self.rest, length).ok_or_else(|| Error::corrupt("a row ends too early"))
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn varint(&mut self) -> Result<u64> {
        varint::take_number(&mut self.rest).ok_or_else(|| Error::corrupt("a number in a row is damaged"))
    }

    fn signed(&mut self) -> Result<i64> {
        varint::take_signed(&mut self.rest).ok_or_else(|| Error::corrupt("a number in a row is damaged"))
    }

    fn slice(&mut self) -> Result<&'a [u8]> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| Error::corrupt("a length in a row is too large"))?)
    }

    fn payload(&mut self, kind: u8, depth: usize) -> Result<Datum<'a>> {
        let small = |value: i64| i32::try_from(value).map_err(|_| Error::corrupt("an interval in a row is too long"));
        Ok(match kind {
            KIND_NULL => Datum::Null,
            KIND_INT => Datum::Int(self.signed()?),
            KIND_FLOAT => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(self.take(8)?);
                Datum::Float(f64::from_le_bytes(bytes))
            }
            KIND_DECIMAL => {
                let length = self.byte()? as usize;
                if !(1..=16).contains(&length) {
                    return Err(Error::corrupt("a decimal in a row has a wrong length"));
                }
                let digits = self.take(length)?;
                let mut bytes = if digits[0] & 0x80 == 0 { [0; 16] } else { [0xff; 16] };
                bytes[16 - length..].copy_from_slice(digits);
                Datum::Decimal(i128::from_be_bytes(bytes))
            }
            KIND_TEXT => {
                let text =
                    std::str::from_utf8(self.slice()?).map_err(|_| Error::corrupt("text in a row is not UTF-8"))?;
                Datum::Text(Cow::Borrowed(text))
            }
            KIND_BYTES => Datum::Bytes(Cow::Borrowed(self.slice()?)),
            KIND_INTERVAL => {
                let (months, days) = (small(self.signed()?)?, small(self.signed()?)?);
                Datum::Interval(Interval { months, days, micros: self.signed()? })
            }
            _ => match self.byte()? {
                OTHER_FALSE => Datum::Bool(false),
                OTHER_TRUE => Datum::Bool(true),
                OTHER_ARRAY if depth < MAX_DEPTH => {
                    let count = self.varint()?;
                    let mut items = Vec::new();
                    for _ in 0..count {
                        let kind = self.byte()?;
                        items.push(self.payload(kind, depth + 1)?);
                    }
                    Datum::Array(items)
                }
                other => return Err(Error::corrupt(format!("unknown value kind {other} in a row"))),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Datum<'static>> {
        vec![
            Datum::Null,
            Datum::Bool(true),
            Datum::Bool(false),
            Datum::Int(i64::MIN),
            Datum::Int(-1),
            Datum::Int(i64::MAX),
            Datum::Float(-0.5),
            Datum::Decimal(i128::MIN),
            Datum::Decimal(0),
            Datum::Decimal(-128),
            Datum::Decimal(128),
            Datum::Decimal(i128::MAX),
            "héllo\0".to_string().into(),
            Datum::Bytes(vec![0, 255].into()),
            Datum::Interval(Interval { months: -1, days: 2, micros: i64::MIN }),
            Datum::Array(vec![Datum::Int(1), Datum::Null, Datum::Text("x".into())]),
        ]
    }

    #[test]
    fn every_value_comes_back() {
        let mut writer = RowWriter::default();
        for (index, datum) in samples().iter().enumerate() {
            writer.push(ColumnId(index as u32 * 100), datum);
        }
        let value = writer.finish();
        let mut reader = RowReader::new(&value).unwrap();
        for (index, datum) in samples().into_iter().enumerate() {
            assert_eq!(reader.next_column().unwrap(), Some((ColumnId(index as u32 * 100), datum)));
        }
        assert_eq!(reader.next_column().unwrap(), None);
    }

    #[test]
    fn every_cut_is_an_error_or_a_shorter_row_and_never_a_panic() {
        let mut writer = RowWriter::default();
        samples().iter().for_each(|datum| writer.push(ColumnId(7), datum));
        let value = writer.finish();
        for cut in 0..value.len() {
            if let Ok(mut reader) = RowReader::new(&value[..cut]) {
                while let Ok(Some(_)) = reader.next_column() {}
            }
        }
        assert!(RowReader::new(&[9]).is_err() && RowReader::new(&[]).is_err());
    }
}
