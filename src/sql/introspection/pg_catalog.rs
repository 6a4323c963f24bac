//! The relations of PostgreSQL's system catalog that clients read, after
//! <https://www.postgresql.org/docs/15/catalogs.html>: all columns of those with rows here. Object identifiers are `INT8`.

use postgres_types::{Kind as TypeKind, Type};

use super::super::types::pg_type;
use super::objects::{
    Objects, Rule, attnum, constraints, declared_primary, default_oid, index_oid, oid, role_oid, shown_indexes,
};
use super::relation::Kind::{Bool, Float4, Int2, Int2Array, Int4, Int8, Letter, Oid, OidArray, Text, TextArray};
use super::relation::{Relation, Rows, no_rows};
use super::written;
use crate::catalog::{ColumnId, ColumnType, Datum, Descriptor, Index, ReferentialAction, SequenceDescriptor};

/// Object identifiers that PostgreSQL fixes.
pub const PG_CATALOG: i64 = 11;
const INFORMATION_SCHEMA: i64 = 13_000;
const PG_CLASS_OID: i64 = 1259;
const HEAP: i64 = 2;
const BTREE: i64 = 403;
/// The one way in which values of every type are ordered.
const DEFAULT_OPCLASS: i64 = 10_000;
const UTF8: i64 = 6;
const DEFAULT_COLLATION: i64 = 100;
const DEFAULT_TABLESPACE: i64 = 1663;
/// What `array_oid` says of a type without one.
const NO_TYPE: i64 = 0;

/// Relations of the catalog whose object identifiers clients ask for by name.
pub const FIXED_OIDS: [(&str, i64); 12] = [
    ("pg_class", PG_CLASS_OID),
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_authid", 1260),
    ("pg_database", 1262),
    ("pg_attrdef", 2604),
    ("pg_constraint", 2606),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_rewrite", 2618),
    ("pg_trigger", 2620),
];

/// The relations with rows.
pub const RELATIONS: &[Relation] = &[
    Relation {
        name: "pg_database",
        columns: &[
            ("oid", Oid),
            ("datname", Text),
            ("datdba", Oid),
            ("encoding", Int4),
            ("datlocprovider", Letter),
            ("datistemplate", Bool),
            ("datallowconn", Bool),
            ("datconnlimit", Int4),
            ("datfrozenxid", Int8),
            ("datminmxid", Int8),
            ("dattablespace", Oid),
            ("datcollate", Text),
            ("datctype", Text),
            ("daticulocale", Text),
            ("datcollversion", Text),
            ("datacl", TextArray),
        ],
        fill: pg_database,
    },
    Relation {
        name: "pg_namespace",
        columns: &[("oid", Oid), ("nspname", Text), ("nspowner", Oid), ("nspacl", TextArray)],
        fill: pg_namespace,
    },
    Relation {
        name: "pg_class",
        columns: &[
            ("oid", Oid),
            ("relname", Text),
            ("relnamespace", Oid),
            ("reltype", Oid),
            ("reloftype", Oid),
            ("relowner", Oid),
            ("relam", Oid),
            ("relfilenode", Oid),
            ("reltablespace", Oid),
            ("relpages", Int4),
            ("reltuples", Float4),
            ("relallvisible", Int4),
            ("reltoastrelid", Oid),
            ("relhasindex", Bool),
            ("relisshared", Bool),
            ("relpersistence", Letter),
            ("relkind", Letter),
            ("relnatts", Int2),
            ("relchecks", Int2),
            ("relhasrules", Bool),
            ("relhastriggers", Bool),
            ("relhassubclass", Bool),
            ("relrowsecurity", Bool),
            ("relforcerowsecurity", Bool),
            ("relispopulated", Bool),
            ("relreplident", Letter),
            ("relispartition", Bool),
            ("relrewrite", Oid),
            ("relfrozenxid", Int8),
            ("relminmxid", Int8),
            ("relacl", TextArray),
            ("reloptions", TextArray),
            ("relpartbound", Text),
        ],
        fill: pg_class,
    },
    Relation {
        name: "pg_attribute",
        columns: &[
            ("attrelid", Oid),
            ("attname", Text),
            ("atttypid", Oid),
            ("attstattarget", Int4),
            ("attlen", Int2),
            ("attnum", Int2),
            ("attndims", Int4),
            ("attcacheoff", Int4),
            ("atttypmod", Int4),
            ("attbyval", Bool),
            ("attalign", Letter),
            ("attstorage", Letter),
            ("attcompression", Letter),
            ("attnotnull", Bool),
            ("atthasdef", Bool),
            ("atthasmissing", Bool),
            ("attidentity", Letter),
            ("attgenerated", Letter),
            ("attisdropped", Bool),
            ("attislocal", Bool),
            ("attinhcount", Int4),
            ("attcollation", Oid),
            ("attacl", TextArray),
            ("attoptions", TextArray),
            ("attfdwoptions", TextArray),
            ("attmissingval", TextArray),
        ],
        fill: pg_attribute,
    },
    Relation {
        name: "pg_attrdef",
        columns: &[("oid", Oid), ("adrelid", Oid), ("adnum", Int2), ("adbin", Text)],
        fill: pg_attrdef,
    },
    Relation {
        name: "pg_index",
        columns: &[
            ("indexrelid", Oid),
            ("indrelid", Oid),
            ("indnatts", Int2),
            ("indnkeyatts", Int2),
            ("indisunique", Bool),
            ("indnullsnotdistinct", Bool),
            ("indisprimary", Bool),
            ("indisexclusion", Bool),
            ("indimmediate", Bool),
            ("indisclustered", Bool),
            ("indisvalid", Bool),
            ("indcheckxmin", Bool),
            ("indisready", Bool),
            ("indislive", Bool),
            ("indisreplident", Bool),
            ("indkey", Int2Array),
            ("indcollation", OidArray),
            ("indclass", OidArray),
            ("indoption", Int2Array),
            ("indexprs", Text),
            ("indpred", Text),
        ],
        fill: pg_index,
    },
    Relation {
        name: "pg_constraint",
        columns: &[
            ("oid", Oid),
            ("conname", Text),
            ("connamespace", Oid),
            ("contype", Letter),
            ("condeferrable", Bool),
            ("condeferred", Bool),
            ("convalidated", Bool),
            ("conrelid", Oid),
            ("contypid", Oid),
            ("conindid", Oid),
            ("conparentid", Oid),
            ("confrelid", Oid),
            ("confupdtype", Letter),
            ("confdeltype", Letter),
            ("confmatchtype", Letter),
            ("conislocal", Bool),
            ("coninhcount", Int4),
            ("connoinherit", Bool),
            ("conkey", Int2Array),
            ("confkey", Int2Array),
            ("conpfeqop", OidArray),
            ("conppeqop", OidArray),
            ("conffeqop", OidArray),
            ("confdelsetcols", Int2Array),
            ("conexclop", OidArray),
            ("conbin", Text),
        ],
        fill: pg_constraint,
    },
    Relation {
        name: "pg_type",
        columns: &[
            ("oid", Oid),
            ("typname", Text),
            ("typnamespace", Oid),
            ("typowner", Oid),
            ("typlen", Int2),
            ("typbyval", Bool),
            ("typtype", Letter),
            ("typcategory", Letter),
            ("typispreferred", Bool),
            ("typisdefined", Bool),
            ("typdelim", Letter),
            ("typrelid", Oid),
            ("typsubscript", Text),
            ("typelem", Oid),
            ("typarray", Oid),
            ("typinput", Text),
            ("typoutput", Text),
            ("typreceive", Text),
            ("typsend", Text),
            ("typmodin", Text),
            ("typmodout", Text),
            ("typanalyze", Text),
            ("typalign", Letter),
            ("typstorage", Letter),
            ("typnotnull", Bool),
            ("typbasetype", Oid),
            ("typtypmod", Int4),
            ("typndims", Int4),
            ("typcollation", Oid),
            ("typdefaultbin", Text),
            ("typdefault", Text),
            ("typacl", TextArray),
        ],
        fill: pg_type_rows,
    },
    Relation {
        name: "pg_sequence",
        columns: &[
            ("seqrelid", Oid),
            ("seqtypid", Oid),
            ("seqstart", Int8),
            ("seqincrement", Int8),
            ("seqmax", Int8),
            ("seqmin", Int8),
            ("seqcache", Int8),
            ("seqcycle", Bool),
        ],
        fill: pg_sequence,
    },
    Relation {
        name: "pg_depend",
        columns: &[
            ("classid", Oid),
            ("objid", Oid),
            ("objsubid", Int4),
            ("refclassid", Oid),
            ("refobjid", Oid),
            ("refobjsubid", Int4),
            ("deptype", Letter),
        ],
        fill: pg_depend,
    },
    Relation { name: "pg_roles", columns: ROLE_COLUMNS, fill: pg_roles },
    Relation { name: "pg_authid", columns: ROLE_COLUMNS, fill: pg_roles },
    Relation {
        name: "pg_user",
        columns: &[
            ("usename", Text),
            ("usesysid", Oid),
            ("usecreatedb", Bool),
            ("usesuper", Bool),
            ("userepl", Bool),
            ("usebypassrls", Bool),
            ("passwd", Text),
            ("valuntil", Text),
            ("useconfig", TextArray),
        ],
        fill: pg_user,
    },
    Relation {
        name: "pg_auth_members",
        columns: &[("roleid", Oid), ("member", Oid), ("grantor", Oid), ("admin_option", Bool)],
        fill: pg_auth_members,
    },
    Relation {
        name: "pg_tables",
        columns: &[
            ("schemaname", Text),
            ("tablename", Text),
            ("tableowner", Text),
            ("tablespace", Text),
            ("hasindexes", Bool),
            ("hasrules", Bool),
            ("hastriggers", Bool),
            ("rowsecurity", Bool),
        ],
        fill: pg_tables,
    },
    Relation {
        name: "pg_views",
        columns: &[("schemaname", Text), ("viewname", Text), ("viewowner", Text), ("definition", Text)],
        fill: pg_views,
    },
    Relation {
        name: "pg_indexes",
        columns: &[
            ("schemaname", Text),
            ("tablename", Text),
            ("indexname", Text),
            ("tablespace", Text),
            ("indexdef", Text),
        ],
        fill: pg_indexes,
    },
    Relation {
        name: "pg_sequences",
        columns: &[
            ("schemaname", Text),
            ("sequencename", Text),
            ("sequenceowner", Text),
            ("data_type", Text),
            ("start_value", Int8),
            ("min_value", Int8),
            ("max_value", Int8),
            ("increment_by", Int8),
            ("cycle", Bool),
            ("cache_size", Int8),
        ],
        fill: pg_sequences,
    },
    Relation {
        name: "pg_am",
        columns: &[("oid", Oid), ("amname", Text), ("amhandler", Text), ("amtype", Letter)],
        fill: |_, rows| {
            rows.push(&[("oid", HEAP.into()), ("amname", "heap".into()), ("amtype", "t".into())]);
            rows.push(&[("oid", BTREE.into()), ("amname", "btree".into()), ("amtype", "i".into())]);
        },
    },
    Relation {
        name: "pg_opclass",
        columns: &[
            ("oid", Oid),
            ("opcmethod", Oid),
            ("opcname", Text),
            ("opcnamespace", Oid),
            ("opcowner", Oid),
            ("opcfamily", Oid),
            ("opcintype", Oid),
            ("opcdefault", Bool),
            ("opckeytype", Oid),
        ],
        fill: |_, rows| {
            rows.push(&[
                ("oid", DEFAULT_OPCLASS.into()),
                ("opcmethod", BTREE.into()),
                ("opcname", "default_ops".into()),
                ("opcnamespace", PG_CATALOG.into()),
                ("opcdefault", Datum::Bool(true)),
            ]);
        },
    },
    Relation {
        name: "pg_collation",
        columns: &[
            ("oid", Oid),
            ("collname", Text),
            ("collnamespace", Oid),
            ("collowner", Oid),
            ("collprovider", Letter),
            ("collisdeterministic", Bool),
            ("collencoding", Int4),
            ("collcollate", Text),
            ("collctype", Text),
            ("colliculocale", Text),
            ("collversion", Text),
        ],
        fill: |_, rows| {
            rows.push(&[
                ("oid", DEFAULT_COLLATION.into()),
                ("collname", "default".into()),
                ("collnamespace", PG_CATALOG.into()),
                ("collprovider", "d".into()),
                ("collisdeterministic", Datum::Bool(true)),
                ("collencoding", (-1_i64).into()),
            ]);
        },
    },
    Relation {
        name: "pg_tablespace",
        columns: &[
            ("oid", Oid),
            ("spcname", Text),
            ("spcowner", Oid),
            ("spcacl", TextArray),
            ("spcoptions", TextArray),
        ],
        fill: |_, rows| {
            rows.push(&[
                ("oid", DEFAULT_TABLESPACE.into()),
                ("spcname", "pg_default".into()),
                ("spcowner", 10_i64.into()),
            ]);
        },
    },
    // What can stand on the far side of an outer join although it has no rows.
    Relation {
        name: "pg_description",
        columns: &[("objoid", Oid), ("classoid", Oid), ("objsubid", Int4), ("description", Text)],
        fill: no_rows,
    },
    Relation {
        name: "pg_shdescription",
        columns: &[("objoid", Oid), ("classoid", Oid), ("description", Text)],
        fill: no_rows,
    },
    Relation {
        name: "pg_inherits",
        columns: &[("inhrelid", Oid), ("inhparent", Oid), ("inhseqno", Int4), ("inhdetachpending", Bool)],
        fill: no_rows,
    },
    Relation {
        name: "pg_enum",
        columns: &[("oid", Oid), ("enumtypid", Oid), ("enumsortorder", Float4), ("enumlabel", Text)],
        fill: no_rows,
    },
    Relation {
        name: "pg_range",
        columns: &[("rngtypid", Oid), ("rngsubtype", Oid), ("rngmultitypid", Oid), ("rngcollation", Oid)],
        fill: no_rows,
    },
    Relation {
        name: "pg_proc",
        columns: &[
            ("oid", Oid),
            ("proname", Text),
            ("pronamespace", Oid),
            ("proowner", Oid),
            ("prolang", Oid),
            ("prokind", Letter),
            ("prosecdef", Bool),
            ("proretset", Bool),
            ("provolatile", Letter),
            ("pronargs", Int2),
            ("prorettype", Oid),
            ("proargtypes", OidArray),
            ("proallargtypes", OidArray),
            ("proargmodes", TextArray),
            ("proargnames", TextArray),
            ("prosrc", Text),
            ("proacl", TextArray),
        ],
        fill: no_rows,
    },
    Relation {
        name: "pg_extension",
        columns: &[
            ("oid", Oid),
            ("extname", Text),
            ("extowner", Oid),
            ("extnamespace", Oid),
            ("extrelocatable", Bool),
            ("extversion", Text),
        ],
        fill: no_rows,
    },
    Relation {
        name: "pg_matviews",
        columns: &[
            ("schemaname", Text),
            ("matviewname", Text),
            ("matviewowner", Text),
            ("tablespace", Text),
            ("hasindexes", Bool),
            ("ispopulated", Bool),
            ("definition", Text),
        ],
        fill: no_rows,
    },
    Relation {
        name: "pg_partitioned_table",
        columns: &[
            ("partrelid", Oid),
            ("partstrat", Letter),
            ("partnatts", Int2),
            ("partdefid", Oid),
            ("partattrs", Int2Array),
        ],
        fill: no_rows,
    },
    Relation {
        name: "pg_db_role_setting",
        columns: &[("setdatabase", Oid), ("setrole", Oid), ("setconfig", TextArray)],
        fill: no_rows,
    },
    Relation {
        name: "pg_trigger",
        columns: &[
            ("oid", Oid),
            ("tgrelid", Oid),
            ("tgparentid", Oid),
            ("tgname", Text),
            ("tgfoid", Oid),
            ("tgtype", Int2),
            ("tgenabled", Letter),
            ("tgisinternal", Bool),
            ("tgconstraint", Oid),
        ],
        fill: no_rows,
    },
];

/// Relations of things that keepsafe does not have.
pub const WITHOUT_ROWS: [&str; 30] = [
    "pg_default_acl",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_matviews",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_rules",
    "pg_seclabels",
    "pg_shdescription",
    "pg_statistic_ext",
    "pg_stats_ext",
    "pg_subscription",
    "pg_trigger",
    "pg_user_mappings",
];

const ROLE_COLUMNS: &[(&str, super::relation::Kind)] = &[
    ("oid", Oid),
    ("rolname", Text),
    ("rolsuper", Bool),
    ("rolinherit", Bool),
    ("rolcreaterole", Bool),
    ("rolcreatedb", Bool),
    ("rolcanlogin", Bool),
    ("rolreplication", Bool),
    ("rolconnlimit", Int4),
    ("rolpassword", Text),
    ("rolvaliduntil", Text),
    ("rolbypassrls", Bool),
    ("rolconfig", TextArray),
];

fn name(text: &str) -> Datum<'static> {
    text.to_string().into()
}

fn numbers(numbers: impl Iterator<Item = i64>) -> Datum<'static> {
    Datum::Array(numbers.map(Datum::Int).collect())
}

fn pg_database(objects: &Objects, rows: &mut Rows) {
    for database in &objects.databases {
        rows.push(&[
            ("oid", oid(database.id()).into()),
            ("datname", name(database.name())),
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

fn pg_namespace(objects: &Objects, rows: &mut Rows) {
    for schema in &objects.schemas {
        let owner = role_oid(&schema.identity().owner);
        rows.push(&[("oid", oid(schema.id()).into()), ("nspname", name(schema.name())), ("nspowner", owner.into())]);
    }
    for (oid, schema) in [(PG_CATALOG, "pg_catalog"), (INFORMATION_SCHEMA, "information_schema")] {
        rows.push(&[("oid", oid.into()), ("nspname", schema.into()), ("nspowner", role_oid("root").into())]);
    }
}

fn pg_class(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let (letter, columns, checks) = match &**relation {
            Descriptor::Table(table) => ("r", table.visible_columns().count(), table.checks.len()),
            Descriptor::View(view) => ("v", view.columns.len(), 0),
            Descriptor::Sequence(_) => ("S", 3, 0),
            Descriptor::Database(_) | Descriptor::Schema(_) => continue,
        };
        let is_table = letter == "r";
        let has_index = matches!(&**relation, Descriptor::Table(table) if shown_indexes(table).next().is_some());
        // Foreign keys are triggers in PostgreSQL: that is how clients know to ask for them.
        let has_triggers = matches!(&**relation, Descriptor::Table(table)
            if !table.foreign_keys.is_empty() || !table.referenced_by.is_empty());
        let schema = relation.parents().1.map_or(0, oid);
        rows.push(&[
            ("oid", oid(relation.id()).into()),
            ("relname", name(relation.name())),
            ("relnamespace", schema.into()),
            ("relowner", role_oid(&relation.identity().owner).into()),
            ("relam", if is_table { HEAP } else { 0 }.into()),
            ("relfilenode", oid(relation.id()).into()),
            ("reltuples", Datum::Float(-1.0)),
            ("relhasindex", Datum::Bool(has_index)),
            ("relpersistence", "p".into()),
            ("relkind", letter.into()),
            ("relnatts", (columns as i64).into()),
            ("relchecks", (checks as i64).into()),
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
                ("relpersistence", "p".into()),
                ("relkind", "i".into()),
                ("relnatts", (index.columns.len() as i64).into()),
                ("relispopulated", Datum::Bool(true)),
                ("relreplident", "n".into()),
            ]);
        }
    }
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

fn pg_attribute(objects: &Objects, rows: &mut Rows) {
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
                        ("atthasdef", Datum::Bool(column.default.is_some() && !column.generated_always)),
                        ("attidentity", if column.generated_always { "a" } else { "" }.into()),
                        ("atthasmissing", Datum::Bool(column.missing.is_some())),
                    ];
                    attribute(rows, &own, &column.column_type);
                }
                for index in shown_indexes(table) {
                    for (at, part) in index.columns.iter().enumerate() {
                        let Some(column) = table.column(part.column) else { continue };
                        let own = [
                            ("attrelid", index_oid(index).into()),
                            ("attname", name(&column.name)),
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
            Descriptor::Database(_) | Descriptor::Schema(_) => {}
        }
    }
}

fn pg_attrdef(objects: &Objects, rows: &mut Rows) {
    for table in objects.tables() {
        for column in table.visible_columns().filter(|column| !column.generated_always) {
            let Some(default) = &column.default else { continue };
            rows.push(&[
                ("oid", default_oid(table, column).into()),
                ("adrelid", oid(table.identity.id).into()),
                ("adnum", attnum(column.id).into()),
                ("adbin", name(default)),
            ]);
        }
    }
}

fn key_numbers(index: &Index) -> Datum<'static> {
    numbers(index.columns.iter().map(|part| attnum(part.column)))
}

fn pg_index(objects: &Objects, rows: &mut Rows) {
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
                ("indnatts", count.into()),
                ("indnkeyatts", count.into()),
                ("indisunique", Datum::Bool(index.unique)),
                ("indisprimary", Datum::Bool(primary == Some(index_oid(index)))),
                ("indimmediate", Datum::Bool(true)),
                ("indisvalid", Datum::Bool(true)),
                ("indisready", Datum::Bool(true)),
                ("indislive", Datum::Bool(true)),
                ("indkey", key_numbers(index)),
                ("indcollation", numbers(collations)),
                ("indclass", numbers(index.columns.iter().map(|_| DEFAULT_OPCLASS))),
                ("indoption", numbers(options)),
            ]);
        }
    }
}

fn action(action: ReferentialAction) -> Datum<'static> {
    match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
    }
    .into()
}

fn pg_constraint(objects: &Objects, rows: &mut Rows) {
    let columns = |ids: &[ColumnId]| numbers(ids.iter().map(|id| attnum(*id)));
    for table in objects.tables() {
        for constraint in constraints(table) {
            let mut row = vec![
                ("oid", constraint.oid.into()),
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
                        ("conkey", key_numbers(index)),
                        ("confupdtype", " ".into()),
                        ("confdeltype", " ".into()),
                        ("confmatchtype", " ".into()),
                    ]);
                }
                Rule::Foreign(key) => {
                    let referenced = objects.table(key.referenced_table);
                    // The unique index that makes the referenced columns a key.
                    let index = referenced.and_then(|other| {
                        let ids = |index: &Index| index.columns.iter().map(|part| part.column).collect::<Vec<_>>();
                        let is_key = |index: &&Index| {
                            let ids = ids(index);
                            index.unique
                                && ids.len() == key.referenced_columns.len()
                                && key.referenced_columns.iter().all(|id| ids.contains(id))
                        };
                        shown_indexes(other).find(is_key).map(index_oid)
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

/// Length (-1: varies), whether passed by value, alignment and storage of a type.
fn layout(wire: &Type) -> (i64, bool, &'static str, &'static str) {
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

fn collation(wire: &Type) -> i64 {
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

fn pg_type_rows(_: &Objects, rows: &mut Rows) {
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

fn each_sequence(objects: &Objects) -> impl Iterator<Item = (&Descriptor, &SequenceDescriptor)> {
    objects.relations.iter().filter_map(|relation| match &**relation {
        Descriptor::Sequence(sequence) => Some((&**relation, sequence)),
        _ => None,
    })
}

fn pg_sequence(objects: &Objects, rows: &mut Rows) {
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

/// Which columns own which sequences.
fn pg_depend(objects: &Objects, rows: &mut Rows) {
    for (_, sequence) in each_sequence(objects) {
        let Some((table, column)) = sequence.owned_by else { continue };
        let owner = objects.table(table).and_then(|table| table.column(column));
        let is_identity = owner.is_some_and(|column| column.generated_always);
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

fn is_super(role: &str) -> Datum<'static> {
    Datum::Bool([crate::catalog::ROOT_USER, crate::catalog::ADMIN_ROLE].contains(&role))
}

fn pg_roles(objects: &Objects, rows: &mut Rows) {
    for role in &objects.roles {
        let is_super = is_super(&role.name);
        rows.push(&[
            ("oid", role_oid(&role.name).into()),
            ("rolname", name(&role.name)),
            ("rolsuper", is_super.clone()),
            ("rolinherit", Datum::Bool(true)),
            ("rolcreaterole", is_super.clone()),
            ("rolcreatedb", is_super),
            ("rolcanlogin", Datum::Bool(role.can_login)),
            ("rolconnlimit", (-1_i64).into()),
        ]);
    }
}

fn pg_user(objects: &Objects, rows: &mut Rows) {
    for role in objects.roles.iter().filter(|role| role.can_login) {
        rows.push(&[
            ("usename", name(&role.name)),
            ("usesysid", role_oid(&role.name).into()),
            ("usecreatedb", is_super(&role.name)),
            ("usesuper", is_super(&role.name)),
            ("passwd", "********".into()),
        ]);
    }
}

fn pg_auth_members(objects: &Objects, rows: &mut Rows) {
    use crate::catalog::{ADMIN_ROLE, ROOT_USER};
    if objects.roles.iter().any(|role| role.name == ADMIN_ROLE) {
        rows.push(&[
            ("roleid", role_oid(ADMIN_ROLE).into()),
            ("member", role_oid(ROOT_USER).into()),
            ("grantor", role_oid(ROOT_USER).into()),
            ("admin_option", Datum::Bool(true)),
        ]);
    }
}

fn pg_tables(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::Table(table) = &**relation else { continue };
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("tablename", name(relation.name())),
            ("tableowner", name(&table.identity.owner)),
            ("hasindexes", Datum::Bool(shown_indexes(table).next().is_some())),
            ("hastriggers", Datum::Bool(!table.foreign_keys.is_empty() || !table.referenced_by.is_empty())),
        ]);
    }
}

fn pg_views(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::View(view) = &**relation else { continue };
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("viewname", name(relation.name())),
            ("viewowner", name(&view.identity.owner)),
            ("definition", name(&view.query)),
        ]);
    }
}

fn pg_indexes(objects: &Objects, rows: &mut Rows) {
    for relation in &objects.relations {
        let Descriptor::Table(table) = &**relation else { continue };
        for index in shown_indexes(table) {
            rows.push(&[
                ("schemaname", name(objects.schema_of(relation))),
                ("tablename", name(relation.name())),
                ("indexname", name(&index.name)),
                ("indexdef", written::index(objects, table, index).into()),
            ]);
        }
    }
}

fn pg_sequences(objects: &Objects, rows: &mut Rows) {
    for (relation, sequence) in each_sequence(objects) {
        rows.push(&[
            ("schemaname", name(objects.schema_of(relation))),
            ("sequencename", name(relation.name())),
            ("sequenceowner", name(&sequence.identity.owner)),
            ("data_type", "bigint".into()),
            ("start_value", sequence.start.into()),
            ("min_value", sequence.minimum.into()),
            ("max_value", sequence.maximum.into()),
            ("increment_by", sequence.increment.into()),
            ("cache_size", 1_i64.into()),
        ]);
    }
}
