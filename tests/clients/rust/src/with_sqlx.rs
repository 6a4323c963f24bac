use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::Outcome;

fn address(port: &str, database: &str) -> String {
    format!("postgresql://root@127.0.0.1:{port}/{database}?sslmode=disable")
}

async fn count(pool: &PgPool, sql: &'static str) -> sqlx::Result<i64> {
    sqlx::query_scalar(sql).fetch_one(pool).await
}

pub async fn run(port: &str) -> Outcome {
    let mut own = PgConnection::connect(&address(port, "defaultdb")).await?;
    sqlx::query("CREATE DATABASE with_sqlx").execute(&mut own).await?;
    let pool = PgPoolOptions::new().max_connections(4).connect(&address(port, "with_sqlx")).await?;

    // Migrations forth, back, and forth again.
    // Run by tests/clients/run, in its directory: a path from the build would be that of whichever clone it was built for.
    let migrator = Migrator::new(Path::new("rust/migrations")).await?;
    migrator.run(&pool).await?;
    migrator.run(&pool).await?;
    assert_eq!(count(&pool, "SELECT count(*) FROM _sqlx_migrations WHERE success").await?, 3);
    migrator.undo(&pool, 0).await?;
    assert_eq!(count(&pool, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await?, 1);
    migrator.run(&pool).await?;
    assert_eq!(count(&pool, "SELECT count(*) FROM owners WHERE pets = 1").await?, 2);

    // Values, both ways.
    let born = NaiveDate::from_ymd_opt(1970, 1, 2);
    let insert = "INSERT INTO people (name, age, worth, notes, tags, photo, born) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id, token, made";
    let row = sqlx::query(insert)
        .bind("cem")
        .bind(50_i64)
        .bind(Decimal::new(1250, 2))
        .bind(json!({"a": [1, null]}))
        .bind(vec!["x", "y z"])
        .bind(&[0_u8, 255][..])
        .bind(born)
        .fetch_one(&pool)
        .await?;
    let (id, _, made): (i64, Uuid, DateTime<Utc>) = (row.get(0), row.get(1), row.get(2));
    assert!((Utc::now() - made).num_seconds() < 60);
    type Person = (String, Option<i64>, Decimal, Value, Vec<String>, Option<Vec<u8>>, Option<NaiveDate>, String);
    let select = "SELECT name, age, worth, notes, tags, photo, born, nick FROM people WHERE id = $1";
    let found: Person = sqlx::query_as(select).bind(id).fetch_one(&pool).await?;
    let tags = vec!["x".to_string(), "y z".to_string()];
    let photo = Some(vec![0, 255]);
    let notes = json!({"a": [1, null]});
    assert_eq!(found, ("cem".into(), Some(50), Decimal::new(1250, 2), notes, tags, photo, born, "none".into()));
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM people WHERE id = ANY($1) ORDER BY name")
        .bind(vec![id, id - 1])
        .fetch_all(&pool)
        .await?;
    assert_eq!(names.len(), 2);
    let many: Vec<i64> = (0..500).collect();
    sqlx::query("INSERT INTO people (name, age) SELECT 'p' || x, x + 1 FROM UNNEST($1::BIGINT[]) AS u(x)")
        .bind(&many)
        .execute(&pool)
        .await?;
    let streamed = sqlx::query("SELECT age FROM people WHERE name LIKE 'p%'").fetch(&pool);
    let sum = streamed.try_fold(0_i64, |sum, row| async move { Ok(sum + row.get::<i64, _>(0)) }).await?;
    assert_eq!(sum, many.iter().map(|x| x + 1).sum::<i64>());

    // Errors and transactions.
    let taken = sqlx::query("INSERT INTO people (name) VALUES ('ann')").execute(&pool).await.unwrap_err();
    let taken = taken.as_database_error().ok_or("no error of the database")?;
    assert!(taken.is_unique_violation() && taken.constraint() == Some("people_name_key"));
    let lost = sqlx::query("INSERT INTO pets (owner, called) VALUES (-1, 'x')").execute(&pool).await.unwrap_err();
    assert!(lost.as_database_error().is_some_and(|error| error.is_foreign_key_violation()));
    let refused = sqlx::query("INSERT INTO people (name, age) VALUES ('x', -1)").execute(&pool).await.unwrap_err();
    assert!(refused.as_database_error().is_some_and(|error| error.is_check_violation()));
    let mut transaction = pool.begin().await?;
    sqlx::query("DELETE FROM people").execute(&mut *transaction).await?;
    transaction.rollback().await?;
    assert_eq!(count(&pool, "SELECT count(*) FROM pets").await?, 2);

    let place = ("nodelocal://1/with_sqlx", "a passphrase that is long");
    let backup = "BACKUP DATABASE with_sqlx INTO $1 WITH encryption_passphrase = $2";
    sqlx::query(backup).bind(place.0).bind(place.1).execute(&pool).await?;
    pool.close().await;
    sqlx::query("DROP DATABASE with_sqlx CASCADE").execute(&mut own).await?;
    let restore = "RESTORE DATABASE with_sqlx FROM LATEST IN $1 WITH encryption_passphrase = $2";
    sqlx::query(restore).bind(place.0).bind(place.1).execute(&mut own).await?;
    let pool = PgPoolOptions::new().connect(&address(port, "with_sqlx")).await?;
    assert_eq!(count(&pool, "SELECT count(*) FROM people").await?, 503);
    migrator.run(&pool).await?;
    migrator.undo(&pool, 0).await?;
    pool.close().await;
    Ok(())
}
