use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_name};
use super::target::Targets;

/// `SHOW GRANTS [ON what] [FOR role, ...]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowGrants {
    /// What privileges are on; `None` is everything in the current database.
    pub on: Option<GrantsOn>,
    /// Who has them; empty is everyone.
    pub roles: Vec<String>,
}

/// What privileges are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantsOn {
    /// Databases, or tables, views and sequences.
    Targets(Targets),
    /// Schemas.
    Schemas(Vec<Vec<String>>),
    /// Types.
    Types(Vec<Vec<String>>),
    /// Roles: who is a member of them; none is all.
    Roles(Vec<String>),
}

display_redacted!(ShowGrants);

impl ShowGrants {
    /// After `SHOW GRANTS`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<ShowGrants> {
        let on = match cursor.eat("ON") {
            false => None,
            true if cursor.eat("SCHEMA") => Some(GrantsOn::Schemas(cursor.list(Cursor::name)?)),
            true if cursor.eat("TYPE") => Some(GrantsOn::Types(cursor.list(Cursor::name)?)),
            true if cursor.eat("ROLE") => {
                let all = cursor.is_at_end() || cursor.at("FOR") || cursor.at_token(&Token::RBracket);
                Some(GrantsOn::Roles(if all { Vec::new() } else { cursor.list(Cursor::identifier)? }))
            }
            true => Some(GrantsOn::Targets(Targets::parse(cursor, &["FOR"])?)),
        };
        let roles = if cursor.eat("FOR") { cursor.list(Cursor::identifier)? } else { Vec::new() };
        Ok(ShowGrants { on, roles })
    }
}

impl Render for ShowGrants {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("SHOW GRANTS");
        let named = |out: &mut String, kind: &str, names: &[Vec<String>]| {
            out.push_str(&format!(" ON {kind} "));
            push_list(out, names, |out, name| out.push_str(&quote_name(name)));
        };
        match &self.on {
            None => {}
            Some(GrantsOn::Schemas(names)) => named(out, "SCHEMA", names),
            Some(GrantsOn::Types(names)) => named(out, "TYPE", names),
            Some(GrantsOn::Roles(roles)) => {
                out.push_str(" ON ROLE");
                out.push_str(if roles.is_empty() { "" } else { " " });
                push_list(out, roles, |out, role| out.push_str(&quote_ident(role)));
            }
            Some(GrantsOn::Targets(targets)) => {
                out.push_str(" ON");
                targets.render(out, secrets);
            }
        }
        if !self.roles.is_empty() {
            out.push_str(" FOR ");
            push_list(out, &self.roles, |out, role| out.push_str(&quote_ident(role)));
        }
    }
}
