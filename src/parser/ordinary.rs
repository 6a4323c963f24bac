//! Ordinary SQL: `sqlparser` reads it, after keepsafe has cut or reworded the few spellings that it cannot read.
//!
//! ```text
//!   SELECT ... AS OF SYSTEM TIME e      cut; the time stands beside the statement
//!   FROM [SHOW JOBS], (SHOW JOBS)       a placeholder table; what it shows stands beside the statement
//!   UPSERT INTO                         INSERT INTO, and a flag
//!   CREATE TABLE t (..., INDEX (c))     cut; the index stands beside the statement
//!   STORING (c), COVERING (c)           INCLUDE (c)
//!   COPY ... (FREEZE ON)                (FREEZE TRUE)
//! ```
//!
//! Tokens are only removed or replaced, never moved, so every position in an error is one in the source.

use sqlparser::ast::{Expr, Statement as Ast};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::cursor::{Cursor, MAX_DEPTH, is_word};
use super::error::{Error, Result};
use super::render::{Render, Secrets, push_display};
use super::statement::{self, Statement};

/// A statement of ordinary SQL.
#[derive(Clone, Debug)]
pub struct Ordinary {
    /// As `sqlparser` reads it.
    pub ast: Ast,
    /// The time of `AS OF SYSTEM TIME`.
    pub as_of: Option<Expr>,
    /// `SHOW`s used as relations, by the name of their placeholder table.
    pub shows: Vec<ShowRelation>,
    /// Whether it is an `UPSERT`.
    pub upsert: bool,
    /// Indexes written inside `CREATE TABLE`.
    pub indexes: Vec<InlineIndex>,
}

/// A `SHOW` used as a relation.
#[derive(Clone, Debug)]
pub struct ShowRelation {
    /// The table that stands for it in the syntax tree.
    pub placeholder: String,
    /// What it shows.
    pub statement: Statement,
}

/// `[UNIQUE] INDEX [name] (column [ASC | DESC], ...)` inside `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineIndex {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Columns, and whether each descends.
    pub columns: Vec<(String, bool)>,
}

impl Render for Ordinary {
    fn render(&self, out: &mut String, _: Secrets) {
        let mut text = self.ast.to_string();
        if self.upsert {
            text = text.replacen("INSERT", "UPSERT", 1);
        }
        for show in &self.shows {
            text = text.replace(&format!("\"{}\"", show.placeholder), &format!("[{}]", show.statement));
        }
        out.push_str(&text);
        if let Some(time) = &self.as_of {
            out.push_str(" AS OF SYSTEM TIME ");
            push_display(out, time);
        }
    }
}

/// Prefix of the tables that stand for `SHOW` relations.
const PLACEHOLDER_PREFIX: &str = "keepsafe_show_";

/// Reads one statement.
pub fn parse(tokens: &[TokenWithSpan]) -> Result<Ordinary> {
    let mut rewriter =
        Rewriter { tokens: tokens.to_vec(), as_of: None, shows: Vec::new(), upsert: false, indexes: Vec::new() };
    rewriter.reword_upsert();
    rewriter.reword_options();
    rewriter.cut_inline_indexes()?;
    rewriter.cut_as_of()?;
    rewriter.replace_shows()?;
    let Rewriter { mut tokens, as_of, shows, upsert, indexes } = rewriter;
    // COPY ... FROM STDIN wants one.
    let end = tokens.last().map_or_else(Span::empty, |token| Span::new(token.span.end, token.span.end));
    tokens.push(TokenWithSpan::new(Token::SemiColon, end));
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens.clone());
    let ast = parser.parse_statement().map_err(Error::from_sqlparser)?;
    let is_copy = matches!(ast, Ast::Copy { .. });
    let next = parser.index();
    if next + 1 < tokens.len() && !is_copy {
        return Err(Cursor::new(&tokens[next..tokens.len() - 1]).expected("the end of the statement"));
    }
    Ok(Ordinary { ast, as_of, shows, upsert, indexes })
}

struct Rewriter {
    tokens: Vec<TokenWithSpan>,
    as_of: Option<Expr>,
    shows: Vec<ShowRelation>,
    upsert: bool,
    indexes: Vec<InlineIndex>,
}

fn keyword(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

impl Rewriter {
    fn is(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| is_word(&token.token, word))
    }

    fn is_token(&self, index: usize, expected: &Token) -> bool {
        self.tokens.get(index).is_some_and(|token| token.token == *expected)
    }

    fn all(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, word)| self.is(index + offset, word))
    }

    /// The index of the token that closes the bracket at `open`.
    fn closing(&self, open: usize) -> Result<usize> {
        let mut depth = 0usize;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            match token.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Ok(index);
                    }
                }
                _ => {}
            }
        }
        Err(Error::syntax("syntax error: a parenthesis is not closed", self.tokens[open].span.start))
    }

    fn reword_upsert(&mut self) {
        let at = (0..self.tokens.len().saturating_sub(1)).find(|&index| self.all(index, &["UPSERT", "INTO"]));
        if let Some(index) = at {
            self.tokens[index].token = keyword("INSERT", Keyword::INSERT);
            self.upsert = true;
        }
    }

    fn reword_options(&mut self) {
        let is_copy = self.is(0, "COPY");
        for index in 0..self.tokens.len() {
            let before_parenthesis = self.is_token(index + 1, &Token::LParen);
            if (self.is(index, "STORING") || self.is(index, "COVERING")) && before_parenthesis {
                self.tokens[index].token = keyword("INCLUDE", Keyword::INCLUDE);
            }
            let after_flag = is_copy && index > 0 && (self.is(index - 1, "FREEZE") || self.is(index - 1, "HEADER"));
            if after_flag && self.is(index, "ON") {
                self.tokens[index].token = keyword("TRUE", Keyword::TRUE);
            } else if after_flag && self.is(index, "OFF") {
                self.tokens[index].token = keyword("FALSE", Keyword::FALSE);
            }
        }
    }

    fn cut_inline_indexes(&mut self) -> Result<()> {
        let mut word = 1;
        while ["TEMP", "TEMPORARY", "UNLOGGED", "LOCAL", "GLOBAL"].iter().any(|modifier| self.is(word, modifier)) {
            word += 1;
        }
        if !self.is(0, "CREATE") || !self.is(word, "TABLE") {
            return Ok(());
        }
        let Some(open) = self.tokens.iter().position(|token| token.token == Token::LParen) else { return Ok(()) };
        let mut item = open + 1;
        while item < self.closing(open)? {
            let close = self.closing(open)?;
            let mut end = item;
            while end < close && !self.is_token(end, &Token::Comma) {
                end = if matches!(self.tokens[end].token, Token::LParen | Token::LBracket) {
                    self.closing(end)? + 1
                } else {
                    end + 1
                };
            }
            // A column may be called index; then a type follows, not a name or a list in parentheses.
            let after = item + usize::from(self.is(item, "UNIQUE"));
            let named = self.is_token(after + 2, &Token::LParen);
            if self.is(after, "INDEX") && (named || self.is_token(after + 1, &Token::LParen)) {
                self.indexes.push(parse_inline_index(Cursor::new(&self.tokens[item..end]))?);
                let (from, to) = if end < close { (item, end + 1) } else { (item - 1, end) };
                self.tokens.drain(from..to);
            } else {
                item = end + 1;
            }
        }
        Ok(())
    }

    fn cut_as_of(&mut self) -> Result<()> {
        while let Some(start) = (0..self.tokens.len()).find(|&index| self.all(index, &["AS", "OF", "SYSTEM", "TIME"])) {
            if self.as_of.is_some() {
                return Err(Error::syntax("AS OF SYSTEM TIME is given twice", self.tokens[start].span.start));
            }
            let mut cursor = Cursor::new(&self.tokens[start + 4..]);
            self.as_of = Some(cursor.expression()?);
            let used = self.tokens.len() - start - cursor.rest().len();
            self.tokens.drain(start..start + used);
        }
        Ok(())
    }

    fn replace_shows(&mut self) -> Result<()> {
        let opens = |token: &Token| matches!(token, Token::LBracket | Token::LParen);
        while let Some(open) =
            (0..self.tokens.len()).find(|&index| opens(&self.tokens[index].token) && self.is(index + 1, "SHOW"))
        {
            let close = self.closing(open)?;
            let span = self.tokens[open].span;
            let statement = statement::parse(Cursor::new(&self.tokens[open + 1..close]))?;
            let placeholder = format!("{PLACEHOLDER_PREFIX}{}", self.shows.len() + 1);
            let name =
                Token::Word(Word { value: placeholder.clone(), quote_style: Some('"'), keyword: Keyword::NoKeyword });
            let mut instead = vec![name];
            if self.is_token(open, &Token::LParen) {
                let select = [keyword("SELECT", Keyword::SELECT), Token::Mul, keyword("FROM", Keyword::FROM)];
                instead.splice(0..0, [Token::LParen].into_iter().chain(select));
                instead.push(Token::RParen);
            }
            self.tokens.splice(open..=close, instead.into_iter().map(|token| TokenWithSpan::new(token, span)));
            self.shows.push(ShowRelation { placeholder, statement });
        }
        Ok(())
    }
}

fn parse_inline_index(mut cursor: Cursor<'_>) -> Result<InlineIndex> {
    let unique = cursor.eat("UNIQUE");
    cursor.expect("INDEX")?;
    let name = if cursor.peek() == Some(&Token::LParen) { None } else { Some(cursor.identifier()?) };
    cursor.expect_token(&Token::LParen)?;
    let columns = cursor.list(|cursor| {
        let name = cursor.identifier()?;
        let descending = cursor.eat("DESC");
        if !descending {
            cursor.eat("ASC");
        }
        Ok((name, descending))
    })?;
    cursor.expect_token(&Token::RParen)?;
    if !cursor.is_at_end() {
        let what = cursor.expected("a comma or the end of the column list");
        let clause = ["INCLUDE", "WHERE", "USING"].into_iter().find(|word| cursor.at(word));
        return Err(clause.map_or(what, |word| Error::unsupported(format!("{word} in an index"), cursor.location())));
    }
    Ok(InlineIndex { name, unique, columns })
}
