//! The values of a subquery that has been made an array: [`correlated`](super::correlated).

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, AsArray, ListArray, UInt64Array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::error::{Error, code};
use super::super::types::{anonymous_field, arrow_type, of_field};
use super::correlated;
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// The function with a name.
pub fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    static ONLY: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Only { signature: Signature::any(1, Volatility::Immutable) })));
    static ANY_NUMBER: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(AnyNumber { signature: Signature::any(1, Volatility::Immutable) })));
    // Else it would be computed while the query is planned.
    static UNCERTAIN: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Uncertain { signature: Signature::any(1, Volatility::Volatile) })));
    match name {
        correlated::ONLY => Some(ONLY.clone()),
        correlated::UNCERTAIN => Some(UNCERTAIN.clone()),
        correlated::ANY_NUMBER => Some(ANY_NUMBER.clone()),
        _ => None,
    }
}

/// The element of an array of one; NULL of none; otherwise an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Only {
    signature: Signature,
}

fn element(data_type: &DataType) -> DfResult<FieldRef> {
    match data_type {
        DataType::List(element) => Ok(element.clone()),
        other => Err(Error::new(code::DATATYPE_MISMATCH, format!("this needs an array, not {other}")).into()),
    }
}

impl ScalarUDFImpl for Only {
    fn name(&self) -> &str {
        correlated::ONLY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(element(&types[0])?.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let element = element(args.arg_fields[0].data_type())?;
        // What the elements are, the field of the array says.
        let element = match of_field(&args.arg_fields[0]) {
            ColumnType::Array(of) if arrow_type(&of) == *element.data_type() => anonymous_field(&of),
            _ => element,
        };
        Ok(Arc::new(element.as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let lists = array.as_list::<i32>();
        let index = |row: usize| -> DfResult<Option<u64>> {
            match lists.value_length(row) {
                _ if lists.is_null(row) => Ok(None),
                0 => Ok(None),
                1 => Ok(Some(lists.value_offsets()[row] as u64)),
                _ => {
                    let message = "more than one row returned by a subquery used as an expression";
                    Err(Error::new(code::CARDINALITY_VIOLATION, message).into())
                }
            }
        };
        let indexes = (0..lists.len()).map(index).collect::<DfResult<UInt64Array>>()?;
        Ok(ColumnarValue::Array(take(lists.values(), &indexes, None)?))
    }
}

/// A value as it is: of no rows it will be NULL, which it is not by itself.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Uncertain {
    signature: Signature,
}

impl ScalarUDFImpl for Uncertain {
    fn name(&self) -> &str {
        correlated::UNCERTAIN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

/// An array as it is; an empty one instead of NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AnyNumber {
    signature: Signature,
}

impl ScalarUDFImpl for AnyNumber {
    fn name(&self) -> &str {
        correlated::ANY_NUMBER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        element(&types[0])?;
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_name(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let (field, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
        let Some(nulls) = nulls else {
            return Ok(ColumnarValue::Array(Arc::new(ListArray::new(field, offsets, values, None))));
        };
        // A list that is NULL may have elements all the same, which are not to be seen.
        let seen: Vec<(usize, usize)> = offsets
            .windows(2)
            .zip(nulls.iter())
            .map(|(pair, valid)| (pair[0] as usize, if valid { pair[1] as usize } else { pair[0] as usize }))
            .collect();
        let lengths = seen.iter().map(|(start, end)| end - start);
        let indexes: UInt64Array = seen.iter().flat_map(|(start, end)| *start as u64..*end as u64).collect();
        let values = take(&values, &indexes, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(ColumnarValue::Array(Arc::new(ListArray::new(field, offsets, values, None))))
    }
}
