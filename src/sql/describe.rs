//! What a prepared statement takes and gives, found out without running it.

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::Expr as PlanExpr;
use datafusion::logical_expr::expr::Placeholder;
use sqlparser::ast::{
    Declare, Expr, OnConflictAction, OnInsert, Query, SelectItem, SetExpr, Statement as Ast, TableObject,
    TableWithJoins, Visit, Visitor,
};

use super::context::Context;
use super::dml;
use super::error::Result;
use super::query::{self, ExtraTables, OutputColumn, ParameterTypes, Visibility, rewrite};
use super::show::{self, Shown};
use super::types::{anonymous_field, of_field};
use super::{control, ids, settings::SessionSettings};
use super::{schedules, show_activity, show_backup};
use crate::catalog::{ColumnType, Datum};
use crate::jobs::JobId;
use crate::parser::{Integer, Ordinary, Parsed, Statement, Text};

/// The parameters and columns of a statement.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The type of each parameter.
    pub parameters: Vec<ColumnType>,
    /// The columns of its result; `None` if it has none.
    pub columns: Option<Vec<OutputColumn>>,
}

/// Describes a statement; `declared` are the parameter types the client named.
pub async fn describe(
    context: &Context,
    parsed: &Parsed,
    settings: &SessionSettings,
    declared: &[Option<ColumnType>],
) -> Result<Description> {
    let parameters = |column_type: ColumnType| vec![column_type; parsed.parameters];
    match &parsed.statement {
        Statement::Sql(ordinary) => describe_ordinary(context, ordinary, settings, declared).await,
        Statement::Backup(backup) => Ok(Description {
            parameters: parameters(ColumnType::Text),
            columns: Some(job_columns(backup.options.detached)),
        }),
        Statement::Restore(restore) => Ok(Description {
            parameters: parameters(ColumnType::Text),
            columns: Some(job_columns(restore.options.detached)),
        }),
        Statement::Role(_) => Ok(Description { parameters: parameters(ColumnType::Text), columns: None }),
        Statement::ShowBackups(_) => {
            let columns = Shown::new(&[("path", ColumnType::Text)]).columns;
            Ok(Description { parameters: parameters(ColumnType::Text), columns: Some(columns) })
        }
        Statement::ShowBackup(show) => {
            let columns = show_backup::columns(show).columns;
            Ok(Description { parameters: parameters(ColumnType::Text), columns: Some(columns) })
        }
        Statement::ShowJobs(show) => {
            let types = ids::parameter_types(context, show.jobs.query(), &ColumnType::Int8, settings).await?;
            Ok(Description { parameters: types, columns: Some(control::jobs_columns().columns) })
        }
        Statement::CreateSchedule(_) => {
            let columns = schedules::pair_columns().columns;
            Ok(Description { parameters: parameters(ColumnType::Text), columns: Some(columns) })
        }
        Statement::AlterSchedule(alter) => {
            // The id is a number; everything else is text.
            let mut types = parameters(ColumnType::Text);
            if let Integer::Placeholder(number) = alter.id
                && let Some(id) = types.get_mut(number as usize - 1)
            {
                *id = ColumnType::Int8;
            }
            let columns = schedules::pair_columns().columns;
            Ok(Description { parameters: types, columns: Some(columns) })
        }
        Statement::ShowSchedule(_) => {
            let columns = schedules::columns(false).columns;
            Ok(Description { parameters: parameters(ColumnType::Int8), columns: Some(columns) })
        }
        Statement::ShowCreateSchedules(_) => {
            let columns = schedules::create_columns().columns;
            Ok(Description { parameters: parameters(ColumnType::Int8), columns: Some(columns) })
        }
        Statement::ControlSchedules(control) => {
            let types = ids::parameter_types(context, Some(&control.ids), &ColumnType::Int8, settings).await?;
            Ok(Description { parameters: types, columns: None })
        }
        Statement::ControlJobs(control) => {
            let mut types = ids::parameter_types(context, control.jobs.query(), &ColumnType::Int8, settings).await?;
            types.resize(parsed.parameters, ColumnType::Text);
            if let Some(Text::Placeholder(number)) = control.reason
                && let Some(reason) = types.get_mut(number as usize - 1)
            {
                *reason = ColumnType::Text;
            }
            Ok(Description { parameters: types, columns: None })
        }
        Statement::Cancel(cancel) => {
            let types = show_activity::cancel_parameters(context, cancel, settings).await?;
            Ok(Description { parameters: types, columns: None })
        }
        other => {
            let shown = show::show(context, other, settings, &[]).await?;
            Ok(Description { parameters: Vec::new(), columns: shown.map(|shown| shown.columns) })
        }
    }
}

fn job_columns(detached: bool) -> Vec<OutputColumn> {
    if detached {
        return control::detached(JobId(0)).columns;
    }
    let (text, count) = (ColumnType::Text, ColumnType::Int8);
    let columns =
        [("job_id", &count), ("status", &text), ("fraction_completed", &ColumnType::Float8), ("rows", &count)];
    let columns = columns.into_iter().chain([("index_entries", &count), ("bytes", &count)]);
    columns.map(|(name, column_type)| OutputColumn::new(name, column_type.clone())).collect()
}

/// Describes a statement that is not keepsafe's own.
pub async fn describe_ordinary(
    context: &Context,
    ordinary: &Ordinary,
    settings: &SessionSettings,
    declared: &[Option<ColumnType>],
) -> Result<Description> {
    let mut ast = ordinary.ast.clone();
    dml::forget_row_locks(&mut ast);
    let count = placeholders(&ast).max(declared.len());
    let mut known = ParameterTypes::default();
    for (index, column_type) in declared.iter().enumerate() {
        column_type.iter().for_each(|column_type| known.note(index, column_type.clone()));
    }
    known.note_syntax(&ast);
    let extra = show::relations(context, &ordinary.shows, settings, &[]).await?;
    let columns = describe_ast(context, &ast, &extra, count, &mut known).await?;
    let parameters = (0..count).map(|index| known.get(index).cloned().unwrap_or(ColumnType::Text)).collect();
    Ok(Description { parameters, columns })
}

/// The columns that a statement gives; what it tells of its parameters is noted.
async fn describe_ast(
    context: &Context,
    ast: &Ast,
    extra: &ExtraTables,
    count: usize,
    known: &mut ParameterTypes,
) -> Result<Option<Vec<OutputColumn>>> {
    Ok(match ast {
        Ast::Query(query) => {
            if let Some(parts) = dml::with::parts(query)? {
                let mut extra = extra.clone();
                for part in &parts.changes {
                    if let Some(columns) =
                        Box::pin(describe_ast(context, &part.statement, &extra, count, known)).await?
                    {
                        extra.insert(part.name.clone(), part.table(columns, Vec::new())?);
                    }
                }
                return Box::pin(describe_ast(context, &parts.last, &extra, count, known)).await;
            }
            infer(context, query, extra, count, known).await;
            let mut bound = (**query).clone();
            query::settle_frames(&mut bound);
            query::bind(&mut bound, &nulls(count, known))?;
            Some(query::plan(context, &bound, extra, Visibility::AsNamed).await?.columns)
        }
        Ast::Insert(insert) => {
            let target = dml::insertion_columns(context, insert).await?;
            if let Some(source) = &insert.source {
                if let SetExpr::Values(values) = &*source.body {
                    for row in &values.rows {
                        for (expression, &position) in row.content.iter().zip(&target.positions) {
                            known.note_expression(expression, &target.table.columns[position].column_type);
                        }
                        // What is computed tells of what it is computed from.
                        let is_computed =
                            |value: &&Expr| query::placeholder(value).is_none() && placeholders_in(*value) > 0;
                        let computed: Vec<Expr> = row.content.iter().filter(is_computed).cloned().collect();
                        if !computed.is_empty() {
                            infer(context, &dml::selecting(computed)?, extra, count, known).await;
                        }
                    }
                } else {
                    if let SetExpr::Select(select) = &*source.body {
                        for (item, &position) in select.projection.iter().zip(&target.positions) {
                            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                                known.note_expression(expr, &target.table.columns[position].column_type);
                            }
                        }
                    }
                    infer(context, source, extra, count, known).await;
                }
            }
            if let Some(OnInsert::OnConflict(clause)) = &insert.on
                && let OnConflictAction::DoUpdate(update) = &clause.action
                && let TableObject::TableName(name) = &insert.table
            {
                for (position, expression) in dml::assigned_columns(&target.table, &update.assignments)? {
                    known.note_expression(&expression, &target.table.columns[position].column_type);
                }
                let seen = dml::conflict_probe(name, &dml::alias_of(insert, &target.table), update)?;
                infer(context, &seen, extra, count, known).await;
            }
            if let TableObject::TableName(name) = &insert.table {
                let computed = dml::returned_values(insert.returning.as_deref());
                let seen = dml::selecting_from(computed, name, &dml::alias_of(insert, &target.table))?;
                infer(context, &seen, extra, count, known).await;
            }
            let alias = dml::alias_of(insert, &target.table);
            let returning = Returning { items: insert.returning.as_deref(), count, known };
            returning.columns(context, &target.table, &alias, &[]).await?
        }
        Ast::Update(update) => {
            let name = dml::name_of(&update.table)?;
            let table = dml::table_named(context, &name).await?;
            for (position, expression) in dml::assigned_columns(&table, &update.assignments)? {
                known.note_expression(&expression, &table.columns[position].column_type);
            }
            let rows = dml::probe(
                &update.table,
                dml::more_sources(update),
                update.selection.clone(),
                update
                    .assignments
                    .iter()
                    .map(|one| one.value.clone())
                    .chain(dml::returned_values(update.returning.as_deref())),
            )?;
            infer(context, &rows, extra, count, known).await;
            let returning = Returning { items: update.returning.as_deref(), count, known };
            let beside = returning.beside(context, &update.table, dml::more_sources(update), extra).await?;
            returning.columns(context, &table, &dml::called(&update.table)?, &beside).await?
        }
        Ast::Delete(delete) => match dml::delete_target(delete) {
            Some(target) => {
                let table = dml::table_named(context, &dml::name_of(target)?).await?;
                let more: Vec<TableWithJoins> = delete.using.clone().into_iter().flatten().collect();
                let computed = dml::returned_values(delete.returning.as_deref());
                let rows = dml::probe(target, more.clone(), delete.selection.clone(), computed)?;
                infer(context, &rows, extra, count, known).await;
                let returning = Returning { items: delete.returning.as_deref(), count, known };
                let beside = returning.beside(context, target, more, extra).await?;
                returning.columns(context, &table, &dml::called(target)?, &beside).await?
            }
            None => None,
        },
        Ast::Declare { stmts } => {
            if let [Declare { for_query: Some(query), .. }] = &stmts[..] {
                infer(context, query, extra, count, known).await;
            }
            None
        }
        Ast::Explain { .. } => Some(Shown::new(&[("info", ColumnType::Text)]).columns),
        _ => None,
    })
}

/// What a statement returns, and what is known of its parameters.
struct Returning<'a> {
    items: Option<&'a [SelectItem]>,
    count: usize,
    known: &'a ParameterTypes,
}

impl Returning<'_> {
    /// The tables beside the one that is changed, without rows.
    async fn beside(
        &self,
        context: &Context,
        target: &TableWithJoins,
        more: Vec<TableWithJoins>,
        extra: &ExtraTables,
    ) -> Result<Vec<dml::Beside>> {
        let names = dml::names_beside(&more);
        let (Some(_), Ok(names)) = (self.items, names) else { return Ok(Vec::new()) };
        let mut query = dml::probe(target, more, None, [])?;
        dml::select_beside(&mut query, &names);
        query::settle_frames(&mut query);
        query::bind(&mut query, &nulls(self.count, self.known))?;
        let columns = query::plan(context, &query, extra, Visibility::All).await?.columns;
        dml::Beside::all(context, &names, &columns).await
    }

    async fn columns(
        &self,
        context: &Context,
        table: &crate::catalog::TableDescriptor,
        called: &str,
        beside: &[dml::Beside],
    ) -> Result<Option<Vec<OutputColumn>>> {
        let Some(items) = self.items else { return Ok(None) };
        let mut items = items.to_vec();
        query::bind(&mut items, &nulls(self.count, self.known))?;
        let (columns, _) = dml::returning(context, (table, called), &items, &[], beside).await?;
        Ok(Some(columns))
    }
}

/// Lets DataFusion infer what it can: the other side of a comparison gives a parameter its type.
async fn infer(context: &Context, query: &Query, extra: &ExtraTables, count: usize, known: &mut ParameterTypes) {
    let mut query = query.clone();
    query::as_comparisons(&mut query);
    if count == known.len() || rewrite(&mut query).is_err() {
        return;
    }
    let Ok(planner) = query::prepare(context, &query, extra, Visibility::AsNamed).await else { return };
    let field = |index: usize| known.get(index).map(anonymous_field);
    let fields: Vec<Option<FieldRef>> = (0..count).map(field).collect();
    let Ok(plan) = planner.plan_with_parameters(query, fields) else { return };
    // One that is used as two types has the first.
    let seen = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let PlanExpr::Placeholder(Placeholder { id, field: Some(field) }) = part
                    && let Some(index) =
                        id.trim_start_matches('$').parse::<usize>().ok().and_then(|at| at.checked_sub(1))
                    && !field.data_type().is_null()
                {
                    known.note_beside(index, of_field(field));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if let Err(error) = seen {
        tracing::debug!(%error, "the parameters of a plan could not be looked at");
    }
}

fn nulls(count: usize, known: &ParameterTypes) -> Vec<(ColumnType, Datum<'static>)> {
    (0..count).map(|index| (known.get(index).cloned().unwrap_or(ColumnType::Text), Datum::Null)).collect()
}

/// The highest placeholder of a statement.
pub fn placeholders(statement: &Ast) -> usize {
    placeholders_in(statement)
}

fn placeholders_in<T: Visit>(tree: &T) -> usize {
    struct Highest(usize);
    impl Visitor for Highest {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> std::ops::ControlFlow<()> {
            if let Some(index) = query::placeholder(expression) {
                self.0 = self.0.max(index + 1);
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut highest = Highest(0);
    let _ = tree.visit(&mut highest);
    highest.0
}
