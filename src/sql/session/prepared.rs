//! Prepared statements: those of the protocol, and `PREPARE`, `EXECUTE` and `DEALLOCATE`, under the same names.

use std::sync::Arc;

use postgres_types::Type as PgType;
use sqlparser::ast::{Expr, Statement as Ast};

use super::super::activity;
use super::super::context::Context;
use super::super::describe::{Description, placeholders};
use super::super::error::{Error, Result, code};
use super::super::names::folded;
use super::super::query::{PlanCache, expression};
use super::super::types::from_pg;
use super::transaction::State;
use super::{Parameter, Response, Session};
use crate::catalog::{ColumnType, Descriptor};
use crate::parser::{Ordinary, Parsed, Statement};
use crate::time::Timestamp;

/// A statement that was read and described, and will be run.
pub struct Prepared {
    /// What it says; `None` is an empty query.
    pub parsed: Option<Parsed>,
    /// How others may see it.
    pub shown: Arc<str>,
    /// What it takes and gives.
    pub description: Description,
    /// The object identifiers of the types that the client declared for its parameters; 0 for none.
    pub declared: Vec<u32>,
    /// Whether it is one of `PREPARE`, not of the protocol.
    pub from_sql: bool,
    /// When it was prepared.
    pub since: Timestamp,
    /// Its plans.
    pub plans: Arc<PlanCache>,
}

impl Prepared {
    /// Whether it is a `COPY` that takes rows from the client.
    pub fn takes_rows(&self) -> bool {
        let Some(Parsed { statement: Statement::Sql(ordinary), .. }) = &self.parsed else { return false };
        matches!(ordinary.ast, Ast::Copy { to: false, .. })
    }
}

impl Session {
    /// The statement with a name.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        let missing =
            || Error::new(code::UNDEFINED_PREPARED_STATEMENT, format!("prepared statement \"{name}\" does not exist"));
        self.facts.statements.get(name).cloned().ok_or_else(missing)
    }

    /// Whether there is none with a name yet, or the name is empty: that one may be replaced.
    pub fn check_free(&self, name: &str) -> Result<()> {
        if !name.is_empty() && self.facts.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(code::DUPLICATE_PREPARED_STATEMENT, message));
        }
        Ok(())
    }

    /// A statement to be kept, as of now; `source` is what it was read from.
    pub fn to_keep(
        &self,
        parsed: Option<Parsed>,
        source: &str,
        description: Description,
        declared: Vec<u32>,
        from_sql: bool,
    ) -> Prepared {
        let since = self.wall_time();
        let shown = parsed.as_ref().map(|parsed| activity::shown(&parsed.shown(source))).unwrap_or_default();
        Prepared { parsed, shown, description, declared, from_sql, since, plans: Arc::default() }
    }

    /// Runs a prepared statement, on a plan that it has if that will do.
    pub async fn execute_prepared(&mut self, prepared: &Prepared, parameters: &[Parameter]) -> Result<Response> {
        let Some(parsed) = &prepared.parsed else { return Ok(Response::Done(String::new())) };
        self.run_one(parsed, parameters, Some(prepared.plans.clone())).await
    }

    /// Keeps a statement under a name.
    pub fn keep(&mut self, name: String, prepared: Prepared) {
        Arc::make_mut(&mut self.facts.statements).insert(name, Arc::new(prepared));
    }

    /// Forgets the statement with a name: whether there was one.
    pub fn forget(&mut self, name: &str) -> bool {
        Arc::make_mut(&mut self.facts.statements).remove(name).is_some()
    }

    /// The surroundings of what is looked up or computed beside a statement: those of the open transaction, or of a new one.
    async fn surroundings(&self) -> Result<Context> {
        Ok(match &self.state {
            State::Open(open) => self.context(open),
            _ => self.context(&self.begin().await?),
        })
    }

    /// The types that a client declares by their object identifiers; none where it leaves that open.
    pub async fn declared_types(&self, oids: &[u32]) -> Result<Vec<Option<ColumnType>>> {
        if oids.iter().all(|oid| *oid == 0 || PgType::from_oid(*oid).is_some()) {
            let known = |oid: &u32| PgType::from_oid(*oid).and_then(|known| from_pg(&known));
            return Ok(oids.iter().map(known).collect());
        }
        let context = self.surroundings().await?;
        let mut types = Vec::with_capacity(oids.len());
        for oid in oids {
            types.push(context.type_with_oid(*oid).await?);
        }
        Ok(types)
    }

    /// The types of a prepared statement's parameters as they are now: a type that somebody made may have other labels since.
    pub async fn parameter_types(&self, prepared: &Prepared) -> Result<Vec<ColumnType>> {
        let mut types = prepared.description.parameters.clone();
        if types.iter().all(|column_type| column_type.made_type().is_none()) {
            return Ok(types);
        }
        let context = self.surroundings().await?;
        for copy in types.iter_mut().filter_map(ColumnType::enumeration_mut) {
            if let Some(Descriptor::Type(made)) = context.catalog().find(copy.id).await?.as_deref()
                && let ColumnType::Enum(now) = context.made_type(made).await?
            {
                copy.clone_from(&now);
            }
        }
        Ok(types)
    }

    /// What `EXECUTE` gives.
    pub(super) fn describe_execute(&self, statement: &Statement) -> Option<Result<Description>> {
        let Statement::Sql(ordinary) = statement else { return None };
        let Ast::Execute { name: Some(name), .. } = &ordinary.ast else { return None };
        let columns = |prepared: Arc<Prepared>| prepared.description.columns.clone();
        let found = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        Some(self.prepared(&found).map(|prepared| Description { parameters: Vec::new(), columns: columns(prepared) }))
    }

    /// `PREPARE`, `EXECUTE` and `DEALLOCATE`.
    pub(super) async fn run_prepared(&mut self, statement: &Statement) -> Result<Option<Response>> {
        let Statement::Sql(ordinary) = statement else { return Ok(None) };
        match &ordinary.ast {
            Ast::Prepare { name, data_types, statement } => {
                let name = folded(name);
                self.check_free(&name)?;
                if !matches!(**statement, Ast::Query(_) | Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_)) {
                    return Err(Error::new(code::SYNTAX_ERROR, "PREPARE takes a query, INSERT, UPDATE or DELETE"));
                }
                let inner = Ordinary { ast: (**statement).clone(), ..(**ordinary).clone() };
                let parameters = placeholders(&inner.ast);
                let statement = Statement::Sql(Box::new(inner));
                let parsed = Some(Parsed { statement, span: 0..0, parameters });
                let context = self.surroundings().await?;
                // Lengths are those of columns: a parameter has none.
                let declared =
                    data_types.iter().map(|data_type| Ok(Some(context.column_type(data_type)?.without_length())));
                let declared = declared.collect::<Result<Vec<_>>>()?;
                let description = match &parsed {
                    Some(parsed) => self.describe(parsed, &declared).await?,
                    None => Description::default(),
                };
                self.keep(name, self.to_keep(parsed, "", description, Vec::new(), true));
                Ok(Some(Response::Done("PREPARE".into())))
            }
            Ast::Execute { name: Some(name), parameters, immediate: false, into, using, .. }
                if into.is_empty() && using.is_empty() =>
            {
                let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
                let prepared = self.prepared(&name)?;
                let values = self.values_for(&name, &prepared, parameters).await?;
                match &prepared.parsed {
                    // One that names the other would have no end.
                    Some(Parsed { statement: Statement::Sql(inner), .. })
                        if matches!(inner.ast, Ast::Execute { .. } | Ast::Prepare { .. } | Ast::Deallocate { .. }) =>
                    {
                        Err(Error::unsupported("EXECUTE of a prepared statement about prepared statements"))
                    }
                    Some(_) => Box::pin(self.execute_prepared(&prepared, &values)).await.map(Some),
                    None => Ok(Some(Response::Done(String::new()))),
                }
            }
            Ast::Deallocate { name, .. } => {
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") {
                    self.facts.statements = Arc::default();
                    return Ok(Some(Response::Done("DEALLOCATE ALL".into())));
                }
                let name = folded(name);
                self.prepared(&name)?;
                self.forget(&name);
                Ok(Some(Response::Done("DEALLOCATE".into())))
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn values_for(&self, name: &str, prepared: &Prepared, given: &[Expr]) -> Result<Vec<Parameter>> {
        let types = &self.parameter_types(prepared).await?;
        if given.len() != types.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = format!("Expected {} parameters but got {}.", types.len(), given.len());
            return Err(Error::new(code::SYNTAX_ERROR, message).detail(detail));
        }
        if given.is_empty() {
            return Ok(Vec::new());
        }
        let context = self.surroundings().await?;
        let value = |(expression, column_type): (&Expr, &crate::catalog::ColumnType)| {
            Ok((column_type.clone(), expression::value_for(&context, expression, column_type)?))
        };
        given.iter().zip(types).map(value).collect()
    }
}
