//! A collection: where layers are, and which of them belong together.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::manifest::{self, DataFile, Manifest, Record, digest};
use super::{Error, Result};
use crate::catalog::Descriptor;
use crate::parser::Subdirectory;
use crate::storage::seal::{self, ChainKey, EncryptionInfo};
use crate::storage::{self, Location, Storage};
use crate::time::Timestamp;

/// The commit point of a layer.
pub const MANIFEST: &str = "BACKUP_MANIFEST";
const INDEX: &str = "metadata/index";
const LATEST: &str = "metadata/latest";
const LOCKS: &str = "metadata/lock";
const PROBE: &str = "metadata/probe";
const INCREMENTALS: &str = "incrementals";
const ENCRYPTION_INFO: &str = "ENCRYPTION-INFO";
/// Begins a sealed file; the id that its key is made from follows, then what is sealed.
const SEALED_MAGIC: &[u8] = b"keepsafe-sealed 1\n";
const CLAIM: &str = "BACKUP-CHECKPOINT-CLAIM";
/// A lock not refreshed for this long belongs to nobody.
pub const LOCK_STALE_MICROS: i64 = 10 * 60 * 1_000_000;

/// A place with backups in it.
#[derive(Clone, Debug)]
pub struct Collection {
    location: Location,
    /// Where the incremental layers are, if not beside the full ones.
    incrementals: Option<Location>,
    /// With it, every manifest and file list is sealed.
    key: Option<ChainKey>,
}

/// A complete layer and where it is.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its directory in the collection.
    pub directory: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// The manifest's digest.
    pub digest: String,
}

impl Layer {
    /// The manifest as it would be if the layer ended at `at`, which it covers.
    pub fn manifest_at(&self, at: Timestamp) -> Manifest {
        let mut manifest = self.manifest.clone();
        if let Some(revisions) = manifest.revisions.as_ref().filter(|_| at < manifest.end_time) {
            let mut descriptors = revisions.descriptors_at(at);
            // The rows of a table that is kept out at the layer's end are not in the layer.
            for descriptor in &mut descriptors {
                let is_out =
                    manifest.descriptors.iter().any(|end| end.id() == descriptor.id() && end.is_excluded_from_backup());
                if let Descriptor::Table(table) = descriptor {
                    table.exclude_data_from_backup |= is_out;
                }
            }
            manifest.descriptors = descriptors;
            manifest.end_time = at;
        }
        manifest
    }
}

#[derive(Serialize, Deserialize)]
struct IndexEntry {
    layer_id: String,
    directory: String,
    digest: String,
    previous_digest: Option<String>,
    end_time: Timestamp,
    /// Whether it is in another place than the collection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
}

#[derive(Serialize, Deserialize)]
struct LockFile {
    job: i64,
    refreshed_micros: i64,
}

/// The time part of a directory name: hundredths of a second.
fn stamp(time: Timestamp, format: &str) -> String {
    let utc = time.to_utc();
    format!("{}.{:02}", utc.format(format), time.micros().rem_euclid(1_000_000) / 10_000)
}

/// The directory of a full backup.
pub fn full_directory(end_time: Timestamp) -> String {
    stamp(end_time, "%Y/%m/%d-%H%M%S")
}

/// The directory of a layer on top of a full backup.
pub fn incremental_directory(full: &str, start_time: Timestamp, end_time: Timestamp) -> String {
    format!("{INCREMENTALS}/{full}/{}-{}", stamp(end_time, "%Y%m%d/%H%M%S"), stamp(start_time, "%Y%m%d-%H%M%S"))
}

fn encrypted() -> Error {
    Error::refused_with_hint(
        "22023",
        "the backup is encrypted",
        "Give its passphrase: WITH encryption_passphrase = '...'.",
    )
}

fn index_name(full: &str) -> String {
    full.replace('/', "-")
}

/// Where the index has a layer.
fn index_entry(full: &str, layer: &Layer) -> String {
    format!("{INDEX}/{}/{:020}", index_name(full), layer.manifest.end_time.0)
}

/// What makes a full backup the latest: the newest is first in a listing, and of several of one time the last that was named.
fn latest_marker(layer: &Layer) -> String {
    let inverted = u64::MAX - layer.manifest.end_time.0 as u64;
    let digits: String = layer.directory.chars().filter(char::is_ascii_digit).collect();
    format!("{LATEST}/LATEST-{inverted:020}-{:020}", u64::MAX - digits.parse::<u64>().unwrap_or_default())
}

impl Collection {
    /// The collection at a location.
    pub fn new(location: Location) -> Collection {
        Collection { location, incrementals: None, key: None }
    }

    /// The collection that URIs name, and where its incremental layers are, if that is another place.
    pub fn open(storage: &Storage, uri: &str, incrementals: Option<&str>) -> Result<Collection> {
        let incrementals = incrementals.map(|uri| storage.open(uri)).transpose()?;
        Ok(Collection { incrementals, ..Collection::new(storage.open(uri)?) })
    }

    /// The same collection, to read or write an encrypted chain in it.
    pub fn with_key(mut self, key: Option<ChainKey>) -> Collection {
        self.key = key;
        self
    }

    /// The key of the chain that is read or written, if it is encrypted.
    pub fn key(&self) -> Option<&ChainKey> {
        self.key.as_ref()
    }

    /// How the key of a chain can be had; nothing if it is not encrypted.
    pub async fn encryption(&self, full: &str) -> Result<Option<EncryptionInfo>> {
        let name = format!("{full}/{ENCRYPTION_INFO}");
        match self.location.read(&name).await {
            Ok(file) => manifest::decode(&self.shown(&name), &file).map(Some),
            Err(storage::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the chain that begins in a directory an encrypted one.
    pub async fn encrypt(&self, full: &str, info: &EncryptionInfo) -> Result<()> {
        Ok(self.location.create(&format!("{full}/{ENCRYPTION_INFO}"), manifest::encode(info)?).await?)
    }

    /// A file of a chain, sealed if the chain is encrypted.
    pub fn encode(&self, value: &impl Serialize) -> Result<Bytes> {
        let plain = manifest::encode(value)?;
        let Some(key) = &self.key else { return Ok(plain) };
        let failed = |error: seal::Error| Error::corrupt("a file to be sealed", error.to_string());
        let id: u128 = rand::random();
        let sealed = key.file(id).and_then(|key| key.seal(0, true, plain.to_vec())).map_err(failed)?;
        Ok([SEALED_MAGIC, &id.to_be_bytes(), &sealed].concat().into())
    }

    /// Reads what [`Collection::encode`] wrote.
    fn decode<T: DeserializeOwned>(&self, name: &str, file: &[u8]) -> Result<T> {
        let name = self.shown(name);
        let sealed = file.strip_prefix(SEALED_MAGIC).and_then(|rest| rest.split_first_chunk::<16>());
        match (sealed, &self.key) {
            (None, None) => manifest::decode(&name, file),
            (Some((id, sealed)), Some(key)) => {
                let opened = key
                    .file(u128::from_be_bytes(*id))
                    .and_then(|key| key.open(0, true, sealed.to_vec()))
                    .map_err(|error| Error::corrupt(&name, error.to_string()))?;
                manifest::decode(&name, &opened)
            }
            (Some(_), None) => Err(encrypted()),
            (None, Some(_)) => Err(Error::corrupt(name, "it is not encrypted, though its backup is")),
        }
    }

    /// Whether a layer is complete, which can be told without its key.
    async fn is_complete(&self, directory: &str) -> Result<bool> {
        let name = format!("{directory}/{MANIFEST}");
        match self.place(&name).read(&name).await {
            Ok(file) if file.starts_with(SEALED_MAGIC) => Ok(true),
            Ok(file) => Ok(matches!(manifest::decode(&self.shown(&name), &file)?, Record::Complete(_))),
            Err(storage::Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The collection with the key of a chain, which `passphrase` must open if and only if the chain is encrypted.
    pub async fn unlocked(self, full: &str, passphrase: Option<&str>) -> Result<Collection> {
        let key = match (self.encryption(full).await?, passphrase) {
            (None, None) => None,
            (Some(_), None) => return Err(encrypted()),
            (None, Some(_)) => {
                let message = "the backup is not encrypted, but option encryption_passphrase is given";
                return Err(Error::refused("22023", message));
            }
            (Some(info), Some(passphrase)) => {
                let passphrase = zeroize::Zeroizing::new(passphrase.to_string());
                // It keeps a thread busy for a noticeable time.
                let derived = tokio::task::spawn_blocking(move || ChainKey::unwrap(&info, &passphrase)).await;
                match derived.map_err(|error| Error::corrupt(full, error.to_string()))? {
                    Ok(key) => Some(key),
                    Err(error @ seal::Error::WrongPassphrase) => {
                        return Err(Error::refused("28P01", error.to_string()));
                    }
                    Err(error) => {
                        return Err(Error::corrupt(
                            self.shown(&format!("{full}/{ENCRYPTION_INFO}")),
                            error.to_string(),
                        ));
                    }
                }
            }
        };
        Ok(self.with_key(key))
    }

    /// Where a file of the collection is.
    pub fn place(&self, name: &str) -> &Location {
        self.incrementals.as_ref().filter(|_| name.starts_with(INCREMENTALS)).unwrap_or(&self.location)
    }

    /// Its URI, secrets redacted.
    pub fn shown_location(&self) -> String {
        self.location.to_string()
    }

    fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.place(name).to_string().trim_end_matches('/'))
    }

    /// Finds out whether backups can be written here, by writing a file and deleting it.
    pub async fn try_write(&self) -> Result<()> {
        let name = format!("{PROBE}-{:032x}", rand::random::<u128>());
        for place in [Some(&self.location), self.incrementals.as_ref()].into_iter().flatten() {
            place.create(&name, Bytes::new()).await?;
            // Some places keep what is written for a time.
            if let Err(error) = place.delete(&name).await {
                tracing::info!(%error, "a collection lets nothing be deleted");
            }
        }
        Ok(())
    }

    /// Takes a directory for a layer to be written; `false` if it is taken.
    pub async fn claim(&self, directory: &str) -> Result<bool> {
        match self.place(directory).size(&format!("{directory}/{MANIFEST}")).await {
            Ok(_) => return Ok(false),
            Err(storage::Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match self.place(directory).create(&format!("{directory}/{CLAIM}"), Bytes::new()).await {
            Ok(()) => Ok(true),
            Err(storage::Error::Exists(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What stands where the manifest of a layer would be; `None` if the layer is unfinished.
    pub async fn record(&self, directory: &str) -> Result<Option<(Record, String)>> {
        let name = format!("{directory}/{MANIFEST}");
        match self.place(&name).read(&name).await {
            Ok(file) => {
                // That a layer was given up is not sealed: whoever gives it up need not have the key.
                let given_up = manifest::decode(&self.shown(&name), &file).ok();
                let record = match given_up.filter(|record| matches!(record, Record::Aborted { .. })) {
                    Some(given_up) => given_up,
                    None => self.decode(&name, &file)?,
                };
                Ok(Some((record, digest(&file))))
            }
            Err(storage::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Completes a layer, or gives it up: whoever is first. The other's record comes back.
    pub async fn put_record(&self, directory: &str, record: &Record) -> Result<(Record, String)> {
        let file = match record {
            Record::Complete(_) => self.encode(record)?,
            Record::Aborted { .. } => manifest::encode(record)?,
        };
        match self.place(directory).create(&format!("{directory}/{MANIFEST}"), file.clone()).await {
            Ok(()) => Ok((record.clone(), digest(&file))),
            Err(storage::Error::Exists(_)) => {
                let found = self.record(directory).await?;
                found.ok_or_else(|| Error::corrupt(self.shown(directory), "its manifest comes and goes"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a record in the place of one that cannot be read.
    pub async fn replace_record(&self, directory: &str, record: &Record) -> Result<(Record, String)> {
        let file = manifest::encode(record)?;
        self.place(directory).write(&format!("{directory}/{MANIFEST}"), file.clone()).await?;
        Ok((record.clone(), digest(&file)))
    }

    /// Notes a complete layer in the index, and a full one as the latest.
    pub async fn publish(&self, full: &str, layer: &Layer) -> Result<()> {
        let entry = IndexEntry {
            layer_id: layer.manifest.layer_id.clone(),
            directory: layer.directory.clone(),
            digest: layer.digest.clone(),
            previous_digest: layer.manifest.previous_digest.clone(),
            end_time: layer.manifest.end_time,
            elsewhere: self.incrementals.is_some() && layer.manifest.start_time.is_some(),
        };
        self.location.write(&index_entry(full, layer), manifest::encode(&entry)?).await?;
        if layer.manifest.start_time.is_none() {
            self.location.write(&latest_marker(layer), manifest::encode(&full.to_string())?).await?;
        }
        Ok(())
    }

    /// Takes a complete layer back, if it is the last of its chain: whether it was.
    pub async fn retract(&self, full: &str, layer: &Layer) -> Result<bool> {
        if self.chain(full).await?.last().is_some_and(|last| last.digest != layer.digest) {
            return Ok(false);
        }
        self.location.delete(&index_entry(full, layer)).await?;
        if layer.manifest.start_time.is_none() {
            let marker = latest_marker(layer);
            self.location.delete(&marker).await?;
            // As it was called before there could be several of one time.
            self.location.delete(marker.rsplit_once('-').map_or(&marker, |(older, _)| older)).await?;
        }
        self.place(&layer.directory).delete(&format!("{}/{MANIFEST}", layer.directory)).await?;
        Ok(true)
    }

    /// The directories of the complete full backups, oldest first.
    pub async fn full_backups(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for name in self.location.list("").await? {
            let Some(directory) = name.strip_suffix(&format!("/{MANIFEST}")) else { continue };
            let is_full = !directory.starts_with(INCREMENTALS) && !directory.starts_with("metadata/");
            if is_full && self.is_complete(directory).await? {
                found.push(directory.to_string());
            }
        }
        Ok(found)
    }

    /// The directory of the full backup a statement names.
    pub async fn resolve(&self, subdirectory: &Subdirectory, path: Option<&str>) -> Result<String> {
        if *subdirectory == Subdirectory::Latest {
            return self.latest().await;
        }
        let parts: Vec<&str> = path.unwrap_or_default().split('/').filter(|part| !part.is_empty()).collect();
        let path = parts.join("/");
        let missing = || {
            let message = format!("{} is not a complete full backup", self.shown(&path));
            Error::refused_with_hint("58P01", message, "SHOW BACKUPS IN 'collection' lists the backups there are.")
        };
        match !path.is_empty() && self.is_complete(&path).await? {
            true => Ok(path),
            _ if self.is_indexed(&path).await? => {
                Err(Error::corrupt(self.shown(&format!("{path}/{MANIFEST}")), "the file is missing"))
            }
            _ => Err(missing()),
        }
    }

    async fn is_indexed(&self, full: &str) -> Result<bool> {
        Ok(!full.is_empty() && !self.location.list(&format!("{INDEX}/{}", index_name(full))).await?.is_empty())
    }

    async fn latest(&self) -> Result<String> {
        if let Some(name) = self.location.list(LATEST).await?.first() {
            let full: String = manifest::decode(&self.shown(name), &self.location.read(name).await?)?;
            return match self.is_complete(&full).await? {
                true => Ok(full),
                false => Err(Error::corrupt(self.shown(&format!("{full}/{MANIFEST}")), "the file is missing")),
            };
        }
        // The marker is written after the manifest; a crash in between leaves a backup without one.
        let newest = self.full_backups().await?.pop();
        let missing = || {
            let message = format!("{}: path does not contain a completed latest backup", self.location);
            Error::refused_with_hint("58P01", message, "BACKUP INTO 'collection' takes a full backup.")
        };
        newest.ok_or_else(missing)
    }

    /// The layers of a chain, the full backup first, each linked to the one below by digest.
    pub async fn chain(&self, full: &str) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        // The index first: a layer's manifest is written before its entry, so that one that is added meanwhile is none that is missing.
        let entries = self.entries(full).await?;
        let mut directories = vec![full.to_string()];
        for name in self.place(INCREMENTALS).list(&format!("{INCREMENTALS}/{full}")).await? {
            if let Some(directory) = name.strip_suffix(&format!("/{MANIFEST}")) {
                directories.push(directory.to_string());
            }
        }
        for directory in directories {
            if let Some((Record::Complete(manifest), digest)) = self.record(&directory).await? {
                layers.push(Layer { directory, manifest: *manifest, digest });
            }
        }
        layers.sort_by_key(|layer| layer.manifest.end_time);
        for (name, entry) in entries {
            if entry.directory.starts_with(INCREMENTALS) {
                self.check_place(&entry)?;
            }
            let Some(layer) = layers.iter().find(|layer| layer.directory == entry.directory) else {
                // Of one that is taken back the entry goes first.
                if self.entry(&name).await?.is_none() {
                    continue;
                }
                let file = self.shown(&format!("{}/{MANIFEST}", entry.directory));
                return Err(Error::corrupt(file, "the file is missing, though the collection's index has it"));
            };
            if layer.digest != entry.digest {
                let file = self.shown(&format!("{}/{MANIFEST}", entry.directory));
                return Err(Error::corrupt(file, "it is not the manifest that the collection's index has"));
            }
        }
        let linked = layers.iter().enumerate().all(|(index, layer)| {
            let below = index.checked_sub(1).map(|below| &layers[below]);
            layer.manifest.previous_digest.as_ref() == below.map(|below| &below.digest)
                && layer.manifest.start_time == below.map(|below| below.manifest.end_time)
        });
        if layers.is_empty() || !linked {
            return Err(Error::corrupt(self.shown(full), "its layers do not follow on each other"));
        }
        Ok(layers)
    }

    /// What the index has of a chain, by the names of the files.
    async fn entries(&self, full: &str) -> Result<Vec<(String, IndexEntry)>> {
        let mut entries = Vec::new();
        for name in self.location.list(&format!("{INDEX}/{}", index_name(full))).await? {
            if let Some(entry) = self.entry(&name).await? {
                entries.push((name, entry));
            }
        }
        Ok(entries)
    }

    async fn entry(&self, name: &str) -> Result<Option<IndexEntry>> {
        match self.location.read(name).await {
            Ok(file) => Ok(Some(manifest::decode(&self.shown(name), &file)?)),
            Err(storage::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All incremental layers of a chain are in one place, which a statement must name if it is not the collection.
    fn check_place(&self, entry: &IndexEntry) -> Result<()> {
        match (entry.elsewhere, &self.incrementals) {
            (true, None) => {
                let message = "the incremental layers of this backup are in another place";
                let hint = "Say where: WITH incremental_location = '...'.";
                Err(Error::refused_with_hint("22023", message, hint))
            }
            (false, Some(_)) => {
                let message = "the incremental layers of this backup are in its collection";
                Err(Error::refused_with_hint("22023", message, "Leave out option incremental_location."))
            }
            _ => Ok(()),
        }
    }

    /// The data files of a layer, in order.
    pub async fn files(&self, layer: &Layer) -> Result<Vec<DataFile>> {
        let (name, expected) = &layer.manifest.file_list;
        let name = format!("{}/{name}", layer.directory);
        let file = match self.place(&name).read(&name).await {
            Err(storage::Error::NotFound(_)) => return Err(Error::corrupt(self.shown(&name), "the file is missing")),
            other => other?,
        };
        if digest(&file) != *expected {
            return Err(Error::corrupt(self.shown(&name), "it is not the file list that the manifest names"));
        }
        self.decode(&name, &file)
    }

    /// Takes the lock of a chain for a job, or keeps it. Refused while another job holds it and keeps it fresh.
    pub async fn lock(&self, full: &str, job: i64, now_micros: i64) -> Result<()> {
        let name = format!("{LOCKS}/{}", index_name(full));
        let file = manifest::encode(&LockFile { job, refreshed_micros: now_micros })?;
        match self.location.create(&name, file.clone()).await {
            Ok(()) => return Ok(()),
            Err(storage::Error::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // A lock that cannot be read protects nobody.
        let held =
            self.location.read(&name).await.ok().and_then(|file| manifest::decode::<LockFile>(&name, &file).ok());
        match held {
            Some(held) if held.job != job && now_micros - held.refreshed_micros < LOCK_STALE_MICROS => {
                let message = format!("job {} is adding a layer to this backup chain", held.job);
                Err(Error::refused_with_hint("55006", message, "Wait for it to end, or start a new full backup."))
            }
            _ => Ok(self.location.write(&name, file).await?),
        }
    }

    /// Gives the lock of a chain back.
    pub async fn unlock(&self, full: &str, job: i64) -> Result<()> {
        let name = format!("{LOCKS}/{}", index_name(full));
        let held =
            self.location.read(&name).await.ok().and_then(|file| manifest::decode::<LockFile>(&name, &file).ok());
        if held.is_some_and(|held| held.job == job) {
            self.location.delete(&name).await?;
        }
        Ok(())
    }

    /// Deletes everything in a layer's directory but what stands where its manifest would be.
    pub async fn delete_data(&self, directory: &str) -> Result<()> {
        for name in self.place(directory).list(directory).await? {
            if name != format!("{directory}/{MANIFEST}") {
                self.place(directory).delete(&name).await?;
            }
        }
        Ok(())
    }
}
