//! The history of descriptors: what a backup with revision history keeps of the catalog.

use std::collections::{BTreeSet, HashMap};

use futures::TryStreamExt;

use super::manifest::{Revision, Revisions, TargetSpec};
use super::plan::BackupPayload;
use super::{Error, Result};
use crate::catalog::system::DESCRIPTOR;
use crate::catalog::{Descriptor, DescriptorId, decode_descriptor, decode_row};
use crate::kv::{Direction, Entry, Span, Store};
use crate::time::Timestamp;

/// Descriptors at `start`, and every change up to the end of the backup, of what the backup is of.
pub async fn read(store: &dyn Store, payload: &BackupPayload, start: Timestamp) -> Result<Revisions> {
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
    keep_targets(&mut changes, payload);
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

/// Leaves what the backup's targets name, or named at some time: a database or table may have been dropped and made again.
fn keep_targets(changes: &mut Vec<Revision>, payload: &BackupPayload) {
    let mut kept: BTreeSet<DescriptorId> = payload.all.iter().copied().collect();
    let descriptors = || changes.iter().filter_map(|revision| revision.descriptor.as_ref());
    match &payload.targets {
        TargetSpec::Cluster => kept.extend(changes.iter().map(|revision| revision.id)),
        TargetSpec::Databases(names) => {
            let is_named = |found: &&Descriptor| {
                matches!(found, Descriptor::Database(_)) && names.iter().any(|name| name == found.name())
            };
            let databases: BTreeSet<DescriptorId> = descriptors().filter(is_named).map(Descriptor::id).collect();
            let inside = descriptors().filter(|found| found.parents().0.is_some_and(|id| databases.contains(&id)));
            kept.extend(inside.map(Descriptor::id));
            kept.extend(databases);
        }
        TargetSpec::Tables(patterns) => {
            let mut names: HashMap<DescriptorId, BTreeSet<&str>> = HashMap::new();
            for found in descriptors() {
                names.entry(found.id()).or_default().insert(found.name());
            }
            for found in descriptors() {
                let (Some(database), Some(schema)) = found.parents() else { continue };
                let (Some(databases), Some(schemas)) = (names.get(&database), names.get(&schema)) else { continue };
                let places = databases
                    .iter()
                    .flat_map(|database| schemas.iter().map(move |schema| format!("{database}.{schema}")));
                let matches = |place: &String| {
                    let (one, all) = (format!("{place}.{}", found.name()), format!("{place}.*"));
                    patterns.iter().any(|pattern| *pattern == one || *pattern == all)
                };
                if places.into_iter().any(|place| matches(&place)) {
                    kept.extend([found.id(), database, schema]);
                    kept.extend(found.made_types());
                }
            }
            // A type may be in another schema than who uses it.
            let types =
                descriptors().filter(|found| matches!(found, Descriptor::Type(_)) && kept.contains(&found.id()));
            let schemas: Vec<DescriptorId> = types.filter_map(|found| found.parents().1).collect();
            kept.extend(schemas);
        }
    }
    let temporary: BTreeSet<DescriptorId> =
        descriptors().filter(|found| found.is_temporary()).map(Descriptor::id).collect();
    let inside = descriptors().filter(|found| found.parents().1.is_some_and(|schema| temporary.contains(&schema)));
    for id in inside.map(Descriptor::id).chain(temporary.iter().copied()).collect::<Vec<_>>() {
        kept.remove(&id);
    }
    changes.retain(|revision| kept.contains(&revision.id));
}
