//! Users, and roles that nobody logs in as: the rows of `system.users`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::system::USERS;
use super::{ADMIN_ROLE, Datum, Error, ROOT_USER, Result, is_superuser};
use crate::kv::Txn;

/// A user or role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether somebody may log in as it.
    pub can_login: bool,
    /// What else there is to it.
    pub attributes: RoleAttributes,
    created_micros: i64,
}

/// What there is to a role beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleAttributes {
    /// Options by their names, such as `CREATEDB` or `NOINHERIT`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub options: BTreeSet<String>,
    /// How many sessions it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i64>,
    /// Until when its password would be valid, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until_micros: Option<i64>,
    /// What its sessions begin with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<RoleSetting>,
    /// The roles it is a member of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub member_of: Vec<Membership>,
}

/// A setting that sessions of a role begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSetting {
    /// The database that it is for; `None` is each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The setting.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A role that another is a member of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The role.
    pub role: String,
    /// Whether the member may make others members.
    pub admin: bool,
    /// Who made it one.
    pub grantor: String,
}

impl Role {
    /// A new one.
    pub fn new(name: &str, can_login: bool, created_micros: i64) -> Role {
        Role { name: name.into(), can_login, attributes: RoleAttributes::default(), created_micros }
    }

    /// The role with a name.
    pub async fn find(txn: &dyn Txn, name: &str) -> Result<Option<Role>> {
        USERS.get(txn, &[name.into()]).await?.as_deref().map(Role::from_row).transpose()
    }

    fn from_row(row: &[Datum<'_>]) -> Result<Role> {
        let attributes = match row.get(3).and_then(Datum::as_text) {
            // Written before roles had any.
            None => RoleAttributes::default(),
            Some(json) => serde_json::from_str(json)
                .map_err(|error| Error::corrupt(format!("the attributes of a role cannot be read: {error}")))?,
        };
        Ok(Role {
            name: row[0].as_text().unwrap_or_default().into(),
            can_login: row[1] != Datum::Bool(true),
            attributes,
            created_micros: row[2].as_int().unwrap_or_default(),
        })
    }

    /// Writes it.
    pub fn write(&self, txn: &dyn Txn) -> Result<()> {
        let attributes = match self.attributes == RoleAttributes::default() {
            true => Datum::Null,
            false => serde_json::to_string(&self.attributes).map_err(|error| Error::corrupt(error.to_string()))?.into(),
        };
        let row = [self.name[..].into(), Datum::Bool(!self.can_login), self.created_micros.into(), attributes];
        USERS.put(txn, &row)
    }

    /// Removes it.
    pub fn delete(&self, txn: &dyn Txn) -> Result<()> {
        USERS.delete(txn, &[self.name[..].into()])
    }

    /// Whether it has an option.
    pub fn has(&self, option: &str) -> bool {
        self.attributes.options.contains(option)
    }

    /// The roles it is a member of by itself. `root` is one of `admin` from the beginning.
    pub fn member_of(&self) -> Vec<Membership> {
        let built_in = Membership { role: ADMIN_ROLE.into(), admin: true, grantor: ROOT_USER.into() };
        let built_in = (self.name == ROOT_USER).then_some(built_in);
        let kept = self.attributes.member_of.iter().filter(|kept| built_in.is_none() || kept.role != ADMIN_ROLE);
        built_in.clone().into_iter().chain(kept.cloned()).collect()
    }
}

/// All users and roles.
#[derive(Clone, Debug, Default)]
pub struct Roles(BTreeMap<String, Role>);

impl Roles {
    /// Reads them.
    pub async fn read(txn: &dyn Txn) -> Result<Roles> {
        let rows = USERS.scan(txn, &[]).await?;
        let roles = rows.iter().map(|row| Role::from_row(row).map(|role| (role.name.clone(), role)));
        roles.collect::<Result<_>>().map(Roles)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.0.values()
    }

    /// The one with a name.
    pub fn get(&self, name: &str) -> Option<&Role> {
        self.0.get(name)
    }

    /// Whether one is a member of another, perhaps through others, or is it.
    pub fn is_member(&self, name: &str, of: &str) -> bool {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![name.to_string()]);
        while let Some(next) = todo.pop() {
            if next == of {
                return true;
            }
            if seen.insert(next.clone()) {
                let roles = self.get(&next).map(Role::member_of).unwrap_or_default();
                todo.extend(roles.into_iter().map(|membership| membership.role));
            }
        }
        false
    }

    /// Whether one may do everything: `root`, members of `admin`, and those with the option.
    pub fn is_superuser(&self, name: &str) -> bool {
        is_superuser(name)
            || self.is_member(name, ADMIN_ROLE)
            || self.get(name).is_some_and(|role| role.has("SUPERUSER"))
    }
}
