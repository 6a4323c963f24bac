//! Databases, schemas and views.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::resolve::resolve_table_references;
use sqlparser::ast::{
    CreateView, ObjectName, ObjectNamePart, Query, SchemaName, Statement as Ast, TableAlias, TableFactor, VisitMut,
    VisitorMut,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts, written_name};
use super::super::query::{self, ExtraTables, Visibility};
use super::super::temporary;
use super::super::types::pg_name;
use super::drop::forget_view;
use super::{Outcome, default_privileges, enumeration, owner, stored};
use crate::catalog::{self, Descriptor, DescriptorId, Identity, SchemaDescriptor, ViewColumn, ViewDescriptor};
use crate::kv::LockMode;
use crate::parser::{ObjectKind, sql_text};

/// A name and a number for a new object of the user.
pub async fn new_identity(context: &Context, name: &str) -> Result<Identity> {
    let id = DescriptorId(context.engine().store().create_space().await?.0);
    Ok(Identity::new(id, name, &context.session().user))
}

/// `CREATE DATABASE`
pub async fn create_database(
    context: &Context,
    parts: &[String],
    if_not_exists: bool,
    owner: Option<&str>,
) -> Result<Outcome> {
    let owner = match owner {
        Some(owner) => Some(owner::role(context, owner).await?),
        None => None,
    };
    let [name] = parts else { return Err(Error::new(code::INVALID_NAME, "a database has a name of one part")) };
    context.catalog().lock_name(None, None, name).await?;
    if context.catalog().lookup(None, None, name).await?.is_some() {
        let message = format!("database \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Outcome::skipped("CREATE DATABASE", message)),
            false => Err(Error::new(code::DUPLICATE_DATABASE, message)),
        };
    }
    let mut identity = new_identity(context, name).await?;
    identity.owner = owner.unwrap_or(identity.owner);
    catalog::create_database(context.catalog(), &**context.engine().store(), identity).await?;
    Ok(Outcome::done("CREATE DATABASE"))
}

/// `CREATE SCHEMA`
pub async fn create_schema(context: &Context, name: &SchemaName, if_not_exists: bool) -> Result<Outcome> {
    let (parts, owner) = match name {
        SchemaName::Simple(name) => (name_parts(name)?, None),
        SchemaName::UnnamedAuthorization(owner) => (vec![owner::role(context, &folded(owner)).await?], Some(owner)),
        SchemaName::NamedAuthorization(name, owner) => (name_parts(name)?, Some(owner)),
    };
    let owner = match owner {
        Some(owner) => owner::role(context, &folded(owner)).await?,
        None => context.session().user.clone(),
    };
    let (database, name) = match &parts[..] {
        [name] => (context.current_database().await?.id(), name),
        [database, name] => (context.database(database).await?.id(), name),
        _ => return Err(Error::new(code::INVALID_NAME, "a schema has a name of one or two parts")),
    };
    super::refuse_system(database)?;
    if name.starts_with("pg_") {
        let detail = "The prefix \"pg_\" is reserved for system schemas.";
        return Err(Error::new("42939", format!("unacceptable schema name \"{name}\"")).detail(detail));
    }
    context.catalog().lock_name(Some(database), None, name).await?;
    if context.catalog().lookup(Some(database), None, name).await?.is_some() {
        let message = format!("schema \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Outcome::skipped("CREATE SCHEMA", message)),
            false => Err(Error::new(code::DUPLICATE_SCHEMA, message)),
        };
    }
    let mut identity = Identity { owner, ..new_identity(context, name).await? };
    default_privileges::grant(context, ObjectKind::Schemas, &[database], &mut identity).await?;
    let schema = SchemaDescriptor { identity, database, temporary: false };
    context.catalog().create(&Descriptor::Schema(schema)).await?;
    Ok(Outcome::done("CREATE SCHEMA"))
}

/// `CREATE VIEW`
pub async fn create_view(context: &Context, create: &CreateView) -> Result<Outcome> {
    if create.materialized {
        return Err(Error::unsupported("CREATE MATERIALIZED VIEW"));
    }
    let mut parts = name_parts(&create.name)?;
    let mut notices = Vec::new();
    if create.temporary {
        parts = temporary::place(context, &parts)?;
    } else if reads_temporary(context, &create.query).await? && !is_temporary_name(context, &parts).await? {
        notices.push(format!("view \"{}\" will be a temporary view", parts.last().map_or("", String::as_str)));
        parts = temporary::place(context, &parts)?;
    }
    let (database, schema, name) = context.place_for(&parts).await?;
    context.catalog().lock_name(Some(database), Some(schema), &name).await?;
    let before = match context.catalog().lookup(Some(database), Some(schema), &name).await?.as_deref() {
        None => None,
        Some(Descriptor::View(view)) if create.or_replace => {
            context.catalog().lock(view.identity.id, LockMode::Exclusive).await?;
            Some(view.clone())
        }
        Some(_) if create.or_replace => {
            return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a view")));
        }
        Some(_) => {
            let message = format!("relation \"{name}\" already exists");
            return match create.if_not_exists {
                true => Ok(Outcome::skipped("CREATE VIEW", message)),
                false => Err(Error::new(code::DUPLICATE_TABLE, message)),
            };
        }
    };
    let planned = query::plan(context, &create.query, &ExtraTables::new(), Visibility::AsNamed).await?;
    if create.columns.len() > planned.columns.len() {
        return Err(Error::new(code::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns"));
    }
    let mut columns: Vec<ViewColumn> = Vec::new();
    for (index, column) in planned.columns.iter().enumerate() {
        let name = match create.columns.get(index) {
            Some(given) if given.name.quote_style.is_some() => given.name.value.clone(),
            Some(given) => given.name.value.to_lowercase(),
            None => column.name.clone(),
        };
        if columns.iter().any(|known| known.name == name) {
            return Err(Error::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        columns.push(ViewColumn { name, column_type: column.column_type.clone(), comment: None });
    }
    let mut query = (*create.query).clone();
    let depends_on = qualify_names(context, database, &mut query).await?;
    let types = stored::settle(context, database, &mut query).await?.into_iter().collect();
    let identity = match &before {
        Some(before) => {
            keep_columns(before, &mut columns)?;
            if depends_on.contains(&before.identity.id) {
                let message = format!("infinite recursion detected in view \"{name}\"");
                return Err(Error::new(code::INVALID_OBJECT_DEFINITION, message));
            }
            for source in &before.depends_on {
                forget_view(context, *source, before.identity.id).await?;
            }
            before.identity.clone()
        }
        None => {
            let mut identity = new_identity(context, &name).await?;
            default_privileges::grant(context, ObjectKind::Tables, &[database, schema], &mut identity).await?;
            identity
        }
    };
    let id = identity.id;
    let mut columns_below = Vec::new();
    for source in &depends_on {
        context.catalog().lock(*source, LockMode::Exclusive).await?;
        let mut changed = (*context.catalog().get(*source).await?).clone();
        let (views, below) = match &mut changed {
            Descriptor::Table(table) => (&mut table.views, table.next_column),
            Descriptor::View(view) => (&mut view.views, u32::MAX),
            Descriptor::Sequence(sequence) => (&mut sequence.views, u32::MAX),
            other => return Err(Error::internal(format!("a view on {} {}", other.kind(), other.name()))),
        };
        views.push(id);
        columns_below.push(below);
        context.catalog().write(&changed)?;
    }
    let (query, views) = (sql_text(&query), before.as_ref().map(|before| before.views.clone()).unwrap_or_default());
    let view = ViewDescriptor { identity, database, schema, query, columns, depends_on, columns_below, types, views };
    let view = Descriptor::View(view);
    let before = before.map(Descriptor::View);
    enumeration::link(context, before.as_ref(), Some(&view)).await?;
    match before {
        Some(_) => context.catalog().write(&view)?,
        None => context.catalog().create(&view).await?,
    }
    Ok(Outcome { tag: "CREATE VIEW", notices })
}

/// Whether a new object of this name would be temporary.
async fn is_temporary_name(context: &Context, parts: &[String]) -> Result<bool> {
    let (_, schema, _) = context.place_for(parts).await?;
    temporary::holds(context, schema).await
}

/// Whether a query reads something temporary.
async fn reads_temporary(context: &Context, query: &Query) -> Result<bool> {
    if context.session().temporary.name().is_none() {
        return Ok(false);
    }
    for found in named_in(context, query).await?.into_values() {
        if let (_, Some(schema)) = found.parents()
            && temporary::holds(context, schema).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The objects that a query names, by their names in it.
async fn named_in(context: &Context, query: &Query) -> Result<BTreeMap<Vec<String>, Arc<Descriptor>>> {
    let statement = DfStatement::Statement(Box::new(Ast::Query(Box::new(query.clone()))));
    let (references, _) = resolve_table_references(&statement, true)?;
    let mut named = BTreeMap::new();
    for reference in references {
        let parts = [reference.catalog(), reference.schema(), Some(reference.table())];
        let parts: Vec<String> = parts.into_iter().flatten().map(str::to_string).collect();
        if let Some(found) = context.find_object(&parts).await? {
            named.insert(parts, found);
        }
    }
    Ok(named)
}

/// Fails unless the columns of a view that is replaced are still there, as they were and in their order; more may follow.
fn keep_columns(before: &ViewDescriptor, columns: &mut [ViewColumn]) -> Result<()> {
    let fail = |message: String| Err(Error::new(code::INVALID_TABLE_DEFINITION, message));
    if columns.len() < before.columns.len() {
        return fail("cannot drop columns from view".into());
    }
    for (old, new) in before.columns.iter().zip(columns) {
        if old.name != new.name {
            return fail(format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name));
        }
        if old.column_type != new.column_type {
            let (from, to) = (pg_name(&old.column_type), pg_name(&new.column_type));
            return fail(format!("cannot change data type of view column \"{}\" from {from} to {to}", old.name));
        }
        new.comment.clone_from(&old.comment);
    }
    Ok(())
}

/// Writes every name in a query with its schema, and with its database if that is not `home`; returns what is named.
async fn qualify_names(context: &Context, home: DescriptorId, query: &mut Query) -> Result<Vec<DescriptorId>> {
    let mut full: HashMap<Vec<String>, Vec<String>> = HashMap::new();
    let mut ids = Vec::new();
    for (parts, found) in named_in(context, query).await? {
        let (Some(database), Some(schema)) = found.parents() else { continue };
        if found.id().0 < catalog::system::FIRST_USER_ID {
            return Err(Error::unsupported("a view on a system table"));
        }
        let mut qualified = vec![context.catalog().get(schema).await?.name().to_string(), found.name().to_string()];
        if database != home {
            qualified.insert(0, context.catalog().get(database).await?.name().to_string());
        }
        if !ids.contains(&found.id()) {
            ids.push(found.id());
        }
        full.insert(parts, qualified);
    }
    let _ = query.visit(&mut Qualify { full });
    Ok(ids)
}

struct Qualify {
    full: HashMap<Vec<String>, Vec<String>>,
}

impl VisitorMut for Qualify {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // Columns go on being named by what the table was called, also in `t.*`.
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(own)] = &name.0[..]
            && name_parts(name).is_ok_and(|parts| self.full.contains_key(&parts))
        {
            *alias = Some(TableAlias { explicit: true, name: own.clone(), columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let Ok(parts) = name_parts(relation)
            && let Some(qualified) = self.full.get(&parts)
        {
            *relation = written_name(qualified);
        }
        ControlFlow::Continue(())
    }
}
