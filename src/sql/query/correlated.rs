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
    LimitClause, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::own_expressions::change_each;
use super::rewrite::{call, has_subquery, normalized};
use crate::parser::sql_text;

/// The function that takes the only element of an array.
pub const ONLY: &str = "array:only";
/// A value as it is, of which it is not said that it is never NULL.
pub const UNCERTAIN: &str = "value:uncertain";
/// The function that takes no array as an empty one.
pub const ANY_NUMBER: &str = "array:any";

/// Aggregates: a subquery of one gives one row anyway.
const AGGREGATES: [&str; 50] = [
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "every",
    "first_value",
    "grouping",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "last_value",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "percentile_cont",
    "percentile_disc",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_population",
    "var_samp",
    "var_sample",
    "variance",
];

/// Functions that give more rows than one where they stand among output columns.
const SET_FUNCTIONS: [&str; 11] = [
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_object_keys",
    "pg_partition_ancestors",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "unnest",
];

/// The expression to plan instead of a scalar subquery, if it needs one.
pub fn scalar(subquery: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*subquery.body else { return None };
    let refers = !aggregates(&select.projection) && refers_outside(&**select, &names_of(select));
    let take = if is_first_only(subquery) { Take::First } else { Take::Only };
    refers.then(|| collected(subquery, take)).flatten()
}

/// The expression to plan instead of `ARRAY(subquery)`, if it is one that can be planned.
pub fn array(subquery: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*subquery.body else {
        return all_of(subquery).map(|all| call(ANY_NUMBER, vec![all]));
    };
    let simple = (!aggregates(&select.projection)).then(|| collected(subquery, Take::All)).flatten();
    Some(call(ANY_NUMBER, vec![simple.or_else(|| all_of(subquery))?]))
}

/// The values of a subquery as they come, in an array. Those that are sorted by themselves are so once more: the rows of a join come in any order.
fn all_of(subquery: &Query) -> Option<Expr> {
    let order = own_order(subquery).map_or(String::new(), |options| format!(" ORDER BY \"all\".\"value\"{options}"));
    let text = format!(
        "SELECT array_agg(\"all\".\"value\"{order}) AS \"all\" FROM ({}) AS \"all\" (\"value\")",
        sql_text(subquery)
    );
    Some(Expr::Subquery(Box::new(super::super::parse_query(&text).ok()?)))
}

/// How a subquery sorts its values, if it does so by the values themselves.
fn own_order(subquery: &Query) -> Option<String> {
    let OrderByKind::Expressions(by) = &subquery.order_by.as_ref()?.kind else { return None };
    let [key] = &by[..] else { return None };
    let of_select = |select: &Select| match &select.projection[..] {
        [SelectItem::UnnamedExpr(expr)] => *expr == key.expr,
        [SelectItem::ExprWithAlias { expr, alias }] => {
            *expr == key.expr || matches!(&key.expr, Expr::Identifier(name) if normalized(name) == normalized(alias))
        }
        _ => false,
    };
    let is_own = match (&key.expr, &*subquery.body) {
        (Expr::Value(_), _) => true,
        (_, SetExpr::Select(select)) => of_select(select),
        // They have no others.
        (Expr::Identifier(_), _) => true,
        _ => false,
    };
    is_own.then(|| key.options.to_string())
}

/// `EXISTS` among output columns, as a count.
pub fn exists(subquery: &Query, negated: bool) -> Option<Expr> {
    let mut query = subquery.clone();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    // One row is as good as all of them.
    if query.limit_clause.as_ref().is_some_and(|limit| !keeps_a_row(limit)) || query.fetch.is_some() {
        return None;
    }
    if !is_ungrouped(select) || calls(&select.projection, &SET_FUNCTIONS) {
        return None;
    }
    if aggregates(&select.projection) {
        // An aggregate without groups is one row, whatever it is of.
        return Some(Expr::Value(Value::Boolean(!negated).into()));
    }
    query.limit_clause = None;
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    select.projection = vec![named(call("count", vec![one()]))];
    query.order_by = None;
    let zero = Box::new(Expr::Value(Value::Number("0".into(), false).into()));
    let op = if negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
    let comparison = Expr::BinaryOp { left: Box::new(Expr::Subquery(Box::new(query))), op, right: zero };
    Some(Expr::Nested(Box::new(comparison)))
}

fn keeps_a_row(limit: &LimitClause) -> bool {
    let LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, .. } = limit else { return false };
    matches!(&limit.value, Value::Number(rows, _) if rows.parse::<u64>().is_ok_and(|rows| rows > 0))
}

fn named(expr: Expr) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', "all") }
}

/// Which of its values a subquery is to give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// All, as an array.
    All,
    /// The only one.
    Only,
    /// The first: the subquery has `LIMIT 1`.
    First,
}

impl Take {
    /// The aggregate that takes them in some order.
    fn aggregate(self) -> &'static str {
        if self == Take::First { "first_value" } else { "array_agg" }
    }
}

/// Whether a query is of one row for no other reason than `LIMIT 1`.
fn is_first_only(query: &Query) -> bool {
    let one = Value::Number("1".into(), false);
    matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, limit_by })
        if limit.value == one && limit_by.is_empty())
}

/// The values of a subquery, by an aggregate.
fn collected(subquery: &Query, take: Take) -> Option<Expr> {
    let mut query = subquery.clone();
    if take == Take::First {
        query.limit_clause = None;
    }
    let is_plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let has_sets = calls(&select.projection, &SET_FUNCTIONS);
    if !is_plain || !is_ungrouped(select) || select.projection.len() != 1 || has_sets {
        return None;
    }
    let inner = names_of(select);
    let (mut here, mut outside) = (Vec::new(), Vec::new());
    for condition in conjuncts(select.selection.take()) {
        let group = if is_outer_only(&condition, &inner) { &mut outside } else { &mut here };
        group.push(condition);
    }
    let equal: Vec<(Expr, Expr)> = here.iter().filter_map(|condition| joined(condition, &inner)).collect();
    // Inner columns in the place of outer ones that are equal to them. Inside of another query a name may be of something else.
    for condition in here.iter_mut().filter(|condition| joined(condition, &inner).is_none()) {
        change_each(condition, |expression| {
            if let Some((_, inner)) = equal.iter().find(|(outer, _)| outer == expression) {
                *expression = inner.clone();
            }
        });
    }
    let (value, alias) = match &select.projection[..] {
        [SelectItem::UnnamedExpr(value)] => (value.clone(), None),
        [SelectItem::ExprWithAlias { expr, alias }] => (expr.clone(), Some(normalized(alias))),
        _ => return None,
    };
    select.selection = join(here);
    let order = query.order_by.take().filter(|_| take != Take::Only);
    let of = |column: &Expr| -> Option<Expr> {
        let mut query = query.clone();
        let SetExpr::Select(select) = &mut *query.body else { return None };
        let mut all = call(take.aggregate(), vec![column.clone()]);
        if let Some(order) = &order {
            order_by(&mut all, column, alias.as_deref(), order.clone())?;
        }
        select.projection = vec![named(all)];
        let collected = Expr::Subquery(Box::new(query));
        Some(if take == Take::Only { call(ONLY, vec![collected]) } else { collected })
    };
    let result = if !refers_outside(&value, &inner) {
        of(&value)?
    } else if take == Take::Only {
        // An aggregate cannot refer outside: it takes the columns, and the expression is made of them out here.
        if has_subquery(&value) {
            return None;
        }
        let mut outer = value;
        let mut columns = Columns { inner: &inner, of: &of };
        if VisitMut::visit(&mut outer, &mut columns).is_break() {
            return None;
        }
        // Fails if there is more than one row, as always.
        let one = || Expr::Value(Value::Number("1".into(), false).into());
        let is_one = Box::new(of(&one())?);
        outside.push(Expr::BinaryOp { left: is_one, op: BinaryOperator::Eq, right: Box::new(one()) });
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

/// Puts the order of a subquery into the call of the aggregate; its only column may be called 1, or by its alias.
fn order_by(call: &mut Expr, value: &Expr, alias: Option<&str>, order: OrderBy) -> Option<()> {
    let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = call else { return None };
    let OrderByKind::Expressions(mut by) = order.kind else { return None };
    for key in &mut by {
        let is_value = match &key.expr {
            Expr::Value(position) => position.value == Value::Number("1".into(), false),
            Expr::Identifier(name) => alias == Some(normalized(name).as_str()),
            _ => false,
        };
        if is_value {
            key.expr = value.clone();
        }
    }
    // A constant sorts nothing, and a number would say by which column.
    by.retain(|key| !matches!(key.expr, Expr::Value(_)));
    if by.is_empty() {
        return Some(());
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
    calls(tree, &AGGREGATES)
}

/// Whether a function is an aggregate.
pub fn is_aggregate(function: &Function) -> bool {
    is_one_of(function, &AGGREGATES)
}

fn is_one_of(function: &Function, functions: &[&str]) -> bool {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(normalized).unwrap_or_default();
    functions.contains(&name.as_str())
}

/// Whether any of these calls one of some functions; what queries inside call is their own.
fn calls<T: Visit>(tree: &T, functions: &[&str]) -> bool {
    struct Calls<'a> {
        functions: &'a [&'a str],
        depth: usize,
    }
    impl Visitor for Calls<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let found = match expression {
                Expr::Function(function) if function.over.is_none() => {
                    self.depth == 0 && is_one_of(function, self.functions)
                }
                _ => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    tree.visit(&mut Calls { functions, depth: 0 }).is_break()
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
    match bare(expression) {
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
    match (bare(left), bare(right)) {
        (one, other) if is_outer(one) && is_inner(other) => Some((one.clone(), other.clone())),
        (one, other) if is_inner(one) && is_outer(other) => Some((other.clone(), one.clone())),
        _ => None,
    }
}

/// An expression without the parentheses around it.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) => bare(inner),
        other => other,
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
