//! Literals whose type is that of what is beside them, and values of several types that become of one, before DataFusion has its way with them.
//!
//! `CASE WHEN c THEN tags ELSE '{}' END` and `coalesce(tags, '{}')` are arrays, `greatest(price, '2.45')` is a decimal with two digits at
//! least, `SELECT '10' UNION ALL SELECT 9` are whole numbers; a decimal beside a floating number is one, and a date beside an instant
//! is an instant (<https://www.postgresql.org/docs/15/typeconv-union-case.html>).

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Case, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, Projection, Union};

use super::super::time_zone::TimeZone;
use super::super::types::of_field;
use super::blank_padding::pad;
use super::functions::cast_to;
use super::operators::adopt;
use super::passed_types::field_of;
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// Functions whose arguments are of one type.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "nullif", "greatest", "least", "make_array"];
/// Window functions that may be given a value for rows that are not there.
const WITH_DEFAULT: [&str; 2] = ["lag", "lead"];

/// Settles what such values are.
pub fn adopt_literals(plan: LogicalPlan, zone: TimeZone) -> DfResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let settled = expression
                .transform_up(|part| settled(part, &schema, zone)?.transform_data(|part| pad(part, &schema)))?;
            Ok(settled.update_data(|expression| name.restore(expression)))
        })?;
        changed.map_data(|node| match node {
            LogicalPlan::Union(union) => united(union, zone),
            node => node.recompute_schema(),
        })
    })?;
    Ok(changed.data)
}

fn settled(part: Expr, schema: &DFSchema, zone: TimeZone) -> DfResult<Transformed<Expr>> {
    match part {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| &**result).chain(case.else_expr.as_deref());
            let Some(common) = common_type(results, schema) else { return Ok(Transformed::no(Expr::Case(case))) };
            let Case { expr, when_then_expr, else_expr } = case;
            let each = |(when, then): (Box<Expr>, Box<Expr>)| Ok((when, Box::new(common.settle(*then, schema, zone)?)));
            let when_then_expr = when_then_expr.into_iter().map(each).collect::<DfResult<_>>()?;
            let else_expr = else_expr.map(|other| common.settle(*other, schema, zone).map(Box::new)).transpose()?;
            Ok(Transformed::yes(Expr::Case(Case { expr, when_then_expr, else_expr })))
        }
        Expr::ScalarFunction(mut call) if OF_ONE_TYPE.contains(&call.name()) => {
            let Some(common) = common_type(call.args.iter(), schema) else {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            };
            call.args = call.args.into_iter().map(|arg| common.settle(arg, schema, zone)).collect::<DfResult<_>>()?;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
            right,
        }) => {
            let Some(common) = common_type([&*left, &*right].into_iter(), schema) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            let (left, right) = (common.settle(*left, schema, zone)?, common.settle(*right, schema, zone)?);
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
        }
        Expr::WindowFunction(mut window) if is_with_default(&window) => {
            let args = &mut window.params.args;
            let Some(common) = common_type([&args[0], &args[2]].into_iter(), schema) else {
                return Ok(Transformed::no(Expr::WindowFunction(window)));
            };
            args[2] = common.settle(std::mem::take(&mut args[2]), schema, zone)?;
            Ok(Transformed::yes(Expr::WindowFunction(window)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_with_default(window: &WindowFunction) -> bool {
    WITH_DEFAULT.contains(&window.fun.name()) && window.params.args.len() == 3
}

/// What values are to become.
struct Common {
    /// What literals are read as.
    of_literals: FieldRef,
    /// What others are cast to, where DataFusion would choose another type.
    cast: Option<ColumnType>,
}

impl Common {
    fn settle(&self, value: Expr, schema: &DFSchema, zone: TimeZone) -> DfResult<Expr> {
        let value = adopt(value, &self.of_literals, zone)?;
        let Some(to) = &self.cast else { return Ok(value) };
        let field = field_of(&value, schema)?;
        let is_one = of_field(&field) == *to || field.data_type().is_null();
        Ok(if is_one { value } else { cast_to(to.clone(), zone).call(vec![value]) })
    }
}

fn is_literal(part: &Expr) -> bool {
    match part {
        Expr::Alias(alias) => is_literal(&alias.expr),
        part => matches!(part, Expr::Literal(ScalarValue::Utf8(Some(_)), None)),
    }
}

/// The type of values, if there is something to be done about it.
fn common_type<'a>(parts: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<Common> {
    let (literals, others): (Vec<&Expr>, Vec<&Expr>) = parts.partition(|part| is_literal(part));
    let fields: Vec<FieldRef> = others.iter().filter_map(|part| field_of(part, schema).ok()).collect();
    common_of(&fields, !literals.is_empty())
}

fn common_of(fields: &[FieldRef], has_literals: bool) -> Option<Common> {
    let mut typed = fields.iter().filter(|field| !field.data_type().is_null());
    let of_literals = Arc::clone(typed.next()?);
    let all =
        |fits: fn(&DataType) -> bool| fields.iter().all(|field| field.data_type().is_null() || fits(field.data_type()));
    let any = |is: fn(&DataType) -> bool| fields.iter().any(|field| is(field.data_type()));
    let cast = if all(DataType::is_numeric) && any(DataType::is_floating) && any(is_decimal) {
        let is_double = any(|data_type| *data_type == DataType::Float64);
        Some(if is_double { ColumnType::Float8 } else { ColumnType::Float4 })
    } else if all(is_moment) && any(is_instant) && !all(is_instant) {
        Some(ColumnType::TimestampTz)
    } else {
        None
    };
    // Beside text it is text.
    let reads = has_literals && !fields.iter().any(|field| of_field(field).is_character());
    (reads || cast.is_some()).then_some(Common { of_literals, cast })
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..))
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32)
}

/// A union whose literals are of the type of the other rows' values.
fn united(union: Union, zone: TimeZone) -> DfResult<LogicalPlan> {
    let width = union.schema.fields().len();
    let mut inputs: Vec<LogicalPlan> = union.inputs.iter().map(|input| input.as_ref().clone()).collect();
    let mut changed = false;
    for at in 0..width {
        let is_open = |input: &LogicalPlan| output(input, at).is_some_and(is_literal);
        let typed: Vec<FieldRef> =
            inputs.iter().filter(|input| !is_open(input)).map(|input| input.schema().field(at).clone()).collect();
        let Some(common) = common_of(&typed, inputs.iter().any(is_open)) else { continue };
        for input in &mut inputs {
            let field = input.schema().field(at);
            if is_open(input) || common.cast.as_ref().is_some_and(|to| of_field(field) != *to) {
                *input = with_settled(input, at, &common, zone)?;
                changed = true;
            }
        }
    }
    if !changed {
        return Ok(LogicalPlan::Union(union));
    }
    let inputs = inputs.into_iter().map(Arc::new).collect();
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}

/// The expression of an output column, if it is computed at the top of a plan.
fn output(plan: &LogicalPlan, at: usize) -> Option<&Expr> {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(at),
        _ => None,
    }
}

/// A plan one of whose output columns is of the common type.
fn with_settled(plan: &LogicalPlan, at: usize, common: &Common, zone: TimeZone) -> DfResult<LogicalPlan> {
    let (input, mut exprs) = match plan {
        LogicalPlan::Projection(projection) => (projection.input.clone(), projection.expr.clone()),
        other => {
            let columns = other.schema().columns().into_iter().map(Expr::Column).collect();
            (Arc::new(other.clone()), columns)
        }
    };
    let (qualifier, field) = plan.schema().qualified_field(at);
    let value = std::mem::take(&mut exprs[at]).unalias();
    exprs[at] = common.settle(value, input.schema(), zone)?.alias_qualified(qualifier.cloned(), field.name());
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}
