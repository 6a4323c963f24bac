//! From a statement to a job's payload. Everything that can be refused is refused here, before there is a job.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::collection::{Collection, Layer, full_directory, incremental_directory};
use super::manifest::TargetSpec;
use super::targets::{Names, Resolved};
use super::{Error, Result};
use crate::catalog::protection::ProtectedTarget;
use crate::catalog::{Catalog, Descriptor, DescriptorCache, DescriptorId};
use crate::kv::{SpaceHistory, SpaceId, Store};
use crate::parser::{Access, Backup, BackupOptions, Flag, Restore, Subdirectory, Targets, Text, Uri};
use crate::storage::Storage;
use crate::storage::seal::ChainKey;
use crate::time::{Clock, Timestamp};

/// Directories are named by hundredths of a second.
const NAME_STEP: Duration = Duration::from_millis(10);

/// What planning needs to reach.
pub struct Planner<'a> {
    /// The store.
    pub store: &'a Arc<dyn Store>,
    /// Decoded descriptors.
    pub descriptors: &'a Arc<DescriptorCache>,
    /// External storage.
    pub storage: &'a Storage,
    /// What it waits by.
    pub clock: &'a dyn Clock,
    /// The database unqualified names are in.
    pub current_database: &'a str,
    /// Values of placeholders.
    pub parameters: &'a [Option<String>],
}

/// What a backup job is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupPayload {
    /// The cluster, by its id.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// The collection.
    pub uri: String,
    /// Where its incremental layers are, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_uri: Option<String>,
    /// The full backup of the chain.
    pub full: String,
    /// The layer's own directory; the same for a full backup.
    pub directory: String,
    /// The layer's id.
    pub layer_id: String,
    /// The end of the layer below.
    pub start_time: Option<Timestamp>,
    /// The instant to back up.
    pub end_time: Timestamp,
    /// With revision history: where it begins.
    pub history_start: Option<Timestamp>,
    /// Digest of the manifest of the layer below.
    pub previous_digest: Option<String>,
    /// What the chain is of.
    pub targets: TargetSpec,
    /// What the statement names.
    pub roots: Vec<DescriptorId>,
    /// Every descriptor to be in the backup.
    pub all: Vec<DescriptorId>,
}

/// What a restore job is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestorePayload {
    /// The collection.
    pub uri: String,
    /// Where its incremental layers are, if not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_uri: Option<String>,
    /// The full backup of the chain.
    pub full: String,
    /// The instant to restore.
    pub at: Timestamp,
    /// The manifest's digest of the layer that covers it, so that the job restores what was planned.
    pub digest: String,
    /// Descriptors of the backup to restore.
    pub restore: Vec<DescriptorId>,
    /// Whether it is the whole cluster.
    pub cluster: bool,
    /// Whether it is users and roles, and nothing else.
    #[serde(default)]
    pub system_users: bool,
    /// Restore the database under this name.
    pub new_db_name: Option<String>,
    /// Restore tables into this database.
    pub into_db: Option<String>,
    /// Foreign keys, sequence defaults and views that need what is not restored are left out.
    pub skip: Skips,
    /// Who owns what is restored.
    pub owner: String,
    /// What to do with the rows.
    pub data: TableData,
}

/// What a restore does with the rows of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableData {
    /// Loads them.
    Load,
    /// Nothing: `schema_only`.
    LeaveOut,
    /// Reads and checks all of them, and loads none: `verify_backup_table_data`.
    Verify,
}

/// What a restore may leave out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Skips {
    /// `skip_missing_foreign_keys`
    pub foreign_keys: bool,
    /// `skip_missing_sequences`
    pub sequences: bool,
    /// `skip_missing_views`
    pub views: bool,
}

/// A collection, and the URIs that name it.
pub struct Named {
    /// Its URI.
    pub uri: String,
    /// Where its incremental layers are, if not there.
    pub incremental_uri: Option<String>,
    /// The collection.
    pub collection: Collection,
}

impl BackupPayload {
    /// The collection to write to.
    pub fn collection(&self, storage: &Storage) -> Result<Collection> {
        Collection::open(storage, &self.uri, self.incremental_uri.as_deref())
    }
}

/// A planned job.
#[derive(Clone)]
pub struct Planned<P> {
    /// What it is to do.
    pub payload: P,
    /// What it must keep to itself: the key of an encrypted chain.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// Its description: the statement as it will be run, secrets redacted.
    pub description: String,
}

/// A statement that could be run now.
pub struct Rehearsed {
    /// The statement, with names that do not depend on the current database.
    pub statement: Backup,
    /// Where it would write.
    pub collection: Collection,
    /// Whose history it would need.
    pub protected: ProtectedTarget,
}

fn unsupported<T>(what: &str) -> Result<T> {
    Err(Error::refused("0A000", format!("{what} is not supported")))
}

impl Planner<'_> {
    fn text<'t>(&'t self, text: &'t Text) -> Result<&'t str> {
        let missing = || Error::refused("22023", "a parameter of the statement is missing or NULL");
        text.resolve(self.parameters).ok_or_else(missing)
    }

    fn is_true(&self, flag: Option<&Flag>) -> Result<bool> {
        let no_flag = || Error::refused("22023", "a parameter of the statement is neither true nor false");
        flag.map_or(Ok(false), |flag| flag.resolve(self.parameters).ok_or_else(no_flag))
    }

    /// The passphrase of a statement.
    fn passphrase<'t>(&'t self, access: &'t Access) -> Result<Option<&'t str>> {
        let passphrase = access.encryption_passphrase.as_ref().map(|secret| self.text(secret.expose())).transpose()?;
        match passphrase {
            Some("") => Err(Error::refused("22023", "the passphrase is empty")),
            other => Ok(other),
        }
    }

    /// The collection with the key of a chain that a statement names.
    pub async fn unlocked(&self, collection: Collection, full: &str, access: &Access) -> Result<Collection> {
        collection.unlocked(full, self.passphrase(access)?).await
    }

    fn uri(&self, uris: &[Uri]) -> Result<String> {
        let [uri] = uris else { return unsupported("a backup in more than one place") };
        Ok(self.text(uri.expose())?.to_string())
    }

    /// The collection a statement names.
    pub fn collection(&self, uris: &[Uri], access: &Access) -> Result<Named> {
        let uri = self.uri(uris)?;
        let elsewhere = &access.incremental_location;
        let incremental_uri = if elsewhere.is_empty() { None } else { Some(self.uri(elsewhere)?) };
        // The same place is no other place.
        let incremental_uri = incremental_uri.filter(|incrementals| *incrementals != uri);
        let collection = Collection::open(self.storage, &uri, incremental_uri.as_deref())?;
        Ok(Named { uri, incremental_uri, collection })
    }

    /// The full backup a statement names.
    pub async fn resolve(&self, collection: &Collection, subdirectory: &Subdirectory) -> Result<String> {
        let path = match subdirectory {
            Subdirectory::Latest => None,
            Subdirectory::Path(text) => Some(self.text(text)?),
        };
        collection.resolve(subdirectory, path).await
    }

    /// Refuses what this version cannot do.
    fn check_options(&self, options: &BackupOptions) -> Result<()> {
        let refused = [
            (!options.access.kms.is_empty(), "option kms"),
            (options.execution_locality.is_some(), "option execution locality"),
            (options.strict_storage_locality, "option strict storage locality"),
            (
                self.is_true(options.updates_cluster_monitoring_metrics.as_ref())?,
                "option updates_cluster_monitoring_metrics",
            ),
            (options.include_all_virtual_clusters.is_some(), "option include_all_virtual_clusters"),
        ];
        match refused.into_iter().find(|(given, _)| *given) {
            Some((_, what)) => unsupported(what),
            None => Ok(()),
        }
    }

    /// Checks a statement without placeholders that is to be run again and again, as if it were run now: its targets, that its
    /// collection can be written to, its options. With names that do not depend on the current database it comes back.
    pub async fn rehearse(&self, statement: &Backup) -> Result<Rehearsed> {
        let options = &statement.options;
        self.check_options(options)?;
        self.passphrase(&options.access)?;
        let Named { collection, .. } = self.collection(&statement.collection, &options.access)?;
        let txn = self.store.begin().await?;
        let names = Names::new(permanent_descriptors(&Catalog::new(txn, self.descriptors.clone())).await?);
        let resolved = names.resolve(&statement.targets, self.current_database)?;
        let targets = names.whole(&statement.targets, self.current_database)?;
        collection.try_write().await?;
        let has_history = self.is_true(options.revision_history.as_ref())?;
        let protected = super::start::protected_target(&resolved.spec, &resolved.roots, has_history);
        Ok(Rehearsed { statement: Backup { targets, ..statement.clone() }, collection, protected })
    }

    /// Plans `BACKUP`; `as_of` is the time of its `AS OF SYSTEM TIME`.
    pub async fn backup(&self, statement: &Backup, as_of: Option<Timestamp>) -> Result<Planned<BackupPayload>> {
        let options = &statement.options;
        self.check_options(options)?;
        let Named { uri, incremental_uri, mut collection } = self.collection(&statement.collection, &options.access)?;
        let end_time = self.end_time(as_of).await?;
        let resolved = self.targets_at(&statement.targets, end_time).await?;
        let below = match &statement.subdirectory {
            None => None,
            Some(subdirectory) => {
                let full = self.resolve(&collection, subdirectory).await?;
                collection = self.unlocked(collection, &full, &options.access).await?;
                let top = self.top_layer(&collection, &full, &resolved, end_time).await?;
                Some((full, top))
            }
        };
        self.check_history(below.as_ref().map(|(_, top)| top), &resolved, end_time).await?;
        // A name is of a hundredth of a second, and may be taken. What is backed up is no other instant for that.
        let mut named = end_time;
        let directory = loop {
            let directory = match &below {
                None => full_directory(named),
                Some((full, top)) => incremental_directory(full, top.manifest.end_time, named),
            };
            if collection.claim(&directory).await? {
                break directory;
            }
            named = named.plus(NAME_STEP);
        };
        let full = below.as_ref().map_or_else(|| directory.clone(), |(full, _)| full.clone());
        let history_start = match (self.is_true(options.revision_history.as_ref())?, &below) {
            (false, _) => None,
            (true, Some((_, top))) => Some(top.manifest.end_time),
            (true, None) => Some(self.earliest_history()?.min(end_time)),
        };
        if below.is_none()
            && let Some(passphrase) = self.passphrase(&options.access)?
        {
            let passphrase = Zeroizing::new(passphrase.to_string());
            let created = tokio::task::spawn_blocking(move || ChainKey::create(&passphrase)).await;
            let failed = |error: String| Error::corrupt("the key of the backup", error);
            let created = created.map_err(|error| failed(error.to_string()))?;
            let (key, info) = created.map_err(|error| failed(error.to_string()))?;
            collection.encrypt(&full, &info).await?;
            collection = collection.with_key(Some(key));
        }
        let secret = collection.key().map(ChainKey::to_bytes);
        let payload = BackupPayload {
            cluster_id: Some(self.cluster_id().await?),
            uri,
            incremental_uri,
            full: full.clone(),
            directory,
            layer_id: uuid::Uuid::new_v4().to_string(),
            start_time: below.as_ref().map(|(_, top)| top.manifest.end_time),
            end_time,
            history_start,
            previous_digest: below.map(|(_, top)| top.digest),
            targets: resolved.spec,
            roots: resolved.roots,
            all: resolved.all.into_iter().collect(),
        };
        let shown =
            Backup { subdirectory: Some(Subdirectory::Path(Text::Literal(format!("/{full}")))), ..statement.clone() };
        Ok(Planned { payload, secret, description: shown.to_string() })
    }

    /// The instant to back up, in whole microseconds, so that it can be typed. Commits are at whole microseconds, so what is there
    /// at a time that somebody names is there at that time rounded down, and nothing else is.
    async fn end_time(&self, as_of: Option<Timestamp>) -> Result<Timestamp> {
        let now = self.store.now()?;
        match as_of {
            Some(as_of) if as_of > now => {
                Err(Error::refused("22023", format!("cannot back up the future: {as_of} is after {now}")))
            }
            Some(as_of) => Ok(Timestamp::from_micros(as_of.micros())),
            None => self.wait_until(now.ceil_micros()).await,
        }
    }

    /// The earliest instant of which everything can still be read.
    fn earliest_history(&self) -> Result<Timestamp> {
        // Of a dropped space below its threshold nothing is left, so what was before its drop is incomplete.
        let complete_from = |history: SpaceHistory| match history.dropped {
            Some(dropped) if dropped <= history.threshold => dropped,
            _ => history.threshold,
        };
        Ok(self.store.histories()?.into_iter().map(complete_from).max().unwrap_or(Timestamp::MIN))
    }

    async fn wait_until(&self, time: Timestamp) -> Result<Timestamp> {
        loop {
            let now = self.store.now()?;
            if now >= time {
                return Ok(time);
            }
            // Up to a microsecond passes faster than anything could wait for it.
            if time > now.plus(Duration::from_micros(1)) {
                self.clock.sleep(Duration::from_nanos((time.0 - now.0) as u64)).await;
            }
        }
    }

    async fn targets_at(&self, targets: &Targets, at: Timestamp) -> Result<Resolved> {
        let txn = self.store.begin_at(at).await?;
        let names = Names::new(permanent_descriptors(&Catalog::new(txn, self.descriptors.clone())).await?);
        names.resolve(targets, self.current_database)
    }

    async fn top_layer(
        &self,
        collection: &Collection,
        full: &str,
        resolved: &Resolved,
        end_time: Timestamp,
    ) -> Result<Layer> {
        let mut layers = collection.chain(full).await?;
        let Some(top) = layers.pop() else { return Err(Error::corrupt(full, "the chain is empty")) };
        // What is a new table here may have the number of another one there.
        if top.manifest.cluster_id != Some(self.cluster_id().await?) {
            let message = "the backup being added to is of another cluster";
            return Err(Error::refused_with_hint("22023", message, "Take a full backup."));
        }
        if top.manifest.targets != resolved.spec {
            let message = "the backup being added to has other targets than this statement";
            let hint = format!("The chain in {full} is of {}.", describe(&top.manifest.targets));
            return Err(Error::refused_with_hint("22023", message, hint));
        }
        if top.manifest.end_time >= end_time {
            return Err(Error::Covered { asked: end_time, until: top.manifest.end_time });
        }
        Ok(top)
    }

    async fn cluster_id(&self) -> Result<String> {
        Ok(Catalog::new(self.store.begin().await?, self.descriptors.clone()).cluster_id().await?)
    }

    /// A layer needs all that happened since the one below, and the state at its end of what that does not have: refused if
    /// some of it has been collected.
    async fn check_history(&self, below: Option<&Layer>, resolved: &Resolved, end_time: Timestamp) -> Result<()> {
        let covered: HashSet<SpaceId> = below.iter().flat_map(|below| below.manifest.covered.iter().copied()).collect();
        let start = below.map_or(end_time, |below| below.manifest.end_time);
        let needed_from = |space: SpaceId| if covered.contains(&space) { start } else { end_time };
        let histories = self.store.histories()?.into_iter();
        let lost = histories.filter(|history| history.threshold > needed_from(history.space));
        let lost: HashSet<SpaceId> = lost.map(|history| history.space).collect();
        let catalog = Catalog::new(self.store.begin_at(end_time).await?, self.descriptors.clone());
        for id in &resolved.all {
            let descriptor = catalog.get(*id).await?;
            if !descriptor.is_excluded_from_backup() && descriptor.spaces().iter().any(|space| lost.contains(space)) {
                let message = format!(
                    "protected ts verification error: the history of \"{}\" since {} has been collected",
                    descriptor.name(),
                    start.to_utc().format("%Y-%m-%d %H:%M:%S%.6f")
                );
                let hint = "Take a full backup of now. To back up less often or of longer ago, raise gc.ttlseconds.";
                return Err(Error::refused_with_hint("72000", message, hint));
            }
        }
        Ok(())
    }

    /// Plans `RESTORE`; `as_of` is the time of its `AS OF SYSTEM TIME`.
    pub async fn restore(
        &self,
        statement: &Restore,
        as_of: Option<Timestamp>,
        owner: &str,
    ) -> Result<Planned<RestorePayload>> {
        let options = &statement.options;
        let refused = [
            (!options.access.kms.is_empty(), "option kms"),
            (options.execution_locality.is_some(), "option execution locality"),
        ];
        if let Some((_, what)) = refused.into_iter().find(|(given, _)| *given) {
            return unsupported(what);
        }
        let has = |flag: &str| options.flags.contains(&flag);
        let known = [
            "schema_only",
            "verify_backup_table_data",
            "skip_missing_foreign_keys",
            "skip_missing_sequences",
            "skip_missing_sequence_owners",
            "skip_missing_views",
            "skip_missing_udfs",
        ];
        if let Some(flag) = options.flags.iter().find(|flag| !known.contains(flag)) {
            return unsupported(&format!("option {flag}"));
        }
        if has("verify_backup_table_data") && !has("schema_only") {
            let message = "option verify_backup_table_data needs option schema_only";
            return Err(Error::refused("22023", message));
        }
        let Named { uri, incremental_uri, collection } =
            self.collection(&statement.backup.collection, &options.access)?;
        let full = self.resolve(&collection, &statement.backup.subdirectory).await?;
        let collection = self.unlocked(collection, &full, &options.access).await?;
        let layers = collection.chain(&full).await?;
        let (layer, at) = choose_layer(&layers, as_of)?;
        let manifest = layer.manifest_at(at);
        let backed_up = manifest.descriptors.iter().cloned().map(Arc::new);
        let names = Names::new(backed_up);
        let cluster = statement.targets == Targets::Cluster;
        if cluster && layer.manifest.targets != TargetSpec::Cluster {
            let message = "a full cluster restore needs a full cluster backup";
            let hint = format!("This is a backup of {}; name what to restore.", describe(&layer.manifest.targets));
            return Err(Error::refused_with_hint("22023", message, hint));
        }
        let system_users = statement.targets == Targets::SystemUsers;
        if system_users && layer.manifest.targets != TargetSpec::Cluster {
            let message = "users are only in a backup of the whole cluster";
            return Err(Error::refused("22023", message));
        }
        let resolved = names.resolve(&statement.targets, self.current_database).map_err(|error| match error {
            Error::Refused { sqlstate, message, hint } => {
                Error::Refused { sqlstate, message: format!("in the backup: {message}"), hint }
            }
            other => other,
        })?;
        if let (Targets::Databases(_), TargetSpec::Tables(_)) = (&statement.targets, &layer.manifest.targets) {
            let message = "a backup of tables does not have whole databases";
            return Err(Error::refused_with_hint(
                "22023",
                message,
                "Restore tables from it: RESTORE TABLE ... FROM ...",
            ));
        }
        let resolve_name =
            |text: &Option<Text>| text.as_ref().map(|text| self.text(text).map(str::to_string)).transpose();
        let restore = match statement.targets {
            Targets::Tables(_) => resolved.roots,
            Targets::SystemUsers => Vec::new(),
            _ => resolved.all.into_iter().collect(),
        };
        let payload = RestorePayload {
            uri,
            incremental_uri,
            full: full.clone(),
            at,
            digest: layer.digest.clone(),
            restore,
            cluster,
            system_users,
            new_db_name: resolve_name(&options.new_db_name)?,
            into_db: resolve_name(&options.into_db)?,
            skip: Skips {
                foreign_keys: has("skip_missing_foreign_keys"),
                sequences: has("skip_missing_sequences"),
                views: has("skip_missing_views"),
            },
            owner: owner.into(),
            data: match (has("schema_only"), has("verify_backup_table_data")) {
                (false, _) => TableData::Load,
                (true, false) => TableData::LeaveOut,
                (true, true) => TableData::Verify,
            },
        };
        let txn = self.store.begin().await?;
        let catalog = Catalog::new(txn, self.descriptors.clone());
        super::restore_job::rewrite(&catalog, &payload, &manifest, &|id| id, &|space| space).await?;
        let mut shown = statement.clone();
        shown.backup.subdirectory = Subdirectory::Path(Text::Literal(format!("/{full}")));
        let secret = collection.key().map(ChainKey::to_bytes);
        Ok(Planned { payload, secret, description: shown.to_string() })
    }
}

/// The layer that covers an instant, and the instant: without revision history a restore goes to the end of a layer.
fn choose_layer(layers: &[Layer], as_of: Option<Timestamp>) -> Result<(&Layer, Timestamp)> {
    let Some(top) = layers.last() else { return Err(Error::corrupt("the chain", "it has no layer")) };
    let Some(as_of) = as_of else { return Ok((top, top.manifest.end_time)) };
    let covers = |layer: &&Layer| {
        let start = layer.manifest.revisions.as_ref().map(|revisions| revisions.start);
        layer.manifest.end_time == as_of
            || start.is_some_and(|start| start <= as_of && as_of <= layer.manifest.end_time)
    };
    if let Some(layer) = layers.iter().find(covers) {
        return Ok((layer, as_of));
    }
    let shown = |time: Timestamp| format!("'{}'", time.to_utc().format("%Y-%m-%d %H:%M:%S%.6f"));
    let times = layers.iter().map(|layer| match &layer.manifest.revisions {
        Some(revisions) => format!("{} to {}", shown(revisions.start.ceil_micros()), shown(layer.manifest.end_time)),
        None => shown(layer.manifest.end_time),
    });
    let message = format!("this backup does not cover {}", as_of.to_utc().format("%Y-%m-%d %H:%M:%S%.9f"));
    let hint = format!("It can be restored as of: {}.", times.collect::<Vec<_>>().join(", "));
    Err(Error::refused_with_hint("22023", message, hint))
}

fn describe(targets: &TargetSpec) -> String {
    match targets {
        TargetSpec::Cluster => "the whole cluster".into(),
        TargetSpec::Databases(names) => format!("database {}", names.join(", ")),
        TargetSpec::Tables(names) => format!("table {}", names.join(", ")),
    }
}

/// Every descriptor of a catalog but what is temporary.
async fn permanent_descriptors(catalog: &Catalog) -> Result<Vec<Arc<Descriptor>>> {
    let mut all = Vec::new();
    for database in catalog.list(None, None).await? {
        for schema in catalog.list(Some(database.id()), None).await? {
            if schema.is_temporary() {
                continue;
            }
            all.extend(catalog.list(Some(database.id()), Some(schema.id())).await?);
            all.push(schema);
        }
        all.push(database);
    }
    Ok(all)
}
