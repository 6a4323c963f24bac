use crate::harness::{Store, fail, rows, run, value};

#[tokio::test]
async fn the_past_stays_readable_across_drop_truncate_and_changes_of_the_schema() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two')").await;
    let filled = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "UPDATE t SET b = 'changed' WHERE a = 1; ALTER TABLE t ADD COLUMN c INT DEFAULT 7").await;
    let altered = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "TRUNCATE t").await;
    let truncated = value(&client, "SELECT cluster_logical_timestamp()").await;
    run(&client, "DROP TABLE t").await;
    for (time, expected) in [
        (&filled, vec![vec!["1", "one"], vec!["2", "two"]]),
        (&altered, vec![vec!["1", "changed", "7"], vec!["2", "two", "7"]]),
        (&truncated, vec![]),
    ] {
        for form in [time.to_string(), format!("'{time}'"), format!("{time}.0000000000"), format!("'{time}.000'")] {
            let found = rows(&client, &format!("SELECT * FROM t AS OF SYSTEM TIME {form} ORDER BY a")).await;
            assert_eq!(found, expected, "at {form}");
        }
        run(&client, &format!("BEGIN AS OF SYSTEM TIME {time}")).await;
        assert_eq!(rows(&client, "SELECT * FROM t ORDER BY a").await, expected);
        run(&client, "COMMIT").await;
    }
    assert_eq!(fail(&client, "SELECT * FROM t").await.0, "42P01");
    run(&client, &format!("BEGIN AS OF SYSTEM TIME {filled}")).await;
    assert_eq!(fail(&client, "DELETE FROM t WHERE a = 1").await.0, "25006");
    run(&client, "ROLLBACK").await;
}

#[tokio::test]
async fn times_that_make_no_sense_are_refused() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    for time in
        ["'10s'", "'2200-01-01'", "'nonsense'", "123.5", "'1700000000000000000.5'", "-5", "'1900-01-01'", "NULL"]
    {
        let (sqlstate, message) = fail(&client, &format!("SELECT 1 AS OF SYSTEM TIME {time}")).await;
        assert_eq!(sqlstate, "22023", "{time}: {message}");
    }
    assert_eq!(value(&client, "SELECT 1 AS OF SYSTEM TIME '-1us'").await, "1");
    assert_eq!(value(&client, "SELECT 1 AS OF SYSTEM TIME now() - INTERVAL '1 second'").await, "1");
    assert_eq!(value(&client, "SELECT 1 AS OF SYSTEM TIME follower_read_timestamp()").await, "1");
}

#[tokio::test]
async fn a_logical_timestamp_sees_every_commit_before_it_and_none_after() {
    let store = Store::new();
    let server = store.start();
    let client = server.connect().await;
    run(&client, "CREATE TABLE n (a INT)").await;
    for count in 1..=30 {
        run(&client, "INSERT INTO n VALUES (1)").await;
        let time = value(&client, "SELECT cluster_logical_timestamp()").await;
        run(&client, "INSERT INTO n VALUES (1)").await;
        run(&client, "DELETE FROM n WHERE rowid = (SELECT max(rowid) FROM n)").await;
        let found = value(&client, &format!("SELECT count(*) FROM n AS OF SYSTEM TIME {time}")).await;
        assert_eq!(found, count.to_string());
    }
}
