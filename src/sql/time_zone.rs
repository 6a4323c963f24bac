//! The time zone of a session: how instants are shown, and what a time without an offset means.
//!
//! Regions are those of the IANA database, compiled in. Specifications such as `UTC+3` count westwards, as POSIX has them; a bare
//! number of hours counts eastwards. After <https://www.postgresql.org/docs/15/datatype-datetime.html#DATATYPE-TIMEZONES>.

use chrono::{DateTime, Days, Months, NaiveDateTime, Offset, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

use super::error::{Error, Result, code};
use crate::catalog::Interval;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_HOUR: i32 = 3600;
/// As PostgreSQL has it: a week.
const MAX_OFFSET_SECONDS: i32 = 167 * SECONDS_PER_HOUR;

/// Abbreviations that PostgreSQL knows without being told, and what they are east of UTC, in seconds.
const ABBREVIATIONS: [(&str, i32); 48] = [
    ("acdt", 37_800),
    ("acst", 34_200),
    ("adt", -10_800),
    ("aedt", 39_600),
    ("aest", 36_000),
    ("akdt", -28_800),
    ("akst", -32_400),
    ("ast", -14_400),
    ("awst", 28_800),
    ("bst", 3_600),
    ("cdt", -18_000),
    ("cest", 7_200),
    ("cet", 3_600),
    ("cst", -21_600),
    ("eat", 10_800),
    ("edt", -14_400),
    ("eest", 10_800),
    ("eet", 7_200),
    ("est", -18_000),
    ("gmt", 0),
    ("hkt", 28_800),
    ("hst", -36_000),
    ("idt", 10_800),
    ("ist", 7_200),
    ("jst", 32_400),
    ("kst", 32_400),
    ("mdt", -21_600),
    ("mest", 7_200),
    ("met", 3_600),
    ("msk", 10_800),
    ("mst", -25_200),
    ("ndt", -9_000),
    ("nst", -12_600),
    ("nzdt", 46_800),
    ("nzst", 43_200),
    ("pdt", -25_200),
    ("pht", 28_800),
    ("pkt", 18_000),
    ("pst", -28_800),
    ("sast", 7_200),
    ("sgt", 28_800),
    ("uct", 0),
    ("ut", 0),
    ("utc", 0),
    ("west", 3_600),
    ("wet", 0),
    ("z", 0),
    ("zulu", 0),
];

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeZone {
    /// So many seconds east of UTC.
    Fixed(i32),
    /// A region of the IANA database.
    Region(Tz),
}

impl Default for TimeZone {
    fn default() -> TimeZone {
        TimeZone::UTC
    }
}

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: TimeZone = TimeZone::Fixed(0);

    /// The zone that a session is set to, and how `SHOW` writes it.
    pub fn from_setting(value: &str) -> Option<(TimeZone, String)> {
        if let Ok(hours) = value.trim().parse::<f64>() {
            let seconds = (hours * f64::from(SECONDS_PER_HOUR)).round();
            let fits = seconds.abs() <= f64::from(MAX_OFFSET_SECONDS);
            return fits.then(|| (TimeZone::Fixed(seconds as i32), posix_name(seconds as i32)));
        }
        match region(value) {
            Some(found) => Some((TimeZone::of_region(found), found.name().to_string())),
            None => posix(value).map(|zone| (zone, value.to_string())),
        }
    }

    /// The zone that `AT TIME ZONE` names: also by an abbreviation.
    pub fn named(name: &str) -> Result<TimeZone> {
        let found = abbreviated(name).or_else(|| region(name).map(TimeZone::of_region)).or_else(|| posix(name));
        found.ok_or_else(|| unknown(name))
    }

    /// The zone so far east of UTC.
    pub fn of_interval(interval: Interval) -> Option<TimeZone> {
        let seconds = i32::try_from(interval.micros / MICROS_PER_SECOND).ok()?;
        let is_offset = interval.months == 0 && interval.days == 0 && seconds.abs() <= MAX_OFFSET_SECONDS;
        is_offset.then_some(TimeZone::Fixed(seconds))
    }

    fn of_region(region: Tz) -> TimeZone {
        match region {
            Tz::UTC | Tz::UCT | Tz::Zulu | Tz::GMT | Tz::Universal => TimeZone::UTC,
            Tz::Etc__UTC | Tz::Etc__UCT | Tz::Etc__Zulu | Tz::Etc__GMT | Tz::Etc__Universal => TimeZone::UTC,
            other => TimeZone::Region(other),
        }
    }

    /// Seconds east of UTC at an instant in microseconds since 1970.
    pub fn offset_at(self, instant: i64) -> i32 {
        match self {
            TimeZone::Fixed(seconds) => seconds,
            TimeZone::Region(region) => region.offset_from_utc_datetime(&naive(instant)).fix().local_minus_utc(),
        }
    }

    /// What the zone is called at an instant: `CEST`, or how far it is from UTC.
    pub fn abbreviation_at(self, instant: i64) -> String {
        let known = match self {
            TimeZone::Fixed(0) => Some("UTC".to_string()),
            TimeZone::Fixed(_) => None,
            TimeZone::Region(region) => {
                let offset = region.offset_from_utc_datetime(&naive(instant));
                offset.abbreviation().map(str::to_string)
            }
        };
        known.unwrap_or_else(|| {
            let mut out = String::new();
            write_offset(&mut out, self.offset_at(instant));
            out
        })
    }

    /// What clocks there show at an instant.
    pub fn local(self, instant: i64) -> i64 {
        instant.saturating_add(i64::from(self.offset_at(instant)) * MICROS_PER_SECOND)
    }

    /// The instant at which clocks there show a time. One that they skip is counted from before the change, of one that they show
    /// twice it is the second, as in PostgreSQL.
    pub fn instant(self, local: i64) -> i64 {
        let offset = match self {
            TimeZone::Fixed(seconds) => seconds,
            TimeZone::Region(region) => {
                let time = naive(local);
                let at = |time: &NaiveDateTime| region.offset_from_local_datetime(time).latest();
                let before = || at(&time.checked_sub_days(Days::new(1))?);
                at(&time).or_else(before).map_or(0, |offset| offset.fix().local_minus_utc())
            }
        };
        local.saturating_sub(i64::from(offset) * MICROS_PER_SECOND)
    }

    /// An instant and an interval: months and days by the calendar there, the rest by the clock.
    pub fn plus(self, instant: i64, interval: Interval) -> Result<i64> {
        let overflow = || Error::new(code::DATETIME_OVERFLOW, "timestamp out of range");
        let mut instant = instant;
        if interval.months != 0 || interval.days != 0 {
            let local = DateTime::from_timestamp_micros(self.local(instant)).ok_or_else(overflow)?.naive_utc();
            let months = Months::new(interval.months.unsigned_abs());
            let moved = match interval.months < 0 {
                true => local.checked_sub_months(months),
                false => local.checked_add_months(months),
            };
            let moved = moved.and_then(|time| time.checked_add_signed(TimeDelta::days(interval.days.into())));
            instant = self.instant(moved.ok_or_else(overflow)?.and_utc().timestamp_micros());
        }
        instant
            .checked_add(interval.micros)
            .filter(|moved| DateTime::from_timestamp_micros(*moved).is_some())
            .ok_or_else(overflow)
    }
}

/// What is known of a region at some time.
pub struct Region {
    /// Its name in the IANA database.
    pub name: &'static str,
    /// What its time is called then.
    pub abbreviation: String,
    /// How far east of UTC it is, summer time included.
    pub offset_seconds: i32,
    /// Whether it has summer time then.
    pub is_summer_time: bool,
}

/// All regions at some time.
pub fn regions(at: DateTime<Utc>) -> impl Iterator<Item = Region> {
    chrono_tz::TZ_VARIANTS.iter().map(move |region| {
        let offset = region.offset_from_utc_datetime(&at.naive_utc());
        Region {
            name: region.name(),
            abbreviation: offset.abbreviation().unwrap_or_default().to_string(),
            offset_seconds: offset.fix().local_minus_utc(),
            is_summer_time: !offset.dst_offset().is_zero(),
        }
    })
}

/// The error of a name that is none of a zone's.
pub fn unknown(name: &str) -> Error {
    Error::new(code::INVALID_PARAMETER, format!("time zone \"{name}\" not recognized"))
}

/// An offset as PostgreSQL shows it after a time: `+02`, `-03:30`, `+00:53:28`.
pub fn write_offset(out: &mut String, seconds: i32) {
    use std::fmt::Write;
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    // Writing to a string cannot fail.
    let _ = write!(out, "{}{hours:02}", if seconds < 0 { '-' } else { '+' });
    if minutes != 0 || rest != 0 {
        let _ = write!(out, ":{minutes:02}");
    }
    if rest != 0 {
        let _ = write!(out, ":{rest:02}");
    }
}

/// `<+02>-02`: POSIX counts westwards.
fn posix_name(seconds_east: i32) -> String {
    let mut name = String::from("<");
    write_offset(&mut name, seconds_east);
    name.push('>');
    write_offset(&mut name, -seconds_east);
    name
}

fn naive(micros: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().naive_utc()
}

fn region(name: &str) -> Option<Tz> {
    name.parse().ok().or_else(|| chrono_tz::TZ_VARIANTS.iter().copied().find(|tz| tz.name().eq_ignore_ascii_case(name)))
}

fn abbreviated(name: &str) -> Option<TimeZone> {
    let known = ABBREVIATIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, seconds)| TimeZone::Fixed(*seconds))
}

/// `UTC+3`, `<+02>-02`, `-5:30`: a name of three letters or more, or none, and what is to be added to get UTC.
fn posix(text: &str) -> Option<TimeZone> {
    let offset = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => {
            let letters = text.find(|c: char| !c.is_ascii_alphabetic())?;
            (letters == 0 || letters >= 3).then(|| &text[letters..])?
        }
    };
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (1, digits),
        None => (-1, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let mut seconds = 0;
    let mut unit = SECONDS_PER_HOUR;
    for part in digits.split(':') {
        let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let number =
            part.parse::<i32>().ok().filter(|number| is_number && (unit == SECONDS_PER_HOUR || *number < 60))?;
        seconds += number * unit;
        unit /= 60;
        if unit == 0 && digits.split(':').count() > 3 {
            return None;
        }
    }
    (seconds <= MAX_OFFSET_SECONDS).then_some(TimeZone::Fixed(sign * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        TimeZone::from_setting(value).map(|(_, shown)| shown)
    }

    fn fixed(value: &str) -> Option<i32> {
        match TimeZone::from_setting(value)?.0 {
            TimeZone::Fixed(seconds) => Some(seconds),
            TimeZone::Region(_) => None,
        }
    }

    #[test]
    fn zones_are_named_in_many_ways() {
        assert_eq!(shown("asia/kolkata").unwrap(), "Asia/Kolkata");
        assert_eq!(shown("2").unwrap(), "<+02>-02");
        assert_eq!(shown("-3.5").unwrap(), "<-03:30>+03:30");
        assert_eq!(fixed("-3.5"), Some(-12_600));
        assert_eq!(fixed("UTC+3"), Some(-10_800));
        assert_eq!(fixed("<+02>-02"), Some(7_200));
        assert_eq!(fixed("utc"), Some(0));
        for unknown in ["", "Europe", "Nowhere/Town", "+200", "1000", "ab+3", "UTC+3:75", "UTC+1:1:1:1", "é+3"] {
            assert_eq!(shown(unknown), None, "{unknown}");
        }
        assert_eq!(TimeZone::named("pdt").unwrap(), TimeZone::Fixed(-25_200));
        assert_eq!(TimeZone::named("Europe/berlin").unwrap(), TimeZone::Region(Tz::Europe__Berlin));
        assert_eq!(TimeZone::named("Nowhere").unwrap_err().message, "time zone \"Nowhere\" not recognized");
    }

    #[test]
    fn times_that_do_not_exist_or_exist_twice() {
        let berlin = TimeZone::Region(Tz::Europe__Berlin);
        let micros = |text: &str| text.parse::<NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        assert_eq!(berlin.instant(micros("2024-03-31T02:30:00")), micros("2024-03-31T01:30:00"));
        assert_eq!(berlin.instant(micros("2024-10-27T02:30:00")), micros("2024-10-27T01:30:00"));
        assert_eq!(berlin.local(micros("2024-10-27T00:30:00")), micros("2024-10-27T02:30:00"));
        let day = Interval { months: 0, days: 1, micros: 0 };
        let before = micros("2024-03-30T11:00:00");
        assert_eq!(berlin.plus(before, day).unwrap(), micros("2024-03-31T10:00:00"));
        assert!(berlin.plus(before, Interval { months: i32::MAX, ..day }).is_err());
    }
}
