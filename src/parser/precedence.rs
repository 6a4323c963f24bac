//! Operators that `sqlparser` binds otherwise than PostgreSQL, after <https://www.postgresql.org/docs/15/sql-syntax-lexical.html#SQL-PRECEDENCE>.
//!
//! `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`, and `-2 ^ 2` is `(-2) ^ 2`. What is put right is in parentheses, so that it is
//! read the same when it has been printed.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, VisitMut, VisitorMut};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether a statement has operators that may have been bound otherwise.
pub fn concerns(tokens: &[TokenWithSpan]) -> bool {
    let is_word =
        |token: &Token, text: &str| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text));
    tokens.iter().any(|token| token.token == Token::Caret || is_word(&token.token, "DISTINCT"))
}

/// Binds them as PostgreSQL does.
pub fn settle<T: VisitMut>(tree: &mut T) {
    let _ = tree.visit(&mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let placeholder = Expr::value(sqlparser::ast::Value::Null);
        let taken = std::mem::replace(expression, placeholder);
        *expression = settled(taken);
        ControlFlow::Continue(())
    }
}

fn settled(expression: Expr) -> Expr {
    match expression {
        Expr::IsDistinctFrom(left, right) if is_logical(&right) => {
            under(*right, is_logical, |first| nested(Expr::IsDistinctFrom(left, Box::new(first))))
        }
        Expr::IsNotDistinctFrom(left, right) if is_logical(&right) => {
            under(*right, is_logical, |first| nested(Expr::IsNotDistinctFrom(left, Box::new(first))))
        }
        // What comes of the above, and of nothing else.
        Expr::BinaryOp { left, op: BinaryOperator::And, right } if is_or(&right) => under(*right, is_or, |first| {
            settled(Expr::BinaryOp { left, op: BinaryOperator::And, right: Box::new(first) })
        }),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } if is_logical(&expr) => {
            under(*expr, is_logical, |first| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(first) })
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if is_power(&expr) => {
            under(*expr, is_power, |first| nested(Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(first) }))
        }
        other => other,
    }
}

/// Puts something around the first operand of a chain of operators.
fn under(chain: Expr, is_link: fn(&Expr) -> bool, around: impl FnOnce(Expr) -> Expr) -> Expr {
    match chain {
        Expr::BinaryOp { left, op, right } if is_link(&left) => {
            Expr::BinaryOp { left: Box::new(under(*left, is_link, around)), op, right }
        }
        Expr::BinaryOp { left, op, right } => Expr::BinaryOp { left: Box::new(around(*left)), op, right },
        other => around(other),
    }
}

fn nested(expression: Expr) -> Expr {
    Expr::Nested(Box::new(expression))
}

fn is_logical(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

fn is_or(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::Or, .. })
}

fn is_power(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::PGExp | BinaryOperator::BitwiseXor, .. })
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn operators_bind_as_in_postgres() {
        let cases = [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("x AND a IS DISTINCT FROM b OR c", "x AND (a IS DISTINCT FROM b) OR c"),
            ("a IS NOT DISTINCT FROM b + 1 OR c AND d", "(a IS NOT DISTINCT FROM b + 1) OR c AND d"),
            ("NOT a IS DISTINCT FROM b AND c", "NOT (a IS DISTINCT FROM b) AND c"),
            ("a IS DISTINCT FROM (b AND c)", "a IS DISTINCT FROM (b AND c)"),
            ("-2 ^ 2 ^ 3", "(-2) ^ 2 ^ 3"),
            ("a AND NOT b OR c", "a AND NOT b OR c"),
        ];
        for (text, expected) in cases {
            let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap();
            let mut expression = parser.parse_expr().unwrap();
            settle(&mut expression);
            assert_eq!(expression.to_string(), expected);
            let shape = |expression: &Expr| matches!(expression, Expr::BinaryOp { op: BinaryOperator::Or, .. });
            let again = Parser::new(&PostgreSqlDialect {}).try_with_sql(expected).unwrap().parse_expr().unwrap();
            assert_eq!(shape(&again), shape(&expression), "{text}");
        }
    }
}
