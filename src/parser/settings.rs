use sqlparser::ast::Expr;
use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::Result;
use super::render::{Render, Secrets, display_redacted};
use super::statement::Statement;

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
        match &self.value {
            Some(value) => out.push_str(&format!("SET CLUSTER SETTING {} = {value}", self.name)),
            None => out.push_str(&format!("RESET CLUSTER SETTING {}", self.name)),
        }
    }
}

impl Render for Reset {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(&format!("RESET {}", self.name.as_deref().unwrap_or("ALL")));
    }
}

/// A setting's dotted name.
pub fn parse_setting_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut name = cursor.identifier()?;
    while cursor.eat_token(&Token::Period) {
        name = format!("{name}.{}", cursor.identifier()?);
    }
    Ok(name)
}

/// After `SET CLUSTER SETTING`.
pub fn parse_set_cluster(cursor: &mut Cursor<'_>) -> Result<SetClusterSetting> {
    let name = parse_setting_name(cursor)?;
    if !cursor.eat_token(&Token::Eq) {
        cursor.expect("TO")?;
    }
    let value = if cursor.eat("DEFAULT") { None } else { Some(cursor.expression()?) };
    Ok(SetClusterSetting { name, value })
}

/// After `RESET`.
pub fn parse_reset(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.eat("CLUSTER SETTING") {
        let name = parse_setting_name(cursor)?;
        return Ok(Statement::SetClusterSetting(SetClusterSetting { name, value: None }));
    }
    let name = if cursor.eat("ALL") {
        None
    } else if cursor.eat("TIME ZONE") {
        Some("timezone".into())
    } else {
        Some(parse_setting_name(cursor)?)
    };
    Ok(Statement::Reset(Reset { name }))
}
