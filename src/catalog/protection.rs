//! Protected timestamps: history that must not be collected while somebody needs it.

use serde::{Deserialize, Serialize};

use super::system::PROTECTED_TIMESTAMPS;
use super::{Datum, DescriptorId, Error, Result};
use crate::kv::Txn;
use crate::time::Timestamp;

/// A row of `system.protected_ts_records`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Names the row.
    pub id: i64,
    /// History from here on stays.
    pub timestamp: Timestamp,
    /// Whose history.
    pub target: ProtectedTarget,
    /// For whom. The row goes when its owner does.
    pub owner: ProtectionOwner,
}

/// Whose history is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtectedTarget {
    /// Everybody's.
    Cluster,
    /// Everything's in these databases.
    Databases(Vec<DescriptorId>),
    /// That of these tables and sequences.
    Tables(Vec<DescriptorId>),
}

/// Who needs protected history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionOwner {
    /// A job.
    Job(i64),
    /// A schedule.
    Schedule(i64),
}

impl ProtectionOwner {
    fn parts(self) -> (&'static str, i64) {
        match self {
            ProtectionOwner::Job(id) => ("job", id),
            ProtectionOwner::Schedule(id) => ("schedule", id),
        }
    }

    fn from_parts(kind: &str, id: i64) -> Option<ProtectionOwner> {
        match kind {
            "job" => Some(ProtectionOwner::Job(id)),
            "schedule" => Some(ProtectionOwner::Schedule(id)),
            _ => None,
        }
    }
}

impl ProtectedTarget {
    /// Whether an object of a database is in it.
    pub fn holds(&self, object: DescriptorId, database: DescriptorId) -> bool {
        match self {
            ProtectedTarget::Cluster => true,
            ProtectedTarget::Databases(databases) => databases.contains(&database),
            ProtectedTarget::Tables(tables) => tables.contains(&object),
        }
    }
}

impl Protection {
    /// Writes the row into its owner's transaction.
    pub fn write(&self, txn: &dyn Txn) -> Result<()> {
        let target = serde_json::to_string(&self.target).map_err(|error| Error::corrupt(error.to_string()))?;
        let (kind, owner) = self.owner.parts();
        let row = [self.id.into(), self.timestamp.0.into(), target.into(), kind.into(), owner.into()];
        PROTECTED_TIMESTAMPS.put(txn, &row)
    }

    /// Removes the row.
    pub fn delete(txn: &dyn Txn, id: i64) -> Result<()> {
        PROTECTED_TIMESTAMPS.delete(txn, &[id.into()])
    }

    /// Reads one row.
    pub async fn read(txn: &dyn Txn, id: i64) -> Result<Option<Protection>> {
        let row = PROTECTED_TIMESTAMPS.get(txn, &[id.into()]).await?;
        row.map(|row| Protection::from_row(&row)).transpose()
    }

    /// Reads every row.
    pub async fn read_all(txn: &dyn Txn) -> Result<Vec<Protection>> {
        let rows = PROTECTED_TIMESTAMPS.scan(txn, &[]).await?;
        rows.iter().map(|row| Protection::from_row(row)).collect()
    }

    fn from_row(row: &[Datum<'_>]) -> Result<Protection> {
        let number = |at: usize| row[at].as_int();
        let target = || serde_json::from_str(row[2].as_text()?).ok();
        let owner = || ProtectionOwner::from_parts(row[3].as_text()?, number(4)?);
        let read = || {
            let (id, timestamp) = (number(0)?, Timestamp(number(1)?));
            Some(Protection { id, timestamp, target: target()?, owner: owner()? })
        };
        read().ok_or_else(|| Error::corrupt("a protected timestamp cannot be read"))
    }
}
