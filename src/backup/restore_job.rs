//! The restore job: merge the chain's layers into new spaces, then publish every descriptor in one transaction.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use super::backup_job::{chain_key, from_json};
use super::chain::{Chain, missing_is_corrupt};
use super::collection::Collection;
use super::manifest::{Manifest, hex, total, unhex};
use super::plan::{RestorePayload, TableData};
use super::system_tables::SystemRows;
use super::work::{Checkpoint, Meter, Progress, run_all};
use super::{Error, Result};
use crate::catalog::{
    Catalog, ColumnType, Descriptor, DescriptorCache, DescriptorId, EnumType, Identity, SchemaDescriptor,
    TableDescriptor, TypeDescriptor, system,
};
use crate::jobs::{Failure, JobHandle, JobType};
use crate::kv::{self, Batch, SpaceId, Span, Store};
use crate::storage::Storage;
use crate::time::Timestamp;

/// Spaces with less than this are several to a task.
const SMALL_SPACE_BYTES: u64 = 16 << 20;

/// Runs `RESTORE`.
pub struct RestoreJob {
    storage: Storage,
    descriptors: Arc<DescriptorCache>,
}

/// A part of a space: keys in hexadecimal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    from: SpaceId,
    to: SpaceId,
    start: String,
    end: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The time of the rows that are loaded. Taken by the job itself: what was loaded before any live job began is swept.
    ingest_at: Timestamp,
    ids: BTreeMap<u64, DescriptorId>,
    spaces: BTreeMap<u64, SpaceId>,
    tasks: Vec<Vec<Part>>,
    /// Rows, index entries and bytes of finished tasks.
    done: BTreeMap<usize, Counts>,
    /// Written by versions in which publishing was not yet the end of the job.
    #[serde(default)]
    published: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Counts {
    rows: u64,
    index_entries: u64,
    bytes: u64,
}

impl Checkpoint for State {
    fn fraction(&self) -> f64 {
        self.done.len() as f64 / self.tasks.len().max(1) as f64
    }
}

impl RestoreJob {
    /// Over external storage.
    pub fn new(storage: Storage, descriptors: Arc<DescriptorCache>) -> RestoreJob {
        RestoreJob { storage, descriptors }
    }

    async fn open(&self, job: &JobHandle, payload: &RestorePayload) -> Result<(Chain, Manifest)> {
        let key = job.secret().await?.map(|secret| chain_key(&secret)).transpose()?;
        let collection =
            Collection::open(&self.storage, &payload.uri, payload.incremental_uri.as_deref())?.with_key(key);
        let mut layers = collection.chain(&payload.full).await?;
        let planned = layers.iter().position(|layer| layer.digest == payload.digest);
        layers.truncate(planned.map_or(0, |planned| planned + 1));
        let manifest = layers.last().map(|top| top.manifest_at(payload.at));
        let manifest =
            manifest.ok_or_else(|| Error::corrupt(&payload.full, "the chain is not the one that was planned with"))?;
        Ok((Chain::open(&collection, layers).await?, manifest))
    }

    async fn begin(
        &self,
        store: &Arc<dyn Store>,
        payload: &RestorePayload,
        chain: &Chain,
        manifest: &Manifest,
    ) -> Result<State> {
        let mut state = State {
            ingest_at: store.now()?,
            ids: BTreeMap::new(),
            spaces: BTreeMap::new(),
            tasks: Vec::new(),
            done: BTreeMap::new(),
            published: false,
        };
        let restored: Vec<&Descriptor> =
            manifest.descriptors.iter().filter(|found| payload.restore.contains(&found.id())).collect();
        for descriptor in &restored {
            state.ids.insert(descriptor.id().0, DescriptorId(store.create_space().await?.0));
            if let Descriptor::Type(made) = descriptor {
                state.ids.insert(made.array.0, DescriptorId(store.create_space().await?.0));
            }
        }
        // Tables may go into a database that lacks their schema, which is then made.
        for schema in restored.iter().filter_map(|descriptor| descriptor.parents().1) {
            if let Entry::Vacant(free) = state.ids.entry(schema.0) {
                free.insert(DescriptorId(store.create_space().await?.0));
            }
        }
        // New spaces ascend as the old ones do, so one sorted stream can carry several.
        let spaces: BTreeSet<SpaceId> = restored.iter().flat_map(|descriptor| descriptor.spaces()).collect();
        let mut small: Vec<Part> = Vec::new();
        let mut small_bytes = 0;
        let excluded = restored.iter().filter(|descriptor| descriptor.is_excluded_from_backup());
        let excluded: BTreeSet<SpaceId> = excluded.flat_map(|descriptor| descriptor.spaces()).collect();
        for from in spaces {
            let to = store.create_space().await?;
            state.spaces.insert(from.0, to);
            // A layer from before it was excluded may have rows.
            if excluded.contains(&from) || payload.data == TableData::LeaveOut {
                continue;
            }
            let all = Span::all(from);
            let points = chain.split_points(from);
            let part =
                |span: &Span| Part { from, to, start: hex(&span.start), end: span.end.as_ref().map(|end| hex(end)) };
            if points.is_empty() {
                small_bytes = total([small_bytes, manifest.size_of(from).1].into_iter());
                small.push(part(&all));
                if small_bytes >= SMALL_SPACE_BYTES {
                    state.tasks.push(std::mem::take(&mut small));
                    small_bytes = 0;
                }
            } else {
                state.tasks.extend(all.split(&points).iter().map(|span| vec![part(span)]));
            }
        }
        if !small.is_empty() {
            state.tasks.push(small);
        }
        Ok(state)
    }

    async fn run(&self, job: &JobHandle) -> Result<serde_json::Value> {
        let record = job.record().await?;
        let payload: RestorePayload = from_json(record.payload)?;
        let store = job.store().clone();
        let (chain, manifest) = self.open(job, &payload).await?;
        let state = match record.checkpoint {
            Some(checkpoint) => from_json(checkpoint)?,
            None => self.begin(&store, &payload, &chain, &manifest).await?,
        };
        let secondary = secondary_spaces(&manifest);
        let ingest_at = state.ingest_at;
        let todo =
            state.tasks.iter().cloned().enumerate().filter(|(number, _)| !state.done.contains_key(number)).collect();
        let expected = chain.rows_of(state.spaces.keys().map(|space| SpaceId(*space)));
        let progress = Progress::new(job, "loading rows", state, expected);
        // The new ids and spaces are written down before the first of them is used.
        progress.update(|_| {}).await?;
        let run = |(number, parts): (usize, Vec<Part>)| {
            let (chain, store, payload, secondary) = (chain.clone(), store.clone(), payload.clone(), secondary.clone());
            let meter = progress.meter();
            async move { Ok((number, load(&chain, &store, &payload, ingest_at, &secondary, parts, &meter).await?)) }
        };
        run_all(&progress, todo, run, |state, (number, counts)| {
            state.done.insert(number, counts);
        })
        .await?;
        let state = progress.into_inner();
        let mut total = Counts::default();
        for counts in state.done.values() {
            total.rows += counts.rows;
            total.index_entries += counts.index_entries;
            total.bytes += counts.bytes;
        }
        let system_rows = match (payload.cluster, payload.system_users) {
            (true, _) => SystemRows::of_cluster(&chain, payload.at).await?,
            (_, true) => SystemRows::of_users(&chain, payload.at).await?,
            _ => SystemRows::default(),
        };
        if payload.system_users {
            total.rows = system_rows.len() as u64;
        }
        let result = serde_json::json!({
            "rows": total.rows,
            "index_entries": total.index_entries,
            "bytes": total.bytes,
        });
        if !state.published {
            self.publish(job, &payload, &system_rows, &manifest, &state, &result).await?;
        }
        Ok(result)
    }

    /// Makes everything visible at once; in the same transaction the job is done.
    async fn publish(
        &self,
        job: &JobHandle,
        payload: &RestorePayload,
        system_rows: &SystemRows,
        manifest: &Manifest,
        state: &State,
        result: &serde_json::Value,
    ) -> Result<()> {
        let id = |old: DescriptorId| state.ids.get(&old.0).copied().unwrap_or(old);
        let space = |old: SpaceId| state.spaces.get(&old.0).copied().unwrap_or(old);
        for attempt in 0.. {
            let (txn, mut record) = job.begin().await?;
            let catalog = Catalog::new(txn.clone(), self.descriptors.clone());
            if payload.cluster {
                remove_empty_databases(&catalog).await?;
            }
            let rewritten = rewrite(&catalog, payload, manifest, &id, &space).await?;
            for descriptor in &rewritten.created {
                catalog.create(descriptor).await?;
            }
            rewritten.changed.iter().try_for_each(|descriptor| catalog.write(descriptor))?;
            let new_id = |old: DescriptorId| state.ids.get(&old.0).copied();
            system_rows.write(&*txn, &new_id, payload.system_users).await?;
            // Whoever wants to cancel the job is too late from here on, or was in time.
            record.succeed(txn.snapshot(), result.clone());
            if job.commit(&txn, record).await? {
                break;
            }
            job.make_way(attempt).await;
        }
        Ok(())
    }
}

fn secondary_spaces(manifest: &Manifest) -> HashSet<SpaceId> {
    let tables = manifest
        .descriptors
        .iter()
        .filter_map(|found| if let Descriptor::Table(table) = found { Some(table) } else { None });
    tables.flat_map(|table| table.indexes.iter().map(|index| index.space)).collect()
}

/// Loads the parts of one task in a single ingest.
async fn load(
    chain: &Chain,
    store: &Arc<dyn Store>,
    payload: &RestorePayload,
    ingest_at: Timestamp,
    secondary: &HashSet<SpaceId>,
    parts: Vec<Part>,
    meter: &Meter,
) -> Result<Counts> {
    let failed: Arc<Mutex<Option<Error>>> = Arc::default();
    let counts: Arc<Mutex<Counts>> = Arc::default();
    let (chain, at, secondary) = (chain.clone(), payload.at, secondary.clone());
    let (failures, counted) = (failed.clone(), counts.clone());
    let note = move |error: Error| {
        let message = error.to_string();
        failures.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        kv::Error::Engine(message)
    };
    let meter = meter.clone();
    let read = move |part: Part| {
        let (chain, note, counted, meter) = (chain.clone(), note.clone(), counted.clone(), meter.clone());
        let is_index = secondary.contains(&part.from);
        let opened = async move {
            let damaged = || Error::corrupt("a job's row", "a key is damaged");
            let key = |text: &str| unhex(text).map(Bytes::from).ok_or_else(damaged);
            let span =
                Span { space: part.from, start: key(&part.start)?, end: part.end.as_deref().map(key).transpose()? };
            Ok::<_, Error>((part.to, chain.rows(span, at).await?))
        };
        stream::once(opened).flat_map(move |opened| match opened {
            Err(error) => stream::iter([Err(note(error))]).boxed(),
            Ok((to, rows)) => {
                let (note, counted, meter) = (note.clone(), counted.clone(), meter.clone());
                let tag = move |batch: crate::runfile::Result<Batch>| {
                    let batch = batch.map_err(|error| note(missing_is_corrupt(error)))?;
                    let mut counts = counted.lock().unwrap_or_else(PoisonError::into_inner);
                    let rows = batch.len() as u64;
                    meter.add(batch.len() as u64);
                    if is_index {
                        counts.index_entries += rows
                    } else {
                        counts.rows += rows
                    }
                    counts.bytes += batch.size_bytes() as u64;
                    Ok((to, batch))
                };
                rows.map(tag).boxed()
            }
        })
    };
    let rows = stream::iter(parts).flat_map(read).boxed();
    let ingested = match payload.data {
        TableData::Verify => rows.try_for_each(|_| async { Ok(()) }).await,
        _ => store.ingest(rows, ingest_at).await.map(drop),
    };
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    ingested?;
    let counts = *counts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(counts)
}

/// A cluster is restored into one that has nothing but its first, empty databases.
async fn refuse_filled_cluster(catalog: &Catalog) -> Result<()> {
    for database in catalog.list(None, None).await? {
        let is_user = database.id().0 >= system::FIRST_USER_ID;
        let is_first = ["defaultdb", "postgres"].contains(&database.name());
        if is_user && (!is_first || !catalog.list_objects(database.id()).await?.is_empty()) {
            let message = format!(
                "a full cluster restore needs a cluster without tables or databases, but there is database \"{}\"",
                database.name()
            );
            return Err(Error::refused("55000", message));
        }
    }
    Ok(())
}

async fn remove_empty_databases(catalog: &Catalog) -> Result<()> {
    refuse_filled_cluster(catalog).await?;
    for database in catalog.list(None, None).await? {
        if database.id().0 >= system::FIRST_USER_ID {
            for schema in catalog.list(Some(database.id()), None).await? {
                catalog.remove(&schema)?;
            }
            catalog.remove(&database)?;
        }
    }
    Ok(())
}

/// What a restore does to the catalog.
pub struct Rewritten {
    /// New descriptors.
    pub created: Vec<Descriptor>,
    /// Types that were there and are used by what is restored.
    pub changed: Vec<Descriptor>,
}

/// The descriptors to be created: with new ids and spaces, in their new place, without what may be left out.
/// Fails if a name is taken or something needed is missing.
pub async fn rewrite(
    catalog: &Catalog,
    payload: &RestorePayload,
    manifest: &Manifest,
    id: &(dyn Fn(DescriptorId) -> DescriptorId + Sync),
    space: &(dyn Fn(SpaceId) -> SpaceId + Sync),
) -> Result<Rewritten> {
    let chosen = |found: &&Descriptor| payload.restore.contains(&found.id());
    let mut descriptors: Vec<Descriptor> = manifest.descriptors.iter().filter(chosen).cloned().collect();
    leave_out(&mut descriptors, payload)?;
    if payload.cluster {
        refuse_filled_cluster(catalog).await?;
    }
    let kept: HashSet<DescriptorId> = descriptors.iter().map(Descriptor::id).collect();
    let places = places(catalog, payload, manifest, &descriptors, id).await?;
    let mut types = Types::choose(catalog, manifest, &mut descriptors, &places, id).await?;
    for descriptor in &mut descriptors {
        let (old_database, old_schema) = descriptor.parents();
        descriptor.identity_mut().id = id(descriptor.id());
        if !payload.cluster {
            let fresh = Identity::new(descriptor.id(), descriptor.name(), &payload.owner);
            let identity = descriptor.identity_mut();
            identity.owner = fresh.owner;
            identity.defaults.clear();
            descriptor.grant_lists_mut().into_iter().for_each(Vec::clear);
            descriptor.identity_mut().grants = fresh.grants;
        }
        let database =
            old_database.map_or(DescriptorId(0), |old| places.databases.get(&old).copied().unwrap_or_else(|| id(old)));
        let schema =
            old_schema.map_or(DescriptorId(0), |old| places.schemas.get(&old).copied().unwrap_or_else(|| id(old)));
        types.replace(descriptor)?;
        let map = |ids: &mut Vec<DescriptorId>| {
            ids.retain(|old| kept.contains(old));
            ids.iter_mut().for_each(|old| *old = id(*old));
        };
        match descriptor {
            Descriptor::Database(database) => {
                if let Some(name) = &payload.new_db_name {
                    database.identity.name.clone_from(name);
                }
            }
            Descriptor::Schema(schema) => schema.database = database,
            Descriptor::Table(table) => {
                (table.database, table.schema) = (database, schema);
                move_spaces(table, space);
                table.foreign_keys.iter_mut().for_each(|key| key.referenced_table = id(key.referenced_table));
                map(&mut table.referenced_by);
                map(&mut table.sequences);
                map(&mut table.views);
            }
            Descriptor::View(view) => {
                (view.database, view.schema) = (database, schema);
                view.types = view.types.iter().map(|old| types.id(*old)).collect::<Result<_>>()?;
                map(&mut view.depends_on);
                map(&mut view.views);
            }
            Descriptor::Sequence(sequence) => {
                (sequence.database, sequence.schema) = (database, schema);
                sequence.space = space(sequence.space);
                sequence.owned_by = sequence
                    .owned_by
                    .filter(|(table, _)| kept.contains(table))
                    .map(|(table, column)| (id(table), column));
                map(&mut sequence.views);
            }
            Descriptor::Type(made) => {
                (made.database, made.schema) = (database, schema);
                made.array = id(made.array);
                map(&mut made.used_by);
            }
        }
    }
    let into_existing: HashSet<DescriptorId> = places.databases.values().copied().collect();
    refuse_taken_names(catalog, payload, &descriptors, &into_existing).await?;
    descriptors.extend(places.new_schemas);
    Ok(Rewritten { created: descriptors, changed: types.there.into_values().map(Descriptor::Type).collect() })
}

/// The types that the columns of what is restored will have.
struct Types {
    /// By their ids in the backup.
    new: HashMap<DescriptorId, EnumType>,
    /// Those of them that were there, by their own ids.
    there: BTreeMap<DescriptorId, TypeDescriptor>,
}

impl Types {
    /// A type that is there already with all labels of the backup's is taken for that, which is then not restored: what is stored for
    /// its labels must be the same.
    async fn choose(
        catalog: &Catalog,
        manifest: &Manifest,
        descriptors: &mut Vec<Descriptor>,
        places: &Places,
        id: &(dyn Fn(DescriptorId) -> DescriptorId + Sync),
    ) -> Result<Types> {
        let mut types = Types { new: HashMap::new(), there: BTreeMap::new() };
        for descriptor in std::mem::take(descriptors) {
            let Descriptor::Type(made) = &descriptor else {
                descriptors.push(descriptor);
                continue;
            };
            let schema = manifest.descriptors.iter().find(|found| found.id() == made.schema);
            let schema = schema.ok_or_else(|| Error::corrupt("the manifest", "it lacks the schema of a type"))?;
            let place = (places.databases.get(&made.database), places.schemas.get(&made.schema));
            let there = match place {
                (Some(database), Some(schema)) => {
                    catalog.lookup(Some(*database), Some(*schema), &made.identity.name).await?
                }
                _ => None,
            };
            let column_type = match there.as_deref() {
                Some(Descriptor::Type(there)) => {
                    if !made.labels.iter().all(|label| there.labels.contains(label)) {
                        let message = format!(
                            "type \"{}\" already exists, and does not have the labels of the backup, or has them stored otherwise",
                            made.identity.name
                        );
                        return Err(Error::refused_with_hint(
                            "42710",
                            message,
                            "Restore into another database, or rename the type.",
                        ));
                    }
                    types.there.insert(there.identity.id, there.clone());
                    there.as_column_type(schema.name())
                }
                // Another object of the name is refused with the others.
                _ => {
                    let mut fresh = made.clone();
                    (fresh.identity.id, fresh.array) = (id(made.identity.id), id(made.array));
                    fresh.as_column_type(schema.name())
                }
            };
            if let ColumnType::Enum(new) = column_type {
                types.new.insert(made.identity.id, *new);
            }
            if !matches!(there.as_deref(), Some(Descriptor::Type(_))) {
                descriptors.push(descriptor);
            }
        }
        Ok(types)
    }

    /// The type that stands for one of the backup.
    fn get(&self, old: DescriptorId) -> Result<&EnumType> {
        self.new.get(&old).ok_or_else(|| Error::corrupt("the manifest", "it lacks the type of a column"))
    }

    fn id(&self, old: DescriptorId) -> Result<DescriptorId> {
        self.get(old).map(|new| new.id)
    }

    /// Gives the columns of an object that has its new id their types.
    fn replace(&mut self, object: &mut Descriptor) -> Result<()> {
        let user = object.id();
        let mut used: BTreeSet<DescriptorId> = BTreeSet::new();
        if let Descriptor::View(view) = object {
            used.extend(view.types.iter().map(|old| self.id(*old)).collect::<Result<Vec<_>>>()?);
        }
        for column_type in object.column_types_mut() {
            if let Some(copy) = column_type.enumeration_mut() {
                let new = self.get(copy.id)?;
                used.insert(new.id);
                copy.clone_from(new);
            }
        }
        for id in used {
            if let Some(there) = self.there.get_mut(&id) {
                there.used_by.push(user);
            }
        }
        Ok(())
    }
}

fn move_spaces(table: &mut TableDescriptor, space: &(dyn Fn(SpaceId) -> SpaceId + Sync)) {
    let indexes = std::iter::once(&mut table.primary).chain(&mut table.indexes);
    indexes.for_each(|index| index.space = space(index.space));
}

/// Drops foreign keys, defaults and views that need something that is not restored, if the statement allows it.
fn leave_out(descriptors: &mut Vec<Descriptor>, payload: &RestorePayload) -> Result<()> {
    loop {
        let kept: HashSet<DescriptorId> = descriptors.iter().map(Descriptor::id).collect();
        let needy = |found: &Descriptor| matches!(found, Descriptor::View(view) if view.depends_on.iter().any(|id| !kept.contains(id)));
        let Some(position) = descriptors.iter().position(needy) else { break };
        let view = descriptors.remove(position);
        if !payload.skip.views {
            let message = format!("cannot restore view \"{}\" without everything it reads", view.name());
            return Err(Error::refused_with_hint(
                "2BP01",
                message,
                "Restore that too, or use option skip_missing_views.",
            ));
        }
    }
    let kept: HashSet<DescriptorId> = descriptors.iter().map(Descriptor::id).collect();
    for descriptor in descriptors {
        let Descriptor::Table(table) = descriptor else { continue };
        let name = table.identity.name.clone();
        if let Some(key) = table.foreign_keys.iter().find(|key| !kept.contains(&key.referenced_table))
            && !payload.skip.foreign_keys
        {
            let message = format!(
                "cannot restore table \"{name}\" without the table that foreign key \"{}\" refers to",
                key.name
            );
            return Err(Error::refused_with_hint(
                "2BP01",
                message,
                "Restore that too, or use option skip_missing_foreign_keys.",
            ));
        }
        table.foreign_keys.retain(|key| kept.contains(&key.referenced_table));
        if table.sequences.iter().any(|sequence| !kept.contains(sequence)) {
            if !payload.skip.sequences {
                let message = format!("cannot restore table \"{name}\" without a sequence that a default uses");
                return Err(Error::refused_with_hint(
                    "2BP01",
                    message,
                    "Restore that too, or use option skip_missing_sequences.",
                ));
            }
            for column in &mut table.columns {
                if column.default.as_ref().is_some_and(|default| default.to_lowercase().contains("nextval")) {
                    (column.default, column.identity) = (None, None);
                }
            }
            table.sequences.clear();
        }
    }
    Ok(())
}

/// Where tables that are restored into existing databases go.
#[derive(Default)]
struct Places {
    databases: BTreeMap<DescriptorId, DescriptorId>,
    schemas: BTreeMap<DescriptorId, DescriptorId>,
    new_schemas: Vec<Descriptor>,
}

async fn places(
    catalog: &Catalog,
    payload: &RestorePayload,
    manifest: &Manifest,
    descriptors: &[Descriptor],
    id: &(dyn Fn(DescriptorId) -> DescriptorId + Sync),
) -> Result<Places> {
    let mut places = Places::default();
    let restored: HashSet<DescriptorId> = descriptors.iter().map(Descriptor::id).collect();
    let backed_up = |wanted: DescriptorId| manifest.descriptors.iter().find(|found| found.id() == wanted);
    for descriptor in descriptors {
        let (Some(database), Some(schema)) = descriptor.parents() else { continue };
        if restored.contains(&database) || places.schemas.contains_key(&schema) {
            continue;
        }
        let (Some(old_database), Some(old_schema)) = (backed_up(database), backed_up(schema)) else {
            return Err(Error::corrupt("the manifest", "it lacks the database of a table"));
        };
        let name = payload.into_db.as_deref().unwrap_or(old_database.name());
        let target = catalog.lookup(None, None, name).await?;
        let missing = || {
            let message = format!("database \"{name}\" does not exist");
            Error::refused_with_hint("3D000", message, "Create it first, or name another with option into_db.")
        };
        let target = target.ok_or_else(missing)?.id();
        places.databases.insert(database, target);
        let new_schema = match catalog.lookup(Some(target), None, old_schema.name()).await? {
            Some(found) => found.id(),
            None => {
                let identity = Identity::new(id(old_schema.id()), old_schema.name(), &payload.owner);
                let schema = SchemaDescriptor { identity, database: target, temporary: false };
                let fresh = schema.identity.id;
                places.new_schemas.push(Descriptor::Schema(schema));
                fresh
            }
        };
        places.schemas.insert(schema, new_schema);
    }
    Ok(places)
}

/// What is restored along with its database cannot clash with anything.
async fn refuse_taken_names(
    catalog: &Catalog,
    payload: &RestorePayload,
    descriptors: &[Descriptor],
    into_existing: &HashSet<DescriptorId>,
) -> Result<()> {
    for descriptor in descriptors {
        let (database, schema) = descriptor.parents();
        if database.is_some_and(|database| !into_existing.contains(&database)) {
            continue;
        }
        let replaced = payload.cluster && ["defaultdb", "postgres"].contains(&descriptor.name());
        if (database.is_none() && replaced) || catalog.lookup(database, schema, descriptor.name()).await?.is_none() {
            continue;
        }
        return Err(match descriptor {
            Descriptor::Database(_) => {
                let message = format!("database \"{}\" already exists", descriptor.name());
                Error::refused_with_hint(
                    "42P04",
                    message,
                    "Drop or rename it, or restore under another name with option new_db_name.",
                )
            }
            Descriptor::Type(made) => {
                Error::refused("42710", format!("type \"{}\" already exists", made.identity.name))
            }
            other => Error::refused("42P07", format!("relation \"{}\" already exists", other.name())),
        });
    }
    Ok(())
}

#[async_trait]
impl JobType for RestoreJob {
    async fn resume(&self, job: &JobHandle) -> Result<serde_json::Value, Failure> {
        self.run(job).await.map_err(Failure::from)
    }

    fn is_worth_pausing(&self) -> bool {
        true
    }

    async fn on_fail_or_cancel(&self, job: &JobHandle) -> Result<(), Failure> {
        let undo = async {
            let record = job.record().await.map_err(Error::Job)?;
            let Some(checkpoint) = record.checkpoint else { return Ok(()) };
            let state: State = from_json(checkpoint)?;
            if state.published {
                // Everything is there and in use; only the job's own end was not written down.
                return Ok(());
            }
            let spaces: Vec<SpaceId> = state.spaces.values().copied().collect();
            Ok(job.store().discard_spaces(&spaces).await?)
        };
        undo.await.map_err(|error: Error| match Failure::from(error) {
            Failure::Permanent { message, .. } => Failure::Retry(message),
            other => other,
        })
    }
}
