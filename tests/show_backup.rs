//! What `SHOW BACKUP` shows, and restores without rows.

use std::path::PathBuf;

use crate::harness::{Store, fail, rows, run, value};

const C: &str = "nodelocal://1/c";

/// The data files of the collection, largest first.
fn data_files(store: &Store) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![store.extern_dir()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false if path.extension().is_some_and(|extension| extension == "kvs") => found.push(path),
                false => {}
            }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(std::fs::metadata(path).unwrap().len()));
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_backup_tells_objects_schemas_files_and_whether_they_are_sound() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.p (a INT PRIMARY KEY)").await;
    run(&client, "CREATE TABLE d.c (a INT PRIMARY KEY, p INT REFERENCES d.p (a), s TEXT, INDEX (s))").await;
    run(&client, "CREATE VIEW d.v AS SELECT a FROM d.p; CREATE SEQUENCE d.q").await;
    run(&client, "INSERT INTO d.p VALUES (1), (2); INSERT INTO d.c VALUES (1, 1, 'x')").await;
    run(&client, &format!("BACKUP DATABASE d INTO '{C}'")).await;
    run(&client, &format!("INSERT INTO d.p VALUES (3); BACKUP DATABASE d INTO LATEST IN '{C}'")).await;
    let from = format!("FROM LATEST IN '{C}'");
    let objects =
        rows(&client, &format!("SELECT object_name, object_type, backup_type, rows FROM [SHOW BACKUP {from}]")).await;
    let full: Vec<Vec<&str>> =
        objects.iter().filter(|row| row[2] == "full").map(|row| row.iter().map(String::as_str).collect()).collect();
    assert_eq!(full[0], ["d", "database", "full", "NULL"]);
    assert!(full.contains(&vec!["public", "schema", "full", "NULL"]));
    assert!(full.contains(&vec!["p", "table", "full", "2"]) && full.contains(&vec!["c", "table", "full", "1"]));
    assert!(full.contains(&vec!["v", "view", "full", "NULL"]), "{full:?}");
    assert!(objects.iter().any(|row| row[..] == ["p", "table", "incremental", "1"]));

    let statements = rows(
        &client,
        &format!("SELECT object_name, create_statement FROM [SHOW BACKUP SCHEMAS {from}] WHERE backup_type = 'full'"),
    )
    .await;
    let of = |name: &str| statements.iter().find(|row| row[0] == name).unwrap()[1].clone();
    assert_eq!(of("p"), rows(&client, "SHOW CREATE TABLE d.p").await[0][1]);
    assert_eq!(of("c"), rows(&client, "SHOW CREATE TABLE d.c").await[0][1]);
    assert!(
        of("v").starts_with("CREATE VIEW") && of("q").starts_with("CREATE SEQUENCE") && of("d") == "CREATE DATABASE d"
    );

    let ids = rows(&client, &format!("SELECT database_id, parent_schema_id, object_id FROM [SHOW BACKUP {from} WITH debug_ids] WHERE object_name = 'p'")).await;
    assert!(ids[0].iter().all(|id| id.parse::<u64>().unwrap() >= 100), "{ids:?}");
    let granted = rows(
        &client,
        &format!("SELECT privileges, owner FROM [SHOW BACKUP {from} WITH privileges] WHERE object_name = 'p'"),
    )
    .await;
    assert_eq!(granted[0], ["GRANT ALL ON TABLE p TO admin; GRANT ALL ON TABLE p TO root;", "root"]);
    let sizes =
        rows(&client, &format!("SELECT DISTINCT size_bytes, rows FROM [SHOW BACKUP {from} WITH skip size]")).await;
    assert_eq!(sizes, [["NULL", "NULL"]]);
    let on_disk: u64 = data_files(&store).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    let file_bytes = format!("SELECT sum(file_bytes)::INT8 FROM [SHOW BACKUP {from} WITH check_files]");
    let shown: u64 = value(&client, &file_bytes).await.parse().unwrap();
    assert!(shown <= on_disk && shown + 20 > on_disk, "{shown} of {on_disk}");

    let files = rows(&client, &format!("SHOW BACKUP FILES {from}")).await;
    assert!(files.iter().any(|row| row[2..5] == ["d", "public", "p"]), "{files:?}");
    assert!(!rows(&client, &format!("SHOW BACKUP RANGES {from}")).await.is_empty());
    let valid = rows(&client, &format!("SELECT backup_type, status FROM [SHOW BACKUP VALIDATE {from}]")).await;
    assert_eq!(valid, [["full", "valid"], ["incremental", "valid"]]);
    let json = rows(&client, &format!("SHOW BACKUP {from} WITH as_json")).await;
    assert!(json.len() == 2 && json[0][0].contains("\"entryCounts\"") && json[0][0].contains("data/"));

    // One byte is changed, then one file is cut, then it is gone.
    let damaged = data_files(&store)[0].clone();
    let good = std::fs::read(&damaged).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&damaged, &bad).unwrap();
    let (sqlstate, message) = fail(&client, &format!("SHOW BACKUP VALIDATE {from}")).await;
    assert!(sqlstate == "XX001" && message.contains(name), "{message}");
    run(&client, &format!("SHOW BACKUP {from} WITH check_files")).await;
    std::fs::write(&damaged, &good[1..]).unwrap();
    let (sqlstate, message) = fail(&client, &format!("SHOW BACKUP {from} WITH check_files")).await;
    assert!(sqlstate == "XX001" && message.contains(name) && message.contains("bytes instead of"), "{message}");
    std::fs::remove_file(&damaged).unwrap();
    let (sqlstate, message) = fail(&client, &format!("SHOW BACKUP {from} WITH check_files")).await;
    assert!(sqlstate == "XX001" && message.contains(name) && message.contains("missing"), "{message}");
    let (_, message) = fail(&client, &format!("SHOW BACKUP VALIDATE {from}")).await;
    assert!(message.contains(name) && message.contains("missing"), "{message}");
    let (sqlstate, message) = fail(&client, &format!("SHOW BACKUP {from} WITH kms = 'hush'")).await;
    assert!(sqlstate == "0A000" && !message.contains("hush"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_can_be_restored_without_its_rows_and_the_rows_only_read() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT UNIQUE)").await;
    run(&client, "INSERT INTO d.t VALUES (1, 'one'), (2, 'two')").await;
    run(&client, &format!("BACKUP DATABASE d INTO '{C}'")).await;
    let restore = |options: &str| format!("RESTORE DATABASE d FROM LATEST IN '{C}' WITH {options}");
    let counted = rows(&client, &restore("schema_only, new_db_name = 'e'")).await;
    assert_eq!(counted[0][3], "0", "rows");
    assert_eq!(value(&client, "SELECT count(*) FROM e.t").await, "0");
    run(&client, "INSERT INTO e.t VALUES (1, 'one')").await;
    assert_eq!(fail(&client, "INSERT INTO e.t VALUES (2, 'one')").await.0, "23505");
    let counted = rows(&client, &restore("schema_only, verify_backup_table_data, new_db_name = 'f'")).await;
    assert_eq!(counted[0][3], "2", "rows that were read");
    assert_eq!(value(&client, "SELECT count(*) FROM f.t").await, "0");
    let (sqlstate, _) = fail(&client, &restore("verify_backup_table_data, new_db_name = 'g'")).await;
    assert!(["22023", "42601"].contains(&sqlstate.as_str()), "{sqlstate}");
    let damaged = data_files(&store)[0].clone();
    let mut bad = std::fs::read(&damaged).unwrap();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&damaged, &bad).unwrap();
    run(&client, &restore("schema_only, new_db_name = 'h'")).await;
    let (sqlstate, _) = fail(&client, &restore("schema_only, verify_backup_table_data, new_db_name = 'i'")).await;
    assert_eq!(sqlstate, "XX001");
    assert_eq!(fail(&client, "SELECT * FROM i.t").await.0, "42P01");
}
