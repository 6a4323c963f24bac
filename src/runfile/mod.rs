//! `.kvs`: a sorted run of `(space, key, timestamp, put | tombstone, value)`, the data file of a backup.
//!
//! ```text
//!   header   magic (8) | format (2) | required features (2) | file id (16) | checksum (4)
//!   block*   zstd( entries of one space )                                  | checksum (4)
//!   index    zstd( per block: offset, length, raw length, entries, space, first key ) | checksum (4)
//!   footer   index offset (8) | index length (4) | index raw length (4) | entries (8) | rows (8) | data bytes (8)
//!            | file id (16) | checksum (4) | magic (8)
//!
//!   entry    shared (varint) | unshared (varint) | suffix | time (varint, zigzag, from the entry before)
//!            | value length + 1, 0 for a tombstone (varint) | value
//! ```
//!
//! In an encrypted backup every piece but the header is sealed ([`crate::storage::seal`]) instead of checksummed, and the header
//! says so with feature bit 0. Every checksum is CRC-32C over the file id, the block's number and the bytes, so a block or file in another's place is
//! found like a flipped bit. The manifest holds each file's id, size and a checksum of the whole.

mod block;
mod guard;
mod merge;
mod reader;
mod writer;

use serde::{Deserialize, Serialize};

pub use merge::{Merged, merge};
pub use reader::RunReader;
pub use writer::{FinishedRun, RunWriter};

const MAGIC: [u8; 8] = *b"KVSRUN\r\n";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 32;
/// Of the footer inside its guard.
const FOOTER_BYTES: usize = 56;
/// The pieces of the file are sealed.
const FEATURE_SEALED: u16 = 1;
const CHECKSUM_BYTES: usize = 4;
/// A block is closed at about this many bytes of entries.
const BLOCK_BYTES: usize = 256 << 10;
/// And when its entries are this large in memory: long keys that share nearly everything take few bytes in a block.
const DECODED_BLOCK_BYTES: usize = 2 << 20;
/// No block is larger than this, stored or in memory, whatever a file claims: a bound on what a damaged one can make a reader allocate.
const MAX_BLOCK_BYTES: usize = 1 << 30;
const ZSTD_LEVEL: i32 = 1;

/// Names a data file. Random, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileId(pub u128);

impl FileId {
    /// A fresh one.
    pub fn random() -> FileId {
        FileId(rand::random())
    }
}

impl std::fmt::Display for FileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<FileId> for String {
    fn from(id: FileId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for FileId {
    type Error = String;

    fn try_from(text: String) -> Result<FileId, String> {
        let parsed = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32);
        parsed.map(FileId).ok_or_else(|| format!("{text:?} is not a file id"))
    }
}

/// What a manifest says of a data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// Its id, which is also its name.
    pub id: FileId,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// CRC-32C of the file.
    pub checksum: u32,
    /// Versions in it, tombstones included.
    pub entries: u64,
    /// Versions that are not tombstones.
    pub rows: u64,
    /// Bytes of keys and values.
    pub data_bytes: u64,
}

/// A data file that is not what it must be.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The storage failed, or the file is not there.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// A run that is not a file: the store it is read from failed.
    #[error(transparent)]
    Store(#[from] crate::kv::Error),
    /// Its bytes are damaged.
    #[error("{file} is corrupt: {what}")]
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is sealed and no key was given, or the other way round.
    #[error("{file} is {}encrypted", if *.sealed { "" } else { "not " })]
    Sealed {
        /// The file.
        file: String,
        /// Whether it is the file that is sealed.
        sealed: bool,
    },
    /// A newer version of keepsafe wrote it.
    #[error("{file} needs a newer version of keepsafe: {what}")]
    Newer {
        /// The file.
        file: String,
        /// What this version does not know.
        what: String,
    },
}

impl Error {
    /// As an error of a store that is read through runs.
    pub fn into_store(self) -> crate::kv::Error {
        match self {
            Error::Store(error) => error,
            other => crate::kv::Error::Engine(other.to_string()),
        }
    }
}

/// The result of reading data files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The checksum of a piece of a file: `number` is its block number, or one of the constants below.
fn checksum(id: FileId, number: u64, bytes: &[u8]) -> u32 {
    let start = crc32c::crc32c_append(crc32c::crc32c(&id.0.to_be_bytes()), &number.to_be_bytes());
    crc32c::crc32c_append(start, bytes)
}

const HEADER_NUMBER: u64 = u64::MAX;
const INDEX_NUMBER: u64 = u64::MAX - 1;
const FOOTER_NUMBER: u64 = u64::MAX - 2;

#[cfg(test)]
mod tests;
