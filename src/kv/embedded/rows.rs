//! Where versions of rows are: those of the system's spaces in one keyspace of fjall, those of all others in another.
//!
//! A job writes its progress while it loads rows. In one keyspace with them, a file of those few entries would reach from the first
//! space to the last, and compacting it would write anew all that was loaded.

use fjall::config::{FilterPolicy, PartitioningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

use super::encoding::space_of;
use crate::kv::{Result, SpaceId};

/// All versions of all rows.
#[derive(Clone)]
pub struct Rows {
    /// Those of spaces below `first_user_space`.
    pub system: Keyspace,
    /// Those of all others.
    pub user: Keyspace,
    first_user_space: u64,
}

impl Rows {
    /// Opens the keyspaces.
    pub fn open(database: &Database, first_user_space: u64) -> Result<Rows> {
        let system = database.keyspace("system", || unfiltered(super::side_keyspace()))?;
        let user = database.keyspace("data", || unfiltered(KeyspaceCreateOptions::default()))?;
        Ok(Rows { system, user, first_user_space })
    }

    /// Where the rows of a space are.
    pub fn of(&self, space: SpaceId) -> &Keyspace {
        if self.is_user(space) { &self.user } else { &self.system }
    }

    /// Whether a space is not the system's.
    pub fn is_user(&self, space: SpaceId) -> bool {
        space.0 >= self.first_user_space
    }

    /// Every version of every row, by space.
    pub fn all(&self) -> impl Iterator<Item = fjall::Guard> {
        self.system.iter().chain(self.user.iter())
    }

    /// Moves the system's rows to their own keyspace, in a store that has them among all others.
    pub fn separate(&self, batch: &mut OwnedWriteBatch) -> Result<()> {
        for guard in self.user.iter() {
            let (key, value) = guard.into_inner()?;
            if self.is_user(space_of(&key)?) {
                break;
            }
            batch.remove(&self.user, key.clone());
            batch.insert(&self.system, key, value);
        }
        Ok(())
    }
}

/// Without filters: the newest version of a key is found by walking a range, which asks no filter; and while a table file is written, a
/// filter takes memory in proportion to its rows. The index of a file is in parts, which come and go with the block cache: by default the
/// files of the upper levels, which is where a restore puts its rows, keep theirs in memory.
fn unfiltered(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options.filter_policy(FilterPolicy::disabled()).index_block_partitioning_policy(PartitioningPolicy::all(true))
}
