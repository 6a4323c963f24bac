//! How complex a statement may be. Whatever works on a syntax tree walks it recursively, so its depth is bounded
//! before there is a tree.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{Error, Result, TOO_DEEP};

/// Deepest nesting of parentheses, brackets, `CASE`s and prefix operators.
pub const MAX_DEPTH: usize = 128;
/// Most operators in a row: `a OR b OR c ...` makes a tree as deep as it is long.
pub const MAX_OPERATORS: usize = 1024;
/// Stack that a thread needs to work on the deepest tree; a clone in a debug build takes the most. Only what is used
/// of it costs memory.
pub const STACK_BYTES: usize = 128 << 20;
/// Highest number of a placeholder: the wire protocol counts parameters in 16 bits.
pub const MAX_PARAMETERS: usize = 65535;
/// `sqlparser`'s own limit, which counts in its own way. Never reached first.
pub const RECURSION_LIMIT: usize = 6 * MAX_DEPTH;

/// Refuses a statement that nests too deeply, has too many operators in one expression, or too many parameters. Returns
/// the number of its highest parameter.
pub fn check(tokens: &[TokenWithSpan]) -> Result<usize> {
    let mut parameters = 0;
    // What is open, each with the number of operators seen in it.
    let mut open: Vec<(Opened, usize)> = vec![(Opened::Statement, 0)];
    let mut prefixes = 0usize;
    for TokenWithSpan { token, span } in tokens {
        prefixes = if is_prefix(token) { prefixes + 1 } else { 0 };
        let innermost = open.len() - 1;
        match token {
            Token::LParen | Token::LBracket => open.push((Opened::Bracket, 0)),
            Token::Word(word) if word.keyword == Keyword::CASE => open.push((Opened::Case, 0)),
            Token::Word(word) if word.keyword == Keyword::END && open[innermost].0 == Opened::Case => {
                open.pop();
            }
            Token::RParen | Token::RBracket => {
                while open.len() > 1 && open.pop().is_some_and(|(opened, _)| opened == Opened::Case) {}
            }
            Token::Comma => open[innermost].1 = 0,
            Token::Placeholder(text) => parameters = parameters.max(check_parameter(text, span.start)?),
            token if is_operator(token) => open[innermost].1 += 1,
            _ => {}
        }
        if open.len() - 1 + prefixes.saturating_sub(1) > MAX_DEPTH {
            let hint = format!("Parentheses, brackets, CASEs and prefix operators may nest {MAX_DEPTH} levels.");
            return Err(Error::too_complex(TOO_DEEP, span.start).hint(hint));
        }
        if open[open.len() - 1].1 > MAX_OPERATORS {
            let message = format!("an expression has more than {MAX_OPERATORS} operators");
            let hint = "Use IN, ANY or a table of values instead of a long chain.";
            return Err(Error::too_complex(message, span.start).hint(hint));
        }
    }
    Ok(parameters)
}

/// The number of `$n`; 0 of what is no number.
fn check_parameter(text: &str, at: Location) -> Result<usize> {
    let digits = text.trim_start_matches('$');
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(0);
    }
    let number = digits.parse().ok().filter(|number| *number <= MAX_PARAMETERS);
    number.ok_or_else(|| Error::too_complex(format!("a statement has at most {MAX_PARAMETERS} parameters"), at))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Statement,
    Bracket,
    Case,
}

fn is_prefix(token: &Token) -> bool {
    match token {
        Token::Minus | Token::Plus | Token::Tilde => true,
        Token::Word(word) => word.keyword == Keyword::NOT,
        _ => false,
    }
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::IS
                | Keyword::NOTNULL
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::OVERLAPS
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::JOIN
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::Colon
        | Token::EOF => false,
        _ => true,
    }
}
