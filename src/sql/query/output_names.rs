//! What output columns are called: by PostgreSQL's rules for the client, and so that DataFusion can tell them apart.

use std::collections::{HashMap, HashSet};

use sqlparser::ast::{DataType as SqlType, Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SetExpr};

use super::super::types::from_sql;
use super::lateral;
use super::rewrite::normalized;
use super::set_functions::unnest_set_function;
use crate::catalog::ColumnType;

/// In the name of a column of a subquery that is called as another one is.
const AGAIN: &str = ":again:";

/// How many arrays without a name may stand side by side in one `unnest`.
const MAX_ARRAYS: usize = 8;

/// The names a client sees, for output columns that had to be called something else.
#[derive(Default)]
pub struct OutputNames {
    shown: HashMap<String, String>,
}

impl OutputNames {
    /// The name a client sees for a planned column.
    pub fn shown(&self, planned: &str) -> String {
        let known = self.shown.get(planned).map(String::as_str);
        let (name, _) = known.unwrap_or(planned).split_once(AGAIN).unwrap_or((known.unwrap_or(planned), ""));
        name.to_string()
    }
}

/// The name PostgreSQL gives an output column.
pub fn output_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(ident) => normalized(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map_or("?column?".into(), normalized),
        Expr::Function(function) => match function.name.0.last() {
            // The type of a parameter.
            Some(ObjectNamePart::Identifier(ident)) if ident.value.starts_with("cast:") => "?column?".into(),
            Some(ObjectNamePart::Identifier(ident)) => normalized(ident),
            _ => "?column?".into(),
        },
        Expr::Cast { expr, data_type, .. } => match output_name(expr) {
            name if name != "?column?" => name,
            _ => type_output_name(data_type),
        },
        Expr::TypedString(typed) => type_output_name(&typed.data_type),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => output_name(inner),
        Expr::Case { .. } => "case".into(),
        Expr::Exists { .. } => "exists".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Array(_) => "array".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expression)) => output_name(expression),
                Some(SelectItem::ExprWithAlias { alias, .. }) => normalized(alias),
                _ => "?column?".into(),
            },
            _ => "?column?".into(),
        },
        _ => "?column?".into(),
    }
}

/// The name of an output column that a cast to this type has, if nothing else names it.
fn type_output_name(data_type: &SqlType) -> String {
    match from_sql(data_type) {
        Ok(column_type) => type_name(&column_type),
        Err(_) => match data_type {
            SqlType::Custom(name, _) => name.0.last().and_then(ObjectNamePart::as_ident).map(normalized),
            _ => None,
        }
        .unwrap_or_else(|| "?column?".into()),
    }
}

fn type_name(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Int2 => "int2".into(),
        ColumnType::Int4 => "int4".into(),
        ColumnType::Int8 => "int8".into(),
        ColumnType::Float4 => "float4".into(),
        ColumnType::Float8 => "float8".into(),
        ColumnType::Bool => "bool".into(),
        ColumnType::TimestampTz => "timestamptz".into(),
        ColumnType::Array(element) => type_name(element),
        other => super::super::types::pg_name(other).split(['(', ' ']).next().unwrap_or_default().into(),
    }
}

/// Names every output column of the whole query, uniquely, and remembers what a client is to see.
pub fn name_outputs(query: &mut Query) -> OutputNames {
    let mut names = OutputNames::default();
    names.shown.extend((0..MAX_ARRAYS).map(|at| (lateral::unnamed(at), "unnest".into())));
    let Some(select) = leftmost_select(&mut query.body) else { return names };
    unnest_named(select);
    let mut taken = HashSet::new();
    let wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let has_wildcard = select.projection.iter().any(wild);
    for (index, item) in select.projection.iter_mut().enumerate() {
        let (expression, name) = match item {
            SelectItem::UnnamedExpr(expression) => (expression.clone(), output_name(expression)),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), normalized(alias)),
            _ => continue,
        };
        let is_plain = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        let unique = taken.insert(name.clone());
        let is_named = is_plain || matches!(item, SelectItem::ExprWithAlias { .. });
        if unique && is_named && !(is_plain && has_wildcard) {
            continue;
        }
        let planned = if unique && !is_named && name != "?column?" { name.clone() } else { format!("{name}:{index}") };
        names.shown.insert(planned.clone(), name);
        *item = SelectItem::ExprWithAlias { expr: expression, alias: Ident::with_quote('"', planned) };
    }
    names
}

/// Set-returning functions; those without an alias have the name that they give their column.
fn unnest_named(select: &mut Select) {
    for item in &mut select.projection {
        match item {
            SelectItem::ExprWithAlias { expr, .. } => *expr = unnest_set_function(expr.clone()),
            SelectItem::UnnamedExpr(expression) => {
                let unnested = unnest_set_function(expression.clone());
                if unnested != *expression {
                    let alias = Ident::with_quote('"', output_name(expression));
                    *item = SelectItem::ExprWithAlias { expr: unnested, alias };
                }
            }
            _ => {}
        }
    }
}

/// Names the output columns of a subquery as far as that cannot clash.
pub fn name_subquery(select: &mut Select) {
    unnest_named(select);
    name_outer_columns(select);
    let mut seen: HashSet<String> = HashSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => {
                (expr.clone(), output_name(expr))
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                seen.insert(normalized(alias));
                continue;
            }
            _ => continue,
        };
        if !seen.insert(name.clone()) {
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("{name}{AGAIN}{at}")) };
        }
    }
    let mut taken: HashSet<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(normalized(ident)),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(normalized),
            _ => None,
        })
        .collect();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        if matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            continue;
        }
        let name = output_name(expression);
        if name != "?column?" && taken.insert(name.clone()) {
            let expr = expression.clone();
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
    }
    tell_apart(select);
}

/// Gives expressions a name of which there is the same once more.
pub fn tell_apart(select: &mut Select) {
    let mut seen = HashSet::new();
    for (at, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expression) = item
            && !seen.insert(expression.clone())
        {
            let alias = Ident::with_quote('"', format!("{}{AGAIN}{at}", output_name(expression)));
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
    }
}

/// The same in each of the queries that a set operation is made of.
pub fn tell_apart_in_sets(body: &mut SetExpr) {
    if let SetExpr::SetOperation { left, right, .. } = body {
        for side in [left, right] {
            match &mut **side {
                SetExpr::Select(select) => tell_apart(select),
                deeper => tell_apart_in_sets(deeper),
            }
        }
    }
}

/// A column of a query outside, which DataFusion would not call so.
fn name_outer_columns(select: &mut Select) {
    let own: Vec<String> = lateral::factors(select).into_iter().filter_map(lateral::called).collect();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
            && let [table, column] = &parts[..]
            && !own.contains(&normalized(table))
        {
            let (expr, alias) = (Expr::CompoundIdentifier(parts.clone()), column.clone());
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

fn leftmost_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => leftmost_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => leftmost_select(left),
        _ => None,
    }
}
