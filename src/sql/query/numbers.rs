//! Functions of whole numbers and decimals, after <https://www.postgresql.org/docs/15/functions-math.html>.

use super::super::error::{Error, Result, code};
use super::super::types::{MAX_DECIMAL_PRECISION, pg_name};
use super::row_function::{Argument, Definition, Returns, Takes};
use crate::catalog::{ColumnType, Datum};

/// The functions.
pub fn definitions() -> Vec<Definition> {
    use Takes::Exactly;
    let whole = || ColumnType::Decimal { precision: Some(MAX_DECIMAL_PRECISION), scale: 0 };
    vec![
        ("div", Exactly(2), whole().into(), |args| {
            let (dividend, divisor) = of_one_scale(&args[0], &args[1])?;
            if divisor == 0 {
                return Err(Error::new(code::DIVISION_BY_ZERO, "division by zero"));
            }
            Ok(Datum::Decimal(dividend / divisor))
        }),
        ("gcd", Exactly(2), Returns::By(wider), |args| {
            let (one, other) = whole_numbers(args)?;
            fitting(greatest_common(one, other), args)
        }),
        ("lcm", Exactly(2), Returns::By(wider), |args| {
            let (one, other) = whole_numbers(args)?;
            let divisor = greatest_common(one, other);
            fitting(if divisor == 0 { 0 } else { (one / divisor * other).abs() }, args)
        }),
        ("factorial", Exactly(1), whole().into(), |args| {
            let number = args[0].datum.as_int().ok_or_else(|| no_number(&args[0]))?;
            if number < 0 {
                let message = "factorial of a negative number is undefined";
                return Err(Error::new(code::NUMERIC_OUT_OF_RANGE, message));
            }
            let product = (1..=i128::from(number)).try_fold(1i128, |product, factor| product.checked_mul(factor));
            let product = product.filter(|product| *product < 10i128.pow(MAX_DECIMAL_PRECISION.into()));
            product.map(Datum::Decimal).ok_or_else(out_of_range)
        }),
        ("min_scale", Exactly(1), ColumnType::Int4.into(), |args| match (&args[0].datum, args[0].column_type) {
            (Datum::Decimal(value), ColumnType::Decimal { scale, .. }) => {
                let (mut value, mut scale) = (*value, *scale);
                while scale > 0 && value % 10 == 0 {
                    (value, scale) = (value / 10, scale - 1);
                }
                Ok(Datum::Int(scale.into()))
            }
            (Datum::Int(_), _) => Ok(Datum::Int(0)),
            _ => Err(no_number(&args[0])),
        }),
        // As many digits as the type has.
        ("to_hex", Exactly(1), ColumnType::Text.into(), |args| match (&args[0].datum, args[0].column_type) {
            (Datum::Int(value), ColumnType::Int8) => Ok(format!("{value:x}").into()),
            (Datum::Int(value), _) => Ok(format!("{:x}", *value as i32).into()),
            _ => Err(no_number(&args[0])),
        }),
    ]
}

fn no_number(arg: &Argument<'_>) -> Error {
    Error::new(code::UNDEFINED_FUNCTION, format!("this function takes a number, not {}", pg_name(arg.column_type)))
}

fn out_of_range() -> Error {
    Error::new(code::NUMERIC_OUT_OF_RANGE, "value out of range: overflow")
}

/// The wider of two types of whole numbers.
fn wider(types: &[ColumnType]) -> Result<ColumnType> {
    let rank = |column_type: &ColumnType| match column_type {
        ColumnType::Int2 => Some(0),
        ColumnType::Int4 => Some(1),
        ColumnType::Int8 => Some(2),
        _ => None,
    };
    let known = types.iter().all(|column_type| rank(column_type).is_some());
    let widest = types.iter().max_by_key(|column_type| rank(column_type)).filter(|_| known);
    widest.cloned().ok_or_else(|| {
        let message = "this function takes whole numbers";
        Error::new(code::UNDEFINED_FUNCTION, message)
    })
}

fn whole_numbers(args: &[Argument<'_>]) -> Result<(i128, i128)> {
    match (args[0].datum.as_int(), args[1].datum.as_int()) {
        (Some(one), Some(other)) => Ok((one.into(), other.into())),
        _ => Err(no_number(&args[0])),
    }
}

/// A number that has to fit the type of the function's result.
fn fitting(number: i128, args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let types: Vec<ColumnType> = args.iter().map(|arg| arg.column_type.clone()).collect();
    let (most, name) = match wider(&types)? {
        ColumnType::Int2 => (i128::from(i16::MAX), "smallint"),
        ColumnType::Int4 => (i128::from(i32::MAX), "integer"),
        _ => (i128::from(i64::MAX), "bigint"),
    };
    match i64::try_from(number) {
        Ok(fits) if number <= most => Ok(Datum::Int(fits)),
        _ => Err(Error::new(code::NUMERIC_OUT_OF_RANGE, format!("{name} out of range"))),
    }
}

fn greatest_common(one: i128, other: i128) -> i128 {
    let (mut one, mut other) = (one.abs(), other.abs());
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Two numbers in units of the smaller of their digits.
fn of_one_scale(one: &Argument<'_>, other: &Argument<'_>) -> Result<(i128, i128)> {
    let parts = |arg: &Argument<'_>| match (&arg.datum, arg.column_type) {
        (Datum::Int(value), _) => Ok((i128::from(*value), 0)),
        (Datum::Decimal(value), ColumnType::Decimal { scale, .. }) => Ok((*value, *scale)),
        _ => Err(no_number(arg)),
    };
    let ((one, one_scale), (other, other_scale)) = (parts(one)?, parts(other)?);
    let scale = one_scale.max(other_scale);
    let raised =
        |value: i128, from: u8| value.checked_mul(10i128.pow(u32::from(scale - from))).ok_or_else(out_of_range);
    Ok((raised(one, one_scale)?, raised(other, other_scale)?))
}
