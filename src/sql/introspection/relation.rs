//! The form of a virtual relation, and its rows as they are filled in.

use std::sync::Arc;

use datafusion::datasource::MemTable;

use super::super::error::Result;
use super::super::show::Shown;
use super::objects::Objects;
use crate::catalog::{ColumnType, Datum};

/// The type of a column, and what stands in it unless a row says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object identifier; 0.
    Oid,
    /// Whole numbers; 0.
    Int2,
    Int4,
    Int8,
    /// A number with a point; 0.
    Float4,
    /// `false`.
    Bool,
    /// One letter; empty.
    Letter,
    /// Text; NULL.
    Text,
    /// A length of time; NULL.
    Interval,
    /// An instant; NULL.
    Instant,
    /// Arrays; NULL.
    TextArray,
    Int2Array,
    OidArray,
}

impl Kind {
    fn column_type(self) -> ColumnType {
        let array = |element| ColumnType::Array(Box::new(element));
        match self {
            Kind::Oid | Kind::Int8 => ColumnType::Int8,
            Kind::Int2 => ColumnType::Int2,
            Kind::Int4 => ColumnType::Int4,
            Kind::Float4 => ColumnType::Float4,
            Kind::Bool => ColumnType::Bool,
            Kind::Letter | Kind::Text => ColumnType::Text,
            Kind::Interval => ColumnType::Interval,
            Kind::Instant => ColumnType::TimestampTz,
            Kind::TextArray => array(ColumnType::Text),
            Kind::Int2Array => array(ColumnType::Int2),
            Kind::OidArray => array(ColumnType::Int8),
        }
    }

    fn filler(self) -> Datum<'static> {
        match self {
            Kind::Oid | Kind::Int2 | Kind::Int4 | Kind::Int8 => Datum::Int(0),
            Kind::Float4 => Datum::Float(0.0),
            Kind::Bool => Datum::Bool(false),
            Kind::Letter => Datum::text(""),
            Kind::Text | Kind::Interval | Kind::Instant | Kind::TextArray | Kind::Int2Array | Kind::OidArray => {
                Datum::Null
            }
        }
    }
}

/// A relation made up from the catalog.
pub struct Relation {
    /// Its name in its schema.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [(&'static str, Kind)],
    /// Adds its rows.
    pub fill: fn(&Objects, &mut Rows),
}

impl Relation {
    /// It, as a table that a query can scan.
    pub fn table(&self, objects: &Objects) -> Result<Arc<MemTable>> {
        let columns: Vec<(&str, ColumnType)> =
            self.columns.iter().map(|(name, kind)| (*name, kind.column_type())).collect();
        let mut rows = Rows { columns: self.columns, shown: Shown::new(&columns) };
        (self.fill)(objects, &mut rows);
        rows.shown.into_table()
    }
}

/// The rows of a relation.
pub struct Rows {
    columns: &'static [(&'static str, Kind)],
    shown: Shown,
}

impl Rows {
    /// Adds a row. Columns that are not named get what their kind has.
    pub fn push(&mut self, values: &[(&str, Datum<'static>)]) {
        let known = |(name, _): &(&str, Datum<'static>)| self.columns.iter().any(|(column, _)| column == name);
        debug_assert!(values.iter().all(known), "a value for no column: {values:?}");
        let value = |(name, kind): &(&'static str, Kind)| {
            let given = values.iter().find(|(column, _)| column == name);
            given.map_or_else(|| kind.filler(), |(_, value)| value.clone())
        };
        self.shown.rows.push(self.columns.iter().map(value).collect());
    }
}

/// A relation of something that keepsafe does not have.
pub fn no_rows(_: &Objects, _: &mut Rows) {}
