//! Keys of values that Arrow compares otherwise than PostgreSQL: labels of enumerated types by their numbers, JSON by its values, intervals by
//! how long they are, arrays with what their elements have, a NULL among them after all others.
//!
//! A key takes the place of the value wherever values are compared ([`super::key_comparisons`]), sorted ([`super::sort_keys`]), or one of equal
//! ones is taken ([`super::equal_keys`]).

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, ListArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::super::arrays::{canonical_array, only_value, row_by_row};
use super::super::error::{Error, Result};
use super::super::json::Value;
use super::super::time_zone::TimeZone;
use super::super::types::{MAX_DECIMAL_PRECISION, anonymous_field, arrow_type, of_field};
use super::enums::{label, number_of};
use super::row_function::{self, Argument, Definition, Returns, Takes};
use crate::catalog::{ColumnType, Datum, Interval};

type DfResult<T> = datafusion::error::Result<T>;

/// What is asked of two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Whether they are the same.
    Equality,
    /// Which comes first when they are sorted.
    Order,
}

/// The type of a field, if what is asked of its values is to be asked of their keys.
pub fn keyed(field: &FieldRef, asked: Asked) -> Option<ColumnType> {
    // Of most fields it is clear without a look at what they remember.
    let may_be = !field.metadata().is_empty() || matches!(field.data_type(), DataType::Interval(_) | DataType::List(_));
    may_be.then(|| of_field(field)).filter(|of| has_key(of, asked))
}

/// The type of the elements of arrays, if what is asked of them is to be asked of their keys.
pub fn keyed_elements(field: &FieldRef, asked: Asked) -> Option<ColumnType> {
    match of_field(field) {
        ColumnType::Array(element) if has_key(&element, asked) => Some(*element),
        _ => None,
    }
}

fn has_key(of: &ColumnType, asked: Asked) -> bool {
    match of {
        ColumnType::Json | ColumnType::Interval => true,
        // Labels are equal as text.
        ColumnType::Enum(_) => asked != Asked::Equality,
        // NULLs among the elements come last, wherever those among the values do.
        ColumnType::Array(element) => asked == Asked::Order || has_key(element, asked),
        _ => false,
    }
}

/// The key of a value.
pub fn key(of: ColumnType, value: Expr) -> Expr {
    // The one number that it is, wherever it is compared: physical plans take what a literal says of itself for a difference.
    if let (ColumnType::Enum(made), Expr::Literal(ScalarValue::Utf8(Some(label)), _)) = (&of, &value)
        && let Some(number) = made.number(label)
    {
        return lit(number);
    }
    keyed_by(Key::of(of), value)
}

/// The array of the keys of an array's elements.
pub fn keys_of_elements(element: ColumnType, array: Expr) -> Expr {
    keyed_by(Key::OfElements(element), array)
}

/// Bytes as text that sorts as they do, for where only text is sorted.
pub fn letters(bytes: Expr) -> Expr {
    keyed_by(Key::Scalar(ColumnType::Bytes), bytes)
}

fn keyed_by(key: Key, value: Expr) -> Expr {
    ScalarUDF::from(ValueKey { key, signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// The number of a label; of JSON and bytes, text that sorts as they do; the microseconds of an interval, of which a month has 30 days.
    Scalar(ColumnType),
    /// Bytes that sort as arrays with these elements do.
    Array(ColumnType),
    /// An array of the keys of these elements.
    OfElements(ColumnType),
}

impl Key {
    fn of(of: ColumnType) -> Key {
        match of {
            ColumnType::Array(element) => Key::Array(*element),
            scalar => Key::Scalar(scalar),
        }
    }

    fn column_type(&self) -> ColumnType {
        match self {
            Key::Scalar(of) => scalar_key_type(of),
            Key::Array(_) => ColumnType::Bytes,
            Key::OfElements(of) => ColumnType::Array(Box::new(scalar_key_type(of))),
        }
    }
}

fn scalar_key_type(of: &ColumnType) -> ColumnType {
    match of {
        ColumnType::Json | ColumnType::Bytes => ColumnType::Text,
        ColumnType::Interval => ColumnType::Decimal { precision: Some(MAX_DECIMAL_PRECISION), scale: 0 },
        ColumnType::Enum(_) => ColumnType::Int8,
        other => other.clone(),
    }
}

fn scalar_key(of: &ColumnType, value: &Datum<'_>, column_type: &ColumnType) -> Result<Datum<'static>> {
    Ok(match (of, value) {
        (_, Datum::Null) => Datum::Null,
        (ColumnType::Enum(made), _) => number_of(value, column_type, made).into(),
        (ColumnType::Json, Datum::Text(text)) => letters_of(&Value::parse(text)?.sort_key()),
        (ColumnType::Bytes, Datum::Bytes(bytes)) => letters_of(bytes),
        (ColumnType::Interval, Datum::Interval(interval)) => Datum::Decimal(interval.comparable_micros()),
        _ => return Err(Error::internal(format!("no key of {column_type}"))),
    })
}

/// What the least and greatest of such values are found by, of labels and intervals; [`of_rank`] gives them back.
pub fn rank(of: &ColumnType, value: Expr) -> DfResult<Option<Expr>> {
    Ok(match of {
        ColumnType::Enum(_) => Some(key(of.clone(), value)),
        ColumnType::Interval => {
            Some(function(("interval:ranked", Takes::Exactly(1), ColumnType::Text.into(), ranked))?.call(vec![value]))
        }
        _ => None,
    })
}

/// The value with a rank.
pub fn of_rank(of: &ColumnType, rank: Expr) -> DfResult<Expr> {
    match of {
        ColumnType::Interval => {
            let unranked = function(("interval:of_rank", Takes::Exactly(1), ColumnType::Interval.into(), of_ranked))?;
            Ok(unranked.call(vec![rank]))
        }
        of => Ok(label(of.clone(), rank)),
    }
}

/// How long an interval is, and its parts behind.
fn ranked(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let Datum::Interval(interval) = &args[0].datum else { return Ok(Datum::Null) };
    // With the sign turned, negative lengths come first.
    let length = (interval.comparable_micros() ^ i128::MIN).to_be_bytes();
    let (months, days, micros) =
        (interval.months.to_be_bytes(), interval.days.to_be_bytes(), interval.micros.to_be_bytes());
    Ok(letters_of(&[&length[..], &months, &days, &micros].concat()))
}

fn of_ranked(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let bytes: Option<Vec<u8>> = args[0].text().chars().map(|letter| u8::try_from(letter).ok()).collect();
    let parts = bytes.as_deref().and_then(|bytes| {
        let (_, parts) = bytes.split_first_chunk::<16>()?;
        let (months, parts) = parts.split_first_chunk()?;
        let (days, micros) = parts.split_first_chunk()?;
        let micros = micros.try_into().ok()?;
        Some(Interval {
            months: i32::from_be_bytes(*months),
            days: i32::from_be_bytes(*days),
            micros: i64::from_be_bytes(micros),
        })
    });
    parts.map(Datum::Interval).ok_or_else(|| Error::internal("no rank of an interval"))
}

fn letters_of(bytes: &[u8]) -> Datum<'static> {
    bytes.iter().copied().map(char::from).collect::<String>().into()
}

fn function(definition: Definition) -> DfResult<Arc<ScalarUDF>> {
    let name = definition.0;
    let function = row_function::named(&[definition], name, TimeZone::UTC);
    Ok(function.ok_or_else(|| Error::internal("a function is missing"))?)
}

/// `array_sort` of elements that sort by keys: array, `ASC` or `DESC`, `NULLS FIRST` or `NULLS LAST`.
pub fn sorted_by_keys() -> DfResult<Arc<ScalarUDF>> {
    let definition: Definition =
        ("array:sorted", Takes::Between(1, 3), Returns::By(|types| Ok(types[0].clone())), |args| {
            let (Datum::Array(elements), ColumnType::Array(element)) = (&args[0].datum, args[0].column_type) else {
                return Ok(Datum::Null);
            };
            let says = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.text() == word);
            let (nulls, values): (Vec<_>, Vec<_>) = elements.iter().cloned().partition(Datum::is_null);
            let keyed = values.into_iter().map(|value| Ok((scalar_key(element, &value, element)?, value)));
            let mut keyed = keyed.collect::<Result<Vec<_>>>()?;
            keyed.sort_by(|(one, _), (other, _)| compare_keys(one, other));
            if says(1, "DESC") {
                keyed.reverse();
            }
            let values = keyed.into_iter().map(|(_, value)| value);
            let sorted: Vec<Datum<'_>> = match says(2, "NULLS FIRST") {
                true => nulls.into_iter().chain(values).collect(),
                false => values.chain(nulls).collect(),
            };
            Ok(Datum::Array(sorted).into_owned())
        });
    function(definition)
}

fn compare_keys(one: &Datum<'_>, other: &Datum<'_>) -> Ordering {
    match (one, other) {
        (Datum::Decimal(one), Datum::Decimal(other)) => one.cmp(other),
        (Datum::Int(one), Datum::Int(other)) => one.cmp(other),
        (Datum::Text(one), Datum::Text(other)) => one.cmp(other),
        _ => Ordering::Equal,
    }
}

/// A value's key, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ValueKey {
    key: Key,
    signature: Signature,
}

impl ValueKey {
    /// Arrays whose elements are their keys, where those have any.
    fn of_elements(&self, args: &ScalarFunctionArgs, element: &ColumnType) -> Result<ColumnarValue> {
        let returns = ColumnType::Array(Box::new(scalar_key_type(element)));
        row_by_row(args, &returns, |values, types| match (&values[0], &types[0]) {
            (Datum::Array(elements), ColumnType::Array(written)) => {
                let keys = elements.iter().map(|value| scalar_key(element, value, written));
                Ok(Datum::Array(keys.collect::<Result<_>>()?))
            }
            _ => Ok(Datum::Null),
        })
    }

    fn of_arrays(&self, args: &ScalarFunctionArgs, element: &ColumnType) -> Result<ColumnarValue> {
        let keys = match has_key(element, Asked::Order) {
            true => self.of_elements(args, element)?,
            false => args.args[0].clone(),
        };
        let is_scalar = matches!(keys, ColumnarValue::Scalar(_));
        let arrays = keys.into_array(if is_scalar { 1 } else { args.number_rows })?;
        let arrays = match arrays.data_type() {
            DataType::List(_) => arrays,
            _ => canonical_array(&arrays, &ColumnType::Array(Box::new(element.clone())))?,
        };
        let sortable: ArrayRef = Arc::new(sortable(arrays.as_list())?);
        Ok(if is_scalar { ColumnarValue::Scalar(only_value(&sortable)?) } else { ColumnarValue::Array(sortable) })
    }
}

/// Arrays as bytes that sort as they do.
fn sortable(arrays: &ListArray) -> Result<BinaryArray> {
    let nulls_last = SortOptions { descending: false, nulls_first: false };
    let field = SortField::new_with_options(arrays.data_type().clone(), nulls_last);
    let converter = RowConverter::new(vec![field])?;
    let rows = converter.convert_columns(&[Arc::new(arrays.clone()) as ArrayRef])?;
    let mut keys = BinaryBuilder::new();
    for (row, bytes) in rows.iter().enumerate() {
        match arrays.is_null(row) {
            true => keys.append_null(),
            false => keys.append_value(bytes),
        }
    }
    Ok(keys.finish())
}

impl ScalarUDFImpl for ValueKey {
    fn name(&self) -> &str {
        "value_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(&self.key.column_type()))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(anonymous_field(&self.key.column_type()).as_ref().clone().with_name(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(match &self.key {
            Key::Scalar(of) => {
                row_by_row(&args, &scalar_key_type(of), |values, types| scalar_key(of, &values[0], &types[0]))?
            }
            Key::Array(element) => self.of_arrays(&args, element)?,
            Key::OfElements(element) => self.of_elements(&args, element)?,
        })
    }
}
