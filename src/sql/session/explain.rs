//! `EXPLAIN` of queries: what DataFusion would do, or did.

use sqlparser::ast::{AnalyzeFormatKind, Expr, Query, Statement as Ast, UtilityOption, Value};

use super::super::context::Context;
use super::super::dml;
use super::super::error::{Error, Result, code};
use super::super::names::folded;
use super::super::query::{self, ExtraTables, Visibility};
use super::super::show::Shown;
use super::{Response, Session};
use crate::catalog::ColumnType;
use crate::parser::{Parsed, Statement};

/// How a query is explained.
pub(super) struct How {
    /// It is run, too.
    analyze: bool,
    verbose: bool,
}

impl How {
    /// What the options say, after <https://www.postgresql.org/docs/15/sql-explain.html>. Refused is what would show nothing.
    pub(super) fn new(
        analyze: bool,
        verbose: bool,
        options: Option<&[UtilityOption]>,
        format: Option<&AnalyzeFormatKind>,
    ) -> Result<How> {
        if format.is_some() {
            return Err(Error::unsupported("this format of EXPLAIN"));
        }
        let mut how = How { analyze, verbose };
        for UtilityOption { name, arg } in options.unwrap_or_default() {
            let name = name.value.to_lowercase();
            match name.as_str() {
                "analyze" => how.analyze = is_on(&name, arg.as_ref())?,
                "verbose" => how.verbose = is_on(&name, arg.as_ref())?,
                // There are no costs, and what was run always says how long it took.
                "costs" | "timing" | "summary" => drop(is_on(&name, arg.as_ref())?),
                "buffers" | "settings" | "wal" | "generic_plan" => {
                    if is_on(&name, arg.as_ref())? {
                        return Err(Error::unsupported(format!("EXPLAIN with {}", name.to_uppercase())));
                    }
                }
                "format" => match word(arg.as_ref()).as_deref() {
                    Some("text") => {}
                    _ => return Err(Error::unsupported("EXPLAIN in another FORMAT than TEXT")),
                },
                _ => {
                    let message = format!("unrecognized EXPLAIN option \"{name}\"");
                    return Err(Error::new(code::SYNTAX_ERROR, message));
                }
            }
        }
        Ok(how)
    }
}

/// What an option is set to, in small letters.
fn word(value: Option<&Expr>) -> Option<String> {
    match value? {
        Expr::Identifier(name) => Some(name.value.to_lowercase()),
        Expr::Value(value) => match &value.value {
            Value::Boolean(on) => Some(on.to_string()),
            Value::Number(digits, _) => Some(digits.clone()),
            Value::SingleQuotedString(text) => Some(text.to_lowercase()),
            _ => None,
        },
        _ => None,
    }
}

fn is_on(name: &str, value: Option<&Expr>) -> Result<bool> {
    match value.map(|value| word(Some(value)).unwrap_or_default()).as_deref() {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        _ => Err(Error::new(code::SYNTAX_ERROR, format!("{name} requires a Boolean value"))),
    }
}

impl Session {
    pub(super) async fn explain(
        &self,
        context: &Context,
        statement: &Ast,
        how: How,
        extra: &ExtraTables,
    ) -> Result<Response> {
        let Some(query) = self.explained(statement).await? else {
            return Err(Error::unsupported("EXPLAIN of anything but a query"));
        };
        let planned = query::plan(context, &query, extra, Visibility::AsNamed).await?;
        let plan = match how.analyze {
            true => planned.explain_run(how.verbose).await?,
            false => planned.explain(how.verbose).await?,
        };
        let mut shown = Shown::new(&[("info", ColumnType::Text)]);
        shown.rows = plan.lines().map(|line| vec![line.to_string().into()]).collect();
        let (columns, batches) = shown.into_batches()?;
        Ok(Response::Rows { columns, batches, tag: "EXPLAIN".into() })
    }

    /// The query that `EXPLAIN` is about: itself, or the one that `EXECUTE` runs, with its values.
    async fn explained(&self, statement: &Ast) -> Result<Option<Query>> {
        let mut query = match statement {
            Ast::Query(query) => (**query).clone(),
            Ast::Execute { name: Some(name), parameters, .. } => {
                let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
                let prepared = self.prepared(&name)?;
                let Some(Parsed { statement: Statement::Sql(inner), .. }) = &prepared.parsed else { return Ok(None) };
                let Ast::Query(query) = &inner.ast else { return Ok(None) };
                let mut query = (**query).clone();
                query::bind(&mut query, &self.values_for(&name, &prepared, parameters).await?)?;
                query
            }
            _ => return Ok(None),
        };
        dml::forget_row_locks(&mut query);
        Ok(Some(query))
    }
}
