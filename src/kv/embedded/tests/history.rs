//! A history checker. Clients run random transactions side by side and record what they read and wrote; afterwards every
//! committed transaction is replayed, in the order of commit timestamps, against a plain map. Each must have read exactly what
//! the map holds when its turn comes: then that order is a serial one with the same results. Reads in the past must agree
//! with what the map held then.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::kv::LockMode;
use crate::time::ManualClock;

const CLIENTS: u64 = 6;
const TRANSACTIONS: usize = 20;
const KEYS: u32 = 12;
/// How many histories are made; `KEEPSAFE_TEST_SECONDS` makes more.
const HISTORIES: u64 = 30;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Something a transaction read of others: what a span held, apart from the keys it had written itself by then.
struct Seen {
    span: Span,
    rows: State,
    own: Vec<Vec<u8>>,
}

struct Committed {
    time: Timestamp,
    seen: Vec<Seen>,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

fn key(number: u32) -> Vec<u8> {
    format!("k{number:02}").into_bytes()
}

fn point(key: &[u8]) -> Span {
    let end = [key, &[0]].concat();
    Span { space: SPACE, start: key.to_vec().into(), end: Some(end.into()) }
}

fn within(state: &State, span: &Span) -> State {
    let inside = |key: &[u8]| key >= &span.start[..] && span.end.as_ref().is_none_or(|end| key < &end[..]);
    state.iter().filter(|(key, _)| inside(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

async fn read_rows(stream: BatchStream) -> Result<State> {
    let batches: Vec<Batch> = stream.try_collect().await?;
    let pairs = batches.iter().flat_map(|batch| {
        let pair = |entry: crate::kv::Entry<'_>| (entry.key.to_vec(), entry.value.unwrap_or_default().to_vec());
        batch.iter().map(pair).collect::<Vec<_>>()
    });
    Ok(pairs.collect())
}

/// Own writes laid over what others wrote.
fn overlaid(mut rows: State, writes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>, span: &Span) -> State {
    for (key, value) in writes {
        match value {
            Some(value) => rows.insert(key.clone(), value.clone()),
            None => rows.remove(key),
        };
    }
    within(&rows, span)
}

/// One random transaction; `None` if it had to give up.
async fn transact(store: &Embedded, random: &mut StdRng, mark: &str) -> Option<Committed> {
    let txn = store.begin().await.unwrap();
    let mut seen = Vec::new();
    let mut writes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    let mut savepoints = Vec::new();
    for step in 0..random.random_range(1..8) {
        let chosen = key(random.random_range(0..KEYS));
        let done = match random.random_range(0..10) {
            0..3 => {
                // Of a key written already the transaction sees its own value, which says nothing of others.
                let found = txn.get(SPACE, &chosen).await;
                found.map(|found| {
                    let value = found.map(|(value, _)| value.to_vec());
                    match writes.get(&chosen) {
                        Some(own) => assert_eq!(&value, own, "{mark}: own write"),
                        None => {
                            let rows = value.into_iter().map(|value| (chosen.clone(), value)).collect();
                            seen.push(Seen { span: point(&chosen), rows, own: Vec::new() });
                        }
                    }
                })
            }
            3 | 4 => {
                let span = Span { space: SPACE, start: chosen.clone().into(), end: Some(key(KEYS).into()) };
                let direction = if random.random_bool(0.5) { Direction::Forward } else { Direction::Backward };
                let found = read_rows(txn.scan(span.clone(), direction, None)).await;
                found.map(|rows| {
                    // What is not its own must be others'.
                    let others = |rows: State| rows.into_iter().filter(|(key, _)| !writes.contains_key(key)).collect();
                    assert_eq!(overlaid(rows.clone(), &writes, &span), rows, "{mark}: own writes in a scan");
                    seen.push(Seen { span, rows: others(rows), own: writes.keys().cloned().collect() });
                })
            }
            5 => {
                txn.lock(SPACE, &chosen, if random.random_bool(0.5) { LockMode::Shared } else { LockMode::Exclusive })
                    .await
            }
            6 => txn.delete(SPACE, &chosen).map(|()| drop(writes.insert(chosen, None))),
            7 => {
                savepoints.push((txn.savepoint(), writes.clone()));
                Ok(())
            }
            8 if !savepoints.is_empty() => {
                let (savepoint, before) = savepoints.pop().unwrap();
                txn.rollback_to(savepoint);
                writes = before;
                Ok(())
            }
            _ => {
                let value = format!("{mark}/{step}").into_bytes();
                txn.put(SPACE, &chosen, value.clone().into()).map(|()| drop(writes.insert(chosen, Some(value))))
            }
        };
        match done {
            Ok(()) => tokio::task::yield_now().await,
            Err(Error::Retry(_)) => return None,
            Err(error) => panic!("{mark}: {error}"),
        }
    }
    match txn.commit().await {
        Ok(time) => Some(Committed { time, seen, writes }),
        Err(Error::Retry(_)) => None,
        Err(error) => panic!("{mark}: {error}"),
    }
}

/// Makes one history and checks it; returns how many transactions committed.
async fn check(seed: u64) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_790_000_000_000_000_000));
    let store = Embedded::open(directory.path(), clock.clone(), 1000).unwrap();
    let history = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..CLIENTS).map(|client| {
        let (store, history, clock) = (store.clone(), history.clone(), clock.clone());
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(client));
            for number in 0..TRANSACTIONS {
                let mark = format!("seed {seed}, {client}.{number}");
                let committed = transact(&store, &mut random, &mark).await;
                history.lock().unwrap().extend(committed);
                match random.random_range(0..12) {
                    // The wall clock goes on, goes back, or leaps ahead.
                    0 => clock.advance(Duration::from_millis(random.random_range(0..50))),
                    1 => clock.jump(-random.random_range(0..5_000_000_000)),
                    2 => clock.jump(random.random_range(0..5_000_000_000)),
                    _ => {}
                }
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
    let mut history = std::mem::take(&mut *history.lock().unwrap());
    // Of those with one time, the ones that wrote nothing read what was there after it.
    history.sort_by_key(|committed: &Committed| (committed.time, committed.writes.is_empty()));
    let mut state = State::new();
    let mut states = Vec::new();
    for committed in &history {
        // A transaction without writes has its snapshot for its time.
        for seen in &committed.seen {
            let mut expected = within(&state, &seen.span);
            seen.own.iter().for_each(|key| drop(expected.remove(key)));
            let found = &seen.rows;
            assert_eq!(found, &expected, "seed {seed}: read at {} what no serial order gives", committed.time);
        }
        for (key, value) in &committed.writes {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        if !committed.writes.is_empty() {
            states.push((committed.time, state.clone()));
        }
    }
    assert!(states.windows(2).all(|pair| pair[0].0 < pair[1].0), "seed {seed}: two commits have one timestamp");
    for (time, state) in &states {
        let found = read_rows(store.scan(Span::all(SPACE), *time, Direction::Forward, None)).await.unwrap();
        assert_eq!(&found, state, "seed {seed}: the past at {time}");
    }
    history.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_concurrent_transactions_are_serializable() {
    let first: u64 = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut histories, mut committed) = (0, 0);
    while histories < HISTORIES || Instant::now() < end {
        committed += check(first.wrapping_add(histories)).await;
        histories += 1;
    }
    assert!(
        committed as u64 > histories * CLIENTS * 5,
        "only {committed} transactions committed in {histories} histories"
    );
}
