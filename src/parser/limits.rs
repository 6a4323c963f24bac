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
    let mut open = vec![Level::new(Opened::Statement)];
    let (mut prefixes, mut dots) = (0usize, 0usize);
    for (index, TokenWithSpan { token, span }) in tokens.iter().enumerate() {
        prefixes = if is_prefix(token) { prefixes + 1 } else { 0 };
        let after_dot = index > 0 && tokens[index - 1].token == Token::Period;
        dots = match token {
            Token::Period => dots + 1,
            Token::Word(_) if after_dot => dots,
            _ => 0,
        };
        let innermost = open.len() - 1;
        match token {
            Token::LParen => open.push(Level::new(Opened::Bracket)),
            Token::LBracket => {
                // a[1][2], INT[][]
                open[innermost].operators += 1;
                open.push(Level::new(Opened::Bracket));
            }
            Token::Word(word) if word.keyword == Keyword::CASE => open.push(Level::new(Opened::Case)),
            Token::Word(word) if word.keyword == Keyword::END && open[innermost].opened == Opened::Case => {
                open.pop();
            }
            Token::RParen | Token::RBracket => {
                while open.len() > 1 && open.pop().is_some_and(|level| level.opened == Opened::Case) {}
            }
            Token::Comma => open[innermost].operators = 0,
            Token::Placeholder(text) => parameters = parameters.max(check_parameter(text, span.start)?),
            Token::Word(word) if word.quote_style.is_some() && word.value.contains(['\n', '\r']) => {
                return Err(Error::unsupported("a line break in a name", span.start));
            }
            // sqlparser would write it back as another name.
            Token::Word(word)
                if word.quote_style.is_some() && ["\"\"", "\\\""].iter().any(|odd| word.value.contains(odd)) =>
            {
                return Err(Error::unsupported("a quote after a quote or a backslash in a name", span.start));
            }
            Token::Word(word) if is_set_operator(word.keyword) => open[innermost].set_operators += 1,
            token if is_operator(token) => open[innermost].operators += 1,
            _ => {}
        }
        if open.len() - 1 + prefixes.saturating_sub(1) > MAX_DEPTH {
            let hint = format!("Parentheses, brackets, CASEs and prefix operators may nest {MAX_DEPTH} levels.");
            return Err(Error::too_complex(TOO_DEEP, span.start).hint(hint));
        }
        if dots > MAX_DEPTH {
            return Err(Error::too_complex(format!("a name has more than {MAX_DEPTH} parts"), span.start));
        }
        let level = &open[open.len() - 1];
        if level.operators.max(level.set_operators) > MAX_OPERATORS {
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

/// Something that is open.
struct Level {
    opened: Opened,
    /// Operators since the last comma.
    operators: usize,
    /// `UNION`s and the like, which go on over commas.
    set_operators: usize,
}

impl Level {
    fn new(opened: Opened) -> Level {
        Level { opened, operators: 0, set_operators: 0 }
    }
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
        Token::Word(word) => matches!(word.keyword, Keyword::NOT | Keyword::INTERVAL),
        _ => false,
    }
}

fn is_set_operator(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS)
}

/// Whether a token may make a tree deeper. Every keyword may, apart from those that only begin another part.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => !matches!(
            word.keyword,
            Keyword::NoKeyword
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE
                | Keyword::AS
                | Keyword::ON
                | Keyword::LEFT
                | Keyword::RIGHT
                | Keyword::INNER
                | Keyword::OUTER
                | Keyword::FULL
                | Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::NULL
                | Keyword::TRUE
                | Keyword::FALSE
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
