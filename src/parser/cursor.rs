//! A place in a statement's tokens, and the few moves a parser needs.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::dialect::Postgres;
use super::error::{Error, Result, describe};
use super::ordinary::{self, Ordinary};
use super::reserved::is_reserved;
use super::text::{Flag, Integer, Text, Uri, parse_bool};

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

    /// The tokens not read yet.
    pub fn rest(&self) -> &'a [TokenWithSpan] {
        &self.tokens[self.position.min(self.tokens.len())..]
    }

    pub fn is_at_end(&self) -> bool {
        self.position >= self.tokens.len()
    }

    pub fn peek(&self) -> Option<&'a Token> {
        self.peek_offset(0)
    }

    pub fn peek_offset(&self, offset: usize) -> Option<&'a Token> {
        self.rest().get(offset).map(|token| &token.token)
    }

    /// Where the next token is, or where the statement ends.
    pub fn location(&self) -> Location {
        match self.rest().first() {
            Some(token) => token.span.start,
            None => self.tokens.last().map_or(Location { line: 1, column: 1 }, |token| token.span.end),
        }
    }

    /// Splits what is left before its last `count` tokens.
    pub fn split_end(&self, count: usize) -> (Cursor<'a>, Cursor<'a>) {
        let (before, end) = self.rest().split_at(self.rest().len().saturating_sub(count));
        (Cursor::new(before), Cursor::new(end))
    }

    /// Reads the next token, whatever it is.
    pub fn skip(&mut self) {
        self.position += 1;
    }

    /// Takes what is left for read.
    pub fn skip_rest(&mut self) {
        self.position = self.tokens.len();
    }

    /// Whether the next token is this unquoted word.
    pub fn at(&self, word: &str) -> bool {
        self.at_offset(0, word)
    }

    /// Whether the token `offset` further on is this unquoted word.
    pub fn at_offset(&self, offset: usize, word: &str) -> bool {
        is_word(self.peek_offset(offset), word)
    }

    /// Whether these words are next.
    pub fn at_words(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(offset, word)| self.at_offset(offset, word))
    }

    /// Reads these words if they are next.
    pub fn eat(&mut self, words: &str) -> bool {
        let next = self.at_words(words);
        if next {
            self.position += words.split(' ').count();
        }
        next
    }

    /// Reads these words.
    pub fn require(&mut self, words: &str) -> Result<()> {
        if self.eat(words) { Ok(()) } else { Err(self.expected(words)) }
    }

    /// Reads the first of these that is next.
    pub fn eat_one_of<'w>(&mut self, choices: &[&'w str]) -> Option<&'w str> {
        choices.iter().copied().find(|choice| self.eat(choice))
    }

    pub fn at_token(&self, token: &Token) -> bool {
        self.peek() == Some(token)
    }

    pub fn eat_token(&mut self, token: &Token) -> bool {
        let next = self.at_token(token);
        self.position += usize::from(next);
        next
    }

    pub fn require_token(&mut self, token: &Token) -> Result<()> {
        if self.eat_token(token) { Ok(()) } else { Err(self.expected(&format!("\"{token}\""))) }
    }

    pub fn require_end(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// The error that something else was expected here. String literals and quoted words are not quoted back.
    pub fn expected(&self, what: &str) -> Error {
        let error =
            Error::syntax(format!("syntax error: expected {what}, found {}", describe(self.peek())), self.location());
        match self.peek() {
            Some(Token::Word(word)) if what.contains("name") && is_reserved_word(self.peek()) && !self.at_clause() => {
                error.hint(format!("\"{}\" is a reserved word: as a name, write it in double quotes.", word.value))
            }
            _ => error,
        }
    }

    /// Whether a word is next that begins another part of a statement, so that somebody left a name out.
    fn at_clause(&self) -> bool {
        ["INTO", "FROM", "IN", "WITH", "AS", "FOR", "TO"].iter().any(|word| self.at(word))
    }

    /// An identifier, folded to lower case unless quoted.
    pub fn identifier(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) if !is_reserved_word(self.peek()) => {
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

    /// Items separated by commas, in parentheses.
    pub fn list_in_parentheses<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.require_token(&Token::LParen)?;
        let items = self.list(item)?;
        self.require_token(&Token::RParen)?;
        Ok(items)
    }

    /// `$n`, if it is next.
    fn placeholder(&mut self) -> Result<Option<u32>> {
        let Some(Token::Placeholder(placeholder)) = self.peek() else { return Ok(None) };
        match placeholder.trim_start_matches('$').parse() {
            Ok(number @ 1..=65535) => {
                self.position += 1;
                Ok(Some(number))
            }
            _ => Err(self.expected("a placeholder from $1 to $65535")),
        }
    }

    /// A string position: a literal, a placeholder, or a word, folded to lower case unless quoted.
    pub fn text(&mut self) -> Result<Text> {
        if let Some(number) = self.placeholder()? {
            return Ok(Text::Placeholder(number));
        }
        let text = match self.peek() {
            Some(
                Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) | Token::UnicodeStringLiteral(text),
            ) => text.clone(),
            Some(Token::DollarQuotedString(text)) => text.value.clone(),
            Some(Token::Word(word)) if word.quote_style.is_some() => word.value.clone(),
            Some(Token::Word(word)) if !is_reserved_word(self.peek()) => word.value.to_lowercase(),
            _ => return Err(self.expected("a string literal")),
        };
        self.position += 1;
        Ok(Text::Literal(text))
    }

    /// One URI, or several in parentheses.
    pub fn uris(&mut self) -> Result<Vec<Uri>> {
        let uri = |cursor: &mut Self| cursor.text().map(Uri::new);
        if self.at_token(&Token::LParen) { self.list_in_parentheses(uri) } else { Ok(vec![uri(self)?]) }
    }

    /// `true`, `false`, one of them as a literal, or a placeholder.
    pub fn flag(&mut self) -> Result<Flag> {
        if let Some(number) = self.placeholder()? {
            return Ok(Flag::Placeholder(number));
        }
        let value = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => parse_bool(text),
            _ => return self.boolean().map(Flag::Value),
        };
        let value = value.ok_or_else(|| self.expected("true or false"))?;
        self.position += 1;
        Ok(Flag::Value(value))
    }

    /// `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool> {
        if self.eat("true") {
            Ok(true)
        } else {
            self.require("false").map(|()| false).map_err(|_| self.expected("true or false"))
        }
    }

    /// A whole number: digits, also as a literal, or a placeholder.
    pub fn integer(&mut self, what: &str) -> Result<Integer> {
        if let Some(number) = self.placeholder()? {
            return Ok(Integer::Placeholder(number));
        }
        let value = match self.peek() {
            Some(Token::Number(digits, _) | Token::SingleQuotedString(digits)) => digits.parse().ok(),
            _ => None,
        };
        let value = value.filter(|value| *value >= 0).ok_or_else(|| self.expected(what))?;
        self.position += 1;
        Ok(Integer::Value(value))
    }

    /// Whether a number comes next, with or without a sign.
    pub fn at_number(&self) -> bool {
        matches!(self.peek(), Some(Token::Number(..) | Token::Minus | Token::Plus))
    }

    /// A whole number with its sign.
    pub fn signed(&mut self) -> Result<i64> {
        let start = self.clone();
        let sign = if self.eat_token(&Token::Minus) { "-" } else { "" };
        if sign.is_empty() {
            self.eat_token(&Token::Plus);
        }
        let value = match self.peek() {
            Some(Token::Number(digits, _)) => format!("{sign}{digits}").parse().ok(),
            _ => None,
        };
        let value = value.ok_or_else(|| start.expected("a whole number of 64 bits"))?;
        self.skip();
        Ok(value)
    }

    /// How many tokens are left before one, outside of parentheses, at which something else begins.
    pub fn count_until(&self, ends: impl Fn(&Cursor<'a>) -> bool) -> usize {
        let mut ahead = self.clone();
        let mut depth = 0usize;
        while let Some(token) = ahead.peek() {
            match token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth == 0 => break,
                Token::RParen | Token::RBracket => depth -= 1,
                _ if depth == 0 && ends(&ahead) => break,
                _ => {}
            }
            ahead.position += 1;
        }
        ahead.position - self.position
    }

    /// A SQL expression, up to a comma or one of these words.
    pub fn expression_until(&mut self, words: &[&str]) -> Result<Expr> {
        let ends = |cursor: &Cursor<'_>| cursor.at_token(&Token::Comma) || words.iter().any(|word| cursor.at(word));
        let tokens = &self.rest()[..self.count_until(ends)];
        if tokens.is_empty() {
            return Err(self.expected("an expression"));
        }
        let dialect = Postgres::new(tokens);
        let mut parser = dialect.parser(tokens.to_vec());
        let expression = parser.parse_expr().map_err(|error| Error::from_sqlparser_on(error, tokens))?;
        self.position += parser.index().min(tokens.len());
        Ok(expression)
    }

    /// A query, which is all that is left: `SELECT`, `VALUES`, `WITH`, or one in parentheses.
    pub fn query(&mut self) -> Result<Box<Ordinary>> {
        if !["SELECT", "VALUES", "WITH", "TABLE"].iter().any(|word| self.at(word)) && !self.at_token(&Token::LParen) {
            return Err(self.expected("a query"));
        }
        let query = ordinary::parse(self.rest().to_vec())?;
        self.skip_rest();
        Ok(Box::new(query))
    }

    /// `AS OF SYSTEM TIME expr`, if it is next.
    pub fn as_of(&mut self) -> Result<Option<Expr>> {
        if !self.eat("AS OF SYSTEM TIME") {
            return Ok(None);
        }
        // A following WITH would be read as part of a type (TIMESTAMP '...' WITH TIME ZONE), so the end is found first.
        self.expression_until(&["WITH"]).map(Some)
    }
}

fn is_reserved_word(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::Word(word)) if word.quote_style.is_none() && is_reserved(&word.value))
}

/// Whether a token is this unquoted word.
pub fn is_word(token: Option<&Token>, word: &str) -> bool {
    #[cfg(test)]
    super::tests::note_keyword(word);
    matches!(token, Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
