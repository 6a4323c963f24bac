//! Backup schedules.

use sqlparser::tokenizer::Token;

use super::backup::{BackupOptions, parse_targets};
use super::cursor::Cursor;
use super::error::{Error, Result};
use super::option::{self, OptionWriter};
use super::ordinary::{Ordinary, ids_query};
use super::render::{Render, Secrets, display_redacted, push_list};
use super::target::{Subdirectory, Targets};
use super::text::{Bind, Flag, Integer, Text, Uri};

/// `CREATE SCHEDULE`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSchedule {
    /// Whether one with the same label is no error.
    pub if_not_exists: bool,
    /// What people call it.
    pub label: Option<Text>,
    /// What to back up.
    pub targets: Targets,
    /// Where to.
    pub collection: Vec<Uri>,
    /// Options of its backups.
    pub options: BackupOptions,
    /// When to back up; `None` is `NEVER`.
    pub recurring: Option<Text>,
    /// When to take full backups, if that is said.
    pub full_backup: Option<FullBackup>,
    /// Options of the schedule itself.
    pub schedule_options: ScheduleOptions,
}

/// When full backups are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FullBackup {
    /// Every backup is one.
    Always,
    /// At these times.
    Crontab(Text),
}

/// Options of a schedule, as opposed to those of its backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// When to begin: `'now'` or a time.
    pub first_run: Option<Text>,
    /// `'retry'`, `'reschedule'` or `'pause'`.
    pub on_execution_failure: Option<Text>,
    /// `'start'`, `'skip'` or `'wait'`.
    pub on_previous_running: Option<Text>,
    /// Do not mind that the collection is not empty.
    pub ignore_existing_backups: Option<Flag>,
    /// Set the metric of the last backup's time.
    pub updates_cluster_last_backup_time_metric: Option<Flag>,
}

/// `ALTER BACKUP SCHEDULE`
#[derive(Clone, Debug, PartialEq)]
pub struct AlterSchedule {
    /// Its id.
    pub id: Integer,
    /// What to change, in order.
    pub changes: Vec<ScheduleChange>,
}

/// One change of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleChange {
    /// `SET LABEL`
    Label(Text),
    /// `SET INTO`
    Into(Vec<Uri>),
    /// `SET WITH`
    With(BackupOptions),
    /// `SET RECURRING`; `None` is `NEVER`
    Recurring(Option<Text>),
    /// `SET FULL BACKUP`
    FullBackup(FullBackup),
    /// `SET SCHEDULE OPTION`: one option is set.
    ScheduleOption(ScheduleOptions),
    /// `EXECUTE [FULL] IMMEDIATELY`
    Execute {
        /// Take a full backup.
        full: bool,
    },
}

/// `SHOW [RUNNING | PAUSED] SCHEDULES [FOR BACKUP]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowSchedules {
    /// Only those that run, or only those that are paused.
    pub only: Option<ScheduleState>,
    /// Only those of backups.
    pub for_backup: bool,
}

/// Whether a schedule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleState {
    /// It does.
    Running,
    /// It does not.
    Paused,
}

/// `{PAUSE | RESUME | DROP} SCHEDULES query`
#[derive(Clone, Debug, PartialEq)]
pub struct ControlSchedules {
    /// What to do with them.
    pub command: ScheduleCommand,
    /// A query whose one column holds their ids.
    pub ids: Box<Ordinary>,
}

/// What can be done with schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleCommand {
    /// `PAUSE`
    Pause,
    /// `RESUME`
    Resume,
    /// `DROP`
    Drop,
}

display_redacted!(CreateSchedule, AlterSchedule, ShowSchedules, ControlSchedules);

/// What an id of a schedule has to be.
pub const SCHEDULE_ID: &str = "the id of a schedule, a whole number";

impl CreateSchedule {
    /// After `CREATE SCHEDULE`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<CreateSchedule> {
        let if_not_exists = cursor.eat("IF NOT EXISTS");
        let label = if cursor.at("FOR") { None } else { Some(cursor.text()?) };
        cursor.require("FOR BACKUP")?;
        let targets = parse_targets(cursor)?;
        cursor.require("INTO")?;
        if let Some(at) = Subdirectory::parse_with_in(&mut cursor.clone())?.map(|_| cursor.location()) {
            let error = Error::syntax("syntax error: a schedule chooses the subdirectory of each backup", at);
            return Err(error.hint("Write INTO 'collection'."));
        }
        let collection = cursor.uris()?;
        if cursor.at_words("AS OF SYSTEM TIME") {
            let message = "a schedule backs up the time it runs at: AS OF SYSTEM TIME cannot be given";
            return Err(Error::syntax(message, cursor.location()));
        }
        let mut options = BackupOptions::default();
        if cursor.eat("WITH OPTIONS") {
            cursor.require_token(&Token::LParen)?;
            options = BackupOptions::parse_list(cursor, &[])?.0;
            cursor.require_token(&Token::RParen)?;
        } else if cursor.eat("WITH") {
            options = BackupOptions::parse_list(cursor, &[])?.0;
        }
        cursor.require("RECURRING")?;
        let recurring = parse_recurring(cursor)?;
        let full_backup = if cursor.eat("FULL BACKUP") { Some(FullBackup::parse(cursor)?) } else { None };
        let mut schedule_options = ScheduleOptions::default();
        if cursor.eat("WITH SCHEDULE OPTIONS") {
            let in_parentheses = cursor.eat_token(&Token::LParen);
            schedule_options.parse_list(cursor)?;
            if in_parentheses {
                cursor.require_token(&Token::RParen)?;
            }
        }
        let schedule = CreateSchedule {
            if_not_exists,
            label,
            targets,
            collection,
            options,
            recurring,
            full_backup,
            schedule_options,
        };
        Ok(schedule)
    }
}

fn parse_recurring(cursor: &mut Cursor<'_>) -> Result<Option<Text>> {
    if cursor.eat("NEVER") {
        Ok(None)
    } else {
        cursor.text().map(Some).map_err(|_| cursor.expected("a crontab or NEVER"))
    }
}

impl FullBackup {
    fn parse(cursor: &mut Cursor<'_>) -> Result<FullBackup> {
        if cursor.eat("ALWAYS") {
            return Ok(FullBackup::Always);
        }
        cursor.text().map(FullBackup::Crontab).map_err(|_| cursor.expected("a crontab or ALWAYS"))
    }
}

impl ScheduleOptions {
    /// Their names, in canonical order.
    const NAMES: [&'static str; 5] = [
        "first_run",
        "on_execution_failure",
        "on_previous_running",
        "ignore_existing_backups",
        "updates_cluster_last_backup_time_metric",
    ];

    fn parse_list(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let read = |cursor: &mut Cursor<'_>, name| self.read(cursor, name);
        option::parse_list(cursor, "a schedule", &ScheduleOptions::NAMES, &[], read).map(|_| ())
    }

    /// One option alone.
    fn parse_one(cursor: &mut Cursor<'_>) -> Result<ScheduleOptions> {
        let mut options = ScheduleOptions::default();
        let read = |cursor: &mut Cursor<'_>, name| options.read(cursor, name);
        option::parse_list(cursor, "a schedule", &ScheduleOptions::NAMES, &CHANGES, read)?;
        Ok(options)
    }

    /// After the name of one of them.
    fn read(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        let flag = |cursor: &mut Cursor<'_>| {
            if cursor.eat_token(&Token::Eq) { cursor.flag() } else { Ok(Flag::Value(true)) }
        };
        match name {
            "first_run" => self.first_run = Some(option::parse_value(cursor)?),
            "on_execution_failure" => self.on_execution_failure = Some(option::parse_value(cursor)?),
            "on_previous_running" => self.on_previous_running = Some(option::parse_value(cursor)?),
            "ignore_existing_backups" => self.ignore_existing_backups = Some(flag(cursor)?),
            _ => self.updates_cluster_last_backup_time_metric = Some(flag(cursor)?),
        }
        Ok(())
    }
}

impl Bind for ScheduleOptions {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.first_run.bind(parameters)?;
        self.on_execution_failure.bind(parameters)?;
        self.on_previous_running.bind(parameters)?;
        self.ignore_existing_backups.bind(parameters)?;
        self.updates_cluster_last_backup_time_metric.bind(parameters)
    }
}

impl Bind for FullBackup {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        if let FullBackup::Crontab(crontab) = self { crontab.bind(parameters) } else { Some(()) }
    }
}

impl Bind for CreateSchedule {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        self.label.bind(parameters)?;
        self.collection.bind(parameters)?;
        self.options.bind(parameters)?;
        self.recurring.bind(parameters)?;
        self.full_backup.bind(parameters)?;
        self.schedule_options.bind(parameters)
    }
}

impl Bind for ScheduleChange {
    fn bind(&mut self, parameters: &[Option<String>]) -> Option<()> {
        match self {
            ScheduleChange::Label(label) => label.bind(parameters),
            ScheduleChange::Into(uris) => uris.bind(parameters),
            ScheduleChange::With(options) => options.bind(parameters),
            ScheduleChange::Recurring(recurring) => recurring.bind(parameters),
            ScheduleChange::FullBackup(full) => full.bind(parameters),
            ScheduleChange::ScheduleOption(options) => options.bind(parameters),
            ScheduleChange::Execute { .. } => Some(()),
        }
    }
}

/// The words that begin a change.
const CHANGES: [&str; 2] = ["SET", "EXECUTE"];

impl AlterSchedule {
    /// After `ALTER BACKUP SCHEDULE`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<AlterSchedule> {
        let id = cursor.integer(SCHEDULE_ID)?;
        Ok(AlterSchedule { id, changes: cursor.list(ScheduleChange::parse)? })
    }
}

impl ScheduleChange {
    fn parse(cursor: &mut Cursor<'_>) -> Result<ScheduleChange> {
        if cursor.eat("EXECUTE") {
            let full = cursor.eat("FULL");
            cursor.require("IMMEDIATELY")?;
            return Ok(ScheduleChange::Execute { full });
        }
        if !cursor.eat("SET") {
            return Err(cursor.expected("SET or EXECUTE"));
        }
        if cursor.eat("LABEL") {
            cursor.text().map(ScheduleChange::Label)
        } else if cursor.eat("INTO") {
            cursor.uris().map(ScheduleChange::Into)
        } else if cursor.eat("WITH") {
            let (options, given) = BackupOptions::parse_list(cursor, &CHANGES)?;
            match given.at("detached") {
                Some(at) if !options.detached => {
                    Err(Error::syntax("the backups of a schedule are always detached", at))
                }
                _ => Ok(ScheduleChange::With(options)),
            }
        } else if cursor.eat("RECURRING") {
            parse_recurring(cursor).map(ScheduleChange::Recurring)
        } else if cursor.eat("FULL BACKUP") {
            FullBackup::parse(cursor).map(ScheduleChange::FullBackup)
        } else if cursor.eat("SCHEDULE OPTION") {
            ScheduleOptions::parse_one(cursor).map(ScheduleChange::ScheduleOption)
        } else {
            Err(cursor.expected("LABEL, INTO, WITH, RECURRING, FULL BACKUP or SCHEDULE OPTION"))
        }
    }
}

impl ShowSchedules {
    /// After `SHOW`, if these are next.
    pub fn parse(cursor: &mut Cursor<'_>) -> Option<ShowSchedules> {
        let only = if cursor.eat("RUNNING SCHEDULES") {
            Some(ScheduleState::Running)
        } else if cursor.eat("PAUSED SCHEDULES") {
            Some(ScheduleState::Paused)
        } else if cursor.eat("SCHEDULES") {
            None
        } else {
            return None;
        };
        Some(ShowSchedules { only, for_backup: cursor.eat("FOR BACKUP") })
    }
}

impl ControlSchedules {
    /// After `{PAUSE | RESUME | DROP}`, if schedules are next.
    pub fn parse(cursor: &mut Cursor<'_>, command: ScheduleCommand) -> Result<Option<ControlSchedules>> {
        let ids = if cursor.eat("SCHEDULES") {
            cursor.query()?
        } else if cursor.eat("SCHEDULE") {
            ids_query(cursor.integer(SCHEDULE_ID)?)
        } else {
            return Ok(None);
        };
        Ok(Some(ControlSchedules { command, ids }))
    }
}

impl ScheduleCommand {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ScheduleCommand::Pause => "PAUSE",
            ScheduleCommand::Resume => "RESUME",
            ScheduleCommand::Drop => "DROP",
        }
    }
}

impl Render for CreateSchedule {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("CREATE SCHEDULE ");
        if self.if_not_exists {
            out.push_str("IF NOT EXISTS ");
        }
        if let Some(label) = &self.label {
            label.render(out, secrets);
            out.push(' ');
        }
        out.push_str("FOR BACKUP");
        self.targets.render(out, secrets);
        out.push_str(" INTO ");
        (&self.collection[..]).render(out, secrets);
        self.options.write(secrets).finish_plain(out);
        out.push_str(" RECURRING ");
        render_recurring(self.recurring.as_ref(), out, secrets);
        if let Some(full) = &self.full_backup {
            out.push_str(" FULL BACKUP ");
            full.render(out, secrets);
        }
        if self.schedule_options != ScheduleOptions::default() {
            out.push_str(" WITH SCHEDULE OPTIONS ");
            self.schedule_options.render(out, secrets);
        }
    }
}

fn render_recurring(recurring: Option<&Text>, out: &mut String, secrets: Secrets) {
    match recurring {
        Some(crontab) => crontab.render(out, secrets),
        None => out.push_str("NEVER"),
    }
}

impl Render for FullBackup {
    fn render(&self, out: &mut String, secrets: Secrets) {
        match self {
            FullBackup::Always => out.push_str("ALWAYS"),
            FullBackup::Crontab(crontab) => crontab.render(out, secrets),
        }
    }
}

impl Render for ScheduleOptions {
    fn render(&self, out: &mut String, secrets: Secrets) {
        let mut written = OptionWriter::new(secrets);
        written.value("first_run", self.first_run.as_ref());
        written.value("on_execution_failure", self.on_execution_failure.as_ref());
        written.value("on_previous_running", self.on_previous_running.as_ref());
        written.value("ignore_existing_backups", self.ignore_existing_backups.as_ref());
        let metric = self.updates_cluster_last_backup_time_metric.as_ref();
        written.value("updates_cluster_last_backup_time_metric", metric);
        out.push_str(&written.list());
    }
}

impl Render for AlterSchedule {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str("ALTER BACKUP SCHEDULE ");
        self.id.render(out, secrets);
        out.push(' ');
        push_list(out, &self.changes, |out, change| change.render(out, secrets));
    }
}

impl Render for ScheduleChange {
    fn render(&self, out: &mut String, secrets: Secrets) {
        if let ScheduleChange::Execute { full } = self {
            out.push_str(if *full { "EXECUTE FULL IMMEDIATELY" } else { "EXECUTE IMMEDIATELY" });
            return;
        }
        out.push_str("SET ");
        match self {
            ScheduleChange::Label(label) => out.push_str(&format!("LABEL {}", label.rendered(secrets))),
            ScheduleChange::Into(uris) => out.push_str(&format!("INTO {}", (&uris[..]).rendered(secrets))),
            ScheduleChange::With(options) => out.push_str(&format!("WITH {}", options.write(secrets).list())),
            ScheduleChange::Recurring(recurring) => {
                out.push_str("RECURRING ");
                render_recurring(recurring.as_ref(), out, secrets);
            }
            ScheduleChange::FullBackup(full) => out.push_str(&format!("FULL BACKUP {}", full.rendered(secrets))),
            ScheduleChange::ScheduleOption(option) => {
                out.push_str(&format!("SCHEDULE OPTION {}", option.rendered(secrets)));
            }
            ScheduleChange::Execute { .. } => {}
        }
    }
}

impl Render for ShowSchedules {
    fn render(&self, out: &mut String, _: Secrets) {
        out.push_str(match self.only {
            None => "SHOW SCHEDULES",
            Some(ScheduleState::Running) => "SHOW RUNNING SCHEDULES",
            Some(ScheduleState::Paused) => "SHOW PAUSED SCHEDULES",
        });
        if self.for_backup {
            out.push_str(" FOR BACKUP");
        }
    }
}

impl Render for ControlSchedules {
    fn render(&self, out: &mut String, secrets: Secrets) {
        out.push_str(&format!("{} SCHEDULES ", self.command.name()));
        self.ids.render(out, secrets);
    }
}
