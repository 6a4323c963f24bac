//! External storage: from a URI to an object store.
//!
//! A [`Location`] is a place inside an object store; every backup file is named relative to one. `nodelocal` is the only
//! scheme of this version; the others are known and answer that they are not supported yet.

pub mod hex;
mod nodelocal;
pub mod seal;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

pub use nodelocal::NodeLocal;

use crate::parser::redact_uri;

/// What can go wrong with external storage. No message holds a secret.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The URI names a kind of storage this version does not have.
    #[error("storage scheme {0} is not supported")]
    Unsupported(String),
    /// The URI cannot be understood.
    #[error("invalid storage URI {uri}: {why}")]
    BadUri {
        /// The URI, redacted.
        uri: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server was started without local storage.
    #[error("local file access is disabled")]
    Disabled,
    /// There is no such file.
    #[error("{0}: no such file")]
    NotFound(String),
    /// There is such a file already.
    #[error("{0}: the file exists already")]
    Exists(String),
    /// The storage failed.
    #[error("{path}: {why}")]
    Failed {
        /// The file.
        path: String,
        /// The storage's words.
        why: String,
    },
}

/// The storage layer's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Knows the kinds of storage this process can reach.
#[derive(Clone, Debug)]
pub struct Storage {
    external_io_dir: Option<PathBuf>,
    /// Object stores that were brought along, by scheme.
    mounted: Vec<(String, Arc<dyn ObjectStore>)>,
}

impl Storage {
    /// Storage whose `nodelocal` files are under `external_io_dir`; `None` disables them.
    pub fn new(external_io_dir: Option<PathBuf>) -> Storage {
        Storage { external_io_dir, mounted: Vec::new() }
    }

    /// The same, with one more kind of storage: `scheme://path` is a path in `store`. For programs that embed keepsafe, and
    /// tests of storage that fails.
    pub fn mount(mut self, scheme: &str, store: Arc<dyn ObjectStore>) -> Storage {
        self.mounted.push((scheme.into(), store));
        self
    }

    /// The place a URI names.
    pub fn open(&self, uri: &str) -> Result<Location> {
        let bad = |why| Error::BadUri { uri: redact_uri(uri), why };
        let (scheme, rest) =
            uri.split_once("://").ok_or_else(|| bad("it has no scheme, such as nodelocal://1/path"))?;
        let parse = |path: &str| Path::parse(path).map_err(|_| bad("its path has characters that are not allowed"));
        if let Some((_, store)) = self.mounted.iter().find(|(mounted, _)| mounted == scheme) {
            return Ok(Location { store: store.clone(), root: parse(rest)?, shown: redact_uri(uri) });
        }
        match scheme {
            "nodelocal" => {}
            "s3" | "gs" | "azure" | "azure-blob" | "azure-storage" | "userfile" | "external" | "http" | "https" => {
                return Err(Error::Unsupported(format!("{scheme}://")));
            }
            _ => return Err(bad("its scheme is unknown")),
        }
        if rest.contains('?') {
            return Err(bad("nodelocal takes no query parameters"));
        }
        let (node, path) = rest.split_once('/').unwrap_or((rest, ""));
        if node != "1" && node != "self" {
            return Err(bad("nodelocal is followed by this node's id, 1, or by self"));
        }
        if path.split('/').any(|part| part == ".." || part == ".") {
            return Err(bad("its path may not leave the external directory"));
        }
        let directory = self.external_io_dir.as_ref().ok_or(Error::Disabled)?;
        let root = parse(path)?;
        Ok(Location { store: Arc::new(NodeLocal::new(directory.clone())), root, shown: redact_uri(uri) })
    }
}

/// A directory in an object store.
#[derive(Clone)]
pub struct Location {
    store: Arc<dyn ObjectStore>,
    root: Path,
    shown: String,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Location {
    /// The root of an object store, for tests and faults.
    pub fn new(store: Arc<dyn ObjectStore>, shown: &str) -> Location {
        Location { store, root: Path::default(), shown: shown.into() }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), |path, part| path.join(part))
    }

    fn error(&self, name: &str, error: object_store::Error) -> Error {
        let path = format!("{}/{name}", self.shown.trim_end_matches('/'));
        match error {
            object_store::Error::NotFound { .. } => Error::NotFound(path),
            object_store::Error::AlreadyExists { .. } => Error::Exists(path),
            other => Error::Failed { path, why: other.to_string() },
        }
    }

    /// The whole file.
    pub async fn read(&self, name: &str) -> Result<Bytes> {
        let fetched = async { self.store.get(&self.path(name)).await?.bytes().await };
        fetched.await.map_err(|error| self.error(name, error))
    }

    /// The bytes of a file from `start` to `end`, which must lie inside it.
    pub async fn read_range(&self, name: &str, start: u64, end: u64) -> Result<Bytes> {
        let bytes =
            self.store.get_range(&self.path(name), start..end).await.map_err(|error| self.error(name, error))?;
        if bytes.len() as u64 == end - start {
            return Ok(bytes);
        }
        Err(Error::Failed {
            path: format!("{}/{name}", self.shown),
            why: "the file is shorter than it should be".into(),
        })
    }

    /// The size of a file, in bytes.
    pub async fn size(&self, name: &str) -> Result<u64> {
        self.store.head(&self.path(name)).await.map(|meta| meta.size).map_err(|error| self.error(name, error))
    }

    /// Writes a file, replacing one of the same name.
    pub async fn write(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.put(name, bytes, PutMode::Overwrite).await
    }

    /// Writes a file unless there is one of that name, which is [`Error::Exists`].
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.put(name, bytes, PutMode::Create).await
    }

    async fn put(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<()> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&self.path(name), PutPayload::from_bytes(bytes), options).await;
        put.map(drop).map_err(|error| self.error(name, error))
    }

    /// Deletes a file; one that is gone already is no error.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(name, error)),
        }
    }

    /// The names of all files under a directory, relative to this location, ascending.
    pub async fn list(&self, directory: &str) -> Result<Vec<String>> {
        let prefix = self.path(directory);
        let listed: Vec<_> =
            self.store.list(Some(&prefix)).try_collect().await.map_err(|error| self.error(directory, error))?;
        let root = self.root.as_ref();
        let relative = |path: &str| path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_string();
        let mut names: Vec<String> = listed.iter().map(|meta| relative(meta.location.as_ref())).collect();
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_that_cannot_be_used_say_why_and_show_no_secret() {
        let storage = Storage::new(Some("/tmp".into()));
        let why = |uri: &str| storage.open(uri).expect_err(uri).to_string();
        assert_eq!(why("s3://b?AWS_SECRET_ACCESS_KEY=hush"), "storage scheme s3:// is not supported");
        assert!(why("nodelocal://1/../etc").contains("leave"));
        assert!(why("nodelocal://2/a").contains("node's id"));
        assert!(why("bank").contains("no scheme"));
        assert!(!why("ftp://me:hush@host/?x=hush").contains("hush"));
        assert_eq!(Storage::new(None).open("nodelocal://1/a").expect_err("disabled"), Error::Disabled);
    }
}
