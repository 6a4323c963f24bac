//! Which column of which table a column of a result shows as it is: clients ask for it to write it back, or to know more of it.

use std::any::Any;

use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use super::super::introspection::{attnum, oid};
use super::table::StoreTable;
use crate::catalog::{ColumnId, DescriptorId};

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The table.
    pub table: DescriptorId,
    /// The column.
    pub column: ColumnId,
}

impl Origin {
    /// The table as `pg_class` numbers it.
    pub fn table_oid(&self) -> i32 {
        i32::try_from(oid(self.table)).unwrap_or(0)
    }

    /// The column as `pg_attribute` numbers it.
    pub fn column_number(&self) -> i16 {
        i16::try_from(attnum(self.column)).unwrap_or(0)
    }
}

/// Where the column at a position of a plan, not optimized, comes from.
pub fn of(plan: &LogicalPlan, index: usize) -> Option<Origin> {
    match plan {
        LogicalPlan::Projection(projection) => through(projection.expr.get(index)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => through(aggregate.group_expr.get(index)?, &aggregate.input),
        LogicalPlan::SubqueryAlias(alias) => of(&alias.input, index),
        LogicalPlan::Filter(filter) => of(&filter.input, index),
        LogicalPlan::Sort(sort) => of(&sort.input, index),
        LogicalPlan::Limit(limit) => of(&limit.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => of(input, index),
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => of(&window.input, index),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                _ if index < left => of(&join.left, index),
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => of(&join.right, index - left),
                _ => None,
            }
        }
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let table = (&*provider as &dyn Any).downcast_ref::<StoreTable>()?;
            let position = scan.projection.as_ref().map_or(Some(index), |seen| seen.get(index).copied())?;
            table.origin(position)
        }
        _ => None,
    }
}

fn through(expression: &Expr, input: &LogicalPlan) -> Option<Origin> {
    match expression {
        Expr::Alias(alias) => through(&alias.expr, input),
        Expr::Column(column) => of(input, input.schema().maybe_index_of_column(column)?),
        _ => None,
    }
}
