//! Types.

use postgres_types::{Kind as TypeKind, Type};

use super::super::objects::{Objects, label_oid, oid, role_oid};
use super::super::relation::Rows;
use super::{DEFAULT_COLLATION, PG_CATALOG, name};
use crate::catalog::Datum;

/// What stands for a type that is not there.
const NO_TYPE: i64 = 0;

/// Length (-1: varies), whether passed by value, alignment and storage of a type.
pub fn layout(wire: &Type) -> (i64, bool, &'static str, &'static str) {
    if let TypeKind::Enum(_) = wire.kind() {
        return (4, true, "i", "p");
    }
    match *wire {
        Type::BOOL | Type::CHAR => (1, true, "c", "p"),
        Type::INT2 => (2, true, "s", "p"),
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC => {
            (4, true, "i", "p")
        }
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => (8, true, "d", "p"),
        Type::INTERVAL => (16, false, "d", "p"),
        Type::UUID => (16, false, "c", "p"),
        Type::NAME => (64, false, "c", "p"),
        Type::NUMERIC => (-1, false, "i", "m"),
        _ => (-1, false, "i", "x"),
    }
}

/// The collation of a type.
pub fn collation(wire: &Type) -> i64 {
    let element = match wire.kind() {
        TypeKind::Array(element) => element,
        _ => wire,
    };
    if matches!(*element, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME) { DEFAULT_COLLATION } else { 0 }
}

/// The types that columns can have, and those that clients ask for.
fn known_types() -> Vec<Type> {
    let simple = [
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::NUMERIC,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::BYTEA,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::INTERVAL,
        Type::UUID,
        Type::JSONB,
        Type::JSON,
        Type::CHAR,
        Type::NAME,
        Type::OID,
        Type::REGCLASS,
        Type::REGTYPE,
        Type::REGPROC,
        Type::VOID,
        Type::UNKNOWN,
        Type::RECORD,
    ];
    let arrays = [
        Type::BOOL_ARRAY,
        Type::INT2_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::FLOAT4_ARRAY,
        Type::FLOAT8_ARRAY,
        Type::NUMERIC_ARRAY,
        Type::TEXT_ARRAY,
        Type::VARCHAR_ARRAY,
        Type::BPCHAR_ARRAY,
        Type::BYTEA_ARRAY,
        Type::DATE_ARRAY,
        Type::TIME_ARRAY,
        Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INTERVAL_ARRAY,
        Type::UUID_ARRAY,
        Type::JSONB_ARRAY,
        Type::JSON_ARRAY,
        Type::NAME_ARRAY,
        Type::OID_ARRAY,
    ];
    simple.into_iter().chain(arrays).collect()
}

/// The types that somebody made, and those of their arrays.
fn pg_type_rows_of_made(objects: &Objects, rows: &mut Rows) {
    for made in &objects.types {
        let (schema, owner) = (oid(made.descriptor.schema), role_oid(&made.descriptor.identity.owner));
        let (own, array) = (oid(made.column_type.id), oid(made.column_type.array));
        let common = [
            ("typnamespace", schema.into()),
            ("typowner", owner.into()),
            ("typisdefined", Datum::Bool(true)),
            ("typdelim", ",".into()),
            ("typalign", "i".into()),
            ("typtypmod", (-1_i64).into()),
        ];
        let of_own = [
            ("oid", own.into()),
            ("typname", name(&made.column_type.name)),
            ("typlen", 4_i64.into()),
            ("typbyval", Datum::Bool(true)),
            ("typtype", "e".into()),
            ("typcategory", "E".into()),
            ("typarray", array.into()),
            ("typinput", "enum_in".into()),
            ("typoutput", "enum_out".into()),
            ("typreceive", "enum_recv".into()),
            ("typsend", "enum_send".into()),
            ("typstorage", "p".into()),
        ];
        rows.push(&[&common[..], &of_own].concat());
        let of_arrays = [
            ("oid", array.into()),
            ("typname", name(&format!("_{}", made.column_type.name))),
            ("typlen", (-1_i64).into()),
            ("typbyval", Datum::Bool(false)),
            ("typtype", "b".into()),
            ("typcategory", "A".into()),
            ("typsubscript", "array_subscript_handler".into()),
            ("typelem", own.into()),
            ("typinput", "array_in".into()),
            ("typoutput", "array_out".into()),
            ("typreceive", "array_recv".into()),
            ("typsend", "array_send".into()),
            ("typstorage", "x".into()),
        ];
        rows.push(&[&common[..], &of_arrays].concat());
    }
}

pub fn pg_enum(objects: &Objects, rows: &mut Rows) {
    for made in &objects.types {
        let of_type = oid(made.column_type.id);
        for (at, known) in made.column_type.labels.iter().enumerate() {
            rows.push(&[
                ("oid", label_oid(of_type, known.number).into()),
                ("enumtypid", of_type.into()),
                ("enumsortorder", Datum::Float((at + 1) as f64)),
                ("enumlabel", name(&known.label)),
            ]);
        }
    }
}

pub fn pg_type_rows(objects: &Objects, rows: &mut Rows) {
    pg_type_rows_of_made(objects, rows);
    let types = known_types();
    let element = |wire: &Type| match wire.kind() {
        TypeKind::Array(element) => Some(element.clone()),
        _ => None,
    };
    for wire in &types {
        let (length, by_value, align, storage) = layout(wire);
        let array = types.iter().find(|array| element(array).as_ref() == Some(wire));
        let category = match *wire {
            _ if element(wire).is_some() => "A",
            Type::BOOL => "B",
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => "S",
            Type::DATE | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => "D",
            Type::INTERVAL => "T",
            Type::BYTEA | Type::UUID | Type::JSON | Type::JSONB => "U",
            Type::CHAR => "Z",
            Type::VOID | Type::RECORD => "P",
            Type::UNKNOWN => "X",
            _ => "N",
        };
        let is_pseudo = matches!(*wire, Type::VOID | Type::RECORD | Type::UNKNOWN);
        let function = |suffix: &str| name(&format!("{}{suffix}", wire.name()));
        rows.push(&[
            ("oid", i64::from(wire.oid()).into()),
            ("typname", name(wire.name())),
            ("typnamespace", PG_CATALOG.into()),
            ("typowner", role_oid("root").into()),
            ("typlen", length.into()),
            ("typbyval", Datum::Bool(by_value)),
            ("typtype", if is_pseudo { "p" } else { "b" }.into()),
            ("typcategory", category.into()),
            ("typisdefined", Datum::Bool(true)),
            ("typdelim", ",".into()),
            ("typelem", element(wire).map_or(NO_TYPE, |element| i64::from(element.oid())).into()),
            ("typarray", array.map_or(NO_TYPE, |array| i64::from(array.oid())).into()),
            ("typinput", if category == "A" { "array_in".into() } else { function("in") }),
            ("typoutput", if category == "A" { "array_out".into() } else { function("out") }),
            ("typreceive", if category == "A" { "array_recv".into() } else { function("recv") }),
            ("typsend", if category == "A" { "array_send".into() } else { function("send") }),
            ("typalign", align.into()),
            ("typstorage", storage.into()),
            ("typtypmod", (-1_i64).into()),
            ("typcollation", collation(wire).into()),
        ]);
    }
}
