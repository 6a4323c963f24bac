//! Queries: from a syntax tree to a stream of batches, on DataFusion.
//!
//! ```text
//!   Query --rewrite--> Query --resolve names--> tables --SqlToRel--> plan --optimize--> stream
//! ```
//!
//! Names are resolved in the transaction's catalog before planning, which is synchronous ([`provider`]). Casts, intervals and
//! other things DataFusion sees differently than PostgreSQL are reworded in the syntax tree ([`rewrite`]) to functions
//! of keepsafe's own ([`functions`]). Tables are scans of the store ([`table`]).

mod apply;
mod blank_padding;
mod byte_strings;
mod cached;
mod catalog_forms;
mod coalesce;
mod collected;
mod correlated;
mod decimal_arrays;
mod decimals;
mod distinct_order;
mod enums;
mod equal_keys;
pub mod expression;
mod frames;
mod functions;
mod group_keys;
mod implicit;
mod joins;
mod json;
mod key_comparisons;
mod lateral;
mod literals;
mod local;
mod math;
mod membership;
mod named_windows;
mod nullable_sides;
mod number_patterns;
mod numbers;
mod open_literals;
mod operators;
mod ordered_aggregates;
mod origin;
mod outer_aggregates;
mod output_names;
mod own_expressions;
mod parameter_types;
mod parameters;
mod passed_types;
mod patterns;
mod percentiles;
mod provider;
mod quantified;
mod ranged;
mod regular;
mod remembering;
mod renamed;
mod rewrite;
mod rounding;
mod row_function;
mod rows;
mod scalars;
mod scan;
pub mod sequences;
mod series;
mod set_functions;
mod set_operations;
mod similar;
mod sliding;
mod sort_keys;
mod spans;
mod subquery_order;
mod table;
mod time_patterns;
mod times;
mod totals;
mod value_keys;
mod values;
mod whole_rows;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::TableReference;
use datafusion::datasource::{TableProvider, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::resolve::resolve_table_references;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use sqlparser::ast::{Query, Statement as Ast};
use tokio::sync::mpsc;

pub use apply::Planning;
pub use cached::PlanCache;
pub use correlated::aggregates;
pub use frames::settle_frames;
pub use group_keys::GroupKeys;
pub use joins::merges as merges_columns;
pub use nullable_sides::physical_rules;
pub use origin::Origin;
pub use parameter_types::{ParameterTypes, as_comparisons};
use parameters::bind_some;
pub use parameters::{Parameter, bind, literal, placeholder};
pub use passed_types::PassedTypes;
pub use provider::Planner;
pub use rewrite::{has_subquery, join_balanced, mentions, rewrite};
pub use sort_keys::{SortKeys, WindowKeys};
pub use spans::point_keys;
pub use table::StoreTable;
pub use totals::Totals;

use self::cached::Sources;
use super::arrays::{canonical_columns, canonical_types};
use super::context::Context;
use super::engine::Engine;
use super::error::{Error, Result, code};
use super::introspection::Snapshot;
use crate::catalog::{Column, ColumnId, ColumnType, Descriptor, TableDescriptor, ViewDescriptor};

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// The column of a table that it shows as it is.
    pub origin: Option<Origin>,
}

impl OutputColumn {
    /// One that is computed.
    pub fn new(name: impl Into<String>, column_type: ColumnType) -> OutputColumn {
        OutputColumn { name: name.into(), column_type, origin: None }
    }
}

/// Batches of a result, each column in exactly the Arrow type of its SQL type.
pub type Batches = BoxStream<'static, Result<RecordBatch>>;

/// A planned query.
pub struct Planned {
    /// Its columns.
    pub columns: Vec<OutputColumn>,
    engine: Arc<Engine>,
    state: Arc<SessionState>,
    plan: LogicalPlan,
}

/// Tables that a statement brings along: `SHOW`s used as relations.
pub type ExtraTables = HashMap<String, Arc<dyn TableProvider>>;

/// Which columns of stored tables a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Those that `SELECT *` shows, and hidden ones the query names.
    AsNamed,
    /// All, in the table's order.
    All,
}

/// Plans a query.
pub async fn plan(context: &Context, query: &Query, extra: &ExtraTables, visibility: Visibility) -> Result<Planned> {
    let mut query = query.clone();
    let is_of_catalog = catalog_forms::is_of_catalog(&query);
    let names = rewrite(&mut query)?;
    let planner = prepare(context, &query, extra, visibility).await?;
    // It may take long, and other sessions are not to wait for it.
    tokio::task::block_in_place(|| {
        let logical = planner.plan(query)?;
        optimized(context, planner, logical, &names, is_of_catalog)
    })
}

fn optimized(
    context: &Context,
    planner: Planner,
    logical: LogicalPlan,
    names: &output_names::OutputNames,
    is_of_catalog: bool,
) -> Result<Planned> {
    let origins: Vec<_> = (0..logical.schema().fields().len()).map(|index| origin::of(&logical, index)).collect();
    let state = planner.into_state();
    let optimized = apply::optimize(&state, &logical, context.zone())?;
    let schema = Arc::new(optimized.schema().as_arrow().clone());
    let column = |((field, column_type), origin): ((&Arc<_>, ColumnType), Option<Origin>)| {
        let field: &datafusion::arrow::datatypes::Field = field;
        // What the catalog has lists of are object identifiers, which clients know by their type.
        let column_type = match column_type {
            ColumnType::Array(element) if is_of_catalog && *element == ColumnType::Int8 => {
                ColumnType::Array(Box::new(ColumnType::Oid))
            }
            other => other,
        };
        OutputColumn { name: names.shown(field.name()), column_type, origin }
    };
    // Some rules of the optimizer forget what is said of a type.
    let typed = Arc::new(logical.schema().as_arrow().clone());
    let types = canonical_types(&schema).into_iter().zip(canonical_types(&typed));
    let same = schema.fields().iter().zip(typed.fields()).map(|(now, before)| now.data_type() == before.data_type());
    let types = types.zip(same).map(|((now, before), same)| match before {
        // What is passed on is written down when it is analyzed.
        ColumnType::Text | ColumnType::Char(_) => now,
        before if same => before,
        _ => now,
    });
    let types: Vec<ColumnType> = types.collect();
    if types.iter().any(
        |column_type| matches!(column_type, ColumnType::Array(element) if matches!(**element, ColumnType::Array(_))),
    ) {
        return Err(rewrite::many_dimensions());
    }
    let columns = schema.fields().iter().zip(types).zip(origins).map(column).collect();
    Ok(Planned { columns, engine: context.engine().clone(), state: Arc::new(state), plan: optimized })
}

/// A planner that knows every table the query names.
pub async fn prepare(context: &Context, query: &Query, extra: &ExtraTables, visibility: Visibility) -> Result<Planner> {
    let all = visibility == Visibility::All || rewrite::mentions(query, super::ddl::ROW_ID);
    let sources = Sources::default();
    let sight = Sight { all, keyed: !lateral::makes_rows(query), view: None, sources: &sources };
    prepare_with(context, query, extra, sight).await
}

/// How a query sees the tables it names.
#[derive(Clone, Copy)]
struct Sight<'a> {
    /// With their hidden columns.
    all: bool,
    /// Whether rows of a table are still one for each primary key wherever the query looks at them. DataFusion takes them to be that
    /// also when it has made several rows of each.
    keyed: bool,
    /// The view whose query it is.
    view: Option<&'a ViewDescriptor>,
    /// Where it is noted what is found.
    sources: &'a Sources,
}

async fn prepare_with(context: &Context, query: &Query, extra: &ExtraTables, sight: Sight<'_>) -> Result<Planner> {
    let statement = DfStatement::Statement(Box::new(Ast::Query(Box::new(query.clone()))));
    let (references, _) = resolve_table_references(&statement, true)?;
    let mut planner = Planner::new(context);
    for reference in references {
        let table = match extra.get(reference.table()).filter(|_| reference.schema().is_none()) {
            Some(extra) => {
                sight.sources.note_other();
                Some(extra.clone())
            }
            None => find_table(context, planner.snapshot(), &reference, sight).await?,
        };
        if let Some(table) = table {
            planner.add_table(reference, provider_as_source(table));
        }
    }
    Ok(planner)
}

/// The table a name stands for; `None` for names that are no table, such as table functions.
async fn find_table(
    context: &Context,
    snapshot: &Snapshot,
    reference: &TableReference,
    sight: Sight<'_>,
) -> Result<Option<Arc<dyn TableProvider>>> {
    let parts = [reference.catalog(), reference.schema(), Some(reference.table())];
    let parts: Vec<String> = parts.into_iter().flatten().map(str::to_string).collect();
    if let Some(table) = snapshot.find(&parts).await? {
        sight.sources.note_other();
        return Ok(Some(table));
    }
    let Some(found) = context.find_object(&parts).await? else { return Ok(None) };
    sight.sources.note(sight.view.map(|view| view.database), &parts, &found);
    table_provider(context, found, sight).await.map(Some)
}

/// What a query scans when it names an object.
fn table_provider<'a>(
    context: &'a Context,
    found: Arc<Descriptor>,
    sight: Sight<'a>,
) -> BoxFuture<'a, Result<Arc<dyn TableProvider>>> {
    Box::pin(async move {
        match &*found {
            Descriptor::Table(table) => {
                let (id, table) = (table.identity.id, Arc::new(table.clone()));
                let seen = |column: &Column| {
                    (sight.all || !column.hidden) && sight.view.is_none_or(|view| view.knows(id, column))
                };
                let computed = computed(context, &table).await?;
                let table = StoreTable::new(table, context.txn().clone(), seen, sight.keyed).with_computed(computed);
                Ok(Arc::new(table) as Arc<dyn TableProvider>)
            }
            Descriptor::View(view) => {
                let inside = context.inside_database(view.database).await?;
                let mut query = super::parse_query(&view.query)?;
                rewrite(&mut query)?;
                let all = rewrite::mentions(&query, super::ddl::ROW_ID);
                let keyed = sight.keyed && !lateral::makes_rows(&query);
                let sight = Sight { all, keyed, view: Some(view), sources: sight.sources };
                let planner = prepare_with(&inside, &query, &ExtraTables::new(), sight).await?;
                let plan = planner.plan(query)?;
                let renamed = rename_columns(plan, view.columns.iter().map(|column| column.name.as_str()))?;
                Ok(Arc::new(ViewTable::new(renamed, Some(view.query.clone()))) as Arc<dyn TableProvider>)
            }
            Descriptor::Sequence(sequence) => sequences::relation(context, sequence).await,
            other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is a {}", other.name(), other.kind()))),
        }
    })
}

/// What the hidden columns of a table are computed from, as a filter would say it.
async fn computed(
    context: &Context,
    table: &TableDescriptor,
) -> Result<Vec<(ColumnId, datafusion::logical_expr::Expr)>> {
    let mut computed = Vec::new();
    if table.columns.iter().all(|column| !column.hidden || column.generated.is_none()) {
        return Ok(computed);
    }
    let context = &context.for_stored_values(table.database).await?;
    for column in table.columns.iter().filter(|column| column.hidden) {
        if let Some(sql) = &column.generated {
            let planned = expression::planned(context, expression::parse(sql)?, &expression::row_schema(table))?;
            computed.push((column.id, planned));
        }
    }
    Ok(computed)
}

fn rename_columns<'a>(plan: LogicalPlan, names: impl Iterator<Item = &'a str>) -> Result<LogicalPlan> {
    use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
    let columns = plan.schema().columns();
    let renamed = columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
    let renamed: Vec<Expr> = renamed.collect();
    Ok(LogicalPlanBuilder::from(plan).project(renamed)?.build()?)
}

impl Planned {
    /// The plan, optimized.
    pub fn logical(&self) -> &LogicalPlan {
        &self.plan
    }

    /// The steps that compute it. A plan that DataFusion cannot make sense of is an error, not the end of the connection.
    async fn physical(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let planned = self.state.query_planner().create_physical_plan(&self.plan, &*self.state);
        match AssertUnwindSafe(planned).catch_unwind().await {
            Ok(planned) => Ok(planned?),
            Err(_) => Err(Error::internal("the query could not be planned")),
        }
    }

    /// Runs it. Dropping the stream stops it.
    pub async fn run(self) -> Result<(Vec<OutputColumn>, Batches)> {
        let physical = self.physical().await?;
        let stream = in_task(&self.engine, execute_stream(physical, self.state.task_ctx())?)?;
        let types: Vec<ColumnType> = self.columns.iter().map(|column| column.column_type.clone()).collect();
        let schema = schema_of(&self.columns);
        let batches = stream.map(move |batch| {
            let batch = batch?;
            let columns = canonical_columns(&batch, &types)?;
            let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
        });
        Ok((self.columns, batches.boxed()))
    }

    /// What DataFusion would do, as text.
    pub async fn explain(&self, verbose: bool) -> Result<String> {
        let physical = self.physical().await?;
        Ok(displayable(&*physical).indent(verbose).to_string())
    }

    /// What it did, with how many rows each step gave and how long it took.
    pub async fn explain_run(&self, verbose: bool) -> Result<String> {
        let physical = self.physical().await?;
        let mut rows = in_task(&self.engine, execute_stream(physical.clone(), self.state.task_ctx())?)?;
        while let Some(batch) = rows.next().await {
            batch?;
        }
        Ok(DisplayableExecutionPlan::with_metrics(&*physical).indent(verbose).to_string())
    }
}

/// Runs a stream in a task of its own, so that whoever waits for it can stop waiting even while it computes.
fn in_task(
    engine: &Engine,
    mut stream: SendableRecordBatchStream,
) -> Result<BoxStream<'static, datafusion::error::Result<RecordBatch>>> {
    let (sender, mut receiver) = mpsc::channel(1);
    let task = engine.spawn_query(async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    })?;
    let mut task = Some(AbortOnDrop(task));
    let batches = stream::poll_fn(move |context| match receiver.poll_recv(context) {
        Poll::Ready(None) => match task.take() {
            None => Poll::Ready(None),
            // The end of the channel is the end of the result only if the task got there.
            Some(mut ended) => match Pin::new(&mut ended.0).poll(context) {
                Poll::Ready(Ok(())) => Poll::Ready(None),
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(DataFusionError::ExecutionJoin(Box::new(error))))),
                Poll::Pending => {
                    task = Some(ended);
                    Poll::Pending
                }
            },
        },
        other => other,
    });
    Ok(batches.boxed())
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The Arrow schema of a result.
pub fn schema_of(columns: &[OutputColumn]) -> datafusion::arrow::datatypes::SchemaRef {
    let fields = columns.iter().map(|column| super::types::field(&column.name, &column.column_type, true));
    Arc::new(datafusion::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}
