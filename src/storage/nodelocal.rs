//! `nodelocal`: files under the external directory of this node.
//!
//! What object_store's own local store does not do and a backup needs: a file and every directory on the way to it are
//! fsynced before `put` returns, a file appears whole or not at all, and no symbolic link is followed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

/// Files being written have names that begin with this, and are in no listing.
const TEMPORARY_PREFIX: &str = ".keepsafe-tmp-";
const STORE: &str = "nodelocal";

/// An object store in a directory.
#[derive(Clone, Debug)]
pub struct NodeLocal {
    root: PathBuf,
}

impl std::fmt::Display for NodeLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{STORE}({})", self.root.display())
    }
}

impl NodeLocal {
    /// The store under `root`, which is created when first written to.
    pub fn new(root: PathBuf) -> NodeLocal {
        NodeLocal { root }
    }

    /// The file for a location, after checking that no part of the way is a symbolic link.
    fn resolve(&self, location: &Path) -> io::Result<PathBuf> {
        let mut path = self.root.clone();
        for part in location.parts() {
            path.push(part.as_ref());
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.file_type().is_symlink() => {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "symbolic links are not followed"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(path)
    }

    /// Creates the directories to `directory`, each made durable in its parent.
    fn create_directories(&self, directory: &FsPath) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = directory.parent()
            && directory != self.root
        {
            self.create_directories(parent)?;
        } else {
            fs::create_dir_all(directory)?;
        }
        match fs::create_dir(directory) {
            Ok(()) => directory.parent().map_or(Ok(()), sync_directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn put_file(&self, location: &Path, payload: &PutPayload, mode: &PutMode) -> io::Result<()> {
        let path = self.resolve(location)?;
        let directory = path.parent().unwrap_or(&self.root).to_path_buf();
        self.create_directories(&directory)?;
        let temporary = directory.join(format!("{TEMPORARY_PREFIX}{:032x}", rand::random::<u128>()));
        let written = (|| {
            let mut file = File::options().write(true).create_new(true).open(&temporary)?;
            payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
            file.sync_all()?;
            match mode {
                // A hard link fails if the name is taken, whoever took it.
                PutMode::Create => fs::hard_link(&temporary, &path).and_then(|()| fs::remove_file(&temporary)),
                _ => fs::rename(&temporary, &path),
            }
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written?;
        sync_directory(&directory)
    }

    fn get_file(&self, location: &Path, options: &GetOptions) -> io::Result<(Bytes, ObjectMeta, Range<u64>)> {
        let mut file = File::open(self.resolve(location)?)?;
        let meta = object_meta(location.clone(), &file.metadata()?);
        if file.metadata()?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is a directory"));
        }
        let range = match &options.range {
            Some(range) => {
                range.as_range(meta.size).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            }
            None => 0..meta.size,
        };
        let mut bytes = Vec::new();
        if !options.head {
            file.seek(SeekFrom::Start(range.start))?;
            bytes.reserve_exact((range.end - range.start) as usize);
            file.take(range.end - range.start).read_to_end(&mut bytes)?;
        }
        Ok((bytes.into(), meta, range))
    }

    fn list_files(&self, prefix: &Path, recursive: bool) -> io::Result<ListResult> {
        let mut found = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let mut todo = vec![prefix.clone()];
        while let Some(directory) = todo.pop() {
            let entries = match fs::read_dir(self.resolve(&directory)?) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let location = directory.clone().join(name.as_str());
                let kind = entry.file_type()?;
                if kind.is_dir() && recursive {
                    todo.push(location);
                } else if kind.is_dir() {
                    found.common_prefixes.push(location);
                } else if kind.is_file() && !name.starts_with(TEMPORARY_PREFIX) {
                    found.objects.push(object_meta(location, &entry.metadata()?));
                }
            }
        }
        found.common_prefixes.sort();
        found.objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    async fn run<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&NodeLocal, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (store, path) = (self.clone(), location.clone());
        let done = tokio::task::spawn_blocking(move || work(&store, &path)).await;
        let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        let path = location.to_string();
        done.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { path, source: error.into() },
            io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: error.into() },
            io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
            _ => Error::Generic { store: STORE, source: error.into() },
        })
    }
}

fn sync_directory(directory: &FsPath) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn object_meta(location: Path, meta: &fs::Metadata) -> ObjectMeta {
    let last_modified = meta.modified().map_or(DateTime::<Utc>::MIN_UTC, DateTime::from);
    ObjectMeta { location, last_modified, size: meta.len(), e_tag: None, version: None }
}

#[async_trait]
impl ObjectStore for NodeLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented { operation: "conditional update".into(), implementer: STORE.into() });
        }
        self.run(location, move |store, path| store.put_file(path, &payload, &options.mode)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Parts { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let asked = options.clone();
        let (bytes, meta, range) = self.run(location, move |store, path| store.get_file(path, &asked)).await?;
        options.check_preconditions(&meta)?;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::new() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let remove = |store: &NodeLocal, path: &Path| {
                    let file = store.resolve(path)?;
                    fs::remove_file(&file)?;
                    sync_directory(file.parent().unwrap_or(&store.root))
                };
                store.run(&location, remove).await.map(|()| location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move { store.run(&prefix, |store, path| store.list_files(path, true)).await };
        stream::once(listed)
            .flat_map(|listed| match listed {
                Ok(found) => stream::iter(found.objects.into_iter().map(Ok)).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        self.run(&prefix, |store, path| store.list_files(path, false)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let bytes = self.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, bytes.into(), PutOptions { mode, ..PutOptions::default() }).await.map(drop)
    }
}

/// A file given in parts. They are kept in memory until the last one has come, as the file must appear whole.
#[derive(Debug)]
struct Parts {
    store: NodeLocal,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload: PutPayload = std::mem::take(&mut self.parts).into_iter().collect();
        self.store.put(&self.location, payload).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

/// Shares one store between locations.
impl From<NodeLocal> for Arc<dyn ObjectStore> {
    fn from(store: NodeLocal) -> Self {
        Arc::new(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{self, Location};

    fn location(directory: &FsPath) -> Location {
        Location::new(Arc::new(NodeLocal::new(directory.join("extern"))), "nodelocal://1")
    }

    #[tokio::test]
    async fn files_are_put_read_listed_and_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let place = location(directory.path());
        assert!(place.list("a").await.unwrap().is_empty(), "an absent directory is an empty one");
        place.write("a/b/c", Bytes::from_static(b"hello")).await.unwrap();
        place.write("a/b/c", Bytes::from_static(b"hello again")).await.unwrap();
        place.write("a/d", Bytes::new()).await.unwrap();
        assert_eq!(place.read_range("a/b/c", 6, 11).await.unwrap(), "again");
        assert!(place.read_range("a/b/c", 6, 12).await.is_err(), "a read past the end is no short read");
        assert_eq!(place.size("a/b/c").await.unwrap(), 11);
        assert_eq!(place.list("a").await.unwrap(), ["a/b/c", "a/d"]);
        place.delete("a/b/c").await.unwrap();
        place.delete("a/b/c").await.unwrap();
        assert_eq!(place.read("a/b/c").await, Err(storage::Error::NotFound("nodelocal://1/a/b/c".into())));
        assert!(matches!(place.read("a").await, Err(storage::Error::NotFound(_))));
    }

    #[tokio::test]
    async fn of_many_creators_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let place = location(directory.path());
        let creators = (0..8).map(|n| {
            let place = place.clone();
            tokio::spawn(async move { place.create("x/manifest", Bytes::from(vec![n])).await })
        });
        let outcomes: Vec<_> = futures::future::try_join_all(creators).await.unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(outcomes.iter().all(|outcome| !matches!(outcome, Err(storage::Error::Failed { .. }))));
        assert_eq!(place.list("").await.unwrap(), ["x/manifest"], "no temporary file is left");
    }

    #[tokio::test]
    async fn symbolic_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let place = location(directory.path());
        place.write("inside", Bytes::from_static(b"x")).await.unwrap();
        fs::write(directory.path().join("outside"), b"secret").unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("extern/link")).unwrap();
        assert!(matches!(place.read("link/outside").await, Err(storage::Error::Failed { .. })));
        assert!(place.write("link/new", Bytes::new()).await.is_err());
        assert_eq!(place.list("").await.unwrap(), ["inside"]);
    }
}
