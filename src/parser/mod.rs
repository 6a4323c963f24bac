//! SQL text to statements, and statements back to canonical text.
//!
//! [`parse`] splits a string into statements. Ordinary SQL is `sqlparser`'s; what it cannot read, keepsafe parses itself
//! (a file a family: [`backup`], [`restore`], [`schedule`], [`jobs`], ...) or cuts out of the token stream
//! ([`ordinary`]): tokens keep their place in the source, so error positions stay true. `grammar/` says the same as EBNF,
//! and the tests hold both together.
//!
//! `Display` of a statement is its canonical form with every secret redacted; [`Statement::exposed`] shows them.

mod alter_backup;
mod backup;
mod cancel;
mod connection;
mod constraints;
mod cte;
mod cursor;
mod database;
mod default_privileges;
mod dialect;
mod enumeration;
mod error;
mod explain;
mod fetch;
mod identity;
mod jobs;
mod limits;
mod maintenance;
mod option;
mod ordinary;
mod places;
mod precedence;
mod redact;
mod render;
mod reserved;
mod restore;
mod role;
mod schedule;
mod sequence;
mod settings;
mod show;
mod show_backup;
mod show_grants;
mod signs;
mod statement;
mod target;
mod text;
mod zone;

pub use alter_backup::AlterBackup;
pub use backup::{Backup, BackupOptions};
pub use cancel::{Cancel, Canceled};
pub use connection::{CheckOptions, ExternalConnection};
pub use constraints::SetConstraints;
pub use cte::with_before;
pub use database::CreateDatabase;
pub use default_privileges::{AlterDefaultPrivileges, DefaultGrant, ObjectKind, ShowDefaultPrivileges};
pub use enumeration::{EnumAction, EnumStatement, LabelPlace};
pub use error::{Error, Result};
pub use explain::Explain;
pub use fetch::{Fetch, FetchRows};
pub use identity::{AlterIdentity, IdentityAction};
pub use jobs::{AlterJob, ControlJobs, ControlledJobs, JobCommand, ShowJobs, ShownJobs};
pub use limits::STACK_BYTES;
pub use maintenance::Maintenance;
pub use option::Access;
pub use ordinary::like::LikeClause;
pub use ordinary::storing::{as_index_option, stored_columns};
pub use ordinary::{InlineIndex, Ordinary, Overriding, ShowRelation, conflict_target, tokens_of};
pub use redact::{Redacted, redact_uri};
pub use render::{quote_ident_in_sql, quote_name, sql_text};
pub use restore::{Restore, RestoreOptions};
pub use role::{ROLE_FLAGS, RoleOption, RoleStatement};
pub use schedule::{
    AlterSchedule, ControlSchedules, CreateSchedule, FullBackup, ScheduleChange, ScheduleCommand, ScheduleOptions,
    ScheduleState, ShowSchedules,
};
pub use sequence::{SequenceAction, SequenceOptions, SequenceStatement};
pub use settings::{Reset, SetClusterSetting};
pub use show::{AllOf, Show, ShowCreate};
pub use show_backup::{BackupDetails, ShowBackup, ShowBackupConnection, ShowBackupOptions, ShowBackups};
pub use show_grants::{GrantsOn, ShowGrants};
pub use statement::{Parsed, Statement};
pub use target::{BackupPlace, Subdirectory, TablePattern, Targets};
pub use text::{Bind, Flag, Integer, Secret, Text, Uri};
pub use zone::{ConfigureZone, ShowZone, ZoneTarget, ZoneValue};

use places::Places;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// Parses every statement in `sql`, in order. Empty statements are left out.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    statements(sql)?.collect()
}

/// The statements in `sql`, each parsed when it is asked for. It fails at once if the text does not even fall into words.
pub fn statements(sql: &str) -> Result<impl Iterator<Item = Result<Parsed>>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| Error::from_tokenizer(error).in_source(sql))?;
    let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut tokens = tokens.flat_map(signs::split);
    let mut places = Places::new(sql);
    Ok(std::iter::from_fn(move || {
        let mut statement: Vec<TokenWithSpan> = Vec::new();
        loop {
            match tokens.next() {
                Some(token) if token.token == Token::SemiColon && statement.is_empty() => {}
                Some(token) if token.token != Token::SemiColon => statement.push(token),
                None if statement.is_empty() => return None,
                _ => return Some(parse_tokens(statement, &mut places).map_err(|error| error.in_source(sql))),
            }
        }
    }))
}

fn parse_tokens(mut tokens: Vec<TokenWithSpan>, places: &mut Places<'_>) -> Result<Parsed> {
    let span = places.offset_of(tokens[0].span.start)..places.offset_of(tokens[tokens.len() - 1].span.end);
    let parameters = limits::check(&tokens)?;
    tokens.iter_mut().for_each(one_line);
    Ok(Parsed { statement: statement::parse(tokens)?, span, parameters })
}

/// A canonical statement is one line, so a literal of several is written with escapes.
fn one_line(token: &mut TokenWithSpan) {
    let text = match &mut token.token {
        Token::SingleQuotedString(text) | Token::NationalStringLiteral(text) | Token::UnicodeStringLiteral(text) => {
            text
        }
        Token::DollarQuotedString(text) => &mut text.value,
        _ => return,
    };
    if text.contains(['\n', '\r']) {
        token.token = Token::EscapedStringLiteral(std::mem::take(text));
    } else if matches!(token.token, Token::NationalStringLiteral(_)) {
        // N'text' is text like any other, and sqlparser would write it back without doubling its quotes.
        if let Token::NationalStringLiteral(text) = &mut token.token {
            token.token = Token::SingleQuotedString(std::mem::take(text));
        }
    }
}

#[cfg(test)]
mod tests;
