//! Whole numbers written in a query are `INT4` if they fit, as in PostgreSQL; DataFusion has them as `INT8`.
//!
//! That shows in the types of results, so it is done where those come from: in what a query gives, and in what that is grouped and
//! sorted by. Conditions and other arguments stay as they are, and compare numbers of any width.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, OrderByKind, Query,
    SelectItem, SetExpr, UnaryOperator, Value,
};

use super::rewrite::{call, normalized};

/// Functions whose result has the type of their arguments.
const OF_ARGUMENTS: [&str; 12] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "min",
    "max",
    "sum",
    "abs",
    "mod",
    "array_agg",
    "pg_typeof",
    "first_value",
];

/// Gives the whole numbers in what a query gives their type.
pub fn type_whole_numbers(query: &mut Query, is_outermost: bool) {
    type_in_body(&mut query.body, is_outermost);
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order_by.kind
    {
        keys.iter_mut().for_each(|key| type_unless_position(&mut key.expr));
    }
}

fn type_in_body(body: &mut SetExpr, is_outermost: bool) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } = item {
                    type_in(expression);
                }
            }
            if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
                keys.iter_mut().for_each(type_unless_position);
            }
            select.having.iter_mut().for_each(type_in);
        }
        SetExpr::SetOperation { left, right, .. } => {
            type_in_body(left, is_outermost);
            type_in_body(right, is_outermost);
        }
        // Those of an INSERT are outermost, may be many, and take their types from the table.
        SetExpr::Values(values) if !is_outermost => {
            values.rows.iter_mut().flat_map(|row| &mut row.content).for_each(type_in);
        }
        _ => {}
    }
}

/// A number alone is the position of an output column.
fn type_unless_position(expression: &mut Expr) {
    if !matches!(expression, Expr::Value(_)) {
        type_in(expression);
    }
}

fn type_in(expression: &mut Expr) {
    match expression {
        Expr::Value(value) if is_int4(&value.value) => *expression = call("cast:INT4", vec![expression.clone()]),
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => {
            type_in(inner);
        }
        Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
            type_in(left);
            type_in(right);
        }
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| type_in(&mut when.result));
            else_result.iter_mut().for_each(|result| type_in(result));
        }
        Expr::Array(array) => array.elem.iter_mut().for_each(type_in),
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. })
            if name.0.last().and_then(|part| part.as_ident()).is_some_and(is_of_arguments) =>
        {
            for arg in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                    type_in(arg);
                }
            }
        }
        _ => {}
    }
}

fn is_of_arguments(name: &sqlparser::ast::Ident) -> bool {
    OF_ARGUMENTS.contains(&normalized(name).as_str())
}

fn is_int4(value: &Value) -> bool {
    matches!(value, Value::Number(digits, _) if digits.parse::<i32>().is_ok())
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}
