use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Location;

/// A statement that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Five characters; syntax errors are 42601.
    pub sqlstate: &'static str,
    /// What was found and what was expected. Never quotes a string literal.
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
            let before: usize =
                sql.split_inclusive('\n').take(line as usize - 1).map(|line| line.chars().count()).sum();
            self.position = before + column as usize;
        }
        self
    }

    /// Converts sqlparser's error, which carries its place in its text.
    pub fn from_sqlparser(error: ParserError) -> Error {
        let message = match error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
            ParserError::RecursionLimitExceeded => {
                let message = "the statement is nested too deeply";
                return Error { sqlstate: "54001", ..Error::syntax(message, Location { line: 0, column: 0 }) };
            }
        };
        let (text, place) = message.rsplit_once(" at Line: ").unwrap_or((&message, ""));
        let mut numbers = place.split(", Column: ").map(|number| number.trim().parse().unwrap_or(0));
        let location = Location { line: numbers.next().unwrap_or(0), column: numbers.next().unwrap_or(0) };
        Error::syntax(format!("syntax error: {}", without_literals(text)), location)
    }
}

/// `text` with everything in single quotes taken out: it may be a secret.
fn without_literals(text: &str) -> String {
    let Some((before, after)) = text.split_once('\'') else { return text.to_string() };
    match after.rsplit_once('\'') {
        Some((_, rest)) => format!("{before}'…'{rest}"),
        None => format!("{before}'…'"),
    }
}

/// The byte offset of a place in the source.
pub fn offset_of(sql: &str, at: Location) -> usize {
    let before: usize = sql.split_inclusive('\n').take((at.line as usize).saturating_sub(1)).map(str::len).sum();
    let line = sql.get(before..).unwrap_or_default();
    let columns = (at.column as usize).saturating_sub(1);
    before + line.char_indices().nth(columns).map_or(line.len(), |(offset, _)| offset)
}
