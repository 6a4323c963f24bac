//! Backups and restores of pgbench's tables.

use std::process::{Child, Stdio};

use super::report::{Report, Wanted, in_turn, mebibytes, seconds};
use super::servers::{Keepsafe, Postgres, Server, bytes_in, run, scale, timed};

/// Seconds of a statement.
fn statement(server: &impl Server, statement: &str) -> f64 {
    timed(&mut server.psql(&[statement]))
}

/// Seconds of a restore of `bench`, which is dropped again.
fn restore(server: &Keepsafe, from: &str, more: &str) -> f64 {
    let took = statement(server, &format!("RESTORE DATABASE bench FROM {from} WITH new_db_name = 'r'{more}"));
    run(&mut server.psql(&["DROP DATABASE r CASCADE"]));
    took
}

/// Seconds of a restore into an empty cluster.
fn restore_elsewhere(server: &Keepsafe, from: &str, more: &str) -> f64 {
    let empty = server.another();
    statement(&empty, &format!("RESTORE DATABASE bench FROM {from} WITH new_db_name = 'r'{more}"))
}

fn loaded(scale: u32) -> Keepsafe {
    let server = Keepsafe::start();
    println!("  loaded in {}", seconds(server.load(scale)));
    server
}

pub fn against_pg_dump(report: &mut Report) {
    let scale = scale(30);
    let (keepsafe, postgres) = (loaded(scale), Postgres::start());
    println!("  loaded in {}", seconds(postgres.load(scale)));
    let dump = |round: usize| postgres.output(&format!("dump{round}"));
    let (ours, theirs) = in_turn(
        |round| statement(&keepsafe, &format!("BACKUP DATABASE bench INTO 'nodelocal://1/b{round}'")),
        |round| timed(postgres.program("pg_dump").args(["-Fd", "-j2", "-Z1", "bench", "-f"]).arg(dump(round))),
    );
    let what = format!("full `BACKUP DATABASE`, `-s {scale}`");
    let ratio = theirs / ours;
    report.add(&what, seconds(ours), "`pg_dump -Fd -j2 -Z1`", seconds(theirs), ratio, Wanted::AtLeast(2.0));
    let (ours, theirs) = (bytes_in(&keepsafe.collection("b0")), bytes_in(&dump(0)));
    let what = format!("bytes of the backup, `-s {scale}`");
    report.add(&what, mebibytes(ours), "the dump", mebibytes(theirs), ours / theirs, Wanted::AtMost(1.0));
    let (ours, theirs) = in_turn(
        |round| restore(&keepsafe, &format!("LATEST IN 'nodelocal://1/b{round}'"), ""),
        |round| {
            run(&mut postgres.psql(&["CREATE DATABASE r"]));
            let took = timed(postgres.program("pg_restore").args(["-j2", "-d", "r"]).arg(dump(round)));
            run(&mut postgres.psql(&["DROP DATABASE r"]));
            took
        },
    );
    let what = format!("`RESTORE DATABASE`, `-s {scale}`");
    let ratio = theirs / ours;
    report.add(&what, seconds(ours), "`pg_restore -j2` of that dump", seconds(theirs), ratio, Wanted::AtLeast(3.0));
}

pub fn encryption(report: &mut Report) {
    let scale = scale(100);
    let server = loaded(scale);
    let sealed = "encryption_passphrase = 'a passphrase of some length'";
    let (ours, plain) = in_turn(
        |round| statement(&server, &format!("BACKUP DATABASE bench INTO 'nodelocal://1/e{round}' WITH {sealed}")),
        |round| statement(&server, &format!("BACKUP DATABASE bench INTO 'nodelocal://1/p{round}'")),
    );
    let what = format!("encrypted backup, `-s {scale}`");
    report.add(&what, seconds(ours), "a plain one", seconds(plain), ours / plain, Wanted::AtMost(1.25));
    let (ours, plain) = in_turn(
        |round| restore_elsewhere(&server, &format!("LATEST IN 'nodelocal://1/e{round}'"), &format!(", {sealed}")),
        |round| restore_elsewhere(&server, &format!("LATEST IN 'nodelocal://1/p{round}'"), ""),
    );
    let what = format!("restore of an encrypted backup, `-s {scale}`");
    report.add(&what, seconds(ours), "of a plain one", seconds(plain), ours / plain, Wanted::AtMost(1.25));
}

/// Changes one row in a hundred, evenly spread.
fn change(server: &Keepsafe, round: usize) {
    let update = format!("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 100 = {}", round % 100);
    run(server.psql(&[&update]).env("PGDATABASE", "bench"));
}

pub fn incremental(report: &mut Report) {
    let scale = scale(100);
    let server = loaded(scale);
    let (layer, full) = in_turn(
        |round| {
            let into = format!("nodelocal://1/c{round}");
            run(&mut server.psql(&[&format!("BACKUP DATABASE bench INTO '{into}'")]));
            change(&server, round);
            statement(&server, &format!("BACKUP DATABASE bench INTO LATEST IN '{into}'"))
        },
        |round| statement(&server, &format!("BACKUP DATABASE bench INTO 'nodelocal://1/f{round}'")),
    );
    let what = format!("incremental after 1 % of rows changed, `-s {scale}`");
    report.add(&what, seconds(layer), "a full backup", seconds(full), layer / full, Wanted::AtMost(0.12));
    let layers = bytes_in(&server.collection("c0").join("incrementals"));
    let full = bytes_in(&server.collection("f0"));
    let what = format!("bytes of the incremental, `-s {scale}`");
    report.add(&what, mebibytes(layers), "of a full backup", mebibytes(full), layers / full, Wanted::AtMost(0.05));
}

pub fn chain(report: &mut Report) {
    const LAYERS: usize = 24;
    let scale = scale(30);
    let server = loaded(scale);
    run(&mut server
        .psql(&["BACKUP DATABASE bench INTO 'nodelocal://1/full'", "BACKUP DATABASE bench INTO 'nodelocal://1/c'"]));
    for round in 0..LAYERS {
        change(&server, round);
        run(&mut server.psql(&["BACKUP DATABASE bench INTO LATEST IN 'nodelocal://1/c'"]));
    }
    let (all, full) = in_turn(
        |_| restore_elsewhere(&server, "LATEST IN 'nodelocal://1/c'", ""),
        |_| restore_elsewhere(&server, "LATEST IN 'nodelocal://1/full'", ""),
    );
    let what = format!("restore of a full and {LAYERS} incrementals of 1 %, `-s {scale}`");
    report.add(&what, seconds(all), "of the full alone", seconds(full), all / full, Wanted::AtMost(1.6));
}

pub fn memory(report: &mut Report) {
    let peaks = |scale: u32| {
        let mut server = loaded(scale);
        // What loading took is not to be counted.
        server.restart();
        let mut above_idle = |statement: &str| {
            server.restart();
            run(&mut server.psql(&["SELECT 1"]));
            server.forget_peak();
            let (idle, _) = server.memory();
            run(&mut server.psql(&[statement]));
            (server.memory().1, idle)
        };
        let backup = above_idle("BACKUP DATABASE bench INTO 'nodelocal://1/b'");
        let restore = above_idle("RESTORE DATABASE bench FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'r'");
        (backup, restore)
    };
    let (small, large) = (scale(20), scale(20) * 10);
    let (few, many) = (peaks(small), peaks(large));
    for (what, few, many) in [("backup", few.0, many.0), ("restore", few.1, many.1)] {
        let name = format!("peak memory of {what}, `-s {large}`");
        let against = format!("`-s {small}`");
        report.add(&name, mebibytes(many.0), &against, mebibytes(few.0), many.0 / few.0, Wanted::AtMost(1.2));
        let name = format!("peak memory of {what} above idle, `-s {large}`");
        let above = many.0 - many.1;
        let limit = f64::from(512 << 20);
        report.add(&name, mebibytes(above), "the limit", mebibytes(limit), above / limit, Wanted::AtMost(1.0));
    }
}

/// Runs `BACKUP` again and again until it is dropped.
struct Backups {
    shell: Child,
}

impl Backups {
    fn start(server: &Keepsafe) -> Backups {
        let mut shell = server.program("sh");
        let again = "while psql -Xqc \"BACKUP DATABASE bench INTO 'nodelocal://1/loop'\"; do :; done";
        let shell = shell.args(["-c", again]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Backups { shell }
    }
}

impl Drop for Backups {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

pub fn foreground(report: &mut Report) {
    let scale = scale(100);
    let server = loaded(scale);
    let pgbench = || {
        let mut pgbench = server.program("pgbench");
        let output = run(pgbench.args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", "20", "bench"]));
        let tps = output.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap();
        tps.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let (beside, alone) = in_turn(
        |_| {
            let backups = Backups::start(&server);
            let tps = pgbench();
            drop(backups);
            // The last backup may still be running.
            run(&mut server.psql(&["BACKUP DATABASE bench INTO 'nodelocal://1/last'"]));
            tps
        },
        |_| pgbench(),
    );
    let made: String = run(&mut server.psql(&["SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/loop']"]));
    println!("  {} backups meanwhile", made.trim());
    let per_second = |tps: f64| format!("{tps:.0} tps");
    let what = format!("pgbench while backups run in a loop, `-s {scale}`");
    report.add(&what, per_second(beside), "alone", per_second(alone), beside / alone, Wanted::AtLeast(0.7));
}
