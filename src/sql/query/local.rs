//! DataFusion's functions of local times, of instants as clocks in the session's time zone show them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::super::time_zone::TimeZone;

type DfResult<T> = datafusion::error::Result<T>;

const LOCAL: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The same function in a time zone, if it is one for which that is another.
pub fn zoned(function: Arc<ScalarUDF>, zone: TimeZone) -> Arc<ScalarUDF> {
    match function.name() {
        "date_part" if zone != TimeZone::UTC => Arc::new(ScalarUDF::from(Local { function, zone })),
        _ => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Local {
    function: Arc<ScalarUDF>,
    zone: TimeZone,
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

fn local_fields(fields: &[FieldRef]) -> Vec<FieldRef> {
    let local = |field: &FieldRef| match is_instant(field.data_type()) {
        true => Arc::new(field.as_ref().clone().with_data_type(LOCAL)),
        false => field.clone(),
    };
    fields.iter().map(local).collect()
}

impl Local {
    fn local(&self, value: ColumnarValue) -> DfResult<ColumnarValue> {
        if !is_instant(&value.data_type()) {
            return Ok(value);
        }
        let is_scalar = matches!(value, ColumnarValue::Scalar(_));
        let instants = cast(&value.into_array(1)?, &LOCAL)?;
        let instants = instants.as_primitive::<TimestampMicrosecondType>();
        let local: TimestampMicrosecondArray = instants.unary(|instant| self.zone.local(instant));
        let local: ArrayRef = Arc::new(local);
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&local, 0)?),
            false => ColumnarValue::Array(local),
        })
    }
}

impl ScalarUDFImpl for Local {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let local = |data_type: &DataType| if is_instant(data_type) { LOCAL } else { data_type.clone() };
        self.function.return_type(&types.iter().map(local).collect::<Vec<_>>())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let arg_fields = local_fields(args.arg_fields);
        self.function.return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, ..args })
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arg_fields = local_fields(&args.arg_fields);
        let values = args.args.into_iter().map(|value| self.local(value)).collect::<DfResult<_>>()?;
        self.function.invoke_with_args(ScalarFunctionArgs { args: values, arg_fields, ..args })
    }
}
