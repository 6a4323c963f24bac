use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::block;
use super::guard::Guard;
use super::{
    Error, FEATURE_SEALED, FOOTER_BYTES, FOOTER_NUMBER, FORMAT, FileId, HEADER_BYTES, HEADER_NUMBER, INDEX_NUMBER,
    MAGIC, MAX_BLOCK_BYTES, Result, RunMeta, checksum,
};
use crate::kv::{Batch, SpaceId, Span, varint};
use crate::storage::Location;
use crate::storage::seal::ChainKey;

/// Bytes fetched at once from the end of a file: footer and, nearly always, index.
const TAIL_BYTES: u64 = 64 << 10;
/// Consecutive blocks are fetched together up to this many bytes.
const READAHEAD_BYTES: u64 = 2 << 20;

/// An open data file: its index is in memory, its blocks are read when needed.
#[derive(Clone)]
pub struct RunReader {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    name: String,
    meta: RunMeta,
    guard: Guard,
    index: Vec<BlockEntry>,
}

struct BlockEntry {
    offset: u64,
    length: u64,
    raw_length: usize,
    entries: u32,
    space: SpaceId,
    first_key: Bytes,
}

impl RunReader {
    /// Opens the file `name`, which must be the one that `meta` describes, and be sealed if there is a key.
    pub async fn open(location: &Location, name: &str, meta: &RunMeta, key: Option<&ChainKey>) -> Result<RunReader> {
        let corrupt = |what| Error::Corrupt { file: format!("{location}/{name}"), what };
        let guard = Guard::new(meta.id, key).map_err(|_| corrupt("its key cannot be made"))?;
        let footer_bytes = FOOTER_BYTES + guard.overhead() + MAGIC.len();
        let size = location.size(name).await?;
        if size != meta.size_bytes || size < (HEADER_BYTES + footer_bytes) as u64 {
            return Err(corrupt("its size is not what the manifest says"));
        }
        let header = location.read_range(name, 0, HEADER_BYTES as u64).await?;
        let sealed = check_header(&header, meta.id).map_err(|what| what.into_error(&format!("{location}/{name}")))?;
        if sealed != key.is_some() {
            return Err(Error::Sealed { file: format!("{location}/{name}"), sealed });
        }
        let tail_start = size.saturating_sub(TAIL_BYTES);
        let tail = location.read_range(name, tail_start, size).await?;
        let footer = parse_footer(&tail[tail.len() - footer_bytes..], meta, &guard).map_err(corrupt)?;
        let index_end = footer.index_offset.saturating_add(u64::from(footer.index_length) + guard.overhead() as u64);
        if index_end != size - footer_bytes as u64 {
            return Err(corrupt("its index is not where the footer says"));
        }
        let stored = if footer.index_offset >= tail_start {
            tail.slice((footer.index_offset - tail_start) as usize..(index_end - tail_start) as usize)
        } else {
            location.read_range(name, footer.index_offset, index_end).await?
        };
        let raw = unpack(&stored, &guard, INDEX_NUMBER, footer.index_raw_length as usize).map_err(corrupt)?;
        let index = parse_index(&raw, footer.index_offset, guard.overhead() as u64)
            .ok_or_else(|| corrupt("its index cannot be read"))?;
        let inner = Inner { location: location.clone(), name: name.into(), meta: meta.clone(), guard, index };
        Ok(RunReader { inner: Arc::new(inner) })
    }

    /// The spaces the file has entries of, ascending.
    pub fn spaces(&self) -> Vec<SpaceId> {
        let mut spaces: Vec<SpaceId> = self.inner.index.iter().map(|entry| entry.space).collect();
        spaces.dedup();
        spaces
    }

    /// The entries of a span, in order.
    pub fn read(&self, span: Span) -> BoxStream<'static, Result<Batch>> {
        let index = &self.inner.index;
        let start = index.partition_point(|entry| (entry.space, &entry.first_key) < (span.space, &span.start));
        let first = start.saturating_sub(1);
        let in_span = |entry: &BlockEntry| {
            entry.space == span.space && span.end.as_ref().is_none_or(|end| entry.first_key < *end)
        };
        let end = first
            + index[first..].iter().skip_while(|entry| entry.space < span.space).take_while(|e| in_span(e)).count()
            + index[first..].iter().take_while(|entry| entry.space < span.space).count();
        let cursor = BlockCursor { reader: self.clone(), span, next: first, end, fetched: Bytes::new(), fetched_at: 0 };
        stream::try_unfold(cursor, |mut cursor| async move { Ok(cursor.next().await?.map(|batch| (batch, cursor))) })
            .boxed()
    }

    /// Reads and checks every byte of the file.
    pub async fn verify(&self) -> Result<()> {
        let Inner { location, name, meta, .. } = &*self.inner;
        let mut sum = 0;
        let mut at = 0;
        while at < meta.size_bytes {
            let end = (at + READAHEAD_BYTES).min(meta.size_bytes);
            sum = crc32c::crc32c_append(sum, &location.read_range(name, at, end).await?);
            at = end;
        }
        if sum == meta.checksum { Ok(()) } else { Err(self.corrupt("its checksum is not what the manifest says")) }
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::Corrupt { file: format!("{}/{}", self.inner.location, self.inner.name), what }
    }
}

struct BlockCursor {
    reader: RunReader,
    span: Span,
    next: usize,
    end: usize,
    fetched: Bytes,
    fetched_at: u64,
}

impl BlockCursor {
    async fn next(&mut self) -> Result<Option<Batch>> {
        while self.next < self.end {
            let reader = self.reader.clone();
            let entry = &reader.inner.index[self.next];
            if entry.space != self.span.space {
                self.next += 1;
                continue;
            }
            self.fetch(entry).await?;
            let from = (entry.offset - self.fetched_at) as usize;
            let stored = self.fetched.slice(from..from + entry.length as usize + reader.inner.guard.overhead());
            let raw = unpack(&stored, &reader.inner.guard, self.next as u64, entry.raw_length);
            let raw = raw.map_err(|what| reader.corrupt(what))?;
            let batch = block::decode(&raw, entry.entries).ok_or_else(|| reader.corrupt("a block cannot be read"))?;
            self.next += 1;
            let batch = self.clip(batch);
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Makes sure the block is in memory, fetching those that follow it along with it.
    async fn fetch(&mut self, entry: &BlockEntry) -> Result<()> {
        let overhead = self.reader.inner.guard.overhead() as u64;
        let block_end = entry.offset + entry.length + overhead;
        if entry.offset >= self.fetched_at && block_end <= self.fetched_at + self.fetched.len() as u64 {
            return Ok(());
        }
        let inner = &self.reader.inner;
        let ends = inner.index[self.next..self.end].iter().map(|entry| entry.offset + entry.length + overhead);
        let end = ends.take_while(|end| end - entry.offset <= READAHEAD_BYTES).last().unwrap_or(block_end);
        self.fetched = inner.location.read_range(&inner.name, entry.offset, end).await?;
        self.fetched_at = entry.offset;
        Ok(())
    }

    fn clip(&self, batch: Batch) -> Batch {
        let whole = [batch.first_key(), batch.last_key()].into_iter().flatten().all(|key| self.span.contains(key));
        if whole {
            return batch;
        }
        let mut clipped = Batch::default();
        let inside = batch.iter().filter(|entry| self.span.contains(entry.key));
        inside.for_each(|entry| clipped.push(entry.key, entry.value, entry.time));
        clipped
    }
}

enum Refusal {
    Corrupt(&'static str),
    Newer(String),
}

impl Refusal {
    fn into_error(self, file: &str) -> Error {
        match self {
            Refusal::Corrupt(what) => Error::Corrupt { file: file.into(), what },
            Refusal::Newer(what) => Error::Newer { file: file.into(), what },
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// Whether the file is sealed.
fn check_header(header: &[u8], id: FileId) -> Result<bool, Refusal> {
    if header[..8] != MAGIC {
        return Err(Refusal::Corrupt("it is not a data file"));
    }
    let format = u16::from_be_bytes(array(&header[8..]));
    let features = u16::from_be_bytes(array(&header[10..]));
    if header[12..28] != id.0.to_be_bytes() {
        return Err(Refusal::Corrupt("it is another file than its name says"));
    }
    if header[28..32] != checksum(id, HEADER_NUMBER, &header[..28]).to_be_bytes() {
        return Err(Refusal::Corrupt("the header's checksum is wrong"));
    }
    if format > FORMAT {
        return Err(Refusal::Newer(format!("format {format}")));
    }
    if features & !FEATURE_SEALED != 0 {
        return Err(Refusal::Newer(format!("features {features:#x}")));
    }
    Ok(features & FEATURE_SEALED != 0)
}

struct Footer {
    index_offset: u64,
    index_length: u32,
    index_raw_length: u32,
}

fn parse_footer(bytes: &[u8], meta: &RunMeta, guard: &Guard) -> Result<Footer, &'static str> {
    let (stored, magic) = bytes.split_at(bytes.len() - MAGIC.len());
    if magic != MAGIC {
        return Err("its end is missing");
    }
    let footer = guard.open(FOOTER_NUMBER, stored).map_err(|_| "the footer is damaged")?;
    if footer.len() != FOOTER_BYTES {
        return Err("the footer has a wrong size");
    }
    if u32::from_be_bytes(array(&footer[12..])) as usize > MAX_BLOCK_BYTES {
        return Err("its index is larger than any can be");
    }
    let counts = [16, 24, 32].map(|at| u64::from_be_bytes(array(&footer[at..])));
    if counts != [meta.entries, meta.rows, meta.data_bytes] {
        return Err("its counts are not what the manifest says");
    }
    Ok(Footer {
        index_offset: u64::from_be_bytes(array(&footer)),
        index_length: u32::from_be_bytes(array(&footer[8..])),
        index_raw_length: u32::from_be_bytes(array(&footer[12..])),
    })
}

fn parse_index(mut rest: &[u8], index_offset: u64, overhead: u64) -> Option<Vec<BlockEntry>> {
    let mut index = Vec::new();
    while !rest.is_empty() {
        let mut number = || varint::take_number(&mut rest);
        let (offset, length, raw_length) = (number()?, number()?, usize::try_from(number()?).ok()?);
        let (entries, space, key_length) = (u32::try_from(number()?).ok()?, SpaceId(number()?), number()? as usize);
        let first_key = Bytes::copy_from_slice(varint::take(&mut rest, key_length)?);
        let end = offset.checked_add(length)?.checked_add(overhead)?;
        let begins =
            index.last().map_or(HEADER_BYTES as u64, |before: &BlockEntry| before.offset + before.length + overhead);
        if offset < begins || end > index_offset || raw_length > MAX_BLOCK_BYTES {
            return None;
        }
        index.push(BlockEntry { offset, length, raw_length, entries, space, first_key });
    }
    Some(index)
}

/// Checks and decompresses a stored piece.
fn unpack(stored: &[u8], guard: &Guard, number: u64, raw_length: usize) -> Result<Vec<u8>, &'static str> {
    let compressed = guard.open(number, stored)?;
    let raw = zstd::bulk::decompress(&compressed, raw_length).map_err(|_| "a block cannot be decompressed")?;
    if raw.len() == raw_length { Ok(raw) } else { Err("a block has another length than its index says") }
}
