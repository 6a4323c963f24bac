//! The sides of outer joins that may be made up of NULLs: what holds of all their rows below the join does not hold above it.
//!
//! DataFusion takes a column that a filter keeps at one value for constant above an outer join, too, and leaves it out of orders and partitions. A plain
//! step between the two says nothing of its rows. Nor are its filters pushed into joins once columns are numbers: it takes one side's for the other's.

use std::any::Any;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};

type DfResult<T> = datafusion::error::Result<T>;

/// DataFusion's rules about physical plans, without those that are wrong, and after one more.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let theirs = PhysicalOptimizer::new().rules.into_iter();
    let theirs = theirs.filter(|rule| !rule.name().starts_with("FilterPushdown"));
    std::iter::once(Arc::new(NullableSides) as _).chain(theirs).collect()
}

/// Puts the step between.
#[derive(Debug)]
struct NullableSides;

impl PhysicalOptimizerRule for NullableSides {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let Some(join_type) = join_type(&*node) else { return Ok(Transformed::no(node)) };
            let nullable = match join_type {
                JoinType::Left => [false, true],
                JoinType::Right => [true, false],
                JoinType::Full => [true, true],
                _ => return Ok(Transformed::no(node)),
            };
            let children = node.children().into_iter().cloned().zip(nullable);
            let children = children.map(|(child, nullable)| if nullable { Plain::over(child) } else { child });
            let children = children.collect();
            replace_children_if_necessary(node, children).map(Transformed::yes)
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "nullable_sides"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn join_type(node: &dyn ExecutionPlan) -> Option<JoinType> {
    let node = node as &dyn Any;
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    node.downcast_ref::<SortMergeJoinExec>().map(|join| join.join_type())
}

/// Rows as they are.
#[derive(Debug)]
struct Plain {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Plain {
    fn over(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let below = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            below.partitioning.clone(),
            below.emission_type,
            below.boundedness,
        );
        Arc::new(Plain { input, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Plain {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("NullableSide")
    }
}

impl ExecutionPlan for Plain {
    fn name(&self) -> &str {
        "NullableSide"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Plain::over(children.into_iter().next().unwrap_or_else(|| self.input.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
