//! Statements about one row whose primary key is given: straight to the store, without a plan.
//!
//! ```text
//!   SELECT a, b FROM t WHERE id = $1
//!   UPDATE t SET a = $1, b = b + 1 WHERE id = $2
//!   DELETE FROM t WHERE id = 7
//! ```
//!
//! Whatever is not quite of such a form, or needs a conversion or an error of its own, is left to the general way, which is the
//! only one that decides what SQL means.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use sqlparser::ast::{
    BinaryOperator, Expr, FromTable, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Statement as Ast,
    TableFactor, TableWithJoins, UnaryOperator, Value,
};

use super::arrays::batch_of_rows;
use super::context::Context;
use super::dml::writer::TableWriter;
use super::dml::{Row, assigned_columns};
use super::error::Result;
use super::names::{folded, name_parts};
use super::query::{Batches, Origin, OutputColumn, placeholder, schema_of};
use super::session::Parameter;
use super::text;
use super::time_zone::TimeZone;
use crate::catalog::{ColumnType, Datum, Descriptor, TableDescriptor, decode_row, push_index_key};
use crate::kv::LockMode;

/// What such a statement answers.
pub enum Answer {
    /// The row, if it is there.
    Rows(Vec<OutputColumn>, Batches),
    /// How many rows an `UPDATE` changed.
    Updated(u64),
    /// How many rows a `DELETE` deleted.
    Deleted(u64),
}

/// Runs a statement, if it is of that form.
pub async fn execute(context: &Context, statement: &Ast, parameters: &[Parameter]) -> Result<Option<Answer>> {
    match statement {
        Ast::Query(query) => match plain_select(query) {
            Some(select) => self::select(context, select, parameters).await,
            None => Ok(None),
        },
        Ast::Update(update) => {
            let plain = update.from.is_none()
                && update.returning.is_none()
                && update.order_by.is_empty()
                && update.limit.is_none()
                && update.or.is_none();
            if !plain {
                return Ok(None);
            }
            let Some(target) = target(context, &update.table, update.selection.as_ref(), parameters).await? else {
                return Ok(None);
            };
            let assigned = assigned_columns(&target.table, &update.assignments)?;
            // Whether there is a general way to go has to be known before anything is locked or read.
            if !assigned.iter().all(|(position, value)| target.can_compute(value, *position, parameters)) {
                return Ok(None);
            }
            let mut writer = TableWriter::new(context, target.table.clone()).await?;
            let Some(old) = target.lock_and_read(context).await? else { return Ok(Some(Answer::Updated(0))) };
            let mut new = old.clone();
            for (position, value) in &assigned {
                match target.compute(value, *position, &old, parameters) {
                    Some(value) => new[*position] = value,
                    // Out of range: the general way knows what to say.
                    None => return Ok(None),
                }
            }
            writer.update(vec![(old, new)]).await?;
            writer.finish().await?;
            Ok(Some(Answer::Updated(1)))
        }
        Ast::Delete(delete) => {
            let plain = delete.using.is_none()
                && delete.returning.is_none()
                && delete.order_by.is_empty()
                && delete.limit.is_none()
                && delete.tables.is_empty();
            let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
            let ([from], true) = (&tables[..], plain) else { return Ok(None) };
            let Some(target) = target(context, from, delete.selection.as_ref(), parameters).await? else {
                return Ok(None);
            };
            let mut writer = TableWriter::new(context, target.table.clone()).await?;
            let Some(row) = target.lock_and_read(context).await? else { return Ok(Some(Answer::Deleted(0))) };
            writer.delete(vec![row]).await?;
            writer.finish().await?;
            Ok(Some(Answer::Deleted(1)))
        }
        _ => Ok(None),
    }
}

/// `SELECT items FROM table WHERE condition`, with nothing else.
fn plain_select(query: &Query) -> Option<&Select> {
    let alone = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none()
        && query.pipe_operators.is_empty();
    let SetExpr::Select(select) = &*query.body else { return None };
    let plain = select.distinct.is_none()
        && select.into.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.top.is_none()
        && select.prewhere.is_none()
        && select.lateral_views.is_empty()
        && select.named_window.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty());
    (alone && plain).then_some(select)
}

async fn select(context: &Context, select: &Select, parameters: &[Parameter]) -> Result<Option<Answer>> {
    let [from] = &select.from[..] else { return Ok(None) };
    let Some(target) = target(context, from, select.selection.as_ref(), parameters).await? else { return Ok(None) };
    let table = &target.table;
    let mut output: Vec<(String, usize)> = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(options) if *options == Default::default() => {
                let visible = table.columns.iter().enumerate().filter(|(_, column)| !column.hidden);
                output.extend(visible.map(|(position, column)| (column.name.clone(), position)));
            }
            SelectItem::UnnamedExpr(expression) => match target.column(expression) {
                Some(position) => output.push((table.columns[position].name.clone(), position)),
                None => return Ok(None),
            },
            SelectItem::ExprWithAlias { expr, alias } => match target.column(expr) {
                Some(position) => output.push((folded(alias), position)),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let positions: Vec<usize> = output.iter().map(|(_, position)| *position).collect();
    let column = |(name, position): (String, usize)| {
        let column = &table.columns[position];
        let origin = Some(Origin { table: table.identity.id, column: column.id });
        OutputColumn { name, column_type: column.column_type.clone(), origin }
    };
    let columns: Vec<OutputColumn> = output.into_iter().map(column).collect();
    let found = context.txn().get(table.primary.space, &target.key).await?;
    let batches = match found {
        None => stream::empty().boxed(),
        Some((value, _)) => {
            let row = decode_row(table, &target.key, &value)?;
            let row: Row = positions.iter().map(|&position| row[position].clone()).collect();
            let types: Vec<ColumnType> = columns.iter().map(|column| column.column_type.clone()).collect();
            let batch = batch_of_rows(&schema_of(&columns), &types, &[row])?;
            stream::iter([Ok(batch)]).boxed()
        }
    };
    Ok(Some(Answer::Rows(columns, batches)))
}

/// One row of a table.
struct Target {
    table: Arc<TableDescriptor>,
    /// What the statement calls the table.
    alias: String,
    /// The row's primary key.
    key: Vec<u8>,
}

/// The row that a statement's condition confines it to, if it is a row.
async fn target(
    context: &Context,
    from: &TableWithJoins,
    condition: Option<&Expr>,
    parameters: &[Parameter],
) -> Result<Option<Target>> {
    let (TableFactor::Table { name, alias, args: None, version: None, with_ordinality: false, sample: None, .. }, []) =
        (&from.relation, &from.joins[..])
    else {
        return Ok(None);
    };
    let Some(condition) = condition else { return Ok(None) };
    let parts = name_parts(name)?;
    let alias = match alias {
        Some(alias) if !alias.columns.is_empty() => return Ok(None),
        Some(alias) => folded(&alias.name),
        None => parts.last().cloned().unwrap_or_default(),
    };
    let Some(found) = context.find_object(&parts).await? else { return Ok(None) };
    let Descriptor::Table(table) = &*found else { return Ok(None) };
    let mut target = Target { table: Arc::new(table.clone()), alias, key: Vec::new() };
    let mut values: Row = vec![Datum::Null; table.columns.len()];
    if !target.conditions(condition, &mut values, parameters) {
        return Ok(None);
    }
    let is_given = |part: &crate::catalog::IndexColumn| {
        table.position(part.column).is_some_and(|position| !values[position].is_null())
    };
    let given = values.iter().filter(|value| !value.is_null()).count();
    if given != table.primary.columns.len() || !table.primary.columns.iter().all(is_given) {
        return Ok(None);
    }
    push_index_key(&mut target.key, table, &table.primary, &values)?;
    Ok(Some(target))
}

impl Target {
    /// `column = value AND ...`: notes the values, each column's once; whether that is all there is.
    fn conditions(&self, condition: &Expr, values: &mut Row, parameters: &[Parameter]) -> bool {
        match condition {
            Expr::Nested(inner) => self.conditions(inner, values, parameters),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions(left, values, parameters) && self.conditions(right, values, parameters)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (position, value) = match (self.column(left), self.column(right)) {
                    (Some(position), None) => (position, right),
                    (None, Some(position)) => (position, left),
                    _ => return false,
                };
                let column_type = &self.table.columns[position].column_type;
                // Of other types, equal values may be written in several ways.
                let is_exact = matches!(
                    column_type,
                    ColumnType::Bool
                        | ColumnType::Int2
                        | ColumnType::Int4
                        | ColumnType::Int8
                        | ColumnType::Text
                        | ColumnType::VarChar(_)
                        | ColumnType::Uuid
                        | ColumnType::Enum(_)
                        | ColumnType::Date
                );
                // Trailing blanks count in a comparison, though an assignment may cut them.
                let compared = if let ColumnType::VarChar(_) = column_type { &ColumnType::Text } else { column_type };
                match constant(value, compared, parameters) {
                    Some(value) if is_exact && !value.is_null() && values[position].is_null() => {
                        values[position] = value;
                        true
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// The position of the column that an expression is.
    fn column(&self, expression: &Expr) -> Option<usize> {
        let name: &Ident = match expression {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [alias, name] if folded(alias) == self.alias => name,
                _ => return None,
            },
            _ => return None,
        };
        let name = folded(name);
        self.table.columns.iter().position(|column| column.name == name && !column.hidden)
    }

    /// Whether a value is of a form that [`Target::compute`] knows.
    fn can_compute(&self, value: &Expr, position: usize, parameters: &[Parameter]) -> bool {
        let to = &self.table.columns[position].column_type;
        if constant(value, to, parameters).is_some() {
            return true;
        }
        if let Some(from) = self.column(value) {
            return self.table.columns[from].column_type == *to;
        }
        to.is_integer() && self.sum(value, parameters).is_some()
    }

    /// The new value of a column.
    fn compute(&self, value: &Expr, position: usize, row: &Row, parameters: &[Parameter]) -> Option<Datum<'static>> {
        let to = &self.table.columns[position].column_type;
        if let Some(value) = constant(value, to, parameters) {
            return Some(value);
        }
        if let Some(from) = self.column(value) {
            return Some(row[from].clone());
        }
        let (from, sign, amount) = self.sum(value, parameters)?;
        let (Some(present), Some(amount)) = (row[from].as_int(), amount) else { return Some(Datum::Null) };
        let sum = present.checked_add(amount.checked_mul(sign)?)?;
        (fits(sum, &self.table.columns[from].column_type) && fits(sum, to)).then_some(Datum::Int(sum))
    }

    /// `column + value` and `column - value` in whole numbers: the column, the sign, the value.
    fn sum(&self, value: &Expr, parameters: &[Parameter]) -> Option<(usize, i64, Option<i64>)> {
        let Expr::BinaryOp { left, op, right } = value else { return None };
        let sign = match op {
            BinaryOperator::Plus => 1,
            BinaryOperator::Minus => -1,
            _ => return None,
        };
        let from = self.column(left)?;
        if !self.table.columns[from].column_type.is_integer()
            || matches!(&**right, Expr::Value(value) if is_text(&value.value))
        {
            return None;
        }
        Some((from, sign, constant(right, &ColumnType::Int8, parameters)?.as_int()))
    }

    async fn lock_and_read(&self, context: &Context) -> Result<Option<Row>> {
        let (txn, space) = (context.txn(), self.table.primary.space);
        txn.lock(space, &self.key, LockMode::Exclusive).await?;
        match txn.get(space, &self.key).await? {
            Some((value, _)) => Ok(Some(decode_row(&self.table, &self.key, &value)?)),
            None => Ok(None),
        }
    }
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_))
}

fn fits(number: i64, column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Int2 => i16::try_from(number).is_ok(),
        ColumnType::Int4 => i32::try_from(number).is_ok(),
        _ => true,
    }
}

/// A literal or a parameter as a value of a column, if it is one without any conversion.
fn constant(expression: &Expr, to: &ColumnType, parameters: &[Parameter]) -> Option<Datum<'static>> {
    if let Some(index) = placeholder(expression) {
        let (column_type, datum) = parameters.get(index)?;
        return match datum {
            Datum::Null => Some(Datum::Null),
            Datum::Int(number) if column_type.is_integer() && to.is_integer() => {
                fits(*number, to).then_some(Datum::Int(*number))
            }
            datum if column_type == to => Some(datum.clone()),
            _ => None,
        };
    }
    match expression {
        Expr::Nested(inner) => constant(inner, to, parameters),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match constant(expr, &ColumnType::Int8, parameters)? {
            Datum::Int(number)
                if to.is_integer() && matches!(&**expr, Expr::Value(value) if !is_text(&value.value)) =>
            {
                let number = number.checked_neg()?;
                fits(number, to).then_some(Datum::Int(number))
            }
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Null => Some(Datum::Null),
            Value::Boolean(value) if *to == ColumnType::Bool => Some(Datum::Bool(*value)),
            Value::Number(digits, _) if to.is_integer() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                text::parse(digits, to, TimeZone::UTC).ok()
            }
            // Not what compares by rules of its own, or means something else in another session.
            Value::SingleQuotedString(literal) if !matches!(to, ColumnType::Char(_)) && !to.has_instants() => {
                text::parse(literal, to, TimeZone::UTC).ok()
            }
            _ => None,
        },
        _ => None,
    }
}
