//! Databases, schemas, and everything in them.

use postgres_types::Type;

use super::super::super::ddl::privileges::{self, Granted};
use super::super::objects::{
    Objects, Rule, attnum, constraints, declared_primary, default_oid, index_oid, oid, referenced_key, role_oid,
    shown_indexes,
};
use super::super::relation::Rows;
use super::super::written;
use super::types::{collation, layout};
use super::{
    BTREE, DEFAULT_OPCLASS, DEFAULT_TABLESPACE, HEAP, INFORMATION_SCHEMA, PG_ATTRDEF_OID, PG_CATALOG, PG_CLASS_OID,
    UTF8, name, numbers,
};
use crate::catalog::{
    Checked, Column, ColumnId, ColumnType, Datum, Descriptor, IdentityGeneration, Index, IndexColumn, PUBLIC_SCHEMA,
    ReferentialAction, SequenceDescriptor, TableDescriptor,
};
use crate::parser::quote_ident_in_sql;
use crate::sql::types::pg_type;

pub fn pg_database(objects: &Objects, rows: &mut Rows) {
    for database in &objects.databases {
        rows.push(&[
            ("oid", oid(database.id()).into()),
            ("datname", name(database.name())),
            ("datacl", acl(database)),
            ("datdba", role_oid(&database.identity().owner).into()),
            ("encoding", UTF8.into()),
            ("datlocprovider", "c".into()),
            ("datallowconn", Datum::Bool(true)),
            ("datconnlimit", (-1_i64).into()),
            ("dattablespace", DEFAULT_TABLESPACE.into()),
            ("datcollate", "C.UTF-8".into()),
            ("datctype", "C.UTF-8".into()),
        ]);
    }
}

pub fn pg_namespace(objects: &Objects, rows: &mut Rows) {
    for schema in &objects.schemas {
        let owner = &schema.identity().owner;
        let mut row = vec![
            ("oid", oid(schema.id()).into()),
            ("nspname", name(schema.name())),
            ("nspowner", role_oid(owner).into()),
        ];
        // Everybody may use this one, which is there from the beginning.
        if schema.name() == PUBLIC_SCHEMA {
            let own = [format!("{}=UC/{}", role(owner), role(owner)), format!("=U/{}", role(owner))];
            let grants = own.into_iter().chain(grants(schema));
            row.push(("nspacl", Datum::Array(grants.map(Datum::from).collect())));
        } else {
            row.push(("nspacl", acl(schema)));
        }
        rows.push(&row);
    }
    for (oid, schema) in [(PG_CATALOG, "pg_catalog"), (INFORMATION_SCHEMA, "information_schema")] {
        rows.push(&[("oid", oid.into()), ("nspname", schema.into()), ("nspowner", role_oid("root").into())]);
    }
}

/// A role as an access control list has it.
fn role(name: &str) -> String {
    let is_plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    if is_plain { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What was granted of an object, as PostgreSQL writes it.
fn grants(object: &Descriptor) -> Vec<String> {
    let owner = &object.identity().owner;
    privileges::granted(object).iter().map(|granted| acl_item(granted, privileges::of_kind(object), owner)).collect()
}

/// One role's part of an access control list.
pub fn acl_item((grantee, privileges): &Granted<'_>, known: &[(&str, char)], grantor: &str) -> String {
    let letter = |(name, grantable): &(&str, bool)| {
        let letter = known.iter().find(|(known, _)| known == name).map(|(_, letter)| *letter);
        letter.into_iter().chain(grantable.then_some('*')).collect::<String>()
    };
    let letters: String = privileges.iter().map(letter).collect();
    let grantee = if *grantee == privileges::PUBLIC { String::new() } else { role(grantee) };
    format!("{grantee}={letters}/{}", role(grantor))
}

/// What was granted of a column alone.
fn column_acl(column: &Column, owner: &str) -> Datum<'static> {
    if column.grants.is_empty() {
        return Datum::Null;
    }
    let known = privileges::OF_COLUMN;
    let item = |grant| Datum::from(acl_item(&privileges::in_order(grant, known), known, owner));
    Datum::Array(column.grants.iter().map(item).collect())
}

/// The access control list of an object; NULL if it is what every new one has.
fn acl(object: &Descriptor) -> Datum<'static> {
    let granted = grants(object);
    if granted.is_empty() {
        return Datum::Null;
    }
    let owner = role(&object.identity().owner);
    let all: String = privileges::of_kind(object).iter().map(|(_, letter)| letter).collect();
    let public = matches!(object, Descriptor::Database(_)).then(|| format!("=Tc/{owner}"));
    let own = std::iter::once(format!("{owner}={all}/{owner}"));
    Datum::Array(public.into_iter().chain(own).chain(granted).map(Datum::from).collect())
}

pub fn pg_class(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let (letter, columns, checks) = match &**relation {
            Descriptor::Table(table) => ("r", last_number(table) as usize, table.checks.len()),
            Descriptor::View(view) => ("v", view.columns.len(), 0),
            Descriptor::Sequence(_) => ("S", 3, 0),
            Descriptor::Database(_) | Descriptor::Schema(_) | Descriptor::Type(_) => continue,
        };
        let is_table = letter == "r";
        let has_index = matches!(&**relation, Descriptor::Table(table) if shown_indexes(table).next().is_some());
        // Foreign keys are triggers in PostgreSQL: that is how clients know to ask for them.
        let has_triggers = matches!(&**relation, Descriptor::Table(table)
            if !table.foreign_keys.is_empty() || !table.referenced_by.is_empty());
        let Some(schema) = relation.parents().1 else { continue };
        rows.push(&[
            ("oid", oid(relation.id()).into()),
            ("relname", name(relation.name())),
            ("relnamespace", oid(schema).into()),
            ("relowner", role_oid(&relation.identity().owner).into()),
            ("relam", if is_table { HEAP } else { 0 }.into()),
            ("relfilenode", oid(relation.id()).into()),
            ("reltuples", Datum::Float(-1.0)),
            ("relhasindex", Datum::Bool(has_index)),
            ("relpersistence", objects.persistence(schema).into()),
            ("relkind", letter.into()),
            ("relnatts", (columns as i64).into()),
            ("relchecks", (checks as i64).into()),
            ("relacl", acl(relation)),
            ("relhasrules", Datum::Bool(letter == "v")),
            ("relhastriggers", Datum::Bool(has_triggers)),
            ("relispopulated", Datum::Bool(true)),
            ("relreplident", if is_table { "d" } else { "n" }.into()),
        ]);
    }
    for table in objects.tables() {
        for index in shown_indexes(table) {
            rows.push(&[
                ("oid", index_oid(index).into()),
                ("relname", name(&index.name)),
                ("relnamespace", oid(table.schema).into()),
                ("relowner", role_oid(&table.identity.owner).into()),
                ("relam", BTREE.into()),
                ("relfilenode", index_oid(index).into()),
                ("relpersistence", objects.persistence(table.schema).into()),
                ("relkind", "i".into()),
                ("relnatts", ((index.columns.len() + index.stored.len()) as i64).into()),
                ("relispopulated", Datum::Bool(true)),
                ("relreplident", "n".into()),
            ]);
        }
    }
}

/// The highest number of a column.
fn last_number(table: &TableDescriptor) -> i64 {
    table.visible_columns().map(|column| attnum(column.id)).max().unwrap_or(0)
}

/// What there is to say of a column's type.
fn type_of(column_type: &ColumnType) -> [(&'static str, Datum<'static>); 8] {
    let wire = pg_type(column_type);
    let (length, by_value, align, storage) = layout(&wire);
    [
        ("atttypid", i64::from(wire.oid()).into()),
        ("atttypmod", written::modifier(column_type).into()),
        ("attlen", length.into()),
        ("attbyval", Datum::Bool(by_value)),
        ("attalign", align.into()),
        ("attstorage", storage.into()),
        ("attndims", i64::from(matches!(column_type, ColumnType::Array(_))).into()),
        ("attcollation", collation(&wire).into()),
    ]
}

fn attribute(rows: &mut Rows, own: &[(&'static str, Datum<'static>)], column_type: &ColumnType) {
    let common: [(&'static str, Datum<'static>); 3] =
        [("attstattarget", (-1_i64).into()), ("attcacheoff", (-1_i64).into()), ("attislocal", Datum::Bool(true))];
    rows.push(&[own, &type_of(column_type), &common].concat());
}

pub fn pg_attribute(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let relid = oid(relation.id());
        match &**relation {
            Descriptor::Table(table) => {
                for column in table.visible_columns() {
                    let own = [
                        ("attrelid", relid.into()),
                        ("attname", name(&column.name)),
                        ("attnum", attnum(column.id).into()),
                        ("attnotnull", Datum::Bool(!column.nullable)),
                        ("atthasdef", Datum::Bool(kept_default(column).is_some())),
                        ("attgenerated", if column.generated.is_some() { "s" } else { "" }.into()),
                        ("attidentity", attidentity(column).into()),
                        ("atthasmissing", Datum::Bool(column.missing.is_some())),
                        ("attacl", column_acl(column, &table.identity.owner)),
                    ];
                    let modifier = ("atttypmod", written::time_modifier(column).into());
                    attribute(rows, &[&own[..], &[modifier]].concat(), &column.column_type);
                }
                // Numbers of columns that are gone, or hidden, so that there is no gap.
                let is_gone = |number: &i64| table.visible_columns().all(|column| attnum(column.id) != *number);
                for number in (1..last_number(table)).filter(is_gone) {
                    rows.push(&[
                        ("attrelid", relid.into()),
                        ("attname", name(&format!("........pg.dropped.{number}........"))),
                        ("attnum", number.into()),
                        ("attalign", "i".into()),
                        ("attstorage", "p".into()),
                        ("attisdropped", Datum::Bool(true)),
                        ("attislocal", Datum::Bool(true)),
                    ]);
                }
                for index in shown_indexes(table) {
                    let parts = index.columns.iter().map(|part| part.column).chain(index.stored.iter().copied());
                    for (at, id) in parts.enumerate() {
                        let Some(column) = table.column(id) else { continue };
                        let own = [
                            ("attrelid", index_oid(index).into()),
                            ("attname", name(if column.hidden { "expr" } else { &column.name })),
                            ("attnum", (at as i64 + 1).into()),
                        ];
                        attribute(rows, &own, &column.column_type);
                    }
                }
            }
            Descriptor::View(view) => {
                for (at, column) in view.columns.iter().enumerate() {
                    let own = [
                        ("attrelid", relid.into()),
                        ("attname", name(&column.name)),
                        ("attnum", (at as i64 + 1).into()),
                    ];
                    attribute(rows, &own, &column.column_type);
                }
            }
            Descriptor::Sequence(_) => {
                let columns =
                    [("last_value", ColumnType::Int8), ("log_cnt", ColumnType::Int8), ("is_called", ColumnType::Bool)];
                for (at, (column, column_type)) in columns.into_iter().enumerate() {
                    let own = [
                        ("attrelid", relid.into()),
                        ("attname", column.into()),
                        ("attnum", (at as i64 + 1).into()),
                        ("attnotnull", Datum::Bool(true)),
                    ];
                    attribute(rows, &own, &column_type);
                }
            }
            Descriptor::Database(_) | Descriptor::Schema(_) | Descriptor::Type(_) => {}
        }
    }
}

fn attidentity(column: &Column) -> &'static str {
    match column.identity {
        None => "",
        Some(IdentityGeneration::Always) => "a",
        Some(IdentityGeneration::ByDefault) => "d",
    }
}

/// What is kept of a column's default in the catalog: also what it is computed from, but not the numbers of an identity column.
fn kept_default(column: &Column) -> Option<&String> {
    column.generated.as_ref().or(column.default.as_ref().filter(|_| column.identity.is_none()))
}

pub fn pg_attrdef(objects: &Objects, rows: &mut Rows) {
    for table in objects.tables() {
        for column in table.visible_columns() {
            let Some(default) = kept_default(column) else { continue };
            rows.push(&[
                ("oid", default_oid(table, column).into()),
                ("adrelid", oid(table.identity.id).into()),
                ("adnum", attnum(column.id).into()),
                ("adbin", name(default)),
            ]);
        }
    }
}

/// The numbers of an index's columns; 0 stands for an expression.
fn key_numbers<'a>(table: &'a TableDescriptor, index: &'a Index) -> impl Iterator<Item = i64> + 'a {
    let number = |id: ColumnId| match table.column(id) {
        Some(Column { hidden: true, generated: Some(_), .. }) => 0,
        _ => attnum(id),
    };
    index.columns.iter().map(move |part| number(part.column))
}

pub fn pg_index(objects: &Objects, rows: &mut Rows) {
    /// Descending, and NULL first.
    const DESCENDING: i64 = 3;
    for table in objects.tables() {
        let primary = declared_primary(table).map(index_oid);
        for index in shown_indexes(table) {
            let count = index.columns.len() as i64;
            let options = index.columns.iter().map(|part| if part.descending { DESCENDING } else { 0 });
            let collations = index.columns.iter().filter_map(|part| table.column(part.column));
            let collations = collations.map(|column| collation(&pg_type(&column.column_type)));
            rows.push(&[
                ("indexrelid", index_oid(index).into()),
                ("indrelid", oid(table.identity.id).into()),
                ("indnatts", (count + index.stored.len() as i64).into()),
                ("indnkeyatts", count.into()),
                ("indisunique", Datum::Bool(index.unique)),
                ("indisprimary", Datum::Bool(primary == Some(index_oid(index)))),
                ("indimmediate", Datum::Bool(true)),
                ("indisvalid", Datum::Bool(true)),
                ("indisready", Datum::Bool(true)),
                ("indislive", Datum::Bool(true)),
                ("indkey", numbers(key_numbers(table, index).chain(index.stored.iter().map(|id| attnum(*id))))),
                ("indexprs", index_expressions(table, index).into()),
                ("indpred", index.predicate.and_then(|id| table.column(id)?.generated.clone()).into()),
                ("indcollation", numbers(collations)),
                ("indclass", numbers(index.columns.iter().map(|_| DEFAULT_OPCLASS))),
                ("indoption", numbers(options)),
            ]);
        }
    }
}

/// The expressions that an index is on.
fn index_expressions(table: &TableDescriptor, index: &Index) -> Option<String> {
    let expression = |part: &IndexColumn| table.column(part.column).filter(|column| column.hidden)?.generated.clone();
    let all: Vec<String> = index.columns.iter().filter_map(expression).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn action(action: ReferentialAction) -> Datum<'static> {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
        ReferentialAction::Restrict => "r",
    }
    .into()
}

pub fn pg_constraint(objects: &Objects, rows: &mut Rows) {
    let columns = |ids: &[ColumnId]| numbers(ids.iter().map(|id| attnum(*id)));
    for table in objects.tables() {
        for constraint in constraints(table) {
            let mut row = vec![
                ("oid", constraint.oid.into()),
                ("condeferrable", Datum::Bool(constraint.rule.checked() != Checked::Always)),
                ("condeferred", Datum::Bool(constraint.rule.checked() == Checked::Deferred)),
                ("conname", name(constraint.name)),
                ("connamespace", oid(table.schema).into()),
                ("convalidated", Datum::Bool(true)),
                ("conrelid", oid(table.identity.id).into()),
                ("conislocal", Datum::Bool(true)),
                ("connoinherit", Datum::Bool(!matches!(constraint.rule, Rule::Check(_)))),
            ];
            match constraint.rule {
                Rule::Primary(index) | Rule::Unique(index) => {
                    let letter = if matches!(constraint.rule, Rule::Primary(_)) { "p" } else { "u" };
                    row.extend([
                        ("contype", letter.into()),
                        ("conindid", index_oid(index).into()),
                        ("conkey", numbers(key_numbers(table, index))),
                        ("confupdtype", " ".into()),
                        ("confdeltype", " ".into()),
                        ("confmatchtype", " ".into()),
                    ]);
                }
                Rule::Foreign(key) => {
                    let referenced = objects.table(key.referenced_table);
                    // The unique index that makes the referenced columns a key.
                    let unique = referenced.and_then(|other| referenced_key(other, &key.referenced_columns));
                    let index = unique.and_then(|unique| match unique.rule {
                        Rule::Primary(index) | Rule::Unique(index) => Some(index_oid(index)),
                        Rule::Foreign(_) | Rule::Check(_) => None,
                    });
                    row.extend([
                        ("contype", "f".into()),
                        ("conindid", index.unwrap_or(0).into()),
                        ("confrelid", oid(key.referenced_table).into()),
                        ("conkey", columns(&key.columns)),
                        ("confkey", columns(&key.referenced_columns)),
                        ("confupdtype", action(key.on_update)),
                        ("confdeltype", action(key.on_delete)),
                        ("confmatchtype", "s".into()),
                    ]);
                }
                Rule::Check(check) => row.extend([
                    ("contype", "c".into()),
                    ("conkey", columns(&written::columns_of(table, &check.condition))),
                    ("confupdtype", " ".into()),
                    ("confdeltype", " ".into()),
                    ("confmatchtype", " ".into()),
                    ("conbin", name(&check.condition)),
                ]),
            }
            rows.push(&row);
        }
    }
}

pub fn each_sequence(objects: &Objects) -> impl Iterator<Item = (&Descriptor, &SequenceDescriptor)> {
    objects.relations.iter().filter_map(|relation| match &**relation {
        Descriptor::Sequence(sequence) => Some((&**relation, sequence)),
        _ => None,
    })
}

pub fn pg_sequence(objects: &Objects, rows: &mut Rows) {
    for (_, sequence) in each_sequence(objects) {
        rows.push(&[
            ("seqrelid", oid(sequence.identity.id).into()),
            ("seqtypid", i64::from(Type::INT8.oid()).into()),
            ("seqstart", sequence.start.into()),
            ("seqincrement", sequence.increment.into()),
            ("seqmax", sequence.maximum.into()),
            ("seqmin", sequence.minimum.into()),
            ("seqcache", 1_i64.into()),
        ]);
    }
}

/// Which columns own which sequences, which defaults use which, and what views read.
pub fn pg_depend(objects: &Objects, rows: &mut Rows) {
    for table in objects.tables() {
        for column in table.visible_columns() {
            let Some(default) = &column.default else { continue };
            for sequence in table.sequences.iter().filter_map(|id| objects.relation(oid(*id))) {
                if !default.contains(&format!(".{}'", quote_ident_in_sql(sequence.name()))) {
                    continue;
                }
                rows.push(&[
                    ("classid", PG_ATTRDEF_OID.into()),
                    ("objid", default_oid(table, column).into()),
                    ("refclassid", PG_CLASS_OID.into()),
                    ("refobjid", oid(sequence.id()).into()),
                    ("deptype", "n".into()),
                ]);
            }
        }
    }
    for relation in &objects.relations {
        let Descriptor::View(view) = &**relation else { continue };
        for source in &view.depends_on {
            rows.push(&[
                ("classid", PG_CLASS_OID.into()),
                ("objid", oid(view.identity.id).into()),
                ("refclassid", PG_CLASS_OID.into()),
                ("refobjid", oid(*source).into()),
                ("deptype", "n".into()),
            ]);
        }
    }
    for (_, sequence) in each_sequence(objects) {
        let Some((table, column)) = sequence.owned_by else { continue };
        let owner = objects.table(table).and_then(|table| table.column(column));
        let is_identity = owner.is_some_and(|column| column.identity.is_some());
        rows.push(&[
            ("classid", PG_CLASS_OID.into()),
            ("objid", oid(sequence.identity.id).into()),
            ("refclassid", PG_CLASS_OID.into()),
            ("refobjid", oid(table).into()),
            ("refobjsubid", attnum(column).into()),
            ("deptype", if is_identity { "i" } else { "a" }.into()),
        ]);
    }
}
