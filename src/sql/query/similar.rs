//! `SIMILAR TO`, as a regular expression: DataFusion takes its patterns for one as they are.
//! After <https://www.postgresql.org/docs/15/functions-matching.html#FUNCTIONS-SIMILARTO-REGEXP>.

use sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};

use super::super::error::{Error, Result};
use super::rewrite::string_literal;

/// What is to be planned instead.
pub fn reword(negated: bool, value: &Expr, pattern: &Expr, escape: Option<&ValueWithSpan>) -> Result<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(pattern), .. }) = pattern else {
        return Err(Error::unsupported("SIMILAR TO with a pattern that is no literal"));
    };
    let escape = match escape.map(|escape| &escape.value) {
        None => Some('\\'),
        Some(Value::SingleQuotedString(text)) => text.chars().next(),
        Some(_) => return Err(Error::unsupported("this ESCAPE of SIMILAR TO")),
    };
    let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let regex = Box::new(string_literal(regex(pattern, escape)));
    let matched = Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(value.clone()))), op, right: regex };
    Ok(Expr::Nested(Box::new(matched)))
}

fn regex(pattern: &str, escape: Option<char>) -> String {
    let mut regex = String::from("^(?s:");
    let (mut escaped, mut in_class) = (false, false);
    for character in pattern.chars() {
        match character {
            _ if escaped => {
                if !character.is_alphanumeric() {
                    regex.push('\\');
                }
                regex.push(character);
                escaped = false;
            }
            _ if Some(character) == escape => escaped = true,
            ']' if in_class => {
                regex.push(']');
                in_class = false;
            }
            '\\' => regex.push_str("\\\\"),
            _ if in_class => regex.push(character),
            '[' => {
                regex.push('[');
                in_class = true;
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '.' | '^' | '$' => {
                regex.push('\\');
                regex.push(character);
            }
            other => regex.push(other),
        }
    }
    regex.push_str(")$");
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        assert_eq!(regex("(a|b)%", Some('\\')), "^(?s:(?:a|b).*)$");
        assert_eq!(regex("a_c.d", Some('\\')), "^(?s:a.c\\.d)$");
        assert_eq!(regex("10#%[%_]+", Some('#')), "^(?s:10\\%[%_]+)$");
        assert_eq!(regex("x{2,3}", None), "^(?s:x{2,3})$");
    }
}
