//! A planned backup becomes a job.

use super::manifest::TargetSpec;
use super::plan::{BackupPayload, Planned};
use super::{BACKUP, Error, Result};
use crate::catalog::DescriptorId;
use crate::catalog::protection::{ProtectedTarget, Protection, ProtectionOwner};
use crate::jobs::{JobId, NewJob, Registry};
use crate::kv::Txn;

/// Writes the job into a transaction, with what protects the history that it needs until it has ended.
pub fn start(
    registry: &Registry,
    txn: &dyn Txn,
    planned: Planned<BackupPayload>,
    user: &str,
    schedule: Option<i64>,
) -> Result<JobId> {
    let Planned { payload, secret, description } = planned;
    let json = serde_json::to_value(&payload).map_err(|error| Error::corrupt("a job's row", error.to_string()))?;
    let id = registry.create(txn, NewJob { job_type: BACKUP, description, user, payload: json, secret, schedule })?;
    let timestamp = payload.history_start.or(payload.start_time).unwrap_or(payload.end_time);
    let owner = ProtectionOwner::Job(id.0);
    Protection { id: id.0, timestamp, target: protected(&payload), owner }.write(txn)?;
    Ok(id)
}

/// Whose history a backup needs.
pub fn protected(payload: &BackupPayload) -> ProtectedTarget {
    protected_target(&payload.targets, &payload.roots, payload.history_start.is_some())
}

/// The same before there is a payload.
pub fn protected_target(targets: &TargetSpec, roots: &[DescriptorId], has_history: bool) -> ProtectedTarget {
    match targets {
        // The history of a table may be that of one that was dropped, and is named no more.
        _ if has_history => ProtectedTarget::Cluster,
        TargetSpec::Cluster => ProtectedTarget::Cluster,
        TargetSpec::Databases(_) => ProtectedTarget::Databases(roots.to_vec()),
        TargetSpec::Tables(_) => ProtectedTarget::Tables(roots.to_vec()),
    }
}
