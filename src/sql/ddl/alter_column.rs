//! `ALTER TABLE ... ALTER COLUMN`

use sqlparser::ast::{AlterColumnOperation, CastKind, Expr, Ident};

use super::super::context::Context;
use super::super::dml::has_waiting_keys;
use super::super::error::{Error, Result, code};
use super::super::query::expression::{self, columns_named, compile, row_schema, value_for};
use super::super::types::{pg_name, time_precision};
use super::alter_table::{check_existing, for_each_rows, references_exist, refuse_views_of};
use super::build::{Computed, contains_null, rebuild};
use super::create_table::refuse_incomparable;
use super::sequence::retype_owned;
use super::serial::{give_sequence, identity_of};
use super::{default, generated, named_column};
use crate::catalog::{ColumnType, Descriptor, DescriptorId, ForeignKey, TableDescriptor};
use crate::parser::quote_ident_in_sql;

/// `ALTER TABLE ... ALTER COLUMN`
pub async fn alter_column(
    context: &Context,
    table: &mut TableDescriptor,
    name: &str,
    operation: &AlterColumnOperation,
) -> Result<()> {
    let id = named_column(table, name)?;
    let position = table.position(id).unwrap_or_default();
    if table.columns[position].hidden {
        let message = format!("column \"{name}\" is hidden: it is keepsafe's own");
        return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
    }
    match operation {
        AlterColumnOperation::SetNotNull => {
            table.columns[position].nullable = false;
            for_each_rows(context, table, |rows| {
                let has_null = rows.iter().any(|row| row[position].is_null());
                if has_null { Err(contains_null(table, name)) } else { Ok(()) }
            })
            .await?;
        }
        AlterColumnOperation::DropNotNull if table.in_primary_key(id) => {
            return Err(Error::new(code::INVALID_TABLE_DEFINITION, format!("column \"{name}\" is in a primary key")));
        }
        AlterColumnOperation::DropNotNull => table.columns[position].nullable = true,
        AlterColumnOperation::SetDefault { .. } | AlterColumnOperation::DropDefault
            if table.columns[position].identity.is_some() =>
        {
            let message = format!("column \"{name}\" of relation \"{}\" is an identity column", table.identity.name);
            return Err(Error::new(code::SYNTAX_ERROR, message));
        }
        AlterColumnOperation::SetDefault { .. }
        | AlterColumnOperation::DropDefault
        | AlterColumnOperation::AddGenerated { .. }
            if table.columns[position].generated.is_some() =>
        {
            return generated::refuse(table, name);
        }
        AlterColumnOperation::SetDefault { value } => {
            let to = &table.columns[position].column_type;
            let (sql, sequences) = default::normalize(context, table, value, to).await?;
            table.columns[position].default = Some(sql);
            let new: Vec<DescriptorId> = sequences.into_iter().filter(|id| !table.sequences.contains(id)).collect();
            table.sequences.extend(new);
        }
        AlterColumnOperation::DropDefault => table.columns[position].default = None,
        AlterColumnOperation::SetDataType { data_type, using, .. } => {
            let (to, precision) = (context.column_type(data_type)?, time_precision(data_type));
            let column = &mut table.columns[position];
            let kept = std::mem::replace(&mut column.time_precision, precision).unwrap_or(u8::MAX);
            // What has more digits than it is to have is rounded, as a cast does it.
            let rounded = precision.filter(|digits| *digits < kept).map(|_| {
                let column = Expr::Identifier(Ident::with_quote('"', name));
                let expr = using.clone().map_or(column, |using| Expr::Nested(Box::new(using)));
                let kind = CastKind::DoubleColon;
                Expr::Cast { kind, expr: Box::new(expr), data_type: data_type.clone(), array: false, format: None }
            });
            set_type(context, table, position, to, rounded.as_ref().or(using.as_ref())).await?;
        }
        AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
            let mut column = table.columns[position].clone();
            if column.nullable {
                let message = format!(
                    "column \"{name}\" of relation \"{}\" must be declared NOT NULL before identity can be added",
                    table.identity.name
                );
                return Err(Error::new(code::NOT_IN_PREREQUISITE_STATE, message));
            }
            give_sequence(context, table, &mut column, sequence_options.as_deref().unwrap_or_default()).await?;
            column.identity = Some(identity_of(*generated_as));
            table.columns[position] = column;
        }
    }
    Ok(())
}

/// Gives a column another type. Its values are converted as an assignment would, or computed from the old rows.
async fn set_type(
    context: &Context,
    table: &mut TableDescriptor,
    position: usize,
    to: ColumnType,
    using: Option<&Expr>,
) -> Result<()> {
    refuse_views_of(context, table, &table.columns[position].name, true).await?;
    let old = table.clone();
    let column = &old.columns[position];
    if let Some(other) = generated::computed_from(&old, &column.name).first() {
        let (message, detail) = match other.hidden {
            false => (
                "cannot alter type of a column used by a generated column",
                format!("Column \"{}\" is used by generated column \"{}\".", column.name, other.name),
            ),
            true => (
                "cannot alter type of a column used in an expression or condition of an index",
                format!("Column \"{}\" is in one.", column.name),
            ),
        };
        return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message).detail(detail));
    }
    if column.generated.is_some() {
        return Err(Error::unsupported("another type for a generated column"));
    }
    let from = &column.column_type;
    if *from == to && using.is_none() {
        return Ok(());
    }
    let (shown_name, shown_type) = (&column.name, pg_name(&to));
    if using.is_none() && !can_assign(from, &to) {
        let message = format!("column \"{shown_name}\" cannot be cast automatically to type {shown_type}");
        let hint = format!("You might need to specify \"USING {}::{shown_type}\".", quote_ident_in_sql(shown_name));
        return Err(Error::new(code::DATATYPE_MISMATCH, message).hint(hint));
    }
    if column.identity.is_some() && !to.is_integer() {
        return Err(Error::new(code::INVALID_PARAMETER, "identity column type must be smallint, integer, or bigint"));
    }
    if !to.is_indexable() && table.all_indexes().any(|index| index.columns.iter().any(|part| part.column == column.id))
    {
        let message = format!("column \"{shown_name}\" has a type that cannot be indexed: {to}");
        return Err(Error::unsupported(message));
    }
    table.columns[position].column_type = to.clone();
    refuse_default(context, table, position).await?;
    let checks = table.checks.iter().filter(|check| columns_named(&check.condition).contains(shown_name));
    let checks: Vec<_> = checks.cloned().collect();
    for check in &checks {
        compile(context, expression::parse(&check.condition)?, &row_schema(table))?;
    }
    let same_values = using.is_none() && keeps_values(from, &to);
    let keys = keys_of_column(context, table, position, same_values).await?;
    if to.is_integer() {
        retype_owned(context, table, column.id, &to).await?;
    }
    if same_values {
        return Ok(());
    }
    if has_waiting_keys(context, table.identity.id, column.id).await? {
        let message = format!("cannot ALTER TABLE \"{}\" because it has pending trigger events", table.identity.name);
        return Err(
            Error::new(code::OBJECT_IN_USE, message).hint("Let SET CONSTRAINTS ALL IMMEDIATE check them first.")
        );
    }
    let value = match using {
        Some(using) => using.clone(),
        None => Expr::Identifier(Ident::with_quote('"', shown_name)),
    };
    let value = compile(context, value, &row_schema(&old))?;
    table.columns[position].missing = None;
    rebuild(context, &old, table, &[Computed { position, value }]).await?;
    for check in &checks {
        check_existing(context, table, check).await?;
    }
    references_exist(context, table, &keys).await
}

/// Fails if a default is none of the column's type. What makes new numbers is not asked.
async fn refuse_default(context: &Context, table: &TableDescriptor, position: usize) -> Result<()> {
    let column = &table.columns[position];
    let Some(default) = &column.default else { return Ok(()) };
    if default::is_volatile(default) {
        return Ok(());
    }
    match value_for(context, &expression::parse(default)?, &column.column_type) {
        // It is of a type that fits, as PostgreSQL sees it: an INSERT fails.
        Err(error) if error.sqlstate == code::NUMERIC_OUT_OF_RANGE => Ok(()),
        Err(_) => {
            let shown = pg_name(&column.column_type);
            let message =
                format!("default for column \"{}\" cannot be cast automatically to type {shown}", column.name);
            Err(Error::new(code::DATATYPE_MISMATCH, message))
        }
        Ok(_) => Ok(()),
    }
}

/// The foreign keys that a column is part of, if both ends can still be compared.
async fn keys_of_column(
    context: &Context,
    table: &TableDescriptor,
    position: usize,
    same_values: bool,
) -> Result<Vec<ForeignKey>> {
    let column = &table.columns[position];
    const INSTEAD: &str = "Drop the foreign key first, and add it again after.";
    let refuse =
        |other: &ColumnType| refuse_incomparable(&column.column_type, other).map_err(|error| error.hint(INSTEAD));
    let mut keys = Vec::new();
    for key in table.foreign_keys.iter().filter(|key| key.columns.contains(&column.id)) {
        let found = context.catalog().get(key.referenced_table).await?;
        let other = match &*found {
            _ if key.referenced_table == table.identity.id => table,
            Descriptor::Table(other) => other,
            _ => continue,
        };
        for (_, id) in key.columns.iter().zip(&key.referenced_columns).filter(|(id, _)| **id == column.id) {
            refuse(&super::column_type(other, *id))?;
        }
        keys.push(key.clone());
    }
    for id in &table.referenced_by {
        let found = context.catalog().get(*id).await?;
        let Descriptor::Table(other) = &*found else { continue };
        for key in other.foreign_keys.iter().filter(|key| key.referenced_table == table.identity.id) {
            for (id, _) in key.columns.iter().zip(&key.referenced_columns).filter(|(_, id)| **id == column.id) {
                let is_own = other.identity.id == table.identity.id;
                refuse(&super::column_type(if is_own { table } else { other }, *id))?;
                if !same_values {
                    return Err(Error::unsupported("changing values that a foreign key refers to").hint(INSTEAD));
                }
            }
        }
    }
    Ok(keys)
}

fn is_number(column_type: &ColumnType) -> bool {
    column_type.is_integer()
        || matches!(column_type, ColumnType::Float4 | ColumnType::Float8 | ColumnType::Decimal { .. })
}

/// Whether PostgreSQL converts values of a type to another without being told how: its implicit and assignment casts.
pub fn can_assign(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Array, Date, Time, Timestamp, TimestampTz};
    match (from, to) {
        (Array(from), Array(to)) => can_assign(from, to),
        (Date, Timestamp | TimestampTz) | (Timestamp | TimestampTz, Date | Time | Timestamp | TimestampTz) => true,
        (from, to) => from == to || to.is_character() || (is_number(from) && is_number(to)),
    }
}

/// Whether every value of a type is, as it is stored, the same value of another.
fn keeps_values(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Decimal, Int2, Int4, Int8, Text, VarChar};
    match (from, to) {
        (Int2, Int4 | Int8) | (Int4, Int8) | (VarChar(_), Text | VarChar(None)) | (Text, VarChar(None)) => true,
        (VarChar(Some(from)), VarChar(Some(to))) => from <= to,
        (Decimal { precision: from, scale }, Decimal { precision: to, scale: to_scale }) => {
            scale == to_scale && (to.is_none() || from.is_some_and(|from| to.is_some_and(|to| from <= to)))
        }
        (from, to) => from == to,
    }
}
