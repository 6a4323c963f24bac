//! `SET`, `RESET`, `USE`: what a session remembers.

use std::sync::Arc;

use sqlparser::ast::{
    ContextModifier, DiscardObject, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, Set,
    SetExpr, SetSessionAuthorizationParam, SetSessionAuthorizationParamKind, Statement as Ast, TransactionAccessMode,
    TransactionMode, UnaryOperator, Value,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::settings::{
    NO_ROLE, ROLE, SEARCH_PATH, SessionSettings, names_in, reported as reported_settings, written_values,
};
use super::super::show::Shown;
use super::super::time_zone::TimeZone;
use super::super::{query, temporary, text};
use super::transaction::State;
use super::{Response, Session, Status};
use crate::catalog::role::Roles;
use crate::catalog::{ColumnType, Datum};
use crate::parser::Statement;

/// What the settings of a session become at the end of its transaction.
#[derive(Clone)]
pub(super) struct SettingsAfter {
    commit: Arc<SessionSettings>,
    rollback: Arc<SessionSettings>,
}

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
                    if let DiscardObject::TEMP = object_type {
                        // In the transaction that runs: it is a statement like DROP.
                        return Ok(None);
                    }
                    if let DiscardObject::ALL = object_type {
                        if self.status() != Status::Idle {
                            let message = "DISCARD ALL cannot run inside a transaction block";
                            return Err(Error::new(code::ACTIVE_TRANSACTION, message));
                        }
                        let open = self.begin().await?;
                        temporary::discard(&self.context(&open)).await?;
                        self.commit(open).await?;
                        self.reset_all()?;
                        self.set(ROLE, None)?;
                        self.facts.statements = Arc::default();
                        self.cursors.close_all();
                        self.facts.locks.unlock_all();
                        self.facts.listener.unlisten(None);
                    }
                    return Ok(Some(Response::Done(format!("DISCARD {object_type}"))));
                }
                Ast::Query(query) => {
                    let Some((name, value, is_local)) = config_to_set(query) else { return Ok(None) };
                    self.check_role(&name, &value).await?;
                    if is_local {
                        self.set_local(&name, Some(&value))?
                    } else {
                        self.set(&name, Some(&value))?
                    }
                    let mut shown = Shown::new(&[("set_config", ColumnType::Text)]);
                    shown.rows.push(vec![value.into()]);
                    let (columns, batches) = shown.into_batches()?;
                    return Ok(Some(Response::Rows { columns, batches, tag: "SELECT".into() }));
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Response::Done(tag.into())))
    }

    fn reset_all(&mut self) -> Result<()> {
        self.note_settings();
        if let Some(after) = &mut self.settings_after {
            Arc::make_mut(&mut after.commit).reset_all();
        }
        Arc::make_mut(&mut self.facts.settings).reset_all();
        self.set("search_path", None)?;
        for (name, _) in reported_settings() {
            self.changed_settings.insert(name, self.facts.settings.get(name)?);
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
            Set::SingleAssignment { scope, variable, values, .. } => {
                let name = variable.to_string().to_lowercase();
                let is_list = name == SEARCH_PATH;
                let value = |value: &Expr| match value {
                    Expr::Identifier(name) if is_list => Ok(folded(name)),
                    other => plain_value(other),
                };
                let value = written_values(&name, &values.iter().map(value).collect::<Result<Vec<_>>>()?);
                let is_local = matches!(scope, Some(ContextModifier::Local));
                if name == "database" && is_local {
                    return Err(Error::unsupported("SET LOCAL database"));
                }
                if name == "database" {
                    return self.use_database(&value).await;
                }
                self.check_role(&name, &value).await?;
                let value = Some(value.as_str()).filter(|value| !value.eq_ignore_ascii_case("default"));
                if is_local { self.set_local(&name, value) } else { self.set(&name, value) }
            }
            Set::SetTimeZone { local, value } => {
                let value = zone_value(value)?;
                // That of the server.
                let is_default = ["local", "default"].iter().any(|word| value.eq_ignore_ascii_case(word));
                let value = (!is_default).then_some(value.as_str());
                if *local { self.set_local("timezone", value) } else { self.set("timezone", value) }
            }
            Set::SetNames { charset_name, .. } => self.set("client_encoding", Some(&charset_name.value)),
            Set::SetRole { role_name, context_modifier } => {
                let role = role_name.as_ref().map(folded);
                if let Some(role) = &role {
                    self.check_role(ROLE, role).await?;
                }
                match context_modifier {
                    Some(ContextModifier::Local) => self.set_local(ROLE, role.as_deref().or(Some(NO_ROLE))),
                    _ => self.set(ROLE, role.as_deref().or(Some(NO_ROLE))),
                }
            }
            Set::SetSessionAuthorization(SetSessionAuthorizationParam {
                kind: SetSessionAuthorizationParamKind::Default,
                ..
            }) => Ok(()),
            Set::SetNamesDefault {} => self.set("client_encoding", None),
            Set::SetTransaction { snapshot: Some(snapshot), session: false, .. } => {
                self.read_snapshot(&snapshot.value).await
            }
            // Every transaction is serializable already.
            Set::SetTransaction { modes, snapshot: None, session } => {
                let read_only = modes
                    .iter()
                    .any(|mode| matches!(mode, TransactionMode::AccessMode(TransactionAccessMode::ReadOnly)));
                match (read_only, session, &self.state) {
                    (false, ..) => Ok(()),
                    (true, true, _) => Err(Error::unsupported("SET SESSION CHARACTERISTICS ... READ ONLY")),
                    (true, false, State::Idle) => {
                        self.notices.push("SET TRANSACTION can only be used in transaction blocks".into());
                        Ok(())
                    }
                    (true, false, _) => self.read_past(None, true).await,
                }
            }
            other => Err(Error::unsupported(other)),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        self.note_settings();
        self.change(name, value)?;
        if let Some(after) = &mut self.settings_after {
            Arc::make_mut(&mut after.commit).set(name, value)?;
        }
        Ok(())
    }

    /// `SET LOCAL`: until the transaction ends.
    fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        if matches!(self.state, State::Idle) {
            // Only that it could be set.
            SessionSettings::clone(&self.facts.settings).set(name, value)?;
            self.notices.push("SET LOCAL can only be used in transaction blocks".into());
            return Ok(());
        }
        self.note_settings();
        self.change(name, value)
    }

    /// Before a setting changes in a transaction.
    fn note_settings(&mut self) {
        if self.settings_after.is_none() && !matches!(self.state, State::Idle) {
            let (commit, rollback) = (self.facts.settings.clone(), self.facts.settings.clone());
            self.settings_after = Some(SettingsAfter { commit, rollback });
        }
    }

    /// At the end of a transaction.
    pub(super) fn settle_settings(&mut self, is_committed: bool) -> Result<()> {
        match self.settings_after.take() {
            Some(after) => self.become_like(if is_committed { after.commit } else { after.rollback }),
            None => Ok(()),
        }
    }

    /// Takes back what has been set since a savepoint, which noted the settings unless none had changed then.
    pub(super) fn go_back_to_settings(&mut self, noted: Option<(Arc<SessionSettings>, SettingsAfter)>) -> Result<()> {
        match noted {
            Some((settings, after)) => {
                self.settings_after = Some(after);
                self.become_like(settings)
            }
            None => self.settle_settings(false),
        }
    }

    fn become_like(&mut self, settings: Arc<SessionSettings>) -> Result<()> {
        let before = std::mem::replace(&mut self.facts.settings, settings);
        for (name, _) in reported_settings() {
            let value = self.facts.settings.get(name)?;
            if value != before.get(name)? {
                self.changed_settings.insert(name, value);
            }
        }
        self.read_settings()
    }

    fn change(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        Arc::make_mut(&mut self.facts.settings).set(name, value)?;
        if [SEARCH_PATH, ROLE].iter().any(|read| name.eq_ignore_ascii_case(read)) {
            self.read_settings()?;
        }
        if let Some(wire) = SessionSettings::reported_name(name) {
            self.changed_settings.insert(wire, self.facts.settings.get(name)?);
        }
        Ok(())
    }

    /// Refuses to take on a role that is not there, or that the session's user is no member of.
    async fn check_role(&self, setting: &str, role: &str) -> Result<()> {
        if !setting.eq_ignore_ascii_case(ROLE) || role == NO_ROLE {
            return Ok(());
        }
        let roles = match &self.state {
            State::Open(open) => Roles::read(&*open.txn).await?,
            _ => Roles::read(&*self.begin().await?.txn).await?,
        };
        may_take_on(&roles, &self.facts.session_user, role)
    }

    /// What the session keeps beside its settings and takes from them.
    pub(super) fn read_settings(&mut self) -> Result<()> {
        let role = self.facts.settings.get(ROLE)?;
        self.facts.user = if role == NO_ROLE { self.facts.session_user.clone() } else { role };
        let path = self.facts.settings.get(SEARCH_PATH)?;
        self.facts.search_path = names_in(&path).into_iter().filter(|schema| schema != "$user").collect();
        Ok(())
    }
}

/// Refuses a role that is not there, or that a user is no member of.
pub(super) fn may_take_on(roles: &Roles, user: &str, role: &str) -> Result<()> {
    if roles.get(role).is_none() {
        return Err(Error::new(code::INVALID_PARAMETER, format!("role \"{role}\" does not exist")));
    }
    if !roles.is_superuser(user) && !roles.is_member(user, role) {
        return Err(Error::new("42501", format!("permission denied to set role \"{role}\"")));
    }
    Ok(())
}

/// What `SELECT set_config(name, value, is_local)` sets, if that is all there is to a query.
fn config_to_set(query: &Query) -> Option<(String, String, bool)> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [
        SelectItem::UnnamedExpr(Expr::Function(function))
        | SelectItem::ExprWithAlias { expr: Expr::Function(function), .. },
    ] = &select.projection[..]
    else {
        return None;
    };
    let name = name_parts(&function.name).ok()?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(setting))),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(is_local))),
    ] = &list.args[..]
    else {
        return None;
    };
    if name.last().map(String::as_str) != Some("set_config") || !select.from.is_empty() || select.selection.is_some() {
        return None;
    }
    match (&setting.value, &value.value, &is_local.value) {
        (Value::SingleQuotedString(setting), Value::SingleQuotedString(value), Value::Boolean(is_local)) => {
            Some((setting.clone(), value.clone(), *is_local))
        }
        _ => None,
    }
}

/// The value of `SET TIME ZONE`; an interval as hours.
fn zone_value(value: &Expr) -> Result<String> {
    let Expr::Interval(interval) = value else { return plain_value(value) };
    let written = plain_value(&interval.value)?;
    let parsed = text::parse_interval(&written);
    let offset = parsed.filter(|parsed| parsed.months == 0 && parsed.days == 0);
    let offset = offset.ok_or_else(|| {
        let mut shown = String::new();
        let datum = parsed.map_or(Datum::Null, Datum::Interval);
        text::format(&mut shown, &datum, &ColumnType::Interval, TimeZone::UTC);
        let message = format!("invalid value for parameter \"TimeZone\": \"INTERVAL '{shown}'\"");
        Error::new(code::INVALID_PARAMETER, message)
    })?;
    Ok((offset.micros as f64 / 3.6e9).to_string())
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
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => plain_value(expr).map(|value| format!("-{value}")),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => plain_value(expr),
        other => Err(Error::new(code::INVALID_PARAMETER, format!("{other} is not a value of a setting"))),
    }
}

pub(super) fn setting_value(context: &Context, value: &Expr) -> Result<String> {
    if let Ok(plain) = plain_value(value) {
        return Ok(plain);
    }
    let (column_type, datum) = query::expression::constant(context, value.clone())?;
    let mut out = String::new();
    text::format(&mut out, &datum, &column_type, context.zone());
    Ok(out)
}
