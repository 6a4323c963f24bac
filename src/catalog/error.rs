use crate::kv;

/// What can go wrong between SQL names and stored rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] kv::Error),
    /// A stored row, key or descriptor cannot be decoded.
    #[error("corrupt catalog or row data: {0}")]
    Corrupt(String),
    /// A name is taken.
    #[error("relation \"{0}\" already exists")]
    Exists(String),
}

/// The catalog's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Corrupt`] that says what is wrong.
    pub fn corrupt(what: impl Into<String>) -> Error {
        Error::Corrupt(what.into())
    }
}
