//! Sorts values by their keys ([`super::value_keys`]), in windows and aggregates too, and has all else that asks for keys make use of them:
//! comparisons ([`super::key_comparisons`]) and what takes one of equal values ([`super::equal_keys`]).

use std::collections::HashMap;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;

use super::passed_types::field_of;
use super::remembering::forwards;
use super::value_keys::{Asked, key, keyed, letters, of_rank, rank};
use super::{equal_keys, key_comparisons, ranged};
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// Sorts values by their keys.
#[derive(Debug)]
pub struct SortKeys;

impl AnalyzerRule for SortKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut has_keyed = false;
        plan.apply_with_subqueries(|node| {
            // Without a table, all may be in expressions alone.
            let is_constant = matches!(node, LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_));
            has_keyed |= is_constant || node.schema().fields().iter().any(|field| keyed(field, Asked::Order).is_some());
            Ok(if has_keyed { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_keyed {
            return Ok(plan);
        }
        Ok(plan.transform_up_with_subqueries(by_keys)?.data)
    }

    fn name(&self) -> &str {
        "sort_keys"
    }
}

/// Sorts windows by keys before DataFusion looks at the types that they are sorted by, of which it knows neither intervals nor bytes.
#[derive(Debug)]
pub struct WindowKeys;

impl AnalyzerRule for WindowKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Window(_) => order_node(node),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "window_keys"
    }
}

fn by_keys(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    key_comparisons::compare(plan)?.transform_data(order_node)?.transform_data(equal_keys::unite)
}

fn order_node(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_by_keys(&mut sort.expr, sort.input.schema())?;
            Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = distinct.input.schema().clone();
            let mut changed = match &mut distinct.sort_expr {
                Some(keys) => sort_by_keys(keys, &schema)?,
                None => false,
            };
            for value in &mut distinct.on_expr {
                if let Some(of) = keyed(&field_of(value, &schema)?, Asked::Equality) {
                    *value = key(of, std::mem::take(value));
                    changed = true;
                }
            }
            Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(distinct)), changed)
        }
        LogicalPlan::Window(window) => {
            let changed = each_named(&window.window_expr, window.input.schema(), ordered_window)?;
            let Some(Changed { expressions, ends }) = changed else {
                return Ok(Transformed::no(LogicalPlan::Window(window)));
            };
            let ranked = LogicalPlan::Window(Window::try_new(expressions, window.input.clone())?);
            Transformed::yes(unranked(ranked, &window.schema, &ends)?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let changed = each_named(&aggregate.aggr_expr, aggregate.input.schema(), ordered_aggregate)?;
            let Some(Changed { expressions, ends }) = changed else {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            };
            let (input, groups) = (aggregate.input.clone(), aggregate.group_expr.clone());
            let ranked = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, expressions)?);
            let united = equal_keys::unite(ranked)?.data;
            Transformed::yes(unranked(united, &aggregate.schema, &ends)?)
        }
        other => Transformed::no(other),
    })
}

/// An expression that took the place of another, and the type whose rank it gives instead of the value.
struct Instead {
    expression: Expr,
    end: Option<ColumnType>,
}

struct Changed {
    expressions: Vec<Expr>,
    /// Results that are ranks, by their names.
    ends: HashMap<String, ColumnType>,
}

/// Changes some of a list of expressions, which go on being called the same; `None` if none changes.
fn each_named(
    expressions: &[Expr],
    schema: &DFSchema,
    change: fn(&Expr, &DFSchema) -> DfResult<Option<Instead>>,
) -> DfResult<Option<Changed>> {
    let mut any = false;
    let mut changed = Changed { expressions: Vec::with_capacity(expressions.len()), ends: HashMap::new() };
    for expression in expressions {
        let name = expression.schema_name().to_string();
        changed.expressions.push(match change(without_alias(expression), schema)? {
            Some(instead) => {
                any = true;
                changed.ends.extend(instead.end.map(|made| (name.clone(), made)));
                instead.expression.alias(name)
            }
            None => expression.clone(),
        });
    }
    Ok(any.then_some(changed))
}

/// A plan whose ranks are values again.
fn unranked(plan: LogicalPlan, shown: &DFSchema, ends: &HashMap<String, ColumnType>) -> DfResult<LogicalPlan> {
    if ends.is_empty() {
        return Ok(plan);
    }
    let column = |column: Column| match ends.get(&column.name) {
        Some(of) if column.relation.is_none() => {
            let name = column.name.clone();
            Ok(of_rank(of, Expr::Column(column))?.alias(name))
        }
        _ => Ok(Expr::Column(column)),
    };
    let columns = shown.columns().into_iter().map(column).collect::<DfResult<Vec<Expr>>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn without_alias(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => without_alias(&alias.expr),
        other => other,
    }
}

/// Sorts by keys where values are sorted by that have them; whether there is any such.
fn sort_by_keys(order: &mut [Sort], schema: &DFSchema) -> DfResult<bool> {
    let mut any = false;
    for sorted in order {
        if let Some(of) = keyed(&field_of(&sorted.expr, schema)?, Asked::Order) {
            sorted.expr = key(of, sorted.expr.clone());
            any = true;
        }
    }
    Ok(any)
}

fn ordered_window(expression: &Expr, schema: &DFSchema) -> DfResult<Option<Instead>> {
    let Expr::WindowFunction(window) = expression else { return Ok(None) };
    let mut window: WindowFunction = (**window).clone();
    let end = rank_end(window.fun.name(), &mut window.params.args, schema)?;
    let mut changed = sort_by_keys(&mut window.params.order_by, schema)? || end.is_some();
    if let WindowFunctionDefinition::AggregateUDF(function) = &window.fun
        && let Some(forwards) = forwards(function)
    {
        window.fun = WindowFunctionDefinition::AggregateUDF(forwards);
        changed = true;
    }
    for sorted in &mut window.params.order_by {
        if *field_of(&sorted.expr, schema)?.data_type() == DataType::Binary {
            sorted.expr = letters(sorted.expr.clone());
            changed = true;
        }
    }
    for part in &mut window.params.partition_by {
        if let Some(of) = keyed(&field_of(part, schema)?, Asked::Equality) {
            *part = key(of, std::mem::take(part));
            changed = true;
        }
    }
    let order = window.params.order_by.iter_mut().map(|sorted| &mut sorted.expr);
    for expression in window.params.partition_by.iter_mut().chain(order) {
        let ranged = ranged::operands(std::mem::take(expression), schema)?;
        changed |= ranged.transformed;
        *expression = ranged.data;
    }
    Ok(changed.then(|| Instead { expression: Expr::WindowFunction(Box::new(window)), end }))
}

fn ordered_aggregate(expression: &Expr, schema: &DFSchema) -> DfResult<Option<Instead>> {
    let Expr::AggregateFunction(aggregate) = expression else { return Ok(None) };
    let mut aggregate: AggregateFunction = aggregate.clone();
    let mut counts_keys = false;
    if aggregate.params.distinct && aggregate.func.name() == "count" {
        for value in &mut aggregate.params.args {
            if let Some(of) = keyed(&field_of(value, schema)?, Asked::Equality) {
                *value = key(of, std::mem::take(value));
                counts_keys = true;
            }
        }
    }
    let end = rank_end(aggregate.func.name(), &mut aggregate.params.args, schema)?;
    let changed = counts_keys | sort_by_keys(&mut aggregate.params.order_by, schema)? || end.is_some();
    Ok(changed.then_some(Instead { expression: Expr::AggregateFunction(aggregate), end }))
}

/// The least and greatest are found by their ranks.
fn rank_end(function: &str, args: &mut [Expr], schema: &DFSchema) -> DfResult<Option<ColumnType>> {
    let [value] = args else { return Ok(None) };
    if !["min", "max"].contains(&function) {
        return Ok(None);
    }
    let Some(of) = keyed(&field_of(value, schema)?, Asked::Order) else { return Ok(None) };
    let Some(ranked) = rank(&of, value.clone())? else { return Ok(None) };
    *value = ranked;
    Ok(Some(of))
}
