use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use super::{Error, Failure, JobHandle, JobId, JobRecord, JobType, Result, Status};
use crate::catalog::protection::{Protection, ProtectionOwner};
use crate::catalog::secrets::{SecretOwner, Secrets};
use crate::catalog::settings::{JOB_RETENTION, RETRY_INITIAL_DELAY, RETRY_MAX_DELAY};
use crate::kv::{self, Store, Txn};
use crate::time::{Clock, Timestamp};

/// How long a claim lasts unless renewed.
const LEASE: Duration = Duration::from_secs(20);
/// How often claims are renewed and jobs without a worker looked for.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The wait between attempts while the settings cannot be read.
const FALLBACK_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Attempts at a job, since it was claimed, before its errors count as permanent.
const MAX_ATTEMPTS: usize = 10;

/// Jobs forgotten in one transaction at most.
const FORGOTTEN_AT_ONCE: usize = 1000;
/// How far the threads of jobs stand back, on the scale from 0 to 19 of `nice`.
const NICENESS: i32 = 10;

/// A job to be made.
pub struct NewJob<'a> {
    /// Which [`JobType`] does it.
    pub job_type: &'static str,
    /// The statement, secrets redacted.
    pub description: String,
    /// Who asked for it.
    pub user: &'a str,
    /// What it is to do.
    pub payload: serde_json::Value,
    /// What it must keep to itself.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// The schedule whose run it is.
    pub schedule: Option<i64>,
}

/// Takes a job off the list of those being worked on, even if its worker panics; it is then adopted when the claim ends.
struct Working {
    registry: Arc<Registry>,
    id: JobId,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.registry.forget(self.id);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is being done with a job.
#[derive(Clone, Copy)]
enum Phase {
    Resume,
    Revert,
}

/// The calling thread computes when nobody else wants to: those who wait for an answer come before jobs. On Linux that is a
/// property of each thread.
fn step_back() {
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "jobs compete with statements for the processor");
    }
}

/// The jobs of one process.
pub struct Registry {
    store: Arc<dyn Store>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    /// Names this process in claims.
    session: String,
    types: OnceLock<HashMap<&'static str, Arc<dyn JobType>>>,
    /// The jobs that are being worked on here, each with what tells its worker to look at it again.
    working: Mutex<HashMap<JobId, Arc<Notify>>>,
    changed: watch::Sender<u64>,
    /// How many statements of clients there have been: a job that sees it move gives way.
    statements: Arc<AtomicU64>,
    stopping: AtomicBool,
    /// Where jobs compute. Batch after batch keeps a thread busy; on threads of their own they cannot keep the server from
    /// answering, nor its timers from firing. `None` only while the registry is being dropped.
    runtime: Option<Runtime>,
}

impl Registry {
    /// How many statements of clients there have been.
    pub(super) fn statements(&self) -> Arc<AtomicU64> {
        self.statements.clone()
    }

    /// Counts a statement of a client.
    pub fn note_statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// A registry that works on nothing until [`Registry::start`].
    pub fn new(store: Arc<dyn Store>, secrets: Secrets, clock: Arc<dyn Clock>) -> std::io::Result<Arc<Registry>> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.thread_name("keepsafe-job").on_thread_start(step_back).enable_all().build()?;
        Ok(Arc::new(Registry {
            store,
            secrets,
            clock,
            session: uuid::Uuid::new_v4().to_string(),
            types: OnceLock::new(),
            working: Mutex::default(),
            changed: watch::channel(0).0,
            statements: Arc::default(),
            stopping: AtomicBool::new(false),
            runtime: Some(runtime),
        }))
    }

    /// The store the jobs are in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What jobs read and wait by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// What jobs must keep to themselves.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// This process, as claims name it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Begins to work: takes over what a predecessor left, and keeps claims alive. An embedded store is open in one process
    /// at a time, so claims of others are void from the start.
    pub async fn start(self: &Arc<Self>, types: HashMap<&'static str, Arc<dyn JobType>>) -> Result<()> {
        if self.types.set(types).is_err() {
            return Ok(());
        }
        self.adopt(true).await?;
        let registry = self.clone();
        tokio::spawn(async move {
            while registry.check_running().is_ok() {
                registry.clock.sleep(HEARTBEAT).await;
                if let Err(error) = registry.beat().await {
                    tracing::warn!(%error, "a heartbeat of the job registry failed");
                }
            }
        });
        Ok(())
    }

    /// Stops working; jobs go on when the store is opened again.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.notify();
    }

    pub(super) fn check_running(&self) -> Result<()> {
        if self.stopping.load(Ordering::Acquire) { Err(Error::Stopping) } else { Ok(()) }
    }

    pub(super) fn notify(&self) {
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    fn now_micros(&self) -> Result<i64> {
        Ok(self.store.now()?.micros())
    }

    /// Writes a job into a transaction. After the commit, [`Registry::run`] begins it; if nobody does, the next heartbeat.
    pub fn create(&self, txn: &dyn Txn, job: NewJob<'_>) -> Result<JobId> {
        // The id is the time: no job does anything before it.
        let id = JobId(self.store.now()?.0);
        let created = self.now_micros()?;
        let record = JobRecord {
            id,
            status: Status::Running,
            job_type: job.job_type.into(),
            description: job.description,
            user: job.user.into(),
            created,
            finished: None,
            error: None,
            payload: job.payload,
            claim_session: None,
            claim_epoch: 0,
            claim_expires: created,
            canceled: false,
            pause_reason: None,
            schedule: job.schedule,
            execution_errors: Vec::new(),
            fraction_completed: 0.0,
            running_status: None,
            modified: created,
            checkpoint: None,
            result: None,
        };
        record.write(txn)?;
        record.write_progress(txn)?;
        if let Some(secret) = &job.secret {
            self.secrets.put(txn, SecretOwner::Job(id.0), secret)?;
        }
        Ok(id)
    }

    /// Claims a job that has no worker and works on it, all in the background: whoever asks may go away at any time.
    pub fn run(self: &Arc<Self>, id: JobId) {
        let interrupt = Arc::new(Notify::new());
        {
            let mut working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
            if working.contains_key(&id) {
                return;
            }
            working.insert(id, interrupt.clone());
        }
        let Some(runtime) = &self.runtime else { return };
        let working = Working { registry: self.clone(), id };
        runtime.spawn(async move {
            loop {
                let handle = match working.registry.claim(id).await {
                    Ok(Some(handle)) => handle,
                    Ok(None) => break,
                    Err(error) => {
                        // The next heartbeat finds it again.
                        tracing::warn!(job = id.0, %error, "cannot claim a job now");
                        break;
                    }
                };
                tokio::select! {
                    () = working.registry.work(handle) => {
                        if !working.registry.is_asked(id).await {
                            break;
                        }
                    }
                    // The work is dropped where it is; the next claim keeps what may be left of it from the job's rows.
                    () = interrupt.notified() => {}
                }
            }
        });
    }

    /// Whether a job is to be paused or canceled.
    async fn is_asked(&self, id: JobId) -> bool {
        let read = async { JobRecord::read(&*self.store.begin().await?, id).await };
        let asked = |record: JobRecord| matches!(record.status, Status::PauseRequested | Status::CancelRequested);
        self.check_running().is_ok() && read.await.is_ok_and(asked)
    }

    /// Sees to it that what has been asked of a job is done: its worker is interrupted, or it gets one.
    pub fn attend(self: &Arc<Self>, id: JobId) {
        let worker = self.working.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        match worker {
            Some(interrupt) => interrupt.notify_one(),
            None => self.run(id),
        }
    }

    fn is_working(&self, id: JobId) -> bool {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    fn forget(&self, id: JobId) {
        self.working.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.notify();
    }

    async fn claim(self: &Arc<Self>, id: JobId) -> Result<Option<JobHandle>> {
        loop {
            let txn = self.store.begin().await?;
            let mut record = JobRecord::read(&*txn, id).await?;
            if !record.status.needs_worker() {
                return Ok(None);
            }
            record.claim_session = Some(self.session.clone());
            record.claim_epoch += 1;
            record.claim_expires = self.now_micros()? + LEASE.as_micros() as i64;
            record.write(&*txn)?;
            match txn.commit().await {
                Ok(_) => return Ok(Some(JobHandle::new(self.clone(), id, record.claim_epoch))),
                Err(kv::Error::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn adopt(self: &Arc<Self>, void_others: bool) -> Result<()> {
        let txn = self.store.begin().await?;
        let now = self.now_micros()?;
        for record in JobRecord::read_all(&*txn).await? {
            let ours = record.claim_session.as_deref() == Some(&self.session);
            let is_asked = matches!(record.status, Status::PauseRequested | Status::CancelRequested);
            // Somebody may have asked in the instant in which its worker left.
            let left = ours && is_asked && !self.is_working(record.id);
            let orphaned = record.claim_expires <= now || (void_others && !ours) || left;
            if record.status.needs_worker() && orphaned {
                tracing::info!(job = record.id.0, "adopting a job");
                self.run(record.id);
            }
        }
        Ok(())
    }

    async fn beat(self: &Arc<Self>) -> Result<()> {
        let working: Vec<JobId> = self.working.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for id in working {
            let txn = self.store.begin().await?;
            let mut record = JobRecord::read(&*txn, id).await?;
            if record.claim_session.as_deref() != Some(&self.session) || record.status.is_final() {
                continue;
            }
            record.claim_expires = self.now_micros()? + LEASE.as_micros() as i64;
            record.write(&*txn)?;
            match txn.commit().await {
                // Whoever was first has renewed it, or the next beat will.
                Ok(_) | Err(kv::Error::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.adopt(false).await
    }

    async fn work(&self, handle: JobHandle) {
        let id = handle.id();
        let outcome = self.work_to_the_end(&handle).await;
        if let Err(failure) = outcome {
            match failure {
                Failure::Abandoned => tracing::info!(job = id.0, "left a job to whoever claims it next"),
                other => tracing::error!(job = id.0, ?other, "a job could not be brought to an end"),
            }
        }
    }

    async fn work_to_the_end(&self, handle: &JobHandle) -> Result<(), Failure> {
        let record = handle.obey().await?;
        if record.status == Status::Paused {
            return Ok(());
        }
        let job_type = self.types.get().and_then(|types| types.get(record.job_type.as_str())).cloned();
        let job_type = job_type.ok_or_else(|| Failure::Permanent {
            message: format!("unknown job type {}", record.job_type),
            sqlstate: "0A000".into(),
        })?;
        if record.status == Status::Running {
            match self.attempt(handle, &*job_type, Phase::Resume).await {
                Ok(result) => {
                    // A job that was done in a transaction of its own is done already.
                    if handle.record().await?.status.is_final() {
                        return Ok(());
                    }
                    return Ok(handle.update(|record, now| record.succeed(now, result.clone())).await?);
                }
                Err(Failure::Permanent { message, sqlstate }) => {
                    tracing::warn!(job = handle.id().0, %message, "a job failed and is being reverted");
                    let revert = |record: &mut JobRecord, _| {
                        record.status = Status::Reverting;
                        record.error = Some(format!("{sqlstate} {message}"));
                    };
                    handle.update(revert).await?;
                }
                Err(other) => return Err(other),
            }
        }
        self.attempt(handle, &*job_type, Phase::Revert).await?;
        let fail = |record: &mut JobRecord, now: Timestamp| {
            record.status = if record.canceled { Status::Canceled } else { Status::Failed };
            record.finished = Some(now.micros());
            record.running_status = None;
            record.checkpoint = None;
        };
        Ok(handle.update(fail).await?)
    }

    /// Works on one phase of a job until it is done, fails for good, or has been tried often enough.
    async fn attempt(
        &self,
        handle: &JobHandle,
        job_type: &dyn JobType,
        phase: Phase,
    ) -> Result<serde_json::Value, Failure> {
        for attempt in 1..=MAX_ATTEMPTS {
            let outcome = match phase {
                Phase::Resume => job_type.resume(handle).await,
                Phase::Revert => job_type.on_fail_or_cancel(handle).await.map(|()| serde_json::Value::Null),
            };
            match outcome {
                Err(Failure::Retry(reason)) => {
                    tracing::warn!(job = handle.id().0, attempt, %reason, "a job could not go on");
                    match handle.update(|record, _| record.note_error(reason.clone())).await {
                        Err(error) if !matches!(error, Error::Catalog(_)) => return Err(error.into()),
                        // If the store cannot be written now, it may be when the job is tried again.
                        Err(error) => tracing::warn!(job = handle.id().0, %error, "cannot note an error of a job"),
                        Ok(()) => {}
                    }
                    if attempt < MAX_ATTEMPTS {
                        self.clock.sleep(self.retry_delay(attempt).await.unwrap_or(FALLBACK_RETRY_DELAY)).await;
                        self.check_running()?;
                    } else if matches!(phase, Phase::Resume) && job_type.is_worth_pausing() {
                        handle.pause(&reason).await?;
                        return Err(Failure::Abandoned);
                    } else {
                        return Err(Failure::Permanent { message: reason, sqlstate: "58030".into() });
                    }
                }
                done => return done,
            }
        }
        Err(Failure::Abandoned)
    }

    /// The wait after an attempt: it doubles with every one, up to a limit.
    async fn retry_delay(&self, attempt: usize) -> Result<Duration> {
        let txn = self.store.begin().await?;
        let (first, most) = (RETRY_INITIAL_DELAY.duration(&*txn).await?, RETRY_MAX_DELAY.duration(&*txn).await?);
        Ok(first.saturating_mul(1 << (attempt - 1).min(16)).min(most))
    }

    /// Forgets jobs that ended longer ago than is to be remembered.
    pub async fn forget_ended(&self) -> Result<()> {
        let txn = self.store.begin().await?;
        let retention = JOB_RETENTION.duration(&*txn).await?;
        let oldest = txn.snapshot().minus(retention).micros();
        let ended = JobRecord::read_all(&*txn).await?;
        let forgotten = ended.iter().filter(|record| record.finished.is_some_and(|finished| finished < oldest));
        for record in forgotten.take(FORGOTTEN_AT_ONCE) {
            record.delete(&*txn)?;
        }
        match txn.commit().await {
            // The next time will do.
            Ok(_) | Err(kv::Error::Retry(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes protected timestamps whose job has ended or was never there: a job removes its own with its last write, but it
    /// may have had no chance to.
    pub async fn release_orphans(&self) -> Result<()> {
        let txn = self.store.begin().await?;
        for protection in Protection::read_all(&*txn).await? {
            let ProtectionOwner::Job(owner) = protection.owner else { continue };
            let is_needed = match JobRecord::read(&*txn, JobId(owner)).await {
                Ok(record) => !record.status.is_final(),
                Err(Error::NotFound(_)) => false,
                Err(error) => return Err(error),
            };
            if !is_needed {
                Protection::delete(&*txn, protection.id)?;
            }
        }
        match txn.commit().await {
            // The next time will do.
            Ok(_) | Err(kv::Error::Retry(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// No job that is not at its end, and none still to come, began before this.
    pub async fn oldest_live(&self) -> Result<Timestamp> {
        let txn = self.store.begin().await?;
        let live = JobRecord::read_all(&*txn).await?.into_iter().filter(|record| !record.status.is_final());
        let oldest = live.map(|record| Timestamp(record.id.0)).min();
        Ok(oldest.unwrap_or_else(|| txn.snapshot()))
    }

    /// Waits until a job has ended in any way.
    pub async fn wait_until_ended(&self, id: JobId) -> Result<()> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let txn = self.store.begin().await?;
            if JobRecord::read(&*txn, id).await?.status.is_final() {
                return Ok(());
            }
            self.check_running()?;
            if changed.changed().await.is_err() {
                return Err(Error::Stopping);
            }
        }
    }

    /// Waits for a job's success; an error if it fails, or is paused or canceled. `watch` sees it each time it has got further.
    pub async fn wait(&self, id: JobId, mut watch: impl FnMut(&JobRecord)) -> Result<JobRecord> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let txn = self.store.begin().await?;
            let record = JobRecord::read(&*txn, id).await?;
            watch(&record);
            match record.status {
                Status::Succeeded => return Ok(record),
                Status::Failed => return Err(record.failure()),
                Status::Canceled => return Err(Error::Canceled(id)),
                Status::Paused => return Err(Error::Paused(id)),
                _ => self.check_running()?,
            }
            if changed.changed().await.is_err() {
                return Err(Error::Stopping);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::protection::ProtectedTarget;
    use crate::kv::embedded::Embedded;
    use crate::time::SystemClock;

    #[tokio::test]
    async fn a_protected_timestamp_goes_when_its_job_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store: Arc<dyn Store> = Arc::new(Embedded::open(directory.path(), clock.clone(), 100).unwrap());
        let secrets = Secrets::open(&directory.path().join("key")).unwrap();
        let registry = Registry::new(store.clone(), secrets, clock).unwrap();
        let txn = store.begin().await.unwrap();
        let job = NewJob {
            job_type: "BACKUP",
            description: String::new(),
            user: "root",
            payload: serde_json::Value::Null,
            secret: None,
            schedule: None,
        };
        let running = registry.create(&*txn, job).unwrap();
        for (id, owner) in [
            (1, ProtectionOwner::Job(running.0)),
            (2, ProtectionOwner::Job(12345)),
            (3, ProtectionOwner::Schedule(12345)),
        ] {
            let protection = Protection { id, timestamp: txn.snapshot(), target: ProtectedTarget::Cluster, owner };
            protection.write(&*txn).unwrap();
        }
        txn.commit().await.unwrap();
        let held = async || {
            let txn = store.begin().await.unwrap();
            Protection::read_all(&*txn).await.unwrap().iter().map(|protection| protection.id).collect::<Vec<_>>()
        };
        registry.release_orphans().await.unwrap();
        assert_eq!(held().await, [1, 3], "what a schedule protects is not a job's to release");
        let txn = store.begin().await.unwrap();
        let mut record = JobRecord::read(&*txn, running).await.unwrap();
        record.status = Status::Failed;
        record.write(&*txn).unwrap();
        txn.commit().await.unwrap();
        registry.release_orphans().await.unwrap();
        assert_eq!(held().await, [3]);
    }
}
