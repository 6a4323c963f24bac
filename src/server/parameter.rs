//! Parameters as they come over the wire, in text and in binary.

use bytes::Buf;

use super::message::BINARY;
use super::value::{EPOCH_DAYS, EPOCH_MICROS};
use crate::catalog::{ColumnType, Datum, Interval};
use crate::sql::error::code;
use crate::sql::types::pg_name;
use crate::sql::{Error, Result, TimeZone, text};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31, between which dates are written with four digits and no era, in days since 1970-01-01.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// Reads a parameter; in text, an instant without an offset is one in `zone`.
pub fn decode(bytes: &[u8], format: i16, column_type: &ColumnType, zone: TimeZone) -> Result<Datum<'static>> {
    if format == BINARY {
        let malformed =
            || Error::new("22P03", format!("incorrect binary data format in a parameter of type {column_type}"));
        return decode_binary(bytes, column_type)?.ok_or_else(malformed);
    }
    text::parse(utf8(bytes)?, column_type, zone)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| Error::new("22021", "invalid byte sequence for encoding \"UTF8\""))
}

/// A date or time that can be written, too.
fn within(value: i64, range: std::ops::RangeInclusive<i64>, column_type: &ColumnType) -> Result<Datum<'static>> {
    let error = || Error::new(code::DATETIME_OVERFLOW, format!("{} out of range", pg_name(column_type)));
    if range.contains(&value) { Ok(Datum::Int(value)) } else { Err(error()) }
}

/// `None` if the bytes are not of the type's form.
fn decode_binary(mut bytes: &[u8], column_type: &ColumnType) -> Result<Option<Datum<'static>>> {
    let sized = |size: usize| bytes.len() == size;
    Ok(Some(match column_type {
        ColumnType::Bool if sized(1) => Datum::Bool(bytes[0] != 0),
        ColumnType::Int2 if sized(2) => Datum::Int(bytes.get_i16().into()),
        ColumnType::Int4 if sized(4) => Datum::Int(bytes.get_i32().into()),
        ColumnType::Oid if sized(4) => Datum::Int(bytes.get_u32().into()),
        ColumnType::Int8 if sized(8) => Datum::Int(bytes.get_i64()),
        ColumnType::Float4 if sized(4) => Datum::Float(bytes.get_f32().into()),
        ColumnType::Float8 if sized(8) => Datum::Float(bytes.get_f64()),
        ColumnType::Date if sized(4) => {
            within(i64::from(bytes.get_i32()) + EPOCH_DAYS, FIRST_DAY..=LAST_DAY, column_type)?
        }
        ColumnType::Time if sized(8) => within(bytes.get_i64(), 0..=MICROS_PER_DAY, column_type)?,
        ColumnType::Timestamp | ColumnType::TimestampTz if sized(8) => {
            let micros = bytes.get_i64().saturating_add(EPOCH_MICROS);
            within(micros, FIRST_DAY * MICROS_PER_DAY..=(LAST_DAY + 1) * MICROS_PER_DAY - 1, column_type)?
        }
        ColumnType::Interval if sized(16) => {
            let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
            Datum::Interval(Interval { months, days, micros })
        }
        ColumnType::Uuid if sized(16) => Datum::Bytes(bytes.to_vec().into()),
        ColumnType::Text | ColumnType::VarChar(_) | ColumnType::Char(_) | ColumnType::Enum(_) => {
            text::parse(utf8(bytes)?, column_type, TimeZone::UTC)?
        }
        ColumnType::Json => {
            let plain = bytes.strip_prefix(&[1]).unwrap_or(bytes);
            text::parse(utf8(plain)?, column_type, TimeZone::UTC)?
        }
        ColumnType::Bytes => Datum::Bytes(bytes.to_vec().into()),
        ColumnType::Decimal { .. } => match numeric_text(bytes) {
            Some(digits) => text::parse(&digits, column_type, TimeZone::UTC)?,
            None => return Ok(None),
        },
        ColumnType::Array(element) => return decode_array(bytes, element),
        _ => return Ok(None),
    }))
}

fn decode_array(mut bytes: &[u8], element: &ColumnType) -> Result<Option<Datum<'static>>> {
    if bytes.len() < 12 {
        return Ok(None);
    }
    let dimensions = bytes.get_i32();
    bytes.advance(8);
    if dimensions == 0 {
        return Ok(Some(Datum::Array(Vec::new())));
    }
    if dimensions != 1 {
        return Err(Error::new(code::FEATURE_NOT_SUPPORTED, "arrays of more than one dimension are not supported"));
    }
    if bytes.len() < 8 {
        return Ok(None);
    }
    let count = bytes.get_i32();
    bytes.advance(4);
    let mut items = Vec::new();
    for _ in 0..count {
        if bytes.len() < 4 {
            return Ok(None);
        }
        let size = bytes.get_i32();
        if size < 0 {
            items.push(Datum::Null);
            continue;
        }
        let Some((item, rest)) = bytes.split_at_checked(size as usize) else { return Ok(None) };
        let Some(item) = decode_binary(item, element)? else { return Ok(None) };
        items.push(item);
        bytes = rest;
    }
    Ok(Some(Datum::Array(items)))
}

/// A binary NUMERIC as decimal text.
fn numeric_text(mut bytes: &[u8]) -> Option<String> {
    if bytes.len() < 8 {
        return None;
    }
    let (count, weight, sign, scale) = (bytes.get_u16(), bytes.get_i16(), bytes.get_u16(), bytes.get_u16());
    if bytes.len() != usize::from(count) * 2 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let groups: Vec<u16> = (0..count).map(|_| bytes.get_u16()).collect();
    let group = |position: i32| groups.get(usize::try_from(position).ok()?).copied();
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    for position in 0..=i32::from(weight).max(0) {
        let index = position - (i32::from(weight).max(0) - i32::from(weight));
        text.push_str(&format!("{:04}", group(index).unwrap_or(0)));
    }
    text.push('.');
    let mut fraction = String::new();
    let mut position = (i32::from(weight) + 1).max(0);
    // Groups that are zero and left out, between the point and the first group.
    let mut missing = -(i32::from(weight) + 1);
    while fraction.len() < usize::from(scale) {
        if missing > 0 {
            missing -= 1;
            fraction.push_str("0000");
            continue;
        }
        fraction.push_str(&format!("{:04}", group(position).unwrap_or(0)));
        position += 1;
    }
    fraction.truncate(usize::from(scale));
    text.push_str(&fraction);
    if text.ends_with('.') {
        text.push('0');
    }
    Some(text)
}
