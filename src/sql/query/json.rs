//! JSONB's operators and functions. A value is its text in normal form ([`Value`]).

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::ScalarUDF;
use sqlparser::ast::BinaryOperator;

use super::super::error::{Error, Result, code};
use super::super::json::{self, Map, Value};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::row_function::{Argument, Definition, Takes, named};
use crate::catalog::{ColumnType, Datum};

impl Argument<'_> {
    fn json(&self) -> Result<Value> {
        Value::parse(self.datum.as_text().ok_or_else(|| mismatch(self.column_type))?)
    }

    /// The steps of a path.
    fn path(&self) -> Result<Vec<String>> {
        Ok(self.texts()?.into_iter().flatten().collect())
    }

    /// An array of texts, or a literal of one.
    fn texts(&self) -> Result<Vec<Option<String>>> {
        let parsed;
        let items = match &self.datum {
            Datum::Array(items) => items,
            Datum::Text(text) => {
                parsed = text::parse(text, &ColumnType::Array(Box::new(ColumnType::Text)), self.zone)?;
                let Datum::Array(items) = &parsed else { return Err(mismatch(self.column_type)) };
                items
            }
            _ => return Err(mismatch(self.column_type)),
        };
        Ok(items.iter().map(|item| item.as_text().map(String::from)).collect())
    }

    /// Any value as JSON.
    fn to_json(&self) -> Result<Value> {
        Ok(match (&self.datum, self.column_type) {
            (Datum::Null, _) => Value::Null,
            (_, ColumnType::Json) => self.json()?,
            (Datum::Bool(value), _) => Value::Bool(*value),
            // NaN and infinities are none that JSON has.
            (Datum::Int(_), ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8)
            | (Datum::Float(_) | Datum::Decimal(_), _) => Value::number_or_text(self.text()),
            (Datum::Array(items), ColumnType::Array(element)) => {
                let zone = self.zone;
                let item = |item: &Datum<'_>| Argument { datum: item.clone(), column_type: element, zone }.to_json();
                Value::Array(items.iter().map(item).collect::<Result<_>>()?)
            }
            // As ISO 8601 has it.
            (_, ColumnType::Timestamp) => Value::from(self.text().replacen(' ', "T", 1)),
            (_, ColumnType::TimestampTz) => {
                let text = self.text().replacen(' ', "T", 1);
                let hours_only = text.len().checked_sub(3).is_some_and(|at| text[at..].starts_with(['+', '-']));
                Value::from(if hours_only { text + ":00" } else { text })
            }
            _ => Value::from(self.text()),
        })
    }
}

fn mismatch(column_type: &ColumnType) -> Error {
    Error::new(code::DATATYPE_MISMATCH, format!("this needs jsonb, not {}", super::super::types::pg_name(column_type)))
}

fn json(value: &Value) -> Datum<'static> {
    Datum::from(value.to_string())
}

/// A value as `->>` shows it: text without quotes, nothing for null.
fn shown(value: &Value) -> Datum<'static> {
    match value {
        Value::Null => Datum::Null,
        Value::String(text) => Datum::from(text.clone()),
        other => json(other),
    }
}

/// A member of an object by name, or an element of an array by number, negative ones from the end.
fn member<'v>(value: &'v Value, key: &Argument<'_>) -> Option<&'v Value> {
    match (value, &key.datum) {
        (Value::Array(items), Datum::Int(index)) => items.get(position(items.len(), *index)?),
        (Value::Object(map), Datum::Text(name)) => map.get(&**name),
        _ => None,
    }
}

fn position(length: usize, index: i64) -> Option<usize> {
    let index = if index < 0 { index.checked_add(length as i64)? } else { index };
    usize::try_from(index).ok()
}

fn at_path<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(position(items.len(), step.parse().ok()?)?),
        Value::Object(map) => map.get(step),
        _ => None,
    })
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|part| whole.iter().any(|whole| is_array(whole) == is_array(part) && contains(whole, part)))
        }
        // An array contains a scalar that is one of its elements.
        (Value::Array(whole), part) if !matches!(part, Value::Object(_)) => whole.contains(part),
        _ => whole == part,
    }
}

fn is_array(value: &Value) -> bool {
    matches!(value, Value::Array(_))
}

fn has(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(map) => map.contains_key(key),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        other => other.as_str() == Some(key),
    }
}

fn concatenated(left: Value, right: Value) -> Value {
    let items = |value: Value| match value {
        Value::Array(items) => items,
        other => vec![other],
    };
    match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            left.extend(right);
            Value::Object(left)
        }
        (left, right) => Value::Array(items(left).into_iter().chain(items(right)).collect()),
    }
}

fn without(mut value: Value, key: &Argument<'_>) -> Result<Value> {
    match (&mut value, &key.datum) {
        (Value::Object(map), Datum::Text(name)) => drop(map.remove(&**name)),
        (Value::Array(items), Datum::Text(text)) => items.retain(|item| item.as_str() != Some(&**text)),
        (Value::Array(items), Datum::Int(index)) => {
            if let Some(at) = position(items.len(), *index).filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        (Value::Object(map), Datum::Array(_)) => {
            let names = key.path()?;
            map.retain(|name, _| !names.contains(name));
        }
        _ => return Err(Error::new(code::INVALID_PARAMETER, "cannot delete that from such a jsonb value")),
    }
    Ok(value)
}

/// What is done with the place at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// `jsonb_set`: it gets a new value; one that is not there is made, if that is said.
    Set { create: bool },
    /// `jsonb_insert`: a new one comes before or after it; what an object has already is an error.
    Insert { after: bool },
}

fn refuse_scalar(value: &Value) -> Result<()> {
    match value {
        Value::Array(_) | Value::Object(_) => Ok(()),
        _ => Err(Error::new(code::INVALID_PARAMETER, "cannot set path in scalar")),
    }
}

/// Puts a value at a path, which may be new only at the end.
fn put(value: &mut Value, path: &[String], new: Value, how: Put, depth: usize) -> Result<()> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let place = match value {
        Value::Object(map) => {
            if rest.is_empty() {
                match (how, map.contains_key(step)) {
                    (Put::Set { create: false }, false) => {}
                    (Put::Insert { .. }, true) => {
                        let message = "cannot replace existing key";
                        return Err(Error::new(code::INVALID_PARAMETER, message)
                            .hint("Try using the function jsonb_set to replace key value."));
                    }
                    _ => {
                        map.insert(step.clone(), new);
                    }
                }
                return Ok(());
            }
            map.get_mut(step)
        }
        Value::Array(items) => {
            let index = step.parse::<i64>().map_err(|_| {
                let message = format!("path element at position {depth} is not an integer: \"{step}\"");
                Error::new(code::BAD_TEXT, message)
            })?;
            let found = position(items.len(), index).filter(|at| *at < items.len());
            if rest.is_empty() {
                let end = if index < 0 { 0 } else { items.len() };
                match (how, found) {
                    (Put::Set { .. }, Some(at)) => items[at] = new,
                    (Put::Set { create: false }, None) => {}
                    (Put::Insert { after }, Some(at)) => items.insert(at + usize::from(after), new),
                    (_, None) => items.insert(end, new),
                }
                return Ok(());
            }
            found.and_then(|at| items.get_mut(at))
        }
        _ => None,
    };
    match place {
        Some(place) => put(place, rest, new, how, depth + 1),
        None => Ok(()),
    }
}

/// The names of an object's members.
fn named_keys(keys: Vec<Option<String>>) -> Result<Vec<String>> {
    let null = || Error::new("22004", "null value not allowed for object key");
    keys.into_iter().map(|key| key.ok_or_else(null)).collect()
}

fn strip_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, strip_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(strip_nulls).collect()),
        other => other,
    }
}

/// `jsonb_pretty`: four blanks a level, as PostgreSQL prints it.
fn pretty(value: &Value, indent: usize, out: &mut String) {
    let line = |out: &mut String, indent: usize| {
        out.push('\n');
        out.push_str(&" ".repeat(indent * 4));
    };
    match value {
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                line(out, indent + 1);
                pretty(item, indent + 1, out);
            }
            line(out, indent);
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (number, (name, value)) in json::sorted(map).into_iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                line(out, indent + 1);
                out.push_str(&format!("{}: ", Value::from(name.clone())));
                pretty(value, indent + 1, out);
            }
            line(out, indent);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn elements(value: Value, what: &str) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Error::new(code::INVALID_PARAMETER, format!("cannot {what} a value that is not an array"))),
    }
}

fn built_object(arguments: &[Argument<'_>]) -> Result<Datum<'static>> {
    if arguments.len() % 2 == 1 {
        return Err(Error::new(code::INVALID_PARAMETER, "argument list must have even number of elements"));
    }
    let mut map = Map::new();
    for pair in arguments.chunks(2) {
        if pair[0].datum.is_null() {
            return Err(Error::new(code::INVALID_PARAMETER, "a key of an object must not be null"));
        }
        map.insert(pair[0].text(), pair[1].to_json()?);
    }
    Ok(json(&Value::Object(map)))
}

/// Which numbers of arguments a function takes.
fn texts(values: impl Iterator<Item = Datum<'static>>) -> Datum<'static> {
    Datum::Array(values.collect())
}

fn all() -> Vec<Definition> {
    use ColumnType::{Bool, Int4, Json, Text};
    use Takes::{Any, Between, Exactly};
    let list = |element: ColumnType| ColumnType::Array(Box::new(element));
    vec![
        ("->", Exactly(2), Json.into(), |args| Ok(member(&args[0].json()?, &args[1]).map_or(Datum::Null, json))),
        ("->>", Exactly(2), Text.into(), |args| Ok(member(&args[0].json()?, &args[1]).map_or(Datum::Null, shown))),
        ("#>", Exactly(2), Json.into(), |args| {
            Ok(at_path(&args[0].json()?, &args[1].path()?).map_or(Datum::Null, json))
        }),
        ("#>>", Exactly(2), Text.into(), |args| {
            Ok(at_path(&args[0].json()?, &args[1].path()?).map_or(Datum::Null, shown))
        }),
        ("@>", Exactly(2), Bool.into(), |args| Ok(Datum::Bool(contains(&args[0].json()?, &args[1].json()?)))),
        ("<@", Exactly(2), Bool.into(), |args| Ok(Datum::Bool(contains(&args[1].json()?, &args[0].json()?)))),
        ("?", Exactly(2), Bool.into(), |args| Ok(Datum::Bool(has(&args[0].json()?, &args[1].text())))),
        ("?|", Exactly(2), Bool.into(), |args| {
            let value = args[0].json()?;
            Ok(Datum::Bool(args[1].path()?.iter().any(|key| has(&value, key))))
        }),
        ("?&", Exactly(2), Bool.into(), |args| {
            let value = args[0].json()?;
            Ok(Datum::Bool(args[1].path()?.iter().all(|key| has(&value, key))))
        }),
        ("jsonb_concat", Exactly(2), Json.into(), |args| Ok(json(&concatenated(args[0].json()?, args[1].json()?)))),
        ("jsonb_delete", Exactly(2), Json.into(), |args| Ok(json(&without(args[0].json()?, &args[1])?))),
        ("jsonb_pretty", Exactly(1), Text.into(), |args| {
            let mut out = String::new();
            pretty(&args[0].json()?, 0, &mut out);
            Ok(Datum::from(out))
        }),
        ("jsonb_typeof", Exactly(1), Text.into(), |args| Ok(Datum::text(args[0].json()?.kind()))),
        ("jsonb_array_length", Exactly(1), Int4.into(), |args| {
            Ok(Datum::Int(elements(args[0].json()?, "get array length of")?.len() as i64))
        }),
        // As text: `unnest` would forget what they are in any case.
        ("jsonb_array_elements", Exactly(1), list(Text).into(), |args| {
            Ok(texts(elements(args[0].json()?, "extract elements from")?.iter().map(json)))
        }),
        ("jsonb_array_elements_text", Exactly(1), list(Text).into(), |args| {
            Ok(texts(elements(args[0].json()?, "extract elements from")?.iter().map(shown)))
        }),
        ("jsonb_object_keys", Exactly(1), list(Text).into(), |args| {
            members(args[0].json()?, |key, _| Datum::from(key.clone()))
        }),
        ("jsonb_object_values", Exactly(1), list(Text).into(), |args| members(args[0].json()?, |_, value| json(value))),
        ("jsonb_object_values_text", Exactly(1), list(Text).into(), |args| {
            members(args[0].json()?, |_, value| shown(value))
        }),
        ("jsonb_set", Between(3, 4), Json.into(), |args| {
            let mut value = args[0].json()?;
            let create = args.get(3).is_none_or(|create| create.datum == Datum::Bool(true));
            refuse_scalar(&value)?;
            put(&mut value, &args[1].path()?, args[2].json()?, Put::Set { create }, 1)?;
            Ok(json(&value))
        }),
        ("jsonb_insert", Between(3, 4), Json.into(), |args| {
            let mut value = args[0].json()?;
            let after = args.get(3).is_some_and(|after| after.datum == Datum::Bool(true));
            refuse_scalar(&value)?;
            put(&mut value, &args[1].path()?, args[2].json()?, Put::Insert { after }, 1)?;
            Ok(json(&value))
        }),
        ("jsonb_object", Between(1, 2), Json.into(), |args| {
            let (keys, values): (Vec<String>, Vec<Option<String>>) = match args {
                [both] => {
                    let both = both.texts()?;
                    if both.len() % 2 != 0 {
                        return Err(Error::new("2202E", "array must have even number of elements"));
                    }
                    let pair = |pair: &[Option<String>]| (pair[0].clone(), pair[1].clone());
                    let (keys, values): (Vec<_>, Vec<_>) = both.chunks(2).map(pair).unzip();
                    (named_keys(keys)?, values)
                }
                [keys, values, ..] => (named_keys(keys.texts()?)?, values.texts()?),
                [] => Default::default(),
            };
            if keys.len() != values.len() {
                return Err(Error::new("2202E", "mismatched array dimensions"));
            }
            let value = |value: Option<String>| value.map_or(Value::Null, Value::from);
            Ok(json(&Value::Object(keys.into_iter().zip(values.into_iter().map(value)).collect())))
        }),
        ("jsonb_strip_nulls", Exactly(1), Json.into(), |args| Ok(json(&strip_nulls(args[0].json()?)))),
        ("to_jsonb", Exactly(1), Json.into(), |args| Ok(json(&args[0].to_json()?))),
        (super::whole_rows::ROW, Any, Json.into(), |args| {
            let is_null = args.iter().skip(1).step_by(2).all(|value| value.datum.is_null());
            if is_null { Ok(Datum::Null) } else { built_object(args) }
        }),
        ("jsonb_build_object", Any, Json.into(), built_object),
        ("json_build_object", Any, Json.into(), built_object),
        ("jsonb_build_array", Any, Json.into(), |args| {
            Ok(json(&Value::Array(args.iter().map(Argument::to_json).collect::<Result<_>>()?)))
        }),
        ("jsonb_extract_path", Any, Json.into(), |args| extracted(args, json)),
        ("jsonb_extract_path_text", Any, Text.into(), |args| extracted(args, shown)),
        // What `jsonb_agg` and `jsonb_object_agg` have collected: JSON as text.
        ("json:array", Exactly(1), Json.into(), |args| match &args[0].datum {
            Datum::Array(items) => Ok(json(&Value::Array(items.iter().map(parsed).collect::<Result<_>>()?))),
            _ => Err(mismatch(args[0].column_type)),
        }),
        ("json:object", Exactly(2), Json.into(), |args| {
            let (Datum::Array(keys), Datum::Array(values)) = (&args[0].datum, &args[1].datum) else {
                return Err(mismatch(args[0].column_type));
            };
            let mut object = Map::new();
            for (key, value) in keys.iter().zip(values) {
                let missing = || Error::new(code::INVALID_PARAMETER, "field name must not be null");
                object.insert(key.as_text().ok_or_else(missing)?.to_string(), parsed(value)?);
            }
            Ok(json(&Value::Object(object)))
        }),
        ("jsonb_delete_path", Exactly(2), Json.into(), |args| {
            let mut value = args[0].json()?;
            delete_path(&mut value, &args[1].path()?);
            Ok(json(&value))
        }),
    ]
}

/// Something of each member of an object.
fn members(value: Value, shown: impl Fn(&String, &Value) -> Datum<'static>) -> Result<Datum<'static>> {
    match value {
        Value::Object(map) => Ok(texts(json::sorted(&map).into_iter().map(|(name, value)| shown(name, value)))),
        other => {
            let message = format!("cannot take members of a value of kind {}", other.kind());
            Err(Error::new(code::INVALID_PARAMETER, message))
        }
    }
}

/// A value that was collected as text.
fn parsed(item: &Datum<'_>) -> Result<Value> {
    match item.as_text() {
        None => Ok(Value::Null),
        Some(text) => Value::parse(text),
    }
}

fn delete_path(value: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    let at = |length: usize| step.parse::<i64>().ok().and_then(|index| position(length, index));
    match (value, rest.is_empty()) {
        (Value::Object(members), true) => drop(members.remove(step)),
        (Value::Object(members), false) => {
            if let Some(inner) = members.get_mut(step) {
                delete_path(inner, rest);
            }
        }
        (Value::Array(items), is_last) => match (at(items.len()), is_last) {
            (Some(index), true) => drop(items.remove(index)),
            (Some(index), false) => delete_path(&mut items[index], rest),
            (None, _) => {}
        },
        _ => {}
    }
}

fn extracted(args: &[Argument<'_>], shown: fn(&Value) -> Datum<'static>) -> Result<Datum<'static>> {
    let Some((value, path)) = args.split_first().filter(|(value, _)| !value.datum.is_null()) else {
        return Ok(Datum::Null);
    };
    let path: Vec<String> = path.iter().map(Argument::text).collect();
    Ok(at_path(&value.json()?, &path).map_or(Datum::Null, shown))
}

static FUNCTIONS: LazyLock<Vec<Definition>> = LazyLock::new(all);

/// A function on JSONB; those on `json` are the same.
pub fn by_name(name: &str, zone: TimeZone) -> Option<Arc<ScalarUDF>> {
    let find = |name: &str| named(&FUNCTIONS, name, zone);
    let name = name.strip_prefix(AS_LIST).unwrap_or(name);
    find(name).or_else(|| find(&name.strip_prefix("json_").map(|rest| format!("jsonb_{rest}"))?))
}

/// Before the name of a set-returning function: the same, giving an array.
pub const AS_LIST: &str = "list:";

/// The two lists of a function that gives a row for every member of an object.
pub fn pairs(name: &str) -> Option<[&'static str; 2]> {
    match name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_"))? {
        "each" => Some(["jsonb_object_keys", "jsonb_object_values"]),
        "each_text" => Some(["jsonb_object_keys", "jsonb_object_values_text"]),
        _ => None,
    }
}

/// Whether a function gives a row for every element.
pub fn is_set_function(name: &str) -> bool {
    let set = ["array_elements", "array_elements_text", "object_keys"];
    name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_")).is_some_and(|rest| set.contains(&rest))
}

/// The function that an operator stands for when its operands are of these types.
pub fn operator(op: &BinaryOperator, left: &ColumnType, right: &ColumnType, zone: TimeZone) -> Option<Arc<ScalarUDF>> {
    let is_json = *left == ColumnType::Json;
    // What `unnest` gives has lost its type.
    let may_be_json = is_json || left.is_character();
    let name = match op {
        BinaryOperator::Arrow if may_be_json => "->",
        BinaryOperator::LongArrow if may_be_json => "->>",
        BinaryOperator::HashArrow if may_be_json => "#>",
        BinaryOperator::HashLongArrow if may_be_json => "#>>",
        BinaryOperator::AtArrow if is_json => "@>",
        BinaryOperator::ArrowAt if is_json || *right == ColumnType::Json => "<@",
        BinaryOperator::Question if is_json => "?",
        BinaryOperator::QuestionPipe if is_json => "?|",
        BinaryOperator::QuestionAnd if is_json => "?&",
        BinaryOperator::StringConcat if is_json && !right.is_character() => "jsonb_concat",
        BinaryOperator::Minus if is_json => "jsonb_delete",
        BinaryOperator::HashMinus if is_json => "jsonb_delete_path",
        _ => return None,
    };
    by_name(name, zone)
}
