//! `percentile_cont`, `percentile_disc` and `mode`: of the values in an array that an aggregate has collected, exactly. DataFusion's first
//! rounds how far a value lies between two others, and it has no others.

use sqlparser::ast::{Expr, Function, FunctionArguments, OrderByExpr};

use super::super::error::{Error, Result, code};
use super::rewrite::{call, called, string_literal};
use super::row_function::{Argument, Definition, Returns, Takes};
use crate::catalog::key;
use crate::catalog::{ColumnType, Datum};

/// What is to be planned instead of such an aggregate.
pub fn reword(function: &Function, args: &[Expr]) -> Option<Expr> {
    let [OrderByExpr { expr, options, .. }] = &function.within_group[..] else { return None };
    if function.over.is_some() {
        return None;
    }
    let mut values = function.clone();
    values.within_group.clear();
    if let FunctionArguments::None = values.args {
        return None;
    }
    // An argument that it may not have at all takes the place of the fractions.
    let Expr::Function(template) = call("array_agg", vec![expr.clone()]) else { return None };
    values.args = template.args;
    let values = called(&values, "array_agg", None);
    let direction = string_literal(if options.asc == Some(false) { "DESC" } else { "ASC" }.into());
    let name = function.name.to_string().to_lowercase();
    match (name.as_str(), args) {
        ("mode", []) => Some(call("percentile:mode", vec![values, direction])),
        ("percentile_cont", [fraction]) => Some(call("percentile:cont", vec![values, direction, fraction.clone()])),
        ("percentile_disc", [fraction]) => Some(call("percentile:disc", vec![values, direction, fraction.clone()])),
        _ => None,
    }
}

/// The functions.
pub fn definitions() -> Vec<Definition> {
    vec![
        ("percentile:cont", Takes::Any, Returns::By(|types| Ok(like_fractions(types, ColumnType::Float8))), |args| {
            let numbers = numbers(&args[0])?;
            for_each_fraction(args, |fraction| {
                let numbers: Vec<f64> =
                    if descends(args) { numbers.iter().rev().copied().collect() } else { numbers.clone() };
                let Some(last) = numbers.len().checked_sub(1) else { return Ok(Datum::Null) };
                let place = fraction * last as f64;
                let (below, above) = (place.floor() as usize, place.ceil() as usize);
                let between = numbers[below] + (place - below as f64) * (numbers[above] - numbers[below]);
                Ok(Datum::Float(if below == above { numbers[below] } else { between }))
            })
        }),
        ("percentile:disc", Takes::Any, Returns::By(|types| Ok(like_fractions(types, element(types)))), |args| {
            let values = sorted(args);
            for_each_fraction(args, |fraction| {
                let place = (fraction * values.len() as f64).ceil() as usize;
                Ok(values.get(place.saturating_sub(1)).map_or(Datum::Null, |(_, value)| value.clone()))
            })
        }),
        ("percentile:mode", Takes::Any, Returns::By(|types| Ok(element(types))), |args| {
            let values = sorted(args);
            let runs = values.chunk_by(|(one, _), (other, _)| one == other);
            // Of several that are as frequent, the first.
            let most = runs.rev().max_by_key(|run| run.len());
            Ok(most.map_or(Datum::Null, |run| run[0].1.clone()))
        }),
    ]
}

fn element(types: &[ColumnType]) -> ColumnType {
    match &types[0] {
        ColumnType::Array(element) => (**element).clone(),
        other => other.clone(),
    }
}

/// A type, or arrays of it for an array of fractions.
fn like_fractions(types: &[ColumnType], one: ColumnType) -> ColumnType {
    match types.get(2) {
        Some(ColumnType::Array(_)) => ColumnType::Array(Box::new(one)),
        _ => one,
    }
}

fn descends(args: &[Argument<'_>]) -> bool {
    args[1].datum.as_text() == Some("DESC")
}

/// The values that are not NULL, each with what it sorts by.
fn sorted(args: &[Argument<'_>]) -> Vec<(Vec<u8>, Datum<'static>)> {
    let Datum::Array(items) = &args[0].datum else { return Vec::new() };
    let keyed = |item: &Datum<'_>| {
        let mut sort_key = Vec::new();
        key::push(&mut sort_key, item, descends(args));
        (sort_key, item.clone().into_owned())
    };
    let mut values: Vec<_> = items.iter().filter(|item| !item.is_null()).map(keyed).collect();
    values.sort_by(|(one, _), (other, _)| one.cmp(other));
    values
}

fn numbers(values: &Argument<'_>) -> Result<Vec<f64>> {
    let Datum::Array(items) = &values.datum else { return Ok(Vec::new()) };
    let element = element(std::slice::from_ref(values.column_type));
    let number = |item: &Datum<'_>| match item {
        Datum::Null => None,
        item => {
            let one = Argument { datum: item.clone(), column_type: &element, zone: values.zone };
            let number = one.text().parse::<f64>();
            Some(number.map_err(|_| Error::new(code::UNDEFINED_FUNCTION, "percentile_cont takes numbers")))
        }
    };
    let mut numbers = items.iter().filter_map(number).collect::<Result<Vec<f64>>>()?;
    numbers.sort_by(f64::total_cmp);
    Ok(numbers)
}

/// What a fraction gives, or each of several.
fn for_each_fraction(args: &[Argument<'_>], of: impl Fn(f64) -> Result<Datum<'static>>) -> Result<Datum<'static>> {
    let fractions = &args[2];
    let element = match fractions.column_type {
        ColumnType::Array(element) => element,
        other => other,
    };
    let one = |fraction: &Datum<'_>| {
        if fraction.is_null() || args[0].datum.is_null() {
            return Ok(Datum::Null);
        }
        let text = Argument { datum: fraction.clone(), column_type: element, zone: fractions.zone }.text();
        let fraction = text.parse::<f64>().ok().filter(|fraction| (0.0..=1.0).contains(fraction));
        of(fraction.ok_or_else(|| {
            let message = format!("percentile value {text} is not between 0 and 1");
            Error::new(code::NUMERIC_OUT_OF_RANGE, message)
        })?)
    };
    match &fractions.datum {
        Datum::Array(all) => Ok(Datum::Array(all.iter().map(one).collect::<Result<_>>()?)),
        fraction => one(fraction),
    }
}
