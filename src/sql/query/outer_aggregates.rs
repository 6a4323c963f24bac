//! Aggregates in subqueries whose columns are all of a query around them: PostgreSQL computes them there.
//!
//! ```text
//! SELECT t.a, (SELECT max(t.b) FROM d) FROM t GROUP BY t.a HAVING EXISTS (SELECT 1 FROM d WHERE d.x < min(t.b))
//! ```
//!
//! groups and aggregates in a query of its own, whose columns the rest is about:
//!
//! ```text
//! SELECT g.k0, (SELECT g.a0 FROM d) FROM (SELECT t.a AS k0, max(t.b) AS a0, min(t.b) AS a1 FROM t GROUP BY t.a) AS g
//! WHERE EXISTS (SELECT 1 FROM d WHERE d.x < g.a1)
//! ```

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as Planned, LogicalPlan};
use sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::super::error::{Error, Result, code};
use super::correlated::is_aggregate;
use super::output_names::output_name;
use super::rewrite::{has_subquery, normalized};

/// Gives a query what the queries inside of it aggregate of its columns. `level` tells those apart that are inside of one another.
pub fn lift(query: &mut Query, level: usize) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let mut scopes = Scopes(vec![tables_of(select)]);
    if !aggregates_inside(&select.projection, &mut scopes) && !aggregates_inside(&select.having, &mut scopes) {
        return;
    }
    let GroupByExpr::Expressions(by, with) = &select.group_by else { return };
    let Some(keys) = by.iter().map(|key| written_out(key, &select.projection)).collect::<Option<Vec<Expr>>>() else {
        return;
    };
    if !with.is_empty() {
        return;
    }
    let name = Ident::with_quote('"', format!("grouped:{level}"));
    let Some(mut around) = around(&name) else { return };
    let mut split = Split { name, keys, aggregates: Vec::new(), scopes };
    let mut outputs = std::mem::take(&mut select.projection);
    for item in &mut outputs {
        if let SelectItem::UnnamedExpr(expression) = item {
            let alias = Ident::with_quote('"', output_name(expression));
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
    }
    let _ = VisitMut::visit(&mut outputs, &mut split);
    let mut having = select.having.take();
    let _ = VisitMut::visit(&mut having, &mut split);
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(order) = &mut order.kind
    {
        for by in order.iter_mut().filter(|by| !is_output(&by.expr, &outputs)) {
            let _ = VisitMut::visit(&mut by.expr, &mut split);
        }
    }
    around.projection = outputs;
    around.selection = having;
    around.distinct = select.distinct.take();
    around.named_window = std::mem::take(&mut select.named_window);
    select.projection = split.columns();
    let grouped = std::mem::replace(&mut *query.body, SetExpr::Select(around));
    if let SetExpr::Select(around) = &mut *query.body
        && let Some(TableFactor::Derived { subquery, .. }) = around.from.first_mut().map(|from| &mut from.relation)
    {
        *subquery.body = grouped;
    }
}

/// Refuses those that are left: where PostgreSQL does not take them either, or whose columns do not say what they are of.
pub fn refuse(plan: &LogicalPlan) -> Result<()> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            found |= aggregate.aggr_expr.iter().any(is_of_outer);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match found {
        false => Ok(()),
        true => Err(Error::new(
            code::GROUPING_ERROR,
            "aggregate functions of columns of an outer query are allowed only in the outputs, HAVING and ORDER BY of that query, \
             with their table's name before them",
        )),
    }
}

fn is_of_outer(aggregate: &Planned) -> bool {
    let (mut outer, mut own) = (false, false);
    let _ = aggregate.apply(|inner| {
        match inner {
            Planned::OuterReferenceColumn(..) => outer = true,
            Planned::Column(_) => own = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    outer && !own
}

/// A select of a query of that name.
fn around(name: &Ident) -> Option<Box<Select>> {
    let query = super::super::parse_query(&format!("SELECT 1 FROM (SELECT 1) AS {name}")).ok()?;
    match *query.body {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

/// Whether a key of an order is the name or the number of an output column.
fn is_output(key: &Expr, outputs: &[SelectItem]) -> bool {
    match key {
        Expr::Value(_) => true,
        Expr::Identifier(name) => outputs.iter().any(
            |item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if normalized(alias) == normalized(name)),
        ),
        _ => false,
    }
}

/// A key of `GROUP BY`, which may be the number or the name of an output column.
fn written_out(key: &Expr, outputs: &[SelectItem]) -> Option<Expr> {
    match key {
        Expr::Value(value) => {
            let Value::Number(number, _) = &value.value else { return Some(key.clone()) };
            match outputs.get(number.parse::<usize>().ok()?.checked_sub(1)?)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
                _ => None,
            }
        }
        Expr::Identifier(name) => Some(outputs.iter().fold(key.clone(), |key, item| match item {
            SelectItem::ExprWithAlias { expr, alias } if normalized(alias) == normalized(name) => expr.clone(),
            _ => key,
        })),
        Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) => None,
        other => Some(other.clone()),
    }
}

/// The tables of queries, from the outermost inwards.
struct Scopes(Vec<HashSet<String>>);

impl Scopes {
    /// Enters a query.
    fn enter(&mut self, query: &Query) {
        let mut tables = HashSet::new();
        each_select(&query.body, &mut |select| tables.extend(tables_of(select)));
        self.0.push(tables);
    }

    /// Whether an aggregate, in a query inside, is of columns of the outermost one and none between.
    fn is_of_outermost(&self, function: &Function) -> bool {
        let columns = columns_of(function);
        let inside = &self.0[1..];
        let is_outside = |table: &Option<String>| match table {
            Some(table) => !inside.iter().any(|tables| tables.contains(table)),
            // No table inside has it, if there is none.
            None => inside.iter().all(HashSet::is_empty),
        };
        let is_here = |table: &Option<String>| table.as_ref().is_none_or(|table| self.0[0].contains(table));
        !inside.is_empty() && columns.iter().all(is_outside) && columns.iter().any(is_here)
    }
}

fn each_select(body: &SetExpr, see: &mut impl FnMut(&Select)) {
    match body {
        SetExpr::Select(select) => see(select),
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left, see);
            each_select(right, see);
        }
        SetExpr::Query(query) => each_select(&query.body, see),
        _ => {}
    }
}

/// What columns of a query are qualified with.
fn tables_of(select: &Select) -> HashSet<String> {
    let mut tables = HashSet::new();
    select.from.iter().for_each(|from| add_tables(from, &mut tables));
    tables
}

fn add_tables(from: &TableWithJoins, tables: &mut HashSet<String>) {
    for relation in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
        let alias = match relation {
            TableFactor::Table { alias, name, .. } => match alias {
                Some(alias) => Some(normalized(&alias.name)),
                None => name.0.last().and_then(|part| part.as_ident()).map(normalized),
            },
            TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                alias.as_ref().map(|alias| normalized(&alias.name))
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                add_tables(table_with_joins, tables);
                None
            }
            // One of any name.
            _ => Some(String::new()),
        };
        tables.extend(alias);
    }
}

/// The tables that the columns of an aggregate are qualified with; `None` for a column that is not.
fn columns_of(function: &Function) -> Vec<Option<String>> {
    struct Columns(Vec<Option<String>>);
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) => self.0.push(None),
                Expr::CompoundIdentifier(parts) => {
                    self.0.push(parts.len().checked_sub(2).map(|at| normalized(&parts[at])));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns(Vec::new());
    let _ = function.visit(&mut columns);
    columns.0
}

fn is_plain_aggregate(function: &Function) -> bool {
    matches!(function.args, FunctionArguments::List(_))
        && function.over.is_none()
        && is_aggregate(function)
        && !has_subquery(function)
}

/// Whether queries inside of an expression aggregate columns of the one around it.
fn aggregates_inside<T: Visit>(tree: &T, scopes: &mut Scopes) -> bool {
    struct Inside<'a>(&'a mut Scopes);
    impl Visitor for Inside<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.0.enter(query);
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0.0.pop();
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if is_plain_aggregate(function) && self.0.is_of_outermost(function) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let found = tree.visit(&mut Inside(scopes)).is_break();
    scopes.0.truncate(1);
    found
}

/// Puts columns of the query that groups in the place of its keys and aggregates.
struct Split {
    name: Ident,
    keys: Vec<Expr>,
    aggregates: Vec<Expr>,
    scopes: Scopes,
}

impl Split {
    /// The output columns of the query that groups.
    fn columns(self) -> Vec<SelectItem> {
        let named = |kind: char, all: Vec<Expr>| {
            all.into_iter()
                .enumerate()
                .map(move |(at, expr)| SelectItem::ExprWithAlias { expr, alias: column(kind, at) })
        };
        named('k', self.keys).chain(named('a', self.aggregates)).collect()
    }

    fn is_key(&self, key: &Expr, expression: &Expr) -> bool {
        let inside = self.scopes.0.len() > 1;
        let qualifier = |parts: &[Ident]| parts.len().checked_sub(2).map(|at| normalized(&parts[at]));
        let is_outermost = |table: &String| {
            self.scopes.0[0].contains(table) && !self.scopes.0[1..].iter().any(|tables| tables.contains(table))
        };
        let last = |parts: &[Ident]| parts.last().map(normalized);
        match (key, expression) {
            (Expr::Identifier(key), Expr::Identifier(name)) => !inside && normalized(key) == normalized(name),
            (Expr::CompoundIdentifier(parts), Expr::Identifier(name)) => {
                !inside && last(parts) == Some(normalized(name))
            }
            (Expr::Identifier(key), Expr::CompoundIdentifier(parts)) => {
                last(parts) == Some(normalized(key)) && qualifier(parts).as_ref().is_some_and(is_outermost)
            }
            (Expr::CompoundIdentifier(key), Expr::CompoundIdentifier(parts)) => {
                last(parts) == last(key)
                    && qualifier(parts) == qualifier(key)
                    && qualifier(parts).as_ref().is_some_and(is_outermost)
            }
            (key, expression) => !inside && key == expression,
        }
    }
}

fn column(kind: char, at: usize) -> Ident {
    Ident::with_quote('"', format!("{kind}{at}"))
}

impl VisitorMut for Split {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scopes.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.scopes.0.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let key = self.keys.iter().position(|key| self.is_key(key, expression));
        let (kind, at) = match (key, &*expression) {
            (Some(at), _) => ('k', at),
            (None, Expr::Function(function))
                if is_plain_aggregate(function)
                    && (self.scopes.0.len() == 1 || self.scopes.is_of_outermost(function)) =>
            {
                let at = self.aggregates.iter().position(|known| known == expression).unwrap_or_else(|| {
                    self.aggregates.push(expression.clone());
                    self.aggregates.len() - 1
                });
                ('a', at)
            }
            _ => return ControlFlow::Continue(()),
        };
        *expression = Expr::CompoundIdentifier(vec![self.name.clone(), column(kind, at)]);
        ControlFlow::Continue(())
    }
}
