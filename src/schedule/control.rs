//! `PAUSE`, `RESUME` and `DROP SCHEDULES`.

use std::collections::BTreeSet;

use super::pair::Pair;
use super::{BackupType, Error, Result, Schedule, ScheduleId, Surroundings};
use crate::catalog::protection::Protection;
use crate::kv::Txn;

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
pub async fn drop(txn: &dyn Txn, ids: &[ScheduleId]) -> Result<usize> {
    let mut dropped = BTreeSet::new();
    for id in ids {
        if dropped.contains(id) {
            continue;
        }
        let mut pair = match Pair::lock(txn, *id).await {
            Ok(pair) => pair,
            Err(error) => {
                // It, or the other one of its pair, cannot be read.
                dropped.extend(drop_unreadable(txn, *id).await?.ok_or(error)?);
                continue;
            }
        };
        match pair.incremental.take_if(|incremental| incremental.id == *id) {
            Some(incremental) => {
                Schedule::delete(txn, incremental.id)?;
                dropped.insert(incremental.id);
                pair.full.options.dependent = None;
                pair.write(txn)?;
            }
            None => {
                for schedule in pair.schedules() {
                    Schedule::delete(txn, schedule.id)?;
                    dropped.insert(schedule.id);
                }
                Protection::delete(txn, pair.full.id.0)?;
            }
        }
    }
    Ok(dropped.len())
}

/// Drops one that is of a pair of which not all can be read, and with it what cannot be without it; `None` if all is well, or
/// there is no such schedule.
async fn drop_unreadable(txn: &dyn Txn, id: ScheduleId) -> Result<Option<Vec<ScheduleId>>> {
    let each = Schedule::read_each(txn).await?;
    let unreadable: Vec<ScheduleId> = each.iter().filter_map(|one| one.as_ref().err()).map(|(id, _)| *id).collect();
    let mut readable: Vec<Schedule> = each.into_iter().filter_map(std::result::Result::ok).collect();
    let named = readable.iter().find(|schedule| schedule.id == id);
    let other = named.and_then(|named| named.options.dependent);
    if !unreadable.contains(&id) && !other.is_some_and(|other| unreadable.contains(&other)) {
        return Ok(None);
    }
    // A full one that can be read stays when its incremental one goes; nothing else can do without the other.
    let stays = |schedule: &&mut Schedule| {
        schedule.id != id && schedule.options.dependent == Some(id) && schedule.options.backup_type == BackupType::Full
    };
    if let Some(full) = readable.iter_mut().find(|schedule| stays(schedule)) {
        full.options.dependent = None;
        full.write(txn)?;
        Schedule::delete(txn, id)?;
        return Ok(Some(vec![id]));
    }
    let of_pair = readable.iter().filter(|schedule| schedule.options.dependent == Some(id)).map(|schedule| schedule.id);
    let all: BTreeSet<ScheduleId> = of_pair.chain(other).chain([id]).collect();
    for id in &all {
        Schedule::delete(txn, *id)?;
        Protection::delete(txn, id.0)?;
    }
    Ok(Some(all.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::system::SCHEDULED_JOBS;
    use crate::kv::Store;
    use crate::kv::embedded::Embedded;
    use crate::schedule::record::{ExecutionFailure, Options, PreviousRunning, Runs};
    use crate::time::SystemClock;

    fn schedule(id: i64, backup_type: BackupType, dependent: Option<i64>) -> Schedule {
        Schedule {
            id: ScheduleId(id),
            label: "label".into(),
            owner: "root".into(),
            created: 1,
            next_run: None,
            recurrence: None,
            on_previous_running: PreviousRunning::Wait,
            on_execution_failure: ExecutionFailure::Retry,
            state: None,
            statement: "BACKUP INTO 'nodelocal://1/b'".into(),
            has_secret: false,
            options: Options {
                backup_type,
                dependent: dependent.map(ScheduleId),
                waits_for_full: false,
                is_paused: true,
                updates_metric: false,
            },
            runs: Runs::default(),
        }
    }

    #[tokio::test]
    async fn a_schedule_that_cannot_be_read_hides_no_other_and_can_be_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path(), Arc::new(SystemClock::default()), 100).unwrap();
        // What is damaged, what is dropped, what is left.
        let cases: [(&[i64], i64, &[i64]); 6] = [
            (&[1], 1, &[3]),
            (&[1], 2, &[3]),
            (&[2], 1, &[3]),
            (&[2], 2, &[1, 3]),
            (&[1, 2], 1, &[2, 3]),
            (&[3], 3, &[1, 2]),
        ];
        for (damaged, dropped, left) in cases {
            let txn = store.begin().await.unwrap();
            let pair =
                [(1, BackupType::Full, Some(2)), (2, BackupType::Incremental, Some(1)), (3, BackupType::Full, None)];
            for (id, backup_type, dependent) in pair {
                schedule(id, backup_type, dependent).write(&*txn).unwrap();
            }
            for id in damaged {
                let mut row = SCHEDULED_JOBS.get(&*txn, &[(*id).into()]).await.unwrap().unwrap();
                row[11] = "{".into();
                SCHEDULED_JOBS.put(&*txn, &row).unwrap();
            }
            assert_eq!(Schedule::read_all(&*txn).await.unwrap().len(), 3 - damaged.len());
            super::drop(&*txn, &[ScheduleId(dropped)]).await.unwrap();
            let rows = SCHEDULED_JOBS.scan(&*txn, &[]).await.unwrap();
            let ids: Vec<i64> = rows.iter().filter_map(|row| row[0].as_int()).collect();
            assert_eq!(ids, left, "{damaged:?} {dropped}");
            for schedule in Schedule::read_all(&*txn).await.unwrap() {
                let other = schedule.options.dependent.map(|other| other.0);
                assert!(other.is_none_or(|other| left.contains(&other)), "{schedule:?}");
            }
            let gone = super::drop(&*txn, &[ScheduleId(dropped)]).await;
            assert!(matches!(gone, Err(crate::schedule::Error::NotFound(_))), "{gone:?}");
        }
    }
}
