//! `ALTER TABLE ... ALTER COLUMN` of identity columns: how they take their numbers, and which.

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::alter_table::drop_sequences_of;
use super::sequence::alter_owned;
use super::{Outcome, locked_table, named_column};
use crate::catalog::{Descriptor, IdentityGeneration};
use crate::parser::{AlterIdentity, IdentityAction, SequenceOptions};

/// Runs one.
pub async fn execute(context: &Context, statement: &AlterIdentity) -> Result<Outcome> {
    if statement.if_exists && context.find_object(&statement.table).await?.is_none() {
        let message = format!("relation \"{}\" does not exist", statement.table.join("."));
        return Ok(Outcome::skipped("ALTER TABLE", message));
    }
    let mut table = locked_table(context, &statement.table).await?;
    let id = named_column(&table, &statement.column)?;
    let position = table.position(id).unwrap_or_default();
    let is_none = || {
        let (column, relation) = (&statement.column, &table.identity.name);
        format!("column \"{column}\" of relation \"{relation}\" is not an identity column")
    };
    if table.columns[position].identity.is_none() {
        return match statement.action {
            IdentityAction::Drop { if_exists: true } => Ok(Outcome::skipped("ALTER TABLE", is_none())),
            _ => Err(Error::new(code::NOT_IN_PREREQUISITE_STATE, is_none())),
        };
    }
    match &statement.action {
        IdentityAction::Drop { .. } => {
            let column = &mut table.columns[position];
            (column.identity, column.default) = (None, None);
            context.catalog().write(&Descriptor::Table(table.clone()))?;
            drop_sequences_of(context, &mut table, id).await?;
        }
        IdentityAction::Alter { always, options } => {
            if let Some(always) = always {
                let generation = if *always { IdentityGeneration::Always } else { IdentityGeneration::ByDefault };
                table.columns[position].identity = Some(generation);
            }
            if *options != SequenceOptions::default() {
                alter_owned(context, &table, Some(id), options).await?;
            }
        }
    }
    context.catalog().write(&Descriptor::Table(table))?;
    Ok(Outcome::done("ALTER TABLE"))
}
