//! Functions of PostgreSQL that DataFusion does not have, or has another way,
//! after <https://www.postgresql.org/docs/15/functions.html>.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion::logical_expr::ScalarUDF;

use super::super::error::{Error, Result, code};
use super::super::text::quoted;
use super::super::time_zone::TimeZone;
use super::super::types::pg_name;
use super::byte_strings::bytes_of;
use super::row_function::{Argument, Definition, Takes, named};
use super::times;
use super::{
    byte_strings, number_patterns, numbers, ordered_aggregates, patterns, percentiles, regular, time_patterns,
};
use crate::catalog::{ColumnType, Datum, Interval};
use crate::parser::quote_ident_in_sql;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const DAYS_PER_MONTH: i64 = 30;
/// Digits after the point of seconds.
const SECOND_DIGITS: u8 = 6;

/// The function with a name.
pub fn by_name(name: &str, zone: TimeZone) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<Vec<Definition>> = LazyLock::new(|| {
        [
            all(),
            times::definitions(),
            regular::definitions(),
            percentiles::definitions(),
            ordered_aggregates::definitions(),
            byte_strings::definitions(),
            numbers::definitions(),
        ]
        .concat()
    });
    named(&FUNCTIONS, name, zone)
}

fn all() -> Vec<Definition> {
    use ColumnType::{Bool, Date, Float8, Int4, Int8, Text, TimestampTz};
    use Takes::{Any, Between, Exactly};
    let decimal = |scale| ColumnType::Decimal { precision: Some(38), scale };
    vec![
        ("pg_typeof", Any, Text.into(), |args| match args {
            [arg] => Ok(match arg.column_type {
                ColumnType::Time => "time without time zone".into(),
                ColumnType::Timestamp => "timestamp without time zone".into(),
                // Without a length.
                other => pg_name(other).split('(').next().unwrap_or_default().to_string().into(),
            }),
            _ => Err(Error::new(code::UNDEFINED_FUNCTION, "pg_typeof takes one argument")),
        }),
        ("concat", Any, Text.into(), |args| Ok(joined("", args).into())),
        ("concat_ws", Any, Text.into(), |args| match args.split_first() {
            Some((separator, rest)) if !separator.datum.is_null() => Ok(joined(&separator.text(), rest).into()),
            _ => Ok(Datum::Null),
        }),
        ("format", Any, Text.into(), formatted),
        ("num_nulls", Any, Int4.into(), |args| {
            Ok(Datum::Int(args.iter().filter(|arg| arg.datum.is_null()).count() as i64))
        }),
        ("num_nonnulls", Any, Int4.into(), |args| {
            Ok(Datum::Int(args.iter().filter(|arg| !arg.datum.is_null()).count() as i64))
        }),
        ("encode", Exactly(2), Text.into(), encoded),
        ("to_char", Exactly(2), Text.into(), |args| {
            let pattern = args[1].text();
            let is_number = args[0].column_type.is_integer()
                || matches!(args[0].column_type, ColumnType::Decimal { .. } | Float8 | ColumnType::Float4);
            match is_number {
                true => number_patterns::formatted(&args[0], &pattern),
                false => time_patterns::formatted(&args[0], &pattern),
            }
        }),
        ("chr", Exactly(1), Text.into(), |args| match args[0].datum.as_int() {
            Some(0) => Err(Error::new(code::LIMIT_EXCEEDED, "null character not permitted")),
            Some(code) => {
                let letter = u32::try_from(code).ok().and_then(char::from_u32);
                let message = || format!("requested character not valid for encoding: {code}");
                letter
                    .map(|letter| letter.to_string().into())
                    .ok_or_else(|| Error::new(code::LIMIT_EXCEEDED, message()))
            }
            None => Err(wrong(&args[0], "a whole number")),
        }),
        ("subscript:index", Exactly(1), Int8.into(), |args| {
            Ok(args[0].datum.as_int().filter(|index| *index >= 1).map_or(Datum::Null, Datum::Int))
        }),
        ("subscript:lower", Exactly(1), Int8.into(), |args| {
            Ok(args[0].datum.as_int().map_or(Datum::Null, |bound| Datum::Int(bound.max(1))))
        }),
        ("subscript:upper", Exactly(1), Int8.into(), |args| {
            Ok(args[0].datum.as_int().map_or(Datum::Null, |bound| Datum::Int(bound.max(0))))
        }),
        ("array_length", Exactly(2), Int4.into(), |args| match (&args[0].datum, args[1].datum.as_int()) {
            (Datum::Array(items), Some(1)) if !items.is_empty() => Ok(Datum::Int(items.len() as i64)),
            (Datum::Array(_), _) => Ok(Datum::Null),
            _ => Err(no_array(&args[0])),
        }),
        ("array_ndims", Exactly(1), Int4.into(), |args| match &args[0].datum {
            Datum::Array(items) => Ok(if items.is_empty() { Datum::Null } else { Datum::Int(1) }),
            _ => Err(no_array(&args[0])),
        }),
        ("array_dims", Exactly(1), Text.into(), |args| match &args[0].datum {
            Datum::Array(items) if items.is_empty() => Ok(Datum::Null),
            Datum::Array(items) => Ok(format!("[1:{}]", items.len()).into()),
            _ => Err(no_array(&args[0])),
        }),
        ("array_overlap", Exactly(2), Bool.into(), |args| match (&args[0].datum, &args[1].datum) {
            (Datum::Array(left), Datum::Array(right)) => {
                Ok(Datum::Bool(left.iter().any(|item| !item.is_null() && right.contains(item))))
            }
            _ => Err(no_array(&args[0])),
        }),
        ("array_contains", Exactly(2), Bool.into(), |args| match (&args[0].datum, &args[1].datum) {
            (Datum::Array(left), Datum::Array(right)) => {
                Ok(Datum::Bool(right.iter().all(|item| !item.is_null() && left.contains(item))))
            }
            _ => Err(no_array(&args[0])),
        }),
        // False, or not known if there is a NULL among the elements.
        ("array_lacks_null", Exactly(1), Bool.into(), |args| match &args[0].datum {
            Datum::Array(items) if items.iter().any(Datum::is_null) => Ok(Datum::Null),
            Datum::Array(_) => Ok(Datum::Bool(false)),
            _ => Err(no_array(&args[0])),
        }),
        // Whether there are elements.
        ("array_is_filled", Exactly(1), Bool.into(), |args| match &args[0].datum {
            Datum::Array(items) => Ok(Datum::Bool(!items.is_empty())),
            _ => Err(no_array(&args[0])),
        }),
        ("quote_literal", Exactly(1), Text.into(), |args| Ok(quoted(&args[0].text()).into())),
        ("quote_nullable", Any, Text.into(), |args| {
            Ok(if args[0].datum.is_null() { "NULL".to_string() } else { quoted(&args[0].text()) }.into())
        }),
        ("quote_ident", Exactly(1), Text.into(), |args| Ok(quote_ident_in_sql(&args[0].text()).into())),
        ("width_bucket", Exactly(4), Int4.into(), |args| {
            let [operand, low, high] = [&args[0], &args[1], &args[2]].map(float_of);
            let (operand, low, high) = (operand?, low?, high?);
            let count = args[3].datum.as_int().filter(|count| i32::try_from(*count).is_ok()).unwrap_or_default();
            if count <= 0 || low == high {
                return Err(Error::new("2201G", "count must be greater than zero, and the bounds must differ"));
            }
            let share = (operand - low) / (high - low);
            Ok(Datum::Int(if share < 0.0 {
                0
            } else if share >= 1.0 {
                count + 1
            } else {
                (share * count as f64) as i64 + 1
            }))
        }),
        ("age", Exactly(2), ColumnType::Interval.into(), |args| {
            Ok(Datum::Interval(age(args[0].local_micros()?, args[1].local_micros()?)))
        }),
        ("justify_days", Exactly(1), ColumnType::Interval.into(), |args| {
            let Interval { months, days, micros } = interval_of(&args[0])?;
            Ok(Datum::Interval(justified(months.into(), days.into(), micros, false)))
        }),
        ("justify_hours", Exactly(1), ColumnType::Interval.into(), |args| {
            let Interval { months, days, micros } = interval_of(&args[0])?;
            let (days, micros) = carried(i64::from(days), micros, MICROS_PER_DAY);
            Ok(Datum::Interval(Interval { months, days: days as i32, micros }))
        }),
        ("justify_interval", Exactly(1), ColumnType::Interval.into(), |args| {
            let Interval { months, days, micros } = interval_of(&args[0])?;
            Ok(Datum::Interval(justified(months.into(), days.into(), micros, true)))
        }),
        ("interval_times", Exactly(2), ColumnType::Interval.into(), |args| {
            Ok(Datum::Interval(scaled(interval_of(&args[0])?, float_of(&args[1])?)?))
        }),
        ("interval_over", Exactly(2), ColumnType::Interval.into(), |args| match float_of(&args[1])? {
            0.0 => Err(Error::new(code::DIVISION_BY_ZERO, "division by zero")),
            divisor => Ok(Datum::Interval(scaled(interval_of(&args[0])?, 1.0 / divisor)?)),
        }),
        ("isfinite", Exactly(1), Bool.into(), |_| Ok(Datum::Bool(true))),
        ("to_date", Exactly(2), Date.into(), |args| {
            let (text, pattern) = (args[0].text(), args[1].text());
            let day = NaiveDate::parse_from_str(text.trim(), &patterns::for_chrono(&pattern)?);
            let day = day.map_err(|_| unmatched(&text, &pattern))?;
            Ok(Datum::Int(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp().div_euclid(86_400)))
        }),
        ("to_timestamp", Between(1, 2), TimestampTz.into(), |args| {
            let [_, pattern] = args else {
                let seconds = float_of(&args[0])?;
                return Ok(Datum::Int((seconds * MICROS_PER_SECOND as f64).round() as i64));
            };
            let (text, pattern) = (args[0].text(), pattern.text());
            let chrono = patterns::for_chrono(&pattern)?;
            let time = NaiveDateTime::parse_from_str(text.trim(), &chrono).or_else(|_| {
                NaiveDate::parse_from_str(text.trim(), &chrono).map(|day| day.and_time(chrono::NaiveTime::MIN))
            });
            let local = time.map_err(|_| unmatched(&text, &pattern))?.and_utc().timestamp_micros();
            Ok(Datum::Int(args[0].zone.instant(local)))
        }),
        // `extract` and `date_part` of fields that DataFusion does not have, or cuts.
        ("extract_fraction", Exactly(2), decimal(SECOND_DIGITS).into(), |args| Ok(Datum::Decimal(field_of(args)?))),
        ("extract_whole", Exactly(2), Int8.into(), |args| {
            Ok(Datum::Int((field_of(args)? / i128::from(MICROS_PER_SECOND)) as i64))
        }),
        ("date_part_of", Exactly(2), Float8.into(), |args| {
            Ok(Datum::Float(field_of(args)? as f64 / MICROS_PER_SECOND as f64))
        }),
    ]
}

fn joined(separator: &str, args: &[Argument<'_>]) -> String {
    let texts = args.iter().filter(|arg| !arg.datum.is_null()).map(Argument::text);
    texts.collect::<Vec<_>>().join(separator)
}

/// The widest field of `format`.
const MAX_FORMAT_WIDTH: usize = 1_000_000;

/// How wide a field of `format` is at least, and whether its text stands left in it.
struct Alignment {
    width: usize,
    left: bool,
}

impl Alignment {
    fn push(&self, out: &mut String, text: &str) {
        let blanks = " ".repeat(self.width.saturating_sub(text.chars().count()));
        let (before, after) = if self.left { ("", &*blanks) } else { (&*blanks, "") };
        out.extend([before, text, after]);
    }
}

/// `format`
fn formatted(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let Some((pattern, values)) = args.split_first().filter(|(pattern, _)| !pattern.datum.is_null()) else {
        return Ok(Datum::Null);
    };
    let pattern = pattern.text();
    let (mut out, mut rest, mut next) = (String::new(), pattern.as_str(), 0);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let mut after = &rest[at + 1..];
        // `%2$s` is the second value.
        let digits = after.len() - after.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        if digits > 0 && after[digits..].starts_with('$') {
            next = after[..digits].parse::<usize>().unwrap_or(0).wrapping_sub(1);
            after = &after[digits + 1..];
        }
        let (width, left) = match after.strip_prefix('-') {
            Some(unsigned) => (unsigned, true),
            None => (after, false),
        };
        let mut aligned = Alignment { width: 0, left };
        if let Some(starred) = width.strip_prefix('*') {
            // The next value is the width; a negative one aligns left.
            let given = values.get(next).and_then(|value| value.datum.as_int()).unwrap_or(0);
            aligned = Alignment { width: given.unsigned_abs() as usize, left: left || given < 0 };
            next = next.wrapping_add(1);
            after = starred;
        } else {
            let digits = width.len() - width.trim_start_matches(|character: char| character.is_ascii_digit()).len();
            aligned.width = width[..digits].parse().unwrap_or(0);
            after = &width[digits..];
        }
        let kind = after.chars().next();
        rest = &after[kind.map_or(0, char::len_utf8)..];
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        if aligned.width > MAX_FORMAT_WIDTH {
            return Err(Error::new(code::NUMERIC_OUT_OF_RANGE, "number is out of range"));
        }
        let few = || Error::new(code::INVALID_PARAMETER, "too few arguments for format()");
        let value = values.get(next).ok_or_else(few)?;
        next = next.wrapping_add(1);
        match (kind, value.datum.is_null()) {
            (Some('s'), true) => aligned.push(&mut out, ""),
            (Some('s'), false) => aligned.push(&mut out, &value.text()),
            (Some('I'), false) => aligned.push(&mut out, &quote_ident_in_sql(&value.text())),
            (Some('I'), true) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(Error::new("22004", message));
            }
            (Some('L'), true) => aligned.push(&mut out, "NULL"),
            (Some('L'), false) => aligned.push(&mut out, &quoted(&value.text())),
            _ => {
                let message = "unrecognized format() type specifier";
                return Err(Error::new(code::INVALID_PARAMETER, message)
                    .hint("It is %s, %I, %L or %%, perhaps with a position and a width."));
            }
        }
    }
    out.push_str(rest);
    Ok(out.into())
}

fn encoded(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let bytes = bytes_of(&args[0])?;
    Ok(match args[1].text().to_lowercase().as_str() {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        // Lines of 76 characters, as MIME has them.
        "base64" => {
            let whole = BASE64.encode(bytes);
            let lines = whole.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned());
            lines.collect::<Vec<_>>().join("\n")
        }
        "escape" => bytes.iter().fold(String::new(), |mut out, byte| {
            match byte {
                0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                b'\\' => out.push_str("\\\\"),
                _ => out.push(char::from(*byte)),
            }
            out
        }),
        other => {
            return Err(Error::new(code::INVALID_PARAMETER, format!("unrecognized encoding: \"{other}\"")));
        }
    }
    .into())
}

fn wrong(arg: &Argument<'_>, wanted: &str) -> Error {
    Error::new(code::UNDEFINED_FUNCTION, format!("this function takes {wanted}, not {}", pg_name(arg.column_type)))
}

fn no_array(arg: &Argument<'_>) -> Error {
    wrong(arg, "an array")
}

fn unmatched(text: &str, pattern: &str) -> Error {
    Error::new(code::BAD_DATETIME, format!("\"{text}\" does not match the pattern \"{pattern}\""))
}

/// A number as one of the kind with a point.
pub fn float_of(arg: &Argument<'_>) -> Result<f64> {
    match (&arg.datum, arg.column_type) {
        (Datum::Int(value), _) => Ok(*value as f64),
        (Datum::Float(value), _) => Ok(*value),
        (Datum::Decimal(value), ColumnType::Decimal { scale, .. }) => Ok(*value as f64 / 10f64.powi((*scale).into())),
        _ => Err(wrong(arg, "a number")),
    }
}

fn interval_of(arg: &Argument<'_>) -> Result<Interval> {
    match &arg.datum {
        Datum::Interval(interval) => Ok(*interval),
        _ => Err(wrong(arg, "an interval")),
    }
}

/// Takes whole `units` of `small` into `large`, so that both have one sign.
fn carried(large: i64, small: i64, unit: i64) -> (i64, i64) {
    let (mut large, mut small) = (large + small / unit, small % unit);
    if large > 0 && small < 0 {
        (large, small) = (large - 1, small + unit);
    } else if large < 0 && small > 0 {
        (large, small) = (large + 1, small - unit);
    }
    (large, small)
}

fn justified(months: i64, days: i64, micros: i64, hours: bool) -> Interval {
    let (days, micros) = if hours { carried(days, micros, MICROS_PER_DAY) } else { (days, micros) };
    let (mut months, mut days) = carried(months, days, DAYS_PER_MONTH);
    let mut micros = micros;
    if hours && months > 0 && (days < 0 || (days == 0 && micros < 0)) {
        (months, days) = (months - 1, days + DAYS_PER_MONTH);
    }
    if hours && days > 0 && micros < 0 {
        (days, micros) = (days - 1, micros + MICROS_PER_DAY);
    }
    Interval { months: months as i32, days: days as i32, micros }
}

/// An interval so many times; what is no whole month goes to the days, what is no whole day to the time.
fn scaled(interval: Interval, factor: f64) -> Result<Interval> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor;
    let month_days = (months.fract() * DAYS_PER_MONTH as f64 * 1e6).round() / 1e6;
    let day_micros = (days.fract() + month_days.fract()) * MICROS_PER_DAY as f64;
    let micros = (interval.micros as f64 * factor + day_micros).round();
    let days = days.trunc() + month_days.trunc();
    let fits = [months, days].iter().all(|part| part.abs() < f64::from(i32::MAX)) && micros.abs() < i64::MAX as f64;
    if !fits {
        return Err(Error::new(code::DATETIME_OVERFLOW, "interval out of range"));
    }
    Ok(Interval { months: months.trunc() as i32, days: days as i32, micros: micros as i64 })
}

/// What lies between two times in years, months, days and less, as a calendar counts.
fn age(end: i64, start: i64) -> Interval {
    if end < start {
        let Interval { months, days, micros } = age(start, end);
        return Interval { months: -months, days: -days, micros: -micros };
    }
    let parts = |micros: i64| {
        let time = DateTime::from_timestamp_micros(micros).unwrap_or_default().naive_utc();
        (
            i64::from(time.year()) * 12 + i64::from(time.month0()),
            i64::from(time.day()),
            micros.rem_euclid(MICROS_PER_DAY),
        )
    };
    let ((end_month, end_day, end_time), (start_month, start_day, start_time)) = (parts(end), parts(start));
    let (mut months, mut days, mut micros) = (end_month - start_month, end_day - start_day, end_time - start_time);
    if micros < 0 {
        (days, micros) = (days - 1, micros + MICROS_PER_DAY);
    }
    if days < 0 {
        // The days of the month that began it.
        let (year, month) = (start_month.div_euclid(12) as i32, start_month.rem_euclid(12) as u32 + 1);
        let first = NaiveDate::from_ymd_opt(year, month, 1);
        let length = first.map_or(DAYS_PER_MONTH, |first| i64::from(first.num_days_in_month()));
        (months, days) = (months - 1, days + length);
    }
    Interval { months: months as i32, days: days as i32, micros }
}

/// A field of an instant's distance from UTC, in millionths.
fn offset_field(field: &str, time: &Argument<'_>, unknown: impl Fn() -> Error) -> Result<i128> {
    if *time.column_type != ColumnType::TimestampTz {
        let name = match time.column_type {
            ColumnType::Timestamp => "timestamp without time zone".into(),
            other => pg_name(other),
        };
        return Err(Error::unsupported(format!("unit \"{field}\" not supported for type {name}")));
    }
    let seconds = time.zone.offset_at(time.instant()?);
    let value = match field {
        "timezone" => seconds,
        "timezone_hour" => seconds / 3600,
        "timezone_minute" => seconds / 60 % 60,
        _ => return Err(unknown()),
    };
    Ok(i128::from(value) * i128::from(MICROS_PER_SECOND))
}

/// A field of a date, time or interval, in millionths.
fn field_of(args: &[Argument<'_>]) -> Result<i128> {
    let field = args[0].text().to_lowercase();
    let unit = i128::from(MICROS_PER_SECOND);
    let unknown = || {
        let message = format!("unit \"{field}\" not recognized for type {}", pg_name(args[1].column_type));
        Error::new(code::INVALID_PARAMETER, message)
    };
    if let Datum::Interval(Interval { months, days, micros }) = args[1].datum {
        let (months, days, micros) = (i128::from(months), i128::from(days), i128::from(micros));
        let years = months / 12;
        return Ok(match field.as_str() {
            "epoch" => {
                // A year has 365.25 days.
                let year_micros = 31_557_600 * unit;
                years * year_micros + (months % 12 * 30 + days) * i128::from(MICROS_PER_DAY) + micros
            }
            "second" => micros % (60 * unit),
            "milliseconds" => micros % (60 * unit) * 1000,
            "decade" => years / 10 * unit,
            "century" => years / 100 * unit,
            "millennium" => years / 1000 * unit,
            _ => return Err(unknown()),
        });
    }
    if field.starts_with("timezone") {
        return offset_field(&field, &args[1], unknown);
    }
    let micros = args[1].local_micros()?;
    let in_minute = i128::from(micros.rem_euclid(60 * MICROS_PER_SECOND));
    let year = i128::from(DateTime::from_timestamp_micros(micros).unwrap_or_default().year());
    Ok(match field.as_str() {
        "epoch" if *args[1].column_type == ColumnType::TimestampTz => i128::from(args[1].instant()?),
        "epoch" => i128::from(micros),
        "second" => in_minute,
        "milliseconds" => in_minute * 1000,
        "decade" => year.div_euclid(10) * unit,
        "century" => (year + 99).div_euclid(100) * unit,
        "millennium" => (year + 999).div_euclid(1000) * unit,
        _ => return Err(unknown()),
    })
}
