//! Values as they go over the wire, in text and in binary.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::RecordBatch;
use pgwire::messages::data::DataRow;

use super::message::{BINARY, format_of};
use crate::catalog::{ColumnType, Datum};
use crate::sql::types::pg_type;
use crate::sql::{Error, OutputColumn, Result, TimeZone, datum_at, text};

/// 2000-01-01, from which PostgreSQL counts, in days and microseconds since 1970-01-01.
pub const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
const NUMERIC_NEGATIVE: u16 = 0x4000;

/// How values go over the wire.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The formats of the columns, as a client asks for them.
    pub formats: &'a [i16],
    /// The time zone of instants in text.
    pub zone: TimeZone,
    /// Whether intervals in text are as ISO 8601 has them.
    pub iso_intervals: bool,
}

/// One row of a batch.
pub fn data_row(batch: &RecordBatch, row: usize, columns: &[OutputColumn], look: Look<'_>) -> Result<DataRow> {
    let Look { formats, zone, iso_intervals } = look;
    let mut data = BytesMut::with_capacity(64);
    let mut scratch = String::new();
    for (index, (array, column)) in batch.columns().iter().zip(columns).enumerate() {
        let datum = datum_at(&**array, row, &column.column_type)?;
        if datum.is_null() {
            data.put_i32(-1);
        } else if format_of(formats, index) == BINARY {
            put_sized(&mut data, |data| put_binary(data, &datum, &column.column_type))?;
        } else if let (Datum::Text(text), false) = (&datum, matches!(column.column_type, ColumnType::Char(_))) {
            data.put_i32(text.len() as i32);
            data.put_slice(text.as_bytes());
        } else {
            scratch.clear();
            match &datum {
                Datum::Interval(interval) if iso_intervals => text::format_iso_interval(&mut scratch, *interval),
                _ => text::format(&mut scratch, &datum, &column.column_type, zone),
            }
            data.put_i32(scratch.len() as i32);
            data.put_slice(scratch.as_bytes());
        }
    }
    Ok(DataRow::new(data, columns.len() as i16))
}

fn put_sized(data: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = data.len();
    data.put_i32(0);
    put(data)?;
    let size = (data.len() - start - 4) as i32;
    data[start..start + 4].copy_from_slice(&size.to_be_bytes());
    Ok(())
}

fn put_binary(data: &mut BytesMut, datum: &Datum<'_>, column_type: &ColumnType) -> Result<()> {
    match (datum, column_type) {
        (Datum::Bool(value), _) => data.put_u8(u8::from(*value)),
        (Datum::Int(value), ColumnType::Int2) => data.put_i16(*value as i16),
        (Datum::Int(value), ColumnType::Int4) => data.put_i32(*value as i32),
        (Datum::Int(value), ColumnType::Oid) => data.put_u32(*value as u32),
        (Datum::Int(value), ColumnType::Date) => data.put_i32((value - EPOCH_DAYS) as i32),
        (Datum::Int(value), ColumnType::Timestamp | ColumnType::TimestampTz) => {
            data.put_i64(value.saturating_sub(EPOCH_MICROS))
        }
        (Datum::Int(number), ColumnType::Enum(made)) => {
            data.put_slice(made.label(*number).map_err(Error::from)?.as_bytes())
        }
        (Datum::Int(value), _) => data.put_i64(*value),
        (Datum::Float(value), ColumnType::Float4) => data.put_f32(*value as f32),
        (Datum::Float(value), _) => data.put_f64(*value),
        (Datum::Decimal(value), ColumnType::Decimal { scale, .. }) => put_numeric(data, *value, *scale),
        (Datum::Text(text), ColumnType::Json) => {
            // The version of JSONB's binary form.
            data.put_u8(1);
            data.put_slice(text.as_bytes());
        }
        (Datum::Text(_), ColumnType::Char(_)) => {
            let mut padded = String::new();
            text::format(&mut padded, datum, column_type, TimeZone::UTC);
            data.put_slice(padded.as_bytes());
        }
        (Datum::Text(text), _) => data.put_slice(text.as_bytes()),
        (Datum::Bytes(bytes), _) => data.put_slice(bytes),
        (Datum::Interval(interval), _) => {
            data.put_i64(interval.micros);
            data.put_i32(interval.days);
            data.put_i32(interval.months);
        }
        (Datum::Array(items), ColumnType::Array(element)) => {
            data.put_i32(i32::from(!items.is_empty()));
            data.put_i32(i32::from(items.iter().any(Datum::is_null)));
            data.put_u32(pg_type(element).oid());
            if !items.is_empty() {
                data.put_i32(items.len() as i32);
                data.put_i32(1);
            }
            for item in items {
                if item.is_null() {
                    data.put_i32(-1);
                } else {
                    put_sized(data, |data| put_binary(data, item, element))?;
                }
            }
        }
        (other, _) => return Err(Error::internal(format!("no binary form for {other:?}"))),
    }
    Ok(())
}

/// Groups of four decimal digits around the point.
fn put_numeric(data: &mut BytesMut, value: i128, scale: u8) {
    let scale = u32::from(scale);
    let padding = (4 - scale % 4) % 4;
    let mut rest = value.unsigned_abs();
    // The digits after the point are padded to whole groups; the last group takes what does not fit in 128 bits.
    let mut groups: Vec<u16> = Vec::new();
    if padding > 0 {
        let keep = 10u128.pow(4 - padding);
        groups.push(((rest % keep) * 10u128.pow(padding)) as u16);
        rest /= keep;
    }
    while rest > 0 {
        groups.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    let fraction_groups = (scale + padding) / 4;
    let mut weight = groups.len() as i32 - 1 - fraction_groups as i32;
    groups.reverse();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    data.put_u16(groups.len() as u16);
    data.put_i16(if groups.is_empty() { 0 } else { weight as i16 });
    data.put_u16(if value < 0 { NUMERIC_NEGATIVE } else { 0 });
    data.put_u16(scale as u16);
    groups.into_iter().for_each(|group| data.put_u16(group));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::parameter::decode;

    #[test]
    fn binary_values_come_back() {
        let decimal = |scale| ColumnType::Decimal { precision: Some(38), scale };
        let ints = ColumnType::Array(Box::new(ColumnType::Int4));
        let cases = [
            (Datum::Bool(true), ColumnType::Bool),
            (Datum::Int(-2), ColumnType::Int2),
            (Datum::Int(i64::from(i32::MIN)), ColumnType::Int4),
            (Datum::Int(i64::MAX), ColumnType::Int8),
            (Datum::Int(-1), ColumnType::Date),
            (Datum::Int(1_700_000_000_123_456), ColumnType::TimestampTz),
            (Datum::Float(1.5), ColumnType::Float8),
            (Datum::Text("é".into()), ColumnType::Text),
            (Datum::Text("{}".into()), ColumnType::Json),
            (Datum::Bytes(vec![0, 255].into()), ColumnType::Bytes),
            (Datum::Decimal(0), decimal(2)),
            (Datum::Decimal(-12_345_678_901), decimal(3)),
            (Datum::Decimal(10_000), decimal(0)),
            (Datum::Decimal(5), decimal(10)),
            (Datum::Decimal(10i128.pow(37) + 1), decimal(37)),
            (Datum::Array(vec![Datum::Int(1), Datum::Null]), ints.clone()),
            (Datum::Array(vec![]), ints),
        ];
        for (datum, column_type) in cases {
            let mut data = BytesMut::new();
            put_binary(&mut data, &datum, &column_type).unwrap();
            assert_eq!(decode(&data, BINARY, &column_type, TimeZone::UTC).unwrap(), datum, "{column_type}");
        }
    }
}
