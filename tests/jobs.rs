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
