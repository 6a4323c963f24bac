//! keepsafe: a Postgres-wire server whose speciality is backup and restore as SQL.
//!
//! `docs/architecture.md` is the map of the code. Imports only point down this list, from the last module to the first.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod catalog;
pub mod kv;
pub mod parser;
pub mod runfile;
pub mod storage;
pub mod time;
