use bytes::Bytes;

use super::block::BlockWriter;
use super::guard::Guard;
use super::{
    BLOCK_BYTES, DECODED_BLOCK_BYTES, FEATURE_SEALED, FOOTER_NUMBER, FORMAT, FileId, HEADER_NUMBER, INDEX_NUMBER,
    MAGIC, MAX_BLOCK_BYTES, RunMeta, ZSTD_LEVEL, checksum,
};
use crate::kv::{Entry, SpaceId, varint};
use crate::storage::seal::{self, ChainKey};

/// Builds one data file in memory; its user bounds it by looking at [`RunWriter::size_bytes`].
pub struct RunWriter {
    id: FileId,
    guard: Guard,
    file: Vec<u8>,
    index: Vec<u8>,
    blocks: u64,
    block: BlockWriter,
    space: SpaceId,
    first_key: Vec<u8>,
    entries: u64,
    rows: u64,
    data_bytes: u64,
}

/// A data file ready to be stored.
pub struct FinishedRun {
    /// Its bytes.
    pub bytes: Bytes,
    /// What the manifest says of it.
    pub meta: RunMeta,
}

impl RunWriter {
    /// An empty file with a fresh id.
    pub fn new() -> RunWriter {
        let id = FileId::random();
        RunWriter::guarded(id, Guard::Checksum(id), 0)
    }

    /// An empty file that is sealed if there is a key.
    pub fn with_key(key: Option<&ChainKey>) -> Result<RunWriter, seal::Error> {
        let id = FileId::random();
        let features = if key.is_some() { FEATURE_SEALED } else { 0 };
        Ok(RunWriter::guarded(id, Guard::new(id, key)?, features))
    }

    fn guarded(id: FileId, guard: Guard, features: u16) -> RunWriter {
        let mut file = Vec::with_capacity(1 << 20);
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&FORMAT.to_be_bytes());
        file.extend_from_slice(&features.to_be_bytes());
        file.extend_from_slice(&id.0.to_be_bytes());
        file.extend_from_slice(&checksum(id, HEADER_NUMBER, &file).to_be_bytes());
        RunWriter {
            id,
            guard,
            file,
            index: Vec::new(),
            blocks: 0,
            block: BlockWriter::default(),
            space: SpaceId(0),
            first_key: Vec::new(),
            entries: 0,
            rows: 0,
            data_bytes: 0,
        }
    }

    /// Appends a version. Spaces and keys ascend, times of a key descend.
    pub fn push(&mut self, space: SpaceId, entry: Entry<'_>) -> std::io::Result<()> {
        if entry.key.len() + entry.value.map_or(0, <[u8]>::len) > MAX_BLOCK_BYTES / 2 {
            return Err(std::io::Error::other("a row is larger than a block can be"));
        }
        let is_full = self.block.bytes.len() >= BLOCK_BYTES || self.block.decoded_bytes >= DECODED_BLOCK_BYTES;
        if self.block.entries > 0 && (space != self.space || is_full) {
            self.close_block()?;
        }
        if self.block.entries == 0 {
            self.space = space;
            self.first_key.clear();
            self.first_key.extend_from_slice(entry.key);
        }
        self.block.push(entry.key, entry.value, entry.time);
        self.entries += 1;
        self.rows += u64::from(entry.value.is_some());
        self.data_bytes += (entry.key.len() + entry.value.map_or(0, <[u8]>::len)) as u64;
        Ok(())
    }

    /// Bytes written so far, the open block counted as if it did not compress.
    pub fn size_bytes(&self) -> usize {
        self.file.len() + self.index.len() + self.block.bytes.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn close_block(&mut self) -> std::io::Result<()> {
        let compressed = zstd::bulk::compress(&self.block.bytes, ZSTD_LEVEL)?;
        varint::push(&mut self.index, self.file.len() as u64);
        varint::push(&mut self.index, compressed.len() as u64);
        varint::push(&mut self.index, self.block.bytes.len() as u64);
        varint::push(&mut self.index, u64::from(self.block.entries));
        varint::push(&mut self.index, self.space.0);
        varint::push(&mut self.index, self.first_key.len() as u64);
        self.index.extend_from_slice(&self.first_key);
        self.guard.push(&mut self.file, self.blocks, compressed).map_err(std::io::Error::other)?;
        self.blocks += 1;
        self.block.clear();
        Ok(())
    }

    /// Closes the file.
    pub fn finish(mut self) -> std::io::Result<FinishedRun> {
        if self.block.entries > 0 {
            self.close_block()?;
        }
        let index_offset = self.file.len() as u64;
        let compressed = zstd::bulk::compress(&self.index, ZSTD_LEVEL)?;
        let index_length = compressed.len() as u32;
        self.guard.push(&mut self.file, INDEX_NUMBER, compressed).map_err(std::io::Error::other)?;
        let mut footer = Vec::new();
        footer.extend_from_slice(&index_offset.to_be_bytes());
        footer.extend_from_slice(&index_length.to_be_bytes());
        footer.extend_from_slice(&(self.index.len() as u32).to_be_bytes());
        for count in [self.entries, self.rows, self.data_bytes] {
            footer.extend_from_slice(&count.to_be_bytes());
        }
        footer.extend_from_slice(&self.id.0.to_be_bytes());
        debug_assert_eq!(footer.len(), super::FOOTER_BYTES);
        self.guard.push(&mut self.file, FOOTER_NUMBER, footer).map_err(std::io::Error::other)?;
        self.file.extend_from_slice(&MAGIC);
        let meta = RunMeta {
            id: self.id,
            size_bytes: self.file.len() as u64,
            checksum: crc32c::crc32c(&self.file),
            entries: self.entries,
            rows: self.rows,
            data_bytes: self.data_bytes,
        };
        Ok(FinishedRun { bytes: self.file.into(), meta })
    }
}

impl Default for RunWriter {
    fn default() -> Self {
        RunWriter::new()
    }
}
