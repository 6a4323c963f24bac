//! Functions of an array and an element, or of two arrays, whose decimals have different digits: DataFusion's know of none that fit.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::functions_nested::concat::{array_append_udf, array_concat_udf, array_prepend_udf};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::types::{MAX_DECIMAL_PRECISION, unnamed};

type DfResult<T> = datafusion::error::Result<T>;

/// Their names.
const FUNCTIONS: [&str; 8] = [
    "array_append",
    "array_prepend",
    "array_concat",
    "array_cat",
    "array_position",
    "array_positions",
    "array_remove_all",
    "array_replace_all",
];

/// The same function with decimals of one type, if it is one of them.
pub fn by_name(name: &str, theirs: impl Fn() -> Option<Arc<ScalarUDF>>) -> Option<Arc<ScalarUDF>> {
    if !FUNCTIONS.contains(&name) {
        return None;
    }
    theirs().map(of_one_type)
}

/// `left || right`, if one is an array of decimals or beside a decimal.
pub fn concatenated(left: (&Expr, &FieldRef), right: (&Expr, &FieldRef)) -> Option<Expr> {
    let types = [left.1.data_type().clone(), right.1.data_type().clone()];
    if !has_decimals(&types) || !types.iter().all(|data_type| is_number(element(data_type))) {
        return None;
    }
    let function = match types.each_ref().map(is_list) {
        [true, true] => array_concat_udf(),
        [true, false] => array_append_udf(),
        [false, true] => array_prepend_udf(),
        [false, false] => return None,
    };
    Some(of_one_type(function).call(vec![left.0.clone(), right.0.clone()]))
}

fn of_one_type(theirs: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(OfOneType { theirs, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfOneType {
    theirs: Arc<ScalarUDF>,
    signature: Signature,
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_))
}

fn element(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(element) => element.data_type(),
        other => other,
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Decimal128(..)) || data_type.is_null()
}

fn has_decimals(types: &[DataType]) -> bool {
    types.iter().any(|data_type| matches!(element(data_type), DataType::Decimal128(..)))
}

/// Types with as many digits after the point as any of them has.
fn coerced(types: &[DataType]) -> Option<Vec<DataType>> {
    let is_mixed = types.iter().any(|data_type| element(data_type) != element(&types[0]));
    if !is_mixed || !has_decimals(types) || !types.iter().all(|data_type| is_number(element(data_type))) {
        return None;
    }
    let scales = types.iter().map(|data_type| match element(data_type) {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    });
    let common = DataType::Decimal128(MAX_DECIMAL_PRECISION, scales.max().unwrap_or(0));
    let one = |data_type: &DataType| match data_type {
        DataType::List(field) => DataType::List(Arc::new(Field::new(field.name(), common.clone(), true))),
        _ => common.clone(),
    };
    Some(types.iter().map(one).collect())
}

impl ScalarUDFImpl for OfOneType {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let types = coerced(types).unwrap_or_else(|| types.to_vec());
        let fields: Vec<FieldRef> = types.iter().map(unnamed).collect();
        let fields = fields_with_udf(&fields, self.theirs.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.theirs.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let arrays = args.arg_fields.iter().find(|field| is_list(field.data_type()));
        let array = arrays.cloned();
        let returned = self.theirs.return_field_from_args(args)?;
        // What is said of an array's type is so of one with more elements.
        Ok(match array {
            Some(array) if returned.metadata().is_empty() && array.data_type() == returned.data_type() => {
                Arc::new(returned.as_ref().clone().with_metadata(array.metadata().clone()))
            }
            _ => returned,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.theirs.invoke_with_args(args)
    }
}
