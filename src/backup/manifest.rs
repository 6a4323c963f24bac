//! What a layer says of itself: JSON with named fields, behind a line with the format's version and the digest.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, Result};
use crate::catalog::{Descriptor, DescriptorId};
use crate::kv::SpaceId;
use crate::runfile::RunMeta;
pub use crate::storage::hex::{hex, unhex};
use crate::time::Timestamp;

const FORMAT: u32 = 1;
const MAGIC: &str = "keepsafe-backup";

/// What a chain is a backup of. Every layer of a chain has the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpec {
    /// Everything.
    Cluster,
    /// These databases, by name, sorted.
    Databases(Vec<String>),
    /// These tables, views and sequences: `database.schema.name`, or `database.schema.*`; sorted.
    Tables(Vec<String>),
}

/// A complete layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Names the layer; also in its index entry.
    pub layer_id: String,
    /// The cluster it is of, by its id. Not in manifests of the first weeks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The end of the layer below, for an incremental.
    pub start_time: Option<Timestamp>,
    /// The instant it is a backup of.
    pub end_time: Timestamp,
    /// Digest of the manifest of the layer below.
    pub previous_digest: Option<String>,
    /// What the chain is a backup of.
    pub targets: TargetSpec,
    /// The descriptors at the end time.
    pub descriptors: Vec<Descriptor>,
    /// With revision history: what descriptors were from its beginning on, each change in order of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions: Option<Revisions>,
    /// What the statement named, as opposed to what came along.
    pub roots: Vec<DescriptorId>,
    /// Spaces of which the chain up to here has everything: the next layer need only add what changes.
    pub covered: Vec<SpaceId>,
    /// Spaces this layer has from their beginning: what lower layers have of them does not count.
    pub whole: Vec<SpaceId>,
    /// The file that lists the data files, and its digest.
    pub file_list: (String, String),
    /// Per space: rows and bytes in this layer.
    pub sizes: Vec<SpaceSize>,
    /// The job that made it.
    pub job: i64,
    /// The version of keepsafe that made it.
    pub written_by: String,
}

/// The history in a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revisions {
    /// Every instant from here to the layer's end can be restored.
    pub start: Timestamp,
    /// Descriptors as they were then, and every change since.
    pub changes: Vec<Revision>,
}

/// A descriptor from some time on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// When it changed.
    pub time: Timestamp,
    /// Which one.
    pub id: DescriptorId,
    /// What it became; nothing if it was dropped.
    pub descriptor: Option<Descriptor>,
}

impl Revisions {
    /// The descriptors as they were at a time.
    pub fn descriptors_at(&self, time: Timestamp) -> Vec<Descriptor> {
        let mut descriptors = BTreeMap::new();
        for revision in self.changes.iter().filter(|revision| revision.time <= time) {
            match &revision.descriptor {
                Some(descriptor) => drop(descriptors.insert(revision.id, descriptor.clone())),
                None => drop(descriptors.remove(&revision.id)),
            }
        }
        descriptors.into_values().collect()
    }
}

/// How much a layer has of a space.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpaceSize {
    /// The space.
    pub space: SpaceId,
    /// Rows, tombstones not counted.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What stands where a manifest would be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The backup is complete.
    Complete(Box<Manifest>),
    /// It was given up and will never be complete.
    Aborted {
        /// The job that gave it up.
        job: i64,
    },
}

/// A data file and the part of the data that is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// The file.
    #[serde(flatten)]
    pub run: RunMeta,
    /// First space, and first key in it, in hexadecimal.
    pub first: (SpaceId, String),
    /// Last space, and last key in it, in hexadecimal.
    pub last: (SpaceId, String),
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn digest_with_format(format: u32, json: &[u8]) -> String {
    hex(&Sha256::new().chain_update(format.to_be_bytes()).chain_update(json).finalize())
}

/// A file of a collection: a line with format and digest, then JSON.
pub fn encode(value: &impl Serialize) -> Result<Bytes> {
    let json = serde_json::to_vec_pretty(value).map_err(|error| Error::corrupt("a manifest", error.to_string()))?;
    let mut file = format!("{MAGIC} {FORMAT} {}\n", digest_with_format(FORMAT, &json)).into_bytes();
    file.extend_from_slice(&json);
    Ok(file.into())
}

/// Reads what [`encode`] wrote; `name` is for errors.
pub fn decode<T: DeserializeOwned>(name: &str, file: &[u8]) -> Result<T> {
    let corrupt = |what: &str| Error::corrupt(name, what);
    let line_end = file.iter().position(|&byte| byte == b'\n').ok_or_else(|| corrupt("its first line is missing"))?;
    let line = std::str::from_utf8(&file[..line_end]).map_err(|_| corrupt("its first line cannot be read"))?;
    let [magic, format, sum] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(corrupt("its first line cannot be read"));
    };
    if magic != MAGIC {
        return Err(corrupt("it is not a file of a backup"));
    }
    let json = &file[line_end + 1..];
    let number = format.parse::<u32>().map_err(|_| corrupt("its format cannot be read"))?;
    if sum != digest_with_format(number, json) || format != number.to_string() {
        return Err(corrupt("its checksum is wrong"));
    }
    if number > FORMAT {
        return Err(Error::refused("0A000", format!("{name} has format {number}; this version reads up to {FORMAT}")));
    }
    serde_json::from_slice(json).map_err(|error| corrupt(&error.to_string()))
}

/// A sum of sizes that somebody wrote down: no number is too large to be in a file.
pub fn total(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

impl Manifest {
    /// How much of a space this layer has.
    pub fn size_of(&self, space: SpaceId) -> (u64, u64) {
        self.sizes.iter().find(|size| size.space == space).map_or((0, 0), |size| (size.rows, size.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_of_a_manifest_is_found() {
        let record = Record::Aborted { job: 5 };
        let file = encode(&record).unwrap();
        assert!(matches!(decode::<Record>("m", &file), Ok(Record::Aborted { job: 5 })));
        for place in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.to_vec();
                damaged[place] ^= 1 << bit;
                let error = decode::<Record>("m", &damaged).expect_err(&format!("byte {place} bit {bit}"));
                assert!(error.to_string().contains('m'));
            }
        }
        for cut in 0..file.len() {
            assert!(decode::<Record>("m", &file[..cut]).is_err());
        }
    }
}
