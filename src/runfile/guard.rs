use super::{FOOTER_NUMBER, FileId, checksum};
use crate::storage::seal::{self, ChainKey, FileKey, TAG_BYTES};

/// What keeps damage from going unnoticed: a checksum behind every piece of a file, or a seal around it.
#[derive(Clone)]
pub enum Guard {
    /// CRC-32C.
    Checksum(FileId),
    /// AES-256-GCM.
    Seal(Box<FileKey>),
}

impl Guard {
    /// The guard of a file; sealed, if there is a key.
    pub fn new(id: FileId, key: Option<&ChainKey>) -> Result<Guard, seal::Error> {
        Ok(match key {
            None => Guard::Checksum(id),
            Some(key) => Guard::Seal(Box::new(key.file(id.0)?)),
        })
    }

    /// Bytes by which a piece gets longer.
    pub fn overhead(&self) -> usize {
        match self {
            Guard::Checksum(_) => super::CHECKSUM_BYTES,
            Guard::Seal(_) => TAG_BYTES,
        }
    }

    /// Appends a guarded piece to a file.
    pub fn push(&self, file: &mut Vec<u8>, number: u64, piece: Vec<u8>) -> Result<(), seal::Error> {
        match self {
            Guard::Checksum(id) => {
                file.extend_from_slice(&piece);
                file.extend_from_slice(&checksum(*id, number, &piece).to_be_bytes());
            }
            Guard::Seal(key) => file.extend_from_slice(&key.seal(number, number == FOOTER_NUMBER, piece)?),
        }
        Ok(())
    }

    /// The piece inside its guard.
    pub fn open(&self, number: u64, stored: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Guard::Checksum(id) => {
                let end = stored.len().checked_sub(super::CHECKSUM_BYTES).ok_or("a block is too short")?;
                let (piece, sum) = stored.split_at(end);
                let is_right = sum == checksum(*id, number, piece).to_be_bytes();
                if is_right { Ok(piece.to_vec()) } else { Err("a block's checksum is wrong") }
            }
            Guard::Seal(key) => key
                .open(number, number == FOOTER_NUMBER, stored.to_vec())
                .map_err(|_| "a block has been changed, or is of another backup"),
        }
    }
}
