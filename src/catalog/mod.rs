//! The catalog: what databases, schemas, tables, views, sequences, types and users there are, and how rows become keys and values.
//!
//! Everything is a row of a table in the `system` database, read and written through ordinary transactions, so DDL is
//! transactional and an old schema can be read `AS OF SYSTEM TIME`:
//!
//! ```text
//!   system.namespace   (parent database, parent schema, name) -> id
//!   system.descriptor  id -> descriptor, as JSON with named fields
//! ```
//!
//! The system tables' own descriptors are compiled in ([`system`]). Ids of descriptors and spaces come from one counter.

mod access;
mod datum;
mod descriptor;
mod entry;
mod enumeration;
mod error;
mod grant;
pub mod key;
pub mod protection;
pub mod retention;
pub mod role;
pub mod row;
pub mod secrets;
pub mod settings;
pub mod system;
mod types;
pub mod zone;

pub use access::{
    Catalog, DescriptorCache, bootstrap, create_database, decode_descriptor, decode_row, encode_row, push_index_key,
};
pub use datum::{Datum, Interval};
pub use descriptor::{
    Check, Checked, Column, ColumnId, DatabaseDescriptor, Descriptor, DescriptorId, ForeignKey, Identity,
    IdentityGeneration, Index, IndexColumn, OnCommit, ReferentialAction, SchemaDescriptor, SequenceDescriptor,
    TableDescriptor, ViewColumn, ViewDescriptor, rounded_seconds,
};
pub use entry::{IndexEntry, index_entry, primary_key_of_entry};
pub use enumeration::{EnumLabel, EnumType, NoPlace, Place, TypeDescriptor};
pub use error::{Error, Result};
pub use grant::{ALL_PRIVILEGES, DefaultGrants, Grant};
pub use types::{ColumnType, UNCONSTRAINED_SCALE};

/// The schema every database has.
pub const PUBLIC_SCHEMA: &str = "public";
/// The admin user of a fresh store.
pub const ROOT_USER: &str = "root";
/// The role that owns and may do everything.
pub const ADMIN_ROLE: &str = "admin";

/// Whether a user or role may do everything.
pub fn is_superuser(name: &str) -> bool {
    [ROOT_USER, ADMIN_ROLE].contains(&name)
}
