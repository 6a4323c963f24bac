//! Comparisons of values that are compared by their keys: operators, `CASE value WHEN`, `IN`, `ANY`, `greatest` and their like.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, when};

use super::super::error::Error;
use super::enums::label;
use super::passed_types::field_of;
use super::value_keys::{Asked, key, keyed, keyed_elements, keys_of_elements, of_rank, rank, sorted_by_keys};
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// The most values that `greatest` and `least` take of a type whose keys cannot be made values again.
const MAX_CHOSEN: usize = 6;

/// The operands of a comparison as keys, if they are of a type that has them and it matters.
pub fn ordered(
    (left, left_field): (Expr, &FieldRef),
    op: Operator,
    (right, right_field): (Expr, &FieldRef),
) -> (Expr, Expr) {
    let asked = if asks_which_is_greater(op) { Asked::Order } else { Asked::Equality };
    // What is text beside such a value is one whose type was forgotten on the way.
    let is_text = |field: &FieldRef| field.data_type().is_string() || field.data_type().is_null();
    let common = match (keyed(left_field, asked), keyed(right_field, asked)) {
        // Arrays of several types become of one before they are compared.
        (Some(ColumnType::Array(_)), Some(_)) if left_field.data_type() != right_field.data_type() => None,
        (Some(one), Some(other)) if one.made_type() == other.made_type() => Some(one),
        (Some(of), None) if is_text(right_field) => Some(of),
        (None, Some(of)) if is_text(left_field) => Some(of),
        _ => None,
    };
    match common {
        Some(of) => (key(of.clone(), left), key(of, right)),
        None => (left, right),
    }
}

fn asks_which_is_greater(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// Makes the comparisons of a plan's node some of keys.
pub fn compare(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(expression.transform_up(|inner| by_keys(inner, &schema))?.update_data(|changed| name.restore(changed)))
    })
}

/// The type of a value whose keys are to be compared. One of a query outside is not known here.
fn type_of(value: &Expr, asked: Asked, schema: &DFSchema) -> Option<ColumnType> {
    field_of(value, schema).ok().and_then(|field| keyed(&field, asked))
}

fn by_keys(expression: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    match expression {
        Expr::ScalarFunction(call) => call_of_keys(call, schema),
        Expr::BinaryExpr(compared) if compared.op.supports_propagation() => compared_by_keys(compared, schema),
        Expr::Between(between) => between_keys(between, schema),
        Expr::InList(list) => in_list_of_keys(list, schema),
        Expr::InSubquery(one) => in_subquery_of_keys(one, schema),
        Expr::Case(case) => case_of_keys(case, schema),
        other => Ok(Transformed::no(other)),
    }
}

fn call_of_keys(call: ScalarFunction, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let element_of = |array: &Expr, asked| field_of(array, schema).ok().and_then(|field| keyed_elements(&field, asked));
    // Of an array or of the value that it is compared with: one of them may have forgotten it.
    let common = |array: &Expr, value: &Expr, asked| element_of(array, asked).or_else(|| type_of(value, asked, schema));
    let ScalarFunction { func, mut args } = call;
    let instead = match func.name() {
        "greatest" | "least" => match args.iter().find_map(|value| type_of(value, Asked::Order, schema)) {
            Some(of @ (ColumnType::Enum(_) | ColumnType::Interval)) => {
                let ranks = args.into_iter().filter_map(|value| rank(&of, value).transpose());
                of_rank(&of, func.call(ranks.collect::<DfResult<_>>()?))?
            }
            Some(of) => extreme_by_key(of, ScalarFunction { func, args })?,
            None => return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))),
        },
        "nullif" if let Some(of) = type_of(&args[0], Asked::Equality, schema) => {
            let (value, other) = (args.swap_remove(0), args.swap_remove(0));
            let is_same = key(of.clone(), value.clone()).eq(key(of, other));
            when(is_same.is_not_true(), value).end()?
        }
        "array_sort" if let Some(element) = element_of(&args[0], Asked::Order) => match element {
            of @ ColumnType::Enum(_) => {
                args[0] = keys_of_elements(of.clone(), std::mem::take(&mut args[0]));
                label(ColumnType::Array(Box::new(of)), func.call(args))
            }
            _ => sorted_by_keys()?.call(args),
        },
        "array_contains" | "array_overlap" if let Some(element) = element_of(&args[0], Asked::Equality) => {
            func.call(args.into_iter().map(|array| keys_of_elements(element.clone(), array)).collect())
        }
        "array_has" | "array_position" | "array_positions"
            if let Some(element) = common(&args[0], &args[1], Asked::Equality) =>
        {
            args[0] = keys_of_elements(element.clone(), std::mem::take(&mut args[0]));
            args[1] = key(element, std::mem::take(&mut args[1]));
            func.call(args)
        }
        "any" | "all" if let Some(element) = common(&args[1], &args[0], Asked::Order) => {
            args[0] = key(element.clone(), std::mem::take(&mut args[0]));
            args[1] = keys_of_elements(element, std::mem::take(&mut args[1]));
            func.call(args)
        }
        _ => return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))),
    };
    Ok(Transformed::yes(instead))
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
    if type_of(&between.expr, Asked::Order, schema).is_none() {
        return Ok(Transformed::no(Expr::Between(between)));
    }
    let Between { expr, negated, low, high } = between;
    let low = compared_by_keys(BinaryExpr::new(expr.clone(), Operator::GtEq, low), schema)?.data;
    let high = compared_by_keys(BinaryExpr::new(expr, Operator::LtEq, high), schema)?.data;
    let both = low.and(high);
    Ok(Transformed::yes(if negated { Expr::Not(Box::new(both)) } else { both }))
}

fn in_list_of_keys(list: InList, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Some(of) = type_of(&list.expr, Asked::Equality, schema) else {
        return Ok(Transformed::no(Expr::InList(list)));
    };
    let keys = list.list.into_iter().map(|value| key(of.clone(), value)).collect();
    Ok(Transformed::yes(Expr::InList(InList::new(Box::new(key(of, *list.expr)), keys, list.negated))))
}

fn in_subquery_of_keys(one: InSubquery, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let InSubquery { expr, subquery, negated } = one;
    let Some(of) = type_of(&expr, Asked::Equality, schema) else {
        return Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })));
    };
    let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
    let values = plan.schema().columns().into_iter().map(|column| key(of.clone(), Expr::Column(column)));
    let keys: Vec<Expr> = values.collect();
    let plan = Arc::new(LogicalPlanBuilder::from(plan).project(keys)?.build()?);
    let (expr, subquery) = (Box::new(key(of, *expr)), Subquery { subquery: plan, outer_ref_columns, spans });
    Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
}

fn case_of_keys(case: Case, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let Some(of) = case.expr.as_ref().and_then(|value| type_of(value, Asked::Equality, schema)) else {
        return Ok(Transformed::no(Expr::Case(case)));
    };
    let Case { expr, when_then_expr, else_expr } = case;
    let one = |(value, then): (Box<Expr>, Box<Expr>)| (Box::new(key(of.clone(), *value)), then);
    let when_then_expr = when_then_expr.into_iter().map(one).collect();
    let expr = expr.map(|value| Box::new(key(of, *value)));
    Ok(Transformed::yes(Expr::Case(Case { expr, when_then_expr, else_expr })))
}
