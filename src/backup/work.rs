//! Tasks run side by side, and what is done is never done again.

use std::future::Future;

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

/// How far a job is, shared by its tasks and saved after each.
pub struct Progress<'a, C> {
    job: &'a JobHandle,
    status: &'static str,
    state: Mutex<C>,
}

/// A checkpoint that knows how much of the work is done.
pub trait Checkpoint: Serialize + DeserializeOwned {
    /// From 0 to 1.
    fn fraction(&self) -> f64;
}

impl<'a, C: Checkpoint> Progress<'a, C> {
    /// From a checkpoint on.
    pub fn new(job: &'a JobHandle, status: &'static str, checkpoint: C) -> Progress<'a, C> {
        Progress { job, status, state: Mutex::new(checkpoint) }
    }

    /// Changes the checkpoint and saves it.
    pub async fn update(&self, change: impl FnOnce(&mut C)) -> Result<()> {
        let mut state = self.state.lock().await;
        change(&mut state);
        let json = serde_json::to_value(&*state)
            .map_err(|error| jobs::Error::Failed { message: error.to_string(), sqlstate: "XX000".into() })?;
        // Part of the work comes after the tasks.
        Ok(self.job.checkpoint(state.fraction() * 0.95, self.status, Some(json)).await?)
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
        let Some(finished) = running.join_next().await else { return Ok(()) };
        let failed = |error: tokio::task::JoinError| jobs::Error::Failed {
            message: error.to_string(),
            sqlstate: "XX000".into(),
        };
        let result = finished.map_err(failed)??;
        progress.update(|state| record(state, result)).await?;
    }
}
