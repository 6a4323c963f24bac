//! Bulk load into spaces that nobody can see yet: sorted rows go straight into table files, past journal and memtable.

use std::sync::Arc;

use futures::StreamExt;

use super::Engine;
use super::encoding::{encode_value, version_prefix, with_time};
use super::spaces::Load;
use super::stats;
use crate::kv::{Error, IngestStream, MAX_KEY_BYTES, Result, SpaceId, SpaceStats};
use crate::time::Timestamp;

/// Rows that go into the engine at once. Until its table file is done, the engine keeps a hash of each, and so does this of some;
/// rows that compress well would otherwise be many.
const PART_ROWS: u64 = 1 << 20;

/// Writes on a thread of its own, which pulls batches from `rows` as it goes; memory stays at a batch or two.
pub async fn ingest(engine: Arc<Engine>, mut rows: IngestStream, at: Timestamp) -> Result<SpaceStats> {
    let runtime = tokio::runtime::Handle::current();
    let failed = engine.committer.clone();
    let next_batch = move |rows: &mut IngestStream| {
        runtime.block_on(async {
            tokio::select! {
                batch = rows.next() => Ok(batch),
                error = failed.failure() => Err(error),
            }
        })
    };
    let load = move || -> Result<SpaceStats> {
        let data = &engine.rows.user;
        let mut loads: Vec<(SpaceId, Load)> = Vec::new();
        let mut samples = Vec::new();
        let mut total = SpaceStats::default();
        let Some(mut next) = next_batch(&mut rows)? else { return Ok(total) };
        // Here and below: an empty memtable keeps `finish`, which holds the journal lock, short.
        engine.flush()?;
        let mut ingestion = data.start_ingestion()?;
        let mut last = Vec::new();
        let mut part_began = 0;
        loop {
            let (space, batch) = next?;
            if !engine.rows.is_user(space) {
                return Err(Error::Engine(format!("space {space} is the system's: nothing is loaded into it")));
            }
            for entry in batch.iter() {
                if entry.key.len() > MAX_KEY_BYTES {
                    return Err(Error::KeyTooLong(entry.key.len()));
                }
                let prefix = version_prefix(space, entry.key);
                if prefix <= last {
                    return Err(Error::Unsorted);
                }
                let row = SpaceStats { rows: 1, bytes: (entry.key.len() + entry.value.map_or(0, <[u8]>::len)) as u64 };
                total.rows += row.rows;
                total.bytes += row.bytes;
                match loads.last_mut() {
                    Some((of, load)) if *of == space => load.counts = load.counts.plus(row.into()),
                    // A load is the same if it begins with the same key.
                    _ => loads.push((space, Load { at, number: stats::hash(&prefix), counts: row.into() })),
                }
                if stats::is_sample(&prefix) {
                    samples.push(prefix.clone());
                }
                ingestion.write(with_time(&prefix, at), encode_value(entry.value))?;
                last = prefix;
            }
            engine.disk.check(false)?;
            if total.rows - part_began >= PART_ROWS {
                part_began = total.rows;
                engine.spaces.note_loads(&loads)?;
                ingestion.finish()?;
                engine.stats.add_samples(&engine.database, &samples)?;
                samples.clear();
                engine.flush()?;
                ingestion = data.start_ingestion()?;
            }
            match next_batch(&mut rows)? {
                Some(batch) => next = batch,
                None => break,
            }
        }
        engine.spaces.note_loads(&loads)?;
        ingestion.finish()?;
        engine.stats.add_samples(&engine.database, &samples)?;
        Ok(total)
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.unwrap_or_else(|error| Err(Error::Engine(format!("an ingest did not finish: {error}"))))
}
