use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use futures::TryStreamExt;
use sqlparser::ast::{Expr, Insert, OnInsert, Query, SetExpr, TableObject, Value, Values};

use super::super::arrays::assign;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::{self, ExtraTables, OutputColumn, Visibility, expression};
use super::super::time_zone::TimeZone;
use super::conflict::ConflictRule;
use super::returning::returning;
use super::writer::{OnConflict, TableWriter};
use super::{Changed, Row, is_default};
use crate::catalog::{Column, Datum, Descriptor, IdentityGeneration, TableDescriptor};
use crate::parser::Overriding;

/// Where an `INSERT` goes.
pub struct Insertion {
    /// The table.
    pub table: Arc<TableDescriptor>,
    /// The positions of the columns it gives values for.
    pub positions: Vec<usize>,
}

/// Resolves the table and columns of an `INSERT`.
pub async fn insertion_columns(context: &Context, insert: &Insert) -> Result<Insertion> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT into anything but a table"));
    };
    let table = table_named(context, &name_parts(name)?).await?;
    let columns = insert.columns.iter().map(|column| name_parts(column).map(|parts| parts.join(".")));
    let positions = positions_of(&table, &columns.collect::<Result<Vec<_>>>()?)?;
    Ok(Insertion { table, positions })
}

/// What an `INSERT` calls its table.
pub fn alias_of(insert: &Insert, table: &TableDescriptor) -> String {
    insert.table_alias.as_ref().map_or_else(|| table.identity.name.clone(), |alias| folded(&alias.alias))
}

/// The table with a name.
pub async fn table_named(context: &Context, parts: &[String]) -> Result<Arc<TableDescriptor>> {
    match &*context.object(parts).await? {
        Descriptor::Table(table) => Ok(Arc::new(table.clone())),
        other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", other.name()))),
    }
}

/// The positions of columns in a table; no name stands for all that are not hidden.
pub fn positions_of(table: &TableDescriptor, names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..table.columns.len()).filter(|&position| !table.columns[position].hidden).collect());
    }
    let mut positions = Vec::new();
    for name in names {
        let missing = || {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.identity.name);
            Error::new(code::UNDEFINED_COLUMN, message)
        };
        let position =
            table.columns.iter().position(|column| column.name == *name && !column.hidden).ok_or_else(missing)?;
        if positions.contains(&position) {
            return Err(Error::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// What an `INSERT` says of columns that make their own values.
#[derive(Clone, Copy)]
struct OwnValues(Option<Overriding>);

impl OwnValues {
    /// Whether a column makes its value though one is given.
    fn ignores(self, column: &Column) -> bool {
        self.0 == Some(Overriding::User) && column.identity.is_some()
    }

    /// Whether a column may not be given a value.
    fn refuses(self, column: &Column) -> bool {
        column.generated.is_some() || (column.identity == Some(IdentityGeneration::Always) && self.0.is_none())
    }
}

/// `INSERT` and `UPSERT`, with what it says of identity columns.
pub async fn insert(
    context: &Context,
    insert: &Insert,
    (upsert, overriding): (bool, Option<Overriding>),
    extra: &ExtraTables,
) -> Result<Changed> {
    let own = OwnValues(overriding);
    let Insertion { table, positions } = insertion_columns(context, insert).await?;
    let all_given = !insert.columns.is_empty();
    let alias = &alias_of(insert, &table);
    let mut writer = TableWriter::new(context, table.clone()).await?;
    let rule = match &insert.on {
        None => None,
        Some(OnInsert::OnConflict(_)) if upsert => {
            return Err(Error::new(code::SYNTAX_ERROR, "UPSERT takes no ON CONFLICT"));
        }
        Some(OnInsert::OnConflict(clause)) => Some(ConflictRule::new(context, &table, alias, clause)?),
        Some(_) => return Err(Error::unsupported("ON DUPLICATE KEY UPDATE")),
    };
    let is_values = insert.source.as_ref().is_none_or(|source| matches!(*source.body, SetExpr::Values(_)));
    if !is_values && !upsert && rule.is_none() {
        writer.use_bulk_load();
    }
    let mut changed = 0;
    let mut kept = Vec::new();
    let keep = insert.returning.is_some().then_some(&mut kept);
    let mut write = Written { writer: &mut writer, upsert, rule, kept: keep };
    match &insert.source {
        None => changed += write.rows(&[], vec![Row::new()]).await?,
        Some(source) => match simple_values(source) {
            Some(values) => {
                let (positions, rows) = constant_rows(context, &table, &positions, values, all_given, own)?;
                changed += write.rows(&positions, rows).await?;
            }
            None => {
                let source = &with_defaults(&table, &positions, source)?;
                let planned = query::plan(context, source, extra, Visibility::AsNamed).await?;
                let positions = check_width(&positions, planned.columns.len(), all_given)?;
                let mut given = positions.iter().map(|&position| &table.columns[position]);
                if let Some(column) = given.find(|column| own.refuses(column)) {
                    return Err(refuse_generated(column));
                }
                let (columns, mut batches) = planned.run().await?;
                while let Some(batch) = batches.try_next().await? {
                    let mut rows = rows_of(&table, positions, &columns, &batch, context.zone())?;
                    let ignored = |position: &usize| own.ignores(&table.columns[*position]);
                    let kept: Vec<bool> = positions.iter().map(|position| !ignored(position)).collect();
                    for row in &mut rows {
                        let mut keep = kept.iter();
                        row.retain(|_| keep.next() == Some(&true));
                    }
                    let positions: Vec<usize> = positions.iter().filter(|at| !ignored(at)).copied().collect();
                    changed += write.rows(&positions, rows).await?;
                }
            }
        },
    }
    let returning = insert.returning.as_ref().map(|items| (items, kept));
    writer.finish().await?;
    let returning = match returning {
        Some((items, rows)) => Some(self::returning(context, (&table, alias), items, &rows, &[]).await?),
        None => None,
    };
    Ok(Changed { rows: changed, returning })
}

/// Loads what a planned query gives into the visible columns of a table, which is new: how many rows.
pub async fn load(context: &Context, table: Arc<TableDescriptor>, planned: query::Planned) -> Result<u64> {
    let mut writer = TableWriter::new(context, table.clone()).await?;
    writer.use_bulk_load();
    let positions = positions_of(&table, &[])?;
    let (columns, mut batches) = planned.run().await?;
    let mut loaded = 0;
    while let Some(batch) = batches.try_next().await? {
        let rows = writer.complete(&positions, rows_of(&table, &positions, &columns, &batch, context.zone())?)?;
        loaded += writer.insert(rows, &OnConflict::Fail).await?.len() as u64;
    }
    writer.finish().await?;
    Ok(loaded)
}

/// The rows of a batch, as values of the columns at these positions.
fn rows_of(
    table: &TableDescriptor,
    positions: &[usize],
    columns: &[OutputColumn],
    batch: &RecordBatch,
    zone: TimeZone,
) -> Result<Vec<Row>> {
    let converted = positions.iter().zip(columns).zip(batch.columns()).map(|((&position, column), array)| {
        if array.data_type().is_null() {
            return Ok(vec![Datum::Null; array.len()]);
        }
        assign(array, &column.column_type, &table.columns[position].column_type, zone)
    });
    Ok(transpose(converted.collect::<Result<Vec<_>>>()?, batch.num_rows()))
}

struct Written<'a> {
    writer: &'a mut TableWriter,
    upsert: bool,
    rule: Option<ConflictRule>,
    kept: Option<&'a mut Vec<Row>>,
}

impl Written<'_> {
    async fn rows(&mut self, positions: &[usize], given: Vec<Row>) -> Result<u64> {
        let rows = self.writer.complete(positions, given)?;
        let written = match &mut self.rule {
            Some(rule) => rule.insert(self.writer, rows).await?,
            None if self.upsert => self.writer.insert(rows, &OnConflict::Replace(positions.to_vec())).await?,
            None => self.writer.insert(rows, &OnConflict::Fail).await?,
        };
        let count = written.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend(written);
        }
        Ok(count)
    }
}

/// The columns that get a value: all that are named, or as many of the table's as there are values.
fn check_width(positions: &[usize], given: usize, all_given: bool) -> Result<&[usize]> {
    if all_given && given < positions.len() {
        return Err(Error::new(code::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    if given > positions.len() {
        return Err(Error::new(code::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    Ok(&positions[..given])
}

fn transpose(columns: Vec<Vec<Datum<'static>>>, rows: usize) -> Vec<Row> {
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    (0..rows).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()).collect()
}

/// The rows of a plain `VALUES`, whose expressions each convert to their own column.
fn simple_values(source: &Query) -> Option<&Values> {
    let plain =
        source.with.is_none() && source.order_by.is_none() && source.limit_clause.is_none() && source.fetch.is_none();
    match &*source.body {
        SetExpr::Values(values) if plain && !query::has_subquery(values) => Some(values),
        _ => None,
    }
}

/// Evaluates `VALUES` expression by expression: most are literals, for which no plan is needed.
fn constant_rows(
    context: &Context,
    table: &TableDescriptor,
    positions: &[usize],
    values: &Values,
    all_given: bool,
    own: OwnValues,
) -> Result<(Vec<usize>, Vec<Row>)> {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let positions = check_width(positions, width, all_given)?;
    let mut rows = Vec::with_capacity(values.rows.len());
    for row in &values.rows {
        if row.content.len() != width {
            return Err(Error::new(code::SYNTAX_ERROR, "VALUES lists must all be the same length"));
        }
        let value =
            |(expression, &position): (&Expr, &usize)| constant_value(context, table, position, expression, own);
        rows.push(row.content.iter().zip(positions).map(value).collect::<Result<Row>>()?);
    }
    Ok((positions.to_vec(), rows))
}

/// `VALUES` of which some are subqueries, with what the others that say `DEFAULT` mean.
fn with_defaults(table: &TableDescriptor, positions: &[usize], source: &Query) -> Result<Query> {
    let mut source = source.clone();
    if let SetExpr::Values(values) = &mut *source.body {
        for row in &mut values.rows {
            for (value, position) in row.content.iter_mut().zip(positions).filter(|(value, _)| is_default(value)) {
                *value = match &table.columns[*position].default {
                    None => Expr::value(Value::Null),
                    Some(sql) => Expr::Nested(Box::new(expression::parse(sql)?)),
                };
            }
        }
    }
    Ok(source)
}

/// The error of a value for a column that takes its own.
fn refuse_generated(column: &Column) -> Error {
    let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
    let error = Error::new(code::GENERATED_ALWAYS, message).detail(generated_detail(column));
    match column.generated {
        None => error.hint("Use OVERRIDING SYSTEM VALUE to override."),
        Some(_) => error,
    }
}

/// Why a column takes no value that is given.
pub fn generated_detail(column: &Column) -> String {
    match column.generated {
        Some(_) => format!("Column \"{}\" is a generated column.", column.name),
        None => format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name),
    }
}

fn constant_value(
    context: &Context,
    table: &TableDescriptor,
    position: usize,
    expression: &Expr,
    own: OwnValues,
) -> Result<Datum<'static>> {
    let column = &table.columns[position];
    let to = &column.column_type;
    let default;
    if own.refuses(column) && !is_default(expression) {
        return Err(refuse_generated(column));
    }
    let expression = if is_default(expression) || own.ignores(column) {
        match &column.default {
            None => return Ok(Datum::Null),
            Some(sql) => {
                default = expression::parse(sql)?;
                &default
            }
        }
    } else {
        expression
    };
    expression::value_for(context, expression, to).map_err(|error| match error.sqlstate {
        code::DATATYPE_MISMATCH => {
            Error { message: error.message.replacen("column", &format!("column \"{}\"", column.name), 1), ..error }
        }
        _ => error,
    })
}
