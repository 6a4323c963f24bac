//! Reading rows out of the store, as DataFusion's leaf operator.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::super::arrays::ColumnBuilder;
use super::super::error::{Error, Result};
use super::spans::Access;
use crate::catalog::key::KeyReader;
use crate::catalog::row::RowReader;
use crate::catalog::{self, ColumnId, ColumnType, Datum, Index, IndexEntry, TableDescriptor, primary_key_of_entry};
use crate::kv::{Batch, Direction, Txn};

type DfResult<T> = datafusion::error::Result<T>;

/// A scan of some columns of a table.
#[derive(Clone)]
pub struct StoreScan {
    table: Arc<TableDescriptor>,
    txn: Arc<dyn Txn>,
    positions: Vec<usize>,
    schema: SchemaRef,
    access: Access,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl StoreScan {
    /// A scan that yields the columns at `positions`, which is what `schema` describes.
    pub fn new(
        table: Arc<TableDescriptor>,
        txn: Arc<dyn Txn>,
        positions: Vec<usize>,
        schema: SchemaRef,
        access: Access,
        limit: Option<usize>,
    ) -> StoreScan {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        StoreScan { table, txn, positions, schema, access, limit, properties: Arc::new(properties) }
    }

    fn batches(&self) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + use<> {
        let scan = self.clone();
        let spans = stream::iter(self.access.spans().to_vec());
        let stored = spans.flat_map(move |span| {
            let entries = scan.txn.scan(span, Direction::Forward, scan.limit).map_err(Error::from);
            match &scan.access {
                Access::Primary(_) | Access::Entries(..) => entries.boxed(),
                Access::Secondary(index, _) => {
                    let (table, txn, index) = (scan.table.clone(), scan.txn.clone(), index.clone());
                    entries.and_then(move |batch| fetch_rows(table.clone(), txn.clone(), index.clone(), batch)).boxed()
                }
            }
        });
        let scan = self.clone();
        stored.map(move |batch| {
            let decoder = RowDecoder::new(&scan.table, scan.access.entries_of(), &scan.positions)?;
            decoder.decode(&batch?, &scan.schema)
        })
    }
}

/// The rows that entries of a secondary index point to.
async fn fetch_rows(table: Arc<TableDescriptor>, txn: Arc<dyn Txn>, index: Index, entries: Batch) -> Result<Batch> {
    let mut rows = Batch::default();
    for entry in entries.iter() {
        let Some(value) = entry.value else { continue };
        let primary_key = primary_key_of_entry(&table, &index, entry.key, value)?;
        let row = txn.get(table.primary.space, primary_key).await?;
        let missing = || catalog::Error::corrupt(format!("index {} points to a row that is not there", index.name));
        let (row, _) = row.ok_or_else(missing)?;
        rows.push(primary_key, Some(&row), entry.time);
    }
    Ok(rows)
}

/// Decodes stored rows, or entries of an index that has all that is wanted of them, into columns.
pub struct RowDecoder<'a> {
    table: &'a TableDescriptor,
    entries_of: Option<&'a Index>,
    types: Vec<ColumnType>,
    /// For each column id, which output column it goes to.
    slots: Vec<Option<usize>>,
    missing: Vec<Datum<'static>>,
    reads_key: bool,
    reads_value: bool,
}

impl<'a> RowDecoder<'a> {
    /// A decoder for the columns at `positions`.
    pub fn new(
        table: &'a TableDescriptor,
        entries_of: Option<&'a Index>,
        positions: &[usize],
    ) -> Result<RowDecoder<'a>> {
        let mut slots = vec![None; table.next_column as usize + 1];
        let mut missing = Vec::with_capacity(positions.len());
        for (slot, &position) in positions.iter().enumerate() {
            let column = &table.columns[position];
            if let Some(place) = slots.get_mut(column.id.0 as usize) {
                *place = Some(slot);
            }
            missing.push(column.missing_value()?);
        }
        let in_key = |&position: &usize| table.in_primary_key(table.columns[position].id);
        let types = positions.iter().map(|&position| table.columns[position].column_type.clone()).collect();
        let (reads_key, reads_value) = (positions.iter().any(in_key), !positions.iter().all(in_key));
        Ok(RowDecoder { table, entries_of, types, slots, missing, reads_key, reads_value })
    }

    fn slot(&self, column: ColumnId) -> Option<usize> {
        self.slots.get(column.0 as usize).copied().flatten()
    }

    /// A batch of the rows in stored entries.
    pub fn decode(&self, entries: &Batch, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut builders: Vec<ColumnBuilder> = self.types.iter().map(ColumnBuilder::new).collect();
        let mut row: Vec<Datum<'_>> = Vec::with_capacity(self.types.len());
        let mut rows = 0;
        for entry in entries.iter() {
            let Some(value) = entry.value else { continue };
            row.clear();
            row.extend(self.missing.iter().cloned());
            let (primary_key, value) = match self.entries_of {
                None => (entry.key, Some(value)),
                Some(index) => {
                    let found = IndexEntry::read(self.table, index, entry.key, value, |column, datum| {
                        if let Some(slot) = self.slot(column) {
                            row[slot] = datum;
                        }
                    })?;
                    (found.primary_key, found.stored)
                }
            };
            if self.reads_key {
                let mut reader = KeyReader::new(primary_key);
                for part in &self.table.primary.columns {
                    let column = self
                        .table
                        .column(part.column)
                        .ok_or_else(|| catalog::Error::corrupt("a key column is missing"))?;
                    let datum = reader.next(&column.column_type, part.descending)?;
                    if let Some(slot) = self.slot(part.column) {
                        row[slot] = datum;
                    }
                }
            }
            if let Some(value) = value.filter(|_| self.reads_value) {
                let mut reader = RowReader::new(value)?;
                while let Some((column, datum)) = reader.next_column()? {
                    if let Some(slot) = self.slot(column) {
                        row[slot] = datum;
                    }
                }
            }
            for (builder, datum) in builders.iter_mut().zip(&row) {
                builder.push(datum)?;
            }
            rows += 1;
        }
        let columns = builders.into_iter().map(ColumnBuilder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }
}

impl std::fmt::Debug for StoreScan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoreScan({})", self.table.identity.name)
    }
}

impl DisplayAs for StoreScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = |spans: &[crate::kv::Span]| spans.iter().any(|span| span.start.is_empty() && span.end.is_none());
        let name = &self.table.identity.name;
        match &self.access {
            Access::Primary(spans) if whole(spans) => write!(f, "StoreScan: {name}, all rows"),
            Access::Primary(spans) => write!(f, "StoreScan: {name}, primary key, {} spans", spans.len()),
            Access::Secondary(index, spans) => {
                write!(f, "StoreScan: {name}, index {}, {} spans", index.name, spans.len())
            }
            Access::Entries(index, spans) => {
                write!(f, "StoreScan: {name}, index {} only, {} spans", index.name, spans.len())
            }
        }
    }
}

impl ExecutionPlan for StoreScan {
    fn name(&self) -> &str {
        "StoreScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let batches = self.batches().map_err(DataFusionError::from);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }
}
