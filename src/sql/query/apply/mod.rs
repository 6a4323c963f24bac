//! Lateral joins that cannot become ordinary ones: the right side runs again for each row of the left one that differs in what it looks at.
//!
//! ```text
//!   FROM c JOIN LATERAL (SELECT * FROM o WHERE o.c = c.id ORDER BY o.total LIMIT 2) b ON b.total > c.least
//! ```
//!
//! is `Apply` of `c` and `Filter b.total > outer(c.least) (SELECT * FROM o WHERE o.c = outer(c.id) ...)`. Whoever runs it puts values in the
//! place of what is `outer` ([`substitution`]), plans what is left, which may then read an index, and joins its rows to the one of `c`.
//! DataFusion makes a hash join of what has neither order, limit, window nor set operation; that is left to it.

mod operator;
mod subqueries;
mod substitution;

use std::collections::HashSet;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType};
use datafusion::execution::SessionState;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, Filter, Join, LogicalPlan, SubqueryAlias, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use self::operator::ApplyOperator;
pub use self::subqueries::optimize;
use crate::sql::time_zone::TimeZone;

type DfResult<T> = datafusion::error::Result<T>;

/// Makes `Apply` of the lateral joins in a plan that need it.
pub fn plan_lateral_joins(plan: LogicalPlan, zone: TimeZone) -> DfResult<LogicalPlan> {
    let planned = plan.transform_up_with_subqueries(|plan| plan_one(plan, zone))?.data;
    alone(planned)
}

/// Takes the marks of lateral subqueries away that look at nothing beside them.
fn alone(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let alone = plan.transform_up_with_subqueries(|node| {
        node.map_children(|input| {
            Ok(match input {
                LogicalPlan::Subquery(subquery) => Transformed::yes(Arc::unwrap_or_clone(subquery.subquery)),
                other => Transformed::no(other),
            })
        })
    })?;
    Ok(alone.data)
}

fn plan_one(plan: LogicalPlan, zone: TimeZone) -> DfResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(Transformed::no(plan));
    }
    let inner = lateral_side(&join.right);
    let looked_at = substitution::outer_columns(inner.unwrap_or(&join.right))?;
    let is_near = |(column, _): &(Column, _)| join.left.schema().has_column(column);
    // It has no mark if only subqueries inside of it look outside.
    if looked_at.is_empty() || (inner.is_none() && !looked_at.iter().any(is_near)) {
        return Ok(Transformed::no(plan));
    }
    let inner = inner.unwrap_or(&join.right);
    if looked_at.iter().all(is_near) && is_simple(inner) {
        let joined = DecorrelateLateralJoin::new().rewrite(plan.clone(), &OptimizerContext::new())?;
        if joined.transformed && substitution::outer_columns(&joined.data)?.is_empty() {
            return Ok(Transformed::yes(joined.data));
        }
    }
    Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(Apply::of(join, zone)?) })))
}

/// The subquery that a lateral join has on its right.
fn lateral_side(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some(&subquery.subquery),
        LogicalPlan::SubqueryAlias(alias) => lateral_side(&alias.input),
        _ => None,
    }
}

/// Whether a subquery is one that DataFusion makes a right join of: rows of tables, filtered, then perhaps aggregated.
fn is_simple(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_simple(&projection.input),
        LogicalPlan::Aggregate(aggregate) => is_of_tables(&aggregate.input),
        rows => is_of_tables(rows),
    }
}

fn is_of_tables(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => matches!(*alias.input, LogicalPlan::TableScan(_)),
        LogicalPlan::Filter(filter) => is_of_tables(&filter.input),
        LogicalPlan::Join(join) => {
            join.join_type == JoinType::Inner && is_of_tables(&join.left) && is_of_tables(&join.right)
        }
        _ => false,
    }
}

/// Takes the marks of lateral subqueries out of what runs by itself.
fn unmarked(plan: &LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Subquery(subquery) => Ok(subquery.subquery.as_ref().clone()),
        LogicalPlan::SubqueryAlias(alias) => {
            let input = Arc::new(unmarked(&alias.input)?);
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?))
        }
        other => Ok(other.clone()),
    }
}

/// A join whose right side is planned and run for the values that it looks at on the left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Apply {
    input: LogicalPlan,
    inner: Arc<LogicalPlan>,
    /// What the inner plan calls the columns it looks at.
    columns: Vec<Column>,
    /// What they are here: columns of the input, or of a query farther outside.
    values: Vec<Expr>,
    /// Whether rows without a partner stay.
    keeps_left: bool,
    /// The session's.
    zone: TimeZone,
    schema: DFSchemaRef,
}

impl PartialOrd for Apply {
    fn partial_cmp(&self, other: &Apply) -> Option<std::cmp::Ordering> {
        (&self.input, &self.inner).partial_cmp(&(&other.input, &other.inner))
    }
}

impl Apply {
    fn of(join: &Join, zone: TimeZone) -> DfResult<Apply> {
        let left = join.left.schema();
        let mut inner = alone(unmarked(&join.right)?)?;
        let on = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        for condition in on.chain(join.filter.clone()) {
            let condition = outside(condition, left, inner.schema())?;
            inner = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(inner))?);
        }
        let looked_at = substitution::outer_columns(&inner)?;
        Apply::new(join.left.as_ref().clone(), inner, looked_at, join.join_type, zone)
    }

    fn new(
        input: LogicalPlan,
        inner: LogicalPlan,
        looked_at: Vec<(Column, FieldRef)>,
        join_type: JoinType,
        zone: TimeZone,
    ) -> DfResult<Apply> {
        let value = |(column, field): (Column, FieldRef)| match input.schema().has_column(&column) {
            true => (column.clone(), Expr::Column(column)),
            false => (column.clone(), Expr::OuterReferenceColumn(field, column)),
        };
        let (columns, values) = looked_at.into_iter().map(value).unzip();
        let schema = Arc::new(build_join_schema(input.schema(), inner.schema(), &join_type)?);
        let keeps_left = join_type == JoinType::Left;
        Ok(Apply { input, inner: Arc::new(inner), columns, values, keeps_left, zone, schema })
    }
}

/// A condition of a join, as the right side sees it.
fn outside(condition: Expr, left: &DFSchema, right: &DFSchema) -> DfResult<Expr> {
    let seen = condition.transform_up(|expression| match &expression {
        Expr::Column(column) if !right.has_column(column) && left.has_column(column) => {
            let (_, field) = left.qualified_field_from_column(column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field.clone(), column.clone())))
        }
        _ => Ok(Transformed::no(expression)),
    })?;
    Ok(seen.data)
}

impl UserDefinedLogicalNodeCore for Apply {
    fn name(&self) -> &str {
        "Apply"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.values.clone()
    }

    /// Conditions on the left side alone can be looked at before.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.inner.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = self.values.iter().map(ToString::to_string).collect();
        write!(f, "Apply: {}{}", values.join(", "), if self.keeps_left { ", left" } else { "" })
    }

    fn with_exprs_and_inputs(&self, values: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Apply> {
        let input = inputs.pop().unwrap_or_else(|| self.input.clone());
        let join_type = if self.keeps_left { JoinType::Left } else { JoinType::Inner };
        let schema = Arc::new(build_join_schema(input.schema(), self.inner.schema(), &join_type)?);
        Ok(Apply { input, values, schema, ..self.clone() })
    }
}

/// DataFusion's planner, which knows `Apply`, too.
#[derive(Debug)]
pub struct Planning;

#[async_trait]
impl QueryPlanner for Planning {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Planning)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for Planning {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(apply) = node.as_any().downcast_ref::<Apply>() else { return Ok(None) };
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else { return Ok(None) };
        let value = |value: &Expr| planner.create_physical_expr(value, logical_inputs[0].schema(), session, planning);
        let values = apply.values.iter().map(value).collect::<DfResult<Vec<Arc<dyn PhysicalExpr>>>>()?;
        let operator = ApplyOperator::new(apply, physical_inputs[0].clone(), values, state.clone());
        Ok(Some(Arc::new(operator)))
    }
}
