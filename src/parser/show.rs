use sqlparser::tokenizer::Token;

use super::backup;
use super::cursor::Cursor;
use super::error::{Error, Result};
use super::jobs;
use super::render::{Render, Secrets, display_redacted, quote_ident};
use super::settings::parse_setting_name;
use super::statement::Statement;

/// A `SHOW` that reads the catalog or the settings. Names have up to three parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `SHOW DATABASES`
    Databases,
    /// `SHOW SCHEMAS [FROM database]`
    Schemas(Option<String>),
    /// `SHOW TABLES [FROM database[.schema]]`
    Tables(Option<Vec<String>>),
    /// `SHOW SEQUENCES [FROM database]`
    Sequences(Option<String>),
    /// `SHOW COLUMNS FROM table`
    Columns(Vec<String>),
    /// `SHOW INDEXES FROM table`
    Indexes(Vec<String>),
    /// `SHOW CONSTRAINTS FROM table`
    Constraints(Vec<String>),
    /// `SHOW CREATE [TABLE | VIEW | SEQUENCE | DATABASE] name`
    Create(ShowCreate, Vec<String>),
    /// `SHOW USERS`
    Users,
    /// `SHOW LOCALITY`
    Locality,
    /// `SHOW CLUSTER SETTING name`; `None` is all of them
    ClusterSetting(Option<String>),
    /// `SHOW name` of a session setting; `None` is all of them
    Setting(Option<String>),
}

/// What `SHOW CREATE` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowCreate {
    /// A table, view or sequence.
    Object,
    /// A database.
    Database,
}

display_redacted!(Show);

impl Render for Show {
    fn render(&self, out: &mut String, _: Secrets) {
        let name = |parts: &[String]| parts.iter().map(|part| quote_ident(part)).collect::<Vec<_>>().join(".");
        let from = |parts: Option<String>| parts.map_or(String::new(), |name| format!(" FROM {name}"));
        let text = match self {
            Show::Databases => "DATABASES".into(),
            Show::Schemas(database) => format!("SCHEMAS{}", from(database.as_deref().map(quote_ident))),
            Show::Tables(place) => format!("TABLES{}", from(place.as_deref().map(name))),
            Show::Sequences(database) => format!("SEQUENCES{}", from(database.as_deref().map(quote_ident))),
            Show::Columns(table) => format!("COLUMNS FROM {}", name(table)),
            Show::Indexes(table) => format!("INDEXES FROM {}", name(table)),
            Show::Constraints(table) => format!("CONSTRAINTS FROM {}", name(table)),
            Show::Create(ShowCreate::Object, object) => format!("CREATE {}", name(object)),
            Show::Create(ShowCreate::Database, database) => format!("CREATE DATABASE {}", name(database)),
            Show::Users => "USERS".into(),
            Show::Locality => "LOCALITY".into(),
            Show::ClusterSetting(Some(setting)) => format!("CLUSTER SETTING {setting}"),
            Show::ClusterSetting(None) => "CLUSTER SETTINGS".into(),
            Show::Setting(Some(setting)) => setting.clone(),
            Show::Setting(None) => "ALL".into(),
        };
        out.push_str("SHOW ");
        out.push_str(&text);
    }
}

/// Variants that are known and come with a later version.
const NOT_YET: [&str; 10] = [
    "AUTOMATIC JOBS",
    "SCHEDULES",
    "SCHEDULE",
    "RUNNING SCHEDULES",
    "PAUSED SCHEDULES",
    "CREATE SCHEDULE",
    "CREATE ALL",
    "CREATE EXTERNAL",
    "EXTERNAL CONNECTIONS",
    "ZONE CONFIGURATION",
];

/// After `SHOW`.
pub fn parse_show(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if let Some(words) = NOT_YET.iter().find(|words| cursor.clone().eat(words)) {
        return Err(Error::unsupported(format!("SHOW {words}"), cursor.location()));
    }
    if cursor.eat("BACKUPS") {
        return Ok(Statement::ShowBackups(backup::parse_show_backups(cursor)?));
    } else if cursor.eat("BACKUP") {
        return Ok(Statement::ShowBackup(backup::parse_show_backup(cursor)?));
    } else if cursor.eat("JOBS") {
        return Ok(Statement::ShowJobs(jobs::parse_show_jobs(cursor)?));
    } else if cursor.eat("JOB") {
        return Ok(Statement::ShowJob(jobs::parse_show_job(cursor)?));
    }
    let show = if cursor.eat("DATABASES") {
        Show::Databases
    } else if cursor.eat("SCHEMAS") {
        Show::Schemas(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("TABLES") {
        Show::Tables(optional_from(cursor, |cursor| cursor.name())?)
    } else if cursor.eat("SEQUENCES") {
        Show::Sequences(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("COLUMNS") {
        Show::Columns(from_table(cursor)?)
    } else if cursor.eat("INDEXES") || cursor.eat("INDEX") || cursor.eat("KEYS") {
        Show::Indexes(from_table(cursor)?)
    } else if cursor.eat("CONSTRAINTS") || cursor.eat("CONSTRAINT") {
        Show::Constraints(from_table(cursor)?)
    } else if cursor.eat("CREATE DATABASE") {
        Show::Create(ShowCreate::Database, vec![cursor.identifier()?])
    } else if cursor.eat("CREATE") {
        let named = ["TABLE", "VIEW", "SEQUENCE"].iter().any(|kind| cursor.at(kind) && cursor.rest().len() > 1);
        cursor.advance(usize::from(named));
        Show::Create(ShowCreate::Object, cursor.name()?)
    } else if cursor.eat("USERS") || cursor.eat("ROLES") {
        Show::Users
    } else if cursor.eat("LOCALITY") {
        Show::Locality
    } else if cursor.eat("ALL CLUSTER SETTINGS") || cursor.eat("CLUSTER SETTINGS") {
        Show::ClusterSetting(None)
    } else if cursor.eat("CLUSTER SETTING") {
        Show::ClusterSetting(Some(parse_setting_name(cursor)?))
    } else if cursor.eat("ALL") {
        Show::Setting(None)
    } else if cursor.eat("TIME ZONE") {
        Show::Setting(Some("timezone".into()))
    } else if cursor.eat("TRANSACTION ISOLATION LEVEL") {
        Show::Setting(Some("transaction_isolation".into()))
    } else {
        cursor.eat("SESSION");
        Show::Setting(Some(parse_setting_name(cursor)?))
    };
    Ok(Statement::Show(show))
}

fn optional_from<T>(cursor: &mut Cursor<'_>, name: impl FnOnce(&mut Cursor<'_>) -> Result<T>) -> Result<Option<T>> {
    if cursor.eat("FROM") || cursor.eat("IN") { name(cursor).map(Some) } else { Ok(None) }
}

fn from_table(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    if !cursor.eat("FROM") {
        cursor.expect("IN")?;
    }
    cursor.eat("TABLE");
    let name = cursor.name()?;
    if cursor.peek() == Some(&Token::AtSign) {
        return Err(cursor.expected("the end of the statement"));
    }
    Ok(name)
}
