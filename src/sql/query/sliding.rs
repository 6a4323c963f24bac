//! Aggregates over a frame whose beginning moves, of those that cannot forget what they have seen: what is in the frame is kept, and
//! aggregated anew for each row.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

type DfResult<T> = datafusion::error::Result<T>;

/// The accumulator of an aggregate over such a frame.
pub fn accumulator(aggregate: &Arc<AggregateUDF>, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
    let call = Call {
        aggregate: aggregate.clone(),
        return_field: args.return_field.clone(),
        schema: args.schema.clone(),
        ignore_nulls: args.ignore_nulls,
        order_bys: args.order_bys.to_vec(),
        is_reversed: args.is_reversed,
        name: args.name.to_string(),
        is_distinct: args.is_distinct,
        exprs: args.exprs.to_vec(),
        expr_fields: args.expr_fields.to_vec(),
    };
    let theirs = aggregate.create_sliding_accumulator(args)?;
    Ok(if theirs.supports_retract_batch() { theirs } else { Box::new(Sliding { call, rows: VecDeque::new() }) })
}

/// What an accumulator is made from.
#[derive(Debug)]
struct Call {
    aggregate: Arc<AggregateUDF>,
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Call {
    fn accumulator(&self) -> DfResult<Box<dyn Accumulator>> {
        self.aggregate.accumulator(AccumulatorArgs {
            return_field: self.return_field.clone(),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        })
    }
}

#[derive(Debug)]
struct Sliding {
    call: Call,
    /// The arguments of the frame's rows.
    rows: VecDeque<Vec<ScalarValue>>,
}

impl Sliding {
    fn whole(&self) -> DfResult<Box<dyn Accumulator>> {
        let mut accumulator = self.call.accumulator()?;
        let width = self.rows.front().map_or(0, Vec::len);
        let column = |at: usize| ScalarValue::iter_to_array(self.rows.iter().map(|row| row[at].clone()));
        let columns = (0..width).map(column).collect::<DfResult<Vec<ArrayRef>>>()?;
        if !columns.is_empty() {
            accumulator.update_batch(&columns)?;
        }
        Ok(accumulator)
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let rows = values.first().map_or(0, |column| column.len());
        for row in 0..rows {
            let arguments = values.iter().map(|column| ScalarValue::try_from_array(column, row));
            self.rows.push_back(arguments.collect::<DfResult<_>>()?);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let gone = values.first().map_or(0, |column| column.len());
        self.rows.drain(..gone.min(self.rows.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.whole()?.evaluate()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.whole()?.state()
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DfResult<()> {
        Err(super::super::error::Error::internal("a window is not computed in parts").into())
    }

    fn size(&self) -> usize {
        let values = self.rows.iter().flatten().map(ScalarValue::size);
        size_of_val(self) + values.sum::<usize>()
    }
}
