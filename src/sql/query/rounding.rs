//! `round`, `trunc`, `floor` and `ceil` with PostgreSQL's rules.
//!
//! Floating-point numbers go to the even one of two that are as near. Decimals go away from zero, and have as many digits after the point
//! as they are rounded to: the rewriter makes a number that is written into a part of the function's name, `round:2`, so that the type
//! of the result is the same whenever it is asked for.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array};
use datafusion::arrow::compute::{cast, unary};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrays::only_value;
use super::super::error::{Error, Result, code};
use super::super::types::{MAX_DECIMAL_PRECISION, unnamed};

type DfResult<T> = datafusion::error::Result<T>;

/// What the rewriter calls a function that rounds to so many digits after the point.
pub fn to_places(function: &str, places: i64) -> String {
    format!("{function}:{places}")
}

/// The function with a name, from DataFusion's own one.
pub fn by_name(name: &str, theirs: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Option<Arc<ScalarUDF>> {
    let (function, places) = match name.split_once(':') {
        Some((function, places)) => (function, Some(places.parse().ok()?)),
        None => (name, None),
    };
    let direction = match function {
        "round" => Direction::Nearest,
        "trunc" => Direction::ToZero,
        "floor" => Direction::Down,
        "ceil" => Direction::Up,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    let rounding = Rounding { name: name.into(), theirs: theirs(function)?, direction, places, signature };
    Some(Arc::new(ScalarUDF::from(rounding)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Nearest,
    ToZero,
    Down,
    Up,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    name: String,
    theirs: Arc<ScalarUDF>,
    direction: Direction,
    /// Digits after the point, if they are part of the name.
    places: Option<i64>,
    signature: Signature,
}

impl Rounding {
    /// The decimals that are rounded; `None` if they are other numbers.
    fn decimals(&self, types: &[DataType]) -> Option<DataType> {
        match types.first()? {
            decimal @ DataType::Decimal128(..) => Some(decimal.clone()),
            // To digits after the point is only a decimal rounded.
            whole if whole.is_signed_integer() && (self.places.is_some() || types.len() == 2) => {
                Some(DataType::Decimal128(19, 0))
            }
            _ => None,
        }
    }

    /// Digits after the point of a result.
    fn scale(&self, types: &[DataType], scale: i8) -> i8 {
        match self.places {
            Some(places) => places.clamp(0, i64::from(MAX_DECIMAL_PRECISION)) as i8,
            None if types.len() == 2 => scale,
            None => 0,
        }
    }

    fn their_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let fields: Vec<_> = types.iter().map(unnamed).collect();
        let fields = fields_with_udf(&fields, self.theirs.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        match (self.decimals(types), types) {
            (Some(_), [value]) => Ok(vec![value.clone()]),
            (Some(_), [value, places]) if places.is_integer() || places.is_null() => {
                Ok(vec![value.clone(), DataType::Int64])
            }
            // A whole number is rounded as a floating one.
            (None, [value]) if value.is_integer() && self.places.is_none() => Ok(vec![DataType::Float64]),
            (None, [value]) if self.places.is_some() => {
                Ok(vec![self.their_types(&[value.clone(), DataType::Int64])?[0].clone()])
            }
            _ => self.their_types(types),
        }
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("what rounding gives depends on more than types").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let Some(DataType::Decimal128(precision, scale)) = self.decimals(&types) else {
            let (mut fields, mut scalars) = (args.arg_fields.to_vec(), args.scalar_arguments.to_vec());
            let places = self.places.map(|places| ScalarValue::Int32(Some(places as i32)));
            if let Some(places) = &places {
                fields.push(unnamed(&DataType::Int32));
                scalars.push(Some(places));
            }
            let args = ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &scalars };
            return self.theirs.return_field_from_args(args);
        };
        let to = self.scale(&types, scale);
        let whole = i16::from(precision) - i16::from(scale) + 1;
        let digits = (whole + i16::from(to)).clamp(1, i16::from(MAX_DECIMAL_PRECISION));
        Ok(Arc::new(Field::new(&self.name, DataType::Decimal128(digits as u8, to), true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        if let Some(decimal) = self.decimals(&types) {
            let values = cast(&args.args[0].to_array(rows)?, &decimal)?;
            let places = match args.args.get(1) {
                Some(places) => Some(cast(&places.to_array(rows)?, &DataType::Int64)?),
                None => None,
            };
            let rounded = self.rounded(&values, places.as_ref(), args.return_field.data_type())?;
            return Ok(if is_scalar {
                ColumnarValue::Scalar(only_value(&rounded)?)
            } else {
                ColumnarValue::Array(rounded)
            });
        }
        if let Some(places) = self.places {
            args.args.push(ColumnarValue::Scalar(ScalarValue::Int32(Some(places as i32))));
            args.arg_fields.push(unnamed(&DataType::Int32));
            return self.theirs.invoke_with_args(args);
        }
        let values = match args.args.len() {
            1 if self.direction == Direction::Nearest => args.args[0].to_array(rows)?,
            _ => return self.theirs.invoke_with_args(args),
        };
        let rounded: ArrayRef = match values.data_type() {
            DataType::Float64 => {
                let rounded: Float64Array = unary(values.as_primitive::<Float64Type>(), f64::round_ties_even);
                Arc::new(rounded)
            }
            DataType::Float32 => {
                let rounded: Float32Array = unary(values.as_primitive::<Float32Type>(), f32::round_ties_even);
                Arc::new(rounded)
            }
            _ => return self.theirs.invoke_with_args(args),
        };
        Ok(if is_scalar { ColumnarValue::Scalar(only_value(&rounded)?) } else { ColumnarValue::Array(rounded) })
    }
}

impl Rounding {
    fn rounded(&self, values: &ArrayRef, places: Option<&ArrayRef>, returned: &DataType) -> DfResult<ArrayRef> {
        let (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) = (values.data_type(), returned)
        else {
            return Err(Error::internal("decimals are rounded to decimals").into());
        };
        let values = values.as_primitive::<Decimal128Type>();
        let places = places.map(|places| places.as_primitive::<Int64Type>());
        let mut rounded = Vec::with_capacity(values.len());
        for (row, value) in values.iter().enumerate() {
            let at = match places {
                Some(places) if places.is_null(row) => None,
                Some(places) => Some(places.value(row)),
                None => Some(self.places.unwrap_or(0)),
            };
            rounded.push(match (value, at) {
                (Some(value), Some(places)) => Some(round(value, *from, places, *to, self.direction)?),
                _ => None,
            });
        }
        Ok(Arc::new(Decimal128Array::from(rounded).with_precision_and_scale(*precision, *to)?))
    }
}

/// A number of `from` digits after the point, rounded to `places` of them, as one of `to`.
fn round(value: i128, from: i8, places: i64, to: i8, direction: Direction) -> Result<i128> {
    const MOST: u32 = MAX_DECIMAL_PRECISION as u32;
    let dropped = i64::from(from) - places;
    let units = match u32::try_from(dropped) {
        // Not one digit is left.
        Ok(dropped) if dropped > MOST => match direction {
            Direction::Down if value < 0 => -1,
            Direction::Up if value > 0 => 1,
            _ => 0,
        },
        Ok(dropped) => {
            let unit = 10i128.pow(dropped);
            let (units, rest) = (value / unit, value % unit);
            match direction {
                Direction::Nearest if rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) && rest != 0 => {
                    units + value.signum()
                }
                Direction::Down if rest < 0 => units - 1,
                Direction::Up if rest > 0 => units + 1,
                _ => units,
            }
        }
        Err(_) => value,
    };
    let places = places.min(i64::from(from));
    let overflow = || Error::new(code::NUMERIC_OUT_OF_RANGE, "numeric field overflow");
    match i64::from(to) - places {
        lift @ 0.. => {
            let lift = 10i128.checked_pow(lift as u32).filter(|_| units != 0);
            units.checked_mul(lift.unwrap_or(0)).filter(|_| units == 0 || lift.is_some()).ok_or_else(overflow)
        }
        // There is nothing but zeros after those that are kept.
        drop => Ok(units / 10i128.pow(drop.unsigned_abs().min(u64::from(MOST)) as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_in_every_direction() {
        use Direction::{Down, Nearest, ToZero, Up};
        // 12.345 and its like, as numbers with three digits after the point.
        let cases = [
            (12_345, 2, 2, Nearest, 1_235),
            (-12_345, 2, 2, Nearest, -1_235),
            (12_344, 2, 2, Nearest, 1_234),
            (12_345, 0, 0, Nearest, 12),
            (12_500, 0, 0, Nearest, 13),
            (12_345, 2, 2, ToZero, 1_234),
            (-12_345, 2, 2, ToZero, -1_234),
            (-12_345, 0, 0, Down, -13),
            (12_345, 0, 0, Up, 13),
            (-12_345, 0, 0, Up, -12),
            (12_000, 0, 0, Up, 12),
            (12_345, 5, 5, Nearest, 1_234_500),
            (12_345, -1, 0, Nearest, 10),
            (15_000, -1, 0, Nearest, 20),
            (12_345, -50, 0, Nearest, 0),
            (12_345, 2, 3, Nearest, 12_350),
        ];
        for (value, places, to, direction, wanted) in cases {
            assert_eq!(round(value, 3, places, to, direction).unwrap(), wanted, "{value} {places} {direction:?}");
        }
        assert!(round(i128::MAX / 2, 0, 3, 3, Nearest).is_err());
    }
}
