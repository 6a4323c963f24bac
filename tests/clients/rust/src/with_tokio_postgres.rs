use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::{SinkExt, TryStreamExt, future};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::Outcome;

async fn connect(port: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let config = format!("host=127.0.0.1 port={port} user=root dbname={database} application_name=clients");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn run(port: &str) -> Outcome {
    connect(port, "defaultdb").await?.batch_execute("CREATE DATABASE with_tokio").await?;
    let mut client = connect(port, "with_tokio").await?;
    client
        .batch_execute("CREATE TABLE v (id INT PRIMARY KEY, b BOOL, f FLOAT8, t TEXT, y BYTEA, d DATE, at TIMESTAMPTZ, u UUID, j JSONB, a INT[], s TEXT[])")
        .await?;

    // Values in binary, both ways.
    let (day, at) = (NaiveDate::from_ymd_opt(2024, 2, 29), DateTime::from_timestamp(1_700_000_000, 123_456_000));
    let (token, notes) = (Uuid::from_u128(7), json!({"a": [1, null]}));
    let insert = client.prepare("INSERT INTO v VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)").await?;
    assert_eq!(insert.params()[9], Type::INT4_ARRAY);
    let lists = (vec![Some(1), None, Some(3)], vec!["x", "y \"z\""]);
    let text = "it's ü";
    client
        .execute(&insert, &[&1, &true, &1.5, &text, &&[0u8, 255][..], &day, &at, &token, &notes, &lists.0, &lists.1])
        .await?;
    let row = client.query_one("SELECT * FROM v WHERE id = $1", &[&1]).await?;
    assert_eq!((row.get::<_, bool>(1), row.get::<_, f64>(2), row.get::<_, &str>(3)), (true, 1.5, text));
    assert_eq!((row.get::<_, &[u8]>(4), row.get::<_, Option<NaiveDate>>(5)), (&[0u8, 255][..], day));
    assert_eq!((row.get::<_, Option<DateTime<Utc>>>(6), row.get::<_, Uuid>(7)), (at, token));
    assert_eq!((row.get::<_, Value>(8), row.get::<_, Vec<Option<i32>>>(9)), (notes, lists.0));
    assert_eq!(row.get::<_, Vec<String>>(10), lists.1);

    // Statements that do not wait for each other, and an error among them.
    let (one, broken, two) = future::join3(
        client.query_one("SELECT 1::INT4", &[]),
        client.query_one("SELECT 1 / 0", &[]),
        client.query_one("SELECT 2::INT4", &[]),
    )
    .await;
    assert_eq!((one?.get::<_, i32>(0), two?.get::<_, i32>(0)), (1, 2));
    assert_eq!(broken.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
    let taken = client.execute("INSERT INTO v (id) VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(taken.as_db_error().and_then(|error| error.constraint()), Some("v_pkey"));

    // Transactions with savepoints, and a portal that is read in parts.
    let mut transaction = client.transaction().await?;
    transaction.execute("INSERT INTO v (id) VALUES (2)", &[]).await?;
    let inner = transaction.savepoint("s").await?;
    inner.execute("INSERT INTO v (id) VALUES (3)", &[]).await?;
    inner.rollback().await?;
    let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await?;
    let (first, rest) = (transaction.query_portal(&portal, 4).await?, transaction.query_portal(&portal, 0).await?);
    assert_eq!((first.len(), rest.len()), (4, 6));
    transaction.commit().await?;

    // COPY, both ways.
    let mut sink = Box::pin(client.copy_in::<_, &[u8]>("COPY v (id, t) FROM STDIN WITH (FORMAT csv)").await?);
    sink.send(b"10,ten\n11,\n").await?;
    assert_eq!(sink.as_mut().finish().await?, 2);
    let lines: Vec<_> = client.copy_out("COPY v (id, t) TO STDOUT").await?.try_collect().await?;
    assert_eq!(lines.concat(), b"1\tit's \xc3\xbc\n2\t\\N\n10\tten\n11\t\\N\n");

    // A query that is canceled.
    let cancel = client.cancel_token();
    let slow = client.query("SELECT pg_sleep(60)", &[]);
    let canceled = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel_query(NoTls).await
    };
    let (slow, sent) = future::join(slow, canceled).await;
    sent?;
    assert_eq!(slow.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));

    let place = ("nodelocal://1/with_tokio", "a passphrase that is long");
    client.execute("BACKUP TABLE v INTO $1 WITH encryption_passphrase = $2", &[&place.0, &place.1]).await?;
    client.execute("DROP TABLE v", &[]).await?;
    client.execute("RESTORE TABLE v FROM LATEST IN $1 WITH encryption_passphrase = $2", &[&place.0, &place.1]).await?;
    assert_eq!(client.query_one("SELECT count(*) FROM v", &[]).await?.get::<_, i64>(0), 4);
    Ok(())
}
