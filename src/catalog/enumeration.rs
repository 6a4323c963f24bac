//! Enumerated types.
//!
//! What is stored of a value is a number, and the numbers of a type's labels ascend in their order: keys sort as the type does. They leave
//! room between them, so that a label can come to stand between two others without any row being written anew.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ColumnType, DescriptorId, Error, Identity, Result};
use crate::parser::quote_ident_in_sql;

/// From the number of a label to that of one added after it.
const GAP: i64 = 1 << 24;

/// A label and its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumLabel {
    /// The label.
    pub label: String,
    /// What is stored for it.
    pub number: i64,
}

/// An enumerated type as a column has it: with all that reading and writing its values takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumType {
    /// Its descriptor.
    pub id: DescriptorId,
    /// What stands for the type of its arrays.
    pub array: DescriptorId,
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its labels, in order.
    pub labels: Vec<EnumLabel>,
}

impl EnumType {
    /// The label with a number.
    pub fn label(&self, number: i64) -> Result<&str> {
        let found = self.labels.binary_search_by_key(&number, |known| known.number);
        let unknown = || Error::corrupt(format!("enum {self} has no label with the number {number}"));
        found.map(|at| self.labels[at].label.as_str()).map_err(|_| unknown())
    }

    /// The number of a label.
    pub fn number(&self, label: &str) -> Option<i64> {
        self.labels.iter().find(|known| known.label == label).map(|known| known.number)
    }
}

/// As it is written anywhere in its database.
impl fmt::Display for EnumType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", quote_ident_in_sql(&self.schema), quote_ident_in_sql(&self.name))
    }
}

/// Where a new label goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// After all others.
    Last,
    /// Before the one with this label.
    Before(&'a str),
    /// After the one with this label.
    After(&'a str),
}

/// Why a label cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The label beside which it was to go is not there.
    Missing(String),
    /// Between the two there is no number left.
    Full,
}

/// An enumerated type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
    /// The database it is in.
    pub database: DescriptorId,
    /// The schema it is in.
    pub schema: DescriptorId,
    /// What stands for the type of its arrays; nothing else has the number.
    pub array: DescriptorId,
    /// Its labels, in order.
    pub labels: Vec<EnumLabel>,
    /// Tables and views that use it. Their columns have a copy of it, which is changed with it.
    pub used_by: Vec<DescriptorId>,
}

impl TypeDescriptor {
    /// As columns have it, in the schema of this name.
    pub fn as_column_type(&self, schema: &str) -> ColumnType {
        ColumnType::Enum(Box::new(EnumType {
            id: self.identity.id,
            array: self.array,
            schema: schema.into(),
            name: self.identity.name.clone(),
            labels: self.labels.clone(),
        }))
    }

    /// Whether it has a label.
    pub fn has(&self, label: &str) -> bool {
        self.labels.iter().any(|known| known.label == label)
    }

    /// Adds a label that it does not have.
    pub fn add(&mut self, label: &str, place: Place<'_>) -> std::result::Result<(), NoPlace> {
        let find = |label: &str| {
            let found = self.labels.iter().position(|known| known.label == label);
            found.ok_or_else(|| NoPlace::Missing(label.into()))
        };
        let at = match place {
            Place::Last => self.labels.len(),
            Place::Before(other) => find(other)?,
            Place::After(other) => find(other)? + 1,
        };
        let number_at = |at: usize| self.labels.get(at).map(|known| known.number);
        let number = match (at.checked_sub(1).and_then(number_at), number_at(at)) {
            (None, None) => 0,
            (Some(before), None) => before.checked_add(GAP).ok_or(NoPlace::Full)?,
            (None, Some(after)) => after.checked_sub(GAP).ok_or(NoPlace::Full)?,
            (Some(before), Some(after)) if after - before < 2 => return Err(NoPlace::Full),
            (Some(before), Some(after)) => before + (after - before) / 2,
        };
        self.labels.insert(at, EnumLabel { label: label.into(), number });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str]) -> TypeDescriptor {
        let id = DescriptorId(100);
        let mut made = TypeDescriptor {
            identity: Identity::new(id, "mood", "root"),
            database: id,
            schema: id,
            array: id,
            labels: Vec::new(),
            used_by: Vec::new(),
        };
        labels.iter().for_each(|label| made.add(label, Place::Last).unwrap());
        made
    }

    #[test]
    fn labels_go_where_they_are_told_and_keep_their_numbers() {
        let mut made = of(&["sad", "happy"]);
        let before = made.labels.clone();
        made.add("ok", Place::Before("happy")).unwrap();
        made.add("fine", Place::After("ok")).unwrap();
        made.add("awful", Place::Before("sad")).unwrap();
        let labels: Vec<&str> = made.labels.iter().map(|known| known.label.as_str()).collect();
        assert_eq!(labels, ["awful", "sad", "ok", "fine", "happy"]);
        assert!(made.labels.is_sorted_by_key(|known| known.number));
        assert!(before.iter().all(|known| made.labels.contains(known)));
        assert_eq!(made.add("x", Place::After("no")), Err(NoPlace::Missing("no".into())));
        let ColumnType::Enum(column) = made.as_column_type("public") else { panic!("not an enum") };
        for known in &made.labels {
            assert_eq!(column.label(known.number).unwrap(), known.label);
            assert_eq!(column.number(&known.label), Some(known.number));
        }
        assert!(column.label(1).is_err());
    }

    #[test]
    fn between_two_labels_there_is_room_for_many_and_then_for_none() {
        let mut made = of(&["a", "z"]);
        let added = (0..).take_while(|number| made.add(&format!("m{number}"), Place::Before("z")).is_ok()).count();
        assert_eq!(added, 24);
        assert_eq!(made.add("more", Place::Before("z")), Err(NoPlace::Full));
        assert!(made.labels.is_sorted_by(|a, b| a.number < b.number));
    }
}
