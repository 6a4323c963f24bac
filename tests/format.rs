//! Backups of earlier versions: `samples/` has small collections as they were written, and what must come out of them.
//!
//! A sample is never changed. With `KEEPSAFE_BLESS=1` the sample of this version is made if there is none yet.

use std::path::{Path, PathBuf};

use tokio_postgres::Client;

use crate::harness::{Server, Store, copy, fail, rows, run, value};

const SCHEMA: &str = "
    CREATE DATABASE s;
    USE s;
    CREATE SEQUENCE numbers START 10;
    CREATE TABLE kinds (
        id INT PRIMARY KEY, b BOOL, i2 INT2, i8 INT8, f4 FLOAT4, f8 FLOAT8, d DECIMAL(20, 4), t TEXT, v VARCHAR(9), c CHAR(4),
        x BYTES, day DATE, hour TIME, at TIMESTAMP, zoned TIMESTAMPTZ, span INTERVAL, u UUID, j JSONB, texts TEXT[], ints INT8[]
    );
    CREATE TABLE parent (id INT PRIMARY KEY, name TEXT NOT NULL DEFAULT 'it''s', UNIQUE (name));
    CREATE TABLE child (number INT8 PRIMARY KEY DEFAULT nextval('numbers'), parent INT REFERENCES parent (id), n INT CHECK (n > 0));
    CREATE INDEX by_parent ON child (parent, n DESC);
    CREATE TABLE keyless (note TEXT);
    CREATE TABLE left_out (id INT PRIMARY KEY) WITH (exclude_data_from_backup = true);
    CREATE VIEW names AS SELECT name, count(*) AS children FROM parent JOIN child ON parent.id = parent GROUP BY name;
    CREATE SCHEMA other;
    CREATE TABLE other.far (id INT PRIMARY KEY);
";

const ROWS: &str = "
    INSERT INTO kinds VALUES
        (1, true, -2, 9007199254740993, 1.5, -0.1, 1234567890123456.7891, 'ünï \u{1f512}', 'nine', 'ab', '\\x00ff10', '2026-11-22',
         '15:30:45.123456', '1999-12-31 23:59:59.999999', '2026-11-22 15:30:45+00', '1 mon 2 days 03:04:05', 
         '6f1d2c3b-0a9f-4e8d-8c7b-6a5f4e3d2c1b', '{\"a\": [1, 2.5, null], \"b\": \"c\"}', ARRAY['x', 'y z'], ARRAY[1, -1]),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO parent VALUES (1, 'one'), (2, DEFAULT);
    INSERT INTO child (parent, n) VALUES (1, 5), (1, 6), (2, 7), (NULL, 8);
    INSERT INTO keyless VALUES ('a'), ('a'), (NULL);
    INSERT INTO left_out VALUES (1);
    INSERT INTO other.far SELECT i FROM generate_series(1, 100) AS g (i);
";

const CHANGES: &str = "
    UPDATE child SET n = n * 10 WHERE parent = 1;
    DELETE FROM other.far WHERE id > 3;
    ALTER TABLE parent ADD COLUMN later INT DEFAULT 4;
    INSERT INTO parent VALUES (3, 'three', 33);
    DROP TABLE keyless;
";

/// What is asked of a restored database.
const QUESTIONS: [&str; 9] = [
    "SELECT * FROM kinds ORDER BY id",
    "SELECT * FROM parent ORDER BY id",
    "SELECT * FROM child ORDER BY number",
    "SELECT n FROM child WHERE parent = 1 ORDER BY n DESC",
    "SELECT count(*) FROM left_out",
    "SELECT * FROM names ORDER BY name",
    "SELECT count(*), min(id), max(id) FROM other.far",
    "SELECT nextval('numbers') >= 14",
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'child' ORDER BY ordinal_position",
];

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// Everything a sample must give, as text.
async fn answers(server: &Server, instant: &str) -> String {
    let client = server.connect_to("system").await;
    let mut told = String::new();
    let as_of = format!("AS OF SYSTEM TIME {instant}");
    for (collection, as_of, with) in [
        ("history", "", ""),
        ("history", &as_of[..], ""),
        ("sealed", "", ", encryption_passphrase = 'of the sample'"),
        ("cluster", "", ""),
    ] {
        let restore = format!(
            "RESTORE DATABASE s FROM LATEST IN 'nodelocal://1/{collection}' {as_of} WITH new_db_name = 'r'{with}"
        );
        told += &format!("# {restore}\n");
        run(&client, &restore).await;
        let restored = server.connect_to("r").await;
        for question in QUESTIONS {
            told += &format!("> {question}\n");
            for row in rows(&restored, question).await {
                told += &format!("{}\n", row.join("\t"));
            }
        }
        drop(restored);
        run(&client, "DROP DATABASE r CASCADE").await;
    }
    let refused = "RESTORE DATABASE s FROM LATEST IN 'nodelocal://1/sealed' WITH new_db_name = 'r'";
    told += &format!("# {refused}\n{}\n", fail(&client, refused).await.0);
    told
}

async fn write_sample(client: &Client) -> String {
    run(client, SCHEMA).await;
    run(client, ROWS).await;
    let instant = value(client, "SELECT cluster_logical_timestamp()").await;
    let sealed = "WITH encryption_passphrase = 'of the sample'";
    run(client, "BACKUP DATABASE s INTO 'nodelocal://1/history' WITH revision_history").await;
    run(client, &format!("BACKUP DATABASE s INTO 'nodelocal://1/sealed' {sealed}")).await;
    run(client, "BACKUP INTO 'nodelocal://1/cluster'").await;
    run(client, CHANGES).await;
    run(client, "BACKUP DATABASE s INTO LATEST IN 'nodelocal://1/history' WITH revision_history").await;
    run(client, &format!("BACKUP DATABASE s INTO LATEST IN 'nodelocal://1/sealed' {sealed}")).await;
    run(client, "BACKUP INTO LATEST IN 'nodelocal://1/cluster'").await;
    instant
}

/// Makes the sample of this version.
async fn make(sample: &Path) {
    let store = Store::new();
    let server = store.start();
    let instant = write_sample(&server.connect().await).await;
    copy(&store.extern_dir(), &sample.join("extern"));
    std::fs::write(sample.join("instant"), &instant).unwrap();
    std::fs::write(sample.join("answers"), answers(&server, &instant).await).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_every_version_so_far_are_restored() {
    let own = samples().join(env!("CARGO_PKG_VERSION"));
    if std::env::var_os("KEEPSAFE_BLESS").is_some() && !own.exists() {
        make(&own).await;
    }
    assert!(own.exists(), "this version has no sample; KEEPSAFE_BLESS=1 makes it");
    for sample in std::fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap().path()) {
        let store = Store::new();
        copy(&sample.join("extern"), &store.extern_dir());
        let server = store.start();
        let instant = std::fs::read_to_string(sample.join("instant")).unwrap();
        let expected = std::fs::read_to_string(sample.join("answers")).unwrap();
        let found = answers(&server, &instant).await;
        assert!(found == expected, "{}: {found}", sample.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_now_gives_what_the_newest_sample_gives() {
    let store = Store::new();
    let server = store.start();
    let instant = write_sample(&server.connect().await).await;
    let expected = std::fs::read_to_string(samples().join(env!("CARGO_PKG_VERSION")).join("answers")).unwrap();
    let found = answers(&server, &instant).await;
    let without_times = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert_eq!(without_times(&found), without_times(&expected));
}
