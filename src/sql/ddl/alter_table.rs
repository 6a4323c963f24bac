use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::TryStreamExt;
use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DropBehavior, Query, RenameTableNameKind, Select,
    SelectItem, TableConstraint, Visit, Visitor,
};

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::expression::{self, compile, row_schema, value_for};
use super::super::query::mentions;
use super::alter_column::alter_column;
use super::build::{self, Computed, contains_null};
use super::create_table::{
    add_check, add_column, add_foreign_key, add_row_id, add_unique, make_primary, refuse_deferrable,
    refuse_unsupported_unique,
};
use super::default::is_volatile;
use super::drop::drop_from_defaults;
use super::serial::owned_sequences;
use super::{ROW_ID_DEFAULT, enumeration, generated, locked_table, named_column, owner, parameter};
use crate::catalog::row::RowWriter;
use crate::catalog::{
    Check, ColumnId, ColumnType, Datum, Descriptor, ForeignKey, IndexColumn, TableDescriptor, decode_row,
};
use crate::kv::{Direction, LockMode, Span};
use crate::parser::{quote_ident_in_sql, sql_text};

/// `ALTER TABLE`
pub async fn alter(context: &Context, alter: &AlterTable) -> Result<()> {
    let parts = name_parts(&alter.name)?;
    let found = context.find_object(&parts).await?;
    if found.is_none() && alter.if_exists {
        return Ok(());
    }
    // As in PostgreSQL, it does for views and sequences, too.
    if let (Some(found), [AlterTableOperation::OwnerTo { new_owner }]) = (&found, &alter.operations[..])
        && matches!(**found, Descriptor::View(_) | Descriptor::Sequence(_))
    {
        return owner::give(context, found.id(), &owner::named(context, new_owner).await?).await;
    }
    // What goes, goes first, as in PostgreSQL.
    let goes = |operation: &&AlterTableOperation| {
        matches!(
            operation,
            AlterTableOperation::DropConstraint { .. }
                | AlterTableOperation::AlterColumn {
                    op: AlterColumnOperation::DropDefault | AlterColumnOperation::DropNotNull,
                    ..
                }
        )
    };
    let (first, then): (Vec<_>, Vec<_>) = alter.operations.iter().partition(goes);
    let mut retyped = HashSet::new();
    for operation in first.into_iter().chain(then) {
        if let AlterTableOperation::AlterColumn { column_name, op: AlterColumnOperation::SetDataType { using, .. } } =
            operation
        {
            let named = using.as_ref().map_or_else(HashSet::new, |using| expression::columns_named(&sql_text(using)));
            if named.intersection(&retyped).next().is_some() {
                return Err(Error::unsupported("USING that names a column whose type changes in the same statement")
                    .hint("Use one ALTER TABLE after the other."));
            }
            retyped.insert(folded(column_name));
        }
        let table = locked_table(context, &parts).await?;
        let before = Descriptor::Table(table.clone());
        apply(context, table, operation).await?;
        let after = context.catalog().get(before.id()).await?;
        enumeration::link(context, Some(&before), Some(&after)).await?;
    }
    Ok(())
}

async fn apply(context: &Context, mut table: TableDescriptor, operation: &AlterTableOperation) -> Result<()> {
    match operation {
        AlterTableOperation::AddConstraint { constraint, not_valid: false } => {
            return add_constraint(context, table, constraint).await;
        }
        AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
            if *if_not_exists && table.column_named(&folded(&column_def.name)).is_some() {
                return Ok(());
            }
            return add_filled_column(context, table, column_def).await;
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade = *drop_behavior == Some(DropBehavior::Cascade);
            for name in column_names {
                let name = folded(name);
                if *if_exists && table.column_named(&name).is_none() {
                    continue;
                }
                let computed = generated::computed_from(&table, &name).into_iter().filter(|column| !column.hidden);
                let computed: Vec<String> = computed.map(|column| column.name.clone()).collect();
                if let Some(other) = computed.first().filter(|_| !cascade) {
                    let of = format!("of table {}", table.identity.name);
                    let message = format!("cannot drop column {name} {of} because other objects depend on it");
                    return Err(Error::new(code::DEPENDENT_OBJECTS, message)
                        .detail(format!("column {other} {of} depends on column {name} {of}"))
                        .hint("Use DROP ... CASCADE to drop the dependent objects too."));
                }
                for name in computed.iter().chain([&name]) {
                    drop_column(context, &mut table, name).await?;
                }
            }
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            refuse_views_of(context, &table, &folded(old_column_name), false).await?;
            // What a view says without a table in front could come to mean this column.
            refuse_views_of(context, &table, &folded(new_column_name), false).await?;
            rename_column(&mut table, &folded(old_column_name), folded(new_column_name))?;
        }
        AlterTableOperation::RenameTable {
            table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name),
        } => {
            refuse_views(&table)?;
            let before = Descriptor::Table(table.clone());
            table.identity.name = name_parts(name)?.pop().unwrap_or_default();
            return Ok(context.catalog().rename(&before, &Descriptor::Table(table)).await?);
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column(context, &mut table, &folded(column_name), op).await?;
        }
        AlterTableOperation::DropConstraint { name, if_exists, .. } => {
            let dropped = drop_constraint(context, &mut table, &folded(name)).await?;
            if !dropped && !if_exists {
                let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.identity.name);
                return Err(Error::new(code::UNDEFINED_OBJECT, message));
            }
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            let (old, new) = (folded(old_name), folded(new_name));
            if !rename_in_table(&mut table, &old, &new, true)? {
                let message = format!("constraint \"{old}\" for table \"{}\" does not exist", table.identity.name);
                return Err(Error::new(code::UNDEFINED_OBJECT, message));
            }
        }
        AlterTableOperation::OwnerTo { new_owner } => {
            let owner = owner::named(context, new_owner).await?;
            return owner::give(context, table.identity.id, &owner).await;
        }
        AlterTableOperation::SetOptionsParens { options } => parameter::set(&mut table, options)?,
        other => return Err(Error::unsupported(format!("ALTER TABLE ... {other}"))),
    }
    Ok(context.catalog().write(&Descriptor::Table(table))?)
}

/// Gives a constraint or an index of a table another name; whether there is one called so.
pub fn rename_in_table(table: &mut TableDescriptor, old: &str, new: &str, constraints_only: bool) -> Result<bool> {
    if old != new {
        super::refuse_taken(table, new)?;
    }
    let indexes = std::iter::once(&mut table.primary).chain(&mut table.indexes);
    let mut names: Vec<&mut String> =
        indexes.filter(|index| index.unique || !constraints_only).map(|index| &mut index.name).collect();
    if constraints_only {
        names.extend(table.checks.iter_mut().map(|check| &mut check.name));
        names.extend(table.foreign_keys.iter_mut().map(|key| &mut key.name));
    }
    let Some(name) = names.into_iter().find(|name| *name == old) else { return Ok(false) };
    *name = new.into();
    Ok(true)
}

/// Fails if a view reads the table.
pub fn refuse_views(table: &TableDescriptor) -> Result<()> {
    if table.views.is_empty() {
        return Ok(());
    }
    let message = format!("cannot change table {} because a view reads it", table.identity.name);
    Err(Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop the view first, and create it again after."))
}

/// Fails if a view may read a column: its query has the name, whatever for, or shows all columns, if that counts.
pub async fn refuse_views_of(context: &Context, table: &TableDescriptor, column: &str, all_counts: bool) -> Result<()> {
    for id in &table.views {
        let found = context.catalog().get(*id).await?;
        let Descriptor::View(view) = &*found else { continue };
        let query = super::super::parse_query(&view.query)?;
        // What joins by name does not say it as an expression.
        let joins_by_name = [" USING(", " USING (", "NATURAL "].iter().any(|word| view.query.contains(word));
        if mentions(&query, column) || joins_by_name || (all_counts && shows_all(&query)) {
            let message =
                format!("cannot change column {column} of table {} because a view reads it", table.identity.name);
            return Err(Error::new(code::DEPENDENT_OBJECTS, message)
                .detail(format!("view {} depends on it.", found.name()))
                .hint("Drop the view first, and create it again after."));
        }
    }
    Ok(())
}

/// Whether a query has a `*`.
fn shows_all(query: &Query) -> bool {
    struct All;
    impl Visitor for All {
        type Break = ();
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            let is_all =
                |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            if select.projection.iter().any(is_all) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    query.visit(&mut All).is_break()
}

async fn add_constraint(context: &Context, mut table: TableDescriptor, constraint: &TableConstraint) -> Result<()> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            refuse_deferrable(key.characteristics.as_ref())?;
            let old = table.clone();
            let is_hidden =
                old.primary.columns.iter().any(|part| old.column(part.column).is_some_and(|column| column.hidden));
            if !is_hidden {
                let message = format!("multiple primary keys for table \"{}\" are not allowed", old.identity.name);
                return Err(Error::new(code::INVALID_TABLE_DEFINITION, message));
            }
            table.columns.retain(|column| !column.hidden || column.generated.is_some());
            table.primary.name = String::new();
            make_primary(context, &mut table, key).await?;
            build::rebuild(context, &old, &mut table, &[]).await?;
        }
        TableConstraint::Unique(unique) => {
            refuse_unsupported_unique(unique)?;
            add_unique(context, &mut table, unique).await?;
            build::build_indexes(context, &table, &[table.indexes.len() - 1]).await?;
        }
        TableConstraint::Check(check) => {
            add_check(context, &mut table, check).await?;
            if let Some(check) = table.checks.last() {
                check_existing(context, &table, check).await?;
            }
        }
        TableConstraint::ForeignKey(key) => {
            add_foreign_key(context, &mut table, key).await?;
            references_exist(context, &table, table.foreign_keys.last()).await?;
        }
        other => return Err(Error::unsupported(format!("ALTER TABLE ... ADD {other}"))),
    }
    Ok(context.catalog().write(&Descriptor::Table(table))?)
}

/// Runs `visit` over all rows of a table, some at a time.
pub async fn for_each_rows(
    context: &Context,
    table: &TableDescriptor,
    mut visit: impl FnMut(Vec<Vec<Datum<'static>>>) -> Result<()> + Send,
) -> Result<()> {
    let mut stored = context.txn().scan(Span::all(table.primary.space), Direction::Forward, None);
    while let Some(batch) = stored.try_next().await? {
        let live = batch.iter().filter_map(|entry| Some((entry.key, entry.value?)));
        let rows = live.map(|(key, value)| decode_row(table, key, value)).collect::<Result<Vec<_>, _>>()?;
        visit(rows)?;
    }
    Ok(())
}

/// Fails if a row breaks a check.
pub async fn check_existing(context: &Context, table: &TableDescriptor, check: &Check) -> Result<()> {
    let schema = row_schema(table);
    let compiled = compile(context, expression::parse(&check.condition)?, &schema)?;
    let types: Vec<ColumnType> = table.columns.iter().map(|column| column.column_type.clone()).collect();
    for_each_rows(context, table, |rows| {
        if compiled.first_false(&batch_of_rows(&schema, &types, &rows)?)?.is_some() {
            let message = format!(
                "check constraint \"{}\" of relation \"{}\" is violated by some row",
                check.name, table.identity.name
            );
            return Err(Error::new(code::CHECK_VIOLATION, message).table(table).constraint(&check.name));
        }
        Ok(())
    })
    .await
}

/// Fails if a row refers to nothing by one of these keys.
pub async fn references_exist<'a>(
    context: &Context,
    table: &TableDescriptor,
    keys: impl IntoIterator<Item = &'a ForeignKey>,
) -> Result<()> {
    // The writer's own check, over every row as if it were being added.
    let mut new = table.clone();
    new.foreign_keys = keys.into_iter().cloned().collect();
    let mut keys = super::super::dml::ForeignKeys::new(context, &Arc::new(new)).await?;
    for_each_rows(context, table, |rows| rows.iter().try_for_each(|row| keys.added(row))).await?;
    keys.check_at_once(context).await
}

async fn is_empty(context: &Context, table: &TableDescriptor) -> Result<bool> {
    let mut rows = context.txn().scan(Span::all(table.primary.space), Direction::Forward, Some(1));
    Ok(rows.try_next().await?.is_none())
}

async fn add_filled_column(context: &Context, mut table: TableDescriptor, definition: &ColumnDef) -> Result<()> {
    let old = table.clone();
    let mut constraints = Vec::new();
    add_column(context, &mut table, definition, &mut constraints).await?;
    let position = table.columns.len() - 1;
    generated::settle(context, &mut table, &[position]).await?;
    let mut has_values = is_empty(context, &table).await?;
    if !has_values && table.columns[position].generated.is_some() {
        let computed = generated::computed(context, &old, &table).await?;
        build::rebuild(context, &old, &mut table, &computed).await?;
        has_values = true;
    }
    // Rows that come later have a value of their own.
    if !has_values && let Some(default) = table.columns[position].default.clone() {
        let value = expression::parse(&default)?;
        if is_volatile(&default) {
            // It names sequences as they are called in the table's own database.
            let context = &context.inside_database(table.database).await?;
            let value = compile(context, value, &row_schema(&old))?;
            build::rebuild(context, &old, &mut table, &[Computed { position, value }]).await?;
            has_values = true;
        } else {
            let column = &table.columns[position];
            let value = column.kept(value_for(context, &value, &column.column_type)?);
            if !value.is_null() {
                let mut writer = RowWriter::default();
                writer.push(table.columns[position].id, &value);
                let encoded = writer.finish().iter().map(|byte| format!("{byte:02x}")).collect();
                table.columns[position].missing = Some(encoded);
                has_values = true;
            }
        }
    }
    let column = &table.columns[position];
    if !column.nullable && !has_values {
        return Err(contains_null(&table, &column.name));
    }
    context.catalog().write(&Descriptor::Table(table.clone()))?;
    for constraint in &constraints {
        let Descriptor::Table(current) = &*context.catalog().get(table.identity.id).await? else { continue };
        add_constraint(context, current.clone(), constraint).await?;
    }
    Ok(())
}

/// Drops a column, and the indexes that it is in.
pub async fn drop_column(context: &Context, table: &mut TableDescriptor, name: &str) -> Result<()> {
    let id = named_column(table, name)?;
    if table.column(id).is_some_and(|column| column.hidden) {
        let message = format!("column \"{name}\" is hidden: it is keepsafe's own");
        return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
    }
    refuse_views_of(context, table, name, true).await?;
    if table.in_primary_key(id) {
        // It goes with its columns, as other constraints do.
        let key = table.primary.name.clone();
        drop_constraint(context, table, &key).await?;
    }
    let referred_to = |key: &ForeignKey| {
        key.referenced_table == table.identity.id && key.referenced_columns.contains(&id) && !key.columns.contains(&id)
    };
    let in_key = table.foreign_keys.iter().any(referred_to);
    for index in table.indexes.iter().filter(|index| index.all_columns().any(|column| column == id)) {
        super::drop::refuse_needed_index(context, table, index).await?;
    }
    if in_key {
        let message = format!("cannot drop column {name} because a constraint depends on it");
        return Err(Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop the constraint first."));
    }
    // Constraints of the table that involve the column go with it.
    table.checks.retain(|check| !expression::columns_named(&check.condition).contains(name));
    let keys = table.foreign_keys.iter().filter(|key| key.columns.contains(&id)).map(|key| key.name.clone());
    for key in keys.collect::<Vec<_>>() {
        drop_constraint(context, table, &key).await?;
    }
    let hidden: HashSet<ColumnId> =
        generated::computed_from(table, name).iter().filter(|column| column.hidden).map(|column| column.id).collect();
    let (dropped, kept) = table
        .indexes
        .drain(..)
        .partition(|index| index.all_columns().any(|column| column == id || hidden.contains(&column)));
    table.indexes = kept;
    // The rows have it whether the key says so or not.
    table.primary.stored.retain(|stored| *stored != id);
    let dropped: Vec<crate::catalog::Index> = dropped;
    for index in dropped {
        context.catalog().drop_space(table, index.space)?;
    }
    drop_sequences_of(context, table, id).await?;
    table.columns.retain(|column| column.id != id);
    generated::drop_unused(table);
    Ok(())
}

/// Drops the sequences that belong to a column, whose default may use them.
pub async fn drop_sequences_of(context: &Context, table: &mut TableDescriptor, id: ColumnId) -> Result<()> {
    let name = table.column(id).map_or_else(String::new, |column| column.name.clone());
    for sequence in owned_sequences(context, table, Some(id)).await? {
        table.sequences.retain(|used| *used != sequence);
        let found = context.catalog().get(sequence).await?;
        if let Descriptor::Sequence(sequence) = &*found
            && !sequence.views.is_empty()
        {
            let message = format!("cannot drop column {name} because a view reads sequence {}", found.name());
            return Err(Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop the view first."));
        }
        let uses = |default: &String| default.contains(&format!(".{}'", quote_ident_in_sql(found.name())));
        let others = table.columns.iter().filter(|column| column.id != id);
        if others.filter_map(|column| column.default.as_ref()).any(uses) {
            let message =
                format!("cannot drop column {name} because another default uses its sequence {}", found.name());
            return Err(Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop that default first."));
        }
        drop_from_defaults(context, sequence, &BTreeSet::from([table.identity.id]), false).await?;
        context.catalog().lock(sequence, LockMode::Exclusive).await?;
        context.catalog().remove(&found)?;
    }
    Ok(())
}

fn rename_column(table: &mut TableDescriptor, old: &str, new: String) -> Result<()> {
    let id = named_column(table, old)?;
    if table.column_named(&new).is_some() {
        let message = format!("column \"{new}\" of relation \"{}\" already exists", table.identity.name);
        return Err(Error::new(code::DUPLICATE_COLUMN, message));
    }
    for sql in table.expressions_mut() {
        let mut expression = expression::parse(sql)?;
        expression::rename_column(&mut expression, old, &new);
        *sql = sql_text(&expression);
    }
    if let Some(column) = table.columns.iter_mut().find(|column| column.id == id) {
        column.name = new;
    }
    Ok(())
}

async fn drop_constraint(context: &Context, table: &mut TableDescriptor, name: &str) -> Result<bool> {
    if let Some(at) = table.checks.iter().position(|check| check.name == name) {
        table.checks.remove(at);
        return Ok(true);
    }
    if let Some(at) = table.indexes.iter().position(|index| table.is_key(index) && index.name == name) {
        super::drop::refuse_needed_index(context, table, &table.indexes[at]).await?;
        let index = table.indexes.remove(at);
        context.catalog().drop_space(table, index.space)?;
        return Ok(true);
    }
    let is_shown = |part: &IndexColumn| table.column(part.column).is_some_and(|column| !column.hidden);
    if table.primary.name == name && table.primary.columns.iter().any(is_shown) {
        super::drop::refuse_needed_index(context, table, &table.primary).await?;
        let old = table.clone();
        table.primary.name = String::new();
        add_row_id(context, table).await?;
        let position = table.columns.len() - 1;
        let value = compile(context, expression::parse(ROW_ID_DEFAULT)?, &row_schema(&old))?;
        build::rebuild(context, &old, table, &[Computed { position, value }]).await?;
        return Ok(true);
    }
    let Some(at) = table.foreign_keys.iter().position(|key| key.name == name) else { return Ok(false) };
    let key = table.foreign_keys.remove(at);
    let others = table.foreign_keys.iter().any(|other| other.referenced_table == key.referenced_table);
    if key.referenced_table == table.identity.id && !others {
        let own = table.identity.id;
        table.referenced_by.retain(|id| *id != own);
    } else if !others && let Descriptor::Table(other) = &*context.catalog().get(key.referenced_table).await? {
        context.catalog().lock(other.identity.id, LockMode::Exclusive).await?;
        let mut other = other.clone();
        other.referenced_by.retain(|id| *id != table.identity.id);
        context.catalog().write(&Descriptor::Table(other))?;
    }
    Ok(true)
}
