//! A session: one client's settings, its transaction, and the running of its statements.
//!
//! ```text
//!   Idle --BEGIN--> Open --error--> Failed
//!    ^               |                |
//!    +--- COMMIT ----+--- ROLLBACK ---+
//! ```
//!
//! A statement outside a transaction is one of its own; if it loses a race it is run again, as nobody has seen it yet.

mod cursors;
mod explain;
mod prepared;
mod transaction;
mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use sqlparser::ast::{DiscardObject, Statement as Ast};
use tokio::sync::{mpsc, watch};

use self::cursors::Cursors;
use self::explain::How;
pub use self::prepared::Prepared;
use self::transaction::{JobChange, Open, State, failed_transaction, is_transaction_control};
use self::variables::{SettingsAfter, may_take_on, setting_value};
use super::activity::{OpenSession, Phase};
use super::context::{Context, SessionFacts, TransactionFacts};
use super::describe::{self, Description};
use super::dml::copy::{CopyFormat, CopyIn, CopyWhat, header, modern, what, write_batch};
use super::engine::Engine;
use super::error::{Error, Result, code};
use super::names::folded;
use super::notifications::{Listener, Notification};
use super::query::{self, Batches, OutputColumn, PlanCache, Visibility};
use super::settings::{NO_ROLE, ROLE, reported as reported_settings, write_cluster_setting};
use super::show::{self, Shown};
use super::time_zone::TimeZone;
use super::{control, ddl, dml, point, schedules, show_activity, temporary, text, time_travel, zone};
use crate::catalog::role::Roles;
use crate::catalog::settings::DEFAULT_STATEMENT_TIMEOUT;
use crate::catalog::{ColumnType, Datum};
use crate::jobs::JobId;
use crate::parser::{ControlledJobs, Ordinary, Parsed, Statement};
use crate::time::Timestamp;

/// How long a statement that is a transaction of its own is tried again when it loses a race.
const RETRY_FOR: Duration = Duration::from_secs(30);
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(1);
const LONGEST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// A value for a placeholder.
pub type Parameter = (ColumnType, Datum<'static>);

/// What a statement answers.
pub enum Response {
    /// Rows; the tag gets their number.
    Rows {
        /// Their columns.
        columns: Vec<OutputColumn>,
        /// The rows.
        batches: Batches,
        /// `SELECT`, `INSERT 0` and the like.
        tag: String,
    },
    /// A command tag.
    Done(String),
    /// The client is to send rows; see [`Session::copy_data`].
    CopyIn {
        /// The types of the columns of each row.
        columns: Vec<ColumnType>,
        /// Whether the rows are to go to [`Session::copy_rows`] instead.
        binary: bool,
    },
    /// Lines for the client.
    CopyOut {
        /// Columns of each row.
        columns: Vec<OutputColumn>,
        /// The rows.
        batches: Batches,
        /// How they look.
        format: CopyFormat,
    },
}

/// The state of a session's transaction, as `ReadyForQuery` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// None is open.
    Idle,
    /// One is open.
    Open,
    /// One is open and can only be rolled back.
    Failed,
}

/// One client's session.
pub struct Session {
    engine: Arc<Engine>,
    facts: SessionFacts,
    /// What the settings become at the end of the transaction, if it changes any.
    settings_after: Option<SettingsAfter>,
    cursors: Cursors,
    state: State,
    /// The plans of the prepared statement that runs.
    plans: Option<Arc<PlanCache>>,
    copy: Option<(CopyIn, bool)>,
    notices: Vec<String>,
    /// Settings that clients are to be told of.
    changed_settings: BTreeMap<&'static str, String>,
    waiting_for: Option<JobId>,
    /// Takes notices of a statement that is still running.
    progress: Option<mpsc::UnboundedSender<String>>,
    committing: watch::Sender<bool>,
    /// How others see it.
    activity: OpenSession,
    notifications: Option<mpsc::UnboundedReceiver<Notification>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A statement that still waits for an advisory lock is to get none.
        self.facts.locks.give_up();
        self.facts.locks.unlock_all();
        if self.facts.temporary.name().is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(temporary::end(self.engine.clone(), self.facts.clone()));
        }
    }
}

impl Session {
    /// Opens a session, if the user and the database exist.
    pub async fn open(engine: Arc<Engine>, user: &str, database: &str, client: Option<SocketAddr>) -> Result<Session> {
        let mut facts = SessionFacts::new(&engine, user, database);
        let txn = engine.store().begin().await?;
        let transaction = TransactionFacts::new(facts.locks.clone());
        let context = Context::new(engine.clone(), txn, Arc::new(facts.clone()), transaction);
        if !context.catalog().user_exists(user).await? {
            return Err(Error::new(code::INVALID_AUTHORIZATION, format!("role \"{user}\" does not exist")));
        }
        if !context.catalog().may_log_in(user).await? {
            let message = format!("role \"{user}\" is not permitted to log in");
            return Err(Error::new(code::INVALID_AUTHORIZATION, message));
        }
        context.current_database().await?;
        let timeout = DEFAULT_STATEMENT_TIMEOUT.read(&**context.txn()).await?;
        let settings = Arc::make_mut(&mut facts.settings);
        settings.set_default("statement_timeout", &timeout)?;
        settings.note("session_authorization", user);
        let roles = Roles::read(&**context.txn()).await?;
        settings.note("is_superuser", if roles.is_superuser(user) { "on" } else { "off" });
        let (mut notices, mut own) = (Vec::new(), Vec::new());
        own.extend(roles.get(user).map(|role| role.attributes.settings.clone()).unwrap_or_default());
        own.retain(|setting| setting.database.as_ref().is_none_or(|of| of == database));
        // Those of the database are the last word.
        own.sort_by_key(|setting| setting.database.is_some());
        for setting in own {
            let allowed = match setting.name == ROLE && setting.value != NO_ROLE {
                true => may_take_on(&roles, user, &setting.value),
                false => Ok(()),
            };
            if let Err(error) = allowed.and_then(|()| settings.set_default(&setting.name, &setting.value)) {
                notices.push(error.message);
            }
        }
        let reported = reported_settings().into_iter().map(|(name, _)| Ok((name, facts.settings.get(name)?)));
        let changed_settings = reported.collect::<Result<_>>()?;
        let now = Timestamp(engine.jobs().clock().wall_nanos());
        let activity = engine.activity().enter(user, database, client, now);
        facts.backend_id = activity.entry().id;
        let (listener, notifications) = Listener::new(engine.channels().clone(), facts.backend_id);
        facts.listener = Arc::new(listener);
        let mut session = Session {
            engine,
            facts,
            settings_after: None,
            cursors: Cursors::default(),
            state: State::Idle,
            plans: None,
            copy: None,
            notices,
            changed_settings,
            waiting_for: None,
            progress: None,
            committing: watch::channel(false).0,
            activity,
            notifications: Some(notifications),
        };
        session.read_settings()?;
        Ok(session)
    }

    /// The state of the transaction.
    pub fn status(&self) -> Status {
        match &self.state {
            State::Idle => Status::Idle,
            State::Open(open) if open.implicit => Status::Idle,
            State::Open(_) => Status::Open,
            State::Failed(_) => Status::Failed,
        }
    }

    /// What the user should know of the last statement.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// What the user should know of a statement that is still running.
    pub fn progress_notices(&mut self) -> mpsc::UnboundedReceiver<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.progress = Some(sender);
        receiver
    }

    /// Settings that have changed and that clients are told of.
    pub fn take_changed_settings(&mut self) -> BTreeMap<&'static str, String> {
        std::mem::take(&mut self.changed_settings)
    }

    /// How long a statement may run.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.facts.settings.timeout("statement_timeout")
    }

    /// How long a transaction may be left alone.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.facts.settings.timeout("idle_in_transaction_session_timeout")
    }

    /// How long a transaction may take from its first statement to its end.
    pub fn transaction_timeout(&self) -> Option<Duration> {
        self.facts.settings.timeout("transaction_timeout")
    }

    /// The time zone that the client reads and writes times in.
    pub fn time_zone(&self) -> TimeZone {
        self.facts.settings.zone()
    }

    /// How intervals are written: as ISO 8601 has them, or as PostgreSQL does.
    pub fn writes_iso_intervals(&self) -> bool {
        self.facts.settings.get("intervalstyle").is_ok_and(|style| style == "iso_8601")
    }

    /// Sets a setting as the client asks when it connects. Some drivers always send the zone that they are in: should it be none that
    /// is known here, they hear that it is UTC, and tell the offset with each time.
    pub fn set_at_startup(&mut self, name: &str, value: &str) -> Result<()> {
        if name.eq_ignore_ascii_case(ROLE) {
            return Err(Error::unsupported("a role when connecting").hint("SET ROLE after it."));
        }
        match self.set(name, Some(value)) {
            Err(error) if name.eq_ignore_ascii_case("timezone") && error.sqlstate == code::INVALID_PARAMETER => {
                self.notices.push(format!("time zone \"{value}\" is not known: it is UTC"));
                Ok(())
            }
            done => done,
        }
    }

    /// What others send to the session; asked for once.
    pub fn take_notifications(&mut self) -> Option<mpsc::UnboundedReceiver<Notification>> {
        self.notifications.take()
    }

    /// How others see the session.
    pub fn activity(&self) -> &OpenSession {
        &self.activity
    }

    /// A statement of the client begins, as others may see it.
    pub fn begin_statement(&self, shown: Arc<str>) {
        self.activity.begin_statement(shown, self.wall_time());
    }

    /// What the client has sent is done.
    pub fn wait_for_client(&self) {
        self.activity.describe(&self.facts.database, self.facts.settings.application_name());
        let phase = match self.status() {
            Status::Idle => Phase::Idle,
            Status::Open => Phase::IdleInTransaction,
            Status::Failed => Phase::IdleInFailed,
        };
        if phase == Phase::Idle {
            // A query alone commits nothing, but may have sent something.
            self.facts.listener.committed(&self.facts.database);
        }
        self.activity.wait(phase, self.wall_time());
    }

    fn wall_time(&self) -> Timestamp {
        Timestamp(self.engine.jobs().clock().wall_nanos())
    }

    fn context(&self, open: &Open) -> Context {
        let facts = Arc::new(SessionFacts { cursors: self.cursors.facts(), ..self.facts.clone() });
        Context::new(self.engine.clone(), open.txn.clone(), facts, open.facts.clone())
    }

    /// The error of a statement that was canceled; a job it was waiting for goes on.
    pub fn canceled(&mut self, why: &str) -> Error {
        let error = Error::new(code::QUERY_CANCELED, format!("canceling statement due to {why}"));
        match self.waiting_for.take() {
            Some(job) => error.hint(format!("Job {job} goes on in the background. See SHOW JOB {job}.")),
            None => error,
        }
    }

    /// Finds out what a statement takes and gives.
    pub async fn describe(&self, parsed: &Parsed, declared: &[Option<ColumnType>]) -> Result<Description> {
        if let Statement::Sql(ordinary) = &parsed.statement
            && is_transaction_control(&ordinary.ast)
        {
            return Ok(Description::default());
        }
        if let Some(description) = self.describe_execute(&parsed.statement) {
            return description;
        }
        if let Statement::Fetch(fetch) = &parsed.statement {
            let columns = self.cursor_columns(&fetch.cursor).filter(|_| !fetch.moves).map(<[_]>::to_vec);
            return Ok(Description { parameters: Vec::new(), columns });
        }
        if let Some(shown) = self.show_transaction(&parsed.statement) {
            return Ok(Description { parameters: Vec::new(), columns: Some(shown.columns) });
        }
        match &self.state {
            State::Open(open) => describe::describe(&self.context(open), parsed, &self.facts.settings, declared).await,
            State::Failed(_) => Err(failed_transaction()),
            State::Idle => {
                let open = self.begin().await?;
                describe::describe(&self.context(&open), parsed, &self.facts.settings, declared).await
            }
        }
    }

    /// Runs a statement. After an error, or when the future is dropped, call [`Session::fail`].
    pub async fn execute(&mut self, parsed: &Parsed, parameters: &[Parameter]) -> Result<Response> {
        self.run_one(parsed, parameters, None).await
    }

    async fn run_one(
        &mut self,
        parsed: &Parsed,
        parameters: &[Parameter],
        plans: Option<Arc<PlanCache>>,
    ) -> Result<Response> {
        self.plans = plans;
        self.engine.jobs().note_statement();
        if let Statement::Sql(ordinary) = &parsed.statement
            && let Some(response) = self.control_transaction(ordinary).await?
        {
            return Ok(response);
        }
        if let Some(shown) = self.show_transaction(&parsed.statement) {
            let (columns, batches) = shown.into_batches()?;
            return Ok(Response::Rows { columns, batches, tag: "SELECT".into() });
        }
        if let State::Failed(_) = self.state {
            return Err(failed_transaction());
        }
        if let Statement::Sql(ordinary) = &parsed.statement
            && ordinary.as_of.is_some()
            && !matches!(ordinary.ast, Ast::Query(_) | Ast::Explain { .. })
        {
            self.set_transaction_time(ordinary).await?;
            return Ok(Response::Done("SET".into()));
        }
        if let Some(response) = self.change_session(&parsed.statement).await? {
            return Ok(response);
        }
        if let Some(response) = self.run_prepared(&parsed.statement).await? {
            return Ok(response);
        }
        if let Some(response) = self.run_cursor(&parsed.statement).await? {
            return Ok(response);
        }
        self.settle_cursors(&parsed.statement).await?;
        if let State::Open(_) = self.state {
            return self.execute_in_open(&parsed.statement, parameters).await;
        }
        self.execute_alone(&parsed.statement, parameters).await
    }

    async fn execute_in_open(&mut self, statement: &Statement, parameters: &[Parameter]) -> Result<Response> {
        let State::Open(open) = &self.state else { return Err(failed_transaction()) };
        if let Statement::Sql(ordinary) = statement
            && ordinary.as_of.is_some()
        {
            return Err(
                Error::unsupported("AS OF SYSTEM TIME inside a transaction").hint("Write BEGIN AS OF SYSTEM TIME ...")
            );
        }
        let context = self.context(open);
        let (detached, job) = match statement {
            Statement::Backup(backup) => (backup.options.detached, true),
            Statement::Restore(restore) => (restore.options.detached, true),
            _ => (true, false),
        };
        if job && !detached && !open.implicit {
            let verb = if matches!(statement, Statement::Backup(_)) { "BACKUP" } else { "RESTORE" };
            let message = format!("{verb} cannot be used inside a transaction without the detached option");
            return Err(Error::new(code::ACTIVE_TRANSACTION, message)
                .hint(format!("Add WITH detached, or run {verb} outside the transaction.")));
        }
        if job && !detached {
            // Several statements in one message: the job has to be there before anybody can wait for it.
            self.end_group().await?;
            let response = self.execute_alone(statement, parameters).await?;
            self.begin_group().await?;
            return Ok(response);
        }
        let (response, started) = self.run(&context, statement, parameters).await?;
        if let State::Open(open) = &mut self.state {
            open.jobs.extend(started);
        }
        Ok(response)
    }

    async fn execute_alone(&mut self, statement: &Statement, parameters: &[Parameter]) -> Result<Response> {
        let mut delay = FIRST_RETRY_DELAY;
        let began = Instant::now();
        loop {
            let may_retry = began.elapsed() < RETRY_FOR;
            let open = match self.attempt(statement, parameters).await {
                Err(error) if error.is_retryable() && may_retry => None,
                Err(error) => return Err(error),
                Ok((response, open)) => match self.finish_alone(statement, response, open).await {
                    Err(error) if error.is_retryable() && may_retry => None,
                    done => Some(done),
                },
            };
            if let Some(done) = open {
                return done;
            }
            self.activity.note_retry();
            self.facts.listener.go_back(0);
            // Not all who lost at once come back at once.
            tokio::time::sleep(delay.mul_f64(rand::random_range(0.5..1.5))).await;
            delay = (delay * 2).min(LONGEST_RETRY_DELAY);
        }
    }

    async fn attempt(&mut self, statement: &Statement, parameters: &[Parameter]) -> Result<(Response, Open)> {
        let mut open = self.begin().await?;
        if let Statement::Sql(ordinary) = statement
            && let Some(time) = &ordinary.as_of
        {
            if !matches!(ordinary.ast, Ast::Query(_) | Ast::Explain { .. }) {
                return Err(Error::unsupported("AS OF SYSTEM TIME on this statement"));
            }
            let at = time_travel::evaluate(&self.context(&open), time)?;
            open = self.open_with(self.engine.store().begin_at(at).await?);
        } else if let Statement::Sql(ordinary) = statement
            && let Ast::Query(query) = &ordinary.ast
            && dml::with::only_reads(query)
        {
            // A query alone needs no validation, so what it reads need not be remembered.
            open = self.open_with(self.engine.store().begin_at(open.txn.snapshot()).await?);
        }
        let (response, started) = self.run(&self.context(&open), statement, parameters).await?;
        open.jobs.extend(started);
        Ok((response, open))
    }

    async fn finish_alone(&mut self, statement: &Statement, response: Response, open: Open) -> Result<Response> {
        if let Response::CopyIn { .. } = response {
            let mut open = open;
            open.implicit = true;
            self.state = State::Open(open);
            return Ok(response);
        }
        let is_read =
            matches!(&response, Response::Rows { .. } | Response::CopyOut { .. }) && open.txn.pending_writes() == 0;
        let created = open.jobs.first().and_then(|change| match change {
            JobChange::Created(job) => Some(*job),
            JobChange::Asked(_) => None,
        });
        if !is_read || !open.jobs.is_empty() {
            self.commit(open).await?;
        }
        let detached = match statement {
            Statement::Backup(backup) => backup.options.detached,
            Statement::Restore(restore) => restore.options.detached,
            _ => true,
        };
        match created {
            Some(job) if !detached => self.wait_for_job(job).await,
            _ => Ok(response),
        }
    }

    async fn wait_for_job(&mut self, job: JobId) -> Result<Response> {
        self.waiting_for = Some(job);
        // What was committed is the job; waiting for it can be given up.
        self.committing.send_replace(false);
        let progress = self.progress.as_ref().filter(|_| self.facts.settings.is_on("job_progress_notices"));
        let mut said = String::new();
        let waited = self.engine.jobs().wait(job, |record| {
            let percent = (record.fraction_completed * 100.0).floor();
            let doing = record.running_status.as_deref().unwrap_or(record.status.name());
            let news = format!("job {job}: {percent} % done, {doing}");
            if let Some(progress) = progress
                && news != said
            {
                // Nobody listens any more if the client has left.
                let _ = progress.send(news.clone());
                said = news;
            }
        });
        let waited = waited.await;
        self.waiting_for = None;
        let record = waited?;
        let (columns, batches) = control::finished(&record).into_batches()?;
        Ok(Response::Rows { columns, batches, tag: "SELECT".into() })
    }

    /// Runs a statement in a transaction; the second value is what the registry of jobs has to know after the commit.
    async fn run(
        &mut self,
        context: &Context,
        statement: &Statement,
        parameters: &[Parameter],
    ) -> Result<(Response, Vec<JobChange>)> {
        match self.run_statement(context, statement, parameters).await {
            Err(error) => Err(located(context, error).await),
            done => done,
        }
    }

    async fn run_statement(
        &mut self,
        context: &Context,
        statement: &Statement,
        parameters: &[Parameter],
    ) -> Result<(Response, Vec<JobChange>)> {
        let texts = text_values(parameters);
        let rows = |shown: Shown| -> Result<Response> {
            let (columns, batches) = shown.into_batches()?;
            Ok(Response::Rows { columns, batches, tag: "SELECT".into() })
        };
        if uses_incremental_location(statement) {
            self.notices.push("option incremental_location is deprecated".into());
        }
        match statement {
            Statement::Sql(ordinary) => {
                Ok((self.run_ordinary(context, ordinary, parameters, &texts).await?, Vec::new()))
            }
            Statement::Backup(backup) => {
                let job = control::backup(context, backup, &texts).await?;
                Ok((rows(control::detached(job))?, vec![JobChange::Created(job)]))
            }
            Statement::Restore(restore) => {
                let job = control::restore(context, restore, &texts).await?;
                Ok((rows(control::detached(job))?, vec![JobChange::Created(job)]))
            }
            Statement::ControlJobs(control) => {
                let (count, changed) = control::control_jobs(context, control, &self.facts.settings, &texts).await?;
                let of_schedules = matches!(control.jobs, ControlledJobs::OfSchedules(_));
                let what = if of_schedules { "JOBS FOR SCHEDULES" } else { "JOBS" };
                let tag = format!("{} {what} {count}", control.command.name());
                Ok((Response::Done(tag), changed.into_iter().map(JobChange::Asked).collect()))
            }
            Statement::Cancel(cancel) => {
                let count = Box::pin(show_activity::cancel(context, cancel, &self.facts.settings, &texts)).await?;
                Ok((Response::Done(format!("CANCEL {} {count}", cancel.what.plural())), Vec::new()))
            }
            Statement::CreateSchedule(create) => {
                let (shown, notice) = schedules::create(context, create, &texts).await?;
                self.notices.extend(notice);
                Ok((rows(shown)?, Vec::new()))
            }
            Statement::AlterSchedule(alter) => Ok((rows(schedules::alter(context, alter, &texts).await?)?, Vec::new())),
            Statement::ControlSchedules(control) => {
                let count = schedules::control(context, control, &self.facts.settings, &texts).await?;
                Ok((Response::Done(format!("{} SCHEDULES {count}", control.command.name())), Vec::new()))
            }
            Statement::SetClusterSetting(set) => {
                let value = match &set.value {
                    None => None,
                    Some(value) => Some(setting_value(context, value)?),
                };
                write_cluster_setting(&**context.txn(), &set.name, value)?;
                Ok((Response::Done("SET CLUSTER SETTING".into()), Vec::new()))
            }
            Statement::ConfigureZone(statement) => {
                zone::configure(context, statement).await?;
                Ok((Response::Done("CONFIGURE ZONE".into()), Vec::new()))
            }
            Statement::Sequence(sequence) => {
                let outcome = ddl::execute_sequence(context, sequence).await?;
                self.notices.extend(outcome.notices);
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::Enum(statement) => {
                let outcome = ddl::execute_enum(context, statement).await?;
                self.notices.extend(outcome.notices);
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::Role(statement) => {
                let outcome = ddl::execute_role(context, statement).await?;
                self.notices.extend(outcome.notices);
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::CreateDatabase(statement) => {
                let outcome = Box::pin(ddl::create_database(context, statement)).await?;
                self.notices.extend(outcome.notices);
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::DefaultPrivileges(statement) => {
                let outcome = Box::pin(ddl::alter_default_privileges(context, statement)).await?;
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::AlterIdentity(statement) => {
                let outcome = Box::pin(ddl::execute_identity(context, statement)).await?;
                self.notices.extend(outcome.notices);
                Ok((Response::Done(outcome.tag.into()), Vec::new()))
            }
            Statement::SetConstraints(set) => {
                if self.status() == Status::Idle {
                    self.notices.push("SET CONSTRAINTS can only be used in transaction blocks".into());
                }
                dml::set_constraints(context, set).await?;
                Ok((Response::Done("SET CONSTRAINTS".into()), Vec::new()))
            }
            Statement::Maintenance(maintenance) => Ok((Response::Done(maintenance.command.into()), Vec::new())),
            other => match show::show(context, other, &self.facts.settings, &texts).await? {
                Some(shown) => Ok((rows(shown)?, Vec::new())),
                None => Err(Error::unsupported(other.name())),
            },
        }
    }

    async fn run_ordinary(
        &mut self,
        context: &Context,
        statement: &Ordinary,
        parameters: &[Parameter],
        texts: &[Option<String>],
    ) -> Result<Response> {
        if let Some(outcome) = Box::pin(ddl::execute(context, statement)).await? {
            self.notices.extend(outcome.notices);
            return Ok(Response::Done(outcome.tag.into()));
        }
        if statement.shows.is_empty()
            && let Some(answer) = point::execute(context, &statement.ast, parameters).await?
        {
            return Ok(match answer {
                point::Answer::Rows(columns, batches) => Response::Rows { columns, batches, tag: "SELECT".into() },
                point::Answer::Updated(rows) => Response::Done(format!("UPDATE {rows}")),
                point::Answer::Deleted(rows) => Response::Done(format!("DELETE {rows}")),
            });
        }
        if let (Ast::Query(query), Some(plans), true) = (&statement.ast, &self.plans, statement.shows.is_empty())
            && dml::with::only_reads(query)
            && let Some(planned) = plans.plan(context, query, parameters).await?
        {
            let (columns, batches) = planned.run().await?;
            return Ok(Response::Rows { columns, batches, tag: "SELECT".into() });
        }
        let extra = show::relations(context, &statement.shows, &self.facts.settings, texts).await?;
        let mut ast = statement.ast.clone();
        query::bind(&mut ast, parameters)?;
        if dml::locks_rows(&ast) && matches!(ast, Ast::Query(_) | Ast::Insert(_) | Ast::Update(_) | Ast::Delete(_)) {
            Box::pin(dml::take_row_locks(context, &mut ast, &extra)).await?;
        }
        match &mut ast {
            Ast::Query(query) => {
                if let Some(parts) = dml::with::parts(query)? {
                    let last = (statement.upsert, statement.overriding);
                    return Ok(match Box::pin(dml::with::run(context, parts, last, &extra)).await? {
                        dml::with::Answer::Rows(columns, batches) => {
                            Response::Rows { columns, batches, tag: "SELECT".into() }
                        }
                        dml::with::Answer::Changed(tag, changed) => changed_rows(tag, changed),
                    });
                }
                let planned = query::plan(context, query, &extra, Visibility::AsNamed).await?;
                let (columns, batches) = planned.run().await?;
                Ok(Response::Rows { columns, batches, tag: "SELECT".into() })
            }
            Ast::Insert(insert) => {
                let changed =
                    Box::pin(dml::insert(context, insert, (statement.upsert, statement.overriding), &extra)).await?;
                Ok(changed_rows(if statement.upsert { "UPSERT" } else { "INSERT 0" }, changed))
            }
            Ast::Update(update) => Ok(changed_rows("UPDATE", Box::pin(dml::update(context, update, &extra)).await?)),
            Ast::Delete(delete) => Ok(changed_rows("DELETE", Box::pin(dml::delete(context, delete, &extra)).await?)),
            Ast::CreateTable(create) => {
                let (rows, outcome) = ddl::create_table_as(context, create, &extra).await?;
                let tag = if outcome.notices.is_empty() { format!("SELECT {rows}") } else { outcome.tag.into() };
                self.notices.extend(outcome.notices);
                Ok(Response::Done(tag))
            }
            Ast::Copy { source, to, target, options, legacy_options, .. } => {
                let format =
                    CopyFormat::from_options(&[&options[..], &modern(legacy_options)?].concat(), context.zone())?;
                let binary = format.binary;
                match what(context, source, *to, target).await? {
                    CopyWhat::In { table, columns } => {
                        let copy = CopyIn::new(context, table, columns, format).await?;
                        let columns = copy.types();
                        self.copy = Some((copy, matches!(self.state, State::Idle)));
                        Ok(Response::CopyIn { columns, binary })
                    }
                    CopyWhat::Out(sql) => {
                        let query = super::parse_query(&sql)?;
                        let planned = query::plan(context, &query, &extra, Visibility::AsNamed).await?;
                        let (columns, batches) = planned.run().await?;
                        format.check_forced(true, columns.iter().map(|column| column.name.as_str()))?;
                        Ok(Response::CopyOut { columns, batches, format })
                    }
                }
            }
            Ast::LISTEN { channel } => {
                self.facts.listener.listen(&folded(channel))?;
                Ok(Response::Done("LISTEN".into()))
            }
            Ast::UNLISTEN { channel } => {
                let all = channel.quote_style.is_none() && channel.value == "*";
                self.facts.listener.unlisten((!all).then(|| folded(channel)).as_deref());
                Ok(Response::Done("UNLISTEN".into()))
            }
            Ast::NOTIFY { channel, payload } => {
                self.facts.listener.notify(&folded(channel), payload.as_deref().unwrap_or_default())?;
                Ok(Response::Done("NOTIFY".into()))
            }
            Ast::Discard { object_type: DiscardObject::TEMP } => {
                temporary::discard(context).await?;
                Ok(Response::Done("DISCARD TEMP".into()))
            }
            Ast::Lock(lock) => {
                self.lock_tables(context, lock).await?;
                Ok(Response::Done("LOCK TABLE".into()))
            }
            Ast::Declare { stmts } => {
                self.declare(context, stmts, &extra).await?;
                Ok(Response::Done("DECLARE CURSOR".into()))
            }
            Ast::Explain { statement, analyze, verbose, options, format, .. } => {
                let how = How::new(*analyze, *verbose, options.as_deref(), format.as_ref())?;
                Box::pin(self.explain(context, statement, how, &extra)).await
            }
            other => Err(Error::unsupported(statement_kind(other))),
        }
    }

    /// What was done in the open transaction, with errors that say where.
    async fn located<T>(&self, done: Result<T>) -> Result<T> {
        match (done, &self.state) {
            (Err(error), State::Open(open)) => Err(located(&self.context(open), error).await),
            (done, _) => done,
        }
    }

    /// Takes a piece of the data of `COPY ... FROM STDIN`.
    pub async fn copy_data(&mut self, data: &[u8]) -> Result<()> {
        match &mut self.copy {
            Some((copy, _)) => {
                let pushed = copy.push(data).await;
                self.located(pushed).await
            }
            None => Err(no_copy()),
        }
    }

    /// Takes rows of `COPY ... FROM STDIN` in binary.
    pub async fn copy_rows(&mut self, rows: Vec<Vec<Datum<'static>>>) -> Result<()> {
        match &mut self.copy {
            Some((copy, _)) => {
                let pushed = copy.push_rows(rows).await;
                self.located(pushed).await
            }
            None => Err(no_copy()),
        }
    }

    /// Ends `COPY ... FROM STDIN`; the tag says how many rows came.
    pub async fn copy_done(&mut self) -> Result<String> {
        let Some((copy, alone)) = self.copy.take() else {
            return Err(no_copy());
        };
        let finished = copy.finish().await;
        let rows = self.located(finished).await?;
        if alone {
            self.end_group().await?;
        }
        Ok(format!("COPY {rows}"))
    }
}

fn no_copy() -> Error {
    Error::new(code::PROTOCOL_VIOLATION, "no COPY is in progress")
}

/// An error with the name of the schema of the table it is about.
async fn located(context: &Context, mut error: Error) -> Error {
    if let Some(place) = &mut error.place
        && let Ok(Some(schema)) = context.catalog().find(place.schema_id).await
    {
        place.schema = Some(schema.name().to_string());
    }
    error
}

/// The lines of a batch for `COPY ... TO STDOUT`.
pub fn copy_lines(format: &CopyFormat, columns: &[OutputColumn], batch: &RecordBatch) -> Result<Vec<String>> {
    let mut lines = Vec::with_capacity(batch.num_rows());
    write_batch(format, columns, batch, &mut lines)?;
    Ok(lines)
}

/// The first line for `COPY ... TO STDOUT`, if the format has one.
pub fn copy_header(format: &CopyFormat, columns: &[OutputColumn]) -> Option<String> {
    header(format, columns)
}

fn changed_rows(tag: &str, changed: dml::Changed) -> Response {
    match changed.returning {
        Some((columns, batches)) => Response::Rows { columns, batches, tag: tag.into() },
        None => Response::Done(format!("{tag} {}", changed.rows)),
    }
}

fn statement_kind(ast: &Ast) -> String {
    ast.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Parameters as text, for the string positions of keepsafe's own statements.
fn text_values(parameters: &[Parameter]) -> Vec<Option<String>> {
    let text = |(column_type, datum): &Parameter| {
        let mut out = String::new();
        text::format(&mut out, datum, column_type, TimeZone::UTC);
        (!datum.is_null()).then_some(out)
    };
    parameters.iter().map(text).collect()
}

/// Whether a statement has the option that CockroachDB has deprecated.
fn uses_incremental_location(statement: &Statement) -> bool {
    let access = match statement {
        Statement::Backup(backup) => &backup.options.access,
        Statement::Restore(restore) => &restore.options.access,
        Statement::ShowBackup(show) => &show.options.access,
        _ => return false,
    };
    !access.incremental_location.is_empty()
}
