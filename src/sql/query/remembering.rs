//! `min`, `max` and `array_agg`, whose results have the SQL type of what they look at, or are arrays of it: DataFusion's forget it. These
//! and a few more also work over frames that slide ([`super::sliding`]).

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, StatisticsArgs,
};

use super::super::types::{anonymous_field, of_field};
use super::sliding;
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// The same aggregate with what DataFusion's lacks, if it is one of them.
pub fn remembering(aggregate: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match aggregate.name() {
        "min" | "max" | "array_agg" | "string_agg" | "bool_and" | "bool_or" | "bit_and" | "bit_or" => {
            Arc::new(AggregateUDF::from(Remembering(aggregate)))
        }
        _ => aggregate,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Remembering(Arc<AggregateUDF>);

impl AggregateUDFImpl for Remembering {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.0.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> DfResult<FieldRef> {
        let field = self.0.return_field(fields)?;
        let [value] = fields else { return Ok(field) };
        if value.metadata().is_empty() {
            return Ok(field);
        }
        let metadata = match self.name() {
            "array_agg" => {
                let list = ColumnType::Array(Box::new(of_field(value)));
                anonymous_field(&list).metadata().clone()
            }
            "min" | "max" if value.data_type() == field.data_type() => value.metadata().clone(),
            _ => return Ok(field),
        };
        Ok(Arc::new(field.as_ref().clone().with_metadata(metadata)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        self.0.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.0.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        sliding::accumulator(&self.0, args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.0.reverse_udf() {
            ReversedUDAF::Reversed(reversed) => ReversedUDAF::Reversed(remembering(reversed)),
            other => other,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_ordered: bool) -> DfResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = self.0.as_ref().clone().with_beneficial_ordering(is_ordered)?;
        Ok(ordered.map(|ordered| Arc::new(Remembering(Arc::new(ordered))) as Arc<dyn AggregateUDFImpl>))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.0.supports_null_handling_clause()
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.0.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.0.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> DfResult<ScalarValue> {
        self.0.default_value(data_type)
    }
}
