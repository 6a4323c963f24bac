//! Users and roles.

use super::super::objects::{Objects, oid, role_oid};
use super::super::relation::Rows;
use super::name;
use super::relations::acl_item;
use crate::catalog::role::{Role, RoleSetting};
use crate::catalog::{Datum, is_superuser};
use crate::parser::ObjectKind;
use crate::sql::ddl::privileges;

/// What stands for a password, also where there is none.
const HIDDEN: &str = "********";

pub fn pg_roles(objects: &Objects, rows: &mut Rows) {
    for role in objects.roles.iter() {
        let may = |option: &str| Datum::Bool(is_superuser(&role.name) || role.has(option));
        let is_super = Datum::Bool(objects.roles.is_superuser(&role.name));
        rows.push(&[
            ("oid", role_oid(&role.name).into()),
            ("rolname", name(&role.name)),
            ("rolsuper", is_super),
            ("rolinherit", Datum::Bool(!role.has("NOINHERIT"))),
            ("rolcreaterole", may("CREATEROLE")),
            ("rolcreatedb", may("CREATEDB")),
            ("rolcanlogin", Datum::Bool(role.can_login)),
            ("rolreplication", Datum::Bool(role.has("REPLICATION"))),
            ("rolconnlimit", role.attributes.connection_limit.unwrap_or(-1).into()),
            ("rolpassword", HIDDEN.into()),
            ("rolvaliduntil", valid_until(role)),
            ("rolbypassrls", Datum::Bool(role.has("BYPASSRLS"))),
            ("rolconfig", config(role, None)),
        ]);
    }
}

pub fn pg_user(objects: &Objects, rows: &mut Rows) {
    for role in objects.roles.iter().filter(|role| role.can_login) {
        let may = |option: &str| Datum::Bool(is_superuser(&role.name) || role.has(option));
        let is_super = Datum::Bool(objects.roles.is_superuser(&role.name));
        rows.push(&[
            ("usename", name(&role.name)),
            ("usesysid", role_oid(&role.name).into()),
            ("usecreatedb", may("CREATEDB")),
            ("usesuper", is_super),
            ("userepl", Datum::Bool(role.has("REPLICATION"))),
            ("usebypassrls", Datum::Bool(role.has("BYPASSRLS"))),
            ("passwd", HIDDEN.into()),
            ("valuntil", valid_until(role)),
            ("useconfig", config(role, None)),
        ]);
    }
}

pub fn pg_default_acl(objects: &Objects, rows: &mut Rows) {
    let places = objects.schemas.iter().map(|schema| (oid(schema.id()), schema));
    for (namespace, place) in std::iter::once((0, &objects.database)).chain(places) {
        for default in &place.identity().defaults {
            let Some(kind) = ObjectKind::named(&default.on) else { continue };
            let (letter, known) = (kind_letter(kind), privileges::on(kind));
            // One of the whole database says what every such object has, also by its owner.
            let own = (namespace == 0).then(|| {
                let all = known.iter().map(|(name, _)| (*name, false)).collect();
                acl_item(&(&default.maker, all), known, &default.maker)
            });
            let granted = default.grants.iter();
            let granted = granted.map(|grant| acl_item(&privileges::in_order(grant, known), known, &default.maker));
            let oid = role_oid(&format!("default acl {namespace} {letter} {}", default.maker));
            rows.push(&[
                ("oid", oid.into()),
                ("defaclrole", role_oid(&default.maker).into()),
                ("defaclnamespace", namespace.into()),
                ("defaclobjtype", letter.into()),
                ("defaclacl", Datum::Array(own.into_iter().chain(granted).map(Datum::from).collect())),
            ]);
        }
    }
}

fn kind_letter(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Tables => "r",
        ObjectKind::Sequences => "S",
        ObjectKind::Functions => "f",
        ObjectKind::Types => "T",
        ObjectKind::Schemas => "n",
    }
}

pub fn pg_auth_members(objects: &Objects, rows: &mut Rows) {
    for member in objects.roles.iter() {
        for membership in member.member_of() {
            rows.push(&[
                ("roleid", role_oid(&membership.role).into()),
                ("member", role_oid(&member.name).into()),
                ("grantor", role_oid(&membership.grantor).into()),
                ("admin_option", Datum::Bool(membership.admin)),
            ]);
        }
    }
}

pub fn pg_db_role_setting(objects: &Objects, rows: &mut Rows) {
    for role in objects.roles.iter() {
        let databases = objects.databases.iter().map(Some);
        for database in std::iter::once(None).chain(databases) {
            let config = config(role, database.map(|database| database.name()));
            if !config.is_null() {
                rows.push(&[
                    ("setdatabase", database.map_or(0, |database| oid(database.id())).into()),
                    ("setrole", role_oid(&role.name).into()),
                    ("setconfig", config),
                ]);
            }
        }
    }
}

/// What sessions of a role in a database begin with, as `name=value`; those of every database without one.
fn config(role: &Role, database: Option<&str>) -> Datum<'static> {
    let is_meant = |setting: &&RoleSetting| setting.database.as_deref() == database;
    let settings = role.attributes.settings.iter().filter(is_meant);
    let written: Vec<Datum<'static>> =
        settings.map(|setting| format!("{}={}", setting.name, setting.value).into()).collect();
    if written.is_empty() { Datum::Null } else { Datum::Array(written) }
}

fn valid_until(role: &Role) -> Datum<'static> {
    role.attributes.valid_until_micros.into()
}
