//! A keepsafe and a PostgreSQL of the benchmark's own, and the programs that talk to them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

/// The scale of a case, unless all are replaced for a quick look.
pub fn scale(usual: u32) -> u32 {
    std::env::var("KEEPSAFE_BENCH_SCALE").map_or(usual, |scale| scale.parse().unwrap())
}

/// Where data may lie.
pub fn directory() -> TempDir {
    match std::env::var_os("KEEPSAFE_BENCH_DIR") {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    }
}

/// Runs a program, which must succeed, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// How many seconds a program takes.
pub fn timed(command: &mut Command) -> f64 {
    let start = Instant::now();
    run(command);
    start.elapsed().as_secs_f64()
}

/// Bytes of the files in a directory.
pub fn bytes_in(directory: &Path) -> f64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { bytes_in(&path) } else { path.metadata().unwrap().len() as f64 }).sum()
}

/// What both servers can be asked.
pub trait Server {
    /// A client program, told where the server is.
    fn program(&self, name: &str) -> Command;

    /// `psql` with statements, each a transaction of its own.
    fn psql(&self, statements: &[&str]) -> Command {
        let mut psql = self.program("psql");
        psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]);
        for statement in statements {
            psql.args(["-c", statement]);
        }
        psql
    }

    /// Loads pgbench's tables into a database called bench; how many seconds it took.
    fn load(&self, scale: u32) -> f64 {
        run(&mut self.psql(&["CREATE DATABASE bench"]));
        timed(self.program("pgbench").args(["-i", "-q", "-s", &scale.to_string(), "bench"]))
    }
}

fn client(name: &str, port: u16, database: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGUSER", "root");
    command.env("PGDATABASE", database);
    command
}

/// A running keepsafe, killed in the end.
pub struct Keepsafe {
    directory: TempDir,
    external: PathBuf,
    child: Child,
    port: u16,
}

impl Keepsafe {
    pub fn start() -> Keepsafe {
        let directory = directory();
        let external = directory.path().join("extern");
        Keepsafe::start_in(directory, external)
    }

    /// An empty one that sees the same backups.
    pub fn another(&self) -> Keepsafe {
        Keepsafe::start_in(directory(), self.external.clone())
    }

    fn start_in(directory: TempDir, external: PathBuf) -> Keepsafe {
        let (child, port) = Keepsafe::launch(directory.path(), &external);
        Keepsafe { directory, external, child, port }
    }

    fn launch(directory: &Path, external: &Path) -> (Child, u16) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keepsafe"));
        command
            .args(["start", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--store"])
            .arg(directory.join("store"))
            .arg("--external-io-dir")
            .arg(external);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
        (child, port)
    }

    /// Stops it and starts it again: how many seconds it took until it was ready.
    pub fn restart(&mut self) -> f64 {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().unwrap();
        let start = Instant::now();
        (self.child, self.port) = Keepsafe::launch(self.directory.path(), &self.external);
        start.elapsed().as_secs_f64()
    }

    /// The directory of a collection under `nodelocal://1/`.
    pub fn collection(&self, name: &str) -> PathBuf {
        self.external.join(name)
    }

    /// Bytes of memory it uses now, and at most since [`Keepsafe::forget_peak`].
    pub fn memory(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kilobytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
        };
        (kilobytes("VmRSS:"), kilobytes("VmHWM:"))
    }

    pub fn forget_peak(&self) {
        // Writing 5 sets the peak to what is in use now.
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }
}

impl Server for Keepsafe {
    fn program(&self, name: &str) -> Command {
        client(name, self.port, "defaultdb")
    }
}

impl Drop for Keepsafe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running PostgreSQL with its usual configuration, in UTF-8; it does not run as root.
pub struct Postgres {
    directory: TempDir,
    port: u16,
}

impl Postgres {
    pub fn start() -> Postgres {
        let directory = directory();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let postgres = Postgres { directory, port };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(postgres.directory.path()));
        }
        run(postgres.owned("initdb").args(["-U", "root", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]));
        let options = format!("-p {port} -k '' -h 127.0.0.1");
        let log = postgres.directory.path().join("log");
        // Its output must not be a pipe that the server keeps open.
        let mut start = postgres.owned("pg_ctl");
        start.args(["start", "-w", "-o", &options, "-l"]).arg(log).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(start.status().unwrap().success(), "PostgreSQL does not start");
        postgres
    }

    /// One of the programs that work on the data directory.
    fn owned(&self, name: &str) -> Command {
        let program = run(Command::new("pg_config").arg("--bindir"));
        let program = Path::new(program.trim()).join(name);
        let program = if program.exists() { program } else { newest_version().join(name) };
        let mut command = match is_root() {
            true => Command::new("runuser"),
            false => Command::new(&program),
        };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(program);
        }
        command.arg("-D").arg(self.directory.path().join("data")).current_dir(self.directory.path());
        command
    }

    /// A directory that a client program may make.
    pub fn output(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// Where Debian keeps the newest server's programs.
fn newest_version() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").unwrap();
    versions.map(|version| version.unwrap().path().join("bin")).max().unwrap()
}

impl Server for Postgres {
    fn program(&self, name: &str) -> Command {
        client(name, self.port, "postgres")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.owned("pg_ctl");
        let _ = stop.args(["stop", "-m", "immediate"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
