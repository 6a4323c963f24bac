//! `to_char` of numbers, after <https://www.postgresql.org/docs/15/functions-formatting.html>: `9 0 . D , G S SG MI PR FM`, quoted text and what is no
//! pattern at all. Other patterns are refused.

use super::super::error::{Error, Result, code};
use super::super::text;
use super::row_function::Argument;
use crate::catalog::{ColumnType, Datum};

/// The number, as a pattern says.
pub fn formatted(number: &Argument<'_>, pattern: &str) -> Result<Datum<'static>> {
    let pattern = Pattern::parse(pattern)?;
    Ok(Datum::from(pattern.shown(&decimal_text(number, pattern.places())?)))
}

/// A number with so many digits after the point.
fn decimal_text(number: &Argument<'_>, places: usize) -> Result<String> {
    match &number.datum {
        Datum::Float(value) if value.is_finite() => Ok(format!("{value:.places$}")),
        Datum::Int(_) | Datum::Decimal(_) => {
            let scale = u8::try_from(places).unwrap_or(u8::MAX);
            let exact = ColumnType::Decimal { precision: Some(38), scale };
            let rounded = text::parse(&number.text(), &exact, number.zone)?;
            Ok(Argument { datum: rounded, column_type: &exact, zone: number.zone }.text())
        }
        _ => {
            let message = format!("to_char of {} takes no pattern of numbers", number.column_type);
            Err(Error::new(code::UNDEFINED_FUNCTION, message))
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A digit; whether it is there even if it is a leading or trailing zero.
    Digit(bool),
    Point,
    Group,
    /// `S`: beside the number.
    Sign,
    /// `SG`: right here.
    SignHere,
    Minus,
    Angles,
    Literal(String),
}

struct Pattern {
    parts: Vec<Part>,
    /// `FM`: without blanks and trailing zeros.
    fills: bool,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern> {
        let mut pattern = Pattern { parts: Vec::new(), fills: true };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let has = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            let unsupported = ["EEEE", "RN", "TH", "PL", "L", "V"].into_iter().find(|word| has(word));
            let (part, length) = match first {
                _ if has("FM") => {
                    pattern.fills = false;
                    rest = &rest[2..];
                    continue;
                }
                _ if has("SG") => (Part::SignHere, 2),
                _ if has("MI") => (Part::Minus, 2),
                _ if has("PR") => (Part::Angles, 2),
                _ if let Some(word) = unsupported => {
                    return Err(Error::unsupported(format!("\"{word}\" in a pattern of to_char")));
                }
                '9' => (Part::Digit(false), 1),
                '0' => (Part::Digit(true), 1),
                '.' | 'D' | 'd' => (Part::Point, 1),
                ',' | 'G' | 'g' => (Part::Group, 1),
                'S' | 's' => (Part::Sign, 1),
                '"' => {
                    let quoted = rest[1..].split('"').next().unwrap_or_default();
                    (Part::Literal(quoted.to_string()), (quoted.len() + 2).min(rest.len()))
                }
                other => (Part::Literal(other.to_string()), other.len_utf8()),
            };
            if part == Part::Point && pattern.parts.contains(&Part::Point) {
                return Err(Error::new(code::SYNTAX_ERROR, "multiple decimal points"));
            }
            pattern.parts.push(part);
            rest = &rest[length..];
        }
        Ok(pattern)
    }

    fn point(&self) -> usize {
        self.parts.iter().position(|part| *part == Part::Point).unwrap_or(self.parts.len())
    }

    /// Digits after the point.
    fn places(&self) -> usize {
        self.parts[self.point()..].iter().filter(|part| matches!(part, Part::Digit(_))).count()
    }

    /// A number, which has as many digits after its point as the pattern, in the shape of it.
    fn shown(&self, number: &str) -> String {
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(number) => (number.contains(|c: char| c.is_ascii_digit() && c != '0'), number),
            None => (false, number),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole = whole.trim_start_matches('0');
        let point = self.point();
        let digits: Vec<bool> = self.parts[..point].iter().filter_map(Part::digit).collect();
        let places: Vec<bool> = self.parts[point..].iter().filter_map(Part::digit).collect();
        let is_too_long = whole.len() > digits.len();
        let first_zero = digits.iter().position(|forced| *forced);
        // Without blanks, the last digit after the point that is shown.
        let shown_places = match self.fills {
            true => places.len(),
            false => {
                let forced = places.iter().rposition(|forced| *forced).map_or(0, |at| at + 1);
                forced.max(fraction.trim_end_matches('0').len())
            }
        };
        let has_own_sign =
            self.parts.iter().any(|part| matches!(part, Part::Sign | Part::SignHere | Part::Minus | Part::Angles));
        let leads = |part: &Part| {
            let first_digit = self.parts.iter().position(|part| part.digit().is_some()).unwrap_or(0);
            self.parts.iter().position(|other| other == part).is_some_and(|at| at < first_digit)
        };
        let blank = if self.fills { " " } else { "" };
        // What stands right before the number.
        let start = match () {
            _ if self.parts.contains(&Part::Angles) => {
                if is_negative {
                    "<"
                } else {
                    blank
                }
            }
            _ if leads(&Part::Sign) => {
                if is_negative {
                    "-"
                } else {
                    "+"
                }
            }
            _ if has_own_sign => "",
            _ if is_negative => "-",
            _ => blank,
        };
        let (mut out, mut started) = (String::new(), false);
        let mut begin = |out: &mut String| {
            if !std::mem::replace(&mut started, true) {
                out.push_str(start);
            }
        };
        let (mut position, mut place, mut in_number) = (0, 0, false);
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Digit(_) if index < point => {
                    let from_right = digits.len() - 1 - position;
                    let is_last_zero = whole.is_empty() && from_right == 0 && (places.is_empty() || shown_places == 0);
                    let digit = match whole.len().checked_sub(from_right + 1) {
                        _ if is_too_long => Some('#'),
                        Some(at) => whole[at..].chars().next(),
                        None if first_zero.is_some_and(|first| position >= first) || is_last_zero => Some('0'),
                        None => None,
                    };
                    match digit {
                        Some(digit) => {
                            begin(&mut out);
                            in_number = true;
                            out.push(digit);
                        }
                        None => out.push_str(blank),
                    }
                    position += 1;
                }
                Part::Digit(_) => {
                    begin(&mut out);
                    if is_too_long {
                        out.push('#');
                    } else if place < shown_places {
                        out.push_str(&fraction[place..=place]);
                    }
                    place += 1;
                }
                Part::Point => {
                    begin(&mut out);
                    out.push('.');
                }
                Part::Group if in_number => out.push(','),
                Part::Group => out.push_str(blank),
                Part::Sign if leads(part) => {}
                Part::Sign | Part::SignHere => out.push(if is_negative { '-' } else { '+' }),
                Part::Minus => out.push_str(if is_negative { "-" } else { blank }),
                Part::Angles => out.push_str(if is_negative { ">" } else { blank }),
                Part::Literal(text) => out.push_str(text),
            }
        }
        out
    }
}

impl Part {
    fn digit(&self) -> Option<bool> {
        match self {
            Part::Digit(forced) => Some(*forced),
            _ => None,
        }
    }
}
