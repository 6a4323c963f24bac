use std::time::Duration;

/// Reads a length of time: `1500` (milliseconds), `1500ms`, `2s`, `1m30s`, `1 min`, `00:00:10`, `14 days`. Nothing below zero.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(milliseconds) = text.parse::<u64>() {
        return Some(Duration::from_millis(milliseconds));
    }
    if text.contains(':') {
        return parse_clock(text);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let seconds = number.parse::<f64>().ok()? * unit_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after.trim_start();
    }
    Some(total)
}

/// `h:m[:s]`
fn parse_clock(text: &str) -> Option<Duration> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next().map_or(Some(0.0), |seconds| seconds.parse().ok())?;
    let whole = Duration::from_secs(hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?);
    let in_range = minutes < 60 && (0.0..60.0).contains(&seconds);
    in_range.then(|| whole.checked_add(Duration::from_secs_f64(seconds))).flatten()
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "us" | "microsecond" | "microseconds" => 1e-6,
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 7.0 * 86_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let milliseconds = |text: &str| parse_duration(text).map(|duration| duration.as_millis());
        for (text, expected) in [
            ("0", Some(0)),
            (" 1500 ", Some(1500)),
            ("1500ms", Some(1500)),
            ("2s", Some(2000)),
            ("1m30s", Some(90_000)),
            ("1 min", Some(60_000)),
            ("1 minute 30 seconds", Some(90_000)),
            ("0.5h", Some(1_800_000)),
            ("00:00:10", Some(10_000)),
            ("1:30", Some(5_400_000)),
            ("14 days", Some(14 * 86_400_000)),
            ("336h0m0s", Some(14 * 86_400_000)),
            ("", None),
            ("-1s", None),
            ("1", Some(1)),
            ("1 fortnight", None),
            ("1s2", None),
            ("1.2.3s", None),
            ("0:61", None),
            ("0:400000000000000000", None),
            ("99999999999999999999s", None),
            ("99999999999999999999h:1", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
