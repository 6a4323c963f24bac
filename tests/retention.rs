use std::time::Duration;

use crate::harness::{Store, fail, rows, run, value};

async fn fails_soon(client: &tokio_postgres::Client, query: &str) -> (String, String) {
    for _ in 0..200 {
        if client.simple_query(query).await.is_err() {
            return fail(client, query).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("still works: {query}");
}

#[tokio::test]
async fn zone_configurations_are_inherited_shown_and_refused_when_wrong() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE \"My db\"; CREATE TABLE t (a INT); CREATE VIEW v AS SELECT a FROM t").await;
    let show = async |target: &str| rows(&client, &format!("SHOW ZONE CONFIGURATION FROM {target}")).await;
    let expected = |target: &str, ttl: u32| {
        vec![vec![target.to_string(), format!("ALTER {target} CONFIGURE ZONE USING\n\tgc.ttlseconds = {ttl}")]]
    };
    assert_eq!(show("TABLE t").await, expected("RANGE default", 14400));
    run(&client, "ALTER RANGE default CONFIGURE ZONE USING gc.ttlseconds = 20000").await;
    assert_eq!(show("TABLE t").await, expected("RANGE default", 20000));
    run(&client, "ALTER DATABASE defaultdb CONFIGURE ZONE USING gc.ttlseconds = 5000").await;
    assert_eq!(show("TABLE t").await, expected("DATABASE defaultdb", 5000));
    assert_eq!(show("DATABASE \"My db\"").await, expected("RANGE default", 20000));
    run(&client, "ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = COPY FROM PARENT").await;
    assert_eq!(show("TABLE defaultdb.t").await, expected("TABLE defaultdb.public.t", 5000));
    run(&client, "ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = 100").await;
    run(&client, "ALTER DATABASE \"My db\" CONFIGURE ZONE USING gc.ttlseconds = 200").await;
    let all = rows(&client, "SHOW ALL ZONE CONFIGURATIONS").await;
    let targets: Vec<&str> = all.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(targets, ["RANGE default", "DATABASE defaultdb", "DATABASE \"My db\"", "TABLE defaultdb.public.t"]);
    // What is shown can be run.
    for row in &all {
        run(&client, &row[1]).await;
    }
    assert_eq!(rows(&client, "SHOW ALL ZONE CONFIGURATIONS").await, all);
    run(&client, "BEGIN; ALTER TABLE t CONFIGURE ZONE DISCARD; ROLLBACK").await;
    assert_eq!(show("TABLE t").await, expected("TABLE defaultdb.public.t", 100));
    run(&client, "ALTER TABLE t CONFIGURE ZONE DISCARD").await;
    assert_eq!(show("TABLE t").await, expected("DATABASE defaultdb", 5000));
    for (statement, sqlstate) in [
        ("ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = 0", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = -5", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = 1.5", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = 3000000000", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING gc.ttlseconds = 'soon'", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING nonsense = 1", "22023"),
        ("ALTER TABLE t CONFIGURE ZONE USING num_replicas = 3", "0A000"),
        ("ALTER TABLE v CONFIGURE ZONE USING gc.ttlseconds = 100", "42809"),
        ("ALTER TABLE missing CONFIGURE ZONE USING gc.ttlseconds = 100", "42P01"),
        ("ALTER DATABASE missing CONFIGURE ZONE USING gc.ttlseconds = 100", "3D000"),
        ("ALTER DATABASE system CONFIGURE ZONE USING gc.ttlseconds = 100", "0A000"),
        ("ALTER RANGE meta CONFIGURE ZONE USING gc.ttlseconds = 100", "0A000"),
        ("ALTER RANGE default CONFIGURE ZONE DISCARD", "22023"),
        ("SET CLUSTER SETTING kv.gc.interval = '0s'", "22023"),
        ("SET CLUSTER SETTING kv.gc.interval = 'often'", "22023"),
    ] {
        assert_eq!(fail(&client, statement).await.0, sqlstate, "{statement}");
    }
    assert_eq!(value(&client, "SHOW CLUSTER SETTING kv.gc.interval").await, "1m");
}

#[tokio::test]
async fn history_older_than_its_ttl_is_refused_and_the_rest_stays() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "SET CLUSTER SETTING kv.gc.interval = '1s'").await;
    run(&client, "CREATE TABLE short (a INT PRIMARY KEY, b INT); CREATE TABLE long (a INT PRIMARY KEY, b INT)").await;
    run(&client, "ALTER TABLE short CONFIGURE ZONE USING gc.ttlseconds = 1").await;
    run(&client, "INSERT INTO short VALUES (1, 1), (2, 2); INSERT INTO long VALUES (1, 1), (2, 2)").await;
    let filled = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "UPDATE short SET b = 10; UPDATE long SET b = 10; DELETE FROM short WHERE a = 2").await;
    let (sqlstate, message) = fails_soon(&client, &format!("SELECT * FROM short AS OF SYSTEM TIME {filled}")).await;
    assert_eq!(sqlstate, "72000", "{message}");
    assert!(message.contains("has been collected"), "{message}");
    assert_eq!(rows(&client, "SELECT * FROM short").await, [["1", "10"]]);
    let past = rows(&client, &format!("SELECT * FROM long AS OF SYSTEM TIME {filled} ORDER BY a")).await;
    assert_eq!(past, [["1", "1"], ["2", "2"]]);
    let backup = format!("BACKUP TABLE short INTO 'nodelocal://1/s' AS OF SYSTEM TIME {filled}");
    assert_eq!(fail(&client, &backup).await.0, "72000", "a backup is refused, not short of rows");
    run(&client, &format!("BACKUP TABLE long INTO 'nodelocal://1/l' AS OF SYSTEM TIME {filled}")).await;
    // What happened since the last layer must still be there.
    run(&client, "CREATE DATABASE d; CREATE TABLE d.moved (a INT PRIMARY KEY); CREATE TABLE d.out (a INT PRIMARY KEY)")
        .await;
    run(&client, "ALTER TABLE d.moved CONFIGURE ZONE USING gc.ttlseconds = 1").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/d'").await;
    let backed_up = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "INSERT INTO d.moved VALUES (1)").await;
    fails_soon(&client, &format!("SELECT * FROM d.moved AS OF SYSTEM TIME {backed_up}")).await;
    let (sqlstate, message) = fail(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/d'").await;
    assert!(sqlstate == "72000" && message.starts_with("protected ts verification error"), "{message}");
    assert_eq!(
        value(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'failed'").await,
        "0",
        "it is no job yet"
    );
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/d'").await;
    // A dropped table's history goes as the table said; its name is still known then.
    run(&client, "DROP TABLE short").await;
    let dropped = value(&client, "SELECT cluster_logical_timestamp()").await;
    fails_soon(&client, &format!("SELECT * FROM short AS OF SYSTEM TIME {dropped}")).await;
    server.terminate();
    let server = store.start();
    let client = server.connect().await;
    assert_eq!(fail(&client, &format!("SELECT * FROM short AS OF SYSTEM TIME {filled}")).await.0, "72000");
    let past = rows(&client, &format!("SELECT * FROM long AS OF SYSTEM TIME {filled} ORDER BY a")).await;
    assert_eq!(past, [["1", "1"], ["2", "2"]]);
}

#[tokio::test]
async fn a_job_releases_what_it_protected_and_excluded_tables_are_left_out() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.kept (a INT PRIMARY KEY)").await;
    run(&client, "CREATE TABLE d.out (a INT PRIMARY KEY) WITH (exclude_data_from_backup = true)").await;
    run(&client, "INSERT INTO d.kept VALUES (1); INSERT INTO d.out VALUES (1)").await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/b'").await;
    assert_eq!(value(&client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'e'").await;
    assert_eq!(value(&client, "SELECT count(*) FROM e.kept").await, "1");
    assert_eq!(value(&client, "SELECT count(*) FROM e.out").await, "0");
    assert!(rows(&client, "SHOW CREATE TABLE e.out").await[0][1].ends_with("WITH (exclude_data_from_backup = true)"));
    // Taken in again, it goes into the next layer whole; left out again, a restore has none of its rows.
    run(&client, "ALTER TABLE d.out SET (exclude_data_from_backup = false)").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'f'").await;
    assert_eq!(value(&client, "SELECT count(*) FROM f.out").await, "1");
    run(&client, "ALTER TABLE d.out SET (exclude_data_from_backup = true)").await;
    run(&client, "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/b'").await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/b' WITH new_db_name = 'g'").await;
    assert_eq!(value(&client, "SELECT count(*) FROM g.out").await, "0");
    // A failed backup lets go, too.
    run(&client, "CREATE TABLE d.child (a INT REFERENCES d.kept (a))").await;
    assert_eq!(fail(&client, "ALTER TABLE d.kept SET (exclude_data_from_backup = true)").await.0, "2BP01");
    assert_eq!(fail(&client, "ALTER TABLE d.kept SET (exclude_data_from_backup = 'perhaps')").await.0, "22023");
    assert_eq!(fail(&client, "ALTER TABLE d.kept SET (nonsense = 1)").await.0, "0A000");
}
