//! Functions that are computed row by row from values, not from Arrow arrays.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::super::arrays::row_by_row;
use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, arrow_type, from_arrow, of_field};
use crate::catalog::{ColumnType, Datum};

type DfResult<T> = datafusion::error::Result<T>;

/// What a function does with the arguments of a row.
pub type Body = fn(&[Argument<'_>]) -> Result<Datum<'static>>;

/// Name, arguments, type of the result, body.
pub type Definition = (&'static str, Takes, Returns, Body);

/// The type of a function's result.
#[derive(Clone)]
pub enum Returns {
    /// Always the same.
    Always(ColumnType),
    /// It depends on those of the arguments.
    By(fn(&[ColumnType]) -> Result<ColumnType>),
}

impl From<ColumnType> for Returns {
    fn from(column_type: ColumnType) -> Returns {
        Returns::Always(column_type)
    }
}

/// One argument, and its type.
pub struct Argument<'a> {
    /// The value; NULL only for functions that take any number.
    pub datum: Datum<'a>,
    /// Its type.
    pub column_type: &'a ColumnType,
    /// The session's time zone.
    pub zone: TimeZone,
}

impl Argument<'_> {
    /// The value as it prints.
    pub fn text(&self) -> String {
        let mut out = String::new();
        text::format(&mut out, &self.datum, self.column_type, self.zone);
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

/// The function of a list with a name, in a time zone.
pub fn named(list: &[Definition], name: &str, zone: TimeZone) -> Option<Arc<ScalarUDF>> {
    let (name, takes, returns, body) = list.iter().find(|(known, ..)| *known == name)?.clone();
    let signature = match takes {
        Takes::Exactly(count) => Signature::any(count, Volatility::Immutable),
        Takes::Any => {
            let forms = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
            Signature::one_of(forms, Volatility::Immutable)
        }
        _ => Signature::variadic_any(Volatility::Immutable),
    };
    Some(Arc::new(ScalarUDF::from(RowFunction { name, takes, returns, body, signature, zone })))
}

#[derive(Clone)]
struct RowFunction {
    name: &'static str,
    takes: Takes,
    returns: Returns,
    body: Body,
    signature: Signature,
    zone: TimeZone,
}

impl RowFunction {
    fn returned(&self, types: &[ColumnType]) -> Result<ColumnType> {
        let count = types.len();
        let fits = match self.takes {
            Takes::Exactly(wanted) => count == wanted,
            Takes::Between(least, most) => (least..=most).contains(&count),
            Takes::Any => true,
        };
        if !fits {
            let message = format!("function {} does not take {count} arguments", self.name);
            return Err(Error::new(code::UNDEFINED_FUNCTION, message));
        }
        match &self.returns {
            Returns::Always(column_type) => Ok(column_type.clone()),
            Returns::By(rule) => rule(types),
        }
    }
}

impl std::fmt::Debug for RowFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for RowFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.zone == other.zone
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

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let types: Vec<ColumnType> = types.iter().map(from_arrow).collect();
        Ok(arrow_type(&self.returned(&types)?))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<ColumnType> = args.arg_fields.iter().map(|field| of_field(field)).collect();
        let returned = anonymous_field(&self.returned(&types)?);
        Ok(Arc::new(returned.as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let strict = self.takes != Takes::Any;
        let returned = of_field(&args.return_field);
        let value = row_by_row(&args, &returned, |datums, types| {
            if strict && datums.iter().any(Datum::is_null) {
                return Ok(Datum::Null);
            }
            let argument = |(datum, column_type)| Argument { datum, column_type, zone: self.zone };
            let arguments: Vec<Argument<'_>> = datums.into_iter().zip(types).map(argument).collect();
            (self.body)(&arguments)
        })?;
        Ok(value)
    }
}
