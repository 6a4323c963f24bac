//! Subqueries in expressions that DataFusion cannot make joins of, as columns of an `Apply`.
//!
//! ```text
//!   SELECT id, (SELECT x FROM o WHERE o.c = c.id LIMIT 2), EXISTS (SELECT 1 UNION ALL SELECT 2), id IN (SELECT c FROM o) FROM c
//! ```
//!
//! Each becomes a column of its rows as an array, or of their number, and an expression of that: the only element, more than none, any.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::{array_agg, count};
use datafusion::logical_expr::builder::build_join_schema;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, when,
};

use super::super::collected;
use super::super::correlated::{ONLY, UNCERTAIN};
use super::super::open_literals;
use super::super::quantified;
use super::{Apply, substitution};
use crate::sql::time_zone::TimeZone;

type DfResult<T> = datafusion::error::Result<T>;

/// Optimizes a plan: with DataFusion's joins of subqueries where they are right, without them elsewhere.
pub fn optimize(state: &SessionState, plan: &LogicalPlan, zone: TimeZone) -> DfResult<LogicalPlan> {
    let plan = &open_literals::adopt_literals(make_uncertain(plan)?, zone)?;
    let in_joins = looks_outside_in_joins(plan)?;
    let as_joins = if in_joins || needs_columns(plan)? { None } else { Some(state.optimize(plan)) };
    match as_joins {
        Some(Ok(optimized)) if !has_leftovers(&optimized)? => Ok(optimized),
        // Whatever it was, the other way does without.
        first => match plan_subqueries(plan.clone(), zone) {
            Ok(applied) if applied != *plan => state.optimize(&applied),
            Err(error) if in_joins => Err(error),
            _ => first.unwrap_or_else(|| state.optimize(plan)),
        },
    }
}

/// Says of the values of subqueries that may have no rows that they may be NULL: DataFusion says what is true of a row.
fn make_uncertain(plan: &LogicalPlan) -> DfResult<LogicalPlan> {
    let uncertain = collected::by_name(UNCERTAIN).ok_or_else(|| missing(UNCERTAIN))?;
    let one = |part: Expr| match part {
        Expr::ScalarSubquery(inside) if inside.outer_ref_columns.is_empty() && may_be_taken_for_certain(&inside)? => {
            let column = Expr::Column(inside.subquery.schema().columns()[0].clone());
            let value = uncertain.call(vec![column.clone()]).alias(column.schema_name().to_string());
            let plan = LogicalPlanBuilder::from(inside.subquery.clone()).project(vec![value])?.build()?;
            Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..inside })))
        }
        other => Ok(Transformed::no(other)),
    };
    let changed = plan.clone().transform_down_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expression| {
            let name = names.save(&expression);
            Ok(expression.transform_up(one)?.update_data(|expression| name.restore(expression)))
        })?;
        if changed.transformed { changed.map_data(|node| node.recompute_schema()) } else { Ok(changed) }
    })?;
    Ok(changed.data)
}

/// Whether DataFusion takes it that a scalar subquery is never NULL, and it may be.
fn is_taken_for_certain(inside: &Subquery) -> bool {
    !inside.subquery.schema().field(0).is_nullable() && !has_one_row(&inside.subquery)
}

/// Whether it does, or may do when it has computed what is constant.
fn may_be_taken_for_certain(inside: &Subquery) -> DfResult<bool> {
    if is_taken_for_certain(inside) || has_one_row(&inside.subquery) {
        return Ok(is_taken_for_certain(inside));
    }
    inside.subquery.exists(|node| {
        let is_computed = |expression: &Expr| !matches!(expression, Expr::Column(_));
        Ok(matches!(node, LogicalPlan::Projection(projection) if projection.expr.iter().any(is_computed)))
    })
}

/// Whether an optimized plan still has something in it that cannot be run, or columns that it has nowhere: some subqueries that look at
/// queries farther outside become such joins.
fn has_leftovers(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let seen = merge_schema(&inputs);
        node.apply_expressions(|expression| {
            found |= !inputs.is_empty() && !expression.column_refs().iter().all(|column| seen.has_column(column));
            found |= expression.exists(|part| {
                Ok(match part {
                    Expr::OuterReferenceColumn(..) | Expr::Exists(_) | Expr::InSubquery(_) => true,
                    Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
                    _ => false,
                })
            })?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Whether DataFusion's joins of subqueries would be wrong: somewhere an `IN` that may be neither true nor false is taken for false where that
/// is not the same, or a subquery that looks outside has rows that depend on more than a condition.
fn needs_columns(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        node.apply_expressions(|expression| {
            found |= if is_filter { !is_as_good_as_false(expression, true) } else { has_membership(expression) };
            found |= expression.exists(|part| {
                let correlated = substitution::subquery_of(part).filter(|inside| !inside.outer_ref_columns.is_empty());
                // Of no rows it is NULL, which DataFusion's column of a count cannot be.
                let is_certain = match part {
                    Expr::ScalarSubquery(inside) => is_taken_for_certain(inside),
                    _ => false,
                };
                Ok(is_certain || correlated.is_some_and(|inside| !super::is_simple(&inside.subquery)))
            })?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Whether a subquery in the condition of a join looks at what is joined. DataFusion pushes what it says below the name of the table
/// inside, and then takes a column outside for one of that.
fn looks_outside_in_joins(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Join(_)) {
            node.apply_expressions(|expression| {
                found |= expression.exists(|part| {
                    Ok(substitution::subquery_of(part).is_some_and(|inside| !inside.outer_ref_columns.is_empty()))
                })?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

fn is_as_good_as_false(condition: &Expr, conjunct: bool) -> bool {
    match condition {
        Expr::BinaryExpr(both) if both.op == Operator::And => {
            is_as_good_as_false(&both.left, conjunct) && is_as_good_as_false(&both.right, conjunct)
        }
        Expr::BinaryExpr(either) if either.op == Operator::Or => {
            is_as_good_as_false(&either.left, false) && is_as_good_as_false(&either.right, false)
        }
        Expr::InSubquery(within) if within.negated => {
            // It makes an anti join of these that knows of NULL.
            conjunct && within.subquery.outer_ref_columns.is_empty() && !within.expr.column_refs().is_empty()
        }
        Expr::InSubquery(within) => !has_membership(&within.expr),
        other => !has_membership(other),
    }
}

fn has_membership(expression: &Expr) -> bool {
    expression.exists(|part| Ok(matches!(part, Expr::InSubquery(_)))).unwrap_or(true)
}

/// Makes columns of all subqueries in the expressions of a plan.
fn plan_subqueries(plan: LogicalPlan, zone: TimeZone) -> DfResult<LogicalPlan> {
    let mut columns = Columns { zone, made: 0 };
    Ok(plan.transform_up(|node| columns.plan(node))?.data)
}

fn has_subquery(expression: &Expr) -> bool {
    let is_one = |part: &Expr| Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    expression.exists(is_one).unwrap_or(true)
}

struct Columns {
    zone: TimeZone,
    made: usize,
}

impl Columns {
    fn plan(&mut self, node: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
        if let LogicalPlan::Join(join) = &node
            && join.filter.as_ref().is_some_and(has_subquery)
        {
            return Ok(Transformed::yes(self.plan_join(join)?));
        }
        let inputs = node.inputs();
        let [input] = &inputs[..] else { return Ok(Transformed::no(node)) };
        let mut input = (*input).clone();
        let names = NamePreserver::new(&node);
        let mut changed = false;
        let mut expressions = Vec::new();
        for expression in node.expressions() {
            let saved = names.save(&expression);
            let replaced = expression.transform_up(|part| self.replace(part, &mut input))?;
            changed |= replaced.transformed;
            expressions.push(if replaced.transformed { saved.restore(replaced.data) } else { replaced.data });
        }
        if !changed {
            return Ok(Transformed::no(node));
        }
        let shown: Vec<Expr> = node.schema().columns().into_iter().map(Expr::Column).collect();
        let planned = node.with_new_exprs(expressions, vec![input])?;
        // What passes its input on would pass the new columns on, too.
        let planned = match planned.schema().fields().len() == shown.len() {
            true => planned,
            false => LogicalPlanBuilder::from(planned).project(shown)?.build()?,
        };
        Ok(Transformed::yes(planned))
    }

    /// A join on what subqueries say is one of all rows, filtered; or runs for each row of the left side, which may have to stay.
    fn plan_join(&mut self, join: &Join) -> DfResult<LogicalPlan> {
        match join.join_type {
            JoinType::Inner => {
                let condition = join.filter.clone().unwrap_or_else(|| lit(true));
                let all = LogicalPlan::Join(Join { filter: None, ..join.clone() });
                let filter = Filter::try_new(condition, Arc::new(all))?;
                Ok(self.plan(LogicalPlan::Filter(filter))?.data)
            }
            JoinType::Left => {
                let mut apply = Apply::of(join, self.zone)?;
                let inner = Arc::unwrap_or_clone(apply.inner).transform_up(|node| self.plan(node))?.data;
                apply.inner = Arc::new(inner);
                Ok(LogicalPlan::Extension(Extension { node: Arc::new(apply) }))
            }
            // The same the other way round, with its columns in the order they had.
            JoinType::Right => {
                let schema = build_join_schema(join.right.schema(), join.left.schema(), &JoinType::Left)?;
                let turned = Join {
                    left: join.right.clone(),
                    right: join.left.clone(),
                    on: join.on.iter().map(|(left, right)| (right.clone(), left.clone())).collect(),
                    join_type: JoinType::Left,
                    schema: Arc::new(schema),
                    ..join.clone()
                };
                let planned = self.plan_join(&turned)?;
                let shown: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
                LogicalPlanBuilder::from(planned).project(shown)?.build()
            }
            _ => Err(crate::sql::Error::unsupported("a subquery in the condition of a FULL JOIN").into()),
        }
    }

    fn replace(&mut self, expression: Expr, input: &mut LogicalPlan) -> DfResult<Transformed<Expr>> {
        Ok(Transformed::yes(match expression {
            Expr::ScalarSubquery(subquery) => {
                let array = self.collected(&subquery, input)?;
                let only = collected::by_name(ONLY).ok_or_else(|| missing(ONLY))?;
                only.call(vec![array])
            }
            Expr::Exists(Exists { subquery, negated }) => {
                let rows = LogicalPlanBuilder::from(self.inside(&subquery)?).limit(0, Some(1))?;
                let number = rows.aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64))])?.build()?;
                let number = self.column(number, input)?;
                if negated { number.eq(lit(0_i64)) } else { number.gt(lit(0_i64)) }
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let array = self.collected(&subquery, input)?;
                let fields = (expr.to_field(input.schema())?.1, array.to_field(input.schema())?.1);
                let found = quantified::equal_to_any((*expr, &fields.0), (array.clone(), &fields.1), self.zone)?;
                // Of no rows it is none, and known.
                let found = when(array.is_null(), lit(ScalarValue::Boolean(Some(false)))).otherwise(found)?;
                if negated { Expr::Not(Box::new(found)) } else { found }
            }
            other => return Ok(Transformed::no(other)),
        }))
    }

    /// The plan of a subquery, without subqueries in its own expressions.
    fn inside(&mut self, subquery: &Subquery) -> DfResult<LogicalPlan> {
        let plan = super::plan_lateral_joins(subquery.subquery.as_ref().clone(), self.zone)?;
        Ok(plan.transform_up(|node| self.plan(node))?.data)
    }

    /// A column of the rows of a subquery, as an array; NULL if there are none.
    fn collected(&mut self, subquery: &Subquery, input: &mut LogicalPlan) -> DfResult<Expr> {
        let plan = self.inside(subquery)?;
        let only = Expr::Column(Column::from(plan.schema().qualified_field(0)));
        let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), vec![array_agg(only)])?.build()?;
        self.column(plan, input)
    }

    /// Adds the only column of a plan to the input.
    fn column(&mut self, plan: LogicalPlan, input: &mut LogicalPlan) -> DfResult<Expr> {
        self.made += 1;
        let name = format!("subquery:{}", self.made);
        let value = Expr::Column(Column::from(plan.schema().qualified_field(0))).alias(name.clone());
        let plan = LogicalPlanBuilder::from(plan).project(vec![value])?.build()?;
        let looked_at = substitution::outer_columns(&plan)?;
        let apply = Apply::new(input.clone(), plan, looked_at, JoinType::Left, self.zone)?;
        *input = LogicalPlan::Extension(Extension { node: Arc::new(apply) });
        Ok(Expr::Column(Column::new_unqualified(name)))
    }
}

fn missing(name: &str) -> datafusion::error::DataFusionError {
    crate::sql::Error::internal(format!("{name} is missing")).into()
}
