//! The layers of a chain, read as one store: what restore and validation read from.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::backup_job::data_file_name;
use super::collection::{Collection, Layer};
use super::manifest::{DataFile, total, unhex};
use super::{Error, Result};
use crate::kv::{self, BatchStream, Direction, Read, SpaceId, Span, Versioned};
use crate::runfile::{Merged, RunReader, merge};
use crate::time::Timestamp;

/// A chain up to one of its layers.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    collection: Collection,
    layers: Vec<(Layer, Vec<DataFile>)>,
    /// For each space, the lowest layer that counts: the last that has it whole.
    lowest: HashMap<SpaceId, usize>,
}

impl Chain {
    /// Opens `layers`, the full backup first. Reads every file list.
    pub async fn open(collection: &Collection, layers: Vec<Layer>) -> Result<Chain> {
        let mut opened = Vec::with_capacity(layers.len());
        let mut lowest = HashMap::new();
        for (number, layer) in layers.into_iter().enumerate() {
            layer.manifest.whole.iter().for_each(|space| {
                lowest.insert(*space, number);
            });
            let files = collection.files(&layer).await?;
            opened.push((layer, files));
        }
        Ok(Chain { inner: Arc::new(Inner { collection: collection.clone(), layers: opened, lowest }) })
    }

    fn files_of(&self, span: &Span) -> Vec<(String, DataFile)> {
        let Some(&lowest) = self.inner.lowest.get(&span.space) else { return Vec::new() };
        let overlaps = |file: &DataFile| {
            let before_end = match &span.end {
                Some(end) => file.first < (span.space, super::manifest::hex(end)),
                None => file.first.0 <= span.space,
            };
            before_end && file.last >= (span.space, super::manifest::hex(&span.start))
        };
        let layers = &self.inner.layers[lowest..];
        let named = layers.iter().flat_map(|(layer, files)| files.iter().map(move |file| (layer, file)));
        let matching = named.filter(|(_, file)| overlaps(file));
        matching
            .map(|(layer, file)| (data_file_name(&layer.directory, &file.run.id.to_string()), file.clone()))
            .collect()
    }

    /// About how many rows these spaces have: as many as their lowest layers.
    pub fn rows_of(&self, spaces: impl Iterator<Item = SpaceId>) -> u64 {
        let rows = |space: SpaceId| {
            let lowest = *self.inner.lowest.get(&space)?;
            Some(self.inner.layers[lowest].0.manifest.size_of(space).0)
        };
        total(spaces.filter_map(rows))
    }

    /// Keys that cut a space into parts of about a file each.
    pub fn split_points(&self, space: SpaceId) -> Vec<bytes::Bytes> {
        let Some(&lowest) = self.inner.lowest.get(&space) else { return Vec::new() };
        let starts = self.inner.layers[lowest].1.iter().filter(|file| file.first.0 == space);
        let mut points: Vec<bytes::Bytes> = starts.filter_map(|file| unhex(&file.first.1)).map(Into::into).collect();
        points.sort();
        points.dedup();
        points.into_iter().skip(1).collect()
    }

    /// The merged entries of a span.
    fn merged(&self, span: Span, merged: Merged) -> BatchStream {
        let chain = self.clone();
        let opened = async move {
            let mut runs = Vec::new();
            for (name, file) in chain.files_of(&span) {
                let reader = RunReader::open(
                    chain.inner.collection.place(&name),
                    &name,
                    &file.run,
                    chain.inner.collection.key(),
                )
                .await?;
                runs.push(reader.read(span.clone()));
            }
            Ok::<_, crate::runfile::Error>(merge(runs, merged))
        };
        let failed = |error: crate::runfile::Error| kv::Error::Engine(error.to_string());
        stream::once(opened)
            .flat_map(move |opened| match opened {
                Ok(batches) => batches.map_err(failed).boxed(),
                Err(error) => stream::iter([Err(failed(error))]).boxed(),
            })
            .boxed()
    }

    /// The rows of a span at a time, with the errors of files as they are.
    pub async fn rows(&self, span: Span, at: Timestamp) -> Result<crate::backup::chain::Rows> {
        let mut runs = Vec::new();
        for (name, file) in self.files_of(&span) {
            let reader =
                RunReader::open(self.inner.collection.place(&name), &name, &file.run, self.inner.collection.key())
                    .await
                    .map_err(missing_is_corrupt)?;
            runs.push(reader.read(span.clone()));
        }
        Ok(merge(runs, Merged::NewestAt(at)))
    }
}

/// Merged rows of a chain.
pub type Rows = futures::stream::BoxStream<'static, crate::runfile::Result<kv::Batch>>;

/// A data file that a manifest names and that is not there is damage.
pub fn missing_is_corrupt(error: crate::runfile::Error) -> Error {
    match error {
        crate::runfile::Error::Storage(crate::storage::Error::NotFound(file)) => {
            Error::corrupt(file, "the file is missing")
        }
        other => other.into(),
    }
}

#[async_trait]
impl Read for Chain {
    async fn get(&self, space: SpaceId, key: &[u8], at: Timestamp) -> kv::Result<Option<Versioned>> {
        let mut end = key.to_vec();
        end.push(0);
        let span = Span { space, start: bytes::Bytes::copy_from_slice(key), end: Some(end.into()) };
        let found = self.merged(span, Merged::NewestAt(at)).try_next().await?;
        Ok(found.and_then(|batch| {
            let entry = batch.iter().next()?;
            Some(Versioned { value: bytes::Bytes::copy_from_slice(entry.value?), time: entry.time })
        }))
    }

    fn scan(&self, span: Span, at: Timestamp, direction: Direction, limit: Option<usize>) -> BatchStream {
        if direction == Direction::Backward || limit.is_some() {
            let refused = kv::Error::Engine("a backup is read forward and whole".into());
            return stream::iter([Err(refused)]).boxed();
        }
        self.merged(span, Merged::NewestAt(at))
    }

    fn versions(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream {
        self.merged(span, Merged::Versions { after, upto })
    }

    fn changes(&self, span: Span, after: Timestamp, upto: Timestamp) -> BatchStream {
        self.merged(span, Merged::Changes { after, upto })
    }
}
