//! Of values with equal keys, one: `GROUP BY`, `DISTINCT` and joins of columns that are called the same or of whole rows.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::FieldMetadata;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, GroupingSet, Join, LogicalPlan, Projection, when};

use super::passed_types::field_of;
use super::value_keys::{Asked, key, keyed};

/// A node of a plan, with keys in the place of values that are to be equal.
pub fn unite(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => group_by_keys(aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let has_keyed = input.schema().fields().iter().any(|field| keyed(field, Asked::Equality).is_some());
            if !has_keyed {
                return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
            }
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            group_by_keys(Aggregate::try_new(input, columns, Vec::new())?)
        }
        LogicalPlan::Join(join) => join_by_keys(join),
        other => Ok(Transformed::no(other)),
    }
}

/// The key of a value that is to be equal to others, if it has one.
fn equal_key(value: &Expr, schema: &DFSchema) -> DfResult<Option<Expr>> {
    Ok(keyed(&field_of(value, schema)?, Asked::Equality).map(|of| key(of, value.clone())))
}

/// Groups by keys, and shows the first value of each group where the values were.
fn group_by_keys(aggregate: Aggregate) -> DfResult<Transformed<LogicalPlan>> {
    let schema = aggregate.input.schema().clone();
    let values: Vec<Expr> = match &aggregate.group_expr[..] {
        [Expr::GroupingSet(_)] => grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect(),
        values => values.to_vec(),
    };
    let keys = values.iter().map(|value| equal_key(value, &schema)).collect::<DfResult<Vec<_>>>()?;
    if keys.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let key_of = |value: &Expr| {
        let key = values.iter().position(|one| one == value).and_then(|at| keys[at].clone());
        key.unwrap_or_else(|| value.clone())
    };
    let all = |values: &[Expr]| values.iter().map(key_of).collect::<Vec<Expr>>();
    let group_expr = match &aggregate.group_expr[..] {
        [Expr::GroupingSet(set)] => vec![Expr::GroupingSet(match set {
            GroupingSet::Rollup(values) => GroupingSet::Rollup(all(values)),
            GroupingSet::Cube(values) => GroupingSet::Cube(all(values)),
            GroupingSet::GroupingSets(sets) => {
                GroupingSet::GroupingSets(sets.iter().map(|values| all(values)).collect())
            }
        })],
        values => all(values),
    };
    let first = first_value_udaf();
    let firsts = values.iter().zip(&keys).enumerate().filter(|(_, (_, key))| key.is_some());
    let firsts: Vec<(usize, Expr)> = firsts
        .map(|(at, (value, _))| (at, first.call(vec![value.clone()]).alias(format!("first of group {at}"))))
        .collect();
    let mut aggr_expr = aggregate.aggr_expr.clone();
    let first_at = aggregate.schema.fields().len();
    aggr_expr.extend(firsts.iter().map(|(_, first)| first.clone()));
    let grouped = Aggregate::try_new(aggregate.input.clone(), group_expr, aggr_expr)?;
    let columns = grouped.schema.columns();
    let shown = aggregate.schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let column = Expr::Column(columns[at].clone());
        let Some(first) = firsts.iter().position(|(of, _)| *of == at) else {
            return Ok(column.alias_qualified(qualifier.cloned(), field.name()));
        };
        // In a set without it, a group has no value.
        let first = Expr::Column(columns[first_at + first].clone());
        let shown = when(column.is_not_null(), first).end()?;
        // What is said of its type goes with it.
        let said = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.metadata().clone()));
        Ok(shown.alias_qualified_with_metadata(qualifier.cloned(), field.name(), said))
    });
    let shown = shown.collect::<DfResult<Vec<Expr>>>()?;
    let grouped = Arc::new(LogicalPlan::Aggregate(grouped));
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, grouped)?)))
}

fn join_by_keys(mut join: Join) -> DfResult<Transformed<LogicalPlan>> {
    let mut changed = false;
    for (left, right) in &mut join.on {
        let keys = (equal_key(left, join.left.schema())?, equal_key(right, join.right.schema())?);
        if let (Some(left_key), Some(right_key)) = keys {
            (*left, *right) = (left_key, right_key);
            changed = true;
        }
    }
    Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
}
