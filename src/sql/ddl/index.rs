use sqlparser::ast::{CreateIndex, IndexType, ObjectName};

use super::super::context::Context;
use super::super::dml::name_parts;
use super::super::error::{Error, Result, code};
use super::alter_table::rename_in_table;
use super::create_table::keys_of;
use super::{Outcome, build, free_name, is_taken, locked_table, new_index};
use crate::catalog::Descriptor;
use crate::kv::LockMode;

/// `ALTER INDEX ... RENAME TO`
pub async fn rename(context: &Context, name: &ObjectName, to: &ObjectName) -> Result<Outcome> {
    let (database, schema, old) = context.place_for(&name_parts(name)?).await?;
    let new = name_parts(to)?.pop().unwrap_or_default();
    for object in context.catalog().list(Some(database), Some(schema)).await? {
        let Descriptor::Table(table) = &*object else { continue };
        if !table.all_indexes().any(|index| index.name == old) {
            continue;
        }
        context.catalog().lock(object.id(), LockMode::Exclusive).await?;
        let Descriptor::Table(table) = &*context.catalog().get(object.id()).await? else { continue };
        let mut table = table.clone();
        if rename_in_table(&mut table, &old, &new, false)? {
            context.catalog().write(&Descriptor::Table(table))?;
            return Ok(Outcome::done("ALTER INDEX"));
        }
    }
    Err(Error::new(code::UNDEFINED_TABLE, format!("relation \"{old}\" does not exist")))
}

/// `CREATE INDEX`
pub async fn create(context: &Context, create: &CreateIndex) -> Result<Outcome> {
    let refused = [
        (!create.include.is_empty(), "STORING or INCLUDE in an index"),
        (create.predicate.is_some(), "a partial index"),
        (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
        (create.using.as_ref().is_some_and(|using| *using != IndexType::BTree), "an index type other than btree"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(given, _)| *given) {
        return Err(Error::unsupported(what));
    }
    let mut table = locked_table(context, &name_parts(&create.table_name)?).await?;
    let keys = keys_of(&create.columns)?;
    let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    let name = match &create.name {
        Some(name) => name_parts(name)?.pop().unwrap_or_default(),
        None => free_name(&table, &names, "idx"),
    };
    if is_taken(&table, &name) {
        let message = format!("relation \"{name}\" already exists");
        return match create.if_not_exists {
            true => Ok(Outcome::skipped("CREATE INDEX", message)),
            false => Err(Error::new(code::DUPLICATE_TABLE, message)),
        };
    }
    let index = new_index(context, &table, name, create.unique, &keys).await?;
    table.indexes.push(index);
    build::build_indexes(context, &table, &[table.indexes.len() - 1]).await?;
    context.catalog().write(&Descriptor::Table(table))?;
    Ok(Outcome::done("CREATE INDEX"))
}
