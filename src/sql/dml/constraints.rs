//! `SET CONSTRAINTS`

use super::super::context::Context;
use super::super::deferred::KeyId;
use super::super::error::{Error, Result, code};
use super::foreign::check_no_longer_deferred;
use crate::catalog::{Checked, Descriptor, TableDescriptor};
use crate::parser::SetConstraints;

/// `SET CONSTRAINTS`: what is no longer to wait is checked at once.
pub async fn set_constraints(context: &Context, set: &SetConstraints) -> Result<()> {
    let deferred = context.deferred_keys();
    if set.names.is_empty() {
        deferred.set_all(set.deferred);
    }
    for name in &set.names {
        for id in keys_named(context, name, set.deferred).await? {
            deferred.set(id, set.deferred);
        }
    }
    if set.deferred { Ok(()) } else { check_no_longer_deferred(context).await }
}

/// The foreign keys with a name in the first schema that has a constraint called so.
async fn keys_named(context: &Context, name: &[String], deferred: bool) -> Result<Vec<KeyId>> {
    let missing = || Error::new(code::UNDEFINED_OBJECT, format!("constraint \"{}\" does not exist", name.join(".")));
    let database = context.current_database().await?.id();
    let (schemas, name) = match name {
        [name] => (context.session().searched_schemas().collect(), name),
        [schema, name] => (vec![context.session().own_schema(schema)], name),
        _ => return Err(missing()),
    };
    for schema in schemas {
        let Some(schema) = context.catalog().lookup(Some(database), None, schema).await? else { continue };
        let (mut is_there, mut found) = (false, Vec::new());
        for object in context.catalog().list(Some(database), Some(schema.id())).await? {
            let Descriptor::Table(table) = &*object else { continue };
            let keys: Vec<_> = table.foreign_keys.iter().filter(|key| key.name == *name).collect();
            let is_other = has_other_constraint(table, name);
            let never_waits = is_other || keys.iter().any(|key| key.checked == Checked::Always);
            if deferred && never_waits {
                let message = format!("constraint \"{name}\" is not deferrable");
                return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
            }
            is_there |= is_other || !keys.is_empty();
            found.extend(keys.into_iter().map(|key| KeyId::of(object.id(), key)));
        }
        if is_there {
            return Ok(found);
        }
    }
    Err(missing())
}

/// Whether a table has a constraint with a name that is not a foreign key.
fn has_other_constraint(table: &TableDescriptor, name: &str) -> bool {
    table.all_indexes().any(|index| table.is_key(index) && index.name == name)
        || table.checks.iter().any(|check| check.name == name)
}
