//! `CHAR(n)` with its trailing blanks: stored without them, and without them where it becomes text, but not beside a pattern or when its bytes
//! are counted (<https://www.postgresql.org/docs/15/datatype-character.html>).

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF};

use super::super::time_zone::TimeZone;
use super::super::types::of_field;
use super::passed_types::field_of;
use super::row_function::{Definition, Takes, named};
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// An expression that looks at blanks, with them.
pub fn pad(part: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    match part {
        Expr::Like(mut like) => {
            let changed = pad_operand(&mut like.expr, schema);
            Ok(Transformed::new_transformed(Expr::Like(like), changed))
        }
        Expr::BinaryExpr(BinaryExpr { mut left, op, right }) if takes_pattern(op) => {
            let changed = pad_operand(&mut left, schema);
            Ok(Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        Expr::ScalarFunction(mut call) if call.name() == "octet_length" && call.args.len() == 1 => {
            let changed = pad_operand(&mut call.args[0], schema);
            Ok(Transformed::new_transformed(Expr::ScalarFunction(call), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn takes_pattern(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

fn pad_operand(operand: &mut Expr, schema: &DFSchema) -> bool {
    // One of a query outside is not known here.
    let Ok(field) = field_of(operand, schema) else { return false };
    let before = std::mem::take(operand);
    let is_char = is_char(&field);
    *operand = padded(before, &field);
    is_char
}

fn is_char(field: &FieldRef) -> bool {
    matches!(of_field(field), ColumnType::Char(_))
}

/// A value of `CHAR(n)` with its blanks, any other as it is.
pub fn padded(value: Expr, field: &FieldRef) -> Expr {
    match &*PADDED {
        Some(padded) if is_char(field) => padded.call(vec![value]),
        _ => value,
    }
}

static PADDED: LazyLock<Option<Arc<ScalarUDF>>> = LazyLock::new(|| {
    // As it prints.
    let definition: Definition =
        ("char:padded", Takes::Exactly(1), ColumnType::Text.into(), |args| Ok(args[0].text().into()));
    named(&[definition], "char:padded", TimeZone::UTC)
});
