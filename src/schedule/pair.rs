use super::{BackupType, Result, Schedule, ScheduleId};
use crate::backup::plan::BackupPayload;
use crate::catalog::protection::{ProtectedTarget, Protection, ProtectionOwner};
use crate::catalog::secrets::Secrets;
use crate::catalog::system::SCHEDULED_JOBS;
use crate::jobs::{self, JobRecord};
use crate::kv::{LockMode, Txn};
use crate::parser::{Backup, Subdirectory};
use crate::time::Timestamp;

/// A full schedule, and the incremental one that adds to its backups.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Takes full backups.
    pub full: Schedule,
    /// Takes the layers between them.
    pub incremental: Option<Schedule>,
}

impl Pair {
    /// Reads the pair that a schedule is part of.
    pub async fn read(txn: &dyn Txn, id: ScheduleId) -> Result<Pair> {
        let named = Schedule::read(txn, id).await?;
        let other = match named.options.dependent {
            Some(other) => Some(Schedule::read(txn, other).await?),
            None => None,
        };
        Ok(match (named.options.backup_type, other) {
            (BackupType::Incremental, Some(full)) => Pair { full, incremental: Some(named) },
            (_, incremental) => Pair { full: named, incremental },
        })
    }

    /// The same, to change it: nobody else does before the transaction ends.
    pub async fn lock(txn: &dyn Txn, id: ScheduleId) -> Result<Pair> {
        let full = Pair::read(txn, id).await?.full.id;
        let key = SCHEDULED_JOBS.key(&[full.0.into()]);
        txn.lock(SCHEDULED_JOBS.space(), &key, LockMode::Exclusive).await?;
        Pair::read(txn, id).await
    }

    /// Both, or the one there is.
    pub fn schedules(&self) -> impl Iterator<Item = &Schedule> {
        // As the documentation shows them.
        self.incremental.iter().chain([&self.full])
    }

    /// Both, to be changed.
    pub fn schedules_mut(&mut self) -> impl Iterator<Item = &mut Schedule> {
        self.incremental.iter_mut().chain([&mut self.full])
    }

    /// The one of the two with an id, if it is one of them.
    pub fn get_mut(&mut self, id: ScheduleId) -> Option<&mut Schedule> {
        self.schedules_mut().find(|schedule| schedule.id == id)
    }

    /// Writes both.
    pub fn write(&self, txn: &dyn Txn) -> Result<()> {
        self.schedules().try_for_each(|schedule| schedule.write(txn))
    }

    /// Gives both the same backup, each in its own kind.
    pub fn set_backup(&mut self, txn: &dyn Txn, secrets: &Secrets, backup: &Backup) -> Result<()> {
        self.full.set_backup(txn, secrets, &Backup { subdirectory: None, ..backup.clone() })?;
        match &mut self.incremental {
            Some(incremental) => {
                let layer = Backup { subdirectory: Some(Subdirectory::Latest), ..backup.clone() };
                incremental.set_backup(txn, secrets, &layer)
            }
            None => Ok(()),
        }
    }

    /// Keeps history from a time on for the next backup.
    pub fn protect(&self, txn: &dyn Txn, from: Timestamp, target: ProtectedTarget) -> Result<()> {
        let (id, owner) = (self.full.id.0, ProtectionOwner::Schedule(self.full.id.0));
        Ok(Protection { id, timestamp: from, target, owner }.write(txn)?)
    }

    /// The earliest end of the full backups that are still being taken: history from there on will be needed for what comes
    /// after them.
    pub async fn earliest_running_full(&self, txn: &dyn Txn) -> Result<Option<Timestamp>> {
        let mut earliest: Option<Timestamp> = None;
        for run in &self.full.runs.jobs {
            let record = match JobRecord::read(txn, run.job).await {
                Ok(record) => record,
                Err(jobs::Error::NotFound(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let payload = serde_json::from_value::<BackupPayload>(record.payload).ok();
            if let Some(payload) = payload.filter(|_| !record.status.is_final()) {
                earliest = Some(earliest.map_or(payload.end_time, |earliest| earliest.min(payload.end_time)));
            }
        }
        Ok(earliest)
    }
}
