//! Damaged collections: a restore names the file and leaves nothing behind.

use std::path::{Path, PathBuf};

use tokio_postgres::Client;

use crate::harness::{Store, fail, rows, run, value};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_string()
}

/// A restore that must fail, naming the file, and leave nothing.
async fn restore_fails(client: &Client, file: &Path) {
    let restore = "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = copy";
    let (sqlstate, message) = fail(client, restore).await;
    assert!(message.contains(&name_of(file)), "{} is not named: {sqlstate} {message}", file.display());
    assert_eq!(sqlstate, "XX001", "{message}");
    assert_eq!(value(client, "SELECT count(*) FROM [SHOW DATABASES] WHERE database_name = 'copy'").await, "0");
    assert_eq!(
        value(client, "SELECT count(*) FROM [SHOW JOBS] WHERE status NOT IN ('succeeded', 'failed')").await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_of_any_file_is_found_and_named() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT); CREATE TABLE u (a INT PRIMARY KEY)").await;
    run(&client, "INSERT INTO t SELECT i, repeat(md5(CAST(i AS TEXT)), 4) FROM generate_series(1, 30000) AS i; INSERT INTO u VALUES (1)").await;
    run(&client, "BACKUP DATABASE defaultdb INTO 'nodelocal://1/c'").await;
    run(&client, "UPDATE t SET b = 'new' WHERE a < 100").await;
    run(&client, "BACKUP DATABASE defaultdb INTO LATEST IN 'nodelocal://1/c'").await;
    let collection = store.extern_dir().join("c");
    let essential = |path: &PathBuf| {
        let name = name_of(path);
        name.ends_with(".kvs") || name == "BACKUP_MANIFEST" || name.starts_with("FILES-")
    };
    let all: Vec<PathBuf> = files(&collection).into_iter().filter(essential).collect();
    assert!(all.iter().filter(|path| name_of(path).ends_with(".kvs")).count() >= 3, "{all:?}");
    assert_eq!(all.iter().filter(|path| name_of(path) == "BACKUP_MANIFEST").count(), 2);
    for path in &all {
        let whole = std::fs::read(path).unwrap();
        for at in [9, whole.len() / 2, whole.len() - 5] {
            flip(path, at);
            restore_fails(&client, path).await;
            std::fs::write(path, &whole).unwrap();
        }
        std::fs::write(path, &whole[..whole.len() - 1]).unwrap();
        restore_fails(&client, path).await;
        std::fs::remove_file(path).unwrap();
        restore_fails(&client, path).await;
        std::fs::write(path, &whole).unwrap();
    }
    let data: Vec<&PathBuf> = all.iter().filter(|path| name_of(path).ends_with(".kvs")).collect();
    let (first, second) = (std::fs::read(data[0]).unwrap(), std::fs::read(data[1]).unwrap());
    std::fs::write(data[0], &second).unwrap();
    std::fs::write(data[1], &first).unwrap();
    let (_, message) =
        fail(&client, "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = copy").await;
    assert!(message.contains(&name_of(data[0])) || message.contains(&name_of(data[1])), "{message}");
    std::fs::write(data[0], &first).unwrap();
    std::fs::write(data[1], &second).unwrap();
    run(&client, "RESTORE DATABASE defaultdb FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = copy").await;
    assert_eq!(rows(&client, "SELECT count(*) FROM copy.public.t WHERE b = 'new'").await, [["99"]]);
}

#[tokio::test]
async fn a_failed_backup_leaves_no_complete_looking_one_and_blocks_nothing() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    // The collection's place is a file: nothing can be written under it.
    std::fs::create_dir_all(store.extern_dir()).unwrap();
    std::fs::write(store.extern_dir().join("c"), b"in the way").unwrap();
    let failed = client.batch_execute("BACKUP TABLE t INTO 'nodelocal://1/c'").await;
    assert!(failed.is_err());
    assert_eq!(value(&client, "SELECT count(*) FROM [SHOW JOBS]").await, "0", "refused before there is a job");
    std::fs::remove_file(store.extern_dir().join("c")).unwrap();
    assert!(rows(&client, "SHOW BACKUPS IN 'nodelocal://1/c'").await.is_empty());
    run(&client, "BACKUP TABLE t INTO 'nodelocal://1/c'").await;
    run(&client, "BACKUP TABLE t INTO LATEST IN 'nodelocal://1/c'").await;
    assert_eq!(rows(&client, "SHOW BACKUPS IN 'nodelocal://1/c'").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_layers_at_once_never_break_a_chain() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (0)").await;
    run(&client, "BACKUP TABLE t INTO 'nodelocal://1/c'").await;
    let mut succeeded = 0;
    for round in 1..=5 {
        run(&client, &format!("INSERT INTO t VALUES ({round})")).await;
        let (one, two) = (server.connect().await, server.connect().await);
        let backup = "BACKUP TABLE t INTO LATEST IN 'nodelocal://1/c'";
        let (one, two) = tokio::join!(one.batch_execute(backup), two.batch_execute(backup));
        for outcome in [one, two] {
            match outcome {
                Ok(()) => succeeded += 1,
                Err(error) => assert_eq!(error.as_db_error().unwrap().code().code(), "55006", "{error:?}"),
            }
        }
    }
    assert!(succeeded >= 5, "{succeeded}");
    run(&client, "CREATE DATABASE d; RESTORE TABLE t FROM LATEST IN 'nodelocal://1/c' WITH into_db = d").await;
    assert_eq!(value(&client, "SELECT count(*) FROM d.public.t").await, "6");
}
