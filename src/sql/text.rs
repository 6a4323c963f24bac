//! Values as PostgreSQL writes and reads them in text.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use super::error::{Error, Result, code};
use super::json;
use super::time_zone::{self, TimeZone};
use super::types::{MAX_DECIMAL_PRECISION, pg_name};
use crate::catalog::{ColumnType, Datum, Interval};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Reads a value of a type from text. An instant without an offset is one in `zone`.
pub fn parse(text: &str, column_type: &ColumnType, zone: TimeZone) -> Result<Datum<'static>> {
    let bad = || {
        let is_time = matches!(
            column_type,
            ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz
        );
        if is_time && looks_like_time(text.trim()) {
            let message = format!("date/time field value out of range: \"{text}\"");
            return Error::new(code::DATETIME_OVERFLOW, message);
        }
        let sqlstate = match column_type {
            ColumnType::Date
            | ColumnType::Time
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Interval => code::BAD_DATETIME,
            _ => code::BAD_TEXT,
        };
        Error::new(sqlstate, format!("invalid input syntax for type {}: \"{text}\"", pg_name(column_type)))
    };
    if column_type.is_character() {
        return fit_text(text.to_string(), column_type, false);
    }
    let trimmed = text.trim();
    Ok(match column_type {
        ColumnType::Bool => Datum::Bool(parse_bool(trimmed).ok_or_else(bad)?),
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Oid => match trimmed.parse::<i64>() {
            Ok(value) => fit_int(value, column_type)?,
            Err(error)
                if matches!(
                    error.kind(),
                    std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow
                ) =>
            {
                return Err(int_range_error(trimmed, column_type));
            }
            Err(_) => return Err(bad()),
        },
        ColumnType::Float4 => Datum::Float(f64::from(parse_float(trimmed).ok_or_else(bad)? as f32)),
        ColumnType::Float8 => Datum::Float(parse_float(trimmed).ok_or_else(bad)?),
        ColumnType::Decimal { precision, scale } => Datum::Decimal(parse_decimal(trimmed, *precision, *scale, bad)?),
        ColumnType::Text | ColumnType::VarChar(_) | ColumnType::Char(_) => text.to_string().into(),
        ColumnType::Bytes => Datum::Bytes(parse_bytes(text).ok_or_else(bad)?.into()),
        ColumnType::Date => Datum::Int(local_time(trimmed, bad)?.div_euclid(MICROS_PER_DAY)),
        ColumnType::Time => Datum::Int(parse_time(without_offset(trimmed)).ok_or_else(bad)?),
        ColumnType::Timestamp => Datum::Int(local_time(trimmed, bad)?),
        ColumnType::TimestampTz => {
            let (local, written) = parse_timestamp(trimmed).ok_or_else(bad)?;
            Datum::Int(written.map_or(Ok(zone), Offset::zone)?.instant(local))
        }
        ColumnType::Interval => Datum::Interval(parse_interval(trimmed).ok_or_else(bad)?),
        ColumnType::Uuid => Datum::Bytes(parse_uuid(trimmed).ok_or_else(bad)?.to_vec().into()),
        ColumnType::Json => Datum::from(json::Value::parse(trimmed)?.to_string()),
        ColumnType::Array(element) => Datum::Array(parse_array(trimmed, element, zone).ok_or_else(bad)??),
        ColumnType::Enum(made) => {
            let unknown = || {
                let message = format!("invalid input value for enum {}: \"{text}\"", pg_name(column_type));
                Error::new(code::BAD_TEXT, message)
            };
            Datum::Int(made.number(text).ok_or_else(unknown)?)
        }
    })
}

/// A whole number as a value of an integer type.
pub fn fit_int(value: i64, column_type: &ColumnType) -> Result<Datum<'static>> {
    let fits = match column_type {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits { Ok(Datum::Int(value)) } else { Err(int_range_error(&value.to_string(), column_type)) }
}

fn int_range_error(value: &str, column_type: &ColumnType) -> Error {
    Error::new(
        code::NUMERIC_OUT_OF_RANGE,
        format!("value \"{value}\" is out of range for type {}", pg_name(column_type)),
    )
}

/// Text as a value of a character type: too long is an error, unless what is over is blank or `truncate` is set.
pub fn fit_text(mut text: String, column_type: &ColumnType, truncate: bool) -> Result<Datum<'static>> {
    if let ColumnType::VarChar(Some(length)) | ColumnType::Char(length) = column_type
        && text.len() > *length as usize
        && let Some((end, _)) = text.char_indices().nth(*length as usize)
    {
        if !truncate && text[end..].chars().any(|c| c != ' ') {
            return Err(Error::new(code::STRING_TOO_LONG, format!("value too long for type {}", pg_name(column_type))));
        }
        text.truncate(end);
    }
    if let ColumnType::Char(_) = column_type {
        text.truncate(text.trim_end_matches(' ').len());
    }
    Ok(text.into())
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn parse_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "inf" | "+infinity" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        plain => plain.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// Digits with an optional exponent, rounded half away from zero to `scale` digits after the point.
fn parse_decimal(text: &str, precision: Option<u8>, scale: u8, bad: impl Fn() -> Error) -> Result<i128> {
    let overflow = || Error::new(code::NUMERIC_OUT_OF_RANGE, "numeric field overflow");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let all: String = [whole, fraction].concat();
    // The number is `all` times ten to the power of this; `scale` digits are kept.
    let shift = i64::from(exponent) - fraction.len() as i64 + i64::from(scale);
    let keep = all.len() as i64 + shift.min(0);
    let kept = if keep > 0 { &all[..keep as usize] } else { "" };
    let mut value: i128 =
        if kept.trim_start_matches('0').is_empty() { 0 } else { kept.parse().map_err(|_| overflow())? };
    for _ in 0..shift.clamp(0, if value == 0 { 0 } else { 40 }) {
        value = value.checked_mul(10).ok_or_else(overflow)?;
    }
    if keep >= 0 && (keep as usize) < all.len() && all.as_bytes()[keep as usize] >= b'5' {
        value += 1;
    }
    let limit = 10i128.pow(u32::from(precision.unwrap_or(MAX_DECIMAL_PRECISION)));
    if value >= limit {
        return Err(overflow());
    }
    Ok(if negative { -value } else { value })
}

fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return if digits.len().is_multiple_of(2) { digits.chunks(2).map(pair).collect() } else { None };
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = tail;
        } else if let [b'\\', tail @ ..] = tail {
            bytes.push(b'\\');
            rest = tail;
        } else {
            let octal = std::str::from_utf8(tail.get(..3)?).ok()?;
            bytes.push(u8::from_str_radix(octal, 8).ok()?);
            rest = &tail[3..];
        }
    }
    Some(bytes)
}

/// Sixteen bytes in hexadecimal, between any of whose groups of four digits there may be a hyphen, and around which braces.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let groups = inner.split('-').all(|group| !group.is_empty() && group.len().is_multiple_of(4));
    let digits = inner.replace('-', "");
    (groups && digits.len() == 32).then(|| uuid::Uuid::try_parse(&digits).ok().map(uuid::Uuid::into_bytes))?
}

/// A text as a literal that reads the same whatever the settings.
pub fn quoted(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A UUID's text.
pub fn format_uuid(bytes: &[u8]) -> String {
    uuid::Uuid::from_slice(bytes).unwrap_or_default().hyphenated().to_string()
}

/// What is written after a time.
enum Offset {
    /// East of UTC.
    Seconds(i32),
    /// A zone, or what is taken for one.
    Named(String),
}

impl Offset {
    fn zone(self) -> Result<TimeZone> {
        match self {
            Offset::Seconds(seconds) => Ok(TimeZone::Fixed(seconds)),
            Offset::Named(name) => TimeZone::named(&name).map_err(|_| time_zone::unknown(&name.to_lowercase())),
        }
    }
}

/// A date and time as written: an offset is read and does not count.
fn local_time(text: &str, bad: impl Fn() -> Error) -> Result<i64> {
    let (local, offset) = parse_timestamp(text).ok_or_else(bad)?;
    offset.map_or(Ok(TimeZone::UTC), Offset::zone)?;
    Ok(local)
}

/// A date and time: microseconds as written, and the offset if it has one.
fn parse_timestamp(text: &str) -> Option<(i64, Option<Offset>)> {
    if text.eq_ignore_ascii_case("epoch") {
        return Some((0, Some(Offset::Seconds(0))));
    }
    let (date, rest) = numbered_date(text).or_else(|| worded_date(text))?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ":. ".contains(c))).unwrap_or(rest.len());
    let (time, after) = (rest[..end].trim(), &rest[end..]);
    let (half, after) = match after.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some(half @ ("am" | "pm")) if !after[2..].starts_with(char::is_alphabetic) => {
            (Some(half == "pm"), after[2..].trim_start())
        }
        _ => (None, after),
    };
    let offset = match after.as_bytes().first() {
        None => None,
        Some(b'+' | b'-') => Some(Offset::Seconds(parse_offset(after)?)),
        Some(_) => Some(Offset::Named(after.to_string())),
    };
    let mut micros = if time.is_empty() && half.is_none() { 0 } else { parse_time(time)? };
    if let Some(is_afternoon) = half {
        let noon = MICROS_PER_DAY / 2;
        if micros >= noon / 12 * 13 {
            return None;
        }
        micros = micros % noon + if is_afternoon { noon } else { 0 };
    }
    let midnight = date.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
    Some((midnight + micros, offset))
}

/// Whether the fields of a date or time are there, so that it must be their values that are wrong.
fn looks_like_time(text: &str) -> bool {
    let is_number = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    let is_day = |separator| {
        let fields: Vec<&str> = day.split(separator).collect();
        fields.len() == 3 && fields.iter().all(|field| is_number(field) || month(field).is_some())
    };
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let is_worded = words.len() == 3 && words.iter().filter(|word| is_number(word)).count() == 2;
    let clock: Vec<&str> = day.split([':', '.']).collect();
    is_day('-') || is_day('/') || (is_worded && words.iter().any(|word| month(word).is_some())) || {
        clock.len() > 1 && clock.iter().all(|field| is_number(field))
    }
}

/// The number of a month that is written by its name, or at least three letters of it.
fn month(name: &str) -> Option<u32> {
    let known = name.len() >= 3 && name.is_ascii();
    let found = MONTHS.iter().position(|month| known && month.starts_with(&name.to_ascii_lowercase()))?;
    u32::try_from(found + 1).ok()
}

/// A date as ISO 8601 has it, and what follows.
fn numbered_date(text: &str) -> Option<(NaiveDate, &str)> {
    let (date, rest) = match text.find(['T', ' ', 't', '+', 'Z', 'z']) {
        // An offset stays.
        Some(at) => (&text[..at], text[at..].trim_start_matches(['T', ' ', 't']).trim_end()),
        None => (text, ""),
    };
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").or_else(|_| NaiveDate::parse_from_str(date, "%Y%m%d"));
    Some((date.ok()?, rest))
}

/// A date with the name of its month (`Jan 5, 2020`, `5 January 2020`, `2020-Jan-05`), or as `DateStyle` `MDY` has it (`1/5/2020`).
fn worded_date(text: &str) -> Option<(NaiveDate, &str)> {
    let mut rest = text;
    let mut parts = Vec::new();
    while parts.len() < 3 {
        let is_word = rest.starts_with(|first: char| first.is_ascii_alphabetic());
        let end = rest.find(|c: char| !(if is_word { c.is_ascii_alphabetic() } else { c.is_ascii_digit() }));
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        let separators = if parts.len() < 3 { &[' ', ',', '-', '/'][..] } else { &[' ', 'T', ','][..] };
        rest = after.trim_start_matches(separators);
    }
    let (year, month, day) = match parts[..] {
        [name, day, year] if let Some(month) = month(name) => (year, month, day),
        [year, name, day] if let Some(month) = month(name).filter(|_| year.len() > 2) => (year, month, day),
        [day, name, year] if let Some(month) = month(name) => (year, month, day),
        [month, day, year] if text.contains('/') => (year, month.parse().ok()?, day),
        _ => return None,
    };
    let year = year.parse().ok().filter(|_| year.len() > 2)?;
    Some((NaiveDate::from_ymd_opt(year, month, day.parse().ok()?)?, rest))
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn parse_offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].chars().filter(|&c| c != ':').collect();
    let part = |from: usize| digits.get(from..from + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    let known_length = digits.len().is_multiple_of(2) && (2..=6).contains(&digits.len());
    if !known_length || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * (part(0)? * 3600 + part(2)? * 60 + part(4)?))
}

/// A time without the offset of a zone, which a `TIME` does not have and PostgreSQL reads past.
fn without_offset(text: &str) -> &str {
    match text.find(['+', '-', 'Z', 'z']) {
        Some(at) if at > 0 && (text[at..].eq_ignore_ascii_case("z") || parse_offset(&text[at..]).is_some()) => {
            text[..at].trim_end()
        }
        _ => text,
    }
}

fn parse_time(text: &str) -> Option<i64> {
    if text == "24:00:00" {
        return Some(MICROS_PER_DAY);
    }
    let (text, half) = match text.len().checked_sub(2).and_then(|at| text.split_at_checked(at)) {
        Some((clock, half)) if half.eq_ignore_ascii_case("am") => (clock.trim_end(), Some(false)),
        Some((clock, half)) if half.eq_ignore_ascii_case("pm") => (clock.trim_end(), Some(true)),
        _ => (text, None),
    };
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    let time = formats.iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())?;
    let rounded_micros = (i64::from(time.nanosecond()) + 500) / 1_000;
    let micros = i64::from(time.num_seconds_from_midnight()) * MICROS_PER_SECOND + rounded_micros;
    let noon = MICROS_PER_DAY / 2;
    match half {
        None => Some(micros),
        // From 1 to 12.
        Some(_) if time.hour() > 12 => None,
        Some(is_afternoon) => Some(micros % noon + if is_afternoon { noon } else { 0 }),
    }
}

/// Years and months as the standard has them, `1-2`.
fn years_and_months(text: &str) -> Option<i32> {
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (years, months) = plain.split_once('-')?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i32>().ok())?;
    let months = number(months).filter(|months| *months < 12)?;
    number(years)?.checked_mul(12)?.checked_add(months).map(|months| months * sign)
}

/// PostgreSQL's (`1 year 2 days 03:04:05.6`, `-10s`) and ISO 8601's (`P1DT2H`) spellings.
pub fn parse_interval(text: &str) -> Option<Interval> {
    if let Some(iso) = text.strip_prefix('P') {
        return parse_iso_interval(iso);
    }
    if let Some(months) = years_and_months(text) {
        return Some(Interval { months, ..Interval::default() });
    }
    let mut interval = Interval::default();
    let (text, ago) = text.strip_suffix("ago").map_or((text, false), |rest| (rest.trim(), true));
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || "+-.:".contains(c))).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.contains(':') {
            interval.micros = interval.micros.checked_add(parse_clock(number)?)?;
            rest = after.trim_start();
            continue;
        }
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = &after[..unit_end];
        add_to_interval(&mut interval, number, if unit.is_empty() { "second" } else { unit })?;
        rest = after[unit_end..].trim_start();
    }
    Some(if ago {
        Interval { months: -interval.months, days: -interval.days, micros: -interval.micros }
    } else {
        interval
    })
}

/// `[-]h:m[:s[.f]]`
fn parse_clock(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |seconds| seconds.parse().ok())?;
    if parts.next().is_some() || minutes > 59 || seconds >= 60.0 {
        return None;
    }
    let micros = (seconds * MICROS_PER_SECOND as f64).round() as i64;
    hours
        .checked_mul(3600)?
        .checked_add(minutes * 60)?
        .checked_mul(MICROS_PER_SECOND)?
        .checked_add(micros)
        .map(|t| sign * t)
}

fn add_to_interval(interval: &mut Interval, number: &str, unit: &str) -> Option<()> {
    let value: f64 = number.parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let micros_per = |seconds: f64| (value * seconds * MICROS_PER_SECOND as f64).round() as i64;
    let add_days = |interval: &mut Interval, days: f64| {
        interval.days = interval.days.checked_add(days.trunc() as i32)?;
        interval.micros = interval.micros.checked_add((days.fract() * MICROS_PER_DAY as f64).round() as i64)?;
        Some(())
    };
    let add_months = |interval: &mut Interval, months: f64| {
        interval.months = interval.months.checked_add(months.trunc() as i32)?;
        add_days(interval, months.fract() * 30.0)
    };
    match unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(&unit) {
        "y" | "yr" | "year" => add_months(interval, value * 12.0),
        "mon" | "month" => add_months(interval, value),
        "w" | "week" => add_days(interval, value * 7.0),
        "d" | "day" => add_days(interval, value),
        "h" | "hr" | "hour" => interval.micros.checked_add(micros_per(3600.0)).map(|micros| interval.micros = micros),
        "m" | "min" | "minute" => interval.micros.checked_add(micros_per(60.0)).map(|micros| interval.micros = micros),
        "s" | "sec" | "second" => interval.micros.checked_add(micros_per(1.0)).map(|micros| interval.micros = micros),
        "ms" | "millisecond" | "msec" => {
            interval.micros.checked_add(micros_per(1e-3)).map(|micros| interval.micros = micros)
        }
        "us" | "microsecond" | "usec" => {
            interval.micros.checked_add(micros_per(1e-6)).map(|micros| interval.micros = micros)
        }
        _ => None,
    }
}

fn parse_iso_interval(text: &str) -> Option<Interval> {
    let mut interval = Interval::default();
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    for (part, units) in [
        (date, [('Y', "year"), ('M', "month"), ('W', "week"), ('D', "day")].as_slice()),
        (time, [('H', "hour"), ('M', "minute"), ('S', "second")].as_slice()),
    ] {
        let mut rest = part;
        while let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) {
            let letter = rest[end..].chars().next()?;
            let unit = units.iter().find(|(known, _)| *known == letter)?.1;
            add_to_interval(&mut interval, &rest[..end], unit)?;
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(interval)
}

/// `{a,"b c",NULL}`. The outer `None` is a malformed array, the inner error a bad element.
fn parse_array(text: &str, element: &ColumnType, zone: TimeZone) -> Option<Result<Vec<Datum<'static>>>> {
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut items = Vec::new();
    if rest.is_empty() {
        return Some(Ok(items));
    }
    loop {
        let (item, quoted, after) = take_array_item(rest)?;
        let datum = match !quoted && item.eq_ignore_ascii_case("null") {
            true => Ok(Datum::Null),
            false => parse(&item, element, zone),
        };
        match datum {
            Ok(datum) => items.push(datum),
            Err(error) => return Some(Err(error)),
        }
        match after.trim_start() {
            "" => return Some(Ok(items)),
            more => rest = more.strip_prefix(',')?.trim_start(),
        }
    }
}

fn take_array_item(rest: &str) -> Option<(String, bool, &str)> {
    let mut item = String::new();
    if let Some(quoted) = rest.strip_prefix('"') {
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((item, true, &quoted[at + 1..])),
                '\\' => item.push(chars.next()?.1),
                _ => item.push(c),
            }
        }
        return None;
    }
    let end = rest.find(',').unwrap_or(rest.len());
    let plain = rest[..end].trim();
    if plain.is_empty() || plain.contains(['{', '}', '"']) {
        return None;
    }
    item.push_str(plain);
    Some((item, false, &rest[end..]))
}

/// Appends a value as text, instants as clocks in `zone` show them. NULL appends nothing: who writes it decides how it looks.
pub fn format(out: &mut String, datum: &Datum<'_>, column_type: &ColumnType, zone: TimeZone) {
    // Writing to a string cannot fail.
    let _ = write_datum(out, datum, column_type, zone);
}

fn write_datum(out: &mut String, datum: &Datum<'_>, column_type: &ColumnType, zone: TimeZone) -> std::fmt::Result {
    match (datum, column_type) {
        (Datum::Null, _) => Ok(()),
        (Datum::Bool(value), _) => out.write_char(if *value { 't' } else { 'f' }),
        (Datum::Int(value), ColumnType::Date) => write_date(out, *value),
        (Datum::Int(value), ColumnType::Time) => write_time(out, *value),
        (Datum::Int(value), ColumnType::Timestamp) => write_timestamp(out, *value),
        (Datum::Int(value), ColumnType::TimestampTz) => {
            let offset = zone.offset_at(*value);
            write_timestamp(out, value.saturating_add(i64::from(offset) * MICROS_PER_SECOND))?;
            time_zone::write_offset(out, offset);
            Ok(())
        }
        (Datum::Int(value), ColumnType::Enum(made)) => out.write_str(made.label(*value).unwrap_or("???")),
        (Datum::Int(value), _) => write!(out, "{value}"),
        (Datum::Float(value), ColumnType::Float4) => {
            write_float(out, *value, format!("{:e}", *value as f32), REAL_DIGITS)
        }
        (Datum::Float(value), _) => write_float(out, *value, format!("{value:e}"), DOUBLE_DIGITS),
        (Datum::Decimal(value), ColumnType::Decimal { precision, scale }) => {
            write_decimal(out, *value, *scale, precision.is_none())
        }
        (Datum::Decimal(value), _) => write!(out, "{value}"),
        (Datum::Text(text), ColumnType::Char(length)) => {
            out.write_str(text)?;
            let padding = (*length as usize).saturating_sub(text.chars().count());
            out.write_str(&" ".repeat(padding))
        }
        (Datum::Text(text), _) => out.write_str(text),
        (Datum::Bytes(bytes), ColumnType::Uuid) => out.write_str(&format_uuid(bytes)),
        (Datum::Bytes(bytes), _) => {
            out.write_str("\\x")?;
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
        (Datum::Interval(interval), _) => write_interval(out, *interval),
        (Datum::Array(items), column_type) => {
            let element = if let ColumnType::Array(element) = column_type { element } else { &ColumnType::Text };
            write_array(out, items, element, zone)
        }
    }
}

/// Shortest digits that read back the same, as PostgreSQL prints floats: an exponent below 1e-4 and from 1e15 on.
/// Digits that every number of the type keeps (`FLT_DIG` and `DBL_DIG` of C): larger ones are written with an exponent.
const REAL_DIGITS: i32 = 6;
const DOUBLE_DIGITS: i32 = 15;

fn write_float(out: &mut String, value: f64, scientific: String, digits_kept: i32) -> std::fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    } else if value.is_infinite() {
        return out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..digits_kept).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{digits}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let plain: String = digits.chars().filter(|&c| c != '.').collect();
    out.write_str(sign)?;
    if exponent < 0 {
        return write!(out, "0.{}{plain}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if plain.len() <= whole {
        return write!(out, "{plain}{}", "0".repeat(whole - plain.len()));
    }
    write!(out, "{}.{}", &plain[..whole], &plain[whole..])
}

fn write_decimal(out: &mut String, value: i128, scale: u8, trim: bool) -> std::fmt::Result {
    let divisor = 10u128.pow(u32::from(scale));
    let magnitude = value.unsigned_abs();
    if value < 0 {
        out.write_char('-')?;
    }
    write!(out, "{}", magnitude / divisor)?;
    if scale > 0 {
        let fraction = format!("{:0width$}", magnitude % divisor, width = usize::from(scale));
        let shown = if trim { fraction.trim_end_matches('0') } else { &fraction };
        if !shown.is_empty() {
            write!(out, ".{shown}")?;
        }
    }
    Ok(())
}

fn write_date(out: &mut String, days: i64) -> std::fmt::Result {
    match days.checked_mul(MICROS_PER_DAY).and_then(DateTime::from_timestamp_micros) {
        Some(date) => write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        None => write!(out, "{days} days"),
    }
}

fn write_time(out: &mut String, micros: i64) -> std::fmt::Result {
    let seconds = micros / MICROS_PER_SECOND;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    write_fraction(out, micros % MICROS_PER_SECOND)
}

fn write_fraction(out: &mut String, micros: i64) -> std::fmt::Result {
    if micros == 0 { Ok(()) } else { write!(out, ".{}", format!("{micros:06}").trim_end_matches('0')) }
}

fn write_timestamp(out: &mut String, micros: i64) -> std::fmt::Result {
    let Some(time) = DateTime::from_timestamp_micros(micros) else { return write!(out, "{micros} microseconds") };
    let time: NaiveDateTime = time.naive_utc();
    write!(out, "{:04}-{:02}-{:02} ", time.year(), time.month(), time.day())?;
    write_time(out, micros.rem_euclid(MICROS_PER_DAY))
}

/// An interval as `IntervalStyle = iso_8601` has it: `P1Y2M3DT4H5M6.7S`.
pub fn format_iso_interval(out: &mut String, interval: Interval) {
    let date = [(interval.months / 12, 'Y'), (interval.months % 12, 'M'), (interval.days, 'D')];
    let (minutes, micros) = (interval.micros / (60 * MICROS_PER_SECOND), interval.micros % (60 * MICROS_PER_SECOND));
    out.push('P');
    for (value, unit) in date.into_iter().filter(|(value, _)| *value != 0) {
        out.push_str(&format!("{value}{unit}"));
    }
    if interval.micros == 0 {
        out.push_str(if date.iter().all(|(value, _)| *value == 0) { "T0S" } else { "" });
        return;
    }
    out.push('T');
    for (value, unit) in [(minutes / 60, 'H'), (minutes % 60, 'M')].into_iter().filter(|(value, _)| *value != 0) {
        out.push_str(&format!("{value}{unit}"));
    }
    if micros != 0 {
        out.push_str(&format!("{}{}", if micros < 0 { "-" } else { "" }, micros.abs() / MICROS_PER_SECOND));
        // Writing to a string cannot fail.
        let _ = write_fraction(out, micros.abs() % MICROS_PER_SECOND);
        out.push('S');
    }
}

fn write_interval(out: &mut String, interval: Interval) -> std::fmt::Result {
    let start = out.len();
    // After a part that is negative, a positive one says so.
    let mut after_negative = false;
    for (value, unit) in [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() == start { "" } else { " " };
        let sign = if after_negative && value > 0 { "+" } else { "" };
        write!(out, "{space}{sign}{value} {unit}{}", if value == 1 { "" } else { "s" })?;
        after_negative = value < 0;
    }
    if interval.micros != 0 || out.len() == start {
        if out.len() > start {
            out.write_char(' ')?;
        }
        if interval.micros < 0 {
            out.write_char('-')?;
        } else if after_negative {
            out.write_char('+')?;
        }
        write_time(out, interval.micros.saturating_abs())?;
    }
    Ok(())
}

fn write_array(out: &mut String, items: &[Datum<'_>], element: &ColumnType, zone: TimeZone) -> std::fmt::Result {
    out.write_char('{')?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        if item.is_null() {
            out.write_str("NULL")?;
            continue;
        }
        let mut text = String::new();
        write_datum(&mut text, item, element, zone)?;
        let special = |c: char| c.is_whitespace() || "{}\",\\".contains(c);
        if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
            write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))?;
        } else {
            out.write_str(&text)?;
        }
    }
    out.write_char('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, column_type: &ColumnType) -> String {
        let mut out = String::new();
        let datum = parse(text, column_type, TimeZone::UTC).unwrap_or_else(|error| panic!("{text}: {error}"));
        format(&mut out, &datum, column_type, TimeZone::UTC);
        out
    }

    #[test]
    fn values_print_as_postgres_prints_them() {
        let money = ColumnType::Decimal { precision: Some(10), scale: 2 };
        let ints = ColumnType::Array(Box::new(ColumnType::Int8));
        let texts = ColumnType::Array(Box::new(ColumnType::Text));
        let cases = [
            ("yes", &ColumnType::Bool, "t"),
            (" 42 ", &ColumnType::Int4, "42"),
            ("1.5", &ColumnType::Float8, "1.5"),
            ("100000", &ColumnType::Float8, "100000"),
            ("1e20", &ColumnType::Float8, "1e+20"),
            ("0.00001", &ColumnType::Float8, "1e-05"),
            ("0.1", &ColumnType::Float4, "0.1"),
            ("-0.5", &ColumnType::Float8, "-0.5"),
            ("nan", &ColumnType::Float8, "NaN"),
            ("1.005", &money, "1.01"),
            ("-1.005", &money, "-1.01"),
            ("12", &money, "12.00"),
            ("1e3", &ColumnType::DECIMAL, "1000"),
            ("1.50", &ColumnType::DECIMAL, "1.5"),
            ("0", &ColumnType::DECIMAL, "0"),
            ("abc  ", &ColumnType::Char(5), "abc  "),
            ("\\x00FF", &ColumnType::Bytes, "\\x00ff"),
            ("a\\001", &ColumnType::Bytes, "\\x6101"),
            ("2024-02-29", &ColumnType::Date, "2024-02-29"),
            ("12:34:56.700", &ColumnType::Time, "12:34:56.7"),
            ("2024-02-29T12:00:00.000001", &ColumnType::Timestamp, "2024-02-29 12:00:00.000001"),
            ("2024-02-29 12:00:00+05:30", &ColumnType::TimestampTz, "2024-02-29 06:30:00+00"),
            ("1 year 2 mons 3 days 04:05:06.7", &ColumnType::Interval, "1 year 2 mons 3 days 04:05:06.7"),
            ("-10s", &ColumnType::Interval, "-00:00:10"),
            ("P1DT2H", &ColumnType::Interval, "1 day 02:00:00"),
            (
                "{\"b\":[1, 2],\"aa\":null,\"a\":\"x\"}",
                &ColumnType::Json,
                "{\"a\": \"x\", \"b\": [1, 2], \"aa\": null}",
            ),
            ("{1, NULL,3}", &ints, "{1,NULL,3}"),
            ("{\"a b\",c,\"NULL\",\"\"}", &texts, "{\"a b\",c,\"NULL\",\"\"}"),
        ];
        for (text, column_type, expected) in cases {
            assert_eq!(round_trip(text, column_type), expected, "{text} as {column_type}");
        }
        let uuid = "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert_eq!(round_trip(uuid, &ColumnType::Uuid), uuid.to_lowercase());
    }

    #[test]
    fn bad_input_names_the_value_and_the_type() {
        let fail = |text: &str, column_type: &ColumnType| parse(text, column_type, TimeZone::UTC).expect_err(text);
        let error = fail("abc", &ColumnType::Int4);
        assert_eq!(
            (error.sqlstate, error.message.as_str()),
            ("22P02", "invalid input syntax for type integer: \"abc\"")
        );
        assert_eq!(fail("99999", &ColumnType::Int2).sqlstate, "22003");
        assert_eq!(fail("99999999999999999999", &ColumnType::Int8).sqlstate, "22003");
        assert_eq!(fail("2024-02-30", &ColumnType::Date).sqlstate, "22008");
        assert_eq!(fail("2024-02-x", &ColumnType::Date).sqlstate, "22007");
        assert_eq!(fail("abcdef", &ColumnType::VarChar(Some(3))).sqlstate, "22001");
        assert_eq!(fail("123", &ColumnType::Decimal { precision: Some(2), scale: 0 }).sqlstate, "22003");
        assert_eq!(fail("{1,x}", &ColumnType::Array(Box::new(ColumnType::Int8))).sqlstate, "22P02");
        for text in ["", "{", "1 fortnight", "1:2:3:4", "{\"", "\\x0", "\\9"] {
            for column_type in [ColumnType::Interval, ColumnType::Json, ColumnType::Uuid, ColumnType::TimestampTz] {
                assert!(parse(text, &column_type, TimeZone::UTC).is_err(), "{text:?} as {column_type}");
            }
        }
    }
}
