//! `array_agg(DISTINCT x ORDER BY x)` and `string_agg` likewise, also without the order, sorted when they are whole: several of them in one query would share
//! the order of one.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    OrderByExpr, OrderByOptions,
};

use super::rewrite::{call, is_called, string_literal};

/// What is to be planned instead.
pub fn reword(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let args: Vec<&Expr> = list.args.iter().map(argument).collect::<Option<_>>()?;
    let key = &match &list.clauses[..] {
        [FunctionArgumentClause::OrderBy(order)] => match &order[..] {
            [key] => key.clone(),
            _ => return None,
        },
        // PostgreSQL finds what is distinct by sorting.
        [] => OrderByExpr {
            expr: (*args.first()?).clone(),
            options: OrderByOptions { asc: None, nulls_first: None },
            with_fill: None,
        },
        _ => return None,
    };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if !is_distinct || function.over.is_some() || args.first() != Some(&&key.expr) {
        return None;
    }
    let mut values = function.clone();
    let FunctionArguments::List(list) = &mut values.args else { return None };
    list.clauses.clear();
    if is_called(function, "array_agg") && args.len() == 1 {
        return Some(sorted(Expr::Function(values), key));
    }
    if !is_called(function, "string_agg") || args.len() != 2 {
        return None;
    }
    let present = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(args[0].clone()))));
    values.filter = Some(Box::new(match values.filter.take() {
        None => present,
        Some(given) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(given)),
            op: sqlparser::ast::BinaryOperator::And,
            right: Box::new(present),
        },
    }));
    list.args.truncate(1);
    values.name = match call("array_agg", Vec::new()) {
        Expr::Function(array) => array.name,
        _ => return None,
    };
    Some(call("array_to_string", vec![sorted(Expr::Function(values), key), args[1].clone()]))
}

fn argument(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
        _ => None,
    }
}

fn sorted(array: Expr, key: &OrderByExpr) -> Expr {
    let descends = key.options.asc == Some(false);
    let nulls_first = key.options.nulls_first.unwrap_or(descends);
    let order = string_literal(if descends { "DESC" } else { "ASC" }.into());
    let nulls = string_literal(if nulls_first { "NULLS FIRST" } else { "NULLS LAST" }.into());
    call("array_sort", vec![array, order, nulls])
}
