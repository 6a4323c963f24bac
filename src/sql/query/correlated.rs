//! Scalar subqueries that refer to the query around them, as DataFusion can plan them.
//!
//! It joins such a subquery on equalities, and takes it only if it is aggregated. So
//!
//! ```text
//!   (SELECT f(d.x) FROM d WHERE d.k = a.k AND a.flag AND a.k <> d.y)
//! ```
//!
//! becomes `CASE WHEN a.flag THEN only((SELECT array_agg(f(d.x)) FROM d WHERE d.k = a.k AND d.k <> d.y)) END`, where `only` is the one
//! element of an array and fails if there are more, for the rows that ask for it. `ARRAY(SELECT ...)` is the same without it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Ident,
    ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::rewrite::{call, normalized};

/// The function that takes the only element of an array.
pub const ONLY: &str = "only";
/// The function that takes no array as an empty one.
pub const ANY_NUMBER: &str = "any_number";

/// Aggregates: a subquery of one gives one row anyway.
const AGGREGATES: [&str; 13] = [
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
    "stddev",
];

/// The expression to plan instead of a scalar subquery, if it needs one.
pub fn scalar(subquery: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*subquery.body else { return None };
    let refers = !aggregates(&select.projection) && refers_outside(&**select, &names_of(select));
    refers.then(|| collected(subquery, ONLY, false)).flatten()
}

/// The expression to plan instead of `ARRAY(subquery)`, if it is one that can be planned.
pub fn array(subquery: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*subquery.body else { return None };
    let expression = (!aggregates(&select.projection)).then(|| collected(subquery, ANY_NUMBER, true)).flatten()?;
    Some(call(ANY_NUMBER, vec![expression]))
}

/// `EXISTS` among output columns, as a count.
pub fn exists(subquery: &Query, negated: bool) -> Option<Expr> {
    let mut query = subquery.clone();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if query.limit_clause.is_some() || !is_ungrouped(select) || aggregates(&select.projection) {
        return None;
    }
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    select.projection = vec![named(call("count", vec![one()]))];
    query.order_by = None;
    let zero = Box::new(Expr::Value(Value::Number("0".into(), false).into()));
    let op = if negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
    let comparison = Expr::BinaryOp { left: Box::new(Expr::Subquery(Box::new(query))), op, right: zero };
    Some(Expr::Nested(Box::new(comparison)))
}

fn named(expr: Expr) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', "all") }
}

/// All values of a subquery as an array, given to a function.
fn collected(subquery: &Query, function: &str, ordered: bool) -> Option<Expr> {
    let mut query = subquery.clone();
    let is_plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if !is_plain || !is_ungrouped(select) || select.projection.len() != 1 {
        return None;
    }
    let inner = names_of(select);
    let (mut here, mut outside) = (Vec::new(), Vec::new());
    for condition in conjuncts(select.selection.take()) {
        let group = if is_outer_only(&condition, &inner) { &mut outside } else { &mut here };
        group.push(condition);
    }
    let equal: Vec<(Expr, Expr)> = here.iter().filter_map(|condition| joined(condition, &inner)).collect();
    let mut replace = Replace { equal: &equal };
    for condition in here.iter_mut().filter(|condition| joined(condition, &inner).is_none()) {
        let _ = condition.visit(&mut replace);
    }
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] = &mut select.projection[..]
    else {
        return None;
    };
    let _ = value.visit(&mut replace);
    let value = value.clone();
    select.selection = join(here);
    let order = query.order_by.take().filter(|_| ordered);
    let of = |column: &Expr| -> Option<Expr> {
        let mut query = query.clone();
        let SetExpr::Select(select) = &mut *query.body else { return None };
        let mut all = call("array_agg", vec![column.clone()]);
        if let Some(order) = &order {
            order_by(&mut all, column, order.clone())?;
        }
        select.projection = vec![named(all)];
        Some(call(function, vec![Expr::Subquery(Box::new(query))]))
    };
    let result = if !refers_outside(&value, &inner) {
        of(&value)?
    } else if function == ONLY {
        // An aggregate cannot refer outside: it takes the columns, and the expression is made of them out here.
        let mut outer = value;
        let mut columns = Columns { inner: &inner, of: &of };
        if VisitMut::visit(&mut outer, &mut columns).is_break() {
            return None;
        }
        outside.push(exists(&query, false)?);
        outer
    } else {
        return None;
    };
    Some(match join(outside) {
        None => result,
        Some(condition) => Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition, result }],
            else_result: None,
        },
    })
}

/// Puts what stands for them in the place of columns from inside.
struct Columns<'a> {
    inner: &'a HashSet<String>,
    of: &'a dyn Fn(&Expr) -> Option<Expr>,
}

impl VisitorMut for Columns<'_> {
    type Break = ();
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let is_column = match &*expression {
            Expr::Identifier(_) => true,
            other => qualifier(other).is_some_and(|table| self.inner.contains(&table)),
        };
        if is_column {
            match (self.of)(expression) {
                Some(instead) => *expression = instead,
                None => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Puts the order of a subquery into the call of the aggregate; its only column may be called 1.
fn order_by(call: &mut Expr, value: &Expr, order: OrderBy) -> Option<()> {
    let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = call else { return None };
    let OrderByKind::Expressions(mut by) = order.kind else { return None };
    for key in &mut by {
        if matches!(&key.expr, Expr::Value(position) if position.value == Value::Number("1".into(), false)) {
            key.expr = value.clone();
        }
    }
    list.clauses.push(FunctionArgumentClause::OrderBy(by));
    Some(())
}

fn is_ungrouped(select: &Select) -> bool {
    let no_groups = matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    no_groups && select.having.is_none() && select.distinct.is_none()
}

/// Whether any of these calls an aggregate.
pub fn aggregates<T: Visit>(tree: &T) -> bool {
    /// How many queries deep it is: what those aggregate is their own.
    struct Aggregates(usize);
    impl Visitor for Aggregates {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let Expr::Function(Function { name: ObjectName(parts), over: None, .. }) = expression else {
                return ControlFlow::Continue(());
            };
            let name = parts.last().and_then(|part| part.as_ident()).map(normalized).unwrap_or_default();
            let found = self.0 == 0 && AGGREGATES.contains(&name.as_str());
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    tree.visit(&mut Aggregates(0)).is_break()
}

/// The names of the tables that a select and the queries inside it read, as columns are qualified with them.
fn names_of(select: &Select) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            let alias = match factor {
                TableFactor::Table { alias, name, .. } => match alias {
                    Some(alias) => Some(normalized(&alias.name)),
                    None => name.0.last().and_then(|part| part.as_ident()).map(normalized),
                },
                TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                    alias.as_ref().map(|alias| normalized(&alias.name))
                }
                _ => None,
            };
            self.0.extend(alias);
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _ = select.visit(&mut names);
    names.0
}

fn qualifier(expression: &Expr) -> Option<String> {
    match expression {
        Expr::CompoundIdentifier(parts) => parts.len().checked_sub(2).map(|at| normalized(&parts[at])),
        _ => None,
    }
}

/// Whether a column is qualified with a table that is not inside.
fn refers_outside<T: Visit>(tree: &T, inner: &HashSet<String>) -> bool {
    struct Outside<'a>(&'a HashSet<String>);
    impl Visitor for Outside<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match qualifier(expression) {
                Some(table) if !self.0.contains(&table) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    tree.visit(&mut Outside(inner)).is_break()
}

/// Whether all columns of a condition are from outside.
fn is_outer_only(condition: &Expr, inner: &HashSet<String>) -> bool {
    struct Inside<'a>(&'a HashSet<String>);
    impl Visitor for Inside<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let is_inside = match expression {
                Expr::Identifier(_) => true,
                other => qualifier(other).is_some_and(|table| self.0.contains(&table)),
            };
            if is_inside { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    refers_outside(condition, inner) && condition.visit(&mut Inside(inner)).is_continue()
}

/// An equality of a column from inside with one from outside: first the outer one.
fn joined(condition: &Expr, inner: &HashSet<String>) -> Option<(Expr, Expr)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { return None };
    let is_outer = |side: &Expr| qualifier(side).is_some_and(|table| !inner.contains(&table));
    let is_inner = |side: &Expr| qualifier(side).is_some_and(|table| inner.contains(&table));
    match (&**left, &**right) {
        (one, other) if is_outer(one) && is_inner(other) => Some((one.clone(), other.clone())),
        (one, other) if is_inner(one) && is_outer(other) => Some((other.clone(), one.clone())),
        _ => None,
    }
}

/// Puts inner columns in the place of outer ones that are equal to them.
struct Replace<'a> {
    equal: &'a [(Expr, Expr)],
}

impl VisitorMut for Replace<'_> {
    type Break = ();
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Some((_, inner)) = self.equal.iter().find(|(outer, _)| outer == expression) {
            *expression = inner.clone();
        }
        ControlFlow::Continue(())
    }
}

fn conjuncts(condition: Option<Expr>) -> Vec<Expr> {
    match condition {
        None => Vec::new(),
        Some(Expr::BinaryOp { left, op: BinaryOperator::And, right }) => {
            let mut all = conjuncts(Some(*left));
            all.extend(conjuncts(Some(*right)));
            all
        }
        Some(Expr::Nested(inner)) => conjuncts(Some(*inner)),
        Some(other) => vec![other],
    }
}

fn join(conditions: Vec<Expr>) -> Option<Expr> {
    let and = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
    conditions.into_iter().reduce(and)
}
