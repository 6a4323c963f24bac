//! Jobs: long work that outlives the connection and the process that began it.
//!
//! A job is a row in `system.jobs`, and one in `system.job_progress` that changes often. Whoever works on a job holds its
//! claim: a session id, an epoch that grows with every claim, and an expiry that has to be renewed. Every write to a job's
//! rows checks the claim in the same transaction, so a process that lost it can change nothing more.
//!
//! ```text
//!      +--- pause-requested --> paused
//!      |                          | resume
//!   running <---------------------+
//!      |---> succeeded
//!      |---> reverting --> failed
//!      +---> cancel-requested --> reverting --> canceled
//! ```
//!
//! `PAUSE`, `RESUME` and `CANCEL` change the row ([`control`]); the worker hears of it, stops wherever it is, and the job is
//! claimed anew, so that nothing of the former work can change the job any more. A job that is done in the transaction in
//! which it would be canceled is done: the two exclude each other.
//!
//! The registry knows job types only by name; what they do is behind [`JobType`].

pub mod control;
mod handle;
mod record;
mod registry;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use handle::JobHandle;
pub use record::{JobRecord, Status};
pub use registry::{NewJob, Registry};

use crate::{catalog, kv};

/// Names a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What can go wrong with jobs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job's rows cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// There is no such job.
    #[error("job with ID {0} does not exist")]
    NotFound(JobId),
    /// Another process has taken the job over.
    #[error("the claim on job {0} was lost")]
    LostLease(JobId),
    /// The job is to be paused or canceled.
    #[error("job {0} is to stop")]
    Interrupted(JobId),
    /// It is in a state in which that cannot be done to it.
    #[error("job with status {status} cannot be {done}")]
    WrongState {
        /// Its state.
        status: &'static str,
        /// What was to be done to it.
        done: &'static str,
    },
    /// Whoever waits for the job waits no longer: it was paused.
    #[error("job {0} was paused before it completed")]
    Paused(JobId),
    /// Somebody canceled the job.
    #[error("job {0} was canceled")]
    Canceled(JobId),
    /// The server is being stopped; the job goes on when it is started again.
    #[error("the server is shutting down; the job will go on when it starts again")]
    Stopping,
    /// The job failed.
    #[error("{message}")]
    Failed {
        /// Why.
        message: String,
        /// The SQLSTATE of the reason.
        sqlstate: String,
    },
}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Self {
        Error::Catalog(error.into())
    }
}

/// The jobs layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job stopped before its end.
#[derive(Debug)]
pub enum Failure {
    /// Trying again later may help.
    Retry(String),
    /// It will not; the job is reverted.
    Permanent {
        /// Why.
        message: String,
        /// The SQLSTATE of the reason.
        sqlstate: String,
    },
    /// The claim is gone or the server is stopping: nothing may be done any more.
    Abandoned,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::LostLease(_) | Error::Interrupted(_) | Error::Stopping => Failure::Abandoned,
            Error::Failed { message, sqlstate } => Failure::Permanent { message, sqlstate },
            Error::Catalog(catalog::Error::Store(error)) if error.may_pass() => Failure::Retry(error.to_string()),
            other => Failure::Permanent { message: other.to_string(), sqlstate: "XX000".into() },
        }
    }
}

/// What jobs of one type do.
#[async_trait]
pub trait JobType: Send + Sync {
    /// Works from the last checkpoint to the end; the value is the job's result.
    async fn resume(&self, job: &JobHandle) -> Result<serde_json::Value, Failure>;

    /// Whether a job that could not go on for too often waits for somebody to resume it, instead of being undone.
    fn is_worth_pausing(&self) -> bool {
        false
    }

    /// Undoes what the job has done so far. Called again if it fails.
    async fn on_fail_or_cancel(&self, job: &JobHandle) -> Result<(), Failure>;
}
