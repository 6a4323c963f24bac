//! Backups with revision history, and restores to points in time.

use tokio_postgres::Client;

use crate::harness::{Store, fail, rows, run, value};

async fn now(client: &Client) -> String {
    value(client, "SELECT cluster_logical_timestamp()").await
}

async fn restore(client: &Client, at: &str, name: &str) {
    let as_of = if at.is_empty() { String::new() } else { format!(" AS OF SYSTEM TIME '{at}'") };
    let restore = format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c'{as_of} WITH new_db_name = '{name}'");
    run(client, &restore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instant_a_backup_covers_can_be_restored_with_the_schema_of_then() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b INT, INDEX b_index (b))").await;
    run(&client, "CREATE SEQUENCE d.s; SELECT nextval('d.s')").await;
    run(&client, "INSERT INTO d.t VALUES (1, 10), (2, 20)").await;
    let filled = now(&client).await;
    run(&client, "UPDATE d.t SET b = 11 WHERE a = 1; DELETE FROM d.t WHERE a = 2").await;
    let changed = now(&client).await;
    run(&client, "CREATE TABLE d.gone (x TEXT PRIMARY KEY); INSERT INTO d.gone VALUES ('here')").await;
    let created = now(&client).await;
    run(&client, "DROP TABLE d.gone").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c' WITH revision_history").await;
    run(&client, "TRUNCATE d.t").await;
    let truncated = now(&client).await;
    run(&client, "ALTER TABLE d.t ADD COLUMN c TEXT DEFAULT 'new'; INSERT INTO d.t VALUES (3, 30, 'x')").await;
    let altered = now(&client).await;
    run(&client, "DROP TABLE d.t; CREATE TABLE d.t (only INT PRIMARY KEY); INSERT INTO d.t VALUES (7)").await;
    let recreated = now(&client).await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c' WITH revision_history").await;
    run(&client, "INSERT INTO d.t VALUES (8)").await;
    let uncovered = now(&client).await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
    let expected: [(&str, &[&[&str]]); 6] = [
        (&filled, &[&["1", "10"], &["2", "20"]]),
        (&changed, &[&["1", "11"]]),
        (&truncated, &[]),
        (&altered, &[&["3", "30", "x"]]),
        (&recreated, &[&["7"]]),
        ("", &[&["7"], &["8"]]),
    ];
    for (number, (at, expected)) in expected.iter().enumerate() {
        let name = format!("r{number}");
        restore(&client, at, &name).await;
        assert_eq!(rows(&client, &format!("SELECT * FROM {name}.t ORDER BY 1")).await, *expected, "at {at}");
        let gone = client.batch_execute(&format!("SELECT * FROM {name}.gone")).await;
        assert!(gone.is_err(), "at {at}");
    }
    // What the backup says agrees with what the live database said, index included.
    assert_eq!(rows(&client, "SELECT a FROM r0.t WHERE b = 20").await, [["2"]]);
    run(
        &client,
        &format!(
            "RESTORE TABLE d.gone FROM LATEST IN 'nodelocal://1/c' AS OF SYSTEM TIME {created} WITH into_db = 'r0'"
        ),
    )
    .await;
    assert_eq!(rows(&client, "SELECT * FROM r0.gone").await, [["here"]]);
    let refused = format!(
        "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' AS OF SYSTEM TIME {uncovered} WITH new_db_name = 'x'"
    );
    let (sqlstate, message) = fail(&client, &refused).await;
    assert_eq!(sqlstate, "22023");
    assert!(message.contains("does not cover"), "{message}");
    run(&client, "INSERT INTO d.t VALUES (9)").await;
    let before_drop = now(&client).await;
    // The database itself is made anew.
    run(&client, "DROP DATABASE d CASCADE").await;
    let dropped = now(&client).await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (other INT PRIMARY KEY); INSERT INTO d.t VALUES (99)").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c' WITH revision_history").await;
    restore(&client, "", "s0").await;
    assert_eq!(rows(&client, "SELECT * FROM s0.t").await, [["99"]]);
    let gone = format!(
        "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' AS OF SYSTEM TIME {dropped} WITH new_db_name = 'x'"
    );
    assert_eq!(fail(&client, &gone).await.0, "3D000");
    restore(&client, &before_drop, "s1").await;
    assert_eq!(rows(&client, "SELECT * FROM s1.t ORDER BY 1").await, [["7"], ["8"], ["9"]]);
    assert_eq!(value(&client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    server.terminate();
    store.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_changes_are_restored_to_random_instants() {
    use rand::{Rng, SeedableRng};
    let seed = crate::harness::seed();
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b INT, UNIQUE (b, a))").await;
    let mut instants = Vec::new();
    for layer in 0..4 {
        for _ in 0..random.random_range(3..12) {
            let (a, b) = (random.random_range(0..30), random.random_range(0..1000));
            let statement = match random.random_range(0..10) {
                0..5 => format!("UPSERT INTO d.t VALUES ({a}, {b}), ({}, {b})", a + 30),
                5 | 6 => format!("DELETE FROM d.t WHERE a % 3 = {}", a % 3),
                7 => "TRUNCATE d.t".into(),
                8 => format!("UPDATE d.t SET a = a + 100 WHERE a = {a}"),
                _ => "DROP TABLE d.t; CREATE TABLE d.t (a INT PRIMARY KEY, b INT, UNIQUE (b, a))".into(),
            };
            // A clash of keys changes nothing.
            let _ = client.batch_execute(&statement).await;
            instants.push(now(&client).await);
        }
        let into = if layer == 0 { "" } else { "LATEST IN " };
        run(&client, &format!("BACKUP DATABASE d INTO {into}'nodelocal://1/c' WITH revision_history")).await;
    }
    for (number, at) in instants.iter().enumerate() {
        let expected = rows(&client, &format!("SELECT * FROM d.t AS OF SYSTEM TIME {at} ORDER BY a")).await;
        let name = format!("r{number}");
        restore(&client, at, &name).await;
        assert_eq!(rows(&client, &format!("SELECT * FROM {name}.t ORDER BY a")).await, expected, "seed {seed} at {at}");
        let by_index = format!("SELECT a, b FROM {name}.t WHERE b >= 0 ORDER BY b, a");
        let live = format!("SELECT a, b FROM d.t AS OF SYSTEM TIME {at} WHERE b >= 0 ORDER BY b, a");
        assert_eq!(rows(&client, &by_index).await, rows(&client, &live).await, "seed {seed} at {at}");
    }
    server.terminate();
    store.assert_sound();
}
