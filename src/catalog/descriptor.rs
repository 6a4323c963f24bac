use serde::{Deserialize, Deserializer, Serialize};

use std::collections::BTreeSet;

use super::enumeration::TypeDescriptor;
use super::grant::{DefaultGrants, Grant};
use super::{ADMIN_ROLE, ColumnType, Datum, Interval, ROOT_USER};
use crate::kv::SpaceId;

/// Names a descriptor. Never reused; shares its numbering with [`SpaceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DescriptorId(pub u64);

/// Names a column within its table. Never reused, so that old rows stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ColumnId(pub u32);

/// The newest form of descriptors that this version reads. What older versions understand is written in theirs.
pub const DESCRIPTOR_FORMAT: u32 = 3;
/// The second form, without indexes that store columns.
const SECOND_FORMAT: u32 = 2;
/// The first form, without enumerated types, computed columns, partial indexes and `SET DEFAULT`.
const FIRST_FORMAT: u32 = 1;

/// Who owns an object, and who else may use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The version of the descriptor's form; [`DESCRIPTOR_FORMAT`] is the newest this version knows.
    pub format: u32,
    /// The object.
    pub id: DescriptorId,
    /// Its unqualified name.
    pub name: String,
    /// The owner.
    pub owner: String,
    /// Everyone's privileges.
    pub grants: Vec<Grant>,
    /// Of a database or schema: what is granted of objects that are yet to come in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<DefaultGrants>,
    /// `COMMENT ON`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Identity {
    /// A new object of `owner`, with the grants every new object has.
    pub fn new(id: DescriptorId, name: impl Into<String>, owner: &str) -> Identity {
        Identity {
            format: FIRST_FORMAT,
            id,
            name: name.into(),
            owner: owner.into(),
            grants: vec![Grant::all(ADMIN_ROLE), Grant::all(ROOT_USER)],
            defaults: Vec::new(),
            comment: None,
        }
    }
}

/// Anything with a name, as stored in `system.descriptor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Descriptor {
    /// A database.
    Database(DatabaseDescriptor),
    /// A schema in a database.
    Schema(SchemaDescriptor),
    /// A table.
    Table(TableDescriptor),
    /// A view.
    View(ViewDescriptor),
    /// A sequence.
    Sequence(SequenceDescriptor),
    /// An enumerated type.
    Type(TypeDescriptor),
}

impl Descriptor {
    /// What all kinds have in common.
    pub fn identity(&self) -> &Identity {
        match self {
            Descriptor::Database(database) => &database.identity,
            Descriptor::Schema(schema) => &schema.identity,
            Descriptor::Table(table) => &table.identity,
            Descriptor::View(view) => &view.identity,
            Descriptor::Sequence(sequence) => &sequence.identity,
            Descriptor::Type(made) => &made.identity,
        }
    }

    /// The same, to be changed.
    pub fn identity_mut(&mut self) -> &mut Identity {
        match self {
            Descriptor::Database(database) => &mut database.identity,
            Descriptor::Schema(schema) => &mut schema.identity,
            Descriptor::Table(table) => &mut table.identity,
            Descriptor::View(view) => &mut view.identity,
            Descriptor::Sequence(sequence) => &mut sequence.identity,
            Descriptor::Type(made) => &mut made.identity,
        }
    }

    /// Whatever is granted of it, of its columns, and of what is yet to come in it.
    pub fn all_grants(&self) -> impl Iterator<Item = &Grant> {
        let columns = match self {
            Descriptor::Table(table) => &table.columns[..],
            _ => &[],
        };
        let identity = self.identity();
        let defaults = identity.defaults.iter().flat_map(|default| &default.grants);
        identity.grants.iter().chain(columns.iter().flat_map(|column| &column.grants)).chain(defaults)
    }

    /// The same lists, to be changed.
    pub fn grant_lists_mut(&mut self) -> Vec<&mut Vec<Grant>> {
        let (columns, identity) = match self {
            Descriptor::Table(table) => (&mut table.columns[..], &mut table.identity),
            Descriptor::Database(database) => (&mut [][..], &mut database.identity),
            Descriptor::Schema(schema) => (&mut [][..], &mut schema.identity),
            Descriptor::View(view) => (&mut [][..], &mut view.identity),
            Descriptor::Sequence(sequence) => (&mut [][..], &mut sequence.identity),
            Descriptor::Type(made) => (&mut [][..], &mut made.identity),
        };
        let defaults = identity.defaults.iter_mut().map(|default| &mut default.grants);
        let columns = columns.iter_mut().map(|column| &mut column.grants);
        std::iter::once(&mut identity.grants).chain(columns).chain(defaults).collect()
    }

    /// Fails if a newer version of keepsafe wrote it.
    pub fn check_format(&self) -> super::Result<()> {
        let Identity { format, name, .. } = self.identity();
        if *format <= DESCRIPTOR_FORMAT {
            return Ok(());
        }
        Err(super::Error::corrupt(format!(
            "\"{name}\" has descriptor format {format}; this version reads up to {DESCRIPTOR_FORMAT}"
        )))
    }

    /// The first form that can say what it says: whoever does not know that must refuse it, and not take it for less.
    pub fn needed_format(&self) -> u32 {
        let is_newer = match self {
            Descriptor::Table(table) if table.all_indexes().any(|index| !index.stored.is_empty()) => {
                return DESCRIPTOR_FORMAT;
            }
            Descriptor::Type(_) => true,
            Descriptor::Table(table) => {
                let sets_default =
                    |key: &ForeignKey| [key.on_delete, key.on_update].contains(&ReferentialAction::SetDefault);
                table.columns.iter().any(|column| column.generated.is_some())
                    || table.indexes.iter().any(|index| index.predicate.is_some())
                    || table.foreign_keys.iter().any(sets_default)
                    || !self.made_types().is_empty()
            }
            Descriptor::View(_) => !self.made_types().is_empty(),
            Descriptor::Database(_) | Descriptor::Schema(_) | Descriptor::Sequence(_) => false,
        };
        if is_newer { SECOND_FORMAT } else { FIRST_FORMAT }
    }

    /// Its id.
    pub fn id(&self) -> DescriptorId {
        self.identity().id
    }

    /// Its unqualified name.
    pub fn name(&self) -> &str {
        &self.identity().name
    }

    /// The database and schema it is in: none for a database, no schema for a schema.
    pub fn parents(&self) -> (Option<DescriptorId>, Option<DescriptorId>) {
        match self {
            Descriptor::Database(_) => (None, None),
            Descriptor::Schema(schema) => (Some(schema.database), None),
            Descriptor::Table(table) => (Some(table.database), Some(table.schema)),
            Descriptor::View(view) => (Some(view.database), Some(view.schema)),
            Descriptor::Sequence(sequence) => (Some(sequence.database), Some(sequence.schema)),
            Descriptor::Type(made) => (Some(made.database), Some(made.schema)),
        }
    }

    /// Whether it is a schema that goes with its session.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Descriptor::Schema(schema) if schema.temporary)
    }

    /// The word SQL uses for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Descriptor::Database(_) => "database",
            Descriptor::Schema(_) => "schema",
            Descriptor::Table(_) => "table",
            Descriptor::View(_) => "view",
            Descriptor::Sequence(_) => "sequence",
            Descriptor::Type(_) => "type",
        }
    }

    /// The spaces that hold its data.
    pub fn spaces(&self) -> Vec<SpaceId> {
        match self {
            Descriptor::Table(table) => table.all_indexes().map(|index| index.space).collect(),
            Descriptor::Sequence(sequence) => vec![sequence.space],
            _ => Vec::new(),
        }
    }

    /// Whether backups have it without its rows.
    pub fn is_excluded_from_backup(&self) -> bool {
        matches!(self, Descriptor::Table(table) if table.exclude_data_from_backup)
    }

    /// The types of its columns, where it has any.
    pub fn column_types_mut(&mut self) -> Vec<&mut ColumnType> {
        match self {
            Descriptor::Table(table) => table.columns.iter_mut().map(|column| &mut column.column_type).collect(),
            Descriptor::View(view) => view.columns.iter_mut().map(|column| &mut column.column_type).collect(),
            _ => Vec::new(),
        }
    }

    /// The types that somebody made and it uses.
    pub fn made_types(&self) -> BTreeSet<DescriptorId> {
        match self {
            Descriptor::Table(table) => {
                table.columns.iter().filter_map(|column| column.column_type.made_type()).collect()
            }
            Descriptor::View(view) => {
                let shown = view.columns.iter().filter_map(|column| column.column_type.made_type());
                shown.chain(view.types.iter().copied()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The objects it cannot exist without.
    pub fn dependencies(&self) -> Vec<DescriptorId> {
        match self {
            Descriptor::Table(table) => {
                let referenced = table.foreign_keys.iter().map(|key| key.referenced_table);
                let others = referenced.chain(table.sequences.iter().copied());
                let others = others.filter(|id| *id != table.identity.id);
                others.chain(self.made_types()).collect()
            }
            Descriptor::View(view) => view.depends_on.iter().copied().chain(self.made_types()).collect(),
            _ => Vec::new(),
        }
    }
}

/// A database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
    /// The database it is in.
    pub database: DescriptorId,
    /// Whether it and all in it goes with the session that made it, and is in no backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

/// What a commit does with the rows of a temporary table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCommit {
    /// They go.
    DeleteRows,
    /// The table goes.
    Drop,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
    /// The database it is in.
    pub database: DescriptorId,
    /// The schema it is in.
    pub schema: DescriptorId,
    /// Columns, in order.
    pub columns: Vec<Column>,
    /// The id the next added column gets.
    pub next_column: u32,
    /// The index that holds the rows. Its columns are the primary key.
    pub primary: Index,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
    /// Check constraints.
    pub checks: Vec<Check>,
    /// Foreign keys of this table.
    pub foreign_keys: Vec<ForeignKey>,
    /// Tables with a foreign key to this one.
    pub referenced_by: Vec<DescriptorId>,
    /// Sequences its defaults use.
    pub sequences: Vec<DescriptorId>,
    /// Views that read it.
    pub views: Vec<DescriptorId>,
    /// Whether backups leave its rows out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude_data_from_backup: bool,
    /// What becomes of a temporary table's rows at a commit, if they do not stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_commit: Option<OnCommit>,
}

/// Digits of a second after the point, which are those of microseconds.
const SECOND_DIGITS: u8 = 6;

/// A time or interval to so many digits of seconds, of two as near to the one farther from zero.
pub fn rounded_seconds(value: Datum<'static>, digits: u8) -> Datum<'static> {
    let unit = 10_i64.pow(u32::from(SECOND_DIGITS.saturating_sub(digits)));
    let round = |micros: i64| {
        let rest = micros % unit;
        let away = if rest.abs() * 2 >= unit { unit * rest.signum() } else { 0 };
        (micros - rest).saturating_add(away)
    };
    match value {
        Datum::Int(micros) => Datum::Int(round(micros)),
        Datum::Interval(interval) => Datum::Interval(Interval { micros: round(interval.micros), ..interval }),
        other => other,
    }
}

/// Whether statements may give an identity column a value of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityGeneration {
    /// `GENERATED ALWAYS AS IDENTITY`: they must leave it to the sequence.
    Always,
    /// `GENERATED BY DEFAULT AS IDENTITY`: they may.
    ByDefault,
}

impl IdentityGeneration {
    /// How SQL says it.
    pub fn words(self) -> &'static str {
        match self {
            IdentityGeneration::Always => "ALWAYS",
            IdentityGeneration::ByDefault => "BY DEFAULT",
        }
    }
}

/// Descriptors of earlier versions have a flag for `ALWAYS`, and nothing for `BY DEFAULT`.
fn identity_or_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IdentityGeneration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Flag(bool),
        Identity(IdentityGeneration),
    }
    Ok(match Kept::deserialize(deserializer)? {
        Kept::Flag(always) => always.then_some(IdentityGeneration::Always),
        Kept::Identity(identity) => Some(identity),
    })
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its id in the table.
    pub id: ColumnId,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// How many digits its seconds have after the point, if that was said of a time or interval: `TIMESTAMP(3)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_precision: Option<u8>,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// The default, as SQL.
    pub default: Option<String>,
    /// Whether `SELECT *` leaves it out.
    pub hidden: bool,
    /// How it takes the numbers of its sequence, if it is an identity column.
    #[serde(
        default,
        alias = "generated_always",
        deserialize_with = "identity_or_flag",
        skip_serializing_if = "Option::is_none"
    )]
    pub identity: Option<IdentityGeneration>,
    /// What its values are computed from, as SQL over the other columns: `GENERATED ALWAYS AS (...) STORED`. Hidden columns of this kind
    /// are what indexes on expressions sort by, and conditions of indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    /// The value of rows written before it was added, if that is not NULL: an encoded row of this one column, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// `COMMENT ON`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What was granted of the column alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

impl Column {
    /// Its type, as SQL writes it.
    pub fn written_type(&self) -> String {
        let precision = self.time_precision.map_or(String::new(), |digits| format!("({digits})"));
        format!("{}{precision}", self.column_type)
    }

    /// A value as it is kept here: with as many digits of seconds as there are to be.
    pub fn kept(&self, value: Datum<'static>) -> Datum<'static> {
        match self.time_precision {
            Some(digits) => rounded_seconds(value, digits),
            None => value,
        }
    }

    /// A plain column that takes NULL.
    pub fn new(id: ColumnId, name: impl Into<String>, column_type: ColumnType) -> Column {
        Column {
            id,
            name: name.into(),
            column_type,
            time_precision: None,
            nullable: true,
            default: None,
            hidden: false,
            identity: None,
            generated: None,
            missing: None,
            comment: None,
            grants: Vec::new(),
        }
    }

    /// The value of rows that do not have the column.
    pub fn missing_value(&self) -> super::Result<Datum<'static>> {
        let Some(encoded) = &self.missing else { return Ok(Datum::Null) };
        let digit = |index: usize| encoded.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..encoded.len()).step_by(2).map(digit).collect();
        let bytes = bytes.ok_or_else(|| super::Error::corrupt("a column's missing value is not hexadecimal"))?;
        let column = super::row::RowReader::new(&bytes)?.next_column()?;
        Ok(column.map_or(Datum::Null, |(_, datum)| datum.into_owned()))
    }
}

/// The rows in key order, or pointers to them in the order of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The space that holds its entries.
    pub space: SpaceId,
    /// Whether two rows may have equal values.
    pub unique: bool,
    /// Its columns.
    pub columns: Vec<IndexColumn>,
    /// Other columns whose values its entries have, `STORING` or `INCLUDE`; for display only where it is the primary key's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<ColumnId>,
    /// The hidden column that is true of the rows it has; `None` is all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<ColumnId>,
    /// `COMMENT ON`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Index {
    /// An index of all rows, with nothing but what it is sorted by.
    pub fn new(name: impl Into<String>, space: SpaceId, unique: bool, columns: Vec<IndexColumn>) -> Index {
        Index { name: name.into(), space, unique, columns, stored: Vec::new(), predicate: None, comment: None }
    }

    /// The columns that its entries depend on.
    pub fn all_columns(&self) -> impl Iterator<Item = ColumnId> {
        self.columns.iter().map(|part| part.column).chain(self.stored.iter().copied()).chain(self.predicate)
    }
}

/// A column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// The column.
    pub column: ColumnId,
    /// Whether it sorts from high to low.
    pub descending: bool,
}

/// A check constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The condition, as SQL.
    pub condition: String,
}

/// What happens to a row whose referenced row goes away or changes its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferentialAction {
    /// The change is refused.
    #[default]
    NoAction,
    /// The row goes too, or follows.
    Cascade,
    /// Its columns become NULL.
    SetNull,
    /// Its columns get their defaults.
    SetDefault,
    /// Refuse, even if the check of the key could wait.
    Restrict,
}

/// When a constraint is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checked {
    /// At the end of each statement: it is not deferrable.
    #[default]
    Always,
    /// At the end of each statement, unless the transaction says otherwise: `DEFERRABLE`.
    Immediate,
    /// At the end of the transaction, unless that says otherwise: `DEFERRABLE INITIALLY DEFERRED`.
    Deferred,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The referencing columns.
    pub columns: Vec<ColumnId>,
    /// The referenced table.
    pub referenced_table: DescriptorId,
    /// The referenced columns, which are unique together.
    pub referenced_columns: Vec<ColumnId>,
    /// What to do when the referenced row is deleted.
    pub on_delete: ReferentialAction,
    /// What to do when its key changes.
    #[serde(default)]
    pub on_update: ReferentialAction,
    /// When it is checked.
    #[serde(default)]
    pub checked: Checked,
}

impl TableDescriptor {
    /// A table without columns, whose rows are in `primary`.
    pub fn new(identity: Identity, database: DescriptorId, schema: DescriptorId, primary: Index) -> TableDescriptor {
        TableDescriptor {
            identity,
            database,
            schema,
            columns: Vec::new(),
            next_column: 1,
            primary,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            sequences: Vec::new(),
            views: Vec::new(),
            exclude_data_from_backup: false,
            on_commit: None,
        }
    }

    /// The primary index, then the secondary ones.
    pub fn all_indexes(&self) -> impl Iterator<Item = &Index> {
        std::iter::once(&self.primary).chain(&self.indexes)
    }

    /// The column with an id.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The position of the column with an id.
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }

    /// The column with a name.
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether an index is unique for all rows, by columns that somebody declared: it does for a key.
    pub fn is_key(&self, index: &Index) -> bool {
        let is_plain =
            |id: ColumnId| self.column(id).is_some_and(|column| !column.hidden || column.generated.is_none());
        index.unique && index.predicate.is_none() && index.all_columns().all(is_plain)
    }

    /// All that is kept as SQL: defaults, what columns are computed from, and conditions.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let kept = self.columns.iter_mut().flat_map(|column| column.default.iter_mut().chain(&mut column.generated));
        kept.chain(self.checks.iter_mut().map(|check| &mut check.condition))
    }

    /// Whether the column is part of the primary key.
    pub fn in_primary_key(&self, id: ColumnId) -> bool {
        self.primary.columns.iter().any(|part| part.column == id)
    }

    /// Columns that `SELECT *` shows and `INSERT` without a column list fills.
    pub fn visible_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.hidden)
    }
}

/// A view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
    /// The database it is in.
    pub database: DescriptorId,
    /// The schema it is in.
    pub schema: DescriptorId,
    /// Its query. Names in it are qualified with their schema, and with their database if that is another one.
    pub query: String,
    /// Its columns.
    pub columns: Vec<ViewColumn>,
    /// Tables, views and sequences it reads.
    pub depends_on: Vec<DescriptorId>,
    /// The number that the next column of each of these tables would have got when the view was created: what its `*` stands for does
    /// not grow. Views of older versions have none.
    #[serde(default)]
    pub columns_below: Vec<u32>,
    /// Types that somebody made and its query names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<DescriptorId>,
    /// Views that read it.
    #[serde(default)]
    pub views: Vec<DescriptorId>,
}

impl ViewDescriptor {
    /// Whether a column of a table was there when the view was created.
    pub fn knows(&self, table: DescriptorId, column: &Column) -> bool {
        let sources = self.depends_on.iter().zip(&self.columns_below);
        sources.filter(|(source, _)| **source == table).all(|(_, below)| column.id.0 < *below)
    }
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// `COMMENT ON`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A sequence. Its value is the one row of its space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceDescriptor {
    /// Name and owner.
    #[serde(flatten)]
    pub identity: Identity,
    /// The database it is in.
    pub database: DescriptorId,
    /// The schema it is in.
    pub schema: DescriptorId,
    /// Where its value is.
    pub space: SpaceId,
    /// The first value.
    pub start: i64,
    /// From one value to the next; negative counts down.
    pub increment: i64,
    /// The least value.
    pub minimum: i64,
    /// The greatest value.
    pub maximum: i64,
    /// The table column it belongs to, with which it is dropped.
    #[serde(default)]
    pub owned_by: Option<(DescriptorId, ColumnId)>,
    /// Views that read it.
    #[serde(default)]
    pub views: Vec<DescriptorId>,
}
