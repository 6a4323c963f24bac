//! Rows to Arrow arrays and back.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray, RecordBatch,
    RecordBatchOptions, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::{self, CastOptions};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, SchemaRef, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use futures::StreamExt;

use super::error::{Error, Result, code};
use super::json::Value;
use super::query::{Batches, OutputColumn, schema_of};
use super::text;
use super::time_zone::TimeZone;
use super::types::{MAX_DECIMAL_PRECISION, arrow_type, of_field, pg_name};
use crate::catalog::{ColumnType, Datum, EnumType, Interval};

/// Collects the values of one column.
pub enum ColumnBuilder {
    /// `BOOL`
    Bool(BooleanBuilder),
    /// `INT2`
    Int2(Int16Builder),
    /// `INT4`
    Int4(Int32Builder),
    /// `INT8`
    Int8(Int64Builder),
    /// `FLOAT4`
    Float4(Float32Builder),
    /// `FLOAT8`
    Float8(Float64Builder),
    /// `DECIMAL`
    Decimal(Decimal128Builder),
    /// Text and JSON
    Text(StringBuilder),
    /// `UUID`, as its text
    Uuid(StringBuilder),
    /// `BYTES`
    Bytes(BinaryBuilder),
    /// `DATE`
    Date(Date32Builder),
    /// `TIME`
    Time(Time64MicrosecondBuilder),
    /// Both timestamps
    Timestamp(TimestampMicrosecondBuilder),
    /// `INTERVAL`
    Interval(IntervalMonthDayNanoBuilder),
    /// An enumerated type, as labels
    Enum(StringBuilder, Box<EnumType>),
    /// An array: its elements' builder and type, where each row ends, and which rows are not NULL
    Array(Box<ColumnBuilder>, ColumnType, Vec<i32>, Vec<bool>),
}

impl ColumnBuilder {
    /// A builder for a column of a type.
    pub fn new(column_type: &ColumnType) -> ColumnBuilder {
        let data_type = arrow_type(column_type);
        match column_type {
            ColumnType::Bool => ColumnBuilder::Bool(BooleanBuilder::new()),
            ColumnType::Int2 => ColumnBuilder::Int2(Int16Builder::new()),
            ColumnType::Int4 => ColumnBuilder::Int4(Int32Builder::new()),
            ColumnType::Int8 | ColumnType::Oid => ColumnBuilder::Int8(Int64Builder::new()),
            ColumnType::Float4 => ColumnBuilder::Float4(Float32Builder::new()),
            ColumnType::Float8 => ColumnBuilder::Float8(Float64Builder::new()),
            ColumnType::Decimal { .. } => ColumnBuilder::Decimal(Decimal128Builder::new().with_data_type(data_type)),
            ColumnType::Text | ColumnType::VarChar(_) | ColumnType::Char(_) | ColumnType::Json => {
                ColumnBuilder::Text(StringBuilder::new())
            }
            ColumnType::Uuid => ColumnBuilder::Uuid(StringBuilder::new()),
            ColumnType::Bytes => ColumnBuilder::Bytes(BinaryBuilder::new()),
            ColumnType::Date => ColumnBuilder::Date(Date32Builder::new()),
            ColumnType::Time => ColumnBuilder::Time(Time64MicrosecondBuilder::new()),
            ColumnType::Timestamp | ColumnType::TimestampTz => {
                ColumnBuilder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(data_type))
            }
            ColumnType::Interval => ColumnBuilder::Interval(IntervalMonthDayNanoBuilder::new()),
            ColumnType::Enum(made) => ColumnBuilder::Enum(StringBuilder::new(), made.clone()),
            ColumnType::Array(element) => {
                ColumnBuilder::Array(Box::new(ColumnBuilder::new(element)), (**element).clone(), vec![0], Vec::new())
            }
        }
    }

    /// Appends a value, which must be of the column's type.
    pub fn push(&mut self, datum: &Datum<'_>) -> Result<()> {
        match (self, datum) {
            (ColumnBuilder::Bool(builder), Datum::Bool(value)) => builder.append_value(*value),
            (ColumnBuilder::Int2(builder), Datum::Int(value)) => builder.append_value(*value as i16),
            (ColumnBuilder::Int4(builder), Datum::Int(value)) => builder.append_value(*value as i32),
            (ColumnBuilder::Int8(builder), Datum::Int(value)) => builder.append_value(*value),
            (ColumnBuilder::Float4(builder), Datum::Float(value)) => builder.append_value(*value as f32),
            (ColumnBuilder::Float8(builder), Datum::Float(value)) => builder.append_value(*value),
            (ColumnBuilder::Decimal(builder), Datum::Decimal(value)) => builder.append_value(*value),
            (ColumnBuilder::Text(builder), Datum::Text(text)) => builder.append_value(text),
            (ColumnBuilder::Uuid(builder), Datum::Bytes(bytes)) => builder.append_value(text::format_uuid(bytes)),
            (ColumnBuilder::Bytes(builder), Datum::Bytes(bytes)) => builder.append_value(bytes),
            (ColumnBuilder::Date(builder), Datum::Int(days)) => builder.append_value(*days as i32),
            (ColumnBuilder::Time(builder), Datum::Int(micros)) => builder.append_value(*micros),
            (ColumnBuilder::Timestamp(builder), Datum::Int(micros)) => builder.append_value(*micros),
            (ColumnBuilder::Interval(builder), Datum::Interval(value)) => {
                let nanoseconds = value.micros.saturating_mul(1_000);
                builder.append_value(IntervalMonthDayNano { months: value.months, days: value.days, nanoseconds });
            }
            (ColumnBuilder::Enum(builder, made), Datum::Int(number)) => builder.append_value(made.label(*number)?),
            (ColumnBuilder::Array(element, _, ends, valid), Datum::Array(items)) => {
                items.iter().try_for_each(|item| element.push(item))?;
                ends.push(ends[ends.len() - 1] + items.len() as i32);
                valid.push(true);
            }
            (builder, Datum::Null) => builder.push_null(),
            (_, other) => return Err(Error::internal(format!("a value of another type than its column's: {other:?}"))),
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            ColumnBuilder::Bool(builder) => builder.append_null(),
            ColumnBuilder::Int2(builder) => builder.append_null(),
            ColumnBuilder::Int4(builder) => builder.append_null(),
            ColumnBuilder::Int8(builder) => builder.append_null(),
            ColumnBuilder::Float4(builder) => builder.append_null(),
            ColumnBuilder::Float8(builder) => builder.append_null(),
            ColumnBuilder::Decimal(builder) => builder.append_null(),
            ColumnBuilder::Text(builder) | ColumnBuilder::Uuid(builder) => builder.append_null(),
            ColumnBuilder::Bytes(builder) => builder.append_null(),
            ColumnBuilder::Date(builder) => builder.append_null(),
            ColumnBuilder::Time(builder) => builder.append_null(),
            ColumnBuilder::Timestamp(builder) => builder.append_null(),
            ColumnBuilder::Interval(builder) => builder.append_null(),
            ColumnBuilder::Enum(builder, _) => builder.append_null(),
            ColumnBuilder::Array(_, _, ends, valid) => {
                ends.push(ends[ends.len() - 1]);
                valid.push(false);
            }
        }
    }

    /// The finished column.
    pub fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            ColumnBuilder::Bool(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int2(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int4(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int8(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float4(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float8(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Text(mut builder) | ColumnBuilder::Uuid(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Bytes(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Date(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Time(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Timestamp(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Interval(mut builder) => Arc::new(builder.finish()),
            ColumnBuilder::Enum(mut builder, _) => Arc::new(builder.finish()),
            ColumnBuilder::Array(elements, element_type, ends, valid) => {
                let item = Arc::new(Field::new("item", arrow_type(&element_type), true));
                let offsets = OffsetBuffer::new(ends.into());
                Arc::new(ListArray::try_new(item, offsets, elements.finish()?, Some(NullBuffer::from(valid)))?)
            }
        })
    }
}

/// A batch of whole rows.
pub fn batch_of_rows(schema: &SchemaRef, types: &[ColumnType], rows: &[Vec<Datum<'_>>]) -> Result<RecordBatch> {
    let mut builders: Vec<ColumnBuilder> = types.iter().map(ColumnBuilder::new).collect();
    for row in rows {
        for (builder, datum) in builders.iter_mut().zip(row) {
            builder.push(datum)?;
        }
    }
    let columns = builders.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The value at `index` of an array that has exactly the Arrow type of `column_type`.
pub fn datum_at<'a>(array: &'a dyn Array, index: usize, column_type: &ColumnType) -> Result<Datum<'a>> {
    if array.is_null(index) {
        return Ok(Datum::Null);
    }
    Ok(match column_type {
        ColumnType::Bool => Datum::Bool(array.as_boolean().value(index)),
        ColumnType::Int2 => Datum::Int(array.as_primitive::<Int16Type>().value(index).into()),
        ColumnType::Int4 => Datum::Int(array.as_primitive::<Int32Type>().value(index).into()),
        ColumnType::Int8 | ColumnType::Oid => Datum::Int(array.as_primitive::<Int64Type>().value(index)),
        ColumnType::Float4 => Datum::Float(array.as_primitive::<Float32Type>().value(index).into()),
        ColumnType::Float8 => Datum::Float(array.as_primitive::<Float64Type>().value(index)),
        ColumnType::Decimal { .. } => Datum::Decimal(array.as_primitive::<Decimal128Type>().value(index)),
        ColumnType::Text | ColumnType::VarChar(_) | ColumnType::Char(_) | ColumnType::Json => {
            Datum::Text(Cow::Borrowed(array.as_string::<i32>().value(index)))
        }
        ColumnType::Uuid => text::parse(array.as_string::<i32>().value(index), &ColumnType::Uuid, TimeZone::UTC)?,
        ColumnType::Enum(_) => text::parse(array.as_string::<i32>().value(index), column_type, TimeZone::UTC)?,
        ColumnType::Bytes => Datum::Bytes(Cow::Borrowed(array.as_binary::<i32>().value(index))),
        ColumnType::Date => Datum::Int(array.as_primitive::<Date32Type>().value(index).into()),
        ColumnType::Time => Datum::Int(array.as_primitive::<Time64MicrosecondType>().value(index)),
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            Datum::Int(array.as_primitive::<TimestampMicrosecondType>().value(index))
        }
        ColumnType::Interval => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(index);
            Datum::Interval(Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1_000 })
        }
        ColumnType::Array(element) => {
            let items = array.as_list::<i32>().value(index);
            let items = (0..items.len()).map(|item| datum_at(&*items, item, element).map(Datum::into_owned));
            Datum::Array(items.collect::<Result<_>>()?)
        }
    })
}

/// The columns' types of a result, and how to bring its batches into exactly their Arrow types.
pub fn canonical_types(schema: &SchemaRef) -> Vec<ColumnType> {
    schema.fields().iter().map(|field| of_field(field)).collect()
}

/// Casts what a query produced (string views, nanoseconds, unsigned numbers) to the Arrow types of `types`.
pub fn canonical_columns(batch: &RecordBatch, types: &[ColumnType]) -> Result<Vec<ArrayRef>> {
    let columns = batch.columns().iter().zip(types);
    columns.map(|(array, column_type)| canonical_array(array, column_type)).collect()
}

/// Casts what a query produced to the Arrow type of a SQL type.
pub fn canonical_array(array: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef> {
    let wanted = arrow_type(column_type);
    if *array.data_type() == wanted {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(compute::cast_with_options(array, &wanted, &options)?)
}

/// What a function gives for each row of its arguments; once, if all of them are the same for every row.
pub fn row_by_row<F>(args: &ScalarFunctionArgs, returns: &ColumnType, mut body: F) -> Result<ColumnarValue>
where
    F: FnMut(Vec<Datum<'_>>, &[ColumnType]) -> Result<Datum<'static>>,
{
    let types: Vec<ColumnType> = args.arg_fields.iter().map(|field| of_field(field)).collect();
    let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { args.number_rows };
    let array = |(arg, column_type): (&ColumnarValue, &ColumnType)| -> Result<ArrayRef> {
        let array = arg.to_array(rows)?;
        if array.data_type().is_null() { Ok(array) } else { canonical_array(&array, column_type) }
    };
    let arrays: Vec<ArrayRef> = args.args.iter().zip(&types).map(array).collect::<Result<_>>()?;
    let mut builder = ColumnBuilder::new(returns);
    for row in 0..rows {
        let mut datums = Vec::with_capacity(arrays.len());
        for (array, column_type) in arrays.iter().zip(&types) {
            datums.push(match array.data_type() {
                DataType::Null => Datum::Null,
                _ => datum_at(&**array, row, column_type)?,
            });
        }
        builder.push(&body(datums, &types)?)?;
    }
    let result = builder.finish()?;
    Ok(if is_scalar { ColumnarValue::Scalar(only_value(&result)?) } else { ColumnarValue::Array(result) })
}

/// The only element of an array, with the whole type of it: `ScalarValue` alone forgets what the elements of a list are.
pub fn only_value(array: &ArrayRef) -> Result<ScalarValue> {
    Ok(match array.as_list_opt::<i32>() {
        Some(list) => ScalarValue::List(Arc::new(list.clone())),
        None => ScalarValue::try_from_array(array, 0)?,
    })
}

/// The value at `index` of an array of any type, converted for storage in a column as an assignment converts.
pub fn assign(array: &ArrayRef, from: &ColumnType, to: &ColumnType, zone: TimeZone) -> Result<Vec<Datum<'static>>> {
    convert(array, from, to, Cast { explicit: false, zone })
}

/// Converts as `CAST` does: text too long is cut.
pub fn explicit_cast(
    array: &ArrayRef,
    from: &ColumnType,
    to: &ColumnType,
    zone: TimeZone,
) -> Result<Vec<Datum<'static>>> {
    convert(array, from, to, Cast { explicit: true, zone })
}

/// How a value becomes one of another type.
#[derive(Clone, Copy)]
struct Cast {
    /// As `CAST` does, not as an assignment.
    explicit: bool,
    /// Where an instant and a local time become each other.
    zone: TimeZone,
}

fn convert(array: &ArrayRef, from: &ColumnType, to: &ColumnType, how: Cast) -> Result<Vec<Datum<'static>>> {
    let source = canonical_array(array, from)?;
    let one = |index: usize| -> Result<Datum<'static>> {
        let datum = datum_at(&*source, index, from)?;
        convert_datum(datum, from, to, how).map(Datum::into_owned)
    };
    (0..source.len()).map(one).collect()
}

fn convert_datum<'a>(datum: Datum<'a>, from: &ColumnType, to: &ColumnType, how: Cast) -> Result<Datum<'a>> {
    let Cast { explicit, zone } = how;
    let cannot = || match explicit {
        true => Error::new(code::CANNOT_COERCE, format!("cannot cast type {} to {}", pg_name(from), pg_name(to))),
        false => {
            let message = format!("column is of type {} but expression is of type {}", pg_name(to), pg_name(from));
            Error::new(code::DATATYPE_MISMATCH, message)
        }
    };
    let range = || Error::new(code::NUMERIC_OUT_OF_RANGE, format!("{} out of range", pg_name(to)));
    Ok(match (datum, to) {
        (Datum::Null, _) => Datum::Null,
        (datum, to) if from == to => datum,
        // The one may be older than the other, and have fewer labels.
        (Datum::Int(number), ColumnType::Enum(made)) if from.made_type() == Some(made.id) => Datum::Int(number),
        (Datum::Text(text), to) if to.is_character() => text::fit_text(text.into_owned(), to, explicit)?,
        (Datum::Text(text), to) if from.is_character() => text::parse(&text, to, zone)?,
        (Datum::Text(text), to) if *from == ColumnType::Json && explicit && !to.is_character() => {
            convert_json(&Value::parse(&text)?, to, how)?
        }
        (datum, to) if to.is_character() => {
            let mut out = String::new();
            match &datum {
                Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
                _ => text::format(&mut out, &datum, from, zone),
            }
            text::fit_text(out, to, explicit)?
        }
        (Datum::Int(value), to) if to.is_integer() && from.is_integer() => text::fit_int(value, to)?,
        (Datum::Int(value), ColumnType::Float4 | ColumnType::Float8) if from.is_integer() => Datum::Float(value as f64),
        (Datum::Int(value), ColumnType::Decimal { precision, scale }) if from.is_integer() => {
            Datum::Decimal(rescale(i128::from(value), 0, *precision, *scale)?)
        }
        (Datum::Float(value), ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8) => {
            let rounded = value.round_ties_even();
            if !(-9.3e18..9.3e18).contains(&rounded) || rounded as i64 as f64 != rounded {
                return Err(range());
            }
            text::fit_int(rounded as i64, to)?
        }
        (Datum::Float(value), ColumnType::Float8) => Datum::Float(value),
        (Datum::Float(value), ColumnType::Float4) => {
            if value.is_finite() && !(value as f32).is_finite() {
                return Err(range());
            }
            Datum::Float(f64::from(value as f32))
        }
        (Datum::Float(value), ColumnType::Decimal { .. }) => {
            let mut text = String::new();
            text::format(&mut text, &Datum::Float(value), from, zone);
            text::parse(&text, to, zone)?
        }
        (Datum::Decimal(value), to) => {
            let ColumnType::Decimal { scale: from_scale, .. } = from else { return Err(cannot()) };
            match to {
                ColumnType::Decimal { precision, scale } => {
                    Datum::Decimal(rescale(value, *from_scale, *precision, *scale)?)
                }
                ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
                    let whole = rescale(value, *from_scale, None, 0)?;
                    text::fit_int(i64::try_from(whole).map_err(|_| range())?, to)?
                }
                ColumnType::Float4 | ColumnType::Float8 => {
                    let mut digits = String::new();
                    text::format(&mut digits, &Datum::Decimal(value), from, zone);
                    text::parse(&digits, to, zone)?
                }
                _ => return Err(cannot()),
            }
        }
        (Datum::Bool(value), ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8) if explicit => {
            Datum::Int(value.into())
        }
        (Datum::Int(value), ColumnType::Bool) if explicit && from.is_integer() => Datum::Bool(value != 0),
        (Datum::Int(value), to) => match (from, to) {
            (ColumnType::Date, ColumnType::Timestamp) => {
                Datum::Int(value.checked_mul(MICROS_PER_DAY).ok_or_else(range)?)
            }
            (ColumnType::Date, ColumnType::TimestampTz) => {
                Datum::Int(zone.instant(value.checked_mul(MICROS_PER_DAY).ok_or_else(range)?))
            }
            (ColumnType::Timestamp, ColumnType::Date) => Datum::Int(value.div_euclid(MICROS_PER_DAY)),
            (ColumnType::TimestampTz, ColumnType::Date) => Datum::Int(zone.local(value).div_euclid(MICROS_PER_DAY)),
            (ColumnType::Timestamp, ColumnType::Time) => Datum::Int(value.rem_euclid(MICROS_PER_DAY)),
            (ColumnType::TimestampTz, ColumnType::Time) => Datum::Int(zone.local(value).rem_euclid(MICROS_PER_DAY)),
            (ColumnType::Timestamp, ColumnType::TimestampTz) => Datum::Int(zone.instant(value)),
            (ColumnType::TimestampTz, ColumnType::Timestamp) => Datum::Int(zone.local(value)),
            _ => return Err(cannot()),
        },
        (Datum::Array(items), ColumnType::Array(to)) => {
            let ColumnType::Array(from) = from else { return Err(cannot()) };
            let items = items.into_iter().map(|item| convert_datum(item, from, to, how));
            Datum::Array(items.collect::<Result<_>>()?)
        }
        _ => return Err(cannot()),
    })
}

/// A JSON number or boolean as an SQL value.
fn convert_json(value: &Value, to: &ColumnType, how: Cast) -> Result<Datum<'static>> {
    let is_number =
        to.is_integer() || matches!(to, ColumnType::Decimal { .. } | ColumnType::Float4 | ColumnType::Float8);
    match (value, to) {
        (Value::Bool(value), ColumnType::Bool) => Ok(Datum::Bool(*value)),
        (Value::Number(number), to) if to.is_integer() => {
            let decimal = text::parse(&number.to_string(), &ColumnType::DECIMAL, how.zone)?;
            convert_datum(decimal, &ColumnType::DECIMAL, to, how)
        }
        (Value::Number(number), to) if is_number => text::parse(&number.to_string(), to, how.zone),
        _ if is_number || *to == ColumnType::Bool => {
            let kind = if matches!(value, Value::Number(_)) { "numeric" } else { value.kind() };
            let message = format!("cannot cast jsonb {kind} to type {}", pg_name(to));
            Err(Error::new(code::INVALID_PARAMETER, message))
        }
        _ => Err(Error::new(code::CANNOT_COERCE, format!("cannot cast type jsonb to {}", pg_name(to)))),
    }
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The same decimal with another number of digits after the point, rounded half away from zero.
fn rescale(value: i128, from_scale: u8, precision: Option<u8>, scale: u8) -> Result<i128> {
    let overflow = || Error::new(code::NUMERIC_OUT_OF_RANGE, "numeric field overflow");
    let rescaled = if scale >= from_scale {
        value.checked_mul(10i128.pow(u32::from(scale - from_scale))).ok_or_else(overflow)?
    } else {
        let divisor = 10i128.pow(u32::from(from_scale - scale));
        let half = divisor / 2 * value.signum();
        value.checked_add(half).ok_or_else(overflow)? / divisor
    };
    let limit = 10i128.pow(u32::from(precision.unwrap_or(MAX_DECIMAL_PRECISION)));
    if rescaled.abs() >= limit { Err(overflow()) } else { Ok(rescaled) }
}

/// Converts the batches of a result from the types of its columns to others.
pub fn convert_batches(batches: Batches, from: Vec<OutputColumn>, to: Vec<OutputColumn>, zone: TimeZone) -> Batches {
    let schema = schema_of(&to);
    let convert = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let mut columns = Vec::with_capacity(to.len());
        for ((array, from), to) in batch.columns().iter().zip(&from).zip(&to) {
            let mut builder = ColumnBuilder::new(&to.column_type);
            for datum in explicit_cast(array, &from.column_type, &to.column_type, zone)? {
                builder.push(&datum)?;
            }
            columns.push(builder.finish()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    };
    batches.map(convert).boxed()
}
