//! Who owns an object.

use sqlparser::ast::Owner;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::folded;
use crate::catalog::DescriptorId;
use crate::kv::LockMode;

/// The user or role that `OWNER TO` names.
pub async fn named(context: &Context, owner: &Owner) -> Result<String> {
    let name = match owner {
        Owner::Ident(name) => folded(name),
        Owner::CurrentRole | Owner::CurrentUser | Owner::SessionUser => context.session().user.clone(),
    };
    if !context.catalog().user_exists(&name).await? {
        return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
    }
    Ok(name)
}

/// Gives an object to somebody.
pub async fn give(context: &Context, id: DescriptorId, owner: &Owner) -> Result<()> {
    super::refuse_system(id)?;
    let owner = named(context, owner).await?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    let mut object = (*context.catalog().get(id).await?).clone();
    object.identity_mut().owner = owner;
    Ok(context.catalog().write(&object)?)
}
