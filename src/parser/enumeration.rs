use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_literal, quote_name};

/// `CREATE TYPE ... AS ENUM` and `ALTER TYPE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumStatement {
    /// The type.
    pub name: Vec<String>,
    /// What is to be done.
    pub action: EnumAction,
}

/// What is to be done with an enumerated type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnumAction {
    /// Make it.
    Create {
        /// Whether it is no error if it is there.
        if_not_exists: bool,
        /// Its labels, in order.
        labels: Vec<String>,
    },
    /// `ADD VALUE`
    AddValue {
        /// Whether it is no error if it has the label.
        if_not_exists: bool,
        /// The label.
        label: String,
        /// Where it goes; `None` is after all others.
        place: Option<LabelPlace>,
    },
    /// `RENAME VALUE`
    RenameValue {
        /// The label there is.
        from: String,
        /// What it becomes.
        to: String,
    },
    /// `RENAME TO`
    Rename(String),
    /// `SET SCHEMA`
    SetSchema(String),
    /// `OWNER TO`
    OwnerTo(String),
}

/// `BEFORE` or `AFTER` a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPlace {
    /// Whether it is before it.
    pub before: bool,
    /// The label that is there.
    pub label: String,
}

display_redacted!(EnumStatement);

impl EnumStatement {
    /// `CREATE TYPE ... AS ENUM`; of other types `sqlparser` has the syntax.
    pub fn parse_create(cursor: &mut Cursor<'_>) -> Result<Option<EnumStatement>> {
        let mut ahead = cursor.clone();
        if !ahead.eat("CREATE TYPE") {
            return Ok(None);
        }
        let if_not_exists = ahead.eat("IF NOT EXISTS");
        let name = ahead.name()?;
        if !if_not_exists && !ahead.at_words("AS ENUM") {
            return Ok(None);
        }
        ahead.require("AS")?;
        ahead.require("ENUM")?;
        ahead.require_token(&Token::LParen)?;
        let labels = if ahead.at_token(&Token::RParen) { Vec::new() } else { ahead.list(label)? };
        ahead.require_token(&Token::RParen)?;
        *cursor = ahead;
        Ok(Some(EnumStatement { name, action: EnumAction::Create { if_not_exists, labels } }))
    }

    /// After `ALTER TYPE`.
    pub fn parse_alter(cursor: &mut Cursor<'_>) -> Result<EnumStatement> {
        let name = cursor.name()?;
        let action = if cursor.eat("ADD VALUE") {
            let if_not_exists = cursor.eat("IF NOT EXISTS");
            let added = label(cursor)?;
            let place = match cursor.eat_one_of(&["BEFORE", "AFTER"]) {
                Some(word) => Some(LabelPlace { before: word == "BEFORE", label: label(cursor)? }),
                None => None,
            };
            EnumAction::AddValue { if_not_exists, label: added, place }
        } else if cursor.eat("RENAME VALUE") {
            let from = label(cursor)?;
            cursor.require("TO")?;
            EnumAction::RenameValue { from, to: label(cursor)? }
        } else if cursor.eat("RENAME TO") {
            EnumAction::Rename(cursor.identifier()?)
        } else if cursor.eat("SET SCHEMA") {
            EnumAction::SetSchema(cursor.identifier()?)
        } else if cursor.eat("OWNER TO") {
            match cursor.eat_one_of(&["CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"]) {
                Some(word) => EnumAction::OwnerTo(word.to_lowercase()),
                None => EnumAction::OwnerTo(cursor.identifier()?),
            }
        } else {
            return Err(cursor.expected("ADD VALUE, RENAME, SET SCHEMA or OWNER TO"));
        };
        Ok(EnumStatement { name, action })
    }
}

/// A label: a literal.
fn label(cursor: &mut Cursor<'_>) -> Result<String> {
    let label = match cursor.peek() {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
        _ => return Err(cursor.expected("a label in single quotes")),
    };
    cursor.skip();
    Ok(label)
}

impl Render for EnumStatement {
    fn render(&self, out: &mut String, _: Secrets) {
        let name = quote_name(&self.name);
        let unless_there = |given: &bool| if *given { "IF NOT EXISTS " } else { "" };
        match &self.action {
            EnumAction::Create { if_not_exists, labels } => {
                out.push_str(&format!("CREATE TYPE {}{name} AS ENUM (", unless_there(if_not_exists)));
                push_list(out, labels, |out, label| out.push_str(&quote_literal(label)));
                out.push(')');
            }
            EnumAction::AddValue { if_not_exists, label, place } => {
                let (condition, label) = (unless_there(if_not_exists), quote_literal(label));
                out.push_str(&format!("ALTER TYPE {name} ADD VALUE {condition}{label}"));
                if let Some(place) = place {
                    let word = if place.before { "BEFORE" } else { "AFTER" };
                    out.push_str(&format!(" {word} {}", quote_literal(&place.label)));
                }
            }
            EnumAction::RenameValue { from, to } => {
                let (from, to) = (quote_literal(from), quote_literal(to));
                out.push_str(&format!("ALTER TYPE {name} RENAME VALUE {from} TO {to}"));
            }
            EnumAction::Rename(to) => out.push_str(&format!("ALTER TYPE {name} RENAME TO {}", quote_ident(to))),
            EnumAction::SetSchema(schema) => {
                out.push_str(&format!("ALTER TYPE {name} SET SCHEMA {}", quote_ident(schema)));
            }
            EnumAction::OwnerTo(owner) => out.push_str(&format!("ALTER TYPE {name} OWNER TO {}", quote_ident(owner))),
        }
    }
}
