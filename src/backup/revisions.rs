//! The history of descriptors: what a backup with revision history keeps of the catalog.

use std::collections::{BTreeSet, HashSet};

use futures::TryStreamExt;

use super::manifest::{Revision, Revisions, TargetSpec};
use super::plan::BackupPayload;
use super::{Error, Result};
use crate::catalog::system::DESCRIPTOR;
use crate::catalog::{Descriptor, DescriptorId, decode_descriptor, decode_row};
use crate::kv::{Direction, Entry, Span, Store};
use crate::time::Timestamp;

/// Descriptors at `start`, and every change up to the end of the backup, of what the backup is of. `at_end` are the descriptors
/// it has at its end.
pub async fn read(
    store: &dyn Store,
    payload: &BackupPayload,
    at_end: &[Descriptor],
    start: Timestamp,
) -> Result<Revisions> {
    let span = Span::all(DESCRIPTOR.space());
    let mut changes = Vec::new();
    let base = store.scan(span.clone(), start, Direction::Forward, None);
    let since = store.versions(span, start, payload.end_time);
    for mut entries in [base, since] {
        while let Some(batch) = entries.try_next().await? {
            for entry in batch.iter() {
                changes.push(decode(entry)?);
            }
        }
    }
    changes.sort_by_key(|revision| revision.time);
    keep_targets(&mut changes, payload, at_end);
    Ok(Revisions { start, changes })
}

fn decode(entry: Entry<'_>) -> Result<Revision> {
    let Descriptor::Table(table) = &*DESCRIPTOR.descriptor else {
        return Err(Error::corrupt("the catalog", "its table of descriptors is none"));
    };
    // The key says which descriptor it is, also of one that is gone.
    let mut key = crate::catalog::key::KeyReader::new(entry.key);
    let id = key.next(&table.columns[0].column_type, false)?.as_int().unwrap_or_default();
    let descriptor = match entry.value {
        None => None,
        Some(value) => Some(decode_descriptor(&decode_row(table, entry.key, value)?)?),
    };
    Ok(Revision { time: entry.time, id: DescriptorId(id as u64), descriptor })
}

/// Leaves what the backup's targets name, or named at some time.
fn keep_targets(changes: &mut Vec<Revision>, payload: &BackupPayload, at_end: &[Descriptor]) {
    let roots: HashSet<DescriptorId> = payload.roots.iter().copied().collect();
    let mut kept: BTreeSet<DescriptorId> = payload.all.iter().copied().collect();
    let schemas: HashSet<_> = at_end.iter().map(Descriptor::parents).filter(|(_, schema)| schema.is_some()).collect();
    for descriptor in changes.iter().filter_map(|revision| revision.descriptor.as_ref()) {
        let (database, schema) = descriptor.parents();
        let is_named = match &payload.targets {
            TargetSpec::Cluster => true,
            TargetSpec::Databases(_) => database.is_some_and(|database| roots.contains(&database)),
            // A table of the same name as one that is named, or any where the pattern is a star.
            TargetSpec::Tables(names) => {
                let matches = |name: &String| {
                    let last = name.rsplit('.').next().unwrap_or_default();
                    last == "*" || last == descriptor.name()
                };
                schema.is_some() && schemas.contains(&(database, schema)) && names.iter().any(matches)
            }
        };
        if is_named {
            kept.insert(descriptor.id());
        }
    }
    changes.retain(|revision| kept.contains(&revision.id));
}
