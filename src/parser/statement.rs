use std::fmt;

use sqlparser::tokenizer::Token;

use super::backup::{self, Backup, Restore, ShowBackup, ShowBackups};
use super::cursor::Cursor;
use super::error::{Error, Result};
use super::jobs::{ShowJob, ShowJobs};
use super::ordinary::{self, Ordinary};
use super::render::{Render, Secrets};
use super::settings::{self, Reset, SetClusterSetting};
use super::show::{self, Show};

/// A statement and the text it was read from.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// Its source, secrets included: not for logs.
    pub text: String,
}

/// Everything keepsafe can read.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Ordinary SQL.
    Sql(Box<Ordinary>),
    /// `BACKUP`
    Backup(Backup),
    /// `RESTORE`
    Restore(Restore),
    /// `SHOW BACKUPS IN`
    ShowBackups(ShowBackups),
    /// `SHOW BACKUP FROM`
    ShowBackup(ShowBackup),
    /// `SHOW JOBS`
    ShowJobs(ShowJobs),
    /// `SHOW JOB`
    ShowJob(ShowJob),
    /// Every other `SHOW`
    Show(Show),
    /// `SET CLUSTER SETTING`, `RESET CLUSTER SETTING`
    SetClusterSetting(SetClusterSetting),
    /// `RESET`
    Reset(Reset),
    /// `USE`
    Use(String),
    /// `VACUUM`, `ANALYZE`: there is nothing to do, and clients expect none to fail.
    Maintenance(&'static str),
}

impl Statement {
    /// The canonical form, secrets included.
    pub fn exposed(&self) -> String {
        let mut out = String::new();
        self.render(&mut out, Secrets::Shown);
        out
    }
}

impl Render for Statement {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            Statement::Sql(statement) => statement.render(out, secrets),
            Statement::Backup(statement) => statement.render(out, secrets),
            Statement::Restore(statement) => statement.render(out, secrets),
            Statement::ShowBackups(statement) => statement.render(out, secrets),
            Statement::ShowBackup(statement) => statement.render(out, secrets),
            Statement::ShowJobs(statement) => statement.render(out, secrets),
            Statement::ShowJob(statement) => statement.render(out, secrets),
            Statement::Show(statement) => statement.render(out, secrets),
            Statement::SetClusterSetting(statement) => statement.render(out, secrets),
            Statement::Reset(statement) => statement.render(out, secrets),
            Statement::Use(database) => out.push_str(&format!("USE {}", super::quote_ident(database))),
            Statement::Maintenance(what) => out.push_str(what),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.render(&mut out, Secrets::Hidden);
        f.write_str(&out)
    }
}

/// Statements of the dialect that are known and come with a later version.
const NOT_YET: [&str; 10] = [
    "ALTER BACKUP",
    "CREATE SCHEDULE",
    "PAUSE",
    "RESUME",
    "CANCEL",
    "DROP SCHEDULE",
    "DROP SCHEDULES",
    "CREATE EXTERNAL",
    "DROP EXTERNAL",
    "CHECK EXTERNAL",
];

/// Reads one whole statement.
pub fn parse(mut cursor: Cursor<'_>) -> Result<Statement> {
    let start = cursor.location();
    let unsupported = NOT_YET.iter().find(|words| cursor.clone().eat(words));
    if let Some(words) = unsupported {
        return Err(Error::unsupported(words, start));
    }
    let statement = if cursor.eat("BACKUP") {
        Statement::Backup(backup::parse_backup(&mut cursor)?)
    } else if cursor.eat("RESTORE") {
        Statement::Restore(backup::parse_restore(&mut cursor)?)
    } else if cursor.eat("SHOW") {
        show::parse_show(&mut cursor)?
    } else if cursor.eat("SET CLUSTER SETTING") {
        Statement::SetClusterSetting(settings::parse_set_cluster(&mut cursor)?)
    } else if cursor.eat("RESET") {
        settings::parse_reset(&mut cursor)?
    } else if cursor.eat("USE") {
        Statement::Use(match cursor.text()? {
            super::Text::Literal(name) => name,
            super::Text::Placeholder(_) => return Err(Error::syntax("USE takes a name", start)),
        })
    } else if cursor.at("VACUUM") || cursor.at("ANALYZE") {
        let what = if cursor.at("VACUUM") { "VACUUM" } else { "ANALYZE" };
        return parse_maintenance(cursor, what);
    } else {
        return ordinary::parse(cursor.tokens()).map(|statement| Statement::Sql(Box::new(statement)));
    };
    cursor.expect_end()?;
    Ok(statement)
}

/// `VACUUM [FULL | FREEZE | VERBOSE | ANALYZE] [(options)] [table [, ...]]` and `ANALYZE` likewise.
fn parse_maintenance(mut cursor: Cursor<'_>, what: &'static str) -> Result<Statement> {
    cursor.expect(what)?;
    if cursor.eat_token(&Token::LParen) {
        cursor.list(Cursor::identifier)?;
        cursor.expect_token(&Token::RParen)?;
    }
    while ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "SKIP_LOCKED"].iter().any(|word| cursor.eat(word)) {}
    if !cursor.is_at_end() {
        cursor.list(|cursor| {
            let name = cursor.name()?;
            if cursor.eat_token(&Token::LParen) {
                cursor.list(Cursor::identifier)?;
                cursor.expect_token(&Token::RParen)?;
            }
            Ok(name)
        })?;
    }
    cursor.expect_end()?;
    Ok(Statement::Maintenance(what))
}
