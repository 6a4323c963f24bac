//! JSON as `JSONB` has it: numbers with all their digits, of any length that PostgreSQL's have.
//!
//! `serde_json` would make floats of them. Its strings are used: what an escape stands for is its matter.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter, Write};

use super::error::{Error, Result, code};

/// PostgreSQL's limits of a number: digits before and after the point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_SCALE: i64 = 16_383;

/// How deep arrays and objects may lie in each other.
const MAX_DEPTH: usize = 1_000;

/// The members of an object, which print in the order of [`sorted`].
pub type Map = BTreeMap<String, Value>;

/// A document, or a part of one. It prints in JSONB's normal form, one space after `:` and `,`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(Map),
}

/// A number. `1.0` equals `1`, and yet each prints with the digits it has.
#[derive(Clone, Debug)]
pub struct Number {
    negative: bool,
    /// Without zeros in front, but for one before the point.
    whole: String,
    fraction: String,
}

impl Value {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Value> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        match reader.next_token() {
            None => Ok(value),
            Some(_) => Err(bad(format!("Expected end of input, but found \"{}\".", reader.word()))),
        }
    }

    /// A number that is written so, or else the text.
    pub fn number_or_text(text: String) -> Value {
        match Number::parse(&text) {
            Ok(Some(number)) => Value::Number(number),
            _ => Value::String(text),
        }
    }

    /// What `jsonb_typeof` calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Bytes that compare as PostgreSQL compares documents.
    pub fn sort_key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            Value::Object(_) | Value::Array(_) => self.push_key(&mut key),
            // A scalar compares as the array of it, before that array; the empty array is less than both.
            scalar => {
                key.push(Kind::Array as u8);
                key.extend_from_slice(&1u32.to_be_bytes());
                key.push(0);
                scalar.push_key(&mut key);
            }
        }
        key
    }

    fn push_key(&self, key: &mut Vec<u8>) {
        match self {
            Value::Null => key.push(Kind::Null as u8),
            Value::String(text) => {
                key.push(Kind::String as u8);
                push_text(key, text);
            }
            Value::Number(number) => {
                key.push(Kind::Number as u8);
                number.push_key(key);
            }
            Value::Bool(value) => key.extend([Kind::Bool as u8, u8::from(*value)]),
            Value::Array(items) => {
                key.push(Kind::Array as u8);
                key.extend_from_slice(&(items.len() as u32).to_be_bytes());
                key.push(1);
                items.iter().for_each(|item| item.push_key(key));
            }
            Value::Object(map) => {
                key.push(Kind::Object as u8);
                key.extend_from_slice(&(map.len() as u32).to_be_bytes());
                for (name, value) in sorted(map) {
                    push_text(key, name);
                    value.push_key(key);
                }
            }
        }
    }
}

/// Kinds of values in their order, which is PostgreSQL's.
enum Kind {
    Null,
    String,
    Number,
    Bool,
    Array,
    Object,
}

fn push_text(key: &mut Vec<u8>, text: &str) {
    // No text has a zero in it.
    key.extend_from_slice(text.as_bytes());
    key.push(0);
}

/// The members of an object in JSONB's order: by the length of the name, then its bytes.
pub fn sorted(map: &Map) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = map.iter().collect();
    members.sort_by_key(|(name, _)| name.len());
    members
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(number) => number.fmt(f),
            Value::String(text) => f.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?),
            Value::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Value::Object(map) => {
                f.write_char('{')?;
                for (index, (name, value)) in sorted(map).into_iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    write!(f, "{}: {value}", Value::from(name.as_str()))?;
                }
                f.write_char('}')
            }
        }
    }
}

impl Number {
    /// Reads a number as JSON writes them; `None` if it is written otherwise.
    fn parse(text: &str) -> Result<Option<Number>> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                if !digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) {
                    return Ok(None);
                }
                // One that does not fit is too large by far.
                (mantissa, exponent.parse::<i32>().map_err(|_| overflow())?)
            }
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if digits(fraction) => (whole, fraction),
            Some(_) => return Ok(None),
            None => (mantissa, ""),
        };
        if !digits(whole) || whole.len() > 1 && whole.starts_with('0') {
            return Ok(None);
        }
        Number::shifted(negative, whole, fraction, i64::from(exponent)).map(Some)
    }

    /// The point goes `exponent` digits to the right.
    fn shifted(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Result<Number> {
        let digits = format!("{whole}{fraction}");
        let is_zero = digits.bytes().all(|digit| digit == b'0');
        let scale = fraction.len() as i64 - exponent;
        let point = whole.len() as i64 + exponent;
        if scale > MAX_SCALE || point > MAX_WHOLE_DIGITS && !is_zero {
            return Err(overflow());
        }
        let (whole, fraction) = match point {
            _ if is_zero => (String::new(), "0".repeat(scale.max(0) as usize)),
            ..=0 => (String::new(), "0".repeat(-point as usize) + &digits),
            _ if scale <= 0 => (digits + &"0".repeat(-scale as usize), String::new()),
            _ => {
                let (whole, fraction) = digits.split_at(point as usize);
                (whole.to_string(), fraction.to_string())
            }
        };
        let whole = match whole.trim_start_matches('0') {
            "" => "0".to_string(),
            whole => whole.to_string(),
        };
        Ok(Number { negative: negative && !is_zero, whole, fraction })
    }

    /// What counts when it is compared.
    fn compared(&self) -> (bool, &str, &str) {
        (self.negative, &self.whole, self.fraction.trim_end_matches('0'))
    }

    fn push_key(&self, key: &mut Vec<u8>) {
        let (negative, whole, fraction) = self.compared();
        let whole = whole.trim_start_matches('0');
        key.push(u8::from(!negative));
        let start = key.len();
        key.extend_from_slice(&(whole.len() as u32).to_be_bytes());
        key.extend(whole.bytes().chain(fraction.bytes()));
        key.push(0);
        if negative {
            key[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.compared() == other.compared()
    }
}

impl Eq for Number {}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.negative { "-" } else { "" })?;
        f.write_str(&self.whole)?;
        f.write_str(if self.fraction.is_empty() { "" } else { "." })?;
        f.write_str(&self.fraction)
    }
}

fn bad(detail: impl Into<String>) -> Error {
    Error::new(code::BAD_TEXT, "invalid input syntax for type json").detail(detail)
}

fn overflow() -> Error {
    Error::new(code::NUMERIC_OUT_OF_RANGE, "value overflows numeric format")
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn next_token(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|byte| b" \t\n\r".contains(byte)) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn skip(&mut self, token: u8) -> bool {
        let found = self.next_token() == Some(token);
        self.at += usize::from(found);
        found
    }

    /// What a person would take for one word, from here on.
    fn word(&self) -> &str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_alphanumeric() || "_-+.".contains(c);
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        &rest[..end.max(first)]
    }

    fn unexpected(&mut self) -> Error {
        match self.next_token() {
            None => bad("The input string ended unexpectedly."),
            Some(_) => bad(format!("Token \"{}\" is invalid.", self.word())),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            let message = format!("JSON is nested more than {MAX_DEPTH} levels deep");
            return Err(Error::new(code::LIMIT_EXCEEDED, message));
        }
        match self.next_token() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<Value> {
        if self.next_token().is_none() {
            return Err(self.unexpected());
        }
        let word = self.word();
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number => match Number::parse(number)? {
                Some(number) => Value::Number(number),
                None => return Err(self.unexpected()),
            },
        };
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if self.skip(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.skip(b']') {
                return Ok(Value::Array(items));
            }
            if !self.skip(b',') {
                return Err(self.unexpected());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.at += 1;
        let mut map = Map::new();
        if self.skip(b'}') {
            return Ok(Value::Object(map));
        }
        loop {
            if self.next_token() != Some(b'"') {
                return Err(self.unexpected());
            }
            let name = self.string()?;
            if !self.skip(b':') {
                return Err(self.unexpected());
            }
            // The last of several of one name stays.
            map.insert(name, self.value(depth + 1)?);
            if self.skip(b'}') {
                return Ok(Value::Object(map));
            }
            if !self.skip(b',') {
                return Err(self.unexpected());
            }
        }
    }

    /// A string, at whose first quote the reader is.
    fn string(&mut self) -> Result<String> {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let mut end = 1;
        while let Some(&byte) = bytes.get(end) {
            match byte {
                b'"' => break,
                b'\\' => end += 2,
                0..0x20 => return Err(bad(format!("Character with value 0x{byte:02x} must be escaped."))),
                _ => end += 1,
            }
        }
        let Some(quoted) = rest.get(..=end) else { return Err(bad("The input string ended unexpectedly.")) };
        let text: String = serde_json::from_str(quoted).map_err(|_| bad(format!("Token {quoted} is invalid.")))?;
        if text.contains('\0') {
            let error = Error::new(code::UNTRANSLATABLE, "unsupported Unicode escape sequence");
            return Err(error.detail("\\u0000 cannot be converted to text."));
        }
        self.at += quoted.len();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Value::parse(text).map_or_else(|error| error.to_string(), |value| value.to_string())
    }

    #[test]
    fn numbers_keep_all_their_digits_as_postgres_prints_them() {
        let cases = [
            ("12345678901234567890123", "12345678901234567890123"),
            ("1.10", "1.10"),
            ("1e2", "100"),
            ("1.50e1", "15.0"),
            ("1E-3", "0.001"),
            ("12.34e-1", "1.234"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("0e5", "0"),
            ("-1.5e3", "-1500"),
            ("0.1234567890123456789", "0.1234567890123456789"),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(text), wanted, "{text}");
        }
        assert_eq!(shown("1e131071").len(), 131_072);
        assert_eq!(shown("0e-16383").len(), 16_385);
    }

    #[test]
    fn documents_print_in_normal_form() {
        let cases = [
            (" [1 , 2.50,[] ,{}] ", "[1, 2.50, [], {}]"),
            (r#"{"bb":1,"a":2,"c":null}"#, r#"{"a": 2, "c": null, "bb": 1}"#),
            (r#"{"a":1,"a":2,"b b":"x\ty\u001f/\/\\"}"#, r#"{"a": 2, "b b": "x\ty\u001f//\\"}"#),
            (r#""\ud83d\ude00\u00e9""#, r#""😀é""#),
            ("true", "true"),
        ];
        for (text, wanted) in cases {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_the_place_of_the_fault() {
        let cases = [
            (r#"{"a":1"#, "ended unexpectedly"),
            ("", "ended unexpectedly"),
            ("[1,", "ended unexpectedly"),
            ("\"a", "ended unexpectedly"),
            ("\"a\\", "ended unexpectedly"),
            ("\"é", "ended unexpectedly"),
            ("[1,]", "Token \"]\""),
            ("01", "Token \"01\""),
            ("1.", "Token \"1.\""),
            (".5", "Token \".5\""),
            ("1e", "Token \"1e\""),
            ("+1", "Token \"+1\""),
            ("-", "Token \"-\""),
            ("tru", "Token \"tru\""),
            ("NaN", "Token \"NaN\""),
            ("{1:2}", "Token \"1\""),
            ("'é'", "Token \"'\""),
            ("\"a\tb\"", "0x09 must be escaped"),
            (r#""\ud83d""#, "is invalid"),
            (r#""\x""#, "is invalid"),
            ("[1] 2", "found \"2\""),
            (r#""\u0000""#, "cannot be converted"),
        ];
        for (text, detail) in cases {
            let error = Value::parse(text).expect_err(text);
            assert!(error.detail.as_deref().unwrap_or_default().contains(detail), "{text}: {error:?}");
        }
        for text in ["1e200000", "1e-20000", "1e99999999999", &format!("1{}", "0".repeat(131_072))] {
            assert_eq!(Value::parse(text).expect_err(text).sqlstate, code::NUMERIC_OUT_OF_RANGE);
        }
        assert!(Value::parse(&("[".repeat(1_000) + &"]".repeat(1_000))).is_ok());
        assert!(Value::parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn documents_sort_as_postgres_sorts_them() {
        // What `ORDER BY` of PostgreSQL 15 gives in this order.
        let ascending = [
            "[]",
            "null",
            "\"\"",
            "\"a\"",
            "\"ab\"",
            "\"b\"",
            "-100",
            "-99.5",
            "-1.25",
            "-1.2",
            "0",
            "0.05",
            "0.5",
            "2",
            "10",
            "100.001",
            "1e30",
            "false",
            "true",
            "[null]",
            "[1]",
            "[[]]",
            "[{}]",
            "[1, 2]",
            "[1, 3]",
            "{}",
            r#"{"a": null}"#,
            r#"{"a": 1}"#,
            r#"{"a": [1]}"#,
            r#"{"aa": 0}"#,
            r#"{"b": 0}"#,
            r#"{"a": 0, "b": 0}"#,
        ];
        let keys: Vec<Vec<u8>> = ascending.iter().map(|text| Value::parse(text).unwrap().sort_key()).collect();
        for (index, pair) in keys.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{} before {}", ascending[index], ascending[index + 1]);
        }
        for (one, other) in [("1.0", "1"), ("[1e2]", "[100.00]"), ("-0.0", "0")] {
            let (one, other) = (Value::parse(one).unwrap(), Value::parse(other).unwrap());
            assert_eq!(one, other);
            assert_eq!(one.sort_key(), other.sort_key());
        }
    }
}
