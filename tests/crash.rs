//! `kill -9` in the middle of things.

use std::time::Duration;

use tokio_postgres::Client;

use crate::harness::{Store, eventually, fail, rows, run, value};
use crate::main_job::{assert_one_instant, bench, fill, sums};

const NO_JOB_RUNNING: &str = "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed')";

/// A table big enough that a backup or restore of it takes a while.
async fn fill_big(client: &Client) {
    run(client, "CREATE TABLE big (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
    for part in 0..4 {
        run(
            client,
            &format!(
                "INSERT INTO big SELECT i, repeat(md5(CAST(i AS TEXT)), 8) FROM generate_series({}, {}) AS i",
                part * 15_000 + 1,
                (part + 1) * 15_000
            ),
        )
        .await;
    }
}

const BIG: &str = "SELECT count(*), sum(a), max(b), min(b) FROM big";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_goes_on_after_kill_9() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    fill_big(&client).await;
    let expected = rows(&client, BIG).await;
    drop(client);
    server.kill();
    store.assert_sound();
    for (number, millis) in [1, 60, 150, 400].into_iter().enumerate() {
        let server = store.start();
        let client = server.connect().await;
        let id =
            value(&client, &format!("BACKUP DATABASE defaultdb INTO 'nodelocal://1/c{number}' WITH detached")).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        server.kill();
        store.assert_sound();
        let server = store.start();
        let client = server.connect().await;
        eventually(&client, &format!("SELECT status FROM [SHOW JOB {id}]"), "succeeded").await;
        assert_eq!(rows(&client, &format!("SHOW BACKUPS IN 'nodelocal://1/c{number}'")).await.len(), 1);
        run(
            &client,
            &format!(
                "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c{number}' WITH new_db_name = copy{number}"
            ),
        )
        .await;
        run(&client, &format!("USE copy{number}")).await;
        assert_eq!(rows(&client, BIG).await, expected);
        server.terminate();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_goes_on_after_kill_9_and_is_never_half_visible() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    fill_big(&client).await;
    let expected = rows(&client, BIG).await;
    run(&client, "BACKUP DATABASE defaultdb INTO 'nodelocal://1/c'").await;
    server.kill();
    store.assert_sound();
    for (number, millis) in [1, 80, 200, 500].into_iter().enumerate() {
        let server = store.start();
        let client = server.connect().await;
        let restore = format!(
            "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = copy{number}, detached"
        );
        let id = value(&client, &restore).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        server.kill();
        store.assert_sound();
        let server = store.start();
        let client = server.connect().await;
        // Until the job is done there is no such database; then it is whole.
        while value(&client, &format!("SELECT status FROM [SHOW JOB {id}]")).await != "succeeded" {
            if client.batch_execute(&format!("USE copy{number}")).await.is_ok() {
                assert_eq!(rows(&client, BIG).await, expected);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run(&client, &format!("USE copy{number}")).await;
        assert_eq!(rows(&client, BIG).await, expected);
        assert_eq!(value(&client, "SELECT count(*) FROM big WHERE b = repeat(md5('77'), 8)").await, "1");
        assert_eq!(value(&client, NO_JOB_RUNNING).await, "0");
        server.terminate();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_commit_is_missing_after_kill_9() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE log (writer INT, n INT, PRIMARY KEY (writer, n)); CREATE TABLE log2 (writer INT, n INT, PRIMARY KEY (writer, n))").await;
    server.kill();
    store.assert_sound();
    let mut acknowledged = [0i64; 4];
    for round in 0..3 {
        let server = store.start();
        let mut writers = Vec::new();
        for (writer, &from) in acknowledged.iter().enumerate() {
            let client = server.connect().await;
            writers.push(tokio::spawn(async move {
                // What was not acknowledged may be there or not.
                let found = value(&client, &format!("SELECT coalesce(max(n), 0) FROM log WHERE writer = {writer}")).await;
                let mut n = found.parse::<i64>().unwrap();
                assert!(n >= from, "acknowledged {from}, found {n}");
                loop {
                    let next = n + 1;
                    let both = format!("BEGIN; INSERT INTO log VALUES ({writer}, {next}); INSERT INTO log2 VALUES ({writer}, {next}); COMMIT");
                    if client.batch_execute(&both).await.is_err() {
                        return n;
                    }
                    n = next;
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(700 + 150 * round)).await;
        server.kill();
        store.assert_sound();
        for (writer, handle) in writers.into_iter().enumerate() {
            acknowledged[writer] = handle.await.unwrap();
        }
    }
    let server = store.start();
    let client = server.connect().await;
    for (writer, &n) in acknowledged.iter().enumerate() {
        let query = |table: &str| format!("SELECT count(*), coalesce(max(n), 0) FROM {table} WHERE writer = {writer}");
        let (one, two) = (rows(&client, &query("log")).await, rows(&client, &query("log2")).await);
        assert_eq!(one, two, "half a transaction");
        assert_eq!(one[0][0], one[0][1], "a gap");
        assert!(one[0][1].parse::<i64>().unwrap() >= n, "acknowledged {n}, found {one:?}");
    }
    assert!(acknowledged.iter().sum::<i64>() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbench_is_consistent_after_kill_9() {
    let store = Store::new();
    let server = store.start();
    fill(&server, "1");
    let mut load = bench(&server, "30");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.kill();
    store.assert_sound();
    load.wait().unwrap();
    let server = store.start();
    let client = server.connect().await;
    let found = sums(&client, "").await;
    assert_one_instant(&found);
    assert_eq!(found[0], "100000");
    assert_ne!(value(&client, "SELECT count(*) FROM pgbench_history").await, "0");
}

#[tokio::test]
async fn an_unfinished_transaction_leaves_nothing() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    run(&client, "BEGIN; CREATE TABLE u (a INT); INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)").await;
    server.kill();
    store.assert_sound();
    let server = store.start();
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "0");
    assert_eq!(fail(&client, "SELECT * FROM u").await.0, "42P01");
}
