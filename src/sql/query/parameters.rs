//! Placeholders: their types as far as the syntax tells, and values in their place.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, LimitClause, Query, Value, Visit, VisitMut, Visitor, VisitorMut};

use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::from_sql;
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
fn literal((column_type, datum): &Parameter) -> Expr {
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

/// Types of placeholders that can be seen in the syntax: those under a cast, and in `LIMIT` and `OFFSET`.
pub fn parameter_hints<T: Visit>(tree: &T, hints: &mut HashMap<usize, ColumnType>) {
    struct Hints<'a>(&'a mut HashMap<usize, ColumnType>);
    impl Hints<'_> {
        fn add(&mut self, expression: &Expr, column_type: ColumnType) {
            if let Some(index) = placeholder(expression) {
                self.0.entry(index).or_insert(column_type);
            }
        }
    }
    impl Visitor for Hints<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
                let offset = offset.as_ref().map(|offset| &offset.value);
                limit.iter().chain(offset).for_each(|expression| self.add(expression, ColumnType::Int8));
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Expr::Cast { expr, data_type, .. } = expression
                && let Ok(column_type) = from_sql(data_type)
            {
                self.add(expr, column_type);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Hints(hints));
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
