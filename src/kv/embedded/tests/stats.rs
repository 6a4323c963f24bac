//! Counts are exact and parts are even, without looking at the rows.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::changes::{at_noon, entries, load, open_at};
use super::*;
use crate::kv::embedded::spaces::Load;

/// Rows and bytes as a scan finds them.
async fn scanned(store: &Embedded, space: SpaceId) -> SpaceStats {
    let rows = entries(store.scan(Span::all(space), store.now().unwrap(), Direction::Forward, None)).await;
    let bytes = rows.iter().map(|(key, value, _)| key.len() + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
    SpaceStats { rows: rows.len() as u64, bytes: bytes as u64 }
}

async fn check(store: &Embedded, spaces: &[SpaceId], what: &str) {
    for &space in spaces {
        assert_eq!(store.stats(space).await.unwrap(), scanned(store, space).await, "{what}: {space}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_whatever_is_done_and_when_it_stops() {
    let seed: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let clock = at_noon();
    let mut store = open_at(directory.path(), &clock);
    let spaces = [SPACE, SpaceId(1_000_101), SpaceId(1_000_200)];
    load(&store, SpaceId(1_000_200), 60, store.now().unwrap()).await;
    for round in 0..60 {
        // Clients that read before they write, or do not, side by side on few keys.
        let clients = (0..4).map(|_| {
            let (store, mut random) = (store.clone(), StdRng::seed_from_u64(random.random()));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let txn = store.begin().await.unwrap();
                    for _ in 0..random.random_range(1..10) {
                        let space = spaces[random.random_range(0..3)];
                        let key = format!("{:06}", random.random_range(0..70));
                        let value = Bytes::from(vec![7; random.random_range(0..50)]);
                        let savepoint = txn.savepoint();
                        let found = random.random_bool(0.4).then_some(txn.get(space, key.as_bytes()));
                        let found = match found {
                            Some(found) => Some(found.await.unwrap()),
                            None => None,
                        };
                        match random.random_range(0..10) {
                            0..3 => txn.delete(space, key.as_bytes()).unwrap(),
                            3 if found == Some(None) => txn.put_new(space, key.as_bytes(), value).unwrap(),
                            _ => txn.put(space, key.as_bytes(), value).unwrap(),
                        }
                        if random.random_bool(0.1) {
                            txn.rollback_to(savepoint);
                        }
                    }
                    assert!(matches!(txn.commit().await, Ok(_) | Err(Error::Retry(_))));
                }
            })
        });
        for client in futures::future::join_all(clients).await {
            client.unwrap();
        }
        clock.advance(Duration::from_secs(60));
        match round % 10 {
            3 => {
                store.close().unwrap();
                drop(store);
                store = open_at(directory.path(), &clock);
            }
            7 => {
                for space in spaces {
                    set_threshold(&store, space, store.now().unwrap()).await;
                }
                while store.collect(100).await.unwrap().more {}
            }
            _ => {}
        }
        check(&store, &spaces, &format!("seed {seed}, round {round}")).await;
    }
    store.engine().unwrap().stats.rebuild(&store.engine().unwrap().database, &store.engine().unwrap().rows).unwrap();
    check(&store, &spaces, "counted anew").await;
}

#[tokio::test]
async fn parts_are_even_whatever_the_keys_look_like() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let skewed = |n: u64| if n.is_multiple_of(10) { n << 40 } else { n };
    type KeyOf<'k> = &'k dyn Fn(u64) -> Vec<u8>;
    let shapes: [(u64, u64, KeyOf<'_>); 4] = [
        (1_000_300, 3_000, &|n| n.to_be_bytes().to_vec()),
        (1_000_301, 120_000, &|n| skewed(n).to_be_bytes().to_vec()),
        (1_000_302, 60_000, &|n| format!("https://example.org/{n}").into_bytes()),
        (1_000_303, 5, &|n| vec![n as u8]),
    ];
    for (space, count, key) in shapes {
        let space = SpaceId(space);
        let mut keys: Vec<Vec<u8>> = (0..count).map(key).collect();
        keys.sort();
        let at = store.now().unwrap();
        let batches = keys.chunks(1000).map(|keys| {
            let mut batch = Batch::with_room();
            keys.iter().for_each(|key| batch.push(key, Some(b"value"), at));
            Ok((space, batch))
        });
        store.ingest(stream::iter(batches.collect::<Vec<_>>()).boxed(), at).await.unwrap();
        let parts = 8;
        let points = store.split_points(&Span::all(space), parts).await.unwrap();
        assert!(points.is_sorted() && points.len() < parts);
        let inside = |part: &Span| keys.iter().filter(|key| part.contains(key)).count();
        let sizes: Vec<usize> = Span::all(space).split(&points).iter().map(inside).collect();
        assert_eq!(sizes.iter().sum::<usize>(), keys.len());
        let largest = *sizes.iter().max().unwrap();
        assert!(largest <= 1 + keys.len() * 3 / 2 / parts, "{space}: {sizes:?}");
    }
    let half = Span { space: SpaceId(1_000_300), start: 1500_u64.to_be_bytes().to_vec().into(), end: None };
    let points = store.split_points(&half, 3).await.unwrap();
    assert!(points.len() == 2 && points.iter().all(|point| *point > half.start), "only points inside the span");
}

#[tokio::test]
async fn a_load_that_was_noted_and_never_made_is_not_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let space = SpaceId(1_000_200);
    let at = store.now().unwrap();
    load(&store, space, 60, at).await;
    let engine = store.engine().unwrap();
    // Where a server is killed between the note and the rows.
    let unfinished = Load { at, number: 7, counts: SpaceStats { rows: 5, bytes: 50 }.into() };
    engine.spaces.note_loads(&[(space, unfinished)]).unwrap();
    store.verify(|finding| panic!("{finding}")).unwrap();
}
