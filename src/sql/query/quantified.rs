//! A value compared with the elements of an array: `value = ANY (array)`, `value < ALL (array)`, `value LIKE ANY (array)`.
//!
//! One element decides, and if none does, but one of the comparisons is NULL, the answer is NULL. An array without elements decides against `ANY` and for
//! `ALL`, whatever the value is (<https://www.postgresql.org/docs/15/functions-comparisons.html>).

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use datafusion::arrow::compute::kernels::cmp;
use datafusion::arrow::compute::{ilike, like, nilike, nlike, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use sqlparser::ast::BinaryOperator;

use super::super::error::{Error, code};
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, arrow_type, of_field};
use super::blank_padding::padded;
use super::operators::{MAX_SCALE, adopt, operand_name};
use super::scalars;
use crate::catalog::{ColumnType, UNCONSTRAINED_SCALE};

type DfResult<T> = datafusion::error::Result<T>;

/// What the rewriter puts in the place of `value <op> ANY (array)`: there is no other way for it to be seen with its types.
pub fn any(op: &str) -> BinaryOperator {
    BinaryOperator::PGCustomBinaryOperator(vec![op.into(), "any".into()])
}

/// The same for `ALL`.
pub fn all(op: &str) -> BinaryOperator {
    BinaryOperator::PGCustomBinaryOperator(vec![op.into(), "all".into()])
}

/// The comparison that an operator stands for, if it is one of these.
pub fn of(op: &BinaryOperator) -> Option<Quantified> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    let [op, quantifier] = &parts[..] else { return None };
    let comparison = COMPARISONS.iter().find(|comparison| **comparison == op)?;
    let all = match quantifier.as_str() {
        "any" => false,
        "all" => true,
        _ => return None,
    };
    Some(Quantified { comparison, all, signature: Signature::user_defined(Volatility::Immutable) })
}

const COMPARISONS: [&str; 10] = ["=", "<>", "<", "<=", ">", ">=", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"];

/// One of them, as a function of the value and the array.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Quantified {
    comparison: &'static str,
    all: bool,
    signature: Signature,
}

impl Quantified {
    /// The call.
    pub fn planned(
        self,
        (value, value_field): (Expr, &FieldRef),
        (array, array_field): (Expr, &FieldRef),
        zone: TimeZone,
    ) -> DfResult<Expr> {
        let is_equal_to_any = self.comparison == "=" && !self.all;
        // A parameter is an array of what it is compared with.
        if let Expr::Placeholder(Placeholder { id, field: None }) = array {
            let field = anonymous_field(&ColumnType::Array(Box::new(of_field(value_field))));
            let array = Expr::Placeholder(Placeholder { id, field: Some(field) });
            return Ok(if is_equal_to_any { array_has(array, value) } else { self.of_unknown(value, array) });
        }
        if is_equal_to_any {
            return equal_to_any((value, value_field), (array, array_field), zone);
        }
        let value = if self.comparison.ends_with("LIKE") { padded(value, value_field) } else { value };
        let (value, array) = of_one_type((value, value_field), (array, array_field), zone)?;
        Ok(self.of_unknown(value, array))
    }

    /// The same if nothing is known of their types.
    pub fn of_unknown(self, value: Expr, array: Expr) -> Expr {
        ScalarUDF::from(self).call(vec![value, array])
    }

    fn compared(&self, values: &ArrayRef, elements: &ArrayRef) -> DfResult<BooleanArray> {
        let (values, elements) = (&values as &dyn datafusion::arrow::array::Datum, elements);
        Ok(match self.comparison {
            "=" => cmp::eq(values, elements),
            "<>" => cmp::neq(values, elements),
            "<" => cmp::lt(values, elements),
            "<=" => cmp::lt_eq(values, elements),
            ">" => cmp::gt(values, elements),
            ">=" => cmp::gt_eq(values, elements),
            "LIKE" => like(values, elements),
            "NOT LIKE" => nlike(values, elements),
            "ILIKE" => ilike(values, elements),
            _ => nilike(values, elements),
        }?)
    }
}

/// Whether a value is one of an array's, in terms of which the optimizer knows what they are about.
pub fn equal_to_any(value: (Expr, &FieldRef), array: (Expr, &FieldRef), zone: TimeZone) -> DfResult<Expr> {
    let (value, array) = of_one_type(value, array, zone)?;
    let named = |name: &str| {
        let function = scalars::by_name(name, zone).ok_or_else(|| Error::internal(format!("{name} is missing")))?;
        DfResult::Ok(function.call(vec![array.clone()]))
    };
    Ok(array_has(array.clone(), value).or(named("array_lacks_null")?).and(named("array_is_filled")?))
}

/// A value and an array of values of the same type.
fn of_one_type(
    (value, value_field): (Expr, &FieldRef),
    (array, array_field): (Expr, &FieldRef),
    zone: TimeZone,
) -> DfResult<(Expr, Expr)> {
    let is_array = matches!(array_field.data_type(), DataType::List(_));
    if !is_array && !array_field.data_type().is_string() && !array_field.data_type().is_null() {
        return Err(Error::new(code::WRONG_OBJECT_TYPE, "op ANY/ALL (array) requires array on right side").into());
    }
    let (value, array) = match of_field(array_field) {
        ColumnType::Array(element) if is_array => (adopt(value, &anonymous_field(&element), zone)?, array),
        // A literal is an array of the value's type, with all its digits.
        _ if let ColumnType::Decimal { scale, .. } = of_field(value_field)
            && matches!(array, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) =>
        {
            let wide = ColumnType::Decimal { precision: Some(MAX_SCALE), scale: scale.max(UNCONSTRAINED_SCALE) };
            let list = anonymous_field(&ColumnType::Array(Box::new(wide.clone())));
            (cast(value, arrow_type(&wide)), adopt(array, &list, zone)?)
        }
        _ => (value, adopt(array, &anonymous_field(&ColumnType::Array(Box::new(of_field(value_field)))), zone)?),
    };
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    Ok(match (array_field.data_type(), value_field.data_type()) {
        // What `array_has` does not bring to one type.
        (DataType::List(element), of_value)
            if element.data_type() != of_value && (is_decimal(element.data_type()) || is_decimal(of_value)) =>
        {
            match comparison_coercion(element.data_type(), of_value) {
                Some(common) => (cast(value, common.clone()), cast(array, list_of(common))),
                None => (value, array),
            }
        }
        _ => (value, array),
    })
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

impl ScalarUDFImpl for Quantified {
    fn name(&self) -> &str {
        if self.all { "all" } else { "any" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let args: Vec<String> = args.iter().map(operand_name).collect();
        Ok(format!("{} {}({})", self.comparison, self.name(), args.join(",")))
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let (value, element) = match types {
            [value, DataType::List(element)] => (value, element.data_type()),
            [value, DataType::Null] => (value, value),
            _ => {
                return Err(
                    Error::new(code::WRONG_OBJECT_TYPE, "op ANY/ALL (array) requires array on right side").into()
                );
            }
        };
        let common = match value.is_null() {
            true => Some(element.clone()),
            false if element.is_null() => Some(value.clone()),
            false => comparison_coercion(value, element),
        };
        let common = common.ok_or_else(|| {
            let (value, element) = (super::super::types::from_arrow(value), super::super::types::from_arrow(element));
            let message = format!("operator does not exist: {value} {} {element}", self.comparison);
            Error::new(code::UNDEFINED_FUNCTION, message)
        })?;
        Ok(vec![common.clone(), list_of(common)])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let (values, arrays) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
        let arrays = arrays.as_list::<i32>();
        let (mut of, mut at) = (Vec::new(), Vec::new());
        for row in (0..rows).filter(|row| arrays.is_valid(*row)) {
            let elements = arrays.value_offsets()[row]..arrays.value_offsets()[row + 1];
            of.extend(elements.clone().map(|_| row as u64));
            at.extend(elements.map(|element| element as u64));
        }
        let compared = self.compared(
            &take(&values, &UInt64Array::from(of), None)?,
            &take(arrays.values(), &UInt64Array::from(at), None)?,
        )?;
        let mut answers = compared.iter();
        let answer = |row: usize| {
            if arrays.is_null(row) {
                return None;
            }
            let length = arrays.value_length(row) as usize;
            let undecided = Some(self.all);
            answers.by_ref().take(length).fold(undecided, |known, answer| match (known, answer) {
                (known, _) if known == Some(!self.all) => known,
                (_, Some(answer)) if answer != self.all => Some(answer),
                (_, None) => None,
                (known, _) => known,
            })
        };
        let result: ArrayRef = Arc::new((0..rows).map(answer).collect::<BooleanArray>());
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
