use std::collections::HashMap;
use std::sync::Arc;

use super::super::activity::Activity;
use super::super::context::{Context, CursorFacts};
use super::super::error::Result;
use super::super::session::Prepared;
use super::super::types::wire_oid;
use crate::catalog::role::{Role, Roles};
use crate::catalog::{
    Check, Checked, Column, ColumnId, ColumnType, Descriptor, DescriptorId, EnumType, ForeignKey, Index,
    TableDescriptor, TypeDescriptor,
};
use crate::kv::SpaceId;
use crate::parser::quote_ident_in_sql;
use crate::time::Timestamp;

/// The owner of what comes with every database.
const BOOTSTRAP_ROLE: i64 = 10;
/// Object identifiers from here on are of what has no number of its own in the catalog.
const DERIVED: i64 = 1 << 30;
/// Bits that number the constraints of one table.
const CONSTRAINT_BITS: u32 = 12;

/// What a constraint demands.
#[derive(Clone, Copy)]
pub enum Rule<'a> {
    /// The primary key.
    Primary(&'a Index),
    /// No two rows with the same values.
    Unique(&'a Index),
    /// A row that is referred to.
    Foreign(&'a ForeignKey),
    /// A condition.
    Check(&'a Check),
}

impl Rule<'_> {
    /// When it is checked.
    pub fn checked(&self) -> Checked {
        match self {
            Rule::Foreign(key) => key.checked,
            Rule::Primary(_) | Rule::Unique(_) | Rule::Check(_) => Checked::Always,
        }
    }
}

/// A constraint of a table.
pub struct Constraint<'a> {
    /// Its object identifier.
    pub oid: i64,
    /// Its name.
    pub name: &'a str,
    /// What it demands.
    pub rule: Rule<'a>,
}

/// A type that somebody made.
pub struct MadeType {
    /// Its descriptor.
    pub descriptor: TypeDescriptor,
    /// What columns have of it.
    pub column_type: EnumType,
}

/// What has been said of an object with `COMMENT ON`.
pub struct Comment<'a> {
    /// The relation of the catalog that has the object.
    pub class: &'static str,
    /// The object.
    pub oid: i64,
    /// The number of the column it is about, or 0.
    pub column: i64,
    /// What was said.
    pub text: &'a str,
}

/// Everything of the current database that has a name, and who there is; as it was when the statement began.
///
/// Objects have their descriptor's id as object identifier, indexes that of their space ([`wire_oid`]): they come from one numbering.
pub struct Objects {
    /// All databases.
    pub databases: Vec<Arc<Descriptor>>,
    /// The current one.
    pub database: Arc<Descriptor>,
    /// Its schemas.
    pub schemas: Vec<Arc<Descriptor>>,
    /// What is in them but types.
    pub relations: Vec<Arc<Descriptor>>,
    /// The types that somebody made.
    pub types: Vec<MadeType>,
    /// Users and roles.
    pub roles: Roles,
    /// The time the statement looks at the catalog.
    pub now: Timestamp,
    /// The settings of the session, by name.
    pub settings: Vec<(String, String)>,
    /// The prepared statements of the session, by name.
    pub statements: Arc<HashMap<String, Arc<Prepared>>>,
    /// The cursors of the session.
    pub cursors: Vec<CursorFacts>,
    search_path: Vec<String>,
    context: Context,
    /// Where relations are, by their object identifiers; and the tables of indexes, by those of the indexes.
    positions: HashMap<i64, usize>,
    index_tables: HashMap<i64, usize>,
    /// Schema and name of relations and indexes.
    names: HashMap<i64, (String, String)>,
    by_name: HashMap<(String, String), i64>,
}

impl Objects {
    /// Reads them.
    pub async fn load(context: &Context) -> Result<Objects> {
        let database = context.current_database().await?;
        let catalog = context.catalog();
        let schemas = catalog.list(Some(database.id()), None).await?;
        let (mut relations, mut types) = (Vec::new(), Vec::new());
        for object in catalog.list_objects(database.id()).await? {
            match &*object {
                Descriptor::Type(made) => {
                    let ColumnType::Enum(column_type) = context.made_type(made).await? else { continue };
                    types.push(MadeType { descriptor: made.clone(), column_type: *column_type });
                }
                _ => relations.push(object),
            }
        }
        let mut objects = Objects {
            databases: catalog.list(None, None).await?,
            schemas,
            relations,
            types,
            database,
            roles: Roles::read(&**context.txn()).await?,
            now: context.txn().snapshot(),
            settings: context.session().settings.all(),
            statements: context.session().statements.clone(),
            cursors: context.session().cursors.clone(),
            search_path: context.session().searched_schemas().map(str::to_string).collect(),
            context: context.clone(),
            positions: HashMap::new(),
            index_tables: HashMap::new(),
            names: HashMap::new(),
            by_name: HashMap::new(),
        };
        objects.number();
        Ok(objects)
    }

    /// Notes where everything is.
    fn number(&mut self) {
        for (at, relation) in self.relations.iter().enumerate() {
            let schema = self.schema_of(relation).to_string();
            let mut named = vec![(oid(relation.id()), relation.name().to_string())];
            self.positions.insert(oid(relation.id()), at);
            if let Descriptor::Table(table) = &**relation {
                for index in shown_indexes(table) {
                    self.index_tables.insert(index_oid(index), at);
                    named.push((index_oid(index), index.name.clone()));
                }
            }
            for (oid, name) in named {
                // A table comes before an index of the same name.
                self.by_name.entry((schema.clone(), name.clone())).or_insert(oid);
                self.names.insert(oid, (schema.clone(), name));
            }
        }
    }

    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = &TableDescriptor> {
        self.relations.iter().filter_map(|relation| match &**relation {
            Descriptor::Table(table) => Some(table),
            _ => None,
        })
    }

    /// The table, view or sequence with an object identifier.
    pub fn relation(&self, oid: i64) -> Option<&Descriptor> {
        self.positions.get(&oid).map(|at| &*self.relations[*at])
    }

    /// The table with an id.
    pub fn table(&self, id: DescriptorId) -> Option<&TableDescriptor> {
        match self.relation(oid(id))? {
            Descriptor::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The index with an object identifier, and its table.
    pub fn index(&self, oid: i64) -> Option<(&TableDescriptor, &Index)> {
        let Descriptor::Table(table) = &*self.relations[*self.index_tables.get(&oid)?] else { return None };
        shown_indexes(table).find(|index| index_oid(index) == oid).map(|index| (table, index))
    }

    /// The constraint with an object identifier, and its table.
    pub fn constraint(&self, oid: i64) -> Option<(&TableDescriptor, Constraint<'_>)> {
        let table = self.table(DescriptorId(oid.checked_sub(DERIVED)? as u64 >> CONSTRAINT_BITS))?;
        constraints(table).into_iter().find(|constraint| constraint.oid == oid).map(|constraint| (table, constraint))
    }

    /// The name of the schema that an object is in.
    pub fn schema_of(&self, relation: &Descriptor) -> &str {
        let id = relation.parents().1;
        self.schemas.iter().find(|schema| Some(schema.id()) == id).map_or("", |schema| schema.name())
    }

    /// The table, view, sequence or index with an object identifier: its schema and its name.
    pub fn named(&self, oid: i64) -> Option<(&str, &str)> {
        self.names.get(&oid).map(|(schema, name)| (schema.as_str(), name.as_str()))
    }

    /// The object identifier of a relation or index with a name, in a schema or in the search path.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<i64> {
        let in_schema = |schema: &str| self.by_name.get(&(schema.to_string(), name.to_string())).copied();
        match schema {
            Some(schema) => in_schema(schema),
            None => self.search_path.iter().find_map(|schema| in_schema(schema)),
        }
    }

    /// How long a relation in a schema lasts, as PostgreSQL's letter.
    pub fn persistence(&self, schema: DescriptorId) -> &'static str {
        let is_temporary = |found: &Arc<Descriptor>| found.id() == schema && found.is_temporary();
        if self.schemas.iter().any(is_temporary) { "t" } else { "p" }
    }

    /// What all sessions are doing.
    pub fn activity(&self) -> &Activity {
        self.context.engine().activity()
    }

    /// The session's schema of temporary objects, if there is one.
    pub fn temporary_schema(&self) -> Option<DescriptorId> {
        let name = self.context.session().temporary.name()?;
        self.schemas.iter().find(|schema| schema.name() == name).map(|schema| schema.id())
    }

    /// The schemas looked through for names without one, of those there are: that of temporary objects, if the path does not say where
    /// it comes, and those that the path names.
    pub fn search_path(&self) -> (Option<&str>, Vec<&str>) {
        let is_there = |name: &&String| self.schemas.iter().any(|schema| schema.name() == name.as_str());
        let mut found: Vec<&str> = self.search_path.iter().filter(is_there).map(String::as_str).collect();
        let is_implicit = self.search_path.len() > self.context.session().search_path.len();
        let first = self.context.session().temporary.name().filter(|name| is_implicit && found.first() == Some(name));
        if first.is_some() {
            found.remove(0);
        }
        (first, found)
    }

    /// The type with an object identifier.
    pub fn made_type(&self, oid: i64) -> Option<&MadeType> {
        self.types.iter().find(|made| self::oid(made.column_type.id) == oid)
    }

    /// The type whose arrays have an object identifier.
    pub fn element_of(&self, oid: i64) -> Option<&MadeType> {
        self.types.iter().find(|made| self::oid(made.column_type.array) == oid)
    }

    /// The type with a name, in a schema or in the search path.
    pub fn type_named(&self, schema: Option<&str>, name: &str) -> Option<&MadeType> {
        let in_schema = |schema: &str| {
            self.types.iter().find(|made| made.column_type.schema == schema && made.column_type.name == name)
        };
        match schema {
            Some(schema) => in_schema(schema),
            None => self.search_path.iter().find_map(|schema| in_schema(schema)),
        }
    }

    /// A type as it would be written here: with its schema, if it takes that to find it.
    pub fn written_type(&self, made: &MadeType) -> String {
        let found = self.type_named(None, &made.column_type.name);
        match found.is_some_and(|found| found.column_type.id == made.column_type.id) {
            true => quote_ident_in_sql(&made.column_type.name),
            false => made.column_type.to_string(),
        }
    }

    /// What is kept as SQL, with its types as they would be written here.
    pub fn written_sql(&self, sql: &str) -> String {
        let shorten = |sql: String, made: &MadeType| {
            sql.replace(&format!("::{}", made.column_type), &format!("::{}", self.written_type(made)))
        };
        self.types.iter().fold(sql.to_string(), shorten)
    }

    /// Whether a name without a schema finds this object.
    pub fn is_visible(&self, oid: i64) -> bool {
        self.named(oid).is_some_and(|(_, name)| self.find(None, name) == Some(oid))
    }

    /// The name of an object as it would be written here: with its schema, if it takes that to find it.
    pub fn written(&self, oid: i64) -> Option<String> {
        let (schema, name) = self.named(oid)?;
        let name = quote_ident_in_sql(name);
        Some(if self.is_visible(oid) { name } else { format!("{}.{name}", quote_ident_in_sql(schema)) })
    }

    /// How many bytes are stored for a table without its indexes, a sequence or an index; before compression.
    pub fn bytes_of(&self, oid: i64) -> Result<Option<u64>> {
        let spaces = match (self.relation(oid), self.index(oid)) {
            (Some(Descriptor::Table(table)), _) => vec![table.primary.space],
            (Some(other), _) => other.spaces(),
            (None, Some((_, index))) => vec![index.space],
            (None, None) => return Ok(None),
        };
        self.bytes_in(&spaces).map(Some)
    }

    /// How many bytes are stored in spaces.
    pub fn bytes_in(&self, spaces: &[SpaceId]) -> Result<u64> {
        let store = self.context.engine().store();
        self.context.wait_for(async {
            let mut bytes = 0;
            for space in spaces {
                bytes += store.stats(*space).await?.bytes;
            }
            Ok(bytes)
        })?
    }

    /// What has been said of objects and columns.
    pub fn comments<'a>(&'a self) -> Vec<Comment<'a>> {
        let mut all = Vec::new();
        let mut note = |class, oid, column, text: &'a Option<String>| {
            if let Some(text) = text {
                all.push(Comment { class, oid, column, text });
            }
        };
        for database in &self.databases {
            note("pg_database", oid(database.id()), 0, &database.identity().comment);
        }
        for schema in &self.schemas {
            note("pg_namespace", oid(schema.id()), 0, &schema.identity().comment);
        }
        for made in &self.types {
            note("pg_type", oid(made.column_type.id), 0, &made.descriptor.identity.comment);
        }
        for relation in &self.relations {
            note("pg_class", oid(relation.id()), 0, &relation.identity().comment);
            if let Descriptor::View(view) = &**relation {
                for (at, column) in view.columns.iter().enumerate() {
                    note("pg_class", oid(relation.id()), at as i64 + 1, &column.comment);
                }
            }
            let Descriptor::Table(table) = &**relation else { continue };
            for column in table.visible_columns() {
                note("pg_class", oid(relation.id()), attnum(column.id), &column.comment);
            }
            for index in shown_indexes(table) {
                note("pg_class", index_oid(index), 0, &index.comment);
            }
        }
        all
    }

    /// The role with an object identifier.
    pub fn role(&self, oid: i64) -> Option<&Role> {
        self.roles.iter().find(|role| role_oid(&role.name) == oid)
    }
}

/// The object identifier of anything with a descriptor.
pub fn oid(id: DescriptorId) -> i64 {
    i64::from(wire_oid(id))
}

/// The object identifier of an index.
pub fn index_oid(index: &Index) -> i64 {
    let SpaceId(space) = index.space;
    oid(DescriptorId(space))
}

/// The object identifier of a role. The name is all that a role has.
pub fn role_oid(name: &str) -> i64 {
    if name == crate::catalog::ROOT_USER {
        return BOOTSTRAP_ROLE;
    }
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    DERIVED | i64::from(hash >> 2)
}

/// The object identifier of a label of an enumerated type.
pub fn label_oid(made: i64, number: i64) -> i64 {
    let hash = (made.wrapping_mul(0x9e37_79b9) ^ number.wrapping_mul(0x85eb_ca6b)) as u32;
    DERIVED | i64::from(hash >> 2)
}

/// The object identifier of a column's default.
pub fn default_oid(table: &TableDescriptor, column: &Column) -> i64 {
    DERIVED + ((table.identity.id.0 as i64) << CONSTRAINT_BITS) + i64::from(column.id.0)
}

/// The number of a column.
pub fn attnum(column: ColumnId) -> i64 {
    i64::from(column.0)
}

/// The indexes of a table without that of the rows, if nobody declared it.
pub fn shown_indexes(table: &TableDescriptor) -> impl Iterator<Item = &Index> {
    declared_primary(table).into_iter().chain(&table.indexes)
}

/// The primary key, if somebody declared one.
pub fn declared_primary(table: &TableDescriptor) -> Option<&Index> {
    let hidden = |part: &crate::catalog::IndexColumn| table.column(part.column).is_some_and(|column| column.hidden);
    Some(&table.primary).filter(|primary| !primary.columns.iter().any(hidden))
}

/// The constraints of a table.
pub fn constraints(table: &TableDescriptor) -> Vec<Constraint<'_>> {
    let primary = declared_primary(table).map(|index| (index.name.as_str(), Rule::Primary(index)));
    let unique = table.indexes.iter().filter(|index| table.is_key(index));
    let unique = unique.map(|index| (index.name.as_str(), Rule::Unique(index)));
    let foreign = table.foreign_keys.iter().map(|key| (key.name.as_str(), Rule::Foreign(key)));
    let checks = table.checks.iter().map(|check| (check.name.as_str(), Rule::Check(check)));
    let all = primary.into_iter().chain(unique).chain(foreign).chain(checks).enumerate();
    let first = DERIVED + ((table.identity.id.0 as i64) << CONSTRAINT_BITS);
    all.map(|(at, (name, rule))| Constraint { oid: first + at as i64, name, rule }).collect()
}

/// The constraint of a table that makes these of its columns a key.
pub fn referenced_key<'a>(table: &'a TableDescriptor, columns: &[ColumnId]) -> Option<Constraint<'a>> {
    constraints(table).into_iter().find(|constraint| match constraint.rule {
        Rule::Primary(index) | Rule::Unique(index) => {
            let is_part = |id: &ColumnId| index.columns.iter().any(|part| part.column == *id);
            index.columns.len() == columns.len() && columns.iter().all(is_part)
        }
        Rule::Foreign(_) | Rule::Check(_) => false,
    })
}
