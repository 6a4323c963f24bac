use std::fmt;

use serde::{Deserialize, Serialize};

use super::DescriptorId;
use super::enumeration::EnumType;

/// Digits after the point that a `DECIMAL` without precision and scale keeps.
pub const UNCONSTRAINED_SCALE: u8 = 10;

/// Characters that a type can ask for.
const MAX_LENGTH: u32 = 10_485_760;

/// The SQL type of a column. Prints as CockroachDB names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `BOOL`
    Bool,
    /// `INT2`
    Int2,
    /// `INT4`
    Int4,
    /// `INT8`
    Int8,
    /// `OID`, in arrays of the system catalog: elsewhere it is an `INT8`.
    Oid,
    /// `FLOAT4`
    Float4,
    /// `FLOAT8`
    Float8,
    /// `DECIMAL(precision, scale)`; without a precision it keeps [`UNCONSTRAINED_SCALE`] digits after the point.
    Decimal {
        /// Digits in all, at most 38.
        precision: Option<u8>,
        /// Digits after the point.
        scale: u8,
    },
    /// `STRING`
    Text,
    /// `VARCHAR(n)`: at most n characters.
    VarChar(Option<u32>),
    /// `CHAR(n)`: blank-padded; trailing blanks do not count and are not stored.
    Char(u32),
    /// `BYTES`
    Bytes,
    /// `DATE`: days since 1970-01-01.
    Date,
    /// `TIME`: microseconds since midnight.
    Time,
    /// `TIMESTAMP`: microseconds since 1970-01-01, no zone.
    Timestamp,
    /// `TIMESTAMPTZ`: microseconds since 1970-01-01 UTC.
    TimestampTz,
    /// `INTERVAL`
    Interval,
    /// `UUID`
    Uuid,
    /// `JSONB`
    Json,
    /// One-dimensional array.
    Array(Box<ColumnType>),
    /// A type made with `CREATE TYPE ... AS ENUM`: the number of a label.
    Enum(Box<EnumType>),
}

impl ColumnType {
    /// `DECIMAL` without precision.
    pub const DECIMAL: ColumnType = ColumnType::Decimal { precision: None, scale: UNCONSTRAINED_SCALE };

    /// Whether values can be in a key, that is in a primary key or an index.
    pub fn is_indexable(&self) -> bool {
        !matches!(self, ColumnType::Json)
    }

    /// Whether it is one of the whole numbers.
    pub fn is_integer(&self) -> bool {
        matches!(self, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Oid)
    }

    /// The enumerated type that it is, or whose arrays it is.
    pub fn enumeration(&self) -> Option<&EnumType> {
        match self {
            ColumnType::Enum(enumeration) => Some(enumeration),
            ColumnType::Array(element) => element.enumeration(),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn enumeration_mut(&mut self) -> Option<&mut EnumType> {
        match self {
            ColumnType::Enum(enumeration) => Some(enumeration),
            ColumnType::Array(element) => element.enumeration_mut(),
            _ => None,
        }
    }

    /// The descriptor of the type that somebody made, if this needs one.
    pub fn made_type(&self) -> Option<DescriptorId> {
        self.enumeration().map(|enumeration| enumeration.id)
    }

    /// Whether values are instants, or have them inside: what their text means depends on a time zone.
    pub fn has_instants(&self) -> bool {
        match self {
            ColumnType::Array(element) => element.has_instants(),
            other => *other == ColumnType::TimestampTz,
        }
    }

    /// The same for values of any length and precision.
    pub fn without_length(self) -> ColumnType {
        match self {
            ColumnType::VarChar(_) => ColumnType::Text,
            ColumnType::Char(_) => ColumnType::Char(MAX_LENGTH),
            ColumnType::Decimal { scale, .. } if scale > UNCONSTRAINED_SCALE => {
                ColumnType::Decimal { precision: Some(38), scale }
            }
            ColumnType::Decimal { .. } => ColumnType::DECIMAL,
            ColumnType::Array(element) => ColumnType::Array(Box::new(element.without_length())),
            other => other,
        }
    }

    /// Whether it is one of the character types.
    pub fn is_character(&self) -> bool {
        matches!(self, ColumnType::Text | ColumnType::VarChar(_) | ColumnType::Char(_))
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Bool => f.write_str("BOOL"),
            ColumnType::Int2 => f.write_str("INT2"),
            ColumnType::Int4 => f.write_str("INT4"),
            ColumnType::Int8 => f.write_str("INT8"),
            ColumnType::Oid => f.write_str("OID"),
            ColumnType::Float4 => f.write_str("FLOAT4"),
            ColumnType::Float8 => f.write_str("FLOAT8"),
            ColumnType::Decimal { precision: None, .. } => f.write_str("DECIMAL"),
            ColumnType::Decimal { precision: Some(precision), scale } => write!(f, "DECIMAL({precision},{scale})"),
            ColumnType::Text => f.write_str("STRING"),
            ColumnType::VarChar(None) => f.write_str("VARCHAR"),
            ColumnType::VarChar(Some(length)) => write!(f, "VARCHAR({length})"),
            ColumnType::Char(1) => f.write_str("CHAR"),
            ColumnType::Char(length) => write!(f, "CHAR({length})"),
            ColumnType::Bytes => f.write_str("BYTES"),
            ColumnType::Date => f.write_str("DATE"),
            ColumnType::Time => f.write_str("TIME"),
            ColumnType::Timestamp => f.write_str("TIMESTAMP"),
            ColumnType::TimestampTz => f.write_str("TIMESTAMPTZ"),
            ColumnType::Interval => f.write_str("INTERVAL"),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Json => f.write_str("JSONB"),
            ColumnType::Array(element) => write!(f, "{element}[]"),
            ColumnType::Enum(enumeration) => enumeration.fmt(f),
        }
    }
}
