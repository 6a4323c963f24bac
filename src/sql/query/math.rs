//! `sqrt`, `ln`, `log`, `exp` and `power`, which refuse what they are not defined for: DataFusion's give NaN and infinity.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::super::error::{Error, Result, code};

type DfResult<T> = datafusion::error::Result<T>;

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
