//! From what `sqlparser` writes back to what the user wrote: the reverse of the rewording before it read.

use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::super::cursor::is_word;
use super::super::places::Places;
use super::super::render::{Render, Secrets};
use super::super::text::HIDDEN_LITERAL;
use super::Ordinary;

/// The canonical text of a statement, its `AS OF SYSTEM TIME` apart.
pub fn respell(statement: &Ordinary, secrets: Secrets) -> String {
    let text = statement.ast.to_string();
    let has_password = secrets == Secrets::Hidden && mentions_password(&text);
    if !has_password && !statement.upsert && statement.shows.is_empty() && statement.indexes.is_empty() {
        return text;
    }
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, &text).with_unescape(false).tokenize_with_location() else {
        return text;
    };
    let mut tokens: Vec<(Range<usize>, Token)> = in_bytes(&text, tokens);
    tokens.retain(|(_, token)| !matches!(token, Token::Whitespace(_)));
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut depth = 0usize;
    let mut upsert = statement.upsert;
    let mut indexes = !statement.indexes.is_empty();
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
            Token::Word(_) if upsert && depth == 0 && is_word(Some(token), "INSERT") => {
                upsert = false;
                edits.push((range.clone(), "UPSERT".into()));
            }
            Token::Word(word) if word.quote_style == Some('"') => {
                if let Some(show) = statement.shows.iter().find(|show| show.placeholder == word.value) {
                    edits.push((range.clone(), format!("[{}]", show.statement.rendered(secrets))));
                }
            }
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_)
                if has_password =>
            {
                edits.push((range.clone(), HIDDEN_LITERAL.into()));
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

/// Whether it is a statement about roles that sets a password.
fn mentions_password(text: &str) -> bool {
    let about = ["CREATE ROLE", "CREATE USER", "ALTER ROLE", "ALTER USER"];
    about.iter().any(|words| text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words)))
        && text.to_ascii_uppercase().contains("PASSWORD")
}

fn in_bytes(text: &str, tokens: Vec<TokenWithSpan>) -> Vec<(Range<usize>, Token)> {
    let mut places = Places::new(text);
    let ranges = tokens.into_iter().map(|TokenWithSpan { token, span }| {
        let start = places.offset_of(span.start);
        (start..places.offset_of(span.end), token)
    });
    ranges.collect()
}
