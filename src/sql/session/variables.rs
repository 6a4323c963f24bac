//! `SET`, `RESET`, `USE`: what a session remembers.

use sqlparser::ast::{
    ContextModifier, DiscardObject, Expr, Set, Statement as Ast, TransactionAccessMode, TransactionMode, Value,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::settings::{SessionSettings, reported as reported_settings};
use super::super::{query, text};
use super::transaction::State;
use super::{Response, Session, Status};
use crate::parser::Statement;

impl Session {
    /// `SET`, `RESET`, `USE`
    pub(super) async fn change_session(&mut self, statement: &Statement) -> Result<Option<Response>> {
        let tag = match statement {
            Statement::Use(database) => {
                self.use_database(database).await?;
                "SET"
            }
            Statement::Reset(reset) => {
                match &reset.name {
                    Some(name) => self.set(name, None)?,
                    None => self.reset_all()?,
                }
                "RESET"
            }
            Statement::Sql(ordinary) => match &ordinary.ast {
                Ast::Set(set) => {
                    self.apply_set(set).await?;
                    "SET"
                }
                Ast::Reset(reset) => {
                    if let sqlparser::ast::Reset::ConfigurationParameter(name) = &reset.reset {
                        self.set(&name.to_string(), None)?;
                    }
                    "RESET"
                }
                Ast::Discard { object_type } => {
                    if let DiscardObject::ALL = object_type {
                        if self.status() != Status::Idle {
                            let message = "DISCARD ALL cannot run inside a transaction block";
                            return Err(Error::new(code::ACTIVE_TRANSACTION, message));
                        }
                        self.reset_all()?;
                        self.statements.clear();
                        self.facts.locks.unlock_all();
                    }
                    return Ok(Some(Response::Done(format!("DISCARD {object_type}"))));
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Response::Done(tag.into())))
    }

    fn reset_all(&mut self) -> Result<()> {
        self.settings.reset_all();
        self.set("search_path", None)?;
        for (name, _) in reported_settings() {
            self.changed_settings.insert(name, self.settings.get(name)?);
        }
        Ok(())
    }

    pub(super) async fn use_database(&mut self, name: &str) -> Result<()> {
        match &self.state {
            State::Open(open) => self.context(open).database(name).await?,
            _ => self.context(&self.begin().await?).database(name).await?,
        };
        self.facts.database = name.into();
        Ok(())
    }

    pub(super) async fn apply_set(&mut self, set: &Set) -> Result<()> {
        match set {
            Set::SingleAssignment { scope: Some(ContextModifier::Local), .. } => Err(Error::unsupported("SET LOCAL")),
            Set::SingleAssignment { variable, values, .. } => {
                let name = variable.to_string().to_lowercase();
                let values = values.iter().map(plain_value).collect::<Result<Vec<_>>>()?;
                let value = values.join(", ");
                if name == "database" {
                    return self.use_database(&value).await;
                }
                if value.eq_ignore_ascii_case("default") {
                    self.set(&name, None)
                } else {
                    self.set(&name, Some(&value))
                }
            }
            Set::SetTimeZone { value, .. } => self.set("timezone", Some(&plain_value(value)?)),
            Set::SetNames { charset_name, .. } => self.set("client_encoding", Some(&charset_name.value)),
            Set::SetNamesDefault {} => self.set("client_encoding", None),
            // Every transaction is serializable already.
            Set::SetTransaction { modes, snapshot: None, .. } => {
                let read_only = modes
                    .iter()
                    .any(|mode| matches!(mode, TransactionMode::AccessMode(TransactionAccessMode::ReadOnly)));
                if read_only {
                    Err(Error::unsupported("SET TRANSACTION READ ONLY").hint("Write BEGIN READ ONLY."))
                } else {
                    Ok(())
                }
            }
            other => Err(Error::unsupported(other)),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        self.settings.set(name, value)?;
        if name.eq_ignore_ascii_case("search_path") {
            let path = self.settings.get("search_path")?;
            let schemas = path.split(',').map(|schema| schema.trim().trim_matches('"').to_string());
            self.facts.search_path = schemas.filter(|schema| !schema.is_empty() && schema != "$user").collect();
        }
        if let Some(wire) = SessionSettings::reported_name(name) {
            self.changed_settings.insert(wire, self.settings.get(name)?);
        }
        Ok(())
    }
}

/// The value of `SET`: a word, a string or a number.
pub(super) fn plain_value(value: &Expr) -> Result<String> {
    match value {
        Expr::Identifier(ident) => Ok(ident.value.clone()),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::Number(text, _) => {
                Ok(text.clone())
            }
            Value::Boolean(value) => Ok(if *value { "on" } else { "off" }.into()),
            other => Err(Error::new(code::INVALID_PARAMETER, format!("{other} is not a value of a setting"))),
        },
        Expr::UnaryOp { expr, .. } => plain_value(expr).map(|value| format!("-{value}")),
        other => Err(Error::new(code::INVALID_PARAMETER, format!("{other} is not a value of a setting"))),
    }
}

pub(super) fn setting_value(context: &Context, value: &Expr) -> Result<String> {
    if let Ok(plain) = plain_value(value) {
        return Ok(plain);
    }
    let (column_type, datum) = query::expression::constant(context, value.clone())?;
    let mut out = String::new();
    text::format(&mut out, &datum, &column_type);
    Ok(out)
}
