use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_name};
use super::role::role;

/// `ALTER DEFAULT PRIVILEGES`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterDefaultPrivileges {
    /// Whose new objects it is about; none is whoever runs it.
    pub makers: Vec<String>,
    /// The schemas they are made in; none is any of the database.
    pub schemas: Vec<Vec<String>>,
    /// What is granted or revoked.
    pub change: DefaultGrant,
}

/// A `GRANT` or `REVOKE` on what is yet to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultGrant {
    /// Whether it is revoked.
    pub revoke: bool,
    /// The privileges; none is all.
    pub privileges: Vec<String>,
    /// The kind of objects.
    pub on: ObjectKind,
    /// Who gets them.
    pub roles: Vec<String>,
    /// `WITH GRANT OPTION`, or `GRANT OPTION FOR` that alone is revoked.
    pub grant_option: bool,
}

/// A kind of objects that privileges are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Tables and views.
    Tables,
    /// Sequences.
    Sequences,
    /// Functions.
    Functions,
    /// Types.
    Types,
    /// Schemas.
    Schemas,
}

display_redacted!(AlterDefaultPrivileges);

impl ObjectKind {
    const ALL: [(ObjectKind, &'static str); 5] = [
        (ObjectKind::Tables, "TABLES"),
        (ObjectKind::Sequences, "SEQUENCES"),
        (ObjectKind::Functions, "FUNCTIONS"),
        (ObjectKind::Types, "TYPES"),
        (ObjectKind::Schemas, "SCHEMAS"),
    ];

    /// The kind that is written so.
    pub fn named(name: &str) -> Option<ObjectKind> {
        Self::ALL.into_iter().find(|(_, word)| *word == name).map(|(kind, _)| kind)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What can be granted, of one kind of objects or another.
const PRIVILEGES: [&str; 10] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "USAGE", "CREATE", "EXECUTE"];

impl AlterDefaultPrivileges {
    /// After `ALTER DEFAULT PRIVILEGES`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<AlterDefaultPrivileges> {
        let mut makers = Vec::new();
        if cursor.eat("FOR") {
            if cursor.eat_one_of(&["ROLE", "USER"]).is_none() {
                return Err(cursor.expected("ROLE or USER"));
            }
            makers = cursor.list(role)?;
        }
        let schemas = if cursor.eat("IN SCHEMA") { cursor.list(Cursor::name)? } else { Vec::new() };
        Ok(AlterDefaultPrivileges { makers, schemas, change: DefaultGrant::parse(cursor)? })
    }
}

impl DefaultGrant {
    fn parse(cursor: &mut Cursor<'_>) -> Result<DefaultGrant> {
        let Some(word) = cursor.eat_one_of(&["GRANT", "REVOKE"]) else {
            return Err(cursor.expected("GRANT or REVOKE"));
        };
        let revoke = word == "REVOKE";
        let mut grant_option = revoke && cursor.eat("GRANT OPTION FOR");
        let privileges = if cursor.eat("ALL") {
            cursor.eat("PRIVILEGES");
            Vec::new()
        } else {
            cursor.list(privilege)?
        };
        cursor.require("ON")?;
        let kind = ObjectKind::ALL.into_iter().find(|(_, word)| cursor.eat(word)).map(|(kind, _)| kind);
        let on = match kind {
            Some(kind) => kind,
            None if cursor.eat("ROUTINES") => ObjectKind::Functions,
            None => return Err(cursor.expected("TABLES, SEQUENCES, FUNCTIONS, TYPES or SCHEMAS")),
        };
        cursor.require(if revoke { "FROM" } else { "TO" })?;
        let roles = cursor.list(grantee)?;
        if revoke {
            // Nobody has passed on what is yet to come.
            cursor.eat_one_of(&["CASCADE", "RESTRICT"]);
        } else {
            grant_option = cursor.eat("WITH GRANT OPTION");
        }
        Ok(DefaultGrant { revoke, privileges, on, roles, grant_option })
    }
}

fn privilege(cursor: &mut Cursor<'_>) -> Result<String> {
    let found = cursor.eat_one_of(&PRIVILEGES);
    found.map(str::to_string).ok_or_else(|| cursor.expected("a privilege"))
}

fn grantee(cursor: &mut Cursor<'_>) -> Result<String> {
    cursor.eat("GROUP");
    role(cursor)
}

impl Render for AlterDefaultPrivileges {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("ALTER DEFAULT PRIVILEGES ");
        if !self.makers.is_empty() {
            out.push_str("FOR ROLE ");
            push_list(out, &self.makers, |out, name| out.push_str(&quote_ident(name)));
            out.push(' ');
        }
        if !self.schemas.is_empty() {
            out.push_str("IN SCHEMA ");
            push_list(out, &self.schemas, |out, name| out.push_str(&quote_name(name)));
            out.push(' ');
        }
        self.change.render(out, secrets);
    }
}

impl Render for DefaultGrant {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(if self.revoke { "REVOKE " } else { "GRANT " });
        out.push_str(if self.revoke && self.grant_option { "GRANT OPTION FOR " } else { "" });
        out.push_str(&if self.privileges.is_empty() { "ALL".into() } else { self.privileges.join(", ") });
        out.push_str(&format!(" ON {} {} ", self.on.name(), if self.revoke { "FROM" } else { "TO" }));
        push_list(out, &self.roles, |out, name| out.push_str(&quote_ident(name)));
        out.push_str(if !self.revoke && self.grant_option { " WITH GRANT OPTION" } else { "" });
    }
}

/// `SHOW DEFAULT PRIVILEGES`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowDefaultPrivileges {
    /// Whose new objects they are about; none is anybody's.
    pub makers: Vec<String>,
    /// The schema they are made in; none is any.
    pub schema: Option<Vec<String>>,
}

display_redacted!(ShowDefaultPrivileges);

impl ShowDefaultPrivileges {
    /// After `SHOW DEFAULT PRIVILEGES`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<ShowDefaultPrivileges> {
        let of_role = cursor.eat_one_of(&["FOR ROLE", "FOR USER"]);
        let makers = if of_role.is_some() { cursor.list(Cursor::identifier)? } else { Vec::new() };
        let schema = if cursor.eat("IN SCHEMA") { Some(cursor.name()?) } else { None };
        Ok(ShowDefaultPrivileges { makers, schema })
    }
}

impl Render for ShowDefaultPrivileges {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str("SHOW DEFAULT PRIVILEGES");
        if !self.makers.is_empty() {
            out.push_str(" FOR ROLE ");
            push_list(out, &self.makers, |out, name| out.push_str(&quote_ident(name)));
        }
        if let Some(schema) = &self.schema {
            out.push_str(&format!(" IN SCHEMA {}", quote_name(schema)));
        }
    }
}
