//! `SERIAL` and `IDENTITY`: columns that take their numbers from a sequence of their own.

use sqlparser::ast::{DataType as SqlType, Expr, GeneratedAs, SequenceOptions as SqlOptions};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::query::expression;
use super::sequence;
use crate::catalog::{
    Column, ColumnId, ColumnType, Datum, Descriptor, DescriptorId, IdentityGeneration, TableDescriptor,
};
use crate::parser::{SequenceOptions, quote_ident_in_sql};

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

/// What `GENERATED ... AS IDENTITY` says.
pub fn identity_of(generated_as: Option<GeneratedAs>) -> IdentityGeneration {
    match generated_as {
        Some(GeneratedAs::Always) => IdentityGeneration::Always,
        _ => IdentityGeneration::ByDefault,
    }
}

/// Makes a sequence that belongs to a column, which is not yet one of the table, and takes the column's default from it.
pub async fn give_sequence(
    context: &Context,
    table: &mut TableDescriptor,
    column: &mut Column,
    options: &[SqlOptions],
) -> Result<()> {
    if column.default.is_some() {
        let message = format!(
            "multiple default values specified for column \"{}\" of table \"{}\"",
            column.name, table.identity.name
        );
        return Err(Error::new(code::SYNTAX_ERROR, message));
    }
    if !column.column_type.is_integer() {
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
    sequence::create(context, &parts, false, &options_of(context, &column.column_type, options)?).await?;
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

/// The options of an identity column, as those of its sequence.
fn options_of(context: &Context, numbers: &ColumnType, options: &[SqlOptions]) -> Result<SequenceOptions> {
    let number = |expression: &Expr| match expression::constant(context, expression.clone())? {
        (_, Datum::Int(value)) => Ok(value),
        _ => Err(Error::new(code::INVALID_PARAMETER, "a sequence option takes a whole number")),
    };
    let mut all = SequenceOptions { data_type: Some(numbers.to_string().to_lowercase()), ..SequenceOptions::default() };
    for option in options {
        match option {
            SqlOptions::IncrementBy(value, _) => all.increment = Some(number(value)?),
            SqlOptions::MinValue(value) => all.minimum = Some(value.as_ref().map(number).transpose()?),
            SqlOptions::MaxValue(value) => all.maximum = Some(value.as_ref().map(number).transpose()?),
            SqlOptions::StartWith(value, _) => all.start = Some(number(value)?),
            SqlOptions::Cache(value) => all.cache = Some(number(value)?),
            // `sqlparser` has it the other way round.
            SqlOptions::Cycle(no) => all.cycle = Some(!no),
        }
    }
    Ok(all)
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
