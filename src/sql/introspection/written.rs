//! Types, indexes and constraints as PostgreSQL writes them.

use postgres_types::{Kind, Type};

use super::super::create_statement::{action, checked, index_condition, index_part, storing};
use super::super::query::expression::columns_named;
use super::objects::{Objects, Rule, oid};
use crate::catalog::{Column, ColumnId, ColumnType, Index, IndexColumn, TableDescriptor};
use crate::parser::quote_ident_in_sql;

/// Bytes that PostgreSQL counts into the length of a type.
const LENGTH_HEADER: i64 = 4;

/// The type modifier of a column: its length, or its precision and scale; -1 without.
pub fn modifier(column_type: &ColumnType) -> i64 {
    match column_type {
        ColumnType::VarChar(Some(length)) | ColumnType::Char(length) => i64::from(*length) + LENGTH_HEADER,
        ColumnType::Decimal { precision: Some(precision), scale } => {
            (i64::from(*precision) << 16 | i64::from(*scale)) + LENGTH_HEADER
        }
        ColumnType::Array(element) => modifier(element),
        _ => -1,
    }
}

/// The type modifier of a column whose seconds have so many digits.
pub fn time_modifier(column: &Column) -> i64 {
    match (column.time_precision, &column.column_type) {
        (Some(digits), ColumnType::Interval) => ALL_FIELDS << 16 | i64::from(digits),
        (Some(digits), _) => i64::from(digits),
        (None, other) => modifier(other),
    }
}

/// In the upper half of an interval's modifier: it may have all of its fields.
const ALL_FIELDS: i64 = 0x7fff;

/// What `format_type` says of a type and its modifier.
pub fn type_name(objects: &Objects, oid: i64, modifier: Option<i64>) -> String {
    if oid == 0 {
        return "-".into();
    }
    if let Some(made) = objects.made_type(oid) {
        return objects.written_type(made);
    }
    if let Some(made) = objects.element_of(oid) {
        return format!("{}[]", objects.written_type(made));
    }
    let Some(wire) = u32::try_from(oid).ok().and_then(Type::from_oid) else { return "???".into() };
    if let Kind::Array(element) = wire.kind() {
        return format!("{}[]", type_name(objects, i64::from(element.oid()), modifier));
    }
    let length = modifier.filter(|modifier| *modifier >= LENGTH_HEADER).map(|modifier| modifier - LENGTH_HEADER);
    let with_length = |name: &str| length.map_or(name.to_string(), |length| format!("{name}({length})"));
    let digits =
        modifier.filter(|modifier| *modifier >= 0).map_or(String::new(), |digits| format!("({})", digits & 0xffff));
    match wire {
        Type::BOOL => "boolean".into(),
        Type::INT2 => "smallint".into(),
        Type::INT4 => "integer".into(),
        Type::INT8 => "bigint".into(),
        Type::FLOAT4 => "real".into(),
        Type::FLOAT8 => "double precision".into(),
        Type::NUMERIC => match length {
            Some(both) => format!("numeric({},{})", both >> 16, both & 0xffff),
            None => "numeric".into(),
        },
        Type::VARCHAR => with_length("character varying"),
        Type::BPCHAR => match length {
            Some(length) => format!("character({length})"),
            None => "bpchar".into(),
        },
        Type::CHAR => "\"char\"".into(),
        Type::TIME => format!("time{digits} without time zone"),
        Type::TIMESTAMP => format!("timestamp{digits} without time zone"),
        Type::TIMESTAMPTZ => format!("timestamp{digits} with time zone"),
        Type::INTERVAL => format!("interval{digits}"),
        other => other.name().to_string(),
    }
}

/// The columns that a condition names.
pub fn columns_of(table: &TableDescriptor, condition: &str) -> Vec<ColumnId> {
    let names = columns_named(condition);
    table.visible_columns().filter(|column| names.contains(&column.name)).map(|column| column.id).collect()
}

/// The statement that would make an index again.
pub fn index(objects: &Objects, table: &TableDescriptor, index: &Index) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let schema = objects.schemas.iter().find(|schema| schema.id() == table.schema);
    let schema = schema.map_or(String::new(), |schema| quote_ident_in_sql(schema.name()));
    let (name, table_name) = (quote_ident_in_sql(&index.name), quote_ident_in_sql(&table.identity.name));
    let part = |part: &IndexColumn| {
        let direction = if part.descending { " DESC" } else { "" };
        format!("{}{direction}", index_part(table, part.column))
    };
    let columns = index.columns.iter().map(part).collect::<Vec<_>>().join(", ");
    let condition = index_condition(table, index).map_or(String::new(), |condition| format!(" WHERE ({condition})"));
    let condition = objects.written_sql(&condition);
    format!(
        "CREATE {unique}INDEX {name} ON {schema}.{table_name} USING btree ({}){}{condition}",
        objects.written_sql(&columns),
        storing(table, index, "INCLUDE")
    )
}

/// A constraint, as `ALTER TABLE ... ADD CONSTRAINT name` takes it.
pub fn constraint(objects: &Objects, table: &TableDescriptor, rule: Rule<'_>) -> String {
    let names = |table: &TableDescriptor, ids: &mut dyn Iterator<Item = ColumnId>| {
        let name = |id| table.column(id).map_or(String::new(), |column| quote_ident_in_sql(&column.name));
        ids.map(name).collect::<Vec<_>>().join(", ")
    };
    let of_index = |index: &Index| names(table, &mut index.columns.iter().map(|part| part.column));
    match rule {
        Rule::Primary(index) => format!("PRIMARY KEY ({}){}", of_index(index), storing(table, index, "INCLUDE")),
        Rule::Unique(index) => format!("UNIQUE ({}){}", of_index(index), storing(table, index, "INCLUDE")),
        Rule::Check(check) => format!("CHECK ({})", objects.written_sql(&check.condition)),
        Rule::Foreign(key) => {
            let columns = names(table, &mut key.columns.iter().copied());
            let other = objects.written(oid(key.referenced_table)).unwrap_or_default();
            let referenced = objects
                .table(key.referenced_table)
                .map_or(String::new(), |other| names(other, &mut key.referenced_columns.iter().copied()));
            let actions = action("UPDATE", key.on_update) + &action("DELETE", key.on_delete);
            let checked = checked(key.checked);
            format!("FOREIGN KEY ({columns}) REFERENCES {other}({referenced}){actions}{checked}")
        }
    }
}
