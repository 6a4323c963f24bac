//! Whole numbers written in a query are `INT4` if they fit, as in PostgreSQL; DataFusion has them as `INT8`.
//!
//! That shows in the types of results, so it is done where those come from: to output columns, and to what is computed with. What stands
//! around an expression makes no difference, so that one that is grouped by is the same wherever it is written. Numbers that are only
//! compared, or tell a function how far, stay as they are.

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, SelectItem, SetExpr,
    UnaryOperator, Value,
};

use super::rewrite::{call, normalized};

/// Functions whose result has the type of their arguments, or depends on it.
const OF_ARGUMENTS: [&str; 16] = [
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
    "gcd",
    "lcm",
    "to_hex",
    "generate_series",
];

/// Gives numbers that are output columns their type.
pub fn type_outputs(query: &mut Query, is_outermost: bool) {
    type_in_body(&mut query.body, is_outermost);
}

fn type_in_body(body: &mut SetExpr, is_outermost: bool) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } = item {
                    type_number(expression);
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            type_in_body(left, false);
            type_in_body(right, false);
        }
        // Those of an INSERT are outermost, may be many, and take their types from the table.
        SetExpr::Values(values) if !is_outermost => {
            values.rows.iter_mut().flat_map(|row| &mut row.content).for_each(type_number);
        }
        _ => {}
    }
}

/// Gives numbers that an expression computes with their type.
pub fn type_operands(expression: &mut Expr) {
    match expression {
        Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
            type_number(left);
            type_number(right);
        }
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| type_number(&mut when.result));
            else_result.iter_mut().for_each(|result| type_number(result));
        }
        Expr::Array(array) => array.elem.iter_mut().for_each(type_number),
        Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, .. })
            if name.0.last().and_then(|part| part.as_ident()).is_some_and(is_of_arguments) =>
        {
            for arg in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                    type_number(arg);
                }
            }
        }
        _ => {}
    }
}

/// Gives a number its type.
pub fn type_number(expression: &mut Expr) {
    use UnaryOperator::{BitwiseNot, Minus, PGAbs, Plus};
    match expression {
        Expr::Value(value) if is_int4(&value.value) => *expression = call("cast:INT4", vec![expression.clone()]),
        Expr::Nested(inner) | Expr::UnaryOp { op: Minus | Plus | BitwiseNot | PGAbs, expr: inner } => {
            type_number(inner)
        }
        _ => {}
    }
}

fn is_of_arguments(name: &sqlparser::ast::Ident) -> bool {
    OF_ARGUMENTS.contains(&normalized(name).as_str())
}

/// Values that are bound to parameters of eight bytes are marked as long.
fn is_int4(value: &Value) -> bool {
    matches!(value, Value::Number(digits, false) if digits.parse::<i32>().is_ok())
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{
        BitwiseAnd, BitwiseOr, Divide, Minus, Modulo, Multiply, PGBitwiseShiftLeft, PGBitwiseShiftRight, PGBitwiseXor,
        Plus,
    };
    let bitwise = [BitwiseAnd, BitwiseOr, PGBitwiseXor, PGBitwiseShiftLeft, PGBitwiseShiftRight];
    matches!(op, Plus | Minus | Multiply | Divide | Modulo) || bitwise.contains(op)
}
