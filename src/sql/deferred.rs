//! Foreign keys whose check waits for the end of the transaction, and what is to be checked then.
//!
//! What is noted is never forgotten before the end, not even by `ROLLBACK TO` or after it was checked once: whether values break
//! a key is looked up in the tables as they are when it counts, so a note too many only costs time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::catalog::{Checked, ColumnId, Datum, DescriptorId, ForeignKey};

/// A foreign key, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    /// The table it belongs to.
    pub table: DescriptorId,
    /// The table it refers to.
    pub referenced: DescriptorId,
    columns: Vec<ColumnId>,
    referenced_columns: Vec<ColumnId>,
}

impl KeyId {
    /// That of a key of a table.
    pub fn of(table: DescriptorId, key: &ForeignKey) -> KeyId {
        KeyId {
            table,
            referenced: key.referenced_table,
            columns: key.columns.clone(),
            referenced_columns: key.referenced_columns.clone(),
        }
    }
}

/// Values that break a key if a row refers to them and none has them.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// One value for each column of the key.
    pub values: Vec<Datum<'static>>,
    /// Whether the row that had them went, not one that refers to them came.
    pub gone: bool,
}

/// What `SET CONSTRAINTS` has said.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    of_all: Option<bool>,
    of: HashMap<KeyId, bool>,
}

#[derive(Default)]
struct State {
    modes: Modes,
    suspects: BTreeMap<KeyId, BTreeMap<Vec<u8>, Suspect>>,
}

/// The foreign keys of one transaction that wait.
#[derive(Clone, Default)]
pub struct DeferredKeys {
    state: Arc<Mutex<State>>,
}

impl DeferredKeys {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the check of a key waits.
    pub fn waits(&self, id: &KeyId, checked: Checked) -> bool {
        let state = self.state();
        let asked = || state.modes.of.get(id).copied().or(state.modes.of_all);
        match checked {
            Checked::Always => false,
            Checked::Immediate => asked().unwrap_or(false),
            Checked::Deferred => asked().unwrap_or(true),
        }
    }

    /// Notes values to check later, by their encoding.
    pub fn note(&self, id: &KeyId, suspects: impl IntoIterator<Item = (Vec<u8>, Suspect)>) {
        self.state().suspects.entry(id.clone()).or_default().extend(suspects);
    }

    /// Whether there is something to check.
    pub fn is_needed(&self) -> bool {
        !self.state().suspects.is_empty()
    }

    /// The keys with something to check.
    pub fn noted(&self) -> Vec<KeyId> {
        self.state().suspects.keys().cloned().collect()
    }

    /// What is to be checked of a key.
    pub fn suspects(&self, id: &KeyId) -> Vec<Suspect> {
        self.state().suspects.get(id).map_or_else(Vec::new, |suspects| suspects.values().cloned().collect())
    }

    /// All deferrable keys wait from here on, or none does.
    pub fn set_all(&self, deferred: bool) {
        self.state().modes = Modes { of_all: Some(deferred), of: HashMap::new() };
    }

    /// A key waits from here on, or does not.
    pub fn set(&self, id: KeyId, deferred: bool) {
        self.state().modes.of.insert(id, deferred);
    }

    /// What has been said so far.
    pub fn modes(&self) -> Modes {
        self.state().modes.clone()
    }

    /// Goes back to what had been said.
    pub fn go_back(&self, modes: &Modes) {
        self.state().modes = modes.clone();
    }
}
