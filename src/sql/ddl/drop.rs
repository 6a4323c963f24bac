use std::collections::BTreeSet;

use sqlparser::ast::ObjectType;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::alter_table::drop_column;
use super::serial::owned_sequences;
use super::{enumeration, refuse_system, roles};
use crate::catalog::{ColumnType, Descriptor, DescriptorId, Index, TableDescriptor, TypeDescriptor};
use crate::kv::LockMode;
use crate::parser::quote_ident_in_sql;

/// `DROP` of one name.
pub async fn drop_named(
    context: &Context,
    kind: &ObjectType,
    parts: &[String],
    cascade: bool,
    restrict: bool,
) -> Result<()> {
    match kind {
        ObjectType::Table => drop_object(context, parts, "table", cascade).await,
        ObjectType::View => drop_object(context, parts, "view", cascade).await,
        ObjectType::Sequence => drop_object(context, parts, "sequence", cascade).await,
        ObjectType::Type => drop_object(context, parts, "type", cascade).await,
        ObjectType::Index => drop_index(context, parts).await,
        ObjectType::Schema => drop_schema(context, parts, cascade).await,
        ObjectType::Database => drop_database(context, parts, restrict).await,
        ObjectType::Role | ObjectType::User => roles::drop_role(context, parts).await,
        other => Err(Error::unsupported(format!("DROP {other}"))),
    }
}

async fn drop_object(context: &Context, parts: &[String], kind: &str, cascade: bool) -> Result<()> {
    let found = context.find_object(parts).await?;
    let missing = || match kind {
        "type" => enumeration::missing(parts),
        _ => Error::new(code::UNDEFINED_TABLE, format!("{kind} \"{}\" does not exist", parts.join("."))),
    };
    let found = found.ok_or_else(missing)?;
    if found.kind() != kind {
        return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {kind}", found.name())));
    }
    drop_all(context, BTreeSet::from([found.id()]), cascade).await
}

async fn drop_schema(context: &Context, parts: &[String], cascade: bool) -> Result<()> {
    let (database, name) = match parts {
        [name] => (context.current_database().await?, name),
        [database, name] => (context.database(database).await?, name),
        _ => return Err(Error::new(code::INVALID_NAME, "a schema has a name of one or two parts")),
    };
    refuse_system(database.id())?;
    let schema = context.schema(database.id(), name).await?;
    if name == crate::catalog::PUBLIC_SCHEMA {
        return Err(Error::new(code::DEPENDENT_OBJECTS, "schema \"public\" cannot be dropped"));
    }
    let objects = context.catalog().list(Some(database.id()), Some(schema.id())).await?;
    if !objects.is_empty() && !cascade {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(Error::new(code::DEPENDENT_OBJECTS, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    drop_all(context, objects.iter().map(|object| object.id()).collect(), true).await?;
    context.catalog().lock(schema.id(), LockMode::Exclusive).await?;
    Ok(context.catalog().remove(&schema)?)
}

async fn drop_database(context: &Context, parts: &[String], restrict: bool) -> Result<()> {
    let [name] = parts else { return Err(Error::new(code::INVALID_NAME, "a database has a name of one part")) };
    let database = context.database(name).await?;
    refuse_system(database.id())?;
    let objects = context.catalog().list_objects(database.id()).await?;
    if restrict && !objects.is_empty() {
        return Err(Error::new(code::DEPENDENT_OBJECTS, format!("database \"{name}\" is not empty")));
    }
    drop_all(context, objects.iter().map(|object| object.id()).collect(), true).await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        context.catalog().remove(&schema)?;
    }
    context.catalog().lock(database.id(), LockMode::Exclusive).await?;
    Ok(context.catalog().remove(&database)?)
}

/// Drops what roles own in the current database, and takes away what they were granted there.
pub async fn drop_owned(context: &Context, roles: &BTreeSet<String>, cascade: bool) -> Result<()> {
    if let Some(role) = roles.iter().find(|role| crate::catalog::is_superuser(role)) {
        let message = format!("cannot drop objects owned by role \"{role}\": it owns what every database has");
        return Err(Error::new(code::DEPENDENT_OBJECTS, message));
    }
    let database = context.current_database().await?;
    let owned = |object: &Descriptor| roles.contains(&object.identity().owner);
    let objects = context.catalog().list_objects(database.id()).await?;
    let ids = objects.iter().filter(|object| owned(object)).map(|object| object.id()).collect();
    drop_all(context, ids, cascade).await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        if owned(&schema) {
            drop_schema(context, &[database.name().into(), schema.name().into()], cascade).await?;
        }
    }
    for object in context.catalog().all().await? {
        let is_here = object.parents().0.is_none_or(|parent| parent == database.id());
        let concerns = object.all_grants().any(|grant| roles.contains(&grant.role))
            || object.identity().defaults.iter().any(|default| roles.contains(&default.maker));
        if is_here && concerns {
            context.catalog().lock(object.id(), LockMode::Exclusive).await?;
            let mut object = (*context.catalog().get(object.id()).await?).clone();
            object.grant_lists_mut().into_iter().for_each(|list| list.retain(|grant| !roles.contains(&grant.role)));
            let defaults = &mut object.identity_mut().defaults;
            defaults.retain(|default| !roles.contains(&default.maker) && !default.grants.is_empty());
            context.catalog().write(&object)?;
        }
    }
    Ok(())
}

/// Drops objects and what depends on them.
pub async fn drop_with_dependents(context: &Context, ids: BTreeSet<DescriptorId>) -> Result<()> {
    drop_all(context, ids, true).await
}

/// Drops objects, and with `cascade` what depends on them; without it a dependent that stays is an error.
async fn drop_all(context: &Context, mut ids: BTreeSet<DescriptorId>, cascade: bool) -> Result<()> {
    let mut todo: Vec<DescriptorId> = ids.iter().copied().collect();
    let mut objects = Vec::new();
    while let Some(id) = todo.pop() {
        refuse_system(id)?;
        context.catalog().lock(id, LockMode::Exclusive).await?;
        let object = context.catalog().get(id).await?;
        for view in views_on(context, &object).await? {
            if ids.insert(view) {
                if !cascade {
                    return Err(still_needed(context, &object, view).await?);
                }
                todo.push(view);
            }
        }
        if let Descriptor::Table(table) = &*object {
            // What belongs to it goes with it.
            todo.extend(owned_sequences(context, table, None).await?.into_iter().filter(|id| ids.insert(*id)));
        }
        objects.push(object);
    }
    for object in &objects {
        match &**object {
            Descriptor::Table(table) => {
                for &other in table.referenced_by.iter().filter(|id| !ids.contains(id)) {
                    if !cascade {
                        return Err(still_needed(context, object, other).await?);
                    }
                    change_table(context, other, |other| {
                        other.foreign_keys.retain(|key| key.referenced_table != table.identity.id)
                    })
                    .await?;
                }
                for key in table.foreign_keys.iter().filter(|key| !ids.contains(&key.referenced_table)) {
                    change_table(context, key.referenced_table, |other| {
                        other.referenced_by.retain(|id| *id != table.identity.id)
                    })
                    .await?;
                }
            }
            Descriptor::Sequence(sequence) => drop_from_defaults(context, sequence.identity.id, &ids, cascade).await?,
            Descriptor::View(view) => {
                for &source in view.depends_on.iter().filter(|id| !ids.contains(id)) {
                    forget_view(context, source, view.identity.id).await?;
                }
            }
            Descriptor::Type(made) => drop_columns_of(context, object, made, &ids, cascade).await?,
            Descriptor::Database(_) | Descriptor::Schema(_) => {}
        }
        // Types that stay are told.
        for made in object.made_types().difference(&ids) {
            forget_user(context, *made, object.id()).await?;
        }
    }
    objects.iter().try_for_each(|object| context.catalog().remove(object).map_err(Error::from))
}

async fn views_on(context: &Context, object: &Descriptor) -> Result<Vec<DescriptorId>> {
    Ok(match object {
        Descriptor::Table(table) => table.views.clone(),
        Descriptor::View(view) => view.views.clone(),
        Descriptor::Sequence(sequence) => sequence.views.clone(),
        Descriptor::Type(made) => {
            let mut views = Vec::new();
            for user in &made.used_by {
                if matches!(&*context.catalog().get(*user).await?, Descriptor::View(_)) {
                    views.push(*user);
                }
            }
            views
        }
        Descriptor::Database(_) | Descriptor::Schema(_) => Vec::new(),
    })
}

/// Drops the columns of a type from tables that stay, or fails because they need it.
async fn drop_columns_of(
    context: &Context,
    object: &Descriptor,
    made: &TypeDescriptor,
    dropped: &BTreeSet<DescriptorId>,
    cascade: bool,
) -> Result<()> {
    for &user in made.used_by.iter().filter(|id| !dropped.contains(id)) {
        context.catalog().lock(user, LockMode::Exclusive).await?;
        let Descriptor::Table(table) = &*context.catalog().get(user).await? else { continue };
        let mut table = table.clone();
        table.views.retain(|view| !dropped.contains(view));
        let of_type = table.columns.iter().filter(|column| column.column_type.made_type() == Some(made.identity.id));
        for name in of_type.map(|column| column.name.clone()).collect::<Vec<_>>() {
            if !cascade {
                let detail =
                    format!("column {name} of table {} depends on type {}", table.identity.name, object.name());
                return Err(still_needed(context, object, user).await?.detail(detail));
            }
            drop_column(context, &mut table, &name).await?;
        }
        if let ColumnType::Enum(made) = context.made_type(made).await? {
            enumeration::forget_expressions(&mut table, &made)?;
        }
        context.catalog().write(&Descriptor::Table(table))?;
    }
    Ok(())
}

/// A type is no longer used by an object.
async fn forget_user(context: &Context, made: DescriptorId, user: DescriptorId) -> Result<()> {
    context.catalog().lock(made, LockMode::Exclusive).await?;
    if let Descriptor::Type(made) = &*context.catalog().get(made).await? {
        let mut made = made.clone();
        made.used_by.retain(|id| *id != user);
        context.catalog().write(&Descriptor::Type(made))?;
    }
    Ok(())
}

async fn still_needed(context: &Context, object: &Descriptor, by: DescriptorId) -> Result<Error> {
    let by = context.catalog().get(by).await?;
    let message = format!("cannot drop {} {} because other objects depend on it", object.kind(), object.name());
    let error =
        Error::new(code::DEPENDENT_OBJECTS, message).detail(format!("{} {} depends on it.", by.kind(), by.name()));
    Ok(error.hint("Use DROP ... CASCADE to drop the dependent objects too."))
}

async fn change_table(context: &Context, id: DescriptorId, change: impl FnOnce(&mut TableDescriptor)) -> Result<()> {
    context.catalog().lock(id, LockMode::Exclusive).await?;
    if let Descriptor::Table(table) = &*context.catalog().get(id).await? {
        let mut table = table.clone();
        change(&mut table);
        context.catalog().write(&Descriptor::Table(table))?;
    }
    Ok(())
}

/// A view no longer reads an object.
pub async fn forget_view(context: &Context, source: DescriptorId, view: DescriptorId) -> Result<()> {
    context.catalog().lock(source, LockMode::Exclusive).await?;
    let mut changed = (*context.catalog().get(source).await?).clone();
    match &mut changed {
        Descriptor::Table(table) => table.views.retain(|id| *id != view),
        Descriptor::View(other) => other.views.retain(|id| *id != view),
        Descriptor::Sequence(sequence) => sequence.views.retain(|id| *id != view),
        _ => return Ok(()),
    }
    Ok(context.catalog().write(&changed)?)
}

pub async fn drop_from_defaults(
    context: &Context,
    sequence: DescriptorId,
    dropped: &BTreeSet<DescriptorId>,
    cascade: bool,
) -> Result<()> {
    let found = context.catalog().get(sequence).await?;
    let (Some(database), _) = found.parents() else { return Ok(()) };
    for object in context.catalog().list_objects(database).await? {
        let Descriptor::Table(table) = &*object else { continue };
        if !table.sequences.contains(&sequence) || dropped.contains(&table.identity.id) {
            continue;
        }
        if !cascade {
            return Err(still_needed(context, &found, table.identity.id).await?);
        }
        let name = quote_ident_in_sql(found.name());
        change_table(context, table.identity.id, |table| {
            table.sequences.retain(|id| *id != sequence);
            for column in &mut table.columns {
                let uses = |default: &String| default.contains("nextval") && default.contains(&format!(".{name}'"));
                if column.default.as_ref().is_some_and(uses) {
                    (column.default, column.identity) = (None, None);
                }
            }
        })
        .await?;
    }
    Ok(())
}

/// `DROP INDEX index`, `DROP INDEX table@index` not being SQL here: the name is looked for in every table of the schema.
async fn drop_index(context: &Context, parts: &[String]) -> Result<()> {
    let (mut table, name) = super::index::locked_table_of(context, parts).await?;
    let Some(position) = table.indexes.iter().position(|index| index.name == name) else {
        let message =
            format!("cannot drop index {name} because it is the primary key of table {}", table.identity.name);
        return Err(Error::new(code::DEPENDENT_OBJECTS, message));
    };
    refuse_needed_index(context, &table, &table.indexes[position]).await?;
    let index = table.indexes.remove(position);
    super::generated::drop_unused(&mut table);
    context.catalog().drop_space(&table, index.space)?;
    Ok(context.catalog().write(&Descriptor::Table(table))?)
}

/// Fails if a foreign key of another table needs the index at `position`.
pub async fn refuse_needed_index(context: &Context, table: &TableDescriptor, index: &Index) -> Result<()> {
    for id in &table.referenced_by {
        let Descriptor::Table(other) = &*context.catalog().get(*id).await? else { continue };
        for key in other.foreign_keys.iter().filter(|key| key.referenced_table == table.identity.id) {
            let same = table.is_key(index)
                && key.referenced_columns.len() == index.columns.len()
                && super::super::dml::starts_with(index, &key.referenced_columns);
            if same {
                let message = format!(
                    "cannot drop {} because foreign key {} of table {} needs it",
                    index.name, key.name, other.identity.name
                );
                return Err(Error::new(code::DEPENDENT_OBJECTS, message));
            }
        }
    }
    Ok(())
}
