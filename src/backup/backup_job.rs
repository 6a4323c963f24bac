//! The backup job: cut the spaces into tasks, write files, then the list of files, then the manifest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::collection::{Collection, Layer};
use super::manifest::{self, DataFile, Manifest, Record, Revisions, SpaceSize, TargetSpec, hex, total, unhex};
use super::plan::BackupPayload;
use super::revisions;
use super::system_tables;
use super::work::{Checkpoint, Meter, Progress, parallelism, run_all};
use super::{Error, Result};
use crate::catalog::protection::Protection;
use crate::catalog::{Catalog, Descriptor, DescriptorCache, DescriptorId};
use crate::jobs::{self, Failure, JobHandle, JobType};
use crate::kv::{self, BatchStream, Direction, SpaceId, Span, Store};
use crate::runfile::{Error as RunError, Merged, RunWriter, merge};
use crate::storage::Storage;
use crate::storage::seal::{self, ChainKey};
use crate::time::Timestamp;

/// A data file is closed at about this size.
const FILE_BYTES: usize = 32 << 20;
/// A space with fewer rows is one of many in a task.
const SMALL_SPACE_ROWS: usize = 20_000;
/// Small spaces in one task at most.
const SPACES_PER_TASK: usize = 64;
/// Parts a large space is cut into, per core, if it is backed up whole.
const PARTS_PER_CORE: usize = 4;
/// Parts a task is cut into to say how far it is, if it looks for changes.
const PARTS_TO_MARK: usize = 16;
const LOCK_REFRESH: Duration = Duration::from_secs(60);

/// Runs `BACKUP`.
pub struct BackupJob {
    storage: Storage,
    descriptors: Arc<DescriptorCache>,
}

/// Work that is done whole or again: some spans, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    spans: Vec<TaskSpan>,
}

/// A span in JSON: keys in hexadecimal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TaskSpan {
    space: SpaceId,
    start: String,
    end: Option<String>,
    whole: bool,
    /// About how many rows it has.
    #[serde(default)]
    rows: u64,
    /// Keys that cut it into parts of about as many rows: whoever looks for changes and comes past one has gone through a part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    tasks: Vec<Task>,
    /// Files of finished tasks, by task.
    done: BTreeMap<usize, TaskResult>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct TaskResult {
    files: Vec<DataFile>,
    sizes: BTreeMap<u64, (u64, u64)>,
}

impl Checkpoint for State {
    fn fraction(&self) -> f64 {
        self.done.len() as f64 / self.tasks.len().max(1) as f64
    }
}

/// What a layer is made of.
struct Contents {
    descriptors: Vec<Descriptor>,
    spaces: BTreeSet<SpaceId>,
    /// Spaces of which the chain has everything up to the layer below.
    covered: HashSet<SpaceId>,
    revisions: Option<Revisions>,
}

impl BackupJob {
    /// Over external storage.
    pub fn new(storage: Storage, descriptors: Arc<DescriptorCache>) -> BackupJob {
        BackupJob { storage, descriptors }
    }

    async fn contents(
        &self,
        store: &Arc<dyn Store>,
        payload: &BackupPayload,
        below: Option<&Layer>,
    ) -> Result<Contents> {
        let catalog = Catalog::new(store.begin_at(payload.end_time).await?, self.descriptors.clone());
        let mut descriptors = Vec::new();
        for id in &payload.all {
            descriptors.push((*catalog.get(*id).await?).clone());
        }
        let backed_up = descriptors.iter().filter(|descriptor| !descriptor.is_excluded_from_backup());
        let mut spaces: BTreeSet<SpaceId> = backed_up.flat_map(Descriptor::spaces).collect();
        if payload.targets == TargetSpec::Cluster {
            spaces.extend(system_tables::backed_up().map(|table| table.space()));
        }
        let covered = below.map(|layer| layer.manifest.covered.iter().copied().collect()).unwrap_or_default();
        let revisions = match payload.history_start {
            None => None,
            Some(start) => {
                let revisions = revisions::read(&**store, payload, start).await?;
                // What was dropped meanwhile has a history until then.
                let changed = revisions.changes.iter().filter_map(|revision| revision.descriptor.as_ref());
                // What is kept out at the end is kept out altogether: its history is not protected.
                let out = descriptors.iter().filter(|descriptor| descriptor.is_excluded_from_backup());
                let out: HashSet<DescriptorId> = out.map(Descriptor::id).collect();
                let is_in = |found: &&Descriptor| !found.is_excluded_from_backup() && !out.contains(&found.id());
                let with_data = changed.filter(is_in);
                spaces.extend(with_data.flat_map(Descriptor::spaces));
                Some(revisions)
            }
        };
        Ok(Contents { descriptors, spaces, covered, revisions })
    }

    async fn cut(&self, store: &Arc<dyn Store>, payload: &BackupPayload, contents: &Contents) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        let mut small = Vec::new();
        for &space in &contents.spaces {
            let whole = !contents.covered.contains(&space);
            let all = Span::all(space);
            let mut rows = 0;
            // A space that was dropped before the end has a history only.
            let mut first = store.scan(all.clone(), payload.end_time, Direction::Forward, Some(SMALL_SPACE_ROWS));
            loop {
                match first.try_next().await {
                    Ok(Some(batch)) => rows += batch.len(),
                    Ok(None) => break,
                    Err(kv::Error::Dropped(_)) => {
                        rows = store.stats(space).await?.rows as usize;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let task_span = |span: &Span, rows: usize, marks: &[Bytes]| TaskSpan {
                space,
                start: hex(&span.start),
                end: span.end.as_ref().map(|end| hex(end)),
                whole,
                rows: rows as u64,
                marks: marks.iter().map(|key| hex(key)).collect(),
            };
            if rows < SMALL_SPACE_ROWS {
                small.push(task_span(&all, rows, &[]));
                continue;
            }
            let rows = (store.stats(space).await?.rows as usize).max(rows);
            // Mostly little of a space has changed, and every part is a file of its own.
            let (tasks_per_core, parts) = if whole { (PARTS_PER_CORE, 1) } else { (1, PARTS_TO_MARK) };
            let points = store.split_points(&all, parallelism() * tasks_per_core * parts).await?;
            let spans = marked(&all, &points, parts);
            let of_span = rows / spans.len();
            tasks.extend(spans.iter().map(|(span, marks)| Task { spans: vec![task_span(span, of_span, marks)] }));
        }
        tasks.extend(small.chunks(SPACES_PER_TASK).map(|spans| Task { spans: spans.to_vec() }));
        Ok(tasks)
    }

    async fn run(&self, job: &JobHandle) -> Result<serde_json::Value> {
        let record = job.record().await?;
        let payload: BackupPayload = from_json(record.payload)?;
        let store = job.store().clone();
        let key = job.secret().await?.map(|secret| chain_key(&secret)).transpose()?;
        let collection = payload.collection(&self.storage)?.with_key(key);
        // Before anything is written: a second layer on the same one must not come to be.
        let now = || store.now().map(Timestamp::micros);
        collection.lock(&payload.full, job.id().0, now()?).await?;
        let refresh = async {
            loop {
                tokio::time::sleep(LOCK_REFRESH).await;
                let refreshed = match now() {
                    Ok(now) => collection.lock(&payload.full, job.id().0, now).await,
                    Err(error) => Err(error.into()),
                };
                match refreshed {
                    // Another job has it: going on could put two layers on the same one.
                    Err(error @ Error::Refused { .. }) => return error,
                    Err(error) => tracing::warn!(%error, "cannot refresh the lock of a backup chain"),
                    Ok(()) => {}
                }
            }
        };
        let result = tokio::select! {
            result = self.write_layer(job, &payload, &collection, &store, record.checkpoint) => result?,
            lost = refresh => return Err(lost),
        };
        collection.unlock(&payload.full, job.id().0).await?;
        Ok(result)
    }

    async fn write_layer(
        &self,
        job: &JobHandle,
        payload: &BackupPayload,
        collection: &Collection,
        store: &Arc<dyn Store>,
        checkpoint: Option<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        if let Some((found, digest)) = collection.record(&payload.directory).await? {
            return self.finish(job, payload, collection, found, digest).await;
        }
        let below = match &payload.previous_digest {
            None => None,
            Some(expected) => {
                let top = collection.chain(&payload.full).await?.pop();
                let same = top.filter(|top| top.digest == *expected);
                let changed = || {
                    let message = "another layer has been added to this backup chain in the meantime";
                    Error::refused_with_hint("55006", message, "Run the statement again.")
                };
                Some(same.ok_or_else(changed)?)
            }
        };
        let contents = self.contents(store, payload, below.as_ref()).await?;
        let state = match checkpoint {
            Some(checkpoint) => from_json(checkpoint)?,
            None => State { tasks: self.cut(store, payload, &contents).await?, done: BTreeMap::new() },
        };
        let todo: Vec<(usize, Task)> =
            state.tasks.iter().cloned().enumerate().filter(|(at, _)| !state.done.contains_key(at)).collect();
        let expected = todo.iter().flat_map(|(_, task)| &task.spans).map(|span| span.rows).sum();
        let progress = Progress::new(job, "writing data files", state, expected);
        progress.update(|_| {}).await?;
        let run = |(number, task): (usize, Task)| {
            let (collection, store, payload) = (collection.clone(), store.clone(), payload.clone());
            let meter = progress.meter();
            async move { Ok((number, write_task(&collection, &store, &payload, &task, &meter).await?)) }
        };
        run_all(&progress, todo, run, |state, (number, result)| {
            state.done.insert(number, result);
        })
        .await?;
        let state = progress.into_inner();
        let manifest = self.manifest(job, payload, collection, contents, state).await?;
        // Claim and lock are checked last: whoever lost one must not complete the backup.
        collection.lock(&payload.full, job.id().0, store.now()?.micros()).await?;
        job.checkpoint(0.98, "writing the manifest", None).await?;
        let record = Record::Complete(Box::new(manifest));
        let (found, digest) = collection.put_record(&payload.directory, &record).await?;
        self.finish(job, payload, collection, found, digest).await
    }

    async fn manifest(
        &self,
        job: &JobHandle,
        payload: &BackupPayload,
        collection: &Collection,
        contents: Contents,
        state: State,
    ) -> Result<Manifest> {
        let mut files: Vec<DataFile> = Vec::new();
        let mut sizes: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for result in state.done.into_values() {
            files.extend(result.files);
            for (space, (rows, bytes)) in result.sizes {
                let size = sizes.entry(space).or_default();
                *size = (size.0 + rows, size.1 + bytes);
            }
        }
        files.sort_by(|a, b| a.first.cmp(&b.first));
        let list = collection.encode(&files)?;
        let list_name = format!("FILES-{:032x}", rand::random::<u128>());
        let list_digest = manifest::digest(&list);
        collection.place(&payload.directory).write(&format!("{}/{list_name}", payload.directory), list).await?;
        let whole = contents.spaces.iter().copied().filter(|space| !contents.covered.contains(space)).collect();
        Ok(Manifest {
            layer_id: payload.layer_id.clone(),
            start_time: payload.start_time,
            end_time: payload.end_time,
            cluster_id: payload.cluster_id.clone(),
            previous_digest: payload.previous_digest.clone(),
            targets: payload.targets.clone(),
            descriptors: contents.descriptors,
            revisions: contents.revisions,
            roots: payload.roots.clone(),
            covered: contents.spaces.into_iter().collect(),
            whole,
            file_list: (list_name, list_digest),
            sizes: sizes
                .into_iter()
                .map(|(space, (rows, bytes))| SpaceSize { space: SpaceId(space), rows, bytes })
                .collect(),
            job: job.id().0,
            written_by: env!("CARGO_PKG_VERSION").into(),
        })
    }

    async fn finish(
        &self,
        job: &JobHandle,
        payload: &BackupPayload,
        collection: &Collection,
        record: Record,
        digest: String,
    ) -> Result<serde_json::Value> {
        let manifest = match record {
            Record::Complete(manifest) if manifest.layer_id == payload.layer_id => *manifest,
            Record::Complete(_) => return Err(Error::refused("55006", "another backup was written to this directory")),
            Record::Aborted { .. } => return Err(Error::refused("55000", "the backup was given up")),
        };
        let layer = Layer { directory: payload.directory.clone(), manifest, digest };
        collection.publish(&payload.full, &layer).await?;
        release_history(job).await?;
        let counts = layer_counts(&layer.manifest);
        Ok(serde_json::json!({ "rows": counts.0, "index_entries": counts.1, "bytes": counts.2 }))
    }
}

/// The job no longer needs the history it protected.
async fn release_history(job: &JobHandle) -> Result<()> {
    for attempt in 0.. {
        let (txn, record) = job.begin().await?;
        Protection::delete(&*txn, job.id().0)?;
        if job.commit(&txn, record).await? {
            break;
        }
        job.make_way(attempt).await;
    }
    Ok(())
}

/// Rows, index entries and bytes of a layer.
pub fn layer_counts(manifest: &Manifest) -> (u64, u64, u64) {
    let secondary: HashSet<SpaceId> = manifest
        .descriptors
        .iter()
        .filter_map(|descriptor| if let Descriptor::Table(table) = descriptor { Some(table) } else { None })
        .flat_map(|table| table.indexes.iter().map(|index| index.space))
        .collect();
    let (of_indexes, of_tables): (Vec<_>, Vec<_>) =
        manifest.sizes.iter().partition(|size| secondary.contains(&size.space));
    let rows = |sizes: &[&SpaceSize]| total(sizes.iter().map(|size| size.rows));
    (rows(&of_tables), rows(&of_indexes), total(manifest.sizes.iter().map(|size| size.bytes)))
}

/// The key of a chain out of a job's secret.
pub fn chain_key(secret: &[u8]) -> Result<ChainKey> {
    ChainKey::from_bytes(secret).ok_or_else(|| Error::corrupt("a job's secret", "it is no key"))
}

/// A value out of a job's row.
pub fn from_json<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> Result<T> {
    serde_json::from_value(json).map_err(|error| Error::corrupt("a job's row", error.to_string()))
}

/// Cuts a span at every `each`-th point; the points between are the marks of each part.
fn marked(all: &Span, points: &[Bytes], each: usize) -> Vec<(Span, Vec<Bytes>)> {
    let ends: Vec<Bytes> = points.iter().skip(each - 1).step_by(each).cloned().collect();
    let marks = |part: usize| points.iter().skip(part * each).take(each - 1).cloned().collect();
    all.split(&ends).into_iter().enumerate().map(|(part, span)| (span, marks(part))).collect()
}

async fn write_task(
    collection: &Collection,
    store: &Arc<dyn Store>,
    payload: &BackupPayload,
    task: &Task,
    meter: &Meter,
) -> Result<TaskResult> {
    let mut result = TaskResult::default();
    let mut open: Option<OpenFile> = None;
    let mut turn = meter.turn();
    for task_span in &task.spans {
        let space = task_span.space;
        let key =
            |text: &str| unhex(text).map(Bytes::from).ok_or_else(|| Error::corrupt("a job's row", "a key is damaged"));
        let span = Span { space, start: key(&task_span.start)?, end: task_span.end.as_deref().map(key).transpose()? };
        let marks: Vec<Bytes> = task_span.marks.iter().map(|mark| key(mark)).collect::<Result<_>>()?;
        let mut gone_through = 0;
        let mut entries = entries(store, payload, span, task_span.whole);
        let mut last_key = Vec::new();
        while let Some(batch) = entries.try_next().await? {
            turn.give_way().await;
            if task_span.whole {
                meter.add(batch.len() as u64);
            } else if let Some(last) = batch.last_key() {
                let passed = marks.partition_point(|mark| **mark <= *last) as u64;
                let now = task_span.rows * passed / (marks.len() as u64 + 1);
                meter.add(now - gone_through);
                gone_through = now;
            }
            let size = result.sizes.entry(space.0).or_default();
            for entry in batch.iter() {
                let file = match &mut open {
                    Some(file) => file,
                    None => open.insert(OpenFile::new(collection, space, entry.key)?),
                };
                file.writer.push(space, entry).map_err(|error| Error::corrupt("a data file", error.to_string()))?;
                // Of several versions the newest comes first, and only that is a row.
                if entry.key != last_key || last_key.is_empty() {
                    size.0 += u64::from(entry.value.is_some());
                    last_key.clear();
                    last_key.extend_from_slice(entry.key);
                }
                size.1 += (entry.key.len() + entry.value.map_or(0, <[u8]>::len)) as u64;
            }
            if let (Some(file), Some(last)) = (&mut open, batch.last_key()) {
                file.last = (space, hex(last));
            }
            if open.as_ref().is_some_and(|file| file.writer.size_bytes() >= FILE_BYTES)
                && let Some(file) = open.take()
            {
                result.files.push(file.store(collection, &payload.directory).await?);
            }
        }
        if !task_span.whole {
            meter.add(task_span.rows.saturating_sub(gone_through));
        }
    }
    if let Some(file) = open {
        result.files.push(file.store(collection, &payload.directory).await?);
    }
    Ok(result)
}

/// What a layer takes of a span.
fn entries(store: &Arc<dyn Store>, payload: &BackupPayload, span: Span, whole: bool) -> BatchStream {
    let end = payload.end_time;
    match (payload.history_start, payload.start_time) {
        (None, Some(start)) if !whole => store.changes(span, start, end),
        (None, _) => store.scan(span, end, Direction::Forward, None),
        (Some(_), Some(start)) if !whole => store.versions(span, start, end),
        (Some(start), _) => {
            // The state at the beginning of the history, and all that came after.
            let base = store.scan(span.clone(), start, Direction::Forward, None).map_err(RunError::from).boxed();
            let since = store.versions(span, start, end).map_err(RunError::from).boxed();
            let all = Merged::Versions { after: Timestamp::MIN, upto: end };
            merge(vec![base, since], all).map_err(RunError::into_store).boxed()
        }
    }
}

struct OpenFile {
    writer: RunWriter,
    first: (SpaceId, String),
    last: (SpaceId, String),
}

impl OpenFile {
    fn new(collection: &Collection, space: SpaceId, key: &[u8]) -> Result<OpenFile> {
        let sealed = |error: seal::Error| Error::corrupt("a data file", error.to_string());
        let writer = RunWriter::with_key(collection.key()).map_err(sealed)?;
        Ok(OpenFile { writer, first: (space, hex(key)), last: (space, hex(key)) })
    }

    async fn store(self, collection: &Collection, directory: &str) -> Result<DataFile> {
        let run = self.writer.finish().map_err(|error| Error::corrupt("a data file", error.to_string()))?;
        collection.place(directory).create(&data_file_name(directory, &run.meta.id.to_string()), run.bytes).await?;
        Ok(DataFile { run: run.meta, first: self.first, last: self.last })
    }
}

/// Where a data file is.
pub fn data_file_name(directory: &str, id: &str) -> String {
    format!("{directory}/data/{id}.kvs")
}

#[async_trait]
impl JobType for BackupJob {
    async fn resume(&self, job: &JobHandle) -> Result<serde_json::Value, Failure> {
        self.run(job).await.map_err(Failure::from)
    }

    async fn on_fail_or_cancel(&self, job: &JobHandle) -> Result<(), Failure> {
        let undo = async {
            let record = job.record().await.map_err(Error::Job)?;
            let payload: BackupPayload = from_json(record.payload)?;
            // The backup may be complete already, which only its key can tell.
            let key = job.secret().await.map_err(Error::Job)?.map(|secret| chain_key(&secret)).transpose()?;
            let collection = payload.collection(&self.storage)?.with_key(key);
            let aborted = Record::Aborted { job: job.id().0 };
            let (mut found, digest) = match collection.put_record(&payload.directory, &aborted).await {
                // What cannot be read, such as half a manifest, completes nothing.
                Err(Error::Corrupt { .. }) => collection.replace_record(&payload.directory, &aborted).await?,
                put => put?,
            };
            if let Record::Complete(manifest) = &found
                && record.canceled
            {
                // It was completed before its job heard that nobody wants it.
                let layer = Layer { directory: payload.directory.clone(), manifest: (**manifest).clone(), digest };
                if collection.retract(&payload.full, &layer).await? {
                    (found, _) = collection.put_record(&payload.directory, &aborted).await?;
                }
            }
            if matches!(found, Record::Aborted { .. }) {
                collection.delete_data(&payload.directory).await?;
            }
            collection.unlock(&payload.full, job.id().0).await?;
            release_history(job).await
        };
        undo.await.map_err(|error: Error| match Failure::from(error) {
            Failure::Permanent { message, .. } => Failure::Retry(message),
            other => other,
        })
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Job(jobs::Error::Failed { message: error.to_string(), sqlstate: "XX000".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_and_have_their_marks_inside() {
        let all = Span::all(SpaceId(7));
        for (count, each) in [(0, 1), (3, 1), (0, 4), (1, 4), (3, 4), (4, 4), (5, 4), (7, 4), (8, 4)] {
            let points: Vec<Bytes> = (0..count).map(|point: u8| Bytes::from(vec![10 + point])).collect();
            let parts = marked(&all, &points, each);
            assert_eq!(parts.len(), count as usize / each + 1, "{count} {each}");
            assert_eq!(parts[0].0.start, all.start);
            assert_eq!(parts.last().unwrap().0.end, None);
            for pair in parts.windows(2) {
                assert_eq!(pair[0].0.end.as_ref(), Some(&pair[1].0.start));
            }
            for (span, marks) in &parts {
                assert!(marks.len() < each && marks.is_sorted());
                let inside = |mark: &Bytes| *mark > span.start && span.end.as_ref().is_none_or(|end| mark < end);
                assert!(marks.iter().all(inside), "{span:?} {marks:?}");
            }
            let marks: usize = parts.iter().map(|(_, marks)| marks.len()).sum();
            assert_eq!(marks + parts.len() - 1, points.len());
        }
    }
}
