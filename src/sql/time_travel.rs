//! The time of `AS OF SYSTEM TIME`.

use sqlparser::ast::{Expr, UnaryOperator, Value};

use super::context::Context;
use super::error::{Error, Result, code};
use super::query::expression;
use super::text;
use super::time_zone::TimeZone;
use crate::catalog::{ColumnType, Datum};
use crate::time::Timestamp;

/// How far back `follower_read_timestamp()` is: as far as CockroachDB's default.
const FOLLOWER_READ_DELAY_MICROS: i64 = 4_800_000;

/// A time to read the store at, which must not lie in the future.
pub fn evaluate(context: &Context, time: &Expr) -> Result<Timestamp> {
    let now = context.engine().store().now()?;
    let time = instant(context, time, now)?;
    if time > now {
        let message = format!("AS OF SYSTEM TIME: {} lies in the future", shown(time));
        return Err(Error::new(code::INVALID_PARAMETER, message));
    }
    Ok(time)
}

/// A time to restore. The backup may come from a cluster whose clock is ahead of this one's, and knows itself what it covers.
pub fn evaluate_for_restore(context: &Context, time: &Expr) -> Result<Timestamp> {
    instant(context, time, context.engine().store().now()?)
}

/// An interval before now, a date and time, or nanoseconds since the epoch.
fn instant(context: &Context, time: &Expr, now: Timestamp) -> Result<Timestamp> {
    let time = match time {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => from_text(text, now)?,
            Value::Number(digits, _) => from_nanos(digits)?,
            Value::Placeholder(_) => return Err(Error::unsupported("a placeholder in AS OF SYSTEM TIME")),
            _ => return Err(bad()),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, .. } => return Err(bad()),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("follower_read_timestamp") => {
            Timestamp::from_micros(now.micros() - FOLLOWER_READ_DELAY_MICROS)
        }
        other => match expression::constant(context, other.clone())? {
            (ColumnType::Timestamp | ColumnType::TimestampTz, Datum::Int(micros)) => Timestamp::from_micros(micros),
            (ColumnType::Int8, Datum::Int(nanos)) => Timestamp(nanos),
            (ColumnType::Decimal { scale, .. }, Datum::Decimal(value)) => {
                let unit = 10i128.pow(u32::from(scale));
                if value % unit != 0 {
                    return Err(fraction());
                }
                Timestamp(i64::try_from(value / unit).map_err(|_| bad())?)
            }
            (ColumnType::Interval, Datum::Interval(interval)) => before(now, interval)?,
            (_, Datum::Text(text)) => from_text(&text, now)?,
            _ => return Err(bad()),
        },
    };
    if time <= Timestamp::MIN {
        return Err(Error::new(code::INVALID_PARAMETER, "AS OF SYSTEM TIME: the time is before 1970"));
    }
    Ok(time)
}

fn shown(time: Timestamp) -> String {
    time.to_utc().format("%Y-%m-%d %H:%M:%S%.9f").to_string()
}

fn bad() -> Error {
    let message = "AS OF SYSTEM TIME takes a time, a negative interval, or nanoseconds since the epoch";
    Error::new(code::INVALID_PARAMETER, message)
}

fn fraction() -> Error {
    Error::new(code::INVALID_PARAMETER, "AS OF SYSTEM TIME: a timestamp has no fraction other than zero")
}

fn from_nanos(digits: &str) -> Result<Timestamp> {
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    if !rest.bytes().all(|byte| byte == b'0') {
        return Err(fraction());
    }
    whole.parse().map(Timestamp).map_err(|_| bad())
}

fn before(now: Timestamp, interval: crate::catalog::Interval) -> Result<Timestamp> {
    let micros = i64::try_from(interval.comparable_micros()).map_err(|_| bad())?;
    if micros >= 0 {
        return Err(Error::new(code::INVALID_PARAMETER, "AS OF SYSTEM TIME: an interval must be negative"));
    }
    Ok(Timestamp(now.0.saturating_add(micros.saturating_mul(1_000))))
}

fn from_text(given: &str, now: Timestamp) -> Result<Timestamp> {
    let given = given.trim();
    if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && given.len() > 8 {
        return from_nanos(given);
    }
    if let Ok(Datum::Int(micros)) = text::parse(given, &ColumnType::TimestampTz, TimeZone::UTC) {
        return Ok(Timestamp::from_micros(micros));
    }
    match text::parse_interval(given) {
        Some(interval) => before(now, interval),
        None => Err(bad()),
    }
}
