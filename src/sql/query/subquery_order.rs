//! Aggregates of a subquery that is sorted: `json_agg(q) FROM (SELECT ... ORDER BY x) q` collects rows in that order in PostgreSQL, and so do many
//! programs expect it. DataFusion leaves out what nobody asks for, so each aggregate asks for it: `json_agg(q ORDER BY q.x)`.

use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident, OrderByExpr, OrderByKind, Query,
    Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, Value,
};

use super::output_names::output_name;
use super::own_expressions::change_each;
use super::rewrite::{is_called, normalized};

/// How columns begin that a subquery has for its order alone.
pub const SORT: &str = "sort:";

/// Aggregates whose results depend on the order of their rows.
const ORDERED: [&str; 6] = ["array_agg", "string_agg", "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"];

/// Gives aggregates the order of the only subquery that they are of.
pub fn keep(select: &mut Select) {
    let Select { from, projection, having, .. } = select;
    let [from] = &mut from[..] else { return };
    let TableFactor::Derived { subquery, alias, .. } = &mut from.relation else { return };
    if !from.joins.is_empty() || subquery.order_by.is_none() {
        return;
    }
    let mut found = false;
    let mut find =
        |expression: &mut Expr| found |= matches!(expression, Expr::Function(function) if is_without_order(function));
    change_each(projection, &mut find);
    change_each(having, &mut find);
    if !found {
        return;
    }
    let Some(order) = order_of(subquery, alias.as_mut()) else { return };
    let mut each = |expression: &mut Expr| {
        if let Expr::Function(function) = expression
            && is_without_order(function)
            && let FunctionArguments::List(list) = &mut function.args
        {
            list.clauses.push(FunctionArgumentClause::OrderBy(order.clone()));
        }
    };
    change_each(projection, &mut each);
    change_each(having, &mut each);
}

fn is_without_order(function: &Function) -> bool {
    let is_plain = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment.is_none() && list.clauses.is_empty());
    is_plain && function.over.is_none() && ORDERED.iter().any(|name| is_called(function, name))
}

/// The order of a subquery in terms of its columns, of which it gets more where it needs them.
fn order_of(subquery: &mut Query, mut alias: Option<&mut TableAlias>) -> Option<Vec<OrderByExpr>> {
    let OrderByKind::Expressions(by) = &subquery.order_by.as_ref()?.kind else { return None };
    let mut order = by.clone();
    let table = alias.as_ref().map(|alias| alias.name.clone());
    let names = output_names(&subquery.body, alias.as_deref());
    let mut added = Vec::new();
    for (at, key) in order.iter_mut().enumerate() {
        let name = match position(&key.expr, &subquery.body, names.as_deref()) {
            Position::Of(at) => Ident::with_quote('"', names.as_ref()?.get(at)?),
            Position::Nowhere => return None,
            Position::Computed => {
                let name = Ident::with_quote('"', format!("{SORT}{at}"));
                added.push(SelectItem::ExprWithAlias { expr: key.expr.clone(), alias: name.clone() });
                name
            }
        };
        key.expr = match &table {
            Some(table) => Expr::CompoundIdentifier(vec![table.clone(), name]),
            None => Expr::Identifier(name),
        };
    }
    if !added.is_empty() {
        let SetExpr::Select(select) = &mut *subquery.body else { return None };
        if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            return None;
        }
        if let Some(alias) = alias.as_mut().filter(|alias| !alias.columns.is_empty()) {
            let names = added.iter().filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
                _ => None,
            });
            alias.columns.extend(names.map(|name| TableAliasColumnDef { name, data_type: None }));
        }
        select.projection.extend(added);
    }
    Some(order)
}

/// Which output column a key of an order is.
enum Position {
    Of(usize),
    /// None of them: what it is has to be computed.
    Computed,
    Nowhere,
}

fn position(key: &Expr, body: &SetExpr, names: Option<&[String]>) -> Position {
    // As it is written there.
    let computed = || match body {
        SetExpr::Select(select) if names.is_some() => {
            let is_key = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr == key,
                _ => false,
            };
            select.projection.iter().position(is_key).map_or(Position::Computed, Position::Of)
        }
        _ => Position::Computed,
    };
    match key {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => match number.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
                Some(at) if names.is_some_and(|names| at < names.len()) => Position::Of(at),
                _ => Position::Nowhere,
            },
            _ => Position::Nowhere,
        },
        Expr::Identifier(name) => {
            let found = names.and_then(|names| names.iter().position(|known| *known == normalized(name)));
            found.map_or_else(computed, Position::Of)
        }
        _ => computed(),
    }
}

/// What the columns of a subquery are called outside of it, if that can be told.
fn output_names(body: &SetExpr, alias: Option<&TableAlias>) -> Option<Vec<String>> {
    let mut names = match body {
        SetExpr::Select(select) => {
            let name = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(expression) => Some(output_name(expression)),
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                _ => None,
            };
            select.projection.iter().map(name).collect::<Option<Vec<String>>>()?
        }
        SetExpr::SetOperation { left, .. } => output_names(left, None)?,
        SetExpr::Query(query) => output_names(&query.body, None)?,
        SetExpr::Values(values) => (1..=values.rows.first()?.content.len()).map(|at| format!("column{at}")).collect(),
        _ => return None,
    };
    for (name, column) in names.iter_mut().zip(alias.map_or(&[][..], |alias| &alias.columns)) {
        *name = normalized(&column.name);
    }
    Some(names)
}
