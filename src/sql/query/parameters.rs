//! Placeholders, and values in their place.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Value, VisitMut, VisitorMut};

use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::rewrite::{call, string_literal};
use crate::catalog::{ColumnType, Datum};

/// A value given for a placeholder.
pub type Parameter = (ColumnType, Datum<'static>);

/// Puts values in the place of placeholders.
pub fn bind<T: VisitMut>(tree: &mut T, parameters: &[Parameter]) -> Result<()> {
    bind_some(tree, parameters, &|_| true)
}

/// Puts values in the place of some placeholders, by their indexes.
pub fn bind_some<T: VisitMut>(tree: &mut T, parameters: &[Parameter], which: &dyn Fn(usize) -> bool) -> Result<()> {
    struct Bind<'a> {
        parameters: &'a [Parameter],
        which: &'a dyn Fn(usize) -> bool,
        error: Option<Error>,
    }
    impl VisitorMut for Bind<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::Value(value) = expression
                && let Value::Placeholder(name) = &value.value
            {
                let index = name.trim_start_matches('$').parse::<usize>().unwrap_or(0);
                match index.checked_sub(1).and_then(|index| Some((index, self.parameters.get(index)?))) {
                    Some((index, _)) if !(self.which)(index) => {}
                    Some((_, parameter)) => *expression = literal(parameter),
                    None => {
                        let message = format!("there is no parameter {name}");
                        self.error = Some(Error::new(code::PROTOCOL_VIOLATION, message));
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Bind { parameters, which, error: None };
    let _ = tree.visit(&mut visitor);
    visitor.error.map_or(Ok(()), Err)
}

/// A literal that has exactly the parameter's type.
pub fn literal((column_type, datum): &Parameter) -> Expr {
    // Marked as long: it stays of eight bytes.
    let number = |text: String| Expr::Value(Value::Number(text, true).into());
    match (datum, column_type) {
        (Datum::Int(value), ColumnType::Int8) if *value >= 0 => number(value.to_string()),
        (Datum::Text(text), ColumnType::Text) => string_literal(text.to_string()),
        (Datum::Null, _) => call(&format!("cast:{column_type}"), vec![Expr::Value(Value::Null.into())]),
        (datum, column_type) => {
            let mut text = String::new();
            text::format(&mut text, datum, column_type, TimeZone::UTC);
            call(&format!("cast:{column_type}"), vec![string_literal(text)])
        }
    }
}

/// The index, from 0, of the placeholder that an expression is.
pub fn placeholder(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.trim_start_matches('$').parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}
