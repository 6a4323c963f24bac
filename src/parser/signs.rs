//! Where an operator ends and the sign of a number begins, after
//! <https://www.postgresql.org/docs/15/sql-syntax-lexical.html#SQL-SYNTAX-OPERATORS>.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

/// An operator of several characters ends in `+` or `-` only if one of these is in it.
const FREE: [char; 10] = ['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// Takes the signs off the end of an operator that cannot end in them: `a>-1` compares with a negative number.
pub fn split(token: TokenWithSpan) -> Vec<TokenWithSpan> {
    let Token::CustomBinaryOperator(operator) = &token.token else { return vec![token] };
    let kept = operator.trim_end_matches(['+', '-']);
    // Two hyphens would have begun a comment.
    let is_split = !operator.contains(FREE) && !operator.contains("--");
    let Some(known) = known(kept).filter(|_| is_split) else { return vec![token] };
    let Location { line, column } = token.span.start;
    let at = |from: usize, to: usize| {
        Span::new(Location::new(line, column + from as u64), Location::new(line, column + to as u64))
    };
    let signs = operator[kept.len()..].chars().enumerate().map(|(number, sign)| {
        let from = kept.len() + number;
        TokenWithSpan::new(if sign == '-' { Token::Minus } else { Token::Plus }, at(from, from + 1))
    });
    let first = (!kept.is_empty()).then(|| TokenWithSpan::new(known, at(0, kept.len())));
    first.into_iter().chain(signs).collect()
}

/// The token of an operator without one of the characters above.
fn known(operator: &str) -> Option<Token> {
    Some(match operator {
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" => Token::Neq,
        "*" => Token::Mul,
        "/" => Token::Div,
        "->" => Token::Arrow,
        "->>" => Token::LongArrow,
        "<<" => Token::ShiftLeft,
        ">>" => Token::ShiftRight,
        // Signs alone: all of it is split off.
        "" => Token::Plus,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn a_sign_after_an_operator_belongs_to_the_number() {
        for operator in ["=", "<", ">", "<=", ">=", "<>", "*", "/", "+", "-", "->", "->>", "<<", ">>"] {
            for sign in ["-", "+"].into_iter().filter(|sign| operator != "-" || *sign == "+") {
                let close = parse(&format!("SELECT a{operator}{sign}1.5, b")).map(|mut all| all.remove(0));
                let apart = parse(&format!("SELECT a {operator} {sign}1.5, b")).map(|mut all| all.remove(0));
                let (close, apart) = (close.unwrap(), apart.unwrap());
                assert_eq!(close.statement.to_string(), apart.statement.to_string(), "{operator}{sign}");
                assert_eq!(close.span.end, apart.span.end - 2, "{operator}{sign}");
            }
        }
        assert_eq!(parse("SELECT a>-1 b c").unwrap_err().position, parse("SELECT a> -1 b c").unwrap_err().position - 1);
        assert_ne!(
            parse("SELECT a>--1").unwrap()[0].statement.to_string(),
            parse("SELECT a> - -1").unwrap()[0].statement.to_string()
        );
    }
}
