//! Operators where DataFusion's rules are not PostgreSQL's.
//!
//! Integer arithmetic that overflows is an error, not another number. A string literal beside a value of another type is read
//! as that type, as PostgreSQL reads literals that have no type yet.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{FieldMetadata, Placeholder};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::logical_expr::{cast, lit};
use sqlparser::ast::BinaryOperator;

use super::super::arrays::{ColumnBuilder, only_value};
use super::super::error::{Error, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, of_field};
use super::functions::cast_to;
use super::key_comparisons::ordered;
use super::passed_types::field_of;
use super::{decimal_arrays, decimals, json, quantified, scalars};
use crate::catalog::{ColumnType, UNCONSTRAINED_SCALE};

/// Digits of a decimal.
pub const MAX_SCALE: u8 = 38;

/// Longest name of an operand that is spelled out.
const MAX_OPERAND_NAME: usize = 256;

type DfResult<T> = datafusion::error::Result<T>;

/// Plans binary operators.
#[derive(Debug)]
pub struct Operators {
    /// The session's time zone.
    pub zone: TimeZone,
    /// The last column that was taken for one with fields.
    pub with_fields: Arc<Mutex<Option<String>>>,
}

impl ExprPlanner for Operators {
    /// No column has fields: what looks like one is a column of a table outside, or a mistake.
    fn plan_compound_identifier(
        &self,
        column: &Field,
        _: Option<&TableReference>,
        fields: &[String],
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        if matches!(column.data_type(), DataType::Struct(_)) {
            return Ok(PlannerResult::Original(fields.iter().map(lit).collect()));
        }
        *self.with_fields.lock().unwrap_or_else(PoisonError::into_inner) = Some(column.name().clone());
        Ok(PlannerResult::Planned(lit(ScalarValue::Null)))
    }

    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        let (Ok(left_field), Ok(right_field)) = (field_of(&left, schema), field_of(&right, schema)) else {
            if let Some(quantified) = quantified::of(&op) {
                return Ok(PlannerResult::Planned(quantified.of_unknown(left, right)));
            }
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        if let Some(op) = distinctness(&op) {
            let (left, right) = (adopt(left, &right_field, self.zone)?, adopt(right, &left_field, self.zone)?);
            let (left, right) = ordered((left, &left_field), Operator::Eq, (right, &right_field));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))));
        }
        // There are no operators of a real and a whole number or decimal: both become floating numbers of twice the length.
        let is_exact =
            |field: &FieldRef| field.data_type().is_integer() || matches!(field.data_type(), DataType::Decimal128(..));
        let is_real = |field: &FieldRef| *field.data_type() == DataType::Float32;
        if (is_comparison(&op) || is_arithmetic(&op))
            && (is_real(&left_field) && is_exact(&right_field) || is_exact(&left_field) && is_real(&right_field))
        {
            let float = |side: Expr| cast_to(ColumnType::Float8, self.zone).call(vec![side]);
            return self.plan_binary_op(RawBinaryExpr { op, left: float(left), right: float(right) }, schema);
        }
        if is_comparison(&op) {
            let (left, right) = (adopt(left, &right_field, self.zone)?, adopt(right, &left_field, self.zone)?);
            // As in PostgreSQL, not as decimals: those have neither the range nor the values in between.
            let float = || cast_to(ColumnType::Float8, self.zone);
            let (left, right) = match (left_field.data_type(), right_field.data_type()) {
                (of, DataType::Decimal128(..)) if of.is_floating() => (left, float().call(vec![right])),
                (DataType::Decimal128(..), of) if of.is_floating() => (float().call(vec![left]), right),
                _ => (left, right),
            };
            let asked = match op {
                BinaryOperator::Eq | BinaryOperator::NotEq => Operator::Eq,
                _ => Operator::Lt,
            };
            // What it is compared with says of which type a parameter is.
            let is_open = |side: &Expr| matches!(side, Expr::Placeholder(Placeholder { field: None, .. }));
            let (left, right) = match is_open(&left) || is_open(&right) {
                true => (left, right),
                false => ordered((left, &left_field), asked, (right, &right_field)),
            };
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        if let Some(quantified) = quantified::of(&op) {
            let planned = quantified.planned((left, &left_field), (right, &right_field), self.zone)?;
            return Ok(PlannerResult::Planned(planned));
        }
        let is_list = |field: &FieldRef| matches!(field.data_type(), DataType::List(_));
        let is_binary = |field: &FieldRef| *field.data_type() == DataType::Binary;
        if op == BinaryOperator::StringConcat
            && (is_list(&left_field) != is_list(&right_field) || is_binary(&left_field) != is_binary(&right_field))
        {
            // A literal beside an array is one, beside bytes it is bytes.
            let sides = (adopt(left.clone(), &right_field, self.zone)?, adopt(right.clone(), &left_field, self.zone)?);
            if sides != (left.clone(), right.clone()) {
                let raw = RawBinaryExpr { op, left: sides.0, right: sides.1 };
                return self.plan_binary_op(raw, schema);
            }
        }
        if op == BinaryOperator::StringConcat
            && let Some(array) = decimal_arrays::concatenated((&left, &left_field), (&right, &right_field))
        {
            return Ok(PlannerResult::Planned(array));
        }
        // A parameter beside an array is one.
        let (left, right) = match op {
            BinaryOperator::PGOverlap | BinaryOperator::AtArrow | BinaryOperator::ArrowAt => {
                (typed_as_list(left, &right_field), typed_as_list(right, &left_field))
            }
            _ => (left, right),
        };
        let (left_field, right_field) = (field_of(&left, schema)?, field_of(&right, schema)?);
        if let Some((name, swapped)) = array_operator(&op, left_field.data_type(), right_field.data_type())
            && let Some(function) = scalars::by_name(name, self.zone)
        {
            let (left, right) = (adopt(left, &right_field, self.zone)?, adopt(right, &left_field, self.zone)?);
            let types = (field_of(&left, schema)?, field_of(&right, schema)?);
            if of_field(&types.0) != of_field(&types.1) {
                // DataFusion brings them to one type.
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
            let operands = if swapped { vec![right, left] } else { vec![left, right] };
            return Ok(PlannerResult::Planned(function.call(operands)));
        }
        // A literal beside a number or an interval is another; one on top of a time is an interval.
        let literal = |side: &Expr| matches!(side, Expr::Literal(ScalarValue::Utf8(Some(_)), None));
        if is_arithmetic(&op) && literal(&left) != literal(&right) {
            let (value_field, is_left) = if literal(&left) { (&right_field, true) } else { (&left_field, false) };
            let is_time = matches!(value_field.data_type(), DataType::Timestamp(..));
            let beside = match op {
                BinaryOperator::Plus if is_time => Some(anonymous_field(&ColumnType::Interval)),
                BinaryOperator::Plus | BinaryOperator::Minus
                    if is_time || matches!(value_field.data_type(), DataType::Interval(_)) =>
                {
                    Some(value_field.clone())
                }
                BinaryOperator::Minus if *value_field.data_type() == DataType::Date32 => Some(value_field.clone()),
                _ if is_number(value_field.data_type()) => Some(value_field.clone()),
                _ => None,
            };
            if let Some(beside) = beside {
                let (left, right) = match is_left {
                    true => (adopt(left, &beside, self.zone)?, right),
                    false => (left, adopt(right, &beside, self.zone)?),
                };
                return self.plan_binary_op(RawBinaryExpr { op, left, right }, schema);
            }
        }
        let left = match op {
            BinaryOperator::AtArrow | BinaryOperator::ArrowAt if of_field(&right_field) == ColumnType::Json => {
                adopt(left, &right_field, self.zone)?
            }
            _ => left,
        };
        let left_field = field_of(&left, schema)?;
        // A literal beside JSON is JSON.
        let right_type = match &right {
            Expr::Literal(ScalarValue::Utf8(Some(_)), _) if op == BinaryOperator::StringConcat => of_field(&left_field),
            _ => of_field(&right_field),
        };
        if let Some(function) = json::operator(&op, &of_field(&left_field), &right_type, self.zone) {
            let right = if is_json_operand(&op) { adopt(right, &left_field, self.zone)? } else { right };
            return Ok(PlannerResult::Planned(function.call(vec![left, right])));
        }
        // A date with a time on top is no date any more.
        let is_interval = |field: &FieldRef| matches!(field.data_type(), DataType::Interval(_));
        let is_day = |field: &FieldRef| *field.data_type() == DataType::Date32;
        if matches!(op, BinaryOperator::Plus | BinaryOperator::Minus) {
            let time = DataType::Timestamp(TimeUnit::Microsecond, None);
            if op == BinaryOperator::Minus && is_day(&left_field) && is_day(&right_field) {
                let apart = BinaryExpr::new(Box::new(left), Operator::Minus, Box::new(right));
                return Ok(PlannerResult::Planned(cast(Expr::BinaryExpr(apart), DataType::Int32)));
            }
            if is_day(&left_field) && is_interval(&right_field) {
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left: cast(left, time), right }));
            }
            if is_interval(&left_field) && is_day(&right_field) {
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right: cast(right, time) }));
            }
        }
        if let Some((name, swapped)) = named_operator(&op, left_field.data_type(), right_field.data_type())
            && let Some(function) = scalars::by_name(name, self.zone)
        {
            let operands = if swapped { vec![right, left] } else { vec![left, right] };
            return Ok(PlannerResult::Planned(function.call(operands)));
        }
        if op == BinaryOperator::Divide && is_number(left_field.data_type()) && is_number(right_field.data_type()) {
            let is_float = |field: &FieldRef| field.data_type().is_floating();
            if is_float(&left_field) || is_float(&right_field) {
                return Ok(PlannerResult::Planned(float_over().call(vec![left, right])));
            }
        }
        let (left_type, right_type) = (left_field.data_type(), right_field.data_type());
        let decimal = match op {
            BinaryOperator::Multiply => decimals::times(left_type, right_type),
            BinaryOperator::Divide => decimals::over(left_type, right_type),
            BinaryOperator::Modulo => decimals::rest(left_type, right_type),
            _ => None,
        };
        if let Some(function) = decimal {
            return Ok(PlannerResult::Planned(function.call(vec![left, right])));
        }
        let integers = left_field.data_type().is_signed_integer() && right_field.data_type().is_signed_integer();
        match function_for(&op) {
            Some(function) if integers => Ok(PlannerResult::Planned(function.call(vec![left, right]))),
            _ => Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        }
    }
}

/// What the rewriter puts in the place of `IS [NOT] DISTINCT FROM` beside a literal.
pub fn distinct(how: &str) -> BinaryOperator {
    BinaryOperator::PGCustomBinaryOperator(vec!["distinct".into(), how.into()])
}

fn distinctness(op: &BinaryOperator) -> Option<Operator> {
    [("from", Operator::IsDistinctFrom), ("not from", Operator::IsNotDistinctFrom)]
        .into_iter()
        .find_map(|(how, meant)| (*op == distinct(how)).then_some(meant))
}

fn typed_as_list(operand: Expr, beside: &FieldRef) -> Expr {
    match operand {
        Expr::Placeholder(Placeholder { id, field: None }) if matches!(beside.data_type(), DataType::List(_)) => {
            let field = anonymous_field(&of_field(beside));
            Expr::Placeholder(Placeholder { id, field: Some(field) })
        }
        other => other,
    }
}

/// The function that an operator on arrays stands for, and whether it takes the right operand first.
fn array_operator(op: &BinaryOperator, left: &DataType, right: &DataType) -> Option<(&'static str, bool)> {
    let is_array = |data_type: &DataType| matches!(data_type, DataType::List(_));
    match op {
        _ if !is_array(left) && !is_array(right) => None,
        BinaryOperator::PGOverlap => Some(("array_overlap", false)),
        BinaryOperator::AtArrow => Some(("array_contains", false)),
        BinaryOperator::ArrowAt => Some(("array_contains", true)),
        _ => None,
    }
}

/// The function of keepsafe's own that an operator stands for, and whether it takes the right operand first.
fn named_operator(op: &BinaryOperator, left: &DataType, right: &DataType) -> Option<(&'static str, bool)> {
    let is_interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
    let is_instant = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, Some(_)));
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
    let is_day = |data_type: &DataType| matches!(data_type, DataType::Date32);
    match op {
        BinaryOperator::Minus if is_time(left) && (is_time(right) || is_day(right)) => {
            Some(("timestamps_apart", false))
        }
        BinaryOperator::Minus if is_day(left) && is_time(right) => Some(("timestamps_apart", false)),
        BinaryOperator::Plus if is_instant(left) && is_interval(right) => Some(("timestamptz_plus", false)),
        BinaryOperator::Plus if is_interval(left) && is_instant(right) => Some(("timestamptz_plus", true)),
        BinaryOperator::Minus if is_instant(left) && is_interval(right) => Some(("timestamptz_minus", false)),
        BinaryOperator::Multiply if is_interval(left) && right.is_numeric() => Some(("interval_times", false)),
        BinaryOperator::Multiply if left.is_numeric() && is_interval(right) => Some(("interval_times", true)),
        BinaryOperator::Divide if is_interval(left) && right.is_numeric() => Some(("interval_over", false)),
        _ => None,
    }
}

/// Whether a literal on the right is JSON, if the left is.
fn is_json_operand(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::StringConcat)
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | Modulo)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// A string literal beside a value of another type takes that type.
pub fn adopt(expression: Expr, beside: &FieldRef, zone: TimeZone) -> DfResult<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(literal)), _) = &expression else { return Ok(expression) };
    let column_type = of_field(beside);
    if let ColumnType::Decimal { scale, .. } = column_type {
        // With all its digits: it is compared, not stored.
        let digits = literal.trim().split_once('.').map_or(0, |(_, digits)| digits.len());
        let scale = scale.max(u8::try_from(digits).unwrap_or(MAX_SCALE).min(MAX_SCALE));
        let scale = if literal.contains(['e', 'E']) { scale.max(UNCONSTRAINED_SCALE) } else { scale };
        let wide = ColumnType::Decimal { precision: Some(MAX_SCALE), scale };
        let mut builder = ColumnBuilder::new(&wide);
        builder.push(&text::parse(literal, &wide, zone)?)?;
        return Ok(Expr::Literal(only_value(&builder.finish()?)?, None));
    }
    if let ColumnType::Char(_) = column_type {
        // What is stored of CHAR(n) has no trailing blanks, and they do not count.
        let trimmed = literal.trim_end_matches(' ').to_string();
        return Ok(Expr::Literal(ScalarValue::Utf8(Some(trimmed)), None));
    }
    let is_text = column_type.is_character() || beside.data_type().is_null();
    if is_text || super::super::types::arrow_type(&column_type) != *beside.data_type() {
        return Ok(expression);
    }
    let mut builder = ColumnBuilder::new(&column_type);
    builder.push(&text::parse(literal, &column_type, zone)?)?;
    // What is said of its type goes with it.
    let metadata = anonymous_field(&column_type).metadata().clone();
    let metadata = (!metadata.is_empty()).then(|| FieldMetadata::from(metadata));
    Ok(Expr::Literal(only_value(&builder.finish()?)?, metadata))
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn function_for(op: &BinaryOperator) -> Option<&'static Arc<ScalarUDF>> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        [("+", Arithmetic::Add), ("-", Arithmetic::Subtract), ("*", Arithmetic::Multiply)]
            .map(|(name, operation)| Arc::new(ScalarUDF::from(Checked::new(name, operation))))
    });
    match op {
        BinaryOperator::Plus => Some(&FUNCTIONS[0]),
        BinaryOperator::Minus => Some(&FUNCTIONS[1]),
        BinaryOperator::Multiply => Some(&FUNCTIONS[2]),
        _ => None,
    }
}

/// Division of floats that notices a zero below and a result that is none.
fn float_over() -> &'static Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::exact(vec![DataType::Float64, DataType::Float64], Volatility::Immutable);
        Arc::new(ScalarUDF::from(FloatOver { signature }))
    });
    &FUNCTION
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatOver {
    signature: Signature,
}

impl ScalarUDFImpl for FloatOver {
    fn name(&self) -> &str {
        "/"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("/({})", args.iter().map(operand_name).collect::<Vec<_>>().join(",")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
        let (dividends, divisors) = (arrays[0].as_primitive::<Float64Type>(), arrays[1].as_primitive::<Float64Type>());
        let over = |(dividend, divisor): (Option<f64>, Option<f64>)| -> Result<Option<f64>, Error> {
            let (Some(dividend), Some(divisor)) = (dividend, divisor) else { return Ok(None) };
            if divisor == 0.0 && !dividend.is_nan() {
                return Err(Error::new(code::DIVISION_BY_ZERO, "division by zero"));
            }
            let quotient = dividend / divisor;
            if quotient.is_infinite() && dividend.is_finite() {
                return Err(Error::new(code::NUMERIC_OUT_OF_RANGE, "value out of range: overflow"));
            }
            Ok(Some(quotient))
        };
        let quotients = dividends.iter().zip(divisors).map(over).collect::<Result<Float64Array, Error>>()?;
        let result: ArrayRef = Arc::new(quotients);
        Ok(if is_scalar { ColumnarValue::Scalar(only_value(&result)?) } else { ColumnarValue::Array(result) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
}

/// Integer arithmetic that notices overflow.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    name: &'static str,
    operation: Arithmetic,
    signature: Signature,
}

impl Checked {
    fn new(name: &'static str, operation: Arithmetic) -> Checked {
        Checked { name, operation, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl Checked {
    fn operator(&self) -> Operator {
        match self.operation {
            Arithmetic::Add => Operator::Plus,
            Arithmetic::Subtract => Operator::Minus,
            Arithmetic::Multiply => Operator::Multiply,
        }
    }
}

fn wider(types: &[DataType]) -> DataType {
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(8);
    types.iter().max_by_key(|data_type| width(data_type)).cloned().unwrap_or(DataType::Int64)
}

/// The name of an operand; of one that is arithmetic itself, or has a long name, a hash, which is still another for another expression.
pub fn operand_name(operand: &Expr) -> String {
    let is_arithmetic = |name: &str| ["+", "-", "*"].contains(&name);
    if !matches!(operand, Expr::ScalarFunction(call) if is_arithmetic(call.name())) {
        let name = operand.schema_name().to_string();
        if name.len() <= MAX_OPERAND_NAME {
            return name;
        }
    }
    let mut hasher = DefaultHasher::new();
    operand.hash(&mut hasher);
    format!("#{:016x}", hasher.finish())
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        // A `CASE` or `UNION` that was of whole numbers when this was planned may have become one of decimals.
        if types.iter().any(|data_type| !data_type.is_integer()) {
            return BinaryTypeCoercer::new(&types[0], &self.operator(), &types[1]).get_result_type();
        }
        Ok(wider(types))
    }

    /// Names of results are spelled out at every level of an expression, over and over: those of long operands are cut.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let operands: Vec<String> = args.iter().map(operand_name).collect();
        Ok(format!("{}({})", self.name, operands.join(",")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let wide = args.return_field.data_type().clone();
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let (left_type, right_type) = match wide.is_integer() {
            true => (wide.clone(), wide),
            false => {
                let types = [args.args[0].data_type(), args.args[1].data_type()];
                BinaryTypeCoercer::new(&types[0], &self.operator(), &types[1]).get_input_types()?
            }
        };
        let operand = |arg: &ColumnarValue, to: &DataType| arg.cast_to(to, None)?.into_array(rows);
        let (left, right) = (operand(&args.args[0], &left_type)?, operand(&args.args[1], &right_type)?);
        let result = match self.operation {
            Arithmetic::Add => add(&left, &right),
            Arithmetic::Subtract => sub(&left, &right),
            Arithmetic::Multiply => mul(&left, &right),
        }?;
        if scalar {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}
