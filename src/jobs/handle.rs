use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Error, JobId, JobRecord, Registry, Result, Status};
use crate::catalog::protection::Protection;
use crate::catalog::secrets::Secrets;
use crate::kv::{self, Store, Txn};
use crate::time::{Clock, Timestamp};

/// Attempts at a write of a job's rows that others keep getting in the way of, and the waits between them.
const ATTEMPTS: usize = 50;
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A claimed job, as its worker sees it.
pub struct JobHandle {
    registry: Arc<Registry>,
    id: JobId,
    epoch: i64,
}

impl JobHandle {
    pub(super) fn new(registry: Arc<Registry>, id: JobId, epoch: i64) -> JobHandle {
        JobHandle { registry, id, epoch }
    }

    /// The job.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// How many statements of clients there have been.
    pub fn statements(&self) -> Arc<AtomicU64> {
        self.registry.statements()
    }

    /// Which claim this is; part of the names of files the job writes.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The store the job is in.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.registry.store()
    }

    /// What the job reads and waits by.
    pub fn clock(&self) -> &dyn Clock {
        self.registry.clock()
    }

    /// The job as it is now, if the claim still holds.
    pub async fn record(&self) -> Result<JobRecord> {
        self.registry.check_running()?;
        let txn = self.store().begin().await?;
        self.claimed(&*txn).await
    }

    async fn claimed(&self, txn: &dyn Txn) -> Result<JobRecord> {
        let record = JobRecord::read(txn, self.id).await?;
        let ours = record.claim_session.as_deref() == Some(self.registry.session()) && record.claim_epoch == self.epoch;
        if ours { Ok(record) } else { Err(Error::LostLease(self.id)) }
    }

    /// The job, if nobody wants it to stop.
    async fn undisturbed(&self, txn: &dyn Txn) -> Result<JobRecord> {
        let record = self.claimed(txn).await?;
        match record.status {
            Status::Running | Status::Reverting => Ok(record),
            _ => Err(Error::Interrupted(self.id)),
        }
    }

    /// What the job must keep to itself.
    pub async fn secret(&self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let txn = self.store().begin().await?;
        Ok(self.registry.secrets().get(&*txn, self.id.0).await?)
    }

    /// Begins a transaction that changes the job along with other things; checks the claim, and that nobody wants the job to
    /// stop.
    pub async fn begin(&self) -> Result<(Arc<dyn Txn>, JobRecord)> {
        self.registry.check_running()?;
        let txn = self.store().begin().await?;
        let record = self.undisturbed(&*txn).await?;
        Ok((txn, record))
    }

    /// Leaves the job where it is, until somebody resumes it.
    pub(super) async fn pause(&self, reason: &str) -> Result<()> {
        self.update(|record, _| {
            record.status = Status::Paused;
            record.claim_session = None;
            record.pause_reason = Some(reason.into());
            record.running_status = Some(reason.into());
        })
        .await
    }

    /// Does what was asked for while nobody worked on the job: pauses it, or begins to undo it.
    pub(super) async fn obey(&self) -> Result<JobRecord> {
        for attempt in 0..ATTEMPTS {
            let txn = self.store().begin().await?;
            let mut record = self.claimed(&*txn).await?;
            match record.status {
                Status::PauseRequested => {
                    record.status = Status::Paused;
                    record.claim_session = None;
                    record.running_status.clone_from(&record.pause_reason);
                }
                Status::CancelRequested => {
                    record.status = Status::Reverting;
                    record.canceled = true;
                    record.error = Some("57014 the job was canceled".into());
                }
                _ => return Ok(record),
            }
            if self.commit(&txn, record.clone()).await? {
                return Ok(record);
            }
            self.make_way(attempt).await;
        }
        Err(kv::Error::Retry("a job's rows are in great demand").into())
    }

    /// Waits a little after a lost race: what won it is seen only when it is durable.
    pub async fn make_way(&self, attempt: usize) {
        self.clock().sleep(FIRST_WAIT.saturating_mul(1 << attempt.min(16)).min(LONGEST_WAIT)).await;
    }

    /// Commits such a transaction; `false` if it lost a race and has to be begun again.
    pub async fn commit(&self, txn: &Arc<dyn Txn>, mut record: JobRecord) -> Result<bool> {
        record.modified = txn.snapshot().micros();
        record.write(&**txn)?;
        record.write_progress(&**txn)?;
        if record.status.is_final() {
            Protection::delete(&**txn, self.id.0)?;
            Secrets::delete(&**txn, self.id.0)?;
        }
        match txn.commit().await {
            Ok(_) => {
                self.registry.notify();
                Ok(true)
            }
            Err(kv::Error::Retry(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the job; `change` also gets the time.
    pub async fn update(&self, change: impl Fn(&mut JobRecord, Timestamp)) -> Result<()> {
        for attempt in 0..ATTEMPTS {
            let (txn, mut record) = self.begin().await?;
            change(&mut record, txn.snapshot());
            if self.commit(&txn, record).await? {
                return Ok(());
            }
            self.make_way(attempt).await;
        }
        Err(kv::Error::Retry("a job's rows are in great demand").into())
    }

    /// Notes how far the job is, and where to go on. The fraction never goes back.
    pub async fn checkpoint(&self, fraction: f64, status: &str, checkpoint: Option<serde_json::Value>) -> Result<()> {
        self.update(|record, _| {
            record.fraction_completed = record.fraction_completed.max(fraction.clamp(0.0, 1.0));
            record.running_status = Some(status.into());
            if checkpoint.is_some() {
                record.checkpoint.clone_from(&checkpoint);
            }
        })
        .await
    }
}
