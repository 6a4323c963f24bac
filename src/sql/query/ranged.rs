//! Functions whose values may be compared in the keys of a window: DataFusion takes the range of what a function gives for one of NULLs,
//! stumbles over that, and refuses the plan as not sorted.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

type DfResult<T> = datafusion::error::Result<T>;

/// Says of functions that are operands in an expression that nothing is known of their range.
pub fn operands(expression: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    expression.transform_up(|inner| match inner {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_function(&left) || is_function(&right) => {
            let (left, right) = (ranged(*left, schema)?, ranged(*right, schema)?);
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn is_function(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(call) if call.name() != Ranged::NAME)
}

fn ranged(expression: Expr, schema: &DFSchema) -> DfResult<Expr> {
    if !is_function(&expression) {
        return Ok(expression);
    }
    let of = expression.get_type(schema)?;
    Ok(ScalarUDF::from(Ranged { of, signature: Signature::any(1, Volatility::Immutable) }).call(vec![expression]))
}

/// A value as it is, of any that its type has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ranged {
    of: DataType,
    signature: Signature,
}

impl Ranged {
    const NAME: &str = "ranged";
}

impl ScalarUDFImpl for Ranged {
    fn name(&self) -> &str {
        Ranged::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn evaluate_bounds(&self, _: &[&Interval]) -> DfResult<Interval> {
        Interval::make_unbounded(&self.of)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
