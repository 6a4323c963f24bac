//! Literals whose type is that of what is beside them: `CASE WHEN c THEN tags ELSE '{}' END` and `coalesce(tags, '{}')` are arrays,
//! `greatest(price, '2.45')` is a decimal with two digits at least, `least(age, '1 day')` an interval.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::super::time_zone::TimeZone;
use super::operators::adopt;

type DfResult<T> = datafusion::error::Result<T>;

/// Reads such literals.
pub fn adopt_literals(plan: LogicalPlan, zone: TimeZone) -> DfResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let settled = expression.transform_up(|part| settled(part, &schema, zone))?;
            Ok(settled.update_data(|expression| name.restore(expression)))
        })?;
        changed.map_data(|node| node.recompute_schema())
    })?;
    Ok(changed.data)
}

fn settled(part: Expr, schema: &DFSchema, zone: TimeZone) -> DfResult<Transformed<Expr>> {
    match part {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| &**result).chain(case.else_expr.as_deref());
            let Some(typed) = typed_among(results, schema) else { return Ok(Transformed::no(Expr::Case(case))) };
            let Case { expr, when_then_expr, else_expr } = case;
            let each = |(when, then): (Box<Expr>, Box<Expr>)| Ok((when, Box::new(adopt(*then, &typed, zone)?)));
            let when_then_expr = when_then_expr.into_iter().map(each).collect::<DfResult<_>>()?;
            let else_expr = else_expr.map(|other| adopt(*other, &typed, zone).map(Box::new)).transpose()?;
            Ok(Transformed::yes(Expr::Case(Case { expr, when_then_expr, else_expr })))
        }
        Expr::ScalarFunction(mut call) if ["coalesce", "nullif", "greatest", "least"].contains(&call.name()) => {
            let Some(typed) = typed_among(call.args.iter(), schema) else {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            };
            call.args = call.args.into_iter().map(|arg| adopt(arg, &typed, zone)).collect::<DfResult<_>>()?;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The first type of those that DataFusion does not read literals as, or not with all digits, if a literal is beside it.
fn typed_among<'a>(parts: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) -> Option<FieldRef> {
    let is_literal = |part: &Expr| matches!(part, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
    if !parts.clone().any(is_literal) {
        return None;
    }
    let mut fields = parts.filter_map(|part| part.to_field(schema).ok().map(|(_, field)| Arc::clone(&field)));
    fields
        .find(|field| matches!(field.data_type(), DataType::List(_) | DataType::Decimal128(..) | DataType::Interval(_)))
}
