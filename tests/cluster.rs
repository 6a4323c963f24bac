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
    run(&client, "ALTER ROLE ada WITH CREATEDB CONNECTION LIMIT 3; ALTER ROLE ada SET timezone = 'Asia/Tokyo'").await;
    run(&client, "GRANT readers TO ada WITH ADMIN OPTION").await;
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
    let ada = "SELECT options, member_of FROM [SHOW USERS] WHERE username = 'ada'";
    let options = [["{\"CONNECTION LIMIT=3\",CREATEDB}", "{readers}"]];
    assert_eq!(rows(&client, ada).await, options);
    assert_eq!(value(&client, "SELECT owner FROM [SHOW TABLES FROM d]").await, "ada");
    assert_eq!(fail(&client, "DROP USER ada").await.0, "2BP01");
    server.terminate();

    // Users alone: those that are there already stay as they are.
    let server = Server::start(&third.path(), &external);
    let client = server.connect().await;
    run(&client, "CREATE ROLE ada").await;
    run(&client, "CREATE ROLE readers WITH CREATEROLE; DROP ROLE readers").await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_begin_with_the_settings_of_their_user_and_take_on_its_roles_only() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE USER ada; CREATE ROLE dev; CREATE ROLE ops; GRANT dev TO ada").await;
    run(&client, "ALTER ROLE ada SET timezone = 'Asia/Tokyo'; ALTER ROLE ada SET statement_timeout = '7s'").await;
    run(&client, "ALTER ROLE ada IN DATABASE d SET search_path = s, public").await;
    run(&client, "ALTER ROLE ada IN DATABASE d SET timezone = 'Asia/Seoul'").await;
    let config = "SELECT datname, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase";
    assert_eq!(
        rows(&client, &format!("{config} ORDER BY setdatabase")).await,
        [
            ["NULL", "{timezone=Asia/Tokyo,statement_timeout=7s}"],
            ["d", "{\"search_path=s, public\",timezone=Asia/Seoul}"]
        ]
    );
    let log_in = async |user: &str, database: &str| {
        let url = format!("postgresql://{user}@127.0.0.1:{}/{database}", server.port);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let (here, there) = (log_in("ada", "d").await, log_in("ada", "defaultdb").await);
    for (client, zone, path) in [(&here, "Asia/Seoul", "s, public"), (&there, "Asia/Tokyo", "public")] {
        assert_eq!(value(client, "SHOW timezone").await, zone);
        assert_eq!(value(client, "SHOW search_path").await, path);
        assert_eq!(value(client, "SHOW statement_timeout").await, "7s");
        // What they are reset to.
        run(client, "SET timezone = 'UTC'; SET search_path = other; RESET search_path; RESET ALL").await;
        assert_eq!(value(client, "SHOW timezone").await, zone);
        assert_eq!(value(client, "SHOW search_path").await, path);
    }
    run(&here, "SET search_path = public; SET ROLE dev; CREATE TABLE t (a INT)").await;
    assert_eq!(value(&client, "SELECT owner FROM [SHOW TABLES FROM d]").await, "dev");
    assert_eq!(rows(&here, "SELECT current_user, session_user").await, [["dev", "ada"]]);
    for wrong in ["SET ROLE ops", "SET ROLE root", "SET role = ops", "SELECT set_config('role', 'ops', true)"] {
        assert_eq!(fail(&here, wrong).await.0, "42501", "{wrong}");
    }
    assert_eq!(value(&here, "SELECT current_user").await, "dev");
    // What a user's sessions are to begin with they may not have.
    for role in ["ops", "nobody"] {
        run(&client, &format!("ALTER ROLE ada SET role = '{role}'")).await;
        assert_eq!(value(&log_in("ada", "d").await, "SELECT current_user").await, "ada");
    }
    run(&client, "ALTER ROLE ada SET role = 'dev'").await;
    let as_dev = log_in("ada", "d").await;
    assert_eq!(value(&as_dev, "SELECT current_user").await, "dev");
    run(&as_dev, "SET ROLE NONE").await;
    assert_eq!(value(&as_dev, "SELECT current_user").await, "ada");
    run(&as_dev, "RESET ROLE").await;
    assert_eq!(value(&as_dev, "SELECT current_user").await, "dev");
    run(&client, "ALTER ROLE ada RESET role").await;
    // A member of a member, of admin, and one with the option.
    run(&client, "GRANT ops TO dev").await;
    run(&here, "SET ROLE ops; RESET ROLE").await;
    run(&client, "REVOKE ops FROM dev; CREATE USER eve SUPERUSER; CREATE USER max; GRANT admin TO max").await;
    for user in ["eve", "max", "root"] {
        let one = log_in(user, "d").await;
        assert_eq!(value(&one, "SHOW is_superuser").await, "on");
        run(&one, "SET ROLE ops").await;
    }
    assert_eq!(rows(&client, "SHOW GRANTS ON ROLE admin").await, [["admin", "max", "f"], ["admin", "root", "t"]]);
    assert_eq!(rows(&client, "SHOW GRANTS ON ROLE FOR ada").await, [["dev", "ada", "f"]]);
    assert_eq!(fail(&client, "SHOW GRANTS ON ROLE nobody").await.0, "42704");
    for (statement, sqlstate) in [
        ("ALTER ROLE root NOLOGIN", "42501"),
        ("ALTER ROLE admin RENAME TO boss", "42501"),
        ("REVOKE admin FROM root", "42501"),
        ("DROP OWNED BY root", "2BP01"),
        ("REASSIGN OWNED BY root TO ada", "2BP01"),
        ("ALTER ROLE ALL SET timezone = 'UTC'", "0A000"),
        ("ALTER VIEW d.t OWNER TO ada", "42809"),
        ("ALTER DATABASE d OWNER TO nobody", "42704"),
        ("ALTER SEQUENCE d.nothing OWNER TO ada", "42P01"),
    ] {
        assert_eq!(fail(&client, statement).await.0, sqlstate, "{statement}");
    }
    run(&client, "ALTER DATABASE d OWNER TO ada; ALTER SEQUENCE IF EXISTS d.nothing OWNER TO ada").await;
    assert_eq!(value(&client, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'd'").await, "ada");
    // Under another name they are the same.
    run(&client, "GRANT SELECT ON d.t TO ada; ALTER ROLE ada RENAME TO ann; ALTER ROLE dev RENAME TO team").await;
    assert_eq!(value(&client, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'd'").await, "ann");
    assert_eq!(rows(&client, "SHOW GRANTS ON ROLE FOR ann").await, [["team", "ann", "f"]]);
    assert_eq!(value(&client, "SELECT grantee FROM [SHOW GRANTS ON TABLE d.t FOR ann]").await, "ann");
    assert_eq!(value(&log_in("ann", "d").await, "SHOW timezone").await, "Asia/Seoul");
    server.terminate();
    store.assert_sound();
}
