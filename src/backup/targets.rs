//! From the names in a statement to descriptors, in the catalog or in a backup.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::manifest::TargetSpec;
use super::{Error, Result};
use crate::catalog::{Descriptor, DescriptorId, PUBLIC_SCHEMA, system};
use crate::parser::{TablePattern, Targets};

/// A set of descriptors in which names can be looked up.
pub struct Names {
    by_id: HashMap<DescriptorId, Arc<Descriptor>>,
    by_name: HashMap<(Option<DescriptorId>, Option<DescriptorId>, String), DescriptorId>,
}

/// What a statement names.
pub struct Resolved {
    /// In canonical form.
    pub spec: TargetSpec,
    /// What it names itself, and the types that takes.
    pub roots: Vec<DescriptorId>,
    /// That, with everything inside, and the schemas and databases around it.
    pub all: BTreeSet<DescriptorId>,
}

impl Names {
    /// Over these descriptors.
    pub fn new(descriptors: impl IntoIterator<Item = Arc<Descriptor>>) -> Names {
        let mut names = Names { by_id: HashMap::new(), by_name: HashMap::new() };
        for descriptor in descriptors {
            let (database, schema) = descriptor.parents();
            names.by_name.insert((database, schema, descriptor.name().to_string()), descriptor.id());
            names.by_id.insert(descriptor.id(), descriptor);
        }
        names
    }

    /// The descriptor with an id.
    pub fn get(&self, id: DescriptorId) -> Option<&Arc<Descriptor>> {
        self.by_id.get(&id)
    }

    fn lookup(&self, database: Option<DescriptorId>, schema: Option<DescriptorId>, name: &str) -> Option<DescriptorId> {
        self.by_name.get(&(database, schema, name.to_string())).copied()
    }

    fn children(&self, database: Option<DescriptorId>, schema: Option<DescriptorId>) -> Vec<DescriptorId> {
        let inside = self.by_id.values().filter(|found| found.parents() == (database, schema)).map(|found| found.id());
        let mut inside: Vec<_> = inside.collect();
        inside.sort();
        inside
    }

    /// Resolves the targets of a statement; unqualified names are in `current` database.
    pub fn resolve(&self, targets: &Targets, current: &str) -> Result<Resolved> {
        match targets {
            Targets::Cluster => {
                let user = self.children(None, None).into_iter().filter(|id| id.0 >= system::FIRST_USER_ID);
                let databases: Vec<DescriptorId> = user.collect();
                let all = databases.iter().flat_map(|id| self.inside(*id)).collect();
                Ok(Resolved { spec: TargetSpec::Cluster, roots: databases, all })
            }
            Targets::Databases(names) => {
                let missing = |name: &String| Error::refused("3D000", format!("database \"{name}\" does not exist"));
                let find = |name: &String| self.lookup(None, None, name).ok_or_else(|| missing(name));
                let roots = names.iter().map(find).collect::<Result<Vec<_>>>()?;
                if roots.iter().any(|id| id.0 < system::FIRST_USER_ID) {
                    return Err(Error::refused("0A000", "backing up the system database by name is not supported"));
                }
                let mut names = names.clone();
                names.sort();
                names.dedup();
                let all = roots.iter().flat_map(|id| self.inside(*id)).collect();
                Ok(Resolved { spec: TargetSpec::Databases(names), roots, all })
            }
            Targets::Tables(patterns) => {
                let mut spec = BTreeSet::new();
                let mut roots = BTreeSet::new();
                for pattern in patterns {
                    let (whole, found) = self.pattern(pattern, current)?;
                    let star = if whole.star { ".*" } else { "" };
                    spec.insert(format!("{}{star}", whole.parts.join(".")));
                    roots.extend(found);
                }
                // Tables and views are nothing without their types.
                let types = roots.iter().filter_map(|id| self.get(*id)).flat_map(|found| found.made_types());
                let types: Vec<DescriptorId> = types.collect();
                roots.extend(types);
                let mut all = roots.clone();
                for id in &roots {
                    let parents = self.get(*id).map(|found| found.parents()).unwrap_or_default();
                    all.extend([parents.0, parents.1].into_iter().flatten());
                }
                Ok(Resolved {
                    spec: TargetSpec::Tables(spec.into_iter().collect()),
                    roots: roots.into_iter().collect(),
                    all,
                })
            }
            Targets::SystemUsers => {
                Ok(Resolved { spec: TargetSpec::Tables(Vec::new()), roots: Vec::new(), all: BTreeSet::new() })
            }
        }
    }

    /// A database and everything in it.
    fn inside(&self, database: DescriptorId) -> Vec<DescriptorId> {
        let mut found = vec![database];
        for schema in self.children(Some(database), None) {
            found.push(schema);
            found.extend(self.children(Some(database), Some(schema)));
        }
        found
    }

    /// The same targets, by names that do not depend on the current database.
    pub fn whole(&self, targets: &Targets, current: &str) -> Result<Targets> {
        let Targets::Tables(patterns) = targets else { return Ok(targets.clone()) };
        let whole = patterns.iter().map(|pattern| self.pattern(pattern, current).map(|(whole, _)| whole));
        whole.collect::<Result<_>>().map(Targets::Tables)
    }

    /// What a pattern names, and the pattern with database and schema.
    fn pattern(&self, pattern: &TablePattern, current: &str) -> Result<(TablePattern, Vec<DescriptorId>)> {
        let undefined = || Error::refused("42P01", format!("relation \"{pattern}\" does not exist"));
        let database = |name: &str| self.lookup(None, None, name);
        let schema = |database: DescriptorId, name: &str| self.lookup(Some(database), None, name);
        let in_current = database(current);
        let no_current = || Error::refused("3D000", format!("database \"{current}\" does not exist"));
        let (scope, name) = match (&pattern.parts[..], pattern.star) {
            (parts, true) => (parts, None),
            ([scope @ .., name], false) => (scope, Some(name)),
            ([], false) => return Err(undefined()),
        };
        // One part before the name is a schema of the current database, or else a database.
        let (database, schema) = match scope {
            [] => {
                let database = in_current.ok_or_else(no_current)?;
                (database, schema(database, PUBLIC_SCHEMA))
            }
            [part] => match in_current.and_then(|database| Some((database, schema(database, part)?))) {
                Some((database, schema)) => (database, Some(schema)),
                None => {
                    let database = database(part).ok_or_else(undefined)?;
                    (database, schema(database, PUBLIC_SCHEMA))
                }
            },
            [first, second] => {
                let database = database(first).ok_or_else(undefined)?;
                (database, schema(database, second))
            }
            _ => return Err(undefined()),
        };
        let schema = schema.ok_or_else(undefined)?;
        let name_of = |id: DescriptorId| self.get(id).map_or_else(String::new, |found| found.name().to_string());
        let mut parts = vec![name_of(database), name_of(schema)];
        match name {
            None => Ok((TablePattern { parts, star: true }, self.children(Some(database), Some(schema)))),
            Some(name) => {
                let found = self.lookup(Some(database), Some(schema), name);
                let is_relation =
                    |id: &DescriptorId| !matches!(self.get(*id).map(|found| &**found), Some(Descriptor::Type(_)));
                let found = found.filter(is_relation).ok_or_else(undefined)?;
                parts.push(name.clone());
                Ok((TablePattern { parts, star: false }, vec![found]))
            }
        }
    }
}
