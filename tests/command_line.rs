use std::io::Write;
use std::process::Stdio;

use crate::harness::{Server, Store, keepsafe, run, value};

fn parse(sql: &str, arguments: &[&str]) -> (bool, String, String) {
    let mut command = keepsafe(&[&["parse"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn parse_prints_canonical_statements_without_secrets() {
    let sql = "backup t into 's3://b?AWS_SECRET_ACCESS_KEY=hush' with encryption_passphrase='hush'; select  1";
    let shown = "BACKUP TABLE t INTO 's3://b?AWS_SECRET_ACCESS_KEY=redacted' WITH OPTIONS (encryption_passphrase = '******');\nSELECT 1;\n";
    assert_eq!(parse(sql, &[]), (true, shown.into(), String::new()));
    assert!(parse(sql, &["--show-secrets"]).1.contains("encryption_passphrase = 'hush'"));
    let (ok, out, err) = parse("select 1;\nbackup to 'hush'", &[]);
    assert!(!ok && out == "SELECT 1;\n" && err.starts_with("2:8: "), "{out} {err}");
    assert!(err.contains("\nHINT: Write BACKUP ... INTO") && !err.contains("hush"));
}

#[test]
fn start_refuses_what_is_not_safe() {
    let store = Store::new();
    let path = store.path();
    let path = path.to_str().unwrap();
    for (arguments, why) in [
        (&["--listen", "0.0.0.0:0"][..], "not a loopback address"),
        (&["--certs-dir", "/tmp"], "--certs-dir is not supported"),
        (&["--log", "nonsense=level"], "--log"),
    ] {
        let output = keepsafe(&[&["start", "--store", path], arguments].concat()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(why), "{arguments:?}: {error}");
    }
    let _first = store.start();
    let second =
        keepsafe(&["start", "--store", path, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).output().unwrap();
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
}

#[tokio::test]
async fn a_store_survives_a_stop_and_a_start() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    drop(client);
    server.terminate();
    let server = Server::start(&store.path(), &["--locality", "region=eu,az=a"]);
    let client = server.connect().await;
    assert_eq!(value(&client, "SELECT count(*) FROM t").await, "2");
    assert_eq!(value(&client, "SHOW LOCALITY").await, "region=eu,az=a");
}

#[tokio::test]
async fn check_verifies_a_store_that_nobody_uses() {
    let store = Store::new();
    let path = store.path();
    let check = || keepsafe(&["check", "--store", path.to_str().unwrap()]).output().unwrap();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE p (id INT PRIMARY KEY, name TEXT UNIQUE, INDEX (name DESC))").await;
    run(&client, "CREATE TABLE c (id INT PRIMARY KEY, p INT REFERENCES p (id)); CREATE SEQUENCE s").await;
    run(&client, "INSERT INTO p SELECT i, 'name ' || i FROM generate_series(1, 5000) AS i").await;
    run(&client, "UPDATE p SET name = 'other ' || id WHERE id < 100; DELETE FROM p WHERE id > 4000").await;
    run(&client, "ALTER TABLE p ADD COLUMN added INT NOT NULL DEFAULT 5; UPDATE p SET added = 6 WHERE id = 1").await;
    run(&client, "INSERT INTO p VALUES (9000, NULL, 1); INSERT INTO c VALUES (1, 1)").await;
    let busy = check();
    let error = String::from_utf8_lossy(&busy.stderr).into_owned();
    assert!(!busy.status.success() && error.contains("in use by another process"), "{error}");
    drop(client);
    server.kill();
    let sound = check();
    let (out, error) = (String::from_utf8_lossy(&sound.stdout), String::from_utf8_lossy(&sound.stderr));
    assert!(sound.status.success() && out.ends_with("The store is sound.\n"), "{out}{error}");
    assert!(out.contains(" 4002 rows, 8002 index entries, "), "{out}");
    let missing = keepsafe(&["check", "--store", "/nowhere"]).output().unwrap();
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("no store in /nowhere"));
}
