//! What sessions show of each other, and how they stop each other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::Client;

use crate::harness::{Server, Store, eventually, fail, rows, run, value};

/// A client with a name, and the number of its session.
async fn named(server: &Server, name: &str) -> (Client, String) {
    let client = server.connect().await;
    run(&client, &format!("SET application_name = '{name}'")).await;
    let id = value(&client, "SELECT pg_backend_pid()").await;
    (client, id)
}

/// Runs something that does not end by itself; the SQLSTATE it fails with.
async fn waits(client: Client, sql: &'static str) -> (Client, String) {
    let (sqlstate, _) = fail(&client, sql).await;
    (client, sqlstate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_show_what_they_do() {
    let store = Store::new();
    let server = store.start();
    let (watcher, _) = named(&server, "watcher").await;
    let (client, id) = named(&server, "watched").await;
    let doing = format!(
        "SELECT concat_ws('|', state, query, usename, datname, xact_start IS NULL, query_start <= state_change) \
         FROM pg_stat_activity WHERE pid = {id}"
    );
    assert_eq!(value(&watcher, &doing).await, "idle|SELECT pg_backend_pid()|root|defaultdb|t|t");
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); BEGIN; /* a name */ INSERT INTO t VALUES (1)").await;
    assert_eq!(value(&watcher, &doing).await, "idle in transaction|INSERT INTO t VALUES (1)|root|defaultdb|f|t");
    let transactions = "SELECT concat_ws('|', application_name, num_stmts, num_auto_retries) FROM [SHOW TRANSACTIONS] \
                        WHERE application_name = 'watched'";
    assert_eq!(value(&watcher, transactions).await, "watched|3|0");
    fail(&client, "SELECT 1 / 0").await;
    assert_eq!(value(&watcher, &doing).await, "idle in transaction (aborted)|SELECT 1 / 0|root|defaultdb|f|t");
    assert_eq!(rows(&client, "SHOW TRANSACTION STATUS").await, [["Aborted"]]);
    run(&client, "ROLLBACK; CREATE DATABASE other; USE other").await;
    assert_eq!(value(&watcher, &doing).await, "idle|USE other|root|other|t|t");
    // A driver's own statements, and what is seen while they run.
    let prepared = client.prepare("SELECT pg_sleep($1)").await.unwrap();
    let running = tokio::spawn(async move { client.query(&prepared, &[&600_f64]).await.unwrap_err() });
    let statement = "SELECT query || '|' || phase FROM [SHOW LOCAL STATEMENTS] WHERE application_name = 'watched'";
    eventually(&watcher, &format!("SELECT coalesce(({statement}), '')"), "SELECT pg_sleep($1)|executing").await;
    let session = "SELECT concat_ws('|', status, active_queries, last_active_query, active_query_start IS NULL) \
                   FROM [SHOW CLUSTER SESSIONS] WHERE application_name = 'watched'";
    assert_eq!(value(&watcher, session).await, "ACTIVE|SELECT pg_sleep($1)|USE other|f");
    assert_eq!(value(&watcher, &format!("SELECT pg_cancel_backend({id})")).await, "t");
    assert_eq!(running.await.unwrap().code().unwrap().code(), "57014");
    // The client is gone.
    eventually(&watcher, "SELECT count(*) FROM [SHOW SESSIONS]", "1").await;
    assert_eq!(value(&watcher, &format!("SELECT pg_cancel_backend({id})")).await, "f");
    assert_eq!(value(&watcher, &format!("SELECT pg_terminate_backend({id})")).await, "f");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_not_shown() {
    let store = Store::new();
    let server = store.start();
    let (watcher, _) = named(&server, "watcher").await;
    let (client, id) = named(&server, "watched").await;
    let shown = format!("SELECT query FROM pg_stat_activity WHERE pid = {id}");
    run(&client, "BACKUP INTO 'nodelocal://1/b' WITH encryption_passphrase = 'hunter2'").await;
    assert!(value(&watcher, &shown).await.ends_with("(encryption_passphrase = '******')"));
    let from = "SHOW BACKUP FROM LATEST IN 'nodelocal://1/b' WITH encryption_passphrase = 'hunter2'";
    run(&client, &format!("SELECT * FROM [{from}]")).await;
    let seen = value(&watcher, &shown).await;
    assert!(seen.contains("SHOW BACKUP") && seen.contains("'******'") && !seen.contains("hunter2"), "{seen}");
    run(&client, "PREPARE p AS SELECT $1::text; EXECUTE p ('hunter2')").await;
    assert_eq!(value(&watcher, &shown).await, "EXECUTE p (...)");
    run(&client, "CREATE ROLE somebody PASSWORD 'hunter2'").await;
    let seen = value(&watcher, &shown).await;
    assert!(seen.starts_with("CREATE ROLE somebody") && !seen.contains("hunter2"), "{seen}");
    // Only the beginning of a long one.
    run(&client, &format!("SELECT '{}'", "x".repeat(3000))).await;
    assert_eq!(value(&watcher, &shown).await.len(), 1024);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_canceled_by_its_id() {
    let store = Store::new();
    let server = store.start();
    let (watcher, _) = named(&server, "watcher").await;
    let (client, _) = named(&server, "watched").await;
    let id = "SELECT coalesce((SELECT query_id FROM [SHOW STATEMENTS] WHERE query = 'SELECT pg_sleep(600)'), '')";
    let mut client = client;
    for form in ["CANCEL QUERY '{}'", "CANCEL QUERY IF EXISTS '{}'", "CANCEL QUERIES VALUES ('{}')"] {
        let running = tokio::spawn(waits(client, "SELECT pg_sleep(600)"));
        eventually(&watcher, &id.replace("query_id", "'found'::text"), "found").await;
        let named = value(&watcher, id).await;
        run(&watcher, &form.replace("{}", &named)).await;
        let (back, sqlstate) = running.await.unwrap();
        assert_eq!(sqlstate, "57014");
        client = back;
        // It is over, and its id is that of no other.
        let again = tokio::spawn(waits(client, "SELECT pg_sleep(601)"));
        eventually(&watcher, "SELECT count(*) FROM [SHOW QUERIES] WHERE query = 'SELECT pg_sleep(601)'", "1").await;
        let (sqlstate, message) = fail(&watcher, &format!("CANCEL QUERY '{named}'")).await;
        assert_eq!((&*sqlstate, message), ("42704", format!("no query with the id {named} is running")));
        run(&watcher, &format!("CANCEL QUERY IF EXISTS '{named}'")).await;
        assert!(!again.is_finished());
        let of_client = "SELECT query_id FROM [SHOW STATEMENTS] WHERE application_name = 'watched'";
        run(&watcher, &format!("CANCEL QUERY ({of_client})")).await;
        client = again.await.unwrap().0;
    }
    assert_eq!(value(&client, "SELECT 1").await, "1", "the connection goes on");
    // By a driver, with placeholders.
    let error = watcher.execute("CANCEL QUERIES IF EXISTS VALUES ($1), ($2)", &[&"x", &"y"]).await;
    assert_eq!(error.unwrap(), 0);
    let (sqlstate, _) = fail(&watcher, "CANCEL QUERY (VALUES ('x'), ('y'))").await;
    assert_eq!(sqlstate, "21000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_ended_by_others() {
    let store = Store::new();
    let server = store.start();
    let (watcher, own) = named(&server, "watcher").await;
    run(&watcher, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    // One that waits for its client, with a lock; one that runs something; and one of each by the statement.
    let by_id = "CANCEL SESSION (SELECT session_id FROM [SHOW SESSIONS] WHERE application_name = 'watched')";
    let by_pid = "SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'watched'";
    for end in [by_id, by_pid] {
        for running in [None, Some("SELECT pg_sleep(600)")] {
            let (client, connection) = server.connect_and_watch("defaultdb").await;
            run(&client, "SET application_name = 'watched'; BEGIN; INSERT INTO t VALUES (1)").await;
            let client = Arc::new(client);
            let sleeper = running.map(|sql| {
                let client = client.clone();
                tokio::spawn(async move { client.batch_execute(sql).await.unwrap_err() })
            });
            let states = "SELECT string_agg(state, '') FROM pg_stat_activity WHERE application_name = 'watched'";
            eventually(&watcher, states, if running.is_some() { "active" } else { "idle in transaction" }).await;
            run(&watcher, end).await;
            let code = match sleeper {
                Some(sleeper) => sleeper.await.unwrap().code().cloned(),
                None => connection.await.unwrap().unwrap_err().code().cloned(),
            };
            assert_eq!(code.unwrap().code(), "57P01", "{end}");
            // What it had not committed is gone, and what it held is free.
            run(&watcher, "INSERT INTO t VALUES (1); DELETE FROM t").await;
            eventually(&watcher, "SELECT count(*) FROM [SHOW SESSIONS]", "1").await;
        }
    }
    let (sqlstate, message) = fail(&watcher, "CANCEL SESSION 'no such id'").await;
    assert_eq!((&*sqlstate, &*message), ("42704", "there is no session with the id no such id"));
    // Its own, too, with the answer or without.
    if let Err(error) = watcher.batch_execute(&format!("SELECT pg_terminate_backend({own})")).await {
        assert_eq!(error.code().unwrap().code(), "57P01");
    }
    assert!(watcher.simple_query("SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_waits_for_its_client_is_stopped() {
    let store = Store::new();
    let server = store.start();
    let (watcher, _) = named(&server, "watcher").await;
    run(&watcher, "CREATE TABLE t (a INT PRIMARY KEY); CREATE TABLE u (a INT PRIMARY KEY); INSERT INTO u VALUES (1)")
        .await;
    for (stop, sqlstate) in [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")] {
        let (client, id) = named(&server, "watched").await;
        run(&client, "BEGIN; UPDATE u SET a = 2").await;
        let mut sink = Box::pin(client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap());
        sink.send(Bytes::from("1\n")).await.unwrap();
        eventually(&watcher, &format!("SELECT query FROM pg_stat_activity WHERE pid = {id}"), "COPY t FROM STDIN")
            .await;
        // The client says nothing more.
        assert_eq!(value(&watcher, &format!("SELECT {stop}({id})")).await, "t");
        if sqlstate == "57P01" {
            eventually(&watcher, "SELECT count(*) FROM [SHOW SESSIONS]", "1").await;
            // What it held is free.
            run(&watcher, "UPDATE u SET a = 3; UPDATE u SET a = 1").await;
        } else {
            let error = sink.as_mut().finish().await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), sqlstate);
            run(&client, "ROLLBACK").await;
        }
        assert_eq!(value(&watcher, "SELECT count(*) FROM t").await, "0");
    }
    let (client, _) = named(&server, "watched").await;
    run(&client, "SET statement_timeout = 100").await;
    let sink = Box::pin(client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap());
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut sink = sink;
    assert_eq!(sink.as_mut().finish().await.unwrap_err().code().unwrap().code(), "57014");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "0", "the connection goes on");
}
