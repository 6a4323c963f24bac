use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, quote_ident};
use super::role::role;

/// `CREATE DATABASE` with an owner, or with options that have one value here. Without options it is ordinary SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateDatabase {
    /// Whether one that is there is left as it is.
    pub if_not_exists: bool,
    /// Its name.
    pub name: String,
    /// Whose it is; none is whoever runs it.
    pub owner: Option<String>,
}

display_redacted!(CreateDatabase);

/// Options of PostgreSQL, and what each may say: there is one encoding and one order of text, and nothing else to copy or to put it.
const FIXED: [(&str, &[&str]); 8] = [
    ("ENCODING", &["utf8", "utf-8", "unicode"]),
    ("TEMPLATE", &["template0", "template1"]),
    ("LOCALE_PROVIDER", &["libc"]),
    ("LOCALE", LOCALES),
    ("LC_COLLATE", LOCALES),
    ("LC_CTYPE", LOCALES),
    ("TABLESPACE", &["pg_default"]),
    ("CONNECTION LIMIT", &["-1"]),
];
const LOCALES: &[&str] = &["c", "posix", "c.utf-8", "c.utf8"];

impl CreateDatabase {
    /// `CREATE DATABASE`, if it has options.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<CreateDatabase>> {
        let mut ahead = cursor.clone();
        if !ahead.eat("CREATE DATABASE") {
            return Ok(None);
        }
        let if_not_exists = ahead.eat("IF NOT EXISTS");
        let Ok(name) = ahead.identifier() else { return Ok(None) };
        if ahead.is_at_end() || ahead.at_token(&Token::Period) {
            return Ok(None);
        }
        *cursor = ahead;
        cursor.eat("WITH");
        let mut owner = None;
        while !cursor.is_at_end() {
            if cursor.eat("OWNER") {
                cursor.eat_token(&Token::Eq);
                owner = if cursor.eat("DEFAULT") { None } else { Some(role(cursor)?) };
                continue;
            }
            let Some((option, allowed)) = FIXED.into_iter().find(|(option, _)| cursor.eat(option)) else {
                return Err(cursor.expected("OWNER or another option"));
            };
            cursor.eat_token(&Token::Eq);
            let location = cursor.location();
            if !cursor.eat("DEFAULT") && !allowed.contains(&value(cursor)?.to_lowercase().as_str()) {
                return Err(Error::unsupported(format!("CREATE DATABASE with this {option}"), location));
            }
        }
        Ok(Some(CreateDatabase { if_not_exists, name, owner }))
    }
}

/// A name, a text or a number.
fn value(cursor: &mut Cursor<'_>) -> Result<String> {
    match cursor.peek() {
        Some(Token::Minus | Token::Number(..)) => cursor.signed().map(|number| number.to_string()),
        Some(Token::SingleQuotedString(text)) => {
            cursor.skip();
            Ok(text.clone())
        }
        _ => cursor.identifier(),
    }
}

impl Render for CreateDatabase {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str("CREATE DATABASE ");
        out.push_str(if self.if_not_exists { "IF NOT EXISTS " } else { "" });
        out.push_str(&quote_ident(&self.name));
        out.push_str(&format!(" WITH OWNER = {}", self.owner.as_deref().map_or("DEFAULT".into(), quote_ident)));
    }
}
