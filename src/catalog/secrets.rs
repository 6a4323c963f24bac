//! Secrets that outlive a statement: what a job or a schedule needs again after a restart. They are in `system.secrets`, sealed with a key that is
//! in a file of its own beside the store, and in no backup. Nothing else stores a secret.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::system::SECRETS;
use super::{Datum, Error, Result};
use crate::kv::Txn;
use crate::storage::seal::ChainKey;

/// Whose a secret is. It goes when its owner does. Jobs and schedules share one numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretOwner {
    /// A job's.
    Job(i64),
    /// A schedule's.
    Schedule(i64),
}

/// Seals and opens secrets.
pub struct Secrets {
    key: ChainKey,
}

impl Secrets {
    /// With the key in a file, which is made, readable by its owner only, if it is not there.
    pub fn open(file: &Path) -> std::io::Result<Secrets> {
        match File::open(file) {
            Ok(mut found) => {
                let mut bytes = Zeroizing::new(Vec::new());
                found.read_to_end(&mut bytes)?;
                let damaged = || std::io::Error::other(format!("{} does not hold a key", file.display()));
                Ok(Secrets { key: ChainKey::from_bytes(&bytes).ok_or_else(damaged)? })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = ChainKey::random();
                // A crash leaves a whole key or none.
                let unfinished = file.with_extension("new");
                let mut options = OpenOptions::new();
                let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
                new.write_all(&key.to_bytes())?;
                new.sync_all()?;
                std::fs::rename(&unfinished, file)?;
                if let Some(directory) = file.parent() {
                    File::open(directory)?.sync_all()?;
                }
                Ok(Secrets { key })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a secret into a transaction.
    pub fn put(&self, txn: &dyn Txn, owner: SecretOwner, secret: &[u8]) -> Result<()> {
        let id: u128 = rand::random();
        let cannot = |error: crate::storage::seal::Error| Error::corrupt(error.to_string());
        let sealed = self.key.file(id).and_then(|key| key.seal(0, true, secret.to_vec())).map_err(cannot)?;
        let stored = [&id.to_be_bytes()[..], &sealed].concat();
        let (kind, owner) = match owner {
            SecretOwner::Job(id) => ("job", id),
            SecretOwner::Schedule(id) => ("schedule", id),
        };
        SECRETS.put(txn, &[owner.into(), kind.into(), owner.into(), Datum::Bytes(stored.into())])
    }

    /// The secret of an owner.
    pub async fn get(&self, txn: &dyn Txn, owner: i64) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(row) = SECRETS.get(txn, &[owner.into()]).await? else { return Ok(None) };
        let Some(Datum::Bytes(stored)) = row.get(3) else { return Err(Error::corrupt("a secret is none")) };
        let changed = || Error::corrupt("a secret was sealed with another key than the store has now");
        let (id, sealed) = stored.split_first_chunk::<16>().ok_or_else(changed)?;
        let opened = self.key.file(u128::from_be_bytes(*id)).and_then(|key| key.open(0, true, sealed.to_vec()));
        opened.map(|secret| Some(Zeroizing::new(secret))).map_err(|_| changed())
    }

    /// Removes the secret of an owner.
    pub fn delete(txn: &dyn Txn, owner: i64) -> Result<()> {
        SECRETS.delete(txn, &[owner.into()])
    }
}
