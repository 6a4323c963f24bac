//! Runs what is due, and notes what has ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Mutex, watch};

use super::pair::Pair;
use super::record::Run;
use super::{Error, PreviousRunning, Result, Schedule, ScheduleId};
use crate::backup::plan::{BackupPayload, Planned, Planner};
use crate::backup::{self, protected};
use crate::catalog::DescriptorCache;
use crate::catalog::protection::Protection;
use crate::catalog::settings::{SCHEDULER_ENABLED, SCHEDULER_MAX_JOBS, SCHEDULER_PACE};
use crate::jobs::{self, JobId, JobRecord, Registry, Status};
use crate::kv::{Store, Txn};
use crate::parser::Backup;
use crate::storage::Storage;
use crate::time::{Clock, Timestamp};

/// Attempts at a transaction that somebody else keeps getting in the way of. The next round makes more.
const ATTEMPTS: usize = 10;
/// Storage that takes longer to say what is there has failed: other schedules are due, too.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pace while the setting cannot be read.
const FALLBACK_PACE: Duration = Duration::from_secs(5);
/// Scheduled backups name whole names, so nothing is looked up in a current database.
const NO_DATABASE: &str = "";

/// Looks at the schedules again and again.
pub struct Poller {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Decoded descriptors.
    pub descriptors: Arc<DescriptorCache>,
    /// External storage.
    pub storage: Storage,
    /// Makes and runs the jobs.
    pub jobs: Arc<Registry>,
    /// Says when it is time to look again.
    pub clock: Arc<dyn Clock>,
}

/// What a schedule needs.
struct Need {
    id: ScheduleId,
    has_jobs: bool,
    is_due: bool,
}

/// What is to be done for a schedule that is due.
struct Plan {
    statement: Backup,
    time: Timestamp,
    planned: Planned<BackupPayload>,
}

impl Poller {
    /// Works until told to stop. What one schedule waits for, its storage or somebody's transaction, keeps no other waiting.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let work = async {
            let mut busy: HashSet<ScheduleId> = HashSet::new();
            let mut unreadable: HashSet<ScheduleId> = HashSet::new();
            let mut attending = FuturesUnordered::new();
            loop {
                match self.look(&busy, &mut unreadable).await {
                    Ok(needed) => {
                        for need in needed {
                            busy.insert(need.id);
                            attending.push(self.attend(need));
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot look at the schedules now"),
                }
                let rest = SCHEDULER_PACE.wait(&*self.store, &*self.clock, FALLBACK_PACE);
                tokio::pin!(rest);
                loop {
                    tokio::select! {
                        () = &mut rest => break,
                        Some(id) = attending.next(), if !attending.is_empty() => {
                            busy.remove(&id);
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = work => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    /// The schedules that need attention, but those that have it already, and those that cannot be read: of these it is said
    /// once.
    async fn look(&self, busy: &HashSet<ScheduleId>, unreadable: &mut HashSet<ScheduleId>) -> Result<Vec<Need>> {
        let txn = self.store.begin().await?;
        let is_enabled = SCHEDULER_ENABLED.is_on(&*txn).await?;
        let mut left = match SCHEDULER_MAX_JOBS.whole(&*txn).await? {
            0 => u64::MAX,
            most => most,
        };
        let now = self.store.now()?;
        let mut schedules = Vec::new();
        for one in Schedule::read_each(&*txn).await? {
            match one {
                Ok(schedule) if busy.contains(&schedule.id) => {}
                Ok(schedule) => schedules.push(schedule),
                Err((id, error)) if unreadable.insert(id) => {
                    tracing::error!(schedule = id.0, %error, "a schedule does not run: DROP SCHEDULE removes it");
                }
                Err(_) => {}
            }
        }
        schedules.sort_by_key(|schedule| (schedule.next_run, schedule.id));
        let mut needed = Vec::new();
        for schedule in schedules {
            let mut is_due = is_enabled && schedule.next_run.is_some_and(|next| next <= now);
            let waits = schedule.on_previous_running == PreviousRunning::Wait;
            // One that waits for its own job takes no other's turn.
            if is_due && !(waits && self.running_job(&*txn, &schedule).await?.is_some()) {
                is_due = left > 0;
                left = left.saturating_sub(1);
            }
            if is_due || !schedule.runs.jobs.is_empty() {
                needed.push(Need { id: schedule.id, has_jobs: !schedule.runs.jobs.is_empty(), is_due });
            }
        }
        Ok(needed)
    }

    /// Notes the end of a schedule's jobs, then runs it if it is due.
    async fn attend(&self, need: Need) -> ScheduleId {
        let id = need.id;
        if need.has_jobs {
            self.report(id, self.retried(|txn| self.note_ends(txn, id)).await);
        }
        if need.is_due {
            // Planning has claimed a directory: another attempt goes on with the same plan.
            let plan = Mutex::new(None);
            match self.retried(|txn| self.begin_run(txn, id, &plan)).await {
                Ok(Some(job)) => self.jobs.run(job),
                done => self.report(id, done.map(drop)),
            }
        }
        id
    }

    fn report(&self, id: ScheduleId, done: Result<()>) {
        match done {
            // It was dropped meanwhile, or its pair is in demand.
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => tracing::warn!(schedule = id.0, %error, "cannot attend to a schedule now"),
        }
    }

    /// Does something in a transaction, again if it loses a race.
    async fn retried<T, F: Future<Output = Result<T>>>(&self, work: impl Fn(Arc<dyn Txn>) -> F) -> Result<T> {
        for _ in 1..ATTEMPTS {
            match self.once(&work).await {
                Err(error) if error.is_retryable() => {}
                done => return done,
            }
        }
        self.once(&work).await
    }

    async fn once<T, F: Future<Output = Result<T>>>(&self, work: &impl Fn(Arc<dyn Txn>) -> F) -> Result<T> {
        let txn = self.store.begin().await?;
        let done = work(txn.clone()).await?;
        if txn.pending_writes() > 0 {
            txn.commit().await?;
        }
        Ok(done)
    }

    /// The transaction in which a schedule that is due gets a job, and its next time.
    async fn begin_run(&self, txn: Arc<dyn Txn>, id: ScheduleId, plan: &Mutex<Option<Plan>>) -> Result<Option<JobId>> {
        let mut pair = Pair::lock(&*txn, id).await?;
        let full = pair.full.id;
        let Some(schedule) = pair.get_mut(id) else { return Ok(None) };
        let now = self.store.now()?;
        let Some(due) = schedule.next_run.filter(|next| *next <= now) else { return Ok(None) };
        // Of a job that does not matter nothing is read: its rows change while it runs.
        if schedule.on_previous_running != PreviousRunning::Start
            && let Some(running) = self.running_job(&*txn, schedule).await?
        {
            let state = if schedule.on_previous_running == PreviousRunning::Skip {
                schedule.next_run = schedule.next_after(now);
                format!("left out a run because job {running} was still running")
            } else {
                format!("waits for job {running} to end")
            };
            let is_news = schedule.state.as_ref() != Some(&state) || schedule.next_run != Some(due);
            schedule.state = Some(state);
            return if is_news { schedule.write(&*txn).map(|()| None) } else { Ok(None) };
        }
        let time = schedule.due_time(due, now);
        schedule.state = None;
        schedule.next_run = schedule.next_after(now);
        let mut started = None;
        match self.plan(&*txn, schedule, time, plan).await {
            Ok(planned) => {
                let (end_time, target) = (planned.payload.end_time, protected(&planned.payload));
                let job = backup::start(&self.jobs, &*txn, planned, &schedule.owner, Some(id.0))?;
                schedule.runs.jobs.push(Run { job, place: schedule.runs.place });
                started = Some(job);
                // One that came out of a backup has nothing protected; one that is run early, nothing yet.
                let held = Protection::read(&*txn, full.0).await?;
                if held.is_none_or(|held| held.timestamp > end_time) {
                    pair.protect(&*txn, end_time, target)?;
                }
            }
            // Another backup, such as a full one of the same time, has done it already.
            Err(Error::Backup(backup::Error::Covered { .. })) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::warn!(schedule = id.0, %error, "a scheduled backup cannot be taken");
                schedule.fail(now, &error.to_string());
            }
        }
        pair.write(&*txn)?;
        Ok(started)
    }

    async fn running_job(&self, txn: &dyn Txn, schedule: &Schedule) -> Result<Option<JobId>> {
        for run in &schedule.runs.jobs {
            match JobRecord::read(txn, run.job).await {
                Ok(record) if !record.status.is_final() => return Ok(Some(run.job)),
                Ok(_) | Err(jobs::Error::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn plan(
        &self,
        txn: &dyn Txn,
        schedule: &Schedule,
        time: Timestamp,
        plan: &Mutex<Option<Plan>>,
    ) -> Result<Planned<BackupPayload>> {
        let statement = schedule.backup(txn, self.jobs.secrets()).await?;
        let mut plan = plan.lock().await;
        if let Some(made) = &*plan
            && (&made.statement, made.time) == (&statement, time)
        {
            return Ok(made.planned.clone());
        }
        // For people to read; what is backed up is `time`.
        let dated = statement.clone().at(time.to_utc().format("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string());
        let planner = Planner {
            store: &self.store,
            descriptors: &self.descriptors,
            storage: &self.storage,
            clock: &*self.clock,
            current_database: NO_DATABASE,
            parameters: &[],
        };
        tokio::select! {
            planned = planner.backup(&dated, Some(time)) => {
                let planned = planned?;
                *plan = Some(Plan { statement, time, planned: planned.clone() });
                Ok(planned)
            }
            () = self.clock.sleep(PATIENCE) => {
                Err(Error::refused("58030", format!("external storage did not answer for {PATIENCE:?}")))
            }
        }
    }

    /// The transaction in which the ends of a schedule's jobs are noted.
    async fn note_ends(&self, txn: Arc<dyn Txn>, id: ScheduleId) -> Result<()> {
        let mut pair = Pair::lock(&*txn, id).await?;
        let Some(schedule) = pair.get_mut(id) else { return Ok(()) };
        let (runs, mut ended) = (schedule.runs.jobs.clone(), Vec::new());
        for run in runs {
            match JobRecord::read(&*txn, run.job).await {
                Ok(record) if !record.status.is_final() => {}
                Ok(record) => ended.push((run, Some(record))),
                // Forgotten, which takes long.
                Err(jobs::Error::NotFound(_)) => ended.push((run, None)),
                Err(error) => return Err(error.into()),
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        let now = self.store.now()?;
        for (run, record) in ended {
            let place = pair.full.runs.place;
            let Some(schedule) = pair.get_mut(id) else { return Ok(()) };
            schedule.runs.jobs.retain(|other| other.job != run.job);
            // What is of a former place says nothing about this one.
            match record.filter(|_| run.place == place) {
                Some(record) if record.status == Status::Succeeded => {
                    schedule.runs.failures = 0;
                    schedule.runs.last_completed = record.finished;
                    schedule.state = None;
                    let payload = serde_json::from_value::<BackupPayload>(record.payload);
                    let payload = payload.map_err(|error| Error::refused("XX001", error.to_string()))?;
                    note_success(&*txn, &mut pair, id, &payload, now).await?;
                }
                Some(record) if record.status == Status::Failed => schedule.fail(now, &record.failure().to_string()),
                Some(record) => schedule.state = Some(jobs::Error::Canceled(record.id).to_string()),
                None => {}
            }
        }
        pair.write(&*txn)
    }
}

/// After a success: what waits for a full backup need not wait any longer, and history is needed from there on.
///
/// ```text
///   full         F1                  F2 begins ........ F2 ends
///   incremental      i1     i2            i3                      i4
///   needed        from F1   i1    i2      F2 (not i3)    F2        i4
/// ```
async fn note_success(
    txn: &dyn Txn,
    pair: &mut Pair,
    id: ScheduleId,
    payload: &BackupPayload,
    now: Timestamp,
) -> Result<()> {
    if id == pair.full.id {
        // Directories are named by time. A run that was slower than the one after it changes nothing.
        if pair.full.runs.last_full.as_ref().is_some_and(|last| *last > payload.full) {
            return Ok(());
        }
        pair.full.runs.last_full = Some(payload.full.clone());
        if let Some(incremental) = &mut pair.incremental
            && incremental.options.waits_for_full
            && !incremental.options.is_paused
        {
            incremental.options.waits_for_full = false;
            incremental.state = None;
            incremental.next_run = incremental.next_after(now);
        }
    } else if pair.full.runs.last_full.as_ref() != Some(&payload.full) {
        // A layer on a chain that others have followed: what comes next is not on top of it.
        return Ok(());
    }
    if pair.incremental.is_none() && pair.full.next_run.is_none() && !pair.full.options.is_paused {
        // There is no next time.
        return Ok(Protection::delete(txn, pair.full.id.0)?);
    }
    let running = pair.earliest_running_full(txn).await?;
    let needed = running.map_or(payload.end_time, |running| running.min(payload.end_time));
    pair.protect(txn, needed, protected(payload))
}
