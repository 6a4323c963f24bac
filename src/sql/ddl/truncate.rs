use futures::TryStreamExt;
use sqlparser::ast::{CascadeOption, Truncate, TruncateIdentityOption};

use super::super::context::Context;
use super::super::error::{Error, Result};
use super::super::names::name_parts;
use super::sequence::restart_owned;
use super::{Outcome, locked_table};
use crate::catalog::{Descriptor, TableDescriptor};
use crate::kv::{Direction, LockMode, Span};

/// `TRUNCATE`: the tables get new, empty spaces; the old ones stay readable before the commit.
pub async fn truncate(context: &Context, truncate: &Truncate) -> Result<Outcome> {
    let cascade = truncate.cascade == Some(CascadeOption::Cascade);
    let mut tables: Vec<TableDescriptor> = Vec::new();
    for target in &truncate.table_names {
        let table = locked_table(context, &name_parts(&target.name)?).await?;
        if !tables.iter().any(|known| known.identity.id == table.identity.id) {
            tables.push(table);
        }
    }
    let mut notices = Vec::new();
    let mut at = 0;
    while let Some(table) = tables.get(at) {
        let ids: Vec<_> = tables.iter().map(|table| table.identity.id).collect();
        for id in table.referenced_by.clone().into_iter().filter(|id| !ids.contains(id)) {
            context.catalog().lock(id, LockMode::Exclusive).await?;
            let found = context.catalog().get(id).await?;
            let Descriptor::Table(other) = &*found else { continue };
            if !cascade {
                let error = Error::unsupported("truncating a table referenced in a foreign key constraint");
                let detail = format!("Table \"{}\" references \"{}\".", other.identity.name, tables[at].identity.name);
                return Err(error.detail(detail).hint("Truncate both at the same time, or use TRUNCATE ... CASCADE."));
            }
            notices.push(format!("truncate cascades to table \"{}\"", other.identity.name));
            tables.push(other.clone());
        }
        at += 1;
    }
    for table in tables {
        if truncate.identity == Some(TruncateIdentityOption::Restart) {
            restart_owned(context, &table).await?;
        }
        empty(context, table).await?;
    }
    Ok(Outcome { tag: "TRUNCATE TABLE", notices })
}

/// Gives a table, which is locked, new spaces.
pub async fn empty(context: &Context, mut table: TableDescriptor) -> Result<()> {
    for index in table.all_indexes() {
        context.catalog().drop_space(&table, index.space)?;
    }
    for index in std::iter::once(&mut table.primary).chain(&mut table.indexes) {
        index.space = context.engine().store().create_space().await?;
        context.fresh_spaces().add(index.space);
    }
    Ok(context.catalog().write(&Descriptor::Table(table))?)
}

/// Whether a table has any row.
pub async fn has_rows(context: &Context, table: &TableDescriptor) -> Result<bool> {
    let mut rows = context.txn().scan(Span::all(table.primary.space), Direction::Forward, None);
    while let Some(batch) = rows.try_next().await.map_err(crate::catalog::Error::from)? {
        if batch.iter().any(|entry| entry.value.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}
