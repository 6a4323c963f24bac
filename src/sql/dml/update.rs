use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Update, UpdateTableFromKind,
    Value,
};

use super::super::arrays::assign;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::name_parts;
use super::super::query::{self, ExtraTables, Visibility, expression};
use super::insert::{generated_detail, table_named};
use super::locking::{lock_rows, row_at};
use super::returning::{Beside, names_beside, returning, select_beside, select_from};
use super::writer::TableWriter;
use super::{Changed, Row, is_default};
use crate::catalog::{Datum, IdentityGeneration, TableDescriptor, push_index_key};
use crate::kv::LockMode;

/// The table a statement changes, and what the statement calls it.
pub async fn target(context: &Context, from: &TableWithJoins) -> Result<(Arc<TableDescriptor>, ObjectName)> {
    let TableFactor::Table { name, alias, args: None, .. } = &from.relation else {
        return Err(Error::unsupported("changing anything but a table"));
    };
    if !from.joins.is_empty() {
        return Err(Error::unsupported("changing a join"));
    }
    let parts = name_parts(name)?;
    let table = table_named(context, &parts).await?;
    Ok((table, called(name, alias.as_ref())))
}

/// What a statement calls a table: its alias, or its name as written.
pub fn called(name: &ObjectName, alias: Option<&TableAlias>) -> ObjectName {
    match alias {
        Some(alias) => ObjectName(vec![ObjectNamePart::Identifier(alias.name.clone())]),
        None => name.clone(),
    }
}

/// The last part of what a statement calls a table.
pub fn short_name(called: &ObjectName) -> Result<String> {
    Ok(name_parts(called)?.pop().unwrap_or_default())
}

/// `SELECT called.*, computed... FROM from... WHERE selection`
pub fn matching_rows(
    called: &ObjectName,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
    computed: impl IntoIterator<Item = Expr>,
) -> Result<Query> {
    let mut query = select_from("t")?;
    let SetExpr::Select(select) = &mut *query.body else { return Err(Error::internal("a template is not a SELECT")) };
    let kind = SelectItemQualifiedWildcardKind::ObjectName(called.clone());
    select.projection = vec![SelectItem::QualifiedWildcard(kind, Default::default())];
    for (index, expr) in computed.into_iter().enumerate() {
        let alias = Ident::with_quote('"', format!("keepsafe_set_{index}"));
        select.projection.push(SelectItem::ExprWithAlias { expr, alias });
    }
    select.from = from;
    select.selection = selection;
    Ok(query)
}

/// What an `UPDATE` has in `FROM`.
pub fn more_sources(update: &Update) -> Vec<TableWithJoins> {
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(more) | UpdateTableFromKind::BeforeSet(more)) => more.clone(),
        None => Vec::new(),
    }
}

/// The columns that assignments are to, by position, with their expressions.
pub fn assigned_columns(table: &TableDescriptor, assignments: &[Assignment]) -> Result<Vec<(usize, Expr)>> {
    let mut assigned: Vec<(usize, Expr)> = Vec::new();
    for assignment in assignments {
        for (name, value) in each_column(assignment)? {
            let value = &value;
            let column = name_parts(name)?.pop().unwrap_or_default();
            let position = super::insert::positions_of(table, &[column])?[0];
            if assigned.iter().any(|(taken, _)| *taken == position) {
                let message = format!("multiple assignments to same column \"{}\"", table.columns[position].name);
                return Err(Error::new(code::SYNTAX_ERROR, message));
            }
            let column = &table.columns[position];
            let is_computed = column.generated.is_some();
            if (column.identity == Some(IdentityGeneration::Always) || is_computed) && !is_default(value) {
                let message = format!("column \"{}\" can only be updated to DEFAULT", column.name);
                return Err(Error::new(code::GENERATED_ALWAYS, message).detail(generated_detail(column)));
            }
            if is_computed {
                // It is computed anyway.
                continue;
            }
            let value = if is_default(value) {
                match &table.columns[position].default {
                    Some(sql) => expression::parse(sql)?,
                    None => Expr::Value(Value::Null.into()),
                }
            } else {
                value.clone()
            };
            assigned.push((position, value));
        }
    }
    Ok(assigned)
}

/// `a = x`, and `(a, b) = (x, y)`.
fn each_column(assignment: &Assignment) -> Result<Vec<(&ObjectName, Expr)>> {
    let (names, values) = match (&assignment.target, &assignment.value) {
        (AssignmentTarget::ColumnName(name), value) => return Ok(vec![(name, value.clone())]),
        (AssignmentTarget::Tuple(names), Expr::Tuple(values)) => (names, values.clone()),
        (AssignmentTarget::Tuple(names), Expr::Nested(value)) if names.len() == 1 => (names, vec![(**value).clone()]),
        (AssignmentTarget::Tuple(names), Expr::Subquery(query)) => (names, each_output(query)?),
        (AssignmentTarget::Tuple(_), _) => {
            let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
            return Err(Error::unsupported(message));
        }
    };
    if names.len() != values.len() {
        return Err(Error::new(code::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    Ok(names.iter().zip(values).collect())
}

/// A subquery of one row once for each of its columns.
fn each_output(query: &Query) -> Result<Vec<Expr>> {
    let unsupported = || Error::unsupported("assigning such a subquery to several columns");
    let SetExpr::Select(select) = &*query.body else { return Err(unsupported()) };
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    // One column is not the same without the others if there are aggregates, or if rows are told apart or sorted by them.
    let is_grouped = query::aggregates(&select.projection) && !select.projection.iter().all(query::aggregates);
    if is_grouped || select.distinct.is_some() || query.order_by.is_some() || !select.projection.iter().all(is_one) {
        return Err(unsupported());
    }
    let alone = |item: &SelectItem| {
        let mut query = query.clone();
        if let SetExpr::Select(select) = &mut *query.body {
            select.projection = vec![item.clone()];
        }
        Expr::Subquery(Box::new(query))
    };
    Ok(select.projection.iter().map(alone).collect())
}

/// `UPDATE`
pub async fn update(context: &Context, update: &Update, extra: &ExtraTables) -> Result<Changed> {
    if !update.order_by.is_empty() || update.limit.is_some() {
        return Err(Error::unsupported("UPDATE ... ORDER BY or LIMIT"));
    }
    let (table, alias) = target(context, &update.table).await?;
    let assigned = assigned_columns(&table, &update.assignments)?;
    let mut from = vec![update.table.clone()];
    from.extend(more_sources(update));
    let mut writer = TableWriter::new(context, table.clone()).await?;
    let rows = matching_rows(&alias, from.clone(), update.selection.clone(), [])?;
    lock_rows(context, &table, &rows, extra, LockMode::Exclusive).await?;
    let computed = assigned.iter().map(|(_, expression)| expression.clone());
    let names = match &update.returning {
        Some(_) => names_beside(&from[1..])?,
        None => Vec::new(),
    };
    let mut query = matching_rows(&alias, from, update.selection.clone(), computed)?;
    select_beside(&mut query, &names);
    let planned = query::plan(context, &query, extra, Visibility::All).await?;
    let (columns, mut batches) = planned.run().await?;
    let mut beside = Beside::all(context, &names, &columns).await?;
    let width = table.columns.len();
    let mut changes: Vec<(Row, Row)> = Vec::new();
    let mut seen = HashSet::new();
    while let Some(batch) = batches.try_next().await? {
        let mut values = Vec::with_capacity(assigned.len());
        for (index, (position, _)) in assigned.iter().enumerate() {
            let array = batch.column(width + index);
            let to = &table.columns[*position].column_type;
            values.push(match array.data_type().is_null() {
                true => vec![Datum::Null; batch.num_rows()],
                false => assign(array, &columns[width + index].column_type, to, context.zone())?,
            });
        }
        for index in 0..batch.num_rows() {
            let old = row_at(&table, &batch, index)?;
            let mut key = Vec::new();
            push_index_key(&mut key, &table, &table.primary, &old)?;
            // With UPDATE ... FROM a row may match more than once; it changes once.
            if !seen.insert(key) {
                continue;
            }
            let mut new = old.clone();
            for ((position, _), values) in assigned.iter().zip(&values) {
                new[*position] = values[index].clone();
            }
            changes.push((old, new));
            beside.iter_mut().try_for_each(|beside| beside.keep(&batch, index))?;
        }
    }
    let count = changes.len() as u64;
    let written = writer.update(changes).await?;
    writer.finish().await?;
    let returned = match &update.returning {
        Some(items) => Some(returning(context, (&table, &short_name(&alias)?), items, &written, &beside).await?),
        None => None,
    };
    Ok(Changed { rows: count, returning: returned })
}
