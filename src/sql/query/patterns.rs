//! Patterns of `to_date` and `to_timestamp`: PostgreSQL's, as those of the crate chrono.
//! After <https://www.postgresql.org/docs/15/functions-formatting.html>, table 9.27.

use super::super::error::{Error, Result};

/// PostgreSQL's patterns and what they are in chrono's, longer ones before their beginnings.
const PATTERNS: [(&str, &str); 30] = [
    ("FMMonth", "%B"),
    ("FMDay", "%A"),
    ("FMDD", "%-d"),
    ("FMMM", "%-m"),
    ("FMHH24", "%-H"),
    ("FMHH12", "%-I"),
    ("FMHH", "%-I"),
    ("FMMI", "%-M"),
    ("FMSS", "%-S"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("FF3", "%3f"),
    ("FF6", "%6f"),
    ("YYYY", "%Y"),
    ("YY", "%y"),
    ("IYYY", "%G"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("MM", "%m"),
    ("Mon", "%b"),
    ("Dy", "%a"),
    ("AM", "%p"),
    ("PM", "%p"),
];

/// Patterns that chrono has nothing for, and that begin as others do.
const UNKNOWN: [&str; 2] = ["IDDD", "SSSS"];

/// A pattern in chrono's form. One with a `%` and nothing that is known here is in that already.
pub fn for_chrono(pattern: &str) -> Result<String> {
    let is_known = |at: usize| PATTERNS.iter().any(|(known, _)| pattern[at..].starts_with(known));
    if pattern.contains('%') && !pattern.char_indices().any(|(at, _)| is_known(at)) {
        return Ok(pattern.into());
    }
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            translated.push_str(&text.replace('%', "%%"));
            rest = after;
        } else if let Some((known, chrono)) = PATTERNS
            .iter()
            .find(|(known, _)| rest.starts_with(known) && !UNKNOWN.iter().any(|one| rest.starts_with(one)))
        {
            translated.push_str(chrono);
            rest = &rest[known.len()..];
        } else if first == '%' {
            translated.push_str("%%");
            rest = &rest[1..];
        } else if first.is_alphanumeric() {
            return Err(Error::unsupported(format!("to_date or to_timestamp with the pattern \"{pattern}\"")).hint(
                "It may have YYYY, MM, DD, HH24, MI, SS, MS, US, Mon, FMMonth, Dy, FMDay and text in double quotes.",
            ));
        } else {
            translated.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        assert_eq!(for_chrono("YYYY-MM-DD HH24:MI:SS.US").unwrap(), "%Y-%m-%d %H:%M:%S.%6f");
        assert_eq!(for_chrono("Dy, DD Mon YYYY \"at\" HH12:MI AM").unwrap(), "%a, %d %b %Y at %I:%M %p");
        assert_eq!(for_chrono("%Y").unwrap(), "%Y");
        assert_eq!(for_chrono("YYYY \"100%\" 5%").unwrap_err().sqlstate, "0A000");
        assert_eq!(for_chrono("YYYY \"100%\" %").unwrap(), "%Y 100%% %%");
        assert!(for_chrono("SSSS").is_err());
        assert!(for_chrono("IYYY-IDDD").is_err());
        assert!(for_chrono("999D99").is_err());
        assert!(for_chrono("Month").is_err());
    }
}
