//! Verification: walks everything there is and says what does not fit together.

use std::collections::BTreeMap;

use super::Engine;
use super::encoding::{decode_value, space_of, split_time, user_key_bytes};
use super::spaces::Load;
use super::stats::{self, Counts};
use crate::kv::{Result, SpaceId};
use crate::time::Timestamp;

/// Every version must be readable and, unless a bulk load wrote it or changes cannot be read so far back, in the index of
/// changes; and the statistics of every space in use must be what is there. Returns how many versions there are.
pub fn verify(engine: &Engine, report: &mut impl FnMut(String)) -> Result<u64> {
    let mut versions = 0;
    let mut counted: BTreeMap<SpaceId, Counts> = BTreeMap::new();
    let mut last = Vec::new();
    let mut loads: BTreeMap<SpaceId, Vec<Load>> = BTreeMap::new();
    for guard in engine.rows.all() {
        let (key, value) = guard.into_inner()?;
        versions += 1;
        let (prefix, time) = split_time(&key)?;
        let space = space_of(prefix)?;
        let value = match decode_value(&value) {
            Ok(value) => value,
            Err(error) => {
                report(format!("space {space}: a version of {time} cannot be read: {error}"));
                None
            }
        };
        if prefix != last {
            last = prefix.to_vec();
            let row = value.map(|value| user_key_bytes(prefix) + value.len());
            counted.entry(space).or_default().replace(None, row);
        }
        // Loads of which the first row is there: those are there as a whole.
        let absent = loads.entry(space).or_insert_with(|| engine.spaces.loads(space));
        if !absent.is_empty() {
            let number = stats::hash(prefix);
            absent.retain(|load| (load.at, load.number) != (time, number));
        }
        let is_out_of_reach = engine.spaces.check_readable(space, time.prev()).is_err();
        let is_known = is_out_of_reach || engine.spaces.was_loaded(space, time.prev(), time);
        if !is_known && !engine.changes.knows(prefix, time)? {
            report(format!("space {space}: a change of {time} is not in the index of changes"));
        }
    }
    for (space, counts) in counted {
        let (found, known) = (counts.stats(), engine.stats_of(space));
        let is_in_use = engine.spaces.check_readable(space, Timestamp::MAX).is_ok();
        // A load is noted before its rows appear. If that was all when the server was killed, whoever began it does it again, or drops the
        // space, which nobody else sees.
        let unfinished =
            loads.get(&space).into_iter().flatten().fold(Counts::default(), |sum, load| sum.plus(load.counts));
        if is_in_use && found != known && counts.plus(unfinished).stats() != known {
            report(format!("space {space}: the statistics say {known:?}, but there is {found:?}"));
        }
    }
    Ok(versions)
}
