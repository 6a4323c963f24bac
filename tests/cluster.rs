//! Backups of the whole cluster, and what comes back of it.

use crate::harness::{Server, Store, fail, rows, run, value};

const TABLE_ZONE: &str = "SELECT raw_config_sql FROM [SHOW ZONE CONFIGURATION FROM TABLE d.t]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_settings_zones_and_owners_come_back_with_the_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let external = ["--external-io-dir", directory.path().to_str().unwrap()];
    let (one, other, third) = (Store::new(), Store::new(), Store::new());
    let server = Server::start(&one.path(), &external);
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE USER ada; CREATE ROLE readers; CREATE ROLE bob LOGIN").await;
    let (ada, connection) =
        tokio_postgres::connect(&format!("postgresql://ada@127.0.0.1:{}/d", server.port), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    run(&ada, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    run(&client, "ALTER TABLE d.t CONFIGURE ZONE USING gc.ttlseconds = 777").await;
    run(&client, "ALTER RANGE default CONFIGURE ZONE USING gc.ttlseconds = 5000").await;
    run(&client, "SET CLUSTER SETTING kv.gc.interval = '3m'").await;
    run(&client, "BACKUP INTO 'nodelocal://1/c'; BACKUP DATABASE d INTO 'nodelocal://1/d'").await;
    run(&client, "DROP USER bob; CREATE USER eve; ALTER TABLE d.t CONFIGURE ZONE USING gc.ttlseconds = 888").await;
    run(&client, "BACKUP INTO LATEST IN 'nodelocal://1/c'").await;
    let zone = rows(&client, TABLE_ZONE).await;
    server.terminate();

    let server = Server::start(&other.path(), &external);
    let client = server.connect().await;
    // Ids are others here.
    run(&client, "CREATE DATABASE gone; CREATE TABLE gone.t (a INT); DROP DATABASE gone CASCADE").await;
    run(&client, "RESTORE FROM LATEST IN 'nodelocal://1/c'").await;
    assert_eq!(rows(&client, "SELECT a FROM d.t ORDER BY a").await, [["1"], ["2"]]);
    assert_eq!(rows(&client, TABLE_ZONE).await, zone);
    assert!(zone[0][0].contains("888"), "{zone:?}");
    assert!(
        value(&client, "SELECT raw_config_sql FROM [SHOW ZONE CONFIGURATION FROM RANGE default]")
            .await
            .contains("5000")
    );
    assert_eq!(value(&client, "SHOW CLUSTER SETTING kv.gc.interval").await, "3m");
    let users = "SELECT username, is_role FROM system.users ORDER BY username";
    assert_eq!(
        rows(&client, users).await,
        [["ada", "f"], ["admin", "t"], ["eve", "f"], ["readers", "t"], ["root", "f"]]
    );
    assert_eq!(value(&client, "SELECT owner FROM [SHOW TABLES FROM d]").await, "ada");
    assert_eq!(fail(&client, "DROP USER ada").await.0, "2BP01");
    server.terminate();

    // Users alone: those that are there already stay as they are.
    let server = Server::start(&third.path(), &external);
    let client = server.connect().await;
    run(&client, "CREATE ROLE ada").await;
    run(&client, "RESTORE SYSTEM USERS FROM LATEST IN 'nodelocal://1/c'").await;
    assert_eq!(
        rows(&client, users).await,
        [["ada", "t"], ["admin", "t"], ["eve", "f"], ["readers", "t"], ["root", "f"]]
    );
    assert_eq!(rows(&client, "SHOW TABLES FROM defaultdb").await.len(), 0);
    assert_eq!(fail(&client, "RESTORE SYSTEM USERS FROM LATEST IN 'nodelocal://1/d'").await.0, "22023");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_log_in_and_roles_do_not() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE USER ada; CREATE USER IF NOT EXISTS ada; CREATE ROLE r; CREATE ROLE l WITH LOGIN").await;
    let log_in = async |user: &str| {
        let url = format!("postgresql://{user}@127.0.0.1:{}/defaultdb", server.port);
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map(drop)
    };
    assert!(log_in("ada").await.is_ok() && log_in("l").await.is_ok());
    for nobody in ["r", "admin", "stranger"] {
        assert_eq!(log_in(nobody).await.unwrap_err().code().unwrap().code(), "28000", "{nobody}");
    }
    for (statement, sqlstate) in [
        ("CREATE USER ada", "42710"),
        ("CREATE ROLE public", "42939"),
        ("CREATE ROLE x SUPERUSER", "0A000"),
        ("CREATE ROLE x PASSWORD 'hush'", "0A000"),
        ("DROP USER nobody", "42704"),
        ("DROP ROLE root", "2BP01"),
        ("DROP ROLE admin", "2BP01"),
    ] {
        let (found, message) = fail(&client, statement).await;
        assert!(found == sqlstate && !message.contains("hush"), "{statement}: {found} {message}");
    }
    run(&client, "DROP USER ada; DROP ROLE IF EXISTS ada; DROP ROLE r, l").await;
    assert_eq!(value(&client, "SELECT count(*) FROM system.users").await, "2");
    run(&client, "BEGIN; CREATE USER undone; ROLLBACK").await;
    assert_eq!(value(&client, "SELECT count(*) FROM system.users").await, "2");
}
