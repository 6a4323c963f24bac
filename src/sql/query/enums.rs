//! Enumerated types in queries.
//!
//! A query has their values as labels, which sort by their letters. Wherever an order counts, the number of the label takes their place:
//! in comparisons when they are planned ([`ordered`]), everywhere else by a rule that looks over the finished plan ([`EnumOrder`]).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, Window,
};
use datafusion::optimizer::AnalyzerRule;

use super::super::arrays::{canonical_array, only_value, row_by_row};
use super::super::error::{Error, Result, code};
use super::super::types::{anonymous_field, of_field, pg_name};
use crate::catalog::{ColumnType, Datum, EnumType};

type DfResult<T> = datafusion::error::Result<T>;

/// The operands of a comparison that asks which is greater, as numbers of labels, if they are of an enumerated type.
pub fn ordered(left: Expr, left_field: &FieldRef, right: Expr, right_field: &FieldRef) -> (Expr, Expr) {
    // What is text beside a label is one whose type was forgotten on the way.
    let is_text = |field: &FieldRef| field.data_type().is_string() || field.data_type().is_null();
    match (enumeration(left_field), enumeration(right_field)) {
        (Some(one), Some(other)) if one.id == other.id => (rank(&one, left), rank(&one, right)),
        (Some(made), None) if is_text(right_field) => (rank(&made, left), rank(&made, right)),
        (None, Some(made)) if is_text(left_field) => (rank(&made, left), rank(&made, right)),
        _ => (left, right),
    }
}

fn rank(made: &EnumType, label: Expr) -> Expr {
    let rank = Rank { made: made.clone(), signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(rank).call(vec![label])
}

/// The number of a label.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Rank {
    made: EnumType,
    signature: Signature,
}

impl ScalarUDFImpl for Rank {
    fn name(&self) -> &str {
        "enum_rank"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let labels = args.args[0].to_array(if is_scalar { 1 } else { args.number_rows })?;
        let labels = canonical_array(&labels, &ColumnType::Text)?;
        let number = |label: Option<&str>| label.and_then(|label| self.made.number(label));
        let numbers: ArrayRef = Arc::new(labels.as_string::<i32>().iter().map(number).collect::<Int64Array>());
        Ok(if is_scalar { ColumnarValue::Scalar(only_value(&numbers)?) } else { ColumnarValue::Array(numbers) })
    }
}

fn label(made: &EnumType, number: Expr) -> Expr {
    let label = Label { made: made.clone(), signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::from(label).call(vec![number])
}

/// The label with a number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    made: EnumType,
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        "enum_label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let returns = ColumnType::Enum(Box::new(self.made.clone()));
        Ok(Arc::new(anonymous_field(&returns).as_ref().clone().with_name(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let returns = ColumnType::Enum(Box::new(self.made.clone()));
        Ok(row_by_row(&args, &returns, |mut numbers, _| Ok(numbers.swap_remove(0).into_owned()))?)
    }
}

/// Sorts values of enumerated types by the order of their labels.
#[derive(Debug)]
pub struct EnumOrder;

impl AnalyzerRule for EnumOrder {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let mut has_enum = false;
        plan.apply_with_subqueries(|node| {
            has_enum |= node.schema().fields().iter().any(|field| enumeration(field).is_some());
            Ok(if has_enum { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_enum {
            return Ok(plan);
        }
        Ok(plan.transform_up_with_subqueries(order)?.data)
    }

    fn name(&self) -> &str {
        "enum_order"
    }
}

fn enumeration(field: &FieldRef) -> Option<EnumType> {
    // Of most fields it is clear without a look at what they remember.
    if field.metadata().is_empty() {
        return None;
    }
    match of_field(field) {
        ColumnType::Enum(made) => Some(*made),
        _ => None,
    }
}

fn order(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Sort(mut sort) => {
            let changed = rank_keys(&mut sort.expr, sort.input.schema())?;
            Transformed::new_transformed(LogicalPlan::Sort(sort), changed)
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let changed = match &mut distinct.sort_expr {
                Some(keys) => rank_keys(keys, distinct.input.schema())?,
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
            label(made, Expr::Column(column)).alias(name)
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

/// The field of an expression, with the enumerated type that DataFusion forgets where values are only passed on.
pub fn field_of(expression: &Expr, schema: &DFSchema) -> DfResult<FieldRef> {
    let field = expression.to_field(schema)?.1;
    if !field.data_type().is_string() || !field.metadata().is_empty() {
        return Ok(field);
    }
    let passed_on: Vec<&Expr> = match expression {
        Expr::ScalarFunction(call) => match call.name() {
            "coalesce" | "greatest" | "least" => call.args.iter().collect(),
            "nullif" | "array_element" => call.args.iter().take(1).collect(),
            _ => return Ok(field),
        },
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref()).collect()
        }
        Expr::Alias(alias) => vec![&*alias.expr],
        Expr::ScalarSubquery(subquery) => {
            return Ok(subquery.subquery.schema().fields().first().cloned().unwrap_or(field));
        }
        _ => return Ok(field),
    };
    for value in passed_on {
        let passed = field_of(value, schema)?;
        let made = match of_field(&passed) {
            ColumnType::Array(element) => *element,
            other => other,
        };
        if let ColumnType::Enum(_) = made {
            let typed = anonymous_field(&made).as_ref().clone().with_name(field.name());
            return Ok(Arc::new(typed.with_nullable(field.is_nullable())));
        }
    }
    Ok(field)
}

/// Sorts by numbers where labels are sorted by; whether there is any such.
fn rank_keys(keys: &mut [Sort], schema: &DFSchema) -> DfResult<bool> {
    let mut any = false;
    for key in keys {
        if let Some(made) = enumeration(&field_of(&key.expr, schema)?) {
            key.expr = rank(&made, key.expr.clone());
            any = true;
        }
    }
    Ok(any)
}

fn ordered_window(expression: &Expr, schema: &DFSchema) -> DfResult<Option<Instead>> {
    let Expr::WindowFunction(window) = expression else { return Ok(None) };
    let mut window: WindowFunction = (**window).clone();
    let end = rank_end(window.fun.name(), &mut window.params.args, schema)?;
    let changed = rank_keys(&mut window.params.order_by, schema)? || end.is_some();
    Ok(changed.then(|| Instead { expression: Expr::WindowFunction(Box::new(window)), end }))
}

fn ordered_aggregate(expression: &Expr, schema: &DFSchema) -> DfResult<Option<Instead>> {
    let Expr::AggregateFunction(aggregate) = expression else { return Ok(None) };
    let mut aggregate: AggregateFunction = aggregate.clone();
    let end = rank_end(aggregate.func.name(), &mut aggregate.params.args, schema)?;
    let changed = rank_keys(&mut aggregate.params.order_by, schema)? || end.is_some();
    Ok(changed.then_some(Instead { expression: Expr::AggregateFunction(aggregate), end }))
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

/// `enum_first`, `enum_last` and `enum_range`.
pub fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        ["enum_first", "enum_last", "enum_range"].map(|name| {
            let signature = Signature::variadic_any(Volatility::Immutable);
            Arc::new(ScalarUDF::from(LabelFunction { name, signature }))
        })
    });
    FUNCTIONS.iter().find(|function| function.name() == name).cloned()
}

/// A function of the type of its argument, whose value does not count unless it is one of two ends.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LabelFunction {
    name: &'static str,
    signature: Signature,
}

impl LabelFunction {
    fn type_of(&self, fields: &[FieldRef]) -> Result<EnumType> {
        let most = if self.name == "enum_range" { 2 } else { 1 };
        let missing = || {
            let types = fields.iter().map(|field| pg_name(&of_field(field))).collect::<Vec<_>>().join(", ");
            Error::new(code::UNDEFINED_FUNCTION, format!("function {}({types}) does not exist", self.name))
        };
        let found = fields.iter().find_map(enumeration);
        found.filter(|_| (1..=most).contains(&fields.len())).ok_or_else(missing)
    }

    fn returns(&self, made: EnumType) -> ColumnType {
        let made = ColumnType::Enum(Box::new(made));
        if self.name == "enum_range" { ColumnType::Array(Box::new(made)) } else { made }
    }
}

impl ScalarUDFImpl for LabelFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("the type of this depends on that of its argument").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let returns = self.returns(self.type_of(args.arg_fields)?);
        Ok(Arc::new(anonymous_field(&returns).as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let made = self.type_of(&args.arg_fields)?;
        let value = row_by_row(&args, &self.returns(made.clone()), |ends, types| {
            let end = |at: usize| ends.get(at).and_then(|end| number_of(end, &types[at], &made));
            let labels = made.labels.iter().map(|known| known.number);
            Ok(match (self.name, ends.len()) {
                ("enum_first", _) => labels.min().into(),
                ("enum_last", _) => labels.max().into(),
                (_, 1) => Datum::Array(labels.map(Datum::Int).collect()),
                _ => {
                    let (first, last) = (end(0), end(1));
                    let is_in = |number: &i64| {
                        first.is_none_or(|first| first <= *number) && last.is_none_or(|last| *number <= last)
                    };
                    Datum::Array(labels.filter(is_in).map(Datum::Int).collect())
                }
            })
        })?;
        Ok(value)
    }
}

/// A label, which may not have its type yet, as its number.
fn number_of(datum: &Datum<'_>, column_type: &ColumnType, made: &EnumType) -> Option<i64> {
    match column_type {
        ColumnType::Enum(_) => datum.as_int(),
        _ => made.number(datum.as_text()?),
    }
}
