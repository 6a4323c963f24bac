use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Crontab, Error, Result};
use crate::catalog::secrets::{SecretOwner, Secrets};
use crate::catalog::system::SCHEDULED_JOBS;
use crate::catalog::{self, Datum};
use crate::jobs::JobId;
use crate::kv::Txn;
use crate::parser::{self, Backup, Statement};
use crate::time::Timestamp;

/// The state of a schedule that waits for its first full backup.
pub const WAITING: &str = "Waiting for initial backup to complete";
/// A run that failed is repeated at once, then after a wait that doubles up to this.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// Names a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleId(pub i64);

impl fmt::Display for ScheduleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a schedule that is due does while a job of its is still running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousRunning {
    /// Begins all the same.
    Start,
    /// Leaves this run out.
    Skip,
    /// Begins when that has ended.
    Wait,
}

/// What a schedule does when a run has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionFailure {
    /// Runs again soon.
    Retry,
    /// Runs when it would have run anyway.
    Reschedule,
    /// Runs no more until somebody resumes it.
    Pause,
}

/// The words of an option: as written, as `SHOW SCHEDULES` prints it, and what it means.
type Words<T> = [(&'static str, &'static str, T); 3];

const PREVIOUS_RUNNING: Words<PreviousRunning> = [
    ("START", "NO_WAIT", PreviousRunning::Start),
    ("SKIP", "SKIP", PreviousRunning::Skip),
    ("WAIT", "WAIT", PreviousRunning::Wait),
];

const EXECUTION_FAILURE: Words<ExecutionFailure> = [
    ("RETRY", "RETRY_SOON", ExecutionFailure::Retry),
    ("RESCHEDULE", "RETRY_SCHED", ExecutionFailure::Reschedule),
    ("PAUSE", "PAUSE_SCHED", ExecutionFailure::Pause),
];

fn read_word<T: Copy>(words: &Words<T>, option: &str, given: &str) -> Result<T> {
    let found = words.iter().find(|(written, ..)| written.eq_ignore_ascii_case(given));
    found.map(|(.., meaning)| *meaning).ok_or_else(|| {
        let valid = words.iter().map(|(written, ..)| format!("'{}'", written.to_lowercase()));
        let hint = format!("It is one of {}.", valid.collect::<Vec<_>>().join(", "));
        Error::refused_with_hint("22023", format!("invalid value for option {option}: \"{given}\""), hint)
    })
}

fn words_of<T: PartialEq>(words: &Words<T>, meaning: &T) -> (&'static str, &'static str) {
    words.iter().find(|(.., known)| known == meaning).map_or(("", ""), |(written, shown, _)| (written, shown))
}

impl PreviousRunning {
    /// The value of the option.
    pub fn read(given: &str) -> Result<PreviousRunning> {
        read_word(&PREVIOUS_RUNNING, "on_previous_running", given)
    }

    /// As the option is written.
    pub fn written(self) -> &'static str {
        words_of(&PREVIOUS_RUNNING, &self).0
    }

    /// As `SHOW SCHEDULES` prints it.
    pub fn shown(self) -> &'static str {
        words_of(&PREVIOUS_RUNNING, &self).1
    }
}

impl ExecutionFailure {
    /// The value of the option.
    pub fn read(given: &str) -> Result<ExecutionFailure> {
        read_word(&EXECUTION_FAILURE, "on_execution_failure", given)
    }

    /// As the option is written.
    pub fn written(self) -> &'static str {
        words_of(&EXECUTION_FAILURE, &self).0
    }

    /// As `SHOW SCHEDULES` prints it.
    pub fn shown(self) -> &'static str {
        words_of(&EXECUTION_FAILURE, &self).1
    }
}

/// What kind of backup a schedule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupType {
    /// A chain of its own each time.
    Full,
    /// A layer on the latest full backup.
    Incremental,
}

/// What a schedule is, beyond its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// What it takes.
    pub backup_type: BackupType,
    /// The other one of a pair.
    #[serde(default)]
    pub dependent: Option<ScheduleId>,
    /// It begins with the first success of the full one.
    #[serde(default)]
    pub waits_for_full: bool,
    /// Somebody, or a failure, has paused it.
    #[serde(default)]
    pub is_paused: bool,
    /// Its successes set the metric of the last backup's time.
    #[serde(default)]
    pub updates_metric: bool,
}

/// How it went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// Jobs whose end has not been noted yet.
    pub jobs: Vec<Run>,
    /// Failures since the last success.
    pub failures: u32,
    /// Grows each time the schedule gets another collection.
    pub place: u32,
    /// The latest full backup in its present collection.
    pub last_full: Option<String>,
    /// When the last success ended, in microseconds.
    pub last_completed: Option<i64>,
}

/// A job of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The job.
    pub job: JobId,
    /// [`Runs::place`] when it was made.
    pub place: u32,
}

/// A row of `system.scheduled_jobs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The schedule.
    pub id: ScheduleId,
    /// What people call it.
    pub label: String,
    /// In whose name it runs.
    pub owner: String,
    /// When it was made, in microseconds.
    pub created: i64,
    /// When it is due; `None` while it is paused.
    pub next_run: Option<Timestamp>,
    /// When it runs; `None` is never again.
    pub recurrence: Option<Crontab>,
    /// What to do while a run of it is still going on.
    pub on_previous_running: PreviousRunning,
    /// What to do when a run has failed.
    pub on_execution_failure: ExecutionFailure,
    /// What people should know: the last error, or why it does not run.
    pub state: Option<String>,
    /// Its `BACKUP`, secrets redacted.
    pub statement: String,
    /// Whether the statement has secrets.
    pub has_secret: bool,
    /// What else it is.
    pub options: Options,
    /// How it went.
    pub runs: Runs,
}

fn corrupt(what: &str) -> Error {
    Error::Catalog(catalog::Error::corrupt(format!("a schedule's {what} cannot be read")))
}

fn json<T: serde::de::DeserializeOwned>(datum: &Datum<'_>, what: &str) -> Result<T> {
    datum.as_text().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| corrupt(what))
}

impl Schedule {
    /// Reads one.
    pub async fn read(txn: &dyn Txn, id: ScheduleId) -> Result<Schedule> {
        let row = SCHEDULED_JOBS.get(txn, &[id.0.into()]).await?.ok_or(Error::NotFound(id))?;
        Schedule::from_row(&row)
    }

    /// Reads all, oldest first, but those whose rows cannot be read.
    pub async fn read_all(txn: &dyn Txn) -> Result<Vec<Schedule>> {
        Ok(Schedule::read_each(txn).await?.into_iter().filter_map(std::result::Result::ok).collect())
    }

    /// Reads all, oldest first: each by itself, so that one whose row cannot be read stands in nobody's way.
    pub async fn read_each(txn: &dyn Txn) -> Result<Vec<Result<Schedule, (ScheduleId, Error)>>> {
        let rows = SCHEDULED_JOBS.scan(txn, &[]).await?;
        let read = |row: &Vec<Datum<'static>>| {
            Schedule::from_row(row).map_err(|error| (ScheduleId(row[0].as_int().unwrap_or_default()), error))
        };
        Ok(rows.iter().map(read).collect())
    }

    fn from_row(row: &[Datum<'_>]) -> Result<Schedule> {
        let text = |at: usize, what: &str| row[at].as_text().map(str::to_string).ok_or_else(|| corrupt(what));
        let recurrence = row[5].as_text().map(Crontab::parse).transpose();
        Ok(Schedule {
            id: ScheduleId(row[0].as_int().ok_or_else(|| corrupt("id"))?),
            label: text(1, "label")?,
            owner: text(2, "owner")?,
            created: row[3].as_int().unwrap_or_default(),
            next_run: row[4].as_int().map(Timestamp::from_micros),
            recurrence: recurrence.map_err(|_| corrupt("recurrence"))?,
            on_previous_running: PreviousRunning::read(&text(6, "options")?)?,
            on_execution_failure: ExecutionFailure::read(&text(7, "options")?)?,
            state: row[8].as_text().map(str::to_string),
            statement: text(9, "statement")?,
            has_secret: row[10] == Datum::Bool(true),
            options: json(&row[11], "options")?,
            runs: json(&row[12], "runs")?,
        })
    }

    /// Writes it.
    pub fn write(&self, txn: &dyn Txn) -> Result<()> {
        let json = |value: serde_json::Result<String>| value.map_err(|error| corrupt(&error.to_string()));
        let row = [
            self.id.0.into(),
            self.label.as_str().into(),
            self.owner.as_str().into(),
            self.created.into(),
            self.next_run.map(Timestamp::micros).into(),
            self.recurrence.as_ref().map(Crontab::to_string).into(),
            self.on_previous_running.written().into(),
            self.on_execution_failure.written().into(),
            self.state.as_deref().into(),
            self.statement.as_str().into(),
            Datum::Bool(self.has_secret),
            json(serde_json::to_string(&self.options))?.into(),
            json(serde_json::to_string(&self.runs))?.into(),
        ];
        Ok(SCHEDULED_JOBS.put(txn, &row)?)
    }

    /// Removes one, and its secret.
    pub fn delete(txn: &dyn Txn, id: ScheduleId) -> Result<()> {
        Secrets::delete(txn, id.0)?;
        Ok(SCHEDULED_JOBS.delete(txn, &[id.0.into()])?)
    }

    /// Its `BACKUP`, secrets included.
    pub async fn backup(&self, txn: &dyn Txn, secrets: &Secrets) -> Result<Backup> {
        if !self.has_secret {
            return read_backup(&self.statement);
        }
        let secret = secrets.get(txn, self.id.0).await?;
        let Some(secret) = secret else {
            let message = format!("the secrets of schedule {} are not in this store", self.id);
            let hint = "A backup has none. Drop the schedule and create it again: see SHOW CREATE SCHEDULE.";
            return Err(Error::refused_with_hint("55000", message, hint));
        };
        let text = std::str::from_utf8(&secret).map_err(|_| corrupt("secret"))?;
        read_backup(text)
    }

    /// Gives it another `BACKUP`.
    pub fn set_backup(&mut self, txn: &dyn Txn, secrets: &Secrets, backup: &Backup) -> Result<()> {
        let statement = Statement::Backup(Box::new(backup.clone()));
        let exposed = zeroize::Zeroizing::new(statement.exposed());
        self.statement = statement.to_string();
        self.has_secret = *exposed != self.statement;
        if self.has_secret {
            Ok(secrets.put(txn, SecretOwner::Schedule(self.id.0), exposed.as_bytes())?)
        } else {
            Ok(Secrets::delete(txn, self.id.0)?)
        }
    }

    /// `ACTIVE`, or `PAUSED`.
    pub fn status(&self) -> &'static str {
        if self.next_run.is_some() { "ACTIVE" } else { "PAUSED" }
    }

    /// The time to back up when it runs now: the latest it was due at.
    pub fn due_time(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        let latest = self.recurrence.as_ref().and_then(|recurrence| recurrence.last_until(now));
        latest.map_or(due, |latest| latest.max(due))
    }

    /// When it runs next after a time.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        self.recurrence.as_ref().and_then(|recurrence| recurrence.next_after(time))
    }

    /// Notes that a run has failed, and does what is to be done then.
    pub fn fail(&mut self, now: Timestamp, error: &str) {
        let waited = Duration::from_secs(1).saturating_mul((1 << self.runs.failures.min(16)) - 1);
        self.runs.failures = self.runs.failures.saturating_add(1);
        self.state = Some(error.into());
        // Whoever paused it meanwhile wants it to stay so.
        if self.options.is_paused || self.options.waits_for_full {
            return;
        }
        match self.on_execution_failure {
            ExecutionFailure::Retry => self.next_run = Some(now.plus(waited.min(MAX_RETRY_DELAY)).ceil_micros()),
            ExecutionFailure::Reschedule => {}
            ExecutionFailure::Pause => {
                self.next_run = None;
                self.options.is_paused = true;
                self.state = Some(format!("schedule paused due to a failed run: {error}"));
            }
        }
    }

    /// Lets it begin with the next success of the full one.
    pub fn wait_for_full(&mut self) {
        self.next_run = None;
        self.options.waits_for_full = true;
        self.state = Some(WAITING.into());
    }
}

fn read_backup(text: &str) -> Result<Backup> {
    match parser::parse(text).map(|mut parsed| parsed.pop().map(|parsed| parsed.statement)) {
        Ok(Some(Statement::Backup(backup))) => Ok(*backup),
        _ => Err(corrupt("statement")),
    }
}
