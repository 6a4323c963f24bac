//! Everything that shows something: `SHOW` of the catalog, of settings, of backups and of jobs.

use std::sync::Arc;

use datafusion::datasource::MemTable;
use futures::stream::{self, StreamExt};

use super::arrays::batch_of_rows;
use super::context::Context;
use super::control;
use super::create_statement::{self, foreign_key, key_columns, storing};
use super::ddl::shown_options;
use super::dml::Row;
use super::error::{Error, Result, code};
use super::query::{Batches, ExtraTables, OutputColumn, schema_of};
use super::settings::{SessionSettings, cluster_setting};
use super::{create_all, schedules, show_activity, show_backup, show_grants, zone};
use crate::catalog::role::Roles;
use crate::catalog::settings::CLUSTER_SETTINGS;
use crate::catalog::system::FIRST_USER_ID;
use crate::catalog::{Column, ColumnType, Datum, Descriptor, DescriptorId, Index, TableDescriptor};
use crate::parser::{Access, Show, ShowCreate, ShowRelation, Statement, quote_ident_in_sql};

/// A small result that is there as a whole.
pub struct Shown {
    /// Its columns.
    pub columns: Vec<OutputColumn>,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Shown {
    /// The same without the last column.
    fn without_last(mut self) -> Shown {
        self.columns.pop();
        self.rows.iter_mut().for_each(|row| drop(row.pop()));
        self
    }

    /// A result with these columns.
    pub fn new(columns: &[(&str, ColumnType)]) -> Shown {
        let column = |(name, column_type): &(&str, ColumnType)| OutputColumn::new(*name, column_type.clone());
        Shown { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// As a stream.
    pub fn into_batches(self) -> Result<(Vec<OutputColumn>, Batches)> {
        let types: Vec<ColumnType> = self.columns.iter().map(|column| column.column_type.clone()).collect();
        let batch = batch_of_rows(&schema_of(&self.columns), &types, &self.rows)?;
        Ok((self.columns, stream::iter([Ok(batch)]).boxed()))
    }

    /// As a table that a query can scan.
    pub fn into_table(self) -> Result<Arc<MemTable>> {
        let types: Vec<ColumnType> = self.columns.iter().map(|column| column.column_type.clone()).collect();
        let schema = schema_of(&self.columns);
        let batch = batch_of_rows(&schema, &types, &self.rows)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

/// What `SHOW`s used as relations show, by the name of their placeholder tables.
pub async fn relations(
    context: &Context,
    shows: &[ShowRelation],
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<ExtraTables> {
    let mut tables = ExtraTables::new();
    for show in shows {
        let shown = self::show(context, &show.statement, settings, parameters).await?;
        let shown = shown.ok_or_else(|| Error::unsupported(format!("{} as a relation", show.statement.name())))?;
        tables.insert(show.placeholder.clone(), shown.into_table()?);
    }
    Ok(tables)
}

/// Runs a statement if it is one that shows something.
pub async fn show(
    context: &Context,
    statement: &Statement,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<Option<Shown>> {
    Ok(Some(match statement {
        Statement::Show(show) => catalog(context, show, settings).await?,
        Statement::ShowBackups(show) => {
            let planner = control::planner(context, parameters);
            let collection = planner.collection(&show.collection, &Access::default())?.collection;
            let mut shown = Shown::new(&[("path", ColumnType::Text)]);
            shown.rows =
                crate::backup::show::backups(&collection).await?.into_iter().map(|path| vec![path.into()]).collect();
            shown
        }
        Statement::ShowBackup(show) => show_backup::show(&control::planner(context, parameters), show).await?,
        Statement::ShowZone(show) => zone::show(context, show).await?,
        Statement::ShowJobs(show) => Box::pin(control::show_jobs(context, show, settings, parameters)).await?,
        Statement::ShowSchedules(show) => schedules::show(context, *show).await?,
        Statement::ShowSchedule(id) => schedules::show_one(context, id, parameters).await?,
        Statement::ShowCreateSchedules(id) => schedules::show_create(context, id.as_ref(), parameters).await?,
        _ => return Ok(None),
    }))
}

async fn catalog(context: &Context, show: &Show, settings: &SessionSettings) -> Result<Shown> {
    match show {
        Show::WithComment(shown) => with_comments(context, shown).await,
        Show::Databases | Show::Tables(_) | Show::Columns(_) | Show::Indexes(_) | Show::IndexesOf(_) => {
            with_comments(context, show).await.map(Shown::without_last)
        }
        Show::Schemas(database) => schemas(context, database.as_deref()).await,
        Show::Sequences(database) => sequences(context, database.as_deref()).await,
        Show::Enums(database) => types(context, database.as_deref(), true).await,
        Show::Types(database) => types(context, database.as_deref(), false).await,
        Show::Constraints(name) => constraints(context, name).await,
        Show::Create(ShowCreate::Database, name) => {
            let mut shown = Shown::new(&[("database_name", ColumnType::Text), ("create_statement", ColumnType::Text)]);
            let database = context.database(&name[0]).await?;
            let statement = format!("CREATE DATABASE {}", quote_ident_in_sql(database.name()));
            shown.rows.push(vec![database.name().to_string().into(), statement.into()]);
            Ok(shown)
        }
        Show::Create(_, name) => {
            let mut shown = Shown::new(&[("table_name", ColumnType::Text), ("create_statement", ColumnType::Text)]);
            let object = context.object(name).await?;
            let statement = create_statement::of_object(context, &object).await?;
            shown.rows.push(vec![object.name().to_string().into(), statement.into()]);
            Ok(shown)
        }
        Show::CreateAll(what) => {
            let mut shown = Shown::new(&[("create_statement", ColumnType::Text)]);
            let statements = create_all::statements(context, *what).await?;
            shown.rows = statements.into_iter().map(|statement| vec![statement.into()]).collect();
            Ok(shown)
        }
        Show::Grants(grants) => show_grants::show(context, grants).await,
        Show::DefaultPrivileges(show) => show_grants::defaults(context, show).await,
        Show::Users => {
            let array = ColumnType::Array(Box::new(ColumnType::Text));
            let mut shown =
                Shown::new(&[("username", ColumnType::Text), ("options", array.clone()), ("member_of", array)]);
            for role in Roles::read(&**context.txn()).await?.iter() {
                let mut roles: Vec<String> = role.member_of().into_iter().map(|membership| membership.role).collect();
                roles.sort();
                let roles = Datum::Array(roles.into_iter().map(Datum::from).collect());
                shown.rows.push(vec![role.name.clone().into(), Datum::Array(shown_options(role)), roles]);
            }
            Ok(shown)
        }
        Show::Sessions => Ok(show_activity::sessions(context)),
        Show::Queries => Ok(show_activity::statements(context)),
        Show::Transactions => Ok(show_activity::transactions(context)),
        Show::TransactionStatus | Show::SavepointStatus => {
            Err(Error::unsupported(format!("{show} inside another statement")))
        }
        Show::Locality => {
            let mut shown = Shown::new(&[("locality", ColumnType::Text)]);
            shown.rows.push(vec![context.engine().locality().to_string().into()]);
            Ok(shown)
        }
        Show::ClusterSetting(Some(name)) => {
            let setting = cluster_setting(name)?;
            let mut shown = Shown::new(&[(setting.name, ColumnType::Text)]);
            shown.rows.push(vec![setting.read(&**context.txn()).await?.into()]);
            Ok(shown)
        }
        Show::ClusterSetting(None) => {
            let text = || ColumnType::Text;
            let mut shown = Shown::new(&[
                ("variable", text()),
                ("value", text()),
                ("setting_type", text()),
                ("description", text()),
            ]);
            for setting in CLUSTER_SETTINGS {
                let value = setting.read(&**context.txn()).await?;
                shown.rows.push(vec![
                    setting.name.into(),
                    value.into(),
                    setting.kind.letter().into(),
                    setting.description.into(),
                ]);
            }
            Ok(shown)
        }
        Show::Setting(Some(name)) if name == "database" => {
            let mut shown = Shown::new(&[("database", ColumnType::Text)]);
            shown.rows.push(vec![context.session().database.clone().into()]);
            Ok(shown)
        }
        Show::Setting(Some(name)) => {
            let name = name.to_lowercase();
            let name = if name == "time zone" { "timezone".into() } else { name };
            let mut shown = Shown::new(&[(&name, ColumnType::Text)]);
            shown.rows.push(vec![settings.get(&name)?.into()]);
            Ok(shown)
        }
        Show::Setting(None) => {
            let mut shown = Shown::new(&[("variable", ColumnType::Text), ("value", ColumnType::Text)]);
            shown.rows = settings.all().into_iter().map(|(name, value)| vec![name.into(), value.into()]).collect();
            Ok(shown)
        }
    }
}

/// What can be shown with comments, which are its last column.
async fn with_comments(context: &Context, show: &Show) -> Result<Shown> {
    match show {
        Show::Databases => databases(context).await,
        Show::Tables(place) => tables(context, place.as_deref()).await,
        Show::Columns(name) => columns(context, name).await,
        Show::Indexes(name) => {
            let table = table_named(context, name).await?;
            Ok(indexes([&table].into_iter()))
        }
        Show::IndexesOf(database) => {
            let database = context.database(database).await?;
            let objects = context.catalog().list_objects(database.id()).await?;
            let table = |object: &'_ Arc<Descriptor>| match &**object {
                Descriptor::Table(table) => Some(table.clone()),
                _ => None,
            };
            let tables: Vec<TableDescriptor> = objects.iter().filter_map(table).collect();
            Ok(indexes(tables.iter()))
        }
        other => Err(Error::unsupported(format!("{other} WITH COMMENT"))),
    }
}

async fn databases(context: &Context) -> Result<Shown> {
    let text = || ColumnType::Text;
    let mut shown = Shown::new(&[
        ("database_name", text()),
        ("owner", text()),
        ("primary_region", text()),
        ("secondary_region", text()),
        ("regions", ColumnType::Array(Box::new(text()))),
        ("survival_goal", text()),
        ("comment", text()),
    ]);
    for database in context.catalog().list(None, None).await? {
        let (name, owner) = (database.name().to_string(), database.identity().owner.clone());
        shown.rows.push(vec![
            name.into(),
            owner.into(),
            Datum::Null,
            Datum::Null,
            Datum::Array(Vec::new()),
            Datum::Null,
            database.identity().comment.clone().into(),
        ]);
    }
    Ok(shown)
}

async fn named_or_current(context: &Context, name: Option<&str>) -> Result<Arc<Descriptor>> {
    match name {
        Some(name) => context.database(name).await,
        None => context.current_database().await,
    }
}

async fn schemas(context: &Context, database: Option<&str>) -> Result<Shown> {
    let mut shown = Shown::new(&[("schema_name", ColumnType::Text), ("owner", ColumnType::Text)]);
    let database = named_or_current(context, database).await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        shown.rows.push(vec![schema.name().to_string().into(), schema.identity().owner.clone().into()]);
    }
    for schema in super::introspection::SCHEMAS {
        shown.rows.push(vec![schema.into(), Datum::Null]);
    }
    shown.rows.sort_by(|a, b| a[0].as_text().cmp(&b[0].as_text()));
    Ok(shown)
}

async fn tables(context: &Context, place: Option<&[String]>) -> Result<Shown> {
    let text = || ColumnType::Text;
    let mut shown = Shown::new(&[
        ("schema_name", text()),
        ("table_name", text()),
        ("type", text()),
        ("owner", text()),
        ("estimated_row_count", ColumnType::Int8),
        ("locality", text()),
        ("comment", text()),
    ]);
    let (database, schemas) = match place {
        None => {
            let database = context.current_database().await?;
            let schemas = context.catalog().list(Some(database.id()), None).await?;
            (database, schemas)
        }
        // A schema of the current database comes before a database of that name.
        Some([name]) => {
            let current = context.current_database().await?;
            match context.catalog().lookup(Some(current.id()), None, name).await? {
                Some(schema) => (current, vec![schema]),
                None => {
                    let database = context.database(name).await?;
                    let schemas = context.catalog().list(Some(database.id()), None).await?;
                    (database, schemas)
                }
            }
        }
        Some([database, schema, ..]) => {
            let database = context.database(database).await?;
            let schema = context.schema(database.id(), schema).await?;
            (database, vec![schema])
        }
        Some([]) => return Err(Error::new(code::INVALID_NAME, "a name is missing")),
    };
    for schema in schemas {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            if matches!(&*object, Descriptor::Type(_)) {
                continue;
            }
            let rows = match &*object {
                Descriptor::Table(table) if table.identity.id.0 >= FIRST_USER_ID => {
                    Datum::Int(context.engine().store().stats(table.primary.space).await?.rows as i64)
                }
                _ => Datum::Null,
            };
            shown.rows.push(vec![
                schema.name().to_string().into(),
                object.name().to_string().into(),
                object.kind().into(),
                object.identity().owner.clone().into(),
                rows,
                Datum::Null,
                object.identity().comment.clone().into(),
            ]);
        }
    }
    Ok(shown)
}

async fn sequences(context: &Context, database: Option<&str>) -> Result<Shown> {
    let mut shown = Shown::new(&[("sequence_schema", ColumnType::Text), ("sequence_name", ColumnType::Text)]);
    let database = named_or_current(context, database).await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            if matches!(&*object, Descriptor::Sequence(_)) {
                shown.rows.push(vec![schema.name().to_string().into(), object.name().to_string().into()]);
            }
        }
    }
    Ok(shown)
}

async fn types(context: &Context, database: Option<&str>, with_labels: bool) -> Result<Shown> {
    let text = || ColumnType::Text;
    let values = ("values", ColumnType::Array(Box::new(text())));
    let columns = [("schema", text()), ("name", text())].into_iter().chain(with_labels.then_some(values));
    let columns: Vec<_> = columns.chain([("owner", text())]).collect();
    let mut shown = Shown::new(&columns);
    let database = named_or_current(context, database).await?;
    for schema in context.catalog().list(Some(database.id()), None).await? {
        for object in context.catalog().list(Some(database.id()), Some(schema.id())).await? {
            let Descriptor::Type(made) = &*object else { continue };
            let labels = made.labels.iter().map(|known| known.label.clone().into()).collect();
            let mut row = vec![schema.name().to_string().into(), made.identity.name.clone().into()];
            row.extend(with_labels.then_some(Datum::Array(labels)));
            row.push(made.identity.owner.clone().into());
            shown.rows.push(row);
        }
    }
    Ok(shown)
}

async fn columns(context: &Context, name: &[String]) -> Result<Shown> {
    let array = ColumnType::Array(Box::new(ColumnType::Text));
    let mut shown = Shown::new(&[
        ("column_name", ColumnType::Text),
        ("data_type", ColumnType::Text),
        ("is_nullable", ColumnType::Bool),
        ("column_default", ColumnType::Text),
        ("generation_expression", ColumnType::Text),
        ("indices", array),
        ("is_hidden", ColumnType::Bool),
        ("comment", ColumnType::Text),
    ]);
    match &*context.object(name).await? {
        Descriptor::Table(table) => {
            for column in &table.columns {
                let holds = |index: &&Index| {
                    index.name == table.primary.name || index.all_columns().any(|part| part == column.id)
                };
                let indices = table.all_indexes().filter(holds).map(|index| index.name.clone().into()).collect();
                shown.rows.push(vec![
                    column.name.clone().into(),
                    column.written_type().into(),
                    Datum::Bool(column.nullable),
                    column.default.clone().into(),
                    column.generated.clone().unwrap_or_default().into(),
                    Datum::Array(indices),
                    Datum::Bool(column.hidden),
                    column.comment.clone().into(),
                ]);
            }
        }
        Descriptor::View(view) => {
            for column in &view.columns {
                shown.rows.push(vec![
                    column.name.clone().into(),
                    column.column_type.to_string().into(),
                    Datum::Bool(true),
                    Datum::Null,
                    "".into(),
                    Datum::Array(Vec::new()),
                    Datum::Bool(false),
                    Datum::Null,
                ]);
            }
        }
        other => {
            return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is a {}", other.name(), other.kind())));
        }
    }
    Ok(shown)
}

async fn table_named(context: &Context, name: &[String]) -> Result<TableDescriptor> {
    match &*context.object(name).await? {
        Descriptor::Table(table) => Ok(table.clone()),
        other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", other.name()))),
    }
}

fn indexes<'a>(tables: impl Iterator<Item = &'a TableDescriptor>) -> Shown {
    let (text, flag) = (|| ColumnType::Text, || ColumnType::Bool);
    let mut shown = Shown::new(&[
        ("table_name", text()),
        ("index_name", text()),
        ("non_unique", flag()),
        ("seq_in_index", ColumnType::Int8),
        ("column_name", text()),
        ("direction", text()),
        ("storing", flag()),
        ("implicit", flag()),
        ("visible", flag()),
        ("comment", text()),
    ]);
    let mut all: Vec<(&TableDescriptor, &Index)> =
        tables.flat_map(|table| table.all_indexes().map(move |index| (table, index))).collect();
    all.sort_by_key(|(table, index)| (&table.identity.name, &index.name));
    for (table, index) in all {
        let is_primary = index.name == table.primary.name;
        let named =
            index.columns.iter().map(|part| (part.column, if part.descending { "DESC" } else { "ASC" }, false, false));
        let mut entries: Vec<_> = named.collect();
        if is_primary {
            let is_shown = |column: &&Column| !column.hidden || column.generated.is_none();
            let rest = table.columns.iter().filter(|column| !table.in_primary_key(column.id)).filter(is_shown);
            entries.extend(rest.map(|column| (column.id, "N/A", true, false)));
        } else {
            entries.extend(index.stored.iter().map(|id| (*id, "N/A", true, false)));
            let implicit =
                table.primary.columns.iter().filter(|part| !index.columns.iter().any(|own| own.column == part.column));
            entries.extend(implicit.map(|part| (part.column, "ASC", index.unique, true)));
        }
        for (position, (column, direction, storing, implicit)) in entries.into_iter().enumerate() {
            let column = table.column(column).map_or(String::new(), |column| column.name.clone());
            shown.rows.push(vec![
                table.identity.name.clone().into(),
                index.name.clone().into(),
                Datum::Bool(!index.unique),
                Datum::Int(position as i64 + 1),
                column.into(),
                direction.into(),
                Datum::Bool(storing),
                Datum::Bool(implicit),
                Datum::Bool(true),
                index.comment.clone().into(),
            ]);
        }
    }
    shown
}

async fn constraints(context: &Context, name: &[String]) -> Result<Shown> {
    let text = || ColumnType::Text;
    let mut shown = Shown::new(&[
        ("table_name", text()),
        ("constraint_name", text()),
        ("constraint_type", text()),
        ("details", text()),
        ("validated", ColumnType::Bool),
    ]);
    let table = table_named(context, name).await?;
    let mut found = vec![(
        table.primary.name.clone(),
        "PRIMARY KEY",
        format!("PRIMARY KEY ({}){}", key_columns(&table, &table.primary), storing(&table, &table.primary, "INCLUDE")),
    )];
    for index in table.indexes.iter().filter(|index| table.is_key(index)) {
        let details = format!("UNIQUE ({}){}", key_columns(&table, index), storing(&table, index, "STORING"));
        found.push((index.name.clone(), "UNIQUE", details));
    }
    for check in &table.checks {
        found.push((check.name.clone(), "CHECK", format!("CHECK ({})", check.condition)));
    }
    let around = create_statement::surroundings(context, &Descriptor::Table(table.clone())).await?;
    let lookup = |id: DescriptorId| around.iter().find(|descriptor| descriptor.id() == id).cloned();
    for key in &table.foreign_keys {
        let details =
            foreign_key(&table, key, &lookup).ok_or_else(|| Error::internal("a foreign key refers to nothing"))?;
        found.push((key.name.clone(), "FOREIGN KEY", details));
    }
    found.sort();
    for (name, kind, details) in found {
        let table = table.identity.name.clone();
        shown.rows.push(vec![table.into(), name.into(), kind.into(), details.into(), Datum::Bool(true)]);
    }
    Ok(shown)
}
