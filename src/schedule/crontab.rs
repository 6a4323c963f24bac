//! When a schedule runs: a crontab in UTC.
//!
//! Five fields (minute, hour, day of the month, month, day of the week), each a list of `*`, values and ranges, the last two
//! with steps; months and days of the week also by name, Sunday as 0 and as 7. Or one of `@hourly @daily @midnight @weekly
//! @monthly @yearly @annually`. If both kinds of days are restricted, either one will do, as in Vixie cron. `croner` finds the
//! times; what it would take beyond that (seconds, years, `L`, `W`, `#`, `?`, `+`) is refused here.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::time::Timestamp;

/// How often a schedule runs at most is judged by its next so many runs.
const SAMPLED_RUNS: usize = 64;

const ALIASES: [(&str, &str); 7] = [
    ("@annually", "0 0 1 1 *"),
    ("@daily", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@midnight", "0 0 * * *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@yearly", "0 0 1 1 *"),
];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Names of its values, the first being that of `least`.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 7, names: &DAYS },
];

/// A crontab that has a next time.
#[derive(Clone)]
pub struct Crontab {
    text: String,
    cron: Cron,
}

impl Crontab {
    /// Reads one; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Crontab, String> {
        let trimmed = text.trim();
        let plain = match trimmed.strip_prefix('@') {
            Some(_) => {
                let lower = trimmed.to_ascii_lowercase();
                let known = ALIASES.iter().find(|(alias, _)| *alias == lower);
                known
                    .ok_or_else(|| {
                        format!("\"{trimmed}\" is not one of {}", ALIASES.map(|(alias, _)| alias).join(" "))
                    })?
                    .1
                    .into()
            }
            None => numeric(trimmed)?,
        };
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&plain).map_err(|error| error.to_string())?;
        let crontab = Crontab { text: trimmed.into(), cron };
        // Leap days come eight years apart at the most.
        match crontab.next_after(Timestamp::MIN) {
            Some(_) => Ok(crontab),
            None => Err("there is no such day".into()),
        }
    }

    /// The first time after `time`; `None` if there is none that a timestamp can hold.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let whole_second = DateTime::<Utc>::from_timestamp(time.0.div_euclid(1_000_000_000), 0)?;
        self.cron.find_next_occurrence(&whole_second, false).ok().and_then(timestamp)
    }

    /// The last time at or before `time`.
    pub fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        let whole_second = DateTime::<Utc>::from_timestamp(time.0.div_euclid(1_000_000_000), 0)?;
        self.cron.find_previous_occurrence(&whole_second, true).ok().and_then(timestamp)
    }

    /// The shortest time between two of the next runs after `time`.
    pub fn period(&self, time: Timestamp) -> Duration {
        let (mut shortest, mut at) = (Duration::MAX, None);
        for _ in 0..SAMPLED_RUNS {
            let Some(next) = self.next_after(at.unwrap_or(time)) else { break };
            if let Some(at) = at.replace(next) {
                shortest = shortest.min(Duration::from_nanos((next.0 - at.0).max(0) as u64));
            }
        }
        shortest
    }
}

fn timestamp(time: DateTime<Utc>) -> Option<Timestamp> {
    time.timestamp_nanos_opt().map(Timestamp)
}

/// The same crontab with numbers in the place of names.
fn numeric(text: &str) -> Result<String, String> {
    let given: Vec<&str> = text.split_whitespace().collect();
    if given.len() != FIELDS.len() {
        let names = FIELDS.map(|field| field.name).join(", ");
        return Err(format!("it has {} fields, not five: {names}", given.len()));
    }
    let fields = FIELDS.iter().zip(given).map(|(field, text)| field.numeric(text));
    Ok(fields.collect::<Result<Vec<_>, _>>()?.join(" "))
}

impl Field {
    fn numeric(&self, text: &str) -> Result<String, String> {
        let items = text.split(',').map(|item| self.item(item)).collect::<Result<Vec<_>, _>>()?;
        // A field that has every value restricts nothing, which matters for the two kinds of days.
        if items.iter().any(|item| item == "*") { Ok("*".into()) } else { Ok(items.join(",")) }
    }

    /// `*`, `a`, `a-b`, `*/step`, `a-b/step`
    fn item(&self, item: &str) -> Result<String, String> {
        let bad = || format!("\"{item}\" is no {}", self.name);
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let numbers = match range.split_once('-') {
            _ if range == "*" => "*".into(),
            Some((first, last)) => {
                let (first, last) = (self.value(first).ok_or_else(bad)?, self.value(last).ok_or_else(bad)?);
                // A range may end with Sunday by its name.
                let last = if last == 0 && first > 0 && self.most == 7 { 7 } else { last };
                if first > last {
                    return Err(format!("{}, as it ends before it begins", bad()));
                }
                format!("{first}-{last}")
            }
            None if step.is_some() => return Err(format!("{}: a step goes with * or a range", bad())),
            None => self.value(range).ok_or_else(bad)?.to_string(),
        };
        let Some(step) = step else { return Ok(numbers) };
        let is_step = step.bytes().all(|byte| byte.is_ascii_digit());
        match step.parse::<u32>() {
            Ok(1) if numbers == "*" => Ok(numbers),
            Ok(step @ 1..) if is_step && step <= self.most => Ok(format!("{numbers}/{step}")),
            _ => Err(format!("{}: the step is none from 1 to {}", bad(), self.most)),
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        let lower = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == lower) {
            return Some(self.least + at as u32);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten()?;
        (self.least..=self.most).contains(&number).then_some(number)
    }
}

impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Crontab {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(time: Timestamp) -> String {
        time.to_utc().format("%Y-%m-%d %H:%M").to_string()
    }

    fn at(text: &str) -> Timestamp {
        let parsed = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
        timestamp(parsed.and_utc()).unwrap()
    }

    /// `crontabs.txt` was made with another implementation; its first line says with which.
    #[test]
    fn next_runs_are_those_of_another_implementation() {
        let mut compared = 0;
        for line in include_str!("crontabs.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut parts = line.split(" | ");
            let (text, from) = (parts.next().unwrap(), at(parts.next().unwrap()));
            let crontab = Crontab::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let mut time = from;
            for expected in parts {
                let next = crontab.next_after(time).unwrap();
                assert_eq!(shown(next), expected, "{text} after {}", shown(time));
                assert_eq!(crontab.last_until(next), Some(next), "{text}");
                assert_eq!(crontab.last_until(Timestamp(next.0 + 59_000_000_000)), Some(next), "{text}");
                assert!(crontab.last_until(Timestamp(next.0 - 1)).unwrap() <= time.max(from), "{text}");
                time = next;
                compared += 1;
            }
        }
        assert!(compared > 1000);
    }

    #[test]
    fn what_is_no_crontab_says_why() {
        for (text, why) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("* * * * * *", "6 fields"),
            ("60 * * * *", "\"60\" is no minute"),
            ("* 24 * * *", "is no hour"),
            ("* * 0 * *", "is no day of the month"),
            ("* * * 13 *", "is no month"),
            ("* * * * 8", "is no day of the week"),
            ("* * * monday *", "is no month"),
            ("mon * * * *", "is no minute"),
            ("*/0 * * * *", "the step is none"),
            ("*/ * * * *", "the step is none"),
            ("5/10 * * * *", "a step goes with * or a range"),
            ("10-5 * * * *", "ends before it begins"),
            ("1,,2 * * * *", "is no minute"),
            ("* * L * *", "is no day of the month"),
            ("* * 15W * *", "is no day of the month"),
            ("* * * * 5#2", "is no day of the week"),
            ("* * ? * *", "is no day of the month"),
            ("* * 1 * +1", "is no day of the week"),
            ("@reboot", "is not one of"),
            ("@every 1h", "is not one of"),
            ("0 0 30 2 *", "no such day"),
            ("0 0 31 4,6,9,11 *", "no such day"),
        ] {
            let error = Crontab::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn how_often() {
        let hours = |text: &str| Crontab::parse(text).unwrap().period(at("2026-11-26 03:30")).as_secs_f64() / 3600.0;
        assert_eq!(hours("@hourly"), 1.0);
        assert_eq!(hours("@daily"), 24.0);
        assert_eq!(hours("@weekly"), 168.0);
        assert_eq!(hours("*/15 * * * *"), 0.25);
        // By the shortest time between two runs, whenever that is asked.
        assert_eq!(hours("0 9-17 * * 1-5"), 1.0);
        assert_eq!(hours("0 0 29 2 *"), 4.0 * 365.25 * 24.0);
    }

    #[test]
    fn a_crontab_with_a_rare_day_is_found_at_once() {
        let leap = Crontab::parse("0 0 29 2 *").unwrap();
        assert_eq!(shown(leap.next_after(at("2096-03-01 00:00")).unwrap()), "2104-02-29 00:00");
    }
}
