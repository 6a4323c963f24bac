//! The main job with an unmodified client: fill, back up while it writes, lose, restore.

use std::process::Stdio;
use std::time::Duration;

use tokio_postgres::Client;

use crate::harness::{Server, Store, fail, rows, run, succeed, value};

pub const SUMS: &str = "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts), \
                        (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), \
                        (SELECT sum(delta) FROM pgbench_history)";

pub fn fill(server: &Server, scale: &str) {
    succeed(server.program("pgbench").args(["-i", "-q", "-s", scale]));
}

pub fn bench(server: &Server, seconds: &str) -> std::process::Child {
    let mut command = server.program("pgbench");
    command
        .args(["-n", "-c", "4", "-j", "2", "-T", seconds])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// All four sums agree: what was read is one instant.
pub fn assert_one_instant(sums: &[String]) {
    let first = sums[1].parse::<i64>().unwrap_or(0);
    for sum in &sums[2..] {
        assert_eq!(sum.parse::<i64>().unwrap_or(0), first, "{sums:?}");
    }
}

pub async fn sums(client: &Client, as_of: &str) -> Vec<String> {
    rows(client, &format!("{SUMS}{as_of}")).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_pgbench_wrote_is_backed_up_while_it_writes_lost_and_restored() {
    let store = Store::new();
    let server = store.start();
    fill(&server, "1");
    let client = server.connect().await;
    run(&client, "BACKUP DATABASE defaultdb INTO 'nodelocal://1/bank'").await;
    let mut load = bench(&server, "4");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    run(&client, "BACKUP DATABASE defaultdb INTO LATEST IN 'nodelocal://1/bank'").await;
    assert!(load.wait().unwrap().success());
    let end_time = value(&client, "SELECT max(end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/bank']").await;
    let before = value(&client, "SELECT cluster_logical_timestamp()").await;
    let as_of = format!(" AS OF SYSTEM TIME '{end_time}'");
    let expected = sums(&client, &as_of).await;
    assert_one_instant(&expected);
    assert_ne!(expected[1], sums(&client, "").await[1], "pgbench must have gone on after the backup");
    let system = server.connect_to("system").await;
    run(&system, "DROP DATABASE defaultdb CASCADE").await;
    assert_eq!(fail(&client, "SELECT 1 FROM pgbench_accounts").await.0, "3D000");
    run(&system, "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/bank'").await;
    let restored = sums(&client, "").await;
    assert_eq!(restored, expected);
    assert_one_instant(&restored);
    let past = sums(&client, &format!(" AS OF SYSTEM TIME {before}")).await;
    assert_one_instant(&past);
    // The restored database is a working one.
    assert!(bench(&server, "1").wait().unwrap().success());
    assert_one_instant(&sums(&client, "").await);
}

#[tokio::test]
async fn all_of_pgbenchs_scripts_run_in_simple_and_prepared_mode() {
    let store = Store::new();
    let server = store.start();
    fill(&server, "1");
    for script in ["tpcb-like", "simple-update", "select-only"] {
        for mode in ["simple", "extended", "prepared"] {
            let mut command = server.program("pgbench");
            let output = succeed(command.args(["-n", "-b", script, "-M", mode, "-c", "2", "-t", "10"]));
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("number of failed transactions: 0"), "{script} {mode}: {text}");
            assert!(text.contains("actually processed: 20/20"), "{script} {mode}: {text}");
        }
    }
    let client = server.connect().await;
    let found = sums(&client, "").await;
    assert_eq!(found[1], found[4], "simple-update leaves tellers and branches alone");
    assert_eq!(found[2], found[3]);
}

#[tokio::test]
async fn every_kind_of_target_and_object_comes_back() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE app").await;
    run(&client, "USE app").await;
    run(&client, "CREATE SCHEMA s; CREATE SEQUENCE numbers START 5").await;
    run(&client, "CREATE TABLE parent (id INT PRIMARY KEY, tag TEXT UNIQUE)").await;
    run(&client, "CREATE TABLE s.child (n INT8 PRIMARY KEY DEFAULT nextval('numbers'), parent INT REFERENCES parent (id), d DECIMAL(10,2) CHECK (d >= 0), a INT[], INDEX (parent))").await;
    run(&client, "CREATE TABLE nokey (v TEXT)").await;
    run(&client, "CREATE VIEW both AS SELECT p.tag, c.d FROM parent p JOIN s.child c ON c.parent = p.id").await;
    run(&client, "INSERT INTO parent VALUES (1, 'a'), (2, NULL), (3, NULL)").await;
    run(&client, "INSERT INTO s.child (parent, d, a) VALUES (1, 1.50, '{1,2}'), (2, 2.25, NULL), (NULL, 0, '{}')")
        .await;
    run(&client, "INSERT INTO nokey VALUES ('x'), ('x'), ('')").await;
    let dump = async |client: &Client| {
        let mut all = rows(client, "SELECT * FROM parent ORDER BY id").await;
        all.extend(rows(client, "SELECT * FROM s.child ORDER BY n").await);
        all.extend(rows(client, "SELECT * FROM nokey ORDER BY v").await);
        all.extend(rows(client, "SELECT * FROM \"both\" ORDER BY d").await);
        all.extend(rows(client, "SHOW CREATE TABLE s.child").await);
        all
    };
    let expected = dump(&client).await;
    run(&client, "BACKUP DATABASE app INTO 'nodelocal://1/db'").await;
    run(&client, "BACKUP TABLE parent, s.*, numbers INTO 'nodelocal://1/tables'").await;
    run(&client, "USE defaultdb").await;
    run(&client, "BACKUP INTO 'nodelocal://1/cluster'").await;

    run(&client, "RESTORE DATABASE app FROM LATEST IN 'nodelocal://1/db' WITH new_db_name = copy").await;
    run(&client, "USE copy").await;
    assert_eq!(dump(&client).await, expected);
    run(&client, "INSERT INTO s.child (parent) VALUES (3)").await;
    assert_eq!(fail(&client, "INSERT INTO s.child (parent) VALUES (9)").await.0, "23503");
    assert_eq!(fail(&client, "INSERT INTO parent VALUES (4, 'a')").await.0, "23505");
    assert_eq!(fail(&client, "DELETE FROM parent WHERE id = 1").await.0, "23503");
    assert_eq!(fail(&client, "INSERT INTO s.child (d) VALUES (-1)").await.0, "23514");

    assert_eq!(fail(&client, "RESTORE DATABASE app FROM LATEST IN 'nodelocal://1/db'").await.0, "42P04");
    assert_eq!(fail(&client, "RESTORE TABLE app.public.parent FROM LATEST IN 'nodelocal://1/tables'").await.0, "42P07");
    assert_eq!(
        fail(&client, "RESTORE DATABASE app FROM LATEST IN 'nodelocal://1/tables' WITH new_db_name = x").await.0,
        "22023"
    );
    run(&client, "CREATE DATABASE other").await;
    let (sqlstate, message) =
        fail(&client, "RESTORE TABLE app.s.child FROM LATEST IN 'nodelocal://1/tables' WITH into_db = other").await;
    assert!(sqlstate == "2BP01" && message.contains("foreign key"), "{message}");
    run(&client, "RESTORE TABLE app.s.child, app.public.parent, app.public.numbers FROM LATEST IN 'nodelocal://1/tables' WITH into_db = other").await;
    run(&client, "USE other").await;
    assert_eq!(value(&client, "SELECT count(*) FROM s.child JOIN parent ON parent = id").await, "2");
    assert_eq!(fail(&client, "INSERT INTO s.child (parent) VALUES (9)").await.0, "23503");

    assert_eq!(fail(&client, "RESTORE FROM LATEST IN 'nodelocal://1/cluster'").await.0, "55000");
    let fresh = Store::new();
    std::fs::create_dir_all(fresh.path()).unwrap();
    succeed(std::process::Command::new("cp").arg("-r").args([store.extern_dir(), fresh.extern_dir()]));
    let fresh_server = fresh.start();
    let client = fresh_server.connect().await;
    assert_eq!(fail(&client, "RESTORE FROM LATEST IN 'nodelocal://1/db'").await.0, "22023");
    run(&client, "RESTORE FROM LATEST IN 'nodelocal://1/cluster'").await;
    run(&client, "USE app").await;
    assert_eq!(dump(&client).await, expected);
}

#[tokio::test]
async fn incremental_layers_follow_what_happened_to_each_table() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE kept (a INT PRIMARY KEY, b INT, INDEX (b)); CREATE TABLE emptied (a INT PRIMARY KEY); CREATE TABLE dropped (a INT PRIMARY KEY)").await;
    run(&client, "INSERT INTO kept SELECT i, i FROM generate_series(1, 1000) AS i; INSERT INTO emptied VALUES (1); INSERT INTO dropped VALUES (1)").await;
    let backup = "BACKUP DATABASE defaultdb INTO LATEST IN 'nodelocal://1/c'";
    let (sqlstate, message) = fail(&client, backup).await;
    assert!(sqlstate == "58P01" && message.contains("path does not contain a completed latest backup"), "{message}");
    run(&client, "BACKUP DATABASE defaultdb INTO 'nodelocal://1/c'").await;
    let mut expected = Vec::new();
    let steps = [
        "UPDATE kept SET b = -b WHERE a <= 10; DELETE FROM kept WHERE a > 990",
        "TRUNCATE emptied; INSERT INTO emptied VALUES (2); DROP TABLE dropped",
        "CREATE TABLE dropped (a TEXT PRIMARY KEY); INSERT INTO dropped VALUES ('again'); CREATE INDEX ON kept (b DESC)",
        "ALTER TABLE kept ADD COLUMN c INT DEFAULT 3; INSERT INTO kept VALUES (5000, 1, 2)",
    ];
    let dump = async |client: &Client| {
        let mut all = rows(client, "SELECT * FROM kept ORDER BY a").await;
        all.extend(rows(client, "SELECT * FROM kept WHERE b = -5").await);
        all.extend(rows(client, "SELECT * FROM emptied").await);
        all.extend(rows(client, "SHOW TABLES").await);
        all
    };
    for step in steps {
        run(&client, step).await;
        run(&client, backup).await;
        let end = value(&client, "SELECT max(end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/c']").await;
        expected.push((end, dump(&client).await));
    }
    let (sqlstate, _) = fail(&client, "BACKUP TABLE kept INTO LATEST IN 'nodelocal://1/c'").await;
    assert_eq!(sqlstate, "22023", "another target set");
    for (number, (end, dumped)) in expected.iter().enumerate() {
        let name = format!("copy{number}");
        run(&client, &format!("RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' AS OF SYSTEM TIME '{end}' WITH new_db_name = '{name}'")).await;
        run(&client, &format!("USE {name}")).await;
        assert_eq!(dump(&client).await, *dumped, "layer {number}");
        run(&client, "USE defaultdb").await;
    }
    let (sqlstate, _) = fail(
        &client,
        "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' AS OF SYSTEM TIME '-1us' WITH new_db_name = x",
    )
    .await;
    assert_eq!(sqlstate, "22023", "between layers there is nothing to restore to");
    let full = value(&client, "SELECT path FROM [SHOW BACKUPS IN 'nodelocal://1/c']").await;
    run(&client, &format!("RESTORE DATABASE defaultdb FROM '{full}' IN 'nodelocal://1/c' WITH new_db_name = by_path"))
        .await;
    run(&client, &format!("BACKUP DATABASE defaultdb INTO '{full}' IN 'nodelocal://1/c'")).await;
}

#[tokio::test]
async fn what_is_not_supported_says_so_by_name() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT)").await;
    for (sql, named) in [
        ("BACKUP INTO 's3://bucket/x?AWS_SECRET_ACCESS_KEY=hush'", "s3://"),
        ("BACKUP INTO 'external://x'", "external://"),
        ("BACKUP INTO 'nodelocal://1/x' WITH kms = 'hush'", "kms"),
        ("BACKUP INTO ('nodelocal://1/x', 'nodelocal://1/y')", "more than one place"),
        ("CREATE TYPE pg_temp.x AS ENUM ('a')", "a temporary type"),
        ("SELECT ARRAY[ARRAY[1], ARRAY[2]]", "an array of several dimensions"),
        ("SELECT array_agg(x) FROM (VALUES (ARRAY[1])) AS v (x)", "an array of several dimensions"),
        ("WITH d AS (DELETE FROM t RETURNING a) UPDATE t SET a = 1", "changes \"t\" in WITH and then reads it"),
        ("WITH d AS (DELETE FROM t), e AS (DELETE FROM t) SELECT 1", "changes \"t\" in WITH and then reads it"),
        (
            "BEGIN; INSERT INTO t VALUES (5); WITH i AS (INSERT INTO t VALUES (1)) SELECT * FROM t",
            "that its WITH changes",
        ),
        ("ROLLBACK; WITH RECURSIVE d AS (DELETE FROM t) SELECT 1", "WITH RECURSIVE that changes rows"),
        ("EXPLAIN WITH d AS (DELETE FROM t) SELECT 1", "a statement that changes rows here"),
        ("SELECT * FROM (SELECT a FROM t) AS s FOR UPDATE", "FOR UPDATE of a subquery"),
    ] {
        let (sqlstate, message) = fail(&client, sql).await;
        assert!(
            sqlstate == "0A000" && message.contains(named) && !message.contains("hush"),
            "{sql}: {sqlstate} {message}"
        );
    }
}

#[test]
fn many_clients_of_one_row_queue_and_none_fails() {
    let store = Store::new();
    let server = store.start();
    succeed(server.program("pgbench").args(["-i", "-s", "1", "-q"]));
    // All of them change the one branch; --max-tries=1 makes every conflict a failure.
    let output = succeed(server.program("pgbench").args(["-c", "16", "-j", "2", "-t", "6", "--max-tries=1"]));
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.contains("number of transactions actually processed: 96/96"), "{report}");
    assert!(report.contains("number of failed transactions: 0 "), "{report}");
}
