//! `ALTER BACKUP SCHEDULE`: either id means the pair. Changes are made in the order in which they make sense together: what the
//! backups are, then when full ones are taken, then when the others are, then a run now.

use super::create::{check_cadence, is_on, literal, read_crontab};
use super::pair::Pair;
use super::record::{Options, Runs};
use super::{BackupType, Error, ExecutionFailure, PreviousRunning, Result, Schedule, ScheduleId, Surroundings};
use crate::parser::{FullBackup, ScheduleChange, ScheduleOptions, Subdirectory, Text};
use crate::time::Timestamp;

/// Changes a schedule by a statement whose placeholders are filled in.
pub async fn alter(around: &Surroundings<'_>, id: ScheduleId, changes: &[ScheduleChange]) -> Result<Pair> {
    let mut pair = Pair::lock(around.txn, id).await?;
    let now = around.planner.store.now()?;
    let before: Vec<Schedule> = pair.schedules().cloned().collect();
    change_backup(around, &mut pair, changes).await?;
    for change in changes {
        match change {
            ScheduleChange::Label(label) => {
                pair.schedules_mut().for_each(|schedule| schedule.label = literal(label).into());
            }
            ScheduleChange::ScheduleOption(options) => set_options(&mut pair, options)?,
            _ => {}
        }
    }
    for change in changes {
        if let ScheduleChange::FullBackup(full) = change {
            // The new incremental backups are taken when the statement says, if it does.
            if let (None, Some(recurring)) = (&pair.incremental, recurring(changes)) {
                pair.full.recurrence = Some(read_crontab(recurring)?);
            }
            set_full(around, &mut pair, full).await?;
        }
    }
    for change in changes {
        if let ScheduleChange::Recurring(recurring) = change {
            let recurrence = recurring.as_ref().map(read_crontab).transpose()?;
            match &mut pair.incremental {
                Some(_) if recurrence.is_none() => {
                    let message = "incremental backups are taken again and again, or not at all";
                    let hint = "SET FULL BACKUP ALWAYS leaves only full ones.";
                    return Err(Error::refused_with_hint("22023", message, hint));
                }
                Some(incremental) => incremental.recurrence = recurrence,
                None => pair.full.recurrence = recurrence,
            }
        }
    }
    let incremental = pair.incremental.as_ref().and_then(|incremental| incremental.recurrence.as_ref());
    check_cadence(pair.full.recurrence.as_ref(), incremental, now)?;
    for schedule in pair.schedules_mut() {
        let former = before.iter().find(|former| former.id == schedule.id);
        let moved = former.is_none_or(|former| former.recurrence != schedule.recurrence);
        // What is due already is not put off.
        if moved && schedule.next_run.is_some_and(|next| next > now) {
            schedule.next_run = schedule.next_after(now);
        }
    }
    for change in changes {
        if let ScheduleChange::Execute { full } = change {
            execute(&mut pair, *full, now)?;
        }
    }
    pair.write(around.txn)?;
    Ok(pair)
}

/// The crontab of `SET RECURRING`, if there is one.
fn recurring(changes: &[ScheduleChange]) -> Option<&Text> {
    changes.iter().find_map(|change| match change {
        ScheduleChange::Recurring(recurring) => recurring.as_ref(),
        _ => None,
    })
}

/// `SET INTO` and `SET WITH`: another backup, which must be one that could be taken now.
async fn change_backup(around: &Surroundings<'_>, pair: &mut Pair, changes: &[ScheduleChange]) -> Result<()> {
    let mut backup = pair.full.backup(around.txn, around.secrets).await?;
    let access = backup.options.access.clone();
    let (mut is_other, mut is_elsewhere) = (false, false);
    for change in changes {
        match change {
            ScheduleChange::Into(uris) => {
                is_elsewhere = backup.collection != *uris;
                backup.collection.clone_from(uris);
            }
            ScheduleChange::With(options) => {
                is_other = true;
                backup.options.merge(options.clone());
            }
            _ => {}
        }
    }
    if !is_other && !is_elsewhere {
        return Ok(());
    }
    let rehearsed = around.planner.rehearse(&backup).await?;
    pair.set_backup(around.txn, around.secrets, &rehearsed.statement)?;
    if is_elsewhere {
        // What has been begun is of the former place.
        for schedule in pair.schedules_mut() {
            schedule.runs.place += 1;
            schedule.runs.last_full = None;
        }
    }
    // No layer in another place, or under another passphrase, goes on top of what there is.
    let is_accessed_otherwise = backup.options.access != access;
    if let Some(incremental) = &mut pair.incremental
        && incremental.next_run.is_some()
        && (is_elsewhere || is_accessed_otherwise)
    {
        incremental.wait_for_full();
    }
    Ok(())
}

fn set_options(pair: &mut Pair, options: &ScheduleOptions) -> Result<()> {
    let refused = [
        (options.first_run.is_some(), "first_run"),
        (options.ignore_existing_backups.is_some(), "ignore_existing_backups"),
    ];
    if let Some((_, name)) = refused.into_iter().find(|(given, _)| *given) {
        let message = format!("option {name} is for the creation of a schedule and cannot be changed");
        return Err(Error::refused("22023", message));
    }
    if let Some(given) = &options.on_execution_failure {
        let on_failure = ExecutionFailure::read(literal(given))?;
        pair.schedules_mut().for_each(|schedule| schedule.on_execution_failure = on_failure);
    }
    // Incremental ones always wait.
    if let Some(given) = &options.on_previous_running {
        pair.full.on_previous_running = PreviousRunning::read(literal(given))?;
    }
    if let Some(given) = &options.updates_cluster_last_backup_time_metric {
        let updates = is_on(Some(given));
        pair.schedules_mut().for_each(|schedule| schedule.options.updates_metric = updates);
    }
    Ok(())
}

/// `SET FULL BACKUP`: with a crontab there are two schedules, with `ALWAYS` there is one.
async fn set_full(around: &Surroundings<'_>, pair: &mut Pair, full: &FullBackup) -> Result<()> {
    match full {
        FullBackup::Always => {
            // Full backups are now taken when the others were.
            let Some(incremental) = pair.incremental.take() else { return Ok(()) };
            Schedule::delete(around.txn, incremental.id)?;
            pair.full.options.dependent = None;
            pair.full.recurrence = incremental.recurrence;
        }
        FullBackup::Crontab(crontab) => {
            let crontab = Some(read_crontab(crontab)?);
            if pair.incremental.is_none() {
                add_incremental(around, pair).await?;
            }
            pair.full.recurrence = crontab;
        }
    }
    Ok(())
}

/// An incremental schedule that runs when the full one did.
async fn add_incremental(around: &Surroundings<'_>, pair: &mut Pair) -> Result<()> {
    let now = around.planner.store.now()?;
    let full = &mut pair.full;
    if full.recurrence.is_none() {
        let message = "FULL BACKUP needs a RECURRING that says when incremental backups are taken";
        return Err(Error::refused("22023", message));
    }
    let mut incremental = Schedule {
        id: ScheduleId(now.0),
        created: now.micros(),
        next_run: None,
        on_previous_running: PreviousRunning::Wait,
        state: None,
        statement: String::new(),
        has_secret: false,
        options: Options {
            backup_type: BackupType::Incremental,
            dependent: Some(full.id),
            waits_for_full: false,
            is_paused: full.options.is_paused,
            updates_metric: full.options.updates_metric,
        },
        runs: Runs { place: full.runs.place, ..Runs::default() },
        ..full.clone()
    };
    full.options.dependent = Some(incremental.id);
    if !full.options.is_paused {
        match full.runs.last_full {
            Some(_) => incremental.next_run = incremental.next_after(now),
            None => incremental.wait_for_full(),
        }
    }
    let mut backup = full.backup(around.txn, around.secrets).await?;
    backup.subdirectory = Some(Subdirectory::Latest);
    incremental.set_backup(around.txn, around.secrets, &backup)?;
    pair.incremental = Some(incremental);
    Ok(())
}

/// `EXECUTE [FULL] IMMEDIATELY`
fn execute(pair: &mut Pair, full: bool, now: Timestamp) -> Result<()> {
    let schedule = match &mut pair.incremental {
        Some(incremental) if !full => incremental,
        _ => &mut pair.full,
    };
    if schedule.next_run.is_none() {
        let message = format!("schedule {} is paused and cannot be executed", schedule.id);
        let hint = match schedule.options.waits_for_full {
            true => "It waits for a full backup: EXECUTE FULL IMMEDIATELY takes one.".into(),
            false => format!("RESUME SCHEDULE {} comes first.", schedule.id),
        };
        return Err(Error::refused_with_hint("55000", message, hint));
    }
    schedule.next_run = Some(now.ceil_micros());
    Ok(())
}
