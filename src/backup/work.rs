//! Tasks run side by side, and what is done is never done again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::Result;
use crate::jobs::{self, JobHandle};

/// Tasks at the same time: one per core.
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A task that gives way does so for no longer at a time.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// How often it is said how far a job is.
const TICK: Duration = Duration::from_secs(1);
/// Before that, nothing is said about the time that is left.
const SOUND_AFTER: Duration = Duration::from_secs(3);
/// Part of the work comes after the tasks.
const TASKS_SHARE: f64 = 0.95;

/// Counts the rows that tasks have gone through.
#[derive(Clone)]
pub struct Meter {
    rows: Arc<AtomicU64>,
    statements: Arc<AtomicU64>,
}

/// Lets statements of clients go first: while there are some, a task works half of the time. That it runs at a low priority is not
/// enough: two threads of one core slow each other down whatever their priorities.
pub struct Turn {
    statements: Arc<AtomicU64>,
    seen: u64,
    began: Instant,
}

impl Turn {
    /// To be called now and then, between a millisecond and some.
    pub async fn give_way(&mut self) {
        let now = self.statements.load(Ordering::Relaxed);
        if now != self.seen {
            // By the real clock: it is about the real processor.
            tokio::time::sleep(self.began.elapsed().min(LONGEST_WAIT)).await;
        }
        (self.seen, self.began) = (now, Instant::now());
    }
}

impl Meter {
    /// The turn of one task.
    pub fn turn(&self) -> Turn {
        let (statements, began) = (self.statements.clone(), Instant::now());
        Turn { seen: statements.load(Ordering::Relaxed), statements, began }
    }

    /// So many more.
    pub fn add(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// How far a job is, shared by its tasks and saved after each.
pub struct Progress<'a, C> {
    job: &'a JobHandle,
    status: &'static str,
    state: Mutex<C>,
    meter: Meter,
    /// About how many rows there are; 0 if nobody knows.
    expected_rows: u64,
    /// When this worker began, and how far the job was then.
    began_nanos: i64,
    fraction_then: f64,
}

/// A checkpoint that knows how much of the work is done.
pub trait Checkpoint: Serialize + DeserializeOwned {
    /// From 0 to 1.
    fn fraction(&self) -> f64;
}

impl<'a, C: Checkpoint> Progress<'a, C> {
    /// From a checkpoint on.
    pub fn new(job: &'a JobHandle, status: &'static str, checkpoint: C, expected_rows: u64) -> Progress<'a, C> {
        let (began_nanos, fraction_then) = (job.clock().monotonic_nanos(), checkpoint.fraction());
        let meter = Meter { rows: Arc::default(), statements: job.statements() };
        let state = Mutex::new(checkpoint);
        Progress { job, status, state, meter, expected_rows, began_nanos, fraction_then }
    }

    /// What tasks count their rows with.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// From 0 to 1: by the tasks that are done, or by the rows that all have gone through.
    fn fraction(&self, state: &C) -> f64 {
        let rows = self.meter.rows.load(Ordering::Relaxed).min(self.expected_rows) as f64;
        let by_rows = if self.expected_rows == 0 { 0.0 } else { rows / self.expected_rows as f64 };
        state.fraction().max(self.fraction_then + by_rows * (1.0 - self.fraction_then)).min(1.0)
    }

    /// What is being done, and how long it will take.
    fn status(&self, fraction: f64) -> String {
        let elapsed = (self.job.clock().monotonic_nanos() - self.began_nanos).max(0) as f64 / 1e9;
        let done = fraction - self.fraction_then;
        if elapsed < SOUND_AFTER.as_secs_f64() || done <= 0.0 {
            return self.status.into();
        }
        let left = (elapsed * (1.0 - fraction) / done).ceil() as u64;
        match (left / 60, left % 60) {
            (0, seconds) => format!("{}, about {seconds} s left", self.status),
            (minutes, seconds) => format!("{}, about {minutes} min {seconds} s left", self.status),
        }
    }

    /// Says how far the job is.
    async fn tick(&self) -> Result<()> {
        let fraction = self.fraction(&*self.state.lock().await);
        Ok(self.job.checkpoint(fraction * TASKS_SHARE, &self.status(fraction), None).await?)
    }

    /// Changes the checkpoint and saves it.
    pub async fn update(&self, change: impl FnOnce(&mut C)) -> Result<()> {
        let mut state = self.state.lock().await;
        change(&mut state);
        let json = serde_json::to_value(&*state)
            .map_err(|error| jobs::Error::Failed { message: error.to_string(), sqlstate: "XX000".into() })?;
        let fraction = self.fraction(&state);
        Ok(self.job.checkpoint(fraction * TASKS_SHARE, &self.status(fraction), Some(json)).await?)
    }

    /// The checkpoint as it is in the end.
    pub fn into_inner(self) -> C {
        self.state.into_inner()
    }
}

/// Runs tasks, as many at a time as there are cores; `record` notes each result in the checkpoint, which is then saved.
/// The first error stops the others.
pub async fn run_all<C, T, R, F>(
    progress: &Progress<'_, C>,
    tasks: Vec<T>,
    run: impl Fn(T) -> F,
    record: impl Fn(&mut C, R),
) -> Result<()>
where
    C: Checkpoint,
    F: Future<Output = Result<R>> + Send + 'static,
    R: Send + 'static,
{
    let mut waiting = tasks.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < parallelism() {
            let Some(task) = waiting.next() else { break };
            running.spawn(run(task));
        }
        let finished = tokio::select! {
            finished = running.join_next() => finished,
            () = progress.job.clock().sleep(TICK) => {
                progress.tick().await?;
                continue;
            }
        };
        let Some(finished) = finished else { return Ok(()) };
        let failed = |error: tokio::task::JoinError| jobs::Error::Failed {
            message: error.to_string(),
            sqlstate: "XX000".into(),
        };
        let result = finished.map_err(failed)??;
        progress.update(|state| record(state, result)).await?;
    }
}
