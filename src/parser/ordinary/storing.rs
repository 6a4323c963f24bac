//! `INCLUDE (column, ...)`, or `STORING`, after the columns of a `UNIQUE` or `PRIMARY KEY` constraint, which `sqlparser` does not read.
//!
//! It becomes the comment that MySQL has in that place, and is spelled back when it is printed.

use sqlparser::ast::IndexOption;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::cursor::Cursor;
use super::super::error::Result;
use super::super::render::quote_ident_in_sql;
use super::{closing, column_list, is, keyword, token, tokens_of};

/// How such a comment begins; nobody writes one so.
const MARK: &str = "\u{1}";
/// Stand for quotes in it: how `sqlparser` writes those in strings is not how it reads them.
const QUOTES: [(&str, &str); 2] = [("\"", "\u{2}"), ("'", "\u{3}")];

/// The words for it.
pub const WORDS: [&str; 3] = ["STORING", "COVERING", "INCLUDE"];

/// The columns that the index of a constraint is to store; nothing where its options are others.
pub fn stored_columns(options: &[IndexOption]) -> Option<Vec<String>> {
    match options {
        [] => Some(Vec::new()),
        [IndexOption::Comment(comment)] => parse(&mut Cursor::new(&tokens_of(&spelled(comment)?)?)).ok(),
        _ => None,
    }
}

/// What stands for columns that the index of a constraint is to store.
pub fn as_index_option(columns: &[String]) -> IndexOption {
    IndexOption::Comment(comment(columns))
}

fn comment(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|name| quote_ident_in_sql(name)).collect();
    let clause = format!("INCLUDE ({})", columns.join(", "));
    let clause = QUOTES.iter().fold(clause, |text, (quote, instead)| text.replace(quote, instead));
    format!("{MARK}{clause}")
}

/// The clause as it is written, if a comment stands for one.
pub fn spelled(comment: &str) -> Option<String> {
    let text = comment.strip_prefix(MARK)?.to_string();
    Some(QUOTES.iter().fold(text, |text, (quote, instead)| text.replace(instead, quote)))
}

fn parse(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    match cursor.eat_one_of(&WORDS) {
        Some(_) => cursor.list_in_parentheses(Cursor::identifier),
        None => Err(cursor.expected("STORING")),
    }
}

/// Makes comments of the clauses in a `CREATE TABLE` or `ALTER TABLE`.
pub fn as_comments(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let concerns = column_list(&tokens).is_some() || (is(&tokens, 0, "ALTER") && is(&tokens, 1, "TABLE"));
    let begins = |index: usize| {
        token(&tokens, index) == Some(&Token::LParen)
            && index > 0
            && (is(&tokens, index - 1, "UNIQUE")
                || (index > 1 && is(&tokens, index - 2, "PRIMARY") && is(&tokens, index - 1, "KEY")))
    };
    if !concerns || !(0..tokens.len()).any(begins) {
        return Ok(tokens);
    }
    let mut written = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while index < tokens.len() {
        if !begins(index) {
            written.push(tokens[index].clone());
            index += 1;
            continue;
        }
        let after = closing(&tokens, index)? + 1;
        written.extend_from_slice(&tokens[index..after]);
        index = after;
        if WORDS.iter().any(|word| is(&tokens, after, word)) {
            let mut cursor = Cursor::new(&tokens[after..]);
            let columns = parse(&mut cursor)?;
            index = tokens.len() - cursor.rest().len();
            let span = tokens[after].span;
            written.push(TokenWithSpan::new(keyword("COMMENT", Keyword::COMMENT), span));
            written.push(TokenWithSpan::new(Token::SingleQuotedString(comment(&columns)), span));
        }
    }
    Ok(written)
}
