//! `CREATE TABLE t (names) AS query [WITH [NO] DATA]` and `SELECT ... INTO t`, as the `CREATE TABLE t AS query` that they mean.

use sqlparser::ast::{SetExpr, Statement as Ast};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{closing, column_list, is, keyword, name_end, token};

/// Puts names that the columns are given, and that no rows are wanted, around the query.
pub fn wrap_query(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !is(&tokens, 0, "CREATE") {
        return tokens;
    }
    let names = column_list(&tokens).and_then(|open| Some((open, closing(&tokens, open).ok()?)));
    let names = names.filter(|&(open, close)| is_list_of_names(&tokens[open + 1..close]));
    let definition = names.map(|(_, close)| close + 1).or_else(|| name_end(&tokens));
    let Some(start) = definition.and_then(|from| find_query(&tokens, from)) else { return tokens };
    let ends_with = |words: &[&str]| {
        let from = tokens.len().saturating_sub(words.len());
        words.iter().enumerate().all(|(at, word)| is(&tokens, from + at, word))
    };
    let (has_data, ending) = match (ends_with(&["WITH", "DATA"]), ends_with(&["WITH", "NO", "DATA"])) {
        (true, _) => (true, 2),
        (_, true) => (false, 3),
        _ => (true, 0),
    };
    let end = tokens.len() - ending;
    if names.is_none() && has_data {
        return tokens[..end].to_vec();
    }
    let span = tokens[start].span;
    let word = |text: &str, known| TokenWithSpan::new(keyword(text, known), span);
    let sign = |token| TokenWithSpan::new(token, span);
    let mut wrapped = match names {
        Some((open, close)) => [&tokens[..open], &tokens[close + 1..start]].concat(),
        None => tokens[..start].to_vec(),
    };
    wrapped.extend([
        word("SELECT", Keyword::SELECT),
        sign(Token::Mul),
        word("FROM", Keyword::FROM),
        sign(Token::LParen),
    ]);
    wrapped.extend_from_slice(&tokens[start..end]);
    wrapped.extend([sign(Token::RParen), word("AS", Keyword::AS), word("made", Keyword::NoKeyword)]);
    if let Some((open, close)) = names {
        wrapped.extend_from_slice(&tokens[open..=close]);
    }
    if !has_data {
        wrapped.extend([word("LIMIT", Keyword::LIMIT), sign(Token::Number("0".into(), false))]);
    }
    wrapped
}

fn is_list_of_names(item: &[TokenWithSpan]) -> bool {
    let is_right = |(at, token): (usize, &TokenWithSpan)| match token.token {
        Token::Word(_) => at % 2 == 0,
        Token::Comma => at % 2 == 1,
        _ => false,
    };
    item.len() % 2 == 1 && item.iter().enumerate().all(is_right)
}

/// Where the query begins, if one makes the table: after the first `AS` of what follows the name and the list of columns.
fn find_query(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    ["AS", "ON", "WITH", "USING"].iter().any(|word| is(tokens, from, word)).then_some(())?;
    let start = (from..tokens.len()).find(|&index| is(tokens, index, "AS"))? + 1;
    let begins = ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| is(tokens, start, word));
    (begins || token(tokens, start) == Some(&Token::LParen)).then_some(start)
}

/// `SELECT ... INTO t` as the statement that makes `t`.
pub fn of_select_into(ast: Ast) -> Ast {
    let Ast::Query(mut query) = ast else { return ast };
    let SetExpr::Select(select) = &mut *query.body else { return Ast::Query(query) };
    let Some(into) = select.into.take() else { return Ast::Query(query) };
    let template =
        sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::PostgreSqlDialect {}, "CREATE TABLE t AS SELECT 1");
    match template.ok().and_then(|mut statements| statements.pop()) {
        Some(Ast::CreateTable(create)) => {
            let create = sqlparser::ast::CreateTable {
                name: into.name,
                temporary: into.temporary,
                query: Some(query),
                ..create
            };
            Ast::CreateTable(create)
        }
        _ => Ast::Query(query),
    }
}
