//! Rewording syntax trees where DataFusion sees something else than PostgreSQL.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, DataType as SqlType, Distinct, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName, ObjectNamePart, OrderBy,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Subscript, TableFactor,
    UnaryOperator, Value, Visit, VisitMut, Visitor, VisitorMut, visit_expressions,
};

use super::super::error::{Error, Result, code};
use super::super::types::{resolve, time_precision};
use super::frames::plain_frame;
use super::output_names::{OutputNames, output_name};
use super::own_expressions::change_each;
use super::parameters::placeholder;
use super::{
    catalog_forms, correlated, distinct_order, joins, lateral, literals, math, membership, named_windows, operators,
    ordered_aggregates, outer_aggregates, output_names, quantified, renamed, rows, set_functions, set_operations,
    similar, subquery_order, times, values, whole_rows,
};
use crate::catalog::ColumnType;

/// A list of strings up to this length is compared one by one.
const MAX_COMPARED: usize = 32;

/// A sum of more operands is added up in another order.
const MAX_SUM_DEPTH: usize = 48;

/// Rewords a query.
pub fn rewrite(query: &mut Query) -> Result<OutputNames> {
    set_functions::make_columns(query)?;
    lateral::rewrite(query);
    let mut rewriter = Rewriter { error: None, of_catalog: catalog_forms::is_of_catalog(query), depth: 0 };
    catalog_forms::empty_selects(query, rewriter.of_catalog);
    let names = output_names::name_outputs(query);
    let _ = query.visit(&mut rewriter);
    match rewriter.error {
        Some(error) => Err(error),
        None => Ok(names),
    }
}

/// Rewords an expression.
pub fn rewrite_expression(expression: &mut Expr) -> Result<()> {
    let mut rewriter = Rewriter { error: None, of_catalog: false, depth: 0 };
    let _ = expression.visit(&mut rewriter);
    rewriter.error.map_or(Ok(()), Err)
}

struct Rewriter {
    error: Option<Error>,
    /// Whether the query reads the system's catalog.
    of_catalog: bool,
    /// How many queries it is inside of.
    depth: usize,
}

/// `a OR b OR c OR d` as `(a OR b) OR (c OR d)`: planning goes over a tree again for every level of it.
fn balance(expression: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or | BinaryOperator::Plus), .. } = expression
    else {
        return;
    };
    let op = op.clone();
    // Of sums only those that would take seconds: what overflows in between depends on the order.
    if op == BinaryOperator::Plus && !is_long_chain(expression) {
        return;
    }
    let mut operands = Vec::new();
    let mut rest = std::mem::replace(expression, Expr::Wildcard(AttachedToken::empty()));
    loop {
        match rest {
            Expr::BinaryOp { left, op: same, right } if same == op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    *expression = join_balanced(operands, &op);
}

/// Whether a chain of sums has more than some dozens of operands.
fn is_long_chain(expression: &Expr) -> bool {
    let mut rest = expression;
    for _ in 0..MAX_SUM_DEPTH {
        match rest {
            Expr::BinaryOp { left, op: BinaryOperator::Plus, .. } => rest = left,
            _ => return false,
        }
    }
    true
}

/// Operands joined by `AND` or `OR`, as flat a tree as can be.
pub fn join_balanced(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    match operands.len() {
        1 => operands.remove(0),
        count => {
            let right = Box::new(join_balanced(operands.split_off(count / 2), op));
            let left = Box::new(join_balanced(operands, op));
            Expr::BinaryOp { left, op: op.clone(), right }
        }
    }
}

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.error = self.error.take().or_else(|| named_windows::spell_out(query).err());
        // What is sorted by once more changes nothing.
        if let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by {
            let mut seen = HashSet::new();
            keys.retain(|key| seen.insert(key.expr.clone()));
        }
        outer_aggregates::lift(query, self.depth);
        if let SetExpr::Select(select) = &mut *query.body {
            count_existing(select);
            whole_rows::name_rows(select);
            subquery_order::keep(select);
            ordered_aggregates::reword(select);
            select.selection.iter_mut().for_each(require_memberships);
            qualify_wildcards(select);
            if let Some(Distinct::On(keys)) = &mut select.distinct {
                keys.iter_mut().for_each(|key| name_position(key, &select.projection));
                let mut seen = HashSet::new();
                keys.retain(|key| seen.insert(key.clone()));
            }
            output_names::name_subquery(select);
        }
        output_names::tell_apart_in_sets(&mut query.body);
        if let SetExpr::Values(values) = &mut *query.body
            && has_subquery(values)
            && let Some(selects) = values::selects_of(values)
        {
            *query.body = selects;
        }
        values::type_columns(&mut query.body, self.depth == 0);
        if !self.of_catalog {
            literals::type_outputs(query, self.depth == 0);
        }
        self.error = self.error.take().or_else(|| set_operations::reword(&mut query.body).err());
        self.error = self.error.take().or_else(|| joins::reword(query).err());
        self.depth += 1;
        if let Some(fetch) = query.fetch.take() {
            let one = || Expr::Value(Value::Number("1".into(), false).into());
            let limit = Some(fetch.quantity.unwrap_or_else(one));
            let offset = match query.limit_clause.take() {
                None => None,
                Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
                Some(_) => {
                    self.error = Some(Error::new(code::SYNTAX_ERROR, "multiple LIMIT clauses not allowed"));
                    None
                }
            };
            if fetch.with_ties || fetch.percent {
                self.error = Some(Error::unsupported("this form of FETCH"));
            }
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
        }
        self.error = self.error.take().or_else(|| refuse_ignored(query).err());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { args: Some(_), .. } | TableFactor::UNNEST { .. } => {
                self.error = self.error.take().or_else(|| set_functions::in_from(factor).err());
            }
            TableFactor::Table { sample: Some(_), .. } => self.error = Some(Error::unsupported("TABLESAMPLE")),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        balance(expression);
        if self.of_catalog
            && let Some(null) = catalog_forms::of_no_type(expression)
        {
            *expression = null;
        }
        if !self.of_catalog {
            literals::type_operands(expression);
        }
        name_sequence(expression);
        bound_slices(expression);
        match instead_of_subquery(expression) {
            Ok(None) => {}
            Ok(Some(instead)) => *expression = instead,
            Err(error) => {
                self.error = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        plain_frame(expression);
        match reword(expression, self.of_catalog) {
            Ok(Some(instead)) => *expression = instead,
            Ok(None) => {}
            Err(error) => {
                self.error = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// `a[2:]` is up to the end of any array, `a[:2]` from its beginning.
fn bound_slices(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expression else { return };
    for access in access_chain {
        if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) = access {
            let number = |number: i32| Expr::Value(Value::Number(number.to_string(), false).into());
            lower_bound.get_or_insert_with(|| number(1));
            upper_bound.get_or_insert_with(|| number(i32::MAX));
        }
    }
}

fn is_member(access: &AccessExpr) -> bool {
    matches!(access, AccessExpr::Subscript(Subscript::Index { index }) if is_string(index))
}

/// A subscript that counts from the beginning: what is less than one is before it, not from the end.
fn from_one(access: &AccessExpr) -> AccessExpr {
    let wrapped = |name: &str, bound: &Expr| match bound {
        Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if digits != "0") => bound.clone(),
        bound => call(name, vec![bound.clone()]),
    };
    AccessExpr::Subscript(match access {
        AccessExpr::Subscript(Subscript::Index { index }) => {
            Subscript::Index { index: wrapped("subscript:index", index) }
        }
        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => Subscript::Slice {
            lower_bound: lower_bound.as_ref().map(|bound| wrapped("subscript:lower", bound)),
            upper_bound: upper_bound.as_ref().map(|bound| wrapped("subscript:upper", bound)),
            stride: None,
        },
        other => return other.clone(),
    })
}

/// The type of a whole number that is a decimal.
fn whole_number() -> SqlType {
    SqlType::Decimal(sqlparser::ast::ExactNumberInfo::PrecisionAndScale(38, 0))
}

/// `DISTINCT ON (1)` is by the first output column.
fn name_position(key: &mut Expr, outputs: &[SelectItem]) {
    if let Expr::Value(value) = &*key
        && let Value::Number(digits, _) = &value.value
        && let Some(at) = digits.parse::<usize>().ok().and_then(|at| at.checked_sub(1))
        && let Some(SelectItem::UnnamedExpr(output) | SelectItem::ExprWithAlias { expr: output, .. }) = outputs.get(at)
    {
        *key = output.clone();
    }
}

/// `nextval('s'::regclass)` takes the name: the number that the cast gives is none.
fn name_sequence(expression: &mut Expr) {
    let Expr::Function(function) = expression else { return };
    let is_sequence = ["nextval", "currval", "setval"].iter().any(|name| is_called(function, name));
    if is_sequence
        && let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(sequence))) = list.args.first_mut()
        && let Expr::Cast { expr, data_type, .. } = sequence
        && is_string(expr)
        && data_type.to_string().eq_ignore_ascii_case("regclass")
    {
        *sequence = (**expr).clone();
    }
}

/// DataFusion plans `EXISTS` in conditions only.
fn count_existing(select: &mut Select) {
    for item in &mut select.projection {
        // `EXISTS` gives its name to the column.
        if let SelectItem::UnnamedExpr(expression @ Expr::Exists { .. }) = item {
            let alias = Ident::with_quote('"', output_name(expression));
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
        change_each(item, |expression| {
            if let Expr::Exists { subquery, negated } = expression
                && let Some(count) = correlated::exists(subquery, *negated)
            {
                *expression = count;
            }
        });
    }
}

/// Parts of a query that DataFusion's planner would pass over in silence.
fn refuse_ignored(query: &Query) -> Result<()> {
    if !query.locks.is_empty() {
        return Err(Error::unsupported("FOR UPDATE or FOR SHARE here"));
    }
    if matches!(&*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_)) {
        return Err(Error::unsupported("a statement that changes rows here"));
    }
    if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
        return Err(Error::unsupported("this clause of a query"));
    }
    if let SetExpr::Select(select) = &*query.body
        && select.into.is_some()
    {
        return Err(Error::unsupported("SELECT INTO"));
    }
    Ok(())
}

/// What to plan instead of an expression with a subquery, before what is in it is looked at.
fn instead_of_subquery(expression: &Expr) -> Result<Option<Expr>> {
    let is_in = |left: &Expr, right: &Expr, negated: bool| match right {
        Expr::Subquery(subquery) => {
            Some(Expr::InSubquery { expr: Box::new(left.clone()), subquery: subquery.clone(), negated })
        }
        _ => None,
    };
    Ok(match expression {
        // DataFusion's planner loses the comparison of ANY and ALL with a subquery.
        Expr::AnyOp { left, compare_op, right, is_some } if let Expr::Subquery(subquery) = &**right => {
            match compare_op {
                BinaryOperator::Eq => is_in(left, right, false),
                // Where aggregates are there is no other query to be in.
                _ if correlated::aggregates(&**left) => Some(Expr::AnyOp {
                    left: left.clone(),
                    compare_op: compare_op.clone(),
                    right: Box::new(array_of(subquery)),
                    is_some: *is_some,
                }),
                op => membership::any_of(left, op, subquery),
            }
        }
        Expr::AllOp { left, compare_op, right } if let Expr::Subquery(subquery) = &**right => match compare_op {
            BinaryOperator::NotEq => is_in(left, right, true),
            _ if correlated::aggregates(&**left) => Some(Expr::AllOp {
                left: left.clone(),
                compare_op: compare_op.clone(),
                right: Box::new(array_of(subquery)),
            }),
            op => membership::all_of(left, op, subquery),
        },
        Expr::Subquery(subquery) => correlated::scalar(subquery),
        Expr::InSubquery { expr, subquery, negated } => {
            membership::row_of(expr).and_then(|row| membership::row_in_or_unknown(&row, subquery, *negated))
        }
        // An aggregate without groups is one row, whatever it is of.
        Expr::Exists { .. } => exists_anyway(expression),
        Expr::Function(function) if is_called(function, "array") => match &function.args {
            FunctionArguments::Subquery(subquery) if !catalog_forms::is_empty(subquery) => correlated::array(subquery),
            _ => None,
        },
        _ => None,
    })
}

/// `ARRAY(SELECT ...)`.
fn array_of(subquery: &Query) -> Expr {
    let mut array = call("array", Vec::new());
    if let Expr::Function(function) = &mut array {
        function.args = FunctionArguments::Subquery(Box::new(subquery.clone()));
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("array"))]);
    }
    array
}

fn exists_anyway(expression: &Expr) -> Option<Expr> {
    let Expr::Exists { subquery, negated } = expression else { return None };
    let counted = correlated::exists(subquery, *negated)?;
    matches!(counted, Expr::Value(_)).then_some(counted)
}

/// Rows that have to be among those of a subquery.
fn require_memberships(condition: &mut Expr) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            require_memberships(left);
            require_memberships(right);
        }
        Expr::Nested(inner) => require_memberships(inner),
        Expr::InSubquery { expr, subquery, negated: false } => {
            if let Some(instead) = membership::row_of(expr).and_then(|row| membership::row_in(&row, subquery)) {
                *condition = instead;
            }
        }
        _ => {}
    }
}

fn reword(expression: &Expr, of_catalog: bool) -> Result<Option<Expr>> {
    if let Some(instead) = catalog_forms::reword(expression, of_catalog)? {
        return Ok(Some(instead));
    }
    if let Some(instead) = rows::reword(expression)? {
        return Ok(Some(instead));
    }
    Ok(match expression {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            Some(cast((**expr).clone(), data_type)?)
        }
        Expr::TypedString(typed) => Some(cast(Expr::Value(typed.value.clone()), &typed.data_type)?),
        Expr::Interval(interval) => {
            let Expr::Value(value) = &*interval.value else { return Err(Error::unsupported("this form of INTERVAL")) };
            let unit = interval.leading_field.as_ref().map_or(String::new(), |field| format!(" {field}"));
            let text = match &value.value {
                Value::SingleQuotedString(text) | Value::Number(text, _) => format!("{text}{unit}"),
                _ => return Err(Error::unsupported("this form of INTERVAL")),
            };
            Some(cast(string_literal(text), &SqlType::Interval { fields: None, precision: None })?)
        }
        Expr::Extract { field, expr, .. } if renamed::is_own_field(&field.to_string()) => {
            let field = field.to_string().to_lowercase();
            let name = match field.as_str() {
                "second" | "milliseconds" | "epoch" => "extract_fraction",
                _ => "extract_whole",
            };
            let part = call(name, vec![string_literal(field), (**expr).clone()]);
            Some(if name == "extract_whole" { cast(part, &whole_number())? } else { part })
        }
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().trim_matches('\'').to_lowercase();
            let part = call("date_part", vec![string_literal(field), (**expr).clone()]);
            Some(cast(part, &whole_number())?)
        }
        // They need no parentheses, and no column can be called so.
        Expr::Identifier(name)
            if name.quote_style.is_none()
                && ["current_schema", "current_role"].iter().any(|word| name.value.eq_ignore_ascii_case(word)) =>
        {
            Some(call(&name.value.to_lowercase(), Vec::new()))
        }
        Expr::Function(function) if is_called(function, "localtime") => {
            let time = SqlType::Time(None, sqlparser::ast::TimezoneInfo::None);
            Some(cast(call("localtimestamp", Vec::new()), &time)?)
        }
        Expr::Array(array) if array.elem.iter().any(|element| matches!(element, Expr::Array(_))) => {
            return Err(many_dimensions());
        }
        // DataFusion's planner looks for columns of elements in the innermost query only.
        Expr::Array(array) if array.elem.iter().any(has_qualified) => Some(call("make_array", array.elem.clone())),
        // What a literal is, the others say.
        Expr::Array(array) if array.elem.iter().any(is_string) && !array.elem.iter().all(is_string) => {
            Some(call("make_array", array.elem.clone()))
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            Some(call("timezone", vec![(**time_zone).clone(), (**timestamp).clone()]))
        }
        // A comparison of its own finds the type of each end; what is compared has no second value.
        Expr::Between { expr, negated, low, high } if is_fixed(expr) => {
            let compare = |op: BinaryOperator, end: &Expr| Expr::BinaryOp {
                left: expr.clone(),
                op,
                right: Box::new(Expr::Nested(Box::new(end.clone()))),
            };
            let (above, below, both) = match negated {
                false => (BinaryOperator::GtEq, BinaryOperator::LtEq, BinaryOperator::And),
                true => (BinaryOperator::Lt, BinaryOperator::Gt, BinaryOperator::Or),
            };
            let (low, high) = (Box::new(compare(above, low)), Box::new(compare(below, high)));
            Some(Expr::Nested(Box::new(Expr::BinaryOp { left: low, op: both, right: high })))
        }
        // A comparison finds that a literal is none of the type, and what type a parameter is. DataFusion merges lists that one value is
        // compared with as if what is written differently were different, which is so of literals alone.
        Expr::InList { expr, list, negated }
            if !of_catalog
                && is_fixed(expr)
                && list.len() <= MAX_COMPARED
                && (list.iter().any(is_string) || !list.iter().all(is_plain_literal)) =>
        {
            let (op, joined) = match negated {
                false => (BinaryOperator::Eq, BinaryOperator::Or),
                true => (BinaryOperator::NotEq, BinaryOperator::And),
            };
            let compared =
                |item: &Expr| Expr::BinaryOp { left: expr.clone(), op: op.clone(), right: Box::new(item.clone()) };
            let all: Vec<Expr> = list.iter().map(compared).collect();
            (!all.is_empty()).then(|| Expr::Nested(Box::new(join_balanced(all, &joined))))
        }
        Expr::AnyOp { left, compare_op, right, .. } if !of_catalog || placeholder(right).is_some() => {
            Some(Expr::BinaryOp {
                left: left.clone(),
                op: quantified::any(&compare_op.to_string()),
                right: right.clone(),
            })
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } if !of_catalog => {
            let any = Expr::BinaryOp { left: left.clone(), op: quantified::any("="), right: right.clone() };
            Some(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(any))) })
        }
        Expr::AllOp { left, compare_op, right } if !of_catalog => Some(Expr::BinaryOp {
            left: left.clone(),
            op: quantified::all(&compare_op.to_string()),
            right: right.clone(),
        }),
        Expr::Like { negated, any: true, expr, pattern, escape_char: None } => {
            let op = if *negated { "NOT LIKE" } else { "LIKE" };
            Some(Expr::BinaryOp { left: expr.clone(), op: quantified::any(op), right: pattern.clone() })
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: None } if let Some(array) = all_of(pattern) => {
            let op = if *negated { "NOT LIKE" } else { "LIKE" };
            Some(Expr::BinaryOp { left: expr.clone(), op: quantified::all(op), right: Box::new(array) })
        }
        Expr::ILike { negated, any: false, expr, pattern, escape_char: None } if let Some(array) = all_of(pattern) => {
            let op = if *negated { "NOT ILIKE" } else { "ILIKE" };
            Some(Expr::BinaryOp { left: expr.clone(), op: quantified::all(op), right: Box::new(array) })
        }
        Expr::ILike { negated, any: true, expr, pattern, escape_char: None } => {
            let op = if *negated { "NOT ILIKE" } else { "ILIKE" };
            Some(Expr::BinaryOp { left: expr.clone(), op: quantified::any(op), right: pattern.clone() })
        }
        // A comparison finds that a literal is of the type of what it is compared with.
        Expr::Case { operand: Some(operand), conditions, else_result, case_token, end_token }
            if computes_alone(operand) && conditions.iter().any(|when| is_string(&when.condition)) =>
        {
            let nested = |expression: &Expr| Box::new(Expr::Nested(Box::new(expression.clone())));
            let compared = |when: &CaseWhen| CaseWhen {
                condition: Expr::BinaryOp {
                    left: nested(operand),
                    op: BinaryOperator::Eq,
                    right: nested(&when.condition),
                },
                result: when.result.clone(),
            };
            Some(Expr::Case {
                operand: None,
                conditions: conditions.iter().map(compared).collect(),
                else_result: else_result.clone(),
                case_token: case_token.clone(),
                end_token: end_token.clone(),
            })
        }
        Expr::Substring { expr, substring_from: Some(pattern), substring_for: None, .. } if is_string(pattern) => {
            Some(call("regexp:substring", vec![(**expr).clone(), (**pattern).clone()]))
        }
        // As calls, so that they may be of bytes.
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let one = || Box::new(Expr::Value(Value::Number("1".into(), false).into()));
            let from = substring_from.clone().unwrap_or_else(one);
            let args = [Some(expr), Some(&from), substring_for.as_ref()].into_iter().flatten();
            Some(call("substr", args.map(|arg| (**arg).clone()).collect()))
        }
        Expr::Position { expr, r#in } => Some(call("strpos", vec![(**r#in).clone(), (**expr).clone()])),
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let args = [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()].into_iter().flatten();
            Some(call("overlay", args.map(|arg| (**arg).clone()).collect()))
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            Some(similar::reword(*negated, expr, pattern, escape_char.as_ref())?)
        }
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => {
            let ones = cast(string_literal("-1".into()), &SqlType::SmallInt(None))?;
            let flipped =
                Expr::BinaryOp { left: expr.clone(), op: BinaryOperator::PGBitwiseXor, right: Box::new(ones) };
            Some(Expr::Nested(Box::new(flipped)))
        }
        // DataFusion's wraps around.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if !is_number(expr) && placeholder(expr).is_none() => {
            Some(call(math::NEGATIVE, vec![(**expr).clone()]))
        }
        // What a literal is, the other side says.
        Expr::IsDistinctFrom(left, right) if is_string(left) || is_string(right) => {
            Some(Expr::BinaryOp { left: left.clone(), op: operators::distinct("from"), right: right.clone() })
        }
        Expr::IsNotDistinctFrom(left, right) if is_string(left) || is_string(right) => {
            Some(Expr::BinaryOp { left: left.clone(), op: operators::distinct("not from"), right: right.clone() })
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            Some(call("starts_with", vec![(**left).clone(), (**right).clone()]))
        }
        // A literal that is true or false.
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right }
            if is_string(left) || is_string(right) =>
        {
            let side = |side: &Expr| match is_string(side) {
                true => cast(side.clone(), &SqlType::Bool).map(Box::new),
                false => Ok(Box::new(side.clone())),
            };
            Some(Expr::BinaryOp { left: side(left)?, op: op.clone(), right: side(right)? })
        }
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => Some(call("abs", vec![(**expr).clone()])),
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => Some(call("sqrt", vec![(**expr).clone()])),
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => Some(call("cbrt", vec![(**expr).clone()])),
        Expr::Function(function) => match renamed::function(function)? {
            Some(instead) => Some(instead),
            None => distinct_order::reword(function)
                .or_else(|| set_functions::each_of_json(function))
                .map_or_else(|| renamed::counting(function), |instead| Ok(Some(instead)))?,
        },
        // Only documents have members with names.
        Expr::CompoundFieldAccess { root, access_chain } if access_chain.iter().any(is_member) => {
            access_chain.iter().try_fold((**root).clone(), |document, access| match access {
                AccessExpr::Subscript(Subscript::Index { index }) => Some(Expr::Nested(Box::new(Expr::BinaryOp {
                    left: Box::new(document),
                    op: BinaryOperator::Arrow,
                    right: Box::new(index.clone()),
                }))),
                _ => None,
            })
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            let access_chain = access_chain.iter().map(from_one).collect();
            Some(Expr::CompoundFieldAccess { root: root.clone(), access_chain })
        }
        // DataFusion reads these as decimals, which most do not fit.
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) if digits.contains(['e', 'E']) => {
                let double = SqlType::DoublePrecision;
                Some(cast(string_literal(digits.clone()), &double)?)
            }
            _ => None,
        },
        _ => None,
    })
}

/// Arrays have one dimension.
pub fn many_dimensions() -> Error {
    Error::unsupported("an array of several dimensions")
}

/// The same aggregate under another name, and of something else if that is said: with its filter, order and window.
pub fn called(function: &Function, name: &str, of: Option<Expr>) -> Expr {
    let mut function = function.clone();
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    if let (Some(of), FunctionArguments::List(list)) = (of, &mut function.args) {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(of))];
    }
    Expr::Function(function)
}

fn has_qualified(expression: &Expr) -> bool {
    struct Qualified;
    impl Visitor for Qualified {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let is_column = matches!(expression, Expr::CompoundIdentifier(_));
            if is_column { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    expression.visit(&mut Qualified).is_break()
}

/// Whether a function is the one with a name.
pub fn is_called(function: &Function, name: &str) -> bool {
    function.name.to_string().eq_ignore_ascii_case(name)
}

/// Whether an expression is a literal that is a value of one type wherever it stands: not NULL, and no number with a point, which may
/// become a floating one.
fn is_plain_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.bytes().all(|byte| byte.is_ascii_digit()),
            Value::Null | Value::Placeholder(_) => false,
            _ => true,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } | Expr::Nested(expr) => is_plain_literal(expr),
        Expr::TypedString(_) => true,
        // What stands for a cast, also of a parameter.
        Expr::Function(function) => {
            function.name.to_string().trim_matches('"').starts_with("cast:") && is_cast_of_string(function)
        }
        _ => false,
    }
}

fn is_cast_of_string(function: &sqlparser::ast::Function) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    matches!(&list.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] if is_string(argument))
}

/// The array of `ALL (array)`, which reads like a call.
fn all_of(pattern: &Expr) -> Option<Expr> {
    let Expr::Function(function) = pattern else { return None };
    match &function.args {
        FunctionArguments::List(list) if is_called(function, "all") => match &list.args[..] {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(array.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression is a number, perhaps with a sign.
fn is_number(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => is_number(inner),
        _ => false,
    }
}

pub fn is_string(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// Whether an expression is of columns, literals and operators alone, so that computing it twice gives the same.
pub fn computes_alone(expression: &Expr) -> bool {
    match expression {
        Expr::BinaryOp { left, right, .. } => computes_alone(left) && computes_alone(right),
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) | Expr::IsNull(expr) | Expr::IsNotNull(expr) => {
            computes_alone(expr)
        }
        other => is_fixed(other),
    }
}

/// Whether it does no harm, and costs nothing, to compute it twice.
fn is_fixed(expression: &Expr) -> bool {
    match expression {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => true,
        Expr::Nested(inner) => is_fixed(inner),
        // By now a cast is a call.
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) => {
            let is_cast =
                name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|name| name.value.starts_with("cast:"));
            is_cast
                && list
                    .args
                    .iter()
                    .all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) if is_fixed(arg)))
        }
        _ => false,
    }
}

/// A cast, as a call of keepsafe's own cast function.
pub fn cast(value: Expr, data_type: &SqlType) -> Result<Expr> {
    let name = data_type.to_string();
    // Types that somebody made are looked for when the call is planned.
    let to = resolve(data_type, &|_| Ok(ColumnType::Text))?;
    let value = if is_day_or_time(&to) { times::special(&value).unwrap_or(value) } else { value };
    let cast = call(&format!("cast:{name}"), vec![value]);
    Ok(match time_precision(data_type) {
        None => cast,
        Some(digits) => {
            let digits = Expr::Value(Value::Number(digits.to_string(), false).into());
            call(times::ROUNDED, vec![cast, digits])
        }
    })
}

fn is_day_or_time(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz)
}

/// A string.
pub fn string_literal(text: String) -> Expr {
    Expr::Value(Value::SingleQuotedString(text).into())
}

/// A function call.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A name as it is folded.
pub fn normalized(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// `t.*` of `FROM schema.t` is `schema.t.*` to DataFusion.
fn qualify_wildcards(select: &mut Select) {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let unaliased = factors.filter_map(|factor| match factor {
        TableFactor::Table { name, alias: None, args: None, .. } if name.0.len() > 1 => Some(name),
        _ => None,
    });
    let full: Vec<ObjectName> = unaliased.cloned().collect();
    let last = |name: &ObjectName| name.0.last().and_then(ObjectNamePart::as_ident).map(normalized);
    for item in &mut select.projection {
        if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
            && name.0.len() == 1
            && let Some(found) = full.iter().find(|found| last(found) == last(name))
        {
            *name = found.clone();
        }
    }
}

/// Whether an expression names a column.
pub fn has_column<T: Visit>(tree: &T) -> bool {
    let is_column = |part: &Expr| match part {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    visit_expressions(tree, is_column).is_break()
}

/// Whether an expression contains a query.
pub fn has_subquery<T: Visit>(tree: &T) -> bool {
    struct Subquery;
    impl Visitor for Subquery {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    tree.visit(&mut Subquery).is_break()
}

/// Whether a query names a column.
pub fn mentions(query: &Query, column: &str) -> bool {
    struct Mentions<'a>(&'a str);
    impl Visitor for Mentions<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let found = match expression {
                Expr::Identifier(ident) => normalized(ident) == self.0,
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|part| normalized(part) == self.0),
                _ => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    query.visit(&mut Mentions(column)).is_break()
}
