//! Which layers belong together, and where they are.

use std::time::Duration;

use crate::harness::{Server, Store, compile_shim, copy, eventually, fail, rows, run, value};

/// Begins a layer in a chain and loses the server while the layer is written.
async fn abandon_a_layer(store: &Store, external: &str) {
    let server = Server::start(&store.path(), &["--external-io-dir", external]);
    let client = server.connect().await;
    run(&client, "INSERT INTO d.t SELECT i FROM generate_series(100, 60000) AS g (i)").await;
    let lock = std::path::Path::new(external).join("c/metadata/lock");
    let backup = tokio::spawn(async move {
        let _ = client.batch_execute("BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
    });
    // Files that begin with a dot are being written.
    let is_there = |name: std::ffi::OsString| !name.to_string_lossy().starts_with('.');
    while !std::fs::read_dir(&lock).is_ok_and(|mut locks| locks.any(|lock| is_there(lock.unwrap().file_name()))) {
        assert!(!backup.is_finished(), "the backup was too fast for this test");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_of_a_cluster_that_is_gone_holds_for_ten_minutes() {
    let (lost, other) = (Store::new(), Store::new());
    let directory = tempfile::tempdir().unwrap();
    let external = directory.path().join("extern").to_str().unwrap().to_string();
    let server = Server::start(&lost.path(), &["--external-io-dir", &external]);
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (7)").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'").await;
    server.terminate();
    // Another process on a copy of the same store.
    copy(&lost.path(), &other.path());
    abandon_a_layer(&lost, &external).await;
    let (shim, offset) = (compile_shim("clock", directory.path()), directory.path().join("offset"));
    let environment = [("LD_PRELOAD", shim), ("CLOCK_OFFSET", offset.clone())];
    let start = || Server::start_in(&other.path(), &["--external-io-dir", &external], &environment);
    let layer = "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'";
    let server = start();
    let client = server.connect().await;
    assert_eq!(fail(&client, layer).await.0, "55006");
    server.terminate();
    std::fs::write(&offset, "590").unwrap();
    let server = start();
    assert_eq!(fail(&server.connect().await, layer).await.0, "55006");
    server.terminate();
    std::fs::write(&offset, "610").unwrap();
    let server = start();
    let client = server.connect().await;
    run(&client, layer).await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'").await;
    server.terminate();
    // The one that was gone comes back: its layer is no longer the next one, and it leaves nothing.
    let server = Server::start(&lost.path(), &["--external-io-dir", &external]);
    let client = server.connect().await;
    eventually(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'failed'", "1").await;
    run(&client, "SHOW BACKUP VALIDATE FROM LATEST IN 'nodelocal://1/c'").await;
    assert_eq!(
        rows(&client, "SELECT DISTINCT end_time FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/c']").await.len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incremental_layers_can_be_in_another_place_that_every_statement_names() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").await;
    for (collection, more) in [("plain", ""), ("sealed", ", encryption_passphrase = 'p'")] {
        let elsewhere = format!("incremental_location = 'nodelocal://1/{collection}-more'{more}");
        let from = format!("FROM LATEST IN 'nodelocal://1/{collection}'");
        let only = if more.is_empty() { String::new() } else { format!("WITH {}", &more[2..]) };
        run(&client, &format!("BACKUP DATABASE d INTO 'nodelocal://1/{collection}' {only}")).await;
        let layer = format!("BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/{collection}'");
        for number in [2, 3] {
            run(&client, &format!("UPSERT INTO d.t VALUES ({number})")).await;
            run(&client, &format!("{layer} WITH {elsewhere}")).await;
        }
        assert!(!store.extern_dir().join(collection).join("incrementals").exists());
        assert!(store.extern_dir().join(format!("{collection}-more")).join("incrementals").exists());

        // One that does not say where they are must not take the full backup for all there is.
        for statement in [
            format!("RESTORE DATABASE d {from} {only}"),
            format!("SHOW BACKUP {from} {only}"),
            format!("{layer} {only}"),
        ] {
            let (sqlstate, message) = fail(&client, &statement).await;
            assert!(sqlstate == "22023" && message.contains("another place"), "{statement}: {message}");
        }
        let wrong = format!("SHOW BACKUP {from} WITH incremental_location = 'nodelocal://1/nothing'{more}");
        let (sqlstate, message) = fail(&client, &wrong).await;
        assert!(sqlstate == "XX001" && message.contains("nodelocal://1/nothing"), "{sqlstate} {message}");
        let shown = format!("SELECT backup_type FROM [SHOW BACKUP {from} WITH {elsewhere}] WHERE object_name = 't'");
        assert_eq!(rows(&client, &shown).await, [["full"], ["incremental"], ["incremental"]]);
        run(&client, &format!("SHOW BACKUP VALIDATE {from} WITH {elsewhere}")).await;
        run(&client, &format!("SHOW BACKUP {from} WITH check_files, {elsewhere}")).await;
        run(&client, &format!("RESTORE DATABASE d {from} WITH new_db_name = 'r', {elsewhere}")).await;
        assert_eq!(rows(&client, "SELECT a FROM r.t ORDER BY a").await, [["1"], ["2"], ["3"]]);
        run(&client, "DROP DATABASE r CASCADE").await;
    }
    // Nor can a chain be in two places.
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'; BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
    let split = "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c' WITH incremental_location = 'nodelocal://1/more'";
    assert_eq!(fail(&client, split).await.0, "22023");
    // The collection itself is no other place.
    run(&client, &split.replace("/more", "/c")).await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'").await;
    let notices = crate::harness::notices(&server, &split.replace("/more", "/c"));
    assert!(notices.contains("incremental_location is deprecated"), "{notices}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_cannot_add_to_a_chain() {
    let directory = tempfile::tempdir().unwrap();
    let external = ["--external-io-dir", directory.path().to_str().unwrap()];
    let (one, other) = (Store::new(), Store::new());
    for store in [&one, &other] {
        let server = Server::start(&store.path(), &external);
        let client = server.connect().await;
        run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").await;
        if std::ptr::eq(store, &one) {
            run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'").await;
        }
        let added = client.batch_execute("BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
        assert_eq!(added.is_ok(), std::ptr::eq(store, &one));
        if let Err(error) = added {
            assert_eq!(error.as_db_error().unwrap().message(), "the backup being added to is of another cluster");
        }
        run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'").await;
    }
}

#[tokio::test]
async fn backups_as_of_one_time_are_all_of_that_time() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let then = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "INSERT INTO t VALUES (2)").await;
    // Directories are named by hundredths of a second: each takes a name of its own, and has nothing that came later.
    for _ in 0..3 {
        run(&client, &format!("BACKUP TABLE t INTO 'nodelocal://1/c' AS OF SYSTEM TIME {then}")).await;
    }
    let paths = rows(&client, "SHOW BACKUPS IN 'nodelocal://1/c'").await;
    assert_eq!(paths.len(), 3, "{paths:?}");
    let mut ends = Vec::new();
    for (number, path) in paths.iter().map(|path| &path[0]).chain([&"LATEST".to_string()]).enumerate() {
        let from = if path == "LATEST" { "LATEST".into() } else { format!("'{path}'") };
        ends.push(
            value(&client, &format!("SELECT DISTINCT end_time FROM [SHOW BACKUP FROM {from} IN 'nodelocal://1/c']"))
                .await,
        );
        run(&client, &format!("CREATE DATABASE d{number}")).await;
        run(&client, &format!("RESTORE TABLE t FROM {from} IN 'nodelocal://1/c' WITH into_db = 'd{number}'")).await;
        assert_eq!(value(&client, &format!("SELECT max(a) FROM d{number}.t")).await, "1");
    }
    ends.dedup();
    assert_eq!(ends.len(), 1);
    server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_is_read_while_layers_are_added_is_sound() {
    let store = Store::new();
    let directory = tempfile::tempdir().unwrap();
    let external = directory.path().join("extern").to_str().unwrap().to_string();
    let server = Server::start(&store.path(), &["--external-io-dir", &external]);
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (0)").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'").await;
    let (ended, _) = tokio::sync::watch::channel(false);
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (reader, ended) = (server.connect().await, ended.subscribe());
        readers.push(tokio::spawn(async move {
            let mut read = 0;
            while !*ended.borrow() {
                let layers = "SELECT count(DISTINCT end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/c']";
                rows(&reader, layers).await;
                read += 1;
            }
            read
        }));
    }
    for row in 1..=12 {
        run(&client, &format!("INSERT INTO d.t VALUES ({row})")).await;
        run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
    }
    ended.send(true).unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    let layers = "SELECT count(DISTINCT end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/c']";
    assert_eq!(value(&client, layers).await, "13");
    server.terminate();
}
