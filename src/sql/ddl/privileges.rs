//! `GRANT` and `REVOKE` on objects. They are kept, shown, backed up and dumped; nothing asks for them yet.

use sqlparser::ast::{
    Action, Grant as GrantStatement, GrantObjects, Grantee, GranteeName, GranteesType, ObjectName, Privileges, Revoke,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::{owner, refuse_system};
use crate::catalog::{ADMIN_ROLE, Column, Descriptor, DescriptorId, Grant, ROOT_USER};
use crate::kv::LockMode;
use crate::parser::ObjectKind;

/// Everyone.
pub const PUBLIC: &str = "public";
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
        let named = named(&statement.privileges, &object)?;
        for role in &roles {
            if !named.of_object.is_empty() {
                Grant::add(&mut object.identity_mut().grants, role, &named.of_object, statement.with_grant_option);
            }
            for (column, privilege) in &named.of_columns {
                let column = column_named(&mut object, column)?;
                Grant::add(&mut column.grants, role, std::slice::from_ref(privilege), statement.with_grant_option);
            }
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
        let named = named(&statement.privileges, &object)?;
        let every: Vec<&str> = of_kind(&object).iter().map(|(name, _)| *name).collect();
        for role in &roles {
            if [ROOT_USER, ADMIN_ROLE].contains(&role.as_str()) {
                return Err(Error::new("42501", format!("what \"{role}\" may do cannot be taken away")));
            }
            Grant::take(&mut object.identity_mut().grants, role, &named.of_object, &every, false);
            // What is taken of a table is taken of its columns.
            if let Descriptor::Table(table) = &mut object {
                for column in &mut table.columns {
                    Grant::take(&mut column.grants, role, &named.of_object, &every, false);
                }
            }
            for (column, privilege) in &named.of_columns {
                let column = column_named(&mut object, column)?;
                Grant::take(&mut column.grants, role, std::slice::from_ref(privilege), &every, false);
            }
        }
        context.catalog().write(&object)?;
    }
    Ok(())
}

/// The privileges that there are for an object, in the order in which PostgreSQL lists them, and their letters.
pub fn of_kind(object: &Descriptor) -> &'static [(&'static str, char)] {
    on(match object {
        Descriptor::Database(_) => return &[("CREATE", 'C'), ("TEMPORARY", 'T'), ("CONNECT", 'c')],
        Descriptor::Schema(_) => ObjectKind::Schemas,
        Descriptor::Sequence(_) => ObjectKind::Sequences,
        Descriptor::Type(_) => ObjectKind::Types,
        Descriptor::Table(_) | Descriptor::View(_) => ObjectKind::Tables,
    })
}

/// The same for objects that are yet to come.
pub fn on(kind: ObjectKind) -> &'static [(&'static str, char)] {
    match kind {
        ObjectKind::Schemas => &[("USAGE", 'U'), ("CREATE", 'C')],
        ObjectKind::Sequences => &[("SELECT", 'r'), ("UPDATE", 'w'), ("USAGE", 'U')],
        ObjectKind::Types => &[("USAGE", 'U')],
        ObjectKind::Functions => &[("EXECUTE", 'X')],
        ObjectKind::Tables => &[
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

/// What there is of a column alone.
pub const OF_COLUMN: &[(&str, char)] = &[("INSERT", 'a'), ("SELECT", 'r'), ("UPDATE", 'w'), ("REFERENCES", 'x')];

/// A role, its privileges, and whether it may pass them on.
pub type Granted<'a> = (&'a str, Vec<(&'static str, bool)>);

/// What was granted of an object, beside what every new one has.
pub fn granted(object: &Descriptor) -> Vec<Granted<'_>> {
    let is_own = |grant: &&Grant| [ROOT_USER, ADMIN_ROLE, &object.identity().owner].contains(&grant.role.as_str());
    let grants = object.identity().grants.iter().filter(|grant| !is_own(grant));
    grants.map(|grant| in_order(grant, of_kind(object))).collect()
}

/// What a grant gives, in PostgreSQL's order.
pub fn in_order<'a>(grant: &'a Grant, known: &[(&'static str, char)]) -> Granted<'a> {
    let kept = known.iter().filter(|(name, _)| grant.of(name).0);
    (grant.role.as_str(), kept.map(|(name, _)| (*name, grant.of(name).1)).collect())
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

/// The privileges that a statement names, in full.
#[derive(Default)]
struct Named {
    of_object: Vec<String>,
    /// Columns, and what of them.
    of_columns: Vec<(String, String)>,
}

fn named(privileges: &Privileges, object: &Descriptor) -> Result<Named> {
    let all = of_kind(object);
    let Privileges::Actions(actions) = privileges else {
        let of_object = all.iter().map(|(name, _)| name.to_string()).collect();
        return Ok(Named { of_object, of_columns: Vec::new() });
    };
    let mut names = Named::default();
    for action in actions {
        if let Action::Select { columns: Some(columns) }
        | Action::Insert { columns: Some(columns) }
        | Action::Update { columns: Some(columns) }
        | Action::References { columns: Some(columns) } = action
        {
            let whole = action.to_string();
            let name = whole.split([' ', '(']).next().unwrap_or_default();
            names.of_columns.extend(columns.iter().map(|column| (folded(column), name.to_string())));
            continue;
        }
        let name = action.to_string();
        let name = if name == "TEMP" { "TEMPORARY".into() } else { name };
        if !all.iter().any(|(known, _)| *known == name) {
            return Err(Error::new("0LP01", format!("invalid privilege type {name} for {}", object.kind())));
        }
        names.of_object.push(name);
    }
    Ok(names)
}

fn column_named<'a>(object: &'a mut Descriptor, name: &str) -> Result<&'a mut Column> {
    let Descriptor::Table(table) = object else {
        return Err(Error::unsupported(format!("privileges on columns of a {}", object.kind())));
    };
    let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.identity.name);
    let found = table.columns.iter_mut().find(|column| column.name == name && !column.hidden);
    found.ok_or_else(|| Error::new(code::UNDEFINED_COLUMN, message))
}
