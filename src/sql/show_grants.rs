//! `SHOW GRANTS`: who may do what, with CockroachDB's columns.

use std::sync::Arc;

use super::context::Context;
use super::ddl::privileges::{PUBLIC, granted, in_order, of_kind, on};
use super::error::{Error, Result, code};
use super::show::Shown;
use crate::catalog::role::Roles;
use crate::catalog::{ADMIN_ROLE, ColumnType, Datum, Descriptor, DescriptorId, ROOT_USER};
use crate::parser::{GrantsOn, ObjectKind, ShowDefaultPrivileges, ShowGrants, TablePattern, Targets};

/// An object, by the names that it is shown with.
struct Named {
    database: String,
    schema: Option<String>,
    object: Arc<Descriptor>,
}

/// Runs it.
pub async fn show(context: &Context, show: &ShowGrants) -> Result<Shown> {
    for role in &show.roles {
        if role != PUBLIC && !context.catalog().user_exists(role).await? {
            return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{role}\" does not exist")));
        }
    }
    if let Some(GrantsOn::Roles(roles)) = &show.on {
        return members(context, roles, &show.roles).await;
    }
    let objects = objects(context, show.on.as_ref()).await?;
    let names: &[&str] = match &show.on {
        None => &["database_name", "schema_name", "object_name", "object_type"],
        Some(GrantsOn::Targets(Targets::Databases(_))) => &["database_name"],
        Some(GrantsOn::Targets(_)) => &["database_name", "schema_name", "table_name"],
        Some(GrantsOn::Schemas(_)) => &["database_name", "schema_name"],
        Some(GrantsOn::Types(_) | GrantsOn::Roles(_)) => &["database_name", "schema_name", "type_name"],
    };
    let texts = names.iter().chain(&["grantee", "privilege_type"]).map(|name| (*name, ColumnType::Text));
    let mut shown = Shown::new(&texts.chain([("is_grantable", ColumnType::Bool)]).collect::<Vec<_>>());
    for Named { database, schema, object } in &objects {
        let own = |name: &&&str| {
            Datum::from(match **name {
                "database_name" => database.clone(),
                "object_type" => object.kind().to_string(),
                "schema_name" => return schema.clone().map_or(Datum::Null, Datum::from),
                _ if schema.is_none() || matches!(**object, Descriptor::Schema(_)) => return Datum::Null,
                _ => object.name().to_string(),
            })
        };
        let mut rows = privileges(object);
        rows.retain(|(grantee, ..)| show.roles.is_empty() || show.roles.contains(grantee));
        rows.sort();
        for (grantee, privilege, is_grantable) in rows {
            let mut row: Vec<Datum<'static>> = names.iter().map(|name| own(&name)).collect();
            row.extend([grantee.into(), privilege.into(), Datum::Bool(is_grantable)]);
            shown.rows.push(row);
        }
    }
    Ok(shown)
}

/// Who is a member of which role.
async fn members(context: &Context, of: &[String], members: &[String]) -> Result<Shown> {
    let mut shown =
        Shown::new(&[("role_name", ColumnType::Text), ("member", ColumnType::Text), ("is_admin", ColumnType::Bool)]);
    let roles = Roles::read(&**context.txn()).await?;
    if let Some(role) = of.iter().find(|role| roles.get(role).is_none()) {
        return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{role}\" does not exist")));
    }
    let is_wanted = |list: &[String], name: &String| list.is_empty() || list.contains(name);
    let mut found = Vec::new();
    for member in roles.iter().filter(|member| is_wanted(members, &member.name)) {
        let own = member.member_of().into_iter().filter(|membership| is_wanted(of, &membership.role));
        found.extend(own.map(|membership| (membership.role, member.name.clone(), membership.admin)));
    }
    found.sort();
    let row = |(role, member, admin): (String, String, bool)| vec![role.into(), member.into(), Datum::Bool(admin)];
    shown.rows = found.into_iter().map(row).collect();
    Ok(shown)
}

/// `SHOW DEFAULT PRIVILEGES`
pub async fn defaults(context: &Context, show: &ShowDefaultPrivileges) -> Result<Shown> {
    let text = || ColumnType::Text;
    let mut shown = Shown::new(&[
        ("role", text()),
        ("for_all_roles", ColumnType::Bool),
        ("object_type", text()),
        ("grantee", text()),
        ("privilege_type", text()),
        ("is_grantable", ColumnType::Bool),
    ]);
    for role in &show.makers {
        if !context.catalog().user_exists(role).await? {
            return Err(Error::new(code::UNDEFINED_OBJECT, format!("role \"{role}\" does not exist")));
        }
    }
    let place = match &show.schema {
        Some(schema) => context.schema_named(schema).await?,
        None => context.current_database().await?,
    };
    for default in &place.identity().defaults {
        let Some(kind) = ObjectKind::named(&default.on) else { continue };
        if !show.makers.is_empty() && !show.makers.contains(&default.maker) {
            continue;
        }
        for (grantee, list) in default.grants.iter().map(|grant| in_order(grant, on(kind))) {
            for (privilege, is_grantable) in list {
                shown.rows.push(vec![
                    default.maker.clone().into(),
                    Datum::Bool(false),
                    kind.name().to_lowercase().into(),
                    grantee.to_string().into(),
                    privilege.into(),
                    Datum::Bool(is_grantable),
                ]);
            }
        }
    }
    Ok(shown)
}

/// Who may do what with an object, and pass it on. One who may do everything has one row.
fn privileges(object: &Descriptor) -> Vec<(String, &'static str, bool)> {
    let mut all = vec![ADMIN_ROLE, ROOT_USER, object.identity().owner.as_str()];
    all.sort_unstable();
    all.dedup();
    let mut rows: Vec<_> = all.into_iter().map(|role| (role.to_string(), "ALL", true)).collect();
    for (role, list) in granted(object) {
        let is_all = list.len() == of_kind(object).len();
        match list.first() {
            Some((_, is_grantable)) if is_all && list.iter().all(|(_, grantable)| grantable == is_grantable) => {
                rows.push((role.to_string(), "ALL", *is_grantable));
            }
            _ => rows.extend(list.into_iter().map(|(name, grantable)| (role.to_string(), name, grantable))),
        }
    }
    rows
}

async fn objects(context: &Context, on: Option<&GrantsOn>) -> Result<Vec<Named>> {
    let mut ids = Vec::new();
    match on {
        None => {
            let database = context.current_database().await?;
            ids.push(database.id());
            for schema in context.catalog().list(Some(database.id()), None).await? {
                ids.push(schema.id());
                let inside = context.catalog().list(Some(database.id()), Some(schema.id())).await?;
                ids.extend(inside.iter().map(|object| object.id()));
            }
        }
        Some(GrantsOn::Targets(Targets::Databases(names))) => {
            for name in names {
                ids.push(context.database(name).await?.id());
            }
        }
        Some(GrantsOn::Targets(Targets::Tables(patterns))) => {
            for pattern in patterns {
                ids.extend(matching(context, pattern).await?);
            }
        }
        Some(GrantsOn::Targets(_) | GrantsOn::Roles(_)) => {}
        Some(GrantsOn::Schemas(names)) => {
            for name in names {
                ids.push(context.schema_named(name).await?.id());
            }
        }
        Some(GrantsOn::Types(names)) => {
            for name in names {
                let found = context.find_object(name).await?.filter(|found| matches!(**found, Descriptor::Type(_)));
                let missing =
                    || Error::new(code::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.join(".")));
                ids.push(found.ok_or_else(missing)?.id());
            }
        }
    }
    let mut objects = Vec::with_capacity(ids.len());
    for id in ids {
        let object = context.catalog().get(id).await?;
        let (database, schema) = object.parents();
        let name_of = async |id: DescriptorId| context.catalog().get(id).await.map(|found| found.name().to_string());
        let schema = match (&*object, schema) {
            (Descriptor::Schema(schema), _) => Some(schema.identity.name.clone()),
            (_, Some(schema)) => Some(name_of(schema).await?),
            (_, None) => None,
        };
        objects.push(Named { database: name_of(database.unwrap_or(id)).await?, schema, object });
    }
    let key = |named: &Named| {
        (named.database.clone(), named.schema.clone(), named.object.parents().1, named.object.name().to_string())
    };
    objects.sort_by_key(key);
    objects.dedup_by_key(|named| named.object.id());
    Ok(objects)
}

/// The tables, views and sequences that a pattern means.
async fn matching(context: &Context, pattern: &TablePattern) -> Result<Vec<DescriptorId>> {
    let is_relation = |object: &Descriptor| !matches!(object, Descriptor::Type(_));
    if !pattern.star {
        let found = context.object(&pattern.parts).await?;
        return match is_relation(&found) {
            true => Ok(vec![found.id()]),
            false => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", found.name()))),
        };
    }
    let schemas = match &pattern.parts[..] {
        [] => context.catalog().list(Some(context.current_database().await?.id()), None).await?,
        [name] => {
            let current = context.current_database().await?;
            match context.catalog().lookup(Some(current.id()), None, name).await? {
                Some(schema) => vec![schema],
                None => context.catalog().list(Some(context.database(name).await?.id()), None).await?,
            }
        }
        parts => vec![context.schema_named(parts).await?],
    };
    let mut found = Vec::new();
    for schema in schemas {
        let inside = context.catalog().list(schema.parents().0, Some(schema.id())).await?;
        found.extend(inside.iter().filter(|object| is_relation(object)).map(|object| object.id()));
    }
    Ok(found)
}
