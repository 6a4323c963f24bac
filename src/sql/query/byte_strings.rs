//! Functions of byte strings, where DataFusion has them for text only, or counts letters
//! (<https://www.postgresql.org/docs/15/functions-binarystring.html>).

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::{pg_name, unnamed};
use super::row_function::{Argument, Definition, Takes};
use super::scalars;
use crate::catalog::{ColumnType, Datum};

type DfResult<T> = datafusion::error::Result<T>;

/// DataFusion's function of text, and keepsafe's own of bytes.
const OF_BOTH: [(&str, &str); 11] = [
    ("length", "bytes:length"),
    ("octet_length", "bytes:length"),
    ("bit_length", "bytes:bit_length"),
    ("substr", "bytes:substr"),
    ("substring", "bytes:substr"),
    ("strpos", "bytes:position"),
    ("overlay", "bytes:overlay"),
    ("btrim", "bytes:btrim"),
    ("trim", "bytes:btrim"),
    ("ltrim", "bytes:ltrim"),
    ("rtrim", "bytes:rtrim"),
];

/// A function that takes text or bytes, made of the one of text.
pub fn of_both(name: &str, zone: TimeZone, text: impl Fn() -> Option<Arc<ScalarUDF>>) -> Option<Arc<ScalarUDF>> {
    let (_, own) = OF_BOTH.iter().find(|(known, _)| *known == name)?;
    let (text, bytes) = (text()?, scalars::by_name(own, zone)?);
    Some(Arc::new(ScalarUDF::from(OfBoth { text, bytes, signature: Signature::user_defined(Volatility::Immutable) })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfBoth {
    text: Arc<ScalarUDF>,
    bytes: Arc<ScalarUDF>,
    signature: Signature,
}

fn is_of_bytes(types: &[DataType]) -> bool {
    types.first() == Some(&DataType::Binary)
}

impl ScalarUDFImpl for OfBoth {
    fn name(&self) -> &str {
        self.text.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        if is_of_bytes(types) {
            return Ok(types.to_vec());
        }
        let fields: Vec<FieldRef> = types.iter().map(unnamed).collect();
        let fields = fields_with_udf(&fields, self.text.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        if is_of_bytes(types) { &self.bytes } else { &self.text }.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if is_of_bytes(&types) { &self.bytes } else { &self.text }.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if is_of_bytes(&types) { &self.bytes } else { &self.text }.invoke_with_args(args)
    }
}

/// The functions.
pub fn definitions() -> Vec<Definition> {
    use ColumnType::{Bytes, Int4, Text};
    use Takes::{Between, Exactly};
    vec![
        ("bytes:length", Exactly(1), Int4.into(), |args| Ok(Datum::Int(bytes_of(&args[0])?.len() as i64))),
        ("bytes:bit_length", Exactly(1), Int4.into(), |args| Ok(Datum::Int(bytes_of(&args[0])?.len() as i64 * 8))),
        ("bytes:substr", Between(2, 3), Bytes.into(), |args| {
            let (bytes, from) = (bytes_of(&args[0])?, whole(&args[1])?);
            let end = match args.get(2).map(whole).transpose()? {
                Some(length) if length < 0 => {
                    return Err(Error::new("22011", "negative substring length not allowed"));
                }
                Some(length) => from.saturating_add(length),
                None => i64::MAX,
            };
            Ok(Datum::Bytes(between(bytes, from, end).to_vec().into()))
        }),
        ("bytes:position", Exactly(2), Int4.into(), |args| {
            let (bytes, wanted) = (bytes_of(&args[0])?, &*second_of(&args[1])?);
            if wanted.is_empty() {
                return Ok(Datum::Int(1));
            }
            let at = bytes.windows(wanted.len()).position(|window| window == wanted);
            Ok(Datum::Int(at.map_or(0, |at| at as i64 + 1)))
        }),
        ("bytes:overlay", Between(3, 4), Bytes.into(), |args| {
            let (bytes, instead, from) = (bytes_of(&args[0])?, &*second_of(&args[1])?, whole(&args[2])?);
            let length = args.get(3).map(whole).transpose()?.unwrap_or(instead.len() as i64);
            if from < 1 {
                return Err(Error::new("22011", "negative substring length not allowed"));
            }
            let after = between(bytes, from.saturating_add(length), i64::MAX);
            Ok(Datum::Bytes([between(bytes, 1, from), instead, after].concat().into()))
        }),
        ("bytes:btrim", Exactly(2), Bytes.into(), |args| trimmed(args, true, true)),
        ("bytes:ltrim", Exactly(2), Bytes.into(), |args| trimmed(args, true, false)),
        ("bytes:rtrim", Exactly(2), Bytes.into(), |args| trimmed(args, false, true)),
        ("get_byte", Exactly(2), Int4.into(), |args| {
            let (bytes, index) = (bytes_of(&args[0])?, whole(&args[1])?);
            Ok(Datum::Int(bytes[index_in(bytes, index)?].into()))
        }),
        ("set_byte", Exactly(3), Bytes.into(), |args| {
            let (mut bytes, index) = (bytes_of(&args[0])?.to_vec(), whole(&args[1])?);
            let index = index_in(&bytes, index)?;
            // Its low eight bits, as in PostgreSQL.
            bytes[index] = whole(&args[2])? as u8;
            Ok(Datum::Bytes(bytes.into()))
        }),
        ("convert_from", Exactly(2), Text.into(), |args| {
            is_utf8(&args[1])?;
            let text = String::from_utf8(bytes_of(&args[0])?.to_vec()).map_err(|error| {
                let wrong = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[wrong];
                Error::new("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
            })?;
            if text.contains('\0') {
                return Err(Error::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
            }
            Ok(text.into())
        }),
        ("convert_to", Exactly(2), Bytes.into(), |args| {
            is_utf8(&args[1])?;
            Ok(Datum::Bytes(args[0].text().into_bytes().into()))
        }),
    ]
}

/// Bytes of an argument, or those of a text.
pub fn bytes_of<'a>(arg: &'a Argument<'_>) -> Result<&'a [u8]> {
    match &arg.datum {
        Datum::Bytes(bytes) => Ok(bytes),
        Datum::Text(text) => Ok(text.as_bytes()),
        _ => Err(wrong(arg, "bytea")),
    }
}

/// What is given beside bytes: a literal is bytes as they are written.
fn second_of<'a>(arg: &'a Argument<'_>) -> Result<Cow<'a, [u8]>> {
    match &arg.datum {
        Datum::Text(text) => match text::parse(text, &ColumnType::Bytes, TimeZone::UTC)? {
            Datum::Bytes(bytes) => Ok(Cow::Owned(bytes.into_owned())),
            _ => Err(wrong(arg, "bytea")),
        },
        _ => bytes_of(arg).map(Cow::Borrowed),
    }
}

fn whole(arg: &Argument<'_>) -> Result<i64> {
    arg.datum.as_int().ok_or_else(|| wrong(arg, "a whole number"))
}

fn wrong(arg: &Argument<'_>, wanted: &str) -> Error {
    Error::new(code::UNDEFINED_FUNCTION, format!("this function takes {wanted}, not {}", pg_name(arg.column_type)))
}

/// Those from a place on, and before another one; the first place is 1.
fn between(bytes: &[u8], from: i64, end: i64) -> &[u8] {
    let place = |at: i64| usize::try_from(at.saturating_sub(1).max(0)).map_or(bytes.len(), |at| at.min(bytes.len()));
    let (from, end) = (place(from), place(end));
    &bytes[from..end.max(from)]
}

fn index_in(bytes: &[u8], index: i64) -> Result<usize> {
    let found = usize::try_from(index).ok().filter(|index| *index < bytes.len());
    let last = bytes.len() as i64 - 1;
    found.ok_or_else(|| Error::new("2202E", format!("index {index} out of valid range, 0..{last}")))
}

fn trimmed(args: &[Argument<'_>], start: bool, end: bool) -> Result<Datum<'static>> {
    let (mut bytes, unwanted) = (bytes_of(&args[0])?, &*second_of(&args[1])?);
    while let Some((_, rest)) = bytes.split_first().filter(|(first, _)| start && unwanted.contains(first)) {
        bytes = rest;
    }
    while let Some((_, rest)) = bytes.split_last().filter(|(last, _)| end && unwanted.contains(last)) {
        bytes = rest;
    }
    Ok(Datum::Bytes(bytes.to_vec().into()))
}

/// Refuses encodings other than the one of the server.
fn is_utf8(name: &Argument<'_>) -> Result<()> {
    let name = name.text();
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Error::unsupported(format!("the encoding \"{name}\""))),
    }
}
