use sqlparser::tokenizer::Token;

use super::connection::ExternalConnection;
use super::cursor::Cursor;
use super::default_privileges::ShowDefaultPrivileges;
use super::error::Result;
use super::jobs::ShowJobs;
use super::render::{Render, Secrets, display_redacted, quote_ident, quote_name};
use super::schedule::{SCHEDULE_ID, ShowSchedules};
use super::settings::{parse_setting_name, quote_setting};
use super::show_backup::{ShowBackup, ShowBackupConnection, ShowBackups};
use super::show_grants::ShowGrants;
use super::statement::Statement;
use super::zone::ShowZone;

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
    /// `SHOW ENUMS [FROM database]`
    Enums(Option<String>),
    /// `SHOW TYPES [FROM database]`
    Types(Option<String>),
    /// `SHOW COLUMNS FROM table`
    Columns(Vec<String>),
    /// `SHOW INDEXES FROM table`
    Indexes(Vec<String>),
    /// `SHOW INDEXES FROM DATABASE database`
    IndexesOf(String),
    /// One of these `WITH COMMENT`
    WithComment(Box<Show>),
    /// `SHOW CONSTRAINTS FROM table`
    Constraints(Vec<String>),
    /// `SHOW CREATE [TABLE | VIEW | SEQUENCE | DATABASE] name`
    Create(ShowCreate, Vec<String>),
    /// `SHOW CREATE ALL {TABLES | TYPES | SCHEMAS}`
    CreateAll(AllOf),
    /// `SHOW GRANTS`
    Grants(ShowGrants),
    /// `SHOW DEFAULT PRIVILEGES`
    DefaultPrivileges(ShowDefaultPrivileges),
    /// `SHOW USERS`
    Users,
    /// `SHOW LOCALITY`
    Locality,
    /// `SHOW [ALL] [CLUSTER | LOCAL] SESSIONS`: a node shows its own, which are those that people opened
    Sessions,
    /// `SHOW [ALL] [CLUSTER | LOCAL] {STATEMENTS | QUERIES}`
    Queries,
    /// `SHOW [ALL] [CLUSTER | LOCAL] TRANSACTIONS`
    Transactions,
    /// `SHOW TRANSACTION STATUS`
    TransactionStatus,
    /// `SHOW SAVEPOINT STATUS`
    SavepointStatus,
    /// `SHOW CLUSTER SETTING name`; `None` is all of them
    ClusterSetting(Option<String>),
    /// `SHOW name` of a session setting; `None` is all of them
    Setting(Option<String>),
}

/// What `SHOW CREATE` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowCreate {
    /// A table, view or sequence.
    Table,
    /// A view.
    View,
    /// A sequence.
    Sequence,
    /// A database.
    Database,
}

/// What `SHOW CREATE ALL` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllOf {
    /// Tables, views and sequences.
    Tables,
    /// Types.
    Types,
    /// Schemas.
    Schemas,
}

display_redacted!(Show);

impl AllOf {
    const ALL: [(AllOf, &'static str); 3] =
        [(AllOf::Tables, "TABLES"), (AllOf::Types, "TYPES"), (AllOf::Schemas, "SCHEMAS")];
}

impl ShowCreate {
    const ALL: [(ShowCreate, &'static str); 4] = [
        (ShowCreate::Table, "TABLE"),
        (ShowCreate::View, "VIEW"),
        (ShowCreate::Sequence, "SEQUENCE"),
        (ShowCreate::Database, "DATABASE"),
    ];
}

impl Render for Show {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let from = |parts: Option<String>| parts.map_or(String::new(), |name| format!(" FROM {name}"));
        let text = match self {
            Show::Databases => "DATABASES".into(),
            Show::Schemas(database) => format!("SCHEMAS{}", from(database.as_deref().map(quote_ident))),
            Show::Tables(place) => format!("TABLES{}", from(place.as_deref().map(quote_name))),
            Show::Sequences(database) => format!("SEQUENCES{}", from(database.as_deref().map(quote_ident))),
            Show::Enums(database) => format!("ENUMS{}", from(database.as_deref().map(quote_ident))),
            Show::Types(database) => format!("TYPES{}", from(database.as_deref().map(quote_ident))),
            Show::Columns(table) => format!("COLUMNS FROM {}", quote_name(table)),
            Show::Indexes(table) => format!("INDEXES FROM {}", quote_name(table)),
            Show::IndexesOf(database) => format!("INDEXES FROM DATABASE {}", quote_ident(database)),
            Show::WithComment(shown) => {
                shown.render(out, secrets);
                return out.push_str(" WITH COMMENT");
            }
            Show::Constraints(table) => format!("CONSTRAINTS FROM {}", quote_name(table)),
            Show::Create(kind, name) => format!("CREATE {} {}", ShowCreate::ALL[*kind as usize].1, quote_name(name)),
            Show::CreateAll(what) => format!("CREATE ALL {}", AllOf::ALL[*what as usize].1),
            Show::Grants(grants) => return grants.render(out, secrets),
            Show::DefaultPrivileges(show) => return show.render(out, secrets),
            Show::Users => "USERS".into(),
            Show::Locality => "LOCALITY".into(),
            Show::Sessions => "SESSIONS".into(),
            Show::Queries => "STATEMENTS".into(),
            Show::Transactions => "TRANSACTIONS".into(),
            Show::TransactionStatus => "TRANSACTION STATUS".into(),
            Show::SavepointStatus => "SAVEPOINT STATUS".into(),
            Show::ClusterSetting(Some(setting)) => format!("CLUSTER SETTING {}", quote_setting(setting)),
            Show::ClusterSetting(None) => "ALL CLUSTER SETTINGS".into(),
            // SESSION keeps a setting apart from everything else that can be shown.
            Show::Setting(Some(setting)) if is_shown_otherwise(setting) => {
                format!("SESSION {}", quote_setting(setting))
            }
            Show::Setting(Some(setting)) => quote_setting(setting),
            Show::Setting(None) => "ALL".into(),
        };
        out.push_str(&format!("SHOW {text}"));
    }
}

/// Whether `SHOW word` shows something else than the setting of this name.
fn is_shown_otherwise(setting: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(setting))
}

/// Words after `SHOW` that begin something else than the name of a setting.
const WORDS: [&str; 39] = [
    "ALL",
    "AUTOMATIC",
    "BACKUP",
    "BACKUPS",
    "CLUSTER",
    "COLUMNS",
    "CONSTRAINT",
    "CONSTRAINTS",
    "CREATE",
    "DATABASES",
    "DEFAULT",
    "ENUMS",
    "EXTERNAL",
    "GRANTS",
    "INDEX",
    "INDEXES",
    "JOB",
    "JOBS",
    "KEYS",
    "LOCAL",
    "LOCALITY",
    "PAUSED",
    "QUERIES",
    "ROLES",
    "RUNNING",
    "SAVEPOINT",
    "SCHEDULE",
    "SCHEDULES",
    "SCHEMAS",
    "SEQUENCES",
    "SESSION",
    "SESSIONS",
    "STATEMENTS",
    "TABLES",
    "TRANSACTION",
    "TRANSACTIONS",
    "TYPES",
    "USERS",
    "ZONE",
];

/// After `SHOW`.
pub fn parse_show(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if cursor.peek_offset(1) == Some(&Token::Period) {
        // Whatever the first word, this is the name of a setting.
        return Ok(Statement::Show(Show::Setting(Some(parse_setting_name(cursor)?))));
    } else if cursor.at("CREATE")
        && matches!(cursor.peek_offset(2), None | Some(Token::Period))
        && cursor.rest().len() > 1
    {
        // A table may be called schedule, or view.
        cursor.require("CREATE")?;
        return Ok(Statement::Show(Show::Create(ShowCreate::Table, cursor.name()?)));
    } else if let Some(jobs) = ShowJobs::parse(cursor)? {
        return Ok(Statement::ShowJobs(jobs));
    } else if let Some(schedules) = ShowSchedules::parse(cursor) {
        return Ok(Statement::ShowSchedules(schedules));
    } else if let Some(zone) = ShowZone::parse(cursor)? {
        return Ok(Statement::ShowZone(zone));
    }
    Ok(if cursor.eat("BACKUPS") {
        Statement::ShowBackups(ShowBackups::parse(cursor)?)
    } else if !cursor.at_offset(2, "IN") && cursor.eat("BACKUP CONNECTION") {
        Statement::ShowBackupConnection(ShowBackupConnection::parse(cursor)?)
    } else if cursor.eat("BACKUP") {
        Statement::ShowBackup(ShowBackup::parse(cursor)?)
    } else if cursor.eat("CREATE ALL SCHEDULES") {
        Statement::ShowCreateSchedules(None)
    } else if cursor.eat("CREATE SCHEDULE") {
        Statement::ShowCreateSchedules(Some(cursor.integer(SCHEDULE_ID)?))
    } else if cursor.eat("SCHEDULE") {
        Statement::ShowSchedule(cursor.integer(SCHEDULE_ID)?)
    } else if cursor.eat("CREATE ALL EXTERNAL CONNECTIONS") {
        Statement::ExternalConnection(ExternalConnection::ShowCreate(None))
    } else if cursor.eat("CREATE EXTERNAL CONNECTION") {
        Statement::ExternalConnection(ExternalConnection::ShowCreate(Some(cursor.text()?)))
    } else if cursor.eat("EXTERNAL CONNECTIONS") {
        Statement::ExternalConnection(ExternalConnection::Show(None))
    } else if cursor.eat("EXTERNAL CONNECTION") {
        Statement::ExternalConnection(ExternalConnection::Show(Some(cursor.text()?)))
    } else {
        Statement::Show(parse_catalog(cursor)?)
    })
}

fn parse_catalog(cursor: &mut Cursor<'_>) -> Result<Show> {
    let shown = parse_plain(cursor)?;
    let has_comments =
        matches!(shown, Show::Databases | Show::Tables(_) | Show::Columns(_) | Show::Indexes(_) | Show::IndexesOf(_));
    Ok(if has_comments && cursor.eat("WITH COMMENT") { Show::WithComment(Box::new(shown)) } else { shown })
}

fn parse_plain(cursor: &mut Cursor<'_>) -> Result<Show> {
    if let Some(activity) = parse_activity(cursor) {
        return Ok(activity);
    }
    Ok(if cursor.eat("DATABASES") {
        Show::Databases
    } else if cursor.eat("SCHEMAS") {
        Show::Schemas(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("TABLES") {
        Show::Tables(optional_from(cursor, |cursor| cursor.name())?)
    } else if cursor.eat("SEQUENCES") {
        Show::Sequences(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("ENUMS") {
        Show::Enums(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("TYPES") {
        Show::Types(optional_from(cursor, |cursor| cursor.identifier())?)
    } else if cursor.eat("COLUMNS") {
        Show::Columns(from_table(cursor)?)
    } else if cursor.eat("INDEXES") || cursor.eat("INDEX") || cursor.eat("KEYS") {
        let of_database = ["FROM DATABASE", "IN DATABASE"].iter().any(|words| cursor.eat(words));
        if of_database { Show::IndexesOf(cursor.identifier()?) } else { Show::Indexes(from_table(cursor)?) }
    } else if cursor.eat("CONSTRAINTS") || cursor.eat("CONSTRAINT") {
        Show::Constraints(from_table(cursor)?)
    } else if cursor.eat("CREATE ALL") {
        let found = AllOf::ALL.into_iter().find(|(_, word)| cursor.eat(word));
        Show::CreateAll(
            found.ok_or_else(|| cursor.expected("TABLES, TYPES, SCHEMAS, SCHEDULES or EXTERNAL CONNECTIONS"))?.0,
        )
    } else if cursor.eat("CREATE") {
        let kind = ShowCreate::ALL.into_iter().find(|(_, word)| cursor.eat(word));
        match kind.map_or(ShowCreate::Table, |(kind, _)| kind) {
            ShowCreate::Database => Show::Create(ShowCreate::Database, vec![cursor.identifier()?]),
            kind => Show::Create(kind, cursor.name()?),
        }
    } else if cursor.eat("GRANTS") {
        Show::Grants(ShowGrants::parse(cursor)?)
    } else if cursor.eat("DEFAULT PRIVILEGES") {
        Show::DefaultPrivileges(ShowDefaultPrivileges::parse(cursor)?)
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
    } else if cursor.eat("TRANSACTION STATUS") {
        Show::TransactionStatus
    } else if cursor.eat("SAVEPOINT STATUS") {
        Show::SavepointStatus
    } else if cursor.eat("TRANSACTION ISOLATION LEVEL") {
        Show::Setting(Some("transaction_isolation".into()))
    } else {
        cursor.eat("SESSION");
        Show::Setting(Some(parse_setting_name(cursor)?))
    })
}

/// What sessions do, all words before it being ones that make no difference on a single node.
fn parse_activity(cursor: &mut Cursor<'_>) -> Option<Show> {
    let mut ahead = cursor.clone();
    ahead.eat("ALL");
    if !ahead.eat("CLUSTER") {
        ahead.eat("LOCAL");
    }
    let shown = if ahead.eat("SESSIONS") {
        Show::Sessions
    } else if ahead.eat("STATEMENTS") || ahead.eat("QUERIES") {
        Show::Queries
    } else if ahead.eat("TRANSACTIONS") {
        Show::Transactions
    } else {
        return None;
    };
    *cursor = ahead;
    Some(shown)
}

fn optional_from<T>(cursor: &mut Cursor<'_>, name: impl FnOnce(&mut Cursor<'_>) -> Result<T>) -> Result<Option<T>> {
    if cursor.eat("FROM") || cursor.eat("IN") { name(cursor).map(Some) } else { Ok(None) }
}

fn from_table(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    if !cursor.eat("FROM") {
        cursor.require("IN").map_err(|_| cursor.expected("FROM"))?;
    }
    cursor.eat("TABLE");
    cursor.name()
}
