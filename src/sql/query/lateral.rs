//! `unnest` in `FROM`, as DataFusion can plan it: of several arrays side by side, numbered, and of arrays of a table beside it.
//!
//! It makes rows of arrays among output columns, so
//!
//! ```text
//!   FROM t, unnest(t.a, t.b) WITH ORDINALITY u(x, y, n) WHERE u.x = t.c
//! ```
//!
//! becomes `FROM (SELECT t.*, unnest(t.a) AS x, unnest(t.b) AS y, unnest(ordinals(t.a, t.b)) AS n FROM t) AS t WHERE t.x = t.c`.
//! If `t` is a table of the system's catalog that is read by a query around this one, it is read in here once more.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::rewrite::{call, normalized, string_literal};
use super::{json, regular};

/// How the rows of the array at a position are called if nobody gave them a name. A client is to see `unnest`.
pub fn unnamed(at: usize) -> String {
    format!("unnest:{at}")
}

/// Rewords all `unnest`s in `FROM` that are not of one array alone. What it cannot reword stays as it is.
pub fn rewrite(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Lateral { around: Vec::new() });
}

/// Whether a query makes several rows of one: by `unnest`, or by sets of groups, each of which has all rows.
pub fn makes_rows(query: &Query) -> bool {
    struct Unnests;
    impl Visitor for Unnests {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if last_part(&function.name) == "unnest" => ControlFlow::Break(()),
                Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(query, &mut Unnests).is_break()
}

/// The tables of each query around the one that is looked at, by how they are called there.
struct Lateral {
    around: Vec<HashMap<String, ObjectName>>,
}

impl VisitorMut for Lateral {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        name_elements(query);
        // Each turn leaves one fewer.
        while self.reword_one(query).is_some() {}
        if let SetExpr::Select(select) = &mut *query.body {
            select.from.iter_mut().for_each(settle_joins);
        }
        let mut tables = HashMap::new();
        if let SetExpr::Select(select) = &*query.body {
            for factor in factors(select) {
                if let TableFactor::Table { name, args: None, .. } = factor
                    && let Some(called) = called(factor)
                {
                    tables.insert(called, name.clone());
                }
            }
        }
        self.around.push(tables);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.around.pop();
        ControlFlow::Continue(())
    }
}

/// The alias of a function of JSON's elements stands for the element, too: `SELECT e ->> 'a' FROM jsonb_array_elements(...) AS e`.
fn name_elements(query: &mut Query) {
    struct Elements<'a> {
        alias: &'a str,
        /// For each query inside: whether the name is its own there.
        own: Vec<bool>,
    }
    impl VisitorMut for Elements<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let is_own = match &mut *query.body {
                SetExpr::Select(select) => {
                    for item in &mut select.projection {
                        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
                            && normalized(name) == self.alias
                        {
                            *item =
                                SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name.clone() };
                        }
                    }
                    factors(select).into_iter().any(|factor| called(factor).as_deref() == Some(self.alias))
                }
                _ => false,
            };
            self.own.push(is_own && !self.own.is_empty());
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.own.pop();
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expression
                && normalized(name) == self.alias
                && !self.own.contains(&true)
            {
                *expression = Expr::CompoundIdentifier(vec![name.clone(), Ident::new("value")]);
            }
            ControlFlow::Continue(())
        }
    }
    let SetExpr::Select(select) = &*query.body else { return };
    let is_elements = |factor: &&TableFactor| {
        let (name, alias) = match factor {
            TableFactor::Table { name, alias: Some(alias), args: Some(_), .. }
            | TableFactor::Function { name, alias: Some(alias), .. } => (last_part(name), alias),
            _ => return false,
        };
        alias.columns.is_empty() && json::is_set_function(&name) && !name.ends_with("keys")
    };
    let aliases: Vec<String> = factors(select).into_iter().filter(is_elements).filter_map(called).collect();
    for alias in aliases {
        let _ = VisitMut::visit(query, &mut Elements { alias: &alias, own: Vec::new() });
    }
}

/// What is left of functions with columns or numbers becomes subqueries; those on the far side of an outer join see nothing beside them.
fn settle_joins(joined: &mut TableWithJoins) {
    let factors = std::iter::once(&mut joined.relation).chain(joined.joins.iter_mut().map(|join| &mut join.relation));
    for factor in factors {
        if let Some(subquery) = as_subquery(factor) {
            *factor = subquery;
        }
    }
    for join in &mut joined.joins {
        let is_far = matches!(
            join.join_operator,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
        );
        if let TableFactor::Derived { lateral, .. } = &mut join.relation {
            *lateral &= !is_far;
        }
    }
}

/// `t, f(t.a) AS g (x)` as `t, LATERAL (SELECT unnest(f(t.a)) AS x) AS g`; `None` if the function can be planned as it is.
fn as_subquery(factor: &TableFactor) -> Option<TableFactor> {
    let unnested = Unnested::of(factor).or_else(|| Unnested::of_function(factor))?;
    let is_lateral = has_columns(&unnested.arrays);
    if !is_lateral && !unnested.numbered && unnested.arrays.len() == 1 {
        return None;
    }
    let mut subquery = derived(unnested.items(), Vec::new(), unnested.called.clone())?;
    if let TableFactor::Derived { lateral, .. } = &mut subquery {
        *lateral = is_lateral;
    }
    Some(subquery)
}

fn has_columns(expressions: &Vec<Expr>) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expressions, &mut Columns).is_break()
}

/// Calls the tables of every query with subqueries something that is no column's name: `c.id` inside of one is a field of its own column
/// `c` to DataFusion, if it has one.
pub fn rename_outer(query: &mut Query) {
    struct Rename(usize);
    impl VisitorMut for Rename {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let SetExpr::Select(select) = &*query.body else { return ControlFlow::Continue(()) };
            for name in factors(select).into_iter().filter_map(called).collect::<Vec<_>>() {
                self.0 += 1;
                let renamed = Ident::with_quote('"', format!("{name}:{}", self.0));
                if let SetExpr::Select(select) = &mut *query.body {
                    for factor in factors_mut(select) {
                        if called(factor).as_deref() == Some(&name) {
                            call_it(factor, &renamed);
                        }
                    }
                    requalify_wildcards(select, &name, &renamed);
                }
                requalify(query, &name, &renamed);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Rename(0));
}

fn call_it(factor: &mut TableFactor, name: &Ident) {
    let alias = match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias,
        _ => return,
    };
    match alias {
        Some(alias) => alias.name = name.clone(),
        None => *alias = Some(TableAlias { explicit: true, name: name.clone(), columns: Vec::new(), at: None }),
    }
}

fn requalify_wildcards(select: &mut Select, from: &str, to: &Ident) {
    for item in &mut select.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            && last_part(name) == from
        {
            *name = ObjectName(vec![ObjectNamePart::Identifier(to.clone())]);
        }
    }
}

/// An `unnest` in `FROM`.
struct Unnested {
    arrays: Vec<Expr>,
    /// Whether the elements are JSON, which `unnest` forgets.
    json: bool,
    numbered: bool,
    called: Ident,
    columns: Vec<Ident>,
}

impl Unnested {
    fn of(factor: &TableFactor) -> Option<Unnested> {
        let (arrays, alias, numbered) = match factor {
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                (array_exprs.clone(), alias, *with_ordinality)
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. }
                if last_part(name) == "unnest" =>
            {
                (arrays_of(&args.args)?, alias, *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } if last_part(name) == "unnest" => {
                (arrays_of(args)?, alias, *with_ordinality)
            }
            _ => return None,
        };
        let called = alias.as_ref().map_or_else(|| Ident::new("unnest"), |alias| alias.name.clone());
        let given = alias.as_ref().map_or(&[][..], |alias| &alias.columns);
        let name = |at: usize| match given.get(at) {
            Some(column) => column.name.clone(),
            None if at == arrays.len() => Ident::new("ordinality"),
            None if arrays.len() == 1 => called.clone(),
            None => Ident::with_quote('"', unnamed(at)),
        };
        let columns = (0..arrays.len() + usize::from(numbered)).map(name).collect();
        Some(Unnested { arrays, json: false, numbered, called, columns })
    }

    /// Another function that gives rows.
    fn of_function(factor: &TableFactor) -> Option<Unnested> {
        let (name, args, alias, numbered) = match factor {
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                (name, arrays_of(&args.args)?, alias, *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                (name, arrays_of(args)?, alias, *with_ordinality)
            }
            _ => return None,
        };
        let name = last_part(name);
        let (lists, columns): (Vec<String>, Vec<&str>) = match name.as_str() {
            "generate_series" => (vec![name.clone()], vec![]),
            other if regular::list_of(other).is_some() => {
                (regular::list_of(other).into_iter().map(str::to_string).collect(), vec![])
            }
            _ if json::is_set_function(&name) => {
                let column = if name.ends_with("keys") { name.as_str() } else { "value" };
                (vec![format!("{}{name}", json::AS_LIST)], vec![column])
            }
            _ => {
                let lists = json::pairs(&name)?.map(|list| format!("{}{list}", json::AS_LIST));
                (lists.to_vec(), vec!["key", "value"])
            }
        };
        let called = alias.as_ref().map_or_else(|| Ident::new(name.clone()), |alias| alias.name.clone());
        let given = alias.as_ref().map_or(&[][..], |alias| &alias.columns);
        let own = |at: usize| match (given.get(at), columns.get(at)) {
            (Some(column), _) => column.name.clone(),
            _ if at == lists.len() => Ident::new("ordinality"),
            (None, Some(column)) => Ident::new(*column),
            (None, None) => called.clone(),
        };
        let columns = (0..lists.len() + usize::from(numbered)).map(own).collect();
        let arrays = lists.iter().map(|list| call(list, args.clone())).collect();
        let json = name.ends_with("elements") || name.ends_with("each");
        Some(Unnested { arrays, json, numbered, called, columns })
    }

    /// The output columns that make its rows.
    fn items(&self) -> Vec<SelectItem> {
        let mut lists = self.arrays.clone();
        if self.numbered {
            // Functions here are strict in their first argument, and any array may be NULL.
            let arrays = std::iter::once(string_literal(String::new())).chain(self.arrays.clone());
            lists.push(call("ordinals", arrays.collect()));
        }
        // Of pairs, the second is the value.
        let json_at = self.json.then(|| self.arrays.len() - 1);
        let item = |(at, (list, name)): (usize, (Expr, &Ident))| {
            let rows = call("unnest", vec![list]);
            let expr = if Some(at) == json_at { call("cast:JSONB", vec![rows]) } else { rows };
            SelectItem::ExprWithAlias { expr, alias: name.clone() }
        };
        lists.into_iter().zip(&self.columns).enumerate().map(item).collect()
    }

    /// The table that its arrays are of; `None` if they are of more than one or it cannot be told.
    fn source(&self) -> Option<Source> {
        struct Columns {
            qualifiers: Vec<String>,
            others: bool,
        }
        impl Visitor for Columns {
            type Break = ();
            fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
                match expression {
                    Expr::CompoundIdentifier(parts) if parts.len() == 2 => self.qualifiers.push(normalized(&parts[0])),
                    Expr::CompoundIdentifier(_) | Expr::Identifier(_) => self.others = true,
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        let mut columns = Columns { qualifiers: Vec::new(), others: false };
        let _ = Visit::visit(&self.arrays, &mut columns);
        columns.qualifiers.dedup();
        match (&columns.qualifiers[..], columns.others) {
            ([], false) => Some(Source::None),
            ([], true) => Some(Source::OnlyTable),
            ([table], false) => Some(Source::Table(table.clone())),
            _ => None,
        }
    }
}

/// Whose columns the arrays are.
enum Source {
    /// Nobody's.
    None,
    /// Those of the only table there is.
    OnlyTable,
    /// Those of the table that is called so.
    Table(String),
}

impl Lateral {
    /// Rewords one `unnest` of a query.
    fn reword_one(&self, query: &mut Query) -> Option<()> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let found = factors(select).into_iter().enumerate().find_map(|(at, factor)| {
            let unnested = Unnested::of(factor)?;
            let is_plain = unnested.arrays.len() == 1 && !unnested.numbered;
            match unnested.source()? {
                Source::None if is_plain => None,
                source => Some((at, unnested, source)),
            }
        });
        let (at, unnested, source) = found?;
        let table = match source {
            Source::None => {
                let SetExpr::Select(select) = &mut *query.body else { return None };
                *factors_mut(select).into_iter().nth(at)? =
                    derived(unnested.items(), Vec::new(), unnested.called.clone())?;
                return Some(());
            }
            Source::OnlyTable => {
                let mut tables = factors(select).into_iter().filter(|factor| Unnested::of(factor).is_none());
                let only = tables.next().and_then(called)?;
                tables.next().is_none().then_some(only)?
            }
            Source::Table(table) => table,
        };
        if factors(select).into_iter().any(|factor| called(factor).as_deref() == Some(&table)) {
            return beside(query, &unnested, &table);
        }
        let relation = self.around.iter().rev().find_map(|tables| tables.get(&table))?;
        let key = match last_part(relation).as_str() {
            "pg_index" => "indexrelid",
            "pg_attribute" => return None,
            name if name.starts_with("pg_") => "oid",
            _ => return None,
        };
        let inside = Ident::with_quote('"', format!("{table}:inside"));
        requalify(query, &table, &inside);
        let SetExpr::Select(select) = &mut *query.body else { return None };
        let factor = factors_mut(select).into_iter().nth(at)?;
        let unnested = Unnested::of(factor)?;
        *factor = with_rows(named_table(relation.clone(), inside.clone()), &unnested, &inside)?;
        // What makes every row of it another.
        let key = |table: Ident| Expr::CompoundIdentifier(vec![table, Ident::new(key)]);
        require(select, equal(key(inside.clone()), key(Ident::with_quote('"', table))));
        requalify(query, &normalized(&unnested.called), &inside);
        Some(())
    }
}

fn arrays_of(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let array = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(array)) => Some(array.clone()),
        _ => None,
    };
    args.iter().map(array).collect()
}

/// Puts the rows of arrays into the table beside them.
fn beside(query: &mut Query, unnested: &Unnested, table: &str) -> Option<()> {
    if is_called_so_inside(query, table) {
        return None;
    }
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if select.from.iter().any(|joined| may_be_missing(joined, table)) || is_wild(select) {
        return None;
    }
    let is_it = |factor: &TableFactor| Unnested::of(factor).is_some_and(|other| other.called == unnested.called);
    // Where it is joined, what it is joined on is a condition on the rows.
    let mut condition = None;
    let mut removed = false;
    for joined in &mut select.from {
        let Some(at) = joined.joins.iter().position(|join| is_it(&join.relation)) else { continue };
        condition = match &joined.joins[at].join_operator {
            JoinOperator::CrossJoin(_) => None,
            JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) => {
                Some(on.clone())
            }
            _ => return None,
        };
        joined.joins.remove(at);
        removed = true;
        break;
    }
    if !removed {
        let at = select.from.iter().position(|joined| is_it(&joined.relation))?;
        if select.from[at].joins.is_empty() {
            select.from.remove(at);
        } else {
            // The table takes its place in the join.
            let is_alone =
                |joined: &TableWithJoins| joined.joins.is_empty() && called(&joined.relation).as_deref() == Some(table);
            let alone = select.from.iter().position(is_alone)?;
            select.from[at].relation = select.from[alone].relation.clone();
            select.from.remove(alone);
        }
    }
    let name = Ident::with_quote('"', table);
    let factor = factors_mut(select).into_iter().find(|factor| called(factor).as_deref() == Some(table))?;
    *factor = with_rows(factor.clone(), unnested, &name)?;
    if let Some(condition) = condition.filter(|on| !matches!(on, Expr::Value(on) if on.value == Value::Boolean(true))) {
        require(select, condition);
    }
    requalify(query, &normalized(&unnested.called), &name);
    Some(())
}

/// Whether a query inside of another calls something of its own as the other calls a table: it would take columns for its own.
fn is_called_so_inside(query: &Query, table: &str) -> bool {
    struct Inside<'a> {
        table: &'a str,
        depth: usize,
    }
    impl Visitor for Inside<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            self.depth += 1;
            let found = match &*query.body {
                SetExpr::Select(select) if self.depth > 1 => {
                    factors(select).into_iter().any(|factor| called(factor).as_deref() == Some(self.table))
                }
                _ => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
    }
    Visit::visit(query, &mut Inside { table, depth: 0 }).is_break()
}

/// Whether a select has a wildcard that would show other columns, or in another order, once the rows of arrays are in a table.
fn is_wild(select: &Select) -> bool {
    // The table and its arrays alone.
    let is_plain = factors(select).len() == 2;
    select.projection.iter().any(|item| match item {
        SelectItem::QualifiedWildcard(..) => true,
        SelectItem::Wildcard(_) => !is_plain,
        _ => false,
    })
}

/// Whether an outer join makes rows without those of a table, or a join is of columns that cannot be told from those of the arrays.
fn may_be_missing(joined: &TableWithJoins, table: &str) -> bool {
    let is_table = |factor: &TableFactor| called(factor).as_deref() == Some(table);
    let keeps_left = |join: &Join| {
        let is_inner =
            matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
        let is_left = matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_));
        is_inner || (is_left && !is_table(&join.relation))
    };
    !joined.joins.iter().all(|join| keeps_left(join) && !is_natural(join))
}

fn is_natural(join: &Join) -> bool {
    match &join.join_operator {
        JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => {
            matches!(on, JoinConstraint::Natural)
        }
        _ => false,
    }
}

/// A table with a row for each element of arrays in its rows.
fn with_rows(table: TableFactor, unnested: &Unnested, name: &Ident) -> Option<TableFactor> {
    let every = SelectItemQualifiedWildcardKind::ObjectName(ObjectName(vec![ObjectNamePart::Identifier(name.clone())]));
    let every = SelectItem::QualifiedWildcard(every, WildcardAdditionalOptions::default());
    let items = std::iter::once(every).chain(unnested.items()).collect();
    derived(items, vec![TableWithJoins { relation: table, joins: Vec::new() }], name.clone())
}

/// `(SELECT items FROM from) AS name`
fn derived(items: Vec<SelectItem>, from: Vec<TableWithJoins>, name: Ident) -> Option<TableFactor> {
    // What a select is when it says nothing else.
    let mut query = Parser::new(&PostgreSqlDialect {}).try_with_sql("SELECT 1").ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = &mut *query.body else { return None };
    select.projection = items;
    select.from = from;
    let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    Some(TableFactor::Derived { lateral: false, subquery: query, alias, sample: None })
}

fn named_table(relation: ObjectName, name: Ident) -> TableFactor {
    TableFactor::Table {
        name: relation,
        alias: Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None }),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn equal(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Eq, right: Box::new(right) }
}

/// Adds a condition.
fn require(select: &mut Select, condition: Expr) {
    select.selection = Some(match select.selection.take() {
        None => condition,
        Some(given) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(given))),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(condition))),
        },
    });
}

/// Columns of one table become those of another, wherever the name is not that of something else.
fn requalify(query: &mut Query, from: &str, to: &Ident) {
    struct Requalify<'a> {
        from: &'a str,
        to: &'a Ident,
        /// For each query inside: whether the name is its own there.
        own: Vec<bool>,
    }
    impl VisitorMut for Requalify<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let is_own = match &*query.body {
                SetExpr::Select(select) => {
                    factors(select).into_iter().any(|factor| called(factor).as_deref() == Some(self.from))
                }
                _ => false,
            };
            // The first is the query itself, where the name goes.
            self.own.push(is_own && !self.own.is_empty());
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.own.pop();
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression
                && parts.len() == 2
                && normalized(&parts[0]) == self.from
                && !self.own.contains(&true)
            {
                parts[0] = self.to.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut Requalify { from, to, own: Vec::new() });
}

/// What stands in `FROM`, in order.
pub fn factors(select: &Select) -> Vec<&TableFactor> {
    let mut all = Vec::new();
    for joined in &select.from {
        all.push(&joined.relation);
        all.extend(joined.joins.iter().map(|join| &join.relation));
    }
    all
}

fn factors_mut(select: &mut Select) -> Vec<&mut TableFactor> {
    let mut all = Vec::new();
    for joined in &mut select.from {
        all.push(&mut joined.relation);
        all.extend(joined.joins.iter_mut().map(|join| &mut join.relation));
    }
    all
}

/// What something in `FROM` is called.
pub fn called(factor: &TableFactor) -> Option<String> {
    let alias = match factor {
        TableFactor::Table { name, alias: None, .. } | TableFactor::Function { name, alias: None, .. } => {
            return Some(last_part(name));
        }
        TableFactor::Function { alias, .. } => alias,
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => {
            alias
        }
        _ => return None,
    };
    alias.as_ref().map(|alias| normalized(&alias.name))
}

fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(normalized).unwrap_or_default()
}
