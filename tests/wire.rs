use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use futures::{SinkExt, StreamExt, pin_mut};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::harness::{Store, fail, rows, run, succeed, value};

#[tokio::test]
async fn unknown_users_and_databases_are_refused() {
    let store = Store::new();
    let server = store.start();
    for (user, database, sqlstate) in [("nobody", "defaultdb", "28000"), ("root", "nowhere", "3D000")] {
        let url = format!("postgresql://{user}@127.0.0.1:{}/{database}", server.port);
        let error = tokio_postgres::connect(&url, NoTls).await.map(drop).unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), sqlstate);
    }
    for database in ["defaultdb", "postgres", "system"] {
        assert_eq!(value(&server.connect_to(database).await, "SELECT current_database()").await, database);
    }
}

#[tokio::test]
async fn prepared_statements_know_their_types() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(
        &client,
        "CREATE TABLE t (a INT PRIMARY KEY, b TEXT, c DECIMAL(10,2), d TIMESTAMPTZ, e INT8, f BOOL, g BYTEA, h FLOAT8)",
    )
    .await;
    let insert = client.prepare("INSERT INTO t (a, b, e, f, g, h) VALUES ($1, $2, $3, $4, $5, $6)").await.unwrap();
    assert_eq!(insert.params(), [Type::INT4, Type::TEXT, Type::INT8, Type::BOOL, Type::BYTEA, Type::FLOAT8]);
    for n in 1..=3i32 {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&n, &format!("it's {n}"), &i64::MAX, &true, &vec![0u8, 255], &1.5f64];
        assert_eq!(client.execute(&insert, &parameters).await.unwrap(), 1);
    }
    let null: Option<String> = None;
    client.execute("UPDATE t SET b = $1 WHERE a = $2", &[&null, &3i32]).await.unwrap();
    let select =
        client.prepare("SELECT a, b, e, f, g, h FROM t WHERE a >= $1 AND b LIKE $2 ORDER BY a LIMIT $3").await.unwrap();
    assert_eq!(select.params(), [Type::INT4, Type::TEXT, Type::INT8]);
    let found = client.query(&select, &[&1i32, &"it%", &10i64]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].get::<_, i32>(0), 2);
    assert_eq!(found[1].get::<_, String>(1), "it's 2");
    assert_eq!(found[1].get::<_, i64>(2), i64::MAX);
    assert!(found[1].get::<_, bool>(3));
    assert_eq!(found[1].get::<_, Vec<u8>>(4), [0, 255]);
    assert_eq!(found[1].get::<_, f64>(5), 1.5);
    let uri = "nodelocal://1/by-driver";
    let backup = client.query_one("BACKUP TABLE t INTO $1", &[&uri]).await.unwrap();
    assert_eq!(backup.get::<_, String>("status"), "succeeded");
    assert_eq!(client.query("SHOW BACKUPS IN $1", &[&uri]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn portals_give_rows_in_parts_and_errors_wait_for_sync() {
    let store = Store::new();
    let server = store.start();
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT i FROM generate_series(1, 10) AS i", &[]).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let part = transaction.query_portal(&portal, 4).await.unwrap();
        if part.is_empty() {
            break;
        }
        assert!(part.len() <= 4);
        seen.extend(part.iter().map(|row| row.get::<_, i32>(0)));
        if seen.len() == 10 {
            break;
        }
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    transaction.rollback().await.unwrap();
    // Two statements at once: the first fails, the second is answered all the same.
    let (bad, good) = tokio::join!(client.query("SELECT 1/0", &[]), client.query("SELECT 7::INT8", &[]));
    assert_eq!(bad.unwrap_err().as_db_error().unwrap().code().code(), "22012");
    assert_eq!(good.unwrap()[0].get::<_, i64>(0), 7);
}

#[tokio::test]
async fn statements_in_one_message_are_one_transaction() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    assert_eq!(fail(&client, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)").await.0, "23505");
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "0");
    let messages = client.simple_query("INSERT INTO t VALUES (1); SELECT a FROM t; DELETE FROM t").await.unwrap();
    let counts: Vec<u64> = messages
        .iter()
        .filter_map(|m| if let SimpleQueryMessage::CommandComplete(n) = m { Some(*n) } else { None })
        .collect();
    assert_eq!(counts, [1, 1, 1]);
    run(&client, "BEGIN").await;
    assert_eq!(fail(&client, "SELECT * FROM nowhere").await.0, "42P01");
    assert_eq!(fail(&client, "SELECT 1").await.0, "25P02");
    run(&client, "ROLLBACK").await;
    run(&client, "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2)").await;
    assert_eq!(fail(&client, "INSERT INTO t VALUES (2)").await.0, "23505");
    run(&client, "ROLLBACK TO s").await;
    run(&client, "COMMIT").await;
    assert_eq!(rows(&client, "SELECT a FROM t").await, [["1"]]);
}

#[tokio::test]
async fn copy_goes_both_ways() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT, c DECIMAL(6,2))").await;
    let sink = client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    // Pieces that end anywhere.
    for piece in ["1\tone\t1.5", "0\n2\ttab\\there", "\t\\N\n3\t\\N\t3\n\\.\n"] {
        sink.send(bytes::Bytes::from(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 3);
    assert_eq!(
        rows(&client, "SELECT * FROM t ORDER BY a").await,
        [["1", "one", "1.50"], ["2", "tab\there", "NULL"], ["3", "NULL", "3.00"]]
    );
    let out = client.copy_out("COPY (SELECT * FROM t ORDER BY a) TO STDOUT WITH (FORMAT csv, HEADER)").await.unwrap();
    let text: Vec<u8> = out.map(|piece| piece.unwrap().to_vec()).concat().await;
    assert_eq!(String::from_utf8(text).unwrap(), "a,b,c\n1,one,1.50\n2,tab\there,\n3,,3.00\n");
    for (data, sqlstate) in
        [("4\tx\n", "22P04"), ("x\ty\t1\n", "22P02"), ("1\ty\t1\n", "23505"), ("5\ty\t99999\n", "22003")]
    {
        let sink = client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await.unwrap();
        pin_mut!(sink);
        sink.send(bytes::Bytes::from(data)).await.unwrap();
        let error = sink.finish().await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), sqlstate, "{data:?}");
    }
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_query_can_be_canceled_and_times_out() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    let token = client.cancel_token();
    let query = tokio::spawn(async move {
        let error = client
            .batch_execute(
                "SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b WHERE a.a + b.b = 3",
            )
            .await;
        (client, error.unwrap_err())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    token.cancel_query(NoTls).await.unwrap();
    let (client, error) = query.await.unwrap();
    assert_eq!(error.as_db_error().unwrap().code().code(), "57014");
    assert_eq!(value(&client, "SELECT 1").await, "1", "the connection goes on");
    run(&client, "SET statement_timeout = 50").await;
    let (sqlstate, message) = fail(
        &client,
        "SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b WHERE a.a + b.b = 3",
    )
    .await;
    assert!(sqlstate == "57014" && message.contains("timeout"), "{message}");
}

/// Waits until a lock is held, or is not, as another session sees it.
async fn until_locked(client: &tokio_postgres::Client, key: i64, locked: bool) {
    let probe = format!("SELECT CASE WHEN pg_try_advisory_lock({key}) THEN pg_advisory_unlock({key}) ELSE false END");
    for _ in 0..200 {
        if (value(client, &probe).await == "f") == locked {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("advisory lock {key} is not as it should be: locked = {locked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advisory_locks_are_waited_for_and_go_with_who_holds_them() {
    let store = Store::new();
    let server = store.start();
    let (holder, probe) = (server.connect().await, server.connect().await);
    value(&holder, "SELECT pg_advisory_lock(1)").await;
    until_locked(&probe, 1, true).await;
    // One that waits gets it when it is free.
    let waiting = server.connect().await;
    let waiter = tokio::spawn(async move {
        value(&waiting, "SELECT pg_advisory_lock(1)").await;
        waiting
    });
    // One that was canceled, and one whose connection is gone, never do.
    let canceled = server.connect().await;
    let token = canceled.cancel_token();
    let canceled = tokio::spawn(async move { (canceled.batch_execute("SELECT pg_advisory_lock(1)").await, canceled) });
    let gone = server.connect().await;
    let gone = tokio::spawn(async move { gone.batch_execute("SELECT pg_advisory_lock(1)").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    token.cancel_query(NoTls).await.unwrap();
    let (error, canceled) = canceled.await.unwrap();
    assert_eq!(error.unwrap_err().as_db_error().unwrap().code().code(), "57014");
    gone.abort();
    assert!(!waiter.is_finished());
    assert_eq!(value(&holder, "SELECT pg_advisory_unlock(1)").await, "t");
    let waiter = waiter.await.unwrap();
    until_locked(&probe, 1, true).await;
    drop(waiter);
    until_locked(&probe, 1, false).await;
    assert_eq!(value(&canceled, "SELECT pg_advisory_unlock(1)").await, "f", "it was never granted");
    // A transaction's goes with it, however it ends.
    for end in ["COMMIT", "ROLLBACK"] {
        run(&holder, "BEGIN; SELECT pg_advisory_xact_lock(2, 3)").await;
        assert_eq!(value(&probe, "SELECT pg_try_advisory_lock_shared(2, 3)").await, "f");
        run(&holder, end).await;
        assert_eq!(value(&probe, "SELECT pg_try_advisory_lock_shared(2, 3)").await, "t");
        assert_eq!(value(&probe, "SELECT pg_advisory_unlock_shared(2, 3)").await, "t");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    let mut clients = Vec::new();
    for n in 0..100 {
        clients.push((n, server.connect().await));
    }
    let work = clients
        .into_iter()
        .map(|(n, client)| tokio::spawn(async move { run(&client, &format!("INSERT INTO t VALUES ({n})")).await }));
    futures::future::try_join_all(work).await.unwrap();
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_upserts_and_increments_none_is_lost() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE, n INT)").await;
    let upsert = "INSERT INTO t VALUES ($1, $2, $3) ON CONFLICT (b) DO UPDATE SET n = t.n + excluded.n WHERE t.n >= $4";
    let increment = "UPDATE t SET n = n + $1 WHERE a = $2";
    let prepared = client.prepare(upsert).await.unwrap();
    assert_eq!(prepared.params(), [Type::INT4, Type::INT4, Type::INT4, Type::INT4]);
    client.execute(&prepared, &[&0i32, &0i32, &0i32, &0i32]).await.unwrap();
    let mut work = Vec::new();
    for worker in 0..8i32 {
        let client = server.connect().await;
        work.push(tokio::spawn(async move {
            for n in 0..25i32 {
                // The key is another one each time; the unique column is what is there already.
                let key = 1000 + worker * 100 + n;
                assert_eq!(client.execute(upsert, &[&key, &(n % 3), &1i32, &0i32]).await.unwrap(), 1);
                assert_eq!(client.execute(increment, &[&1i32, &0i32]).await.unwrap(), 1);
            }
        }));
    }
    futures::future::try_join_all(work).await.unwrap();
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "3");
    assert_eq!(value(&client, "SELECT sum(n) FROM t").await, "400");
    // A row that is left alone is not counted.
    assert_eq!(client.execute(&prepared, &[&5i32, &0i32, &1i32, &i32::MAX]).await.unwrap(), 0);
}

#[test]
fn nonsense_on_the_wire_hurts_nobody() {
    let store = Store::new();
    let server = store.start();
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 64], &[0xff; 64], &[0, 0, 0, 8, 4, 210, 22, 47]] {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        if bytes[4..] == [4, 210, 22, 47] {
            assert_eq!(answer, b"N", "an SSLRequest is answered N");
        }
    }
    succeed(server.program("psql").args(["-c", "SELECT 1"]));
}

#[test]
fn psql_shows_errors_where_they_are() {
    let store = Store::new();
    let server = store.start();
    let mut psql = server.program("psql");
    let output = psql
        .args(["-v", "VERBOSITY=verbose", "-c", "BACKUP INTO 'x' WITH detatched"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("42601") && error.contains("LINE 1: BACKUP INTO 'x' WITH detatched"), "{error}");
    assert!(
        error.contains("                             ^") && error.contains("HINT:  Did you mean detached"),
        "{error}"
    );
}

#[tokio::test]
async fn errors_say_where_what_they_name_stands() {
    use tokio_postgres::error::ErrorPosition::Original;
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    for (statement, at) in [
        ("SELECT 'ü'; SELECT id,\n nope FROM t", "nope"),
        ("SELECT * FROM t JOIN missing USING (id)", "missing"),
        ("SELECT t.id, t.nope FROM t", "t.nope"),
        ("SELECT x.id FROM t", "x.id"),
        ("SELECT id, nope(id) FROM t", "nope("),
        ("SELECT id::nope FROM t", "nope FROM"),
        ("INSERT INTO t VALUES (1), ('one')", "'one'"),
        ("UPDATE t SET id = nope", "nope"),
    ] {
        let error = client.batch_execute(statement).await.unwrap_err();
        let Some(Original(position)) = error.as_db_error().unwrap().position() else {
            panic!("{statement}: {error:?}")
        };
        let rest: String = statement.chars().skip(*position as usize - 1).collect();
        assert!(rest.starts_with(at), "{statement}: {rest}");
    }
    // A driver that prepares hears it, too.
    let error = client.prepare("SELECT nope FROM t WHERE id = $1").await.map(drop).unwrap_err();
    assert_eq!(error.as_db_error().unwrap().position(), Some(&Original(8)));
}

#[test]
fn http_says_that_the_server_is_well() {
    let store = Store::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let _server = crate::harness::Server::start(&store.path(), &["--log", "error"]);
    let other = Store::new();
    let mut command = crate::harness::keepsafe(&[
        "start",
        "--store",
        other.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--http",
        &address,
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 15];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let mut socket = TcpStream::connect(&address).unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ok\""), "{answer}");
}

#[tokio::test]
async fn a_key_that_is_too_long_is_an_error_and_nothing_worse() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (id INT PRIMARY KEY, s TEXT, INDEX (s)); CREATE TABLE k (s TEXT PRIMARY KEY)").await;
    for sql in ["INSERT INTO t VALUES (1, repeat('x', 70000))", "INSERT INTO k VALUES (repeat('x', 70000))"] {
        assert_eq!(fail(&client, sql).await.0, "54000");
    }
    assert!(rows(&client, "SELECT * FROM k WHERE s = repeat('x', 70000)").await.is_empty());
    assert!(rows(&client, "SELECT * FROM k WHERE s > repeat('x', 70000)").await.is_empty());
    run(&client, "INSERT INTO t VALUES (2, 'short'); INSERT INTO k VALUES (repeat('x', 20000))").await;
    assert_eq!(value(&client, "SELECT count(*) FROM k WHERE s = repeat('x', 20000)").await, "1");
}

#[tokio::test]
async fn what_is_not_there_yet_names_itself() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT)").await;
    run(&client, "BACKUP t INTO 'nodelocal://1/x'").await;
    for (sql, what) in [
        ("ALTER BACKUP LATEST IN 'x' ADD NEW_KMS = 'a' WITH OLD_KMS = 'b'", "ALTER BACKUP"),
        ("SHOW BACKUP CONNECTION 'x'", "SHOW BACKUP CONNECTION"),
        ("ALTER JOB 1 OWNER TO root", "ALTER JOB"),
        ("CREATE EXTERNAL CONNECTION a AS 'b'", "CREATE EXTERNAL CONNECTION"),
        ("SHOW EXTERNAL CONNECTIONS", "SHOW EXTERNAL CONNECTIONS"),
        ("CHECK EXTERNAL CONNECTION 'x'", "CHECK EXTERNAL CONNECTION"),
        ("EXPLAIN BACKUP INTO 'x'", "EXPLAIN of a statement that is not ordinary SQL"),
        ("BACKUP INTO 'nodelocal://1/y' WITH kms = 'k'", "option kms"),
        ("SHOW BACKUP FROM LATEST IN 'nodelocal://1/x' WITH kms = 'k'", "option kms of SHOW BACKUP"),
        (
            "SHOW BACKUP FILES FROM LATEST IN 'nodelocal://1/x' WITH as_json",
            "option as_json of this form of SHOW BACKUP",
        ),
        ("ALTER TABLE t CONFIGURE ZONE USING num_replicas = 3", "zone configuration parameter \"num_replicas\""),
        (
            "BACKUP INTO 'nodelocal://1/y' WITH include_all_virtual_clusters = false",
            "option include_all_virtual_clusters",
        ),
        ("RESTORE t FROM LATEST IN 'nodelocal://1/x' WITH remove_regions", "option remove_regions"),
    ] {
        assert_eq!(fail(&client, sql).await, ("0A000".to_string(), format!("{what} is not supported")), "{sql}");
    }
}

#[tokio::test]
async fn long_expressions_are_answered_or_refused() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    // As many operators as are allowed: the server's threads have room for such a tree.
    let chain = |count: usize, operator: &str, operand: &str| vec![operand; count + 1].join(operator);
    assert_eq!(value(&client, &format!("SELECT {}", chain(256, " + ", "1"))).await, "257");
    assert_eq!(value(&client, &format!("SELECT {} OR true", chain(1023, " OR ", "false"))).await, "t");
    assert_eq!(fail(&client, &format!("SELECT {}", chain(1025, " OR ", "false"))).await.0, "54001");
    let nested = format!("SELECT {}1{}", "(".repeat(128), ")".repeat(128));
    assert_eq!(value(&client, &nested).await, "1");
}

#[tokio::test]
async fn transactions_that_are_left_alone_or_take_too_long_are_ended() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    for (setting, sqlstate) in [("idle_in_transaction_session_timeout", "25P03"), ("transaction_timeout", "25P04")] {
        let (lazy, connection) = server.connect_and_watch("defaultdb").await;
        run(&lazy, &format!("SET {setting} = '200ms'")).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        run(&lazy, "BEGIN; UPDATE t SET a = 2; SELECT a FROM t").await;
        let ended = connection.await.unwrap().unwrap_err();
        assert_eq!(ended.as_db_error().unwrap().code().code(), sqlstate, "{setting}");
        // What it held is free, what it wrote is gone.
        run(&client, "UPDATE t SET a = 1").await;
    }
    let busy = server.connect().await;
    run(&busy, "SET transaction_timeout = '300ms'; BEGIN").await;
    let long =
        "SELECT count(*) FROM generate_series(1, 30000) AS a(x), generate_series(1, 30000) AS b(y) WHERE x * y < 0";
    let error = busy.batch_execute(long).await.unwrap_err();
    assert_eq!(error.as_db_error().map(|error| error.code().code().to_string()), Some("25P04".into()), "{error:?}");
}
