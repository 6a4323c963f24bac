//! Statements that change the catalog. They run inside the session's transaction and roll back whole.

mod alter_column;
mod alter_table;
mod build;
mod comment;
mod create_table;
mod create_table_as;
mod default;
mod default_privileges;
mod drop;
mod enumeration;
mod generated;
mod identity;
mod index;
mod like;
mod objects;
mod owner;
mod parameter;
pub mod privileges;
mod roles;
mod sequence;
mod serial;
mod stored;
mod truncate;

pub use create_table_as::create as create_table_as;
pub use default_privileges::alter as alter_default_privileges;
pub use drop::drop_with_dependents;
use sqlparser::ast::{AlterIndexOperation, AlterSchema, AlterSchemaOperation, ObjectType, Statement as Ast};

use super::context::Context;
use super::error::{Error, Result, code};
use super::names::name_parts;
use crate::catalog::{ColumnId, ColumnType, Descriptor, Index, IndexColumn, TableDescriptor};
use crate::kv::LockMode;
use crate::parser::{CreateDatabase, Ordinary, quote_name};

/// The hidden column of tables without a primary key.
pub const ROW_ID: &str = "rowid";
/// Its default.
pub const ROW_ID_DEFAULT: &str = "unique_rowid()";

pub use enumeration::execute as execute_enum;
pub use identity::execute as execute_identity;
pub use roles::{execute as execute_role, shown_options};
pub use sequence::execute as execute_sequence;
pub use truncate::{empty, has_rows};

/// `CREATE DATABASE` with options
pub async fn create_database(context: &Context, create: &CreateDatabase) -> Result<Outcome> {
    let name = std::slice::from_ref(&create.name);
    objects::create_database(context, name, create.if_not_exists, create.owner.as_deref()).await
}

/// Runs a statement if it is DDL; the command tag says what was done, a notice what was not.
pub async fn execute(context: &Context, statement: &Ordinary) -> Result<Option<Outcome>> {
    let outcome = run(context, statement).await?;
    let table = match &statement.ast {
        Ast::CreateTable(create) => Some(&create.name),
        Ast::AlterTable(alter) => Some(&alter.name),
        _ => None,
    };
    let is_skipped = outcome.as_ref().is_some_and(|outcome| !outcome.notices.is_empty());
    let Some(table) = table.filter(|_| !is_skipped && !statement.sequences.is_empty()) else { return Ok(outcome) };
    let table = context.object(&name_parts(table)?).await?.id();
    // Sequences of identity columns are called after table and column.
    for name in &statement.sequences {
        let found = context.find_object(name).await?;
        let is_its_own = matches!(found.as_deref(), Some(Descriptor::Sequence(sequence))
            if sequence.owned_by.is_some_and(|(owner, _)| owner == table));
        if !is_its_own {
            return Err(Error::unsupported(format!("SEQUENCE NAME {} for this column", quote_name(name)))
                .hint("It is the name of the table, that of the column, and seq, with _ between."));
        }
    }
    Ok(outcome)
}

async fn run(context: &Context, statement: &Ordinary) -> Result<Option<Outcome>> {
    let tag = match &statement.ast {
        // It has rows to count, and a query to bind.
        Ast::CreateTable(create) if create.query.is_some() => return Ok(None),
        Ast::CreateTable(create) => return create_table::create(context, create, &statement.indexes).await.map(Some),
        Ast::CreateIndex(create) => return index::create(context, create).await.map(Some),
        Ast::AlterIndex { name, operation: AlterIndexOperation::RenameIndex { index_name } } => {
            return index::rename(context, name, index_name).await.map(Some);
        }
        Ast::AlterSchema(AlterSchema { name, if_exists: false, operations }) => {
            let [AlterSchemaOperation::OwnerTo { owner }] = &operations[..] else {
                return Err(Error::unsupported("ALTER SCHEMA other than OWNER TO"));
            };
            let schema = context.schema_named(&name_parts(name)?).await?;
            owner::give(context, schema.id(), &owner::named(context, owner).await?).await?;
            "ALTER SCHEMA"
        }
        Ast::Comment { object_type, object_name, comment, if_exists: false, .. } => {
            comment::set(context, *object_type, object_name, comment.as_deref()).await?;
            "COMMENT"
        }
        Ast::CreateView(create) => return objects::create_view(context, create).await.map(Some),
        Ast::CreateDatabase { db_name, if_not_exists, .. } => {
            return objects::create_database(context, &name_parts(db_name)?, *if_not_exists, None).await.map(Some);
        }
        Ast::CreateSchema { schema_name, if_not_exists, .. } => {
            return objects::create_schema(context, schema_name, *if_not_exists).await.map(Some);
        }
        Ast::Grant(statement) => {
            privileges::grant(context, statement).await?;
            "GRANT"
        }
        Ast::Revoke(statement) => {
            privileges::revoke(context, statement).await?;
            "REVOKE"
        }
        Ast::AlterTable(alter) => {
            alter_table::alter(context, alter).await?;
            "ALTER TABLE"
        }
        Ast::Truncate(truncate) => return truncate::truncate(context, truncate).await.map(Some),
        Ast::Drop { object_type, if_exists, names, cascade, temporary: false, .. } => {
            let mut notices = Vec::new();
            for name in names {
                let parts = name_parts(name)?;
                let dropped = drop::drop_named(context, object_type, &parts, *cascade, restricts(&statement.ast)).await;
                match dropped {
                    Ok(()) => {}
                    Err(error) if *if_exists && is_missing(&error) => {
                        notices.push(format!("{}, skipping", error.message))
                    }
                    Err(error) => return Err(error),
                }
            }
            let tag = match object_type {
                ObjectType::Table => "DROP TABLE",
                ObjectType::View => "DROP VIEW",
                ObjectType::Index => "DROP INDEX",
                ObjectType::Schema => "DROP SCHEMA",
                ObjectType::Database => "DROP DATABASE",
                ObjectType::Role => "DROP ROLE",
                ObjectType::User => "DROP ROLE",
                ObjectType::Type => "DROP TYPE",
                _ => "DROP SEQUENCE",
            };
            return Ok(Some(Outcome { tag, notices }));
        }
        _ => return Ok(None),
    };
    Ok(Some(Outcome { tag, notices: Vec::new() }))
}

/// What a DDL statement answers.
pub struct Outcome {
    /// The command tag.
    pub tag: &'static str,
    /// What the user should know.
    pub notices: Vec<String>,
}

impl Outcome {
    fn done(tag: &'static str) -> Outcome {
        Outcome { tag, notices: Vec::new() }
    }

    fn skipped(tag: &'static str, why: String) -> Outcome {
        Outcome { tag, notices: vec![format!("{why}, skipping")] }
    }
}

fn restricts(statement: &Ast) -> bool {
    matches!(statement, Ast::Drop { restrict: true, .. })
}

fn is_missing(error: &Error) -> bool {
    [code::UNDEFINED_TABLE, code::UNDEFINED_OBJECT, code::INVALID_DATABASE, code::INVALID_SCHEMA]
        .contains(&error.sqlstate)
}

/// The table with a name, kept from all use by others until the transaction ends.
async fn locked_table(context: &Context, parts: &[String]) -> Result<TableDescriptor> {
    let id = super::dml::table_named(context, parts).await?.identity.id;
    refuse_system(id)?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    // Read again: whoever held the lock before may have changed it.
    match &*context.catalog().get(id).await? {
        Descriptor::Table(table) => Ok(table.clone()),
        other => Err(Error::internal(format!("{} became a {}", other.name(), other.kind()))),
    }
}

fn refuse_system(id: crate::catalog::DescriptorId) -> Result<()> {
    if id.0 < crate::catalog::system::FIRST_USER_ID {
        return Err(Error::new("42501", "the system database cannot be changed"));
    }
    Ok(())
}

/// A column to be indexed: its name, and whether it descends.
type Key = (String, bool);

/// The columns of a new index.
/// The columns of an index that is to be made.
struct IndexParts {
    /// Those it is sorted by.
    keys: Vec<Key>,
    /// Others that its entries are to have.
    stored: Vec<String>,
}

impl IndexParts {
    /// Their names, for one that is made up for the index; those that come again have a number.
    fn names(&self) -> Vec<String> {
        unlike_each_other(self.keys.iter().map(|(name, _)| name).chain(&self.stored).cloned())
    }
}

/// Names with numbers after those that come again.
fn unlike_each_other(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut unlike: Vec<String> = Vec::new();
    for name in names {
        let numbered = (1..).map(|number| format!("{name}{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !unlike.contains(name));
        unlike.extend(free);
    }
    unlike
}

fn index_columns(table: &TableDescriptor, keys: &[Key]) -> Result<Vec<IndexColumn>> {
    let mut columns: Vec<IndexColumn> = Vec::new();
    for (name, descending) in keys {
        let column = named_column(table, name)?;
        if !table.columns.iter().any(|known| known.id == column && known.column_type.is_indexable()) {
            let message =
                format!("column \"{name}\" has a type that cannot be indexed: {}", column_type(table, column));
            return Err(Error::unsupported(message));
        }
        if columns.iter().any(|part| part.column == column) {
            return Err(Error::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" appears twice in an index")));
        }
        columns.push(IndexColumn { column, descending: *descending });
    }
    Ok(columns)
}

fn column_type(table: &TableDescriptor, id: ColumnId) -> ColumnType {
    table.column(id).map_or(ColumnType::Text, |column| column.column_type.clone())
}

fn named_column(table: &TableDescriptor, name: &str) -> Result<ColumnId> {
    let missing = || {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.identity.name);
        Error::new(code::UNDEFINED_COLUMN, message)
    };
    table.column_named(name).map(|column| column.id).ok_or_else(missing)
}

/// A name made of the table's, the columns' and a suffix that nothing else in the table has.
fn free_name(table: &TableDescriptor, columns: &[String], suffix: &str) -> String {
    let parts: Vec<&str> =
        [table.identity.name.as_str()].into_iter().chain(columns.iter().map(String::as_str)).chain([suffix]).collect();
    let base = parts.join("_");
    let mut name = base.clone();
    let mut number = 0;
    while is_taken(table, &name) {
        number += 1;
        name = format!("{base}{number}");
    }
    name
}

fn is_taken(table: &TableDescriptor, name: &str) -> bool {
    let in_indexes = table.all_indexes().any(|index| index.name == name);
    in_indexes
        || table.checks.iter().any(|check| check.name == name)
        || table.foreign_keys.iter().any(|key| key.name == name)
}

fn refuse_taken(table: &TableDescriptor, name: &str) -> Result<()> {
    if !is_taken(table, name) {
        return Ok(());
    }
    let message = format!("constraint or index \"{name}\" for relation \"{}\" already exists", table.identity.name);
    Err(Error::new(code::DUPLICATE_OBJECT, message))
}

/// An index over a new, empty space.
async fn new_index(
    context: &Context,
    table: &TableDescriptor,
    name: String,
    unique: bool,
    parts: &IndexParts,
) -> Result<Index> {
    let columns = index_columns(table, &parts.keys)?;
    let stored = parts.stored.iter().map(|name| named_column(table, name)).collect::<Result<_>>()?;
    let space = context.engine().store().create_space().await?;
    context.fresh_spaces().add(space);
    Ok(Index { stored, ..Index::new(name, space, unique, columns) })
}
