//! Sequences. Whatever changes which numbers come next gives it a new space, so that blocks taken of the old one are nothing to it.

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::query::sequences::{SequenceValue, read, write};
use super::super::temporary;
use super::objects::new_identity;
use super::{Outcome, default_privileges, locked_table, named_column};
use crate::catalog::{ColumnId, ColumnType, Descriptor, DescriptorId, SequenceDescriptor, TableDescriptor};
use crate::kv::LockMode;
use crate::parser::{ObjectKind, SequenceAction, SequenceOptions, SequenceStatement, quote_ident_in_sql};

/// `CREATE SEQUENCE`, `ALTER SEQUENCE`
pub async fn execute(context: &Context, statement: &SequenceStatement) -> Result<Outcome> {
    match &statement.action {
        SequenceAction::Create { temporary, if_not_exists, options } => {
            let temporary_name = temporary.then(|| temporary::place(context, &statement.name)).transpose()?;
            create(context, temporary_name.as_ref().unwrap_or(&statement.name), *if_not_exists, options).await
        }
        SequenceAction::Alter { if_exists, options } => {
            let Some(sequence) = to_alter(context, &statement.name, *if_exists).await? else {
                return Ok(skipped(statement));
            };
            alter(context, sequence, options).await
        }
        SequenceAction::Rename { if_exists, to } => {
            let Some(sequence) = to_alter(context, &statement.name, *if_exists).await? else {
                return Ok(skipped(statement));
            };
            rename(context, sequence, to).await
        }
    }
}

fn skipped(statement: &SequenceStatement) -> Outcome {
    Outcome::skipped("ALTER SEQUENCE", format!("relation \"{}\" does not exist", statement.name.join(".")))
}

/// `CREATE SEQUENCE`
pub async fn create(
    context: &Context,
    parts: &[String],
    if_not_exists: bool,
    options: &SequenceOptions,
) -> Result<Outcome> {
    let (database, schema, name) = context.place_for(parts).await?;
    context.catalog().lock_name(Some(database), Some(schema), &name).await?;
    if context.catalog().lookup(Some(database), Some(schema), &name).await?.is_some() {
        let message = format!("relation \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Outcome::skipped("CREATE SEQUENCE", message)),
            false => Err(Error::new(code::DUPLICATE_TABLE, message)),
        };
    }
    let mut sequence = SequenceDescriptor {
        identity: new_identity(context, &name).await?,
        database,
        schema,
        space: context.engine().store().create_space().await?,
        start: 0,
        increment: 1,
        minimum: 0,
        maximum: 0,
        owned_by: None,
        views: Vec::new(),
    };
    default_privileges::grant(context, ObjectKind::Sequences, &[database, schema], &mut sequence.identity).await?;
    // Everything is to be said anew.
    let new = SequenceOptions {
        minimum: Some(options.minimum.flatten()),
        maximum: Some(options.maximum.flatten()),
        ..options.clone()
    };
    apply(&mut sequence, &new, true)?;
    let value = SequenceValue { last_value: sequence.start, is_called: false };
    write(&**context.txn(), &sequence, value)?;
    context.catalog().create(&Descriptor::Sequence(sequence.clone())).await?;
    if let Some(owner) = &options.owned_by {
        set_owner(context, &mut sequence, owner.as_deref()).await?;
        context.catalog().write(&Descriptor::Sequence(sequence))?;
    }
    Ok(Outcome::done("CREATE SEQUENCE"))
}

async fn to_alter(context: &Context, parts: &[String], if_exists: bool) -> Result<Option<SequenceDescriptor>> {
    if if_exists && context.find_object(parts).await?.is_none() {
        return Ok(None);
    }
    let found = context.object(parts).await?;
    context.catalog().lock(found.id(), LockMode::Exclusive).await?;
    match &*context.object(parts).await? {
        Descriptor::Sequence(sequence) => Ok(Some(sequence.clone())),
        other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", other.name()))),
    }
}

async fn alter(context: &Context, mut sequence: SequenceDescriptor, options: &SequenceOptions) -> Result<Outcome> {
    if let Some(owner) = &options.owned_by {
        set_owner(context, &mut sequence, owner.as_deref()).await?;
    }
    let is_more = SequenceOptions { owned_by: None, ..options.clone() } != SequenceOptions::default();
    if is_more {
        let mut value = read(&**context.txn(), &sequence).await?;
        if let Some(last_value) = context.engine().sequences().give_up(&sequence, value).await {
            value = SequenceValue { last_value, is_called: true };
        }
        // Whoever takes numbers from the old space meanwhile conflicts with this, and then finds it dropped.
        write(&**context.txn(), &sequence, value)?;
        context.catalog().drop_spaces(&Descriptor::Sequence(sequence.clone()))?;
        apply(&mut sequence, options, false)?;
        if let Some(restart) = options.restart {
            value = SequenceValue { last_value: restart.unwrap_or(sequence.start), is_called: false };
        }
        let bounds = sequence.minimum..=sequence.maximum;
        if !bounds.contains(&value.last_value) {
            let (word, what, bound) = match value.last_value < sequence.minimum {
                true => ("less", "MINVALUE", sequence.minimum),
                false => ("greater", "MAXVALUE", sequence.maximum),
            };
            let message = format!("RESTART value ({}) cannot be {word} than {what} ({bound})", value.last_value);
            return Err(Error::new(code::INVALID_PARAMETER, message));
        }
        sequence.space = context.engine().store().create_space().await?;
        write(&**context.txn(), &sequence, value)?;
    }
    context.catalog().write(&Descriptor::Sequence(sequence))?;
    Ok(Outcome::done("ALTER SEQUENCE"))
}

/// Gives the sequences that belong to a column numbers of another type.
pub async fn retype_owned(context: &Context, table: &TableDescriptor, column: ColumnId, to: &ColumnType) -> Result<()> {
    let options = SequenceOptions { data_type: Some(to.to_string().to_lowercase()), ..SequenceOptions::default() };
    alter_owned(context, table, Some(column), &options).await
}

/// Lets the sequences that belong to a table begin again, with `TRUNCATE ... RESTART IDENTITY`.
pub async fn restart_owned(context: &Context, table: &TableDescriptor) -> Result<()> {
    let options = SequenceOptions { restart: Some(None), ..SequenceOptions::default() };
    alter_owned(context, table, None, &options).await
}

/// Changes the sequences that belong to a table, or to one of its columns.
pub async fn alter_owned(
    context: &Context,
    table: &TableDescriptor,
    column: Option<ColumnId>,
    options: &SequenceOptions,
) -> Result<()> {
    for id in super::serial::owned_sequences(context, table, column).await? {
        context.catalog().lock(id, LockMode::Exclusive).await?;
        let found = context.catalog().get(id).await?;
        if let Descriptor::Sequence(sequence) = &*found {
            alter(context, sequence.clone(), options).await?;
        }
    }
    Ok(())
}

async fn rename(context: &Context, sequence: SequenceDescriptor, to: &str) -> Result<Outcome> {
    if !sequence.views.is_empty() {
        let message = format!("cannot rename sequence {} because a view reads it", sequence.identity.name);
        return Err(
            Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop the view first, and create it again after.")
        );
    }
    // Defaults name sequences: they are kept as SQL.
    let users = context.catalog().list_objects(sequence.database).await?;
    let uses = |object: &Descriptor| matches!(object, Descriptor::Table(table) if table.sequences.contains(&sequence.identity.id));
    if let Some(user) = users.iter().find(|object| uses(object)) {
        let message = format!("renaming sequence {}, which table {} uses", sequence.identity.name, user.name());
        return Err(Error::unsupported(message));
    }
    context.catalog().lock_name(Some(sequence.database), Some(sequence.schema), to).await?;
    if context.catalog().lookup(Some(sequence.database), Some(sequence.schema), to).await?.is_some() {
        return Err(Error::new(code::DUPLICATE_TABLE, format!("relation \"{to}\" already exists")));
    }
    let before = Descriptor::Sequence(sequence.clone());
    let mut after = sequence;
    after.identity.name = to.into();
    context.catalog().rename(&before, &Descriptor::Sequence(after)).await?;
    Ok(Outcome::done("ALTER SEQUENCE"))
}

/// Gives a sequence to a column, with which it is dropped, or to none.
async fn set_owner(context: &Context, sequence: &mut SequenceDescriptor, column: Option<&[String]>) -> Result<()> {
    let id = sequence.identity.id;
    let new = match column {
        None => None,
        Some(column) => Some(owner_named(context, sequence, column).await?),
    };
    if sequence.owned_by.map(|(table, _)| table) != new.as_ref().map(|(table, _)| table.identity.id)
        && let Some((old, _)) = sequence.owned_by
    {
        release(context, sequence, old).await?;
    }
    if let Some((table, _)) = &new
        && !table.sequences.contains(&id)
    {
        let mut table = table.clone();
        table.sequences.push(id);
        context.catalog().write(&Descriptor::Table(table))?;
    }
    sequence.owned_by = new.map(|(table, column)| (table.identity.id, column));
    Ok(())
}

async fn owner_named(
    context: &Context,
    sequence: &SequenceDescriptor,
    column: &[String],
) -> Result<(TableDescriptor, ColumnId)> {
    let Some((column, table)) = column.split_last().filter(|(_, table)| !table.is_empty()) else {
        let error = Error::new(code::SYNTAX_ERROR, "invalid OWNED BY option");
        return Err(error.hint("Specify OWNED BY table.column or OWNED BY NONE."));
    };
    let table = locked_table(context, table).await?;
    if (table.database, table.schema) != (sequence.database, sequence.schema) {
        let message = "sequence must be in same schema as table it is linked to";
        return Err(Error::new(code::NOT_IN_PREREQUISITE_STATE, message));
    }
    let column = named_column(&table, column)?;
    Ok((table, column))
}

/// A sequence no longer belongs to a table; the table keeps it among those it uses if a default names it.
async fn release(context: &Context, sequence: &SequenceDescriptor, table: DescriptorId) -> Result<()> {
    context.catalog().lock(table, LockMode::Exclusive).await?;
    let found = context.catalog().find(table).await?;
    let Some(Descriptor::Table(table)) = found.as_deref() else { return Ok(()) };
    let named = format!(".{}'", quote_ident_in_sql(&sequence.identity.name));
    if !table.columns.iter().any(|column| column.default.as_ref().is_some_and(|default| default.contains(&named))) {
        let mut table = table.clone();
        table.sequences.retain(|used| *used != sequence.identity.id);
        context.catalog().write(&Descriptor::Table(table))?;
    }
    Ok(())
}

/// Changes what a sequence is like, as far as it is said.
fn apply(sequence: &mut SequenceDescriptor, options: &SequenceOptions, is_new: bool) -> Result<()> {
    let invalid = |message: String| Err(Error::new(code::INVALID_PARAMETER, message));
    if options.cycle == Some(true) {
        return Err(Error::unsupported("a cycling sequence"));
    }
    // How many numbers a session keeps ahead is the server's business here.
    if options.cache.is_some_and(|cache| cache < 1) {
        return invalid("CACHE must be greater than zero".into());
    }
    let limits = match options.data_type.as_deref() {
        None | Some("bigint" | "int8") => (i64::MIN, i64::MAX),
        Some("integer" | "int" | "int4") => (i32::MIN.into(), i32::MAX.into()),
        Some("smallint" | "int2") => (i16::MIN.into(), i16::MAX.into()),
        Some(_) => return invalid("sequence type must be smallint, integer, or bigint".into()),
    };
    sequence.increment = options.increment.unwrap_or(sequence.increment);
    if sequence.increment == 0 {
        return invalid("INCREMENT must not be zero".into());
    }
    let (least, greatest) = if sequence.increment > 0 { (1, limits.1) } else { (limits.0, -1) };
    // A type that is given anew takes bounds along that were those of the old one.
    let types = [i64::from(i16::MIN), i32::MIN.into(), i64::MIN, i16::MAX.into(), i32::MAX.into(), i64::MAX];
    let of_type = |bound: i64| options.data_type.is_some() && types.contains(&bound);
    sequence.minimum = match options.minimum {
        Some(minimum) => minimum.unwrap_or(least),
        None if of_type(sequence.minimum) => least,
        None => sequence.minimum,
    };
    sequence.maximum = match options.maximum {
        Some(maximum) => maximum.unwrap_or(greatest),
        None if of_type(sequence.maximum) => greatest,
        None => sequence.maximum,
    };
    let first = if sequence.increment > 0 { sequence.minimum } else { sequence.maximum };
    sequence.start = options.start.unwrap_or(if is_new { first } else { sequence.start });
    let (minimum, maximum, start) = (sequence.minimum, sequence.maximum, sequence.start);
    if minimum >= maximum || !(minimum..=maximum).contains(&start) || minimum < limits.0 || maximum > limits.1 {
        return invalid(format!(
            "MINVALUE ({minimum}), START ({start}) and MAXVALUE ({maximum}) must ascend within the type"
        ));
    }
    Ok(())
}
