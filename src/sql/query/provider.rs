//! What DataFusion's planner asks about names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, RecordBatch, new_empty_array};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{MemTable, TableProvider, ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource,
    Volatility, WindowUDF, cast,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast::{DataType as SqlType, Expr as SqlExpr, Query, Statement as Ast};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::introspection::{self, Snapshot};
use super::super::types::{anonymous_field, field, of_field};
use super::apply::plan_lateral_joins;
use super::byte_strings;
use super::coalesce;
use super::collected;
use super::decimal_arrays;
use super::enums;
use super::functions;
use super::implicit::ImplicitCasts;
use super::json;
use super::lateral;
use super::local;
use super::math;
use super::operators::Operators;
use super::outer_aggregates;
use super::remembering;
use super::rounding;
use super::scalars;
use super::series;
use super::totals;
use super::whole_rows;
use crate::catalog::ColumnType;

/// Functions that do the same with instants in every time zone.
const OF_ANY_ZONE: [&str; 5] = ["timezone", "coalesce", "nullif", "greatest", "least"];

type DfResult<T> = datafusion::error::Result<T>;

/// Plans statements whose tables have been resolved.
pub struct Planner {
    state: SessionState,
    tables: HashMap<TableReference, Arc<dyn TableSource>>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    snapshot: Arc<Snapshot>,
    context: Context,
    types: Arc<dyn TypePlanner>,
    expressions: Vec<Arc<dyn ExprPlanner>>,
    /// The last column that was taken for one with fields.
    with_fields: Arc<Mutex<Option<String>>>,
}

impl Planner {
    /// A planner that knows no table yet.
    pub fn new(context: &Context) -> Planner {
        let mut state = context.engine().query_state().clone();
        state.mark_start_execution();
        state.add_analyzer_rule(Arc::new(ImplicitCasts { zone: context.zone() }));
        state.execution_props_mut().query_execution_start_time = Some(context.txn().snapshot().to_utc());
        let with_fields: Arc<Mutex<Option<String>>> = Arc::default();
        let own: Arc<dyn ExprPlanner> = Arc::new(Operators { zone: context.zone(), with_fields: with_fields.clone() });
        let expressions = std::iter::once(own).chain(state.expr_planners().iter().cloned()).collect();
        let functions = functions::of_session(context);
        let snapshot = Arc::new(Snapshot::new(context.clone()));
        let types = Arc::new(Types(context.clone()));
        Planner {
            state,
            tables: HashMap::new(),
            functions,
            snapshot,
            context: context.clone(),
            types,
            expressions,
            with_fields,
        }
    }

    /// The catalog as this statement sees it.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Makes a table known under the name the statement uses.
    pub fn add_table(&mut self, name: TableReference, table: Arc<dyn TableSource>) {
        self.tables.insert(name, table);
    }

    /// Plans a query.
    pub fn plan(&self, query: Query) -> Result<LogicalPlan> {
        self.plan_open(query, Vec::new())
    }

    /// The same with placeholders of these types.
    pub fn plan_open(&self, query: Query, parameters: Vec<Option<FieldRef>>) -> Result<LogicalPlan> {
        let plan = self.plan_with_parameters(query, parameters)?;
        outer_aggregates::refuse(&plan)?;
        let plan = whole_rows::expand(plan)?;
        Ok(plan_lateral_joins(plan, self.context.zone())?)
    }

    /// Plans a query with placeholders, of which some have known types.
    pub fn plan_with_parameters(&self, query: Query, parameters: Vec<Option<FieldRef>>) -> Result<LogicalPlan> {
        let plan = |query: Query| {
            let mut context = PlannerContext::new().with_prepare_param_data_types(parameters.clone());
            self.sql_to_rel().sql_statement_to_plan_with_context(Ast::Query(Box::new(query)), &mut context)
        };
        let with_fields = || self.with_fields.lock().unwrap_or_else(PoisonError::into_inner).take();
        let planned = plan(query.clone());
        let Some(_) = with_fields() else { return Ok(planned?) };
        let mut renamed = query;
        lateral::rename_outer(&mut renamed);
        let planned = plan(renamed)?;
        match with_fields() {
            None => Ok(planned),
            Some(column) => {
                let message = format!("missing FROM-clause entry for table \"{column}\"");
                Err(Error::new(code::UNDEFINED_TABLE, message))
            }
        }
    }

    fn sql_to_rel(&self) -> SqlToRel<'_, Planner> {
        SqlToRel::new_with_options(self, ParserOptions::from(&self.options().sql_parser))
    }

    /// Compiles an expression over the columns of a schema.
    pub fn compile(&self, expression: SqlExpr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self.state.create_physical_expr(self.simplified(expression, schema)?, schema)?)
    }

    /// An expression over the columns of a schema, as the optimizer leaves it.
    pub fn simplified(&self, expression: SqlExpr, schema: &DFSchema) -> Result<Expr> {
        let planned = self.sql_to_rel().sql_to_expr(expression, schema, &mut PlannerContext::new())?;
        let simplifier = self.simplifier(Some(schema));
        let casts = ImplicitCasts { zone: self.context.zone() };
        let coerced = casts.replace(simplifier.coerce(planned, schema)?, schema)?.data;
        Ok(simplifier.simplify(coerced)?)
    }

    /// Whether all functions in an expression give the same for the same arguments.
    pub fn is_immutable(&self, expression: SqlExpr, schema: &DFSchema) -> Result<bool> {
        let planned = self.sql_to_rel().sql_to_expr(expression, schema, &mut PlannerContext::new())?;
        // What becomes of an instant depends on the session's time zone, with few exceptions.
        let has_instants = |part: &Expr| part.to_field(schema).is_ok_and(|(_, field)| of_field(&field).has_instants());
        let is_literal = |part: &Expr| matches!(part, Expr::Literal(..));
        let changes = |part: &Expr| match part {
            Expr::ScalarFunction(call) => {
                let is_zoned = !OF_ANY_ZONE.contains(&call.name())
                    && !call.args.iter().all(is_literal)
                    && (has_instants(part) || call.args.iter().any(has_instants));
                Ok(is_zoned || call.func.signature().volatility != Volatility::Immutable)
            }
            _ => Ok(false),
        };
        Ok(!planned.exists(changes)?)
    }

    fn simplifier(&self, schema: Option<&DFSchema>) -> ExprSimplifier {
        let mut context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.state.config_options()))
            .with_query_execution_start_time(self.state.execution_props().query_execution_start_time);
        if let Some(schema) = schema {
            context = context.with_schema(Arc::new(schema.clone()));
        }
        ExprSimplifier::new(context.build())
    }

    /// The rows of a `generate_series` of times.
    fn series_of_times(&self, args: &[Expr]) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let nothing = DFSchema::empty();
        let types = args.iter().map(|arg| arg.get_type(&nothing)).collect::<DfResult<Vec<DataType>>>()?;
        let Some(function) = self.get_function_meta("generate_series").filter(|_| series::is_of_times(&types)) else {
            return Ok(None);
        };
        let list = function.call(args.to_vec());
        let column_type = match of_field(list.to_field(&nothing)?.1.as_ref()) {
            ColumnType::Array(element) => *element,
            other => other,
        };
        let field = field("value", &column_type, true);
        let schema = Arc::new(Schema::new(vec![field]));
        let values = match self.simplifier(None).simplify(list)? {
            Expr::Literal(ScalarValue::List(list), _) if list.is_valid(0) => list.value(0),
            Expr::Literal(..) => new_empty_array(schema.field(0).data_type()),
            // What is only known when the query runs.
            _ => return Ok(None),
        };
        let batch = RecordBatch::try_new(schema.clone(), vec![values])?;
        Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?)))
    }

    /// The state to run what was planned with.
    pub fn into_state(self) -> SessionState {
        self.state
    }
}

impl ContextProvider for Planner {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        let missing = || Error::new(code::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", dotted(&name)));
        self.tables.get(&name).cloned().ok_or_else(|| missing().into())
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DfResult<Arc<dyn TableSource>> {
        let name = name.trim_matches('"').to_ascii_lowercase();
        let missing = || Error::new(code::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
        let function = self.state.table_functions().get(&name).ok_or_else(missing)?;
        let (simplifier, schema) = (self.simplifier(None), DFSchema::empty());
        let types = args.iter().map(|arg| arg.get_type(&schema)).collect::<DfResult<Vec<DataType>>>()?;
        let constant = |arg| {
            let simple = simplifier.simplify(simplifier.coerce(arg, &schema)?)?;
            Ok(match simple {
                Expr::Literal(value, metadata) if value.is_null() => Expr::Literal(ScalarValue::Null, metadata),
                // Functions take 64-bit numbers only.
                Expr::Literal(value, metadata) if value.data_type().is_integer() => {
                    Expr::Literal(value.cast_to(&DataType::Int64)?, metadata)
                }
                other => other,
            })
        };
        let args = args.into_iter().map(constant).collect::<DfResult<Vec<_>>>()?;
        if name == "generate_series"
            && let Some(table) = self.series_of_times(&args)?
        {
            return Ok(provider_as_source(table));
        }
        let table = function.create_table_provider_with_args(TableFunctionArgs::new(&args, &self.state))?;
        let source = provider_as_source(table);
        if name == "generate_series" && series::is_short(&types) {
            let numbers = LogicalPlanBuilder::scan(&name, source, None)?;
            let columns = numbers.schema().columns().into_iter();
            let short = columns.map(|column| cast(Expr::Column(column.clone()), DataType::Int32).alias(column.name));
            let plan = numbers.project(short.collect::<Vec<Expr>>())?.build()?;
            return Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))));
        }
        Ok(source)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expressions
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(self.types.clone())
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = plain(name);
        let own = self
            .functions
            .get(name)
            .cloned()
            .or_else(|| functions::cast_by_name(&self.context, name))
            .or_else(|| json::by_name(name, self.context.zone()));
        let own = own.or_else(|| scalars::by_name(name, self.context.zone()));
        let own = own.or_else(|| introspection::function(&self.snapshot, name));
        let own = own.or_else(|| collected::by_name(name)).or_else(|| enums::by_name(name));
        let theirs_of = |name: &str| self.state.scalar_functions().get(name).cloned();
        let theirs = || theirs_of(name);
        own.or_else(|| match name {
            "coalesce" | "greatest" | "least" | "make_array" => theirs().map(coalesce::typing),
            math::NEGATIVE => Some(math::negative()),
            "generate_series" => {
                Some(series::of_both(theirs()?, scalars::by_name("series:times", self.context.zone())?))
            }
            _ if let Some(both) = byte_strings::of_both(name, self.context.zone(), theirs) => Some(both),
            _ if let Some(of_one_type) = decimal_arrays::by_name(name, theirs) => Some(of_one_type),
            _ if let Some(refusing) = math::refusing(name, theirs) => Some(refusing),
            _ if let Some(rounding) = rounding::by_name(name, theirs_of) => Some(rounding),
            _ => theirs().map(|theirs| local::zoned(theirs, self.context.zone())),
        })
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(plain(name)).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let theirs = self.state.aggregate_functions().get(plain(name)).cloned()?;
        Some(match theirs.name() {
            "sum" | "avg" => totals::exact(theirs),
            _ => remembering::remembering(theirs),
        })
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(plain(name)).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().chain(self.state.scalar_functions().keys()).cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

fn dotted(name: &TableReference) -> String {
    let parts = [name.catalog(), name.schema(), Some(name.table())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(".")
}

/// SQL types wherever DataFusion meets one.
struct Types(Context);

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Types")
    }
}

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> DfResult<Option<FieldRef>> {
        let column_type = self.0.column_type(sql_type).map_err(DataFusionError::from)?;
        Ok(Some(anonymous_field(&column_type)))
    }
}

/// A function's name without the schema in which all of them are.
fn plain(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}
