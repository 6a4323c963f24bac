//! `ALTER DEFAULT PRIVILEGES`: what others may do with objects that are yet to come. It is kept with the schema they are made in, or with the database.

use super::super::context::Context;
use super::super::error::{Error, Result};
use super::privileges::{self, PUBLIC};
use super::{Outcome, owner, refuse_system};
use crate::catalog::{DefaultGrants, DescriptorId, Grant, Identity};
use crate::kv::LockMode;
use crate::parser::{AlterDefaultPrivileges, DefaultGrant, ObjectKind};

/// `ALTER DEFAULT PRIVILEGES`
pub async fn alter(context: &Context, statement: &AlterDefaultPrivileges) -> Result<Outcome> {
    let change = &statement.change;
    let mut makers = Vec::new();
    for maker in &statement.makers {
        makers.push(owner::role(context, maker).await?);
    }
    if makers.is_empty() {
        makers.push(context.session().user.clone());
    }
    let mut roles = Vec::new();
    for role in &change.roles {
        roles.push(if role == PUBLIC { role.clone() } else { owner::role(context, role).await? });
    }
    if change.grant_option && !change.revoke && roles.iter().any(|role| role == PUBLIC) {
        return Err(Error::new("0LP01", "grant options can only be granted to roles"));
    }
    let known = privileges::on(change.on);
    let every: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = change.privileges.iter().find(|name| !every.contains(&name.as_str())) {
        let message = format!("invalid privilege type {unknown} for {}", singular(change.on));
        return Err(Error::new("0LP01", message));
    }
    let named: Vec<String> = match change.privileges.is_empty() {
        true => every.iter().map(|name| name.to_string()).collect(),
        false => change.privileges.clone(),
    };
    for id in places(context, statement).await? {
        refuse_system(id)?;
        context.catalog().lock(id, LockMode::Exclusive).await?;
        let mut place = (*context.catalog().get(id).await?).clone();
        for maker in &makers {
            settle(place.identity_mut(), maker, change, &roles, &named, &every);
        }
        context.catalog().write(&place)?;
    }
    Ok(Outcome::done("ALTER DEFAULT PRIVILEGES"))
}

fn settle(
    place: &mut Identity,
    maker: &str,
    change: &DefaultGrant,
    roles: &[String],
    named: &[String],
    every: &[&str],
) {
    let on = change.on.name();
    let at = place.defaults.iter().position(|known| known.maker == maker && known.on == on);
    let at = at.unwrap_or_else(|| {
        place.defaults.push(DefaultGrants { maker: maker.into(), on: on.into(), grants: Vec::new() });
        place.defaults.len() - 1
    });
    let grants = &mut place.defaults[at].grants;
    for role in roles {
        match change.revoke {
            true => Grant::take(grants, role, named, every, change.grant_option),
            false => Grant::add(grants, role, named, change.grant_option),
        }
    }
    // Everybody first, as PostgreSQL sorts them.
    grants.sort_by_key(|grant| (grant.role != PUBLIC, grant.role.clone()));
    place.defaults.retain(|known| !known.grants.is_empty());
}

fn singular(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Tables => "relation",
        ObjectKind::Sequences => "sequence",
        ObjectKind::Functions => "function",
        ObjectKind::Types => "type",
        ObjectKind::Schemas => "schema",
    }
}

async fn places(context: &Context, statement: &AlterDefaultPrivileges) -> Result<Vec<DescriptorId>> {
    if statement.schemas.is_empty() {
        return Ok(vec![context.current_database().await?.id()]);
    }
    if statement.change.on == ObjectKind::Schemas {
        let message = "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS";
        return Err(Error::new("0LP01", message));
    }
    let mut places = Vec::new();
    for name in &statement.schemas {
        places.push(context.schema_named(name).await?.id());
    }
    Ok(places)
}

/// Gives a new object what its owner grants of all such in these places.
pub async fn grant(
    context: &Context,
    kind: ObjectKind,
    places: &[DescriptorId],
    identity: &mut Identity,
) -> Result<()> {
    for place in places {
        let place = context.catalog().get(*place).await?;
        let own = place.identity().defaults.iter();
        for default in own.filter(|known| known.maker == identity.owner && known.on == kind.name()) {
            for grant in &default.grants {
                Grant::add(&mut identity.grants, &grant.role, &grant.privileges, false);
                Grant::add(&mut identity.grants, &grant.role, &grant.grantable, true);
            }
        }
    }
    Ok(())
}
