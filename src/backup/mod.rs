//! Backup and restore: planning, the two jobs, collections and their manifests, and what `SHOW BACKUP` reads.
//!
//! ```text
//!   collection/2026/11/22-153045.12/                          a full backup
//!       BACKUP_MANIFEST   put if absent, last: the backup is complete if and only if it is there
//!       FILES-<id>        the list of data files, named by the manifest with its digest
//!       data/<id>.kvs     sorted runs
//!   collection/incrementals/2026/11/22-153045.12/20261122/160000.55-20261122-153045.12/      a layer on top of it
//!   collection/metadata/index/<full>/<layer>                  written after each manifest: what must be there
//!   collection/metadata/latest/LATEST-<inverted time>-<inverted name>  the newest full backup, first in a listing
//!   collection/metadata/lock/<full>                           held while a layer is being added
//! ```
//!
//! A backup reads at one fixed time, so writers are never blocked and it sees one instant. A layer takes a space from its
//! beginning unless the layer before it covered that space; then it takes what changed since. A restore merges the layers of
//! a chain into new spaces and publishes every descriptor in one transaction.

mod backup_job;
mod chain;
mod collection;
mod error;
mod manifest;
pub mod plan;
mod restore_job;
mod revisions;
pub mod show;
mod start;
mod system_tables;
mod targets;
mod work;

use std::collections::HashMap;
use std::sync::Arc;

pub use backup_job::BackupJob;
pub use error::{Error, Result};
pub use manifest::TargetSpec;
pub use restore_job::RestoreJob;
pub use start::{protected, start};

use crate::catalog::DescriptorCache;
use crate::jobs::JobType;
use crate::storage::Storage;

/// The job type of backups.
pub const BACKUP: &str = "BACKUP";
/// The job type of restores.
pub const RESTORE: &str = "RESTORE";

/// The job types this module does.
pub fn job_types(storage: &Storage, descriptors: &Arc<DescriptorCache>) -> HashMap<&'static str, Arc<dyn JobType>> {
    let backup: Arc<dyn JobType> = Arc::new(BackupJob::new(storage.clone(), descriptors.clone()));
    let restore: Arc<dyn JobType> = Arc::new(RestoreJob::new(storage.clone(), descriptors.clone()));
    HashMap::from([(BACKUP, backup), (RESTORE, restore)])
}
