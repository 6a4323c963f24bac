//! `sqrt`, `ln`, `log`, `exp` and `power`, which refuse what they are not defined for: DataFusion's give NaN and infinity. `-`, which
//! refuses what has no opposite: DataFusion's gives it as it is.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric::neg;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrays::only_value;
use super::super::error::{Error, Result, code};
use super::super::types::{from_arrow, pg_name};
use super::operators::operand_name;

type DfResult<T> = datafusion::error::Result<T>;

/// What `-` is called.
pub const NEGATIVE: &str = "negative";

/// The function of `-`.
pub fn negative() -> Arc<ScalarUDF> {
    static NEGATIVE: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Negative { signature: Signature::any(1, Volatility::Immutable) })));
    NEGATIVE.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Negative {
    signature: Signature,
}

impl ScalarUDFImpl for Negative {
    fn name(&self) -> &str {
        NEGATIVE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let of = &types[0];
        if of.is_numeric() || of.is_null() || matches!(of, DataType::Interval(_)) {
            return Ok(of.clone());
        }
        let message = format!("operator does not exist: - {}", pg_name(&from_arrow(of)));
        Err(Error::new(code::UNDEFINED_FUNCTION, message).into())
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("-({})", operand_name(&args[0])))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if is_scalar { 1 } else { args.number_rows })?;
        if array.data_type().is_null() {
            return Ok(args.args[0].clone());
        }
        let negated = neg(&array).map_err(|error| match error {
            ArrowError::ArithmeticOverflow(_) => {
                let message = format!("{} out of range", pg_name(&from_arrow(array.data_type())));
                Error::new(code::NUMERIC_OUT_OF_RANGE, message).into()
            }
            other => datafusion::error::DataFusionError::from(other),
        })?;
        Ok(match &args.args[0] {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(only_value(&negated)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(negated),
        })
    }
}

/// The same function, which refuses what PostgreSQL's does, if it is one of them.
pub fn refusing(name: &str, theirs: impl Fn() -> Option<Arc<ScalarUDF>>) -> Option<Arc<ScalarUDF>> {
    let refusal: Refusal = match name {
        "sqrt" => |args| match args[0] < 0.0 {
            true => Err(undefined(code::INVALID_POWER, "cannot take square root of a negative number")),
            false => Ok(()),
        },
        "ln" | "log" | "log10" => |args| match args.iter().find(|arg| **arg <= 0.0) {
            Some(0.0) => Err(undefined(code::INVALID_LOGARITHM, "cannot take logarithm of zero")),
            Some(_) => Err(undefined(code::INVALID_LOGARITHM, "cannot take logarithm of a negative number")),
            None => Ok(()),
        },
        "exp" => |args| match args[0].is_finite() && args[0].exp().is_infinite() {
            true => Err(undefined(code::NUMERIC_OUT_OF_RANGE, "value out of range: overflow")),
            false => Ok(()),
        },
        "power" | "pow" => |args| match (args[0], args[1]) {
            (0.0, exponent) if exponent < 0.0 => {
                Err(undefined(code::INVALID_POWER, "zero raised to a negative power is undefined"))
            }
            (base, exponent) if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 => {
                let message = "a negative number raised to a non-integer power yields a complex result";
                Err(undefined(code::INVALID_POWER, message))
            }
            (base, exponent) if base.is_finite() && exponent.is_finite() && base.powf(exponent).is_infinite() => {
                Err(undefined(code::NUMERIC_OUT_OF_RANGE, "value out of range: overflow"))
            }
            _ => Ok(()),
        },
        _ => return None,
    };
    Some(Arc::new(ScalarUDF::from(Refusing { theirs: theirs()?, refusal })))
}

/// What a function says of the arguments of a row.
type Refusal = fn(&[f64]) -> Result<()>;

fn undefined(code: &'static str, message: &str) -> Error {
    Error::new(code, message)
}

#[derive(Debug)]
struct Refusing {
    theirs: Arc<ScalarUDF>,
    refusal: Refusal,
}

impl PartialEq for Refusing {
    fn eq(&self, other: &Refusing) -> bool {
        self.theirs == other.theirs
    }
}

impl Eq for Refusing {}

impl std::hash::Hash for Refusing {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.theirs.hash(state);
    }
}

impl ScalarUDFImpl for Refusing {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.theirs.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.theirs.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.theirs.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let number = |arg: &ColumnarValue| -> DfResult<Float64Array> {
            let array = cast(&arg.to_array(args.number_rows)?, &DataType::Float64)?;
            Ok(array.as_primitive::<Float64Type>().clone())
        };
        let numbers = args.args.iter().map(number).collect::<DfResult<Vec<_>>>()?;
        for row in 0..args.number_rows {
            if numbers.iter().all(|numbers| numbers.is_valid(row)) {
                let row: Vec<f64> = numbers.iter().map(|numbers| numbers.value(row)).collect();
                (self.refusal)(&row)?;
            }
        }
        self.theirs.invoke_with_args(args)
    }
}
