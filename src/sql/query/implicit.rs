//! The casts that DataFusion puts in by itself, as PostgreSQL makes them.
//!
//! Between an instant and a local time there is the session's time zone, and text is what PostgreSQL writes: `'x' || 1.5e20`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::super::time_zone::TimeZone;
use super::super::types::{arrow_type, from_arrow};
use super::functions::cast_to;
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// Puts keepsafe's own casts in the place of those that mean something else.
#[derive(Debug)]
pub struct ImplicitCasts {
    /// The session's.
    pub zone: TimeZone,
}

impl AnalyzerRule for ImplicitCasts {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let replaced = plan.transform_up_with_subqueries(|plan| {
            let inputs = plan.inputs();
            let schema = match inputs.is_empty() {
                true => plan.schema().as_ref().clone(),
                false => merge_schema(&inputs),
            };
            let names = NamePreserver::new(&plan);
            let replaced = plan.map_expressions(|expression| {
                let saved = names.save(&expression);
                Ok(self.replace(expression, &schema)?.update_data(|expression| saved.restore(expression)))
            })?;
            if replaced.transformed { replaced.map_data(LogicalPlan::recompute_schema) } else { Ok(replaced) }
        })?;
        Ok(replaced.data)
    }

    fn name(&self) -> &str {
        "implicit_casts"
    }
}

impl ImplicitCasts {
    /// The same in an expression.
    pub fn replace(&self, expression: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
        expression.transform_up(|expression| {
            let Expr::Cast(cast) = &expression else { return Ok(Transformed::no(expression)) };
            let Ok(from) = cast.expr.get_type(schema) else { return Ok(Transformed::no(expression)) };
            let Some(to) = self.meant(&from, cast.field.data_type()) else { return Ok(Transformed::no(expression)) };
            let wanted = cast.field.data_type().clone();
            let is_whole = arrow_type(&to) == wanted;
            let call = cast_to(to, self.zone).call(vec![cast.expr.as_ref().clone()]);
            Ok(Transformed::yes(if is_whole { call } else { Expr::Cast(Cast::new(Box::new(call), wanted)) }))
        })
    }

    /// The type that a cast of PostgreSQL's goes to, where DataFusion's cast would give another value.
    fn meant(&self, from: &DataType, to: &DataType) -> Option<ColumnType> {
        let is_local = |data_type: &DataType| {
            matches!(data_type, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64)
        };
        let is_instant = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
        let is_written_otherwise = |data_type: &DataType| {
            let is_number = data_type.is_floating() || matches!(data_type, DataType::Decimal128(..));
            is_number || is_local(data_type) || is_instant(data_type) || matches!(data_type, DataType::Interval(_))
        };
        match (from, to) {
            (from, to) if to.is_string() && is_written_otherwise(from) => Some(ColumnType::Text),
            (from, to) if is_instant(from) && is_local(to) || is_local(from) && is_instant(to) => Some(from_arrow(to)),
            (from, to) if from.is_string() && is_instant(to) => Some(ColumnType::TimestampTz),
            _ => None,
        }
    }
}
