//! `to_char` of dates, times and intervals, after <https://www.postgresql.org/docs/15/functions-formatting.html>, with English names.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

use super::super::error::{Error, Result, code};
use super::super::time_zone::TimeZone;
use super::row_function::Argument;
use crate::catalog::{ColumnType, Datum, Interval};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// How long the longest name of a month or day is.
const NAME_WIDTH: usize = 9;
/// The day number of 1970-01-01 among those since 4714-11-24 before Christ.
const JULIAN_EPOCH: i64 = 2_440_588;
const DAYS_PER_MONTH: i64 = 30;

/// Patterns, those first that begin like others and are longer.
const PATTERNS: [&str; 67] = [
    "SSSSS", "SSSS", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I", "HH24", "HH12",
    "HH", "MI", "MS", "MM", "MONTH", "Month", "month", "MON", "Mon", "mon", "SS", "US", "FF1", "FF2", "FF3", "FF4",
    "FF5", "FF6", "A.M.", "P.M.", "a.m.", "p.m.", "AM", "PM", "am", "pm", "A.D.", "B.C.", "a.d.", "b.c.", "AD", "BC",
    "ad", "bc", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy", "D", "WW", "W", "CC", "J", "Q", "RM", "TZH", "TZM",
];
/// Those of zones and numbers that the table above has no room to tell by case.
const MORE_PATTERNS: [&str; 4] = ["TZ", "tz", "OF", "rm"];

/// What is shown: a time of a calendar, or an interval, which is of none.
enum Shown {
    Time { local: NaiveDateTime, zone: Option<(TimeZone, i64)> },
    Interval(Interval),
}

/// The value, as a pattern says.
pub fn formatted(value: &Argument<'_>, pattern: &str) -> Result<Datum<'static>> {
    let time = |micros: i64| DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc());
    let out_of_range = || Error::new(code::DATETIME_OVERFLOW, "timestamp out of range");
    let shown = match (value.column_type, &value.datum) {
        (ColumnType::Interval, Datum::Interval(interval)) => Shown::Interval(*interval),
        (ColumnType::Time, Datum::Int(micros)) => Shown::Interval(Interval { months: 0, days: 0, micros: *micros }),
        (ColumnType::TimestampTz, Datum::Int(instant)) => Shown::Time {
            local: time(value.zone.local(*instant)).ok_or_else(out_of_range)?,
            zone: Some((value.zone, *instant)),
        },
        (ColumnType::Date | ColumnType::Timestamp, _) => {
            Shown::Time { local: time(value.local_micros()?).ok_or_else(out_of_range)?, zone: None }
        }
        (other, _) => {
            let message = format!("function to_char({}, text) does not exist", super::super::types::pg_name(other));
            return Err(Error::new(code::UNDEFINED_FUNCTION, message));
        }
    };
    if pattern.is_empty() {
        return Ok(Datum::Null);
    }
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = quoted(&rest[1..], &mut out);
            continue;
        }
        if let Some(escaped) = rest.strip_prefix("\\\"") {
            out.push('"');
            rest = escaped;
            continue;
        }
        let (after, fills, translates) = prefixes(rest);
        match pattern_at(after) {
            Some(found) => {
                let start = out.len();
                shown.push(&mut out, found, Fill(!fills && !translates))?;
                rest = &after[found.len()..];
                if let Some(more) = ["TH", "th"].iter().find_map(|suffix| rest.strip_prefix(suffix)) {
                    let ending = ordinal(&out[start..]);
                    out.push_str(&if rest.starts_with("TH") { ending.to_uppercase() } else { ending.into() });
                    rest = more;
                }
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Ok(out.into())
}

/// Text between quotes, up to the second one.
fn quoted<'a>(text: &'a str, out: &mut String) -> &'a str {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return &text[at + 1..],
            '\\' => out.extend(letters.next().map(|(_, escaped)| escaped)),
            other => out.push(other),
        }
    }
    ""
}

/// What follows `FM` and `TM`, and whether they are there.
fn prefixes(text: &str) -> (&str, bool, bool) {
    let without = |text| ["FM", "fm"].iter().find_map(|prefix| str::strip_prefix(text, prefix));
    match (without(text), text.strip_prefix("TM")) {
        (Some(rest), _) if pattern_at(rest).is_some() => (rest, true, false),
        (Some(rest), _) if rest.starts_with("TM") && pattern_at(&rest[2..]).is_some() => (&rest[2..], true, true),
        (_, Some(rest)) if pattern_at(rest).is_some() => (rest, false, true),
        _ => (text, false, false),
    }
}

/// The pattern that a text begins with. Numbers may be written in small letters.
fn pattern_at(text: &str) -> Option<&'static str> {
    let cased = MORE_PATTERNS.iter().chain(&PATTERNS).filter(|pattern| text.starts_with(**pattern));
    let begins = |pattern: &str| text.get(..pattern.len()).is_some_and(|start| start == pattern.to_ascii_lowercase());
    let is_number = |pattern: &str| {
        !["M", "D", "A", "P", "B", "T", "R"].contains(&&pattern[..1]) || {
            ["MI", "MS", "MM", "DDD", "DD", "D"].contains(&pattern)
        }
    };
    let small = PATTERNS.iter().filter(|pattern| is_number(pattern) && begins(pattern));
    cased.chain(small).max_by_key(|pattern| pattern.len()).copied()
}

/// Whether blanks and zeros fill what is shorter than it may be.
#[derive(Clone, Copy)]
struct Fill(bool);

impl Fill {
    fn number(self, value: i64, width: usize) -> String {
        let width = if self.0 { width + usize::from(value < 0) } else { 0 };
        format!("{value:0width$}")
    }

    fn name(self, name: &str) -> String {
        if self.0 { format!("{name:NAME_WIDTH$}") } else { name.to_string() }
    }
}

impl Shown {
    fn push(&self, out: &mut String, pattern: &str, fill: Fill) -> Result<()> {
        let day_micros = match self {
            Shown::Time { local, .. } => {
                i64::from(local.num_seconds_from_midnight()) * MICROS_PER_SECOND + i64::from(local.nanosecond() / 1_000)
            }
            Shown::Interval(interval) => interval.micros,
        };
        let seconds = day_micros / MICROS_PER_SECOND;
        let (hours, minutes, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let micros = day_micros % MICROS_PER_SECOND;
        let half = |of_noon: &str, before: &str| {
            if hours.rem_euclid(24) >= 12 { of_noon.to_string() } else { before.to_string() }
        };
        let upper = pattern.to_ascii_uppercase();
        let text = match upper.as_str() {
            "HH" | "HH12" => fill.number(if hours % 12 == 0 { 12 } else { hours % 12 }, 2),
            "HH24" => fill.number(hours, 2),
            "MI" => fill.number(minutes, 2),
            "SS" => fill.number(second, 2),
            "SSSS" | "SSSSS" => seconds.to_string(),
            "MS" | "FF3" => format!("{:03}", micros / 1_000),
            "US" | "FF6" => format!("{micros:06}"),
            "FF1" => (micros / 100_000).to_string(),
            "FF2" => format!("{:02}", micros / 10_000),
            "FF4" => format!("{:04}", micros / 100),
            "FF5" => format!("{:05}", micros / 10),
            "AM" | "PM" => cased(pattern, &half("PM", "AM")),
            "A.M." | "P.M." => cased(pattern, &half("P.M.", "A.M.")),
            _ => match self {
                Shown::Time { local, zone } => of_calendar(pattern, &upper, *local, *zone, fill)?,
                Shown::Interval(interval) => of_interval(&upper, *interval, fill)?,
            },
        };
        out.push_str(&text);
        Ok(())
    }
}

/// A word in the case of its pattern.
fn cased(pattern: &str, word: &str) -> String {
    let mut letters = pattern.chars().filter(char::is_ascii_alphabetic);
    match (letters.next(), letters.next()) {
        (Some(first), _) if first.is_ascii_lowercase() => word.to_lowercase(),
        (_, Some(second)) if second.is_ascii_lowercase() => word.to_string(),
        _ => word.to_uppercase(),
    }
}

fn of_calendar(
    pattern: &str,
    upper: &str,
    local: NaiveDateTime,
    zone: Option<(TimeZone, i64)>,
    fill: Fill,
) -> Result<String> {
    let (year, week) = (i64::from(local.year()), local.iso_week());
    let iso_year = i64::from(week.year());
    let day_of_year = i64::from(local.ordinal());
    let weekday = local.weekday().num_days_from_sunday() as usize;
    let month = local.month0() as usize;
    let offset = zone.map_or(0, |(zone, instant)| zone.offset_at(instant));
    Ok(match upper {
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "YYYY" => fill.number(year, 4),
        "YYY" => fill.number(year % 1000, 3),
        "YY" => fill.number(year % 100, 2),
        "Y" => fill.number(year % 10, 1),
        "IYYY" => fill.number(iso_year, 4),
        "IYY" => fill.number(iso_year % 1000, 3),
        "IY" => fill.number(iso_year % 100, 2),
        "I" => fill.number(iso_year % 10, 1),
        "AD" | "BC" => cased(pattern, "AD"),
        "A.D." | "B.C." => cased(pattern, "A.D."),
        "MONTH" => fill.name(&cased(pattern, MONTHS[month])),
        "MON" => cased(pattern, &MONTHS[month][..3]),
        "MM" => fill.number(month as i64 + 1, 2),
        "DAY" => fill.name(&cased(pattern, DAYS[weekday])),
        "DY" => cased(pattern, &DAYS[weekday][..3]),
        "DDD" => fill.number(day_of_year, 3),
        "IDDD" => fill.number((i64::from(week.week()) - 1) * 7 + iso_day(weekday), 3),
        "DD" => fill.number(local.day().into(), 2),
        "D" => (weekday + 1).to_string(),
        "ID" => iso_day(weekday).to_string(),
        "W" => ((local.day() - 1) / 7 + 1).to_string(),
        "WW" => fill.number((day_of_year - 1) / 7 + 1, 2),
        "IW" => fill.number(week.week().into(), 2),
        "CC" => fill.number((year - 1) / 100 + 1, 2),
        "J" => (local.and_utc().timestamp().div_euclid(86_400) + JULIAN_EPOCH).to_string(),
        "Q" => (month / 3 + 1).to_string(),
        "RM" => {
            let roman = cased(pattern, ROMAN[month]);
            if fill.0 { format!("{roman:4}") } else { roman }
        }
        "TZ" => zone.map_or(String::new(), |(zone, instant)| cased(pattern, &zone.abbreviation_at(instant))),
        "TZH" => format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600),
        "TZM" => format!("{:02}", offset.abs() / 60 % 60),
        "OF" => {
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
            if minutes == 0 { format!("{sign}{hours:02}") } else { format!("{sign}{hours:02}:{minutes:02}") }
        }
        other => return Err(Error::unsupported(format!("\"{other}\" in a pattern of to_char"))),
    })
}

/// Monday is 1, Sunday 7.
fn iso_day(weekday: usize) -> i64 {
    if weekday == 0 { 7 } else { weekday as i64 }
}

fn of_interval(upper: &str, interval: Interval, fill: Fill) -> Result<String> {
    let (months, days) = (i64::from(interval.months), i64::from(interval.days));
    let (year, month) = (months / 12, months % 12);
    Ok(match upper {
        "YYYY" | "IYYY" => fill.number(year, 4),
        "YYY" | "IYY" => fill.number(year % 1000, 3),
        "YY" | "IY" => fill.number(year % 100, 2),
        "Y" | "I" => fill.number(year % 10, 1),
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "MM" => fill.number(month, 2),
        "DD" => fill.number(days, 2),
        "DDD" => fill.number(months * DAYS_PER_MONTH + days, 3),
        "CC" => fill.number(year / 100, 2),
        _ => {
            let message = "invalid format specification for an interval value";
            return Err(
                Error::new(code::BAD_DATETIME, message).hint("Intervals are not tied to specific calendar dates.")
            );
        }
    })
}

/// What follows a number to say which one it is.
fn ordinal(number: &str) -> &'static str {
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).collect();
    let teens = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    match digits.last() {
        Some(b'1') if !teens => "st",
        Some(b'2') if !teens => "nd",
        Some(b'3') if !teens => "rd",
        _ => "th",
    }
}
