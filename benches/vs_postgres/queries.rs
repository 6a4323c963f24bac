//! Ordinary SQL through ordinary clients, against PostgreSQL.

use std::process::Stdio;

use super::report::{Report, Wanted, in_turn, mebibytes, seconds};
use super::servers::{Keepsafe, Postgres, Server, directory, run, scale, timed};

/// Rows that go to the client.
const RESULT_ROWS: u32 = 5_000_000;
/// Tables of the store that is opened.
const TABLES: usize = 1_000;

fn both(scale: u32) -> (Keepsafe, Postgres) {
    let (keepsafe, postgres) = (Keepsafe::start(), Postgres::start());
    println!("  loaded in {} and {}", seconds(keepsafe.load(scale)), seconds(postgres.load(scale)));
    (keepsafe, postgres)
}

/// Transactions a second; none may fail.
fn pgbench(server: &impl Server, arguments: &[&str], runs_for: &str) -> f64 {
    let mut pgbench = server.program("pgbench");
    pgbench.args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", runs_for]).args(arguments).arg("bench");
    let output = run(&mut pgbench);
    let value = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_string();
    assert!(value("number of failed transactions:").starts_with("0 "), "{output}");
    value("tps =").split_whitespace().next().unwrap().parse().unwrap()
}

fn per_second(what: f64) -> String {
    format!("{what:.0} tps")
}

/// pgbench's own scripts.
pub fn transactions(report: &mut Report) {
    let scale = scale(30);
    let (keepsafe, postgres) = both(scale);
    let points = ["-S"];
    let (ours, theirs) = in_turn(|_| pgbench(&keepsafe, &points, "15"), |_| pgbench(&postgres, &points, "15"));
    let what = format!("`pgbench -S -M prepared -c 8 -j 2 -s {scale}`");
    report.add(&what, per_second(ours), "PostgreSQL", per_second(theirs), ours / theirs, Wanted::AtLeast(0.3));
    let once = ["--max-tries=1"];
    let (ours, theirs) = in_turn(|_| pgbench(&keepsafe, &once, "60"), |_| pgbench(&postgres, &once, "60"));
    let what = format!("`pgbench -M prepared -c 8 -j 2 -s {scale} --max-tries=1`");
    report.add(&what, per_second(ours), "PostgreSQL", per_second(theirs), ours / theirs, Wanted::AtLeast(0.25));
}

/// A join whose plan is kept from one run to the next, and the same that is planned each time.
pub fn plans(report: &mut Report) {
    const SCRIPT: &str = "\\set bid random(1, 10)\n\\set tid random(10, 100)\n\
        SELECT t.tid, b.bbalance FROM pgbench_tellers t JOIN pgbench_branches b ON b.bid = t.bid WHERE b.bid = :bid AND t.tid < :tid;\n";
    let keepsafe = Keepsafe::start();
    println!("  loaded in {}", seconds(keepsafe.load(10)));
    let directory = directory();
    let script = directory.path().join("join.sql");
    std::fs::write(&script, SCRIPT).unwrap();
    let script = script.to_str().unwrap();
    let kept = ["-f", script];
    let anew = ["-f", script, "-M", "extended"];
    let (kept, anew) = in_turn(|_| pgbench(&keepsafe, &kept, "15"), |_| pgbench(&keepsafe, &anew, "15"));
    let what = "`pgbench -M prepared -c 8 -j 2` of a join";
    report.add(what, per_second(kept), "`-M extended`", per_second(anew), kept / anew, Wanted::AtLeast(1.0));
}

/// `COPY` in, and a large result out.
pub fn bulk(report: &mut Report) {
    let (mut keepsafe, postgres) = (Keepsafe::start(), Postgres::start());
    let rows = RESULT_ROWS.min(scale(50) * 100_000);
    let file = postgres.output("rows");
    let made = "SELECT i, (i - 1) / 100000 + 1, 0, '' FROM generate_series(1, ";
    run(&mut postgres.psql(&[&format!("COPY ({made}{rows}) AS i) TO '{}'", file.display())]));
    let table = "CREATE TABLE accounts (aid INT PRIMARY KEY, bid INT, abalance INT, filler CHAR(84))";
    let copy = |server: &dyn Fn(&[&str]) -> f64| {
        server(&["DROP TABLE IF EXISTS accounts", table]);
        server(&[&format!("\\copy accounts FROM '{}'", file.display())])
    };
    let (ours, theirs) = in_turn(
        |_| copy(&|statements| timed(&mut keepsafe.psql(statements))),
        |_| copy(&|statements| timed(&mut postgres.psql(statements))),
    );
    let what = format!("`COPY` of {rows} rows of pgbench's accounts");
    report.add(&what, seconds(ours), "PostgreSQL", seconds(theirs), theirs / ours, Wanted::AtLeast(0.3));
    // A client that throws the rows away as they come.
    let fetch = |mut psql: std::process::Command| {
        psql.args(["-v", "FETCH_COUNT=0", "-o", "/dev/null"]).stdout(Stdio::null());
        timed(psql.args(["-c", "\\copy (SELECT aid, bid, abalance FROM accounts) TO '/dev/null'"]))
    };
    keepsafe.restart();
    run(&mut keepsafe.psql(&["SELECT 1"]));
    keepsafe.forget_peak();
    let (idle, _) = keepsafe.memory();
    let (ours, theirs) = in_turn(|_| fetch(keepsafe.program("psql")), |_| fetch(postgres.program("psql")));
    let what = format!("{rows} rows to the client");
    report.add(&what, seconds(ours), "PostgreSQL", seconds(theirs), theirs / ours, Wanted::AtLeast(0.3));
    let (above, limit) = (keepsafe.memory().1 - idle, f64::from(256 << 20));
    let what = format!("peak memory above idle while {rows} rows go to the client");
    report.add(&what, mebibytes(above), "the limit", mebibytes(limit), above / limit, Wanted::AtMost(1.0));
}

/// From the start of the program until it takes connections.
pub fn start(report: &mut Report) {
    let mut keepsafe = Keepsafe::start();
    let tables: Vec<String> =
        (0..TABLES).map(|n| format!("CREATE TABLE t{n} (a INT PRIMARY KEY, b TEXT UNIQUE)")).collect();
    for some in tables.chunks(100) {
        run(&mut keepsafe.psql(&[&some.join("; ")]));
    }
    let mut times: Vec<f64> = (0..3).map(|_| keepsafe.restart()).collect();
    times.sort_by(f64::total_cmp);
    let what = format!("start until ready, a store with {TABLES} tables");
    report.add(&what, seconds(times[1]), "the limit", seconds(1.0), times[1], Wanted::AtMost(1.0));
}
