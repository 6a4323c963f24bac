//! `GRANT` and `REVOKE` on objects. They are kept, shown, backed up and dumped; nothing asks for them yet.

use sqlparser::ast::{
    Action, Grant as GrantStatement, GrantObjects, Grantee, GranteeName, GranteesType, ObjectName, Privileges, Revoke,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::name_parts;
use super::{owner, refuse_system};
use crate::catalog::{ADMIN_ROLE, Descriptor, DescriptorId, Grant, ROOT_USER};
use crate::kv::LockMode;

/// Everyone.
pub const PUBLIC: &str = "public";
/// Every privilege there is for an object.
const ALL: &str = "ALL";

/// `GRANT`
pub async fn grant(context: &Context, statement: &GrantStatement) -> Result<()> {
    if statement.as_grantor.is_some() || statement.current_grants.is_some() {
        return Err(Error::unsupported("this clause of GRANT"));
    }
    let roles = roles(context, &statement.grantees).await?;
    if statement.with_grant_option && roles.iter().any(|role| role == PUBLIC) {
        return Err(Error::new("0LP01", "grant options can only be granted to roles"));
    }
    for id in objects(context, statement.objects.as_ref()).await? {
        let mut object = locked(context, id).await?;
        let privileges = named(&statement.privileges, &object)?;
        for role in &roles {
            add(&mut object, role, &privileges, statement.with_grant_option);
        }
        context.catalog().write(&object)?;
    }
    Ok(())
}

/// `REVOKE`
pub async fn revoke(context: &Context, statement: &Revoke) -> Result<()> {
    let roles = roles(context, &statement.grantees).await?;
    for id in objects(context, statement.objects.as_ref()).await? {
        let mut object = locked(context, id).await?;
        let privileges = named(&statement.privileges, &object)?;
        for role in &roles {
            if [ROOT_USER, ADMIN_ROLE].contains(&role.as_str()) {
                return Err(Error::new("42501", format!("what \"{role}\" may do cannot be taken away")));
            }
            take(&mut object, role, &privileges);
        }
        context.catalog().write(&object)?;
    }
    Ok(())
}

/// The privileges that there are for an object, in the order in which PostgreSQL lists them, and their letters.
pub fn of_kind(object: &Descriptor) -> &'static [(&'static str, char)] {
    match object {
        Descriptor::Database(_) => &[("CREATE", 'C'), ("TEMPORARY", 'T'), ("CONNECT", 'c')],
        Descriptor::Schema(_) => &[("USAGE", 'U'), ("CREATE", 'C')],
        Descriptor::Sequence(_) => &[("SELECT", 'r'), ("UPDATE", 'w'), ("USAGE", 'U')],
        Descriptor::Type(_) => &[("USAGE", 'U')],
        Descriptor::Table(_) | Descriptor::View(_) => &[
            ("INSERT", 'a'),
            ("SELECT", 'r'),
            ("UPDATE", 'w'),
            ("DELETE", 'd'),
            ("TRUNCATE", 'D'),
            ("REFERENCES", 'x'),
            ("TRIGGER", 't'),
        ],
    }
}

/// What was granted of an object, beside what every new one has: for each role its privileges, and whether it may pass them on.
pub fn granted(object: &Descriptor) -> Vec<(&str, Vec<(&'static str, bool)>)> {
    let is_own = |grant: &&Grant| [ROOT_USER, ADMIN_ROLE, &object.identity().owner].contains(&grant.role.as_str());
    let grants = object.identity().grants.iter().filter(|grant| !is_own(grant));
    let each = |grant: &'_ Grant| {
        let has = |list: &[String], name: &str| list.iter().any(|known| known == name || known == ALL);
        let kept = of_kind(object).iter().filter(|(name, _)| has(&grant.privileges, name));
        kept.map(|(name, _)| (*name, has(&grant.grantable, name))).collect()
    };
    grants.map(|grant| (grant.role.as_str(), each(grant))).collect()
}

async fn roles(context: &Context, grantees: &[Grantee]) -> Result<Vec<String>> {
    let mut roles = Vec::new();
    for grantee in grantees {
        let name = match (&grantee.grantee_type, &grantee.name) {
            (GranteesType::Public, _) => PUBLIC.to_string(),
            (_, Some(GranteeName::ObjectName(name))) => match &name_parts(name)?[..] {
                [name] => owner::role(context, name).await?,
                _ => return Err(Error::new(code::INVALID_NAME, "a role has a name of one part")),
            },
            _ => return Err(Error::unsupported(format!("the grantee {grantee}"))),
        };
        roles.push(name);
    }
    Ok(roles)
}

async fn objects(context: &Context, objects: Option<&GrantObjects>) -> Result<Vec<DescriptorId>> {
    let mut found = Vec::new();
    match objects {
        Some(GrantObjects::Tables(names) | GrantObjects::Views(names)) => {
            for name in names {
                found.push(relation(context, name).await?.id());
            }
        }
        Some(GrantObjects::Sequences(names)) => {
            for name in names {
                match &*relation(context, name).await? {
                    Descriptor::Sequence(sequence) => found.push(sequence.identity.id),
                    other => {
                        let message = format!("\"{}\" is not a sequence", other.name());
                        return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
                    }
                }
            }
        }
        Some(GrantObjects::Schemas(names)) => {
            for name in names {
                found.push(context.schema_named(&name_parts(name)?).await?.id());
            }
        }
        Some(GrantObjects::Databases(names)) => {
            for name in names {
                found.push(context.database(&name_parts(name)?.join(".")).await?.id());
            }
        }
        Some(GrantObjects::AllTablesInSchema { schemas }) => {
            let is_table = |object: &Descriptor| matches!(object, Descriptor::Table(_) | Descriptor::View(_));
            found = all_in(context, schemas, is_table).await?;
        }
        Some(GrantObjects::AllSequencesInSchema { schemas }) => {
            found = all_in(context, schemas, |object| matches!(object, Descriptor::Sequence(_))).await?;
        }
        Some(other) => return Err(Error::unsupported(format!("privileges on {other}"))),
        None => return Err(Error::unsupported("this form of GRANT or REVOKE")),
    }
    Ok(found)
}

async fn relation(context: &Context, name: &ObjectName) -> Result<std::sync::Arc<Descriptor>> {
    context.object(&name_parts(name)?).await
}

async fn all_in(
    context: &Context,
    schemas: &[ObjectName],
    is_wanted: impl Fn(&Descriptor) -> bool,
) -> Result<Vec<DescriptorId>> {
    let mut found = Vec::new();
    for name in schemas {
        let schema = context.schema_named(&name_parts(name)?).await?;
        let Some(database) = schema.parents().0 else { continue };
        let objects = context.catalog().list_objects(database).await?;
        let inside =
            |object: &&std::sync::Arc<Descriptor>| object.parents().1 == Some(schema.id()) && is_wanted(object);
        found.extend(objects.iter().filter(inside).map(|object| object.id()));
    }
    Ok(found)
}

async fn locked(context: &Context, id: DescriptorId) -> Result<Descriptor> {
    refuse_system(id)?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    Ok((*context.catalog().get(id).await?).clone())
}

/// The privileges that a statement names, in full, for a kind of object.
fn named(privileges: &Privileges, object: &Descriptor) -> Result<Vec<String>> {
    let all = of_kind(object);
    let Privileges::Actions(actions) = privileges else {
        return Ok(all.iter().map(|(name, _)| name.to_string()).collect());
    };
    let mut names = Vec::new();
    for action in actions {
        if matches!(
            action,
            Action::Select { columns: Some(_) }
                | Action::Insert { columns: Some(_) }
                | Action::Update { columns: Some(_) }
                | Action::References { columns: Some(_) }
        ) {
            return Err(Error::unsupported("privileges on columns"));
        }
        let name = action.to_string();
        let name = if name == "TEMP" { "TEMPORARY".into() } else { name };
        if !all.iter().any(|(known, _)| *known == name) {
            return Err(Error::new("0LP01", format!("invalid privilege type {name} for {}", object.kind())));
        }
        names.push(name);
    }
    Ok(names)
}

fn add(object: &mut Descriptor, role: &str, privileges: &[String], grantable: bool) {
    let grants = &mut object.identity_mut().grants;
    let at = match grants.iter().position(|grant| grant.role == role) {
        Some(at) => at,
        None => {
            grants.push(Grant { role: role.into(), privileges: Vec::new(), grantable: Vec::new() });
            grants.len() - 1
        }
    };
    let grant = &mut grants[at];
    for privilege in privileges {
        let lacks = |list: &[String]| !list.iter().any(|known| known == privilege || known == ALL);
        if lacks(&grant.privileges) {
            grant.privileges.push(privilege.clone());
        }
        if grantable && lacks(&grant.grantable) {
            grant.grantable.push(privilege.clone());
        }
    }
}

fn take(object: &mut Descriptor, role: &str, privileges: &[String]) {
    let every = of_kind(object);
    let grants = &mut object.identity_mut().grants;
    for grant in grants.iter_mut().filter(|grant| grant.role == role) {
        for list in [&mut grant.privileges, &mut grant.grantable] {
            if list.iter().any(|known| known == ALL) {
                *list = every.iter().map(|(name, _)| name.to_string()).collect();
            }
            list.retain(|known| !privileges.contains(known));
        }
    }
    grants.retain(|grant| !grant.privileges.is_empty());
}
