//! A crash at every step of a backup and of a restore: before each call that makes, names, removes or fsyncs a file, be it of
//! the store or of the backup.

use std::path::PathBuf;

use tokio_postgres::Client;

use crate::harness::{Server, Store, compile_shim, eventually, rows, run, value};

const ROWS: &str = "SELECT a, b FROM {}.t ORDER BY a";

/// A store whose server dies at a step.
struct Stage {
    store: Store,
    directory: tempfile::TempDir,
    shim: PathBuf,
}

impl Stage {
    async fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let stage = Stage { store: Store::new(), shim: compile_shim("steps", directory.path()), directory };
        let server = stage.start();
        let client = server.connect().await;
        run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
        run(&client, "INSERT INTO d.t SELECT i, 'row ' || i::TEXT FROM generate_series(1, 300) AS g (i)").await;
        server.terminate();
        stage
    }

    fn start(&self) -> Server {
        let environment = [("LD_PRELOAD", self.shim.clone()), ("STEPS", self.directory.path().join("steps"))];
        Server::start_in(&self.store.path(), &["--log", "error"], &environment)
    }

    /// Runs a statement on a server that dies at a step of it; whether it did.
    async fn crash_at(&self, step: usize, before: &str, statement: &str) -> bool {
        let server = self.start();
        let client = server.connect().await;
        if !before.is_empty() {
            run(&client, before).await;
        }
        std::fs::write(self.directory.path().join("steps"), step.to_string()).unwrap();
        let crashed = client.batch_execute(statement).await.is_err_and(|error| error.as_db_error().is_none());
        std::fs::remove_file(self.directory.path().join("steps")).unwrap();
        server.kill();
        self.store.assert_sound();
        crashed
    }
}

/// Steps to crash at: all of them if time is given, otherwise some.
fn steps() -> impl Iterator<Item = usize> {
    let stride = if std::env::var_os("KEEPSAFE_TEST_SECONDS").is_some() { 1 } else { 12 };
    (1 + rand::random_range(0..stride)..).step_by(stride)
}

async fn settled(client: &Client) {
    eventually(client, "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed')", "0").await;
    assert_eq!(value(client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    assert_eq!(value(client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'failed'").await, "0");
}

async fn assert_restorable(client: &Client, collection: &str) {
    run(client, &format!("RESTORE DATABASE d FROM LATEST IN '{collection}' WITH new_db_name = 'r'")).await;
    assert_eq!(rows(client, &ROWS.replace("{}", "r")).await, rows(client, &ROWS.replace("{}", "d")).await);
    run(client, "DROP DATABASE r CASCADE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_survives_a_crash_at_every_step() {
    let stage = Stage::new().await;
    for incremental in [false, true] {
        let mut crashes = 0;
        for step in steps() {
            let collection = format!("nodelocal://1/{incremental}{step}");
            let full = format!("BACKUP DATABASE d INTO '{collection}'");
            let (before, statement, layers) = match incremental {
                false => (String::new(), full, 1),
                true => (
                    format!("{full}; UPSERT INTO d.t VALUES ({step}, 'changed')"),
                    format!("BACKUP DATABASE d INTO LATEST IN '{collection}'"),
                    2,
                ),
            };
            let crashed = stage.crash_at(step, &before, &statement).await;
            let server = stage.start();
            let client = server.connect().await;
            settled(&client).await;
            // It is complete, or was never begun and can be taken again.
            let shown = format!("SELECT count(DISTINCT end_time) FROM [SHOW BACKUP FROM LATEST IN '{collection}']");
            let found = client.simple_query(&shown).await.is_ok();
            if !found || value(&client, &shown).await != layers.to_string() {
                assert!(crashed);
                run(&client, &statement).await;
                assert_eq!(value(&client, &shown).await, layers.to_string(), "step {step}");
            }
            run(&client, &format!("SHOW BACKUP VALIDATE FROM LATEST IN '{collection}'")).await;
            assert_restorable(&client, &collection).await;
            // Its chain can be added to.
            run(&client, &format!("BACKUP DATABASE d INTO LATEST IN '{collection}'")).await;
            server.terminate();
            crashes += usize::from(crashed);
            if !crashed {
                break;
            }
        }
        println!("{crashes} crashes; incremental: {incremental}");
        assert!(crashes > 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_survives_a_crash_at_every_step() {
    let stage = Stage::new().await;
    let server = stage.start();
    let client = server.connect().await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'").await;
    server.terminate();
    let mut crashes = 0;
    for step in steps() {
        let restore = "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'";
        let crashed = stage.crash_at(step, "", restore).await;
        let server = stage.start();
        let client = server.connect().await;
        settled(&client).await;
        let databases = rows(&client, "SELECT database_name FROM [SHOW DATABASES]").await;
        if !databases.contains(&vec!["r".to_string()]) {
            assert!(crashed);
            run(&client, restore).await;
        }
        assert_eq!(
            rows(&client, &ROWS.replace("{}", "r")).await,
            rows(&client, &ROWS.replace("{}", "d")).await,
            "step {step}"
        );
        run(&client, "DROP DATABASE r CASCADE").await;
        server.terminate();
        crashes += usize::from(crashed);
        if !crashed {
            break;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 1);
}
