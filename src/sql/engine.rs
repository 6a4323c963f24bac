use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer};
use datafusion::prelude::SessionConfig;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::activity::Activity;
use super::advisory::AdvisoryLocks;
use super::error::{Error, Result};
use super::notifications::Channels;
use super::query::sequences::SequenceBlocks;
use super::query::{GroupKeys, PassedTypes, Planning, SortKeys, Totals, WindowKeys, physical_rules};
use crate::catalog::DescriptorCache;
use crate::jobs::Registry;
use crate::kv::Store;
use crate::parser::STACK_BYTES;
use crate::schedule::Schedule;
use crate::storage::Storage;

/// Memory that all queries together may use before they spill to disk or fail.
const QUERY_MEMORY_BYTES: usize = 2 << 30;

/// A query that does not yield takes a thread for itself.
const QUERY_THREADS_PER_CORE: usize = 4;

/// Rules of DataFusion's optimizer that change what a query gives: `docs/decisions/0019`.
const UNUSED_RULES: [&str; 2] = ["eliminate_duplicated_expr", "propagate_empty_relation"];

/// What all sessions of a server share.
pub struct Engine {
    store: Arc<dyn Store>,
    descriptors: Arc<DescriptorCache>,
    query_state: SessionState,
    sequences: SequenceBlocks,
    advisory: Arc<AdvisoryLocks>,
    activity: Arc<Activity>,
    channels: Arc<Channels>,
    jobs: Arc<Registry>,
    storage: Storage,
    /// For sorts that do not fit in memory.
    temporary: PathBuf,
    locality: String,
    row_ids: AtomicU64,
    /// Where queries compute. Some of DataFusion's operators do not yield for minutes; on threads of their own they cannot
    /// keep the server from answering. `None` only while the engine is being dropped.
    query_runtime: Option<Runtime>,
}

impl Engine {
    /// An engine over an open store.
    pub fn new(
        store: Arc<dyn Store>,
        descriptors: Arc<DescriptorCache>,
        jobs: Arc<Registry>,
        storage: Storage,
        temporary: PathBuf,
        locality: String,
    ) -> Result<Engine> {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false);
        // It compares what is said of NULLs, which rules of the optimizer change.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        let parser = &mut config.options_mut().sql_parser;
        parser.parse_float_as_decimal = true;
        parser.map_string_types_to_utf8view = false;
        let runtime =
            RuntimeEnvBuilder::new().with_memory_limit(QUERY_MEMORY_BYTES, 1.0).with_temp_file_path(&temporary);
        let rules = Optimizer::new().rules.into_iter().filter(|rule| !UNUSED_RULES.contains(&rule.name()));
        let mut analysis: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(GroupKeys), Arc::new(WindowKeys)];
        analysis.extend(Analyzer::new().rules);
        analysis.extend([Arc::new(Totals) as _, Arc::new(PassedTypes) as _, Arc::new(SortKeys) as _]);
        let query_state = SessionStateBuilder::new()
            .with_analyzer_rules(analysis)
            .with_optimizer_rules(rules.collect())
            .with_physical_optimizer_rules(physical_rules())
            .with_config(config)
            .with_runtime_env(runtime.build_arc()?)
            .with_default_features()
            .with_query_planner(Arc::new(Planning))
            .build();
        let threads = std::thread::available_parallelism().map_or(2, usize::from) * QUERY_THREADS_PER_CORE;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(threads).thread_name("keepsafe-query").thread_stack_size(STACK_BYTES);
        let runtime = runtime.enable_all().build();
        Ok(Engine {
            store,
            descriptors,
            query_state,
            sequences: SequenceBlocks::default(),
            advisory: Arc::new(AdvisoryLocks::default()),
            activity: Arc::new(Activity::default()),
            channels: Arc::new(Channels::default()),
            jobs,
            storage,
            temporary,
            locality,
            row_ids: AtomicU64::new(0),
            query_runtime: Some(runtime.map_err(Error::internal)?),
        })
    }

    /// Runs a query's computation.
    pub fn spawn_query(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>> {
        let runtime = self.query_runtime.as_ref().ok_or_else(|| Error::internal("the engine is being dropped"))?;
        Ok(runtime.spawn(work))
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Decoded descriptors.
    pub fn descriptors(&self) -> &Arc<DescriptorCache> {
        &self.descriptors
    }

    /// DataFusion's functions and settings, to be cloned for a statement.
    pub fn query_state(&self) -> &SessionState {
        &self.query_state
    }

    /// Locks that clients have agreed on.
    pub fn advisory_locks(&self) -> &Arc<AdvisoryLocks> {
        &self.advisory
    }

    /// What all sessions are doing.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// Who listens for messages of others.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// Numbers taken from sequences.
    pub fn sequences(&self) -> &SequenceBlocks {
        &self.sequences
    }

    /// The jobs of this node.
    pub fn jobs(&self) -> &Arc<Registry> {
        &self.jobs
    }

    /// External storage.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// When a backup of a schedule that sets the metric was completed last, in seconds since the epoch.
    pub async fn last_scheduled_backup(&self) -> Result<Option<i64>> {
        let schedules = Schedule::read_all(&*self.store.begin().await?).await?;
        let measured = schedules.iter().filter(|schedule| schedule.options.updates_metric);
        Ok(measured.filter_map(|schedule| schedule.runs.last_completed).max().map(|micros| micros / 1_000_000))
    }

    /// A directory for temporary files.
    pub fn temporary(&self) -> &PathBuf {
        &self.temporary
    }

    /// `--locality`, as given.
    pub fn locality(&self) -> &str {
        &self.locality
    }

    /// A number that was never returned before, ascending with time: a hidden primary key.
    pub fn unique_row_id(&self) -> Result<i64> {
        // One timestamp of the store starts a run of ids; its low bits count within a microsecond.
        const RUN: u64 = 1 << 10;
        let mut current = self.row_ids.load(Ordering::Acquire);
        loop {
            let next = if current.is_multiple_of(RUN) {
                let fresh = (self.store.now()?.micros() as u64) * RUN;
                fresh.max(current) + 1
            } else {
                current + 1
            };
            match self.row_ids.compare_exchange(current, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(next as i64),
                Err(changed) => current = changed,
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.query_runtime.take() {
            runtime.shutdown_background();
        }
    }
}
