//! Which layers belong together, and where they are.

use crate::harness::{Store, fail, rows, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incremental_layers_can_be_in_another_place_that_every_statement_names() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").await;
    for (collection, more) in [("plain", ""), ("sealed", ", encryption_passphrase = 'p'")] {
        let elsewhere = format!("incremental_location = 'nodelocal://1/{collection}-more'{more}");
        let from = format!("FROM LATEST IN 'nodelocal://1/{collection}'");
        let only = if more.is_empty() { String::new() } else { format!("WITH {}", &more[2..]) };
        run(&client, &format!("BACKUP DATABASE d INTO 'nodelocal://1/{collection}' {only}")).await;
        let layer = format!("BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/{collection}'");
        for number in [2, 3] {
            run(&client, &format!("UPSERT INTO d.t VALUES ({number})")).await;
            run(&client, &format!("{layer} WITH {elsewhere}")).await;
        }
        assert!(!store.extern_dir().join(collection).join("incrementals").exists());
        assert!(store.extern_dir().join(format!("{collection}-more")).join("incrementals").exists());

        // One that does not say where they are must not take the full backup for all there is.
        for statement in [
            format!("RESTORE DATABASE d {from} {only}"),
            format!("SHOW BACKUP {from} {only}"),
            format!("{layer} {only}"),
        ] {
            let (sqlstate, message) = fail(&client, &statement).await;
            assert!(sqlstate == "22023" && message.contains("another place"), "{statement}: {message}");
        }
        let wrong = format!("SHOW BACKUP {from} WITH incremental_location = 'nodelocal://1/nothing'{more}");
        let (sqlstate, message) = fail(&client, &wrong).await;
        assert!(sqlstate == "XX001" && message.contains("nodelocal://1/nothing"), "{sqlstate} {message}");
        let shown = format!("SELECT backup_type FROM [SHOW BACKUP {from} WITH {elsewhere}] WHERE object_name = 't'");
        assert_eq!(rows(&client, &shown).await, [["full"], ["incremental"], ["incremental"]]);
        run(&client, &format!("SHOW BACKUP VALIDATE {from} WITH {elsewhere}")).await;
        run(&client, &format!("SHOW BACKUP {from} WITH check_files, {elsewhere}")).await;
        run(&client, &format!("RESTORE DATABASE d {from} WITH new_db_name = 'r', {elsewhere}")).await;
        assert_eq!(rows(&client, "SELECT a FROM r.t ORDER BY a").await, [["1"], ["2"], ["3"]]);
        run(&client, "DROP DATABASE r CASCADE").await;
    }
    // Nor can a chain be in two places.
    run(&client, "BACKUP DATABASE d INTO 'nodelocal://1/c'; BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c'").await;
    let split = "BACKUP DATABASE d INTO LATEST IN 'nodelocal://1/c' WITH incremental_location = 'nodelocal://1/more'";
    assert_eq!(fail(&client, split).await.0, "22023");
    // The collection itself is no other place.
    run(&client, &split.replace("/more", "/c")).await;
    run(&client, "RESTORE DATABASE d FROM LATEST IN 'nodelocal://1/c' WITH new_db_name = 'r'").await;
    let notices = crate::harness::notices(&server, &split.replace("/more", "/c"));
    assert!(notices.contains("incremental_location is deprecated"), "{notices}");
}
