//! The views of the SQL standard that clients read, after <https://www.postgresql.org/docs/15/information-schema.html>, with the
//! columns that say something here.

use std::collections::BTreeMap;

use super::super::ddl::privileges;
use super::super::types::{pg_name, pg_type};
use super::objects::{Constraint, Objects, Rule, attnum, constraints, referenced_key};
use super::relation::Kind::{Int4, Int8, Text};
use super::relation::{Kind, Relation, Rows};
use crate::catalog::{
    Checked, ColumnId, ColumnType, Datum, Descriptor, Grant, IdentityGeneration, Index, ReferentialAction,
    SequenceDescriptor, TableDescriptor,
};

const COLUMN_PRIVILEGES: &[(&str, Kind)] = &[
    ("grantor", Text),
    ("grantee", Text),
    ("table_catalog", Text),
    ("table_schema", Text),
    ("table_name", Text),
    ("column_name", Text),
    ("privilege_type", Text),
    ("is_grantable", Text),
];
const TABLE_PRIVILEGES: &[(&str, Kind)] = &[
    ("grantor", Text),
    ("grantee", Text),
    ("table_catalog", Text),
    ("table_schema", Text),
    ("table_name", Text),
    ("privilege_type", Text),
    ("is_grantable", Text),
    ("with_hierarchy", Text),
];

/// The relations.
pub const RELATIONS: &[Relation] = &[
    Relation {
        name: "schemata",
        columns: &[("catalog_name", Text), ("schema_name", Text), ("schema_owner", Text)],
        fill: schemata,
    },
    Relation { name: "table_privileges", columns: TABLE_PRIVILEGES, fill: table_privileges },
    Relation { name: "role_table_grants", columns: TABLE_PRIVILEGES, fill: table_privileges },
    Relation { name: "column_privileges", columns: COLUMN_PRIVILEGES, fill: column_privileges },
    Relation { name: "role_column_grants", columns: COLUMN_PRIVILEGES, fill: column_privileges },
    Relation {
        name: "tables",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("table_type", Text),
            ("is_insertable_into", Text),
            ("is_typed", Text),
        ],
        fill: tables,
    },
    Relation {
        name: "views",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("view_definition", Text),
            ("check_option", Text),
            ("is_updatable", Text),
            ("is_insertable_into", Text),
        ],
        fill: views,
    },
    Relation {
        name: "columns",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("column_name", Text),
            ("ordinal_position", Int4),
            ("column_default", Text),
            ("is_nullable", Text),
            ("data_type", Text),
            ("character_maximum_length", Int4),
            ("character_octet_length", Int4),
            ("numeric_precision", Int4),
            ("numeric_precision_radix", Int4),
            ("numeric_scale", Int4),
            ("datetime_precision", Int4),
            ("interval_type", Text),
            ("interval_precision", Int4),
            ("character_set_catalog", Text),
            ("character_set_schema", Text),
            ("character_set_name", Text),
            ("collation_catalog", Text),
            ("collation_schema", Text),
            ("collation_name", Text),
            ("domain_catalog", Text),
            ("domain_schema", Text),
            ("domain_name", Text),
            ("udt_catalog", Text),
            ("udt_schema", Text),
            ("udt_name", Text),
            ("scope_catalog", Text),
            ("scope_schema", Text),
            ("scope_name", Text),
            ("maximum_cardinality", Int4),
            ("dtd_identifier", Text),
            ("is_self_referencing", Text),
            ("is_identity", Text),
            ("identity_generation", Text),
            ("identity_start", Text),
            ("identity_increment", Text),
            ("identity_maximum", Text),
            ("identity_minimum", Text),
            ("identity_cycle", Text),
            ("is_generated", Text),
            ("generation_expression", Text),
            ("is_updatable", Text),
        ],
        fill: columns,
    },
    Relation {
        name: "sequences",
        columns: &[
            ("sequence_catalog", Text),
            ("sequence_schema", Text),
            ("sequence_name", Text),
            ("data_type", Text),
            ("numeric_precision", Int4),
            ("numeric_scale", Int4),
            ("start_value", Text),
            ("minimum_value", Text),
            ("maximum_value", Text),
            ("increment", Text),
            ("cycle_option", Text),
        ],
        fill: sequences,
    },
    Relation {
        name: "table_constraints",
        columns: &[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("constraint_type", Text),
            ("is_deferrable", Text),
            ("initially_deferred", Text),
        ],
        fill: table_constraints,
    },
    Relation {
        name: "key_column_usage",
        columns: &[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("column_name", Text),
            ("ordinal_position", Int4),
            ("position_in_unique_constraint", Int4),
        ],
        fill: key_column_usage,
    },
    Relation {
        name: "constraint_column_usage",
        columns: &[
            ("table_catalog", Text),
            ("table_schema", Text),
            ("table_name", Text),
            ("column_name", Text),
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
        ],
        fill: constraint_column_usage,
    },
    Relation {
        name: "referential_constraints",
        columns: &[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("unique_constraint_catalog", Text),
            ("unique_constraint_schema", Text),
            ("unique_constraint_name", Text),
            ("match_option", Text),
            ("update_rule", Text),
            ("delete_rule", Text),
        ],
        fill: referential_constraints,
    },
    Relation {
        name: "check_constraints",
        columns: &[
            ("constraint_catalog", Text),
            ("constraint_schema", Text),
            ("constraint_name", Text),
            ("check_clause", Text),
        ],
        fill: check_constraints,
    },
    Relation {
        name: "character_sets",
        columns: &[("character_set_name", Text), ("default_collate_catalog", Text), ("maximum_length", Int8)],
        fill: |objects, rows| {
            rows.push(&[
                ("character_set_name", "UTF8".into()),
                ("default_collate_catalog", text(objects.database.name())),
            ]);
        },
    },
];

fn text(text: &str) -> Datum<'static> {
    text.to_string().into()
}

fn yes_or_no(yes: bool) -> Datum<'static> {
    if yes { "YES" } else { "NO" }.into()
}

fn schemata(objects: &Objects, rows: &mut Rows) {
    for schema in &objects.schemas {
        rows.push(&[
            ("catalog_name", text(objects.database.name())),
            ("schema_name", text(schema.name())),
            ("schema_owner", text(&schema.identity().owner)),
        ]);
    }
}

fn table_privileges(objects: &Objects, rows: &mut Rows) {
    let is_table =
        |object: &&std::sync::Arc<Descriptor>| matches!(***object, Descriptor::Table(_) | Descriptor::View(_));
    for relation in objects.relations.iter().filter(is_table) {
        let owner = &relation.identity().owner;
        let own = privileges::of_kind(relation).iter().map(|(name, _)| (*name, true)).collect();
        let granted = privileges::granted(relation);
        for (role, list) in std::iter::once((owner.as_str(), own)).chain(granted) {
            let grantee = if role == privileges::PUBLIC { "PUBLIC" } else { role };
            for (privilege, grantable) in list {
                rows.push(&[
                    ("grantor", owner.clone().into()),
                    ("grantee", grantee.to_string().into()),
                    ("table_catalog", objects.database.name().to_string().into()),
                    ("table_schema", objects.schema_of(relation).to_string().into()),
                    ("table_name", relation.name().to_string().into()),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", if grantable { "YES" } else { "NO" }.into()),
                    ("with_hierarchy", if privilege == "SELECT" { "YES" } else { "NO" }.into()),
                ]);
            }
        }
    }
}

/// Those of a table are those of each of its columns.
fn column_privileges(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let columns: Vec<(&str, &[Grant])> = match &**relation {
            Descriptor::Table(table) => {
                table.visible_columns().map(|column| (column.name.as_str(), &column.grants[..])).collect()
            }
            Descriptor::View(view) => view.columns.iter().map(|column| (column.name.as_str(), &[][..])).collect(),
            _ => continue,
        };
        let owner = &relation.identity().owner;
        let own = privileges::OF_COLUMN.iter().map(|(name, _)| (*name, true)).collect();
        let whole: Vec<_> = std::iter::once((owner.as_str(), own)).chain(privileges::granted(relation)).collect();
        for (column, grants) in columns {
            let mut known = BTreeMap::new();
            let alone = grants.iter().map(|grant| privileges::in_order(grant, privileges::OF_COLUMN));
            for (role, list) in whole.iter().cloned().chain(alone) {
                for (privilege, grantable) in list {
                    *known.entry((role, privilege)).or_insert(false) |= grantable;
                }
            }
            known.retain(|(_, privilege), _| privileges::OF_COLUMN.iter().any(|(name, _)| name == privilege));
            for ((role, privilege), grantable) in known {
                rows.push(&[
                    ("grantor", text(owner)),
                    ("grantee", text(if role == privileges::PUBLIC { "PUBLIC" } else { role })),
                    ("table_catalog", text(objects.database.name())),
                    ("table_schema", text(objects.schema_of(relation))),
                    ("table_name", text(relation.name())),
                    ("column_name", text(column)),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", yes_or_no(grantable)),
                ]);
            }
        }
    }
}

fn tables(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let (kind, writable) = match &**relation {
            Descriptor::Table(table) if objects.persistence(table.schema) == "t" => ("LOCAL TEMPORARY", true),
            Descriptor::Table(_) => ("BASE TABLE", true),
            Descriptor::View(_) => ("VIEW", false),
            _ => continue,
        };
        rows.push(&[
            ("table_catalog", text(objects.database.name())),
            ("table_schema", text(objects.schema_of(relation))),
            ("table_name", text(relation.name())),
            ("table_type", kind.into()),
            ("is_insertable_into", yes_or_no(writable)),
            ("is_typed", "NO".into()),
        ]);
    }
}

fn views(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::View(view) = &**relation else { continue };
        rows.push(&[
            ("table_catalog", text(objects.database.name())),
            ("table_schema", text(objects.schema_of(relation))),
            ("table_name", text(relation.name())),
            ("view_definition", text(&view.query)),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
        ]);
    }
}

/// What the standard says of a type: precision, radix, scale, precision of its seconds.
fn numbers_of(column_type: &ColumnType) -> [(&'static str, Datum<'static>); 4] {
    let number = |number: i64| Datum::Int(number);
    let (precision, radix, scale, seconds) = match column_type {
        ColumnType::Int2 => (number(16), number(2), number(0), Datum::Null),
        ColumnType::Int4 => (number(32), number(2), number(0), Datum::Null),
        ColumnType::Int8 => (number(64), number(2), number(0), Datum::Null),
        ColumnType::Float4 => (number(24), number(2), Datum::Null, Datum::Null),
        ColumnType::Float8 => (number(53), number(2), Datum::Null, Datum::Null),
        ColumnType::Decimal { precision: Some(precision), scale } => {
            (number((*precision).into()), number(10), number((*scale).into()), Datum::Null)
        }
        ColumnType::Decimal { precision: None, .. } => (Datum::Null, number(10), Datum::Null, Datum::Null),
        ColumnType::Date => (Datum::Null, Datum::Null, Datum::Null, number(0)),
        ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz | ColumnType::Interval => {
            (Datum::Null, Datum::Null, Datum::Null, number(6))
        }
        _ => (Datum::Null, Datum::Null, Datum::Null, Datum::Null),
    };
    [
        ("numeric_precision", precision),
        ("numeric_precision_radix", radix),
        ("numeric_scale", scale),
        ("datetime_precision", seconds),
    ]
}

fn columns(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let mut push =
            |column: &str, position: i64, column_type: &ColumnType, own: &[(&'static str, Datum<'static>)]| {
                let length = match column_type {
                    ColumnType::VarChar(Some(length)) | ColumnType::Char(length) => Datum::Int(i64::from(*length)),
                    _ => Datum::Null,
                };
                // A character has four bytes at most.
                let octets = match (length.as_int(), column_type) {
                    (Some(characters), _) => Some(characters * 4),
                    (None, ColumnType::Text | ColumnType::VarChar(_)) => Some(1 << 30),
                    _ => None,
                };
                let name = match column_type {
                    ColumnType::Array(_) => "ARRAY".to_string(),
                    ColumnType::Enum(_) => "USER-DEFINED".to_string(),
                    ColumnType::Time => "time without time zone".to_string(),
                    ColumnType::Timestamp => "timestamp without time zone".to_string(),
                    other => pg_name(other).split('(').next().unwrap_or_default().to_string(),
                };
                let common = [
                    ("table_catalog", text(objects.database.name())),
                    ("table_schema", text(objects.schema_of(relation))),
                    ("table_name", text(relation.name())),
                    ("column_name", text(column)),
                    ("ordinal_position", position.into()),
                    ("data_type", name.into()),
                    ("character_octet_length", octets.into()),
                    ("character_maximum_length", length),
                    ("dtd_identifier", position.to_string().into()),
                    ("is_self_referencing", "NO".into()),
                    ("udt_catalog", text(objects.database.name())),
                    ("udt_schema", text(pg_type(column_type).schema())),
                    ("udt_name", text(pg_type(column_type).name())),
                ];
                rows.push(&[own, &common, &numbers_of(column_type)[..]].concat());
            };
        match &**relation {
            Descriptor::Table(table) => {
                for (position, column) in table.visible_columns().enumerate() {
                    let identity = column.identity.is_some();
                    let sequence = objects.relations.iter().find_map(|relation| match &**relation {
                        Descriptor::Sequence(sequence)
                            if identity && sequence.owned_by == Some((table.identity.id, column.id)) =>
                        {
                            Some(sequence)
                        }
                        _ => None,
                    });
                    let part = |part: fn(&SequenceDescriptor) -> i64| -> Datum<'static> {
                        sequence.map(|sequence| part(sequence).to_string()).into()
                    };
                    let default = column.default.as_ref().filter(|_| !identity).map(|sql| objects.written_sql(sql));
                    let own = [
                        ("column_default", default.into()),
                        ("is_nullable", yes_or_no(column.nullable)),
                        ("is_identity", yes_or_no(identity)),
                        ("identity_generation", column.identity.map(IdentityGeneration::words).into()),
                        ("identity_start", part(|sequence| sequence.start)),
                        ("identity_increment", part(|sequence| sequence.increment)),
                        ("identity_maximum", part(|sequence| sequence.maximum)),
                        ("identity_minimum", part(|sequence| sequence.minimum)),
                        ("identity_cycle", "NO".into()),
                        ("is_updatable", "YES".into()),
                        ("is_generated", if column.generated.is_some() { "ALWAYS" } else { "NEVER" }.into()),
                        ("generation_expression", column.generated.as_ref().map(|sql| objects.written_sql(sql)).into()),
                    ];
                    // The first that is said of a column of the relation counts.
                    let digits = column.time_precision.map(|digits| ("datetime_precision", Datum::Int(digits.into())));
                    let own: Vec<_> = digits.into_iter().chain(own).collect();
                    push(&column.name, position as i64 + 1, &column.column_type, &own);
                }
            }
            Descriptor::View(view) => {
                for (position, column) in view.columns.iter().enumerate() {
                    let own = [
                        ("is_nullable", "YES".into()),
                        ("is_identity", "NO".into()),
                        ("identity_cycle", "NO".into()),
                        ("is_updatable", "NO".into()),
                        ("is_generated", "NEVER".into()),
                    ];
                    push(&column.name, position as i64 + 1, &column.column_type, &own);
                }
            }
            _ => {}
        }
    }
}

fn sequences(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::Sequence(sequence) = &**relation else { continue };
        rows.push(&[
            ("sequence_catalog", text(objects.database.name())),
            ("sequence_schema", text(objects.schema_of(relation))),
            ("sequence_name", text(relation.name())),
            ("data_type", "bigint".into()),
            ("numeric_precision", 64_i64.into()),
            ("start_value", sequence.start.to_string().into()),
            ("minimum_value", sequence.minimum.to_string().into()),
            ("maximum_value", sequence.maximum.to_string().into()),
            ("increment", sequence.increment.to_string().into()),
            ("cycle_option", "NO".into()),
        ]);
    }
}

/// Every constraint, with its table and its schema's name.
fn each_constraint(objects: &Objects) -> impl Iterator<Item = (&TableDescriptor, &str, Constraint<'_>)> {
    objects.relations.iter().flat_map(|relation| {
        let table = match &**relation {
            Descriptor::Table(table) => Some(table),
            _ => None,
        };
        let schema = objects.schema_of(relation);
        table
            .into_iter()
            .flat_map(constraints)
            .zip(std::iter::repeat((table, schema)))
            .filter_map(|(constraint, (table, schema))| table.map(|table| (table, schema, constraint)))
    })
}

fn constraint_name(
    objects: &Objects,
    schema: &str,
    constraint: &Constraint<'_>,
) -> [(&'static str, Datum<'static>); 3] {
    [
        ("constraint_catalog", text(objects.database.name())),
        ("constraint_schema", text(schema)),
        ("constraint_name", text(constraint.name)),
    ]
}

fn table_name(objects: &Objects, schema: &str, table: &TableDescriptor) -> [(&'static str, Datum<'static>); 3] {
    [
        ("table_catalog", text(objects.database.name())),
        ("table_schema", text(schema)),
        ("table_name", text(&table.identity.name)),
    ]
}

fn table_constraints(objects: &Objects, rows: &mut Rows) {
    for (table, schema, constraint) in each_constraint(objects) {
        let kind = match constraint.rule {
            Rule::Primary(_) => "PRIMARY KEY",
            Rule::Unique(_) => "UNIQUE",
            Rule::Foreign(_) => "FOREIGN KEY",
            Rule::Check(_) => "CHECK",
        };
        let checked = constraint.rule.checked();
        let own = [
            ("constraint_type", kind.into()),
            ("is_deferrable", yes_or_no(checked != Checked::Always)),
            ("initially_deferred", yes_or_no(checked == Checked::Deferred)),
        ];
        let names = [constraint_name(objects, schema, &constraint), table_name(objects, schema, table)].concat();
        rows.push(&[&names[..], &own].concat());
    }
}

fn index_columns(index: &Index) -> Vec<ColumnId> {
    index.columns.iter().map(|part| part.column).collect()
}

fn key_column_usage(objects: &Objects, rows: &mut Rows) {
    for (table, schema, constraint) in each_constraint(objects) {
        let (columns, is_foreign) = match constraint.rule {
            Rule::Primary(index) | Rule::Unique(index) => (index_columns(index), false),
            Rule::Foreign(key) => (key.columns.clone(), true),
            Rule::Check(_) => continue,
        };
        let names = [constraint_name(objects, schema, &constraint), table_name(objects, schema, table)].concat();
        for (at, column) in columns.iter().filter_map(|id| table.column(*id)).enumerate() {
            let position = at as i64 + 1;
            let own = [
                ("column_name", text(&column.name)),
                ("ordinal_position", position.into()),
                ("position_in_unique_constraint", is_foreign.then_some(position).into()),
            ];
            rows.push(&[&names[..], &own].concat());
        }
    }
}

fn constraint_column_usage(objects: &Objects, rows: &mut Rows) {
    for (table, schema, constraint) in each_constraint(objects) {
        let (used, columns) = match constraint.rule {
            Rule::Primary(index) | Rule::Unique(index) => (Some(table), index_columns(index)),
            Rule::Foreign(key) => (objects.table(key.referenced_table), key.referenced_columns.clone()),
            Rule::Check(check) => (Some(table), super::written::columns_of(table, &check.condition)),
        };
        let Some(used) = used else { continue };
        let used_schema = objects.schemas.iter().find(|schema| schema.id() == used.schema);
        let names = [
            constraint_name(objects, schema, &constraint),
            table_name(objects, used_schema.map_or("", |schema| schema.name()), used),
        ]
        .concat();
        let mut columns: Vec<_> = columns.iter().filter_map(|id| used.column(*id)).collect();
        columns.sort_by_key(|column| attnum(column.id));
        for column in columns {
            rows.push(&[&names[..], &[("column_name", text(&column.name))]].concat());
        }
    }
}

fn referential_constraints(objects: &Objects, rows: &mut Rows) {
    let rule = |action| match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
        ReferentialAction::Restrict => "RESTRICT",
    };
    for (_, schema, constraint) in each_constraint(objects) {
        let Rule::Foreign(key) = constraint.rule else { continue };
        let referenced = objects.table(key.referenced_table);
        let unique = referenced.and_then(|other| {
            let of = referenced_key(other, &key.referenced_columns)?;
            let schema = objects.schemas.iter().find(|schema| schema.id() == other.schema)?;
            Some((schema.name().to_string(), of.name.to_string()))
        });
        let (unique_schema, unique_name) = unique.unzip();
        let own = [
            ("unique_constraint_catalog", text(objects.database.name())),
            ("unique_constraint_schema", unique_schema.into()),
            ("unique_constraint_name", unique_name.into()),
            ("match_option", "NONE".into()),
            ("update_rule", rule(key.on_update).into()),
            ("delete_rule", rule(key.on_delete).into()),
        ];
        rows.push(&[&constraint_name(objects, schema, &constraint)[..], &own].concat());
    }
}

fn check_constraints(objects: &Objects, rows: &mut Rows) {
    for (_, schema, constraint) in each_constraint(objects) {
        let Rule::Check(check) = constraint.rule else { continue };
        let own = [("check_clause", text(&check.condition))];
        rows.push(&[&constraint_name(objects, schema, &constraint)[..], &own].concat());
    }
}
