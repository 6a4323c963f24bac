//! The system tables that a backup of a cluster has, and how their rows come back.

use bytes::Bytes;
use futures::TryStreamExt;

use super::Result;
use super::chain::{Chain, missing_is_corrupt};
use crate::catalog::system::{SCHEDULED_JOBS, SETTINGS, SystemTable, USERS, ZONES};
use crate::catalog::{Datum, DescriptorId};
use crate::kv::{Span, Txn};
use crate::time::Timestamp;

/// The system tables that a backup of a cluster has.
pub fn backed_up() -> [&'static SystemTable; 4] {
    [&USERS, &SETTINGS, &ZONES, &SCHEDULED_JOBS]
}

/// A schedule comes back paused, and as one that has not run: its backups are another cluster's, and it must not take any
/// without somebody having said so.
fn paused(table: &SystemTable, row: &mut [Datum<'_>]) {
    let has_secret = row[table.column("has_secret")] == Datum::Bool(true);
    row[table.column("next_run")] = Datum::Null;
    row[table.column("runs")] = "{}".into();
    let options = row[table.column("options")].as_text().and_then(|text| serde_json::from_str(text).ok());
    if let Some(serde_json::Value::Object(mut options)) = options {
        options.insert("is_paused".into(), true.into());
        options.insert("waits_for_full".into(), false.into());
        row[table.column("options")] = serde_json::Value::Object(options).to_string().into();
    }
    row[table.column("state")] = match has_secret {
        true => "restored from a backup without its secrets: drop it and create it again".into(),
        false => "restored from a backup: resume it to let it run in this cluster".into(),
    };
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
            if table.space() == SCHEDULED_JOBS.space() {
                let mut row = table.decode(key, value)?;
                paused(table, &mut row);
                table.put(txn, &row)?;
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
