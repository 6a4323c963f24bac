//! `FOR UPDATE` and `FOR SHARE` of a query, wherever in a statement it stands.
//!
//! What the query would give is looked for as others see it and in its order, and the rows that it comes from are locked, until there are as
//! many as it wants. One that was waited for may have changed, and counts only if it is still one of them. Then the query, confined
//! to the rows that are locked, runs like any other.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::TryStreamExt;
use sqlparser::ast::{
    BinaryOperator, Distinct, ExcludeSelectItem, Expr, GroupByExpr, Ident, Join, JoinOperator, LimitClause, LockClause,
    LockType, NonBlock, ObjectName, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions,
};

use super::super::arrays::datum_at;
use super::super::context::Context;
use super::super::ddl::ROW_ID;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::{self, ExtraTables, Visibility, expression, join_balanced, literal};
use super::Row;
use super::locking::lock_rows;
use crate::catalog::system::FIRST_USER_ID;
use crate::catalog::{ColumnType, Datum, Descriptor, TableDescriptor, push_index_key};
use crate::kv::LockMode;

/// A query can be confined to so many rows by name.
const MOST_ROWS: usize = 10_000;

/// A table whose rows are locked.
struct Target {
    /// As the query calls it.
    name: Ident,
    table: TableDescriptor,
    mode: LockMode,
    nonblock: Option<NonBlock>,
}

/// Something in `FROM`.
struct Source<'a> {
    factor: &'a TableFactor,
    /// Whether an outer join makes up rows of it.
    nullable: bool,
}

/// Whether a query anywhere in a statement locks rows.
pub fn locks_rows<T: Visit>(tree: &T) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if query.locks.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    tree.visit(&mut Find).is_break()
}

/// Leaves out what locks rows: what is left has the same columns.
pub fn forget_row_locks<T: VisitMut>(tree: &mut T) {
    struct Forget;
    impl VisitorMut for Forget {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            query.locks.clear();
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Forget);
}

/// Locks the rows that queries of a statement ask for, and leaves queries of those rows behind.
pub async fn take_row_locks<T: VisitMut>(context: &Context, tree: &mut T, extra: &ExtraTables) -> Result<()> {
    struct Innermost(Option<Query>);
    impl VisitorMut for Innermost {
        type Break = ();
        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if query.locks.is_empty() {
                return ControlFlow::Continue(());
            }
            self.0 = Some(query.clone());
            ControlFlow::Break(())
        }
    }
    struct Replace(Option<Query>);
    impl VisitorMut for Replace {
        type Break = ();
        fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if query.locks.is_empty() {
                return ControlFlow::Continue(());
            }
            *query = self.0.take().unwrap_or_else(|| query.clone());
            ControlFlow::Break(())
        }
    }
    loop {
        if replace_expression(context, tree, extra).await? {
            continue;
        }
        let mut found = Innermost(None);
        let _ = tree.visit(&mut found);
        let Some(mut query) = found.0 else { return Ok(()) };
        let locks = std::mem::take(&mut query.locks);
        confine(context, &mut query, &locks, extra).await?;
        let _ = tree.visit(&mut Replace(Some(query)));
    }
}

/// Puts the values of a subquery that locks rows in its place, if there is one among the expressions: a statement about those rows then needs to
/// look at no others.
async fn replace_expression<T: VisitMut>(context: &Context, tree: &mut T, extra: &ExtraTables) -> Result<bool> {
    fn innermost(expression: &Expr) -> Option<&Query> {
        let (Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. }) = expression else { return None };
        let mut inside = (**query).clone();
        inside.locks.clear();
        (!query.locks.is_empty() && !locks_rows(&inside)).then_some(query)
    }
    struct Find(Option<Expr>);
    impl VisitorMut for Find {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            match innermost(expression) {
                Some(_) => {
                    self.0 = Some(expression.clone());
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        }
    }
    struct Replace(Option<Expr>);
    impl VisitorMut for Replace {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if innermost(expression).is_none() {
                return ControlFlow::Continue(());
            }
            *expression = self.0.take().unwrap_or_else(|| expression.clone());
            ControlFlow::Break(())
        }
    }
    let mut found = Find(None);
    let _ = tree.visit(&mut found);
    let Some(mut expression) = found.0 else { return Ok(false) };
    if let Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. } = &mut expression {
        let locks = std::mem::take(&mut query.locks);
        confine(context, query, &locks, extra).await?;
    }
    let instead = values_instead(context, &expression, extra).await?.unwrap_or(expression);
    let _ = tree.visit(&mut Replace(Some(instead)));
    Ok(true)
}

/// The values of a subquery of one column instead of it.
async fn values_instead(context: &Context, expression: &Expr, extra: &ExtraTables) -> Result<Option<Expr>> {
    let (Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. }) = expression else { return Ok(None) };
    let (columns, mut batches) = query::plan(context, query, extra, Visibility::AsNamed).await?.run().await?;
    let [column] = &columns[..] else { return Ok(None) };
    let mut values = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for index in 0..batch.num_rows() {
            let value = datum_at(&**batch.column(0), index, &column.column_type)?.into_owned();
            values.push(literal(&(column.column_type.clone(), value)));
        }
        if values.len() > MOST_ROWS {
            return Ok(None);
        }
    }
    Ok(Some(match expression {
        Expr::InSubquery { expr, negated, .. } if !values.is_empty() => {
            Expr::InList { expr: expr.clone(), list: values, negated: *negated }
        }
        Expr::InSubquery { negated, .. } => Expr::value(Value::Boolean(*negated)),
        _ => match values.pop() {
            None => literal(&(column.column_type.clone(), Datum::Null)),
            Some(value) if values.is_empty() => value,
            Some(_) => {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(Error::new(code::CARDINALITY_VIOLATION, message));
            }
        },
    }))
}

/// Locks the rows of one query and confines it to them.
async fn confine(context: &Context, query: &mut Query, locks: &[LockClause], extra: &ExtraTables) -> Result<()> {
    let clause = clause(&locks[0]);
    let SetExpr::Select(select) = &*query.body else {
        return Err(Error::unsupported(format!("{clause} of anything but a SELECT")));
    };
    let has_groups = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    for (is_there, what) in [
        (matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))), "DISTINCT clause"),
        (has_groups, "GROUP BY clause"),
        (select.having.is_some(), "HAVING clause"),
    ] {
        if is_there {
            return Err(Error::new(code::FEATURE_NOT_SUPPORTED, format!("{clause} is not allowed with {what}")));
        }
    }
    let targets = targets(context, query, select, locks).await?;
    let wanted = wanted(context, query)?;
    if let ([target], None, [only]) = (&targets[..], wanted, &select.from[..])
        && target.nonblock.is_none()
        && only.joins.is_empty()
    {
        // All of one table: whoever reads after the locks sees what was waited for.
        let mut rows = super::returning::select_from("t")?;
        rows.with.clone_from(&query.with);
        if let SetExpr::Select(template) = &mut *rows.body {
            template.from = select.from.clone();
            template.selection = select.selection.clone();
        }
        return lock_rows(context, &target.table, &rows, extra, target.mode).await;
    }
    let locked = lock_in_order(context, query, &targets, wanted, extra).await?;
    let by_name = wanted.is_some() || targets.iter().any(|target| target.nonblock == Some(NonBlock::SkipLocked));
    if by_name && !targets.is_empty() {
        let among = among(&targets, &locked)?;
        if let SetExpr::Select(select) = &mut *query.body {
            leave_out_hidden(context, select).await?;
            add_condition(select, among);
        }
    }
    Ok(())
}

/// Keeps `*` from showing the hidden columns that the query is about to name.
async fn leave_out_hidden(context: &Context, select: &mut Select) -> Result<()> {
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if !select.projection.iter().any(is_wildcard) {
        return Ok(());
    }
    let mut sources = Vec::new();
    for from in &select.from {
        add_sources(&mut sources, &from.relation, &from.joins, false);
    }
    // Those with hidden keys.
    let mut hidden = Vec::new();
    for source in &sources {
        if let (TableFactor::Table { name, args: None, .. }, Some(called)) = (source.factor, called(source.factor))
            && let Some(Descriptor::Table(table)) = context.find_object(&name_parts(name)?).await?.as_deref()
            && table.columns.iter().any(|column| column.hidden && column.name == ROW_ID)
        {
            hidden.push(called);
        }
    }
    if hidden.is_empty() {
        return Ok(());
    }
    let names: Option<Vec<Ident>> = sources.iter().map(|source| called(source.factor)).collect();
    let merges = select.from.iter().flat_map(|from| &from.joins).any(query::merges_columns);
    let Some(names) = names.filter(|_| !merges) else {
        return Err(Error::unsupported("* of a NATURAL or USING join of tables without primary keys, with locks"));
    };
    let without = |name: &Ident| {
        let exclude = hidden.iter().any(|hidden| folded(hidden) == folded(name));
        let row_id = ObjectName::from(vec![Ident::with_quote('"', ROW_ID)]);
        let options = WildcardAdditionalOptions {
            opt_exclude: exclude.then_some(ExcludeSelectItem::Single(row_id)),
            ..WildcardAdditionalOptions::default()
        };
        let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name.clone()]));
        SelectItem::QualifiedWildcard(kind, options)
    };
    let items = std::mem::take(&mut select.projection).into_iter().flat_map(|item| match &item {
        SelectItem::Wildcard(_) => names.iter().map(without).collect(),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            vec![name.0.last().and_then(|part| part.as_ident()).map_or(item.clone(), without)]
        }
        _ => vec![item],
    });
    select.projection = items.collect();
    Ok(())
}

/// As an error calls it.
fn clause(lock: &LockClause) -> &'static str {
    match lock.lock_type {
        LockType::Update => "FOR UPDATE",
        LockType::Share => "FOR SHARE",
    }
}

/// How many rows a query takes, if it says so.
fn wanted(context: &Context, query: &Query) -> Result<Option<u64>> {
    let number = |expression: &Expr| -> Result<Option<u64>> {
        let number = expression::value_for(context, expression, &ColumnType::Int8)?;
        Ok(number.as_int().and_then(|number| u64::try_from(number).ok()))
    };
    let (limit, offset) = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref()),
        _ => (None, None),
    };
    let limit = match (limit, &query.fetch) {
        (Some(limit), None) => number(limit)?,
        (None, Some(fetch)) if !fetch.percent && !fetch.with_ties => {
            fetch.quantity.as_ref().map_or(Ok(Some(1)), number)?
        }
        _ => None,
    };
    let Some(limit) = limit else { return Ok(None) };
    let passed = offset.map_or(Ok(Some(0)), |offset| number(&offset.value))?;
    // Rows that are passed over are locked, too.
    Ok(Some(limit.saturating_add(passed.unwrap_or_default())))
}

/// The tables whose rows a query locks.
async fn targets(context: &Context, query: &Query, select: &Select, locks: &[LockClause]) -> Result<Vec<Target>> {
    let mut sources = Vec::new();
    for from in &select.from {
        add_sources(&mut sources, &from.relation, &from.joins, false);
    }
    let mut targets: Vec<Target> = Vec::new();
    for lock in locks {
        let clause = clause(lock);
        let of = lock.of.as_ref().map(name_parts).transpose()?;
        if let Some(of) = &of
            && !sources.iter().any(|source| called(source.factor).is_some_and(|name| of[..] == [folded(&name)]))
        {
            let message = format!("relation \"{}\" in {clause} clause not found in FROM clause", of.join("."));
            return Err(Error::new(code::UNDEFINED_TABLE, message));
        }
        for source in &sources {
            let name = called(source.factor);
            if of.as_ref().is_some_and(|of| name.as_ref().is_none_or(|name| of[..] != [folded(name)])) {
                continue;
            }
            let Some(table) = locked_table(context, query, source.factor, of.is_some(), clause).await? else {
                continue;
            };
            let Some(name) = name else { continue };
            if source.nullable {
                let message = format!("{clause} cannot be applied to the nullable side of an outer join");
                return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message));
            }
            let mode = if lock.lock_type == LockType::Update { LockMode::Exclusive } else { LockMode::Shared };
            match targets.iter_mut().find(|known| known.name == name) {
                // The stronger of two.
                Some(known) if mode == LockMode::Exclusive => (known.mode, known.nonblock) = (mode, lock.nonblock),
                Some(_) => {}
                None => targets.push(Target { name, table, mode, nonblock: lock.nonblock }),
            }
        }
    }
    Ok(targets)
}

fn add_sources<'a>(sources: &mut Vec<Source<'a>>, first: &'a TableFactor, joins: &'a [Join], nullable: bool) {
    let before = sources.len();
    add_source(sources, first, nullable);
    for join in joins {
        let (left, right) = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
            JoinOperator::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        sources[before..].iter_mut().for_each(|source| source.nullable |= left);
        add_source(sources, &join.relation, nullable || right);
    }
}

fn add_source<'a>(sources: &mut Vec<Source<'a>>, factor: &'a TableFactor, nullable: bool) {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => {
            add_sources(sources, &table_with_joins.relation, &table_with_joins.joins, nullable);
        }
        factor => sources.push(Source { factor, nullable }),
    }
}

/// What a query calls something in `FROM`.
fn called(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { alias: None, name, .. } => name.0.last().and_then(|part| part.as_ident()).cloned(),
        _ => None,
    }
}

/// The table behind something in `FROM`; `None` for what has no rows to lock.
async fn locked_table(
    context: &Context,
    query: &Query,
    factor: &TableFactor,
    is_named: bool,
    clause: &str,
) -> Result<Option<TableDescriptor>> {
    let refused = |what: &str| Error::unsupported(format!("{clause} of {what}"));
    let name = match factor {
        TableFactor::Table { name, args: None, .. } => name_parts(name)?,
        TableFactor::Derived { .. } => return Err(refused("a subquery")),
        _ if is_named => return Err(refused("a function")),
        _ => return Ok(None),
    };
    let is_with = |name: &str| {
        query.with.as_ref().is_some_and(|with| with.cte_tables.iter().any(|table| folded(&table.alias.name) == name))
    };
    if let [name] = &name[..]
        && is_with(name)
    {
        return if is_named { Err(refused("a WITH query")) } else { Ok(None) };
    }
    match context.find_object(&name).await?.as_deref() {
        Some(Descriptor::Table(table)) if table.identity.id.0 < FIRST_USER_ID => Err(refused("a system table")),
        Some(Descriptor::Table(table)) => Ok(Some(table.clone())),
        Some(other) => Err(refused(&format!("a {}", other.kind()))),
        // One of the catalog, or one that is missed later.
        None => Ok(None),
    }
}

/// Locks the rows that a query finds, in its order: their primary keys, a list for each row of the result.
async fn lock_in_order(
    context: &Context,
    query: &Query,
    targets: &[Target],
    wanted: Option<u64>,
    extra: &ExtraTables,
) -> Result<Vec<Vec<Row>>> {
    let look = from_outside(context, targets).await?;
    let probe = keys_query(query, targets);
    let (columns, mut batches) = query::plan(&look, &probe, extra, Visibility::AsNamed).await?.run().await?;
    let first = columns.len() - targets.iter().map(|target| target.table.primary.columns.len()).sum::<usize>();
    let mut locked = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for index in 0..batch.num_rows() {
            if wanted.is_some_and(|wanted| locked.len() as u64 >= wanted) {
                return Ok(locked);
            }
            let mut at = first;
            let mut keys = Vec::with_capacity(targets.len());
            for target in targets {
                let mut row: Row = vec![Datum::Null; target.table.columns.len()];
                for position in primary_positions(&target.table) {
                    let column_type = &target.table.columns[position].column_type;
                    row[position] = datum_at(&**batch.column(at), index, column_type)?.into_owned();
                    at += 1;
                }
                keys.push(row);
            }
            if lock_row(context, &look, query, targets, &keys, extra).await? {
                locked.push(keys);
            }
            if locked.len() > MOST_ROWS && targets.iter().any(|target| target.nonblock.is_some()) {
                let message = format!("SKIP LOCKED and NOWAIT take at most {MOST_ROWS} rows");
                return Err(Error::new(code::PROGRAM_LIMIT_EXCEEDED, message).hint("Add a LIMIT."));
            }
        }
    }
    Ok(locked)
}

/// Where others see the tables as this transaction does: in a transaction whose reads do not count, unless this one has changed something.
async fn from_outside(context: &Context, targets: &[Target]) -> Result<Context> {
    if context.txn().pending_writes() > 0 {
        return Ok(context.clone());
    }
    let scratch = context.in_txn(context.engine().store().begin().await?);
    for target in targets {
        let committed = scratch.catalog().find(target.table.identity.id).await?;
        if !matches!(committed.as_deref(), Some(Descriptor::Table(committed)) if *committed == target.table) {
            return Ok(context.clone());
        }
    }
    Ok(scratch)
}

/// Locks the rows behind one row of a result: whether they are locked, and it is still one.
async fn lock_row(
    context: &Context,
    look: &Context,
    query: &Query,
    targets: &[Target],
    keys: &[Row],
    extra: &ExtraTables,
) -> Result<bool> {
    let mut is_same = true;
    for (target, row) in targets.iter().zip(keys) {
        let mut key = Vec::new();
        push_index_key(&mut key, &target.table, &target.table.primary, row)?;
        let (space, key) = (target.table.primary.space, Bytes::from(key));
        match target.nonblock {
            None => context.txn().lock(space, &key, target.mode).await?,
            Some(nonblock) => match (context.txn().try_lock(space, &key, target.mode)?, nonblock) {
                (true, _) => {}
                (false, NonBlock::SkipLocked) => return Ok(false),
                (false, NonBlock::Nowait) => {
                    let message =
                        format!("could not obtain lock on row in relation \"{}\"", target.table.identity.name);
                    return Err(Error::new(code::LOCK_NOT_AVAILABLE, message));
                }
            },
        }
        let version = async |context: &Context| -> Result<_> { Ok(context.txn().get(space, &key).await?) };
        is_same &= version(look).await? == version(context).await?;
    }
    if is_same {
        return Ok(true);
    }
    let mut again = keys_query(query, targets);
    if let SetExpr::Select(select) = &mut *again.body {
        add_condition(select, among(targets, &[keys.to_vec()])?);
    }
    let (_, mut batches) = query::plan(context, &again, extra, Visibility::AsNamed).await?.run().await?;
    while let Some(batch) = batches.try_next().await? {
        if batch.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A query for the primary keys of the rows that another locks, in its order: they are the last columns.
fn keys_query(query: &Query, targets: &[Target]) -> Query {
    let mut keys = query.clone();
    (keys.limit_clause, keys.fetch) = (None, None);
    let is_by_output = orders_by_output(&keys);
    if let SetExpr::Select(select) = &mut *keys.body {
        if !is_by_output {
            select.projection.clear();
        }
        for target in targets {
            for position in primary_positions(&target.table) {
                select.projection.push(SelectItem::UnnamedExpr(column(target, position)));
            }
        }
        if select.projection.is_empty() {
            select.projection.push(SelectItem::UnnamedExpr(Expr::value(Value::Null)));
        }
    }
    keys
}

/// Whether the order of a query is by names or numbers of what it gives.
fn orders_by_output(query: &Query) -> bool {
    let Some(OrderByKind::Expressions(order)) = query.order_by.as_ref().map(|order| &order.kind) else { return false };
    let SetExpr::Select(select) = &*query.body else { return false };
    let is_alias = |name: &Ident| {
        let known = |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == folded(name));
        select.projection.iter().any(known)
    };
    order.iter().any(|by| match &by.expr {
        Expr::Value(_) => true,
        Expr::Identifier(name) => is_alias(name),
        _ => false,
    })
}

fn primary_positions(table: &TableDescriptor) -> impl Iterator<Item = usize> + '_ {
    let position = |column| table.columns.iter().position(|known| known.id == column);
    table.primary.columns.iter().filter_map(move |part| position(part.column))
}

fn column(target: &Target, position: usize) -> Expr {
    let name = Ident::with_quote('"', &target.table.columns[position].name);
    Expr::CompoundIdentifier(vec![target.name.clone(), name])
}

/// The condition that the primary keys are those of one of these rows.
fn among(targets: &[Target], rows: &[Vec<Row>]) -> Result<Expr> {
    let boolean = |value: bool| Expr::value(Value::Boolean(value));
    if let [target] = targets
        && let [position] = primary_positions(&target.table).collect::<Vec<_>>()[..]
        && !rows.is_empty()
    {
        let column_type = &target.table.columns[position].column_type;
        let list = rows.iter().map(|keys| literal(&(column_type.clone(), keys[0][position].clone()))).collect();
        return Ok(Expr::InList { expr: Box::new(column(target, position)), list, negated: false });
    }
    let both = |left, op, right| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    let is_row = |keys: &Vec<Row>| {
        let mut equal = boolean(true);
        for (target, row) in targets.iter().zip(keys) {
            for position in primary_positions(&target.table) {
                let value = literal(&(target.table.columns[position].column_type.clone(), row[position].clone()));
                equal = both(equal, BinaryOperator::And, both(column(target, position), BinaryOperator::Eq, value));
            }
        }
        Expr::Nested(Box::new(equal))
    };
    let rows: Vec<Expr> = rows.iter().map(is_row).collect();
    Ok(if rows.is_empty() { boolean(false) } else { join_balanced(rows, &BinaryOperator::Or) })
}

fn add_condition(select: &mut Select, condition: Expr) {
    let nested = |expression| Box::new(Expr::Nested(Box::new(expression)));
    select.selection = Some(match select.selection.take() {
        Some(selection) => {
            Expr::BinaryOp { left: nested(selection), op: BinaryOperator::And, right: nested(condition) }
        }
        None => condition,
    });
}
