use sqlparser::ast::{CreateIndex, IndexType};

use super::super::context::Context;
use super::super::dml::name_parts;
use super::super::error::{Error, Result};
use super::create_table::keys_of;
use super::{Outcome, build, free_name, is_taken, locked_table, new_index};
use crate::catalog::Descriptor;

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
            false => Err(Error::new(super::super::error::code::DUPLICATE_TABLE, message)),
        };
    }
    let index = new_index(context, &table, name, create.unique, &keys).await?;
    table.indexes.push(index);
    build::build_indexes(context, &table, &[table.indexes.len() - 1]).await?;
    context.catalog().write(&Descriptor::Table(table))?;
    Ok(Outcome::done("CREATE INDEX"))
}
