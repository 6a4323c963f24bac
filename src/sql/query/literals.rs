//! Whole numbers written in a query are `INT4` if they fit, as in PostgreSQL; DataFusion has them as `INT8`.
//!
//! That shows in the types of results, so it is done where those come from: to output columns, and to what is computed with. What stands
//! around an expression makes no difference, so that one that is grouped by is the same wherever it is written. Numbers that are only
//! compared, or tell a function how far, stay as they are.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Query, SelectItem, SetExpr, UnaryOperator, Value, Values,
};

use super::rewrite::{call, has_column, is_string, normalized};

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

/// Whether a cast to this type may cut or round a value, which another value in the same column is not.
fn has_length(data_type: &SqlType) -> bool {
    data_type.to_string().contains('(')
}

/// In a column of `VALUES`, or of queries that are put together, of which some say their type, literals are of that type.
pub fn type_columns(body: &mut SetExpr, is_outermost: bool) {
    // In an INSERT numbers say nothing: a column of text has the strings beside them as they are.
    let reads_numbers = !(is_outermost && matches!(body, SetExpr::Values(_)));
    let is_set = matches!(body, SetExpr::SetOperation { .. });
    if !is_set && !matches!(body, SetExpr::Values(_)) {
        return;
    }
    if let SetExpr::SetOperation { left, right, .. } = body {
        [left, right].into_iter().for_each(|side| type_columns(side, false));
    }
    let mut rows = Vec::new();
    // What a table's columns are, nobody says here.
    if collect_rows(body, &mut rows).is_none() {
        return;
    }
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..width {
        let column = rows.iter().filter_map(|row| row.get(at).map(|value| &**value));
        let Some((data_type, kind)) = common_type(column, is_set, reads_numbers) else { continue };
        for value in rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            if matches!(value, Expr::Value(plain) if matches!(plain.value, Value::SingleQuotedString(_) | Value::Null))
            {
                let (data_type, kind, expr) = (data_type.clone(), kind.clone(), Box::new(value.clone()));
                **value = Expr::Cast { kind, expr, data_type, array: false, format: None };
            }
        }
    }
}

/// What the rows, or queries, of a body have in their columns; `None` if one has columns of a table that it does not name.
fn collect_rows<'a>(body: &'a mut SetExpr, rows: &mut Vec<Vec<&'a mut Expr>>) -> Option<()> {
    match body {
        SetExpr::Values(values) => rows.extend(values.rows.iter_mut().map(|row| row.content.iter_mut().collect())),
        SetExpr::Select(select) => {
            let columns = select.projection.iter_mut().map(|item| match item {
                SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                    Some(expression)
                }
                _ => None,
            });
            rows.push(columns.collect::<Option<Vec<_>>>()?);
        }
        SetExpr::SetOperation { left, right, .. } => {
            collect_rows(left, rows)?;
            collect_rows(right, rows)?;
        }
        SetExpr::Query(query) => collect_rows(&mut query.body, rows)?,
        _ => return None,
    }
    Some(())
}

/// The type that the values of a column say; in sets only if all that are more than literals say the same.
fn common_type<'a>(
    values: impl Iterator<Item = &'a Expr>,
    is_set: bool,
    reads_numbers: bool,
) -> Option<(SqlType, CastKind)> {
    let mut cast: Option<(SqlType, CastKind)> = None;
    let mut literal: Option<SqlType> = None;
    for value in values {
        let said = match value {
            Expr::Cast { data_type, kind, .. } => (data_type.clone(), kind.clone()),
            Expr::Interval(_) => (SqlType::Interval { fields: None, precision: None }, CastKind::DoubleColon),
            Expr::TypedString(typed) => (typed.data_type.clone(), CastKind::DoubleColon),
            Expr::Value(plain) => {
                match &plain.value {
                    Value::Number(digits, _) if reads_numbers => literal = Some(wider_number(literal, digits)),
                    Value::Boolean(_) if reads_numbers => literal = Some(SqlType::Bool),
                    _ => {}
                }
                continue;
            }
            _ if is_set => return None,
            _ => continue,
        };
        match &cast {
            _ if has_length(&said.0) => {}
            None => cast = Some(said),
            Some((data_type, _)) if is_set && *data_type != said.0 => return None,
            Some(_) => {}
        }
    }
    match (cast, literal) {
        (Some(_), Some(_)) if is_set => None,
        (Some(cast), _) => Some(cast),
        (None, literal) => literal.map(|literal| (literal, CastKind::DoubleColon)),
    }
}

/// The type of a number beside others.
fn wider_number(others: Option<SqlType>, digits: &str) -> SqlType {
    let is_wide = |data_type: &SqlType| matches!(others.as_ref(), Some(other) if other == data_type);
    let (decimal, long) = (SqlType::Numeric(ExactNumberInfo::None), SqlType::BigInt(None));
    if is_wide(&decimal) || digits.parse::<i64>().is_err() {
        decimal
    } else if is_wide(&long) || digits.parse::<i32>().is_err() {
        long
    } else {
        SqlType::Int(None)
    }
}

/// Whether `VALUES` have a column with literals whose type only an expression beside them says: a union finds it out.
pub fn has_open_columns(values: &Values) -> bool {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let column = |at: usize| values.rows.iter().filter_map(move |row| row.content.get(at));
    // What is of the query around it stays as it is.
    !has_column(values) && (0..width).any(|at| column(at).any(is_string) && column(at).any(is_computed))
}

fn is_computed(value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => is_computed(inner),
        Expr::Cast { data_type, .. } => has_length(data_type),
        Expr::TypedString(typed) => has_length(&typed.data_type),
        other => !matches!(other, Expr::Value(_) | Expr::Interval(_)),
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
