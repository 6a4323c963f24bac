//! SQL types between four worlds: `sqlparser`, the catalog, Arrow, and PostgreSQL's wire.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use postgres_types::{Kind as PgKind, Type as PgType};
use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, ObjectName, TimezoneInfo,
};

use super::error::{Error, Result, code};
use crate::catalog::{ColumnType, DescriptorId, EnumType, UNCONSTRAINED_SCALE};
use crate::parser::quote_ident_in_sql;

/// Field metadata that carries the SQL type where Arrow's does not say enough.
const TYPE_KEY: &str = "keepsafe.type";
/// The most digits a decimal has.
pub const MAX_DECIMAL_PRECISION: u8 = 38;

/// The catalog's type for a type written in SQL, in either dialect's names; one that somebody made is unknown here.
pub fn from_sql(sql_type: &SqlType) -> Result<ColumnType> {
    resolve(sql_type, &|name| Err(undefined(name)))
}

/// The same, with `made` to find types that somebody made.
pub fn resolve(sql_type: &SqlType, made: &dyn Fn(&ObjectName) -> Result<ColumnType>) -> Result<ColumnType> {
    Ok(match sql_type {
        SqlType::Boolean | SqlType::Bool => ColumnType::Bool,
        SqlType::SmallInt(_) | SqlType::Int2(_) => ColumnType::Int2,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => ColumnType::Int4,
        SqlType::BigInt(_) | SqlType::Int8(_) | SqlType::Int64 => ColumnType::Int8,
        SqlType::Real | SqlType::Float4 => ColumnType::Float4,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 | SqlType::Float64 => ColumnType::Float8,
        SqlType::Float(ExactNumberInfo::Precision(bits)) if *bits < 25 => ColumnType::Float4,
        SqlType::Float(_) => ColumnType::Float8,
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => decimal(info)?,
        SqlType::Text | SqlType::String(None) => ColumnType::Text,
        SqlType::Varchar(length) | SqlType::CharacterVarying(length) | SqlType::CharVarying(length) => match length {
            Some(length) => ColumnType::VarChar(Some(character_length(length)?)),
            None => ColumnType::VarChar(None),
        },
        SqlType::String(Some(length)) => ColumnType::VarChar(Some(positive_length(*length)?)),
        SqlType::Char(length) | SqlType::Character(length) => match length {
            Some(length) => ColumnType::Char(character_length(length)?),
            None => ColumnType::Char(1),
        },
        SqlType::Bytea | SqlType::Bytes(None) | SqlType::Blob(None) => ColumnType::Bytes,
        SqlType::Date => ColumnType::Date,
        SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => ColumnType::Time,
        SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => ColumnType::Timestamp,
        SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => ColumnType::TimestampTz,
        SqlType::Interval { .. } => ColumnType::Interval,
        SqlType::Uuid => ColumnType::Uuid,
        SqlType::JSON | SqlType::JSONB => ColumnType::Json,
        SqlType::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => match resolve(element, made)? {
            ColumnType::Int8 if is_oid(element) => ColumnType::Array(Box::new(ColumnType::Oid)),
            ColumnType::Array(_) => return Err(Error::unsupported("an array of arrays")),
            element => ColumnType::Array(Box::new(element)),
        },
        SqlType::Custom(name, _) => from_name(&name.to_string()).map_or_else(|| made(name), Ok)?,
        other => return Err(Error::unsupported(format!("type {other}"))),
    })
}

/// How many digits a type written in SQL gives its seconds, if it says so: more than six are six.
pub fn time_precision(sql_type: &SqlType) -> Option<u8> {
    use sqlparser::ast::DataType::{Interval, Time, Timestamp};
    let (Timestamp(digits, _) | Time(digits, _) | Interval { precision: digits, .. }) = sql_type else { return None };
    digits.map(|digits| u8::try_from(digits).unwrap_or(u8::MAX).min(6))
}

fn is_oid(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("oid"))
}

/// The error of a type that is not there.
pub fn undefined(name: &ObjectName) -> Error {
    Error::new(code::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.to_string().replace('"', "")))
}

fn from_name(name: &str) -> Option<ColumnType> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.replace("\"pg_catalog\".", "pg_catalog.");
    let bare = bare.strip_prefix("pg_catalog.").unwrap_or(&bare);
    let is_quoted = bare.len() > 2 && bare.starts_with('"') && bare.ends_with('"') && bare != "\"char\"";
    let bare = if is_quoted { &bare[1..bare.len() - 1] } else { bare };
    // An array's type is called like its elements' with a line before it.
    if let Some(element) = bare.strip_prefix('_') {
        return from_name(element).map(|element| ColumnType::Array(Box::new(element)));
    }
    Some(match bare {
        "string" | "name" => ColumnType::Text,
        "varchar" => ColumnType::VarChar(None),
        "float4" => ColumnType::Float4,
        "float8" => ColumnType::Float8,
        "numeric" => ColumnType::DECIMAL,
        "bytea" => ColumnType::Bytes,
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "timestamp" => ColumnType::Timestamp,
        "interval" => ColumnType::Interval,
        "bytes" => ColumnType::Bytes,
        // Of any length, which TEXT is, too.
        "bpchar" => ColumnType::Text,
        "int" | "int4" => ColumnType::Int4,
        "int2" => ColumnType::Int2,
        "int8" | "oid" => ColumnType::Int8,
        "bool" => ColumnType::Bool,
        "text" | "\"char\"" => ColumnType::Text,
        "timestamptz" => ColumnType::TimestampTz,
        "uuid" => ColumnType::Uuid,
        "jsonb" | "json" => ColumnType::Json,
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(ColumnType::DECIMAL),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let fits = (1..=u64::from(MAX_DECIMAL_PRECISION)).contains(&precision) && scale >= 0 && scale as u64 <= precision;
    if !fits {
        let message = format!(
            "DECIMAL precision must be between 1 and {MAX_DECIMAL_PRECISION}, and scale between 0 and precision"
        );
        return Err(Error::new(code::INVALID_PARAMETER, message));
    }
    Ok(ColumnType::Decimal { precision: Some(precision as u8), scale: scale as u8 })
}

fn character_length(length: &CharacterLength) -> Result<u32> {
    match length {
        CharacterLength::IntegerLength { length, .. } => positive_length(*length),
        CharacterLength::Max => Err(Error::unsupported("length MAX")),
    }
}

fn positive_length(length: u64) -> Result<u32> {
    let length = u32::try_from(length).ok().filter(|&length| (1..=10_485_760).contains(&length));
    length.ok_or_else(|| Error::new(code::INVALID_PARAMETER, "length must be between 1 and 10485760"))
}

/// The Arrow type that holds values of a SQL type.
pub fn arrow_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int2 => DataType::Int16,
        ColumnType::Int4 => DataType::Int32,
        ColumnType::Int8 | ColumnType::Oid => DataType::Int64,
        ColumnType::Float4 => DataType::Float32,
        ColumnType::Float8 => DataType::Float64,
        ColumnType::Decimal { precision, scale } => {
            DataType::Decimal128(precision.unwrap_or(MAX_DECIMAL_PRECISION), *scale as i8)
        }
        ColumnType::Text
        | ColumnType::VarChar(_)
        | ColumnType::Char(_)
        | ColumnType::Uuid
        | ColumnType::Json
        | ColumnType::Enum(_) => DataType::Utf8,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        ColumnType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        // What there is to say of the elements, the field of the array says.
        ColumnType::Array(element) => DataType::List(Arc::new(Field::new("item", arrow_type(element), true))),
    }
}

/// The Arrow field of a column; it remembers the SQL type.
pub fn field(name: &str, column_type: &ColumnType, nullable: bool) -> Field {
    let plain = Field::new(name, arrow_type(column_type), nullable);
    if from_arrow(plain.data_type()) == *column_type {
        return plain;
    }
    let json = serde_json::to_string(column_type).unwrap_or_default();
    plain.with_metadata(HashMap::from([(TYPE_KEY.to_string(), json)]))
}

/// A field without a name, for casts and placeholders.
pub fn anonymous_field(column_type: &ColumnType) -> FieldRef {
    Arc::new(field("", column_type, true))
}

/// A field of which only Arrow's type is known.
pub fn unnamed(data_type: &DataType) -> FieldRef {
    Arc::new(Field::new("", data_type.clone(), true))
}

/// The SQL type of a field.
pub fn of_field(field: &Field) -> ColumnType {
    let remembered = field.metadata().get(TYPE_KEY).and_then(|json| serde_json::from_str::<ColumnType>(json).ok());
    match remembered.filter(|remembered| storable_as(field.data_type(), remembered)) {
        Some(remembered) => remembered,
        None => match field.data_type() {
            DataType::List(element) | DataType::LargeList(element) => ColumnType::Array(Box::new(of_field(element))),
            other => from_arrow(other),
        },
    }
}

fn storable_as(data_type: &DataType, column_type: &ColumnType) -> bool {
    matches!(
        (data_type, arrow_type(column_type)),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8)
    ) || *data_type == arrow_type(column_type)
}

/// The SQL type of an Arrow type that nothing more is known of.
pub fn from_arrow(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => ColumnType::Int2,
        DataType::UInt16 | DataType::Int32 => ColumnType::Int4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => ColumnType::Int8,
        DataType::Float16 | DataType::Float32 => ColumnType::Float4,
        DataType::Float64 => ColumnType::Float8,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => match (*precision, (*scale).max(0) as u8) {
            (MAX_DECIMAL_PRECISION, UNCONSTRAINED_SCALE) => ColumnType::DECIMAL,
            (precision, scale) => ColumnType::Decimal { precision: Some(precision), scale },
        },
        DataType::Decimal256(_, scale) => {
            ColumnType::Decimal { precision: Some(MAX_DECIMAL_PRECISION), scale: (*scale).max(0) as u8 }
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Bytes
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Time,
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Timestamp(_, Some(_)) => ColumnType::TimestampTz,
        DataType::Interval(_) | DataType::Duration(_) => ColumnType::Interval,
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            match from_arrow(element.data_type()) {
                ColumnType::Array(_) => ColumnType::Text,
                element => ColumnType::Array(Box::new(element)),
            }
        }
        DataType::Dictionary(_, value) => from_arrow(value),
        _ => ColumnType::Text,
    }
}

/// The type on the wire.
pub fn pg_type(column_type: &ColumnType) -> PgType {
    match column_type {
        ColumnType::Bool => PgType::BOOL,
        ColumnType::Int2 => PgType::INT2,
        ColumnType::Int4 => PgType::INT4,
        ColumnType::Int8 => PgType::INT8,
        ColumnType::Oid => PgType::OID,
        ColumnType::Float4 => PgType::FLOAT4,
        ColumnType::Float8 => PgType::FLOAT8,
        ColumnType::Decimal { .. } => PgType::NUMERIC,
        ColumnType::Text => PgType::TEXT,
        ColumnType::VarChar(_) => PgType::VARCHAR,
        ColumnType::Char(_) => PgType::BPCHAR,
        ColumnType::Bytes => PgType::BYTEA,
        ColumnType::Date => PgType::DATE,
        ColumnType::Time => PgType::TIME,
        ColumnType::Timestamp => PgType::TIMESTAMP,
        ColumnType::TimestampTz => PgType::TIMESTAMPTZ,
        ColumnType::Interval => PgType::INTERVAL,
        ColumnType::Uuid => PgType::UUID,
        ColumnType::Json => PgType::JSONB,
        ColumnType::Enum(made) => pg_enum(made),
        ColumnType::Array(element) => match &**element {
            ColumnType::Enum(made) => {
                let kind = PgKind::Array(pg_enum(made));
                PgType::new(format!("_{}", made.name), wire_oid(made.array), kind, made.schema.clone())
            }
            ColumnType::Bool => PgType::BOOL_ARRAY,
            ColumnType::Int2 => PgType::INT2_ARRAY,
            ColumnType::Int4 => PgType::INT4_ARRAY,
            ColumnType::Int8 => PgType::INT8_ARRAY,
            ColumnType::Oid => PgType::OID_ARRAY,
            ColumnType::Float4 => PgType::FLOAT4_ARRAY,
            ColumnType::Float8 => PgType::FLOAT8_ARRAY,
            ColumnType::Decimal { .. } => PgType::NUMERIC_ARRAY,
            ColumnType::VarChar(_) => PgType::VARCHAR_ARRAY,
            ColumnType::Char(_) => PgType::BPCHAR_ARRAY,
            ColumnType::Bytes => PgType::BYTEA_ARRAY,
            ColumnType::Date => PgType::DATE_ARRAY,
            ColumnType::Time => PgType::TIME_ARRAY,
            ColumnType::Timestamp => PgType::TIMESTAMP_ARRAY,
            ColumnType::TimestampTz => PgType::TIMESTAMPTZ_ARRAY,
            ColumnType::Interval => PgType::INTERVAL_ARRAY,
            ColumnType::Uuid => PgType::UUID_ARRAY,
            ColumnType::Json => PgType::JSONB_ARRAY,
            ColumnType::Text | ColumnType::Array(_) => PgType::TEXT_ARRAY,
        },
    }
}

fn pg_enum(made: &EnumType) -> PgType {
    let labels = made.labels.iter().map(|known| known.label.clone()).collect();
    PgType::new(made.name.clone(), wire_oid(made.id), PgKind::Enum(labels), made.schema.clone())
}

/// PostgreSQL keeps the object identifiers below for itself.
const FIRST_OID: u64 = 16_384;

/// The object identifier of anything with a descriptor.
pub fn wire_oid(id: DescriptorId) -> u32 {
    (id.0 + FIRST_OID) as u32
}

/// The descriptor with an object identifier.
pub fn descriptor_of(oid: u32) -> Option<DescriptorId> {
    u64::from(oid).checked_sub(FIRST_OID).map(DescriptorId)
}

/// The SQL type of a parameter that a client declared; `None` if it left the type open.
pub fn from_pg(pg_type: &PgType) -> Option<ColumnType> {
    let element = |element: ColumnType| Some(ColumnType::Array(Box::new(element)));
    match *pg_type {
        PgType::BOOL => Some(ColumnType::Bool),
        PgType::INT2 => Some(ColumnType::Int2),
        PgType::INT4 | PgType::OID => Some(ColumnType::Int4),
        PgType::INT8 => Some(ColumnType::Int8),
        PgType::FLOAT4 => Some(ColumnType::Float4),
        PgType::FLOAT8 => Some(ColumnType::Float8),
        PgType::NUMERIC => Some(ColumnType::DECIMAL),
        PgType::TEXT | PgType::VARCHAR | PgType::BPCHAR | PgType::NAME => Some(ColumnType::Text),
        PgType::BYTEA => Some(ColumnType::Bytes),
        PgType::DATE => Some(ColumnType::Date),
        PgType::TIME => Some(ColumnType::Time),
        PgType::TIMESTAMP => Some(ColumnType::Timestamp),
        PgType::TIMESTAMPTZ => Some(ColumnType::TimestampTz),
        PgType::INTERVAL => Some(ColumnType::Interval),
        PgType::UUID => Some(ColumnType::Uuid),
        PgType::JSON | PgType::JSONB => Some(ColumnType::Json),
        PgType::BOOL_ARRAY => element(ColumnType::Bool),
        PgType::INT2_ARRAY => element(ColumnType::Int2),
        PgType::INT4_ARRAY => element(ColumnType::Int4),
        PgType::INT8_ARRAY => element(ColumnType::Int8),
        PgType::OID_ARRAY => element(ColumnType::Oid),
        PgType::FLOAT4_ARRAY => element(ColumnType::Float4),
        PgType::FLOAT8_ARRAY => element(ColumnType::Float8),
        PgType::TEXT_ARRAY | PgType::VARCHAR_ARRAY => element(ColumnType::Text),
        PgType::UUID_ARRAY => element(ColumnType::Uuid),
        _ => match pg_type.kind() {
            PgKind::Array(of) => from_pg(of).and_then(element),
            _ => None,
        },
    }
}

/// PostgreSQL's name for a type, as its error messages have it.
pub fn pg_name(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean".into(),
        ColumnType::Int2 => "smallint".into(),
        ColumnType::Int4 => "integer".into(),
        ColumnType::Int8 => "bigint".into(),
        ColumnType::Oid => "oid".into(),
        ColumnType::Float4 => "real".into(),
        ColumnType::Float8 => "double precision".into(),
        ColumnType::Decimal { .. } => "numeric".into(),
        ColumnType::Text => "text".into(),
        ColumnType::VarChar(None) => "character varying".into(),
        ColumnType::VarChar(Some(length)) => format!("character varying({length})"),
        ColumnType::Char(length) => format!("character({length})"),
        ColumnType::Bytes => "bytea".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Time => "time without time zone".into(),
        ColumnType::Timestamp => "timestamp without time zone".into(),
        ColumnType::TimestampTz => "timestamp with time zone".into(),
        ColumnType::Interval => "interval".into(),
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Json => "jsonb".into(),
        ColumnType::Enum(made) => quote_ident_in_sql(&made.name),
        ColumnType::Array(element) => format!("{}[]", pg_name(element)),
    }
}
