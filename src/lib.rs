//! keepsafe: a Postgres-wire server whose speciality is backup and restore as SQL.
//!
//! `docs/architecture.md` is the map of the code. Imports only point down: `node`, `check`, `server`, `sql`, `schedule`, `backup`, `jobs`, `catalog`,
//! `runfile`, `kv`, `storage`, `parser`, `time`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backup;
pub mod catalog;
pub mod check;
pub mod jobs;
pub mod kv;
pub mod node;
pub mod parser;
pub mod runfile;
pub mod schedule;
pub mod server;
pub mod sql;
pub mod storage;
pub mod time;

/// Why not the system's: `docs/decisions/0011-jemalloc.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
