//! `SHOW CREATE ALL TABLES | TYPES | SCHEMAS`: statements that would make all of a database again, in an order in which they can run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::Context;
use super::create_statement::{
    Lookup, create_statement, foreign_key, index_condition, key_columns, storing, whole_name,
};
use super::error::Result;
use super::text::quoted;
use crate::catalog::{ColumnId, Descriptor, DescriptorId, Index, SequenceDescriptor, TableDescriptor};
use crate::parser::{AllOf, quote_ident_in_sql};

/// The statements for the current database; temporary objects are left out.
pub async fn statements(context: &Context, what: AllOf) -> Result<Vec<String>> {
    let database = context.current_database().await?;
    let schemas = context.catalog().list(Some(database.id()), None).await?;
    let schemas: Vec<_> = schemas.into_iter().filter(|schema| !schema.is_temporary()).collect();
    let mut objects = BTreeMap::new();
    for schema in &schemas {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            objects.insert(object.id(), object);
        }
    }
    let lookup = |id: DescriptorId| {
        objects.get(&id).cloned().or_else(|| schemas.iter().find(|schema| schema.id() == id).cloned())
    };
    let mut statements = match what {
        AllOf::Schemas => schemas.iter().map(|schema| create_statement(schema, &lookup)).collect(),
        AllOf::Types => {
            let types = objects.values().filter(|object| matches!(***object, Descriptor::Type(_)));
            types.map(|made| create_statement(made, &lookup)).collect()
        }
        AllOf::Tables => relations(&objects, &lookup),
    };
    statements.iter_mut().for_each(|statement| statement.push(';'));
    Ok(statements)
}

fn relations(objects: &BTreeMap<DescriptorId, Arc<Descriptor>>, lookup: Lookup<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    // Tables take defaults from sequences, belong to them and refer to each other.
    let mut afterwards = Vec::new();
    for object in objects.values() {
        if let Descriptor::Sequence(sequence) = &**object {
            let owner = owner(sequence, lookup);
            if owner.as_ref().is_some_and(|(table, column)| makes_sequence(table, *column)) {
                continue;
            }
            statements.push(create_statement(object, lookup));
            if let Some((table, column)) = owner
                && let Some(column) = table.column(column)
            {
                let (name, table) = (whole_name(object, lookup), whole_name(&Descriptor::Table(table.clone()), lookup));
                afterwards.push(format!("ALTER SEQUENCE {name} OWNED BY {table}.{}", quote_ident_in_sql(&column.name)));
            }
        }
    }
    for object in objects.values() {
        let Descriptor::Table(table) = &**object else { continue };
        let name = whole_name(object, lookup);
        // An index with a condition or an expression cannot be written among the columns.
        let is_plain = |index: &Index| {
            let hidden =
                |id: ColumnId| table.column(id).is_some_and(|column| column.hidden && column.generated.is_some());
            !index.all_columns().any(hidden)
        };
        let (plain, special): (Vec<Index>, Vec<Index>) = table.indexes.iter().cloned().partition(is_plain);
        let alone = TableDescriptor { indexes: plain, foreign_keys: Vec::new(), ..table.clone() };
        statements.push(create_statement(&Descriptor::Table(alone), lookup));
        for index in &special {
            let unique = if index.unique { "UNIQUE " } else { "" };
            let condition = index_condition(table, index).map_or(String::new(), |sql| format!(" WHERE {sql}"));
            let (index_name, columns) = (quote_ident_in_sql(&index.name), key_columns(table, index));
            let stored = storing(table, index, "STORING");
            statements.push(format!("CREATE {unique}INDEX {index_name} ON {name} ({columns}){stored}{condition}"));
        }
        if let Some(comment) = &table.identity.comment {
            statements.push(format!("COMMENT ON TABLE {name} IS {}", quoted(comment)));
        }
        for column in table.visible_columns() {
            if let Some(comment) = &column.comment {
                let column = quote_ident_in_sql(&column.name);
                statements.push(format!("COMMENT ON COLUMN {name}.{column} IS {}", quoted(comment)));
            }
        }
        for key in &table.foreign_keys {
            if let Some(key_written) = foreign_key(table, key, lookup) {
                let constraint = quote_ident_in_sql(&key.name);
                afterwards.push(format!("ALTER TABLE {name} ADD CONSTRAINT {constraint} {key_written}"));
            }
        }
    }
    let mut made = Vec::new();
    for object in objects.values() {
        add_view(object, objects, lookup, &mut made, &mut statements);
    }
    statements.extend(afterwards);
    statements
}

/// Adds a view after those that it reads.
fn add_view(
    object: &Arc<Descriptor>,
    objects: &BTreeMap<DescriptorId, Arc<Descriptor>>,
    lookup: Lookup<'_>,
    made: &mut Vec<DescriptorId>,
    statements: &mut Vec<String>,
) {
    let Descriptor::View(view) = &**object else { return };
    if made.contains(&object.id()) {
        return;
    }
    made.push(object.id());
    for source in view.depends_on.iter().filter_map(|id| objects.get(id)) {
        add_view(source, objects, lookup, made, statements);
    }
    statements.push(create_statement(object, lookup));
    if let Some(comment) = &view.identity.comment {
        statements.push(format!("COMMENT ON VIEW {} IS {}", whole_name(object, lookup), quoted(comment)));
    }
}

fn owner(sequence: &SequenceDescriptor, lookup: Lookup<'_>) -> Option<(TableDescriptor, ColumnId)> {
    let (table, column) = sequence.owned_by?;
    match &*lookup(table)? {
        Descriptor::Table(table) => Some((table.clone(), column)),
        _ => None,
    }
}

/// Whether the statement of a table makes the sequence of a column by itself.
fn makes_sequence(table: &TableDescriptor, column: ColumnId) -> bool {
    table.column(column).is_some_and(|column| column.identity.is_some())
}
