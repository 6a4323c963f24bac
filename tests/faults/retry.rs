//! Jobs that are tried again, and what happens when that does not help.

use super::*;

/// Short waits between attempts.
async fn impatient(local: &Local) {
    for setting in ["initial_delay", "max_delay"] {
        run(&local.client, &format!("SET CLUSTER SETTING jobs.registry.retry.{setting} = '5ms'")).await;
    }
}

/// How many errors the newest job of a type has had.
async fn errors_of(local: &Local, job_type: &str) -> String {
    let errors = format!(
        "SELECT cardinality(execution_errors) FROM crdb_internal.jobs WHERE job_type = '{job_type}' ORDER BY created DESC LIMIT 1"
    );
    value(&local.client, &errors).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_go_on_fails_and_a_restore_waits() {
    let local = Local::start().await;
    impatient(&local).await;
    let states = local.chain(URI, "").await;
    // Planning needs some calls; what comes after fails for good.
    local.storage.set(Vec::new());
    run(&local.client, &format!("BACKUP DATABASE d INTO LATEST IN '{URI}'")).await;
    let calls = local.storage.calls();
    local.storage.set(vec![(calls - 4, Fault::Gone)]);
    let client = local.connect().await;
    let failing =
        tokio::spawn(async move { fail(&client, &format!("BACKUP DATABASE d INTO LATEST IN '{URI}'")).await });
    // It is undone as soon as that can be done.
    eventually(&local.client, "SELECT count(*) FROM [SHOW JOBS] WHERE status = 'reverting'", "1").await;
    local.storage.set(Vec::new());
    let (code, message) = failing.await.unwrap();
    assert_eq!(code, "58030", "{message}");
    // Ten for good, and those of undoing it.
    assert!(errors_of(&local, "BACKUP").await.parse::<u32>().unwrap() >= 10);

    let restore = format!("RESTORE DATABASE d FROM LATEST IN '{URI}' WITH new_db_name = 'r'");
    local.storage.set(Vec::new());
    run(&local.client, &restore).await;
    let calls = local.storage.calls();
    run(&local.client, "DROP DATABASE r CASCADE").await;
    local.storage.set(vec![(calls - 2, Fault::Gone)]);
    let (code, message) = fail(&local.client, &restore).await;
    assert!(code == "57014" && message.contains("was paused"), "{code} {message}");
    assert_eq!(errors_of(&local, "RESTORE").await, "10");
    let paused = "SELECT job_id, running_status FROM [SHOW JOBS] WHERE status = 'paused'";
    let paused = rows(&local.client, paused).await.remove(0);
    assert!(paused[1].contains("the test says so"), "{paused:?}");
    // It holds its place, and goes on when storage is there again.
    local.storage.set(Vec::new());
    run(&local.client, &format!("RESUME JOB {}", paused[0])).await;
    let done = format!("SELECT status FROM [SHOW JOB {}]", paused[0]);
    eventually(&local.client, &done, "succeeded").await;
    assert_eq!(&local.rows_of("r").await, states.last().unwrap());
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_that_do_not_pass_are_not_tried_again() {
    let local = Local::start().await;
    impatient(&local).await;
    local.chain(URI, "").await;
    let name = local.storage.names("c").await.into_iter().find(|name| name.ends_with(".kvs")).unwrap();
    let file = local.storage.read(&name).await;
    local.storage.write(&name, &file[..file.len() / 2]).await;
    let restore = format!("RESTORE DATABASE d FROM LATEST IN '{URI}' WITH new_db_name = 'r'");
    assert_eq!(fail(&local.client, &restore).await.0, "XX001");
    assert_eq!(errors_of(&local, "RESTORE").await, "0");
    local.assert_nothing_left("r").await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_ended_are_remembered_for_as_long_as_a_setting_says() {
    let local = Local::start().await;
    local.chain(URI, "").await;
    assert_eq!(value(&local.client, "SELECT count(*) FROM crdb_internal.jobs").await, "3");
    run(&local.client, "SET CLUSTER SETTING kv.gc.interval = '1s'").await;
    run(&local.client, "SET CLUSTER SETTING jobs.retention_time = '1s'").await;
    eventually(&local.client, "SELECT count(*) FROM crdb_internal.jobs", "0").await;
    assert_eq!(value(&local.client, "SELECT count(*) FROM system.job_progress").await, "0");
    local.stop().await;
}
