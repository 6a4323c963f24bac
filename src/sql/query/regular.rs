//! Functions of regular expressions that give several values, after
//! <https://www.postgresql.org/docs/15/functions-matching.html#FUNCTIONS-POSIX-REGEXP>. The syntax of the expressions is that of the `regex` crate, as with
//! DataFusion's own: what both have, they have alike.

use regex::{Regex, RegexBuilder};

use super::super::error::{Error, Result, code};
use super::row_function::{Argument, Definition, Returns, Takes};
use crate::catalog::{ColumnType, Datum};

/// The function whose rows `regexp_matches` gives.
const MATCHES: &str = "regexp:matches";

/// The function that gives as an array what another gives as rows.
pub fn list_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "regexp_matches" => MATCHES,
        "regexp_split_to_table" => "regexp_split_to_array",
        "string_to_table" => "string_to_array",
        _ => return None,
    })
}

/// The functions.
pub fn definitions() -> Vec<Definition> {
    let texts = || ColumnType::Array(Box::new(ColumnType::Text));
    let lists = Returns::Always(ColumnType::Array(Box::new(texts())));
    vec![
        ("regexp_split_to_array", Takes::Between(2, 3), texts().into(), |args| {
            let (pattern, _) = pattern(&args[1], args.get(2))?;
            let text = args[0].text();
            let (mut parts, mut from) = (Vec::new(), 0);
            for found in pattern.find_iter(&text) {
                // Of nothing, it splits only between characters.
                if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
                    continue;
                }
                parts.push(text[from..found.start()].to_string().into());
                from = found.end();
            }
            parts.push(text[from..].to_string().into());
            Ok(Datum::Array(parts))
        }),
        (MATCHES, Takes::Between(2, 3), lists, |args| {
            let (pattern, all) = pattern(&args[1], args.get(2))?;
            let text = args[0].text();
            let found = pattern.captures_iter(&text).take(if all { usize::MAX } else { 1 });
            Ok(Datum::Array(found.map(groups).collect()))
        }),
        ("regexp_match", Takes::Between(2, 3), texts().into(), |args| {
            let (pattern, all) = pattern(&args[1], args.get(2))?;
            if all {
                return Err(Error::new(
                    code::INVALID_PARAMETER,
                    "regexp_match() does not support the \"global\" option",
                )
                .hint("Use the regexp_matches function instead."));
            }
            Ok(pattern.captures(&args[0].text()).map_or(Datum::Null, groups))
        }),
        ("regexp:substring", Takes::Exactly(2), ColumnType::Text.into(), |args| {
            let (pattern, _) = pattern(&args[1], None)?;
            let text = args[0].text();
            let Some(found) = pattern.captures(&text) else { return Ok(Datum::Null) };
            let part = found.get(usize::from(found.len() > 1));
            Ok(Datum::from(part.map(|part| part.as_str().to_string())))
        }),
        ("regexp_count", Takes::Exactly(2), ColumnType::Int4.into(), |args| {
            let (pattern, _) = pattern(&args[1], None)?;
            Ok(Datum::Int(pattern.find_iter(&args[0].text()).count() as i64))
        }),
    ]
}

/// What the groups of an expression matched, or all of it if it has none.
fn groups(found: regex::Captures<'_>) -> Datum<'static> {
    let group = |index| Datum::from(found.get(index).map(|group| group.as_str().to_string()));
    let first = usize::from(found.len() > 1);
    Datum::Array((first..found.len()).map(group).collect())
}

/// An expression with its flags, and whether all that matches is meant.
fn pattern(expression: &Argument<'_>, flags: Option<&Argument<'_>>) -> Result<(Regex, bool)> {
    let mut builder = RegexBuilder::new(&expression.text());
    // A dot is any character, and lines end nowhere.
    builder.dot_matches_new_line(true);
    let mut all = false;
    for flag in flags.map(Argument::text).unwrap_or_default().chars() {
        match flag {
            'g' => all = true,
            'i' => {
                builder.case_insensitive(true);
            }
            'c' => {
                builder.case_insensitive(false);
            }
            'n' | 'm' => {
                builder.dot_matches_new_line(false).multi_line(true);
            }
            's' => {
                builder.dot_matches_new_line(true).multi_line(false);
            }
            'x' => {
                builder.ignore_whitespace(true);
            }
            't' => {
                builder.ignore_whitespace(false);
            }
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Error::new(code::INVALID_PARAMETER, message));
            }
        }
    }
    let invalid = |error: regex::Error| {
        let what = error.to_string();
        let last = what.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
        Error::new("2201B", format!("invalid regular expression: {last}"))
    };
    Ok((builder.build().map_err(invalid)?, all))
}
