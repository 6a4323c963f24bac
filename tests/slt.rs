//! The files of `sqllogictest/`, over the wire.
//!
//! `KEEPSAFE_SLT_POSTGRES=postgresql://user@host:port` runs them against a PostgreSQL instead, each in a database of its own, to see
//! that both give the same; `KEEPSAFE_SLT_FILE=json` runs one file, and `KEEPSAFE_SLT_FILE=wanted/lateral` one of those in `wanted/`: what
//! PostgreSQL answers to what is not built yet, or in part.

use std::path::PathBuf;
use std::time::Duration;

use sqllogictest::{DBOutput, DefaultColumnType, Runner};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::harness::Store;

struct Wire {
    client: Client,
}

/// An error as files expect it: the SQLSTATE, then the message.
#[derive(Debug)]
struct WireError(tokio_postgres::Error);

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} {}", error.code().code(), error.message()),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for WireError {}

#[async_trait::async_trait]
impl sqllogictest::AsyncDB for Wire {
    type Error = WireError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, WireError> {
        let messages = self.client.simple_query(sql).await.map_err(WireError)?;
        let mut columns = 0;
        let mut described = false;
        let mut rows = Vec::new();
        let mut count = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(description) => (columns, described) = (description.len(), true),
                SimpleQueryMessage::Row(row) => {
                    let cell = |at: usize| match row.get(at) {
                        None => "NULL".to_string(),
                        Some("") => "(empty)".into(),
                        Some(text) => text.to_string(),
                    };
                    rows.push((0..row.len()).map(cell).collect());
                }
                SimpleQueryMessage::CommandComplete(rows) => count = rows,
                _ => {}
            }
        }
        if described {
            return Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows });
        }
        Ok(DBOutput::StatementComplete(count))
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "keepsafe"
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A client in a fresh database.
async fn on_postgres(url: &str) -> Wire {
    let connect = async |database: &str| {
        let (client, connection) =
            tokio_postgres::connect(&format!("{url}/{database}"), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let database = format!("slt_{}", rand::random::<u32>());
    connect("postgres").await.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    Wire { client: connect(&database).await }
}

/// Every file runs on a fresh store, so that each can be read and run alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_holds() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sqllogictest");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    if let Ok(only) = std::env::var("KEEPSAFE_SLT_FILE") {
        files = vec![directory.join(format!("{only}.slt"))];
    }
    assert!(!files.is_empty());
    let postgres = std::env::var("KEEPSAFE_SLT_POSTGRES").ok();
    let mut failures = Vec::new();
    for file in files {
        let run = match &postgres {
            Some(url) if file.ends_with("cockroach.slt") => {
                println!("cockroach.slt is not for {url}");
                continue;
            }
            Some(url) => Runner::new(async || Ok(on_postgres(url).await)).run_file_async(&file).await,
            None => {
                let store = Store::new();
                let server = store.start();
                Runner::new(async || Ok(Wire { client: server.connect().await })).run_file_async(&file).await
            }
        };
        if let Err(error) = run {
            failures.push(format!("{}: {error}", file.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
