//! `generate_series`: of whole numbers it is DataFusion's, of dates and times keepsafe's own, whose days are as the calendar has them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::error::{Error, Result, code};
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, of_field, unnamed};
use super::row_function::Argument;
use crate::catalog::{ColumnType, Datum};

type DfResult<T> = datafusion::error::Result<T>;

/// Above all that a client can want to look at, below what fills the memory.
const MAX_SERIES: usize = 10_000_000;

/// The function, of DataFusion's for numbers and of ours for times.
pub fn of_both(numbers: Arc<ScalarUDF>, times: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Series { numbers, times, signature }))
}

/// Whether a series is one of times.
pub fn is_of_times(types: &[DataType]) -> bool {
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
    types.len() == 3 && types[..2].iter().any(is_time)
}

/// Whether a series is one of numbers of four bytes.
pub fn is_short(types: &[DataType]) -> bool {
    let is_short = |data_type: &DataType| matches!(data_type, DataType::Int32 | DataType::Int16);
    !types.is_empty() && types.iter().all(is_short)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    numbers: Arc<ScalarUDF>,
    times: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &str {
        "generate_series"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        if is_of_times(types) {
            return Ok(types.to_vec());
        }
        if is_short(types) {
            return Ok(vec![DataType::Int32; types.len()]);
        }
        let fields: Vec<FieldRef> = types.iter().map(unnamed).collect();
        let fields = fields_with_udf(&fields, self.numbers.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("a series depends on more than types").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        if is_short(&types) {
            let list = anonymous_field(&ColumnType::Array(Box::new(ColumnType::Int4)));
            return Ok(Arc::new(list.as_ref().clone().with_name(self.name())));
        }
        if is_of_times(&types) { &self.times } else { &self.numbers }.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_short = args.arg_fields.iter().all(|field| *field.data_type() == DataType::Int32);
        if is_short {
            // DataFusion's is of numbers of eight bytes.
            let short = args.return_field.data_type().clone();
            args.args = args.args.iter().map(|arg| arg.cast_to(&DataType::Int64, None)).collect::<DfResult<_>>()?;
            args.arg_fields = args.args.iter().map(|arg| unnamed(&arg.data_type())).collect();
            args.return_field = anonymous_field(&ColumnType::Array(Box::new(ColumnType::Int8)));
            return self.numbers.invoke_with_args(args)?.cast_to(&short, None);
        }
        let is_time = matches!(of_field(&args.return_field), ColumnType::Array(element) if !element.is_integer());
        if is_time { &self.times } else { &self.numbers }.invoke_with_args(args)
    }
}

/// The type of a series of times: instants, unless an end is a local time and none is an instant.
pub fn returned(types: &[ColumnType]) -> Result<ColumnType> {
    let ends = &types[..2];
    let is_local = ends.contains(&ColumnType::Timestamp) && !ends.contains(&ColumnType::TimestampTz);
    let element = if is_local { ColumnType::Timestamp } else { ColumnType::TimestampTz };
    Ok(ColumnType::Array(Box::new(element)))
}

/// A series of times.
pub fn of_times(args: &[Argument<'_>]) -> Result<Datum<'static>> {
    let types: Vec<ColumnType> = args.iter().map(|arg| arg.column_type.clone()).collect();
    let is_local = returned(&types)? == ColumnType::Array(Box::new(ColumnType::Timestamp));
    // A local time is the instant that it is in Greenwich.
    let zone = if is_local { TimeZone::UTC } else { args[0].zone };
    let end = |arg: &Argument<'_>| Argument { datum: arg.datum.clone(), column_type: arg.column_type, zone }.instant();
    let (start, stop, step) = (end(&args[0])?, end(&args[1])?, args[2].interval()?);
    let ahead = zone.plus(start, step)?.cmp(&start);
    if ahead.is_eq() {
        return Err(Error::new(code::INVALID_PARAMETER, "step size cannot equal zero"));
    }
    let mut instants = Vec::new();
    let mut now = start;
    while now == stop || now.cmp(&stop) != ahead {
        if instants.len() >= MAX_SERIES {
            let message = format!("generate_series of more than {MAX_SERIES} times");
            return Err(Error::new(code::LIMIT_EXCEEDED, message));
        }
        instants.push(Datum::Int(now));
        now = zone.plus(now, step)?;
    }
    Ok(Datum::Array(instants))
}
