//! Functions of dates and times in the session's time zone, after <https://www.postgresql.org/docs/15/functions-datetime.html>.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, Value};

use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::pg_name;
use super::row_function::{Argument, Definition, Returns, Takes};
use super::series;
use crate::catalog::{ColumnType, Datum, Interval, rounded_seconds};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// What stands for a time that depends on when it is said: `now`, `today`, `tomorrow`, `yesterday`.
pub fn special(literal: &Expr) -> Option<Expr> {
    let Expr::Value(value) = literal else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let sql = match text.trim().to_ascii_lowercase().as_str() {
        "now" => "current_timestamp",
        "today" => "current_date",
        "tomorrow" => "current_date + 1",
        "yesterday" => "current_date - 1",
        _ => return None,
    };
    super::expression::parse(sql).ok()
}

/// What rounds a time or interval to so many digits of seconds.
pub const ROUNDED: &str = "seconds:rounded";

/// The functions.
pub fn definitions() -> Vec<Definition> {
    use ColumnType::{Timestamp, TimestampTz};
    use Takes::{Between, Exactly};
    vec![
        (ROUNDED, Exactly(2), Returns::By(|types| Ok(types[0].clone())), |args| {
            let digits = args[1].datum.as_int().and_then(|digits| u8::try_from(digits).ok()).unwrap_or(u8::MAX);
            Ok(rounded_seconds(args[0].datum.clone().into_owned(), digits))
        }),
        ("timezone", Exactly(2), Returns::By(other_kind), at_time_zone),
        ("date_trunc", Between(2, 3), Returns::By(truncated_kind), truncated),
        ("timestamptz_plus", Exactly(2), TimestampTz.into(), |args| moved(args, false)),
        ("timestamptz_minus", Exactly(2), TimestampTz.into(), |args| moved(args, true)),
        // Whole days are days, whatever the calendar says.
        ("timestamps_apart", Exactly(2), ColumnType::Interval.into(), |args| {
            let is_local = args.iter().all(|arg| *arg.column_type != ColumnType::TimestampTz);
            let micros = |arg: &Argument<'_>| if is_local { arg.local_micros() } else { arg.instant() };
            let overflow = || Error::new(code::DATETIME_OVERFLOW, "interval out of range");
            let apart = micros(&args[0])?.checked_sub(micros(&args[1])?).ok_or_else(overflow)?;
            let days = i32::try_from(apart / MICROS_PER_DAY).map_err(|_| overflow())?;
            Ok(Datum::Interval(Interval { months: 0, days, micros: apart % MICROS_PER_DAY }))
        }),
        ("make_timestamp", Exactly(6), Timestamp.into(), |args| made(args).map(Datum::Int)),
        ("make_timestamptz", Between(6, 7), TimestampTz.into(), |args| {
            let zone = args.get(6).map_or(Ok(args[0].zone), |zone| TimeZone::named(&zone.text()))?;
            Ok(Datum::Int(zone.instant(made(args)?)))
        }),
        ("make_interval", Between(0, 7), ColumnType::Interval.into(), made_interval),
        ("overlaps", Takes::Any, ColumnType::Bool.into(), overlapping),
        ("series:times", Exactly(3), Returns::By(series::returned), series::of_times),
    ]
}

impl Argument<'_> {
    /// A date or time as clocks show it, in microseconds.
    pub fn local_micros(&self) -> Result<i64> {
        match (&self.datum, self.column_type) {
            (Datum::Int(days), ColumnType::Date) => Ok(days.saturating_mul(MICROS_PER_DAY)),
            (Datum::Int(micros), ColumnType::Timestamp | ColumnType::Time) => Ok(*micros),
            (Datum::Int(micros), ColumnType::TimestampTz) => Ok(self.zone.local(*micros)),
            (Datum::Text(text), _) => match text::parse(text, &ColumnType::Timestamp, self.zone)? {
                Datum::Int(micros) => Ok(micros),
                _ => Err(self.is_no_time()),
            },
            _ => Err(self.is_no_time()),
        }
    }

    /// An instant in microseconds since 1970: a local time is one in the session's time zone.
    pub fn instant(&self) -> Result<i64> {
        match (&self.datum, self.column_type) {
            (Datum::Int(micros), ColumnType::TimestampTz) => Ok(*micros),
            (Datum::Text(text), _) => match text::parse(text, &ColumnType::TimestampTz, self.zone)? {
                Datum::Int(micros) => Ok(micros),
                _ => Err(self.is_no_time()),
            },
            _ => Ok(self.zone.instant(self.local_micros()?)),
        }
    }

    /// The argument as an interval.
    pub fn interval(&self) -> Result<Interval> {
        match &self.datum {
            Datum::Interval(interval) => Ok(*interval),
            Datum::Text(text) => match text::parse(text, &ColumnType::Interval, self.zone)? {
                Datum::Interval(interval) => Ok(interval),
                _ => Err(self.is_no_time()),
            },
            _ => Err(self.is_no_time()),
        }
    }

    fn is_no_time(&self) -> Error {
        let message = format!("this function takes a date or time, not {}", pg_name(self.column_type));
        Error::new(code::UNDEFINED_FUNCTION, message)
    }
}

/// `AT TIME ZONE` makes an instant of a local time, and a local time of an instant.
fn other_kind(types: &[ColumnType]) -> Result<ColumnType> {
    let is_zone = matches!(types[0], ColumnType::Interval) || types[0].is_character();
    match &types[1] {
        ColumnType::Timestamp if is_zone => Ok(ColumnType::TimestampTz),
        ColumnType::TimestampTz | ColumnType::Date if is_zone => Ok(ColumnType::Timestamp),
        text if is_zone && text.is_character() => Ok(ColumnType::Timestamp),
        other => {
            let message =
                format!("function pg_catalog.timezone({}, {}) does not exist", pg_name(&types[0]), pg_name(other));
            Err(Error::new(code::UNDEFINED_FUNCTION, message))
        }
    }
}

fn at_time_zone(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let zone = match &args[0].datum {
        Datum::Interval(interval) => TimeZone::of_interval(*interval).ok_or_else(|| {
            let message = format!("interval time zone \"{}\" must not include months or days", args[0].text());
            Error::new(code::INVALID_PARAMETER, message)
        })?,
        _ => TimeZone::named(&args[0].text())?,
    };
    Ok(Datum::Int(match args[1].column_type {
        ColumnType::Timestamp => zone.instant(args[1].local_micros()?),
        _ => zone.local(args[1].instant()?),
    }))
}

fn truncated_kind(types: &[ColumnType]) -> Result<ColumnType> {
    Ok(match &types[1] {
        same @ (ColumnType::Timestamp | ColumnType::Interval) => same.clone(),
        ColumnType::Time => ColumnType::Interval,
        ColumnType::TimestampTz | ColumnType::Date => ColumnType::TimestampTz,
        text if text.is_character() => ColumnType::TimestampTz,
        other => {
            let message = format!("function date_trunc({}, {}) does not exist", pg_name(&types[0]), pg_name(other));
            return Err(Error::new(code::UNDEFINED_FUNCTION, message));
        }
    })
}

fn truncated(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let unit = args[0].text().to_lowercase();
    let unknown = |of: &ColumnType| {
        let name = match of {
            ColumnType::Timestamp => "timestamp without time zone",
            ColumnType::Interval => "interval",
            _ => "timestamp with time zone",
        };
        Error::new(code::INVALID_PARAMETER, format!("unit \"{unit}\" not recognized for type {name}"))
    };
    let kind = truncated_kind(&[ColumnType::Text, args[1].column_type.clone()])?;
    match (&args[1].datum, &kind) {
        (Datum::Interval(interval), _) => {
            truncated_interval(&unit, *interval).map(Datum::Interval).ok_or_else(|| unknown(&kind))
        }
        (Datum::Int(micros), ColumnType::Interval) => {
            let time = Interval { micros: *micros, ..Interval::default() };
            truncated_interval(&unit, time).map(Datum::Interval).ok_or_else(|| unknown(&kind))
        }
        (_, ColumnType::Timestamp) => {
            truncated_local(&unit, args[1].local_micros()?).map(Datum::Int).ok_or_else(|| unknown(&kind))
        }
        _ => {
            let zone = args.get(2).map_or(Ok(args[1].zone), |zone| TimeZone::named(&zone.text()))?;
            let instant = args[1].instant()?;
            let local = truncated_local(&unit, zone.local(instant)).ok_or_else(|| unknown(&kind))?;
            // Less than a day stays on the same side of a change of the clocks.
            Ok(Datum::Int(match micros_in(&unit) {
                Some(_) => local - i64::from(zone.offset_at(instant)) * MICROS_PER_SECOND,
                None => zone.instant(local),
            }))
        }
    }
}

/// How long a unit below a day is.
fn micros_in(unit: &str) -> Option<i64> {
    match unit {
        "microsecond" | "microseconds" => Some(1),
        "millisecond" | "milliseconds" => Some(1_000),
        "second" | "seconds" => Some(MICROS_PER_SECOND),
        "minute" | "minutes" => Some(60 * MICROS_PER_SECOND),
        "hour" | "hours" => Some(3600 * MICROS_PER_SECOND),
        _ => None,
    }
}

fn truncated_local(unit: &str, micros: i64) -> Option<i64> {
    if let Some(length) = micros_in(unit) {
        return Some(micros - micros.rem_euclid(length));
    }
    if let "day" | "days" = unit {
        return Some(micros - micros.rem_euclid(MICROS_PER_DAY));
    }
    let day = DateTime::from_timestamp_micros(micros)?.date_naive();
    // Centuries and millennia begin with the year one.
    let since_first = |years: i32| (day.year() - 1).div_euclid(years) * years + 1;
    let (year, month) = match unit {
        "week" | "weeks" => {
            let monday = day - TimeDelta::days(day.weekday().num_days_from_monday().into());
            return Some(monday.and_time(NaiveTime::MIN).and_utc().timestamp_micros());
        }
        "month" | "months" => (day.year(), day.month()),
        "quarter" => (day.year(), day.month0() / 3 * 3 + 1),
        "year" | "years" => (day.year(), 1),
        "decade" | "decades" => (day.year().div_euclid(10) * 10, 1),
        "century" | "centuries" => (since_first(100), 1),
        "millennium" | "millennia" => (since_first(1000), 1),
        _ => return None,
    };
    Some(NaiveDate::from_ymd_opt(year, month, 1)?.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

fn truncated_interval(unit: &str, interval: Interval) -> Option<Interval> {
    let Interval { months, days, micros } = interval;
    if let Some(length) = micros_in(unit) {
        return Some(Interval { months, days, micros: micros - micros % length });
    }
    let whole = |count: i32| Interval { months: months - months % count, ..Interval::default() };
    Some(match unit {
        "day" | "days" => Interval { months, days, micros: 0 },
        "month" | "months" => whole(1),
        "quarter" => whole(3),
        "year" | "years" => whole(12),
        "decade" | "decades" => whole(120),
        "century" | "centuries" => whole(1_200),
        "millennium" | "millennia" => whole(12_000),
        _ => return None,
    })
}

fn moved(args: &[Argument<'_>], back: bool) -> Result<Datum<'static>> {
    let Interval { months, days, micros } = args[1].interval()?;
    let interval = match back {
        true => {
            Interval { months: months.saturating_neg(), days: days.saturating_neg(), micros: micros.saturating_neg() }
        }
        false => Interval { months, days, micros },
    };
    args[0].zone.plus(args[0].instant()?, interval).map(Datum::Int)
}

/// Year, month, day, hour, minute, and seconds with a fraction.
fn made(args: &[Argument<'_>]) -> Result<i64> {
    let whole = |index: usize| args[index].datum.as_int().and_then(|value| u32::try_from(value).ok());
    let year = args[0].datum.as_int().and_then(|year| i32::try_from(year).ok());
    let seconds = super::scalars::float_of(&args[5])?;
    let time = (|| {
        let day = NaiveDate::from_ymd_opt(year?, whole(1)?, whole(2)?)?;
        Some(day.and_hms_opt(whole(3)?, whole(4)?, 0)?.and_utc().timestamp_micros())
    })();
    let fits = (0.0..60.0).contains(&seconds);
    let time = time.filter(|_| fits).map(|time| time + (seconds * MICROS_PER_SECOND as f64).round() as i64);
    time.ok_or_else(|| Error::new(code::DATETIME_OVERFLOW, "date field value out of range"))
}

/// Years, months, weeks, days, hours, minutes and seconds, each of which may be left out at the end.
fn made_interval(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let overflow = || Error::new(code::DATETIME_OVERFLOW, "interval out of range");
    let whole = |index: usize| args.get(index).map_or(Some(0), |arg| arg.datum.as_int());
    let parts = || {
        let months = whole(0)?.checked_mul(12)?.checked_add(whole(1)?)?;
        let days = whole(2)?.checked_mul(7)?.checked_add(whole(3)?)?;
        let minutes = whole(4)?.checked_mul(60)?.checked_add(whole(5)?)?;
        let micros = minutes.checked_mul(60 * MICROS_PER_SECOND)?;
        Some((i32::try_from(months).ok()?, i32::try_from(days).ok()?, micros))
    };
    let (months, days, micros) = parts().ok_or_else(overflow)?;
    let seconds = args.get(6).map_or(Ok(0.0), super::scalars::float_of)?;
    let micros = micros.checked_add((seconds * MICROS_PER_SECOND as f64).round() as i64).ok_or_else(overflow)?;
    Ok(Datum::Interval(Interval { months, days, micros }))
}

/// Names of `make_interval`'s arguments, in their order.
const INTERVAL_PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// The arguments of `make_interval`, some of them named, in their order.
pub fn interval_arguments(args: &[FunctionArg]) -> Result<Vec<Expr>> {
    let unknown = || Error::new(code::UNDEFINED_FUNCTION, "function make_interval with these arguments does not exist");
    let mut parts: Vec<Expr> =
        INTERVAL_PARTS.iter().map(|_| Expr::Value(Value::Number("0".into(), false).into())).collect();
    for (at, arg) in args.iter().enumerate() {
        let (at, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(at), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => (interval_part(name), value),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(value), .. } => {
                (interval_part(name), value)
            }
            _ => return Err(unknown()),
        };
        *at.and_then(|at| parts.get_mut(at)).ok_or_else(unknown)? = value.clone();
    }
    Ok(parts)
}

fn interval_part(name: &Ident) -> Option<usize> {
    INTERVAL_PARTS.iter().position(|part| name.value.eq_ignore_ascii_case(part))
}

/// Whether two spans of time have a moment in common; each is two ends, or one and how long it is. A NULL is an end that is not known
/// (<https://www.postgresql.org/docs/15/functions-datetime.html>).
fn overlapping(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let span = |start: &Argument<'_>, end: &Argument<'_>| -> Result<Option<(i64, Option<i64>)>> {
        let known = |arg: &Argument<'_>| match arg.datum {
            Datum::Null => Ok(None),
            _ if *arg.column_type == ColumnType::TimestampTz => arg.instant().map(Some),
            _ => arg.local_micros().map(Some),
        };
        let from = known(start)?;
        let to = match (&end.datum, from) {
            (Datum::Interval(_), None) => None,
            (Datum::Interval(length), Some(from)) => {
                let is_instant = *start.column_type == ColumnType::TimestampTz;
                let zone = if is_instant { start.zone } else { TimeZone::UTC };
                Some(zone.plus(from, *length)?)
            }
            _ => known(end)?,
        };
        Ok(match (from, to) {
            (Some(from), Some(to)) => Some((from.min(to), Some(from.max(to)))),
            (Some(one), None) | (None, Some(one)) => Some((one, None)),
            (None, None) => None,
        })
    };
    let [start, end, other_start, other_end] = args else {
        return Err(Error::internal("OVERLAPS takes two spans"));
    };
    let (Some(one), Some(other)) = (span(start, end)?, span(other_start, other_end)?) else { return Ok(Datum::Null) };
    let (first, second) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    Ok(match (first.1, second.1) {
        (None, _) => Datum::Null,
        (Some(_), None) if first.0 == second.0 => Datum::Null,
        (Some(_), Some(_)) if first.0 == second.0 => Datum::Bool(true),
        (Some(end), _) if second.0 < end => Datum::Bool(true),
        (Some(_), None) => Datum::Null,
        _ => Datum::Bool(false),
    })
}
