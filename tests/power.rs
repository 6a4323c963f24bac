//! Power failures and full disks. The server runs on `shim/lossy.c`, which knows what of every file was fsynced; after a kill
//! everything else is taken away.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use crate::harness::{Server, Store, compile_shim, keepsafe, rows, run, succeed, value};

const WRITERS: usize = 6;
/// Kills, unless `KEEPSAFE_TEST_SECONDS` asks for more.
const KILLS: usize = 5;

/// A store on a disk that forgets.
struct LossyDisk {
    store: Store,
    directory: tempfile::TempDir,
}

impl LossyDisk {
    fn new() -> LossyDisk {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("shadow")).unwrap();
        compile_shim("lossy", directory.path());
        LossyDisk { store: Store::new(), directory }
    }

    fn full_flag(&self) -> PathBuf {
        self.directory.path().join("full")
    }

    fn environment(&self) -> [(&'static str, PathBuf); 4] {
        let inside = |name: &str| self.directory.path().join(name);
        [
            ("LD_PRELOAD", inside("lossy.so")),
            ("LOSSY_ROOT", self.store.path().join("data")),
            ("LOSSY_SHADOW", inside("shadow")),
            ("LOSSY_FULL", self.full_flag()),
        ]
    }

    fn start(&self) -> Server {
        Server::start_in(&self.store.path(), &["--log", "error"], &self.environment())
    }

    /// Verifies the store. That opens it, and so writes to it, too.
    fn assert_sound(&self) {
        let mut check = keepsafe(&["check", "--store", self.store.path().to_str().unwrap()]);
        succeed(check.envs(self.environment()));
    }

    /// The power goes, and comes back.
    fn fail(&self, server: Server) -> usize {
        server.kill();
        self.forget()
    }

    /// Takes away what was not fsynced; says of how many files.
    fn forget(&self) -> usize {
        let mut lost = 0;
        let mut directories = vec![self.store.path().join("data")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                    continue;
                }
                let inode = entry.metadata().unwrap().ino().to_string();
                let durable = std::fs::read(self.directory.path().join("shadow").join(inode)).unwrap_or_default();
                if durable != std::fs::read(entry.path()).unwrap() {
                    lost += 1;
                    std::fs::write(entry.path(), durable).unwrap();
                }
            }
        }
        lost
    }
}

/// What one writer was told, by round: rows (writer, n) are in two tables, and every eighth transaction is taken back.
struct Writer {
    number: usize,
    acknowledged: i64,
}

impl Writer {
    fn start(&self, server: &Server, stop: Arc<AtomicBool>) -> JoinHandle<i64> {
        let (writer, from, port) = (self.number, self.acknowledged, server.port);
        tokio::spawn(async move {
            let mut acknowledged = from;
            let mut next = None;
            while !stop.load(Ordering::SeqCst) {
                let url = format!("postgresql://root@127.0.0.1:{port}/defaultdb");
                let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
                let (client, connection) = match connected {
                    Ok(connected) => connected,
                    // The store is being opened again.
                    Err(error) if error.code().is_some() => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    Err(_) => return acknowledged,
                };
                tokio::spawn(connection);
                let newest = format!("SELECT coalesce(max(n), 0) FROM one WHERE writer = {writer}");
                let Ok(found) = client.simple_query(&newest).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let found = found.iter().find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse::<i64>().ok(),
                    _ => None,
                });
                let found = found.unwrap();
                assert!(found >= acknowledged, "writer {writer}: {acknowledged} was acknowledged, {found} is there");
                assert!(found <= next.unwrap_or(i64::MAX), "writer {writer}: {found} was never written");
                let mut n = found;
                while !stop.load(Ordering::SeqCst) {
                    n += 1;
                    next = Some(n);
                    let insert =
                        format!("INSERT INTO one VALUES ({writer}, {n}); INSERT INTO two VALUES ({writer}, {n})");
                    if n % 8 == 0 {
                        let undone = format!("BEGIN; INSERT INTO one VALUES ({writer}, {}); ROLLBACK", n + 1_000_000);
                        if client.batch_execute(&undone).await.is_err() {
                            break;
                        }
                    }
                    let update = format!("UPDATE counts SET n = {n} WHERE writer = {writer}");
                    if client.batch_execute(&format!("BEGIN; {insert}; {update}; COMMIT")).await.is_err() {
                        break;
                    }
                    acknowledged = n;
                }
            }
            acknowledged
        })
    }
}

async fn create(server: &Server) {
    let client = server.connect().await;
    run(&client, "CREATE TABLE one (writer INT, n INT, PRIMARY KEY (writer, n))").await;
    run(&client, "CREATE TABLE two (writer INT, n INT, INDEX (n), PRIMARY KEY (writer, n))").await;
    run(&client, "CREATE TABLE counts (writer INT PRIMARY KEY, n INT)").await;
    for writer in 0..WRITERS {
        run(&client, &format!("INSERT INTO counts VALUES ({writer}, 0)")).await;
    }
    // Short histories, so that the collector works all the time.
    run(&client, "ALTER DATABASE defaultdb CONFIGURE ZONE USING gc.ttlseconds = 1").await;
    run(&client, "SET CLUSTER SETTING kv.gc.interval = '1s'").await;
}

/// Every acknowledged transaction is there, and every transaction is there in all three tables or in none.
async fn check(server: &Server, writers: &[Writer]) {
    let client = server.connect().await;
    let counts = "SELECT writer, count(*), max(n) FROM";
    let one = rows(&client, &format!("{counts} one GROUP BY writer ORDER BY writer")).await;
    assert_eq!(
        one,
        rows(&client, &format!("{counts} two GROUP BY writer ORDER BY writer")).await,
        "half a transaction"
    );
    let current: HashMap<String, String> = rows(&client, "SELECT writer, n FROM counts")
        .await
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    for row in one {
        assert_eq!(row[1], row[2], "a gap");
        assert_eq!(current[&row[0]], row[2], "half a transaction");
        let acknowledged = writers[row[0].parse::<usize>().unwrap()].acknowledged;
        assert!(row[2].parse::<i64>().unwrap() >= acknowledged, "{acknowledged} was acknowledged, {row:?} is there");
    }
}

/// Writers at work.
struct Work {
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<i64>>,
}

impl Work {
    fn start(server: &Server, writers: &[Writer]) -> Work {
        let stop = Arc::new(AtomicBool::new(false));
        let handles = writers.iter().map(|writer| writer.start(server, stop.clone())).collect();
        Work { stop, handles }
    }

    /// Takes note of what they were told.
    async fn finish(self, writers: &mut [Writer]) {
        self.stop.store(true, Ordering::SeqCst);
        for (writer, handle) in writers.iter_mut().zip(self.handles) {
            writer.acknowledged = handle.await.unwrap();
        }
    }
}

fn writers() -> Vec<Writer> {
    (0..WRITERS).map(|number| Writer { number, acknowledged: 0 }).collect()
}

fn acknowledged(writers: &[Writer]) -> i64 {
    writers.iter().map(|writer| writer.acknowledged).sum()
}

#[test]
fn the_disk_of_these_tests_forgets_what_was_not_synced() {
    let disk = LossyDisk::new();
    let data = disk.store.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let dd = |name: &str, size: &str, more: &str| {
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=1000", "status=none", size, more]).arg(format!("of={}/{name}", data.display()));
        succeed(dd.envs(disk.environment()));
    };
    dd("synced", "count=3", "conv=fsync");
    dd("forgotten", "count=3", "conv=notrunc");
    dd("grown", "count=2", "conv=fsync");
    dd("grown", "count=5", "conv=notrunc");
    assert_eq!(disk.forget(), 2);
    let size = |name: &str| std::fs::metadata(data.join(name)).unwrap().len();
    assert_eq!([size("synced"), size("forgotten"), size("grown")], [3000, 0, 2000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn power_failures_lose_nothing_that_was_acknowledged() {
    let seed = crate::harness::seed();
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut random = StdRng::seed_from_u64(seed);
    let disk = LossyDisk::new();
    let server = disk.start();
    create(&server).await;
    disk.fail(server);
    let mut writers = writers();
    let (mut kills, mut lost, mut newest) = (0, 0, String::new());
    while kills < KILLS || Instant::now() < end {
        let server = disk.start();
        check(&server, &writers).await;
        let now = value(&server.connect().await, "SELECT cluster_logical_timestamp()").await;
        assert!(now > newest, "time went back from {newest} to {now}");
        let pause = Duration::from_millis(random.random_range(50..1500));
        let work = Work::start(&server, &writers);
        tokio::time::sleep(pause).await;
        newest = value(&server.connect().await, "SELECT cluster_logical_timestamp()").await;
        lost += disk.fail(server);
        work.finish(&mut writers).await;
        disk.assert_sound();
        kills += 1;
    }
    check(&disk.start(), &writers).await;
    let transactions = acknowledged(&writers);
    println!("{kills} kills, {transactions} transactions, {lost} files were not whole on the disk");
    assert!(transactions > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_write_error_the_server_goes_on_without_being_restarted() {
    let disk = LossyDisk::new();
    let server = disk.start();
    create(&server).await;
    let client = server.connect().await;
    let mut writers = writers();
    for _ in 0..3 {
        let before = acknowledged(&writers);
        let work = Work::start(&server, &writers);
        tokio::time::sleep(Duration::from_millis(500)).await;
        std::fs::write(disk.full_flag(), "").unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let refused = client.batch_execute("INSERT INTO one VALUES (99, 99)").await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "58030", "{refused:?}");
        std::fs::remove_file(disk.full_flag()).unwrap();
        for attempt in 0.. {
            match client.batch_execute("UPDATE counts SET n = n WHERE writer = 0").await {
                Ok(()) => break,
                Err(error) => assert!(attempt < 200, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        work.finish(&mut writers).await;
        assert!(acknowledged(&writers) > before);
    }
    check(&server, &writers).await;
    server.terminate();
    disk.assert_sound();
}
