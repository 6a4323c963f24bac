//! From what `sqlparser` writes back to what the user wrote: the reverse of the rewording before it read.

use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::super::cursor::is_word;
use super::super::places::Places;
use super::super::render::{Render, Secrets, quote_literal, sql_text};
use super::super::text::HIDDEN_LITERAL;
use super::{Ordinary, Overriding, conflict_target, like, storing};

/// How a conflict target begins that was made a name.
const NAMED_TARGET: &str = "ON CONFLICT ON CONSTRAINT \"(";

/// How an `INCLUDE` begins that was made a comment.
const INCLUDE_CLAUSE: &str = "COMMENT '\u{1}";

/// How a `LIKE` begins that was made a column.
const LIKE_CLAUSE: &str = "\"\u{1}LIKE ";

/// The canonical text of a statement, its `AS OF SYSTEM TIME` apart.
pub fn respell(statement: &Ordinary, secrets: Secrets) -> String {
    let text = sql_text(&statement.ast);
    let may_have_secrets = secrets == Secrets::Hidden && may_have_secrets(&text);
    let is_one_line = !text.contains(['\n', '\r']);
    let as_it_was = !statement.upsert
        && statement.overriding.is_none()
        && statement.shows.is_empty()
        && statement.indexes.is_empty()
        && !text.contains(NAMED_TARGET)
        && !text.contains(LIKE_CLAUSE)
        && !text.contains(INCLUDE_CLAUSE);
    if !may_have_secrets && is_one_line && as_it_was {
        return text;
    }
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, &text).with_unescape(false).tokenize_with_location() else {
        // Never seen; what is not understood is not shown where it could have a secret.
        return if may_have_secrets { HIDDEN_LITERAL.into() } else { text };
    };
    let mut tokens: Vec<(Range<usize>, Token)> = in_bytes(&text, tokens);
    tokens.retain(|(_, token)| !matches!(token, Token::Whitespace(_)));
    let has_secrets = may_have_secrets && has_secrets(&tokens);
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut depth = 0usize;
    let mut upsert = statement.upsert;
    let mut indexes = !statement.indexes.is_empty();
    let mut overriding = statement.overriding;
    for (index, (range, token)) in tokens.iter().enumerate() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                if indexes && depth == 0 {
                    indexes = false;
                    let is_empty = matches!(tokens.get(index.wrapping_sub(1)), Some((_, Token::LParen)));
                    let all = statement.indexes.iter().map(|index| index.rendered(secrets)).collect::<Vec<_>>();
                    let comma = if is_empty { "" } else { ", " };
                    edits.push((range.start..range.start, format!("{comma}{}", all.join(", "))));
                }
            }
            Token::Word(_) if overriding.is_some() && depth == 0 && begins_source(&tokens, index) => {
                let words = overriding.take().map_or("", Overriding::words);
                edits.push((range.start..range.start, format!("{words} ")));
            }
            Token::Word(_) if upsert && depth == 0 && is_word(Some(token), "INSERT") => {
                upsert = false;
                edits.push((range.clone(), "UPSERT".into()));
            }
            Token::Word(word)
                if word.quote_style == Some('"')
                    && word.value.starts_with('(')
                    && is_after(&tokens, index, &["ON", "CONSTRAINT"]) =>
            {
                let target = conflict_target(&word.value).unwrap_or_default();
                edits.push((tokens[index - 2].0.start..range.end, target));
            }
            Token::Word(word) if word.quote_style == Some('"') && like::spelled(&word.value).is_some() => {
                // With the type that it was given.
                let end = tokens.get(index + 1).map_or(range.end, |(next, _)| next.end);
                edits.push((range.start..end, like::spelled(&word.value).unwrap_or_default()));
            }
            Token::Word(word) if word.quote_style == Some('"') && !statement.shows.is_empty() => {
                if let Some(show) = statement.shows.iter().find(|show| show.placeholder == word.value) {
                    edits.push((range.clone(), format!("[{}]", show.statement.rendered(secrets))));
                }
            }
            Token::SingleQuotedString(comment)
                if is_after(&tokens, index, &["COMMENT"]) && storing::spelled(comment).is_some() =>
            {
                let start = tokens[index - 1].0.start;
                edits.push((start..range.end, storing::spelled(comment).unwrap_or_default()));
            }
            _ if has_secrets && is_secret(&tokens, index) => edits.push((range.clone(), HIDDEN_LITERAL.into())),
            Token::SingleQuotedString(_) if text[range.clone()].contains(['\n', '\r']) => {
                edits.push((range.clone(), on_one_line(&text[range.clone()])));
            }
            _ => {}
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (range, instead) in edits {
        out.push_str(&text[done..range.start]);
        out.push_str(&instead);
        done = range.end;
    }
    out.push_str(&text[done..]);
    out
}

/// Whether the rows of an `INSERT` begin here.
fn begins_source(tokens: &[(Range<usize>, Token)], index: usize) -> bool {
    let is_source = |word: &&str| is_word(Some(&tokens[index].1), word);
    let inserts = tokens[..index].iter().any(|(_, token)| is_word(Some(token), "INSERT"));
    inserts && ["VALUES", "SELECT", "WITH", "DEFAULT", "TABLE"].iter().any(is_source)
}

/// Whether these words stand right before a token.
fn is_after(tokens: &[(Range<usize>, Token)], index: usize, words: &[&str]) -> bool {
    let start = index.checked_sub(words.len());
    start.is_some_and(|start| words.iter().zip(&tokens[start..]).all(|(word, (_, token))| is_word(Some(token), word)))
}

/// Whether it mentions a password, or copies from or to a place.
fn may_have_secrets(text: &str) -> bool {
    let password = "PASSWORD".as_bytes();
    text.starts_with("COPY ") || text.as_bytes().windows(password.len()).any(|word| word.eq_ignore_ascii_case(password))
}

/// Whether it is about a role, also behind `EXPLAIN` or `PREPARE`, or copies from or to a place.
fn has_secrets(tokens: &[(Range<usize>, Token)]) -> bool {
    let is_one_of = |token: &Token, words: &[&str]| words.iter().any(|word| is_word(Some(token), word));
    // CREATE OR REPLACE USER has the most words between.
    let names_role = |tokens: &[(Range<usize>, Token)]| {
        is_one_of(&tokens[0].1, &["CREATE", "ALTER"])
            && tokens[1..].iter().take(3).any(|(_, token)| is_one_of(token, &["ROLE", "USER", "GROUP"]))
    };
    let copies = tokens.first().is_some_and(|(_, first)| is_word(Some(first), "COPY"));
    copies || (0..tokens.len()).any(|start| names_role(&tokens[start..]))
}

/// Whether a token is a string, or what follows `PASSWORD`.
fn is_secret(tokens: &[(Range<usize>, Token)], index: usize) -> bool {
    let before = |count: usize| index.checked_sub(count).map(|index| &tokens[index].1);
    let after_password =
        is_word(before(1), "PASSWORD") || (before(1) == Some(&Token::Eq) && is_word(before(2), "PASSWORD"));
    let in_copy = tokens.first().is_some_and(|(_, first)| is_word(Some(first), "COPY"));
    match &tokens[index].1 {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::HexStringLiteral(text) => !in_copy || text.contains("://"),
        Token::DollarQuotedString(text) => !in_copy || text.value.contains("://"),
        Token::Number(..) => after_password,
        Token::Word(word) => after_password && word.quote_style.is_some(),
        _ => false,
    }
}

/// A literal in single quotes as one with escapes.
fn on_one_line(literal: &str) -> String {
    quote_literal(&literal[1..literal.len() - 1].replace("''", "'"))
}

fn in_bytes(text: &str, tokens: Vec<TokenWithSpan>) -> Vec<(Range<usize>, Token)> {
    let mut places = Places::new(text);
    let ranges = tokens.into_iter().map(|TokenWithSpan { token, span }| {
        let start = places.offset_of(span.start);
        (start..places.offset_of(span.end), token)
    });
    ranges.collect()
}
