//! What `SHOW BACKUPS` and `SHOW BACKUP` read.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;

use super::backup_job::{data_file_name, layer_counts};
use super::chain::missing_is_corrupt;
use super::collection::{Collection, Layer};
use super::manifest::{DataFile, TargetSpec, total};
use super::system_tables;
use super::{Error, Result};
use crate::catalog::{Descriptor, DescriptorId, system};
use crate::kv::{SpaceId, Span};
use crate::runfile::RunReader;
use crate::storage;
use crate::time::Timestamp;

/// One object in one layer.
pub struct BackupRow {
    /// The object.
    pub descriptor: Descriptor,
    /// The database it is in.
    pub database: Option<String>,
    /// The schema it is in.
    pub schema: Option<String>,
    /// Everything in the layer, to find what the object refers to.
    pub around: Arc<HashMap<DescriptorId, Arc<Descriptor>>>,
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
    /// Its share of the bytes of the layer's files, if those were looked at.
    pub file_bytes: Option<u64>,
    /// Whether the chain is of the whole cluster.
    pub is_full_cluster: bool,
}

/// A data file of a layer, or the part of one that has one space.
pub struct FileRow {
    /// The layer's directory.
    pub layer: String,
    /// The file.
    pub path: String,
    /// Database, schema and object whose data it is.
    pub object: Option<(String, String, String)>,
    /// The space and first key.
    pub start: (SpaceId, String),
    /// The space and last key.
    pub end: (SpaceId, String),
    /// Rows in it.
    pub rows: u64,
    /// Bytes of keys and values.
    pub size_bytes: u64,
    /// Bytes of the file, or this part's share of them.
    pub file_bytes: u64,
}

/// A layer all of whose files were read and found sound.
pub struct ValidLayer {
    /// The layer.
    pub layer: Layer,
    /// Its data files.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

/// The paths of the full backups of a collection, as they are typed.
pub async fn backups(collection: &Collection) -> Result<Vec<String>> {
    Ok(collection.full_backups().await?.into_iter().map(|directory| format!("/{directory}")).collect())
}

/// One row per object and layer. With `check_files`, every file must be there and have its size.
pub async fn contents(collection: &Collection, full: &str, check_files: bool) -> Result<Vec<BackupRow>> {
    let mut rows = Vec::new();
    let mut damaged = Vec::new();
    for layer in collection.chain(full).await? {
        let file_bytes = match check_files {
            true => Some(check_layer(collection, &layer, &mut damaged).await?),
            false => None,
        };
        rows.extend(layer_rows(&layer, file_bytes));
    }
    if damaged.is_empty() {
        return Ok(rows);
    }
    Err(Error::corrupt(full, format!("these files are missing or damaged: {}", damaged.join(", "))))
}

/// The bytes of a layer's files; adds what is wrong with any to `damaged`.
async fn check_layer(collection: &Collection, layer: &Layer, damaged: &mut Vec<String>) -> Result<u64> {
    let mut file_bytes = 0;
    for file in collection.files(layer).await? {
        let name = data_file_name(&layer.directory, &file.run.id.to_string());
        match collection.place(&name).size(&name).await {
            Ok(size) if size == file.run.size_bytes => file_bytes += size,
            Ok(size) => damaged.push(format!("{name} ({size} bytes instead of {})", file.run.size_bytes)),
            Err(storage::Error::NotFound(_)) => damaged.push(format!("{name} (missing)")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(file_bytes)
}

fn layer_rows(layer: &Layer, file_bytes: Option<u64>) -> Vec<BackupRow> {
    let manifest = &layer.manifest;
    let is_full_cluster = manifest.targets == TargetSpec::Cluster;
    let mut descriptors: Vec<Arc<Descriptor>> = manifest.descriptors.iter().cloned().map(Arc::new).collect();
    if is_full_cluster {
        let is_backed_up = |found: &&Arc<Descriptor>| match &***found {
            Descriptor::Table(_) => system_tables::backed_up().iter().any(|table| table.descriptor.id() == found.id()),
            _ => true,
        };
        descriptors.extend(system::descriptors().iter().filter(is_backed_up).cloned());
    }
    let around: HashMap<_, _> = descriptors.iter().map(|found| (found.id(), found.clone())).collect();
    let around = Arc::new(around);
    let layer_bytes = total(manifest.sizes.iter().map(|size| size.bytes));
    let row = |descriptor: &Arc<Descriptor>| {
        let (database, schema) = descriptor.parents();
        let name = |id: Option<DescriptorId>| id.and_then(|id| around.get(&id)).map(|found| found.name().to_string());
        let has_data = !descriptor.spaces().is_empty();
        let bytes = total(descriptor.spaces().into_iter().map(|space| manifest.size_of(space).1));
        let rows = descriptor.spaces().first().map_or(0, |space| manifest.size_of(*space).0);
        // Small tables share files.
        let share = |of: u64| (u128::from(of) * u128::from(bytes) / u128::from(layer_bytes.max(1))) as u64;
        BackupRow {
            database: name(database),
            schema: name(schema),
            around: around.clone(),
            incremental: manifest.start_time.is_some(),
            start_time: manifest.start_time,
            end_time: manifest.end_time,
            size_bytes: has_data.then_some(bytes),
            rows: has_data.then_some(rows),
            file_bytes: file_bytes.filter(|_| has_data).map(share),
            is_full_cluster,
            descriptor: (**descriptor).clone(),
        }
    };
    let is_system_schema = |row: &BackupRow| row.database.as_deref() == Some("system") && row.schema.is_none();
    let mut rows: Vec<BackupRow> = descriptors.iter().map(row).filter(|row| !is_system_schema(row)).collect();
    let rank = |row: &BackupRow| match row.descriptor {
        Descriptor::Database(_) => 0,
        Descriptor::Schema(_) => 1,
        _ => 2,
    };
    rows.sort_by_key(|row| {
        let name = row.descriptor.name().to_string();
        (row.database.clone().unwrap_or_else(|| name.clone()), rank(row), row.schema.clone(), name)
    });
    rows
}

/// The data files of all layers; one that has several spaces comes once for each.
pub async fn files(collection: &Collection, full: &str) -> Result<Vec<FileRow>> {
    let mut rows = Vec::new();
    for layer in collection.chain(full).await? {
        let mut owners: HashMap<SpaceId, (String, String, String)> = HashMap::new();
        for row in layer_rows(&layer, None) {
            let owner =
                (row.database.unwrap_or_default(), row.schema.unwrap_or_default(), row.descriptor.name().into());
            owners.extend(row.descriptor.spaces().into_iter().map(|space| (space, owner.clone())));
        }
        for file in collection.files(&layer).await? {
            let path = data_file_name(&layer.directory, &file.run.id.to_string());
            let row = |start: &(SpaceId, String), end: (SpaceId, String), rows, size_bytes, file_bytes| FileRow {
                layer: layer.directory.clone(),
                path: path.clone(),
                object: owners.get(&start.0).cloned(),
                start: start.clone(),
                end,
                rows,
                size_bytes,
                file_bytes,
            };
            if file.first.0 == file.last.0 {
                let run = &file.run;
                rows.push(row(&file.first, file.last.clone(), run.rows, run.data_bytes, run.size_bytes));
                continue;
            }
            let reader = RunReader::open(collection.place(&path), &path, &file.run, collection.key()).await?;
            for space in reader.spaces() {
                let (count, bytes) = layer.manifest.size_of(space);
                let start = if space == file.first.0 { file.first.clone() } else { (space, String::new()) };
                let end = if space == file.last.0 { file.last.clone() } else { (space, String::new()) };
                let of_file = u128::from(file.run.size_bytes) * u128::from(bytes);
                let share = of_file / u128::from(file.run.data_bytes.max(1));
                rows.push(row(&start, end, count, bytes, share as u64));
            }
        }
    }
    Ok(rows)
}

/// Reads and checks every file of every layer.
pub async fn validate(collection: &Collection, full: &str) -> Result<Vec<ValidLayer>> {
    let mut valid = Vec::new();
    for layer in collection.chain(full).await? {
        let files = collection.files(&layer).await?;
        let mut file_bytes = 0;
        for file in &files {
            let name = data_file_name(&layer.directory, &file.run.id.to_string());
            let reader = RunReader::open(collection.place(&name), &name, &file.run, collection.key())
                .await
                .map_err(missing_is_corrupt)?;
            reader.verify().await.map_err(missing_is_corrupt)?;
            let mut entries = 0;
            for space in reader.spaces() {
                let mut batches = reader.read(Span::all(space));
                while let Some(batch) = batches.try_next().await? {
                    entries += batch.len() as u64;
                }
            }
            if entries != file.run.entries {
                return Err(Error::corrupt(name, "it has another number of entries than the list of files says"));
            }
            file_bytes += file.run.size_bytes;
        }
        valid.push(ValidLayer { layer, files: files.len() as u64, file_bytes });
    }
    Ok(valid)
}

/// The manifests of all layers, as JSON.
pub async fn manifests(collection: &Collection, full: &str) -> Result<Vec<serde_json::Value>> {
    let mut manifests = Vec::new();
    for layer in collection.chain(full).await? {
        let mut json = serde_json::to_value(&layer.manifest)?;
        let (rows, index_entries, bytes) = layer_counts(&layer.manifest);
        json["entryCounts"] = serde_json::json!({
            "rows": rows.to_string(), "indexEntries": index_entries.to_string(), "dataSize": bytes.to_string(),
        });
        let file = |file: &DataFile| {
            let path = format!("data/{}.kvs", file.run.id);
            serde_json::json!({ "path": path, "size_bytes": file.run.size_bytes, "rows": file.run.rows })
        };
        json["files"] = collection.files(&layer).await?.iter().map(file).collect();
        manifests.push(json);
    }
    Ok(manifests)
}
