//! Statements that would make objects again: `SHOW CREATE`, `SHOW BACKUP SCHEMAS`.

use std::sync::Arc;

use sqlparser::ast::Expr;

use super::context::Context;
use super::error::Result;
use super::query::expression;
use super::text::quoted;
use crate::catalog::{
    Checked, Column, ColumnId, Descriptor, DescriptorId, ForeignKey, Index, IndexColumn, ReferentialAction,
    TableDescriptor,
};
use crate::parser::quote_ident_in_sql;

/// Finds descriptors by their ids.
pub type Lookup<'a> = &'a dyn Fn(DescriptorId) -> Option<Arc<Descriptor>>;

/// Everything that the statement of an object names, read from the catalog.
pub async fn surroundings(context: &Context, object: &Descriptor) -> Result<Vec<Arc<Descriptor>>> {
    let mut wanted: Vec<DescriptorId> = object.parents().1.into_iter().collect();
    if let Descriptor::Table(table) = object {
        wanted.extend(table.foreign_keys.iter().map(|key| key.referenced_table));
    }
    let mut found: Vec<Arc<Descriptor>> = Vec::new();
    while let Some(id) = wanted.pop() {
        if found.iter().any(|known| known.id() == id) {
            continue;
        }
        let descriptor = context.catalog().get(id).await?;
        wanted.extend(descriptor.parents().1);
        found.push(descriptor);
    }
    Ok(found)
}

/// The statement that would make an object of the catalog again.
pub async fn of_object(context: &Context, object: &Descriptor) -> Result<String> {
    let found = surroundings(context, object).await?;
    let lookup = |id: DescriptorId| found.iter().find(|descriptor| descriptor.id() == id).cloned();
    Ok(create_statement(object, &lookup))
}

/// The columns of an index, as they are written.
pub fn key_columns(table: &TableDescriptor, index: &Index) -> String {
    let part = |part: &IndexColumn| {
        let direction = if part.descending { "DESC" } else { "ASC" };
        format!("{} {direction}", index_part(table, part.column))
    };
    index.columns.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// The columns that an index stores, by name.
pub fn stored_names(table: &TableDescriptor, index: &Index) -> Vec<String> {
    index.stored.iter().filter_map(|id| Some(table.column(*id)?.name.clone())).collect()
}

/// The clause of the columns that an index stores, after one of the words for it; nothing if it stores none.
pub fn storing(table: &TableDescriptor, index: &Index, word: &str) -> String {
    let names: Vec<String> = stored_names(table, index).iter().map(|name| quote_ident_in_sql(name)).collect();
    if names.is_empty() { String::new() } else { format!(" {word} ({})", names.join(", ")) }
}

/// What an index is sorted by: a column, or an expression.
pub fn index_part(table: &TableDescriptor, id: ColumnId) -> String {
    match table.column(id) {
        Some(Column { hidden: true, generated: Some(sql), .. }) if is_call(sql) => sql.clone(),
        Some(Column { hidden: true, generated: Some(sql), .. }) => format!("({sql})"),
        Some(column) => quote_ident_in_sql(&column.name),
        None => String::new(),
    }
}

/// Whether an expression is the call of a function, which needs no parentheses around it.
fn is_call(sql: &str) -> bool {
    expression::parse(sql).is_ok_and(|expression| matches!(expression, Expr::Function(_)))
}

/// The condition of the rows that an index has; nothing if it has all.
pub fn index_condition<'a>(table: &'a TableDescriptor, index: &Index) -> Option<&'a str> {
    table.column(index.predicate?)?.generated.as_deref()
}

/// A foreign key, as it is written; nothing, if the table it refers to is not there.
pub fn foreign_key(table: &TableDescriptor, key: &ForeignKey, lookup: Lookup<'_>) -> Option<String> {
    let other = lookup(key.referenced_table)?;
    let Descriptor::Table(other) = &*other else { return None };
    let schema = lookup(other.schema)?;
    let names = |table: &TableDescriptor, ids: &[ColumnId]| {
        let name = |id: &ColumnId| table.column(*id).map_or(String::new(), |column| quote_ident_in_sql(&column.name));
        ids.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let (from, to) = (names(table, &key.columns), names(other, &key.referenced_columns));
    let (schema, name) = (quote_ident_in_sql(schema.name()), quote_ident_in_sql(&other.identity.name));
    let actions = action("DELETE", key.on_delete) + &action("UPDATE", key.on_update);
    let checked = checked(key.checked);
    Some(format!("FOREIGN KEY ({from}) REFERENCES {schema}.{name}({to}){actions}{checked}"))
}

/// What happens to the rows of a foreign key on `DELETE` or `UPDATE`, as it is written; nothing if that is nothing.
pub fn action(on: &str, action: ReferentialAction) -> String {
    match action {
        ReferentialAction::NoAction => String::new(),
        ReferentialAction::Cascade => format!(" ON {on} CASCADE"),
        ReferentialAction::SetNull => format!(" ON {on} SET NULL"),
        ReferentialAction::SetDefault => format!(" ON {on} SET DEFAULT"),
        ReferentialAction::Restrict => format!(" ON {on} RESTRICT"),
    }
}

/// When a constraint is checked, as it is written; nothing if it is not deferrable.
pub fn checked(checked: Checked) -> &'static str {
    match checked {
        Checked::Always => "",
        Checked::Immediate => " DEFERRABLE",
        Checked::Deferred => " DEFERRABLE INITIALLY DEFERRED",
    }
}

/// The name of an object with its schema, as it is written.
pub fn whole_name(object: &Descriptor, lookup: Lookup<'_>) -> String {
    let schema = object.parents().1.and_then(lookup);
    let schema = schema.map_or(String::new(), |schema| quote_ident_in_sql(schema.name()));
    format!("{schema}.{}", quote_ident_in_sql(object.name()))
}

/// A statement that would make the object again.
pub fn create_statement(object: &Descriptor, lookup: Lookup<'_>) -> String {
    let name = whole_name(object, lookup);
    match object {
        Descriptor::View(view) => {
            let columns: Vec<String> = view.columns.iter().map(|column| quote_ident_in_sql(&column.name)).collect();
            format!("CREATE VIEW {name} ({}) AS {}", columns.join(", "), view.query)
        }
        Descriptor::Sequence(sequence) => format!(
            "CREATE SEQUENCE {name} INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {}",
            sequence.increment, sequence.minimum, sequence.maximum, sequence.start
        ),
        Descriptor::Type(made) => {
            let labels = made.labels.iter().map(|known| quoted(&known.label)).collect::<Vec<_>>();
            format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
        }
        Descriptor::Table(table) => create_table(&name, table, lookup),
        Descriptor::Database(_) => format!("CREATE DATABASE {}", quote_ident_in_sql(object.name())),
        Descriptor::Schema(_) => format!("CREATE SCHEMA {}", quote_ident_in_sql(object.name())),
    }
}

fn create_table(name: &str, table: &TableDescriptor, lookup: Lookup<'_>) -> String {
    let mut items = Vec::new();
    for column in table.visible_columns() {
        let null = if column.nullable { "NULL" } else { "NOT NULL" };
        let default = match &column.default {
            _ if let Some(identity) = column.identity => format!(" GENERATED {} AS IDENTITY", identity.words()),
            Some(default) => format!(" DEFAULT {default}"),
            None => match &column.generated {
                Some(expression) => format!(" GENERATED ALWAYS AS ({expression}) STORED"),
                None => String::new(),
            },
        };
        items.push(format!("{} {} {null}{default}", quote_ident_in_sql(&column.name), column.written_type()));
    }
    let is_hidden =
        table.primary.columns.iter().any(|part| table.column(part.column).is_some_and(|column| column.hidden));
    if !is_hidden {
        let name = quote_ident_in_sql(&table.primary.name);
        let stored = storing(table, &table.primary, "INCLUDE");
        items.push(format!("CONSTRAINT {name} PRIMARY KEY ({}){stored}", key_columns(table, &table.primary)));
    }
    for index in &table.indexes {
        let unique = if index.unique { "UNIQUE " } else { "" };
        let (name, columns) = (quote_ident_in_sql(&index.name), key_columns(table, index));
        let condition = index_condition(table, index).map_or(String::new(), |condition| format!(" WHERE {condition}"));
        let stored = storing(table, index, "STORING");
        items.push(format!("{unique}INDEX {name} ({columns}){stored}{condition}"));
    }
    for key in &table.foreign_keys {
        if let Some(written) = foreign_key(table, key, lookup) {
            items.push(format!("CONSTRAINT {} {written}", quote_ident_in_sql(&key.name)));
        }
    }
    for check in &table.checks {
        items.push(format!("CONSTRAINT {} CHECK ({})", quote_ident_in_sql(&check.name), check.condition));
    }
    let with = if table.exclude_data_from_backup { " WITH (exclude_data_from_backup = true)" } else { "" };
    format!("CREATE TABLE {name} (\n    {}\n){with}", items.join(",\n    "))
}
