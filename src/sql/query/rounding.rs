//! `round` of floating-point numbers, which goes to the even one of two that are as near; DataFusion's goes away from zero.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use datafusion::arrow::compute::unary;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

type DfResult<T> = datafusion::error::Result<T>;

/// The same function, which is `round`, with PostgreSQL's rule.
pub fn to_even(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Round(function)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Round(Arc<ScalarUDF>);

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        self.0.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [value] = &args.args[..] else { return self.0.invoke_with_args(args) };
        let rounded: ArrayRef = match value.data_type() {
            DataType::Float64 => {
                let array = value.to_array(args.number_rows)?;
                let rounded: Float64Array = unary(array.as_primitive::<Float64Type>(), f64::round_ties_even);
                Arc::new(rounded)
            }
            DataType::Float32 => {
                let array = value.to_array(args.number_rows)?;
                let rounded: Float32Array = unary(array.as_primitive::<Float32Type>(), f32::round_ties_even);
                Arc::new(rounded)
            }
            _ => return self.0.invoke_with_args(args),
        };
        Ok(ColumnarValue::Array(rounded))
    }
}
