use super::ScheduleId;
use crate::{backup, catalog, jobs, kv};

/// What can go wrong with schedules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It, or the backup it is to take, is refused or fails.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// Its job cannot be made or read.
    #[error(transparent)]
    Job(#[from] jobs::Error),
    /// Its row cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// There is no such schedule.
    #[error("schedule with ID {0} does not exist")]
    NotFound(ScheduleId),
}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Self {
        Error::Catalog(error.into())
    }
}

/// The schedule layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal.
    pub fn refused(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error::Backup(backup::Error::refused(sqlstate, message))
    }

    /// A refusal with advice.
    pub fn refused_with_hint(sqlstate: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Backup(backup::Error::refused_with_hint(sqlstate, message, hint))
    }

    /// Whether somebody else was faster, so that it has to be done again.
    pub fn is_retryable(&self) -> bool {
        let catalog = match self {
            Error::Catalog(error)
            | Error::Job(jobs::Error::Catalog(error))
            | Error::Backup(backup::Error::Catalog(error) | backup::Error::Job(jobs::Error::Catalog(error))) => error,
            _ => return false,
        };
        matches!(catalog, catalog::Error::Store(kv::Error::Retry(_)))
    }
}
