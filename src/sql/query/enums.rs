//! Enumerated types in queries, which have their values as labels.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::arrays::row_by_row;
use super::super::error::{Error, Result, code};
use super::super::types::{anonymous_field, arrow_type, of_field, pg_name};
use crate::catalog::{ColumnType, Datum, EnumType};

type DfResult<T> = datafusion::error::Result<T>;

fn enumeration(field: &FieldRef) -> Option<EnumType> {
    match of_field(field) {
        ColumnType::Enum(made) => Some(*made),
        _ => None,
    }
}

/// The label with a number, or the labels with the numbers of an array.
pub fn label(of: ColumnType, number: Expr) -> Expr {
    ScalarUDF::from(Label { of, signature: Signature::any(1, Volatility::Immutable) }).call(vec![number])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    of: ColumnType,
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        "enum_label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(&self.of))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(anonymous_field(&self.of).as_ref().clone().with_name(self.name())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(row_by_row(&args, &self.of, |mut numbers, _| Ok(numbers.swap_remove(0).into_owned()))?)
    }
}

/// `enum_first`, `enum_last` and `enum_range`.
pub fn by_name(name: &str) -> Option<Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        ["enum_first", "enum_last", "enum_range"].map(|name| {
            let signature = Signature::variadic_any(Volatility::Immutable);
            Arc::new(ScalarUDF::from(LabelFunction { name, signature }))
        })
    });
    FUNCTIONS.iter().find(|function| function.name() == name).cloned()
}

/// A function of the type of its argument, whose value does not count unless it is one of two ends.
#[derive(Debug, PartialEq, Eq, Hash)]
struct LabelFunction {
    name: &'static str,
    signature: Signature,
}

impl LabelFunction {
    fn type_of(&self, fields: &[FieldRef]) -> Result<EnumType> {
        let most = if self.name == "enum_range" { 2 } else { 1 };
        let missing = || {
            let types = fields.iter().map(|field| pg_name(&of_field(field))).collect::<Vec<_>>().join(", ");
            Error::new(code::UNDEFINED_FUNCTION, format!("function {}({types}) does not exist", self.name))
        };
        let found = fields.iter().find_map(enumeration);
        found.filter(|_| (1..=most).contains(&fields.len())).ok_or_else(missing)
    }

    fn returns(&self, made: EnumType) -> ColumnType {
        let made = ColumnType::Enum(Box::new(made));
        if self.name == "enum_range" { ColumnType::Array(Box::new(made)) } else { made }
    }
}

impl ScalarUDFImpl for LabelFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Err(Error::internal("the type of this depends on that of its argument").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let returns = self.returns(self.type_of(args.arg_fields)?);
        Ok(Arc::new(anonymous_field(&returns).as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let made = self.type_of(&args.arg_fields)?;
        let value = row_by_row(&args, &self.returns(made.clone()), |ends, types| {
            let end = |at: usize| ends.get(at).and_then(|end| number_of(end, &types[at], &made));
            let labels = made.labels.iter().map(|known| known.number);
            Ok(match (self.name, ends.len()) {
                ("enum_first", _) => labels.min().into(),
                ("enum_last", _) => labels.max().into(),
                (_, 1) => Datum::Array(labels.map(Datum::Int).collect()),
                _ => {
                    let (first, last) = (end(0), end(1));
                    let is_in = |number: &i64| {
                        first.is_none_or(|first| first <= *number) && last.is_none_or(|last| *number <= last)
                    };
                    Datum::Array(labels.filter(is_in).map(Datum::Int).collect())
                }
            })
        })?;
        Ok(value)
    }
}

/// A label, which may not have its type yet, as its number.
pub fn number_of(datum: &Datum<'_>, column_type: &ColumnType, made: &EnumType) -> Option<i64> {
    match column_type {
        ColumnType::Enum(_) => datum.as_int(),
        _ => made.number(datum.as_text()?),
    }
}
