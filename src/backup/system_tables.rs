//! The system tables that a backup of a cluster has, and how their rows come back.

use bytes::Bytes;
use futures::TryStreamExt;

use super::Result;
use super::chain::{Chain, missing_is_corrupt};
use crate::catalog::system::{SETTINGS, SystemTable, USERS, ZONES};
use crate::catalog::{Datum, DescriptorId};
use crate::kv::{Span, Txn};
use crate::time::Timestamp;

/// The system tables that a backup of a cluster has.
pub fn backed_up() -> [&'static SystemTable; 3] {
    [&USERS, &SETTINGS, &ZONES]
}

/// Rows of system tables out of a backup.
#[derive(Default)]
pub struct SystemRows {
    rows: Vec<(&'static SystemTable, Bytes, Bytes)>,
}

impl SystemRows {
    /// Those of all tables.
    pub async fn of_cluster(chain: &Chain, at: Timestamp) -> Result<SystemRows> {
        let mut found = SystemRows::default();
        for table in backed_up() {
            found.read(chain, table, at).await?;
        }
        Ok(found)
    }

    /// Users and roles.
    pub async fn of_users(chain: &Chain, at: Timestamp) -> Result<SystemRows> {
        let mut found = SystemRows::default();
        found.read(chain, &USERS, at).await?;
        Ok(found)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    async fn read(&mut self, chain: &Chain, table: &'static SystemTable, at: Timestamp) -> Result<()> {
        let mut batches = chain.rows(Span::all(table.space()), at).await?;
        while let Some(batch) = batches.try_next().await.map_err(missing_is_corrupt)? {
            self.rows.extend(batch.to_pairs().into_iter().map(|(key, value)| (table, key, value)));
        }
        Ok(())
    }

    /// Writes them. Zones of what was restored under a new id move to it; those of anything else are left behind. With `keep`,
    /// rows that are there already stay as they are.
    pub async fn write(
        &self,
        txn: &dyn Txn,
        new_id: &(dyn Fn(DescriptorId) -> Option<DescriptorId> + Sync),
        keep: bool,
    ) -> Result<()> {
        for (table, key, value) in &self.rows {
            if keep && txn.get(table.space(), key).await?.is_some() {
                continue;
            }
            if table.space() != ZONES.space() {
                txn.put(table.space(), key, value.clone())?;
                continue;
            }
            let mut row = table.decode(key, value)?;
            let zone = row.first().and_then(Datum::as_int).map(|id| DescriptorId(id as u64));
            // 0 is the default of the whole cluster.
            let zone = zone.and_then(|zone| if zone.0 == 0 { Some(zone) } else { new_id(zone) });
            if let (Some(zone), Some(first)) = (zone, row.first_mut()) {
                *first = Datum::Int(zone.0 as i64);
                table.put(txn, &row)?;
            }
        }
        Ok(())
    }
}
