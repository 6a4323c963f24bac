//! Rows among those of a subquery, as DataFusion can plan it: `(a, b) IN (SELECT x, y FROM o)`.
//!
//! becomes `EXISTS (SELECT 1 FROM (SELECT x, y FROM o) AS s (x, y) WHERE s.x = a AND s.y = b)`, which is all that a condition asks for. Elsewhere it
//! may also be that it is not known: if there is no such row, but one that may be it.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{BinaryOperator, CaseWhen, Expr, Query, SetExpr, UnaryOperator, Value};

use super::rows;
use crate::parser::sql_text;

/// The alias of the subquery.
const ROWS: &str = "rows:in";

/// Whether a row is one of a subquery's, for a condition that takes what is not known for false.
pub fn row_in(row: &[Expr], subquery: &Query) -> Option<Expr> {
    exists(row, &BinaryOperator::Eq, subquery, |equal| equal)
}

/// Whether a row is one of a subquery's; NULL if that is not known.
pub fn row_in_or_unknown(row: &[Expr], subquery: &Query, negated: bool) -> Option<Expr> {
    let found = exists(row, &BinaryOperator::Eq, subquery, |equal| equal)?;
    let unknown =
        exists(row, &BinaryOperator::Eq, subquery, |equal| Expr::IsNull(Box::new(Expr::Nested(Box::new(equal)))))?;
    Some(answer(found, unknown, !negated))
}

fn exists(row: &[Expr], op: &BinaryOperator, subquery: &Query, condition: impl Fn(Expr) -> Expr) -> Option<Expr> {
    let names: Vec<String> = (0..row.len()).map(|at| format!("\"{ROWS}\".\"in:{at}\"")).collect();
    let columns: Vec<String> = (0..row.len()).map(|at| format!("\"in:{at}\"")).collect();
    let text = format!("SELECT 1 FROM ({}) AS \"{ROWS}\" ({})", sql_text(subquery), columns.join(", "));
    let mut query = super::super::parse_query(&text).ok()?;
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let equal = names.iter().zip(row).map(|(name, value)| {
        let name = super::expression::parse(name).ok()?;
        let value = Box::new(Expr::Nested(Box::new(value.clone())));
        Some(Expr::BinaryOp { left: value, op: op.clone(), right: Box::new(name) })
    });
    let equal = equal.collect::<Option<Vec<Expr>>>()?;
    let both = |left, right| Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) };
    select.selection = Some(condition(equal.into_iter().reduce(both)?));
    Some(Expr::Exists { subquery: Box::new(query), negated: false })
}

/// Whether a value compares so with any of a subquery's; NULL if that is not known.
pub fn any_of(value: &Expr, op: &BinaryOperator, subquery: &Query) -> Option<Expr> {
    decided(value, op, subquery, false)
}

/// The same for all of them.
pub fn all_of(value: &Expr, op: &BinaryOperator, subquery: &Query) -> Option<Expr> {
    decided(value, op, subquery, true)
}

fn decided(value: &Expr, op: &BinaryOperator, subquery: &Query, by_false: bool) -> Option<Expr> {
    let nested = |inner: Expr| Box::new(Expr::Nested(Box::new(inner)));
    let row = std::slice::from_ref(value);
    let deciding = |compared: Expr| match by_false {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: nested(compared) },
        false => compared,
    };
    let found = exists(row, op, subquery, deciding)?;
    let unknown = exists(row, op, subquery, |compared| Expr::IsNull(nested(compared)))?;
    Some(answer(found, unknown, !by_false))
}

/// One thing if something is found, NULL if it may be there, the other if it is not.
fn answer(found: Expr, unknown: Expr, if_found: bool) -> Expr {
    let boolean = |value: bool| Expr::Value(Value::Boolean(value).into());
    let when = |condition: Expr, result: Expr| CaseWhen { condition, result };
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![when(found, boolean(if_found)), when(unknown, Expr::Value(Value::Null.into()))],
        else_result: Some(Box::new(boolean(!if_found))),
    }
}

/// The row that is looked for, if it is one.
pub fn row_of(expression: &Expr) -> Option<Vec<Expr>> {
    rows::parts(expression).filter(|parts| parts.len() > 1)
}
