use sqlparser::ast::{Expr, Value};
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted, quote_ident};

/// `SET CLUSTER SETTING name = value`; without a value, `RESET CLUSTER SETTING name`
#[derive(Clone, Debug, PartialEq)]
pub struct SetClusterSetting {
    /// The setting.
    pub name: String,
    /// The new value; `None` is the default.
    pub value: Option<Expr>,
}

/// `RESET name` or `RESET ALL`
#[derive(Clone, Debug, PartialEq)]
pub struct Reset {
    /// The session setting; `None` is every one.
    pub name: Option<String>,
}

display_redacted!(SetClusterSetting, Reset);

impl Render for SetClusterSetting {
    fn render(&self, out: &mut String, _: Secrets) {
        let name = quote_setting(&self.name);
        match &self.value {
            Some(value) => out.push_str(&format!("SET CLUSTER SETTING {name} = {value}")),
            None => out.push_str(&format!("RESET CLUSTER SETTING {name}")),
        }
    }
}

impl Render for Reset {
    fn render(&self, out: &mut String, _: Secrets) {
        let name = self.name.as_deref().map_or("ALL".into(), quote_setting);
        out.push_str(&format!("RESET {name}"));
    }
}

/// A setting's dotted name, quoted where it needs to be.
pub fn quote_setting(name: &str) -> String {
    name.split('.').map(quote_ident).collect::<Vec<_>>().join(".")
}

/// A setting's dotted name.
pub fn parse_setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = cursor.identifier()?;
    while cursor.eat_token(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?);
    }
    Ok(name)
}

impl SetClusterSetting {
    /// After `SET CLUSTER SETTING`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<SetClusterSetting> {
        let name = parse_setting_name(cursor)?;
        if !cursor.eat_token(&Token::Eq) {
            cursor.require("TO").map_err(|_| cursor.expected("\"=\" or TO"))?;
        }
        let value = if cursor.eat("DEFAULT") {
            None
        } else if cursor.eat("ON") {
            Some(Expr::value(Value::Boolean(true)))
        } else {
            Some(cursor.expression_until(&[])?)
        };
        Ok(SetClusterSetting { name, value })
    }

    /// After `RESET CLUSTER SETTING`.
    pub fn parse_reset(cursor: &mut Cursor<'_>) -> Result<SetClusterSetting> {
        Ok(SetClusterSetting { name: parse_setting_name(cursor)?, value: None })
    }
}

impl Reset {
    /// After `RESET`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Reset> {
        let name = if cursor.eat("ALL") {
            None
        } else if cursor.eat("TIME ZONE") {
            Some("timezone".into())
        } else {
            Some(parse_setting_name(cursor)?)
        };
        Ok(Reset { name })
    }
}
