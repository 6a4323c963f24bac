//! The transaction of a session: how it begins, ends, fails and goes back to savepoints.

use std::sync::Arc;

use sqlparser::ast::{Expr, Lock, LockTableMode, Set, Statement as Ast, TransactionAccessMode, TransactionMode, Value};
use tokio::sync::watch;

use super::super::context::{Context, TransactionFacts};
use super::super::deferred::Modes;
use super::super::dml;
use super::super::error::{Error, Result, code};
use super::super::names::name_parts;
use super::super::settings::SessionSettings;
use super::super::show::Shown;
use super::super::temporary;
use super::super::time_travel;
use super::variables::SettingsAfter;
use super::{Response, Session, Status, located};
use crate::catalog::{ColumnType, Datum, Descriptor};
use crate::jobs::JobId;
use crate::kv::{LockMode, Txn};
use crate::parser::{Ordinary, Show, Statement};

pub(super) enum State {
    Idle,
    Open(Open),
    Failed(Open),
}

/// What a transaction did with a job, and the registry has to know once it is committed.
#[derive(Clone, Copy)]
pub enum JobChange {
    /// It is new.
    Created(JobId),
    /// It is to be paused, resumed or canceled.
    Asked(JobId),
}

/// An open transaction.
pub(super) struct Open {
    pub(super) txn: Arc<dyn Txn>,
    pub(super) facts: TransactionFacts,
    pub(super) savepoints: Vec<Savepoint>,
    /// Made by a group of statements that came together, not by `BEGIN`.
    pub(super) implicit: bool,
    /// Jobs that begin with the commit.
    pub(super) jobs: Vec<JobChange>,
}

/// What to go back to.
pub(super) struct Savepoint {
    name: String,
    /// The transaction's own.
    txn: usize,
    /// How many jobs there were.
    jobs: usize,
    modes: Modes,
    cursors: u64,
    messages: usize,
    settings: Option<(Arc<SessionSettings>, SettingsAfter)>,
}

impl Open {
    /// Ends it without a trace, at once: something that still runs may keep it for a while.
    fn give_up(&self) {
        self.facts.locks.unlock_all();
        self.txn.rollback();
    }
}

impl Session {
    pub(super) async fn begin(&self) -> Result<Open> {
        Ok(self.open_with(self.engine.store().begin().await?))
    }

    pub(super) fn open_with(&self, txn: Arc<dyn Txn>) -> Open {
        let facts = TransactionFacts::new(Arc::new(self.facts.locks.transaction()));
        Open { txn, facts, savepoints: Vec::new(), implicit: false, jobs: Vec::new() }
    }

    /// Whether a transaction is open that [`Session::begin_group`] began.
    pub fn is_in_group(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.implicit)
    }

    /// Statements that come in one message, or before one `Sync`, are one transaction, unless they say otherwise.
    pub async fn begin_group(&mut self) -> Result<()> {
        if matches!(self.state, State::Idle) {
            let mut open = self.begin().await?;
            open.implicit = true;
            self.state = State::Open(open);
        }
        Ok(())
    }

    /// Ends the transaction of statements that came together.
    pub async fn end_group(&mut self) -> Result<()> {
        if !self.is_in_group() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) => self.end_with_commit(open).await,
            _ => Ok(()),
        }
    }

    /// Commits, and lets the session keep what outlives the transaction.
    async fn end_with_commit(&mut self, open: Open) -> Result<()> {
        let committed = match self.cursors.read_to_end(false).await {
            Ok(()) => self.commit(open).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(()) => self.cursors.committed(),
            Err(_) => self.cursors.close_since(0),
        }
        self.settle_settings(committed.is_ok())?;
        committed
    }

    /// What a transaction that is rolled back leaves of what the session had.
    fn forget_transaction(&mut self) -> Result<()> {
        self.facts.listener.go_back(0);
        self.cursors.close_since(0);
        self.settle_settings(false)
    }

    /// Set from the beginning of a commit until its statement ends or waits for a job: it must not be interrupted.
    /// Asked for by whoever runs the next statement.
    pub fn committing(&self) -> watch::Receiver<bool> {
        self.committing.send_replace(false);
        self.committing.subscribe()
    }

    pub(super) async fn commit(&self, open: Open) -> Result<()> {
        if open.facts.deferred.is_needed() {
            let context = self.context(&open);
            if let Err(error) = dml::check_deferred(&context).await {
                return Err(located(&context, error).await);
            }
        }
        temporary::at_commit(&self.context(&open)).await?;
        self.committing.send_replace(true);
        let committed = open.txn.commit().await;
        if let Err(error) = committed {
            self.committing.send_replace(false);
            return Err(error.into());
        }
        for change in open.jobs {
            match change {
                JobChange::Created(job) => self.engine.jobs().run(job),
                JobChange::Asked(job) => self.engine.jobs().attend(job),
            }
        }
        self.facts.listener.committed(&self.facts.database);
        Ok(())
    }

    /// A statement has failed, or was canceled: a transaction it was part of cannot go on.
    pub fn fail(&mut self) {
        self.copy = None;
        self.facts.locks.give_up();
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(open) if open.implicit => State::Idle,
            State::Open(open) | State::Failed(open) => {
                if open.savepoints.is_empty() {
                    self.cursors.close_since(0);
                    open.give_up();
                }
                State::Failed(open)
            }
            State::Idle => State::Idle,
        };
        if matches!(self.state, State::Idle)
            && let Err(error) = self.forget_transaction()
        {
            tracing::error!(%error, "the settings of a session could not be set as they were");
        }
    }

    /// `SHOW TRANSACTION STATUS` and `SHOW SAVEPOINT STATUS`, which answer in a failed transaction, too.
    pub(super) fn show_transaction(&self, statement: &Statement) -> Option<Shown> {
        match statement {
            Statement::Show(Show::TransactionStatus) => {
                let mut shown = Shown::new(&[("TRANSACTION STATUS", ColumnType::Text)]);
                let status = match self.status() {
                    Status::Idle => "NoTxn",
                    Status::Open => "Open",
                    Status::Failed => "Aborted",
                };
                shown.rows.push(vec![status.into()]);
                Some(shown)
            }
            Statement::Show(Show::SavepointStatus) => {
                let columns = [("savepoint_name", ColumnType::Text), ("is_initial_savepoint", ColumnType::Bool)];
                let mut shown = Shown::new(&columns);
                if let State::Open(open) | State::Failed(open) = &self.state {
                    let row = |savepoint: &Savepoint| vec![savepoint.name.clone().into(), Datum::Bool(false)];
                    shown.rows = open.savepoints.iter().map(row).collect();
                }
                Some(shown)
            }
            _ => None,
        }
    }

    /// `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints.
    pub(super) async fn control_transaction(&mut self, statement: &Ordinary) -> Result<Option<Response>> {
        let tag = match &statement.ast {
            Ast::StartTransaction { modes, statements, exception, .. }
                if statements.is_empty() && exception.is_none() =>
            {
                self.start_transaction(statement, modes).await?;
                "BEGIN"
            }
            Ast::Commit { chain: false, .. } => match std::mem::replace(&mut self.state, State::Idle) {
                State::Open(open) => {
                    if open.implicit {
                        self.notices.push("there is no transaction in progress".into());
                    }
                    self.end_with_commit(open).await?;
                    "COMMIT"
                }
                State::Failed(open) => {
                    open.give_up();
                    self.forget_transaction()?;
                    "ROLLBACK"
                }
                State::Idle => {
                    self.notices.push("there is no transaction in progress".into());
                    "COMMIT"
                }
            },
            Ast::Rollback { chain: false, savepoint: None } => {
                match std::mem::replace(&mut self.state, State::Idle) {
                    State::Idle => self.notices.push("there is no transaction in progress".into()),
                    State::Open(open) | State::Failed(open) => open.give_up(),
                }
                self.forget_transaction()?;
                "ROLLBACK"
            }
            Ast::Rollback { savepoint: Some(name), .. } => {
                self.rollback_to(&name.value)?;
                "ROLLBACK"
            }
            Ast::Savepoint { name } => {
                let State::Open(open) = &mut self.state else { return Err(self.no_transaction("SAVEPOINT")) };
                open.savepoints.push(Savepoint {
                    name: name.value.clone(),
                    txn: open.txn.savepoint(),
                    jobs: open.jobs.len(),
                    modes: open.facts.deferred.modes(),
                    cursors: self.cursors.mark(),
                    messages: self.facts.listener.mark(),
                    settings: self.settings_after.clone().map(|after| (self.facts.settings.clone(), after)),
                });
                // What is bulk loaded cannot be taken back, so nothing is from here on.
                open.facts.fresh.clear();
                "SAVEPOINT"
            }
            Ast::ReleaseSavepoint { name } => {
                let State::Open(open) = &mut self.state else { return Err(self.no_transaction("RELEASE SAVEPOINT")) };
                let position = position_of(open, &name.value)?;
                open.savepoints.truncate(position);
                "RELEASE"
            }
            _ => return Ok(None),
        };
        Ok(Some(Response::Done(tag.into())))
    }

    pub(super) async fn start_transaction(&mut self, statement: &Ordinary, modes: &[TransactionMode]) -> Result<()> {
        match &mut self.state {
            State::Open(open) if open.implicit => open.implicit = false,
            State::Open(_) => {
                self.notices.push("there is already a transaction in progress".into());
                return Ok(());
            }
            State::Failed(_) => return Err(failed_transaction()),
            State::Idle => self.state = State::Open(self.begin().await?),
        }
        let read_only =
            modes.iter().any(|mode| matches!(mode, TransactionMode::AccessMode(TransactionAccessMode::ReadOnly)));
        self.read_past(statement.as_of.as_ref(), read_only).await
    }

    /// Replaces a transaction in which nothing has happened yet by a read-only one, at a time if there is one.
    pub(super) async fn read_past(&mut self, as_of: Option<&Expr>, read_only: bool) -> Result<()> {
        if as_of.is_none() && !read_only {
            return Ok(());
        }
        let State::Open(open) = &self.state else { return Ok(()) };
        let has_begun = open.txn.pending_writes() > 0 || !open.savepoints.is_empty() || open.facts.locks.is_used();
        if has_begun || self.cursors.is_any_of_transaction() {
            let message = "a transaction that reads the past or is read-only must be begun before anything is written, locked or \
                           opened, and before savepoints";
            return Err(Error::new(code::ACTIVE_TRANSACTION, message));
        }
        let at = match as_of {
            Some(time) => time_travel::evaluate(&self.context(open), time)?,
            None => open.txn.snapshot(),
        };
        let implicit = open.implicit;
        let mut past = self.open_with(self.engine.store().begin_at(at).await?);
        past.implicit = implicit;
        self.state = State::Open(past);
        Ok(())
    }

    /// `SET TRANSACTION SNAPSHOT`: a snapshot is the time it was taken at.
    pub(super) async fn read_snapshot(&mut self, snapshot: &Value) -> Result<()> {
        if !matches!(&self.state, State::Open(open) if !open.implicit) {
            return Err(self.no_transaction("SET TRANSACTION SNAPSHOT"));
        }
        let time = match snapshot {
            Value::SingleQuotedString(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.clone(),
            other => return Err(Error::new(code::INVALID_PARAMETER, format!("invalid snapshot identifier: {other}"))),
        };
        self.read_past(Some(&Expr::value(Value::Number(time, false))), true).await
    }

    /// `SET TRANSACTION AS OF SYSTEM TIME`
    pub(super) async fn set_transaction_time(&mut self, statement: &Ordinary) -> Result<()> {
        if !matches!(statement.ast, Ast::Set(Set::SetTransaction { session: false, .. })) {
            return Err(Error::unsupported("AS OF SYSTEM TIME on this statement"));
        }
        match &self.state {
            State::Open(open) if !open.implicit => {}
            _ => return Err(self.no_transaction("SET TRANSACTION AS OF SYSTEM TIME")),
        }
        self.read_past(statement.as_of.as_ref(), false).await
    }

    /// `LOCK TABLE`: what a transaction reads stays as it is anyhow; what it locks more firmly, nobody else writes.
    pub(super) async fn lock_tables(&self, context: &Context, lock: &Lock) -> Result<()> {
        if matches!(self.state, State::Idle) {
            return Err(self.no_transaction("LOCK TABLE"));
        }
        let mode = match lock.lock_mode {
            Some(LockTableMode::AccessShare) => None,
            Some(LockTableMode::RowShare | LockTableMode::RowExclusive) => Some(LockMode::Shared),
            _ => Some(LockMode::Exclusive),
        };
        for target in &lock.tables {
            let found = context.object(&name_parts(&target.name)?).await?;
            if !matches!(&*found, Descriptor::Table(_) | Descriptor::View(_)) {
                let message = format!("\"{}\" is not a table or view", found.name());
                return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
            }
            match mode {
                Some(_) if lock.nowait => return Err(Error::unsupported("LOCK TABLE ... NOWAIT")),
                Some(mode) => context.catalog().lock(found.id(), mode).await?,
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn no_transaction(&self, what: &str) -> Error {
        match self.state {
            State::Failed(_) => failed_transaction(),
            _ => Error::new(code::NO_ACTIVE_TRANSACTION, format!("{what} can only be used in transaction blocks")),
        }
    }

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Open(mut open) | State::Failed(mut open) => match position_of(&open, name) {
                Ok(position) => {
                    let savepoint = &open.savepoints[position];
                    open.txn.rollback_to(savepoint.txn);
                    open.jobs.truncate(savepoint.jobs);
                    open.facts.deferred.go_back(&savepoint.modes);
                    let (cursors, settings) = (savepoint.cursors, savepoint.settings.clone());
                    let messages = savepoint.messages;
                    open.savepoints.truncate(position + 1);
                    self.state = State::Open(open);
                    self.cursors.close_since(cursors);
                    self.facts.listener.go_back(messages);
                    self.go_back_to_settings(settings)
                }
                Err(error) => {
                    self.state = State::Failed(open);
                    Err(error)
                }
            },
            State::Idle => Err(Error::new(
                code::NO_ACTIVE_TRANSACTION,
                "ROLLBACK TO SAVEPOINT can only be used in transaction blocks",
            )),
        }
    }
}

pub(super) fn is_transaction_control(ast: &Ast) -> bool {
    matches!(
        ast,
        Ast::StartTransaction { .. }
            | Ast::Commit { .. }
            | Ast::Rollback { .. }
            | Ast::Savepoint { .. }
            | Ast::ReleaseSavepoint { .. }
    )
}

pub(super) fn failed_transaction() -> Error {
    Error::new(
        code::FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

pub(super) fn position_of(open: &Open, name: &str) -> Result<usize> {
    let position = open.savepoints.iter().rposition(|savepoint| savepoint.name == name);
    position.ok_or_else(|| Error::new(code::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist")))
}
