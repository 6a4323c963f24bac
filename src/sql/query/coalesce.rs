//! `coalesce`, `greatest`, `least` and `make_array` whose literals are of the type of the others: DataFusion's take every string for text.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

type DfResult<T> = datafusion::error::Result<T>;

/// The same function, which is one of them, with types that fit PostgreSQL's rules.
pub fn typing(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Coalesce(function)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce(Arc<ScalarUDF>);

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.0.return_type(&self.coerce_types(types)?)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let typed = self.coerce_types(&types)?;
        let retyped = |(field, data_type): (&FieldRef, DataType)| match *field.data_type() == data_type {
            true => field.clone(),
            false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        };
        let fields: Vec<FieldRef> = args.arg_fields.iter().zip(typed).map(retyped).collect();
        self.0.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: args.scalar_arguments })
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        // A date beside an instant is one.
        if let Some(instant) = types.iter().find(|data_type| matches!(data_type, DataType::Timestamp(_, Some(_)))) {
            let fits = |data_type: &DataType| {
                let is_time = matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
                is_time || data_type.is_string() || data_type.is_null()
            };
            if types.iter().all(fits) {
                return Ok(vec![instant.clone(); types.len()]);
            }
        }
        // A literal beside an array is one.
        if let Some(array) = types.iter().find(|data_type| matches!(data_type, DataType::List(_))) {
            let fits = |data_type: &DataType| data_type == array || data_type.is_string() || data_type.is_null();
            if types.iter().all(fits) {
                return Ok(vec![array.clone(); types.len()]);
            }
        }
        let mut given = types.iter().filter(|data_type| !data_type.is_null());
        if let Some(first) = given.next()
            && given.all(|data_type| data_type == first)
        {
            return Ok(vec![first.clone(); types.len()]);
        }
        let is_open = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        let typed: Vec<DataType> = types.iter().filter(|data_type| !is_open(data_type)).cloned().collect();
        let has_text = types.iter().any(DataType::is_string);
        if typed.is_empty() || !has_text {
            return self.0.coerce_types(types);
        }
        let common = self.0.coerce_types(&typed)?;
        Ok(vec![common[0].clone(); types.len()])
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        self.0.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.0.short_circuits()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
}
