//! Random tables, zones, protected timestamps, drops and collections against a model that forgets nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::catalog::protection::{ProtectedTarget, ProtectionOwner};
use crate::catalog::system::FIRST_USER_ID;
use crate::catalog::zone::ZoneConfig;
use crate::catalog::{self, Identity, Index, PUBLIC_SCHEMA};
use crate::kv::embedded::Embedded;
use crate::kv::{Batch, Direction, Read, Span};
use crate::time::ManualClock;

const STEPS: usize = 200;
const TTLS: [i32; 4] = [60, 600, 3600, 14_400];

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

struct Table {
    id: DescriptorId,
    database: DescriptorId,
    space: SpaceId,
    excluded: bool,
    /// What it held from each time on.
    states: Vec<(Timestamp, Rows)>,
    dropped: Option<Timestamp>,
    /// From here on it must be readable: no round was ever allowed to forget more.
    floor: Timestamp,
    /// Before this it must not be, after the last round.
    gone_before: Timestamp,
}

impl Table {
    fn at(&self, time: Timestamp) -> Rows {
        let state = self.states.iter().rev().find(|(since, _)| *since <= time);
        state.map(|(_, rows)| rows.clone()).unwrap_or_default()
    }
}

struct Model {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Option<Embedded>,
    cache: Arc<DescriptorCache>,
    databases: Vec<DescriptorId>,
    tables: Vec<Table>,
    zones: BTreeMap<DescriptorId, i32>,
    protections: Vec<Protection>,
    system_floor: Timestamp,
    next_protection: i64,
    random: StdRng,
    seed: u64,
}

impl Model {
    async fn new(seed: u64) -> Model {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(1_790_000_000_000_000_000));
        let mut model = Model {
            store: Some(open(directory.path(), &clock)),
            directory,
            clock,
            cache: Arc::default(),
            databases: Vec::new(),
            tables: Vec::new(),
            zones: BTreeMap::new(),
            protections: Vec::new(),
            system_floor: Timestamp::MIN,
            next_protection: 1,
            random: StdRng::seed_from_u64(seed),
            seed,
        };
        catalog::bootstrap(&model.store()).await.unwrap();
        for name in ["a", "b"] {
            let store = model.store();
            let id = DescriptorId(store.create_space().await.unwrap().0);
            let catalog = model.catalog().await;
            catalog::create_database(&catalog, &store, Identity::new(id, name, "root")).await.unwrap();
            catalog.txn().commit().await.unwrap();
            model.databases.push(id);
        }
        for _ in 0..5 {
            model.create().await;
        }
        model
    }

    fn store(&self) -> Embedded {
        self.store.clone().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.store().now().unwrap()
    }

    async fn catalog(&self) -> Catalog {
        Catalog::new(self.store().begin().await.unwrap(), self.cache.clone())
    }

    async fn create(&mut self) {
        let store = self.store();
        let id = DescriptorId(store.create_space().await.unwrap().0);
        let space = store.create_space().await.unwrap();
        let database = *self.databases.choose(&mut self.random).unwrap();
        let catalog = self.catalog().await;
        let schema = catalog.lookup(Some(database), None, PUBLIC_SCHEMA).await.unwrap().unwrap().id();
        let primary = Index::new("p", space, true, Vec::new());
        let identity = Identity::new(id, format!("t{}", id.0), "root");
        let mut table = TableDescriptor::new(identity, database, schema, primary);
        table.exclude_data_from_backup = self.random.random_bool(0.2);
        let excluded = table.exclude_data_from_backup;
        catalog.create(&Descriptor::Table(table)).await.unwrap();
        catalog.txn().commit().await.unwrap();
        let (floor, gone_before) = (Timestamp::MIN, Timestamp::MIN);
        self.tables.push(Table {
            id,
            database,
            space,
            excluded,
            states: Vec::new(),
            dropped: None,
            floor,
            gone_before,
        });
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..40 => self.write().await,
            40..55 => self.clock.advance(Duration::from_secs(self.random.random_range(0..1800))),
            55..60 => self.configure().await,
            60..64 => self.protect().await,
            64..67 => self.release().await,
            67..69 => self.drop().await,
            69..71 => self.create().await,
            71..73 => {
                self.store().close().unwrap();
                self.store = None;
                self.store = Some(open(self.directory.path(), &self.clock));
            }
            73..83 => self.round().await,
            _ => self.read().await,
        }
    }

    async fn write(&mut self) {
        let index = self.random.random_range(0..self.tables.len());
        if self.tables[index].dropped.is_some() {
            return;
        }
        let txn = self.store().begin().await.unwrap();
        let table = &mut self.tables[index];
        let mut rows = table.states.last().map(|(_, rows)| rows.clone()).unwrap_or_default();
        for _ in 0..self.random.random_range(1..6) {
            let key = vec![self.random.random_range(b'a'..b'k')];
            if self.random.random_bool(0.3) {
                txn.delete(table.space, &key).unwrap();
                rows.remove(&key);
            } else {
                let value = self.random.random::<u32>().to_be_bytes().to_vec();
                txn.put(table.space, &key, Bytes::from(value.clone())).unwrap();
                rows.insert(key, value);
            }
        }
        table.states.push((txn.commit().await.unwrap(), rows));
    }

    async fn configure(&mut self) {
        let mut ids = vec![DEFAULT_ZONE];
        ids.extend(&self.databases);
        ids.extend(self.tables.iter().filter(|table| table.dropped.is_none()).map(|table| table.id));
        let id = *ids.choose(&mut self.random).unwrap();
        let ttl = self.random.random_bool(0.8).then(|| *TTLS.choose(&mut self.random).unwrap());
        let txn = self.store().begin().await.unwrap();
        let config = ttl.map(|seconds| ZoneConfig { gc_ttl_seconds: Some(seconds) });
        zone::write(&*txn, id, config.as_ref()).unwrap();
        txn.commit().await.unwrap();
        match ttl {
            Some(ttl) => drop(self.zones.insert(id, ttl)),
            None => drop(self.zones.remove(&id)),
        }
    }

    async fn protect(&mut self) {
        let table = self.tables.choose(&mut self.random).unwrap();
        let target = match self.random.random_range(0..4) {
            0 => ProtectedTarget::Cluster,
            1 => ProtectedTarget::Databases(vec![table.database]),
            _ => ProtectedTarget::Tables(vec![table.id]),
        };
        let timestamp = self.now().minus(Duration::from_secs(self.random.random_range(0..3600)));
        let (id, owner) = (self.next_protection, ProtectionOwner::Job(self.next_protection));
        self.next_protection += 1;
        let protection = Protection { id, timestamp, target, owner };
        let txn = self.store().begin().await.unwrap();
        protection.write(&*txn).unwrap();
        txn.commit().await.unwrap();
        self.protections.push(protection);
    }

    async fn release(&mut self) {
        if self.protections.is_empty() {
            return;
        }
        let released = self.protections.swap_remove(self.random.random_range(0..self.protections.len()));
        let txn = self.store().begin().await.unwrap();
        Protection::delete(&*txn, released.id).unwrap();
        txn.commit().await.unwrap();
    }

    async fn drop(&mut self) {
        let index = self.random.random_range(0..self.tables.len());
        if self.tables[index].dropped.is_some() {
            return;
        }
        let catalog = self.catalog().await;
        let descriptor = catalog.get(self.tables[index].id).await.unwrap();
        catalog.remove(&descriptor).unwrap();
        self.tables[index].dropped = Some(catalog.txn().commit().await.unwrap());
    }

    fn ttl(&self, path: &[DescriptorId]) -> Duration {
        let found = path.iter().chain(&[DEFAULT_ZONE]).find_map(|id| self.zones.get(id));
        Duration::from_secs(found.copied().unwrap_or(14_400) as u64)
    }

    async fn round(&mut self) {
        advance(&self.store(), &self.cache).await.unwrap();
        while self.store().collect(50).await.unwrap().more {}
        let now = self.now();
        let mut lowest = now.minus(self.ttl(&[]));
        for index in 0..self.tables.len() {
            let table = &self.tables[index];
            let ttl = self.ttl(&[table.id, table.database]);
            let holds = |held: &&Protection| !table.excluded && held.target.holds(table.id, table.database);
            let protected = self.protections.iter().filter(holds).map(|held| held.timestamp);
            let allowed = protected.fold(now.minus(ttl), Timestamp::min);
            let table = &mut self.tables[index];
            table.floor = table.floor.max(allowed);
            // It may lag by a step, and by the moment that passed since the round.
            table.gone_before = table.gone_before.max(allowed.minus(ttl / STEPS_PER_TTL + Duration::from_secs(1)));
            // What is gone altogether keeps nothing else.
            if table.dropped.is_none_or(|dropped| dropped > table.floor) {
                lowest = lowest.min(allowed);
            }
        }
        let protected = self.protections.iter().map(|held| held.timestamp);
        self.system_floor = self.system_floor.max(protected.fold(lowest, Timestamp::min));
    }

    async fn read(&mut self) {
        let back = Duration::from_secs(self.random.random_range(0..20_000));
        let at = self.now().minus(back);
        let table = self.tables.choose(&mut self.random).unwrap();
        let what = format!("seed {}: table {} at {at}, floor {}", self.seed, table.id.0, table.floor);
        let found = self.store().scan(Span::all(table.space), at, Direction::Forward, None);
        let found: kv::Result<Vec<Batch>> = found.try_collect().await;
        if at >= table.floor && table.dropped.is_none_or(|dropped| at < dropped) {
            let batches = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            let pairs = batches.iter().flat_map(|batch| batch.iter().collect::<Vec<_>>());
            let rows: Rows = pairs.map(|entry| (entry.key.to_vec(), entry.value.unwrap().to_vec())).collect();
            assert_eq!(rows, table.at(at), "{what}");
        } else if at < table.gone_before && table.dropped.is_none_or(|dropped| self.system_floor <= at && at < dropped)
        {
            assert!(found.is_err(), "{what}: gone before {}", table.gone_before);
        }
        if at >= self.system_floor && table.dropped.is_none_or(|dropped| at < dropped) {
            let past = self.store().begin_at(at).await.unwrap();
            let catalog = Catalog::new(past, Arc::default());
            catalog.find(table.id).await.unwrap_or_else(|error| panic!("{what}: its descriptor: {error}"));
        }
    }

    /// Everything is dropped and released, and enough time goes by: nothing is left.
    async fn check_end(&mut self) {
        for index in 0..self.tables.len() {
            if self.tables[index].dropped.is_none() {
                let catalog = self.catalog().await;
                catalog.remove(&catalog.get(self.tables[index].id).await.unwrap()).unwrap();
                catalog.txn().commit().await.unwrap();
            }
        }
        while !self.protections.is_empty() {
            self.release().await;
        }
        // The history of the drops goes after what was dropped.
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(40_000));
            self.round().await;
        }
        let left: Vec<_> =
            self.store().histories().unwrap().into_iter().filter(|history| history.space.0 >= FIRST_USER_ID).collect();
        assert!(left.is_empty(), "seed {}: {left:?}", self.seed);
        let txn = self.store().begin().await.unwrap();
        assert!(DROPPED_SPACES.scan(&*txn, &[]).await.unwrap().is_empty());
        let zones = Zones::read(&*txn).await.unwrap();
        let is_there = |id: &DescriptorId| *id == DEFAULT_ZONE || self.databases.contains(id);
        assert!(zones.configured().all(|id| is_there(&id)), "seed {}: zones of dropped tables go", self.seed);
        let mut versions = 0;
        for table in &self.tables {
            let batches = self.store().versions(Span::all(table.space), Timestamp::MIN, self.now());
            versions += batches.try_collect::<Vec<_>>().await.unwrap().iter().map(Batch::len).sum::<usize>();
        }
        assert_eq!(versions, 0, "seed {}", self.seed);
    }
}

fn open(directory: &std::path::Path, clock: &Arc<ManualClock>) -> Embedded {
    Embedded::open(directory, clock.clone(), FIRST_USER_ID).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_stays_as_long_as_zones_and_protections_say_and_no_longer() {
    let first: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    for round in 0.. {
        let mut model = Model::new(first.wrapping_add(round)).await;
        for _ in 0..STEPS {
            model.step().await;
        }
        model.check_end().await;
        if round >= 5 && Instant::now() >= end {
            return;
        }
    }
}

#[tokio::test]
async fn only_what_no_descriptor_names_and_nobody_is_loading_is_swept() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_790_000_000_000_000_000));
    let store = open(directory.path(), &clock);
    catalog::bootstrap(&store).await.unwrap();
    let cache = Arc::default();
    let load = async |space: SpaceId, at: Timestamp| {
        let mut batch = Batch::with_room();
        batch.push(b"k", Some(b"v"), at);
        let rows = futures::stream::iter([Ok((space, batch))]);
        store.ingest(Box::pin(rows), at).await.unwrap();
    };
    let (orphan, job) = (store.create_space().await.unwrap(), store.create_space().await.unwrap());
    load(orphan, store.now().unwrap()).await;
    let job_began = store.now().unwrap();
    load(job, store.now().unwrap()).await;
    let txn = store.begin().await.unwrap();
    let loading = store.create_space().await.unwrap();
    load(loading, txn.snapshot()).await;
    let is_there = |space: SpaceId| store.histories().unwrap().iter().any(|history| history.space == space);
    sweep(&store, &cache, job_began).await.unwrap();
    while store.collect(100).await.unwrap().more {}
    assert_eq!([orphan, job, loading].map(is_there), [false, true, true]);
    // The transaction moves to a later snapshot, and still may publish what it loaded.
    txn.lock(SpaceId(5), b"x", kv::LockMode::Exclusive).await.unwrap();
    sweep(&store, &cache, store.now().unwrap()).await.unwrap();
    while store.collect(100).await.unwrap().more {}
    assert_eq!([job, loading].map(is_there), [false, true]);
    txn.rollback();
    clock.advance(Duration::from_secs(1));
    store.now().unwrap();
    drop(store.begin().await.unwrap());
    sweep(&store, &cache, store.now().unwrap()).await.unwrap();
    while store.collect(100).await.unwrap().more {}
    assert!(!is_there(loading));
}
