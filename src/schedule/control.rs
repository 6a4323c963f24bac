//! `PAUSE`, `RESUME` and `DROP SCHEDULES`.

use std::collections::BTreeSet;

use super::pair::Pair;
use super::{BackupType, Error, Result, ScheduleId, Surroundings};
use crate::catalog::protection::Protection;

/// Pauses schedules. Jobs they have begun go on.
pub async fn pause(around: &Surroundings<'_>, ids: &[ScheduleId]) -> Result<()> {
    for id in ids {
        let mut pair = Pair::lock(around.txn, *id).await?;
        if let Some(schedule) = pair.get_mut(*id) {
            schedule.next_run = None;
            schedule.options.is_paused = true;
            schedule.options.waits_for_full = false;
            schedule.state = None;
        }
        pair.write(around.txn)?;
    }
    Ok(())
}

/// Lets paused schedules run again, at the next time of each; an incremental one not before there is a full backup.
pub async fn resume(around: &Surroundings<'_>, ids: &[ScheduleId]) -> Result<()> {
    let now = around.planner.store.now()?;
    for id in ids {
        let mut pair = Pair::lock(around.txn, *id).await?;
        let has_full = pair.full.runs.last_full.is_some();
        let Some(schedule) = pair.get_mut(*id) else { continue };
        if schedule.next_run.is_some() || schedule.options.waits_for_full {
            continue;
        }
        // What it cannot run without is looked for now, not when it is due.
        schedule.backup(around.txn, around.secrets).await?;
        schedule.options.is_paused = false;
        schedule.state = None;
        if schedule.options.backup_type == BackupType::Incremental && !has_full {
            schedule.wait_for_full();
        } else {
            schedule.next_run = schedule.next_after(now);
        }
        if schedule.next_run.is_none() && !schedule.options.waits_for_full {
            let message = format!("schedule {id} has no time to run at again");
            let hint = format!("Give it one: ALTER BACKUP SCHEDULE {id} SET RECURRING 'crontab'.");
            return Err(Error::refused_with_hint("55000", message, hint));
        }
        pair.write(around.txn)?;
    }
    Ok(())
}

/// Drops schedules; a full one takes its incremental one along. How many were dropped. Jobs they have begun go on.
pub async fn drop(around: &Surroundings<'_>, ids: &[ScheduleId]) -> Result<usize> {
    let mut dropped = BTreeSet::new();
    for id in ids {
        if dropped.contains(id) {
            continue;
        }
        let mut pair = Pair::lock(around.txn, *id).await?;
        match pair.incremental.take_if(|incremental| incremental.id == *id) {
            Some(incremental) => {
                incremental.delete(around.txn)?;
                dropped.insert(incremental.id);
                pair.full.options.dependent = None;
                pair.write(around.txn)?;
            }
            None => {
                for schedule in pair.schedules() {
                    schedule.delete(around.txn)?;
                    dropped.insert(schedule.id);
                }
                Protection::delete(around.txn, pair.full.id.0)?;
            }
        }
    }
    Ok(dropped.len())
}
