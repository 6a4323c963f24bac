//! `keepsafe demo`: the main job, start to finish, told statement by statement.

use keepsafe::kv::embedded::DEFAULT_CACHE_BYTES;
use keepsafe::node::{Config, Node};
use keepsafe::server::Server;
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

type Result<T> = std::result::Result<T, String>;

const SCHEMA: [&str; 8] = [
    "CREATE DATABASE rides",
    "USE rides",
    "CREATE SEQUENCE ride_number START 1000",
    "CREATE TABLE users (id INT PRIMARY KEY, city TEXT NOT NULL, name TEXT NOT NULL)",
    "CREATE TABLE vehicles (id INT PRIMARY KEY, city TEXT NOT NULL, kind TEXT NOT NULL, owner_id INT REFERENCES users (id), INDEX (city))",
    "CREATE TABLE ride (number INT8 PRIMARY KEY DEFAULT nextval('ride_number'), rider_id INT NOT NULL REFERENCES users (id), \
     vehicle_id INT NOT NULL REFERENCES vehicles (id), started TIMESTAMPTZ NOT NULL, fare DECIMAL(10,2) NOT NULL)",
    "CREATE INDEX ON ride (rider_id)",
    "CREATE VIEW revenue AS SELECT v.city, count(*) AS rides, sum(r.fare) AS total FROM ride r JOIN vehicles v ON v.id = r.vehicle_id GROUP BY v.city",
];

const DATA: [&str; 3] = [
    "INSERT INTO users SELECT i, CASE i % 3 WHEN 0 THEN 'amsterdam' WHEN 1 THEN 'boston' ELSE 'rome' END, 'user ' || i FROM generate_series(1, 300) AS i",
    "INSERT INTO vehicles SELECT i, CASE i % 3 WHEN 0 THEN 'amsterdam' WHEN 1 THEN 'boston' ELSE 'rome' END, \
     CASE i % 2 WHEN 0 THEN 'bike' ELSE 'scooter' END, i FROM generate_series(1, 100) AS i",
    "INSERT INTO ride (rider_id, vehicle_id, started, fare) SELECT 1 + i % 300, 1 + i % 100, TIMESTAMPTZ '2026-11-01 08:00:00+00', 2.50 + i % 40 FROM generate_series(1, 5000) AS i",
];

const COLLECTION: &str = "'nodelocal://1/demo'";
const CHECK: &str = "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM vehicles) AS vehicles, \
                     (SELECT count(*) FROM ride) AS rides, (SELECT sum(fare) FROM ride) AS fares, \
                     (SELECT sum(number * rider_id) FROM ride) AS checksum, (SELECT sum(total) FROM revenue) AS view_total";

/// Runs the demo; an error if any result is not what it must be.
pub async fn run() -> Result<()> {
    let directory = tempfile::tempdir().map_err(text)?;
    let store = directory.path().join("store");
    let config = Config {
        external_io_dir: Some(store.join("extern")),
        store,
        locality: String::new(),
        cache_bytes: DEFAULT_CACHE_BYTES,
    };
    let node = Node::open(&config).await.map_err(text)?;
    let server = Server::bind(node.engine().clone(), "127.0.0.1:0", None).await.map_err(text)?;
    let address = server.address().map_err(text)?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped));
    println!(
        "-- A keepsafe server on a throw-away store, at {address}. What follows is sent by an ordinary Postgres client.\n"
    );
    let url = format!("postgresql://root@{address}/defaultdb");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(text)?;
    let connection = tokio::spawn(connection);
    let told = tell(&client).await;
    drop(client);
    connection.await.map_err(text)?.map_err(text)?;
    stop.send_replace(true);
    serving.await.map_err(text)?;
    node.close().await.map_err(text)?;
    told?;
    println!("-- Everything came back as it was. The store is removed.");
    Ok(())
}

async fn tell(client: &Client) -> Result<()> {
    say("A small ride-sharing company: users, vehicles, rides; foreign keys, an index, a sequence, a view.");
    for statement in SCHEMA.into_iter().chain(DATA) {
        show(client, statement).await?;
    }
    say("What there is, in numbers:");
    let full = show(client, CHECK).await?;
    say("A full backup.");
    show(client, &format!("BACKUP DATABASE rides INTO {COLLECTION}")).await?;
    say("Business goes on.");
    show(client, "INSERT INTO ride (rider_id, vehicle_id, started, fare) SELECT 1 + i, 1 + i, now(), 9.99 FROM generate_series(1, 50) AS i").await?;
    show(client, "UPDATE ride SET fare = fare + 1 WHERE rider_id = 7").await?;
    show(client, "DELETE FROM ride WHERE number < 1100").await?;
    let incremental = show(client, CHECK).await?;
    must(full != incremental, "the data must have changed")?;
    say("An incremental backup: only what has changed since.");
    show(client, &format!("BACKUP DATABASE rides INTO LATEST IN {COLLECTION}")).await?;
    let backups = show(client, &format!("SHOW BACKUPS IN {COLLECTION}")).await?;
    must(backups.len() == 1, "one chain must be listed")?;
    let layers = show(
        client,
        &format!(
            "SELECT object_name, object_type, backup_type, rows, end_time FROM [SHOW BACKUP FROM LATEST IN {COLLECTION}] \
             WHERE object_type = 'table' ORDER BY end_time, object_name"
        ),
    )
    .await?;
    must(layers.len() == 6, "two layers of three tables must be listed")?;
    let full_end = layers.first().and_then(|row| row.last().cloned()).unwrap_or_default();
    say("Disaster.");
    show(client, "USE defaultdb").await?;
    show(client, "DROP DATABASE rides CASCADE").await?;
    must(client.simple_query("SELECT count(*) FROM rides.public.ride").await.is_err(), "the table must be gone")?;
    say("The restore, and the same numbers as before the loss:");
    show(client, &format!("RESTORE DATABASE rides FROM LATEST IN {COLLECTION}")).await?;
    show(client, "USE rides").await?;
    must(show(client, CHECK).await? == incremental, "the restored data must be what was lost")?;
    say("The sequence goes on, and constraints hold:");
    show(client, "INSERT INTO ride (rider_id, vehicle_id, started, fare) VALUES (1, 1, now(), 5) RETURNING number > 6050 AS is_new").await?;
    refuse(client, "INSERT INTO ride (rider_id, vehicle_id, started, fare) VALUES (9999, 1, now(), 5)").await?;
    say("The same database as it was between the two backups, beside the other, under another name:");
    let past = format!(
        "RESTORE DATABASE rides FROM LATEST IN {COLLECTION} AS OF SYSTEM TIME '{full_end}' WITH new_db_name = 'rides_before'"
    );
    show(client, &past).await?;
    show(client, "USE rides_before").await?;
    must(show(client, CHECK).await? == full, "the past must be as it was")?;
    say("What was done:");
    let jobs = show(client, "SELECT job_type, status, fraction_completed FROM [SHOW JOBS]").await?;
    must(jobs.len() == 4 && jobs.iter().all(|job| job[1] == "succeeded"), "four jobs must have succeeded")
}

fn say(text: &str) {
    println!("-- {text}\n");
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn must(condition: bool, what: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(format!("the demo failed: {what}")) }
}

async fn refuse(client: &Client, statement: &str) -> Result<()> {
    println!("> {statement};");
    match client.simple_query(statement).await {
        Ok(_) => Err("the demo failed: a statement was accepted that must be refused".into()),
        Err(error) => {
            let message = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_string());
            println!("  ERROR: {message}\n");
            Ok(())
        }
    }
}

/// Runs a statement, prints it with its result, and returns the rows as text.
async fn show(client: &Client, statement: &str) -> Result<Vec<Vec<String>>> {
    println!("> {statement};");
    let messages = client.simple_query(statement).await.map_err(|error| match error.as_db_error() {
        Some(error) => format!("{}: {}", error.code().code(), error.message()),
        None => error.to_string(),
    })?;
    let mut names: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for message in &messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                names = columns.iter().map(|column| column.name().to_string()).collect()
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_string()).collect())
            }
            SimpleQueryMessage::CommandComplete(count) if names.is_empty() => println!("  ok, {count} rows"),
            _ => {}
        }
    }
    print_table(&names, &rows);
    println!();
    Ok(rows)
}

fn print_table(names: &[String], rows: &[Vec<String>]) {
    let widest = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).chain(names.get(at)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..names.len()).map(|at| widest(at).unwrap_or(0)).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", padded.collect::<Vec<_>>().join(" | "))
    };
    if !names.is_empty() {
        println!("{}", line(names));
        rows.iter().for_each(|row| println!("{}", line(row)));
    }
}
