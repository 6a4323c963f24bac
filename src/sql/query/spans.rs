//! From filters to the part of an index that has to be read.
//!
//! ```text
//!   primary key (a, b, c):   a = 1 AND b IN (2, 3) AND c > 4   ->   (1,2,4) .. (1,2), (1,3,4) .. (1,3)
//! ```
//!
//! Only literals of exactly the column's type count; everything else is left to the filter above the scan.

use bytes::Bytes;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as DfColumn, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan};

use super::super::arrays::datum_at;
use super::super::types::arrow_type;
use crate::catalog::{Column, ColumnId, Datum, Index, TableDescriptor, key};
use crate::kv::Span;

/// More equal-to alternatives than this are left to the filter.
const MAX_SPANS: usize = 10_000;

/// How a table is read.
#[derive(Clone, Debug)]
pub enum Access {
    /// Through its primary index.
    Primary(Vec<Span>),
    /// Through a secondary index, then row by row.
    Secondary(Index, Vec<Span>),
    /// Through a secondary index alone, whose entries have all that is wanted.
    Entries(Index, Vec<Span>),
}

impl Access {
    /// The spans of the index.
    pub fn spans(&self) -> &[Span] {
        match self {
            Access::Primary(spans) | Access::Secondary(_, spans) | Access::Entries(_, spans) => spans,
        }
    }

    /// The index whose entries take the place of the rows.
    pub fn entries_of(&self) -> Option<&Index> {
        if let Access::Entries(index, _) = self { Some(index) } else { None }
    }
}

/// What a filter says of one column.
#[derive(Default)]
struct Condition {
    /// The values it may have, if they are known.
    equal: Option<Vec<Datum<'static>>>,
    /// Lower bound, and whether it is excluded.
    lower: Option<(Datum<'static>, bool)>,
    /// Upper bound, and whether it is excluded.
    upper: Option<(Datum<'static>, bool)>,
}

/// A table, and what its hidden columns are computed from, over its columns without a qualifier.
pub struct Indexed<'a> {
    /// The table.
    pub table: &'a TableDescriptor,
    /// Expressions by the columns that have their values.
    pub computed: &'a [(ColumnId, Expr)],
}

impl Indexed<'_> {
    fn computed(&self, id: ColumnId) -> Option<&Expr> {
        self.computed.iter().find(|(column, _)| *column == id).map(|(_, expression)| expression)
    }

    /// Whether only rows that an index has can pass the filters: they say all that its condition says.
    fn has_all(&self, index: &Index, filters: &[Expr]) -> bool {
        let Some(predicate) = index.predicate else { return true };
        let Some(condition) = self.computed(predicate) else { return false };
        let said: Vec<Expr> = filters.iter().flat_map(split_conjunction).map(unqualified).collect();
        split_conjunction(condition).into_iter().all(|part| said.contains(part))
    }
}

/// An expression whose columns have no qualifiers.
fn unqualified(expression: &Expr) -> Expr {
    let strip = |part: Expr| match part {
        Expr::Column(column) if column.relation.is_some() => {
            Ok(Transformed::yes(Expr::Column(DfColumn::from_name(column.name))))
        }
        other => Ok(Transformed::no(other)),
    };
    expression.clone().transform(strip).map_or_else(|_| expression.clone(), |transformed| transformed.data)
}

/// Whether a filter says something about a column of an index, or is part of the condition of one.
pub fn constrains_index(indexed: &Indexed<'_>, filter: &Expr) -> bool {
    let table = indexed.table;
    let is_condition = || {
        let conditions = table.indexes.iter().filter_map(|index| indexed.computed(index.predicate?));
        let filter = unqualified(filter);
        conditions.flat_map(split_conjunction).any(|part| *part == filter)
    };
    let constrains = table.columns.iter().any(|column| {
        let of_index = |index: &Index| index.columns.iter().any(|part| part.column == column.id);
        table.all_indexes().any(of_index) && collect(indexed, column, std::slice::from_ref(filter)).is_some()
    });
    constrains || is_condition()
}

/// The cheapest way to these columns, by position, of the rows that can pass the filters.
pub fn choose(indexed: &Indexed<'_>, filters: &[Expr], wanted: &[usize]) -> Access {
    let table = indexed.table;
    let primary = index_spans(indexed, &table.primary, filters);
    if let Some((spans, _)) = &primary
        && !spans.is_empty()
        && is_constrained(indexed, &table.primary, filters)
    {
        return Access::Primary(spans.clone());
    }
    let complete = table.indexes.iter().filter(|index| indexed.has_all(index, filters));
    let usable = complete.filter_map(|index| {
        let (spans, equal_columns) = index_spans(indexed, index, filters)?;
        let has_all = wanted.iter().all(|&position| index.has(table, table.columns[position].id));
        let is_useful = equal_columns > 0 || (has_all && is_constrained(indexed, index, filters));
        is_useful.then_some((equal_columns, has_all, index, spans))
    });
    match usable.max_by_key(|(equal_columns, has_all, ..)| (*equal_columns, *has_all)) {
        Some((_, true, index, spans)) => Access::Entries(index.clone(), spans),
        Some((_, false, index, spans)) => Access::Secondary(index.clone(), spans),
        None => Access::Primary(primary.map_or_else(|| vec![Span::all(table.primary.space)], |(spans, _)| spans)),
    }
}

fn is_constrained(indexed: &Indexed<'_>, index: &Index, filters: &[Expr]) -> bool {
    let first = index.columns.first().and_then(|part| indexed.table.column(part.column));
    first.is_some_and(|column| collect(indexed, column, filters).is_some())
}

/// The spans of an index, and by how many columns with known values they are narrowed.
fn index_spans(indexed: &Indexed<'_>, index: &Index, filters: &[Expr]) -> Option<(Vec<Span>, usize)> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let mut equal_columns = 0;
    for part in &index.columns {
        let column = indexed.table.column(part.column)?;
        let Some(condition) = collect(indexed, column, filters) else { break };
        if let Some(values) = condition.equal
            && prefixes.len() * values.len() <= MAX_SPANS
        {
            let extend = |prefix: &Vec<u8>| {
                let prefix = prefix.clone();
                values.iter().map(move |value| {
                    let mut longer = prefix.clone();
                    key::push(&mut longer, value, part.descending);
                    longer
                })
            };
            prefixes = prefixes.iter().flat_map(|prefix| extend(prefix).collect::<Vec<_>>()).collect();
            equal_columns += 1;
            continue;
        }
        let (low, high) =
            if part.descending { (condition.upper, condition.lower) } else { (condition.lower, condition.upper) };
        let spans = prefixes.iter().map(|prefix| bounded(index, prefix, part.descending, &low, &high));
        return Some((sorted(spans.collect()), equal_columns));
    }
    Some((sorted(prefixes.iter().map(|prefix| Span::prefix(index.space, prefix)).collect()), equal_columns))
}

fn bounded(
    index: &Index,
    prefix: &[u8],
    descending: bool,
    low: &Option<(Datum<'static>, bool)>,
    high: &Option<(Datum<'static>, bool)>,
) -> Span {
    let whole = Span::prefix(index.space, prefix);
    let with = |value: &Datum<'static>| {
        let mut bound = prefix.to_vec();
        key::push(&mut bound, value, descending);
        Span::prefix(index.space, &bound)
    };
    let start = match low {
        Some((value, false)) => with(value).start,
        Some((value, true)) => with(value).end.unwrap_or_else(|| whole.start.clone()),
        None => whole.start.clone(),
    };
    let end = match high {
        Some((value, false)) => with(value).end,
        Some((value, true)) => Some(with(value).start),
        None => whole.end,
    };
    Span { space: index.space, start, end }
}

fn sorted(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| !span.is_empty());
    spans.sort();
    spans.dedup();
    spans
}

/// What the filters say of a column, if anything.
fn collect(indexed: &Indexed<'_>, column: &Column, filters: &[Expr]) -> Option<Condition> {
    let column = Sought { column, computed: indexed.computed(column.id) };
    let mut condition = Condition::default();
    let mut found = false;
    for filter in filters {
        found |= add(&column, filter, &mut condition);
    }
    found.then_some(condition)
}

/// A column, and what it is computed from if that is how a filter would name it.
struct Sought<'a> {
    column: &'a Column,
    computed: Option<&'a Expr>,
}

fn add(sought: &Sought<'_>, filter: &Expr, condition: &mut Condition) -> bool {
    let Sought { column, .. } = sought;
    let may_compare = |op: Operator| op == Operator::Eq || is_ordered(column);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let left = add(sought, left, condition);
            add(sought, right, condition) || left
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (mut a, mut b) = (Condition::default(), Condition::default());
            let both = add(sought, left, &mut a) && add(sought, right, &mut b);
            match (a.equal, b.equal) {
                (Some(mut values), Some(more)) if both => {
                    values.extend(more);
                    set_equal(condition, values)
                }
                _ => false,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if is_column(left, sought) {
                may_compare(*op) && literal(right, column).is_some_and(|value| compare(condition, *op, value))
            } else if is_column(right, sought)
                && let Some(swapped) = op.swap()
            {
                may_compare(swapped) && literal(left, column).is_some_and(|value| compare(condition, swapped, value))
            } else {
                false
            }
        }
        Expr::InList(list) if !list.negated && is_column(&list.expr, sought) => {
            let values: Option<Vec<_>> = list.list.iter().map(|item| literal(item, column)).collect();
            values.is_some_and(|values| set_equal(condition, values))
        }
        Expr::Between(between) if !between.negated && is_ordered(column) && is_column(&between.expr, sought) => {
            match (literal(&between.low, column), literal(&between.high, column)) {
                (Some(low), Some(high)) => {
                    compare(condition, Operator::GtEq, low);
                    compare(condition, Operator::LtEq, high)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn compare(condition: &mut Condition, op: Operator, value: Datum<'static>) -> bool {
    match op {
        Operator::Eq => set_equal(condition, vec![value]),
        Operator::Gt | Operator::GtEq if condition.lower.is_none() => {
            condition.lower = Some((value, op == Operator::Gt));
            true
        }
        Operator::Lt | Operator::LtEq if condition.upper.is_none() => {
            condition.upper = Some((value, op == Operator::Lt));
            true
        }
        _ => false,
    }
}

fn set_equal(condition: &mut Condition, values: Vec<Datum<'static>>) -> bool {
    let first = condition.equal.is_none();
    if first {
        condition.equal = Some(values);
    }
    first
}

fn is_column(expression: &Expr, sought: &Sought<'_>) -> bool {
    match (expression, sought.computed) {
        (Expr::Column(found), _) if found.name == sought.column.name => true,
        (_, Some(computed)) => unqualified(expression) == *computed,
        _ => false,
    }
}

/// Labels of enumerated types compare by their letters in a plan, unless it says otherwise.
fn is_ordered(column: &Column) -> bool {
    column.column_type.enumeration().is_none()
}

fn literal(expression: &Expr, column: &Column) -> Option<Datum<'static>> {
    match expression {
        Expr::Literal(value, _) => of_scalar(value, column),
        // It has no value until the table is scanned. That it will have one is enough to know until then.
        Expr::Placeholder(placeholder) => {
            let field = placeholder.field.as_ref()?;
            (*field.data_type() == arrow_type(&column.column_type)).then_some(Datum::Null)
        }
        _ => None,
    }
}

fn of_scalar(value: &ScalarValue, column: &Column) -> Option<Datum<'static>> {
    let wanted = arrow_type(&column.column_type);
    if value.is_null() || value.data_type() != wanted {
        return None;
    }
    let array = value.to_array().ok()?;
    let datum = datum_at(&*array, 0, &column.column_type).ok()?.into_owned();
    // What is stored of CHAR(n) has no trailing blanks.
    match (datum, &column.column_type) {
        (Datum::Text(text), crate::catalog::ColumnType::Char(_)) => Some(text.trim_end_matches(' ').to_string().into()),
        (datum, _) => Some(datum),
    }
}

/// The primary keys that a plan's scan of `table` is confined to, if it is confined to single keys.
pub fn point_keys(plan: &LogicalPlan, table: &TableDescriptor) -> Option<Vec<Bytes>> {
    let filters = scan_filters(plan, &table.identity.name)?;
    let (spans, equal_columns) = index_spans(&Indexed { table, computed: &[] }, &table.primary, &filters)?;
    (equal_columns == table.primary.columns.len()).then(|| spans.into_iter().map(|span| span.start).collect())
}

fn scan_filters(plan: &LogicalPlan, name: &str) -> Option<Vec<Expr>> {
    if let LogicalPlan::TableScan(TableScan { table_name, filters, .. }) = plan
        && table_name.table() == name
    {
        return Some(filters.clone());
    }
    plan.inputs().into_iter().find_map(|input| scan_filters(input, name))
}
