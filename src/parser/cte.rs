//! `WITH` before `INSERT`, `UPDATE` and `DELETE`, which `sqlparser` reads as a query around the statement.
//!
//! An `INSERT` gets it into the query it inserts; in the others, a name becomes the query it stands for.

use std::ops::ControlFlow;

use sqlparser::ast::{Cte, Ident, Query, SetExpr, Statement, TableAlias, TableFactor, VisitMut, VisitorMut, With};

/// The statement inside, if that is all there is to a query; it stays as it is if a common table expression cannot be moved.
pub fn unwrapped(statement: Statement) -> Statement {
    let Statement::Query(query) = statement else { return statement };
    match inner(&query) {
        Some(inside) => inside,
        None => Statement::Query(query),
    }
}

fn inner(query: &Query) -> Option<Statement> {
    let with = query.with.as_ref()?;
    let changes = |body: &SetExpr| matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_));
    if with.cte_tables.iter().any(|cte| changes(&cte.query.body)) {
        // These run by themselves.
        return None;
    }
    match &*query.body {
        SetExpr::Insert(statement) if has_source(statement) => Some(with_before(statement.clone(), with)),
        SetExpr::Update(statement) | SetExpr::Delete(statement) if !with.recursive => {
            Some(with_before(statement.clone(), with))
        }
        _ => None,
    }
}

fn has_source(statement: &Statement) -> bool {
    matches!(statement, Statement::Insert(insert) if insert.source.is_some())
}

/// An `INSERT`, `UPDATE` or `DELETE` with what stands in `WITH` before it.
pub fn with_before(mut statement: Statement, with: &With) -> Statement {
    if with.cte_tables.is_empty() {
        return statement;
    }
    match &mut statement {
        Statement::Insert(insert) => {
            if let Some(source) = &mut insert.source {
                match &mut source.with {
                    None => source.with = Some(with.clone()),
                    Some(own) => own.cte_tables = [&with.cte_tables[..], &own.cte_tables].concat(),
                }
            }
        }
        other => inline(other, with),
    }
    statement
}

/// Puts queries in the place of their names; later ones may name earlier ones.
fn inline(statement: &mut Statement, with: &With) {
    let mut known: Vec<Cte> = Vec::new();
    for cte in &with.cte_tables {
        let mut cte = cte.clone();
        let _ = cte.query.visit(&mut Inline(&known));
        known.push(cte);
    }
    let _ = statement.visit(&mut Inline(&known));
}

struct Inline<'a>(&'a [Cte]);

impl VisitorMut for Inline<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let [part] = &name.0[..]
            && let Some(called) = part.as_ident()
            && let Some(cte) = self.0.iter().rev().find(|cte| folded(&cte.alias.name) == folded(called))
        {
            let plain = || TableAlias { explicit: true, name: called.clone(), columns: Vec::new(), at: None };
            let mut alias = alias.take().unwrap_or_else(plain);
            if alias.columns.is_empty() {
                alias.columns.clone_from(&cte.alias.columns);
            }
            let subquery = cte.query.clone();
            *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
        }
        ControlFlow::Continue(())
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}
