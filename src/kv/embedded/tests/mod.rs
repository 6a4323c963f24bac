use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt;

use super::*;
use crate::kv::{Batch, LockMode};
use crate::time::SystemClock;

mod changes;
mod collector;
mod failure;
mod history;
mod stats;

const SPACE: SpaceId = SpaceId(1_000_100);

fn open(directory: &Path) -> Embedded {
    Embedded::open(directory, Arc::new(SystemClock::default()), 1000).unwrap()
}

async fn put(store: &Embedded, pairs: &[(&str, &str)]) -> Timestamp {
    let txn = store.begin().await.unwrap();
    for (key, value) in pairs {
        txn.put(SPACE, key.as_bytes(), Bytes::copy_from_slice(value.as_bytes())).unwrap();
    }
    txn.commit().await.unwrap()
}

async fn set_threshold(store: &Embedded, space: SpaceId, threshold: Timestamp) {
    let txn = store.begin().await.unwrap();
    txn.set_threshold(space, threshold).unwrap();
    txn.commit().await.unwrap();
}

async fn rows(stream: BatchStream) -> Vec<(String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let batches: Vec<Batch> = stream.try_collect().await.unwrap();
    batches
        .iter()
        .flat_map(|batch| batch.iter().map(|e| (text(e.key), e.value.map(text))).collect::<Vec<_>>())
        .collect()
}

fn live(pairs: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    pairs.iter().map(|(key, value)| (key.to_string(), Some(value.to_string()))).collect()
}

#[tokio::test]
async fn history_can_be_read_at_every_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = put(&store, &[("a", "1"), ("b", "1"), ("a\0", "x")]).await;
    let second = put(&store, &[("a", "2")]).await;
    let txn = store.begin().await.unwrap();
    txn.delete(SPACE, b"b").unwrap();
    let third = txn.commit().await.unwrap();
    let all = Span::all(SPACE);
    let forward = |at| store.scan(all.clone(), at, Direction::Forward, None);
    assert_eq!(rows(forward(first.prev())).await, live(&[]));
    assert_eq!(rows(forward(first)).await, live(&[("a", "1"), ("a\0", "x"), ("b", "1")]));
    assert_eq!(rows(forward(second)).await, live(&[("a", "2"), ("a\0", "x"), ("b", "1")]));
    assert_eq!(rows(forward(third)).await, live(&[("a", "2"), ("a\0", "x")]));
    let backward = store.scan(all.clone(), second, Direction::Backward, Some(2));
    assert_eq!(rows(backward).await, live(&[("b", "1"), ("a\0", "x")]));
    let changes = rows(store.changes(all.clone(), first, third)).await;
    assert_eq!(changes, [("a".into(), Some("2".into())), ("b".into(), None)]);
    assert_eq!(rows(store.versions(all, Timestamp::MIN, third)).await.len(), 5);
    assert_eq!(store.get(SPACE, b"b", second).await.unwrap().unwrap().time, first);
    assert_eq!(store.get(SPACE, b"b", third).await.unwrap(), None);
    let future = store.now().unwrap().plus(Duration::from_secs(60));
    assert!(matches!(store.get(SPACE, b"b", future).await, Err(Error::Future { .. })));
}

#[tokio::test]
async fn many_old_versions_are_sought_past() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut last = Timestamp::MIN;
    for round in 0..100 {
        last = put(&store, &[("hot", &round.to_string()), ("i", "1")]).await;
    }
    let scan = store.scan(Span::all(SPACE), last, Direction::Forward, None);
    assert_eq!(rows(scan).await, live(&[("hot", "99"), ("i", "1")]));
    assert_eq!(rows(store.changes(Span::all(SPACE), Timestamp::MIN, last)).await.len(), 2);
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_savepoints_undo_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[("a", "1"), ("c", "1")]).await;
    let txn = store.begin().await.unwrap();
    txn.put(SPACE, b"b", "2".into()).unwrap();
    let savepoint = txn.savepoint();
    txn.delete(SPACE, b"a").unwrap();
    txn.put(SPACE, b"b", "3".into()).unwrap();
    let scan = |direction, limit| rows(txn.scan(Span::all(SPACE), direction, limit));
    assert_eq!(scan(Direction::Forward, None).await, live(&[("b", "3"), ("c", "1")]));
    assert_eq!(scan(Direction::Backward, Some(1)).await, live(&[("c", "1")]));
    txn.rollback_to(savepoint);
    assert_eq!(scan(Direction::Forward, Some(2)).await, live(&[("a", "1"), ("b", "2")]));
    let savepoint = txn.savepoint();
    txn.drop_space(SPACE).unwrap();
    txn.rollback_to(savepoint);
    let second = store.begin().await.unwrap();
    let savepoint = second.savepoint();
    second.drop_space(SPACE).unwrap();
    second.rollback_to(savepoint);
    second.put(SpaceId(1_000_102), b"other", "1".into()).unwrap();
    second.commit().await.unwrap();
    let now = store.now().unwrap();
    assert!(store.get(SPACE, b"a", now).await.unwrap().is_some(), "a drop that was rolled back drops nothing");
    txn.rollback();
    assert!(matches!(txn.commit().await, Err(Error::Ended)));
    let at = store.now().unwrap();
    assert_eq!(store.get(SPACE, b"b", at).await.unwrap(), None);
}

#[tokio::test]
async fn a_drop_is_part_of_its_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[("a", "1")]).await;
    let txn = store.begin().await.unwrap();
    txn.put(SpaceId(1_000_102), b"descriptor", "gone".into()).unwrap();
    txn.drop_space(SPACE).unwrap();
    let dropped = txn.commit().await.unwrap();
    drop(txn);
    // Whatever is durable is so with the commit: nothing is written at the end.
    let copy = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp").arg("-a").arg(directory.path().join(".")).arg(copy.path()).status();
    assert!(status.unwrap().success());
    let copied = open(copy.path());
    assert!(copied.get(SPACE, b"a", dropped.prev()).await.unwrap().is_some());
    assert!(matches!(copied.get(SPACE, b"a", copied.now().unwrap()).await, Err(Error::Dropped(SPACE))));
}

#[tokio::test]
async fn of_two_transactions_that_read_and_write_each_other_one_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[("x", "1"), ("y", "1")]).await;
    let (a, b) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    a.get(SPACE, b"x").await.unwrap();
    b.get(SPACE, b"y").await.unwrap();
    a.put(SPACE, b"y", "2".into()).unwrap();
    b.put(SPACE, b"x", "2".into()).unwrap();
    a.commit().await.unwrap();
    assert!(matches!(b.commit().await, Err(Error::Retry(_))));
    let (reader, writer) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    rows(reader.scan(Span::prefix(SPACE, b"p"), Direction::Forward, None)).await;
    writer.put(SPACE, b"phantom", "1".into()).unwrap();
    writer.commit().await.unwrap();
    reader.put(SPACE, b"z", "1".into()).unwrap();
    assert!(matches!(reader.commit().await, Err(Error::Retry(_))), "a phantom is a conflict");
}

#[tokio::test]
async fn writers_of_a_hot_key_that_lock_first_never_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, &[("n", "0")]).await;
    let tasks = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let txn = store.begin().await.unwrap();
                txn.lock(SPACE, b"n", LockMode::Exclusive).await.unwrap();
                let (value, _) = txn.get(SPACE, b"n").await.unwrap().unwrap();
                let next = std::str::from_utf8(&value).unwrap().parse::<u32>().unwrap() + 1;
                txn.put(SPACE, b"n", next.to_string().into()).unwrap();
                txn.commit().await.unwrap();
            }
        })
    });
    futures::future::try_join_all(tasks).await.unwrap();
    let at = store.now().unwrap();
    assert_eq!(&store.get(SPACE, b"n", at).await.unwrap().unwrap().value[..], b"160");
}

/// Every commit writes the same number under many keys; a reader must never see two numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_under_heavy_commits_never_sees_half_a_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let keys: Vec<String> = (0..50).map(|key| format!("key{key}")).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..3).map(|writer| {
        let (store, keys, stop) = (store.clone(), keys.clone(), stop.clone());
        tokio::spawn(async move {
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let value = format!("{writer}-{round}-{}", "x".repeat(2000));
                put(&store, &keys.iter().map(|key| (key.as_str(), value.as_str())).collect::<Vec<_>>()).await;
                round += 1;
                if round.is_multiple_of(20) {
                    store.engine().unwrap().rows.user.rotate_memtable().unwrap();
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut reads = 0;
    while std::time::Instant::now() < until {
        let txn = store.begin().await.unwrap();
        let seen = rows(txn.scan(Span::all(SPACE), Direction::Forward, None)).await;
        assert!(seen.iter().all(|(_, value)| *value == seen[0].1), "half a transaction at {}", txn.snapshot());
        assert!(seen.is_empty() || seen.len() == keys.len());
        reads += 1;
    }
    stop.store(true, Ordering::Relaxed);
    futures::future::try_join_all(writers).await.unwrap();
    assert!(reads > 0);
}

#[tokio::test]
async fn ingested_rows_appear_at_their_time_and_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let (space, other, at);
    {
        let store = open(directory.path());
        (space, other) = (store.create_space().await.unwrap(), store.create_space().await.unwrap());
        at = store.now().unwrap();
        let batch = |keys: &[&str]| {
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.push(key.as_bytes(), Some(b"v"), at));
            batch
        };
        let items = vec![Ok((space, batch(&["a", "b"]))), Ok((space, batch(&["c"]))), Ok((other, batch(&["a"])))];
        for _ in 0..2 {
            let stats = store.ingest(stream::iter(items.clone()).boxed(), at).await.unwrap();
            assert_eq!(stats.rows, 4);
        }
        let unsorted = vec![Ok((space, batch(&["b", "a"])))];
        assert_eq!(store.ingest(stream::iter(unsorted).boxed(), at).await, Err(Error::Unsorted));
        store.close().unwrap();
    }
    let store = open(directory.path());
    assert_eq!(rows(store.scan(Span::all(space), at, Direction::Forward, None)).await.len(), 3);
    assert_eq!(rows(store.scan(Span::all(other), at, Direction::Forward, None)).await.len(), 1);
    assert!(store.now().unwrap() > at);
    assert!(store.create_space().await.unwrap() > other, "an id is never reused");
}

#[tokio::test]
async fn a_dropped_space_stays_readable_below_its_drop_and_thresholds_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let written;
    let dropped;
    {
        let store = open(directory.path());
        written = put(&store, &[("a", "1")]).await;
        let txn = store.begin().await.unwrap();
        txn.put(SpaceId(1_000_101), b"catalog", "gone".into()).unwrap();
        txn.drop_space(SPACE).unwrap();
        dropped = txn.commit().await.unwrap();
        store.close().unwrap();
    }
    let store = open(directory.path());
    assert_eq!(rows(store.scan(Span::all(SPACE), dropped.prev(), Direction::Forward, None)).await.len(), 1);
    assert_eq!(store.get(SPACE, b"a", dropped).await, Err(Error::Dropped(SPACE)));
    for threshold in [dropped.prev(), written] {
        set_threshold(&store, SPACE, threshold).await;
    }
    let refused = store.get(SPACE, b"a", written).await;
    assert_eq!(refused, Err(Error::BelowThreshold { at: written, threshold: dropped.prev() }));
}

#[tokio::test]
async fn a_second_process_is_kept_out_and_a_newer_format_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let second = Embedded::open(directory.path(), Arc::new(SystemClock::default()), 1000);
    assert!(matches!(second.map(drop), Err(Error::Unopenable(why)) if why.contains("in use")));
    let mut batch = store.engine().unwrap().database.batch();
    let meta = store.engine().unwrap().database.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
    batch.insert(&meta, FORMAT_KEY, [FORMAT_VERSION + 1]);
    batch.commit().unwrap();
    store.close().unwrap();
    drop((store, meta));
    let newer = Embedded::open(directory.path(), Arc::new(SystemClock::default()), 1000);
    assert!(matches!(newer.map(drop), Err(Error::Unopenable(why)) if why.contains("format")));
}

#[tokio::test]
async fn split_points_cut_evenly_spread_keys_evenly() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let keys: Vec<String> = (0..1000).map(|n| format!("{:08}", n * 7)).collect();
    put(&store, &keys.iter().map(|key| (key.as_str(), "v")).collect::<Vec<_>>()).await;
    let span = Span::all(SPACE);
    let points = store.split_points(&span, 4).await.unwrap();
    let at = store.now().unwrap();
    let mut total = 0;
    for part in span.split(&points) {
        let count = rows(store.scan(part, at, Direction::Forward, None)).await.len();
        assert!(count < 600, "{count} rows of 1000 in one of 4 parts");
        total += count;
    }
    assert_eq!(total, 1000);
    assert!(store.split_points(&Span::all(SpaceId(1_000_555)), 4).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_with_the_systems_rows_among_all_others_is_taken_apart() {
    const SYSTEM: SpaceId = SpaceId(7);
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut times = Vec::new();
    for value in ["1", "2"] {
        let txn = store.begin().await.unwrap();
        for space in [SYSTEM, SPACE] {
            txn.put(space, b"key", value.into()).unwrap();
        }
        times.push(txn.commit().await.unwrap());
    }
    let is_where_it_belongs = |store: &Embedded| {
        let engine = store.engine().unwrap();
        [&engine.rows.system, &engine.rows.user].map(|keyspace| keyspace.iter().count()) == [2, 2]
    };
    assert!(is_where_it_belongs(&store));
    store.close().unwrap();
    drop(store);
    // Make it one of format 3: all rows in one keyspace.
    {
        let database = Database::builder(directory.path()).open().unwrap();
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        let (system, data) = (keyspace("system"), keyspace("data"));
        for guard in system.iter().collect::<Vec<_>>() {
            let (key, value) = guard.into_inner().unwrap();
            data.insert(key.clone(), value).unwrap();
            system.remove(key).unwrap();
        }
        keyspace("meta").insert(FORMAT_KEY, [3]).unwrap();
        database.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    let store = open(directory.path());
    assert!(is_where_it_belongs(&store));
    for space in [SYSTEM, SPACE] {
        for (time, value) in times.iter().zip(["1", "2"]) {
            assert_eq!(store.get(space, b"key", *time).await.unwrap().unwrap().value, value);
        }
    }
    store.verify(|finding| panic!("{finding}")).unwrap();
}
