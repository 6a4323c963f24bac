use crate::harness::{Server, Store, eventually, fail, notices, rows, run, value};

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
        "statement",
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
        "trace_id",
        "execution_errors",
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
    // A driver knows what each placeholder takes.
    let pause = client.prepare("PAUSE JOB $1 WITH REASON = $2").await.unwrap();
    assert_eq!(pause.params(), [tokio_postgres::types::Type::INT8, tokio_postgres::types::Type::TEXT]);
    assert_eq!(psql(&server, "PAUSE JOBS FOR SCHEDULE 1"), "PAUSE JOBS FOR SCHEDULES 0\n");
    let pause = "PAUSE JOBS SELECT job_id FROM [SHOW JOBS] WHERE status = $1 AND job_id > $2 WITH REASON = $3";
    let pause = client.prepare(pause).await.unwrap();
    use tokio_postgres::types::Type;
    assert_eq!(pause.params(), [Type::TEXT, Type::INT8, Type::TEXT]);
    // A status that looks like a number is text all the same.
    assert_eq!(client.execute(&pause, &[&"1", &1_i64, &"why"]).await.unwrap(), 0);
    let refused = client.execute(&pause, &[&"succeeded", &1_i64, &"why"]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55000");
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

#[tokio::test]
async fn whoever_waits_is_told_how_far_the_job_is_if_they_ask() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)").await;
    run(&client, "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 60000) AS i").await;
    let backup = |place: &str| format!("BACKUP TABLE t INTO 'nodelocal://1/{place}'");
    assert_eq!(notices(&server, &backup("a")), "");
    let told = notices(&server, &format!("SET job_progress_notices = on; {}", backup("b")));
    let percent =
        |line: &str| line.split(' ').find_map(|word| word.parse::<u32>().ok().filter(|percent| *percent <= 100));
    let percents: Vec<u32> = told.lines().filter_map(percent).collect();
    assert!(percents.len() > 1 && percents.is_sorted() && percents.last() == Some(&100), "{told}");
    assert!(told.contains("% done, writing data files"), "{told}");

    // Of changes it is known, too, though nobody knows how many there are: by the keys gone through.
    run(&client, "UPDATE t SET b = repeat('y', 200)").await;
    let layer = "BACKUP TABLE t INTO LATEST IN 'nodelocal://1/b'";
    let told = notices(&server, &format!("SET job_progress_notices = on; {layer}"));
    let percents: Vec<u32> = told.lines().filter_map(percent).collect();
    assert!(percents.len() > 1 && percents.is_sorted() && percents.last() == Some(&100), "{told}");
}

/// The resident memory of a server, in KiB.
fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_backups_in_a_row_leave_nothing_but_backups() {
    let many = if std::env::var_os("KEEPSAFE_TEST_SECONDS").is_some() { 1000 } else { 100 };
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let with = "WITH encryption_passphrase = 'p'";
    run(&client, &format!("BACKUP TABLE t INTO 'nodelocal://1/c' {with}")).await;
    let backups = async |count: usize| {
        for _ in 0..count {
            run(&client, &format!("BACKUP TABLE t INTO 'nodelocal://1/c' {with}")).await;
        }
    };
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    backups(many / 2).await;
    let (memory, files) = (memory_kib(&server), descriptors());
    backups(many / 2).await;
    let grown = memory_kib(&server).saturating_sub(memory);
    println!("{many} backups; {grown} KiB more after the second half, {files} descriptors then {}", descriptors());
    // A leak of what one backup takes would be some hundred KiB each.
    assert!(grown < 40 * many as u64, "{grown} KiB");
    assert!(descriptors() < files + 20);
    for table in ["secrets", "protected_ts_records"] {
        assert_eq!(value(&client, &format!("SELECT count(*) FROM system.{table}")).await, "0", "{table}");
    }
    let (jobs, progress) = ("SELECT count(*) FROM system.jobs", "SELECT count(*) FROM system.job_progress");
    assert_eq!(value(&client, jobs).await, value(&client, progress).await);
    let made = value(&client, "SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/c']").await;
    assert_eq!(made, (many + 1).to_string());
    // Six files a backup, and nothing temporary.
    let files = std::process::Command::new("find").arg(store.extern_dir()).args(["-type", "f"]).output().unwrap();
    let files = String::from_utf8_lossy(&files.stdout).lines().count();
    assert!(files <= 7 * (many + 1), "{files}");
    let temporary =
        std::process::Command::new("find").arg(store.path().join("tmp")).args(["-type", "f"]).output().unwrap();
    assert!(temporary.stdout.is_empty());
}
