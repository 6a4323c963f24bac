//! A place in a statement's tokens, and the few moves a parser needs.

use sqlparser::ast::{Expr, Query};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::error::{Error, Result};
use super::text::Text;

/// Deepest nesting of expressions and queries.
pub const MAX_DEPTH: usize = 128;

/// Reads one statement's tokens from left to right.
#[derive(Clone)]
pub struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(tokens: &'a [TokenWithSpan]) -> Cursor<'a> {
        Cursor { tokens, position: 0 }
    }

    /// All tokens, read or not.
    pub fn tokens(&self) -> &'a [TokenWithSpan] {
        self.tokens
    }

    /// The tokens not read yet.
    pub fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.position.min(self.tokens.len())..]
    }

    pub fn is_at_end(&self) -> bool {
        self.position >= self.tokens.len()
    }

    pub fn peek(&self) -> Option<&'a Token> {
        self.rest().first().map(|token| &token.token)
    }

    /// Where the next token is, or where the statement ends.
    pub fn location(&self) -> Location {
        match self.rest().first() {
            Some(token) => token.span.start,
            None => self.tokens.last().map_or(Location { line: 1, column: 1 }, |token| token.span.end),
        }
    }

    pub fn advance(&mut self, count: usize) {
        self.position += count;
    }

    /// Whether the next token is this unquoted word.
    pub fn at(&self, word: &str) -> bool {
        self.at_offset(0, word)
    }

    /// Whether the token `offset` further on is this unquoted word.
    pub fn at_offset(&self, offset: usize, word: &str) -> bool {
        self.rest().get(offset).is_some_and(|token| is_word(&token.token, word))
    }

    /// Reads these words if they are next.
    pub fn eat(&mut self, words: &str) -> bool {
        let count = words.split(' ').count();
        let next = words.split(' ').enumerate().all(|(offset, word)| self.at_offset(offset, word));
        if next {
            self.position += count;
        }
        next
    }

    /// Reads these words.
    pub fn expect(&mut self, words: &str) -> Result<()> {
        if self.eat(words) { Ok(()) } else { Err(self.expected(words)) }
    }

    pub fn eat_token(&mut self, token: &Token) -> bool {
        let next = self.peek() == Some(token);
        self.position += usize::from(next);
        next
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) { Ok(()) } else { Err(self.expected(&token.to_string())) }
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// The error that something else was expected here. String literals and quoted words are not quoted back.
    pub fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            None => "the end of the statement".to_string(),
            Some(Token::Word(word)) if word.quote_style.is_none() => format!("\"{}\"", word.value),
            Some(Token::Word(_)) => "a quoted identifier".into(),
            Some(Token::Number(number, _)) => format!("\"{number}\""),
            Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_)) => {
                "a string literal".into()
            }
            Some(Token::NationalStringLiteral(_) | Token::HexStringLiteral(_) | Token::UnicodeStringLiteral(_)) => {
                "a string literal".into()
            }
            Some(other) => format!("\"{other}\""),
        };
        Error::syntax(format!("syntax error: expected {what}, found {found}"), self.location())
    }

    /// An identifier, folded to lower case unless quoted.
    pub fn identifier(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.position += 1;
                Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// A name of up to three parts.
    pub fn name(&mut self) -> Result<Vec<String>> {
        let mut parts = vec![self.identifier()?];
        while parts.len() < 3 && self.eat_token(&Token::Period) {
            parts.push(self.identifier()?);
        }
        Ok(parts)
    }

    /// Items separated by commas, at least one.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A string position: a literal, a placeholder, or a word.
    pub fn text(&mut self) -> Result<Text> {
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => Text::Literal(text.clone()),
            Some(Token::DollarQuotedString(text)) => Text::Literal(text.value.clone()),
            Some(Token::Word(word)) => Text::Literal(word.value.clone()),
            Some(Token::Placeholder(placeholder)) => match placeholder.trim_start_matches('$').parse() {
                Ok(number) if number > 0 => Text::Placeholder(number),
                _ => return Err(self.expected("a placeholder such as $1")),
            },
            _ => return Err(self.expected("a string literal")),
        };
        self.position += 1;
        Ok(text)
    }

    /// One string position, or several in parentheses.
    pub fn texts(&mut self) -> Result<Vec<Text>> {
        if self.eat_token(&Token::LParen) {
            let texts = self.list(Self::text)?;
            self.expect_token(&Token::RParen)?;
            return Ok(texts);
        }
        Ok(vec![self.text()?])
    }

    fn with_sqlparser<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, sqlparser::parser::ParserError>,
    ) -> Result<T> {
        let dialect = PostgreSqlDialect {};
        let mut parser =
            Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(self.rest().to_vec());
        let parsed = parse(&mut parser).map_err(Error::from_sqlparser)?;
        self.position += parser.index();
        Ok(parsed)
    }

    /// A SQL expression.
    pub fn expression(&mut self) -> Result<Expr> {
        self.with_sqlparser(|parser| parser.parse_expr())
    }

    /// A query: `SELECT`, `VALUES`, `WITH`, or one in parentheses.
    pub fn query(&mut self) -> Result<Box<Query>> {
        self.with_sqlparser(|parser| parser.parse_query())
    }

    /// `AS OF SYSTEM TIME expr`, if it is next.
    pub fn as_of(&mut self) -> Result<Option<Expr>> {
        if !self.eat("AS OF SYSTEM TIME") {
            return Ok(None);
        }
        // A following WITH would be read as part of a type (TIMESTAMP '...' WITH TIME ZONE), so the end is found first.
        let end = self.rest().iter().position(|token| is_word(&token.token, "WITH")).unwrap_or(self.rest().len());
        let mut part = Cursor::new(&self.rest()[..end]);
        if part.is_at_end() {
            return Err(self.expected("a time"));
        }
        let time = part.expression()?;
        self.position += part.position;
        Ok(Some(time))
    }
}

/// Whether a token is this unquoted word.
pub fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
