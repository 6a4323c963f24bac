//! Keys that are grouped by twice, which a rule of DataFusion's optimizer counts differently than the plan: `GROUP BY a, a`.

use std::collections::HashSet;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

type DfResult<T> = datafusion::error::Result<T>;

/// Groups by each key once.
#[derive(Debug)]
pub struct GroupKeys;

impl AnalyzerRule for GroupKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(once)?.data)
    }

    fn name(&self) -> &str {
        "group_keys"
    }
}

fn once(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
    let mut seen = HashSet::new();
    let keys: Vec<Expr> = aggregate.group_expr.iter().filter(|key| seen.insert(*key)).cloned().collect();
    let is_set = matches!(keys[..], [Expr::GroupingSet(_)]);
    if keys.len() == aggregate.group_expr.len() || is_set {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, aggr_expr, .. } = aggregate;
    Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(input, keys, aggr_expr)?)))
}
