//! `CREATE SCHEDULE`, and the statement that would make a schedule again.

use std::time::Duration;

use super::pair::Pair;
use super::record::{Options, Runs};
use super::{
    BackupType, Crontab, Error, ExecutionFailure, PreviousRunning, Result, Schedule, ScheduleId, Surroundings,
};
use crate::backup::plan::Rehearsed;
use crate::parser::{self, Backup, CreateSchedule, Flag, FullBackup, ScheduleOptions, Statement, Text};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What `CREATE SCHEDULE` did.
pub enum Created {
    /// There is a schedule, or two.
    Schedules(Box<Pair>),
    /// Nothing, as there is one of that label; what to tell the user.
    Skipped(String),
}

/// When the schedules of a statement run.
#[derive(Debug, PartialEq)]
struct Cadence {
    full: Option<Crontab>,
    incremental: Option<Crontab>,
    /// The user left it to us when full backups are taken; then the first is taken at once, as the others wait for it.
    chosen: bool,
}

/// A crontab out of a statement.
pub fn read_crontab(text: &Text) -> Result<Crontab> {
    let text = literal(text);
    Crontab::parse(text)
        .map_err(|why| Error::refused("22023", format!("invalid schedule expression \"{text}\": {why}")))
}

/// The text of a statement whose placeholders are filled in.
pub fn literal(text: &Text) -> &str {
    text.resolve(&[]).unwrap_or_default()
}

/// An option that is on or off.
pub fn is_on(flag: Option<&Flag>) -> bool {
    flag.and_then(|flag| flag.resolve(&[])).unwrap_or(false)
}

/// Refuses layers that are taken less often than what they are on.
pub fn check_cadence(full: Option<&Crontab>, incremental: Option<&Crontab>, now: Timestamp) -> Result<()> {
    match (full, incremental) {
        (Some(full), Some(incremental)) if incremental.period(now) > full.period(now) => {
            let message =
                format!("incremental backups ({incremental}) would be taken less often than full ones ({full})");
            Err(Error::refused_with_hint("22023", message, "RECURRING says when incremental backups are taken."))
        }
        _ => Ok(()),
    }
}

impl Cadence {
    fn of(statement: &CreateSchedule, now: Timestamp) -> Result<Cadence> {
        let recurring = statement.recurring.as_ref().map(read_crontab).transpose()?;
        let only_full = |full: Option<Crontab>| Cadence { full, incremental: None, chosen: false };
        let Some(recurring) = recurring else {
            return match &statement.full_backup {
                Some(FullBackup::Crontab(_)) => {
                    let message = "FULL BACKUP needs a RECURRING that says when incremental backups are taken";
                    Err(Error::refused("22023", message))
                }
                _ => Ok(only_full(None)),
            };
        };
        let (full, chosen) = match &statement.full_backup {
            Some(FullBackup::Always) => return Ok(only_full(Some(recurring))),
            Some(FullBackup::Crontab(crontab)) => (read_crontab(crontab)?, false),
            None => match recurring.period(now) {
                period if period <= HOUR => (default_crontab("@daily")?, true),
                period if period <= DAY => (default_crontab("@weekly")?, true),
                _ => return Ok(only_full(Some(recurring))),
            },
        };
        check_cadence(Some(&full), Some(&recurring), now)?;
        Ok(Cadence { full: Some(full), incremental: Some(recurring), chosen })
    }
}

fn default_crontab(alias: &str) -> Result<Crontab> {
    read_crontab(&Text::Literal(alias.into()))
}

/// Makes the schedules of a statement whose placeholders are filled in, after trying whether its backup can be taken.
/// `first_run` is the time its option says.
pub async fn create(
    around: &Surroundings<'_>,
    statement: &CreateSchedule,
    first_run: Option<Timestamp>,
) -> Result<Created> {
    let now = around.planner.store.now()?;
    let options = &statement.schedule_options;
    let on_execution_failure = match &options.on_execution_failure {
        Some(given) => ExecutionFailure::read(literal(given))?,
        None => ExecutionFailure::Reschedule,
    };
    let on_previous_running = match &options.on_previous_running {
        Some(given) => PreviousRunning::read(literal(given))?,
        None => PreviousRunning::Wait,
    };
    let label = statement.label.as_ref().map(literal);
    if statement.if_not_exists {
        let Some(label) = label else {
            return Err(Error::refused("42601", "IF NOT EXISTS needs the label of a schedule"));
        };
        if Schedule::read_all(around.txn).await?.iter().any(|schedule| schedule.label == label) {
            return Ok(Created::Skipped(format!("schedule \"{label}\" already exists, skipping")));
        }
    }
    let cadence = Cadence::of(statement, now)?;
    let mut backup = Backup {
        targets: statement.targets.clone(),
        subdirectory: None,
        collection: statement.collection.clone(),
        as_of: None,
        options: statement.options.clone(),
    };
    backup.options.detached = true;
    let Rehearsed { statement: backup, collection, protected } = around.planner.rehearse(&backup).await?;
    if !is_on(options.ignore_existing_backups.as_ref()) && !collection.full_backups().await?.is_empty() {
        let message = format!("backups already created in {}", collection.shown_location());
        let hint = "If the new schedule is to back up into the same collection, add WITH SCHEDULE OPTIONS ignore_existing_backups.";
        return Err(Error::refused_with_hint("55000", message, hint));
    }
    let label = label.map_or_else(|| format!("BACKUP {}", now.micros() / 1_000_000), str::to_string);
    let fresh = |backup_type, recurrence| -> Result<Schedule> {
        Ok(Schedule {
            id: ScheduleId(around.planner.store.now()?.0),
            label: label.clone(),
            owner: around.user.into(),
            created: now.micros(),
            next_run: None,
            recurrence,
            on_previous_running,
            on_execution_failure,
            state: None,
            statement: String::new(),
            has_secret: false,
            options: Options {
                backup_type,
                dependent: None,
                waits_for_full: false,
                is_paused: false,
                updates_metric: is_on(options.updates_cluster_last_backup_time_metric.as_ref()),
            },
            runs: Runs::default(),
        })
    };
    let incremental = match cadence.incremental {
        Some(crontab) => Some(fresh(BackupType::Incremental, Some(crontab))?),
        None => None,
    };
    let mut pair = Pair { full: fresh(BackupType::Full, cadence.full)?, incremental };
    // A first run that lies in the past is due now, and backs up now.
    let first_run = first_run.map(|first| first.max(now)).or(cadence.chosen.then_some(now));
    pair.full.next_run = first_run.or_else(|| pair.full.next_after(now)).map(Timestamp::ceil_micros);
    if let Some(incremental) = &mut pair.incremental {
        incremental.on_previous_running = PreviousRunning::Wait;
        incremental.options.dependent = Some(pair.full.id);
        pair.full.options.dependent = Some(incremental.id);
        incremental.wait_for_full();
    }
    pair.set_backup(around.txn, around.secrets, &backup)?;
    pair.write(around.txn)?;
    // From the first run on: should the server be down then, it can still be made up for.
    if let Some(first) = pair.full.next_run {
        pair.protect(around.txn, first, protected)?;
    }
    Ok(Created::Schedules(Box::new(pair)))
}

/// The statement that makes an equal schedule, if this one has no secret.
pub fn show_create(pair: &Pair) -> Result<String> {
    let backup = match parser::parse(&pair.full.statement).map(|mut parsed| parsed.pop()) {
        Ok(Some(parser::Parsed { statement: Statement::Backup(backup), .. })) => *backup,
        _ => return Err(Error::refused("XX001", "a schedule's statement cannot be read")),
    };
    let text = |text: String| Text::Literal(text);
    let crontab = |schedule: &Schedule| schedule.recurrence.as_ref().map(|crontab| text(crontab.to_string()));
    let full = &pair.full;
    let first_run = full.next_run.map(|time| time.to_utc().format("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string());
    let create = CreateSchedule {
        if_not_exists: false,
        label: Some(text(full.label.clone())),
        targets: backup.targets,
        collection: backup.collection,
        options: backup.options,
        recurring: crontab(pair.incremental.as_ref().unwrap_or(full)),
        full_backup: match (&pair.incremental, crontab(full)) {
            (Some(_), Some(crontab)) => Some(FullBackup::Crontab(crontab)),
            _ => Some(FullBackup::Always),
        },
        schedule_options: ScheduleOptions {
            first_run: first_run.map(text),
            on_execution_failure: Some(text(full.on_execution_failure.written().into())),
            on_previous_running: Some(text(full.on_previous_running.written().into())),
            // By then the collection has this one's backups.
            ignore_existing_backups: Some(Flag::Value(true)),
            updates_cluster_last_backup_time_metric: full.options.updates_metric.then_some(Flag::Value(true)),
        },
    };
    Ok(create.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cadence(rest: &str) -> Result<Cadence> {
        let sql = format!("CREATE SCHEDULE a FOR BACKUP INTO 'x' RECURRING {rest}");
        let Statement::CreateSchedule(create) = parser::parse(&sql).unwrap().remove(0).statement else {
            panic!("{sql}")
        };
        Cadence::of(&create, Timestamp(1_795_664_100_000_000_000))
    }

    #[test]
    fn when_full_backups_are_taken() {
        for (rest, full, incremental, chosen) in [
            ("'@hourly'", "@daily", "@hourly", true),
            ("'*/5 * * * *'", "@daily", "*/5 * * * *", true),
            ("'0 */2 * * *'", "@weekly", "0 */2 * * *", true),
            ("'@daily'", "@weekly", "@daily", true),
            ("'@weekly'", "@weekly", "", false),
            ("'@hourly' FULL BACKUP ALWAYS", "@hourly", "", false),
            ("'@hourly' FULL BACKUP '@weekly'", "@weekly", "@hourly", false),
            ("'@daily' FULL BACKUP '@daily'", "@daily", "@daily", false),
            ("NEVER", "", "", false),
            ("NEVER FULL BACKUP ALWAYS", "", "", false),
        ] {
            let found = cadence(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
            let text = |crontab: &Option<Crontab>| crontab.as_ref().map(Crontab::to_string).unwrap_or_default();
            let found = (text(&found.full), text(&found.incremental), found.chosen);
            assert_eq!(found, (full.to_string(), incremental.to_string(), chosen), "{rest}");
        }
        for (rest, why) in [
            ("'@weekly' FULL BACKUP '@daily'", "less often"),
            ("'@sometimes'", "invalid schedule expression"),
            ("'@daily' FULL BACKUP '0 0 30 2 *'", "no such day"),
            ("NEVER FULL BACKUP '@daily'", "needs a RECURRING"),
        ] {
            let error = cadence(rest).expect_err(rest);
            assert!(error.to_string().contains(why), "{rest}: {error}");
        }
    }
}
