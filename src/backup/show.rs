//! What `SHOW BACKUPS` and `SHOW BACKUP` read.

use std::collections::HashMap;

use super::Result;
use super::collection::{Collection, Layer};
use super::manifest::TargetSpec;
use super::plan::cluster_system_tables;
use crate::catalog::{Descriptor, DescriptorId, system};
use crate::time::Timestamp;

/// One object in one layer.
pub struct BackupRow {
    /// The database it is in.
    pub database: Option<String>,
    /// The schema it is in.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// `database`, `schema`, `table`, `view` or `sequence`.
    pub kind: &'static str,
    /// Whether the layer is an incremental one.
    pub incremental: bool,
    /// The end of the layer below.
    pub start_time: Option<Timestamp>,
    /// The end of the layer.
    pub end_time: Timestamp,
    /// Bytes of keys and values, for what has data.
    pub size_bytes: Option<u64>,
    /// Rows, for what has data.
    pub rows: Option<u64>,
    /// Whether the chain is of the whole cluster.
    pub is_full_cluster: bool,
}

/// The paths of the full backups of a collection, as they are typed.
pub async fn backups(collection: &Collection) -> Result<Vec<String>> {
    Ok(collection.full_backups().await?.into_iter().map(|directory| format!("/{directory}")).collect())
}

/// One row per object and layer.
pub async fn contents(collection: &Collection, full: &str) -> Result<Vec<BackupRow>> {
    let layers = collection.chain(full).await?;
    Ok(layers.iter().flat_map(layer_rows).collect())
}

fn layer_rows(layer: &Layer) -> Vec<BackupRow> {
    let manifest = &layer.manifest;
    let is_full_cluster = manifest.targets == TargetSpec::Cluster;
    let names: HashMap<DescriptorId, &str> =
        manifest.descriptors.iter().map(|found| (found.id(), found.name())).collect();
    let row = |descriptor: &Descriptor, database: Option<String>, schema: Option<String>| {
        let has_data = !matches!(descriptor, Descriptor::Database(_) | Descriptor::Schema(_));
        let sizes = descriptor.spaces().into_iter().map(|space| manifest.size_of(space));
        let bytes = sizes.map(|(_, bytes)| bytes).sum();
        let rows = match descriptor {
            Descriptor::Table(table) => manifest.size_of(table.primary.space).0,
            other => other.spaces().first().map_or(0, |space| manifest.size_of(*space).0),
        };
        BackupRow {
            database,
            schema,
            name: descriptor.name().into(),
            kind: descriptor.kind(),
            incremental: manifest.start_time.is_some(),
            start_time: manifest.start_time,
            end_time: manifest.end_time,
            size_bytes: has_data.then_some(bytes),
            rows: has_data.then_some(rows),
            is_full_cluster,
        }
    };
    let mut rows: Vec<BackupRow> = Vec::new();
    for descriptor in &manifest.descriptors {
        let (database, schema) = descriptor.parents();
        let name = |id: Option<DescriptorId>| id.and_then(|id| names.get(&id)).map(|name| name.to_string());
        rows.push(row(descriptor, name(database), name(schema)));
    }
    if is_full_cluster {
        let database = system::descriptors().iter().find(|found| matches!(&***found, Descriptor::Database(_)));
        rows.extend(database.map(|database| row(database, None, None)));
        for table in cluster_system_tables() {
            rows.push(row(&table.descriptor, Some(system::SYSTEM_DATABASE.into()), Some("public".into())));
        }
    }
    let rank = |row: &BackupRow| ["database", "schema"].iter().position(|kind| *kind == row.kind).unwrap_or(2);
    rows.sort_by_key(|row| {
        let database = row.database.clone().unwrap_or_else(|| row.name.clone());
        (database, rank(row), row.schema.clone(), row.name.clone())
    });
    rows
}
