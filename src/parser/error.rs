use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, TokenizerError};

/// A statement that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Five characters; syntax errors are 42601.
    pub sqlstate: &'static str,
    /// What was found and what was expected. Never quotes a string literal or a quoted word.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Where, counting characters from 1, in the whole text; 0 until [`Error::in_source`] knows it.
    pub position: usize,
    /// Where, in lines and columns from 1.
    pub location: Option<(u64, u64)>,
}

/// The parser's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A syntax error at a place.
    pub fn syntax(message: impl Into<String>, at: Location) -> Error {
        let location = (at.line > 0).then_some((at.line, at.column));
        Error { sqlstate: "42601", message: message.into(), hint: None, position: 0, location }
    }

    /// Syntax that is understood and not supported.
    pub fn unsupported(what: impl std::fmt::Display, at: Location) -> Error {
        Error { sqlstate: "0A000", ..Error::syntax(format!("{what} is not supported"), at) }
    }

    /// A statement that is too complex to work on.
    pub fn too_complex(message: impl Into<String>, at: Location) -> Error {
        Error { sqlstate: "54001", ..Error::syntax(message, at) }
    }

    /// Adds advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Fills in the character position.
    pub fn in_source(mut self, sql: &str) -> Error {
        if let Some((line, column)) = self.location
            && self.position == 0
        {
            let before: usize = sql
                .split_inclusive('\n')
                .take((line as usize).saturating_sub(1))
                .map(|line| line.chars().count())
                .sum();
            self.position = before + column as usize;
        }
        self
    }

    /// Converts the error of a text that does not fall into words.
    pub fn from_tokenizer(error: TokenizerError) -> Error {
        let message = match error.message.split_once(' ') {
            Some(("Unterminated", what)) => format!("unterminated {what}"),
            _ if error.message.starts_with("Expected close delimiter") => "unterminated quoted identifier".into(),
            _ => "there is something here that is not SQL".into(),
        };
        Error::syntax(format!("syntax error: {message}"), error.location)
    }

    /// Converts sqlparser's error, which carries its place in its text.
    pub fn from_sqlparser(error: ParserError) -> Error {
        let message = match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
            ParserError::RecursionLimitExceeded => {
                return Error::too_complex(TOO_DEEP, Location { line: 0, column: 0 });
            }
        };
        let (text, place) = message.rsplit_once(" at Line: ").unwrap_or((&message, ""));
        let mut numbers = place.split(", Column: ").map(|number| number.trim().parse().unwrap_or(0));
        let location = Location { line: numbers.next().unwrap_or(0), column: numbers.next().unwrap_or(0) };
        // What follows is the source's own text, which may be a secret.
        let text = text.split_once(", found: ").map_or(text, |(expected, _)| expected);
        let text = text.strip_prefix("Expected: ").map_or(text.to_string(), |expected| format!("expected {expected}"));
        let quotes = |c: char| matches!(c, '\'' | '"' | '`' | '$');
        if text.contains(quotes) {
            return Error::syntax("syntax error", location);
        }
        Error::syntax(format!("syntax error: {text}"), location)
    }

    /// Converts sqlparser's error about these tokens, and says which of them it found.
    pub fn from_sqlparser_on(error: ParserError, tokens: &[TokenWithSpan]) -> Error {
        let mut error = Error::from_sqlparser(error);
        let Some(last) = tokens.last() else { return error };
        let found = match error.location {
            Some(at) => tokens.iter().find(|token| (token.span.start.line, token.span.start.column) == at),
            None => None,
        };
        if error.sqlstate == "42601" {
            error.message.push_str(&format!(", found {}", describe(found.map(|token| &token.token))));
        }
        if found.is_none_or(|token| token.token == Token::EOF) {
            error.location = Some((last.span.end.line, last.span.end.column));
        }
        error
    }
}

/// What is said of a statement that nests too deeply.
pub const TOO_DEEP: &str = "the statement is nested too deeply";

/// A token as an error may show it: string literals and quoted words are not quoted back.
pub fn describe(token: Option<&Token>) -> String {
    match token {
        None | Some(Token::EOF | Token::SemiColon) => "the end of the statement".into(),
        Some(Token::Word(word)) if word.quote_style.is_some() => "a quoted identifier".into(),
        Some(
            Token::Word(_)
            | Token::Number(..)
            | Token::Placeholder(_)
            | Token::Char(_)
            | Token::Comma
            | Token::Period
            | Token::Colon
            | Token::LParen
            | Token::RParen
            | Token::LBracket
            | Token::RBracket
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::DoubleColon,
        ) => token.map_or(String::new(), |token| format!("\"{token}\"")),
        Some(
            Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::UnicodeStringLiteral(_),
        ) => "a string literal".into(),
        Some(_) => "something else".into(),
    }
}
