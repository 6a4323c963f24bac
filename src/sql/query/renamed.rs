//! Functions that DataFusion calls something else, or takes in another form.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart, UnaryOperator, Value,
};

use super::super::error::Result;
use super::rewrite::{call, called, cast, computes_alone, is_called, is_string, normalized};
use super::{percentiles, regular, rounding, times};

/// What to call instead of a function, if it is one of them.
pub fn function(function: &Function) -> Result<Option<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    if is_called(function, "make_interval") {
        return Ok(Some(call("make_interval", times::interval_arguments(&list.args)?)));
    }
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    });
    let Some(args) = args.collect::<Option<Vec<Expr>>>() else { return Ok(None) };
    let Some(ObjectNamePart::Identifier(name)) = function.name.0.last() else { return Ok(None) };
    Ok(match (normalized(name).as_str(), &args[..]) {
        ("mod", [left, right]) => {
            let nested = |operand: &Expr| Box::new(Expr::Nested(Box::new(operand.clone())));
            let (left, right) = (nested(left), nested(right));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Modulo, right })))
        }
        // DataFusion's removes one.
        ("array_remove", [_, _]) => Some(call("array_remove_all", args)),
        ("array_replace", [_, _, _]) => Some(call("array_replace_all", args)),
        // A comparison finds what the literal is.
        ("nullif", [value, literal]) if is_string(literal) && computes_alone(value) => {
            let operand = Box::new(Expr::Nested(Box::new(value.clone())));
            let is_same = Expr::BinaryOp { left: operand, op: BinaryOperator::Eq, right: Box::new(literal.clone()) };
            let null = Expr::Value(Value::Null.into());
            Some(Expr::Case {
                operand: None,
                conditions: vec![CaseWhen { condition: is_same, result: null }],
                else_result: Some(Box::new(value.clone())),
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
            })
        }
        ("every", _) => Some(called(function, "bool_and", None)),
        ("variance", _) => Some(called(function, "var_samp", None)),
        ("jsonb_agg" | "json_agg", [value]) => Some(call("json:array", vec![collected_json(function, value)])),
        ("jsonb_object_agg" | "json_object_agg", [key, value]) => {
            let keys = called(function, "array_agg", Some(cast(key.clone(), &SqlType::Text)?));
            Some(call("json:object", vec![keys, collected_json(function, value)]))
        }
        ("date_part", [Expr::Value(field), value]) if is_own_field(&field.value.to_string()) => {
            Some(call("date_part_of", vec![Expr::Value(field.clone()), value.clone()]))
        }
        ("date_part", [_, _]) => Some(cast(call("date_part", args), &SqlType::DoublePrecision)?),
        ("row_to_json" | "to_json", [value]) | ("row_to_json", [value, _]) => {
            Some(call("to_jsonb", vec![value.clone()]))
        }
        (name, _) if let Some(list) = regular::list_of(name) => Some(call("unnest", vec![call(list, args)])),
        // How far is part of the type.
        ("round" | "trunc", [value, places]) if let Some(places) = written_number(places) => {
            Some(call(&rounding::to_places(&normalized(name), places), vec![value.clone()]))
        }
        ("percentile_cont" | "percentile_disc" | "mode", _) => percentiles::reword(function, &args),
        ("substring" | "substr", [text, pattern]) if is_string(pattern) => {
            Some(call("regexp:substring", vec![text.clone(), pattern.clone()]))
        }
        // A literal is bytes, which a backslash begins in hexadecimal.
        (
            "encode" | "convert_from" | "get_byte" | "set_byte" | "sha224" | "sha256" | "sha384" | "sha512",
            [bytes, rest @ ..],
        ) if is_string(bytes) => {
            let bytes = cast(bytes.clone(), &SqlType::Bytea)?;
            Some(call(&normalized(name), std::iter::once(bytes).chain(rest.iter().cloned()).collect()))
        }
        ("current_timestamp" | "localtimestamp", [digits]) => {
            Some(call(times::ROUNDED, vec![call(&normalized(name), Vec::new()), digits.clone()]))
        }
        ("sign", [_]) => Some(call("signum", args)),
        ("ceiling", [_]) => Some(call("ceil", args)),
        _ => None,
    })
}

/// Values as JSON, in an array.
fn collected_json(function: &Function, value: &Expr) -> Expr {
    called(function, "array_agg", Some(call("to_jsonb", vec![value.clone()])))
}

/// Whether a field of a date or time is one that DataFusion does not have, or cuts.
pub fn is_own_field(field: &str) -> bool {
    let fields = [
        "second",
        "milliseconds",
        "epoch",
        "decade",
        "century",
        "millennium",
        "timezone",
        "timezone_hour",
        "timezone_minute",
    ];
    fields.contains(&field.trim_matches('\'').to_lowercase().as_str())
}

/// A function that counts or numbers rows or elements, as a whole number with a sign, which it has none of in DataFusion.
pub fn counting(function: &Function) -> Result<Option<Expr>> {
    let Some(ObjectNamePart::Identifier(name)) = function.name.0.last() else { return Ok(None) };
    let counted = match normalized(name).as_str() {
        "row_number" | "rank" | "dense_rank" if function.over.is_some() => SqlType::BigInt(None),
        "regr_count" => SqlType::BigInt(None),
        "ntile" | "cardinality" | "array_position" => SqlType::Int4(None),
        _ => return Ok(None),
    };
    cast(Expr::Function(function.clone()), &counted).map(Some)
}

/// A number that is written, or that a parameter stands for, perhaps under casts.
fn written_number(expression: &Expr) -> Option<i64> {
    let function = match expression {
        Expr::Function(function) => function,
        Expr::Nested(inner) => return written_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => return written_number(expr).map(|number| -number),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => return digits.parse().ok(),
            _ => return None,
        },
        _ => return None,
    };
    if !function.name.to_string().trim_matches('"').starts_with("cast:INT") {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    match &list.args[..] {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
            Value::SingleQuotedString(digits) | Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))] => written_number(inner),
        _ => None,
    }
}
