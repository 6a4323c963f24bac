//! Users and roles.

use super::super::objects::{Objects, role_oid};
use super::super::relation::Rows;
use super::name;
use crate::catalog::{ADMIN_ROLE, Datum, ROOT_USER, is_superuser};

pub fn pg_roles(objects: &Objects, rows: &mut Rows) {
    for role in &objects.roles {
        let is_super = Datum::Bool(is_superuser(&role.name));
        rows.push(&[
            ("oid", role_oid(&role.name).into()),
            ("rolname", name(&role.name)),
            ("rolsuper", is_super.clone()),
            ("rolinherit", Datum::Bool(true)),
            ("rolcreaterole", is_super.clone()),
            ("rolcreatedb", is_super),
            ("rolcanlogin", Datum::Bool(role.can_login)),
            ("rolconnlimit", (-1_i64).into()),
        ]);
    }
}

pub fn pg_user(objects: &Objects, rows: &mut Rows) {
    for role in objects.roles.iter().filter(|role| role.can_login) {
        rows.push(&[
            ("usename", name(&role.name)),
            ("usesysid", role_oid(&role.name).into()),
            ("usecreatedb", Datum::Bool(is_superuser(&role.name))),
            ("usesuper", Datum::Bool(is_superuser(&role.name))),
            ("passwd", "********".into()),
        ]);
    }
}

pub fn pg_auth_members(objects: &Objects, rows: &mut Rows) {
    if objects.roles.iter().any(|role| role.name == ADMIN_ROLE) {
        rows.push(&[
            ("roleid", role_oid(ADMIN_ROLE).into()),
            ("member", role_oid(ROOT_USER).into()),
            ("grantor", role_oid(ROOT_USER).into()),
            ("admin_option", Datum::Bool(true)),
        ]);
    }
}
