//! What the store costs beside fjall alone: `cargo bench --bench store [rows]`. Each line is two measurements of one run; the
//! ratio is what counts. The default is 5 million rows of about 100 bytes.

// A benchmark stops at the first thing that goes wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use futures::{StreamExt, TryStreamExt, stream};
use keepsafe::kv::embedded::{DEFAULT_CACHE_BYTES, Embedded};
use keepsafe::kv::{Batch, BatchStream, Direction, Read, SpaceId, Span, Store};
use keepsafe::time::{SystemClock, Timestamp};

const ROWS: u64 = 5_000_000;
const PAIRS: usize = 15;
const VALUE_BYTES: usize = 92;
const TABLE: SpaceId = SpaceId(2000);
const VERSIONED: SpaceId = SpaceId(2001);
const DEEP: SpaceId = SpaceId(2002);
const FIRST_OTHER: u64 = 3000;

fn key(row: u64) -> [u8; 8] {
    row.to_be_bytes()
}

fn value(row: u64) -> Vec<u8> {
    let mut value = format!("row {row} ").into_bytes();
    value.resize(VALUE_BYTES, b'x');
    value
}

fn report(what: &str, own: f64, against: &str, alone: f64, unit: &str) {
    println!("{what:<52} {own:>12.0} {unit:<8} {against:<28} {alone:>12.0}   ratio {:.2}", own / alone);
}

fn per_second(count: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

async fn count(stream: BatchStream) -> u64 {
    stream.try_fold(0, |rows, batch| async move { Ok(rows + batch.len() as u64) }).await.unwrap()
}

/// Rows a second.
async fn scan_once(store: &Embedded, spans: &[Span], at: Timestamp) -> f64 {
    let start = Instant::now();
    let scans = spans.iter().map(|span| {
        let store = store.clone();
        let span = span.clone();
        tokio::spawn(async move { count(store.scan(span, at, Direction::Forward, None)).await })
    });
    let rows: u64 = futures::future::join_all(scans).await.into_iter().map(Result::unwrap).sum();
    rows as f64 / start.elapsed().as_secs_f64()
}

/// The median of three, in rows a second.
async fn scan_rate(store: &Embedded, spans: &[Span], at: Timestamp) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(scan_once(store, spans, at).await);
    }
    median(rates)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Scans and something to compare them with in turn, each first every other time: what else the machine does hits both alike. The
/// ratio is the median of the pairs' ratios.
async fn report_pairs(what: &str, store: &Embedded, spans: &[Span], at: Timestamp, other: impl Fn() -> f64) {
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        pairs.push(if pair % 2 == 0 {
            let own = scan_once(store, spans, at).await;
            (own, other())
        } else {
            let alone = other();
            (scan_once(store, spans, at).await, alone)
        });
    }
    let middle = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().map(figure).collect());
    let (own, alone, ratio) = (middle(|pair| pair.0), middle(|pair| pair.1), middle(|pair| pair.0 / pair.1));
    println!(
        "{what:<52} {own:>12.0} rows/s   {:<28} {alone:>12.0}   ratio {ratio:.3}   ({PAIRS} pairs)",
        "fjall's iterator"
    );
}

fn rows_of(space: SpaceId, rows: u64) -> impl Iterator<Item = (SpaceId, Batch)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        if next == rows {
            return None;
        }
        let mut batch = Batch::with_room();
        while next < rows && !batch.is_full() {
            batch.push(&key(next), Some(&value(next)), Timestamp::MIN);
            next += 1;
        }
        Some((space, batch))
    })
}

/// As many bytes as the store writes: space, escaped key, terminator and time.
fn raw_key(row: u64) -> Vec<u8> {
    let escaped = key(row).into_iter().flat_map(|byte| if byte == 0 { vec![0, 0xff] } else { vec![byte] });
    [&TABLE.0.to_be_bytes()[..], &escaped.collect::<Vec<_>>(), &[0, 1], &[0; 8]].concat()
}

/// How many pairs an iterator of fjall's gives, keys and values included.
fn walked(iter: fjall::Iter) -> u64 {
    iter.fold(0, |count, guard| {
        std::hint::black_box(guard.into_inner().unwrap());
        count + 1
    })
}

fn raw(directory: &Path) -> (Database, Keyspace) {
    let database = Database::builder(directory).cache_size(DEFAULT_CACHE_BYTES).open().unwrap();
    let keyspace = database.keyspace("data", KeyspaceCreateOptions::default).unwrap();
    (database, keyspace)
}

async fn ingest_and_scan(store: &Embedded, raw_data: &Keyspace, rows: u64) -> Timestamp {
    let at = store.now().unwrap();
    let start = Instant::now();
    store.ingest(stream::iter(rows_of(TABLE, rows).map(Ok)).boxed(), at).await.unwrap();
    let own = rows as f64 / start.elapsed().as_secs_f64();
    let alone = per_second(rows, || {
        raw_data.rotate_memtable_and_wait().unwrap();
        let mut ingestion = raw_data.start_ingestion().unwrap();
        for row in 0..rows {
            ingestion.write(raw_key(row), [&[1, 1][..], &value(row)].concat()).unwrap();
        }
        ingestion.finish().unwrap();
    });
    report("ingest", own, "fjall's own ingestion", alone, "rows/s");
    let at = store.now().unwrap();
    let scan = || per_second(rows, || assert_eq!(walked(raw_data.iter()), rows));
    report_pairs("scan, one version a key, 1 thread", store, &[Span::all(TABLE)], at, scan).await;
    let halves = |space| {
        let middle = key(rows / 2).to_vec();
        let first = Span { end: Some(middle.clone().into()), ..Span::all(space) };
        [first, Span { start: middle.into(), ..Span::all(space) }]
    };
    let parallel = || {
        let middle = raw_key(rows / 2);
        per_second(rows, || {
            std::thread::scope(|scope| {
                scope.spawn(|| walked(raw_data.range(..middle.clone())));
                scope.spawn(|| walked(raw_data.range(middle.clone()..)));
            });
        })
    };
    report_pairs("scan, one version a key, 2 threads", store, &halves(TABLE), at, parallel).await;
    at
}

async fn scan_versions(store: &Embedded, one_version: f64, rows: u64) {
    for _ in 0..5 {
        let at = store.now().unwrap();
        store.ingest(stream::iter(rows_of(VERSIONED, rows).map(Ok)).boxed(), at).await.unwrap();
    }
    // Until fjall has merged them as far as it wants to.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let at = store.now().unwrap();
    let own = scan_rate(store, &[Span::all(VERSIONED)], at).await;
    report("scan, 5 versions a key, newest", own, "scan of one version a key", one_version, "rows/s");
    for version in 0..1000 {
        let txn = store.begin().await.unwrap();
        (0..200).for_each(|row| txn.put(DEEP, &key(row), value(version).into()).unwrap());
        txn.commit().await.unwrap();
    }
    let at = store.now().unwrap();
    let own = scan_rate(store, &[Span::all(DEEP)], at).await;
    report("scan, 1,000 versions a key, newest", own, "scan of one version a key", one_version, "rows/s");
}

async fn commits(store: &Embedded, database: &Database, raw_data: &Keyspace) {
    const THREADS: u64 = 16;
    const FOR: Duration = Duration::from_secs(5);
    let start = Instant::now();
    let writers = (0..THREADS).map(|thread| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut done = 0u64;
            while start.elapsed() < FOR {
                let txn = store.begin().await.unwrap();
                txn.put(SpaceId(2999), &key(thread << 32 | done), value(done).into()).unwrap();
                txn.commit().await.unwrap();
                done += 1;
            }
            done
        })
    });
    let done: u64 = futures::future::join_all(writers).await.into_iter().map(Result::unwrap).sum();
    let own = done as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let done: u64 = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let mut done = 0u64;
            while start.elapsed() < FOR {
                let mut batch = database.batch().durability(Some(PersistMode::SyncData));
                batch.insert(raw_data, [&[255][..], &key(thread << 32 | done)].concat(), value(done));
                batch.commit().unwrap();
                done += 1;
            }
            done
        };
        let writers: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let alone = done as f64 / start.elapsed().as_secs_f64();
    report("durable commits of one row, 16 threads", own, "each its own fjall commit", alone, "commits/s");
}

/// Changes 1 % of the rows, evenly spread, and returns when that was done.
async fn change(store: &Embedded, rows: u64) -> Timestamp {
    for chunk in 0..rows / 100_000 {
        let txn = store.begin().await.unwrap();
        for row in (chunk * 100_000..(chunk + 1) * 100_000).step_by(100) {
            txn.put(TABLE, &key(row), value(row + 1).into()).unwrap();
        }
        txn.commit().await.unwrap();
    }
    store.now().unwrap()
}

async fn changes_rate(store: &Embedded, after: Timestamp, upto: Timestamp, full_scan: f64, what: &str) {
    let mut best = f64::MAX;
    let mut found = 0;
    for _ in 0..3 {
        let start = Instant::now();
        found = count(store.changes(Span::all(TABLE), after, upto)).await;
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{what:<52} {:>12.3} s        a full scan                  {full_scan:>12.3}   ratio {:.3}   ({found} rows)",
        best,
        best / full_scan
    );
}

/// One-row commits a second of four writers, for some seconds.
async fn commit_rate(store: &Embedded, space: SpaceId) -> f64 {
    const FOR: Duration = Duration::from_secs(5);
    let start = Instant::now();
    let writers = (0..4_u64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while start.elapsed() < FOR {
                let txn = store.begin().await.unwrap();
                txn.put(space, &key(writer << 32 | done), value(done).into()).unwrap();
                txn.commit().await.unwrap();
                done += 1;
            }
            done
        })
    });
    let done: u64 = futures::future::join_all(writers).await.into_iter().map(Result::unwrap).sum();
    done as f64 / start.elapsed().as_secs_f64()
}

/// Writers while a full scan runs again and again, and the scan while writers write.
async fn writers_beside_a_scan(store: &Embedded, rows: u64, at: Timestamp, one_version: f64) {
    let alone = commit_rate(store, SpaceId(2990)).await;
    let scanning = tokio::spawn({
        let store = store.clone();
        async move {
            let (start, mut scanned) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_secs(5) {
                scanned += count(store.scan(Span::all(TABLE), at, Direction::Forward, None)).await;
            }
            scanned as f64 / start.elapsed().as_secs_f64()
        }
    });
    let beside = commit_rate(store, SpaceId(2991)).await;
    report("commits of 4 writers beside a full scan", beside, "without the scan", alone, "commits/s");
    report("the full scan beside them", scanning.await.unwrap(), "the scan alone", one_version, "rows/s");
    let start = Instant::now();
    let points = store.split_points(&Span::all(TABLE), 16).await.unwrap().len();
    let (took, full_scan) = (start.elapsed().as_secs_f64(), rows as f64 / one_version);
    println!(
        "{:<52} {took:>12.3} s        a full scan                  {full_scan:>12.3}   ratio {:.3}   ({points} points)",
        "split points for 16 parts",
        took / full_scan
    );
}

/// Kilobytes by which the process grows at most while something is done.
async fn growth(work: impl Future<Output = u64>) -> u64 {
    let kilobytes = |name: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap().to_string();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    // Writing 5 sets the peak to what is in use now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kilobytes("VmRSS:");
    work.await;
    kilobytes("VmHWM:").saturating_sub(before)
}

async fn memory(store: &Embedded, rows: u64, after: Timestamp, upto: Timestamp) {
    let tenth = Span { end: Some(key(rows / 10).to_vec().into()), ..Span::all(TABLE) };
    // The cache of blocks is full by now.
    for (what, walk) in [("scan", false), ("changes", true)] {
        let read = |span: Span| match walk {
            true => count(store.changes(span, after, upto)),
            false => count(store.scan(span, upto, Direction::Forward, None)),
        };
        read(Span::all(TABLE)).await;
        let part = growth(read(tenth.clone())).await;
        let whole = growth(read(Span::all(TABLE))).await;
        println!("memory of {what}: {part} KiB more for a tenth of the space, {whole} KiB more for all of it");
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROWS);
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(&directory.path().join("keepsafe"), Arc::new(SystemClock::default()), 100).unwrap();
    let (database, raw_data) = raw(&directory.path().join("fjall"));
    println!("{rows} rows of about 100 bytes\n");
    let loaded = ingest_and_scan(&store, &raw_data, rows).await;
    let one_version = scan_rate(&store, &[Span::all(TABLE)], loaded).await;
    let full_scan = rows as f64 / one_version;
    let changed = change(&store, rows).await;
    changes_rate(&store, loaded, changed, full_scan, "changes after 1 % of the rows changed").await;
    // An ingest flushes the memtable first.
    store.ingest(stream::iter(rows_of(SpaceId(2998), 1).map(Ok)).boxed(), changed).await.unwrap();
    changes_rate(&store, loaded, changed, full_scan, "the same, flushed to disk").await;
    for other in 0..1000 {
        let txn = store.begin().await.unwrap();
        (0..50).for_each(|row| txn.put(SpaceId(FIRST_OTHER + other), &key(row), value(row).into()).unwrap());
        txn.commit().await.unwrap();
    }
    changes_rate(&store, loaded, changed, full_scan, "the same, after 1,000 other spaces changed").await;
    memory(&store, rows, loaded, changed).await;
    writers_beside_a_scan(&store, rows, loaded, one_version).await;
    commits(&store, &database, &raw_data).await;
    scan_versions(&store, one_version, rows / 5).await;
    store.close().unwrap();
}
