//! Backups encrypted with a passphrase.

use std::path::{Path, PathBuf};

use crate::harness::{Store, fail, rows, run, value};

const C: &str = "nodelocal://1/c";
const PASSPHRASE: &str = "hush-7Jq!correct horse";

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn contains(file: &Path, needle: &str) -> bool {
    std::fs::read(file).unwrap().windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_chain_comes_back_by_its_passphrase_and_shows_nothing_without() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.telltale (a INT PRIMARY KEY, note TEXT)").await;
    run(&client, "INSERT INTO d.telltale SELECT i, 'confidential ' || i::TEXT FROM generate_series(1, 3000) AS g (i)")
        .await;
    let with = format!("WITH encryption_passphrase = '{PASSPHRASE}'");
    run(
        &client,
        &format!("BACKUP DATABASE d INTO '{C}' WITH revision_history, encryption_passphrase = '{PASSPHRASE}'"),
    )
    .await;
    run(&client, "UPDATE d.telltale SET note = 'changed' WHERE a = 1").await;
    let between = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "DELETE FROM d.telltale WHERE a > 10").await;
    run(
        &client,
        &format!(
            "BACKUP DATABASE d INTO LATEST IN '{C}' WITH revision_history, encryption_passphrase = '{PASSPHRASE}'"
        ),
    )
    .await;

    // Whoever has only the files learns when there were backups, and how large they are.
    for file in files(&store.extern_dir()) {
        for needle in ["telltale", "confidential", "changed", "\"rows\"", "public", PASSPHRASE, "hush"] {
            assert!(!contains(&file, needle), "{needle} is in {}", file.display());
        }
    }
    assert_eq!(rows(&client, &format!("SHOW BACKUPS IN '{C}'")).await.len(), 1);

    let from = format!("FROM LATEST IN '{C}'");
    let restore = |name: &str, at: &str| format!("RESTORE DATABASE d {from} {at} {with}, new_db_name = '{name}'");
    run(&client, &restore("e", "")).await;
    assert_eq!(rows(&client, "SELECT count(*), min(note) FROM e.telltale").await, [["10", "changed"]]);
    run(&client, &restore("f", &format!("AS OF SYSTEM TIME {between}"))).await;
    assert_eq!(value(&client, "SELECT count(*) FROM f.telltale").await, "3000");
    let shown = format!("SELECT rows FROM [SHOW BACKUP {from} {with}] WHERE object_name = 'telltale'");
    assert_eq!(rows(&client, &shown).await[0], ["3000"]);
    run(&client, &format!("SHOW BACKUP VALIDATE {from} {with}")).await;

    // Three different mistakes.
    for (statement, sqlstate, named) in [
        (format!("RESTORE DATABASE d {from} WITH encryption_passphrase = 'hush-wrong'"), "28P01", "not the one"),
        (format!("SHOW BACKUP {from} WITH encryption_passphrase = 'hush-wrong'"), "28P01", "not the one"),
        (format!("RESTORE DATABASE d {from}"), "22023", "is encrypted"),
        (format!("SHOW BACKUP {from}"), "22023", "is encrypted"),
        (format!("BACKUP DATABASE d INTO LATEST IN '{C}'"), "22023", "is encrypted"),
        (
            format!("BACKUP DATABASE d INTO LATEST IN '{C}' WITH encryption_passphrase = 'hush-wrong'"),
            "28P01",
            "not the one",
        ),
        (format!("BACKUP DATABASE d INTO '{C}' WITH encryption_passphrase = ''"), "22023", "empty"),
    ] {
        let (found, message) = fail(&client, &statement).await;
        assert!(
            found == sqlstate && message.contains(named) && !message.contains("hush"),
            "{statement}: {found} {message}"
        );
    }
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/plain'").await;
    for statement in [
        format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/plain' {with}, new_db_name = 'x'"),
        format!("BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/plain' {with}"),
    ] {
        let (sqlstate, message) = fail(&client, &statement).await;
        assert!(sqlstate == "22023" && message.contains("not encrypted"), "{sqlstate} {message}");
    }

    // The passphrase is nowhere else either, and the key is gone with the jobs.
    assert_eq!(value(&client, "SELECT count(*) FROM system.secrets").await, "0");
    for table in ["jobs", "job_progress", "descriptor", "settings", "protected_ts_records"] {
        for row in rows(&client, &format!("SELECT * FROM system.{table}")).await {
            assert!(!row.iter().any(|cell| cell.contains("hush")), "{table}: {row:?}");
        }
    }
    let jobs = rows(&client, "SELECT description FROM system.jobs").await;
    assert!(jobs.iter().any(|job| job[0].contains("encryption_passphrase = '******'")), "{jobs:?}");
    server.terminate();
    for file in files(&store.path()) {
        assert!(!contains(&file, "hush"), "the passphrase is in {}", file.display());
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(store.path().join("secrets.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_damage_to_an_encrypted_backup_is_found() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1), (2)").await;
    run(&client, &format!("BACKUP DATABASE d INTO '{C}' WITH encryption_passphrase = 'p'")).await;
    let verify = format!("SHOW BACKUP VALIDATE FROM LATEST IN '{C}' WITH encryption_passphrase = 'p'");
    run(&client, &verify).await;
    for file in files(&store.extern_dir()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let needed = ["BACKUP_MANIFEST", "ENCRYPTION-INFO"].contains(&&name[..])
            || name.starts_with("FILES")
            || name.ends_with(".kvs");
        if !needed {
            continue;
        }
        let good = std::fs::read(&file).unwrap();
        for place in [0, good.len() / 3, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 4;
            std::fs::write(&file, &bad).unwrap();
            fail(&client, &verify).await;
        }
        for bad in [&good[..good.len() - 1], &[]] {
            std::fs::write(&file, bad).unwrap();
            fail(&client, &verify).await;
        }
        std::fs::write(&file, &good).unwrap();
    }
    run(&client, &verify).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_backup_goes_on_after_kill_9() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT)").await;
    run(&client, "INSERT INTO d.t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) AS g (i)").await;
    run(&client, &format!("BACKUP DATABASE d INTO '{C}' WITH encryption_passphrase = 'p', detached")).await;
    server.kill();
    let server = store.start();
    let client = server.connect().await;
    crate::harness::eventually(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'succeeded'", "1").await;
    run(
        &client,
        &format!("RESTORE DATABASE d FROM LATEST IN '{C}' WITH encryption_passphrase = 'p', new_db_name = 'e'"),
    )
    .await;
    assert_eq!(value(&client, "SELECT count(*) FROM e.t").await, "20000");
    assert_eq!(value(&client, "SELECT count(*) FROM system.secrets").await, "0");
}
