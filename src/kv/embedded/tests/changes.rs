//! What the change index says is what walking all versions finds.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::time::ManualClock;

const OTHER: SpaceId = SpaceId(1_000_101);
const MINUTE: Duration = Duration::from_secs(60);

pub fn at_noon() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(1_790_000_000_000_000_000))
}

pub fn open_at(directory: &Path, clock: &Arc<ManualClock>) -> Embedded {
    Embedded::open(directory, clock.clone(), 1000).unwrap()
}

/// Every entry, with its time.
pub async fn entries(stream: BatchStream) -> Vec<(Vec<u8>, Option<Vec<u8>>, Timestamp)> {
    let batches: Vec<Batch> = stream.try_collect().await.unwrap();
    let owned = |batch: &Batch| {
        let entry = |entry: crate::kv::Entry<'_>| (entry.key.to_vec(), entry.value.map(<[u8]>::to_vec), entry.time);
        batch.iter().map(entry).collect::<Vec<_>>()
    };
    batches.iter().flat_map(owned).collect()
}

/// Compares the changes of a window with what walking finds; returns how many there are.
async fn compare(store: &Embedded, span: &Span, after: Timestamp, upto: Timestamp, what: &str) -> usize {
    let indexed = entries(store.changes(span.clone(), after, upto)).await;
    let walked = entries(store.stream(span.clone(), upto, Select::Changes { after, upto }, None)).await;
    assert_eq!(indexed, walked, "{what}: changes of {span:?} in ({after}, {upto}]");
    indexed.len()
}

pub async fn load(store: &Embedded, space: SpaceId, keys: usize, at: Timestamp) {
    let mut batch = Batch::with_room();
    for key in 0..keys {
        batch.push(format!("{key:06}").as_bytes(), Some(b"loaded"), at);
    }
    store.ingest(stream::iter([Ok((space, batch))]).boxed(), at).await.unwrap();
}

#[tokio::test]
async fn random_windows_hold_the_same_changes_as_walking_finds() {
    let seed: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let mut store = open_at(directory.path(), &clock);
    let mut times = vec![Timestamp::MIN, store.now().unwrap()];
    for round in 0..300 {
        // Sometimes a hot few keys, sometimes many spread out.
        let (keys, writes) = *[(3, 2), (200, 20), (200, 150), (20_000, 30)].choose(&mut random).unwrap();
        let txn = store.begin().await.unwrap();
        for _ in 0..writes {
            let key = format!("{:06}", random.random_range(0..keys));
            let space = *[SPACE, SPACE, OTHER].choose(&mut random).unwrap();
            if random.random_bool(0.2) {
                txn.delete(space, key.as_bytes()).unwrap();
            } else {
                txn.put(space, key.as_bytes(), format!("{round}").into()).unwrap();
            }
        }
        times.push(txn.commit().await.unwrap());
        drop(txn);
        clock.advance(MINUTE * random.random_range(0..12));
        if random.random_bool(0.02) {
            store.close().unwrap();
            drop(store);
            store = open_at(directory.path(), &clock);
        }
        if round == 150 {
            // A bulk load is found too, though no key of it is in the index.
            let at = store.now().unwrap();
            load(&store, SpaceId(1_000_102), 500, at).await;
            times.push(at);
        }
    }
    let mut found = 0;
    for _ in 0..400 {
        let (a, b) = (*times.choose(&mut random).unwrap(), *times.choose(&mut random).unwrap());
        let (after, upto) = (a.min(b), a.max(b).max(times[1]));
        let space = *[SPACE, OTHER, SpaceId(1_000_102)].choose(&mut random).unwrap();
        let mut span = Span::all(space);
        if random.random_bool(0.5) {
            span.start = format!("{:06}", random.random_range(0..200)).into();
            span.end = Some(format!("{:06}", random.random_range(100..20_000)).into());
        }
        found += compare(&store, &span, after, upto, &format!("seed {seed}")).await;
    }
    assert!(found > 1000, "seed {seed}: the windows hold only {found} changes");
}

#[tokio::test]
async fn changes_of_most_keys_and_of_few_keys_are_found_alike() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let store = open_at(directory.path(), &clock);
    load(&store, SPACE, 20_000, store.now().unwrap()).await;
    let loaded = store.now().unwrap();
    // The first half sparsely, the second densely: the reader has to change its way in between.
    let changed: Vec<usize> = (0..10_000).step_by(50).chain(10_000..20_000).collect();
    for keys in changed.chunks(1000) {
        let txn = store.begin().await.unwrap();
        keys.iter().for_each(|key| txn.put(SPACE, format!("{key:06}").as_bytes(), "new".into()).unwrap());
        txn.commit().await.unwrap();
    }
    let upto = store.now().unwrap();
    clock.advance(MINUTE);
    // Written again after the window, in the same bucket.
    let txn = store.begin().await.unwrap();
    changed.iter().step_by(7).for_each(|key| txn.delete(SPACE, format!("{key:06}").as_bytes()).unwrap());
    txn.commit().await.unwrap();
    assert_eq!(compare(&store, &Span::all(SPACE), loaded, upto, "both").await, changed.len());
    assert_eq!(compare(&store, &Span::all(SPACE), Timestamp::MIN, upto, "with the load").await, 20_000);
    let last = store.now().unwrap();
    assert_eq!(compare(&store, &Span::all(SPACE), upto, last, "deletions").await, changed.len().div_ceil(7));
    assert_eq!(compare(&store, &Span::all(SPACE), last, store.now().unwrap(), "nothing").await, 0);
}

#[tokio::test]
async fn a_store_from_before_the_index_is_walked_for_what_is_older() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let store = open_at(directory.path(), &clock);
    put(&store, &[("a", "1")]).await;
    let before = store.now().unwrap();
    put(&store, &[("b", "1")]).await;
    store.close().unwrap();
    drop(store);
    // Make it one of format 1: no index, no word of one.
    {
        let database = Database::builder(directory.path()).open().unwrap();
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
        let entries = database.keyspace("changes", KeyspaceCreateOptions::default).unwrap();
        for guard in entries.iter().collect::<Vec<_>>() {
            entries.remove(guard.key().unwrap()).unwrap();
        }
        meta.remove("changes/from").unwrap();
        meta.insert(FORMAT_KEY, [1]).unwrap();
        database.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    clock.advance(MINUTE);
    let store = open_at(directory.path(), &clock);
    let upgraded = store.now().unwrap();
    put(&store, &[("c", "1")]).await;
    let now = store.now().unwrap();
    assert_eq!(compare(&store, &Span::all(SPACE), before, now, "across").await, 2);
    assert_eq!(compare(&store, &Span::all(SPACE), upgraded, now, "after").await, 1);
}

#[tokio::test]
async fn an_entry_that_is_none_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let store = open_at(directory.path(), &clock);
    let before = store.now().unwrap();
    put(&store, &[("a", "1")]).await;
    let now = store.now().unwrap();
    let entries = store.engine().unwrap().database.keyspace("changes", KeyspaceCreateOptions::default).unwrap();
    let bucket = entries.iter().next().unwrap().key().unwrap()[..8].to_vec();
    entries.insert([&bucket[..], &SPACE.0.to_be_bytes()].concat(), now.0.to_be_bytes()).unwrap();
    let changes: Result<Vec<Batch>> = store.changes(Span::all(SPACE), before, now).try_collect().await;
    assert!(matches!(changes, Err(Error::Corrupt(_))), "{changes:?}");
}
