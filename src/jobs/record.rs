use super::{Error, JobId, Result};
use crate::catalog::system::{JOB_PROGRESS, JOBS};
use crate::catalog::{self, Datum};
use crate::kv::Txn;
use crate::time::Timestamp;

/// Errors that are kept of a job that is tried again and again.
const KEPT_ERRORS: usize = 20;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being worked on, or waiting for a worker.
    Running,
    /// To be left where it is, as soon as its worker hears of it.
    PauseRequested,
    /// Left where it is, until it is resumed.
    Paused,
    /// To be undone, as soon as its worker hears of it.
    CancelRequested,
    /// Being undone.
    Reverting,
    /// Done.
    Succeeded,
    /// Undone after an error.
    Failed,
    /// Undone because somebody wanted it.
    Canceled,
}

impl Status {
    const ALL: [Status; 8] = [
        Status::Running,
        Status::PauseRequested,
        Status::Paused,
        Status::CancelRequested,
        Status::Reverting,
        Status::Succeeded,
        Status::Failed,
        Status::Canceled,
    ];

    /// As `SHOW JOBS` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::PauseRequested => "pause-requested",
            Status::Paused => "paused",
            Status::CancelRequested => "cancel-requested",
            Status::Reverting => "reverting",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed | Status::Canceled)
    }

    /// Whether somebody has to do something about it.
    pub fn needs_worker(self) -> bool {
        !self.is_final() && self != Status::Paused
    }
}

/// A job, from both of its rows. Times are microseconds since the epoch.
#[derive(Clone, Debug)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub status: Status,
    /// `BACKUP` or `RESTORE`.
    pub job_type: String,
    /// The statement, secrets redacted.
    pub description: String,
    /// Who asked for it.
    pub user: String,
    /// When it was made.
    pub created: i64,
    /// When it ended.
    pub finished: Option<i64>,
    /// Why it failed: SQLSTATE, a space, the message.
    pub error: Option<String>,
    /// What it is to do.
    pub payload: serde_json::Value,
    /// Who works on it.
    pub claim_session: Option<String>,
    /// Grows with every claim.
    pub claim_epoch: i64,
    /// When the claim ends unless renewed.
    pub claim_expires: i64,
    /// Whether it is being undone, or was, because somebody wanted it.
    pub canceled: bool,
    /// Why it is paused, if whoever paused it said so.
    pub pause_reason: Option<String>,
    /// The schedule that made it.
    pub schedule: Option<i64>,
    /// Errors after which it was tried again: the last ones, oldest first.
    pub execution_errors: Vec<String>,
    /// From 0 to 1.
    pub fraction_completed: f64,
    /// What is happening.
    pub running_status: Option<String>,
    /// When the progress changed last.
    pub modified: i64,
    /// Where to go on.
    pub checkpoint: Option<serde_json::Value>,
    /// What it produced.
    pub result: Option<serde_json::Value>,
}

fn corrupt(what: &str) -> Error {
    Error::Catalog(catalog::Error::corrupt(format!("a job's {what} cannot be read")))
}

fn json(datum: &Datum<'_>, what: &str) -> Result<Option<serde_json::Value>> {
    match datum.as_text() {
        None => Ok(None),
        Some(text) => serde_json::from_str(text).map(Some).map_err(|_| corrupt(what)),
    }
}

impl JobRecord {
    /// Reads a job.
    pub async fn read(txn: &dyn Txn, id: JobId) -> Result<JobRecord> {
        let row = JOBS.get(txn, &[id.0.into()]).await?.ok_or(Error::NotFound(id))?;
        let progress = JOB_PROGRESS.get(txn, &[id.0.into()]).await?.ok_or_else(|| corrupt("progress"))?;
        JobRecord::from_rows(&row, &progress)
    }

    /// The jobs that schedules made, oldest first.
    pub async fn of_schedules(txn: &dyn Txn, schedules: &[i64]) -> Result<Vec<JobRecord>> {
        let mut records = JobRecord::read_all(txn).await?;
        records.retain(|record| record.schedule.is_some_and(|schedule| schedules.contains(&schedule)));
        Ok(records)
    }

    /// Reads every job, oldest first.
    pub async fn read_all(txn: &dyn Txn) -> Result<Vec<JobRecord>> {
        let mut records = Vec::new();
        for row in JOBS.scan(txn, &[]).await? {
            let progress = JOB_PROGRESS.get(txn, &row[..1]).await?.ok_or_else(|| corrupt("progress"))?;
            records.push(JobRecord::from_rows(&row, &progress)?);
        }
        Ok(records)
    }

    fn from_rows(row: &[Datum<'_>], progress: &[Datum<'_>]) -> Result<JobRecord> {
        let text = |at: usize| row[at].as_text().map(str::to_string);
        let status = Status::ALL.into_iter().find(|status| row[1].as_text() == Some(status.name()));
        let fraction = if let Datum::Float(fraction) = progress[1] { fraction } else { 0.0 };
        Ok(JobRecord {
            id: JobId(row[0].as_int().ok_or_else(|| corrupt("id"))?),
            status: status.ok_or_else(|| corrupt("status"))?,
            job_type: text(2).unwrap_or_default(),
            description: text(3).unwrap_or_default(),
            user: text(4).unwrap_or_default(),
            created: row[5].as_int().unwrap_or_default(),
            finished: row[7].as_int(),
            error: text(8),
            payload: json(&row[9], "payload")?.unwrap_or_default(),
            claim_session: text(10),
            claim_epoch: row[11].as_int().unwrap_or_default(),
            claim_expires: row[12].as_int().unwrap_or_default(),
            canceled: row[13] == Datum::Bool(true),
            pause_reason: text(14),
            schedule: row[15].as_int(),
            execution_errors: json(&row[16], "errors")?
                .and_then(|errors| serde_json::from_value(errors).ok())
                .unwrap_or_default(),
            fraction_completed: fraction,
            running_status: progress[2].as_text().map(str::to_string),
            modified: progress[3].as_int().unwrap_or_default(),
            checkpoint: json(&progress[4], "checkpoint")?,
            result: json(&progress[5], "result")?,
        })
    }

    /// Writes the job's own row.
    pub fn write(&self, txn: &dyn Txn) -> Result<()> {
        let row = [
            self.id.0.into(),
            self.status.name().into(),
            self.job_type.as_str().into(),
            self.description.as_str().into(),
            self.user.as_str().into(),
            self.created.into(),
            self.created.into(),
            self.finished.into(),
            self.error.as_deref().into(),
            self.payload.to_string().into(),
            self.claim_session.as_deref().into(),
            self.claim_epoch.into(),
            self.claim_expires.into(),
            Datum::Bool(self.canceled),
            self.pause_reason.as_deref().into(),
            self.schedule.into(),
            (!self.execution_errors.is_empty()).then(|| serde_json::json!(self.execution_errors).to_string()).into(),
        ];
        Ok(JOBS.put(txn, &row)?)
    }

    /// Writes the job's progress.
    pub fn write_progress(&self, txn: &dyn Txn) -> Result<()> {
        let row = [
            self.id.0.into(),
            Datum::Float(self.fraction_completed),
            self.running_status.as_deref().into(),
            self.modified.into(),
            self.checkpoint.as_ref().map(serde_json::Value::to_string).into(),
            self.result.as_ref().map(serde_json::Value::to_string).into(),
        ];
        Ok(JOB_PROGRESS.put(txn, &row)?)
    }

    /// Notes an error after which the job is tried again.
    pub fn note_error(&mut self, error: String) {
        self.execution_errors.push(error);
        let surplus = self.execution_errors.len().saturating_sub(KEPT_ERRORS);
        self.execution_errors.drain(..surplus);
    }

    /// Removes both rows.
    pub fn delete(&self, txn: &dyn Txn) -> Result<()> {
        JOBS.delete(txn, &[self.id.0.into()])?;
        Ok(JOB_PROGRESS.delete(txn, &[self.id.0.into()])?)
    }

    /// It is done.
    pub fn succeed(&mut self, now: Timestamp, result: serde_json::Value) {
        self.status = Status::Succeeded;
        self.finished = Some(now.micros());
        self.fraction_completed = 1.0;
        self.running_status = None;
        self.checkpoint = None;
        self.result = Some(result);
    }

    /// The error it failed with.
    pub fn failure(&self) -> Error {
        let error = self.error.as_deref().unwrap_or("XX000 unknown error");
        let (sqlstate, message) = error.split_once(' ').unwrap_or(("XX000", error));
        Error::Failed { message: message.into(), sqlstate: sqlstate.into() }
    }
}
