//! Backups, restores and jobs, as statements.

use futures::TryStreamExt;
use sqlparser::ast::{SetExpr, Statement as Ast};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Error, Result, code};
use super::query::{self, Visibility};
use super::settings::SessionSettings;
use super::show::{self, Shown};
use super::time_travel;
use crate::backup::plan::{Planned, Planner, RestorePayload};
use crate::backup::{BACKUP, RESTORE, TargetSpec};
use crate::catalog::protection::{ProtectedTarget, Protection, ProtectionOwner};
use crate::catalog::{ColumnType, Datum};
use crate::jobs::control::Command;
use crate::jobs::{self, JobId, JobRecord, NewJob, Status};
use crate::parser::{Backup, ControlJobs, ControlledJobs, JobCommand, Ordinary, Restore, ShowJobs, ShownJobs};

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
        current_database: &context.session().database,
        parameters,
    }
}

/// Plans `BACKUP` and writes its job into the transaction.
pub async fn backup(context: &Context, statement: &Backup, parameters: &[Option<String>]) -> Result<JobId> {
    let as_of = statement.as_of.as_ref().map(|time| time_travel::evaluate(context, time)).transpose()?;
    let Planned { payload, secret, description } = planner(context, parameters).backup(statement, as_of).await?;
    let id = create(context, BACKUP, description, &payload, secret)?;
    // History at the backup's time stays until the job has ended.
    let target = match payload.targets {
        // The history of a table may be that of one that was dropped, and is named no more.
        _ if payload.history_start.is_some() => ProtectedTarget::Cluster,
        TargetSpec::Cluster => ProtectedTarget::Cluster,
        TargetSpec::Databases(_) => ProtectedTarget::Databases(payload.roots),
        TargetSpec::Tables(_) => ProtectedTarget::Tables(payload.roots),
    };
    let timestamp = payload.history_start.or(payload.start_time).unwrap_or(payload.end_time);
    let protection = Protection { id: id.0, timestamp, target, owner: ProtectionOwner::Job(id.0) };
    protection.write(&**context.txn())?;
    Ok(id)
}

/// Plans `RESTORE` and writes its job into the transaction.
pub async fn restore(context: &Context, statement: &Restore, parameters: &[Option<String>]) -> Result<JobId> {
    let as_of = statement.as_of.as_ref().map(|time| time_travel::evaluate_for_restore(context, time)).transpose()?;
    let planner = planner(context, parameters);
    let planned: Planned<RestorePayload> = planner.restore(statement, as_of, &context.session().user).await?;
    create(context, RESTORE, planned.description, &planned.payload, planned.secret)
}

fn create(
    context: &Context,
    job_type: &'static str,
    description: String,
    payload: &impl serde::Serialize,
    secret: Option<Zeroizing<Vec<u8>>>,
) -> Result<JobId> {
    let payload = serde_json::to_value(payload).map_err(Error::internal)?;
    let job = NewJob { job_type, description, user: &context.session().user, payload, secret };
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
    ]
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
        for id in job_ids(context, query, settings, parameters).await? {
            context.engine().jobs().wait_until_ended(id).await?;
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
            let ids = job_ids(context, query, settings, parameters).await?;
            records.retain(|record| ids.contains(&record.id));
            if is_values(query) {
                // Whoever names a job by its id wants to see that job, and the whole of it.
                cut = false;
                let is_missing = |id: &&JobId| !records.iter().any(|record| record.id == **id);
                if let Some(missing) = ids.iter().find(is_missing) {
                    return Err(Error::new(code::UNDEFINED_OBJECT, jobs::Error::NotFound(*missing).to_string()));
                }
            }
        }
        // Nothing that keepsafe does by itself is a job.
        ShownJobs::Automatic => records.clear(),
        ShownJobs::OfSchedules(_) => return Err(Error::unsupported("SHOW JOBS FOR SCHEDULES")),
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
    let mut ids = match &statement.jobs {
        ControlledJobs::Ids(query) => job_ids(context, query, settings, parameters).await?,
        ControlledJobs::AllBackups => of_type(BACKUP).await?,
        ControlledJobs::AllRestores => of_type(RESTORE).await?,
        ControlledJobs::OfSchedules(_) => {
            return Err(Error::unsupported(format!("{} JOBS FOR SCHEDULES", statement.command.name())));
        }
    };
    ids.sort();
    ids.dedup();
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

/// Whether a query is a list of values.
fn is_values(query: &Ordinary) -> bool {
    matches!(&query.ast, Ast::Query(query) if query.with.is_none() && matches!(*query.body, SetExpr::Values(_)))
}

async fn job_ids(
    context: &Context,
    query: &Ordinary,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Vec<JobId>> {
    let Ast::Query(ast) = &query.ast else {
        return Err(Error::new(code::SYNTAX_ERROR, "the ids of jobs come from a query"));
    };
    if query.as_of.is_some() {
        return Err(Error::unsupported("AS OF SYSTEM TIME in a query for job ids"));
    }
    let extra = show::relations(context, &query.shows, settings, parameters).await?;
    let parameters = parameters.iter().map(|text| match text {
        Some(text) => match text.parse() {
            Ok(number) => (ColumnType::Int8, Datum::Int(number)),
            Err(_) => (ColumnType::Text, Datum::from(text.clone())),
        },
        None => (ColumnType::Int8, Datum::Null),
    });
    let mut bound = (**ast).clone();
    query::bind(&mut bound, &parameters.collect::<Vec<_>>())?;
    let planned = query::plan(context, &bound, &extra, Visibility::AsNamed).await?;
    let (columns, mut batches) = planned.run().await?;
    let [column] = &columns[..] else {
        return Err(Error::new(code::SYNTAX_ERROR, "the query must have one column, of job ids"));
    };
    let mut ids = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        for datum in super::arrays::assign(batch.column(0), &column.column_type, &ColumnType::Int8)? {
            ids.extend(datum.as_int().map(JobId));
        }
    }
    Ok(ids)
}
