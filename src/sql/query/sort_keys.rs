//! What sorts by something other than what Arrow has of it: labels of enumerated types by their numbers, JSON by its values, intervals by
//! how long they are.
//!
//! Wherever an order counts, a key takes the place of the value: in comparisons when they are planned ([`ordered`]), everywhere else by a
//! rule that looks over the finished plan ([`SortKeys`]).

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, InList, ScalarFunction, Sort, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, ColumnarValue, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Operator,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, Window, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::super::arrays::row_by_row;
use super::super::error::{Error, Result};
use super::super::json::Value;
use super::super::types::{MAX_DECIMAL_PRECISION, anonymous_field, arrow_type, of_field};
use super::enums::{label, number_of};
use super::passed_types::field_of;
use super::ranged;
use crate::catalog::{ColumnType, Datum, EnumType};

type DfResult<T> = datafusion::error::Result<T>;

/// The most values that `greatest` and `least` take of a type that sorts by keys.
const MAX_CHOSEN: usize = 6;

/// The operands of a comparison as keys, if they are of a type that has them and it matters.
pub fn ordered(
    (left, left_field): (Expr, &FieldRef),
    op: Operator,
    (right, right_field): (Expr, &FieldRef),
) -> (Expr, Expr) {
    // What is text beside such a value is one whose type was forgotten on the way.
    let is_text = |field: &FieldRef| field.data_type().is_string() || field.data_type().is_null();
    let common = match (keyed(left_field), keyed(right_field)) {
        (Some(one), Some(other)) if one.made_type() == other.made_type() => Some(one),
        (Some(of), None) if is_text(right_field) => Some(of),
        (None, Some(of)) if is_text(left_field) => Some(of),
        _ => None,
    };
    match common {
        // Labels are equal as text; of JSON, `1.0` equals `1`, and a month equals 30 days.
        Some(ColumnType::Enum(_)) if !asks_which_is_greater(op) => (left, right),
        Some(of) => (key(of.clone(), left), key(of, right)),
        None => (left, right),
    }
}

fn asks_which_is_greater(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// The type of a field whose values sort by a key.
fn keyed(field: &FieldRef) -> Option<ColumnType> {
    // Of most fields it is clear without a look at what they remember.
    if field.metadata().is_empty() && !matches!(field.data_type(), DataType::Interval(_)) {
        return None;
    }
    Some(of_field(field)).filter(|of| matches!(of, ColumnType::Enum(_) | ColumnType::Json | ColumnType::Interval))
}

fn enumeration(field: &FieldRef) -> Option<EnumType> {
    match keyed(field) {
        Some(ColumnType::Enum(made)) => Some(*made),
        _ => None,
    }
}

fn key(of: ColumnType, value: Expr) -> Expr {
    // The one number that it is, wherever it is compared: physical plans take what a literal says of itself for a difference.
    if let (ColumnType::Enum(made), Expr::Literal(ScalarValue::Utf8(Some(label)), _)) = (&of, &value)
        && let Some(number) = made.number(label)
    {
        return lit(number);
    }
    ScalarUDF::from(SortKey { of, signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

fn rank(made: &EnumType, label: Expr) -> Expr {
    key(ColumnType::Enum(Box::new(made.clone())), label)
}

/// The number of a label, or of each in an array; of JSON, bytes that sort as it does; the microseconds of an interval, of which a
/// month has 30 days.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SortKey {
    of: ColumnType,
    signature: Signature,
}

impl SortKey {
    fn column_type(&self) -> ColumnType {
        match &self.of {
            ColumnType::Json => ColumnType::Bytes,
            ColumnType::Interval => ColumnType::Decimal { precision: Some(MAX_DECIMAL_PRECISION), scale: 0 },
            ColumnType::Array(_) => ColumnType::Array(Box::new(ColumnType::Int8)),
            _ => ColumnType::Int8,
        }
    }
}

impl SortKey {
    fn key_of(&self, value: &Datum<'_>, column_type: &ColumnType) -> Result<Datum<'static>> {
        Ok(match (&self.of, value) {
            (ColumnType::Enum(made), _) => number_of(value, column_type, made).into(),
            (ColumnType::Json, Datum::Text(text)) => Datum::Bytes(Value::parse(text)?.sort_key().into()),
            (ColumnType::Interval, Datum::Interval(interval)) => Datum::Decimal(interval.comparable_micros()),
            (ColumnType::Array(of), Datum::Array(labels)) => {
                let element = match column_type {
                    ColumnType::Array(element) => element,
                    other => other,
                };
                let number = |label: &Datum<'_>| match &**of {
                    ColumnType::Enum(made) => number_of(label, element, made).into(),
                    _ => Datum::Null,
                };
                Datum::Array(labels.iter().map(number).collect())
            }
            _ => return Err(Error::internal(format!("no sort key of {column_type}"))),
        })
    }
}

impl ScalarUDFImpl for SortKey {
    fn name(&self) -> &str {
        "sort_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(&self.column_type()))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(anonymous_field(&self.column_type()).as_ref().clone().with_name(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let keys = row_by_row(&args, &self.column_type(), |values, types| match &values[0] {
            Datum::Null => Ok(Datum::Null),
            value => self.key_of(value, &types[0]),
        })?;
        Ok(keys)
    }
}

/// Sorts values by their keys.
#[derive(Debug)]
pub struct SortKeys;

impl AnalyzerRule for SortKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut has_keyed = false;
        plan.apply_with_subqueries(|node| {
            has_keyed |= node.schema().fields().iter().any(|field| keyed(field).or_else(|| labels(field)).is_some());
            Ok(if has_keyed { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_keyed {
            return Ok(plan);
        }
        Ok(plan.transform_up_with_subqueries(order)?.data)
    }

    fn name(&self) -> &str {
        "sort_keys"
    }
}

/// Sorts windows by keys before DataFusion looks at the types that they are sorted by, of which it does not know intervals.
#[derive(Debug)]
pub struct WindowKeys;

impl AnalyzerRule for WindowKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|node| match node {
            // It does not know bytes either.
            LogicalPlan::Window(ref window) if !sorts_json(window)? => order_node(node),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "window_keys"
    }
}

fn sorts_json(window: &Window) -> DfResult<bool> {
    for expression in &window.window_expr {
        if let Expr::WindowFunction(function) = without_alias(expression) {
            for sorted in &function.params.order_by {
                if keyed(&field_of(&sorted.expr, window.input.schema())?) == Some(ColumnType::Json) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn order(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    choose(plan)?.transform_data(order_node)
}

/// Comparisons, and `greatest`, `least` and `array_sort` of labels, which are found by their numbers.
fn choose(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(expression.transform_up(|inner| chosen(inner, &schema))?.update_data(|changed| name.restore(changed)))
    })
}

fn chosen(expression: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let call = match expression {
        Expr::ScalarFunction(call) => call,
        Expr::BinaryExpr(compared) if compared.op.supports_propagation() => return compared_by_keys(compared, schema),
        Expr::Between(between) => return between_keys(between, schema),
        Expr::InList(list) => return in_list_of_keys(list, schema),
        other => return Ok(Transformed::no(other)),
    };
    let keyed = match call.name() {
        "greatest" | "least" => call.args.len(),
        "array_sort" => 1,
        _ => 0,
    };
    let mut of = None;
    for value in &call.args[..keyed] {
        // One of a query outside is not known here.
        let Ok(field) = field_of(value, schema) else { continue };
        of = of.or(labels(&field));
    }
    let Some(of) = of else {
        let fields = call.args[..keyed].iter().map(|value| field_of(value, schema));
        let by_key = fields.filter_map(Result::ok).find_map(|field| self::keyed(&field));
        return Ok(match by_key {
            Some(of) if call.name() != "array_sort" => Transformed::yes(extreme_by_key(of, call)?),
            _ => Transformed::no(Expr::ScalarFunction(call)),
        });
    };
    let ScalarFunction { func, args } = call;
    let args = args.into_iter().enumerate();
    let args = args.map(|(index, arg)| if index < keyed { key(of.clone(), arg) } else { arg }).collect();
    Ok(Transformed::yes(label(of, Expr::ScalarFunction(ScalarFunction { func, args }))))
}

/// The greatest or least of values whose keys cannot be made values again.
fn extreme_by_key(of: ColumnType, call: ScalarFunction) -> DfResult<Expr> {
    let wins = if call.name() == "greatest" { Operator::Gt } else { Operator::Lt };
    // Each step has the one before it in it three times.
    if call.args.len() > MAX_CHOSEN {
        return Err(Error::unsupported(format!("{} of more than {MAX_CHOSEN} of these", call.name())).into());
    }
    let mut values = call.args.into_iter();
    let first = values.next().ok_or_else(|| Error::internal("a function without arguments"))?;
    values.try_fold(first, |best, value| {
        let (one, other) = (key(of.clone(), value.clone()), key(of.clone(), best.clone()));
        let is_better = Expr::BinaryExpr(BinaryExpr::new(Box::new(one), wins, Box::new(other)));
        let is_first = best.clone().is_null();
        when(is_first.or(is_better), value).otherwise(best)
    })
}

fn compared_by_keys(compared: BinaryExpr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let BinaryExpr { left, op, right } = compared;
    let fields = (field_of(&left, schema), field_of(&right, schema));
    let (Ok(left_field), Ok(right_field)) = fields else {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
    };
    let (left, right) = ordered((*left, &left_field), op, (*right, &right_field));
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
}

fn between_keys(between: Between, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Ok(Some(_)) = field_of(&between.expr, schema).map(|field| keyed(&field)) else {
        return Ok(Transformed::no(Expr::Between(between)));
    };
    let Between { expr, negated, low, high } = between;
    let low = compared_by_keys(BinaryExpr::new(expr.clone(), Operator::GtEq, low), schema)?.data;
    let high = compared_by_keys(BinaryExpr::new(expr, Operator::LtEq, high), schema)?.data;
    let both = low.and(high);
    Ok(Transformed::yes(if negated { Expr::Not(Box::new(both)) } else { both }))
}

fn in_list_of_keys(list: InList, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let of = field_of(&list.expr, schema).ok().and_then(|field| keyed(&field));
    match of {
        // Labels are equal as text.
        None | Some(ColumnType::Enum(_)) => Ok(Transformed::no(Expr::InList(list))),
        Some(of) => {
            let keys = list.list.into_iter().map(|value| key(of.clone(), value)).collect();
            Ok(Transformed::yes(Expr::InList(InList::new(Box::new(key(of, *list.expr)), keys, list.negated))))
        }
    }
}

/// The type of a field that holds labels, or arrays of them.
fn labels(field: &FieldRef) -> Option<ColumnType> {
    if field.metadata().is_empty() {
        return None;
    }
    Some(of_field(field)).filter(|of| match of {
        ColumnType::Array(element) => matches!(**element, ColumnType::Enum(_)),
        of => matches!(of, ColumnType::Enum(_)),
    })
}

fn order_node(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_by_keys(&mut sort.expr, sort.input.schema())?;
            Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let changed = match &mut distinct.sort_expr {
                Some(keys) => sort_by_keys(keys, distinct.input.schema())?,
                None => false,
            };
            Transformed::new_transformed(LogicalPlan::Distinct(Distinct::On(distinct)), changed)
        }
        LogicalPlan::Window(window) => {
            let changed = each_named(&window.window_expr, window.input.schema(), ordered_window)?;
            let Some(Changed { expressions, ends }) = changed else {
                return Ok(Transformed::no(LogicalPlan::Window(window)));
            };
            let ranked = LogicalPlan::Window(Window::try_new(expressions, window.input.clone())?);
            Transformed::yes(labelled(ranked, &window.schema, &ends)?)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let changed = each_named(&aggregate.aggr_expr, aggregate.input.schema(), ordered_aggregate)?;
            let Some(Changed { expressions, ends }) = changed else {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            };
            let (input, groups) = (aggregate.input.clone(), aggregate.group_expr.clone());
            let ranked = LogicalPlan::Aggregate(Aggregate::try_new(input, groups, expressions)?);
            Transformed::yes(labelled(ranked, &aggregate.schema, &ends)?)
        }
        other => Transformed::no(other),
    })
}

/// An expression that took the place of another, and the type whose number it gives instead of the label.
struct Instead {
    expression: Expr,
    end: Option<EnumType>,
}

struct Changed {
    expressions: Vec<Expr>,
    /// Results that are numbers of labels, by their names.
    ends: HashMap<String, EnumType>,
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

/// A plan whose numbers of labels are labels again.
fn labelled(plan: LogicalPlan, shown: &DFSchema, ends: &HashMap<String, EnumType>) -> DfResult<LogicalPlan> {
    if ends.is_empty() {
        return Ok(plan);
    }
    let column = |column: Column| match ends.get(&column.name) {
        Some(made) if column.relation.is_none() => {
            let name = column.name.clone();
            label(ColumnType::Enum(Box::new(made.clone())), Expr::Column(column)).alias(name)
        }
        _ => Expr::Column(column),
    };
    let columns: Vec<Expr> = shown.columns().into_iter().map(column).collect();
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
        if let Some(of) = keyed(&field_of(&sorted.expr, schema)?) {
            sorted.expr = key(of, sorted.expr.clone());
            any = true;
        }
    }
    Ok(any)
}

fn ordered_window(expression: &Expr, schema: &DFSchema) -> DfResult<Option<Instead>> {
    let Expr::WindowFunction(window) = expression else { return Ok(None) };
    let mut window: WindowFunction = (**window).clone();
    if let [value] = &window.params.args[..]
        && ["min", "max"].contains(&window.fun.name())
        && keyed(&field_of(value, schema)?) == Some(ColumnType::Interval)
    {
        return Err(Error::unsupported(format!("{} of intervals over a window", window.fun.name())).into());
    }
    let end = rank_end(window.fun.name(), &mut window.params.args, schema)?;
    let mut changed = sort_by_keys(&mut window.params.order_by, schema)? || end.is_some();
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
    if is_end_of_intervals(&aggregate, schema)? {
        return Ok(Some(Instead { expression: first_by_key(aggregate), end: None }));
    }
    let end = rank_end(aggregate.func.name(), &mut aggregate.params.args, schema)?;
    let changed = sort_by_keys(&mut aggregate.params.order_by, schema)? || end.is_some();
    Ok(changed.then_some(Instead { expression: Expr::AggregateFunction(aggregate), end }))
}

fn is_end_of_intervals(aggregate: &AggregateFunction, schema: &DFSchema) -> DfResult<bool> {
    let [value] = &aggregate.params.args[..] else { return Ok(false) };
    Ok(["min", "max"].contains(&aggregate.func.name())
        && keyed(&field_of(value, schema)?) == Some(ColumnType::Interval))
}

/// The least or greatest interval is the first in order.
fn first_by_key(mut aggregate: AggregateFunction) -> Expr {
    let value = aggregate.params.args[0].clone();
    let ascends = aggregate.func.name() == "min";
    aggregate.func = first_value_udaf();
    aggregate.params.distinct = false;
    aggregate.params.order_by = vec![Sort::new(key(ColumnType::Interval, value.clone()), ascends, false)];
    let is_there = value.is_not_null();
    aggregate.params.filter = Some(Box::new(match aggregate.params.filter.take() {
        Some(filter) => filter.and(is_there),
        None => is_there,
    }));
    Expr::AggregateFunction(aggregate)
}

/// The least and greatest label are found by their numbers.
fn rank_end(function: &str, args: &mut [Expr], schema: &DFSchema) -> DfResult<Option<EnumType>> {
    let [value] = args else { return Ok(None) };
    if !["min", "max"].contains(&function) {
        return Ok(None);
    }
    let made = enumeration(&field_of(value, schema)?);
    if let Some(made) = &made {
        *value = rank(made, value.clone());
    }
    Ok(made)
}
