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
            Arc::new(AggregateUDF::from(Remembering { theirs: aggregate, reverses: true }))
        }
        _ => aggregate,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Remembering {
    theirs: Arc<AggregateUDF>,
    /// Whether it may go through its values backwards.
    reverses: bool,
}

/// The same aggregate for a window, if it would have its values backwards there: the frames of a window are gone through backwards if
/// another one is sorted the other way.
pub fn forwards(aggregate: &AggregateUDF) -> Option<Arc<AggregateUDF>> {
    let Remembering { theirs, reverses } = aggregate.inner().downcast_ref::<Remembering>()?;
    let has_order = ["array_agg", "string_agg"].contains(&theirs.name());
    (has_order && *reverses)
        .then(|| Arc::new(AggregateUDF::from(Remembering { theirs: theirs.clone(), reverses: false })))
}

impl AggregateUDFImpl for Remembering {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.theirs.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> DfResult<FieldRef> {
        let field = self.theirs.return_field(fields)?;
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
        self.theirs.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.theirs.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.theirs.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        self.theirs.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        sliding::accumulator(&self.theirs, args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.theirs.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        if !self.reverses {
            return ReversedUDAF::NotSupported;
        }
        match self.theirs.reverse_udf() {
            ReversedUDAF::Reversed(reversed) => ReversedUDAF::Reversed(remembering(reversed)),
            other => other,
        }
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_ordered: bool) -> DfResult<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = self.theirs.as_ref().clone().with_beneficial_ordering(is_ordered)?;
        Ok(ordered.map(|ordered| {
            Arc::new(Remembering { theirs: Arc::new(ordered), reverses: self.reverses }) as Arc<dyn AggregateUDFImpl>
        }))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.theirs.supports_null_handling_clause()
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.theirs.coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.theirs.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.theirs.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> DfResult<ScalarValue> {
        self.theirs.default_value(data_type)
    }
}
