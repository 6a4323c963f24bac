//! Statements that change rows. They run inside the session's transaction and do not go through DataFusion's own DML:
//! a query finds the rows and computes the new values, [`writer`] checks constraints and writes rows and index entries.

pub mod bulk;
mod conflict;
mod constraints;
pub mod copy;
mod delete;
mod foreign;
mod insert;
mod locking;
mod returning;
mod row_locks;
mod update;
pub mod with;
pub mod writer;

use sqlparser::ast::{Delete, Expr, FromTable, ObjectName, Query, SelectItem, SetExpr, TableFactor, TableWithJoins};

pub use conflict::probe as conflict_probe;
pub use constraints::set_constraints;
pub use delete::delete;
pub use foreign::{ForeignKeys, check_deferred, has_waiting_keys, starts_with};
pub use insert::{alias_of, insert, insertion_columns, load, table_named};
pub use returning::{Beside, names_beside, returning, select_beside};
pub use row_locks::{forget_row_locks, locks_rows, take_row_locks};
pub use update::{assigned_columns, more_sources, update};

use super::error::{Error, Result};
use super::names::name_parts;
use super::query::{Batches, OutputColumn};
use crate::catalog::Datum;

/// One value per column of the table.
pub type Row = Vec<Datum<'static>>;

/// What a statement that changes rows answers.
pub struct Changed {
    /// How many rows it changed.
    pub rows: u64,
    /// The rows it returns, if it has `RETURNING`.
    pub returning: Option<(Vec<OutputColumn>, Batches)>,
}

/// Whether an expression is the word `DEFAULT`.
fn is_default(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The name of the table that a statement changes.
pub fn name_of(target: &TableWithJoins) -> Result<Vec<String>> {
    match &target.relation {
        TableFactor::Table { name, args: None, .. } => name_parts(name),
        _ => Err(Error::unsupported("changing anything but a table")),
    }
}

/// A query that computes some expressions.
pub fn selecting(expressions: Vec<Expr>) -> Result<Query> {
    let mut query = super::parse_query("SELECT 1")?;
    if let SetExpr::Select(select) = &mut *query.body {
        select.projection = expressions.into_iter().map(SelectItem::UnnamedExpr).collect();
    }
    Ok(query)
}

/// The table that a `DELETE` names.
pub fn delete_target(delete: &Delete) -> Option<&TableWithJoins> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    tables.first()
}

/// The query that finds the rows a statement changes, for what its planning tells of parameters.
pub fn probe(
    target: &TableWithJoins,
    more: impl IntoIterator<Item = TableWithJoins>,
    selection: Option<Expr>,
    computed: impl IntoIterator<Item = Expr>,
) -> Result<Query> {
    let TableFactor::Table { name, alias, .. } = &target.relation else {
        return Err(Error::unsupported("changing anything but a table"));
    };
    let alias = update::called(name, alias.as_ref());
    let from = std::iter::once(target.clone()).chain(more).collect();
    update::matching_rows(&alias, from, selection, computed)
}

/// The same over a table that it calls something.
pub fn selecting_from(expressions: impl Iterator<Item = Expr>, name: &ObjectName, called: &str) -> Result<Query> {
    let alias = sqlparser::ast::Ident::with_quote('"', called);
    let mut query = super::parse_query(&format!("SELECT 1 FROM {name} AS {alias}"))?;
    if let SetExpr::Select(select) = &mut *query.body {
        select.projection.extend(expressions.map(SelectItem::UnnamedExpr));
    }
    Ok(query)
}

/// What the columns of a `RETURNING` compute.
pub fn returned_values(items: Option<&[SelectItem]>) -> impl Iterator<Item = Expr> {
    items.into_iter().flatten().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    })
}

/// What a statement calls the table that it changes.
pub fn called(target: &TableWithJoins) -> Result<String> {
    match &target.relation {
        TableFactor::Table { name, alias, .. } => update::short_name(&update::called(name, alias.as_ref())),
        _ => Err(Error::unsupported("changing anything but a table")),
    }
}
