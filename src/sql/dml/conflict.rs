//! `INSERT ... ON CONFLICT`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DFSchema, TableReference};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::Expr as DfExpr;
use datafusion::logical_expr::utils::split_conjunction;
use futures::TryStreamExt;
use sqlparser::ast::{
    ConflictTarget, DoUpdate, Expr, Ident, ObjectName, OnConflict as OnConflictClause, OnConflictAction, Query,
    SelectItem, SetExpr, Statement,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::arrays::{assign, batch_of_rows};
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::expression::{self, Compiled, compile_qualified, planned, row_schema};
use super::super::query::{self, ExtraTables, OutputColumn, Visibility, has_subquery};
use super::returning::reads;
use super::update::assigned_columns;
use super::writer::{OnConflict, TableWriter, values_in_index};
use super::{Row, is_default};
use crate::catalog::{Column, ColumnId, ColumnType, Datum, Index, TableDescriptor, push_index_key};
use crate::parser::conflict_target;

/// What the row that was to be inserted is called in `DO UPDATE`.
const EXCLUDED: &str = "excluded";

/// What a statement does with rows that are there already.
pub struct ConflictRule {
    table: Arc<TableDescriptor>,
    /// The unique indexes in which a row may be there already.
    arbiters: Vec<Index>,
    action: Action,
    /// Primary keys of rows that this statement has written.
    written: HashSet<Vec<u8>>,
}

enum Action {
    Nothing,
    Update(Box<Change>),
}

/// `SET` and `WHERE` of `DO UPDATE`, over the columns of the row that is there and then those of the row that was to be inserted.
struct Change {
    /// Positions of the columns that are assigned to.
    assigned: Vec<usize>,
    compute: Compute,
    schema: SchemaRef,
    types: Vec<ColumnType>,
}

/// How the values are computed.
enum Compute {
    /// Without another look at the store.
    Compiled { values: Vec<Compiled>, selection: Option<Compiled> },
    /// With subqueries: a query over tables of the two rows, once for each pair of them.
    Query { context: Box<Context>, alias: String, query: Box<Query> },
}

impl ConflictRule {
    /// The rule of a clause; the statement calls the table `alias`.
    pub fn new(
        context: &Context,
        table: &Arc<TableDescriptor>,
        alias: &str,
        clause: &OnConflictClause,
    ) -> Result<ConflictRule> {
        let arbiters = arbiters(context, table, clause.conflict_target.as_ref())?;
        let action = match &clause.action {
            OnConflictAction::DoNothing => Action::Nothing,
            OnConflictAction::DoUpdate(_) if clause.conflict_target.is_none() => {
                let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                let hint = "For example, ON CONFLICT (column_name).";
                return Err(Error::new(code::SYNTAX_ERROR, message).hint(hint));
            }
            OnConflictAction::DoUpdate(update) => {
                let fields = row_schema(table);
                let qualified: Vec<_> = [alias, EXCLUDED]
                    .into_iter()
                    .flat_map(|name| {
                        fields.fields().iter().map(move |field| (Some(TableReference::bare(name)), field.clone()))
                    })
                    .collect();
                let schema = DFSchema::new_with_metadata(qualified, Default::default())?;
                let (assigned, expressions): (Vec<usize>, Vec<Expr>) =
                    assigned_columns(table, &update.assignments)?.into_iter().unzip();
                let compute = match expressions.iter().chain(&update.selection).any(has_subquery) {
                    true => Compute::query(context, table, alias, expressions, update.selection.clone())?,
                    false => {
                        let compile = |expression: &Expr| compile_qualified(context, expression.clone(), &schema);
                        let values = expressions.iter().map(compile).collect::<Result<_>>()?;
                        Compute::Compiled { values, selection: update.selection.as_ref().map(compile).transpose()? }
                    }
                };
                let column_types = table.columns.iter().map(|column| column.column_type.clone());
                let types = column_types.clone().chain(column_types).collect();
                let schema = Arc::new(schema.as_arrow().clone());
                Action::Update(Box::new(Change { assigned, compute, schema, types }))
            }
        };
        Ok(ConflictRule { table: table.clone(), arbiters, action, written: HashSet::new() })
    }

    /// Inserts rows, or does what the rule says; the rows that were inserted or changed, as they are then.
    pub async fn insert(&mut self, writer: &mut TableWriter, rows: Vec<Row>) -> Result<Vec<Row>> {
        writer.check_rows(&rows)?;
        // What is locked is then read as it is after whatever was waited for.
        writer.lock_in(&self.arbiters, &rows).await?;
        let mut written = Vec::new();
        for row in rows {
            match self.existing(writer, &row).await? {
                None => {
                    self.note(&row)?;
                    written.extend(writer.insert(vec![row], &OnConflict::Fail).await?);
                }
                Some(old) => written.extend(self.change(writer, old, row).await?),
            }
        }
        Ok(written)
    }

    async fn existing(&self, writer: &TableWriter, row: &Row) -> Result<Option<Row>> {
        for index in &self.arbiters {
            if let Some(existing) = writer.existing(index, row).await? {
                return Ok(Some(existing));
            }
        }
        Ok(None)
    }

    async fn change(&mut self, writer: &mut TableWriter, old: Row, row: Row) -> Result<Option<Row>> {
        let Action::Update(change) = &self.action else { return Ok(None) };
        if self.written.contains(&self.key(&old)?) {
            let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
            let hint =
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.";
            return Err(Error::new(code::CARDINALITY_VIOLATION, message).hint(hint));
        }
        let Some(values) = change.values(&self.table, &old, row).await? else { return Ok(None) };
        let mut new = old.clone();
        for (position, value) in change.assigned.iter().zip(values) {
            new[*position] = value;
        }
        let written = writer.update(vec![(old, new)]).await?.pop();
        written.iter().try_for_each(|row| self.note(row))?;
        Ok(written)
    }

    fn key(&self, row: &Row) -> Result<Vec<u8>> {
        let mut key = Vec::new();
        push_index_key(&mut key, &self.table, &self.table.primary, row)?;
        Ok(key)
    }

    fn note(&mut self, row: &Row) -> Result<()> {
        let key = self.key(row)?;
        self.written.insert(key);
        Ok(())
    }
}

impl Change {
    /// The values that are assigned; `None` if the condition is not fulfilled.
    async fn values(&self, table: &TableDescriptor, old: &Row, row: Row) -> Result<Option<Row>> {
        let types = || self.assigned.iter().map(|&position| &table.columns[position].column_type);
        let both = |old: &Row, row: Row| old.iter().cloned().chain(row).collect::<Row>();
        match &self.compute {
            Compute::Compiled { values, selection } => {
                let batch = batch_of_rows(&self.schema, &self.types, &[both(old, row)])?;
                if let Some(selection) = selection
                    && !is_true(&selection.evaluate(&batch)?)
                {
                    return Ok(None);
                }
                let value = |(value, to): (&Compiled, &ColumnType)| only(value.assigned(&batch, to)?);
                values.iter().zip(types()).map(value).collect::<Result<Row>>().map(Some)
            }
            Compute::Query { context, alias, query } => {
                let rows = [(alias.as_str(), old.clone()), (EXCLUDED, row)];
                let mut extra = ExtraTables::new();
                for (name, row) in rows {
                    let batch = batch_of_rows(&row_schema(table), &self.types[..table.columns.len()], &[row])?;
                    extra
                        .insert(name.to_string(), Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?) as _);
                }
                let planned = query::plan(context, query, &extra, Visibility::AsNamed).await?;
                let (columns, batches) = planned.run().await?;
                let batches: Vec<RecordBatch> = batches.try_collect().await?;
                let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
                let value = |((array, column), to): ((&ArrayRef, &OutputColumn), &ColumnType)| match array
                    .data_type()
                    .is_null()
                {
                    true => Ok(Datum::Null),
                    false => only(assign(array, &column.column_type, to, context.zone())?),
                };
                let arrays = batch.columns().iter().zip(&columns);
                arrays.zip(types()).map(value).collect::<Result<Row>>().map(Some)
            }
        }
    }
}

fn is_true(passed: &ArrayRef) -> bool {
    passed.as_boolean_opt().is_some_and(|passed| passed.iter().any(|passed| passed == Some(true)))
}

fn only(values: Vec<Datum<'static>>) -> Result<Datum<'static>> {
    values.into_iter().next().ok_or_else(|| Error::internal("an expression without a value"))
}

impl Compute {
    fn query(
        context: &Context,
        table: &TableDescriptor,
        alias: &str,
        expressions: Vec<Expr>,
        selection: Option<Expr>,
    ) -> Result<Compute> {
        if expressions.iter().chain(&selection).any(|expression| reads(expression, &table.identity.name)) {
            return Err(Error::unsupported("a subquery in ON CONFLICT DO UPDATE that reads the table that is changed"));
        }
        let quoted = Ident::with_quote('"', alias);
        let mut query = super::super::parse_query(&format!("SELECT 1 FROM {quoted}, {EXCLUDED}"))?;
        if let SetExpr::Select(select) = &mut *query.body {
            select.projection = expressions.into_iter().map(SelectItem::UnnamedExpr).collect();
            select.selection = selection;
        }
        Ok(Compute::Query { context: Box::new(context.clone()), alias: alias.into(), query: Box::new(query) })
    }
}

/// A query with the expressions of `DO UPDATE` over the rows they see, for what its planning tells of parameters.
pub fn probe(table: &ObjectName, alias: &str, update: &DoUpdate) -> Result<Query> {
    let alias = Ident::with_quote('"', alias);
    let mut query = super::super::parse_query(&format!("SELECT 1 FROM {table} AS {alias}, {table} AS {EXCLUDED}"))?;
    if let SetExpr::Select(select) = &mut *query.body {
        let values = update.assignments.iter().map(|assignment| assignment.value.clone());
        select.projection = values.filter(|value| !is_default(value)).map(SelectItem::UnnamedExpr).collect();
        select.selection = update.selection.clone();
    }
    Ok(query)
}

/// The unique indexes a conflict target means; all of them without one.
fn arbiters(context: &Context, table: &TableDescriptor, target: Option<&ConflictTarget>) -> Result<Vec<Index>> {
    let unique = || table.all_indexes().filter(|index| index.unique || index.space == table.primary.space);
    match target {
        None => Ok(unique().cloned().collect()),
        Some(ConflictTarget::OnConstraint(name)) => {
            let name = name_parts(name)?.pop().unwrap_or_default();
            if let Some(target) = conflict_target(&name) {
                return inferred(context, table, &target);
            }
            let missing = || {
                let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.identity.name);
                Error::new(code::UNDEFINED_OBJECT, message)
            };
            let is_named = |index: &&Index| index.name == name && table.is_key(index);
            Ok(vec![unique().find(is_named).cloned().ok_or_else(missing)?])
        }
        Some(ConflictTarget::Columns(columns)) => {
            let mut positions = HashSet::new();
            for name in &columns.iter().map(folded).collect::<Vec<_>>() {
                let missing = || Error::new(code::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
                positions.insert(
                    table
                        .columns
                        .iter()
                        .position(|column| column.name == *name && !column.hidden)
                        .ok_or_else(missing)?,
                );
            }
            let fits = |index: &&Index| {
                table.is_key(index) && values_in_index(table, index).collect::<HashSet<_>>() == positions
            };
            some(unique().filter(fits).cloned().collect())
        }
    }
}

fn some(fitting: Vec<Index>) -> Result<Vec<Index>> {
    if fitting.is_empty() {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        return Err(Error::new(code::INVALID_COLUMN_REFERENCE, message));
    }
    Ok(fitting)
}

/// The unique indexes on these expressions whose rows fulfil a condition: `(expression, ...) WHERE condition`.
fn inferred(context: &Context, table: &TableDescriptor, target: &str) -> Result<Vec<Index>> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::parse_sql(&dialect, &format!("CREATE INDEX ON t {target}")).map_err(Error::internal)?;
    let Some(Statement::CreateIndex(wanted)) = parsed.into_iter().next() else {
        return Err(Error::internal("a conflict target is not like an index"));
    };
    let schema = row_schema(table);
    let plan = |expression: Expr| planned(context, expression, &schema);
    let wanted_parts =
        wanted.columns.into_iter().map(|column| plan(column.column.expr)).collect::<Result<HashSet<_>>>()?;
    let condition = wanted.predicate.map(plan).transpose()?;
    let said: HashSet<&DfExpr> = condition.iter().flat_map(split_conjunction).collect();
    let mut fitting = Vec::new();
    for index in table.all_indexes().filter(|index| index.unique || index.space == table.primary.space) {
        // A column as itself, one that is computed as what it is computed from.
        let part = |id: ColumnId| match table.column(id) {
            Some(Column { hidden: true, generated: Some(sql), .. }) => plan(expression::parse(sql)?),
            column => plan(Expr::Identifier(Ident::with_quote('"', column.map_or("", |column| &column.name)))),
        };
        let parts = index.columns.iter().map(|column| part(column.column)).collect::<Result<HashSet<_>>>()?;
        let has_rows = match index.predicate {
            Some(predicate) => split_conjunction(&part(predicate)?).into_iter().all(|part| said.contains(part)),
            None => true,
        };
        if parts == wanted_parts && has_rows {
            fitting.push(index.clone());
        }
    }
    some(fitting)
}
