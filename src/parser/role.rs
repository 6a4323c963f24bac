use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_literal, quote_name};
use super::text::{Secret, Text};

/// `CREATE` and `ALTER {ROLE | USER | GROUP}`, `GRANT` and `REVOKE` of roles, `REASSIGN` and `DROP OWNED`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleStatement {
    /// `CREATE`
    Create {
        /// Its name.
        name: String,
        /// Whether it is written as a user, which may log in unless an option says otherwise.
        is_user: bool,
        /// Whether it is no error if it is there.
        if_not_exists: bool,
        /// What it may do.
        options: Vec<RoleOption>,
    },
    /// `ALTER ... WITH`
    Alter {
        /// Its name.
        name: String,
        /// Whether it is no error if it is not there.
        if_exists: bool,
        /// What changes.
        options: Vec<RoleOption>,
    },
    /// `ALTER ... RENAME TO`
    Rename {
        /// The name it has.
        name: String,
        /// The name it gets.
        to: String,
    },
    /// `ALTER ... SET` and `RESET`: what its sessions begin with.
    Set {
        /// Its name; `None` is all.
        name: Option<String>,
        /// The database that it is for; `None` is each.
        database: Option<String>,
        /// The setting; `None` is all.
        setting: Option<String>,
        /// The values; none is a `RESET`.
        values: Vec<String>,
    },
    /// `GRANT role TO role`
    Grant {
        /// What is granted.
        roles: Vec<String>,
        /// Who becomes a member.
        members: Vec<String>,
        /// `WITH ADMIN OPTION`
        admin: bool,
    },
    /// `REVOKE role FROM role`
    Revoke {
        /// What is taken away.
        roles: Vec<String>,
        /// Who was a member.
        members: Vec<String>,
        /// `ADMIN OPTION FOR`: only the right to pass it on.
        admin_only: bool,
    },
    /// `REASSIGN OWNED BY ... TO`
    Reassign {
        /// The owners.
        from: Vec<String>,
        /// The owner to be.
        to: String,
    },
    /// `ALTER {DATABASE | SEQUENCE | VIEW} ... OWNER TO`
    Give {
        /// The first word of what it is.
        kind: &'static str,
        /// Whether it is no error if it is not there.
        if_exists: bool,
        /// Its name.
        name: Vec<String>,
        /// The owner to be.
        to: String,
    },
    /// `DROP OWNED BY`
    DropOwned {
        /// The owners.
        by: Vec<String>,
        /// With all that depends on it.
        cascade: bool,
    },
}

/// An option of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleOption {
    /// One that a role has, or with `NO` before it has not: [`ROLE_FLAGS`].
    Flag(&'static str, bool),
    /// `CONNECTION LIMIT`; -1 is none.
    ConnectionLimit(i64),
    /// `PASSWORD`; `None` is `NULL`.
    Password(Option<Secret>),
    /// `VALID UNTIL`; `None` is `NULL`.
    ValidUntil(Option<String>),
    /// `IN ROLE`: what it becomes a member of.
    InRole(Vec<String>),
    /// `ROLE`: who becomes a member of it.
    Members(Vec<String>),
    /// `ADMIN`: the same, with the right to pass it on.
    Admins(Vec<String>),
}

/// Options that a role has or has not: PostgreSQL's, and then CockroachDB's.
pub const ROLE_FLAGS: [&str; 16] = [
    "SUPERUSER",
    "CREATEDB",
    "CREATEROLE",
    "INHERIT",
    "LOGIN",
    "REPLICATION",
    "BYPASSRLS",
    "CANCELQUERY",
    "CONTROLCHANGEFEED",
    "CONTROLJOB",
    "CREATELOGIN",
    "MODIFYCLUSTERSETTING",
    "SQLLOGIN",
    "VIEWACTIVITY",
    "VIEWACTIVITYREDACTED",
    "VIEWCLUSTERSETTING",
];

display_redacted!(RoleStatement);

impl RoleStatement {
    /// `CREATE {ROLE | USER | GROUP}`
    pub fn parse_create(cursor: &mut Cursor<'_>) -> Result<Option<RoleStatement>> {
        let mut ahead = cursor.clone();
        if !ahead.eat("CREATE") || !is_kind(&ahead) {
            return Ok(None);
        }
        let is_user = ahead.eat_one_of(&KINDS) == Some("USER");
        *cursor = ahead;
        let if_not_exists = cursor.eat("IF NOT EXISTS");
        let name = role(cursor)?;
        Ok(Some(RoleStatement::Create { name, is_user, if_not_exists, options: options(cursor)? }))
    }

    /// `ALTER {ROLE | USER | GROUP}`
    pub fn parse_alter(cursor: &mut Cursor<'_>) -> Result<Option<RoleStatement>> {
        let mut ahead = cursor.clone();
        if !ahead.eat("ALTER") || !is_kind(&ahead) {
            return Ok(None);
        }
        ahead.eat_one_of(&KINDS);
        *cursor = ahead;
        let if_exists = cursor.eat("IF EXISTS");
        let name = if cursor.eat("ALL") { None } else { Some(role(cursor)?) };
        let database = if cursor.eat("IN DATABASE") { Some(cursor.identifier()?) } else { None };
        if cursor.eat("RESET") {
            let setting = if cursor.eat("ALL") { None } else { Some(setting_name(cursor)?) };
            return Ok(Some(RoleStatement::Set { name, database, setting, values: Vec::new() }));
        }
        if cursor.eat("SET") {
            let has_sign = !cursor.at_words("TIME ZONE");
            let setting = Some(setting_name(cursor)?);
            if has_sign && !cursor.eat_token(&Token::Eq) {
                cursor.require("TO")?;
            }
            let values = if cursor.eat("DEFAULT") { Vec::new() } else { cursor.list(setting_value)? };
            return Ok(Some(RoleStatement::Set { name, database, setting, values }));
        }
        let (Some(name), None) = (name, database) else { return Err(cursor.expected("SET or RESET")) };
        if cursor.eat("RENAME TO") {
            return Ok(Some(RoleStatement::Rename { name, to: role(cursor)? }));
        }
        let options = options(cursor)?;
        if options.is_empty() {
            return Err(cursor.expected("an option, RENAME TO, SET or RESET"));
        }
        Ok(Some(RoleStatement::Alter { name, if_exists, options }))
    }

    /// `ALTER {DATABASE | SEQUENCE | VIEW} ... OWNER TO`
    pub fn parse_give(cursor: &mut Cursor<'_>) -> Result<Option<RoleStatement>> {
        let mut ahead = cursor.clone();
        let kind = if ahead.eat("ALTER") { ahead.eat_one_of(&["DATABASE", "SEQUENCE", "VIEW"]) } else { None };
        let Some(kind) = kind else { return Ok(None) };
        let if_exists = ahead.eat("IF EXISTS");
        let Ok(name) = ahead.name() else { return Ok(None) };
        if !ahead.eat("OWNER TO") {
            return Ok(None);
        }
        *cursor = ahead;
        Ok(Some(RoleStatement::Give { kind, if_exists, name, to: role(cursor)? }))
    }

    /// `GRANT` and `REVOKE`, if they are of roles: those of privileges have an `ON`.
    pub fn parse_grant(cursor: &mut Cursor<'_>) -> Result<Option<RoleStatement>> {
        let is_grant = cursor.at("GRANT");
        let end = if is_grant { "TO" } else { "FROM" };
        let mut ahead = cursor.clone();
        let before = ahead.count_until(|cursor| cursor.at(end) || cursor.at("ON"));
        if !(is_grant || cursor.at("REVOKE")) || !cursor.at_offset(before, end) {
            return Ok(None);
        }
        ahead.eat_one_of(&["GRANT", "REVOKE"]);
        let admin_only = !is_grant && ahead.eat("ADMIN OPTION FOR");
        let roles = ahead.list(role)?;
        ahead.require(end)?;
        let members = ahead.list(role)?;
        let admin = is_grant && ahead.eat("WITH ADMIN OPTION");
        // Whoever runs it is who grants.
        if ahead.eat("GRANTED BY") {
            role(&mut ahead)?;
        }
        if !is_grant && ahead.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE") {
            return Err(Error::unsupported("REVOKE ... CASCADE", ahead.location()));
        }
        *cursor = ahead;
        Ok(Some(match is_grant {
            true => RoleStatement::Grant { roles, members, admin },
            false => RoleStatement::Revoke { roles, members, admin_only },
        }))
    }

    /// `REASSIGN OWNED` and `DROP OWNED`
    pub fn parse_owned(cursor: &mut Cursor<'_>) -> Result<Option<RoleStatement>> {
        if cursor.eat("REASSIGN OWNED BY") {
            let from = cursor.list(role)?;
            cursor.require("TO")?;
            return Ok(Some(RoleStatement::Reassign { from, to: role(cursor)? }));
        }
        if !cursor.eat("DROP OWNED BY") {
            return Ok(None);
        }
        let by = cursor.list(role)?;
        let cascade = cursor.eat_one_of(&["CASCADE", "RESTRICT"]) == Some("CASCADE");
        Ok(Some(RoleStatement::DropOwned { by, cascade }))
    }
}

const KINDS: [&str; 3] = ["ROLE", "USER", "GROUP"];

/// Whether the words for a role follow; `USER MAPPING` is something else.
fn is_kind(cursor: &Cursor<'_>) -> bool {
    KINDS.iter().any(|kind| cursor.at(kind)) && !cursor.at_words("USER MAPPING")
}

/// The name of a role, or a word for that of the session.
pub fn role(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.eat_one_of(&["CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"]) {
        Some(word) => Ok(word.to_lowercase()),
        None => cursor.identifier(),
    }
}

fn setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    Ok(if cursor.eat("TIME ZONE") { "timezone".into() } else { cursor.name()?.join(".") })
}

fn setting_value(cursor: &mut Cursor<'_>) -> Result<String> {
    if cursor.at_number() {
        return cursor.signed().map(|number| number.to_string());
    }
    match cursor.text()? {
        Text::Literal(value) => Ok(value),
        Text::Placeholder(_) => Err(cursor.expected("a value")),
    }
}

fn options(cursor: &mut Cursor<'_>) -> Result<Vec<RoleOption>> {
    cursor.eat("WITH");
    let mut options = Vec::new();
    while let Some(option) = option(cursor)? {
        options.push(option);
    }
    Ok(options)
}

fn option(cursor: &mut Cursor<'_>) -> Result<Option<RoleOption>> {
    for flag in ROLE_FLAGS {
        for (word, is_on) in [(flag.to_string(), true), (format!("NO{flag}"), false)] {
            if cursor.eat(&word) {
                return Ok(Some(RoleOption::Flag(flag, is_on)));
            }
        }
    }
    Ok(Some(if cursor.eat("CONNECTION LIMIT") {
        RoleOption::ConnectionLimit(cursor.signed()?)
    } else if cursor.eat("ENCRYPTED PASSWORD") || cursor.eat("PASSWORD") {
        RoleOption::Password(if cursor.eat("NULL") { None } else { Some(Secret::new(cursor.text()?)) })
    } else if cursor.eat("VALID UNTIL") {
        RoleOption::ValidUntil(if cursor.eat("NULL") { None } else { Some(setting_value(cursor)?) })
    } else if cursor.eat("IN ROLE") || cursor.eat("IN GROUP") {
        RoleOption::InRole(cursor.list(role)?)
    } else if cursor.eat("ROLE") || cursor.eat("USER") {
        RoleOption::Members(cursor.list(role)?)
    } else if cursor.eat("ADMIN") {
        RoleOption::Admins(cursor.list(role)?)
    } else {
        return Ok(None);
    }))
}

fn push_names(out: &mut String, names: &[String]) {
    push_list(out, names, |out, name| out.push_str(&quote_ident(name)));
}

impl Render for RoleStatement {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let options = |out: &mut String, options: &[RoleOption]| {
            out.push_str(if options.is_empty() { "" } else { " WITH" });
            for option in options {
                out.push(' ');
                option.render(out, secrets);
            }
        };
        match self {
            RoleStatement::Create { name, is_user, if_not_exists, options: given } => {
                out.push_str(if *is_user { "CREATE USER " } else { "CREATE ROLE " });
                out.push_str(if *if_not_exists { "IF NOT EXISTS " } else { "" });
                out.push_str(&quote_ident(name));
                options(out, given);
            }
            RoleStatement::Alter { name, if_exists, options: given } => {
                let if_exists = if *if_exists { "IF EXISTS " } else { "" };
                out.push_str(&format!("ALTER ROLE {if_exists}{}", quote_ident(name)));
                options(out, given);
            }
            RoleStatement::Rename { name, to } => {
                out.push_str(&format!("ALTER ROLE {} RENAME TO {}", quote_ident(name), quote_ident(to)));
            }
            RoleStatement::Set { name, database, setting, values } => {
                out.push_str("ALTER ROLE ");
                out.push_str(&name.as_ref().map_or("ALL".into(), |name| quote_ident(name)));
                if let Some(database) = database {
                    out.push_str(&format!(" IN DATABASE {}", quote_ident(database)));
                }
                match setting {
                    None => out.push_str(" RESET ALL"),
                    Some(setting) if values.is_empty() => out.push_str(&format!(" RESET {}", quote_ident(setting))),
                    Some(setting) => {
                        out.push_str(&format!(" SET {} = ", quote_ident(setting)));
                        push_list(out, values, |out, value| out.push_str(&quote_literal(value)));
                    }
                }
            }
            RoleStatement::Grant { roles, members, admin } => {
                out.push_str("GRANT ");
                push_names(out, roles);
                out.push_str(" TO ");
                push_names(out, members);
                out.push_str(if *admin { " WITH ADMIN OPTION" } else { "" });
            }
            RoleStatement::Revoke { roles, members, admin_only } => {
                out.push_str(if *admin_only { "REVOKE ADMIN OPTION FOR " } else { "REVOKE " });
                push_names(out, roles);
                out.push_str(" FROM ");
                push_names(out, members);
            }
            RoleStatement::Reassign { from, to } => {
                out.push_str("REASSIGN OWNED BY ");
                push_names(out, from);
                out.push_str(&format!(" TO {}", quote_ident(to)));
            }
            RoleStatement::Give { kind, if_exists, name, to } => {
                let if_exists = if *if_exists { "IF EXISTS " } else { "" };
                let name = quote_name(name);
                out.push_str(&format!("ALTER {kind} {if_exists}{name} OWNER TO {}", quote_ident(to)));
            }
            RoleStatement::DropOwned { by, cascade } => {
                out.push_str("DROP OWNED BY ");
                push_names(out, by);
                out.push_str(if *cascade { " CASCADE" } else { "" });
            }
        }
    }
}

impl Render for RoleOption {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let named = |out: &mut String, words: &str, names: &[String]| {
            out.push_str(words);
            push_names(out, names);
        };
        match self {
            RoleOption::Flag(flag, is_on) => out.push_str(&format!("{}{flag}", if *is_on { "" } else { "NO" })),
            RoleOption::ConnectionLimit(limit) => out.push_str(&format!("CONNECTION LIMIT {limit}")),
            RoleOption::Password(None) => out.push_str("PASSWORD NULL"),
            RoleOption::Password(Some(password)) => {
                out.push_str("PASSWORD ");
                password.render(out, secrets);
            }
            RoleOption::ValidUntil(None) => out.push_str("VALID UNTIL NULL"),
            RoleOption::ValidUntil(Some(time)) => out.push_str(&format!("VALID UNTIL {}", quote_literal(time))),
            RoleOption::InRole(roles) => named(out, "IN ROLE ", roles),
            RoleOption::Members(roles) => named(out, "ROLE ", roles),
            RoleOption::Admins(roles) => named(out, "ADMIN ", roles),
        }
    }
}
