//! `FOR UPDATE` and its kin among sessions: who waits for whom, who does not, and that nobody gets what another has.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join_all;

use crate::harness::{Store, fail, rows, run, value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_locked_are_skipped_or_refused() {
    let store = Store::new();
    let server = store.start();
    let (one, two) = (server.connect().await, server.connect().await);
    run(&one, "CREATE TABLE j (id INT PRIMARY KEY, s TEXT); CREATE TABLE k (a INT, b TEXT, j INT, PRIMARY KEY (a, b))")
        .await;
    run(&one, "INSERT INTO j SELECT i, 'new' FROM generate_series(1, 5) AS g (i)").await;
    run(&one, "INSERT INTO k SELECT i, 'x' || i, i FROM generate_series(1, 5) AS g (i)").await;
    run(&one, "BEGIN").await;
    let first = "SELECT id FROM j ORDER BY id DESC LIMIT 2 FOR UPDATE SKIP LOCKED";
    assert_eq!(rows(&one, first).await, [["5"], ["4"]]);
    // Only those, not all that the condition would give.
    run(&two, "BEGIN").await;
    assert_eq!(rows(&two, first).await, [["3"], ["2"]]);
    assert_eq!(rows(&one, "SELECT id FROM j ORDER BY 1 FOR UPDATE SKIP LOCKED").await, [["1"], ["4"], ["5"]]);
    assert_eq!(rows(&two, first).await, [["3"], ["2"]], "its own are not locked for it");
    let (sqlstate, message) = fail(&two, "SELECT * FROM j FOR UPDATE NOWAIT").await;
    assert_eq!((&*sqlstate, &*message), ("55P03", "could not obtain lock on row in relation \"j\""));
    run(&two, "ROLLBACK").await;
    // One that shares, and a table in a join.
    run(&two, "BEGIN").await;
    let join = "SELECT k.b FROM j JOIN k ON k.j = j.id ORDER BY k.b";
    assert_eq!(rows(&two, &format!("{join} FOR SHARE OF k")).await.len(), 5);
    assert_eq!(rows(&two, &format!("{join} FOR UPDATE OF j SKIP LOCKED")).await, [["x2"], ["x3"]]);
    assert_eq!(rows(&one, "SELECT count(*) FROM k WHERE a > 1 FOR SHARE").await, [["4"]]);
    assert_eq!(rows(&one, "SELECT b FROM k FOR UPDATE SKIP LOCKED").await.len(), 0);
    run(&two, "COMMIT").await;
    run(&one, "COMMIT").await;
    // As drivers send it.
    let id: i32 = 2;
    let prepared = two.prepare("SELECT id FROM j WHERE id > $1 ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED");
    let prepared = prepared.await.unwrap();
    let found = two.query(&prepared, &[&id, &1_i64]).await.unwrap();
    assert_eq!(found.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_waited_for_counts_only_if_it_is_still_there() {
    let store = Store::new();
    let server = store.start();
    let (one, two) = (server.connect().await, server.connect().await);
    run(&one, "CREATE TABLE j (id INT PRIMARY KEY, s TEXT, n INT)").await;
    run(&one, "INSERT INTO j SELECT i, 'new', 0 FROM generate_series(1, 4) AS g (i)").await;
    run(
        &one,
        "BEGIN; UPDATE j SET s = 'done' WHERE id = 1; DELETE FROM j WHERE id = 2; UPDATE j SET n = 7 WHERE id = 3",
    )
    .await;
    let waiter = tokio::spawn(async move {
        run(&two, "BEGIN").await;
        let found = rows(&two, "SELECT id, n FROM j WHERE s = 'new' ORDER BY id LIMIT 1 FOR UPDATE").await;
        (two, found)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiter.is_finished());
    run(&one, "COMMIT").await;
    let (two, found) = waiter.await.unwrap();
    assert_eq!(found, [["3", "7"]], "the next one that is still new, as it is now");
    assert_eq!(rows(&one, "SELECT id FROM j WHERE s = 'new' FOR UPDATE SKIP LOCKED").await, [["4"]]);
    run(&two, "COMMIT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_get_or_create_is_there_once() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE n (id SERIAL PRIMARY KEY, name TEXT UNIQUE)").await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let client = server.connect().await;
        clients.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            for name in 0..10 {
                let sql = format!(
                    "WITH made AS (INSERT INTO n (name) VALUES ('n{name}') ON CONFLICT DO NOTHING RETURNING id) \
                     SELECT id FROM made UNION ALL SELECT id FROM n WHERE name = 'n{name}'"
                );
                ids.extend(rows(&client, &sql).await);
            }
            ids
        }));
    }
    let found = try_join_all(clients).await.unwrap();
    let kept = rows(&client, "SELECT id FROM n ORDER BY name").await;
    for ids in found {
        assert_eq!(ids, kept, "each has one row of each name, the same for all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_at_a_queue_take_each_job_once() {
    const JOBS: usize = 60;
    const TAKES: [&str; 3] = [
        "UPDATE j SET worker = {} WHERE id = (SELECT id FROM j WHERE worker IS NULL ORDER BY id LIMIT 1 \
         FOR UPDATE SKIP LOCKED) RETURNING id",
        "WITH next AS (SELECT id FROM j WHERE worker IS NULL ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED) \
         UPDATE j SET worker = {} FROM next WHERE j.id = next.id RETURNING j.id",
        "DELETE FROM j WHERE id IN (SELECT id FROM j WHERE worker IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
    ];
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE j (id INT PRIMARY KEY, worker INT)").await;
    run(&client, &format!("INSERT INTO j SELECT i FROM generate_series(1, {JOBS}) AS g (i)")).await;
    let mut workers = Vec::new();
    for number in 0..6 {
        let client = server.connect().await;
        workers.push(tokio::spawn(async move {
            let (take, mut taken) = (TAKES[number % 3].replace("{}", &number.to_string()), Vec::new());
            loop {
                let more = rows(&client, &take).await;
                if more.is_empty() {
                    return taken;
                }
                taken.extend(more.into_iter().map(|row| row[0].clone()));
            }
        }));
    }
    let taken: Vec<String> = try_join_all(workers).await.unwrap().into_iter().flatten().collect();
    assert_eq!(taken.len(), JOBS, "{taken:?}");
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), JOBS, "each once: {taken:?}");
    assert_eq!(value(&client, "SELECT count(*) FROM j WHERE worker IS NULL").await, "0");
}
