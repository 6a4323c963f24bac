//! Storage parameters of tables: `CREATE TABLE ... WITH (...)`, `ALTER TABLE ... SET (...)`.

use sqlparser::ast::{CreateTableOptions, Expr, SqlOption, Value, ValueWithSpan};

use super::super::error::{Error, Result, code};
use crate::catalog::TableDescriptor;

const EXCLUDE_DATA: &str = "exclude_data_from_backup";

/// The parameters that a table is created with.
pub fn of_create(options: &CreateTableOptions) -> &[SqlOption] {
    match options {
        CreateTableOptions::With(options)
        | CreateTableOptions::Options(options)
        | CreateTableOptions::Plain(options) => options,
        _ => &[],
    }
}

/// Sets parameters of a table.
pub fn set(table: &mut TableDescriptor, options: &[SqlOption]) -> Result<()> {
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::unsupported(format!("storage parameter \"{option}\"")));
        };
        match key.value.to_lowercase().as_str() {
            EXCLUDE_DATA => exclude_data(table, boolean(value)?)?,
            // Hints to PostgreSQL's storage that have no counterpart here.
            name if name == "fillfactor" || name.starts_with("autovacuum_") => {}
            name => return Err(Error::unsupported(format!("storage parameter \"{name}\""))),
        }
    }
    Ok(())
}

fn exclude_data(table: &mut TableDescriptor, exclude: bool) -> Result<()> {
    if exclude && table.referenced_by.iter().any(|id| *id != table.identity.id) {
        let message = format!(
            "cannot exclude the data of table \"{}\" from backups because a foreign key references it",
            table.identity.name
        );
        return Err(Error::new(code::DEPENDENT_OBJECTS, message));
    }
    table.exclude_data_from_backup = exclude;
    Ok(())
}

fn boolean(value: &Expr) -> Result<bool> {
    let text = match value {
        Expr::Value(ValueWithSpan { value: Value::Boolean(value), .. }) => return Ok(*value),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => text.to_lowercase(),
        other => other.to_string().to_lowercase(),
    };
    match text.as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => {
            let message = format!("invalid value for boolean option \"{EXCLUDE_DATA}\": {value}");
            Err(Error::new(code::INVALID_PARAMETER, message))
        }
    }
}
