//! One node: a store with everything that works on it, put together in the right order.

mod collector;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::collector::Collector;
use crate::backup;
use crate::catalog::secrets::Secrets;
use crate::catalog::{self, DescriptorCache, system};
use crate::jobs::Registry;
use crate::kv::Store;
use crate::kv::embedded::Embedded;
use crate::schedule::Poller;
use crate::sql::{Engine, Error, Result, temporary};
use crate::storage::Storage;
use crate::time::{Clock, SystemClock};

/// Where a node keeps things.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of the store.
    pub store: PathBuf,
    /// The directory of `nodelocal`; `None` disables it.
    pub external_io_dir: Option<PathBuf>,
    /// `--locality`.
    pub locality: String,
    /// Size of the store's cache of blocks.
    pub cache_bytes: u64,
}

/// An open store, its SQL engine and its jobs.
pub struct Node {
    store: Embedded,
    jobs: Arc<Registry>,
    engine: Arc<Engine>,
    stopping: watch::Sender<bool>,
    /// The collector and the schedule poller.
    background: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens the store, makes what a fresh one needs, and goes on with the jobs that were not done.
    pub async fn open(config: &Config) -> Result<Node> {
        let storage = Storage::new(config.external_io_dir.clone());
        Node::open_on(config, storage, Arc::new(SystemClock::default())).await
    }

    /// The same, on other storage and another clock than the machine's.
    pub async fn open_on(config: &Config, storage: Storage, clock: Arc<dyn Clock>) -> Result<Node> {
        let store = open_store(config, clock.clone())?;
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        catalog::bootstrap(&*shared).await?;
        let descriptors = Arc::new(DescriptorCache::default());
        let key_file = config.store.join("secrets.key");
        let secrets = Secrets::open(&key_file).map_err(|error| cannot(&key_file, &error))?;
        let jobs = Registry::new(shared.clone(), secrets, clock.clone());
        let jobs = jobs.map_err(|error| Error::new("58000", format!("cannot start the threads of jobs: {error}")))?;
        let temporary = fresh_directory(&config.store.join("tmp"))?;
        let types = backup::job_types(&storage, &descriptors);
        let collector =
            Collector { store: shared.clone(), descriptors: descriptors.clone(), jobs: jobs.clone(), clock };
        let poller = Poller {
            store: shared.clone(),
            descriptors: descriptors.clone(),
            storage: storage.clone(),
            jobs: jobs.clone(),
            clock: collector.clock.clone(),
        };
        let engine = Engine::new(shared, descriptors, jobs.clone(), storage, temporary, config.locality.clone())?;
        let engine = Arc::new(engine);
        temporary::drop_abandoned(&engine).await?;
        jobs.start(types).await?;
        let (stopping, stopped) = watch::channel(false);
        let background = vec![tokio::spawn(collector.run(stopped.clone())), tokio::spawn(poller.run(stopped))];
        Ok(Node { store, jobs, engine, stopping, background })
    }

    /// What sessions run on.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Stops jobs from going on; statements that wait for one are told.
    pub fn stop_jobs(&self) {
        self.jobs.stop();
        self.stopping.send_replace(true);
    }

    /// Makes everything durable. Sessions must have ended.
    pub async fn close(self) -> Result<()> {
        self.stop_jobs();
        for work in self.background {
            work.await.map_err(Error::internal)?;
        }
        Ok(self.store.close()?)
    }
}

fn open_store(config: &Config, clock: Arc<dyn Clock>) -> Result<Embedded> {
    let data = config.store.join("data");
    std::fs::create_dir_all(&data).map_err(|error| cannot(&data, &error))?;
    Ok(Embedded::open_with_cache(&data, clock, system::FIRST_USER_ID, config.cache_bytes)?)
}

/// Whatever a former process left in its directory for temporary files goes.
fn fresh_directory(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    }
    std::fs::create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    Ok(directory.to_path_buf())
}

fn cannot(directory: &Path, error: &std::io::Error) -> Error {
    Error::new("58030", format!("cannot use {}: {error}", directory.display()))
}
