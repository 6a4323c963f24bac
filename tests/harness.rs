//! A server process on a store of its own, and clients for it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const BINARY: &str = env!("CARGO_BIN_EXE_keepsafe");

/// A running server; killed when it goes out of scope.
pub struct Server {
    child: Child,
    pub port: u16,
}

/// A directory with a store in it, which outlives the servers on it.
pub struct Store {
    directory: TempDir,
}

impl Store {
    pub fn new() -> Store {
        Store { directory: tempfile::tempdir().unwrap() }
    }

    /// Verifies the store, which no server may be using.
    pub fn assert_sound(&self) {
        succeed(&mut keepsafe(&["check", "--store", self.path().to_str().unwrap()]));
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The directory of nodelocal:// files.
    pub fn extern_dir(&self) -> PathBuf {
        self.path().join("extern")
    }

    pub fn start(&self) -> Server {
        Server::start(&self.path(), &[])
    }
}

pub fn keepsafe(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    command
}

impl Server {
    pub fn start(store: &Path, more: &[&str]) -> Server {
        Server::start_in(store, more, &[])
    }

    /// With more in its environment.
    pub fn start_in(store: &Path, more: &[&str], environment: &[(&str, PathBuf)]) -> Server {
        let store = store.to_str().unwrap();
        let mut command = keepsafe(&["start", "--store", store, "--listen", "127.0.0.1:0"]);
        if !more.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        let mut child = command
            .args(more)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("keepsafe ready: postgresql://root@127.0.0.1:");
        let port = port.and_then(|rest| rest.strip_suffix("/defaultdb"));
        let port = port.unwrap_or_else(|| panic!("no ready line: {line:?}")).parse().unwrap();
        Server { child, port }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no goodbye, no flush.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop");
    }

    pub async fn connect(&self) -> Client {
        self.connect_to("defaultdb").await
    }

    pub async fn connect_to(&self, database: &str) -> Client {
        // It ends with an error when the server is killed, as it must.
        self.connect_and_watch(database).await.0
    }

    /// A client, and how its connection ends.
    pub async fn connect_and_watch(&self, database: &str) -> (Client, JoinHandle<Result<(), tokio_postgres::Error>>) {
        let url = format!("postgresql://root@127.0.0.1:{}/{database}", self.port);
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        (client, tokio::spawn(connection))
    }

    /// A client program, told where the server is.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGUSER", "root");
        command.env("PGDATABASE", "defaultdb").env_remove("PGPASSWORD").stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed\n{out}\n{err}");
    output
}

/// The rows of a query as text, NULL as "NULL".
pub async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_string()).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// The one value of a query.
pub async fn value(client: &Client, sql: &str) -> String {
    rows(client, sql).await.remove(0).remove(0)
}

pub async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The SQLSTATE and message of a statement that must fail.
pub async fn fail(client: &Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: no error of the server: {error:?}"));
    (error.code().code().to_string(), error.message().to_string())
}

/// Waits until a query gives `expected`.
pub async fn eventually(client: &Client, sql: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = value(client, sql).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{sql} is still {found}, not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What `psql` prints to standard error.
pub fn notices(server: &Server, sql: &str) -> String {
    let output = server.program("psql").args(["-XqAt", "-c", sql]).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Compiles `shim/<name>.c`, to be loaded into a server with LD_PRELOAD.
pub fn compile_shim(name: &str, directory: &Path) -> PathBuf {
    let shim = directory.join(name).with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim").join(name).with_extension("c");
    succeed(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl"));
    shim
}

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(std::fs::copy(entry.path(), to).is_ok()) }
    }
}

/// The seed of a random test, printed: `KEEPSAFE_TEST_SEED`, or a fresh one.
pub fn seed() -> u64 {
    let seed = std::env::var("KEEPSAFE_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    seed
}
