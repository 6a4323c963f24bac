//! SQL text to statements, and statements back to canonical text.
//!
//! [`parse`] splits a string into statements. Ordinary SQL is `sqlparser`'s; what it cannot read, keepsafe parses itself
//! ([`backup`], [`jobs`], [`show`], [`settings`]) or cuts out of the token stream ([`ordinary`]): tokens keep their place
//! in the source, so error positions stay true.
//!
//! `Display` of a statement is its canonical form with every secret redacted; [`Statement::exposed`] shows them.

mod backup;
mod cursor;
mod error;
mod jobs;
mod ordinary;
mod redact;
mod render;
mod settings;
mod show;
mod statement;
mod text;

pub use backup::{
    Backup, BackupOptions, Restore, RestoreOptions, ShowBackup, ShowBackups, Subdirectory, TablePattern, Targets,
};
pub use error::{Error, Result};
pub use jobs::{ShowJob, ShowJobs};
pub use ordinary::{InlineIndex, Ordinary, ShowRelation};
pub use redact::{Redacted, redact_uri};
pub use render::quote_ident;
pub use settings::{Reset, SetClusterSetting};
pub use show::{Show, ShowCreate};
pub use statement::{Parsed, Statement};
pub use text::{Secret, Text, Uri};

use cursor::Cursor;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

/// Parses every statement in `sql`, in order. Empty statements are left out.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens =
        tokens.map_err(|TokenizerError { message, location }| Error::syntax(message, location).in_source(sql))?;
    let meaningful =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect::<Vec<_>>();
    let statements = meaningful.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.is_empty());
    statements.map(|tokens| parse_tokens(tokens, sql).map_err(|error| error.in_source(sql))).collect()
}

fn parse_tokens(tokens: &[TokenWithSpan], sql: &str) -> Result<Parsed> {
    let start = error::offset_of(sql, tokens[0].span.start);
    let last = &tokens[tokens.len() - 1];
    let end = error::offset_of(sql, last.span.end);
    let statement = statement::parse(Cursor::new(tokens))?;
    Ok(Parsed { statement, text: sql.get(start..end).unwrap_or_default().trim().to_string() })
}

#[cfg(test)]
mod tests;
