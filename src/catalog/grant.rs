use serde::{Deserialize, Serialize};

/// Every privilege there is for an object.
pub const ALL_PRIVILEGES: &str = "ALL";

/// What a role may do with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The user or role.
    pub role: String,
    /// Privileges by name; `ALL` is every one.
    pub privileges: Vec<String>,
    /// Those that it may pass on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grantable: Vec<String>,
}

/// What others may do with the objects that somebody makes from then on, in a database or a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultGrants {
    /// Who makes them.
    pub maker: String,
    /// Their kind, as `ALTER DEFAULT PRIVILEGES` writes it.
    pub on: String,
    /// What is granted.
    pub grants: Vec<Grant>,
}

impl Grant {
    /// Of nothing yet.
    pub fn new(role: &str) -> Grant {
        Grant { role: role.into(), privileges: Vec::new(), grantable: Vec::new() }
    }

    /// Everything.
    pub fn all(role: &str) -> Grant {
        Grant { privileges: vec![ALL_PRIVILEGES.into()], ..Grant::new(role) }
    }

    /// Adds privileges to what a role has in a list of grants.
    pub fn add(grants: &mut Vec<Grant>, role: &str, privileges: &[String], grantable: bool) {
        let at = grants.iter().position(|grant| grant.role == role).unwrap_or_else(|| {
            grants.push(Grant::new(role));
            grants.len() - 1
        });
        let grant = &mut grants[at];
        for privilege in privileges {
            let lacks = |list: &[String]| !list.iter().any(|known| known == privilege || known == ALL_PRIVILEGES);
            if lacks(&grant.privileges) {
                grant.privileges.push(privilege.clone());
            }
            if grantable && lacks(&grant.grantable) {
                grant.grantable.push(privilege.clone());
            }
        }
    }

    /// Takes privileges from what a role has in a list of grants, or only that it may pass them on. `every` are those that `ALL` stands for.
    pub fn take(grants: &mut Vec<Grant>, role: &str, privileges: &[String], every: &[&str], option_only: bool) {
        for grant in grants.iter_mut().filter(|grant| grant.role == role) {
            let lists = [Some(&mut grant.grantable), (!option_only).then_some(&mut grant.privileges)];
            for list in lists.into_iter().flatten() {
                if list.iter().any(|known| known == ALL_PRIVILEGES) {
                    *list = every.iter().map(|name| name.to_string()).collect();
                }
                list.retain(|known| !privileges.contains(known));
            }
        }
        grants.retain(|grant| !grant.privileges.is_empty());
    }

    /// Whether it has a privilege, and whether it may pass it on.
    pub fn of(&self, privilege: &str) -> (bool, bool) {
        let has = |list: &[String]| list.iter().any(|known| known == privilege || known == ALL_PRIVILEGES);
        (has(&self.privileges), has(&self.grantable))
    }
}
