//! Temporary tables, views and sequences: objects like any other, in a schema of the session's own that goes with it.
//!
//! The schema is called after the number of the session, as in PostgreSQL, and `pg_temp` is whichever is the session's. It is made when it
//! is first needed and looked through first. What a crash leaves of such schemas is dropped at the next start, before there are sessions.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::advisory::Holder;
use super::context::{Context, SessionFacts, TransactionFacts};
use super::ddl;
use super::engine::Engine;
use super::error::{Error, Result, code};
use crate::catalog::system::FIRST_USER_ID;
use crate::catalog::{Descriptor, DescriptorId, Identity, OnCommit, ROOT_USER, SchemaDescriptor, TableDescriptor};
use crate::kv::LockMode;

/// What names the temporary schema of whoever uses it.
pub const ALIAS: &str = "pg_temp";

/// Attempts at dropping a schema that others are in the way of.
const ATTEMPTS: u32 = 20;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// The temporary schemas of a session, one for each database it has made temporary objects in.
#[derive(Default)]
pub struct TemporarySchemas {
    name: OnceLock<String>,
    databases: Mutex<BTreeSet<DescriptorId>>,
    acts_at_commit: AtomicBool,
}

impl TemporarySchemas {
    /// What they are called, once one has been made.
    pub fn name(&self) -> Option<&str> {
        self.name.get().map(String::as_str)
    }

    /// Something in them is to be emptied or dropped by commits.
    pub fn act_at_commit(&self) {
        self.acts_at_commit.store(true, Ordering::Relaxed);
    }

    fn databases(&self) -> BTreeSet<DescriptorId> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name of a new temporary object, with the schema of the session's that it goes to.
pub fn place(context: &Context, parts: &[String]) -> Result<Vec<String>> {
    match parts {
        [name] => Ok(vec![ALIAS.into(), name.clone()]),
        [schema, _] if context.is_own_temporary(schema) => Ok(parts.to_vec()),
        _ => {
            let message = "cannot create temporary relation in non-temporary schema";
            Err(Error::new(code::INVALID_TABLE_DEFINITION, message))
        }
    }
}

/// Makes the temporary schema in the current database, if it is not there.
pub async fn make_schema(context: &Context) -> Result<()> {
    let (session, catalog) = (context.session(), context.catalog());
    let database = context.current_database().await?.id();
    if database.0 < FIRST_USER_ID {
        return Err(Error::unsupported("a temporary object in the system database"));
    }
    let name = session.temporary.name.get_or_init(|| format!("{ALIAS}_{}", session.backend_id));
    let is_new = session.temporary.databases.lock().unwrap_or_else(PoisonError::into_inner).insert(database);
    catalog.lock_name(Some(database), None, name).await?;
    if is_new {
        // Of a session that had this number before and whose end could not drop it.
        drop_schema(context, database, name).await?;
    }
    if catalog.lookup(Some(database), None, name).await?.is_none() {
        let id = DescriptorId(context.engine().store().create_space().await?.0);
        let schema = SchemaDescriptor { identity: Identity::new(id, name, &session.user), database, temporary: true };
        catalog.create(&Descriptor::Schema(schema)).await?;
    }
    Ok(())
}

/// Whether an object is in a temporary schema.
pub async fn holds(context: &Context, schema: DescriptorId) -> Result<bool> {
    let found = context.catalog().find(schema).await?;
    Ok(found.is_some_and(|found| found.is_temporary()))
}

/// Does at a commit what tables are declared to do then.
pub async fn at_commit(context: &Context) -> Result<()> {
    let schemas = &context.session().temporary;
    let Some(name) = schemas.name().filter(|_| schemas.acts_at_commit.load(Ordering::Relaxed)) else { return Ok(()) };
    for database in schemas.databases() {
        let Some(schema) = context.catalog().lookup(Some(database), None, name).await? else { continue };
        for object in context.catalog().list(Some(database), Some(schema.id())).await? {
            let Descriptor::Table(table) = &*object else { continue };
            match table.on_commit {
                None => {}
                Some(OnCommit::Drop) => ddl::drop_with_dependents(context, BTreeSet::from([object.id()])).await?,
                Some(OnCommit::DeleteRows) => empty(context, table).await?,
            }
        }
    }
    Ok(())
}

async fn empty(context: &Context, table: &TableDescriptor) -> Result<()> {
    for id in &table.referenced_by {
        if let Descriptor::Table(other) = &*context.catalog().get(*id).await?
            && other.on_commit != Some(OnCommit::DeleteRows)
        {
            let (referring, referred) = (&other.identity.name, &table.identity.name);
            let detail = format!(
                "Table \"{referring}\" references \"{referred}\", but they do not have the same ON COMMIT setting."
            );
            let message = "unsupported ON COMMIT and foreign key combination";
            return Err(Error::new(code::FEATURE_NOT_SUPPORTED, message).detail(detail));
        }
    }
    if ddl::has_rows(context, table).await? {
        context.catalog().lock(table.identity.id, LockMode::Exclusive).await?;
        ddl::empty(context, table.clone()).await?;
    }
    Ok(())
}

/// Drops all temporary objects of a session, in the transaction of a statement.
pub async fn discard(context: &Context) -> Result<()> {
    let Some(name) = context.session().temporary.name() else { return Ok(()) };
    for database in context.session().temporary.databases() {
        drop_schema(context, database, name).await?;
    }
    Ok(())
}

/// Drops a temporary schema with all that is in it, if it is there.
async fn drop_schema(context: &Context, database: DescriptorId, name: &str) -> Result<()> {
    let Some(found) = context.catalog().lookup(Some(database), None, name).await? else { return Ok(()) };
    if !found.is_temporary() {
        return Ok(());
    }
    context.catalog().lock(found.id(), LockMode::Exclusive).await?;
    let objects = context.catalog().list(Some(database), Some(found.id())).await?;
    ddl::drop_with_dependents(context, objects.iter().map(|object| object.id()).collect()).await?;
    Ok(context.catalog().remove(&found)?)
}

/// Drops all temporary objects of a session that has ended.
pub async fn end(engine: Arc<Engine>, facts: SessionFacts) {
    for attempt in 1..=ATTEMPTS {
        match in_transaction(&engine, &facts, async |context| discard(context).await).await {
            Ok(()) => return,
            Err(error) if error.is_retryable() && attempt < ATTEMPTS => tokio::time::sleep(RETRY_DELAY).await,
            Err(error) => {
                let number = facts.backend_id;
                tracing::warn!(%error, number, "temporary objects of a session stay until the next start");
                return;
            }
        }
    }
}

/// Drops what sessions of a former process have left. There must be no sessions yet.
pub async fn drop_abandoned(engine: &Arc<Engine>) -> Result<()> {
    let facts = SessionFacts::new(engine, ROOT_USER, "system");
    in_transaction(engine, &facts, async |context| {
        for database in context.catalog().list(None, None).await? {
            for schema in context.catalog().list(Some(database.id()), None).await? {
                drop_schema(context, database.id(), schema.name()).await?;
            }
        }
        Ok(())
    })
    .await
}

async fn in_transaction(
    engine: &Arc<Engine>,
    facts: &SessionFacts,
    work: impl AsyncFnOnce(&Context) -> Result<()>,
) -> Result<()> {
    let txn = engine.store().begin().await?;
    let transaction = TransactionFacts::new(Arc::new(Holder::session(engine.advisory_locks().clone())));
    let context = Context::new(engine.clone(), txn.clone(), Arc::new(facts.clone()), transaction);
    work(&context).await?;
    if txn.pending_writes() > 0 {
        txn.commit().await?;
    }
    Ok(())
}
