//! The server of the model test: on a clock that can be set, killed and started again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::NaiveDateTime;
use tokio_postgres::Client;

use crate::harness::{Server, Store, compile_shim, eventually, rows, run, value};

pub struct Cluster {
    store: Store,
    directory: tempfile::TempDir,
    external: PathBuf,
    server: Option<Server>,
    client: Client,
    /// Seconds by which its clock is ahead.
    offset: i64,
    /// Databases in which the session has temporary objects.
    temporary: BTreeSet<String>,
}

/// How a statement ended.
pub enum Answer {
    Done,
    /// SQLSTATE and message.
    Refused(String, String),
}

impl Cluster {
    pub async fn start() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        compile_shim("clock", directory.path());
        let external = directory.path().join("extern");
        Cluster::start_in(directory, external).await
    }

    async fn start_in(directory: tempfile::TempDir, external: PathBuf) -> Cluster {
        let store = Store::new();
        let server = launch(&store, directory.path(), &external);
        let client = server.connect_to("system").await;
        Cluster { store, directory, external, server: Some(server), client, offset: 0, temporary: BTreeSet::new() }
    }

    /// An empty one that sees the same backups.
    pub async fn another(&self) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(self.directory.path().join("clock.so"), directory.path().join("clock.so")).unwrap();
        std::fs::write(directory.path().join("offset"), self.offset.to_string()).unwrap();
        Cluster::start_in(directory, self.external.clone()).await
    }

    pub async fn kill(&mut self) {
        self.server.take().unwrap().kill();
        // Whatever it left.
        self.store.assert_sound();
    }

    /// Starts it again, its clock ahead by so many seconds more.
    pub async fn restart(&mut self, seconds: i64) {
        self.offset += seconds;
        std::fs::write(self.directory.path().join("offset"), self.offset.to_string()).unwrap();
        let server = launch(&self.store, self.directory.path(), &self.external);
        self.client = server.connect_to("system").await;
        self.temporary.clear();
        self.server = Some(server);
        self.wait_for_jobs().await;
    }

    /// Makes temporary objects in a database, which no backup is to have, and no restart to leave.
    pub async fn make_temporary(&mut self, database: &str) {
        let table =
            "CREATE TEMP TABLE IF NOT EXISTS passing (id SERIAL PRIMARY KEY, v TEXT UNIQUE) ON COMMIT DELETE ROWS";
        let view = "CREATE TEMP VIEW IF NOT EXISTS passing_by AS SELECT v FROM passing";
        self.run(&format!("USE {database}; {table}; INSERT INTO passing (v) VALUES ('x'); {view}; USE system")).await;
        self.temporary.insert(database.to_string());
    }

    /// The condition for relations in a database that are expected there: all but the session's temporary ones.
    pub fn lasting(&self, database: &str) -> &'static str {
        if self.temporary.contains(database) { "schema_name NOT LIKE 'pg_temp%'" } else { "true" }
    }

    /// Stops it for good.
    pub fn stop(mut self) {
        self.server.take().unwrap().terminate();
        self.store.assert_sound();
    }

    pub async fn run(&mut self, sql: &str) {
        say(sql);
        run(&self.client, sql).await;
    }

    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.client, sql).await
    }

    pub async fn try_run(&mut self, sql: &str) -> Answer {
        say(sql);
        match self.client.batch_execute(sql).await {
            Ok(()) => Answer::Done,
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
                Answer::Refused(error.code().code().into(), error.message().into())
            }
        }
    }

    /// Kills the server while it is at a statement, and starts it again.
    pub async fn run_and_kill(&mut self, sql: &str, after: Duration) {
        say(&format!("killed: {sql}"));
        let statement = self.client.batch_execute(sql);
        let _ = tokio::time::timeout(after, statement).await;
        self.kill().await;
        self.restart(0).await;
    }

    pub async fn now(&mut self) -> i128 {
        value(&self.client, "SELECT cluster_logical_timestamp()").await.parse().unwrap()
    }

    pub async fn wait_for_jobs(&mut self) {
        let unfinished = "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed', 'canceled')";
        eventually(&self.client, unfinished, "0").await;
    }

    /// The full backups of a collection.
    pub async fn paths(&mut self, uri: &str) -> Vec<String> {
        self.rows(&format!("SHOW BACKUPS IN '{uri}'")).await.into_iter().map(|row| row[0].clone()).collect()
    }

    /// When the layers of a chain end.
    pub async fn ends(&mut self, uri: &str, path: &str, with: &str) -> Vec<i128> {
        let shown = format!("SELECT DISTINCT end_time FROM [SHOW BACKUP FROM '{path}' IN '{uri}'{with}] ORDER BY 1");
        let end = |row: Vec<String>| {
            let time = NaiveDateTime::parse_from_str(row[0].trim_end_matches("+00"), "%Y-%m-%d %H:%M:%S%.f").unwrap();
            i128::from(time.and_utc().timestamp_micros()) * 1000
        };
        self.rows(&shown).await.into_iter().map(end).collect()
    }

    /// Whether a database has something in it.
    pub async fn has_restored(&mut self, name: &str) -> bool {
        let databases = self.rows("SELECT database_name FROM [SHOW DATABASES]").await;
        databases.iter().any(|row| row[0] == name) && !self.rows(&format!("SHOW TABLES FROM {name}")).await.is_empty()
    }
}

/// For whoever looks into a failure.
fn say(sql: &str) {
    println!("{}", sql.chars().take(300).collect::<String>());
}

fn launch(store: &Store, directory: &Path, external: &Path) -> Server {
    let environment = [("LD_PRELOAD", directory.join("clock.so")), ("CLOCK_OFFSET", directory.join("offset"))];
    let external = external.to_str().unwrap();
    Server::start_in(&store.path(), &["--log", "error", "--external-io-dir", external], &environment)
}
