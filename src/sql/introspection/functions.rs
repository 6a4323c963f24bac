//! Functions about the catalog, and those that queries of it cannot do without, after <https://www.postgresql.org/docs/15/functions-info.html>.

use std::fmt::{Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use postgres_types::Type;
use sqlparser::ast::ObjectName;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::arrays::row_by_row;
use super::super::create_statement::index_part;
use super::super::error::{Error, Result, code};
use super::super::names::{name_parts, parse_name};
use super::super::types::{anonymous_field, arrow_type, pg_type, resolve};
use super::objects::{Comment, MadeType, Objects, oid, role_oid};
use super::{Snapshot, catalog_oid, pg_catalog, written};
use crate::catalog::{ColumnType, Datum, Descriptor, DescriptorId};
use crate::parser::quote_ident_in_sql;

type DfResult<T> = datafusion::error::Result<T>;
type OfCatalog = fn(&Objects, &[Datum<'_>]) -> Result<Datum<'static>>;
type Plain = fn(&[Datum<'_>]) -> Result<Datum<'static>>;
type Returns = fn() -> ColumnType;

/// Name, how many arguments, type of the result, body.
type Definition<Body> = (&'static str, RangeInclusive<usize>, Returns, Body);

const TEXT: Returns = || ColumnType::Text;
const BOOL: Returns = || ColumnType::Bool;
const INT8: Returns = || ColumnType::Int8;
const INT4: Returns = || ColumnType::Int4;
const TEXTS: Returns = || ColumnType::Array(Box::new(ColumnType::Text));
const INT8S: Returns = || ColumnType::Array(Box::new(ColumnType::Int8));

/// Functions that need no catalog.
const PLAIN: [Definition<Plain>; 6] = [
    ("pg_size_pretty", 1..=1, TEXT, |args| Ok(number(&args[0]).map(pretty_size).into())),
    ("array_upper", 2..=2, INT4, |args| Ok(upper_bound(args).into())),
    ("array_lower", 2..=2, INT4, |args| Ok(upper_bound(args).map(|_| 1_i64).into())),
    ("subscripts", 2..=2, INT8S, subscripts),
    ("ordinals", 2..=9, INT8S, |args| {
        let length = |array: &Datum<'_>| if let Datum::Array(items) = array { items.len() as i64 } else { 0 };
        Ok(Datum::Array((1..=args.iter().map(length).max().unwrap_or(0)).map(Datum::Int).collect()))
    }),
    ("escaped_pattern", 2..=2, TEXT, escaped_pattern),
];

const OF_CATALOG: [Definition<OfCatalog>; 54] = [
    ("format_type", 2..=2, TEXT, |objects, args| {
        Ok(number(&args[0]).map(|oid| written::type_name(objects, oid, number(&args[1]))).into())
    }),
    ("pg_get_expr", 2..=3, TEXT, |objects, args| Ok(word(&args[0]).map(|sql| objects.written_sql(sql)).into())),
    ("pg_get_constraintdef", 1..=2, TEXT, constraint_definition),
    ("pg_get_indexdef", 1..=3, TEXT, index_definition),
    ("pg_get_viewdef", 1..=2, TEXT, view_definition),
    ("pg_get_userbyid", 1..=1, TEXT, user_by_id),
    ("pg_get_ruledef", 1..=2, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_triggerdef", 1..=2, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_functiondef", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_function_arguments", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_function_identity_arguments", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_function_result", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_partkeydef", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("pg_get_statisticsobjdef_columns", 1..=1, TEXT, |_, _| Ok(Datum::Null)),
    ("acldefault", 2..=2, TEXTS, default_grants),
    ("current_schemas", 1..=1, TEXTS, |objects, args| {
        let (implicit, named) = objects.search_path();
        let implicit = implicit.into_iter().chain(["pg_catalog"]).filter(|_| args[0] == Datum::Bool(true));
        Ok(Datum::Array(implicit.chain(named).map(|name| name.to_string().into()).collect()))
    }),
    ("pg_tablespace_location", 1..=1, TEXT, |_, _| Ok("".into())),
    ("pg_encoding_to_char", 1..=1, TEXT, |_, _| Ok("UTF8".into())),
    ("pg_table_is_visible", 1..=1, BOOL, is_visible),
    ("pg_type_is_visible", 1..=1, BOOL, |objects, args| {
        let made = number(&args[0]).and_then(|oid| objects.made_type(oid).or_else(|| objects.element_of(oid)));
        let is_found = |made: &MadeType| {
            let found = objects.type_named(None, &made.column_type.name);
            found.is_some_and(|found| found.column_type.id == made.column_type.id)
        };
        Ok(Datum::Bool(made.is_none_or(is_found)))
    }),
    ("pg_collation_is_visible", 1..=1, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("pg_operator_is_visible", 1..=1, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("pg_opclass_is_visible", 1..=1, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("pg_function_is_visible", 1..=1, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("pg_relation_is_publishable", 1..=1, BOOL, |_, _| Ok(Datum::Bool(false))),
    ("pg_is_in_recovery", 0..=0, BOOL, |_, _| Ok(Datum::Bool(false))),
    ("pg_is_other_temp_schema", 1..=1, BOOL, |objects, args| {
        let is_other = |schema: DescriptorId| objects.temporary_schema() != Some(schema);
        let found = number(&args[0]).map(|oid| DescriptorId(oid as u64)).filter(|id| objects.persistence(*id) == "t");
        Ok(Datum::Bool(found.is_some_and(is_other)))
    }),
    ("pg_my_temp_schema", 0..=0, INT8, |objects, _| Ok(Datum::Int(objects.temporary_schema().map_or(0, oid)))),
    ("col_description", 2..=2, TEXT, |objects, args| Ok(comment(objects, args, number(&args[1])))),
    ("obj_description", 1..=2, TEXT, |objects, args| Ok(comment(objects, args, Some(0)))),
    ("shobj_description", 2..=2, TEXT, |objects, args| Ok(comment(objects, args, Some(0)))),
    ("pg_relation_size", 1..=2, INT8, relation_size),
    ("pg_table_size", 1..=1, INT8, relation_size),
    ("pg_indexes_size", 1..=1, INT8, indexes_size),
    ("pg_total_relation_size", 1..=1, INT8, |objects, args| {
        let (table, indexes) = (relation_size(objects, args)?, indexes_size(objects, args)?);
        Ok(number(&table).map(|bytes| bytes + number(&indexes).unwrap_or(0)).into())
    }),
    ("pg_database_size", 1..=1, INT8, database_size),
    ("oid:regclass", 1..=1, INT8, class_oid),
    ("oid:regtype", 1..=1, INT8, type_oid),
    ("oid:regnamespace", 1..=1, INT8, namespace_oid),
    ("oid:regrole", 1..=1, INT8, |_, args| Ok(number_or(&args[0], role_oid).into())),
    // Functions have names only, here.
    ("oid:regproc", 1..=1, TEXT, |_, args| {
        let plain = |name: &str| name.strip_prefix("pg_catalog.").unwrap_or(name).to_string();
        Ok(word(&args[0]).map(plain).or_else(|| number(&args[0]).map(|oid| oid.to_string())).into())
    }),
    ("name:regclass", 1..=1, TEXT, class_name),
    ("name:regtype", 1..=1, TEXT, |objects, args| {
        let oid = type_oid(objects, args)?;
        Ok(number(&oid).map(|oid| written::type_name(objects, oid, None)).into())
    }),
    ("name:regnamespace", 1..=1, TEXT, |objects, args| {
        let oid = namespace_oid(objects, args)?;
        let schema =
            number(&oid).and_then(|wanted| objects.schemas.iter().find(|schema| self::oid(schema.id()) == wanted));
        Ok(schema
            .map(|schema| quote_ident_in_sql(schema.name()))
            .or_else(|| number(&oid).map(|oid| oid.to_string()))
            .into())
    }),
    ("name:regrole", 1..=1, TEXT, user_by_id),
    ("name:regproc", 1..=1, TEXT, |_, args| Ok(args[0].clone().into_owned())),
    ("to_regclass", 1..=1, INT8, |objects, args| Ok(class_oid(objects, args).unwrap_or(Datum::Null))),
    ("to_regtype", 1..=1, INT8, |objects, args| Ok(type_oid(objects, args).unwrap_or(Datum::Null))),
    // Privileges are not enforced yet: everybody may do everything.
    ("has_table_privilege", 2..=3, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("has_column_privilege", 3..=4, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("has_any_column_privilege", 2..=3, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("has_sequence_privilege", 2..=3, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("has_schema_privilege", 2..=3, BOOL, |_, _| Ok(Datum::Bool(true))),
    ("has_database_privilege", 2..=3, BOOL, |_, _| Ok(Datum::Bool(true))),
];

/// The function with a name, as a statement with this snapshot sees it.
pub fn by_name(snapshot: &Arc<Snapshot>, name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, count, returns, body) = match PLAIN.iter().find(|(known, ..)| *known == name) {
        Some((name, count, returns, body)) => (*name, count, *returns, Body::Plain(*body)),
        None => {
            let (name, count, returns, body) = OF_CATALOG.iter().find(|(known, ..)| *known == name)?;
            (*name, count, *returns, Body::OfCatalog(*body, snapshot.clone()))
        }
    };
    let of = |count| if count == 0 { TypeSignature::Nullary } else { TypeSignature::Any(count) };
    let signature = Signature::one_of(count.clone().map(of).collect(), Volatility::Stable);
    Some(Arc::new(ScalarUDF::from(CatalogFunction { name, returns: returns(), signature, body })))
}

enum Body {
    Plain(Plain),
    OfCatalog(OfCatalog, Arc<Snapshot>),
}

struct CatalogFunction {
    name: &'static str,
    returns: ColumnType,
    signature: Signature,
    body: Body,
}

impl Debug for CatalogFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        let same_body = match (&self.body, &other.body) {
            (Body::Plain(_), Body::Plain(_)) => true,
            (Body::OfCatalog(_, one), Body::OfCatalog(_, other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        self.name == other.name && same_body
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(&self.returns))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(anonymous_field(&self.returns).as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let objects = match &self.body {
            Body::Plain(_) => None,
            Body::OfCatalog(_, snapshot) => Some(snapshot.objects_now()?),
        };
        let value = row_by_row(&args, &self.returns, |datums, _| match (datums.first(), &self.body, &objects) {
            // All are strict in their first argument.
            (Some(Datum::Null), ..) | (_, Body::OfCatalog(..), None) => Ok(Datum::Null),
            (_, Body::OfCatalog(body, _), Some(objects)) => body(objects, &datums),
            (_, Body::Plain(body), _) => body(&datums),
        })?;
        Ok(value)
    }
}

/// A number, also one that is written as text.
fn number(datum: &Datum<'_>) -> Option<i64> {
    datum.as_int().or_else(|| datum.as_text()?.trim().parse().ok())
}

fn number_or(datum: &Datum<'_>, otherwise: impl FnOnce(&str) -> i64) -> Option<i64> {
    number(datum).or_else(|| datum.as_text().map(otherwise))
}

fn word<'a>(datum: &'a Datum<'_>) -> Option<&'a str> {
    datum.as_text()
}

/// Any name or number of a relation as its object identifier.
fn class_oid(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    if let Some(oid) = number(&args[0]) {
        return Ok(oid.into());
    }
    let Some(name) = word(&args[0]) else { return Ok(Datum::Null) };
    let parts = parse_name(name)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let found = match parts[..] {
        [name] => catalog_oid(name).or_else(|| objects.find(None, name)),
        ["pg_catalog", name] => catalog_oid(name),
        [schema, name] => objects.find(Some(schema), name),
        [database, schema, name] if database == objects.database.name() => objects.find(Some(schema), name),
        _ => None,
    };
    let missing = || Error::new(code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
    found.map(Datum::Int).ok_or_else(missing)
}

fn class_name(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let Some(oid) = number(&class_oid(objects, args)?) else { return Ok(Datum::Null) };
    let fixed = pg_catalog::FIXED_OIDS.iter().find(|(_, known)| *known == oid).map(|(name, _)| (*name).to_string());
    let name = objects.written(oid).or(fixed);
    Ok(name.unwrap_or_else(|| if oid == 0 { "-".into() } else { oid.to_string() }).into())
}

fn type_oid(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    if let Some(oid) = number(&args[0]) {
        return Ok(oid.into());
    }
    let Some(name) = word(&args[0]) else { return Ok(Datum::Null) };
    let missing = || Error::new(code::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"));
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).and_then(|mut parser| parser.parse_data_type());
    let made = |name: &ObjectName| {
        let parts = name_parts(name)?;
        let made = match &parts[..] {
            [name] => objects.type_named(None, name),
            [schema, name] => objects.type_named(Some(schema), name),
            _ => None,
        };
        Ok(ColumnType::Enum(Box::new(made.ok_or_else(missing)?.column_type.clone())))
    };
    let column_type = resolve(&parsed.map_err(|_| missing())?, &made).map_err(|_| missing())?;
    // STRING stands for TEXT here, but a length that is not given is not one.
    let wire = match name.trim() {
        "oid" => Type::OID,
        "name" => Type::NAME,
        _ => pg_type(&column_type),
    };
    Ok(i64::from(wire.oid()).into())
}

fn namespace_oid(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    if let Some(oid) = number(&args[0]) {
        return Ok(oid.into());
    }
    let Some(name) = word(&args[0]) else { return Ok(Datum::Null) };
    let wanted = parse_name(name)?;
    if wanted == ["pg_catalog"] {
        return Ok(pg_catalog::PG_CATALOG.into());
    }
    let schema = objects.schemas.iter().find(|schema| [schema.name()] == wanted[..]);
    let missing = || Error::new(code::INVALID_SCHEMA, format!("schema \"{name}\" does not exist"));
    Ok(oid(schema.ok_or_else(missing)?.id()).into())
}

fn constraint_definition(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let found = number(&args[0]).and_then(|oid| objects.constraint(oid));
    Ok(found.map(|(table, constraint)| written::constraint(objects, table, constraint.rule)).into())
}

/// The whole statement, or one column.
fn index_definition(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let Some((table, index)) = number(&args[0]).and_then(|oid| objects.index(oid)) else { return Ok(Datum::Null) };
    match args.get(1).and_then(number) {
        None | Some(0) => Ok(written::index(objects, table, index).into()),
        Some(at) => {
            let mut parts = index.columns.iter().map(|part| &part.column).chain(&index.stored);
            let part = usize::try_from(at - 1).ok().and_then(|at| parts.nth(at));
            Ok(part.map(|part| objects.written_sql(&index_part(table, *part))).unwrap_or_default().into())
        }
    }
}

fn view_definition(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let oid = number(&class_oid(objects, args)?);
    Ok(match oid.and_then(|oid| objects.relation(oid)) {
        Some(Descriptor::View(view)) => format!(" {};", view.query).into(),
        _ => Datum::Null,
    })
}

fn user_by_id(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let oid = number_or(&args[0], role_oid);
    // The system's own objects belong to who is no user.
    let owner =
        |oid| objects.databases.iter().map(|database| &database.identity().owner).find(|owner| role_oid(owner) == oid);
    let name = |oid| objects.role(oid).map(|role| &role.name).or_else(|| owner(oid)).cloned();
    Ok(oid.map(|oid| name(oid).unwrap_or_else(|| format!("unknown (OID={oid})"))).into())
}

/// What is said of an object, or of the column with a number.
fn comment(objects: &Objects, args: &[Datum<'_>], column: Option<i64>) -> Datum<'static> {
    let all = objects.comments();
    let is_it = |comment: &&Comment<'_>| Some(comment.oid) == number(&args[0]) && Some(comment.column) == column;
    all.iter().find(is_it).map(|comment| comment.text.to_string()).into()
}

/// The privileges that a new object of this kind has, by its owner.
fn default_grants(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let owner = user_by_id(objects, &args[1..])?;
    let (Some(kind), Some(owner)) = (word(&args[0]), word(&owner)) else { return Ok(Datum::Null) };
    let is_plain = owner.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    let owner = if is_plain { owner.to_string() } else { format!("\"{}\"", owner.replace('"', "\"\"")) };
    // What everybody may do, and what the owner may.
    let (public, own) = match kind {
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "n" => ("", "UC"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "F" | "S" => ("", "U"),
        "t" => ("", "C"),
        "L" => ("", "rw"),
        "c" => return Ok(Datum::Array(Vec::new())),
        _ => return Err(Error::new(code::INVALID_PARAMETER, format!("unrecognized object type abbreviation: {kind}"))),
    };
    let public = (!public.is_empty()).then(|| format!("={public}/{owner}"));
    let grants = public.into_iter().chain([format!("{owner}={own}/{owner}")]);
    Ok(Datum::Array(grants.map(Datum::from).collect()))
}

fn is_visible(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    Ok(number(&args[0]).map(|oid| objects.is_visible(oid)).map_or(Datum::Null, Datum::Bool))
}

/// The number of elements of an array that has some; only one dimension is there.
fn upper_bound(args: &[Datum<'_>]) -> Option<i64> {
    match (&args[0], number(&args[1])) {
        (Datum::Array(items), Some(1)) if !items.is_empty() => Some(items.len() as i64),
        _ => None,
    }
}

fn relation_size(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let oid = number(&class_oid(objects, args)?);
    Ok(oid.map(|oid| objects.bytes_of(oid)).transpose()?.flatten().into())
}

fn indexes_size(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let oid = number(&class_oid(objects, args)?);
    Ok(match oid.and_then(|oid| objects.relation(oid)) {
        Some(Descriptor::Table(table)) => {
            let spaces: Vec<_> = table.indexes.iter().map(|index| index.space).collect();
            objects.bytes_in(&spaces)?.into()
        }
        Some(_) => Datum::Int(0),
        None => Datum::Null,
    })
}

/// The size of the current database; of others nothing is known here.
fn database_size(objects: &Objects, args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let database = &objects.database;
    if number(&args[0]) != Some(oid(database.id())) && word(&args[0]) != Some(database.name()) {
        return Ok(Datum::Null);
    }
    let spaces: Vec<_> = objects.relations.iter().flat_map(|relation| relation.spaces()).collect();
    Ok(objects.bytes_in(&spaces)?.into())
}

/// A size as PostgreSQL writes it: in the largest unit of which there are at least ten.
fn pretty_size(bytes: i64) -> String {
    let (mut size, mut units) = (bytes, ["bytes", "kB", "MB", "GB", "TB", "PB"].iter());
    let mut unit = units.next().copied().unwrap_or_default();
    while size.unsigned_abs() >= 10 * 1024
        && let Some(next) = units.next()
    {
        size = size / 1024 + (size % 1024 + size.signum() * 512) / 1024;
        unit = next;
    }
    format!("{size} {unit}")
}

/// The positions of an array, of which the first has this number.
fn subscripts(args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let first = number(&args[1]).unwrap_or(1);
    Ok(match &args[0] {
        Datum::Array(items) => Datum::Array((0..items.len() as i64).map(|at| Datum::Int(first + at)).collect()),
        _ => Datum::Null,
    })
}

/// A pattern of `LIKE` that another character escapes in, as one in which a backslash does.
fn escaped_pattern(args: &[Datum<'_>]) -> Result<Datum<'static>> {
    let (Some(pattern), Some(escape)) = (word(&args[0]), word(&args[1])) else { return Ok(Datum::Null) };
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        let hint = "Escape string must be empty or one character.";
        return Err(Error::new(code::INVALID_ESCAPE_SEQUENCE, "invalid escape string").hint(hint));
    }
    let mut escaped = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            _ if Some(character) == escape => {
                let message = "LIKE pattern must not end with escape character";
                let next = rest.next().ok_or_else(|| Error::new(code::INVALID_ESCAPE_SEQUENCE, message))?;
                escaped.extend(['\\', next]);
            }
            '\\' => escaped.push_str("\\\\"),
            other => escaped.push(other),
        }
    }
    Ok(escaped.into())
}
