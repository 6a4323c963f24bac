//! Virtual schemas: `information_schema` and `crdb_internal` as far as they go today.

use std::sync::Arc;

use datafusion::datasource::TableProvider;

use super::context::Context;
use super::control;
use super::error::Result;
use super::show::Shown;
use super::types::pg_name;
use crate::catalog::{ColumnType, Datum, Descriptor};

/// The names of the virtual schemas.
pub const SCHEMAS: [&str; 2] = ["crdb_internal", "information_schema"];

/// The virtual table with a name of two or three parts, if there is one.
pub async fn find(context: &Context, parts: &[String]) -> Result<Option<Arc<dyn TableProvider>>> {
    let (schema, name) = match parts {
        [schema, name] | [_, schema, name] => (schema.as_str(), name.as_str()),
        _ => return Ok(None),
    };
    let shown = match (schema, name) {
        ("crdb_internal", "jobs") => control::all_jobs(context).await?,
        ("information_schema", "schemata") => schemata(context).await?,
        ("information_schema", "tables") => tables(context).await?,
        ("information_schema", "columns") => columns(context).await?,
        _ => return Ok(None),
    };
    Ok(Some(shown.into_table()?))
}

fn with_columns(names: &[&'static str]) -> Shown {
    let columns: Vec<(&str, ColumnType)> = names
        .iter()
        .map(|name| {
            (
                *name,
                if name.ends_with("_position") || name.ends_with("_length") {
                    ColumnType::Int4
                } else {
                    ColumnType::Text
                },
            )
        })
        .collect();
    Shown::new(&columns)
}

async fn schemata(context: &Context) -> Result<Shown> {
    let mut shown = with_columns(&["catalog_name", "schema_name", "schema_owner"]);
    let database = context.current_database().await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        let (name, owner) = (schema.name().to_string(), schema.identity().owner.clone());
        shown.rows.push(vec![database.name().to_string().into(), name.into(), owner.into()]);
    }
    Ok(shown)
}

async fn tables(context: &Context) -> Result<Shown> {
    let mut shown = with_columns(&["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into"]);
    let database = context.current_database().await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            let (kind, writable) = match &*object {
                Descriptor::Table(_) => ("BASE TABLE", "YES"),
                Descriptor::View(_) => ("VIEW", "NO"),
                _ => continue,
            };
            let names = [database.name(), schema.name(), object.name(), kind, writable];
            shown.rows.push(names.iter().map(|name| name.to_string().into()).collect());
        }
    }
    Ok(shown)
}

async fn columns(context: &Context) -> Result<Shown> {
    let mut shown = with_columns(&[
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "ordinal_position",
        "column_default",
        "is_nullable",
        "data_type",
        "character_maximum_length",
    ]);
    let database = context.current_database().await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            let mut push =
                |position: usize, name: &str, default: Option<String>, nullable: bool, column_type: &ColumnType| {
                    let length = match column_type {
                        ColumnType::VarChar(length) | ColumnType::Char(length) => Datum::Int(i64::from(*length)),
                        _ => Datum::Null,
                    };
                    let type_name = match pg_name(column_type) {
                        name if name.ends_with("[]") => "ARRAY".to_string(),
                        name => name.split('(').next().unwrap_or_default().to_string(),
                    };
                    shown.rows.push(vec![
                        database.name().to_string().into(),
                        schema.name().to_string().into(),
                        object.name().to_string().into(),
                        name.to_string().into(),
                        Datum::Int(position as i64 + 1),
                        default.into(),
                        if nullable { "YES" } else { "NO" }.into(),
                        type_name.into(),
                        length,
                    ]);
                };
            match &*object {
                Descriptor::Table(table) => {
                    for (position, column) in table.visible_columns().enumerate() {
                        push(position, &column.name, column.default.clone(), column.nullable, &column.column_type);
                    }
                }
                Descriptor::View(view) => {
                    for (position, column) in view.columns.iter().enumerate() {
                        push(position, &column.name, None, true, &column.column_type);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(shown)
}
