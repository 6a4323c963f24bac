//! `USING` of outer joins that keep the right side: DataFusion shows the left side's column, which is NULL there.
//!
//! `SELECT k FROM x FULL JOIN y USING (k)` becomes `SELECT coalesce(x.k, y.k) AS k FROM x FULL JOIN y ON x.k = y.k`.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, SelectItem,
    SetExpr, TableWithJoins, VisitMut, VisitorMut,
};

use super::super::error::{Error, Result};
use super::lateral::called;
use super::rewrite::{call, join_balanced, normalized};

/// Rewords them in a query, not in those inside of it.
pub fn reword(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(()) };
    let is_wild = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let mut merged = Vec::new();
    for joined in &mut select.from {
        if joined.joins.iter().any(keeps_right) {
            merged.append(&mut conditions(joined, is_wild)?);
        }
    }
    if merged.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(column)) = item
            && merged.iter().any(|(name, _)| *name == normalized(column))
        {
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(column.clone()), alias: column.clone() };
        }
    }
    let _ = query.visit(&mut Merge { merged, depth: 0 });
    Ok(())
}

fn constraint(join: &Join) -> Option<&JoinConstraint> {
    match &join.join_operator {
        JoinOperator::Right(on) | JoinOperator::RightOuter(on) | JoinOperator::FullOuter(on) => Some(on),
        _ => None,
    }
}

fn keeps_right(join: &Join) -> bool {
    matches!(constraint(join), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// Makes conditions of the columns; what stands for each of them.
fn conditions(joined: &mut TableWithJoins, is_wild: bool) -> Result<Vec<(String, Expr)>> {
    let refused = |what: &str| Err(Error::unsupported(format!("RIGHT or FULL JOIN {what}")).hint("Say ON a.k = b.k."));
    let [join] = &mut joined.joins[..] else { return refused("... USING beside other joins") };
    if is_wild {
        return refused("... USING with SELECT *");
    }
    let (Some(left), Some(right)) = (called(&joined.relation), called(&join.relation)) else {
        return refused("... USING of what has no name");
    };
    let is_full = matches!(join.join_operator, JoinOperator::FullOuter(_));
    let (JoinOperator::Right(on) | JoinOperator::RightOuter(on) | JoinOperator::FullOuter(on)) =
        &mut join.join_operator
    else {
        return Ok(Vec::new());
    };
    let JoinConstraint::Using(names) = on else { return refused("with NATURAL") };
    let column =
        |table: &str, name: &Ident| Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), name.clone()]);
    let (mut merged, mut equal) = (Vec::new(), Vec::new());
    for name in names.iter().filter_map(|ObjectName(parts)| parts.last().and_then(ObjectNamePart::as_ident)) {
        let (left, right) = (column(&left, name), column(&right, name));
        let op = BinaryOperator::Eq;
        equal.push(Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right.clone()) });
        merged.push((normalized(name), if is_full { call("coalesce", vec![left, right]) } else { right }));
    }
    *on = JoinConstraint::On(join_balanced(equal, &BinaryOperator::And));
    Ok(merged)
}

struct Merge {
    merged: Vec<(String, Expr)>,
    depth: usize,
}

impl VisitorMut for Merge {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.depth == 1
            && let Expr::Identifier(column) = &*expression
            && let Some((_, value)) = self.merged.iter().find(|(name, _)| *name == normalized(column))
        {
            *expression = value.clone();
        }
        ControlFlow::Continue(())
    }
}
