use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use postgres_types::Type as PgType;
use sqlparser::ast::DataType as SqlType;

use super::advisory::Holder;
use super::deferred::DeferredKeys;
use super::engine::Engine;
use super::error::{Error, Result, code};
use super::names::name_parts;
use super::notifications::Listener;
use super::query::sequences::SessionSequences;
use super::session::Prepared;
use super::settings::SessionSettings;
use super::temporary::{self, TemporarySchemas};
use super::time_zone::TimeZone;
use super::types;
use crate::catalog::{Catalog, ColumnType, Descriptor, DescriptorId, PUBLIC_SCHEMA, TypeDescriptor};
use crate::kv::{SpaceId, Txn};

/// What a statement needs to know of its session.
#[derive(Clone)]
pub struct SessionFacts {
    /// In whose name statements run: who is connected, or the role that the session has taken on.
    pub user: String,
    /// Who is connected.
    pub session_user: String,
    /// The number that the client knows the session by.
    pub backend_id: i32,
    /// The database that unqualified names are in.
    pub database: String,
    /// Schemas looked through for unqualified names.
    pub search_path: Vec<String>,
    /// Numbers taken from sequences.
    pub sequences: Arc<SessionSequences>,
    /// The advisory locks it holds.
    pub locks: Arc<Holder>,
    /// Its settings.
    pub settings: Arc<SessionSettings>,
    /// Its prepared statements, by name.
    pub statements: Arc<HashMap<String, Arc<Prepared>>>,
    /// Its cursors.
    pub cursors: Vec<CursorFacts>,
    /// Its messages to and from others.
    pub listener: Arc<Listener>,
    /// Its temporary objects.
    pub temporary: Arc<TemporarySchemas>,
}

/// What there is to know of a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorFacts {
    /// Its name.
    pub name: String,
    /// The statement that declared it.
    pub statement: String,
    /// Whether it stays after its transaction.
    pub holds: bool,
    /// Whether it can go back.
    pub scrolls: bool,
}

impl SessionFacts {
    /// Those of a new session.
    pub fn new(engine: &Engine, user: &str, database: &str) -> SessionFacts {
        SessionFacts {
            user: user.into(),
            session_user: user.into(),
            backend_id: 0,
            database: database.into(),
            search_path: vec![PUBLIC_SCHEMA.into()],
            sequences: Arc::default(),
            locks: Arc::new(Holder::session(engine.advisory_locks().clone())),
            settings: Arc::default(),
            statements: Arc::default(),
            cursors: Vec::new(),
            listener: Arc::new(Listener::new(engine.channels().clone(), 0).0),
            temporary: Arc::default(),
        }
    }

    /// The schemas looked through for unqualified names, in order: temporary objects are found first, unless the path says where.
    pub fn searched_schemas(&self) -> impl Iterator<Item = &str> {
        let is_named = self.search_path.iter().any(|schema| schema == temporary::ALIAS);
        let first = self.temporary.name().filter(|_| !is_named);
        let named = self.search_path.iter().map(|schema| self.own_schema(schema));
        first.into_iter().chain(named)
    }

    /// The name of a schema that may be written as `pg_temp`.
    pub fn own_schema<'a>(&'a self, schema: &'a str) -> &'a str {
        self.temporary.name().filter(|_| schema == temporary::ALIAS).unwrap_or(schema)
    }
}

/// Spaces made by the running transaction that nothing has been written to yet: only such can be bulk loaded.
#[derive(Clone, Default)]
pub struct FreshSpaces {
    spaces: Arc<Mutex<HashSet<SpaceId>>>,
}

impl FreshSpaces {
    /// A space has been made.
    pub fn add(&self, space: SpaceId) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).insert(space);
    }

    /// Spaces are about to be written to.
    pub fn forget(&self, spaces: &[SpaceId]) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).retain(|space| !spaces.contains(space));
    }

    /// None is fresh any more.
    pub fn clear(&self) {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether all of these are fresh; they no longer are.
    pub fn take(&self, spaces: &[SpaceId]) -> bool {
        let all = {
            let fresh = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
            spaces.iter().all(|space| fresh.contains(space))
        };
        self.forget(spaces);
        all
    }
}

/// What a transaction keeps from statement to statement.
#[derive(Clone)]
pub struct TransactionFacts {
    /// Spaces that it has made and not written to.
    pub fresh: FreshSpaces,
    /// The advisory locks that it holds.
    pub locks: Arc<Holder>,
    /// The foreign keys that wait for its end.
    pub deferred: DeferredKeys,
}

impl TransactionFacts {
    /// Those of a new transaction, whose advisory locks are `locks`.
    pub fn new(locks: Arc<Holder>) -> TransactionFacts {
        TransactionFacts { fresh: FreshSpaces::default(), locks, deferred: DeferredKeys::default() }
    }
}

/// A statement's surroundings: the server, the transaction, the session.
#[derive(Clone)]
pub struct Context {
    engine: Arc<Engine>,
    catalog: Catalog,
    session: Arc<SessionFacts>,
    transaction: TransactionFacts,
}

impl Context {
    /// The surroundings of a statement in `txn`.
    pub fn new(
        engine: Arc<Engine>,
        txn: Arc<dyn Txn>,
        session: Arc<SessionFacts>,
        transaction: TransactionFacts,
    ) -> Context {
        let catalog = Catalog::new(txn, engine.descriptors().clone());
        Context { engine, catalog, session, transaction }
    }

    /// Spaces that the transaction has made and not written to.
    pub fn fresh_spaces(&self) -> &FreshSpaces {
        &self.transaction.fresh
    }

    /// The advisory locks that the transaction holds.
    pub fn transaction_locks(&self) -> &Holder {
        &self.transaction.locks
    }

    /// The foreign keys that wait for the end of the transaction.
    pub fn deferred_keys(&self) -> &DeferredKeys {
        &self.transaction.deferred
    }

    /// The server.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The catalog in this transaction.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The transaction.
    pub fn txn(&self) -> &Arc<dyn Txn> {
        self.catalog.txn()
    }

    /// The session.
    pub fn session(&self) -> &SessionFacts {
        &self.session
    }

    /// The time zone of the session.
    pub fn zone(&self) -> TimeZone {
        self.session.settings.zone()
    }

    /// The same statement's surroundings in another transaction.
    pub fn in_txn(&self, txn: Arc<dyn Txn>) -> Context {
        let transaction = TransactionFacts::new(self.transaction.locks.clone());
        Context::new(self.engine.clone(), txn, self.session.clone(), transaction)
    }

    /// The surroundings as seen from inside a database: how the query of a view there is read.
    pub async fn inside_database(&self, database: DescriptorId) -> Result<Context> {
        let name = self.catalog.get(database).await?.name().to_string();
        let session = SessionFacts { database: name, ..self.session().clone() };
        Ok(Context { session: Arc::new(session), ..self.clone() })
    }

    /// The same for what is computed from a row and kept with it, which must not depend on who computes it.
    pub async fn for_stored_values(&self, database: DescriptorId) -> Result<Context> {
        let inside = self.inside_database(database).await?;
        let session = SessionFacts { settings: Arc::default(), ..inside.session().clone() };
        Ok(Context { session: Arc::new(session), ..inside })
    }

    /// Waits for something inside a function that cannot be asynchronous.
    pub fn wait_for<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let runtime = tokio::runtime::Handle::try_current().map_err(Error::internal)?;
        Ok(tokio::task::block_in_place(|| runtime.block_on(future)))
    }

    /// The database with a name.
    pub async fn database(&self, name: &str) -> Result<Arc<Descriptor>> {
        let found = self.catalog.lookup(None, None, name).await?;
        found.ok_or_else(|| Error::new(code::INVALID_DATABASE, format!("database \"{name}\" does not exist")))
    }

    /// The current database.
    pub async fn current_database(&self) -> Result<Arc<Descriptor>> {
        self.database(&self.session.database).await
    }

    /// Whether a name is that of the session's temporary schema.
    pub fn is_own_temporary(&self, schema: &str) -> bool {
        schema == temporary::ALIAS || self.session.temporary.name() == Some(schema)
    }

    /// The schema with a name in a database.
    pub async fn schema(&self, database: DescriptorId, name: &str) -> Result<Arc<Descriptor>> {
        let found = self.catalog.lookup(Some(database), None, self.session.own_schema(name)).await?;
        found.ok_or_else(|| Error::new(code::INVALID_SCHEMA, format!("schema \"{name}\" does not exist")))
    }

    /// The schema with a name of one or two parts.
    pub async fn schema_named(&self, parts: &[String]) -> Result<Arc<Descriptor>> {
        match parts {
            [name] => self.schema(self.current_database().await?.id(), name).await,
            [database, name] => self.schema(self.database(database).await?.id(), name).await,
            _ => Err(Error::new(code::INVALID_NAME, "a schema has a name of one or two parts")),
        }
    }

    /// The table, view or sequence with a name of one to three parts.
    pub async fn find_object(&self, parts: &[String]) -> Result<Option<Arc<Descriptor>>> {
        match parts {
            [name] => {
                let database = self.current_database().await?.id();
                for schema in self.session.searched_schemas() {
                    let Some(schema) = self.catalog.lookup(Some(database), None, schema).await? else { continue };
                    let found = self.catalog.lookup(Some(database), Some(schema.id()), name).await?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Ok(None)
            }
            [schema, name] => {
                let database = self.current_database().await?.id();
                let own = self.session.own_schema(schema);
                if let Some(schema) = self.catalog.lookup(Some(database), None, own).await? {
                    return Ok(self.catalog.lookup(Some(database), Some(schema.id()), name).await?);
                }
                // As in CockroachDB, the first part may also be a database.
                self.find_in(schema, PUBLIC_SCHEMA, name).await
            }
            [database, schema, name] => self.find_in(database, schema, name).await,
            _ => Err(Error::new(
                code::INVALID_NAME,
                format!("\"{}\" is not a name of one to three parts", parts.join(".")),
            )),
        }
    }

    /// The first schema of the search path that is there.
    pub async fn first_schema(&self) -> Result<&str> {
        let database = self.current_database().await?.id();
        for schema in &self.session.search_path {
            if schema == temporary::ALIAS {
                temporary::make_schema(self).await?;
            }
            let schema = self.session.own_schema(schema);
            if self.catalog.lookup(Some(database), None, schema).await?.is_some() {
                return Ok(schema);
            }
        }
        match self.session.search_path.first() {
            None => Ok(PUBLIC_SCHEMA),
            Some(_) => Err(Error::new(code::INVALID_SCHEMA, "no schema has been selected to create in")),
        }
    }

    async fn find_in(&self, database: &str, schema: &str, name: &str) -> Result<Option<Arc<Descriptor>>> {
        let Some(database) = self.catalog.lookup(None, None, database).await? else { return Ok(None) };
        let schema = self.session.own_schema(schema);
        let Some(schema) = self.catalog.lookup(Some(database.id()), None, schema).await? else { return Ok(None) };
        Ok(self.catalog.lookup(Some(database.id()), Some(schema.id()), name).await?)
    }

    /// The table, view or sequence with a name, which must exist.
    pub async fn object(&self, parts: &[String]) -> Result<Arc<Descriptor>> {
        let missing = || Error::new(code::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", parts.join(".")));
        self.find_object(parts).await?.ok_or_else(missing)
    }

    /// The type that a statement names.
    pub fn column_type(&self, sql_type: &SqlType) -> Result<ColumnType> {
        types::resolve(sql_type, &|name| {
            let made = self.wait_for(self.find_made_type(&name_parts(name)?))??;
            made.ok_or_else(|| types::undefined(name))
        })
    }

    /// The type with a name, if somebody made one.
    pub async fn find_made_type(&self, parts: &[String]) -> Result<Option<ColumnType>> {
        match self.find_object(parts).await?.as_deref() {
            Some(Descriptor::Type(made)) => self.made_type(made).await.map(Some),
            _ => Ok(None),
        }
    }

    /// A type that somebody made, as columns have it.
    pub async fn made_type(&self, made: &TypeDescriptor) -> Result<ColumnType> {
        Ok(made.as_column_type(self.catalog.get(made.schema).await?.name()))
    }

    /// The type with an object identifier that a client declares.
    pub async fn type_with_oid(&self, oid: u32) -> Result<Option<ColumnType>> {
        if let Some(known) = PgType::from_oid(oid) {
            return Ok(types::from_pg(&known));
        }
        let Some(id) = types::descriptor_of(oid) else { return Ok(None) };
        if let Some(Descriptor::Type(made)) = self.catalog.find(id).await?.as_deref() {
            return self.made_type(made).await.map(Some);
        }
        // Or that of its arrays.
        let database = self.current_database().await?.id();
        for object in self.catalog.list_objects(database).await? {
            if let Descriptor::Type(made) = &*object
                && made.array == id
            {
                return Ok(Some(ColumnType::Array(Box::new(self.made_type(made).await?))));
            }
        }
        Ok(None)
    }

    /// Where an object with this name would be made: its database, schema and unqualified name.
    pub async fn place_for(&self, parts: &[String]) -> Result<(DescriptorId, DescriptorId, String)> {
        let (database, schema, name) = match parts {
            [name] => (None, self.first_schema().await?, name),
            [schema, name] if self.is_own_temporary(schema) => {
                temporary::make_schema(self).await?;
                (None, self.session.own_schema(schema), name)
            }
            [schema, name] => {
                let database = self.current_database().await?.id();
                if self.catalog.lookup(Some(database), None, schema).await?.is_none()
                    && let Some(database) = self.catalog.lookup(None, None, schema).await?
                {
                    return Ok((database.id(), self.schema(database.id(), PUBLIC_SCHEMA).await?.id(), name.clone()));
                }
                (None, schema.as_str(), name)
            }
            [database, schema, name] => (Some(database), schema.as_str(), name),
            _ => {
                return Err(Error::new(
                    code::INVALID_NAME,
                    format!("\"{}\" is not a name of one to three parts", parts.join(".")),
                ));
            }
        };
        let database = match database {
            Some(database) => self.database(database).await?.id(),
            None => self.current_database().await?.id(),
        };
        if database.0 < crate::catalog::system::FIRST_USER_ID {
            return Err(Error::new("42501", "the system database cannot be changed"));
        }
        Ok((database, self.schema(database, schema).await?.id(), name.clone()))
    }

    /// The schemas in which an object with this name would be looked for, and its unqualified name.
    pub async fn schemas_with(&self, parts: &[String]) -> Result<(Vec<Arc<Descriptor>>, String)> {
        if let [name] = parts {
            let database = self.current_database().await?.id();
            let mut schemas = Vec::new();
            for schema in self.session.searched_schemas() {
                schemas.extend(self.catalog.lookup(Some(database), None, schema).await?);
            }
            return Ok((schemas, name.clone()));
        }
        let (_, schema, name) = self.place_for(parts).await?;
        Ok((vec![self.catalog.get(schema).await?], name))
    }

    /// The name that an object would be made under, with its database and schema.
    pub async fn whole_name(&self, parts: &[String]) -> Result<Vec<String>> {
        let (database, schema, name) = self.place_for(parts).await?;
        let (database, schema) = (self.catalog.get(database).await?, self.catalog.get(schema).await?);
        Ok(vec![database.name().into(), schema.name().into(), name])
    }
}
