//! The expressions of a query without those of queries inside of it, each of which is looked at by itself.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, VisitMut, VisitorMut};

/// Changes each, what it is made of before it.
pub fn change_each<T: VisitMut>(tree: &mut T, change: impl FnMut(&mut Expr)) {
    let _ = VisitMut::visit(tree, &mut Own { depth: 0, change });
}

struct Own<F> {
    /// How many queries deep it is.
    depth: usize,
    change: F,
}

impl<F: FnMut(&mut Expr)> VisitorMut for Own<F> {
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
        if self.depth == 0 {
            (self.change)(expression);
        }
        ControlFlow::Continue(())
    }
}
