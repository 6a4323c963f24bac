//! Row values: compared with each other and tested for NULL part by part.

use sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::super::error::{Error, Result, code};
use super::rewrite::{call, is_called, join_balanced};

/// The parts of a row, if an expression is one.
pub fn parts(expression: &Expr) -> Option<Vec<Expr>> {
    match expression {
        Expr::Tuple(values) if !values.is_empty() => Some(values.clone()),
        Expr::Function(function @ Function { args: FunctionArguments::List(list), .. })
            if is_called(function, "row") =>
        {
            let part = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(part)) => Some(part.clone()),
                _ => None,
            };
            list.args.iter().map(part).collect::<Option<Vec<_>>>().filter(|parts| !parts.is_empty())
        }
        Expr::Nested(inner) => parts(inner),
        _ => None,
    }
}

/// What is to be planned instead of a comparison of rows, or a test of one.
pub fn reword(expression: &Expr) -> Result<Option<Expr>> {
    Ok(match expression {
        Expr::BinaryOp { left, op, right } if is_comparison(op) => match (parts(left), parts(right)) {
            (Some(left), Some(right)) => Some(compared(&left, op, &right)?),
            _ => None,
        },
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => match (parts(left), parts(right)) {
            (Some(left), Some(right)) if left.len() == 2 && right.len() == 2 => {
                Some(call("overlaps", [left, right].concat()))
            }
            _ => {
                let message = "wrong number of parameters of OVERLAPS expression";
                return Err(Error::new(code::SYNTAX_ERROR, message));
            }
        },
        Expr::IsNull(row) => parts(row).map(|parts| all(parts.into_iter().map(|part| Expr::IsNull(Box::new(part))))),
        Expr::IsNotNull(row) => {
            parts(row).map(|parts| all(parts.into_iter().map(|part| Expr::IsNotNull(Box::new(part)))))
        }
        Expr::InList { expr, list, negated } => {
            let Some(row) = parts(expr) else { return Ok(None) };
            let mut equal = Vec::new();
            for item in list {
                let Some(item) = parts(item) else { return Ok(None) };
                let op = if *negated { BinaryOperator::NotEq } else { BinaryOperator::Eq };
                equal.push(compared(&row, &op, &item)?);
            }
            let op = if *negated { BinaryOperator::And } else { BinaryOperator::Or };
            (!equal.is_empty()).then(|| nested(join_balanced(equal, &op)))
        }
        _ => None,
    })
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Expr> {
    if left.len() != right.len() {
        return Err(Error::new(code::SYNTAX_ERROR, "unequal number of entries in row expressions"));
    }
    let each = |op: BinaryOperator| left.iter().zip(right).map(move |(left, right)| binary(left, op.clone(), right));
    Ok(match op {
        BinaryOperator::Eq => all(each(BinaryOperator::Eq)),
        BinaryOperator::NotEq => nested(join_balanced(each(BinaryOperator::NotEq).collect(), &BinaryOperator::Or)),
        // The first parts that differ decide: a < x OR (a = x AND (b < y OR ...)).
        _ => {
            let strict = match op {
                BinaryOperator::LtEq => BinaryOperator::Lt,
                BinaryOperator::GtEq => BinaryOperator::Gt,
                other => other.clone(),
            };
            let mut pairs = left.iter().zip(right).rev();
            let last = pairs.next().map(|(left, right)| binary(left, op.clone(), right));
            let decided = pairs.fold(last, |rest, (left, right)| {
                let rest = all([binary(left, BinaryOperator::Eq, right)].into_iter().chain(rest));
                Some(nested(join_balanced(vec![binary(left, strict.clone(), right), rest], &BinaryOperator::Or)))
            });
            decided.ok_or_else(|| Error::new(code::SYNTAX_ERROR, "a row without parts"))?
        }
    })
}

fn binary(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    let operand = |part: &Expr| Box::new(nested(part.clone()));
    Expr::BinaryOp { left: operand(left), op, right: operand(right) }
}

fn all(conditions: impl Iterator<Item = Expr>) -> Expr {
    nested(join_balanced(conditions.collect(), &BinaryOperator::And))
}

fn nested(expression: Expr) -> Expr {
    match expression {
        plain @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::Nested(_)) => plain,
        other => Expr::Nested(Box::new(other)),
    }
}
