//! How far the frames of windows go: as DataFusion reads it, and where it is a parameter.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, Value, VisitMut, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType, visit_expressions_mut,
};

use super::parameters::placeholder;
use super::rewrite::string_literal;

/// The ends of a window's frame as DataFusion reads them, which takes no casts there.
pub fn plain_frame(expression: &mut Expr) {
    let Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) = expression else { return };
    let Some(frame) = &mut spec.window_frame else { return };
    for distance in distances(frame) {
        match cast_text(distance) {
            Some(count) if count.parse::<u64>().is_ok() => {
                *distance = Expr::Value(Value::Number(count, false).into());
            }
            Some(length) => {
                *distance = Expr::Interval(Interval {
                    value: Box::new(string_literal(length)),
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
            }
            None => {}
        }
    }
}

/// A string, or the one under a cast, as which parameters are bound.
fn cast_text(expression: &Expr) -> Option<String> {
    let string = |expression: &Expr| match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    match expression {
        Expr::Nested(inner) => cast_text(inner),
        Expr::Function(function) if function.name.to_string().trim_matches('"').starts_with("cast:") => {
            match &function.args {
                FunctionArguments::List(list) => match &list.args[..] {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] => string(argument),
                    _ => None,
                },
                _ => None,
            }
        }
        other => string(other),
    }
}

/// How far the frame of a window goes.
fn distances(frame: &mut WindowFrame) -> impl Iterator<Item = &mut Expr> {
    let bounds = std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound);
    bounds.filter_map(|bound| match bound {
        WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance)) => {
            Some(&mut **distance)
        }
        _ => None,
    })
}

/// Says of frames whose width is a parameter that it is some number, which changes no types: for a query that is planned and not run.
pub fn settle_frames<T: VisitMut>(tree: &mut T) {
    let _ = visit_expressions_mut(tree, |expression| {
        settle_frame(expression);
        ControlFlow::<()>::Continue(())
    });
}

/// The same of one call.
pub fn settle_frame(expression: &mut Expr) {
    if let Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) = expression
        && let Some(frame) = &mut spec.window_frame
    {
        for distance in distances(frame).filter(|distance| placeholder(distance).is_some()) {
            *distance = Expr::Value(Value::Number("1".into(), false).into());
        }
    }
}

/// How many rows or groups the frame of a window goes.
pub fn counted_distances(function: &Function) -> Vec<&Expr> {
    let Some(WindowType::WindowSpec(WindowSpec { window_frame: Some(frame), .. })) = &function.over else {
        return Vec::new();
    };
    if frame.units == WindowFrameUnits::Range {
        return Vec::new();
    }
    let bounds = std::iter::once(&frame.start_bound).chain(&frame.end_bound);
    let mut distances = Vec::new();
    for bound in bounds {
        if let WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance)) = bound {
            distances.push(&**distance);
        }
    }
    distances
}
