use crate::harness::{Store, eventually, fail, rows, run, value};

#[tokio::test]
async fn a_wait_can_be_canceled_or_lost_and_the_job_goes_on() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)").await;
    run(&client, "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 60000) AS i").await;
    run(&client, "SET statement_timeout = '1ms'").await;
    let error = client.batch_execute("BACKUP DATABASE defaultdb INTO 'nodelocal://1/a'").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "57014");
    run(&client, "RESET statement_timeout").await;
    if let Some(hint) = error.hint() {
        assert!(hint.contains("SHOW JOB"), "{hint}");
    }
    let waiting = server.connect().await;
    let cancel = waiting.cancel_token();
    let wait =
        tokio::spawn(async move { waiting.batch_execute("BACKUP DATABASE defaultdb INTO 'nodelocal://1/b'").await });
    eventually(&client, &jobs_into("/b"), "1").await;
    cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    // The backup may have been quicker than the cancellation.
    if let Err(error) = wait.await.unwrap() {
        let error = error.as_db_error().unwrap().clone();
        assert_eq!(error.code().code(), "57014");
        assert!(error.hint().unwrap_or_default().contains("SHOW JOB"), "{error}");
    }
    let leaving = server.connect().await;
    let wait =
        tokio::spawn(async move { leaving.batch_execute("BACKUP DATABASE defaultdb INTO 'nodelocal://1/c'").await });
    eventually(&client, &jobs_into("/c"), "1").await;
    wait.abort();
    eventually(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE status <> 'succeeded'", "0").await;
    assert_eq!(rows(&client, "SHOW BACKUPS IN 'nodelocal://1/b'").await.len(), 1);
    assert_eq!(rows(&client, "SHOW BACKUPS IN 'nodelocal://1/c'").await.len(), 1);
}

/// How many jobs there are, as a query, whose description names a place that ends like this.
fn jobs_into(place: &str) -> String {
    format!("SELECT count(*) FROM [SHOW JOBS] WHERE description LIKE '%{place}''%'")
}

#[tokio::test]
async fn jobs_are_shown_with_the_documented_columns() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    let id = value(&client, "BACKUP TABLE t INTO 'nodelocal://1/a' WITH detached").await;
    eventually(&client, &format!("SELECT status FROM [SHOW JOB {id}]"), "succeeded").await;
    let statement = client.prepare("SHOW JOBS").await.unwrap();
    let names: Vec<&str> = statement.columns().iter().map(|column| column.name()).collect();
    let expected = [
        "job_id",
        "job_type",
        "description",
        "user_name",
        "status",
        "running_status",
        "created",
        "started",
        "finished",
        "modified",
        "fraction_completed",
        "error",
        "coordinator_id",
    ];
    assert_eq!(names, expected);
    let description = value(&client, &format!("WITH x AS (SHOW JOB {id}) SELECT description FROM x")).await;
    assert!(
        description.starts_with("BACKUP TABLE t INTO '/20") && description.ends_with("WITH OPTIONS (detached)"),
        "{description}"
    );
    assert_eq!(value(&client, "WITH x AS (SHOW JOBS) SELECT fraction_completed FROM x").await, "1");
    assert_eq!(fail(&client, "SHOW JOB 5").await.0, "42704");
    let picked = rows(&client, &format!("SELECT job_type FROM [SHOW JOBS VALUES ({id})]")).await;
    assert_eq!(picked, [["BACKUP"]]);
}

#[tokio::test]
async fn a_detached_job_begins_with_the_commit_of_its_transaction() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY)").await;
    run(&client, "BEGIN").await;
    assert_eq!(fail(&client, "BACKUP TABLE t INTO 'nodelocal://1/a'").await.0, "25001");
    run(&client, "ROLLBACK").await;
    run(&client, "BEGIN; BACKUP TABLE t INTO 'nodelocal://1/a' WITH detached; ROLLBACK").await;
    assert_eq!(value(&client, "SELECT count(*) FROM [SHOW JOBS]").await, "0");
    run(&client, "BEGIN; BACKUP TABLE t INTO 'nodelocal://1/a' WITH detached; COMMIT").await;
    eventually(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'succeeded'", "1").await;
    assert_eq!(rows(&client, "SHOW BACKUPS IN 'nodelocal://1/a'").await.len(), 1);
}

#[tokio::test]
async fn jobs_are_controlled_by_queries_and_never_in_the_wrong_state() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let id = value(&client, "BACKUP TABLE t INTO 'nodelocal://1/a' WITH detached").await;
    // It waits for the end, and shows the job as it is then.
    let ended = rows(&client, &format!("SELECT status FROM [SHOW JOB {id} WHEN COMPLETE]")).await;
    assert_eq!(ended, [["succeeded"]]);
    for (command, done) in [("PAUSE", "paused"), ("RESUME", "resumed"), ("CANCEL", "canceled")] {
        let (sqlstate, message) = fail(&client, &format!("{command} JOB {id}")).await;
        assert_eq!(
            (&sqlstate[..], &message[..]),
            ("55000", &format!("job with status succeeded cannot be {done}")[..])
        );
        assert_eq!(fail(&client, &format!("{command} JOB 7")).await.0, "42704");
        // All jobs are those to which it can be done.
        let tag = psql(&server, &format!("{command} ALL BACKUP JOBS; {command} ALL RESTORE JOBS"));
        assert_eq!(tag, format!("{command} JOBS 0\n{command} JOBS 0\n"));
    }
    assert_eq!(fail(&client, "PAUSE JOBS FOR SCHEDULE 1").await.0, "0A000");
}

/// What `psql` prints, command tags included.
fn psql(server: &crate::harness::Server, sql: &str) -> String {
    let output = server.program("psql").args(["-XAt", "-c", sql]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn what_was_asked_of_a_job_is_done_after_kill_9() {
    let store = Store::new();
    let mut server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)").await;
    run(&client, "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 60000) AS i").await;
    for (number, (command, left)) in [("PAUSE", "paused"), ("CANCEL", "canceled")].into_iter().enumerate() {
        let client = server.connect().await;
        let id = value(&client, &format!("BACKUP TABLE t INTO 'nodelocal://1/{number}' WITH detached")).await;
        assert_eq!(psql(&server, &format!("{command} JOBS SELECT {id}")), format!("{command} JOBS 1\n"));
        server.kill();
        server = store.start();
        let client = server.connect().await;
        eventually(&client, &format!("SELECT status FROM [SHOW JOB {id}]"), left).await;
        if command == "PAUSE" {
            // Again and again; nobody works on it.
            server.kill();
            server = store.start();
            let client = server.connect().await;
            assert_eq!(value(&client, &format!("SELECT status FROM [SHOW JOB {id}]")).await, "paused");
            run(&client, "BEGIN; RESUME ALL BACKUP JOBS; ROLLBACK").await;
            assert_eq!(value(&client, &format!("SELECT status FROM [SHOW JOB {id}]")).await, "paused");
            assert_eq!(psql(&server, "RESUME ALL BACKUP JOBS"), "RESUME JOBS 1\n");
            eventually(&client, &format!("SELECT status FROM [SHOW JOB {id}]"), "succeeded").await;
        } else {
            assert_eq!(rows(&client, &format!("SHOW BACKUPS IN 'nodelocal://1/{number}'")).await.len(), 0);
        }
        let client = server.connect().await;
        assert_eq!(value(&client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    }
    // Whoever waits for a job is told.
    let waiting = server.connect().await;
    let wait = tokio::spawn(async move { waiting.batch_execute("BACKUP TABLE t INTO 'nodelocal://1/w'").await });
    let client = server.connect().await;
    eventually(&client, &jobs_into("/w"), "1").await;
    run(&client, "CANCEL ALL BACKUP JOBS").await;
    if let Err(error) = wait.await.unwrap() {
        let error = error.as_db_error().unwrap().clone();
        assert!(error.code().code() == "57014" && error.message().contains("was canceled"), "{error}");
    }
}
