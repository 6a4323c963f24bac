use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::error::{Error, Result};
use super::render::{Render, Secrets, display_redacted, push_list, quote_ident, quote_name};

/// `VACUUM` and `ANALYZE`: there is nothing to do, and clients expect none to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// `VACUUM` or `ANALYZE`.
    pub command: &'static str,
    /// Options and their values, in order.
    pub options: Vec<(&'static str, Option<String>)>,
    /// Tables, each with the columns named; none is every table.
    pub tables: Vec<(Vec<String>, Vec<String>)>,
}

display_redacted!(Maintenance);

/// Options that may also stand without parentheses, in this order.
const PLAIN: [&str; 4] = ["FULL", "FREEZE", "VERBOSE", "ANALYZE"];
/// Options that stand only in parentheses.
const IN_PARENTHESES: [&str; 10] = [
    "DISABLE_PAGE_SKIPPING",
    "SKIP_LOCKED",
    "INDEX_CLEANUP",
    "PROCESS_MAIN",
    "PROCESS_TOAST",
    "TRUNCATE",
    "PARALLEL",
    "SKIP_DATABASE_STATS",
    "ONLY_DATABASE_STATS",
    "BUFFER_USAGE_LIMIT",
];

impl Maintenance {
    /// After `VACUUM` or `ANALYZE`.
    pub fn parse(cursor: &mut Cursor<'_>, command: &'static str) -> Result<Maintenance> {
        let mut options = Vec::new();
        if cursor.at_token(&Token::LParen) {
            options = cursor.list_in_parentheses(parse_option)?;
        } else {
            // ANALYZE takes one word, VACUUM each of them once.
            let words = if command == "ANALYZE" { &PLAIN[2..3] } else { &PLAIN[..] };
            options.extend(words.iter().filter(|word| cursor.eat(word)).map(|word| (*word, None)));
        }
        let mut tables = Vec::new();
        if !cursor.is_at_end() {
            tables = cursor.list(|cursor| {
                let name = cursor.name()?;
                let has_columns = cursor.at_token(&Token::LParen);
                let columns = if has_columns { cursor.list_in_parentheses(Cursor::identifier)? } else { Vec::new() };
                Ok((name, columns))
            })?;
        }
        Ok(Maintenance { command, options, tables })
    }
}

/// `option [true | false | on | off | number | word]`
fn parse_option(cursor: &mut Cursor<'_>) -> Result<(&'static str, Option<String>)> {
    let at = cursor.location();
    let known = [&PLAIN[..], &IN_PARENTHESES[..]].concat();
    let Some(name) = cursor.eat_one_of(&known) else {
        return Err(Error::syntax("syntax error: this option is not known", at)
            .hint(format!("Options are {}.", known.join(", "))));
    };
    let value = match cursor.peek() {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        Some(Token::Number(digits, _)) => Some(digits.clone()),
        _ => None,
    };
    if value.is_some() {
        cursor.skip();
    }
    Ok((name, value))
}

impl Render for Maintenance {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(self.command);
        if !self.options.is_empty() {
            out.push_str(" (");
            push_list(out, &self.options, |out, (name, value)| {
                out.push_str(name);
                value.iter().for_each(|value| out.push_str(&format!(" {value}")));
            });
            out.push(')');
        }
        if !self.tables.is_empty() {
            out.push(' ');
            push_list(out, &self.tables, |out, (name, columns)| {
                out.push_str(&quote_name(name));
                if !columns.is_empty() {
                    out.push_str(" (");
                    push_list(out, columns, |out, column| out.push_str(&quote_ident(column)));
                    out.push(')');
                }
            });
        }
    }
}
