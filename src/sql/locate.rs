//! Where in a statement an error is. PostgreSQL points to the name that means nothing and to the literal that cannot be read; here the
//! plan no longer knows where they stood, so what the error names is looked for among the words of the statement.

use std::ops::Range;

use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{Error, code};
use crate::parser::tokens_of;

/// What an error names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Column,
    Relation,
    /// What stands before a point, and is no table of the query.
    Qualifier,
    Function,
    Type,
    Literal,
}

/// The error with its position in `text`, if it names something in the statement that is at these bytes of it.
pub fn located(mut error: Error, text: &str, statement: Range<usize>) -> Error {
    if error.position.is_none()
        && let Some((named, name)) = what_is_named(&error)
    {
        error.position = position(text, statement, named, name);
    }
    error
}

fn what_is_named(error: &Error) -> Option<(Named, &str)> {
    let message = error.message.as_str();
    let after = |words: &str| message.split_once(words).map(|(_, rest)| first_name(rest));
    match error.sqlstate {
        code::UNDEFINED_COLUMN | code::AMBIGUOUS_COLUMN => {
            let name = after("column reference ").or_else(|| after("column "))?;
            Some((Named::Column, name))
        }
        code::UNDEFINED_TABLE => match after("missing FROM-clause entry for table ") {
            Some(name) => Some((Named::Qualifier, name)),
            None => Some((Named::Relation, after("relation ").or_else(|| after("table "))?)),
        },
        code::UNDEFINED_FUNCTION => Some((Named::Function, after("function ")?)),
        code::UNDEFINED_OBJECT => Some((Named::Type, after("type ")?)),
        code::BAD_TEXT | code::BAD_DATETIME => {
            let (_, literal) = message.split_once(": \"")?;
            Some((Named::Literal, literal.strip_suffix('"')?))
        }
        _ => None,
    }
}

/// A name at the beginning of a text, in quotes or up to what cannot be in one.
fn first_name(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => text.split([' ', '(']).next().unwrap_or_default(),
    }
}

fn position(text: &str, statement: Range<usize>, named: Named, name: &str) -> Option<u32> {
    let before = text.get(..statement.start)?;
    let text = text.get(statement)?;
    let tokens = tokens_of(text)?;
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_it = |index: &usize| match &tokens[*index].token {
        Token::SingleQuotedString(literal) => named == Named::Literal && literal == name,
        Token::Word(word) if named != Named::Literal => match word.quote_style {
            Some(_) => word.value == last,
            None => word.value.to_lowercase() == last,
        },
        _ => false,
    };
    let found: Vec<usize> = (0..tokens.len()).filter(is_it).collect();
    // A column may be called like its type.
    let otherwise = if named == Named::Type { found.last() } else { found.first() };
    let mut at = *found.iter().find(|index| fits(&tokens, **index, named)).or(otherwise)?;
    // A name of several parts begins with the first of them.
    while at >= 2 && named != Named::Literal && tokens[at - 1].token == Token::Period {
        at -= 2;
    }
    let characters = before.chars().count() + characters_before(text, tokens[at].span.start);
    u32::try_from(characters + 1).ok()
}

/// Whether a word stands where one of this kind would.
fn fits(tokens: &[TokenWithSpan], index: usize, named: Named) -> bool {
    let token = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|token| &token.token);
    let (previous, next) = (token(index.checked_sub(1)), token(Some(index + 1)));
    let follows_word = |words: &[&str]| match previous {
        Some(Token::Word(word)) => words.iter().any(|known| word.value.eq_ignore_ascii_case(known)),
        _ => false,
    };
    match named {
        Named::Column => !matches!(next, Some(Token::LParen | Token::Period)) && !follows_word(&["AS", "FROM", "JOIN"]),
        Named::Relation => {
            follows_word(&["FROM", "JOIN", "INTO", "UPDATE", "TABLE", "ON", "ONLY", "USING", "COPY", "REFERENCES"])
                || matches!(previous, Some(Token::Period | Token::Comma))
        }
        Named::Qualifier => next == Some(&Token::Period),
        Named::Function => next == Some(&Token::LParen),
        Named::Type => previous == Some(&Token::DoubleColon),
        Named::Literal => true,
    }
}

fn characters_before(text: &str, place: Location) -> usize {
    let line = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
    let lines: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    lines + usize::try_from(place.column).unwrap_or(1).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_point_to_what_they_name() {
        for (sqlstate, message, text, at) in [
            ("42703", "column \"nope\" does not exist", "SELECT id, nope FROM t", "nope"),
            ("42703", "column t.nope does not exist", "SELECT nope.id, t.nope FROM nope, t", "t.nope"),
            ("42703", "column \"Nope\" of relation \"t\" does not exist", "UPDATE t SET \"Nope\" = 1", "\"Nope\""),
            ("42702", "column reference \"id\" is ambiguous", "SELECT t.a AS id, id FROM t, u", "id FROM"),
            ("42P01", "relation \"x\" does not exist", "SELECT x FROM\n  ünï, s.x", "s.x"),
            ("42P01", "missing FROM-clause entry for table \"x\"", "SELECT x, X.a FROM t", "X.a"),
            ("42883", "function nope(integer) does not exist", "SELECT nope, 'ü', Nope (1) FROM t", "Nope (1)"),
            ("42704", "type \"nope\" does not exist", "SELECT nope, 1::nope + 1", "nope + 1"),
            ("42704", "type \"nope\" does not exist", "CREATE TABLE t (nope nope[])", "nope[]"),
            ("22P02", "invalid input syntax for type integer: \"it's\"", "SELECT 'a', 'it''s'::int", "'it''s'"),
        ] {
            let whole = format!("SELECT 'ünï' FROM nope; {text}");
            let start = whole.len() - text.len();
            let error = located(Error::new(sqlstate, message), &whole, start..whole.len());
            let position = error.position.unwrap_or_else(|| panic!("{message} in {text}")) as usize;
            let rest: String = whole.chars().skip(position - 1).collect();
            assert!(rest.starts_with(at), "{message} in {text}: {rest}");
        }
    }

    #[test]
    fn errors_that_name_nothing_in_the_statement_point_nowhere() {
        for (sqlstate, message) in [
            ("42703", "column \"nope\" does not exist"),
            ("23505", "duplicate key value violates unique constraint \"t\""),
            ("42P01", "relation does not exist"),
        ] {
            assert_eq!(located(Error::new(sqlstate, message), "SELECT 1 FROM t", 0..15).position, None);
        }
        assert_eq!(located(Error::new("42P01", "relation \"t\" does not exist"), "x", 5..9).position, None);
    }
}
