//! Functions that are computed row by row from values, not from Arrow arrays.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrays::row_by_row;
use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::types::{anonymous_field, arrow_type};
use crate::catalog::{ColumnType, Datum};

type DfResult<T> = datafusion::error::Result<T>;

/// What a function does with the arguments of a row.
pub type Body = fn(&[Argument<'_>]) -> Result<Datum<'static>>;

/// Name, arguments, type of the result, body.
pub type Definition = (&'static str, Takes, ColumnType, Body);

/// One argument, and its type.
pub struct Argument<'a> {
    /// The value; NULL only for functions that take any number.
    pub datum: Datum<'a>,
    /// Its type.
    pub column_type: &'a ColumnType,
}

impl Argument<'_> {
    /// The value as it prints.
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::format(&mut out, &self.datum, self.column_type);
        out
    }
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Takes {
    /// So many, none of them NULL: NULL is the result then.
    Exactly(usize),
    /// From so many to so many, none of them NULL.
    Between(usize, usize),
    /// Any number, and NULLs are values.
    Any,
}

/// The functions of a list.
pub fn functions(list: Vec<Definition>) -> Vec<Arc<ScalarUDF>> {
    let function = |(name, takes, returns, body): Definition| {
        let signature = match takes {
            Takes::Exactly(count) => Signature::any(count, Volatility::Immutable),
            _ => Signature::variadic_any(Volatility::Immutable),
        };
        Arc::new(ScalarUDF::from(RowFunction { name, takes, returns, body, signature }))
    };
    list.into_iter().map(function).collect()
}

#[derive(Clone)]
struct RowFunction {
    name: &'static str,
    takes: Takes,
    returns: ColumnType,
    body: Body,
    signature: Signature,
}

impl std::fmt::Debug for RowFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RowFunction {}

impl std::hash::Hash for RowFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(&self.returns))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let count = args.arg_fields.len();
        let fits = match self.takes {
            Takes::Exactly(wanted) => count == wanted,
            Takes::Between(least, most) => (least..=most).contains(&count),
            Takes::Any => true,
        };
        if !fits {
            let message = format!("function {} does not take {count} arguments", self.name);
            return Err(Error::new(code::UNDEFINED_FUNCTION, message).into());
        }
        Ok(Arc::new(anonymous_field(&self.returns).as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let strict = self.takes != Takes::Any;
        let value = row_by_row(&args, &self.returns, |datums, types| {
            if strict && datums.iter().any(Datum::is_null) {
                return Ok(Datum::Null);
            }
            let argument = |(datum, column_type)| Argument { datum, column_type };
            let arguments: Vec<Argument<'_>> = datums.into_iter().zip(types).map(argument).collect();
            (self.body)(&arguments)
        })?;
        Ok(value)
    }
}
