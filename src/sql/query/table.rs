use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::super::error::Error;
use super::super::types;
use super::origin::Origin;
use super::scan::StoreScan;
use super::spans::{self, Access, Indexed};
use crate::catalog::{Column, ColumnId, TableDescriptor};
use crate::kv::Txn;

type DfResult<T> = datafusion::error::Result<T>;

/// A stored table as a query in one transaction sees it.
#[derive(Clone)]
pub struct StoreTable {
    table: Arc<TableDescriptor>,
    /// `None` in a plan that is kept: it has one again when it runs.
    txn: Option<Arc<dyn Txn>>,
    /// Positions, in the descriptor, of the columns the query sees.
    positions: Vec<usize>,
    schema: SchemaRef,
    constraints: Constraints,
    /// What hidden columns are computed from.
    computed: Vec<(ColumnId, Expr)>,
}

impl std::fmt::Debug for StoreTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreTable({})", self.table.identity.name)
    }
}

impl StoreTable {
    /// The table with those of its columns that are `seen`; `keyed` is whether a query may take its primary key for one.
    pub fn new(
        table: Arc<TableDescriptor>,
        txn: Arc<dyn Txn>,
        seen: impl Fn(&Column) -> bool,
        keyed: bool,
    ) -> StoreTable {
        let visible = |(position, column): (usize, &Column)| seen(column).then_some(position);
        let positions: Vec<usize> = table.columns.iter().enumerate().filter_map(visible).collect();
        let fields = positions.iter().map(|&position| {
            let column = &table.columns[position];
            types::field(&column.name, &column.column_type, column.nullable)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let key = table.primary.columns.iter().map(|part| {
            let position = table.position(part.column)?;
            positions.iter().position(|&seen| seen == position)
        });
        let constraints = match key.collect::<Option<Vec<usize>>>() {
            Some(key) if keyed => Constraints::new_unverified(vec![Constraint::PrimaryKey(key)]),
            _ => Constraints::default(),
        };
        StoreTable { table, txn: Some(txn), positions, schema, constraints, computed: Vec::new() }
    }

    /// The same with the expressions that its hidden columns are computed from, by which indexes on them are found.
    pub fn with_computed(self, computed: Vec<(ColumnId, Expr)>) -> StoreTable {
        StoreTable { computed, ..self }
    }

    /// The same as another transaction sees it, which has the same version of its descriptor; or as none does.
    pub fn in_txn(&self, txn: Option<Arc<dyn Txn>>) -> StoreTable {
        StoreTable { txn, ..self.clone() }
    }

    fn indexed(&self) -> Indexed<'_> {
        Indexed { table: &self.table, computed: &self.computed }
    }
}

impl StoreTable {
    /// The column at a position among those the query sees.
    pub fn origin(&self, position: usize) -> Option<Origin> {
        let column = &self.table.columns[*self.positions.get(position)?];
        Some(Origin { table: self.table.identity.id, column: column.id })
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let useful = |filter: &&Expr| match spans::constrains_index(&self.indexed(), filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(useful).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let projected: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.positions.len()).collect(),
        };
        let is_open = |part: &Expr| Ok(matches!(part, Expr::Placeholder(_)));
        if filters.iter().any(|filter| filter.exists(is_open).unwrap_or(true)) {
            return Err(Error::internal("a parameter has no value yet").into());
        }
        let schema = Arc::new(self.schema.project(&projected)?);
        let positions: Vec<usize> = projected.iter().map(|&index| self.positions[index]).collect();
        let access: Access = spans::choose(&self.indexed(), filters, &positions);
        // A filter that is applied after the scan may drop rows, so a limit holds only without one.
        let limit = if filters.is_empty() { limit } else { None };
        let txn = self.txn.clone().ok_or_else(|| Error::internal("a kept plan has no transaction"))?;
        Ok(Arc::new(StoreScan::new(self.table.clone(), txn, positions, schema, access, limit)))
    }
}
