//! Users, and roles that nobody logs in as. They have no passwords, and what they may do is not checked yet.

use sqlparser::ast::{CreateRole, CreateUser};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::name_parts;
use super::Outcome;
use crate::catalog::system::USERS;
use crate::catalog::{ADMIN_ROLE, Datum, ROOT_USER};
use crate::schedule::Schedule;

const TAG: &str = "CREATE ROLE";

/// `CREATE ROLE`
pub async fn create_role(context: &Context, create: &CreateRole) -> Result<Outcome> {
    let options = [
        create.inherit.is_some(),
        create.bypassrls.is_some(),
        create.password.is_some(),
        create.superuser.is_some(),
        create.create_db.is_some(),
        create.create_role.is_some(),
        create.replication.is_some(),
        create.connection_limit.is_some(),
        create.valid_until.is_some(),
        create.authorization_owner.is_some(),
    ];
    let lists = [&create.in_role, &create.in_group, &create.role, &create.user, &create.admin];
    if options.contains(&true) || lists.iter().any(|list| !list.is_empty()) {
        return Err(Error::unsupported("an option of CREATE ROLE other than LOGIN and NOLOGIN"));
    }
    let mut outcome = Outcome::done(TAG);
    for name in &create.names {
        let name = role_name(&name_parts(name)?)?;
        outcome.notices.extend(add(context, &name, create.login != Some(true), create.if_not_exists).await?);
    }
    Ok(outcome)
}

/// `CREATE USER`
pub async fn create_user(context: &Context, create: &CreateUser) -> Result<Outcome> {
    if create.or_replace || !create.options.options.is_empty() || !create.tags.options.is_empty() {
        return Err(Error::unsupported("an option of CREATE USER"));
    }
    let name = match create.name.quote_style {
        Some(_) => create.name.value.clone(),
        None => create.name.value.to_lowercase(),
    };
    let notices = add(context, &name, false, create.if_not_exists).await?;
    Ok(Outcome { tag: TAG, notices: notices.into_iter().collect() })
}

fn role_name(parts: &[String]) -> Result<String> {
    match parts {
        [name] => Ok(name.clone()),
        _ => Err(Error::new(code::INVALID_NAME, "a role has a name of one part")),
    }
}

async fn add(context: &Context, name: &str, is_role: bool, if_not_exists: bool) -> Result<Option<String>> {
    let txn = &**context.txn();
    if context.catalog().user_exists(name).await? {
        let message = format!("role \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Some(format!("{message}, skipping"))),
            false => Err(Error::new(code::DUPLICATE_OBJECT, message)),
        };
    }
    if ["public", "none", "node"].contains(&name) || name.starts_with("pg_") {
        return Err(Error::new("42939", format!("role name \"{name}\" is reserved")));
    }
    Ok(USERS.put(txn, &[name.into(), Datum::Bool(is_role), txn.snapshot().micros().into()]).map(|()| None)?)
}

/// `DROP ROLE` and `DROP USER`
pub async fn drop_role(context: &Context, parts: &[String]) -> Result<()> {
    let name = role_name(parts)?;
    if !context.catalog().user_exists(&name).await? {
        return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
    }
    if [ROOT_USER, ADMIN_ROLE].contains(&&name[..]) || context.session().user == name {
        return Err(Error::new("2BP01", format!("role \"{name}\" cannot be dropped")));
    }
    for object in context.catalog().all().await? {
        let identity = object.identity();
        let tie = match identity.owner == name {
            true => "owner of",
            false if identity.grants.iter().any(|grant| grant.role == name) => "privileges for",
            false => continue,
        };
        let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
        return Err(Error::new("2BP01", message).detail(format!("{tie} {} {}", object.kind(), object.name())));
    }
    for schedule in Schedule::read_all(&**context.txn()).await? {
        if schedule.owner == name {
            let message = format!("role \"{name}\" cannot be dropped because some schedules depend on it");
            return Err(Error::new("2BP01", message).detail(format!("owner of schedule {}", schedule.id)));
        }
    }
    Ok(USERS.delete(&**context.txn(), &[name[..].into()])?)
}
