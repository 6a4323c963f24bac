//! Sessions: statements in, results out. No wire protocol here, and no storage engine.
//!
//! A [`Session`] plans and runs one statement at a time inside its transaction. Queries go through [`query`] (DataFusion),
//! changes of rows through [`dml`], of the catalog through [`ddl`], everything that shows something through [`show`], and
//! backups, restores, jobs and settings through [`control`].

pub mod activity;
mod advisory;
mod arrays;
mod context;
pub mod control;
mod create_all;
mod create_statement;
mod ddl;
mod deferred;
mod describe;
mod dml;
mod engine;
pub mod error;
mod ids;
mod introspection;
mod json;
mod locate;
mod names;
pub mod notifications;
mod point;
mod query;
mod schedules;
mod session;
pub mod settings;
mod show;
mod show_activity;
mod show_backup;
mod show_grants;
pub mod temporary;
pub mod text;
mod time_travel;
pub mod time_zone;
pub mod types;
mod zone;

use sqlparser::ast::{Query, Statement as Ast};

pub use arrays::{convert_batches, datum_at};
pub use describe::Description;
pub use dml::copy::CopyFormat;
pub use engine::Engine;
pub use error::{Error, Result};
pub use locate::located;
pub use query::{Batches, OutputColumn};
pub use session::{Parameter, Prepared, Response, Session, Status, copy_header, copy_lines};
pub use settings::reported as reported_settings;
pub use time_zone::TimeZone;

/// What `version()` and `server_version` say. Clients read the number to choose what they send.
pub const VERSION: &str = concat!("PostgreSQL 15.0 (keepsafe ", env!("CARGO_PKG_VERSION"), ")");

/// Parses a query that keepsafe wrote itself or stored.
fn parse_query(sql: &str) -> Result<Query> {
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let parsed = sqlparser::parser::Parser::parse_sql(&dialect, sql).map(|mut statements| statements.pop());
    match parsed {
        Ok(Some(Ast::Query(query))) => Ok(*query),
        _ => Err(Error::new(error::code::DATA_CORRUPTED, format!("a stored query cannot be read: {sql}"))),
    }
}
