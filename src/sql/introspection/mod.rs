//! Relations and functions that show the catalog to programs: `pg_catalog`, `information_schema`, `crdb_internal`.
//!
//! Each is made up when a statement names it, from one [`Snapshot`] of the current database.

mod functions;
mod information_schema;
mod objects;
mod pg_catalog;
mod relation;
mod written;

use std::sync::{Arc, OnceLock};

use datafusion::datasource::TableProvider;

use super::context::Context;
use super::control;
use super::error::Result;
use objects::Objects;

pub use functions::by_name as function;
pub use objects::{attnum, oid};

/// The names of the virtual schemas.
pub const SCHEMAS: [&str; 3] = ["crdb_internal", "information_schema", "pg_catalog"];

/// The catalog as one statement sees it; read when it is first asked for.
pub struct Snapshot {
    context: Context,
    objects: OnceLock<Arc<Objects>>,
}

impl Snapshot {
    /// What a statement with these surroundings will see.
    pub fn new(context: Context) -> Snapshot {
        Snapshot { context, objects: OnceLock::new() }
    }

    async fn objects(&self) -> Result<Arc<Objects>> {
        if let Some(objects) = self.objects.get() {
            return Ok(objects.clone());
        }
        let loaded = Arc::new(Objects::load(&self.context).await?);
        Ok(self.objects.get_or_init(|| loaded).clone())
    }

    /// The same inside a function, which cannot wait otherwise.
    fn objects_now(&self) -> Result<Arc<Objects>> {
        match self.objects.get() {
            Some(objects) => Ok(objects.clone()),
            None => self.context.wait_for(self.objects())?,
        }
    }

    /// The virtual table with a name of one to three parts, if there is one.
    pub async fn find(&self, parts: &[String]) -> Result<Option<Arc<dyn TableProvider>>> {
        let (schema, name) = match parts {
            // As in PostgreSQL, the system's catalog comes before everything in the search path.
            [name] if name.starts_with("pg_") => ("pg_catalog", name.as_str()),
            [schema, name] | [_, schema, name] => (schema.as_str(), name.as_str()),
            _ => return Ok(None),
        };
        let relations = match schema {
            "crdb_internal" if name == "jobs" => {
                return Ok(Some(control::all_jobs(&self.context).await?.into_table()?));
            }
            "information_schema" => information_schema::RELATIONS,
            "pg_catalog" => pg_catalog::RELATIONS,
            _ => return Ok(None),
        };
        let Some(relation) = relations.iter().find(|relation| relation.name == name) else { return Ok(None) };
        let table: Arc<dyn TableProvider> = relation.table(&*self.objects().await?)?;
        Ok(Some(table))
    }
}

/// The object identifier of a relation of the system's catalog.
pub fn catalog_oid(name: &str) -> Option<i64> {
    pg_catalog::FIXED_OIDS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// The columns of a relation of the system's catalog.
pub fn catalog_columns(name: &str) -> Option<Vec<&'static str>> {
    let relation = pg_catalog::RELATIONS.iter().find(|relation| relation.name == name)?;
    Some(relation.columns.iter().map(|(column, _)| *column).collect())
}

/// Whether a relation is of something that keepsafe does not have, so that it never has a row.
pub fn never_has_rows(parts: &[&str]) -> bool {
    match parts {
        [name] | ["pg_catalog", name] => pg_catalog::WITHOUT_ROWS.contains(name),
        _ => false,
    }
}
