//! Ordinary SQL: `sqlparser` reads it, after keepsafe has cut or reworded the few spellings that it cannot read.
//!
//! ```text
//!   SELECT ... AS OF SYSTEM TIME e      cut; the time stands beside the statement
//!   FROM [SHOW JOBS], AS (SHOW JOBS)    a placeholder table; what it shows stands beside the statement
//!   UPSERT INTO                         INSERT INTO, and a flag
//!   OVERRIDING USER VALUE               cut, and a flag
//!   CREATE TABLE t (..., INDEX (c))     cut; the index stands beside the statement
//!   STORING (c), COVERING (c)           INCLUDE (c)
//!   UNIQUE (c) INCLUDE (d)              UNIQUE (c) COMMENT 'INCLUDE (d)', in a constraint
//!   COPY ... (FREEZE ON)                (FREEZE TRUE)
//!   ON CONFLICT (f(c)) WHERE d DO       ON CONFLICT ON CONSTRAINT "(f(c)) WHERE d" DO
//!   CREATE TABLE t (c) AS q             CREATE TABLE t AS SELECT * FROM (q) AS made (c)
//!   SELECT ... INTO t                   CREATE TABLE t AS SELECT ...
//! ```
//!
//! Tokens are only removed or replaced, never moved, so every position in an error is one in the source. [`respell`]
//! does the reverse on what `sqlparser` writes.

pub mod like;
mod respell;
pub mod storing;
mod table_as;

use std::fmt;

use sqlparser::ast::{Expr, Statement as Ast, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};

use super::cte;
use super::cursor::{Cursor, is_word};
use super::dialect::Postgres;
use super::error::{Error, Result};
use super::precedence;
use super::render::{Render, Secrets, push_list, quote_ident_in_sql, sql_text};
use super::signs;
use super::statement::{self, Statement};
use super::text::{Integer, Text};

/// A statement of ordinary SQL.
#[derive(Clone, PartialEq)]
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
    /// Names that sequences of identity columns are to have.
    pub sequences: Vec<Vec<String>>,
    /// What an `INSERT` says of identity columns.
    pub overriding: Option<Overriding>,
}

/// `OVERRIDING SYSTEM VALUE`, `OVERRIDING USER VALUE`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overriding {
    /// Values that are given count, also for columns that make their own.
    System,
    /// Columns that make their own values do so, whatever is given.
    User,
}

impl Overriding {
    fn words(self) -> &'static str {
        match self {
            Overriding::System => "OVERRIDING SYSTEM VALUE",
            Overriding::User => "OVERRIDING USER VALUE",
        }
    }
}

/// A `SHOW` used as a relation.
#[derive(Clone, Debug, PartialEq)]
pub struct ShowRelation {
    /// The table that stands for it in the syntax tree.
    pub placeholder: String,
    /// What it shows.
    pub statement: Statement,
}

/// `[UNIQUE] INDEX [name] (column [ASC | DESC], ...) [STORING (column, ...)]` inside `CREATE TABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineIndex {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is unique.
    pub unique: bool,
    /// Columns, and whether each descends.
    pub columns: Vec<(String, bool)>,
    /// Columns that it holds and is not sorted by.
    pub storing: Vec<String>,
}

impl fmt::Debug for Ordinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered(Secrets::Hidden))
    }
}

impl Render for Ordinary {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str(&respell::respell(self, secrets));
        if let Some(time) = &self.as_of {
            out.push_str(&format!(" AS OF SYSTEM TIME {}", sql_text(time)));
        }
    }
}

impl Render for InlineIndex {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(if self.unique { "UNIQUE INDEX " } else { "INDEX " });
        if let Some(name) = &self.name {
            out.push_str(&format!("{} ", quote_ident_in_sql(name)));
        }
        out.push('(');
        push_list(out, &self.columns, |out, (name, descending)| {
            out.push_str(&quote_ident_in_sql(name));
            out.push_str(if *descending { " DESC" } else { "" });
        });
        out.push(')');
        if !self.storing.is_empty() {
            out.push_str(" STORING (");
            push_list(out, &self.storing, |out, name| out.push_str(&quote_ident_in_sql(name)));
            out.push(')');
        }
    }
}

/// The query `VALUES (id)`.
pub fn ids_query(id: Integer) -> Box<Ordinary> {
    values_query(match id {
        Integer::Value(value) => Value::Number(value.to_string(), false),
        Integer::Placeholder(number) => Value::Placeholder(format!("${number}")),
    })
}

/// The query `VALUES ('text')`.
pub fn text_query(text: Text) -> Box<Ordinary> {
    values_query(match text {
        Text::Literal(text) if text.contains(['\n', '\r', '\\']) => Value::EscapedStringLiteral(text),
        Text::Literal(text) => Value::SingleQuotedString(text),
        Text::Placeholder(number) => Value::Placeholder(format!("${number}")),
    })
}

fn values_query(value: Value) -> Box<Ordinary> {
    use sqlparser::ast::{Parens, Query, SetExpr, Values};
    let rows = vec![Parens::with_empty_span(vec![Expr::value(value)])];
    let body = SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows });
    let query = Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    let ast = Ast::Query(Box::new(query));
    Box::new(Ordinary {
        ast,
        as_of: None,
        shows: Vec::new(),
        upsert: false,
        indexes: Vec::new(),
        sequences: Vec::new(),
        overriding: None,
    })
}

/// Reads one statement.
pub fn parse(mut tokens: Vec<TokenWithSpan>) -> Result<Ordinary> {
    let end = tokens.last().map_or_else(Span::empty, |token| Span::new(token.span.end, token.span.end));
    let upsert = reword_upsert(&mut tokens);
    reword_words(&mut tokens);
    let tokens = reword_phrases(tokens)?;
    let (tokens, sequences) = order_identity_options(tokens)?;
    let tokens = name_conflict_target(tokens)?;
    let tokens = like::name_clauses(tokens)?;
    let tokens = storing::as_comments(tokens)?;
    let tokens = table_as::wrap_query(tokens);
    let (tokens, overriding) = cut_overriding(tokens);
    let (tokens, indexes) = cut_inline_indexes(tokens)?;
    // First what has a time of its own.
    let (tokens, shows) = replace_shows(tokens)?;
    let (mut tokens, as_of) = cut_as_of(tokens)?;
    // COPY ... FROM STDIN wants one.
    tokens.push(TokenWithSpan::new(Token::SemiColon, end));
    let is_to_settle = precedence::concerns(&tokens);
    let dialect = Postgres::new(&tokens);
    let mut parser = dialect.parser(tokens);
    let ast = match parser.parse_statement() {
        Ok(mut ast) if is_to_settle => {
            precedence::settle(&mut ast);
            ast
        }
        Ok(ast) => ast,
        Err(error) => return Err(Error::from_sqlparser_on(error, &parser.into_tokens())),
    };
    let next = parser.peek_token();
    if !matches!(next.token, Token::SemiColon | Token::EOF) {
        return Err(Cursor::new(&[next]).expected("the end of the statement"));
    }
    let ast = table_as::of_select_into(cte::unwrapped(ast));
    Ok(Ordinary { ast, as_of, shows, upsert, indexes, sequences, overriding })
}

fn keyword(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.into(), quote_style: None, keyword })
}

/// The tokens of a text, without the blanks between them; nothing if it cannot be cut into tokens.
pub fn tokens_of(text: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    Some(tokens.flat_map(signs::split).collect())
}

fn token(tokens: &[TokenWithSpan], index: usize) -> Option<&Token> {
    tokens.get(index).map(|token| &token.token)
}

fn is(tokens: &[TokenWithSpan], index: usize, word: &str) -> bool {
    is_word(token(tokens, index), word)
}

/// The index of the token that closes the bracket at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Result<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
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
    Err(Error::syntax("syntax error: a parenthesis or bracket is not closed", tokens[open].span.start))
}

/// `UPSERT INTO` at the beginning, after a `WITH` clause, or after `EXPLAIN`.
fn reword_upsert(tokens: &mut [TokenWithSpan]) -> bool {
    let is_upsert = |index: usize| is(tokens, index, "UPSERT") && is(tokens, index + 1, "INTO");
    let may_stand = |index: usize| match index {
        0 => true,
        _ if is(tokens, 0, "WITH") || is(tokens, 0, "EXPLAIN") => {
            let explains = ["EXPLAIN", "ANALYZE", "VERBOSE"].iter().any(|word| is(tokens, index - 1, word));
            explains || token(tokens, index - 1) == Some(&Token::RParen)
        }
        _ => false,
    };
    let may_begin = ["UPSERT", "WITH", "EXPLAIN"].iter().any(|word| is(tokens, 0, word));
    let found = (0..tokens.len()).take_while(|_| may_begin).find(|&index| is_upsert(index) && may_stand(index));
    if let Some(index) = found {
        tokens[index].token = keyword("INSERT", Keyword::INSERT);
    }
    found.is_some()
}

/// Whether the word `TABLE` begins a query.
fn is_query(tokens: &[TokenWithSpan], index: usize) -> bool {
    let Some(before) = index.checked_sub(1) else { return true };
    let follows = |words: &[&str]| words.iter().any(|word| is(tokens, before, word));
    let ends = matches!(&tokens[before].token, Token::RParen)
        || matches!(&tokens[before].token, Token::Word(word) if word.keyword == Keyword::NoKeyword);
    tokens[before].token == Token::LParen
        || follows(&["UNION", "INTERSECT", "EXCEPT"])
        || (follows(&["ALL"])
            && before > 0
            && ["UNION", "INTERSECT", "EXCEPT"].iter().any(|word| is(tokens, before - 1, word)))
        || (ends && (is(tokens, 0, "INSERT") || is(tokens, 0, "WITH")))
}

/// Spellings that `sqlparser` does not have: `OPERATOR(pg_catalog.=)` before `ANY` and `ALL`; locks of rows that are weaker than those there
/// are, for which the next stronger are taken; `trim(LEADING FROM text)` without the blank that it takes away; `TABLE t`; `FROM ONLY t`.
fn reword_phrases(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let mut reworded: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut index = 0;
    while index < tokens.len() {
        let words = |wanted: &[&str]| wanted.iter().enumerate().all(|(at, word)| is(&tokens, index + at, word));
        let is_operator = words(&["OPERATOR"])
            && token(&tokens, index + 1) == Some(&Token::LParen)
            && is(&tokens, index + 2, "pg_catalog")
            && token(&tokens, index + 3) == Some(&Token::Period)
            && token(&tokens, index + 5) == Some(&Token::RParen)
            && (is(&tokens, index + 6, "ANY") || is(&tokens, index + 6, "ALL"));
        if is_operator {
            reworded.push(tokens[index + 4].clone());
            index += 6;
        } else if words(&["FORCE_QUOTE"]) && token(&tokens, index + 1) == Some(&Token::Mul) {
            let sign = |token| TokenWithSpan::new(token, tokens[index + 1].span);
            let all = Token::Word(Word { value: "*".into(), quote_style: Some('"'), keyword: Keyword::NoKeyword });
            reworded.extend([tokens[index].clone(), sign(Token::LParen), sign(all), sign(Token::RParen)]);
            index += 2;
        } else if words(&["TABLE"]) && is_query(&tokens, index) {
            let word = |text: &str, known| TokenWithSpan::new(keyword(text, known), tokens[index].span);
            reworded.extend([word("SELECT", Keyword::SELECT), TokenWithSpan::new(Token::Mul, tokens[index].span)]);
            reworded.push(word("FROM", Keyword::FROM));
            index += 1;
        } else if words(&["ONLY"])
            && index > 0
            && ["FROM", "JOIN", "UPDATE"].iter().any(|word| is(&tokens, index - 1, word))
        {
            // No table inherits from another.
            index += 1;
        } else if index == 0 && words(&["DROP", "INDEX", "CONCURRENTLY"]) {
            // Nothing waits for it longer than for any other.
            reworded.extend_from_slice(&tokens[..2]);
            index += 3;
        } else if let Some((clauses, next)) = locks_of_several(&tokens, index) {
            reworded.extend(clauses);
            index = next;
        } else if index < 3 && (is(&tokens, 0, "GRANT") || is(&tokens, 0, "REVOKE")) && words(&["ALL"]) {
            let (columns, next) = all_of_columns(&tokens, index)?;
            reworded.extend(columns);
            index = next;
        } else if words(&["FOR", "NO", "KEY", "UPDATE"]) {
            reworded.push(tokens[index].clone());
            index += 3;
        } else if words(&["FOR", "KEY", "SHARE"]) {
            reworded.push(tokens[index].clone());
            index += 2;
        } else {
            reworded.push(tokens[index].clone());
            let trims = ["LEADING", "TRAILING", "BOTH"].iter().any(|word| is(&tokens, index, word));
            if trims && is(&tokens, index + 1, "FROM") {
                reworded.push(TokenWithSpan::new(Token::SingleQuotedString(" ".into()), tokens[index].span));
            }
            index += 1;
        }
    }
    Ok(reworded)
}

/// `FOR UPDATE OF a, b`, which is one clause for each.
fn locks_of_several(tokens: &[TokenWithSpan], index: usize) -> Option<(Vec<TokenWithSpan>, usize)> {
    let strength = ["UPDATE", "SHARE"].iter().any(|word| is(tokens, index + 1, word));
    if !is(tokens, index, "FOR") || !strength || !is(tokens, index + 2, "OF") {
        return None;
    }
    let name = |at: usize| matches!(token(tokens, at), Some(Token::Word(_)));
    let mut names = vec![tokens.get(index + 3)?.clone()];
    let mut next = index + 4;
    while token(tokens, next) == Some(&Token::Comma) && name(next + 1) {
        names.push(tokens[next + 1].clone());
        next += 2;
    }
    if names.len() == 1 {
        return None;
    }
    let how = match () {
        () if is(tokens, next, "NOWAIT") => 1,
        () if is(tokens, next, "SKIP") => 2,
        () => 0,
    };
    let how = tokens.get(next..next + how)?.to_vec();
    let start = &tokens[index..index + 3];
    let clauses = names.into_iter().flat_map(|name| [start, &[name], &how].concat()).collect();
    Some((clauses, next + how.len()))
}

/// `ALL (a, b)` of a `GRANT`, which is each privilege on columns.
fn all_of_columns(tokens: &[TokenWithSpan], index: usize) -> Result<(Vec<TokenWithSpan>, usize)> {
    let open = index + 1 + usize::from(is(tokens, index + 1, "PRIVILEGES"));
    if token(tokens, open) != Some(&Token::LParen) {
        return Ok((vec![tokens[index].clone()], index + 1));
    }
    let close = closing(tokens, open)?;
    let span = tokens[index].span;
    let each = [
        ("SELECT", Keyword::SELECT),
        ("INSERT", Keyword::INSERT),
        ("UPDATE", Keyword::UPDATE),
        ("REFERENCES", Keyword::REFERENCES),
    ];
    let mut reworded = Vec::new();
    for (text, known) in each {
        if !reworded.is_empty() {
            reworded.push(TokenWithSpan::new(Token::Comma, span));
        }
        reworded.push(TokenWithSpan::new(keyword(text, known), span));
        reworded.extend_from_slice(&tokens[open..=close]);
    }
    Ok((reworded, close + 1))
}

/// Spellings that differ in a word alone.
fn reword_words(tokens: &mut [TokenWithSpan]) {
    let creates_index = is(tokens, 0, "CREATE") && (is(tokens, 1, "INDEX") || is(tokens, 1, "UNIQUE"));
    if creates_index {
        for index in 1..tokens.len() {
            let after_list = token(tokens, index - 1) == Some(&Token::RParen);
            if after_list && (is(tokens, index, "STORING") || is(tokens, index, "COVERING")) {
                tokens[index].token = keyword("INCLUDE", Keyword::INCLUDE);
            }
        }
    } else if is(tokens, 0, "COPY") {
        let what = Cursor::new(tokens).count_until(|cursor| cursor.at("FROM") || cursor.at("TO"));
        for index in what + 1..tokens.len() {
            if !is(tokens, index - 1, "FREEZE") && !is(tokens, index - 1, "HEADER") {
                continue;
            }
            if is(tokens, index, "ON") {
                tokens[index].token = keyword("TRUE", Keyword::TRUE);
            } else if is(tokens, index, "OFF") {
                tokens[index].token = keyword("FALSE", Keyword::FALSE);
            }
        }
    }
}

/// Brings the options of identity columns into the one order that `sqlparser` knows, and takes out the names of the sequences, which
/// `pg_dump` writes.
fn order_identity_options(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<Vec<String>>)> {
    const OPTIONS: [&str; 6] = ["INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE"];
    let mut ordered = Vec::with_capacity(tokens.len());
    let mut names = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let opens = index > 1
            && is(&tokens, index - 2, "AS")
            && is(&tokens, index - 1, "IDENTITY")
            && token(&tokens, index) == Some(&Token::LParen);
        if !opens {
            ordered.push(tokens[index].clone());
            index += 1;
            continue;
        }
        let close = closing(&tokens, index)?;
        ordered.push(tokens[index].clone());
        let mut cursor = Cursor::new(&tokens[index + 1..close]);
        if cursor.eat("SEQUENCE NAME") {
            names.push(cursor.name()?);
        }
        let first = close - cursor.rest().len();
        // Each option with its place among them.
        let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
        for at in first..close {
            let place = |at: usize| OPTIONS.iter().position(|word| is(&tokens, at, word));
            let after_no = is(&tokens, at - 1, "NO");
            let begins = if is(&tokens, at, "NO") { place(at + 1) } else { place(at).filter(|_| !after_no) };
            match (begins, options.last_mut()) {
                (Some(place), _) => options.push((place, vec![tokens[at].clone()])),
                (None, Some((_, option))) => option.push(tokens[at].clone()),
                (None, None) => options.push((0, vec![tokens[at].clone()])),
            }
        }
        options.sort_by_key(|(place, _)| *place);
        ordered.extend(options.into_iter().flat_map(|(_, option)| option));
        index = close;
    }
    Ok((ordered, names))
}

/// Takes `OVERRIDING ... VALUE` out of an `INSERT`.
fn cut_overriding(mut tokens: Vec<TokenWithSpan>) -> (Vec<TokenWithSpan>, Option<Overriding>) {
    let found = [Overriding::System, Overriding::User].into_iter().find_map(|overriding| {
        let words: Vec<&str> = overriding.words().split(' ').collect();
        let is_there = |start: usize| words.iter().enumerate().all(|(at, word)| is(&tokens, start + at, word));
        (0..tokens.len()).find(|start| is_there(*start)).map(|start| (start, overriding))
    });
    let inserts = (0..tokens.len()).any(|index| is(&tokens, index, "INSERT"));
    match found.filter(|_| inserts) {
        Some((start, overriding)) => {
            tokens.drain(start..start + 3);
            (tokens, Some(overriding))
        }
        None => (tokens, None),
    }
}

/// Stands for a double quote in a conflict target that was made a name: how `sqlparser` writes those in names is not how it reads them.
const QUOTE: &str = "\u{1}";

/// The conflict target that was made the name of a constraint, if it was: `(expression, ...) WHERE condition`.
pub fn conflict_target(constraint: &str) -> Option<String> {
    constraint.starts_with('(').then(|| constraint.replace(QUOTE, "\""))
}

/// `ON CONFLICT (expression, ...) WHERE condition`, of which `sqlparser` reads columns only, as the name of a constraint that says so.
fn name_conflict_target(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let opens = |index: usize| {
        is(&tokens, index, "ON")
            && is(&tokens, index + 1, "CONFLICT")
            && token(&tokens, index + 2) == Some(&Token::LParen)
    };
    let Some(start) = (0..tokens.len()).find(|&index| opens(index)) else { return Ok(tokens) };
    let (open, close) = (start + 2, closing(&tokens, start + 2)?);
    let has_condition = is(&tokens, close + 1, "WHERE");
    let is_plain = |token: &TokenWithSpan| matches!(token.token, Token::Word(_) | Token::Comma);
    if !has_condition && tokens[open + 1..close].iter().all(is_plain) {
        return Ok(tokens);
    }
    let mut cursor = Cursor::new(&tokens[open + 1..close]);
    let parts = cursor.list(|cursor| cursor.expression_until(&[]))?;
    cursor.require_end()?;
    let mut target = format!("({})", parts.iter().map(sql_text).collect::<Vec<_>>().join(", "));
    let mut cursor = Cursor::new(&tokens[close + 1..]);
    if has_condition {
        cursor.skip();
        target += &format!(" WHERE {}", sql_text(&cursor.expression_until(&["DO"])?));
    }
    let after = tokens.len() - cursor.rest().len();
    let span = tokens[open].span;
    let word = |text: &str, known| TokenWithSpan::new(keyword(text, known), span);
    if target.contains(QUOTE) {
        return Err(Error::unsupported("this character in a conflict target", tokens[open].span.start));
    }
    let name = Word { value: target.replace('"', QUOTE), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    let mut named = tokens[..open].to_vec();
    named.extend([word("ON", Keyword::ON), word("CONSTRAINT", Keyword::CONSTRAINT)]);
    named.push(TokenWithSpan::new(Token::Word(name), span));
    named.extend_from_slice(&tokens[after..]);
    Ok(named)
}

/// Takes the indexes out of the column list of a `CREATE TABLE`.
fn cut_inline_indexes(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<InlineIndex>)> {
    let Some(open) = column_list(&tokens) else { return Ok((tokens, Vec::new())) };
    if !(open..tokens.len()).any(|index| is(&tokens, index, "INDEX")) {
        return Ok((tokens, Vec::new()));
    }
    let close = closing(&tokens, open)?;
    let mut kept = tokens[..=open].to_vec();
    let mut indexes = Vec::new();
    let mut item = open + 1;
    while item < close {
        let length = Cursor::new(&tokens[item..close]).count_until(|cursor| cursor.at_token(&Token::Comma));
        let end = item + length;
        if is_inline_index(&tokens[item..end]) {
            indexes.push(InlineIndex::parse(Cursor::new(&tokens[item..end]))?);
        } else {
            if kept.len() > open + 1 {
                kept.push(TokenWithSpan::new(Token::Comma, tokens[item - 1].span));
            }
            kept.extend_from_slice(&tokens[item..end]);
        }
        item = end + 1;
    }
    if token(&tokens, close - 1) == Some(&Token::Comma) {
        return Err(Cursor::new(&tokens[close..]).expected("a column"));
    }
    kept.extend_from_slice(&tokens[close..]);
    Ok((kept, indexes))
}

/// Where the column list of a `CREATE TABLE` begins, right after the table's name.
fn column_list(tokens: &[TokenWithSpan]) -> Option<usize> {
    name_end(tokens).filter(|end| token(tokens, *end) == Some(&Token::LParen))
}

/// Where the name of the table of a `CREATE TABLE` ends.
fn name_end(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut cursor = Cursor::new(tokens);
    cursor.eat("CREATE").then_some(())?;
    while cursor.eat_one_of(&["TEMP", "TEMPORARY", "LOCAL", "GLOBAL"]).is_some() {}
    cursor.eat("TABLE").then_some(())?;
    cursor.eat("IF NOT EXISTS");
    cursor.name().ok()?;
    Some(tokens.len() - cursor.rest().len())
}

/// Whether an item of a column list is an index. A column may be called index; then a type follows it, perhaps with
/// numbers in parentheses, and perhaps constraints.
fn is_inline_index(item: &[TokenWithSpan]) -> bool {
    let after = usize::from(is(item, 0, "UNIQUE"));
    let opens = |index: usize| token(item, index) == Some(&Token::LParen);
    let list = if opens(after + 1) { after + 1 } else { after + 2 };
    if !is(item, after, "INDEX") || !opens(list) || matches!(token(item, list + 1), Some(Token::Number(..))) {
        return false;
    }
    let Ok(close) = closing(item, list) else { return true };
    let clauses = storing::WORDS.iter().chain(&["WHERE", "USING"]);
    after == 1
        || list == after + 1
        || close + 1 == item.len()
        || clauses.into_iter().any(|word| is(item, close + 1, word))
}

impl InlineIndex {
    fn parse(mut cursor: Cursor<'_>) -> Result<InlineIndex> {
        let unique = cursor.eat("UNIQUE");
        cursor.require("INDEX")?;
        let name = if cursor.at_token(&Token::LParen) { None } else { Some(cursor.identifier()?) };
        let columns = cursor.list_in_parentheses(|cursor| {
            let name = cursor.identifier()?;
            let descending = cursor.eat("DESC");
            if !descending {
                cursor.eat("ASC");
            }
            Ok((name, descending))
        })?;
        let storing = cursor.eat_one_of(&storing::WORDS);
        let storing = if storing.is_some() { cursor.list_in_parentheses(Cursor::identifier)? } else { Vec::new() };
        if !cursor.is_at_end() {
            let what = cursor.expected("a comma or the end of the column list");
            let clause = ["WHERE", "USING"].into_iter().find(|word| cursor.at(word));
            let unsupported =
                |word| Error::unsupported(format!("{word} in an index inside CREATE TABLE"), cursor.location());
            return Err(clause.map_or(what, unsupported));
        }
        Ok(InlineIndex { name, unique, columns, storing })
    }
}

/// Takes `AS OF SYSTEM TIME expr` out. It holds for the whole statement, wherever it stands.
fn cut_as_of(mut tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Option<Expr>)> {
    const WORDS: [&str; 4] = ["AS", "OF", "SYSTEM", "TIME"];
    // OF is the rarest of these words.
    let find = |tokens: &[TokenWithSpan]| {
        let is_start = |index: usize| WORDS.iter().enumerate().all(|(offset, word)| is(tokens, index + offset, word));
        (1..tokens.len()).find(|&index| is(tokens, index, WORDS[1]) && is_start(index - 1)).map(|index| index - 1)
    };
    let Some(start) = find(&tokens) else { return Ok((tokens, None)) };
    let mut cursor = Cursor::new(&tokens);
    (0..start + WORDS.len()).for_each(|_| cursor.skip());
    if cursor.is_at_end() {
        return Err(cursor.expected("a time"));
    }
    let time = cursor.expression_until(&["WITH"])?;
    let used = tokens.len() - start - cursor.rest().len();
    tokens.drain(start..start + used);
    match find(&tokens) {
        Some(second) => Err(Error::syntax("AS OF SYSTEM TIME is given twice", tokens[second].span.start)),
        None => Ok((tokens, Some(time))),
    }
}

/// Puts a table in place of `[SHOW ...]` and, as the body of a `WITH`, of `(SHOW ...)`.
fn replace_shows(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<ShowRelation>)> {
    // SHOW may be the name of a column: [show], (show), AS (show + 1).
    let is_show =
        |index: usize| is(&tokens, index + 1, "SHOW") && matches!(token(&tokens, index + 2), Some(Token::Word(_)));
    let is_body = |index: usize| {
        index > 0
            && (is(&tokens, index - 1, "AS") || is(&tokens, index - 1, "MATERIALIZED"))
            && !(index > 2 && is(&tokens, index - 3, "GENERATED") && is(&tokens, index - 2, "ALWAYS"))
    };
    let is_relation = |index: usize| match index.checked_sub(1).and_then(|before| token(&tokens, before)) {
        Some(Token::Comma | Token::LParen) => true,
        before => ["FROM", "JOIN"].iter().any(|word| is_word(before, word)),
    };
    let opens = |index: usize| match tokens[index].token {
        Token::LBracket => is_show(index) && is_relation(index),
        Token::LParen => is_show(index) && is_body(index),
        _ => false,
    };
    if !(0..tokens.len()).any(opens) {
        return Ok((tokens, Vec::new()));
    }
    let prefix = free_prefix(&tokens);
    let (mut kept, mut shows) = (Vec::with_capacity(tokens.len()), Vec::new());
    let mut index = 0;
    while index < tokens.len() {
        if !opens(index) {
            kept.push(tokens[index].clone());
            index += 1;
            continue;
        }
        let close = closing(&tokens, index)?;
        let statement = statement::parse(tokens[index + 1..close].to_vec())?;
        let placeholder = format!("{prefix}{}", shows.len() + 1);
        let name = Word { value: placeholder.clone(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
        let mut instead = vec![Token::Word(name)];
        if tokens[index].token == Token::LParen {
            let select = [keyword("SELECT", Keyword::SELECT), Token::Mul, keyword("FROM", Keyword::FROM)];
            instead.splice(0..0, [Token::LParen].into_iter().chain(select));
            instead.push(Token::RParen);
        }
        let span = tokens[index].span;
        kept.extend(instead.into_iter().map(|token| TokenWithSpan::new(token, span)));
        shows.push(ShowRelation { placeholder, statement });
        index = close + 1;
    }
    Ok((kept, shows))
}

/// A beginning of names that no word of the statement has.
fn free_prefix(tokens: &[TokenWithSpan]) -> String {
    let mut prefix = "keepsafe_show_".to_string();
    let taken = |prefix: &str| {
        tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if word.value.starts_with(prefix)))
    };
    while taken(&prefix) {
        prefix.push('_');
    }
    prefix
}
