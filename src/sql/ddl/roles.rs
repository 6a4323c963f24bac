//! Users, and roles that nobody logs in as. Their options and memberships are kept; what they may do is not checked yet, and nobody
//! is asked for a password.

use std::collections::BTreeSet;

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::settings::{SessionSettings, written_values};
use super::super::text;
use super::drop::drop_owned;
use super::{Outcome, owner};
use crate::catalog::role::{Membership, Role, RoleAttributes, RoleSetting, Roles};
use crate::catalog::{ADMIN_ROLE, ColumnType, Datum, Descriptor, ROOT_USER, system};
use crate::kv::LockMode;
use crate::parser::{RoleOption, RoleStatement};
use crate::schedule::{Pair, Schedule};

const NO_PASSWORDS: &str = "passwords are not kept: nobody is asked for one in this version";

/// Runs a statement about roles.
pub async fn execute(context: &Context, statement: &RoleStatement) -> Result<Outcome> {
    match statement {
        RoleStatement::Create { name, is_user, if_not_exists, options } => {
            create(context, name, *is_user, *if_not_exists, options).await
        }
        RoleStatement::Alter { name, if_exists, options } => alter(context, name, *if_exists, options).await,
        RoleStatement::Rename { name, to } => rename(context, name, to).await,
        RoleStatement::Set { name, database, setting, values } => {
            let Some(name) = name else { return Err(Error::unsupported("ALTER ROLE ALL")) };
            set(context, name, database.as_deref(), setting.as_deref(), values).await
        }
        RoleStatement::Grant { roles, members, admin } => {
            let mut outcome = Outcome::done("GRANT ROLE");
            for (role, member) in pairs(roles, members) {
                outcome.notices.extend(grant(context, role, member, *admin).await?);
            }
            Ok(outcome)
        }
        RoleStatement::Revoke { roles, members, admin_only } => {
            let mut outcome = Outcome::done("REVOKE ROLE");
            for (role, member) in pairs(roles, members) {
                outcome.notices.extend(revoke(context, role, member, *admin_only).await?);
            }
            Ok(outcome)
        }
        RoleStatement::Reassign { from, to } => reassign(context, from, to).await,
        RoleStatement::Give { kind, if_exists, name, to } => give(context, kind, *if_exists, name, to).await,
        RoleStatement::DropOwned { by, cascade } => {
            let owners = existing(context, by).await?;
            drop_owned(context, &owners, *cascade).await?;
            Ok(Outcome::done("DROP OWNED"))
        }
    }
}

fn pairs<'a>(roles: &'a [String], members: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
    roles.iter().flat_map(move |role| members.iter().map(move |member| (&role[..], &member[..])))
}

async fn found(context: &Context, name: &str) -> Result<Role> {
    let name = owner::role(context, name).await?;
    let lost = || Error::internal("a role was there and is not");
    Role::find(&**context.txn(), &name).await?.ok_or_else(lost)
}

async fn existing(context: &Context, names: &[String]) -> Result<BTreeSet<String>> {
    let mut roles = BTreeSet::new();
    for name in names {
        roles.insert(owner::role(context, name).await?);
    }
    Ok(roles)
}

/// The role to change, if that may be changed.
async fn changeable(context: &Context, name: &str) -> Result<Role> {
    let role = found(context, name).await?;
    if [ROOT_USER, ADMIN_ROLE].contains(&&role.name[..]) {
        return Err(Error::new("42501", format!("role \"{}\" may do everything, and stays as it is", role.name)));
    }
    Ok(role)
}

async fn create(
    context: &Context,
    name: &str,
    is_user: bool,
    if_not_exists: bool,
    options: &[RoleOption],
) -> Result<Outcome> {
    const TAG: &str = "CREATE ROLE";
    if context.catalog().user_exists(name).await? {
        let message = format!("role \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Outcome::skipped(TAG, message)),
            false => Err(Error::new(code::DUPLICATE_OBJECT, message)),
        };
    }
    refuse_reserved(name)?;
    let mut role = Role::new(name, is_user, context.txn().snapshot().micros());
    let notices = apply(context, &mut role, options)?;
    role.write(&**context.txn())?;
    members(context, &role.name, options).await?;
    Ok(Outcome { tag: TAG, notices })
}

fn refuse_reserved(name: &str) -> Result<()> {
    let words = ["public", "none", "node", "current_user", "session_user", "current_role"];
    if words.contains(&name) || name.starts_with("pg_") {
        return Err(Error::new("42939", format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}

async fn alter(context: &Context, name: &str, if_exists: bool, options: &[RoleOption]) -> Result<Outcome> {
    const TAG: &str = "ALTER ROLE";
    if if_exists && !context.catalog().user_exists(name).await? {
        return Ok(Outcome::skipped(TAG, format!("role \"{name}\" does not exist")));
    }
    let mut role = changeable(context, name).await?;
    let notices = apply(context, &mut role, options)?;
    role.write(&**context.txn())?;
    members(context, &role.name, options).await?;
    Ok(Outcome { tag: TAG, notices })
}

/// Applies options to a role.
fn apply(context: &Context, role: &mut Role, options: &[RoleOption]) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    let mut given = BTreeSet::new();
    for option in options {
        let kind = match option {
            RoleOption::Flag(flag, _) => flag,
            RoleOption::ConnectionLimit(_) => "CONNECTION LIMIT",
            RoleOption::Password(_) => "PASSWORD",
            RoleOption::ValidUntil(_) => "VALID UNTIL",
            RoleOption::InRole(_) | RoleOption::Members(_) | RoleOption::Admins(_) => continue,
        };
        if !given.insert(kind) {
            return Err(Error::new(code::SYNTAX_ERROR, "conflicting or redundant options"));
        }
        let RoleAttributes { options, connection_limit, valid_until_micros, .. } = &mut role.attributes;
        match option {
            RoleOption::Flag("LOGIN", is_on) => role.can_login = *is_on,
            RoleOption::Flag(flag, is_on) => {
                // Those that every role has are kept where it has not.
                let is_usual = ["INHERIT", "SQLLOGIN"].contains(flag);
                let kept = if is_usual { format!("NO{flag}") } else { flag.to_string() };
                match *is_on != is_usual {
                    true => options.insert(kept),
                    false => options.remove(&kept),
                };
            }
            RoleOption::ConnectionLimit(limit) if *limit < -1 => {
                return Err(Error::new(code::INVALID_PARAMETER, format!("invalid connection limit: {limit}")));
            }
            RoleOption::ConnectionLimit(limit) => *connection_limit = Some(*limit).filter(|limit| *limit >= 0),
            RoleOption::Password(None) => {}
            RoleOption::Password(Some(_)) => notices.push(NO_PASSWORDS.into()),
            RoleOption::ValidUntil(time) => {
                let time = time.as_deref().filter(|time| !time.eq_ignore_ascii_case("infinity"));
                let parsed =
                    time.map(|time| text::parse(time, &ColumnType::TimestampTz, context.zone())).transpose()?;
                *valid_until_micros = parsed.and_then(|time| time.as_int());
            }
            RoleOption::InRole(_) | RoleOption::Members(_) | RoleOption::Admins(_) => {}
        }
    }
    Ok(notices)
}

/// The memberships that options ask for.
async fn members(context: &Context, name: &str, options: &[RoleOption]) -> Result<()> {
    for option in options {
        let (names, is_role, admin) = match option {
            RoleOption::InRole(names) => (names, false, false),
            RoleOption::Members(names) => (names, true, false),
            RoleOption::Admins(names) => (names, true, true),
            _ => continue,
        };
        for other in names {
            let (role, member) = if is_role { (name, &other[..]) } else { (&other[..], name) };
            grant(context, role, member, admin).await?;
        }
    }
    Ok(())
}

async fn grant(context: &Context, role: &str, member: &str, admin: bool) -> Result<Option<String>> {
    let role = owner::role(context, role).await?;
    let mut member = found(context, member).await?;
    let roles = Roles::read(&**context.txn()).await?;
    if roles.is_member(&role, &member.name) {
        let message = format!("role \"{role}\" is a member of role \"{}\"", member.name);
        return Err(Error::new("0LP01", message));
    }
    let grantor = context.session().user.clone();
    let kept = member.member_of().into_iter().find(|membership| membership.role == role);
    if kept.is_some_and(|kept| kept.admin || !admin) {
        return Ok(Some(format!("role \"{}\" is already a member of role \"{role}\"", member.name)));
    }
    member.attributes.member_of.retain(|membership| membership.role != role);
    member.attributes.member_of.push(Membership { role, admin, grantor });
    member.write(&**context.txn())?;
    Ok(None)
}

async fn revoke(context: &Context, role: &str, member: &str, admin_only: bool) -> Result<Option<String>> {
    let role = owner::role(context, role).await?;
    let mut member = found(context, member).await?;
    if member.name == ROOT_USER && role == ADMIN_ROLE {
        return Err(Error::new("42501", "what \"root\" may do cannot be taken away"));
    }
    let kept = &mut member.attributes.member_of;
    let Some(at) = kept.iter().position(|membership| membership.role == role) else {
        return Ok(Some(format!("role \"{}\" is not a member of role \"{role}\"", member.name)));
    };
    if admin_only {
        kept[at].admin = false
    } else {
        drop(kept.remove(at))
    }
    member.write(&**context.txn())?;
    Ok(None)
}

async fn set(
    context: &Context,
    name: &str,
    database: Option<&str>,
    setting: Option<&str>,
    values: &[String],
) -> Result<Outcome> {
    let mut role = found(context, name).await?;
    if let Some(database) = database {
        context.database(database).await?;
    }
    let setting = setting.map(str::to_lowercase);
    let is_meant = |known: &RoleSetting| {
        known.database.as_deref() == database && setting.as_ref().is_none_or(|name| *name == known.name)
    };
    role.attributes.settings.retain(|known| !is_meant(known));
    if let Some(name) = setting {
        let value = written_values(&name, values);
        // Whether it can have the value, or be set at all.
        SessionSettings::default().set(&name, (!values.is_empty()).then_some(&value))?;
        if !values.is_empty() {
            role.attributes.settings.push(RoleSetting { database: database.map(str::to_string), name, value });
        }
    }
    role.write(&**context.txn())?;
    Ok(Outcome::done("ALTER ROLE"))
}

async fn rename(context: &Context, name: &str, to: &str) -> Result<Outcome> {
    let role = changeable(context, name).await?;
    if [&context.session().user, &context.session().session_user].contains(&&role.name) {
        return Err(Error::unsupported("renaming the user of the session"));
    }
    refuse_reserved(to)?;
    if context.catalog().user_exists(to).await? {
        return Err(Error::new(code::DUPLICATE_OBJECT, format!("role \"{to}\" already exists")));
    }
    let txn = &**context.txn();
    role.delete(txn)?;
    let mut renamed = role.clone();
    renamed.name = to.into();
    renamed.write(txn)?;
    for mut other in Roles::read(txn).await?.iter().cloned() {
        let mut kept = other.attributes.member_of.iter_mut().filter(|kept| kept.role == role.name).peekable();
        if kept.peek().is_some() {
            kept.for_each(|kept| kept.role = to.into());
            other.write(txn)?;
        }
    }
    change_objects(context, |object| {
        let identity = object.identity_mut();
        if identity.owner == role.name {
            identity.owner = to.into();
        }
        let makers = identity.defaults.iter_mut().filter(|default| default.maker == role.name);
        makers.for_each(|default| default.maker = to.into());
        let grants = object.grant_lists_mut().into_iter().flatten();
        grants.filter(|grant| grant.role == role.name).for_each(|grant| grant.role = to.into());
    })
    .await?;
    give_schedules(context, &BTreeSet::from([role.name]), to).await?;
    Ok(Outcome::done("ALTER ROLE"))
}

async fn reassign(context: &Context, from: &[String], to: &str) -> Result<Outcome> {
    let (from, to) = (existing(context, from).await?, owner::role(context, to).await?);
    if from.contains(ROOT_USER) || from.contains(ADMIN_ROLE) {
        let message = "cannot reassign ownership of objects owned by role \"root\" or \"admin\"";
        return Err(Error::new(code::DEPENDENT_OBJECTS, message));
    }
    let database = context.current_database().await?.id();
    change_objects(context, |object| {
        let is_here = object.parents().0.is_none_or(|parent| parent == database);
        if is_here && from.contains(&object.identity().owner) {
            object.identity_mut().owner = to.clone();
        }
    })
    .await?;
    give_schedules(context, &from, &to).await?;
    Ok(Outcome::done("REASSIGN OWNED"))
}

/// `ALTER ... OWNER TO`
async fn give(context: &Context, kind: &str, if_exists: bool, name: &[String], to: &str) -> Result<Outcome> {
    let (tag, kind) = match kind {
        "DATABASE" => ("ALTER DATABASE", "database"),
        "SEQUENCE" => ("ALTER SEQUENCE", "sequence"),
        _ => ("ALTER VIEW", "view"),
    };
    let owner = owner::role(context, to).await?;
    let found = match kind {
        "database" => context.database(&name.join(".")).await?,
        _ => match context.find_object(name).await? {
            Some(found) => found,
            None if if_exists => {
                return Ok(Outcome::skipped(tag, format!("relation \"{}\" does not exist", name.join("."))));
            }
            None => context.object(name).await?,
        },
    };
    if found.kind() != kind {
        return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {kind}", found.name())));
    }
    owner::give(context, found.id(), &owner).await?;
    Ok(Outcome::done(tag))
}

/// Changes objects of all databases, and writes those that are not what they were.
async fn change_objects(context: &Context, change: impl Fn(&mut Descriptor)) -> Result<()> {
    for object in context.catalog().all().await? {
        let mut changed = (*object).clone();
        change(&mut changed);
        if changed == *object || object.id().0 < system::FIRST_USER_ID {
            continue;
        }
        context.catalog().lock(object.id(), LockMode::Exclusive).await?;
        // Whoever held the lock before may have changed it.
        let mut changed = (*context.catalog().get(object.id()).await?).clone();
        change(&mut changed);
        context.catalog().write(&changed)?;
    }
    Ok(())
}

async fn give_schedules(context: &Context, from: &BTreeSet<String>, to: &str) -> Result<()> {
    let txn = &**context.txn();
    for schedule in Schedule::read_all(txn).await? {
        if from.contains(&schedule.owner) {
            let mut pair = Pair::lock(txn, schedule.id).await?;
            pair.schedules_mut().filter(|one| from.contains(&one.owner)).for_each(|one| one.owner = to.into());
            pair.write(txn)?;
        }
    }
    Ok(())
}

/// `DROP ROLE` and `DROP USER`
pub async fn drop_role(context: &Context, parts: &[String]) -> Result<()> {
    let [name] = parts else { return Err(Error::new(code::INVALID_NAME, "a role has a name of one part")) };
    let role = found(context, name).await?;
    let name = &role.name;
    let own = [&context.session().user, &context.session().session_user];
    if [ROOT_USER, ADMIN_ROLE].contains(&&name[..]) || own.contains(&name) {
        return Err(Error::new("2BP01", format!("role \"{name}\" cannot be dropped")));
    }
    for object in context.catalog().all().await? {
        let identity = object.identity();
        let tie = match identity.owner == *name {
            true => "owner of",
            false if object.all_grants().any(|grant| grant.role == *name) => "privileges for",
            false if identity.defaults.iter().any(|default| default.maker == *name) => {
                "owner of default privileges on new objects in"
            }
            false => continue,
        };
        let message = format!("role \"{name}\" cannot be dropped because some objects depend on it");
        return Err(Error::new("2BP01", message).detail(format!("{tie} {} {}", object.kind(), object.name())));
    }
    for schedule in Schedule::read_all(&**context.txn()).await? {
        if schedule.owner == *name {
            let message = format!("role \"{name}\" cannot be dropped because some schedules depend on it");
            return Err(Error::new("2BP01", message).detail(format!("owner of schedule {}", schedule.id)));
        }
    }
    let txn = &**context.txn();
    for mut member in Roles::read(txn).await?.iter().cloned() {
        let before = member.attributes.member_of.len();
        member.attributes.member_of.retain(|membership| membership.role != *name);
        if member.attributes.member_of.len() != before {
            member.write(txn)?;
        }
    }
    Ok(role.delete(txn)?)
}

/// The options of a role, as `SHOW USERS` has them.
pub fn shown_options(role: &Role) -> Vec<Datum<'static>> {
    let RoleAttributes { options, connection_limit, valid_until_micros, .. } = &role.attributes;
    let mut shown: Vec<String> = options.iter().cloned().collect();
    shown.extend((!role.can_login).then(|| "NOLOGIN".to_string()));
    shown.extend(connection_limit.map(|limit| format!("CONNECTION LIMIT={limit}")));
    shown.extend(valid_until_micros.map(|micros| {
        let mut time = String::new();
        text::format(&mut time, &Datum::Int(micros), &ColumnType::TimestampTz, super::super::time_zone::TimeZone::UTC);
        format!("VALID UNTIL={time}")
    }));
    shown.sort();
    shown.into_iter().map(Datum::from).collect()
}
