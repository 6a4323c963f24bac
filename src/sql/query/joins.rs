//! `USING` as conditions: DataFusion takes the merged column of either side, where one may be NULL, and does not find it in `WHERE`.
//!
//! `SELECT k FROM x FULL JOIN y USING (k)` becomes `SELECT coalesce(x.k, y.k) AS k FROM x FULL JOIN y ON x.k = y.k`, and `*` becomes the merged
//! columns and then the others.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderByKind, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableWithJoins, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::super::error::{Error, Result};
use super::lateral::called;
use super::rewrite::{call, join_balanced, normalized};

/// Rewords them in a query, not in those inside of it.
pub fn reword(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(()) };
    let is_wild = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    let (mut merged, mut shown) = (Vec::new(), Some(Vec::new()));
    for joined in &mut select.from {
        let group = match joined.joins.iter().any(merges) {
            true => group(joined, is_wild)?,
            false => None,
        };
        let names = names(joined);
        let columns = |list: &mut Vec<SelectItem>, names: Vec<String>| {
            let excluded = |name: &String| group.iter().any(|group| group.names.contains(name));
            let hidden = group.as_ref().map_or(&[][..], |group| &group.columns);
            list.extend(names.iter().map(|name| all_of(name, if excluded(name) { hidden } else { &[] })));
        };
        if let (Some(shown), Some(names)) = (&mut shown, names) {
            if let Some(group) = &group {
                shown.extend(group.values().map(|(column, expr)| SelectItem::ExprWithAlias { expr, alias: column }));
            }
            columns(shown, names);
        } else {
            shown = None;
        }
        if let Some(group) = group {
            merged.extend(group.values().map(|(column, value)| (normalized(&column), value)));
        }
    }
    if merged.is_empty() {
        return Ok(());
    }
    let mut projection = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        match item {
            SelectItem::Wildcard(_) => match &shown {
                Some(shown) => projection.extend(shown.iter().cloned()),
                None => return Err(refused("* beside something in FROM that has no name")),
            },
            SelectItem::UnnamedExpr(Expr::Identifier(column))
                if merged.iter().any(|(name, _)| *name == normalized(&column)) =>
            {
                let expr = Expr::Identifier(column.clone());
                projection.push(SelectItem::ExprWithAlias { expr, alias: column });
            }
            other => projection.push(other),
        }
    }
    select.projection = projection;
    let outputs = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
        _ => None,
    });
    let outputs: Vec<String> = outputs.collect();
    let mut order = query.order_by.take();
    let _ = query.visit(&mut Merge { merged: merged.clone(), depth: 0 });
    if let Some(OrderByKind::Expressions(list)) = order.as_mut().map(|order| &mut order.kind) {
        // What is ordered by is an output column first.
        let is_output = |by: &Expr| matches!(by, Expr::Identifier(name) if outputs.contains(&normalized(name)));
        for by in list.iter_mut().filter(|by| !is_output(&by.expr)) {
            let _ = by.expr.visit(&mut Merge { merged: merged.clone(), depth: 1 });
        }
    }
    query.order_by = order;
    Ok(())
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("JOIN ... USING with {what}")).hint("Say ON a.k = b.k, and name the columns.")
}

fn constraint(join: &Join) -> Option<&JoinConstraint> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match &join.join_operator {
        Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on) | FullOuter(on) => Some(on),
        _ => None,
    }
}

/// Whether a join makes one of columns of the same name.
pub fn merges(join: &Join) -> bool {
    matches!(constraint(join), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// What is joined, by name.
fn names(joined: &TableWithJoins) -> Option<Vec<String>> {
    std::iter::once(&joined.relation).chain(joined.joins.iter().map(|join| &join.relation)).map(called).collect()
}

/// `name.*` without some columns.
fn all_of(name: &str, hidden: &[Ident]) -> SelectItem {
    let hidden: Vec<ObjectName> = hidden.iter().map(|column| ObjectName::from(vec![column.clone()])).collect();
    let options = WildcardAdditionalOptions {
        opt_exclude: (!hidden.is_empty()).then_some(ExcludeSelectItem::Multiple(hidden)),
        ..WildcardAdditionalOptions::default()
    };
    let name = ObjectName::from(vec![Ident::with_quote('"', name)]);
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

/// Relations whose columns of the same names are one.
struct Group {
    names: Vec<String>,
    columns: Vec<Ident>,
    /// Which of them has the values, or both.
    from: From,
}

#[derive(Clone, Copy, PartialEq)]
enum From {
    First,
    Second,
    Either,
}

impl Group {
    fn values(&self) -> impl Iterator<Item = (Ident, Expr)> + '_ {
        self.columns.iter().map(|column| {
            let of = |name: &String| Expr::CompoundIdentifier(vec![Ident::with_quote('"', name), column.clone()]);
            let value = match self.from {
                From::First => of(&self.names[0]),
                From::Second => of(&self.names[1]),
                From::Either => call("coalesce", self.names.iter().map(of).collect()),
            };
            (column.clone(), value)
        })
    }
}

/// Makes conditions of the columns: of the first join, and of those after it that say the same. `None` leaves it to DataFusion, which knows
/// the columns of what it joins, but not which of two columns has values.
fn group(joined: &mut TableWithJoins, is_wild: bool) -> Result<Option<Group>> {
    let from = match joined.joins.iter().filter(|join| merges(join)).map(|join| kept(&join.join_operator)).max() {
        Some(Side::Both) => From::Either,
        Some(Side::Right) => From::Second,
        _ => From::First,
    };
    let keeps_left =
        joined.joins.iter().filter(|join| merges(join)).any(|join| kept(&join.join_operator) == Side::Left);
    let is_alone = joined.joins.len() == 1;
    // Of an inner join, either column will do.
    let leave = |what: &str| match from == From::First && !(keeps_left && is_wild) {
        true => Ok(None),
        false => Err(refused(what)),
    };
    if from != From::First && !is_alone {
        return leave("RIGHT or FULL beside other joins");
    }
    let Some(names) = names(joined) else { return leave("what has no name") };
    let Some(JoinConstraint::Using(using)) = joined.joins.first().and_then(constraint) else {
        return leave("NATURAL, or after other joins");
    };
    let columns: Vec<Ident> =
        using.iter().filter_map(|ObjectName(parts)| parts.last().and_then(ObjectNamePart::as_ident).cloned()).collect();
    let using = using.clone();
    let is_other = |join: &Join| match constraint(join) {
        Some(JoinConstraint::Using(own)) => *own != using,
        Some(JoinConstraint::Natural) => true,
        _ => false,
    };
    if joined.joins.iter().any(is_other) {
        return leave("different columns, one after the other");
    }
    let mut group = Group { names: vec![names[0].clone()], columns, from };
    for (join, name) in joined.joins.iter_mut().zip(&names[1..]) {
        use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
        let (Join(on) | Inner(on) | Left(on) | LeftOuter(on) | Right(on) | RightOuter(on) | FullOuter(on)) =
            &mut join.join_operator
        else {
            continue;
        };
        if !matches!(on, JoinConstraint::Using(_)) {
            continue;
        }
        let column = |table: &String, name: &Ident| {
            Box::new(Expr::CompoundIdentifier(vec![Ident::with_quote('"', table), name.clone()]))
        };
        let equal = |key: &Ident| Expr::BinaryOp {
            left: column(&names[0], key),
            op: BinaryOperator::Eq,
            right: column(name, key),
        };
        let equal: Vec<Expr> = group.columns.iter().map(equal).collect();
        *on = JoinConstraint::On(join_balanced(equal, &BinaryOperator::And));
        group.names.push(name.clone());
    }
    Ok(Some(group))
}

/// Of which side a join keeps all rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Neither,
    Left,
    Right,
    Both,
}

fn kept(operator: &JoinOperator) -> Side {
    match operator {
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => Side::Left,
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Side::Right,
        JoinOperator::FullOuter(_) => Side::Both,
        _ => Side::Neither,
    }
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
