//! How fast statements are read: `cargo bench --bench parser`. Everything is measured beside `sqlparser` alone, in the same
//! run; the ratio is what counts.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(300);

/// Runs per second: the best of several rounds.
fn rate(work: &dyn Fn()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        let mut runs = 0u32;
        while start.elapsed() < ROUND {
            work();
            runs += 1;
        }
        f64::from(runs) / start.elapsed().as_secs_f64()
    });
    rounds.fold(0.0, f64::max)
}

fn ours(sql: &str) {
    black_box(keepsafe::parser::parse(black_box(sql)).is_ok());
}

fn theirs(sql: &str) {
    black_box(Parser::parse_sql(&PostgreSqlDialect {}, black_box(sql)).is_ok());
}

fn main() {
    let insert = {
        let mut sql = String::from("INSERT INTO accounts (id, branch, balance, filler) VALUES (0, 1, 0, '')");
        let mut id = 1;
        while sql.len() < 1 << 20 {
            sql.push_str(&format!(", ({id}, {}, {}, 'row {id} of the table')", id % 10, id * 7 % 1000));
            id += 1;
        }
        sql
    };
    println!("{:<34} {:>14} {:>14} {:>7}", "statements a second", "keepsafe", "sqlparser", "ratio");
    for (name, sql) in [
        ("SELECT by key", "SELECT abalance FROM pgbench_accounts WHERE aid = 5"),
        ("UPDATE by key", "UPDATE pgbench_accounts SET abalance = abalance + 17 WHERE aid = 5"),
        (
            "join with aggregates",
            "SELECT a.x, count(*), sum(b.y) FROM a JOIN b ON a.id = b.id WHERE a.z > 10 GROUP BY a.x HAVING sum(b.y) > 5 ORDER BY 2 DESC LIMIT 10",
        ),
    ] {
        let (own, alone) = (rate(&|| ours(sql)), rate(&|| theirs(sql)));
        println!("{name:<34} {own:>14.0} {alone:>14.0} {:>7.2}", own / alone);
    }
    for (name, sql) in [
        (
            "BACKUP",
            "BACKUP DATABASE bank INTO LATEST IN 'nodelocal://1/bank' AS OF SYSTEM TIME '-10s' WITH revision_history, detached",
        ),
        ("SHOW JOBS as a relation", "SELECT job_id FROM [SHOW JOBS] WHERE status = 'running'"),
    ] {
        println!("{name:<34} {:>14.0}", rate(&|| ours(sql)));
    }
    println!("\n{:<34} {:>14} {:>14} {:>7}", "megabytes a second", "keepsafe", "sqlparser", "ratio");
    let megabytes = insert.len() as f64 / 1e6;
    let (own, alone) = (rate(&|| ours(&insert)) * megabytes, rate(&|| theirs(&insert)) * megabytes);
    println!("{:<34} {own:>14.1} {alone:>14.1} {:>7.2}", "INSERT of 1 MB", own / alone);
}
