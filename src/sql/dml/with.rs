//! `WITH` that changes rows: `WITH moved AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM moved`.
//!
//! In PostgreSQL every part of such a statement sees the rows as they were before it, and what another part returns. Here the parts run one
//! after the other, so that constraints see what there will be, and what a part returns is a table to those after it. One that would read
//! a table that another part has changed is refused; only a `SELECT` at the end may, which then reads from before.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::datasource::MemTable;
use futures::stream::{self, StreamExt, TryStreamExt};
use sqlparser::ast::{Cte, Ident, Query, SetExpr, Statement as Ast, TableFactor, TableObject, Visit, Visitor, With};

use super::super::context::Context;
use super::super::error::{Error, Result};
use super::super::names::{folded, name_parts};
use super::super::query::{self, Batches, ExtraTables, OutputColumn, Visibility, schema_of};
use super::{Changed, delete, delete_target, insert, name_of, update};
use crate::catalog::{Descriptor, DescriptorId};
use crate::parser::{Overriding, with_before};

/// A statement with parts that change rows.
pub struct Parts {
    /// Those in `WITH`, in order.
    pub changes: Vec<Part>,
    /// What stands behind `WITH`: a query or a statement that changes rows itself.
    pub last: Ast,
}

/// One part in `WITH`.
pub struct Part {
    /// What others call its rows.
    pub name: String,
    /// How they call the columns, if they say so.
    columns: Vec<Ident>,
    /// What it does.
    pub statement: Ast,
}

/// What such a statement answers.
pub enum Answer {
    /// The rows of a query.
    Rows(Vec<OutputColumn>, Batches),
    /// What a statement at the end has changed, and how its tag begins.
    Changed(&'static str, Changed),
}

/// Whether a query neither changes rows nor locks them.
pub fn only_reads<T: Visit>(tree: &T) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            match query.locks.is_empty() && change_in(&query.body).is_none() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        }
    }
    tree.visit(&mut Find).is_continue()
}

fn change_in(body: &SetExpr) -> Option<&Ast> {
    match body {
        SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => Some(statement),
        _ => None,
    }
}

/// The parts of a query of which some change rows; `None` if there are none.
pub fn parts(query: &Query) -> Result<Option<Parts>> {
    let Some(with) = &query.with else { return Ok(None) };
    let is_change = |cte: &Cte| change_in(&cte.query.body).is_some();
    if !with.cte_tables.iter().any(is_change) && change_in(&query.body).is_none() {
        return Ok(None);
    }
    if with.recursive {
        return Err(Error::unsupported("WITH RECURSIVE that changes rows"));
    }
    let mut plain = With { cte_tables: Vec::new(), ..with.clone() };
    let mut changes = Vec::new();
    for cte in &with.cte_tables {
        let Some(statement) = change_in(&cte.query.body) else {
            plain.cte_tables.push(cte.clone());
            continue;
        };
        let mut own = plain.clone();
        own.cte_tables.extend(cte.query.with.iter().flat_map(|with| with.cte_tables.clone()));
        changes.push(Part {
            name: folded(&cte.alias.name),
            columns: cte.alias.columns.iter().map(|column| column.name.clone()).collect(),
            statement: with_before(statement.clone(), &own),
        });
    }
    let last = match change_in(&query.body) {
        Some(statement) => with_before(statement.clone(), &plain),
        None => {
            let with = Some(plain).filter(|plain| !plain.cte_tables.is_empty());
            Ast::Query(Box::new(Query { with, ..query.clone() }))
        }
    };
    let nested =
        changes.iter().map(|part| &part.statement).chain([&last]).any(|statement| !only_changes_itself(statement));
    if nested {
        return Err(Error::unsupported("a statement that changes rows in WITH below the top level"));
    }
    Ok(Some(Parts { changes, last }))
}

/// Whether no query inside a statement changes rows.
fn only_changes_itself(statement: &Ast) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if change_in(&query.body).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    statement.visit(&mut Find).is_continue()
}

impl Part {
    /// Its rows as a table for the parts after it.
    pub fn table(&self, mut columns: Vec<OutputColumn>, batches: Vec<RecordBatch>) -> Result<Arc<MemTable>> {
        for (column, name) in columns.iter_mut().zip(&self.columns) {
            column.name = folded(name);
        }
        let schema = schema_of(&columns);
        let renamed = |batch: RecordBatch| Ok(RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?);
        let batches = batches.into_iter().map(renamed).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(MemTable::try_new(schema.clone(), vec![batches])?))
    }
}

/// Runs the parts; `last` is what belongs to the statement at the end.
pub async fn run(
    context: &Context,
    parts: Parts,
    last: (bool, Option<Overriding>),
    extra: &ExtraTables,
) -> Result<Answer> {
    let mut extra = extra.clone();
    let mut changed = HashSet::new();
    let had_written = context.txn().pending_writes() > 0;
    for part in &parts.changes {
        refuse_changed(context, &part.statement, &extra, &changed).await?;
        let (_, done) = change(context, &part.statement, (false, None), &extra).await?;
        if let Some((columns, batches)) = done.returning {
            let batches = batches.try_collect().await?;
            extra.insert(part.name.clone(), part.table(columns, batches)?);
        }
        add_changed(context, &part.statement, &mut changed).await?;
    }
    let Ast::Query(query) = &parts.last else {
        refuse_changed(context, &parts.last, &extra, &changed).await?;
        let (tag, done) = self::change(context, &parts.last, last, &extra).await?;
        return Ok(Answer::Changed(tag, done));
    };
    let (columns, batches) = query::plan(context, query, &extra, Visibility::AsNamed).await?.run().await?;
    let mut batches: Vec<RecordBatch> = batches.try_collect().await?;
    if !reads(context, &parts.last, &extra).await?.is_disjoint(&changed) {
        if had_written {
            return Err(Error::unsupported(
                "a query of a table that its WITH changes, in a transaction that has written",
            )
            .hint("Query it in a statement of its own."));
        }
        // The first time was so that the transaction notes what it depends on.
        let before = context.engine().store().begin_at(context.txn().snapshot()).await?;
        let planned = query::plan(&context.in_txn(before), query, &extra, Visibility::AsNamed).await?;
        batches = planned.run().await?.1.try_collect().await?;
    }
    Ok(Answer::Rows(columns, stream::iter(batches.into_iter().map(Ok)).boxed()))
}

async fn change(
    context: &Context,
    statement: &Ast,
    of_insert: (bool, Option<Overriding>),
    extra: &ExtraTables,
) -> Result<(&'static str, Changed)> {
    Ok(match statement {
        Ast::Insert(statement) => ("INSERT 0", insert(context, statement, of_insert, extra).await?),
        Ast::Update(statement) => ("UPDATE", update(context, statement, extra).await?),
        Ast::Delete(statement) => ("DELETE", delete(context, statement, extra).await?),
        _ => return Err(Error::internal("a part of WITH changes nothing")),
    })
}

async fn refuse_changed(
    context: &Context,
    statement: &Ast,
    extra: &ExtraTables,
    changed: &HashSet<DescriptorId>,
) -> Result<()> {
    let read = reads(context, statement, extra).await?;
    let Some(twice) = read.intersection(changed).next() else { return Ok(()) };
    let name = context.catalog().get(*twice).await?.name().to_string();
    let what = format!("a statement that changes \"{name}\" in WITH and then reads it to change rows");
    Err(Error::unsupported(what).hint("Use one statement for each, in a transaction."))
}

/// The tables that a statement reads, also through views.
async fn reads(context: &Context, statement: &Ast, extra: &ExtraTables) -> Result<HashSet<DescriptorId>> {
    struct Names(Vec<Vec<String>>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: None, .. } = factor {
                self.0.extend(name_parts(name));
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    let _ = statement.visit(&mut names);
    let mut read = HashSet::new();
    let mut todo = Vec::new();
    for name in names.0 {
        let is_part = matches!(&name[..], [name] if extra.contains_key(name));
        if !is_part && let Some(found) = context.find_object(&name).await? {
            todo.push(found);
        }
    }
    while let Some(object) = todo.pop() {
        if read.insert(object.id())
            && let Descriptor::View(view) = &*object
        {
            for below in &view.depends_on {
                todo.push(context.catalog().get(*below).await?);
            }
        }
    }
    Ok(read)
}

/// Adds the table that a statement changes, and those with foreign keys to it, whose rows may change with its own.
async fn add_changed(context: &Context, statement: &Ast, changed: &mut HashSet<DescriptorId>) -> Result<()> {
    let name = match statement {
        Ast::Insert(insert) => match &insert.table {
            TableObject::TableName(name) => name_parts(name)?,
            _ => return Ok(()),
        },
        Ast::Update(update) => name_of(&update.table)?,
        Ast::Delete(delete) => match delete_target(delete) {
            Some(target) => name_of(target)?,
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let inserts = matches!(statement, Ast::Insert(insert) if insert.on.is_none());
    let mut todo = vec![context.object(&name).await?.id()];
    while let Some(id) = todo.pop() {
        if changed.insert(id)
            && !inserts
            && let Descriptor::Table(table) = &*context.catalog().get(id).await?
        {
            todo.extend(table.referenced_by.iter().copied());
        }
    }
    Ok(())
}
