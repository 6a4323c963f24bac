//! Schedules, as statements.

use super::context::Context;
use super::control::planner;
use super::error::{Error, Result, code};
use super::ids;
use super::settings::SessionSettings;
use super::show::Shown;
use super::text;
use crate::catalog::{ColumnType, Datum};
use crate::jobs::JobRecord;
use crate::kv::Txn;
use crate::parser::{
    Bind, ControlSchedules, CreateSchedule, Integer, ScheduleCommand, ScheduleState, ShowSchedules, Text,
};
use crate::schedule::{self, BackupType, Created, Pair, Schedule, ScheduleId, Surroundings};
use crate::time::Timestamp;

fn surroundings<'a>(context: &'a Context) -> Surroundings<'a> {
    Surroundings {
        txn: &**context.txn(),
        planner: planner(context, &[]),
        secrets: context.engine().jobs().secrets(),
        user: &context.session().user,
    }
}

/// A statement with values in the place of its placeholders.
fn bound<T: Bind + Clone>(statement: &T, parameters: &[Option<String>]) -> Result<T> {
    let mut bound = statement.clone();
    let missing = || Error::new(code::INVALID_PARAMETER, "a parameter of the statement is missing, NULL or malformed");
    bound.bind(parameters).ok_or_else(missing)?;
    Ok(bound)
}

fn schedule_id(id: &Integer, parameters: &[Option<String>]) -> Result<ScheduleId> {
    let missing = || Error::new(code::INVALID_PARAMETER, "the id of a schedule is missing, NULL or no whole number");
    id.resolve(parameters).map(ScheduleId).ok_or_else(missing)
}

/// `CREATE SCHEDULE`; the second value is a notice.
pub async fn create(
    context: &Context,
    statement: &CreateSchedule,
    parameters: &[Option<String>],
) -> Result<(Shown, Option<String>)> {
    let statement = bound(statement, parameters)?;
    let first_run = statement.schedule_options.first_run.as_ref().map(|first| first_run(context, first)).transpose()?;
    match Box::pin(schedule::create(&surroundings(context), &statement, first_run)).await? {
        Created::Schedules(pair) => Ok((pair_rows(&pair), None)),
        Created::Skipped(notice) => Ok((pair_columns(), Some(notice))),
    }
}

/// The time of option `first_run`.
fn first_run(context: &Context, given: &Text) -> Result<Timestamp> {
    let given = given.resolve(&[]).unwrap_or_default();
    if given.trim().eq_ignore_ascii_case("now") {
        return Ok(context.engine().store().now()?);
    }
    match text::parse(given, &ColumnType::TimestampTz, context.zone()) {
        Ok(Datum::Int(micros)) => Ok(Timestamp::from_micros(micros)),
        _ => {
            let message = format!("invalid value for option first_run: \"{given}\"");
            Err(Error::new(code::INVALID_PARAMETER, message).hint("It is 'now', or a date and time."))
        }
    }
}

/// `ALTER BACKUP SCHEDULE`
pub async fn alter(
    context: &Context,
    statement: &crate::parser::AlterSchedule,
    parameters: &[Option<String>],
) -> Result<Shown> {
    let id = schedule_id(&statement.id, parameters)?;
    let changes = bound(&statement.changes, parameters)?;
    Ok(pair_rows(&Box::pin(schedule::alter(&surroundings(context), id, &changes)).await?))
}

/// `PAUSE`, `RESUME` and `DROP SCHEDULES`: how many.
pub async fn control(
    context: &Context,
    statement: &ControlSchedules,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<usize> {
    let ids = ids::of_query(context, &statement.ids, settings, parameters).await?;
    let ids: Vec<ScheduleId> = ids.into_iter().map(ScheduleId).collect();
    let around = surroundings(context);
    match statement.command {
        ScheduleCommand::Pause => schedule::pause(&around, &ids).await?,
        ScheduleCommand::Resume => schedule::resume(&around, &ids).await?,
        ScheduleCommand::Drop => return Ok(schedule::drop(&**context.txn(), &ids).await?),
    }
    Ok(ids.len())
}

/// The columns of what `CREATE SCHEDULE` and `ALTER BACKUP SCHEDULE` answer.
pub fn pair_columns() -> Shown {
    let text = || ColumnType::Text;
    Shown::new(&[
        ("schedule_id", ColumnType::Int8),
        ("label", text()),
        ("status", text()),
        ("first_run", ColumnType::TimestampTz),
        ("schedule", text()),
        ("backup_stmt", text()),
    ])
}

fn pair_rows(pair: &Pair) -> Shown {
    let mut shown = pair_columns();
    for schedule in pair.schedules() {
        let status = match &schedule.state {
            Some(state) if schedule.next_run.is_none() => format!("PAUSED: {state}"),
            _ => schedule.status().to_string(),
        };
        shown.rows.push(vec![
            schedule.id.0.into(),
            schedule.label.clone().into(),
            status.into(),
            schedule.next_run.map(Timestamp::micros).into(),
            recurrence(schedule).into(),
            schedule.statement.clone().into(),
        ]);
    }
    shown
}

fn recurrence(schedule: &Schedule) -> String {
    schedule.recurrence.as_ref().map_or_else(|| "NEVER".into(), ToString::to_string)
}

/// The columns of `SHOW SCHEDULES`.
pub fn columns(for_backup: bool) -> Shown {
    let (text, time) = (|| ColumnType::Text, || ColumnType::TimestampTz);
    let mut columns = vec![
        ("id", ColumnType::Int8),
        ("label", text()),
        ("schedule_status", text()),
        ("next_run", time()),
        ("state", text()),
        ("recurrence", text()),
        ("jobsrunning", ColumnType::Int8),
        ("owner", text()),
        ("created", time()),
        ("on_previous_running", text()),
        ("on_execution_failure", text()),
        ("command", ColumnType::Json),
    ];
    if for_backup {
        columns.push(("backup_type", text()));
    }
    Shown::new(&columns)
}

/// `SHOW SCHEDULES`
pub async fn show(context: &Context, show: ShowSchedules) -> Result<Shown> {
    let txn = &**context.txn();
    let (mut schedules, mut unreadable) = (Vec::new(), Vec::new());
    for one in Schedule::read_each(txn).await? {
        match one {
            Ok(schedule) => schedules.push(schedule),
            Err(damaged) => unreadable.push(damaged),
        }
    }
    schedules.retain(|schedule| match show.only {
        None => true,
        Some(ScheduleState::Running) => schedule.next_run.is_some(),
        Some(ScheduleState::Paused) => schedule.next_run.is_none(),
    });
    let mut shown = rows(txn, &schedules, show.for_backup).await?;
    // It does not run, so it is no running one; more is not known.
    unreadable.retain(|_| show.only != Some(ScheduleState::Running));
    for (id, error) in unreadable {
        let mut row = vec![Datum::Null; shown.columns.len()];
        row[0] = id.0.into();
        row[2] = "UNREADABLE".into();
        row[4] = error.to_string().into();
        shown.rows.push(row);
    }
    Ok(shown)
}

/// `SHOW SCHEDULE id`
pub async fn show_one(context: &Context, id: &Integer, parameters: &[Option<String>]) -> Result<Shown> {
    let txn = &**context.txn();
    rows(txn, &[Schedule::read(txn, schedule_id(id, parameters)?).await?], false).await
}

async fn rows(txn: &dyn Txn, schedules: &[Schedule], for_backup: bool) -> Result<Shown> {
    let mut shown = columns(for_backup);
    let all = Schedule::read_all(txn).await?;
    let ids: Vec<i64> = schedules.iter().map(|schedule| schedule.id.0).collect();
    let mut jobs = JobRecord::of_schedules(txn, &ids).await?;
    jobs.retain(|job| !job.status.is_final());
    for schedule in schedules {
        let running = jobs.iter().filter(|job| job.schedule == Some(schedule.id.0)).count();
        let mut row = vec![
            schedule.id.0.into(),
            schedule.label.clone().into(),
            schedule.status().into(),
            schedule.next_run.map(Timestamp::micros).into(),
            schedule.state.clone().into(),
            recurrence(schedule).into(),
            (running as i64).into(),
            schedule.owner.clone().into(),
            schedule.created.into(),
            schedule.on_previous_running.shown().into(),
            schedule.on_execution_failure.shown().into(),
            command(schedule, &all).to_string().into(),
        ];
        if for_backup {
            row.push(match schedule.options.backup_type {
                BackupType::Full => "FULL".into(),
                BackupType::Incremental => "INCREMENTAL".into(),
            });
        }
        shown.rows.push(row);
    }
    Ok(shown)
}

/// What a schedule runs, with the names CockroachDB has for it.
fn command(schedule: &Schedule, all: &[Schedule]) -> serde_json::Value {
    let mut command = serde_json::json!({ "backup_statement": schedule.statement });
    if schedule.options.backup_type == BackupType::Incremental {
        command["backup_type"] = 1.into();
    }
    if let Some(dependent) = schedule.options.dependent {
        command["dependent_schedule_id"] = dependent.0.into();
        let waits = |other: &&Schedule| other.id == dependent && other.options.waits_for_full;
        if all.iter().any(|other| waits(&other)) {
            command["unpause_on_success"] = dependent.0.into();
        }
    }
    command
}

/// The columns of `SHOW CREATE SCHEDULE`.
pub fn create_columns() -> Shown {
    Shown::new(&[("schedule_id", ColumnType::Int8), ("create_statement", ColumnType::Text)])
}

/// `SHOW CREATE SCHEDULE id`, or `SHOW CREATE ALL SCHEDULES`
pub async fn show_create(context: &Context, id: Option<&Integer>, parameters: &[Option<String>]) -> Result<Shown> {
    let txn = &**context.txn();
    let schedules = match id {
        Some(id) => vec![Schedule::read(txn, schedule_id(id, parameters)?).await?],
        None => Schedule::read_all(txn).await?,
    };
    let mut shown = create_columns();
    for schedule in schedules {
        let pair = Pair::read(txn, schedule.id).await?;
        shown.rows.push(vec![schedule.id.0.into(), schedule::show_create(&pair)?.into()]);
    }
    Ok(shown)
}
