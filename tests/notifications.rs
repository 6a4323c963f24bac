//! `LISTEN` and `NOTIFY`.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::harness::{Server, Store, fail, rows, run};

/// A client, and what it hears: channel, payload.
async fn listening(server: &Server, database: &str) -> (Client, mpsc::UnboundedReceiver<(String, String)>) {
    let config = format!("host=127.0.0.1 port={} user=root dbname={database}", server.port);
    let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    let messages = stream::poll_fn(move |context| connection.poll_message(context));
    tokio::spawn(messages.for_each(move |message| {
        if let Ok(AsyncMessage::Notification(heard)) = message {
            let _ = sender.send((heard.channel().to_string(), heard.payload().to_string()));
        }
        std::future::ready(())
    }));
    (client, receiver)
}

async fn next(heard: &mut mpsc::UnboundedReceiver<(String, String)>) -> (String, String) {
    tokio::time::timeout(Duration::from_secs(30), heard.recv()).await.expect("nothing was heard").unwrap()
}

fn message(channel: &str, payload: &str) -> (String, String) {
    (channel.into(), payload.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_hears_what_was_committed() {
    let store = Store::new();
    let server = store.start();
    let (one, mut heard) = listening(&server, "defaultdb").await;
    let (two, mut own) = listening(&server, "defaultdb").await;
    run(&one, "CREATE DATABASE other; LISTEN jobs; LISTEN \"Other Jobs\"").await;
    run(&two, "LISTEN jobs").await;
    // By a session that waits, in order, by all means; and by the one that sends.
    run(&two, "NOTIFY jobs, 'a'").await;
    rows(&two, "SELECT pg_notify('Other Jobs', 'b'), pg_notify('nobody', 'c')").await;
    two.query("SELECT pg_notify('jobs', $1)", &[&"d"]).await.unwrap();
    for expected in [message("jobs", "a"), message("Other Jobs", "b"), message("jobs", "d")] {
        assert_eq!(next(&mut heard).await, expected);
    }
    assert_eq!(next(&mut own).await, message("jobs", "a"));
    assert_eq!(next(&mut own).await, message("jobs", "d"));
    // At the end of the transaction, each once, and only what was not rolled back.
    run(&two, "BEGIN; NOTIFY jobs, '1'; NOTIFY jobs, '1'; SAVEPOINT s; NOTIFY jobs, '2'; ROLLBACK TO s").await;
    assert!(heard.recv().now_or_never().is_none());
    run(&two, "NOTIFY jobs, '3'; COMMIT; BEGIN; NOTIFY jobs, '4'; ROLLBACK").await;
    fail(&two, "NOTIFY jobs, '5'; SELECT 1 / 0").await;
    fail(&two, "BEGIN; NOTIFY jobs, '6'; SELECT 1 / 0").await;
    run(&two, "COMMIT; NOTIFY jobs").await;
    for expected in ["1", "3", ""] {
        assert_eq!(next(&mut heard).await, message("jobs", expected));
    }
    // Not in the middle of a transaction of the one that listens.
    run(&one, "BEGIN").await;
    run(&two, "NOTIFY jobs, 'late'").await;
    run(&one, "SELECT 1").await;
    assert!(heard.recv().now_or_never().is_none());
    run(&one, "COMMIT").await;
    assert_eq!(next(&mut heard).await, message("jobs", "late"));
    // Another database has channels of its own.
    let (other, mut elsewhere) = listening(&server, "other").await;
    run(&other, "LISTEN jobs; NOTIFY jobs, 'there'").await;
    assert_eq!(next(&mut elsewhere).await, message("jobs", "there"));
    run(&one, "UNLISTEN jobs").await;
    run(&two, "NOTIFY jobs, 'x'; NOTIFY \"Other Jobs\", 'y'").await;
    assert_eq!(next(&mut heard).await, message("Other Jobs", "y"));
    for reset in ["UNLISTEN *", "LISTEN jobs; DISCARD ALL"] {
        for statement in reset.split("; ") {
            run(&one, statement).await;
        }
        run(&two, "NOTIFY jobs, 'z'").await;
        run(&one, "SELECT 1").await;
        assert!(heard.recv().now_or_never().is_none(), "{reset}");
    }
    assert_eq!(fail(&one, "SELECT pg_notify('', 'x')").await.0, "22023");
    assert_eq!(fail(&one, &format!("NOTIFY jobs, '{}'", "x".repeat(8000))).await.0, "22023");
    // Whoever is gone is not waited for.
    drop(other);
    run(&two, "NOTIFY jobs, 'end'").await;
}
