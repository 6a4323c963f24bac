//! `SERIAL` and `IDENTITY`: columns that take their numbers from a sequence of their own.

use sqlparser::ast::{DataType as SqlType, SequenceOptions};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::objects::create_sequence;
use crate::catalog::{Column, ColumnId, ColumnType, Descriptor, DescriptorId, TableDescriptor};
use crate::parser::quote_ident_in_sql;

/// The type of the numbers of a serial type.
pub fn numbers_of(data_type: &SqlType) -> Option<ColumnType> {
    let SqlType::Custom(name, arguments) = data_type else { return None };
    match name.to_string().to_ascii_lowercase().as_str() {
        _ if !arguments.is_empty() => None,
        "smallserial" | "serial2" => Some(ColumnType::Int2),
        "serial" | "serial4" => Some(ColumnType::Int4),
        "bigserial" | "serial8" => Some(ColumnType::Int8),
        _ => None,
    }
}

/// Makes a sequence that belongs to a column, which is not yet one of the table, and takes the column's default from it.
pub async fn give_sequence(
    context: &Context,
    table: &mut TableDescriptor,
    column: &mut Column,
    options: &[SequenceOptions],
) -> Result<()> {
    if column.default.is_some() {
        let message = format!(
            "multiple default values specified for column \"{}\" of table \"{}\"",
            column.name, table.identity.name
        );
        return Err(Error::new(code::SYNTAX_ERROR, message));
    }
    if !matches!(column.column_type, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8) {
        return Err(Error::new(code::INVALID_PARAMETER, "identity column type must be smallint, integer, or bigint"));
    }
    let catalog = context.catalog();
    let (database, schema) = (catalog.get(table.database).await?, catalog.get(table.schema).await?);
    let base = format!("{}_{}_seq", table.identity.name, column.name);
    let mut name = base.clone();
    let mut number = 0;
    while catalog.lookup(Some(table.database), Some(table.schema), &name).await?.is_some() {
        number += 1;
        name = format!("{base}{number}");
    }
    let parts = [database.name(), schema.name(), &name].map(str::to_string);
    create_sequence(context, &parts, false, Some(column.column_type.clone()), options).await?;
    let Descriptor::Sequence(sequence) = &*context.object(&parts).await? else {
        return Err(Error::internal("a new sequence is none"));
    };
    let mut sequence = sequence.clone();
    sequence.owned_by = Some((table.identity.id, column.id));
    table.sequences.push(sequence.identity.id);
    catalog.write(&Descriptor::Sequence(sequence))?;
    let (schema, name) = (quote_ident_in_sql(schema.name()), quote_ident_in_sql(&name));
    column.default = Some(format!("nextval('{}')", format!("{schema}.{name}").replace('\'', "''")));
    column.nullable = false;
    Ok(())
}

/// The sequences that belong to a table, or to one column of it.
pub async fn owned_sequences(
    context: &Context,
    table: &TableDescriptor,
    column: Option<ColumnId>,
) -> Result<Vec<DescriptorId>> {
    let mut owned = Vec::new();
    for id in &table.sequences {
        if let Descriptor::Sequence(sequence) = &*context.catalog().get(*id).await?
            && let Some((owner, of_column)) = sequence.owned_by
            && owner == table.identity.id
            && column.is_none_or(|column| column == of_column)
        {
            owned.push(*id);
        }
    }
    Ok(owned)
}
