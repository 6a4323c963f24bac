//! Zone configurations: how long history is kept. A table that says nothing takes its database's, and a database that says
//! nothing the default range's.
//!
//! Rows outlive what they configure: the spaces of a dropped table are kept for as long as the table said.
//! [`super::retention`] removes rows that nothing needs any more.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::system::ZONES;
use super::{DescriptorId, Error, Result};
use crate::kv::Txn;

/// How long history is kept where nobody said anything, in seconds: four hours, as in CockroachDB.
pub const DEFAULT_GC_TTL_SECONDS: i32 = 14_400;

/// What `RANGE default` goes by among descriptors.
pub const DEFAULT_ZONE: DescriptorId = DescriptorId(0);

/// What one zone says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneConfig {
    /// `gc.ttlseconds`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_ttl_seconds: Option<i32>,
}

/// The configurations of all zones.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    configs: HashMap<DescriptorId, ZoneConfig>,
}

impl Zones {
    /// Reads them.
    pub async fn read(txn: &dyn Txn) -> Result<Zones> {
        let mut zones = Zones::default();
        for row in ZONES.scan(txn, &[]).await? {
            let cannot = || Error::corrupt("a zone configuration cannot be read");
            let id = row[0].as_int().ok_or_else(cannot)?;
            let config = row[1].as_text().and_then(|json| serde_json::from_str(json).ok()).ok_or_else(cannot)?;
            zones.configs.insert(DescriptorId(id as u64), config);
        }
        Ok(zones)
    }

    /// What a zone says itself.
    pub fn own(&self, zone: DescriptorId) -> Option<&ZoneConfig> {
        self.configs.get(&zone)
    }

    /// The zones that say something themselves.
    pub fn configured(&self) -> impl Iterator<Item = DescriptorId> {
        self.configs.keys().copied()
    }

    /// The time to keep history, and the zone that says so: the first of `path`, from the inside out, or else the default.
    pub fn gc_ttl_seconds(&self, path: &[DescriptorId]) -> (i32, DescriptorId) {
        let own = |zone: DescriptorId| Some((self.configs.get(&zone)?.gc_ttl_seconds?, zone));
        let found = path.iter().copied().find_map(own);
        found.or_else(|| own(DEFAULT_ZONE)).unwrap_or((DEFAULT_GC_TTL_SECONDS, DEFAULT_ZONE))
    }

    /// The same, as a length of time.
    pub fn gc_ttl(&self, path: &[DescriptorId]) -> Duration {
        Duration::from_secs(self.gc_ttl_seconds(path).0.max(0) as u64)
    }
}

/// Writes what a zone says itself; `None` removes it.
pub fn write(txn: &dyn Txn, zone: DescriptorId, config: Option<&ZoneConfig>) -> Result<()> {
    let Some(config) = config else { return ZONES.delete(txn, &[zone.0.into()]) };
    let json = serde_json::to_string(config).map_err(|error| Error::corrupt(error.to_string()))?;
    ZONES.put(txn, &[zone.0.into(), json.into()])
}
