//! The binary form of `COPY`, after <https://www.postgresql.org/docs/15/sql-copy.html>: a header, rows of values as they go over the wire
//! in binary, and a trailer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use datafusion::arrow::array::RecordBatch;

use super::message::BINARY;
use super::parameter::decode;
use super::value::{Look, data_row};
use crate::catalog::{ColumnType, Datum};
use crate::sql::error::code;
use crate::sql::{Error, OutputColumn, Result, TimeZone};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags and the length of the header's extension.
const AFTER_SIGNATURE: usize = 8;
/// Flags from here on say something that a reader must know.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// Instead of the number of a row's values.
const TRAILER: i16 = -1;
/// A value longer than this is an error and not a reason to use up all memory.
const MAX_VALUE_BYTES: usize = 256 << 20;
/// The same for a row.
const MAX_ROW_BYTES: usize = 512 << 20;

/// What comes before the rows.
pub fn header() -> Bytes {
    [SIGNATURE, &[0; AFTER_SIGNATURE]].concat().into()
}

/// One row of a batch.
pub fn row(batch: &RecordBatch, row: usize, columns: &[OutputColumn]) -> Result<Bytes> {
    let values = data_row(batch, row, columns, Look { formats: &[BINARY], zone: TimeZone::UTC, iso_intervals: false })?;
    let mut bytes = BytesMut::with_capacity(values.data.len() + 2);
    bytes.put_i16(values.field_count);
    bytes.put_slice(&values.data);
    Ok(bytes.freeze())
}

/// What comes after the rows.
pub fn trailer() -> Bytes {
    Bytes::copy_from_slice(&TRAILER.to_be_bytes())
}

/// Reads rows from pieces that know nothing of rows.
pub struct BinaryRows {
    types: Vec<ColumnType>,
    pending: BytesMut,
    has_begun: bool,
    has_ended: bool,
    rows: u64,
}

impl BinaryRows {
    /// A reader of rows with values of these types.
    pub fn new(types: Vec<ColumnType>) -> BinaryRows {
        BinaryRows { types, pending: BytesMut::new(), has_begun: false, has_ended: false, rows: 0 }
    }

    /// Takes a piece of data, and gives the rows that are whole.
    pub fn push(&mut self, data: &[u8]) -> Result<Vec<Vec<Datum<'static>>>> {
        self.pending.extend_from_slice(data);
        if self.pending.len() > MAX_ROW_BYTES {
            return Err(malformed("a row is too long"));
        }
        if !self.has_begun && !self.take_header()? {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        while let Some(row) = self.take_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Fails if the data cannot end here.
    pub fn finish(&self) -> Result<()> {
        if self.has_ended { Ok(()) } else { Err(malformed("unexpected EOF in COPY data")) }
    }

    fn take_header(&mut self) -> Result<bool> {
        let known = self.pending.len().min(SIGNATURE.len());
        if self.pending[..known] != SIGNATURE[..known] {
            return Err(malformed("COPY file signature not recognized"));
        }
        let Some(mut rest) = self.pending.get(SIGNATURE.len()..).filter(|rest| rest.len() >= AFTER_SIGNATURE) else {
            return Ok(false);
        };
        let (flags, extension) = (rest.get_u32(), rest.get_u32() as usize);
        if flags & CRITICAL_FLAGS != 0 {
            return Err(malformed("unrecognized critical flags in COPY file header"));
        }
        if extension > MAX_VALUE_BYTES {
            return Err(malformed("invalid COPY file header (wrong length)"));
        }
        if rest.len() < extension {
            return Ok(false);
        }
        self.pending.advance(SIGNATURE.len() + AFTER_SIGNATURE + extension);
        self.has_begun = true;
        Ok(true)
    }

    fn take_row(&mut self) -> Result<Option<Vec<Datum<'static>>>> {
        let mut rest = &self.pending[..];
        if self.has_ended && !rest.is_empty() {
            return Err(malformed("received copy data after EOF marker"));
        }
        if rest.len() < 2 {
            return Ok(None);
        }
        let count = rest.get_i16();
        if count == TRAILER {
            self.has_ended = true;
            self.pending.advance(2);
            return self.take_row();
        }
        if usize::try_from(count) != Ok(self.types.len()) {
            let message = format!("row field count is {count}, expected {}", self.types.len());
            return Err(malformed(&message));
        }
        // First whether it is whole, so that no value is read twice.
        let mut values = Vec::with_capacity(self.types.len());
        for _ in &self.types {
            if rest.len() < 4 {
                return Ok(None);
            }
            let size = rest.get_i32();
            if size == -1 {
                values.push(None);
                continue;
            }
            let size = usize::try_from(size).ok().filter(|size| *size <= MAX_VALUE_BYTES);
            let size = size.ok_or_else(|| malformed("invalid field size"))?;
            let Some((value, after)) = rest.split_at_checked(size) else { return Ok(None) };
            values.push(Some(value));
            rest = after;
        }
        let read = |(value, column_type): (Option<&[u8]>, &ColumnType)| match value {
            Some(value) => decode(value, BINARY, column_type, TimeZone::UTC),
            None => Ok(Datum::Null),
        };
        self.rows += 1;
        let place = |error: Error| error.detail(format!("COPY, row {}", self.rows));
        let row = values.into_iter().zip(&self.types).map(read).collect::<Result<_>>().map_err(place)?;
        let taken = self.pending.len() - rest.len();
        self.pending.advance(taken);
        Ok(Some(row))
    }
}

fn malformed(message: &str) -> Error {
    Error::new(code::BAD_COPY_FORMAT, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> BinaryRows {
        BinaryRows::new(vec![ColumnType::Int4, ColumnType::Text])
    }

    fn sent() -> Vec<u8> {
        let mut bytes = header().to_vec();
        for (number, text) in [(1, Some("one")), (2, None)] {
            bytes.put_i16(2);
            bytes.put_i32(4);
            bytes.put_i32(number);
            bytes.put_i32(text.map_or(-1, |text| text.len() as i32));
            bytes.put_slice(text.unwrap_or("").as_bytes());
        }
        bytes.put_slice(&trailer());
        bytes
    }

    #[test]
    fn rows_come_whole_however_they_are_cut() {
        let bytes = sent();
        for size in 1..=bytes.len() {
            let mut reader = reader();
            let rows: Vec<_> = bytes.chunks(size).flat_map(|piece| reader.push(piece).unwrap()).collect();
            reader.finish().unwrap();
            assert_eq!(rows, [vec![Datum::Int(1), "one".into()], vec![Datum::Int(2), Datum::Null]], "pieces of {size}");
        }
    }

    #[test]
    fn what_is_malformed_is_an_error_and_never_a_row_too_many() {
        let bytes = sent();
        for end in 0..bytes.len() - 2 {
            let mut reader = reader();
            assert!(reader.push(&bytes[..end]).unwrap().len() <= 2);
            assert_eq!(reader.finish().unwrap_err().sqlstate, code::BAD_COPY_FORMAT, "{end} bytes");
        }
        let after = [&bytes[..], &[0]].concat();
        assert!(reader().push(&after).is_err());
        for at in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0xff;
            let mut reader = reader();
            // Whatever comes of it, it ends, and asks for no memory that is not there.
            let _ = reader.push(&spoilt).and_then(|_| reader.finish());
        }
        assert_eq!(BinaryRows::new(vec![ColumnType::Int4]).push(&bytes).unwrap_err().sqlstate, code::BAD_COPY_FORMAT);
    }
}
