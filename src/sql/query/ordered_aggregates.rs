//! Aggregates of one query that want their rows in different orders, of which DataFusion knows but one.
//!
//! `array_agg(a ORDER BY b DESC)` then collects the values as they come, and what they are sorted by in another array beside them:
//! `sorted_by(array_agg(a), 'DESC NULLS FIRST', array_agg(b))`. Where the order makes no difference, it is left out.

use std::collections::HashSet;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, OrderByExpr, Select,
};

use super::super::json::Value;
use super::own_expressions::change_each;
use super::rewrite::{call, called, is_called, string_literal};
use super::row_function::{Definition, Returns, Takes};
use crate::catalog::{ColumnType, Datum, key};

/// The function that sorts an array by others.
const SORTED_BY: &str = "sorted_by";

/// Aggregates whose results do not depend on the order of their rows.
const UNORDERED: [&str; 9] = ["avg", "bool_and", "bool_or", "count", "every", "max", "min", "sum", "stddev"];

/// Rewords them in a query, but for queries inside of it.
pub fn reword(select: &mut Select) {
    let mut orders = HashSet::new();
    each_ordered(select, |function, order| {
        put_order(function, order.clone());
        orders.insert(order);
        None
    });
    if orders.len() > 1 {
        each_ordered(select, |function, order| {
            let instead = sorted(function, &order);
            if instead.is_none() {
                put_order(function, order);
            }
            instead
        });
    }
}

/// Hands on each aggregate in an order, which is taken from it; what is given takes its place.
fn each_ordered(select: &mut Select, mut change: impl FnMut(&mut Function, Vec<OrderByExpr>) -> Option<Expr>) {
    let mut each = |expression: &mut Expr| {
        let Expr::Function(function) = expression else { return };
        if function.over.is_some() {
            return;
        }
        let Some(order) = take_order(function) else { return };
        if UNORDERED.iter().any(|name| is_called(function, name)) {
            return;
        }
        if let Some(instead) = change(function, order) {
            *expression = instead;
        }
    };
    change_each(&mut select.projection, &mut each);
    change_each(&mut select.having, &mut each);
}

fn take_order(function: &mut Function) -> Option<Vec<OrderByExpr>> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let at = list.clauses.iter().position(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))?;
    match list.clauses.remove(at) {
        FunctionArgumentClause::OrderBy(order) => Some(order),
        _ => None,
    }
}

fn put_order(function: &mut Function, order: Vec<OrderByExpr>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
}

/// What is to be planned instead of an aggregate in an order.
fn sorted(function: &Function, order: &[OrderByExpr]) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if list.duplicate_treatment.is_some() {
        return None;
    }
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    });
    let args = args.collect::<Option<Vec<Expr>>>()?;
    let sorted = |function: &Function, value: Expr| {
        let mut sorted = vec![called(function, "array_agg", Some(value)), string_literal(directions(order))];
        sorted.extend(order.iter().map(|by| called(function, "array_agg", Some(by.expr.clone()))));
        call(SORTED_BY, sorted)
    };
    match &args[..] {
        [value] if is_called(function, "array_agg") => Some(sorted(function, value.clone())),
        [value] if is_called(function, "json_agg") || is_called(function, "jsonb_agg") => {
            Some(call("json:array", vec![sorted(function, call("to_jsonb", vec![value.clone()]))]))
        }
        [value, separator] if is_called(function, "string_agg") => {
            let mut function = function.clone();
            let is_there = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(value.clone()))));
            function.filter = Some(Box::new(match function.filter.take() {
                None => is_there,
                Some(filter) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(filter)),
                    op: sqlparser::ast::BinaryOperator::And,
                    right: Box::new(is_there),
                },
            }));
            if let FunctionArguments::List(list) = &mut function.args {
                list.args.truncate(1);
            }
            let sorted = sorted(&function, value.clone());
            Some(call("array_to_string", vec![sorted, separator.clone()]))
        }
        _ => None,
    }
}

/// `A` or `D`, and `F` or `L` for where NULLs go, of each key.
fn directions(order: &[OrderByExpr]) -> String {
    let one = |by: &OrderByExpr| {
        let descends = by.options.asc == Some(false);
        let nulls_first = by.options.nulls_first.unwrap_or(descends);
        format!("{}{}", if descends { "D" } else { "A" }, if nulls_first { "F" } else { "L" })
    };
    order.iter().map(one).collect()
}

/// The function.
pub fn definitions() -> Vec<Definition> {
    vec![(SORTED_BY, Takes::Any, Returns::By(|types| Ok(types[0].clone())), |args| {
        let Datum::Array(values) = &args[0].datum else { return Ok(Datum::Null) };
        let directions = args[1].text();
        let mut keyed: Vec<(Vec<u8>, &Datum<'_>)> = values.iter().map(|value| (Vec::new(), value)).collect();
        for (at, keys) in args[2..].iter().enumerate() {
            let is_json = *keys.column_type == ColumnType::Array(Box::new(ColumnType::Json));
            let Datum::Array(keys) = &keys.datum else { continue };
            let direction = directions.get(at * 2..at * 2 + 2).unwrap_or("AL");
            for ((sort_key, _), by) in keyed.iter_mut().zip(keys) {
                sort_key.push(u8::from(by.is_null() != direction.ends_with('F')));
                match by {
                    Datum::Text(document) if is_json => {
                        let document = Datum::Bytes(Value::parse(document)?.sort_key().into());
                        key::push(sort_key, &document, direction.starts_with('D'));
                    }
                    by => key::push(sort_key, by, direction.starts_with('D')),
                }
            }
        }
        keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Datum::Array(keyed.into_iter().map(|(_, value)| value.clone().into_owned()).collect()))
    })]
}
