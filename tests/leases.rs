//! Two registries over one store: what one process may still do when another has taken its job over.
//!
//! The embedded store belongs to one process, so both are in this one. Each has a clock of its own; that of the first stands
//! still, as in a process that hangs, so it does not renew its claims.

use std::sync::Arc;
use std::time::Duration;

use keepsafe::backup::plan::Planner;
use keepsafe::backup::{self, job_types};
use keepsafe::catalog::secrets::Secrets;
use keepsafe::catalog::{self, DescriptorCache};
use keepsafe::jobs::{JobId, JobRecord, Registry, Status};
use keepsafe::kv::Store;
use keepsafe::kv::embedded::Embedded;
use keepsafe::parser::{self, Statement};
use keepsafe::storage::Storage;
use keepsafe::time::{Clock, ManualClock};

use crate::faults::storage::Faulty;

const LEASE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(5);

struct Two {
    store: Arc<dyn Store>,
    descriptors: Arc<DescriptorCache>,
    storage: Storage,
    faulty: Arc<Faulty>,
    /// That of the store and of the second registry.
    clock: Arc<ManualClock>,
    first: Arc<Registry>,
    second: Arc<Registry>,
    directory: tempfile::TempDir,
}

impl Two {
    async fn start() -> Two {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(1_795_664_100_000_000_000));
        let stopped: Arc<dyn Clock> = Arc::new(ManualClock::new(1_795_664_100_000_000_000));
        let store: Arc<dyn Store> =
            Arc::new(Embedded::open(&directory.path().join("data"), clock.clone(), 100).unwrap());
        catalog::bootstrap(&*store).await.unwrap();
        let faulty = Arc::new(Faulty::default());
        let storage = Storage::new(None).mount("faulty", faulty.clone());
        let descriptors = Arc::new(DescriptorCache::default());
        let secrets = || Secrets::open(&directory.path().join("key")).unwrap();
        let first = Registry::new(store.clone(), secrets(), stopped).unwrap();
        let second = Registry::new(store.clone(), secrets(), clock.clone()).unwrap();
        first.start(job_types(&storage, &descriptors)).await.unwrap();
        second.start(job_types(&storage, &descriptors)).await.unwrap();
        Two { store, descriptors, storage, faulty, clock, first, second, directory }
    }

    async fn record(&self, id: JobId) -> JobRecord {
        JobRecord::read(&*self.store.begin().await.unwrap(), id).await.unwrap()
    }

    /// Waits for something that takes no time of the clocks.
    async fn until(&self, id: JobId, what: impl Fn(&JobRecord) -> bool) -> JobRecord {
        for _ in 0..1000 {
            let record = self.record(id).await;
            if what(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not happen: {:?}", self.record(id).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_lost_its_lease_writes_nothing_more() {
    let two = Two::start().await;
    two.faulty.set_stuck(true);
    let Statement::Backup(statement) = parser::parse("BACKUP INTO 'faulty://c'").unwrap().remove(0).statement else {
        panic!("no backup")
    };
    let planner = Planner {
        store: &two.store,
        descriptors: &two.descriptors,
        storage: &two.storage,
        clock: &*two.clock,
        current_database: "defaultdb",
        parameters: &[],
    };
    let planned = planner.backup(&statement, None).await.unwrap();
    let txn = two.store.begin().await.unwrap();
    let id = backup::start(&two.first, &*txn, planned, "root", None).unwrap();
    txn.commit().await.unwrap();
    two.first.run(id);
    let claimed = two.until(id, |record| record.claim_epoch == 1).await;
    assert_eq!(claimed.claim_session.as_deref(), Some(two.first.session()));

    // While the lease lasts the job is the first one's.
    for _ in 0..LEASE.as_secs() / HEARTBEAT.as_secs() - 1 {
        two.clock.advance(HEARTBEAT);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(two.record(id).await.claim_session.as_deref(), Some(two.first.session()));
    }
    // When it has ended, the second adopts it with its next heartbeat.
    two.clock.advance(HEARTBEAT);
    tokio::time::sleep(Duration::from_millis(100)).await;
    two.clock.advance(HEARTBEAT);
    two.until(id, |record| record.claim_session.as_deref() == Some(two.second.session())).await;
    let adopted = two.record(id).await;
    assert_eq!((adopted.claim_epoch, adopted.status), (2, Status::Running));

    // Both go on; only the second gets anything into the job's rows.
    two.faulty.set_stuck(false);
    let done = two.until(id, |record| record.status.is_final()).await;
    assert_eq!((done.status, done.claim_epoch), (Status::Succeeded, 2));
    assert_eq!(done.claim_session.as_deref(), Some(two.second.session()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = two.record(id).await;
    assert_eq!((after.modified, after.result), (done.modified, done.result));
    // One manifest, complete, and the marker that it is the latest.
    let names = two.faulty.names("c").await;
    let count = |what: &str| names.iter().filter(|name| name.contains(what)).count();
    assert_eq!((count("BACKUP_MANIFEST"), count("metadata/latest/"), count("metadata/lock/")), (1, 1, 0), "{names:?}");
    drop(two.directory);
}
