use super::SpaceId;
use crate::time::Timestamp;

/// The longest key, in bytes. Escaping may double it, and an engine's keys are limited to 64 KiB.
pub const MAX_KEY_BYTES: usize = 32_000;

/// What can go wrong in a store.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Another transaction was first; running this one again may succeed.
    #[error("restart transaction: {0}")]
    Retry(&'static str),
    /// History below the threshold may be gone already.
    #[error("history before {threshold} has been collected; cannot read at {at}")]
    BelowThreshold {
        /// The time that was asked for.
        at: Timestamp,
        /// The earliest time that can be read.
        threshold: Timestamp,
    },
    /// A time that has not come yet.
    #[error("cannot read at {at}: it lies in the future (now is {now})")]
    Future {
        /// The time that was asked for.
        at: Timestamp,
        /// The store's time.
        now: Timestamp,
    },
    /// The space was dropped at or before the time of the read.
    #[error("space {0} has been dropped")]
    Dropped(SpaceId),
    /// A write in a transaction that reads the past.
    #[error("cannot write in a read-only transaction")]
    ReadOnly,
    /// The transaction has committed or rolled back already.
    #[error("the transaction has ended")]
    Ended,
    /// Ingested rows must ascend strictly.
    #[error("rows to ingest are not in ascending order")]
    Unsorted,
    /// A key may be only so long.
    #[error("a key of {0} bytes is longer than {MAX_KEY_BYTES}")]
    KeyTooLong(usize),
    /// A transaction may hold only so much.
    #[error("the transaction holds more than {0} bytes of writes")]
    TooLarge(usize),
    /// There is hardly any room on the disk.
    #[error("the disk is almost full ({} MiB left); writes are refused until there is more room", free >> 20)]
    DiskFull {
        /// Bytes left.
        free: u64,
    },
    /// The engine failed; whether the last writes are durable is unknown until it is reopened.
    #[error("storage engine: {0}")]
    Engine(String),
    /// Stored bytes are not what they must be.
    #[error("corrupt store: {0}")]
    Corrupt(String),
    /// The directory is not a store this version can open.
    #[error("{0}")]
    Unopenable(String),
}

/// A store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the same may succeed later: the disk has room again, or the engine is open again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Error::Retry(_) | Error::Engine(_) | Error::DiskFull { .. })
    }
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        Error::Engine(error.to_string())
    }
}
