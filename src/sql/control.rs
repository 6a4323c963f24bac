//! Backups, restores and jobs, as statements.

use super::context::Context;
use super::error::{Error, Result, code};
use super::settings::SessionSettings;
use super::show::Shown;
use super::{ids, time_travel};
use crate::backup::plan::{Planned, Planner, RestorePayload};
use crate::backup::{BACKUP, RESTORE};
use crate::catalog::{ColumnType, Datum};
use crate::jobs::control::Command;
use crate::jobs::{self, JobId, JobRecord, NewJob, Status};
use crate::parser::{Backup, ControlJobs, ControlledJobs, JobCommand, Restore, ShowJobs, ShownJobs};

/// Descriptions in `SHOW JOBS` are cut to this many characters.
const SHORT_DESCRIPTION: usize = 100;
/// Jobs that ended longer ago are not in `SHOW JOBS`.
const SHOWN_FOR_MICROS: i64 = 12 * 3600 * 1_000_000;

/// A planner of backups for this session.
pub fn planner<'a>(context: &'a Context, parameters: &'a [Option<String>]) -> Planner<'a> {
    Planner {
        store: context.engine().store(),
        descriptors: context.engine().descriptors(),
        storage: context.engine().storage(),
        clock: context.engine().jobs().clock(),
        current_database: &context.session().database,
        parameters,
    }
}

/// Plans `BACKUP` and writes its job into the transaction.
pub async fn backup(context: &Context, statement: &Backup, parameters: &[Option<String>]) -> Result<JobId> {
    let as_of = statement.as_of.as_ref().map(|time| time_travel::evaluate(context, time)).transpose()?;
    let planned = planner(context, parameters).backup(statement, as_of).await?;
    let (jobs, user) = (context.engine().jobs(), &context.session().user);
    Ok(crate::backup::start(jobs, &**context.txn(), planned, user, None)?)
}

/// Plans `RESTORE` and writes its job into the transaction.
pub async fn restore(context: &Context, statement: &Restore, parameters: &[Option<String>]) -> Result<JobId> {
    let as_of = statement.as_of.as_ref().map(|time| time_travel::evaluate_for_restore(context, time)).transpose()?;
    let planner = planner(context, parameters);
    let planned: Planned<RestorePayload> = planner.restore(statement, as_of, &context.session().user).await?;
    let Planned { payload, secret, description } = planned;
    let payload = serde_json::to_value(&payload).map_err(Error::internal)?;
    let user = &context.session().user;
    let job = NewJob { job_type: RESTORE, description, user, payload, secret, schedule: None };
    Ok(context.engine().jobs().create(&**context.txn(), job)?)
}

/// What `BACKUP` and `RESTORE` answer when their job has ended.
pub fn finished(record: &JobRecord) -> Shown {
    let mut shown = Shown::new(&[
        ("job_id", ColumnType::Int8),
        ("status", ColumnType::Text),
        ("fraction_completed", ColumnType::Float8),
        ("rows", ColumnType::Int8),
        ("index_entries", ColumnType::Int8),
        ("bytes", ColumnType::Int8),
    ]);
    let count = |name: &str| record.result.as_ref().and_then(|result| result[name].as_i64()).unwrap_or_default();
    shown.rows.push(vec![
        record.id.0.into(),
        record.status.name().into(),
        Datum::Float(record.fraction_completed),
        count("rows").into(),
        count("index_entries").into(),
        count("bytes").into(),
    ]);
    shown
}

/// What they answer with `detached`.
pub fn detached(id: JobId) -> Shown {
    let mut shown = Shown::new(&[("job_id", ColumnType::Int8)]);
    shown.rows.push(vec![id.0.into()]);
    shown
}

/// The columns of `SHOW JOBS`.
pub fn jobs_columns() -> Shown {
    let (text, time) = (|| ColumnType::Text, || ColumnType::TimestampTz);
    Shown::new(&[
        ("job_id", ColumnType::Int8),
        ("job_type", text()),
        ("description", text()),
        ("statement", text()),
        ("user_name", text()),
        ("status", text()),
        ("running_status", text()),
        ("created", time()),
        ("started", time()),
        ("finished", time()),
        ("modified", time()),
        ("fraction_completed", ColumnType::Float8),
        ("error", text()),
        ("coordinator_id", ColumnType::Int8),
        ("trace_id", ColumnType::Int8),
        ("execution_errors", ColumnType::Array(Box::new(text()))),
    ])
}

fn job_row(record: &JobRecord, cut: bool) -> Vec<Datum<'static>> {
    let mut description = record.description.clone();
    if cut && let Some((end, _)) = description.char_indices().nth(SHORT_DESCRIPTION) {
        description.truncate(end);
    }
    let error = record.error.as_deref().map_or("", |error| error.split_once(' ').map_or(error, |(_, message)| message));
    vec![
        record.id.0.into(),
        record.job_type.clone().into(),
        description.into(),
        // Descriptions are statements.
        "".into(),
        record.user.clone().into(),
        record.status.name().into(),
        record.running_status.clone().into(),
        record.created.into(),
        record.created.into(),
        record.finished.into(),
        record.modified.into(),
        Datum::Float(record.fraction_completed),
        error.to_string().into(),
        // There is one node.
        if record.status == Status::Running { Datum::Int(1) } else { Datum::Null },
        // Nothing is traced.
        Datum::Int(0),
        Datum::Array(record.execution_errors.iter().map(|error| error.clone().into()).collect()),
    ]
}

/// `crdb_internal.jobs`: every job that is remembered.
pub async fn all_jobs(context: &Context) -> Result<Shown> {
    let mut shown = jobs_columns();
    let records = JobRecord::read_all(&**context.txn()).await?;
    shown.rows = records.iter().map(|record| job_row(record, false)).collect();
    Ok(shown)
}

/// `SHOW JOBS`
pub async fn show_jobs(
    context: &Context,
    show: &ShowJobs,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Shown> {
    let mut shown = jobs_columns();
    let mut txn = context.txn().clone();
    if let (true, ShownJobs::Ids(query)) = (show.when_complete, &show.jobs) {
        for id in ids::of_query(context, query, settings, parameters).await? {
            context.engine().jobs().wait_until_ended(JobId(id)).await?;
        }
        // What has ended meanwhile is not in the transaction's snapshot.
        txn = context.engine().store().begin().await?;
    }
    let mut records = JobRecord::read_all(&*txn).await?;
    let mut cut = true;
    match &show.jobs {
        ShownJobs::Recent => {
            let oldest = context.engine().store().now()?.micros() - SHOWN_FOR_MICROS;
            records.retain(|record| record.finished.is_none_or(|finished| finished >= oldest));
        }
        ShownJobs::Ids(query) => {
            let ids = ids::of_query(context, query, settings, parameters).await?;
            records.retain(|record| ids.contains(&record.id.0));
            if ids::is_values(query) {
                // Whoever names a job by its id wants to see that job, and the whole of it.
                cut = false;
                let is_missing = |id: &&i64| !records.iter().any(|record| record.id.0 == **id);
                if let Some(missing) = ids.iter().find(is_missing) {
                    return Err(jobs::Error::NotFound(JobId(*missing)).into());
                }
            }
        }
        // Nothing that keepsafe does by itself is a job.
        ShownJobs::Automatic => records.clear(),
        ShownJobs::OfSchedules(query) => {
            let schedules = ids::of_query(context, query, settings, parameters).await?;
            records.retain(|record| record.schedule.is_some_and(|schedule| schedules.contains(&schedule)));
            cut = false;
        }
    }
    // Running ones first, by when they began; then those that ended, by when they did.
    records.sort_by_key(|record| (record.finished.is_some(), record.finished.unwrap_or(record.created)));
    shown.rows = records.iter().map(|record| job_row(record, cut)).collect();
    Ok(shown)
}

/// `PAUSE`, `RESUME` and `CANCEL JOBS`: writes what is asked into the transaction, of all of them or of none. How many jobs were
/// named, and those about which something changed.
pub async fn control_jobs(
    context: &Context,
    statement: &ControlJobs,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<(usize, Vec<JobId>)> {
    let command = match statement.command {
        JobCommand::Pause => Command::Pause,
        JobCommand::Resume => Command::Resume,
        JobCommand::Cancel => Command::Cancel,
    };
    let of_type = async |job_type: &str| -> Result<Vec<JobId>> {
        let all = JobRecord::read_all(&**context.txn()).await?.into_iter();
        // Of all jobs, those are meant to which it can be done.
        let meant = all.filter(|record| record.job_type == job_type && command.changes(record.status));
        Ok(meant.map(|record| record.id).collect())
    };
    let ids = match &statement.jobs {
        ControlledJobs::Ids(query) => {
            ids::of_query(context, query, settings, parameters).await?.into_iter().map(JobId).collect()
        }
        ControlledJobs::AllBackups => of_type(BACKUP).await?,
        ControlledJobs::AllRestores => of_type(RESTORE).await?,
        ControlledJobs::OfSchedules(query) => {
            let schedules = ids::of_query(context, query, settings, parameters).await?;
            let jobs = JobRecord::of_schedules(&**context.txn(), &schedules).await?;
            jobs.into_iter().filter(|record| command.changes(record.status)).map(|record| record.id).collect()
        }
    };
    let reason = statement.reason.as_ref().map(|reason| {
        let missing = || Error::new(code::INVALID_PARAMETER, "the reason is missing or NULL");
        reason.resolve(parameters).ok_or_else(missing)
    });
    let reason = reason.transpose()?;
    let mut changed = Vec::new();
    for id in &ids {
        if jobs::control::apply(&**context.txn(), *id, command, reason).await? {
            changed.push(*id);
        }
    }
    Ok((ids.len(), changed))
}
