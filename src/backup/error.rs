use crate::jobs::{self, Failure};
use crate::time::Timestamp;
use crate::{catalog, kv, runfile, storage};

/// What can go wrong with backups.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// External storage refused or failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// A data file is damaged.
    #[error(transparent)]
    Run(#[from] runfile::Error),
    /// The catalog or store failed.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The job could not go on.
    #[error(transparent)]
    Job(#[from] jobs::Error),
    /// A manifest or another file of a collection is damaged.
    #[error("{file} is corrupt: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The chain to be added to has that time already.
    #[error("the backup being added to ends at {until}, not before {asked}")]
    Covered {
        /// The end that the new layer would have.
        asked: Timestamp,
        /// The end of the chain.
        until: Timestamp,
    },
    /// Anything the user can do something about: SQLSTATE, message, hint.
    #[error("{message}")]
    Refused {
        /// Its SQLSTATE.
        sqlstate: &'static str,
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<kv::Error> for Error {
    fn from(error: kv::Error) -> Self {
        Error::Catalog(error.into())
    }
}

/// The backup layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal.
    pub fn refused(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error::Refused { sqlstate, message: message.into(), hint: None }
    }

    /// A refusal with advice.
    pub fn refused_with_hint(sqlstate: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Refused { sqlstate, message: message.into(), hint: Some(hint.into()) }
    }

    /// A damaged file.
    pub fn corrupt(file: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Corrupt { file: file.into(), what: what.into() }
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<String> {
        if let Error::Refused { hint, .. } = self { hint.clone() } else { None }
    }

    /// The SQLSTATE.
    pub fn sqlstate(&self) -> &str {
        match self {
            Error::Storage(error) => storage_sqlstate(error),
            Error::Run(runfile::Error::Storage(error)) => storage_sqlstate(error),
            Error::Run(runfile::Error::Newer { .. }) => "0A000",
            Error::Run(runfile::Error::Corrupt { .. } | runfile::Error::Sealed { .. }) | Error::Corrupt { .. } => {
                "XX001"
            }
            Error::Catalog(catalog::Error::Store(error)) | Error::Run(runfile::Error::Store(error)) => {
                store_sqlstate(error)
            }
            Error::Catalog(catalog::Error::Exists(_)) => "42P07",
            Error::Catalog(catalog::Error::Corrupt(_)) => "XX001",
            Error::Job(jobs::Error::Failed { sqlstate, .. }) => sqlstate,
            Error::Job(_) => "57P01",
            Error::Covered { .. } => "22023",
            Error::Refused { sqlstate, .. } => sqlstate,
        }
    }
}

fn store_sqlstate(error: &kv::Error) -> &'static str {
    match error {
        kv::Error::Retry(_) => "40001",
        kv::Error::BelowThreshold { .. } => "72000",
        kv::Error::Future { .. } => "22023",
        kv::Error::DiskFull { .. } => "53100",
        kv::Error::Corrupt(_) => "XX001",
        _ => "58030",
    }
}

fn storage_sqlstate(error: &storage::Error) -> &'static str {
    match error {
        storage::Error::Unsupported(_) => "0A000",
        storage::Error::BadUri { .. } => "22023",
        storage::Error::Disabled => "55000",
        storage::Error::NotFound(_) => "58P01",
        storage::Error::Exists(_) => "42710",
        storage::Error::Failed { .. } => "58030",
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let sqlstate = error.sqlstate().to_string();
        match error {
            Error::Job(error) => error.into(),
            Error::Storage(storage::Error::Failed { .. })
            | Error::Run(runfile::Error::Storage(storage::Error::Failed { .. })) => Failure::Retry(error.to_string()),
            Error::Catalog(catalog::Error::Store(error)) | Error::Run(runfile::Error::Store(error))
                if error.may_pass() =>
            {
                Failure::Retry(error.to_string())
            }
            other => Failure::Permanent { message: other.to_string(), sqlstate },
        }
    }
}
