//! Schedules: backups that nobody has to remember.
//!
//! A schedule is a row of `system.scheduled_jobs`. What people create is one schedule that takes full backups, or a pair:
//!
//! ```text
//!   CREATE SCHEDULE ... RECURRING '@hourly' FULL BACKUP '@daily'
//!
//!     full          BACKUP ... INTO 'c'             @daily     ------F-----------------------F--->
//!     incremental   BACKUP ... INTO LATEST IN 'c'   @hourly    waits   i i i i i i i i i i i i i
//! ```
//!
//! The incremental one waits until the full one has had a success. The [`Poller`] looks at the rows again and again. What it
//! does with one is a transaction:
//!
//! - **A schedule that is due**: a job is made that backs up the latest time it was due at, and the row gets its next time. So
//!   every run is made once, whoever dies when; runs that were missed are made up for by one.
//! - **A job of a schedule that has ended**: noted in the row, once. A success lets a waiting schedule go and moves the protected
//!   timestamp; a failure does what `on_execution_failure` says.
//!
//! **Invariants.** History since the last success is protected, in the name of the full schedule: the next layer can always be
//! made. Whoever changes a schedule holds the lock of its full one, so that the two of a pair change together. A secret of a
//! statement is in `system.secrets` and nowhere else; the row has the statement with secrets redacted.

mod alter;
mod control;
mod create;
mod crontab;
mod error;
mod pair;
mod poller;
mod record;

pub use alter::alter;
pub use control::{drop, pause, resume};
pub use create::{Created, create, show_create};
pub use crontab::Crontab;
pub use error::{Error, Result};
pub use pair::Pair;
pub use poller::Poller;
pub use record::{BackupType, ExecutionFailure, PreviousRunning, Schedule, ScheduleId};

use crate::backup::plan::Planner;
use crate::catalog::secrets::Secrets;
use crate::kv::Txn;

/// What it takes to make and change schedules: the transaction of a statement, and what it reaches.
pub struct Surroundings<'a> {
    /// The statement's transaction.
    pub txn: &'a dyn Txn,
    /// Plans backups; its database is the current one.
    pub planner: Planner<'a>,
    /// Keeps what a schedule must keep to itself.
    pub secrets: &'a Secrets,
    /// Who asks.
    pub user: &'a str,
}
