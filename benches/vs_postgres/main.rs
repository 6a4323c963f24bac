//! keepsafe beside PostgreSQL: `cargo bench --bench vs_postgres [-- CASE ...]`, with `-- --list` for the cases.
//!
//! Starts a server of each, loads the same rows into both with `pgbench -i`, and runs each pair in turn three times.
//! Medians and ratios are printed and put into `docs/benchmarks.md`. Scales and directory can be changed, for a quick look:
//! `KEEPSAFE_BENCH_SCALE=3` replaces every scale (and writes nothing to the page), `KEEPSAFE_BENCH_DIR` is where the data goes.

// A benchmark stops at the first thing that goes wrong.
#![allow(clippy::unwrap_used)]

mod backup;
mod queries;
mod report;
mod servers;

use report::Report;

type Case = (&'static str, &'static str, fn(&mut Report));

const CASES: [Case; 10] = [
    ("backup", "backup, restore and bytes on disk against pg_dump and pg_restore", backup::against_pg_dump),
    ("encryption", "encrypted backup and restore against plain ones", backup::encryption),
    ("incremental", "an incremental after 1 % of the rows changed against the full", backup::incremental),
    ("chain", "restore of a full and 24 incrementals against the full alone", backup::chain),
    ("memory", "peak memory of backup and restore of ten times the rows", backup::memory),
    ("foreground", "pgbench while backups run against pgbench alone", backup::foreground),
    ("transactions", "pgbench's scripts", queries::transactions),
    ("plans", "a prepared join on a kept plan against one planned each time", queries::plans),
    ("bulk", "COPY in, and a large result out", queries::bulk),
    ("start", "from start to ready with many tables", queries::start),
];

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--list") {
        CASES.iter().for_each(|(name, what, _)| println!("{name:<12} {what}"));
        return;
    }
    if let Some(unknown) = arguments.iter().find(|argument| CASES.iter().all(|(name, ..)| name != argument)) {
        eprintln!("there is no case {unknown}; `-- --list` lists them");
        std::process::exit(2);
    }
    let mut report = Report::default();
    for (name, what, run) in CASES {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            println!("# {name}: {what}");
            run(&mut report);
            report.save();
        }
    }
}
