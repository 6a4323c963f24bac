//! `sum` and `avg` of whole numbers and decimals, whose results have PostgreSQL's types: a sum of `BIGINT` is a decimal, and does not wrap
//! around; an average is a quotient of decimals.
//!
//! While a query is planned they stand for themselves ([`Total`]) and say what they give. When it is whole, [`Totals`] puts DataFusion's own
//! sums in their places, and for an average a sum and a count.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
    Signature, Volatility, Window, WindowFunctionDefinition, cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::super::error::Error;
use super::super::types::{MAX_DECIMAL_PRECISION, unnamed};
use super::decimals::{self, QUOTIENT_SCALE};

type DfResult<T> = datafusion::error::Result<T>;

/// What stands for DataFusion's `sum` or `avg` until the plan is whole.
pub fn exact(theirs: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(Total { theirs, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Total {
    theirs: Arc<AggregateUDF>,
    signature: Signature,
}

impl Total {
    /// What is to be summed up instead of a value of a type, if its sum is exact.
    fn summed(data_type: &DataType) -> Option<DataType> {
        match data_type {
            DataType::Int16 | DataType::Int32 => Some(DataType::Int64),
            DataType::Int64 => Some(DataType::Decimal128(19, 0)),
            DataType::Decimal128(..) => Some(data_type.clone()),
            _ => None,
        }
    }

    fn is_average(&self) -> bool {
        self.theirs.name() == "avg"
    }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        match types {
            [one] if Total::summed(one).is_some() => Ok(types.to_vec()),
            _ => {
                let fields: Vec<FieldRef> = types.iter().map(unnamed).collect();
                let fields =
                    datafusion::logical_expr::type_coercion::functions::fields_with_udf(&fields, self.theirs.as_ref())?;
                Ok(fields.iter().map(|field| field.data_type().clone()).collect())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match types.first().and_then(Total::summed) {
            Some(DataType::Decimal128(_, scale)) if self.is_average() => {
                Ok(DataType::Decimal128(MAX_DECIMAL_PRECISION, scale.max(QUOTIENT_SCALE)))
            }
            Some(_) if self.is_average() => Ok(DataType::Decimal128(MAX_DECIMAL_PRECISION, QUOTIENT_SCALE)),
            Some(summed) => self.theirs.return_type(&[summed]),
            None => self.theirs.return_type(types),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Err(Error::internal(format!("{} was not planned", self.name())).into())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.theirs.state_fields(args)
    }
}

/// Puts DataFusion's aggregates in their places.
#[derive(Debug)]
pub struct Totals;

impl AnalyzerRule for Totals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(replaced)?.data)
    }

    fn name(&self) -> &str {
        "totals"
    }
}

fn replaced(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let parts = Parts::of(&aggregate.aggr_expr, aggregate.input.schema())?;
            if parts.shown.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            let (input, groups) = (aggregate.input.clone(), aggregate.group_expr.clone());
            let inner = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, parts.expressions)?);
            Ok(Transformed::yes(finished(inner, &aggregate.schema, &parts.shown)?))
        }
        LogicalPlan::Window(window) => {
            let parts = Parts::of(&window.window_expr, window.input.schema())?;
            if parts.shown.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Window(window)));
            }
            let inner = LogicalPlan::Window(Window::try_new(parts.expressions, window.input.clone())?);
            Ok(Transformed::yes(finished(inner, &window.schema, &parts.shown)?))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What is shown for a total.
enum Shown {
    /// A sum.
    Column(String),
    /// The quotient of a sum and a count.
    Average(String, String),
}

/// Expressions in which DataFusion's aggregates are, each once.
#[derive(Default)]
struct Parts {
    expressions: Vec<Expr>,
    /// What is shown for each total, by its name.
    shown: HashMap<String, Shown>,
}

impl Parts {
    fn of(expressions: &[Expr], schema: &DFSchema) -> DfResult<Parts> {
        let mut parts = Parts::default();
        for expression in expressions {
            let plain = without_alias(expression);
            let Some(total) = total(plain) else {
                parts.add(expression.clone());
                continue;
            };
            let name = expression.schema_name().to_string();
            let value = argument(plain)?;
            let shown = match Total::summed(&value.get_type(schema)?) {
                Some(summed) if total.is_average() => {
                    let sum = with_function(plain, &sum_udaf(), cast(value.clone(), summed))?;
                    let count = with_function(plain, &count_udaf(), value.clone())?;
                    Shown::Average(parts.add(sum), parts.add(count))
                }
                summed => {
                    let value = match summed {
                        Some(summed) => cast(value.clone(), summed),
                        None => value.clone(),
                    };
                    Shown::Column(parts.add(with_function(plain, &total.theirs, value)?))
                }
            };
            parts.shown.insert(name, shown);
        }
        Ok(parts)
    }

    /// Adds an expression, if it is not there yet; what it is called.
    fn add(&mut self, expression: Expr) -> String {
        let name = expression.schema_name().to_string();
        if !self.expressions.contains(&expression) {
            self.expressions.push(expression);
        }
        name
    }
}

fn without_alias(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

fn total(expression: &Expr) -> Option<&Total> {
    let function = match expression {
        Expr::AggregateFunction(aggregate) => &aggregate.func,
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function,
            WindowFunctionDefinition::WindowUDF(_) => return None,
        },
        _ => return None,
    };
    function.inner().downcast_ref::<Total>()
}

fn argument(expression: &Expr) -> DfResult<&Expr> {
    let args = match expression {
        Expr::AggregateFunction(aggregate) => &aggregate.params.args,
        Expr::WindowFunction(window) => &window.params.args,
        _ => return Err(Error::internal("no aggregate").into()),
    };
    args.first().ok_or_else(|| Error::internal("an aggregate of nothing").into())
}

/// The same with another function of another value.
fn with_function(expression: &Expr, function: &Arc<AggregateUDF>, value: Expr) -> DfResult<Expr> {
    match expression {
        Expr::AggregateFunction(aggregate) => {
            let mut aggregate: AggregateFunction = aggregate.clone();
            aggregate.func = function.clone();
            aggregate.params.args = vec![value];
            Ok(Expr::AggregateFunction(aggregate))
        }
        Expr::WindowFunction(window) => {
            let mut window: WindowFunction = (**window).clone();
            window.fun = WindowFunctionDefinition::AggregateUDF(function.clone());
            window.params.args = vec![value];
            Ok(Expr::WindowFunction(Box::new(window)))
        }
        _ => Err(Error::internal("no aggregate").into()),
    }
}

/// A plan in which the totals are called as they were, and averages are made of sums and counts.
fn finished(plan: LogicalPlan, columns: &DFSchema, shown: &HashMap<String, Shown>) -> DfResult<LogicalPlan> {
    let part = |name: &String| Expr::Column(Column::new_unqualified(name.clone()));
    let column = |column: Column| {
        let instead = match shown.get(&column.name) {
            Some(Shown::Column(name)) => part(name),
            Some(Shown::Average(sum, count)) => decimals::average(part(sum), part(count)),
            None => return Expr::Column(column),
        };
        instead.alias_qualified(column.relation, column.name)
    };
    let columns: Vec<Expr> = columns.columns().into_iter().map(column).collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
