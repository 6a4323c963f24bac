//! The collector against a model that forgets nothing: reads at or above a threshold find what they always did, reads below it
//! fail, and in the end nothing is left that nobody can read.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::changes::{at_noon, entries, load, open_at};
use super::*;
use crate::time::ManualClock;

const SECOND: Duration = Duration::from_secs(1);
const STEPS: usize = 150;

/// The versions of a key, newest last.
type Versions = Vec<(Timestamp, Option<Vec<u8>>)>;
type Found = Vec<(Vec<u8>, Option<Vec<u8>>, Timestamp)>;

/// All versions there ever were, newest last.
#[derive(Default)]
struct Space {
    keys: BTreeMap<Vec<u8>, Versions>,
    threshold: Timestamp,
    dropped: Option<Timestamp>,
}

impl Space {
    fn newest(&self, key: &[u8], upto: Timestamp) -> Option<&(Timestamp, Option<Vec<u8>>)> {
        self.keys.get(key)?.iter().rev().find(|(time, _)| *time <= upto)
    }

    fn state(&self, at: Timestamp) -> Found {
        let newest = |key: &Vec<u8>| self.newest(key, at).cloned().map(|(time, value)| (key.clone(), value, time));
        self.keys.keys().filter_map(newest).filter(|(_, value, _)| value.is_some()).collect()
    }

    fn changes(&self, after: Timestamp, upto: Timestamp) -> Found {
        let newest = |key: &Vec<u8>| self.newest(key, upto).cloned().map(|(time, value)| (key.clone(), value, time));
        self.keys.keys().filter_map(newest).filter(|(_, _, time)| *time > after).collect()
    }

    fn versions(&self, after: Timestamp, upto: Timestamp) -> Found {
        let of_key = |(key, versions): (&Vec<u8>, &Versions)| {
            let inside = versions.iter().rev().filter(|(time, _)| after < *time && *time <= upto);
            inside.map(|(time, value)| (key.clone(), value.clone(), *time)).collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(of_key).collect()
    }

    /// What must be there once everything that can go has gone.
    fn kept(&self) -> usize {
        if self.dropped.is_some_and(|dropped| dropped <= self.threshold) {
            return 0;
        }
        let of_key = |versions: &Versions| {
            let newer = versions.iter().filter(|(time, _)| *time > self.threshold).count();
            let survivor = versions.iter().rev().find(|(time, _)| *time <= self.threshold);
            newer + usize::from(survivor.is_some_and(|(_, value)| value.is_some()))
        };
        self.keys.values().map(of_key).sum()
    }
}

struct Model {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Option<Embedded>,
    spaces: BTreeMap<SpaceId, Space>,
    times: Vec<Timestamp>,
    next_space: u64,
    random: StdRng,
    seed: u64,
}

fn key(number: u32) -> Vec<u8> {
    format!("k{number:03}").into_bytes()
}

impl Model {
    fn new(seed: u64) -> Model {
        let directory = tempfile::tempdir().unwrap();
        let clock = at_noon();
        let store = Some(open_at(directory.path(), &clock));
        let spaces = (1_000_100..1_000_104).map(|id| (SpaceId(id), Space::default())).collect();
        let random = StdRng::seed_from_u64(seed);
        Model { directory, clock, store, spaces, times: vec![Timestamp(1)], next_space: 1_000_200, random, seed }
    }

    fn store(&self) -> Embedded {
        self.store.clone().unwrap()
    }

    fn any_time(&mut self) -> Timestamp {
        let now = self.store().now().unwrap();
        match self.random.random_range(0..3) {
            0 => now,
            1 => *self.times.choose(&mut self.random).unwrap(),
            _ => Timestamp(now.0 - self.random.random_range(0..3_600_000_000_000)),
        }
    }

    fn any_space(&mut self) -> SpaceId {
        let ids: Vec<SpaceId> = self.spaces.keys().copied().collect();
        *ids.choose(&mut self.random).unwrap()
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..50 => self.write().await,
            50..60 => self.clock.advance(SECOND * self.random.random_range(0..1200)),
            60..62 => self.clock.jump(self.random.random_range(-3600..3600) * 1_000_000_000),
            62..72 => self.raise().await,
            72..84 => {
                let keys = *[1, 3, 50, 100_000].choose(&mut self.random).unwrap();
                self.store().collect(keys).await.unwrap();
            }
            84..86 => self.drop_space().await,
            86..88 => self.load().await,
            88..90 => {
                self.store().close().unwrap();
                self.store = None;
                self.store = Some(open_at(self.directory.path(), &self.clock));
            }
            90 => self.store().engine().unwrap().rows.user.rotate_memtable_and_wait().unwrap(),
            91 => self.store().engine().unwrap().rows.user.major_compact().unwrap(),
            _ => self.read().await,
        }
    }

    async fn write(&mut self) {
        let txn = self.store().begin().await.unwrap();
        let space = self.any_space();
        if self.spaces[&space].dropped.is_some() {
            return;
        }
        let mut written = BTreeMap::new();
        for _ in 0..self.random.random_range(1..12) {
            let key = key(self.random.random_range(0..40));
            let value = self.random.random_bool(0.7).then(|| format!("{}", self.random.random::<u16>()).into_bytes());
            match &value {
                Some(value) => txn.put(space, &key, value.clone().into()).unwrap(),
                None => txn.delete(space, &key).unwrap(),
            }
            written.insert(key, value);
        }
        let time = txn.commit().await.unwrap();
        self.times.push(time);
        let model = self.spaces.get_mut(&space).unwrap();
        for (key, value) in written {
            model.keys.entry(key).or_default().push((time, value));
        }
    }

    async fn raise(&mut self) {
        let space = self.any_space();
        let threshold = self.any_time();
        let txn = self.store().begin().await.unwrap();
        txn.set_threshold(space, threshold).unwrap();
        if self.random.random_bool(0.2) {
            return txn.rollback();
        }
        txn.commit().await.unwrap();
        let model = self.spaces.get_mut(&space).unwrap();
        model.threshold = model.threshold.max(threshold);
    }

    async fn drop_space(&mut self) {
        let space = self.any_space();
        if self.spaces[&space].dropped.is_some() {
            return;
        }
        let txn = self.store().begin().await.unwrap();
        txn.drop_space(space).unwrap();
        let dropped = txn.commit().await.unwrap();
        self.spaces.get_mut(&space).unwrap().dropped = Some(dropped);
        self.times.push(dropped);
    }

    /// A new space, loaded in bulk; sometimes the load is given up.
    async fn load(&mut self) {
        let space = SpaceId(self.next_space);
        self.next_space += 1;
        let store = self.store();
        let at = store.now().unwrap();
        load(&store, space, 30, at).await;
        if self.random.random_bool(0.3) {
            store.discard_spaces(&[space]).await.unwrap();
            let after = store.now().unwrap();
            assert!(store.get(space, b"000001", after).await.is_err());
            return;
        }
        let model = self.spaces.entry(space).or_default();
        for number in 0..30 {
            model.keys.insert(format!("{number:06}").into_bytes(), vec![(at, Some(b"loaded".to_vec()))]);
        }
        self.times.push(at);
    }

    async fn read(&mut self) {
        let (space, mut after, mut upto) = (self.any_space(), self.any_time(), self.any_time());
        if after > upto {
            std::mem::swap(&mut after, &mut upto);
        }
        let (store, model, seed) = (self.store(), &self.spaces[&space], self.seed);
        let span = Span::all(space);
        let what = format!("seed {seed}, {space} in ({after}, {upto}], threshold {}", model.threshold);
        let is_state_there = upto >= model.threshold && model.dropped.is_none_or(|dropped| upto < dropped);
        let scan = store.scan(span.clone(), upto, Direction::Forward, None).try_collect::<Vec<_>>().await;
        assert_eq!(scan.is_ok(), is_state_there, "{what}: {scan:?}");
        let got = store.get(space, &key(7), upto).await;
        assert_eq!(got.is_ok(), is_state_there, "{what}: {got:?}");
        if is_state_there {
            let forward = store.scan(span.clone(), upto, Direction::Forward, None);
            assert_eq!(entries(forward).await, model.state(upto), "{what}");
            let mut backward = entries(store.scan(span.clone(), upto, Direction::Backward, None)).await;
            backward.reverse();
            assert_eq!(backward, model.state(upto), "{what}");
            let expected = model.newest(&key(7), upto).and_then(|(_, value)| value.clone());
            assert_eq!(got.unwrap().map(|found| found.value.to_vec()), expected, "{what}");
        }
        let changes = store.changes(span.clone(), after, upto).try_collect::<Vec<_>>().await;
        let is_history_there = after >= model.threshold && model.dropped.is_none_or(|dropped| after < dropped);
        assert_eq!(changes.is_ok(), is_history_there, "{what}: {changes:?}");
        if is_history_there {
            assert_eq!(entries(store.changes(span.clone(), after, upto)).await, model.changes(after, upto), "{what}");
            assert_eq!(entries(store.versions(span, after, upto)).await, model.versions(after, upto), "{what}");
        }
    }

    async fn collect_all(&self) {
        while self.store().collect(100).await.unwrap().more {}
    }

    /// Nothing is left but what somebody can read.
    async fn check_kept(&mut self) {
        self.collect_all().await;
        let store = self.store();
        let kept: usize = self.spaces.values().map(Space::kept).sum();
        assert_eq!(store.engine().unwrap().rows.user.iter().count(), kept, "seed {}: versions kept", self.seed);
        let mut wrong = Vec::new();
        store.verify(|finding| wrong.push(finding)).unwrap();
        assert!(wrong.is_empty(), "seed {}: {wrong:?}", self.seed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collecting_takes_nothing_that_can_be_read_and_leaves_nothing_else() {
    let first: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    for round in 0.. {
        let mut model = Model::new(first.wrapping_add(round));
        for step in 0..STEPS {
            model.step().await;
            if step % 50 == 49 {
                model.check_kept().await;
            }
        }
        for _ in 0..30 {
            model.read().await;
        }
        if round >= 10 && Instant::now() >= end {
            return;
        }
    }
}

#[tokio::test]
async fn index_entries_and_records_of_the_past_go_too() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let store = open_at(directory.path(), &clock);
    let space = SpaceId(1_000_300);
    load(&store, space, 10, store.now().unwrap()).await;
    for round in 0..50 {
        put(&store, &[("a", &round.to_string()), (&format!("once {round}"), "1")]).await;
        clock.advance(SECOND * 120);
    }
    put(&store, &[("last", "1")]).await;
    set_threshold(&store, SPACE, store.now().unwrap()).await;
    assert!(store.collect(10).await.unwrap().more, "a round is bounded");
    while store.collect(1000).await.unwrap().more {}
    let left = store.engine().unwrap().changes.all_buckets().unwrap();
    let open_bucket = super::super::changes::bucket_of(store.now().unwrap());
    assert_eq!(left, [open_bucket], "a commit may still write to the bucket that is open");
    put(&store, &[("a", "again")]).await;
    let txn = store.begin().await.unwrap();
    txn.drop_space(space).unwrap();
    txn.commit().await.unwrap();
    drop(txn);
    clock.advance(SECOND * 3600);
    for space in [SPACE, space] {
        set_threshold(&store, space, store.now().unwrap()).await;
    }
    while store.collect(10).await.unwrap().more {}
    let engine = store.engine().unwrap();
    assert_eq!(engine.rows.user.iter().count(), 52);
    assert!(engine.changes.all_buckets().unwrap().is_empty());
    assert!(store.histories().unwrap().iter().all(|history| history.loaded.is_none() || history.space == space));
    let refused = store.get(space, b"000001", store.now().unwrap()).await;
    assert!(refused.is_err(), "what was dropped is refused until it is forgotten, not empty");
    store.forget_spaces(&[SPACE, space]).await.unwrap();
    let remembered: Vec<SpaceId> = store.histories().unwrap().iter().map(|history| history.space).collect();
    assert_eq!(remembered, [SPACE], "only what is dropped is forgotten");
}

#[tokio::test]
async fn the_disk_gets_its_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut random = StdRng::seed_from_u64(1);
    let big = SpaceId(1_000_300);
    for _ in 0..15 {
        let txn = store.begin().await.unwrap();
        for key in 0..1000_u32 {
            let value: Vec<u8> = (0..1000).map(|_| random.random()).collect();
            txn.put(SPACE, &key.to_be_bytes(), value.clone().into()).unwrap();
            txn.put(big, &random.random::<u64>().to_be_bytes(), value.into()).unwrap();
        }
        txn.commit().await.unwrap();
    }
    store.engine().unwrap().rows.user.rotate_memtable_and_wait().unwrap();
    let before = store.engine().unwrap().rows.user.disk_space();
    let txn = store.begin().await.unwrap();
    txn.drop_space(big).unwrap();
    txn.commit().await.unwrap();
    drop(txn);
    for space in [SPACE, big] {
        set_threshold(&store, space, store.now().unwrap()).await;
    }
    while store.collect(5000).await.unwrap().more {}
    let after = store.engine().unwrap().rows.user.disk_space();
    assert!(before > 28 << 20 && after < 2 << 20, "{before} bytes became {after}");
    let found = store.scan(Span::all(SPACE), store.now().unwrap(), Direction::Forward, None);
    assert_eq!(entries(found).await.len(), 1000);
}

#[tokio::test]
async fn what_cannot_go_yet_does_not_keep_a_round_from_coming_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let store = open_at(directory.path(), &clock);
    let txn = store.begin().await.unwrap();
    (0..3000_u32).for_each(|key| txn.put(SPACE, &key.to_be_bytes(), "1".into()).unwrap());
    txn.commit().await.unwrap();
    drop(txn);
    let threshold = store.now().unwrap();
    let txn = store.begin().await.unwrap();
    (0..3000_u32).for_each(|key| txn.put(SPACE, &key.to_be_bytes(), "2".into()).unwrap());
    txn.commit().await.unwrap();
    drop(txn);
    // Every entry of the bucket is newer than the threshold, and a round looks at fewer than there are.
    set_threshold(&store, SPACE, threshold).await;
    let mut rounds = 0;
    while store.collect(1000).await.unwrap().more {
        rounds += 1;
        assert!(rounds < 10, "it never ends");
    }
    // A key that is put in one bucket and deleted in the next leaves no entry in either.
    for _ in 0..2 {
        clock.advance(SECOND * 900);
        let txn = store.begin().await.unwrap();
        (0..3000_u32).for_each(|key| txn.delete(SPACE, &key.to_be_bytes()).unwrap());
        txn.commit().await.unwrap();
    }
    clock.advance(SECOND * 1800);
    set_threshold(&store, SPACE, store.now().unwrap()).await;
    while store.collect(1000).await.unwrap().more {}
    assert_eq!(store.engine().unwrap().rows.user.iter().count(), 0);
    assert!(store.engine().unwrap().changes.all_buckets().unwrap().is_empty());
}
