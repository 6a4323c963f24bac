//! Each statement about schedules, and what comes of it.

use std::process::Command;

use crate::harness::{Server, Store, eventually, fail, keepsafe, notices, rows, run, succeed, value};

const SCHEDULES: &str = "SELECT id, label, schedule_status, state, recurrence FROM [SHOW SCHEDULES]";

/// A server with a database and a table to back up.
async fn start() -> (Store, Server, tokio_postgres::Client) {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT); INSERT INTO d.t VALUES (1, 'one')")
        .await;
    (store, server, client)
}

/// The columns that `psql` shows, and the command tag.
fn psql(server: &Server, sql: &str) -> String {
    let output = succeed(server.program("psql").args(["-XA", "-c", sql]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_pair_of_schedules_from_its_creation_to_its_end() {
    let (_store, server, client) = start().await;
    let create = "CREATE SCHEDULE nightly FOR BACKUP DATABASE d INTO 'nodelocal://1/c' WITH revision_history RECURRING '@hourly' WITH SCHEDULE OPTIONS on_previous_running = 'start'";
    let shown = psql(&server, create);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "schedule_id|label|status|first_run|schedule|backup_stmt");
    let incremental: Vec<&str> = lines[1].split('|').collect();
    let full: Vec<&str> = lines[2].split('|').collect();
    assert_eq!(incremental[1..5], ["nightly", "PAUSED: Waiting for initial backup to complete", "", "@hourly"]);
    assert_eq!(
        incremental[5],
        "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c' WITH OPTIONS (revision_history = true, detached)"
    );
    assert_eq!((full[2], full[4]), ("ACTIVE", "@daily"));
    assert_eq!(full[5], "BACKUP DATABASE d INTO 'nodelocal://1/c' WITH OPTIONS (revision_history = true, detached)");
    let (incremental, full) = (incremental[0], full[0]);

    // The full backup is taken at once, as its cadence was chosen; then the other schedule goes.
    eventually(&client, "SELECT count(*) FROM [SHOW RUNNING SCHEDULES]", "2").await;
    let shown = psql(&server, "SHOW SCHEDULES FOR BACKUP");
    let columns = "id|label|schedule_status|next_run|state|recurrence|jobsrunning|owner|created|on_previous_running|on_execution_failure|command|backup_type";
    assert_eq!(shown.lines().next().unwrap(), columns);
    let lines: Vec<Vec<&str>> = shown.lines().skip(1).take(2).map(|line| line.split('|').collect()).collect();
    assert_eq!((lines[0][0], lines[0][12], lines[0][9]), (incremental, "INCREMENTAL", "WAIT"));
    assert_eq!((lines[1][0], lines[1][12], lines[1][9], lines[1][10]), (full, "FULL", "NO_WAIT", "RETRY_SCHED"));
    let command = format!(
        "SELECT (command ->> 'backup_type') || ' ' || (command ->> 'dependent_schedule_id') FROM [SHOW SCHEDULE {incremental}]"
    );
    assert_eq!(value(&client, &command).await, format!("1 {full}"));

    // Either id means the pair; a run now is a layer.
    run(&client, "INSERT INTO d.t VALUES (2, 'two')").await;
    run(&client, &format!("ALTER BACKUP SCHEDULE {full} EXECUTE IMMEDIATELY")).await;
    let layers = "SELECT count(DISTINCT end_time) FROM [SHOW BACKUP FROM LATEST IN 'nodelocal://1/c']";
    eventually(&client, layers, "2").await;
    run(&client, &format!("ALTER BACKUP SCHEDULE {incremental} EXECUTE FULL IMMEDIATELY")).await;
    eventually(&client, "SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/c']", "2").await;
    let of_full = format!("SELECT count(*) FROM [SHOW JOBS FOR SCHEDULE {full}] WHERE status = 'succeeded'");
    eventually(&client, &of_full, "2").await;
    let of_both =
        "SELECT count(*) FROM [SHOW JOBS FOR SCHEDULES SELECT id FROM [SHOW SCHEDULES]] WHERE user_name = 'root'";
    assert_eq!(value(&client, of_both).await, "3");
    let description = format!("SELECT description FROM [SHOW JOBS FOR SCHEDULE {incremental}]");
    let description = value(&client, &description).await;
    assert!(description.contains(" AS OF SYSTEM TIME '20"), "{description}");
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'").await;
    assert_eq!(value(&client, "SELECT count(*) FROM r.t").await, "2");

    // A full one takes the other along, counted once.
    let tag = psql(&server, &format!("DROP SCHEDULES VALUES ({full}), ({incremental})"));
    assert_eq!(tag.trim(), "DROP SCHEDULES 2");
    assert!(rows(&client, SCHEDULES).await.is_empty());
    assert_eq!(value(&client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    server.terminate();
}

#[tokio::test]
async fn what_cannot_work_is_not_created() {
    let (store, server, client) = start().await;
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/filled'").await;
    std::fs::write(store.extern_dir().join("file"), "not a directory").unwrap();
    let daily = "RECURRING '@daily'";
    for (sql, sqlstate, why) in [
        (format!("CREATE SCHEDULE FOR BACKUP TABLE nope INTO 'nodelocal://1/x' {daily}"), "42P01", "does not exist"),
        (format!("CREATE SCHEDULE FOR BACKUP DATABASE nope INTO 'nodelocal://1/x' {daily}"), "3D000", "does not exist"),
        (format!("CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/filled' {daily}"), "55000", "backups already created"),
        (format!("CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/file' {daily}"), "58P01", "file"),
        (format!("CREATE SCHEDULE FOR BACKUP INTO 'nowhere://x' {daily}"), "22023", "scheme"),
        (format!("CREATE SCHEDULE FOR BACKUP INTO 's3://x' {daily}"), "0A000", "s3://"),
        (format!("CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' WITH kms = 'aws:///k' {daily}"), "0A000", "kms"),
        (
            format!("CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' WITH encryption_passphrase = '' {daily}"),
            "22023",
            "empty",
        ),
        (format!("CREATE SCHEDULE IF NOT EXISTS FOR BACKUP INTO 'nodelocal://1/x' {daily}"), "42601", "label"),
        ("CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' RECURRING '* * *'".into(), "22023", "3 fields"),
        (
            "CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' RECURRING '@weekly' FULL BACKUP '@daily'".into(),
            "22023",
            "less often",
        ),
        (
            format!(
                "CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' {daily} WITH SCHEDULE OPTIONS first_run = 'soon'"
            ),
            "22023",
            "first_run",
        ),
        (
            format!(
                "CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' {daily} WITH SCHEDULE OPTIONS on_execution_failure = 'cry'"
            ),
            "22023",
            "on_execution_failure",
        ),
        (
            format!(
                "CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/x' {daily} WITH SCHEDULE OPTIONS on_previous_running = 'run'"
            ),
            "22023",
            "on_previous_running",
        ),
        ("ALTER BACKUP SCHEDULE 5 SET LABEL 'x'".into(), "42704", "schedule with ID 5 does not exist"),
        ("PAUSE SCHEDULE 5".into(), "42704", "does not exist"),
        ("SHOW SCHEDULE 5".into(), "42704", "does not exist"),
        ("SHOW CREATE SCHEDULE 5".into(), "42704", "does not exist"),
        ("DROP SCHEDULES SELECT 1, 2".into(), "42601", "one column"),
    ] {
        let (code, message) = fail(&client, &sql).await;
        assert!(code == sqlstate && message.contains(why), "{sql}: {code} {message}");
    }
    assert!(rows(&client, SCHEDULES).await.is_empty());
    assert_eq!(value(&client, "SELECT count(*) FROM system.protected_ts_records").await, "0");
    assert_eq!(value(&client, "SELECT count(*) FROM system.secrets").await, "0");
    // Nothing of a dry run is left.
    let left = succeed(Command::new("find").arg(store.extern_dir()).args(["-path", "*/extern/x/*", "-type", "f"]));
    assert!(left.stdout.is_empty(), "{left:?}");

    let create =
        format!("CREATE SCHEDULE IF NOT EXISTS 'one' FOR BACKUP INTO 'nodelocal://1/x' {daily} FULL BACKUP ALWAYS");
    assert_eq!(rows(&client, &create).await.len(), 1);
    assert!(notices(&server, &create).contains("schedule \"one\" already exists, skipping"));
    assert!(rows(&client, &create).await.is_empty());
    // Labels need not be unique otherwise; without one there is a name with the time in it.
    let again = create.replace("IF NOT EXISTS ", "");
    assert_eq!(rows(&client, &again).await.len(), 1);
    let unnamed = rows(&client, &again.replace("'one' ", "")).await;
    assert!(unnamed[0][1].strip_prefix("BACKUP ").is_some_and(|time| time.parse::<u64>().is_ok()), "{unnamed:?}");
    let ignoring = "CREATE SCHEDULE FOR BACKUP DATABASE d INTO 'nodelocal://1/filled' RECURRING '@daily' FULL BACKUP ALWAYS WITH SCHEDULE OPTIONS ignore_existing_backups";
    assert_eq!(rows(&client, ignoring).await.len(), 1);
    // As if it had never been.
    run(&client, &format!("BEGIN; {again}; ROLLBACK")).await;
    assert_eq!(rows(&client, SCHEDULES).await.len(), 4);
    server.terminate();
}

#[tokio::test]
async fn every_change_of_a_schedule() {
    let (_store, server, client) = start().await;
    // Due in the far future, so that nothing runs meanwhile.
    let create =
        "CREATE SCHEDULE a FOR BACKUP DATABASE d INTO 'nodelocal://1/a' RECURRING '0 0 1 1 *' FULL BACKUP ALWAYS";
    let id = rows(&client, create).await.remove(0).remove(0);
    let alter = async |changes: &str| -> Vec<Vec<String>> {
        let shown = rows(&client, &format!("ALTER BACKUP SCHEDULE {id} {changes}")).await;
        shown.into_iter().map(|row| [&row[1..3], &row[4..]].concat()).collect()
    };
    let refused = async |changes: &str| fail(&client, &format!("ALTER BACKUP SCHEDULE {id} {changes}")).await;
    let full = |label: &str, into: &str, when: &str| -> Vec<String> {
        let statement = format!("BACKUP DATABASE d INTO 'nodelocal://1/{into}' WITH OPTIONS (detached)");
        [label, "ACTIVE", when, &statement].map(String::from).to_vec()
    };
    assert_eq!(alter("SET LABEL 'b', SET INTO 'nodelocal://1/b'").await, [full("b", "b", "0 0 1 1 *")]);
    assert_eq!(alter("SET RECURRING '0 0 1 */6 *'").await, [full("b", "b", "0 0 1 */6 *")]);
    // With a full cadence of its own there are two; the new one waits as there is no full backup yet.
    let shown = alter("SET FULL BACKUP '0 0 1 1 *'").await;
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0][1..3], ["PAUSED: Waiting for initial backup to complete", "0 0 1 */6 *"]);
    assert_eq!(shown[1], full("b", "b", "0 0 1 1 *"));
    assert_eq!(refused("SET RECURRING '@yearly', SET FULL BACKUP '@monthly'").await.0, "22023");
    assert_eq!(refused("SET RECURRING NEVER").await.0, "22023");
    assert_eq!(refused("EXECUTE IMMEDIATELY").await.0, "55000");
    assert_eq!(refused("SET SCHEDULE OPTION first_run = 'now'").await.0, "22023");
    assert_eq!(refused("SET INTO 'nowhere://x'").await.0, "22023");
    // Nothing of a refused change stays, and a change that changes nothing is none.
    let before = psql(&server, "SHOW CREATE ALL SCHEDULES");
    assert_eq!(refused("SET LABEL 'c', SET RECURRING 'never'").await.0, "22023");
    alter("SET LABEL 'b', SET FULL BACKUP '0 0 1 1 *', SET RECURRING '0 0 1 */6 *'").await;
    assert_eq!(psql(&server, "SHOW CREATE ALL SCHEDULES"), before);

    let options = "SET WITH revision_history = true, SET SCHEDULE OPTION on_previous_running = 'skip', SET SCHEDULE OPTION on_execution_failure = 'pause'";
    for row in alter(options).await {
        assert!(row[3].ends_with("WITH OPTIONS (revision_history = true, detached)"), "{row:?}");
    }
    let shown =
        rows(&client, "SELECT on_previous_running, on_execution_failure FROM [SHOW SCHEDULES] ORDER BY 1").await;
    assert_eq!(shown, [["SKIP", "PAUSE_SCHED"], ["WAIT", "PAUSE_SCHED"]]);
    // A full backup lets the other one go; another place holds it back until there is one there.
    alter("EXECUTE FULL IMMEDIATELY").await;
    let running = "SELECT count(*) FROM [SHOW RUNNING SCHEDULES]";
    eventually(&client, running, "2").await;
    assert_eq!(alter("SET INTO 'nodelocal://1/c'").await[0][1], "PAUSED: Waiting for initial backup to complete");
    alter("EXECUTE FULL IMMEDIATELY").await;
    eventually(&client, running, "2").await;
    // So does another passphrase.
    assert_eq!(
        alter("SET WITH encryption_passphrase = 'p'").await[0][1],
        "PAUSED: Waiting for initial backup to complete"
    );
    alter("EXECUTE FULL IMMEDIATELY").await;
    eventually(&client, running, "2").await;
    // One that is added when there is a full backup need not wait.
    let shown = alter("SET FULL BACKUP ALWAYS").await;
    assert_eq!((shown.len(), &shown[0][2][..]), (1, "0 0 1 */6 *"));
    let shown = alter("SET FULL BACKUP '0 0 1 1 *', SET RECURRING '@hourly'").await;
    assert_eq!((&shown[0][1][..], &shown[0][2][..]), ("ACTIVE", "@hourly"));

    for (statement, tag) in [
        (format!("PAUSE SCHEDULE {id}"), "PAUSE SCHEDULES 1"),
        ("PAUSE SCHEDULES WITH x AS (SHOW SCHEDULES) SELECT id FROM x WHERE label = 'b'".into(), "PAUSE SCHEDULES 2"),
        ("RESUME SCHEDULES SELECT id FROM [SHOW SCHEDULES]".into(), "RESUME SCHEDULES 2"),
        ("RESUME SCHEDULES SELECT id FROM [SHOW SCHEDULES] WHERE false".into(), "RESUME SCHEDULES 0"),
        (format!("PAUSE JOBS FOR SCHEDULE {id}"), "PAUSE JOBS FOR SCHEDULES 0"),
        (format!("DROP SCHEDULE {id}"), "DROP SCHEDULES 2"),
    ] {
        assert_eq!(psql(&server, &statement).trim(), tag);
    }
    server.terminate();
}

#[tokio::test]
async fn what_show_create_shows_makes_an_equal_schedule() {
    let (_store, server, client) = start().await;
    for create in [
        "CREATE SCHEDULE 'it''s' FOR BACKUP TABLE d.t INTO 'nodelocal://1/a' WITH revision_history RECURRING '@hourly' FULL BACKUP '0 0 * * sun' WITH SCHEDULE OPTIONS on_execution_failure = 'retry', first_run = '2040-01-01 00:00:00.5'",
        "CREATE SCHEDULE FOR BACKUP INTO 'nodelocal://1/b' RECURRING '@monthly' WITH SCHEDULE OPTIONS on_previous_running = 'skip', updates_cluster_last_backup_time_metric",
        "CREATE SCHEDULE never FOR BACKUP DATABASE d INTO 'nodelocal://1/c' RECURRING NEVER WITH SCHEDULE OPTIONS first_run = '2040-01-01'",
    ] {
        run(&client, create).await;
        let shown = rows(&client, "SHOW CREATE ALL SCHEDULES").await;
        run(&client, "DROP SCHEDULES SELECT id FROM [SHOW SCHEDULES]").await;
        run(&client, &shown[0][1]).await;
        let again = rows(&client, "SHOW CREATE ALL SCHEDULES").await;
        let statements = |shown: &[Vec<String>]| shown.iter().map(|row| row[1].clone()).collect::<Vec<_>>();
        assert_eq!(statements(&shown), statements(&again));
        run(&client, "DROP SCHEDULES SELECT id FROM [SHOW SCHEDULES]").await;
    }
    server.terminate();
}

#[tokio::test]
async fn a_run_that_fails_does_what_on_execution_failure_says() {
    let (_store, server, client) = start().await;
    for (policy, status) in [("retry", "ACTIVE"), ("reschedule", "ACTIVE"), ("pause", "PAUSED")] {
        run(&client, "CREATE TABLE d.gone (a INT PRIMARY KEY)").await;
        let create = format!(
            "CREATE SCHEDULE {policy} FOR BACKUP TABLE d.gone INTO 'nodelocal://1/{policy}' RECURRING '@yearly' WITH SCHEDULE OPTIONS on_execution_failure = '{policy}', first_run = '2040-01-01'"
        );
        let id = rows(&client, &create).await.remove(0).remove(0);
        run(&client, "DROP TABLE d.gone").await;
        run(&client, &format!("ALTER BACKUP SCHEDULE {id} EXECUTE IMMEDIATELY")).await;
        let state = format!("SELECT schedule_status || ' ' || coalesce(state, '') FROM [SHOW SCHEDULE {id}]");
        let error = "relation \"d.public.gone\" does not exist";
        let expected = match policy {
            "pause" => format!("{status} schedule paused due to a failed run: {error}"),
            _ => format!("{status} {error}"),
        };
        eventually(&client, &state, &expected).await;
        let next =
            value(&client, &format!("SELECT next_run < now() + INTERVAL '2 minutes' FROM [SHOW SCHEDULE {id}]")).await;
        assert_eq!(
            next,
            match policy {
                "retry" => "t",
                "reschedule" => "f",
                _ => "NULL",
            },
            "{policy}"
        );
        // What it needs is there again: one that retries finds that out by itself.
        run(&client, "CREATE TABLE d.gone (a INT PRIMARY KEY)").await;
        if policy == "pause" {
            run(&client, &format!("RESUME SCHEDULE {id}")).await;
        }
        if policy != "retry" {
            run(&client, &format!("ALTER BACKUP SCHEDULE {id} EXECUTE IMMEDIATELY")).await;
        }
        let made = format!("SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/{policy}']");
        eventually(&client, &made, "1").await;
        eventually(&client, &state, "ACTIVE ").await;
        run(&client, &format!("DROP SCHEDULE {id}; DROP TABLE d.gone")).await;
    }
    server.terminate();
}

#[tokio::test]
async fn what_was_missed_while_the_server_was_down_is_made_up_for_once() {
    let (store, server, client) = start().await;
    let create = "CREATE SCHEDULE FOR BACKUP DATABASE d INTO 'nodelocal://1/c' RECURRING '* * * * *' FULL BACKUP ALWAYS WITH SCHEDULE OPTIONS first_run = '{}'";
    let soon = value(&client, "SELECT (now() + INTERVAL '1500 milliseconds')::TEXT").await;
    let id = rows(&client, &create.replace("{}", &soon)).await.remove(0).remove(0);
    server.kill();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let server = store.start();
    let client = server.connect().await;
    let made = format!(
        "SELECT count(*) FROM [SHOW JOBS FOR SCHEDULE {id}] WHERE status = 'succeeded' AND created < TIMESTAMPTZ '{soon}' + INTERVAL '1 minute'"
    );
    eventually(&client, &made, "1").await;
    assert_eq!(value(&client, "SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/c']").await, "1");
    // Switched off, nothing runs.
    run(&client, "SET CLUSTER SETTING jobs.scheduler.enabled = false").await;
    run(&client, &format!("ALTER BACKUP SCHEDULE {id} EXECUTE IMMEDIATELY")).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(value(&client, &format!("SELECT count(*) FROM [SHOW JOBS FOR SCHEDULE {id}]")).await, "1");
    run(&client, "RESET CLUSTER SETTING jobs.scheduler.enabled").await;
    eventually(&client, &format!("SELECT count(*) > 1 FROM [SHOW JOBS FOR SCHEDULE {id}]"), "t").await;
    server.terminate();
}

#[tokio::test]
async fn history_since_the_last_backup_is_never_collected() {
    let (_store, server, client) = start().await;
    run(&client, "SET CLUSTER SETTING kv.gc.interval = '1s'").await;
    run(&client, "ALTER RANGE default CONFIGURE ZONE USING gc.ttlseconds = 1").await;
    let create = "CREATE SCHEDULE FOR BACKUP DATABASE d INTO 'nodelocal://1/c' RECURRING '@hourly' WITH SCHEDULE OPTIONS first_run = 'now'";
    let id = rows(&client, create).await.remove(0).remove(0);
    eventually(&client, "SELECT count(*) FROM [SHOW RUNNING SCHEDULES]", "2").await;
    for round in 0..3 {
        for _ in 0..4 {
            run(&client, "UPDATE d.t SET b = b || '.'").await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        run(&client, &format!("ALTER BACKUP SCHEDULE {id} EXECUTE IMMEDIATELY")).await;
        let made = format!("SELECT count(*) FROM [SHOW JOBS FOR SCHEDULE {id}] WHERE status = 'succeeded'");
        eventually(&client, &made, &(round + 1).to_string()).await;
    }
    // Without the schedule nothing holds it.
    run(&client, "DROP SCHEDULES SELECT id FROM [SHOW SCHEDULES]").await;
    run(&client, "UPDATE d.t SET b = b || '.'").await;
    let before = value(&client, "SELECT cluster_logical_timestamp()::TEXT").await;
    run(&client, "UPDATE d.t SET b = b || '.'").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while client.batch_execute(&format!("SELECT * FROM d.t AS OF SYSTEM TIME {before}")).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "history is not collected");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    server.terminate();
}

#[tokio::test]
async fn the_secrets_of_a_schedule_are_nowhere_and_not_in_a_backup() {
    const PASSPHRASE: &str = "a-passphrase-that-is-nowhere-else";
    let (store, server, client) = start().await;
    let create = "CREATE SCHEDULE sealed FOR BACKUP DATABASE d INTO $1 WITH encryption_passphrase = $2 RECURRING $3 FULL BACKUP ALWAYS WITH SCHEDULE OPTIONS first_run = 'now'";
    let created = client.query(create, &[&"nodelocal://1/sealed", &PASSPHRASE, &"@daily"]).await.unwrap();
    let id: i64 = created[0].get(0);
    eventually(&client, "SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/sealed']", "1").await;
    let open = format!("WITH encryption_passphrase = '{PASSPHRASE}'");
    run(&client, &format!("RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/sealed' {open}, new_db_name = 'r'")).await;
    for table in ["scheduled_jobs", "jobs", "job_progress", "secrets"] {
        let text = rows(&client, &format!("SELECT * FROM system.{table}")).await;
        assert!(!format!("{text:?}").contains(PASSPHRASE), "{table}");
    }
    run(
        &client,
        "CREATE SCHEDULE plain FOR BACKUP DATABASE d INTO 'nodelocal://1/plain' RECURRING '@daily' FULL BACKUP ALWAYS",
    )
    .await;
    run(&client, "CREATE USER u; BACKUP INTO 'nodelocal://1/all'").await;
    server.terminate();
    let found = keepsafe(&["version"]).output().map(|_| ()).and_then(|()| {
        Command::new("grep").args(["-rc", "--binary-files=text", PASSPHRASE]).arg(store.path()).output()
    });
    let found = String::from_utf8_lossy(&found.unwrap().stdout).into_owned();
    assert!(found.lines().all(|line| line.ends_with(":0")), "{found}");

    // Another cluster has the schedules, paused; one lacks its secret and says so.
    let other = Store::new();
    let server = Server::start(&other.path(), &["--external-io-dir", store.extern_dir().to_str().unwrap()]);
    let client = server.connect_to("system").await;
    run(&client, "RESTORE FROM LATEST IN 'nodelocal://1/all'").await;
    let shown = rows(&client, "SELECT label, schedule_status, state FROM [SHOW SCHEDULES] ORDER BY label").await;
    assert_eq!(shown[0][..2], ["plain", "PAUSED"]);
    assert_eq!(
        shown[1],
        ["sealed", "PAUSED", "restored from a backup without its secrets: drop it and create it again"]
    );
    let (code, message) = fail(&client, &format!("RESUME SCHEDULE {id}")).await;
    assert!(code == "55000" && message.contains("secrets"), "{message}");
    let plain = value(&client, "SELECT id FROM [SHOW SCHEDULES] WHERE label = 'plain'").await;
    run(&client, &format!("RESUME SCHEDULE {plain}; ALTER BACKUP SCHEDULE {plain} EXECUTE IMMEDIATELY")).await;
    eventually(&client, "SELECT count(*) FROM [SHOW BACKUPS IN 'nodelocal://1/plain']", "1").await;
    server.terminate();
}

#[tokio::test]
async fn a_schedule_runs_in_its_owners_name_and_sets_the_metric_if_it_is_told_to() {
    let store = Store::new();
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{http}");
    let server = Server::start(&store.path(), &["--http", &address]);
    let client = server.connect().await;
    run(&client, "CREATE USER dora; CREATE DATABASE d").await;
    let metric = || {
        let mut shell = Command::new("bash");
        let get = "exec 3<>/dev/tcp/127.0.0.1/$PORT; printf 'GET /_status/vars HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let output = succeed(shell.args(["-c", get]).env("PORT", http.to_string()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with("schedules_backup_last_completed_time ")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(metric(), 0);
    let url = format!("postgresql://dora@127.0.0.1:{}/defaultdb", server.port);
    let (dora, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let create = "CREATE SCHEDULE FOR BACKUP DATABASE d INTO 'nodelocal://1/c' RECURRING '@daily' FULL BACKUP ALWAYS WITH SCHEDULE OPTIONS first_run = 'now', updates_cluster_last_backup_time_metric";
    run(&dora, create).await;
    eventually(&client, "SELECT count(*) FROM [SHOW JOBS] WHERE user_name = 'dora' AND status = 'succeeded'", "1")
        .await;
    assert_eq!(value(&client, "SELECT owner FROM [SHOW SCHEDULES]").await, "dora");
    let (code, message) = fail(&client, "DROP USER dora").await;
    assert!(code == "2BP01" && message.contains("schedules"), "{message}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while metric() == 0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    run(&client, "DROP SCHEDULES SELECT id FROM [SHOW SCHEDULES]; DROP USER dora").await;
    server.terminate();
}
