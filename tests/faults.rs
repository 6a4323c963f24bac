//! External storage that fails, is slow, forgets, or lies.
//!
//! Node and server run in the test's own process, on an object store that does to every call what the test asks for.

mod control;
mod manifests;
mod retry;
pub mod storage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepsafe::kv::embedded::DEFAULT_CACHE_BYTES;
use keepsafe::node::{Config, Node};
use keepsafe::server::Server;
use keepsafe::storage::Storage;
use keepsafe::time::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::harness::{eventually, fail, rows, run, value};
use storage::{Fault, Faulty};

/// Seconds of random faults, unless `KEEPSAFE_TEST_SECONDS` says otherwise.
const SECONDS: u64 = 15;

/// A node in this process.
pub struct Local {
    directory: tempfile::TempDir,
    pub storage: Arc<Faulty>,
    node: Node,
    url: String,
    pub client: Client,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Local {
    async fn start() -> Local {
        let directory = tempfile::tempdir().unwrap();
        Local::start_on(directory, Arc::new(Faulty::default()), Arc::new(SystemClock::default())).await
    }

    /// On a store that may be there already, and another clock than the machine's.
    pub async fn start_on(directory: tempfile::TempDir, storage: Arc<Faulty>, clock: Arc<dyn Clock>) -> Local {
        let config = Config {
            store: directory.path().join("store"),
            external_io_dir: None,
            locality: String::new(),
            cache_bytes: DEFAULT_CACHE_BYTES,
        };
        let mounted = Storage::new(None).mount("faulty", storage.clone());
        let node = Node::open_on(&config, mounted, clock).await.unwrap();
        let server = Server::bind(node.engine().clone(), "127.0.0.1:0", None).await.unwrap();
        let url = format!("postgresql://root@{}/defaultdb", server.address().unwrap());
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(server.run(stopped));
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        Local { directory, storage, node, url, client, stop, serving }
    }

    /// One more client.
    async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What is left can be started again.
    pub async fn stop(self) -> (tempfile::TempDir, Arc<Faulty>) {
        drop(self.client);
        self.node.stop_jobs();
        self.stop.send_replace(true);
        self.serving.await.unwrap();
        self.node.close().await.unwrap();
        (self.directory, self.storage)
    }

    /// A chain of three layers of `d`; what table `t` was at the end of each.
    async fn chain(&self, uri: &str, with: &str) -> Vec<Vec<Vec<String>>> {
        run(&self.client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
        let mut states = Vec::new();
        for layer in 0..3 {
            let fill = format!(
                "UPSERT INTO d.t SELECT i * {}, 'layer {layer} ' || i::TEXT FROM generate_series(1, 700) AS g (i)",
                layer + 1
            );
            run(&self.client, &fill).await;
            run(&self.client, &format!("DELETE FROM d.t WHERE a % 10 = {layer}")).await;
            states.push(self.rows_of("d").await);
            let into = if layer == 0 { "" } else { "LATEST IN " };
            run(&self.client, &format!("BACKUP DATABASE d INTO {into}'{uri}' {with}")).await;
        }
        states
    }

    async fn rows_of(&self, database: &str) -> Vec<Vec<String>> {
        rows(&self.client, &format!("SELECT a, b FROM {database}.t ORDER BY a")).await
    }

    /// Nothing is left of a restore that failed.
    async fn assert_nothing_left(&self, database: &str) {
        let databases = rows(&self.client, "SELECT database_name FROM [SHOW DATABASES]").await;
        assert!(!databases.contains(&vec![database.to_string()]));
        assert_eq!(value(&self.client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    }
}

const URI: &str = "faulty://c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_may_fail_once_and_everything_is_done_all_the_same() {
    let local = Local::start().await;
    run(&local.client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
    run(&local.client, "INSERT INTO d.t SELECT i, 'row ' || i::TEXT FROM generate_series(1, 500) AS g (i)").await;
    let expected = local.rows_of("d").await;
    let statements = [
        "BACKUP DATABASE d INTO 'faulty://{}'",
        "BACKUP DATABASE d INTO LATEST IN 'faulty://{}'",
        "RESTORE DATABASE d FROM LATEST IN 'faulty://{}' WITH new_db_name = 'r'",
    ];
    // How many calls there are without faults.
    let mut calls = [0; 3];
    for (statement, calls) in statements.iter().zip(&mut calls) {
        local.storage.set(Vec::new());
        run(&local.client, &statement.replace("{}", "count")).await;
        *calls = local.storage.calls();
    }
    run(&local.client, "DROP DATABASE r CASCADE").await;
    let step = if std::env::var_os("KEEPSAFE_TEST_SECONDS").is_some() { 1 } else { 8 };
    let offset = rand::random_range(0..step);
    for (which, statement) in statements.iter().enumerate() {
        let faults = [Fault::Fail, Fault::DoneAndFail];
        let all = (0..calls[which]).flat_map(|call| faults.map(|fault| (call, fault)));
        for (failing, fault) in all.skip(offset).step_by(step) {
            let place = format!("{which}-{failing}-{fault:?}").to_lowercase();
            for before in &statements[..which] {
                local.storage.set(Vec::new());
                run(&local.client, &before.replace("{}", &place)).await;
            }
            local.storage.set(vec![(failing, fault)]);
            let statement = statement.replace("{}", &place);
            // A call of the statement itself fails it; one of its job is made again.
            if local.client.batch_execute(&statement).await.is_err() {
                local.assert_nothing_left("r").await;
                run(&local.client, &statement).await;
            }
            local.storage.set(Vec::new());
            if which < 2 {
                run(&local.client, &statements[2].replace("{}", &place)).await;
            }
            assert_eq!(local.rows_of("r").await, expected, "{statement}, call {failing}, {fault:?}");
            run(&local.client, "DROP DATABASE r CASCADE").await;
        }
    }
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_is_gone_for_good_fails_jobs_and_leaves_nothing() {
    let local = Local::start().await;
    let states = local.chain(URI, "").await;
    for calls in [3, 9, 20] {
        local.storage.set(vec![(calls, Fault::Gone)]);
        let restore = format!("RESTORE DATABASE d FROM LATEST IN '{URI}' WITH new_db_name = 'r', detached");
        let _ = local.client.batch_execute(&restore).await;
        let backup = format!("BACKUP DATABASE d INTO LATEST IN '{URI}'");
        assert!(local.client.batch_execute("SET statement_timeout = '2s'").await.is_ok());
        let _ = local.client.batch_execute(&backup).await;
        run(&local.client, "SET statement_timeout = 0").await;
        local.storage.set(Vec::new());
        let unfinished = "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed')";
        eventually(&local.client, unfinished, "0").await;
        if local.client.batch_execute("DROP DATABASE r CASCADE").await.is_err() {
            local.assert_nothing_left("r").await;
        }
    }
    // The chain goes on where it was.
    run(&local.client, &format!("BACKUP DATABASE d INTO LATEST IN '{URI}'")).await;
    run(&local.client, &format!("RESTORE DATABASE d FROM LATEST IN '{URI}' WITH new_db_name = 'r'")).await;
    assert_eq!(&local.rows_of("r").await, states.last().unwrap());
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_storage_does_a_restore_is_right_or_an_error() {
    let seed = crate::harness::seed();
    let seconds = std::env::var("KEEPSAFE_TEST_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let local = Local::start().await;
    let (mut right, mut older, mut refused, mut round) = (0, 0, 0, 0);
    while Instant::now() < end {
        round += 1;
        let with = if random.random_range(0..4) == 0 { "WITH encryption_passphrase = 'p'" } else { "" };
        let uri = format!("faulty://c{round}");
        let states = local.chain(&uri, with).await;
        let more = if with.is_empty() { "WITH" } else { "WITH encryption_passphrase = 'p'," };
        for attempt in 0..20 {
            let calls = 60;
            let faults =
                (0..random.random_range(1..4)).map(|_| (random.random_range(0..calls), Fault::lie(&mut random)));
            let faults: Vec<(usize, Fault)> = faults.collect();
            local.storage.set(faults.clone());
            // Damage may also have been done when it was written.
            let damage = match random.random_range(0..2) {
                0 => Some(local.storage.damage(&format!("c{round}"), &mut random).await),
                _ => None,
            };
            let restore = format!("RESTORE DATABASE d FROM LATEST IN '{uri}' {more} new_db_name = 'r'");
            let restored = local.client.batch_execute(&restore).await;
            local.storage.set(Vec::new());
            match restored {
                Ok(()) => {
                    let found = local.rows_of("r").await;
                    let which = states.iter().position(|state| *state == found);
                    let which = which.unwrap_or_else(|| {
                        panic!("seed {seed}, round {round}, {attempt}: wrong rows, {faults:?} {damage:?}")
                    });
                    if which + 1 == states.len() {
                        right += 1
                    } else {
                        older += 1
                    }
                    run(&local.client, "DROP DATABASE r CASCADE").await;
                }
                Err(error) => {
                    assert!(error.as_db_error().is_some(), "seed {seed}, round {round}: {error:?}");
                    local.assert_nothing_left("r").await;
                    refused += 1;
                }
            }
            if let Some(damage) = damage {
                local.storage.repair(damage).await;
            }
        }
        run(&local.client, &format!("RESTORE DATABASE d FROM LATEST IN '{uri}' {more} new_db_name = 'r'")).await;
        assert_eq!(&local.rows_of("r").await, states.last().unwrap());
        run(&local.client, "DROP DATABASE r CASCADE; DROP DATABASE d CASCADE").await;
    }
    println!("{right} right, {older} of an older layer, {refused} refused");
    assert!(right > 0 && refused > 0);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_cut_short_or_changed_while_written_are_found() {
    let seed = crate::harness::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let local = Local::start().await;
    run(&local.client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
    run(&local.client, "INSERT INTO d.t SELECT i, 'row ' || i::TEXT FROM generate_series(1, 500) AS g (i)").await;
    let expected = local.rows_of("d").await;
    let mut found = 0;
    for call in 0..24 {
        let fault = match random.random_range(0..3) {
            0 => Fault::HalfWritten,
            1 => Fault::CutShort,
            _ => Fault::Flip(random.random_range(0..1 << 20)),
        };
        local.storage.set(vec![(call, fault)]);
        let uri = format!("faulty://w{call}");
        let backup = format!("BACKUP DATABASE d INTO '{uri}'");
        let backup = tokio::time::timeout(Duration::from_secs(60), local.client.batch_execute(&backup)).await;
        let backup = backup.unwrap_or_else(|_| panic!("seed {seed}, call {call}, {fault:?}: the backup does not end"));
        local.storage.set(Vec::new());
        let restored = local
            .client
            .batch_execute(&format!("RESTORE DATABASE d FROM LATEST IN '{uri}' WITH new_db_name = 'r'"))
            .await;
        match restored {
            Ok(()) => {
                assert_eq!(local.rows_of("r").await, expected, "seed {seed}, call {call}");
                run(&local.client, "DROP DATABASE r CASCADE").await;
            }
            Err(_) => {
                found += 1;
                local.assert_nothing_left("r").await;
                // What was complete is damaged, and says so.
                if backup.is_ok() {
                    let validate = format!("SHOW BACKUP VALIDATE FROM LATEST IN '{uri}'");
                    let (_, message) = fail(&local.client, &validate).await;
                    assert!(message.contains(&uri), "seed {seed}, call {call}: {message}");
                }
            }
        }
    }
    assert!(found > 0);
    local.stop().await;
}
