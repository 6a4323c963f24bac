use sqlparser::ast::{CascadeOption, Truncate, TruncateIdentityOption};

use super::super::context::Context;
use super::super::dml::name_parts;
use super::super::error::{Error, Result};
use super::locked_table;
use crate::catalog::{Descriptor, TableDescriptor};

/// `TRUNCATE`: the tables get new, empty spaces; the old ones stay readable before the commit.
pub async fn truncate(context: &Context, truncate: &Truncate) -> Result<()> {
    if truncate.identity == Some(TruncateIdentityOption::Restart) {
        return Err(Error::unsupported("TRUNCATE ... RESTART IDENTITY"));
    }
    if truncate.cascade == Some(CascadeOption::Cascade) {
        return Err(Error::unsupported("TRUNCATE ... CASCADE"));
    }
    let mut tables: Vec<TableDescriptor> = Vec::new();
    for target in &truncate.table_names {
        let table = locked_table(context, &name_parts(&target.name)?).await?;
        if !tables.iter().any(|known| known.identity.id == table.identity.id) {
            tables.push(table);
        }
    }
    let ids: Vec<_> = tables.iter().map(|table| table.identity.id).collect();
    for table in &tables {
        if let Some(other) = table.referenced_by.iter().find(|id| !ids.contains(id)) {
            let other = context.catalog().get(*other).await?;
            let error = Error::unsupported("truncating a table referenced in a foreign key constraint");
            return Err(error.detail(format!("Table \"{}\" references \"{}\".", other.name(), table.identity.name)));
        }
    }
    for mut table in tables {
        for index in table.all_indexes() {
            context.catalog().drop_space(&table, index.space)?;
        }
        for index in std::iter::once(&mut table.primary).chain(&mut table.indexes) {
            index.space = context.engine().store().create_space().await?;
            context.fresh_spaces().add(index.space);
        }
        context.catalog().write(&Descriptor::Table(table))?;
    }
    Ok(())
}
