//! Zone configurations: how long a space keeps its history.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_name};
use super::settings::{parse_setting_name, quote_setting};

/// `ALTER ... CONFIGURE ZONE`
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigureZone {
    /// Whose configuration.
    pub target: ZoneTarget,
    /// What to change, in order; `None` is `DISCARD`: take the parent's configuration again.
    pub changes: Option<Vec<(String, ZoneValue)>>,
}

/// What a zone configuration is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneTarget {
    /// A database and, where they say nothing else, its tables.
    Database(String),
    /// A table.
    Table(Vec<String>),
    /// A range of the system; `default` is what databases that say nothing else take.
    Range(String),
}

/// A value in a zone configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum ZoneValue {
    /// This one.
    Value(Box<Expr>),
    /// `COPY FROM PARENT`
    FromParent,
}

/// `SHOW ZONE CONFIGURATION FROM target`, `SHOW ALL ZONE CONFIGURATIONS`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowZone {
    /// Whose; `None` is every one.
    pub target: Option<ZoneTarget>,
}

display_redacted!(ConfigureZone, ShowZone);

impl ConfigureZone {
    /// After `ALTER`, if it is `target CONFIGURE ZONE`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<ConfigureZone>> {
        let mut ahead = cursor.clone();
        let target = match ZoneTarget::parse(&mut ahead) {
            Ok(Some(target)) if ahead.eat("CONFIGURE ZONE") => target,
            _ => return Ok(None),
        };
        *cursor = ahead;
        if cursor.eat("DISCARD") {
            return Ok(Some(ConfigureZone { target, changes: None }));
        }
        cursor.require("USING").map_err(|_| cursor.expected("USING or DISCARD"))?;
        let changes = cursor.list(|cursor| {
            let name = parse_setting_name(cursor)?;
            cursor.require_token(&Token::Eq)?;
            let from_parent = cursor.eat("COPY FROM PARENT");
            let value = if from_parent {
                ZoneValue::FromParent
            } else {
                ZoneValue::Value(Box::new(cursor.expression_until(&[])?))
            };
            Ok((name, value))
        })?;
        Ok(Some(ConfigureZone { target, changes: Some(changes) }))
    }
}

impl ZoneTarget {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Option<ZoneTarget>> {
        if cursor.eat("DATABASE") {
            cursor.identifier().map(ZoneTarget::Database).map(Some)
        } else if cursor.eat("TABLE") {
            cursor.name().map(ZoneTarget::Table).map(Some)
        } else if cursor.eat("RANGE") {
            let range = if cursor.eat(DEFAULT) { DEFAULT.into() } else { cursor.identifier()? };
            Ok(Some(ZoneTarget::Range(range)))
        } else {
            Ok(None)
        }
    }
}

/// The range whose name is a reserved word.
const DEFAULT: &str = "default";

impl ShowZone {
    /// After `SHOW`, if these are next.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<ShowZone>> {
        if cursor.eat("ALL ZONE CONFIGURATIONS") || cursor.eat("ZONE CONFIGURATIONS") {
            return Ok(Some(ShowZone { target: None }));
        }
        if !cursor.eat("ZONE CONFIGURATION") {
            return Ok(None);
        }
        if !cursor.eat("FOR") {
            cursor.require("FROM")?;
        }
        let target = ZoneTarget::parse(cursor)?.ok_or_else(|| cursor.expected("DATABASE, TABLE or RANGE"))?;
        Ok(Some(ShowZone { target: Some(target) }))
    }
}

impl Render for ZoneTarget {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(&match self {
            ZoneTarget::Database(name) => format!("DATABASE {}", quote_ident(name)),
            ZoneTarget::Table(name) => format!("TABLE {}", quote_name(name)),
            ZoneTarget::Range(name) if name == DEFAULT => format!("RANGE {DEFAULT}"),
            ZoneTarget::Range(name) => format!("RANGE {}", quote_ident(name)),
        });
    }
}

impl Render for ConfigureZone {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("ALTER ");
        self.target.render(out, secrets);
        out.push_str(" CONFIGURE ZONE ");
        let Some(changes) = &self.changes else {
            out.push_str("DISCARD");
            return;
        };
        out.push_str("USING ");
        push_list(out, changes, |out, (name, value)| {
            let value = match value {
                ZoneValue::Value(value) => value.to_string(),
                ZoneValue::FromParent => "COPY FROM PARENT".into(),
            };
            out.push_str(&format!("{} = {value}", quote_setting(name)));
        });
    }
}

impl Render for ShowZone {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match &self.target {
            None => out.push_str("SHOW ALL ZONE CONFIGURATIONS"),
            Some(target) => {
                out.push_str("SHOW ZONE CONFIGURATION FROM ");
                target.render(out, secrets);
            }
        }
    }
}
