use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use sqlparser::ast::Statement as Ast;
use sqlparser::tokenizer::TokenWithSpan;

use super::alter_backup::AlterBackup;
use super::backup::Backup;
use super::cancel::Cancel;
use super::connection::ExternalConnection;
use super::constraints::SetConstraints;
use super::cursor::Cursor;
use super::database::CreateDatabase;
use super::default_privileges::AlterDefaultPrivileges;
use super::enumeration::EnumStatement;
use super::error::{Error, Result};
use super::explain::Explain;
use super::fetch::Fetch;
use super::identity::AlterIdentity;
use super::jobs::{AlterJob, ControlJobs, JobCommand, ShowJobs};
use super::maintenance::Maintenance;
use super::ordinary::{self, Ordinary};
use super::render::{Render, Secrets, quote_ident, quote_literal};
use super::restore::Restore;
use super::role::RoleStatement;
use super::schedule::{AlterSchedule, ControlSchedules, CreateSchedule, ScheduleCommand, ShowSchedules};
use super::sequence::SequenceStatement;
use super::settings::{Reset, SetClusterSetting};
use super::show::{self, Show};
use super::show_backup::{ShowBackup, ShowBackupConnection, ShowBackups};
use super::text::{Integer, Text};
use super::zone::{ConfigureZone, ShowZone};

/// A statement and where it stands.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub statement: Statement,
    /// The bytes of the source that it was read from.
    pub span: Range<usize>,
    /// The number of its highest placeholder.
    pub parameters: usize,
}

impl Parsed {
    /// The statement as anybody may see it: what was written, or its canonical form if there can be secrets in it.
    pub fn shown<'a>(&self, source: &'a str) -> Cow<'a, str> {
        match &self.statement {
            Statement::Sql(ordinary) => match &ordinary.ast {
                // What it stands for can be a BACKUP, with a passphrase among the values.
                Ast::Execute { name: Some(name), parameters, .. } if !parameters.is_empty() => {
                    format!("EXECUTE {name} (...)").into()
                }
                _ if ordinary.shows.is_empty() => source.get(self.span.clone()).unwrap_or_default().into(),
                _ => self.statement.to_string().into(),
            },
            own => own.to_string().into(),
        }
    }
}

/// Everything keepsafe can read.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Ordinary SQL.
    Sql(Box<Ordinary>),
    /// `BACKUP`
    Backup(Box<Backup>),
    /// `RESTORE`
    Restore(Box<Restore>),
    /// `ALTER BACKUP ... ADD NEW_KMS`
    AlterBackup(AlterBackup),
    /// `SHOW BACKUPS IN`
    ShowBackups(ShowBackups),
    /// `SHOW BACKUP FROM`
    ShowBackup(ShowBackup),
    /// `SHOW BACKUP CONNECTION`
    ShowBackupConnection(ShowBackupConnection),
    /// `CREATE SCHEDULE`
    CreateSchedule(Box<CreateSchedule>),
    /// `ALTER BACKUP SCHEDULE`
    AlterSchedule(AlterSchedule),
    /// `SHOW SCHEDULES`
    ShowSchedules(ShowSchedules),
    /// `SHOW SCHEDULE`
    ShowSchedule(Integer),
    /// `SHOW CREATE SCHEDULE`; `None` is `SHOW CREATE ALL SCHEDULES`
    ShowCreateSchedules(Option<Integer>),
    /// `PAUSE SCHEDULES`, `RESUME SCHEDULES`, `DROP SCHEDULES`
    ControlSchedules(ControlSchedules),
    /// `SHOW JOBS`
    ShowJobs(ShowJobs),
    /// `PAUSE JOBS`, `RESUME JOBS`, `CANCEL JOBS`
    ControlJobs(ControlJobs),
    /// `ALTER JOB`
    AlterJob(AlterJob),
    /// `CANCEL QUERY`, `CANCEL SESSION`
    Cancel(Cancel),
    /// Everything about external connections.
    ExternalConnection(ExternalConnection),
    /// `ALTER ... CONFIGURE ZONE`
    ConfigureZone(ConfigureZone),
    /// `SHOW ZONE CONFIGURATION`
    ShowZone(ShowZone),
    /// Every other `SHOW`
    Show(Show),
    /// `SET CLUSTER SETTING`, `RESET CLUSTER SETTING`
    SetClusterSetting(SetClusterSetting),
    /// `RESET`
    Reset(Reset),
    /// `CREATE SEQUENCE`, `ALTER SEQUENCE`
    Sequence(SequenceStatement),
    /// `CREATE TYPE ... AS ENUM`, `ALTER TYPE`
    Enum(EnumStatement),
    /// `CREATE ROLE`, `ALTER ROLE`, `GRANT` of roles
    Role(Box<RoleStatement>),
    /// `CREATE DATABASE` with options
    CreateDatabase(CreateDatabase),
    /// `ALTER DEFAULT PRIVILEGES`
    DefaultPrivileges(Box<AlterDefaultPrivileges>),
    /// `ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY` and its like
    AlterIdentity(AlterIdentity),
    /// `SET CONSTRAINTS`
    SetConstraints(SetConstraints),
    /// `FETCH`, `MOVE`
    Fetch(Fetch),
    /// `USE`
    Use(String),
    /// `VACUUM`, `ANALYZE`
    Maintenance(Maintenance),
    /// `EXPLAIN` of any of these but ordinary SQL.
    Explain(Explain),
}

impl Statement {
    /// The canonical form, secrets included.
    pub fn exposed(&self) -> String {
        self.rendered(Secrets::Shown)
    }

    /// Its first words, as an error names it.
    pub fn name(&self) -> &'static str {
        match self {
            Statement::Sql(_) => "this statement",
            Statement::Backup(_) => "BACKUP",
            Statement::Restore(_) => "RESTORE",
            Statement::AlterBackup(_) => "ALTER BACKUP",
            Statement::ShowBackups(_) => "SHOW BACKUPS",
            Statement::ShowBackup(_) => "SHOW BACKUP",
            Statement::ShowBackupConnection(_) => "SHOW BACKUP CONNECTION",
            Statement::CreateSchedule(_) => "CREATE SCHEDULE",
            Statement::AlterSchedule(_) => "ALTER BACKUP SCHEDULE",
            Statement::ShowSchedules(_) => "SHOW SCHEDULES",
            Statement::ShowSchedule(_) => "SHOW SCHEDULE",
            Statement::ShowCreateSchedules(Some(_)) => "SHOW CREATE SCHEDULE",
            Statement::ShowCreateSchedules(None) => "SHOW CREATE ALL SCHEDULES",
            Statement::ControlSchedules(control) => match control.command {
                ScheduleCommand::Pause => "PAUSE SCHEDULES",
                ScheduleCommand::Resume => "RESUME SCHEDULES",
                ScheduleCommand::Drop => "DROP SCHEDULES",
            },
            Statement::ShowJobs(_) => "SHOW JOBS",
            Statement::ControlJobs(control) => match control.command {
                JobCommand::Pause => "PAUSE JOBS",
                JobCommand::Resume => "RESUME JOBS",
                JobCommand::Cancel => "CANCEL JOBS",
            },
            Statement::AlterJob(_) => "ALTER JOB",
            Statement::Cancel(_) => "CANCEL",
            Statement::ExternalConnection(connection) => connection.name(),
            Statement::ConfigureZone(_) => "CONFIGURE ZONE",
            Statement::ShowZone(_) => "SHOW ZONE CONFIGURATION",
            Statement::Show(_) => "SHOW",
            Statement::SetClusterSetting(_) => "SET CLUSTER SETTING",
            Statement::Reset(_) => "RESET",
            Statement::Sequence(_) => "CREATE or ALTER SEQUENCE",
            Statement::Enum(_) => "CREATE or ALTER TYPE",
            Statement::Role(_) => "a statement about roles",
            Statement::CreateDatabase(_) => "CREATE DATABASE",
            Statement::DefaultPrivileges(_) => "ALTER DEFAULT PRIVILEGES",
            Statement::SetConstraints(_) => "SET CONSTRAINTS",
            Statement::AlterIdentity(_) => "ALTER TABLE",
            Statement::Fetch(fetch) => {
                if fetch.moves {
                    "MOVE"
                } else {
                    "FETCH"
                }
            }
            Statement::Use(_) => "USE",
            Statement::Maintenance(maintenance) => maintenance.command,
            Statement::Explain(_) => "EXPLAIN of a statement that is not ordinary SQL",
        }
    }
}

impl Render for Statement {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            Statement::Sql(statement) => statement.render(out, secrets),
            Statement::Backup(statement) => statement.render(out, secrets),
            Statement::Restore(statement) => statement.render(out, secrets),
            Statement::AlterBackup(statement) => statement.render(out, secrets),
            Statement::ShowBackups(statement) => statement.render(out, secrets),
            Statement::ShowBackup(statement) => statement.render(out, secrets),
            Statement::ShowBackupConnection(statement) => statement.render(out, secrets),
            Statement::CreateSchedule(statement) => statement.render(out, secrets),
            Statement::AlterSchedule(statement) => statement.render(out, secrets),
            Statement::ShowSchedules(statement) => statement.render(out, secrets),
            Statement::ShowSchedule(id) => out.push_str(&format!("SHOW SCHEDULE {}", id.rendered(secrets))),
            Statement::ShowCreateSchedules(Some(id)) => {
                out.push_str(&format!("SHOW CREATE SCHEDULE {}", id.rendered(secrets)));
            }
            Statement::ShowCreateSchedules(None) => out.push_str("SHOW CREATE ALL SCHEDULES"),
            Statement::ControlSchedules(statement) => statement.render(out, secrets),
            Statement::ShowJobs(statement) => statement.render(out, secrets),
            Statement::ControlJobs(statement) => statement.render(out, secrets),
            Statement::AlterJob(statement) => statement.render(out, secrets),
            Statement::Cancel(statement) => statement.render(out, secrets),
            Statement::ExternalConnection(statement) => statement.render(out, secrets),
            Statement::ConfigureZone(statement) => statement.render(out, secrets),
            Statement::ShowZone(statement) => statement.render(out, secrets),
            Statement::Show(statement) => statement.render(out, secrets),
            Statement::SetClusterSetting(statement) => statement.render(out, secrets),
            Statement::Reset(statement) => statement.render(out, secrets),
            Statement::Sequence(statement) => statement.render(out, secrets),
            Statement::Enum(statement) => statement.render(out, secrets),
            Statement::Role(statement) => statement.render(out, secrets),
            Statement::CreateDatabase(statement) => statement.render(out, secrets),
            Statement::DefaultPrivileges(statement) => statement.render(out, secrets),
            Statement::SetConstraints(statement) => statement.render(out, secrets),
            Statement::AlterIdentity(statement) => statement.render(out, secrets),
            Statement::Fetch(statement) => statement.render(out, secrets),
            // Only a literal has room for a line end.
            Statement::Use(database) if database.contains(['\n', '\r']) => {
                out.push_str(&format!("USE {}", quote_literal(database)));
            }
            Statement::Use(database) => out.push_str(&format!("USE {}", quote_ident(database))),
            Statement::Maintenance(statement) => statement.render(out, secrets),
            Statement::Explain(statement) => statement.render(out, secrets),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered(Secrets::Hidden))
    }
}

/// Statements of PostgreSQL's that neither keepsafe nor `sqlparser` reads.
const OF_POSTGRES: [&str; 17] = [
    "CHECKPOINT",
    "CLUSTER",
    "CREATE AGGREGATE",
    "CREATE CAST",
    "CREATE EVENT TRIGGER",
    "CREATE FOREIGN",
    "CREATE LANGUAGE",
    "CREATE PUBLICATION",
    "CREATE RULE",
    "CREATE STATISTICS",
    "CREATE SUBSCRIPTION",
    "CREATE TEXT SEARCH",
    "CREATE UNLOGGED",
    "DO",
    "REFRESH MATERIALIZED VIEW",
    "REINDEX",
    "SECURITY LABEL",
];

/// Reads one whole statement.
pub fn parse(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    let mut cursor = Cursor::new(&tokens);
    let mut own = parse_own(&mut cursor)?;
    if own.is_none() && cursor.eat("EXPLAIN") {
        own = Explain::parse(&mut cursor)?.map(Statement::Explain);
    }
    if own.is_none()
        && let Some(phrase) = OF_POSTGRES.iter().find(|phrase| cursor.clone().eat(phrase))
    {
        return Err(Error::unsupported(phrase, cursor.location()));
    }
    match own {
        Some(statement) => cursor.require_end().map(|()| statement),
        None => ordinary::parse(tokens).map(|statement| Statement::Sql(Box::new(statement))),
    }
}

/// Reads a statement if it is one that `sqlparser` does not read.
pub fn parse_own(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    Ok(Some(if cursor.eat("BACKUP") {
        Statement::Backup(Box::new(Backup::parse(cursor)?))
    } else if cursor.eat("RESTORE") {
        Statement::Restore(Box::new(Restore::parse(cursor)?))
    } else if cursor.eat("SHOW") {
        show::parse_show(cursor)?
    } else if cursor.at("CREATE") {
        return parse_create(cursor);
    } else if cursor.at("ALTER") {
        return parse_alter(cursor);
    } else if cursor.at("DROP") {
        return parse_drop(cursor);
    } else if cursor.eat("PAUSE") {
        parse_control(cursor, JobCommand::Pause, Some(ScheduleCommand::Pause))?
    } else if cursor.eat("RESUME") {
        parse_control(cursor, JobCommand::Resume, Some(ScheduleCommand::Resume))?
    } else if cursor.eat("CANCEL") {
        match Cancel::parse(cursor)? {
            Some(cancel) => Statement::Cancel(cancel),
            None => parse_control(cursor, JobCommand::Cancel, None)?,
        }
    } else if cursor.eat("CHECK EXTERNAL CONNECTION") {
        Statement::ExternalConnection(ExternalConnection::parse_check(cursor)?)
    } else if cursor.eat("SET CLUSTER SETTING") {
        Statement::SetClusterSetting(SetClusterSetting::parse(cursor)?)
    } else if cursor.eat("SET CONSTRAINTS") {
        Statement::SetConstraints(SetConstraints::parse(cursor)?)
    } else if cursor.eat("RESET CLUSTER SETTING") {
        Statement::SetClusterSetting(SetClusterSetting::parse_reset(cursor)?)
    } else if cursor.eat("RESET") {
        Statement::Reset(Reset::parse(cursor)?)
    } else if cursor.eat("FETCH") {
        Statement::Fetch(Fetch::parse(cursor, false)?)
    } else if cursor.eat("MOVE") {
        Statement::Fetch(Fetch::parse(cursor, true)?)
    } else if cursor.eat("USE") {
        match cursor.clone().text()? {
            Text::Literal(name) => cursor.text().map(|_| Statement::Use(name))?,
            Text::Placeholder(_) => return Err(cursor.expected("the name of a database")),
        }
    } else if cursor.at("GRANT") || cursor.at("REVOKE") {
        return Ok(RoleStatement::parse_grant(cursor)?.map(role));
    } else if cursor.at("REASSIGN") {
        return Ok(RoleStatement::parse_owned(cursor)?.map(role));
    } else if cursor.eat("VACUUM") {
        Statement::Maintenance(Maintenance::parse(cursor, "VACUUM")?)
    } else if cursor.eat("ANALYZE") {
        Statement::Maintenance(Maintenance::parse(cursor, "ANALYZE")?)
    } else {
        return Ok(None);
    }))
}

fn parse_create(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    if cursor.eat("CREATE SCHEDULE") {
        CreateSchedule::parse(cursor).map(|create| Some(Statement::CreateSchedule(Box::new(create))))
    } else if cursor.eat("CREATE EXTERNAL CONNECTION") {
        ExternalConnection::parse_create(cursor).map(|create| Some(Statement::ExternalConnection(create)))
    } else if cursor.eat("CREATE SEQUENCE") {
        SequenceStatement::parse_create(cursor, false).map(|create| Some(Statement::Sequence(create)))
    } else if cursor.eat("CREATE TEMPORARY SEQUENCE") || cursor.eat("CREATE TEMP SEQUENCE") {
        SequenceStatement::parse_create(cursor, true).map(|create| Some(Statement::Sequence(create)))
    } else if let Some(create) = CreateDatabase::parse(cursor)? {
        Ok(Some(Statement::CreateDatabase(create)))
    } else if let Some(create) = RoleStatement::parse_create(cursor)? {
        Ok(Some(role(create)))
    } else {
        EnumStatement::parse_create(cursor).map(|create| create.map(Statement::Enum))
    }
}

fn role(statement: RoleStatement) -> Statement {
    Statement::Role(Box::new(statement))
}

fn parse_alter(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    // A subdirectory may be called schedule.
    let of_backup = cursor.at_words("ALTER BACKUP SCHEDULE") && cursor.at_offset(3, "IN");
    if !of_backup && cursor.eat("ALTER BACKUP SCHEDULE") {
        AlterSchedule::parse(cursor).map(|alter| Some(Statement::AlterSchedule(alter)))
    } else if cursor.eat("ALTER BACKUP") {
        AlterBackup::parse(cursor).map(|alter| Some(Statement::AlterBackup(alter)))
    } else if cursor.eat("ALTER DEFAULT PRIVILEGES") {
        AlterDefaultPrivileges::parse(cursor).map(|alter| Some(Statement::DefaultPrivileges(Box::new(alter))))
    } else if cursor.eat("ALTER JOB") {
        AlterJob::parse(cursor).map(|alter| Some(Statement::AlterJob(alter)))
    } else if cursor.eat("ALTER EXTERNAL CONNECTION") {
        ExternalConnection::parse_alter(cursor).map(|alter| Some(Statement::ExternalConnection(alter)))
    } else if let Some(give) = RoleStatement::parse_give(cursor)? {
        Ok(Some(role(give)))
    } else if cursor.eat("ALTER SEQUENCE") {
        SequenceStatement::parse_alter(cursor).map(|alter| Some(Statement::Sequence(alter)))
    } else if cursor.eat("ALTER TYPE") {
        EnumStatement::parse_alter(cursor).map(|alter| Some(Statement::Enum(alter)))
    } else if let Some(alter) = RoleStatement::parse_alter(cursor)? {
        Ok(Some(role(alter)))
    } else {
        let mut ahead = cursor.clone();
        ahead.require("ALTER")?;
        let zone = ConfigureZone::parse(&mut ahead)?;
        if zone.is_some() {
            *cursor = ahead;
            return Ok(zone.map(Statement::ConfigureZone));
        }
        let mut ahead = cursor.clone();
        ahead.require("ALTER")?;
        let identity = AlterIdentity::parse(&mut ahead)?;
        if identity.is_some() {
            *cursor = ahead;
        }
        Ok(identity.map(Statement::AlterIdentity))
    }
}

fn parse_drop(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    if cursor.eat("DROP EXTERNAL CONNECTION") {
        return Ok(Some(Statement::ExternalConnection(ExternalConnection::Drop(cursor.text()?))));
    }
    if let Some(owned) = RoleStatement::parse_owned(cursor)? {
        return Ok(Some(role(owned)));
    }
    let mut ahead = cursor.clone();
    ahead.require("DROP")?;
    let control = ControlSchedules::parse(&mut ahead, ScheduleCommand::Drop)?;
    if control.is_some() {
        *cursor = ahead;
    }
    Ok(control.map(Statement::ControlSchedules))
}

fn parse_control(cursor: &mut Cursor<'_>, jobs: JobCommand, schedules: Option<ScheduleCommand>) -> Result<Statement> {
    if let Some(control) = ControlJobs::parse(cursor, jobs)? {
        return Ok(Statement::ControlJobs(control));
    }
    let Some(command) = schedules else {
        return Err(cursor.expected("JOB, JOBS, ALL, QUERY, QUERIES, SESSION or SESSIONS"));
    };
    let control = ControlSchedules::parse(cursor, command)?;
    let expected: fn(&Cursor<'_>) -> Error = |cursor| cursor.expected("JOB, JOBS, ALL, SCHEDULE or SCHEDULES");
    control.map(Statement::ControlSchedules).ok_or_else(|| expected(cursor))
}
