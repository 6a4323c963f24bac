use std::sync::Arc;

use sqlparser::ast::{
    CheckConstraint, ColumnDef, ColumnOption, ConstraintCharacteristics, ConstraintReferenceMatchKind, CreateTable,
    DeferrableInitial, Expr, ForeignKeyConstraint, GeneratedAs, GeneratedExpressionMode, IndexColumn as SqlIndexColumn,
    IndexOption, NullsDistinctOption, ObjectName, OnCommit as SqlOnCommit, PrimaryKeyConstraint,
    ReferentialAction as SqlAction, SequenceOptions, TableConstraint, UniqueConstraint,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts};
use super::super::query::expression::{self, columns_named, compile, row_schema, unqualify};
use super::super::temporary;
use super::super::types::time_precision;
use super::{
    IndexParts, Key, Outcome, ROW_ID, ROW_ID_DEFAULT, default, default_privileges, enumeration, free_name, generated,
    like, named_column, new_index, parameter, refuse_taken, serial, stored,
};
use crate::catalog::{
    Check, Checked, Column, ColumnId, ColumnType, Descriptor, DescriptorId, ForeignKey, Identity, Index, OnCommit,
    ReferentialAction, TableDescriptor,
};
use crate::kv::{LockMode, SpaceId};
use crate::parser::{InlineIndex, LikeClause, ObjectKind, sql_text, stored_columns};

/// `CREATE TABLE`
pub async fn create(context: &Context, create: &CreateTable, indexes: &[InlineIndex]) -> Result<Outcome> {
    refuse_unsupported(create)?;
    let parts = name_parts(&create.name)?;
    let parts = if create.temporary { temporary::place(context, &parts)? } else { parts };
    let (database, schema, name) = context.place_for(&parts).await?;
    let on_commit = on_commit(create, temporary::holds(context, schema).await?)?;
    context.catalog().lock_name(Some(database), Some(schema), &name).await?;
    if context.catalog().lookup(Some(database), Some(schema), &name).await?.is_some() {
        let message = format!("relation \"{name}\" already exists");
        return match create.if_not_exists {
            true => Ok(Outcome::skipped("CREATE TABLE", message)),
            false => Err(Error::new(code::DUPLICATE_TABLE, message)),
        };
    }
    let id = DescriptorId(context.engine().store().create_space().await?.0);
    let no_index = Index::new("", SpaceId(0), true, Vec::new());
    let identity = Identity::new(id, name, &context.session().user);
    let mut table = TableDescriptor::new(identity, database, schema, no_index);
    table.on_commit = on_commit;
    let mut constraints = create.constraints.clone();
    let mut copied = Vec::new();
    for definition in &create.columns {
        match LikeClause::of_column(&definition.name.value) {
            Some(clause) => like::copy(context, &mut table, &clause, &mut constraints, &mut copied).await?,
            None => add_column(context, &mut table, definition, &mut constraints).await?,
        }
    }
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    generated::settle(context, &mut table, &columns).await?;
    set_primary_key(context, &mut table, &constraints).await?;
    for constraint in &constraints {
        if let TableConstraint::Unique(unique) = constraint {
            refuse_unsupported_unique(unique)?;
            add_unique(context, &mut table, unique).await?;
        }
    }
    for index in indexes {
        let parts = IndexParts { keys: index.columns.clone(), stored: index.storing.clone() };
        let suffix = if index.unique { "key" } else { "idx" };
        let name = index.name.clone().unwrap_or_else(|| free_name(&table, &parts.names(), suffix));
        refuse_taken(&table, &name)?;
        let index = new_index(context, &table, name, index.unique, &parts).await?;
        table.indexes.push(index);
    }
    for constraint in &constraints {
        if let TableConstraint::Check(check) = constraint {
            add_check(context, &mut table, check).await?;
        }
    }
    for constraint in &constraints {
        if let TableConstraint::ForeignKey(key) = constraint {
            add_foreign_key(context, &mut table, key).await?;
        }
    }
    parameter::set(&mut table, parameter::of_create(&create.table_options))?;
    default_privileges::grant(context, ObjectKind::Tables, &[database, schema], &mut table.identity).await?;
    let table = Descriptor::Table(table);
    enumeration::link(context, None, Some(&table)).await?;
    context.catalog().create(&table).await?;
    like::make_indexes(context, &context.whole_name(&parts).await?, copied).await?;
    if on_commit.is_some() {
        context.session().temporary.act_at_commit();
    }
    Ok(Outcome::done("CREATE TABLE"))
}

fn refuse_unsupported(create: &CreateTable) -> Result<()> {
    let refused = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.like.is_some(), "CREATE TABLE ... LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "a partitioned table"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(given, _)| *given) {
        return Err(Error::unsupported(what));
    }
    Ok(())
}

/// What commits are to do with the rows of a new table.
fn on_commit(create: &CreateTable, is_temporary: bool) -> Result<Option<OnCommit>> {
    let on_commit = match create.on_commit {
        None => return Ok(None),
        Some(SqlOnCommit::PreserveRows) => None,
        Some(SqlOnCommit::DeleteRows) => Some(OnCommit::DeleteRows),
        Some(SqlOnCommit::Drop) => Some(OnCommit::Drop),
    };
    if !is_temporary {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(Error::new(code::INVALID_TABLE_DEFINITION, message));
    }
    Ok(on_commit)
}

/// Adds a column; constraints written with it join the table's.
pub async fn add_column(
    context: &Context,
    table: &mut TableDescriptor,
    definition: &ColumnDef,
    constraints: &mut Vec<TableConstraint>,
) -> Result<()> {
    let ident = &definition.name;
    let name = folded(ident);
    if table.column_named(&name).is_some() {
        return Err(Error::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
    }
    let serial = serial::numbers_of(&definition.data_type);
    // Options of the sequence it takes its numbers from, if it does.
    let mut numbered: Option<&[SequenceOptions]> = serial.as_ref().map(|_| &[][..]);
    let column_type = match &serial {
        Some(numbers) => numbers.clone(),
        None => context.column_type(&definition.data_type)?,
    };
    let mut column = Column::new(ColumnId(table.next_column), name, column_type);
    column.time_precision = time_precision(&definition.data_type);
    table.next_column += 1;
    let this = || vec![SqlIndexColumn::from(ident.clone())];
    for option in &definition.options {
        let constraint_name = option.name.clone();
        match &option.option {
            ColumnOption::Null => column.nullable = true,
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Default(expression) => {
                let (sql, sequences) = default::normalize(context, table, expression, &column.column_type).await?;
                column.default = Some(sql);
                table.sequences.extend(sequences);
            }
            ColumnOption::PrimaryKey(key) => {
                let mut key = key.clone();
                (key.name, key.columns) = (constraint_name, this());
                constraints.push(TableConstraint::PrimaryKey(key));
            }
            ColumnOption::Unique(unique) => {
                let mut unique = unique.clone();
                (unique.name, unique.columns) = (constraint_name, this());
                constraints.push(TableConstraint::Unique(unique));
            }
            ColumnOption::ForeignKey(key) => {
                let mut key = key.clone();
                (key.name, key.columns) = (constraint_name, vec![ident.clone()]);
                constraints.push(TableConstraint::ForeignKey(key));
            }
            ColumnOption::Check(check) => {
                let check = CheckConstraint { name: constraint_name, ..check.clone() };
                constraints.push(TableConstraint::Check(check));
            }
            ColumnOption::Generated {
                generated_as: generated_as @ (GeneratedAs::Always | GeneratedAs::ByDefault),
                sequence_options,
                generation_expr: None,
                ..
            } => {
                column.identity = Some(serial::identity_of(Some(*generated_as)));
                numbered = Some(sequence_options.as_deref().unwrap_or_default());
            }
            ColumnOption::Generated {
                generation_expr: Some(expression),
                generation_expr_mode: Some(GeneratedExpressionMode::Stored),
                ..
            } => column.generated = Some(sql_text(expression)),
            other => return Err(Error::unsupported(format!("column option {other}"))),
        }
    }
    if column.generated.is_some() && (column.default.is_some() || numbered.is_some()) {
        let both = if numbered.is_some() { "identity" } else { "default" };
        let message = format!(
            "both {both} and generation expression specified for column \"{}\" of table \"{}\"",
            column.name, table.identity.name
        );
        return Err(Error::new(code::SYNTAX_ERROR, message));
    }
    if let Some(options) = numbered {
        serial::give_sequence(context, table, &mut column, options).await?;
    }
    table.columns.push(column);
    Ok(())
}

async fn set_primary_key(
    context: &Context,
    table: &mut TableDescriptor,
    constraints: &[TableConstraint],
) -> Result<()> {
    let mut keys = constraints.iter().filter_map(|constraint| match constraint {
        TableConstraint::PrimaryKey(key) => Some(key),
        _ => None,
    });
    let first = keys.next();
    if keys.next().is_some() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", table.identity.name);
        return Err(Error::new(code::INVALID_TABLE_DEFINITION, message));
    }
    let Some(key) = first else { return add_row_id(context, table).await };
    refuse_deferrable(key.characteristics.as_ref())?;
    make_primary(context, table, key).await
}

/// Makes columns the primary key, over a new space.
pub async fn make_primary(context: &Context, table: &mut TableDescriptor, key: &PrimaryKeyConstraint) -> Result<()> {
    let parts = parts_of(&key.columns, &key.index_options)?;
    let name = key.name.as_ref().map_or_else(|| free_name(table, &[], "pkey"), folded);
    for (column, _) in &parts.keys {
        let id = named_column(table, column)?;
        if let Some(column) = table.columns.iter_mut().find(|column| column.id == id) {
            column.nullable = false;
        }
    }
    table.primary = new_index(context, table, name, true, &parts).await?;
    Ok(())
}

/// Gives a table without a primary key a hidden one.
pub async fn add_row_id(context: &Context, table: &mut TableDescriptor) -> Result<()> {
    if table.column_named(ROW_ID).is_some() {
        let message = format!("a table with a column \"{ROW_ID}\" needs a primary key of its own");
        return Err(Error::new(code::INVALID_TABLE_DEFINITION, message));
    }
    let column = Column {
        nullable: false,
        default: Some(ROW_ID_DEFAULT.into()),
        hidden: true,
        ..Column::new(ColumnId(table.next_column), ROW_ID, ColumnType::Int8)
    };
    table.next_column += 1;
    table.columns.push(column);
    let name = free_name(table, &[], "pkey");
    let parts = IndexParts { keys: vec![(ROW_ID.into(), false)], stored: Vec::new() };
    table.primary = new_index(context, table, name, true, &parts).await?;
    Ok(())
}

/// The columns of a constraint's index.
fn parts_of(columns: &[SqlIndexColumn], options: &[IndexOption]) -> Result<IndexParts> {
    let stored = stored_columns(options).ok_or_else(|| Error::unsupported("an option of the index of a constraint"))?;
    Ok(IndexParts { keys: keys_of(columns)?, stored })
}

/// The columns of an index or key, which must be plain columns.
pub fn keys_of(columns: &[SqlIndexColumn]) -> Result<Vec<Key>> {
    let key = |column: &SqlIndexColumn| {
        let Expr::Identifier(ident) = &column.column.expr else {
            return Err(Error::unsupported("an index on an expression"));
        };
        if let Some(class) = &column.operator_class
            && !orders_as_always(class)
        {
            return Err(Error::unsupported(format!("the operator class {class}")));
        }
        if let Some(first) = column.column.options.nulls_first
            && first != (column.column.options.asc == Some(false))
        {
            return Err(Error::unsupported("NULLS FIRST or LAST in an index, other than NULLs as the greatest values"));
        }
        let name = folded(ident);
        Ok((name, column.column.options.asc == Some(false)))
    };
    columns.iter().map(key).collect()
}

/// Whether an operator class orders values as every index does; text is ordered by its bytes.
fn orders_as_always(class: &ObjectName) -> bool {
    const CLASSES: [&str; 13] = [
        "text_pattern_ops",
        "varchar_pattern_ops",
        "bpchar_pattern_ops",
        "text_ops",
        "varchar_ops",
        "int2_ops",
        "int4_ops",
        "int8_ops",
        "numeric_ops",
        "uuid_ops",
        "date_ops",
        "timestamp_ops",
        "timestamptz_ops",
    ];
    name_parts(class).is_ok_and(|parts| parts.last().is_some_and(|name| CLASSES.contains(&name.as_str())))
}

/// When a constraint is checked, as it was written.
fn checked(characteristics: Option<&ConstraintCharacteristics>) -> Result<Checked> {
    let Some(given) = characteristics else { return Ok(Checked::Always) };
    if given.enforced == Some(false) {
        return Err(Error::unsupported("a constraint that is not enforced"));
    }
    match (given.deferrable, given.initially) {
        (Some(false), Some(DeferrableInitial::Deferred)) => {
            Err(Error::new(code::SYNTAX_ERROR, "constraint declared INITIALLY DEFERRED must be DEFERRABLE"))
        }
        (_, Some(DeferrableInitial::Deferred)) => Ok(Checked::Deferred),
        (Some(true), _) => Ok(Checked::Immediate),
        (Some(false) | None, _) => Ok(Checked::Always),
    }
}

/// Refuses a constraint, other than a foreign key, that is to wait.
pub fn refuse_deferrable(characteristics: Option<&ConstraintCharacteristics>) -> Result<()> {
    match checked(characteristics)? {
        Checked::Always => Ok(()),
        Checked::Immediate | Checked::Deferred => {
            Err(Error::unsupported("a deferrable constraint other than a foreign key"))
        }
    }
}

/// Refuses what a unique constraint may not be.
pub fn refuse_unsupported_unique(unique: &UniqueConstraint) -> Result<()> {
    if unique.nulls_distinct == NullsDistinctOption::NotDistinct {
        return Err(Error::unsupported("NULLS NOT DISTINCT"));
    }
    refuse_deferrable(unique.characteristics.as_ref())
}

/// Adds a unique index over a new space; its entries are the caller's to build.
pub async fn add_unique(context: &Context, table: &mut TableDescriptor, unique: &UniqueConstraint) -> Result<()> {
    let parts = parts_of(&unique.columns, &unique.index_options)?;
    let name = unique.name.as_ref().map_or_else(|| free_name(table, &parts.names(), "key"), folded);
    refuse_taken(table, &name)?;
    let index = new_index(context, table, name, true, &parts).await?;
    table.indexes.push(index);
    Ok(())
}

/// Adds a check constraint.
pub async fn add_check(context: &Context, table: &mut TableDescriptor, check: &CheckConstraint) -> Result<()> {
    let mut condition = (*check.expr).clone();
    unqualify(&mut condition, &table.identity.name);
    stored::settle(context, table.database, &mut condition).await?;
    let condition = sql_text(&condition);
    let compiled = compile(context, expression::parse(&condition)?, &row_schema(table))?;
    if compiled.column_type != ColumnType::Bool {
        return Err(Error::new(code::DATATYPE_MISMATCH, "the condition of a CHECK must be boolean"));
    }
    let named = columns_named(&condition);
    let of_one: Vec<String> = if named.len() == 1 { named.into_iter().collect() } else { Vec::new() };
    let name = check.name.as_ref().map_or_else(|| free_name(table, &of_one, "check"), folded);
    refuse_taken(table, &name)?;
    table.checks.push(Check { name, condition });
    Ok(())
}

/// Adds a foreign key, and notes it in the table it refers to.
pub async fn add_foreign_key(context: &Context, table: &mut TableDescriptor, key: &ForeignKeyConstraint) -> Result<()> {
    let checked = checked(key.characteristics.as_ref())?;
    if !matches!(key.match_kind, None | Some(ConstraintReferenceMatchKind::Simple)) {
        return Err(Error::unsupported("MATCH FULL or PARTIAL in a foreign key"));
    }
    let parts = name_parts(&key.foreign_table)?;
    let is_self = parts.last() == Some(&table.identity.name) && context.find_object(&parts).await?.is_none();
    let other = if is_self { Arc::new(table.clone()) } else { super::super::dml::table_named(context, &parts).await? };
    super::refuse_system(other.identity.id)?;
    if other.database != table.database {
        return Err(Error::unsupported("a foreign key to another database"));
    }
    refuse_other_lifetime(context, table, &other).await?;
    let names: Vec<String> = key.columns.iter().map(folded).collect();
    let columns = names.iter().map(|name| named_column(table, name)).collect::<Result<Vec<_>>>()?;
    let referenced: Vec<ColumnId> = if key.referred_columns.is_empty() {
        other.primary.columns.iter().map(|part| part.column).collect()
    } else {
        key.referred_columns.iter().map(|ident| named_column(&other, &folded(ident))).collect::<Result<_>>()?
    };
    if referenced.len() != columns.len() {
        return Err(Error::new(
            code::INVALID_FOREIGN_KEY,
            "number of referencing and referenced columns for foreign key disagree",
        ));
    }
    let is_unique = |index: &Index| {
        let same = index.columns.len() == referenced.len() && super::super::dml::starts_with(index, &referenced);
        other.is_key(index) && same
    };
    if !other.all_indexes().any(is_unique) {
        let message = format!(
            "there is no unique constraint matching given keys for referenced table \"{}\"",
            other.identity.name
        );
        return Err(Error::new(code::INVALID_FOREIGN_KEY, message));
    }
    for (from, to) in columns.iter().zip(&referenced) {
        refuse_incomparable(&super::column_type(table, *from), &super::column_type(&other, *to))?;
    }
    let name = match &key.name {
        Some(name) => folded(name),
        None => free_name(table, &names, "fkey"),
    };
    refuse_taken(table, &name)?;
    let (on_delete, on_update) = (action(key.on_delete.as_ref()), action(key.on_update.as_ref()));
    let is_computed = |id: &ColumnId| table.column(*id).is_some_and(|column| column.generated.is_some());
    if columns.iter().any(is_computed) {
        use ReferentialAction::{Cascade, SetDefault, SetNull};
        // Their values follow from the others, and from nothing else.
        let sets = [
            ("UPDATE", matches!(on_update, Cascade | SetNull | SetDefault)),
            ("DELETE", matches!(on_delete, SetNull | SetDefault)),
        ];
        if let Some((on, _)) = sets.into_iter().find(|(_, sets)| *sets) {
            let message = format!("invalid ON {on} action for foreign key constraint containing generated column");
            return Err(Error::new(code::SYNTAX_ERROR, message));
        }
    }
    table.foreign_keys.push(ForeignKey {
        name,
        columns,
        referenced_table: other.identity.id,
        referenced_columns: referenced,
        on_delete,
        on_update,
        checked,
    });
    if is_self || other.identity.id == table.identity.id {
        if !table.referenced_by.contains(&table.identity.id) {
            table.referenced_by.push(table.identity.id);
        }
    } else if !other.referenced_by.contains(&table.identity.id) {
        context.catalog().lock(other.identity.id, LockMode::Exclusive).await?;
        let mut other = (*super::super::dml::table_named(context, &parts).await?).clone();
        other.referenced_by.push(table.identity.id);
        context.catalog().write(&Descriptor::Table(other))?;
    }
    Ok(())
}

/// Fails if one of two tables with a foreign key is temporary and the other is not.
async fn refuse_other_lifetime(context: &Context, table: &TableDescriptor, other: &TableDescriptor) -> Result<()> {
    if table.schema == other.schema {
        return Ok(());
    }
    let kind = match (temporary::holds(context, table.schema).await?, temporary::holds(context, other.schema).await?) {
        (true, false) => "temporary",
        (false, true) => "permanent",
        _ => return Ok(()),
    };
    let message = format!("constraints on {kind} tables may reference only {kind} tables");
    Err(Error::new(code::INVALID_TABLE_DEFINITION, message))
}

/// Fails if a foreign key cannot compare values of two types.
pub fn refuse_incomparable(from: &ColumnType, to: &ColumnType) -> Result<()> {
    // Whole numbers of any width are the same in a key.
    if from == to || (from.is_character() && to.is_character()) || (from.is_integer() && to.is_integer()) {
        return Ok(());
    }
    let message = format!("foreign key columns have different types: {from} and {to}");
    Err(Error::new(code::DATATYPE_MISMATCH, message))
}

fn action(action: Option<&SqlAction>) -> ReferentialAction {
    match action {
        None | Some(SqlAction::NoAction) => ReferentialAction::NoAction,
        Some(SqlAction::Restrict) => ReferentialAction::Restrict,
        Some(SqlAction::Cascade) => ReferentialAction::Cascade,
        Some(SqlAction::SetNull) => ReferentialAction::SetNull,
        Some(SqlAction::SetDefault) => ReferentialAction::SetDefault,
    }
}
