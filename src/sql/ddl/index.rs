use sqlparser::ast::{CreateIndex, Expr, Ident, IndexType, ObjectName};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::alter_table::rename_in_table;
use super::create_table::keys_of;
use super::generated::{self, Purpose};
use super::{IndexParts, Outcome, build, free_name, is_taken, locked_table, new_index, unlike_each_other};
use crate::catalog::{Descriptor, Index, TableDescriptor};
use crate::kv::LockMode;

/// The table that has an index with a name, kept from all use by others, and the name without what it is in.
pub async fn locked_table_of(context: &Context, parts: &[String]) -> Result<(TableDescriptor, String)> {
    let (schemas, name) = context.schemas_with(parts).await?;
    let mut objects = Vec::new();
    for schema in schemas {
        let (database, _) = schema.parents();
        objects.extend(context.catalog().list(database, Some(schema.id())).await?);
    }
    for object in objects {
        let has_it = |found: &Descriptor| match found {
            Descriptor::Table(table) => table.all_indexes().any(|index| index.name == name),
            _ => false,
        };
        if has_it(&object) {
            super::refuse_system(object.id())?;
            context.catalog().lock(object.id(), LockMode::Exclusive).await?;
            // Whoever held the lock before may have changed it.
            if let Descriptor::Table(table) = &*context.catalog().get(object.id()).await?
                && table.all_indexes().any(|index| index.name == name)
            {
                return Ok((table.clone(), name));
            }
        }
    }
    Err(Error::new(code::UNDEFINED_OBJECT, format!("index \"{name}\" does not exist")))
}

/// `ALTER INDEX ... RENAME TO`
pub async fn rename(context: &Context, name: &ObjectName, to: &ObjectName) -> Result<Outcome> {
    let missing = |error: Error| match error.sqlstate {
        // PostgreSQL says so here.
        code::UNDEFINED_OBJECT => Error::new(code::UNDEFINED_TABLE, error.message.replacen("index", "relation", 1)),
        _ => error,
    };
    let (mut table, old) = locked_table_of(context, &name_parts(name)?).await.map_err(missing)?;
    let new = name_parts(to)?.pop().unwrap_or_default();
    rename_in_table(&mut table, &old, &new, false)?;
    context.catalog().write(&Descriptor::Table(table))?;
    Ok(Outcome::done("ALTER INDEX"))
}

/// What stands for a part of an index in a name that is made up for it.
fn part_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(column) => folded(column),
        Expr::Nested(inner) => part_name(inner),
        Expr::Function(function) => {
            name_parts(&function.name).ok().and_then(|mut parts| parts.pop()).unwrap_or_else(|| "expr".into())
        }
        Expr::Cast { expr, .. } if matches!(**expr, Expr::Identifier(_)) => part_name(expr),
        _ => "expr".into(),
    }
}

/// `CREATE INDEX`
pub async fn create(context: &Context, create: &CreateIndex) -> Result<Outcome> {
    let refused = [
        (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
        (create.using.as_ref().is_some_and(|using| *using != IndexType::BTree), "an index type other than btree"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(given, _)| *given) {
        return Err(Error::unsupported(what));
    }
    let mut table = locked_table(context, &name_parts(&create.table_name)?).await?;
    let name = match &create.name {
        Some(name) => name_parts(name)?.pop().unwrap_or_default(),
        None => {
            let names = create.columns.iter().map(|column| part_name(&column.column.expr));
            free_name(&table, &unlike_each_other(names.chain(create.include.iter().map(folded))), "idx")
        }
    };
    if is_taken(&table, &name) {
        let message = format!("relation \"{name}\" already exists");
        return match create.if_not_exists {
            true => Ok(Outcome::skipped("CREATE INDEX", message)),
            false => Err(Error::new(code::DUPLICATE_TABLE, message)),
        };
    }
    let old = table.clone();
    let mut columns = create.columns.clone();
    for column in &mut columns {
        let expression = &mut column.column.expr;
        while let Expr::Nested(inner) = expression {
            *expression = (**inner).clone();
        }
        if !matches!(expression, Expr::Identifier(_)) {
            let hidden = generated::hidden(context, &mut table, expression, Purpose::Index).await?;
            let name = table.column(hidden).map_or("", |column| &column.name);
            *expression = Expr::Identifier(Ident::with_quote('"', name));
        }
    }
    let predicate = match &create.predicate {
        Some(predicate) => Some(generated::hidden(context, &mut table, predicate, Purpose::Predicate).await?),
        None => None,
    };
    let parts = IndexParts { keys: keys_of(&columns)?, stored: create.include.iter().map(folded).collect() };
    let index = new_index(context, &table, name, create.unique, &parts).await?;
    table.indexes.push(Index { predicate, ..index });
    if table.columns.len() == old.columns.len() {
        build::build_indexes(context, &table, &[table.indexes.len() - 1]).await?;
    } else {
        let computed = generated::computed(context, &old, &table).await?;
        build::rebuild(context, &old, &mut table, &computed).await?;
    }
    context.catalog().write(&Descriptor::Table(table))?;
    Ok(Outcome::done("CREATE INDEX"))
}
