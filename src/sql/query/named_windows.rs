//! Windows that build on named ones, `OVER (w ORDER BY a)`: DataFusion knows a name alone, and passes over it in parentheses.

use std::collections::HashMap;

use sqlparser::ast::{Expr, Function, Ident, NamedWindowExpr, Query, Select, SetExpr, WindowSpec, WindowType};

use super::super::error::{Error, Result, code};
use super::own_expressions::change_each;
use super::rewrite::normalized;

/// Spells them out in a query, but for queries inside of it.
pub fn spell_out(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(()) };
    let (named, mut error) = (named(select)?, None);
    let mut spell = |expression: &mut Expr| {
        if let Expr::Function(Function { over: Some(WindowType::WindowSpec(spec)), .. }) = expression
            && spec.window_name.is_some()
        {
            match merged(&named, spec) {
                Ok(merged) => *spec = merged,
                Err(failed) => error = error.take().or(Some(failed)),
            }
        }
    };
    change_each(&mut select.projection, &mut spell);
    change_each(&mut query.order_by, &mut spell);
    error.map_or(Ok(()), Err)
}

/// The windows that have a name, each without those that it builds on.
fn named(select: &mut Select) -> Result<HashMap<String, WindowSpec>> {
    let mut named = HashMap::new();
    for definition in &mut select.named_window {
        let spec = match &definition.1 {
            NamedWindowExpr::WindowSpec(spec) => merged(&named, spec)?,
            NamedWindowExpr::NamedWindow(other) => find(&named, other)?.clone(),
        };
        definition.1 = NamedWindowExpr::WindowSpec(spec.clone());
        named.insert(normalized(&definition.0), spec);
    }
    Ok(named)
}

fn find<'a>(named: &'a HashMap<String, WindowSpec>, name: &Ident) -> Result<&'a WindowSpec> {
    let name = normalized(name);
    let missing = || Error::new(code::UNDEFINED_OBJECT, format!("window \"{name}\" does not exist"));
    named.get(&name).ok_or_else(missing)
}

/// A window with what it takes from the one that it builds on.
fn merged(named: &HashMap<String, WindowSpec>, spec: &WindowSpec) -> Result<WindowSpec> {
    let Some(name) = &spec.window_name else { return Ok(spec.clone()) };
    let base = find(named, name)?;
    let refuse = |message: String| Err(Error::new(code::WINDOWING_ERROR, message));
    let name = normalized(name);
    if !spec.partition_by.is_empty() {
        return refuse(format!("cannot override PARTITION BY clause of window \"{name}\""));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refuse(format!("cannot override ORDER BY clause of window \"{name}\""));
    }
    if base.window_frame.is_some() {
        return refuse(format!("cannot copy window \"{name}\" because it has a frame clause"));
    }
    Ok(WindowSpec {
        window_name: None,
        partition_by: base.partition_by.clone(),
        order_by: if spec.order_by.is_empty() { base.order_by.clone() } else { spec.order_by.clone() },
        window_frame: spec.window_frame.clone(),
    })
}
