//! Who owns an object.

use sqlparser::ast::Owner;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::folded;
use super::serial::owned_sequences;
use crate::catalog::{Descriptor, DescriptorId};
use crate::kv::LockMode;

/// The user or role that a name stands for, which must exist.
pub async fn role(context: &Context, name: &str) -> Result<String> {
    let name = match name {
        "current_user" | "current_role" => &context.session().user,
        "session_user" => &context.session().session_user,
        other => other,
    };
    if !context.catalog().user_exists(name).await? {
        return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
    }
    Ok(name.to_string())
}

/// The user or role that `OWNER TO` names.
pub async fn named(context: &Context, owner: &Owner) -> Result<String> {
    match owner {
        Owner::Ident(name) => role(context, &folded(name)).await,
        Owner::CurrentRole | Owner::CurrentUser => role(context, "current_user").await,
        Owner::SessionUser => role(context, "session_user").await,
    }
}

/// Gives an object to somebody.
pub async fn give(context: &Context, id: DescriptorId, owner: &str) -> Result<()> {
    super::refuse_system(id)?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    let mut object = (*context.catalog().get(id).await?).clone();
    object.identity_mut().owner = owner.into();
    context.catalog().write(&object)?;
    if let Descriptor::Table(table) = &object {
        // The sequences of its columns go with it.
        for sequence in owned_sequences(context, table, None).await? {
            Box::pin(give(context, sequence, owner)).await?;
        }
    }
    Ok(())
}
