//! `LIKE table INCLUDING ...` among the columns of a `CREATE TABLE`, which `sqlparser` reads only where it stands alone, and not whole.
//!
//! It becomes a column whose name says it, and is spelled back when it is printed.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::super::cursor::Cursor;
use super::super::error::Result;
use super::super::render::quote_name;
use super::{closing, column_list, is, keyword, tokens_of};

/// How the name of such a column begins; nobody calls one so.
const MARK: &str = "\u{1}LIKE ";
/// Stands for a double quote in it: how `sqlparser` writes those in names is not how it reads them.
const QUOTE: &str = "\u{2}";

/// What can be taken over beside names, types and `NOT NULL`.
const PARTS: [&str; 10] = [
    "ALL",
    "COMMENTS",
    "COMPRESSION",
    "CONSTRAINTS",
    "DEFAULTS",
    "GENERATED",
    "IDENTITY",
    "INDEXES",
    "STATISTICS",
    "STORAGE",
];

/// `LIKE table [{INCLUDING | EXCLUDING} part] ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikeClause {
    /// The table or view.
    pub name: Vec<String>,
    /// What is and what is not taken over, later ones over earlier ones.
    parts: Vec<(bool, &'static str)>,
}

impl LikeClause {
    /// The clause that a column of a `CREATE TABLE` stands for.
    pub fn of_column(name: &str) -> Option<LikeClause> {
        let text = format!("LIKE {}", name.strip_prefix(MARK)?.replace(QUOTE, "\""));
        LikeClause::parse(Cursor::new(&tokens_of(&text)?)).ok()
    }

    /// Whether something is taken over.
    pub fn includes(&self, part: &str) -> bool {
        self.parts.iter().rev().find(|(_, known)| [part, "ALL"].contains(known)).is_some_and(|(includes, _)| *includes)
    }

    fn parse(mut cursor: Cursor<'_>) -> Result<LikeClause> {
        cursor.require("LIKE")?;
        let name = cursor.name()?;
        let mut parts = Vec::new();
        while let Some(word) = cursor.eat_one_of(&["INCLUDING", "EXCLUDING"]) {
            let Some(part) = cursor.eat_one_of(&PARTS) else { return Err(cursor.expected("what is to be taken over")) };
            parts.push((word == "INCLUDING", part));
        }
        cursor.require_end()?;
        Ok(LikeClause { name, parts })
    }

    fn text(&self) -> String {
        let word = |includes: bool| if includes { "INCLUDING" } else { "EXCLUDING" };
        let parts = self.parts.iter().map(|(includes, part)| format!(" {} {part}", word(*includes)));
        format!("{}{}", quote_name(&self.name), parts.collect::<String>())
    }
}

/// The clause as it is written, if the name of a column stands for one.
pub fn spelled(name: &str) -> Option<String> {
    name.strip_prefix(MARK).map(|text| format!("LIKE {}", text.replace(QUOTE, "\"")))
}

/// Makes columns of the clauses in a `CREATE TABLE`.
pub fn name_clauses(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let Some(open) = column_list(&tokens) else { return Ok(tokens) };
    if !(open..tokens.len()).any(|index| is(&tokens, index, "LIKE")) {
        return Ok(tokens);
    }
    let close = closing(&tokens, open)?;
    let mut named = tokens[..=open].to_vec();
    let mut item = open + 1;
    while item < close {
        let length = Cursor::new(&tokens[item..close]).count_until(|cursor| cursor.at_token(&Token::Comma));
        let end = item + length;
        if is(&tokens, item, "LIKE") {
            let clause = LikeClause::parse(Cursor::new(&tokens[item..end]))?;
            let value = format!("{MARK}{}", clause.text().replace('"', QUOTE));
            let word = Word { value, quote_style: Some('"'), keyword: Keyword::NoKeyword };
            let span = tokens[item].span;
            named.push(TokenWithSpan::new(Token::Word(word), span));
            named.push(TokenWithSpan::new(keyword("TEXT", Keyword::TEXT), span));
        } else {
            named.extend_from_slice(&tokens[item..end]);
        }
        if end < close {
            named.push(tokens[end].clone());
        }
        item = end + 1;
    }
    named.extend_from_slice(&tokens[close..]);
    Ok(named)
}
