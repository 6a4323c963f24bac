//! `PAUSE`, `RESUME` and `CANCEL` while a job is at any one of its calls of external storage.

use super::*;

const RUNNING: &str = "SELECT job_id FROM [SHOW JOBS] WHERE status = 'running'";
const PROTECTED: &str = "SELECT count(*) FROM system.protected_ts_records";

/// The job of a statement that hangs at a call; nothing if the call is not one of its job.
async fn job_at(local: &Local, call: usize, statement: &str) -> Option<String> {
    local.storage.set(vec![(call, Fault::Hang)]);
    let client = local.connect().await;
    let statement = statement.to_string();
    let waiting = tokio::spawn(async move { client.batch_execute(&statement).await });
    while !local.storage.is_hanging() && !waiting.is_finished() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let found = rows(&local.client, RUNNING).await.pop();
    if found.is_none() {
        if local.storage.is_hanging() {
            local.storage.set(Vec::new());
        }
        waiting.await.unwrap().unwrap();
    }
    Some(found?.remove(0))
}

/// What a job does at each of its calls is done to it; the statement, `{}` being a place of its own, and what must be so after.
async fn at_every_call(
    local: &Local,
    statement: &str,
    prepare: &[&str],
    mut check: impl AsyncFnMut(&Local, &str, &str),
) -> usize {
    let step = if std::env::var_os("KEEPSAFE_TEST_SECONDS").is_some() { 1 } else { 3 };
    let (mut asked, mut calls) = (0, None);
    for call in std::iter::once(usize::MAX).chain((rand::random_range(0..step)..).step_by(step)) {
        if calls.is_some_and(|calls| call != usize::MAX && call >= calls) {
            break;
        }
        let place = format!("{}{call}", rand::random::<u16>());
        local.storage.set(Vec::new());
        for before in prepare {
            run(&local.client, &before.replace("{}", &place)).await;
        }
        let statement = statement.replace("{}", &place);
        match job_at(local, call, &statement).await {
            Some(job) => {
                asked += 1;
                check(local, &job, &place).await;
            }
            None => {
                // Nothing hung: the first time, to count the calls; later, at one before there was a job.
                calls.get_or_insert(local.storage.calls());
                let _ = local.client.batch_execute("DROP DATABASE r CASCADE").await;
            }
        }
    }
    asked
}

async fn filled() -> Local {
    let local = Local::start().await;
    run(&local.client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY, b TEXT, INDEX (b))").await;
    run(&local.client, "INSERT INTO d.t SELECT i, 'row ' || i::TEXT FROM generate_series(1, 500) AS g (i)").await;
    local
}

async fn status(local: &Local, job: &str, expected: &str) {
    eventually(&local.client, &format!("SELECT status FROM [SHOW JOB {job}]"), expected).await;
}

async fn assert_restorable(local: &Local, place: &str) {
    let restore = format!("RESTORE DATABASE d FROM LATEST IN 'faulty://{place}' WITH new_db_name = 'copy'");
    run(&local.client, &restore).await;
    assert_eq!(local.rows_of("copy").await, local.rows_of("d").await);
    run(&local.client, "DROP DATABASE copy CASCADE").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_paused_at_any_call_goes_on_when_it_is_resumed() {
    let local = filled().await;
    let paused = at_every_call(&local, "BACKUP DATABASE d INTO 'faulty://{}'", &[], async |local, job, place| {
        run(&local.client, &format!("PAUSE JOB {job} WITH REASON = 'lunch'")).await;
        status(local, job, "paused").await;
        local.storage.set(Vec::new());
        assert_eq!(value(&local.client, &format!("SELECT running_status FROM [SHOW JOB {job}]")).await, "lunch");
        let is_complete = !rows(&local.client, &format!("SHOW BACKUPS IN 'faulty://{place}'")).await.is_empty();
        let protected = value(&local.client, PROTECTED).await;
        assert!(is_complete || protected == "1", "its history must still be there when it goes on");
        run(&local.client, &format!("RESUME JOB {job}")).await;
        status(local, job, "succeeded").await;
        assert_eq!(value(&local.client, PROTECTED).await, "0");
        assert_restorable(local, place).await;
    })
    .await;
    let full = ["BACKUP DATABASE d INTO 'faulty://{}'"];
    let restore = "RESTORE DATABASE d FROM LATEST IN 'faulty://{}' WITH new_db_name = 'r'";
    let restored = at_every_call(&local, restore, &full, async |local, job, _| {
        run(&local.client, &format!("PAUSE JOB {job}")).await;
        status(local, job, "paused").await;
        local.storage.set(Vec::new());
        assert!(local.client.batch_execute("SELECT 1 FROM r.t").await.is_err());
        run(&local.client, &format!("RESUME JOB {job}")).await;
        status(local, job, "succeeded").await;
        assert_eq!(local.rows_of("r").await, local.rows_of("d").await);
        run(&local.client, "DROP DATABASE r CASCADE").await;
    })
    .await;
    println!("paused at {paused} and {restored} calls");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_canceled_at_any_call_leaves_nothing() {
    let local = filled().await;
    let full = ["BACKUP DATABASE d INTO 'faulty://{}'"];
    for (prepare, statement, left) in [
        (&[][..], "BACKUP DATABASE d INTO 'faulty://{}'", 0),
        (&full[..], "BACKUP DATABASE d INTO LATEST IN 'faulty://{}'", 1),
    ] {
        let canceled = at_every_call(&local, statement, prepare, async |local, job, place| {
            run(&local.client, &format!("CANCEL JOB {job}")).await;
            local.storage.set(Vec::new());
            status(local, job, "canceled").await;
            assert_eq!(value(&local.client, PROTECTED).await, "0");
            let backups = rows(&local.client, &format!("SHOW BACKUPS IN 'faulty://{place}'")).await;
            assert_eq!(backups.len(), left, "a complete-looking backup");
            if left == 1 {
                let layers = format!("SELECT DISTINCT end_time FROM [SHOW BACKUP FROM LATEST IN 'faulty://{place}']");
                assert_eq!(rows(&local.client, &layers).await.len(), 1);
            }
            let files = local.storage.names(place).await;
            assert_eq!(files.iter().filter(|name| name.ends_with(".kvs")).count(), left, "{files:?}");
            // And it is in nobody's way.
            run(&local.client, &statement.replace("{}", place)).await;
            assert_restorable(local, place).await;
        })
        .await;
        println!("canceled at {canceled} calls");
    }
    let restore = "RESTORE DATABASE d FROM LATEST IN 'faulty://{}' WITH new_db_name = 'r'";
    let canceled = at_every_call(&local, restore, &full, async |local, job, _| {
        run(&local.client, &format!("CANCEL JOB {job}")).await;
        local.storage.set(Vec::new());
        status(local, job, "canceled").await;
        local.assert_nothing_left("r").await;
    })
    .await;
    println!("canceled at {canceled} calls of a restore");
    local.stop().await;
}
