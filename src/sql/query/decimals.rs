//! Products, quotients and rests of decimals, with as many digits as PostgreSQL's have; DataFusion's quotient has four more than its operands.
//!
//! A product has the digits of both operands after the point, a quotient at least sixteen
//! (<https://www.postgresql.org/docs/15/functions-math.html>), and the last one is rounded. The number of digits is part of a type here, so
//! that a quotient has sixteen also where PostgreSQL would show more, of numbers below one, or fewer, of those above ten thousand.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrays::only_value;
use super::super::error::{Error, Result, code};
use super::super::types::MAX_DECIMAL_PRECISION;
use super::operators::operand_name;

type DfResult<T> = datafusion::error::Result<T>;

/// The fewest digits of a quotient after the point.
pub const QUOTIENT_SCALE: i8 = 16;
/// The most digits of a product after the point, unless an operand has more.
const PRODUCT_SCALE: i8 = 20;

/// `*`, if the operands are decimals, or a decimal and a whole number.
pub fn times(left: &DataType, right: &DataType) -> Option<&'static Arc<ScalarUDF>> {
    are_decimals(left, right).then(|| &functions()[0])
}

/// `/` likewise.
pub fn over(left: &DataType, right: &DataType) -> Option<&'static Arc<ScalarUDF>> {
    are_decimals(left, right).then(|| &functions()[1])
}

/// `%` likewise: DataFusion takes what is left of anything over one for zero.
pub fn rest(left: &DataType, right: &DataType) -> Option<&'static Arc<ScalarUDF>> {
    are_decimals(left, right).then(|| &functions()[2])
}

/// What `over` is called for a sum and a count.
pub fn average(sum: Expr, count: Expr) -> Expr {
    functions()[1].call(vec![sum, count])
}

fn functions() -> &'static [Arc<ScalarUDF>; 3] {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [Operation::Times, Operation::Over, Operation::Rest].map(|operation| {
            let signature = Signature::any(2, Volatility::Immutable);
            Arc::new(ScalarUDF::from(Decimals { operation, signature }))
        })
    });
    &FUNCTIONS
}

fn are_decimals(left: &DataType, right: &DataType) -> bool {
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    let is_exact = |data_type: &DataType| is_decimal(data_type) || data_type.is_signed_integer();
    (is_decimal(left) && is_exact(right)) || (is_exact(left) && is_decimal(right))
}

/// Digits of an operand, and how many of them are after the point.
fn digits(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        _ => (19, 0),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Times,
    Over,
    Rest,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Decimals {
    operation: Operation,
    signature: Signature,
}

impl Decimals {
    fn returned(&self, left: &DataType, right: &DataType) -> (u8, i8) {
        let ((left_digits, left_scale), (right_digits, right_scale)) = (digits(left), digits(right));
        match self.operation {
            Operation::Times => {
                let scale = left_scale + right_scale;
                let most = PRODUCT_SCALE.max(left_scale).max(right_scale);
                (MAX_DECIMAL_PRECISION.min(left_digits + right_digits), scale.min(most))
            }
            Operation::Over => (MAX_DECIMAL_PRECISION, QUOTIENT_SCALE.max(left_scale).max(right_scale)),
            Operation::Rest => (MAX_DECIMAL_PRECISION, left_scale.max(right_scale)),
        }
    }
}

impl ScalarUDFImpl for Decimals {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Times => "decimal *",
            Operation::Over => "decimal /",
            Operation::Rest => "decimal %",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let (precision, scale) = self.returned(&types[0], &types[1]);
        Ok(DataType::Decimal128(precision, scale))
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{}({})", self.name(), args.iter().map(operand_name).collect::<Vec<_>>().join(",")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let operand = |arg: &ColumnarValue| -> DfResult<(ArrayRef, i8)> {
            let array = arg.to_array(rows)?;
            let (precision, scale) = digits(array.data_type());
            Ok((cast(&array, &DataType::Decimal128(precision, scale))?, scale))
        };
        let ((left, left_scale), (right, right_scale)) = (operand(&args.args[0])?, operand(&args.args[1])?);
        let (precision, scale) = self.returned(left.data_type(), right.data_type());
        let operation: Box<dyn Fn(i128, i128) -> Result<i128>> = match self.operation {
            Operation::Times => {
                let dropped = power_of_ten((left_scale + right_scale - scale) as u32);
                Box::new(move |left, right| product(left, right, dropped))
            }
            Operation::Over => {
                let lift = power_of_ten((scale + right_scale - left_scale) as u32);
                Box::new(move |left, right| quotient(left, right, lift))
            }
            Operation::Rest => {
                let lifts = [left_scale, right_scale].map(|own| power_of_ten((scale - own) as u32));
                Box::new(move |left, right| rest_of(left, right, lifts))
            }
        };
        let pairs = left.as_primitive::<Decimal128Type>().iter().zip(right.as_primitive::<Decimal128Type>());
        let results = pairs.map(|pair| match pair {
            (Some(left), Some(right)) => operation(left, right).map(Some),
            _ => Ok(None),
        });
        let results = results.collect::<Result<Decimal128Array>>()?.with_precision_and_scale(precision, scale)?;
        let results: ArrayRef = Arc::new(results);
        Ok(if is_scalar { ColumnarValue::Scalar(only_value(&results)?) } else { ColumnarValue::Array(results) })
    }
}

fn power_of_ten(exponent: u32) -> i256 {
    (0..exponent).fold(i256::ONE, |power, _| power.wrapping_mul(i256::from_i128(10)))
}

fn product(left: i128, right: i128, dropped: i256) -> Result<i128> {
    if dropped == i256::ONE
        && let Some(product) = left.checked_mul(right)
    {
        return fitting(Some(product));
    }
    let product = i256::from_i128(left).wrapping_mul(i256::from_i128(right));
    fitting(rounded_quotient(product, dropped))
}

fn quotient(left: i128, right: i128, lift: i256) -> Result<i128> {
    if right == 0 {
        return Err(Error::new(code::DIVISION_BY_ZERO, "division by zero"));
    }
    let lifted = i256::from_i128(left).checked_mul(lift);
    fitting(lifted.and_then(|lifted| rounded_quotient(lifted, i256::from_i128(right))))
}

/// What is left of a division to a whole number, with the sign of what is divided.
fn rest_of(left: i128, right: i128, [left_lift, right_lift]: [i256; 2]) -> Result<i128> {
    if right == 0 {
        return Err(Error::new(code::DIVISION_BY_ZERO, "division by zero"));
    }
    let (left, right) =
        (i256::from_i128(left).wrapping_mul(left_lift), i256::from_i128(right).wrapping_mul(right_lift));
    fitting(left.checked_rem(right).and_then(i256::to_i128))
}

/// A quotient to the nearest whole number, of two as near the one away from zero.
fn rounded_quotient(dividend: i256, divisor: i256) -> Option<i128> {
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let away = if dividend.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    let quotient = if twice >= divisor.wrapping_abs() { quotient.wrapping_add(away) } else { quotient };
    quotient.to_i128()
}

/// A result, if it has no more digits than there may be.
fn fitting(result: Option<i128>) -> Result<i128> {
    const LIMIT: u128 = 10u128.pow(MAX_DECIMAL_PRECISION as u32);
    let result = result.filter(|result| result.unsigned_abs() < LIMIT);
    result.ok_or_else(|| Error::new(code::NUMERIC_OUT_OF_RANGE, "numeric field overflow"))
}
