//! Values in the place of columns of a query outside.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{Exists, FieldMetadata, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

type DfResult<T> = datafusion::error::Result<T>;

/// The values of columns.
pub type Values = HashMap<Column, ScalarValue>;

/// The columns that a plan looks at in queries outside of it, in the order in which they are met.
pub fn outer_columns(plan: &LogicalPlan) -> DfResult<Vec<(Column, FieldRef)>> {
    let mut found: Vec<(Column, FieldRef)> = Vec::new();
    collect(plan, &[], &mut found)?;
    Ok(found)
}

/// What queries in between have of their own is not outside.
fn collect(plan: &LogicalPlan, between: &[DFSchema], found: &mut Vec<(Column, FieldRef)>) -> DfResult<()> {
    plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::OuterReferenceColumn(field, column) = part
                    && !between.iter().any(|schema| schema.has_column(column))
                    && found.iter().all(|(known, _)| known != column)
                {
                    found.push((column.clone(), field.clone()));
                }
                if let Some(subquery) = subquery_of(part) {
                    let around = [between, &[merge_schema(&node.inputs())]].concat();
                    collect(&subquery.subquery, &around, found)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// The subquery that an expression is.
pub fn subquery_of(expression: &Expr) -> Option<&Subquery> {
    match expression {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        _ => None,
    }
}

/// The plan for some values of the columns outside.
pub fn substitute(plan: LogicalPlan, values: &Values) -> DfResult<LogicalPlan> {
    let substituted = plan.transform_down(|node| {
        let inputs = node.inputs();
        let own = merge_schema(&inputs);
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let saved = names.save(&expression);
            let substituted = expression.transform_down(|part| substitute_in(part, values, &own))?;
            Ok(substituted.update_data(|expression| saved.restore(expression)))
        })
    })?;
    Ok(substituted.data)
}

fn substitute_in(expression: Expr, values: &Values, own: &DFSchema) -> DfResult<Transformed<Expr>> {
    let inside = |subquery: Subquery| -> DfResult<Subquery> {
        let mut visible = values.clone();
        visible.retain(|column, _| !own.has_column(column));
        let plan = substitute(subquery.subquery.as_ref().clone(), &visible)?;
        let is_left =
            |column: &Expr| !matches!(column, Expr::OuterReferenceColumn(_, column) if visible.contains_key(column));
        let outer_ref_columns = subquery.outer_ref_columns.into_iter().filter(is_left).collect();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    };
    Ok(match expression {
        Expr::OuterReferenceColumn(field, column) => match values.get(&column) {
            Some(value) => {
                let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.metadata().clone()));
                Transformed::yes(Expr::Literal(value.clone(), metadata))
            }
            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        },
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(inside(subquery)?)),
        Expr::Exists(Exists { subquery, negated }) => {
            Transformed::yes(Expr::Exists(Exists { subquery: inside(subquery)?, negated }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: inside(subquery)?, negated }))
        }
        other => Transformed::no(other),
    })
}
