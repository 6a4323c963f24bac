//! Running the right side of a lateral join once for each row that differs in what it looks at.

use std::collections::HashMap;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use datafusion::arrow::compute::{cast, concat_batches, take};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::TryStreamExt;
use tokio::sync::mpsc::Sender;

use super::substitution::{Values, substitute};
use super::{Apply, optimize};
use crate::sql::arrays::only_value;
use crate::sql::time_zone::TimeZone;

type DfResult<T> = datafusion::error::Result<T>;

/// So many rows of the right side are kept for rows of the left one that look at the same.
const KEPT_ROWS: usize = 65_536;
/// Rows that are sent on at once.
const BATCH_ROWS: usize = 8_192;

/// `Apply`, ready to run.
#[derive(Clone, Debug)]
pub struct ApplyOperator {
    input: Arc<dyn ExecutionPlan>,
    inner: Arc<LogicalPlan>,
    columns: Vec<Column>,
    values: Vec<Arc<dyn PhysicalExpr>>,
    keeps_left: bool,
    zone: TimeZone,
    state: Arc<SessionState>,
    properties: Arc<PlanProperties>,
}

impl ApplyOperator {
    pub(super) fn new(
        apply: &Apply,
        input: Arc<dyn ExecutionPlan>,
        values: Vec<Arc<dyn PhysicalExpr>>,
        state: SessionState,
    ) -> ApplyOperator {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::new(apply.schema.as_arrow().clone())),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        ApplyOperator {
            input,
            inner: apply.inner.clone(),
            columns: apply.columns.clone(),
            values,
            keeps_left: apply.keeps_left,
            zone: apply.zone,
            state: Arc::new(state),
            properties: Arc::new(properties),
        }
    }

    async fn run(self, mut input: SendableRecordBatchStream, sender: Sender<DfResult<RecordBatch>>) -> DfResult<()> {
        let mut output = Output { operator: &self, sender, schema: self.schema(), pending: Vec::new(), rows: 0 };
        let mut kept: HashMap<Vec<ScalarValue>, Vec<RecordBatch>> = HashMap::new();
        let mut kept_rows = 0;
        while let Some(batch) = input.try_next().await? {
            let evaluate = |value: &Arc<dyn PhysicalExpr>| value.evaluate(&batch)?.into_array(batch.num_rows());
            let arrays = self.values.iter().map(evaluate).collect::<DfResult<Vec<ArrayRef>>>()?;
            for row in 0..batch.num_rows() {
                let value = |array: &ArrayRef| Ok(only_value(&array.slice(row, 1))?);
                let values = arrays.iter().map(value).collect::<DfResult<Vec<ScalarValue>>>()?;
                if let Some(partners) = kept.get(&values) {
                    output.join(&batch, row, partners).await?;
                    continue;
                }
                let mut partners = self.partners(&values).await?;
                let mut known = Some(Vec::new());
                let mut has_partner = false;
                while let Some(partner) = partners.try_next().await? {
                    has_partner |= partner.num_rows() > 0;
                    if partner.num_rows() == 0 {
                        continue;
                    }
                    output.join(&batch, row, std::slice::from_ref(&partner)).await?;
                    kept_rows += partner.num_rows();
                    match &mut known {
                        Some(known) if kept_rows <= KEPT_ROWS => known.push(partner),
                        _ => known = None,
                    }
                }
                if !has_partner {
                    output.join(&batch, row, &[]).await?;
                }
                kept_rows += 1;
                match known {
                    Some(known) if kept_rows <= KEPT_ROWS => drop(kept.insert(values, known)),
                    _ => {
                        kept.clear();
                        kept_rows = 0;
                    }
                }
            }
        }
        output.flush().await
    }

    /// The rows of the right side for some values.
    async fn partners(&self, values: &[ScalarValue]) -> DfResult<SendableRecordBatchStream> {
        let values: Values = self.columns.iter().cloned().zip(values.iter().cloned()).collect();
        let plan = optimize(&self.state, &substitute(self.inner.as_ref().clone(), &values)?, self.zone)?;
        let plan = self.state.query_planner().create_physical_plan(&plan, self.state.as_ref()).await?;
        execute_stream(plan, self.state.task_ctx())
    }
}

/// Joined rows on their way.
struct Output<'a> {
    operator: &'a ApplyOperator,
    sender: Sender<DfResult<RecordBatch>>,
    schema: SchemaRef,
    pending: Vec<RecordBatch>,
    rows: usize,
}

impl Output<'_> {
    /// A row of the left side with each of its partners; without any, if it stays then.
    async fn join(&mut self, left: &RecordBatch, row: usize, partners: &[RecordBatch]) -> DfResult<()> {
        for partner in partners {
            self.push(joined(&self.schema, left, row, Some(partner), partner.num_rows())?).await?;
        }
        if partners.is_empty() && self.operator.keeps_left {
            self.push(joined(&self.schema, left, row, None, 1)?).await?;
        }
        Ok(())
    }

    async fn push(&mut self, batch: RecordBatch) -> DfResult<()> {
        self.rows += batch.num_rows();
        self.pending.push(batch);
        if self.rows >= BATCH_ROWS { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> DfResult<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = concat_batches(&self.schema, &self.pending)?;
        (self.pending, self.rows) = (Vec::new(), 0);
        // Nobody listens any more: the end of the query comes with that.
        let _ = self.sender.send(Ok(batch)).await;
        Ok(())
    }
}

/// A row of the left side beside some of the right one, or beside NULLs.
fn joined(
    schema: &SchemaRef,
    left: &RecordBatch,
    row: usize,
    right: Option<&RecordBatch>,
    rows: usize,
) -> DfResult<RecordBatch> {
    let indices = UInt64Array::from(vec![row as u64; rows]);
    let mut columns = Vec::with_capacity(schema.fields().len());
    for array in left.columns() {
        columns.push(take(array, &indices, None)?);
    }
    for (at, field) in schema.fields()[left.num_columns()..].iter().enumerate() {
        columns.push(match right {
            None => new_null_array(field.data_type(), rows),
            Some(right) if right.column(at).data_type() == field.data_type() => right.column(at).clone(),
            Some(right) => cast(right.column(at), field.data_type())?,
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

impl DisplayAs for ApplyOperator {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        write!(f, "Apply: {}{}", columns.join(", "), if self.keeps_left { ", left" } else { "" })
    }
}

impl ExecutionPlan for ApplyOperator {
    fn name(&self) -> &str {
        "Apply"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// All rows of the left side, also of one that is in parts.
    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for value in &self.values {
            if visit(value)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(ApplyOperator { input, ..self.as_ref().clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let mut stream = RecordBatchReceiverStream::builder(self.schema(), 1);
        stream.spawn(self.clone().run(input, stream.tx()));
        Ok(stream.build())
    }
}
