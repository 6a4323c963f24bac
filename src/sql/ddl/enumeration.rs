//! `CREATE TYPE ... AS ENUM` and `ALTER TYPE`, and what tables and views have of a type.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType as SqlType, Expr, ObjectName, Query, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::{folded, name_parts, written_name};
use super::super::query::expression;
use super::super::temporary;
use super::objects::new_identity;
use super::{Outcome, default_privileges, owner, refuse_system};
use crate::catalog::{
    Column, ColumnType, Descriptor, DescriptorId, EnumLabel, EnumType, NoPlace, Place, TableDescriptor, TypeDescriptor,
    ViewDescriptor,
};
use crate::kv::LockMode;
use crate::parser::{EnumAction, EnumStatement, LabelPlace, ObjectKind, sql_text};

/// The most bytes of a label, which clients rely on.
const MAX_LABEL_BYTES: usize = 63;

/// Runs a statement about an enumerated type.
pub async fn execute(context: &Context, statement: &EnumStatement) -> Result<Outcome> {
    if let EnumAction::Create { if_not_exists, labels } = &statement.action {
        return create(context, &statement.name, labels, *if_not_exists).await;
    }
    let before = locked(context, &statement.name).await?;
    let mut after = before.clone();
    match &statement.action {
        EnumAction::Create { .. } => {}
        EnumAction::AddValue { if_not_exists, label, place } => {
            if after.has(label) {
                let message = format!("enum label \"{label}\" already exists");
                return match if_not_exists {
                    true => Ok(Outcome::skipped("ALTER TYPE", message)),
                    false => Err(Error::new(code::DUPLICATE_OBJECT, message)),
                };
            }
            add(&mut after, label, place.as_ref())?;
        }
        EnumAction::RenameValue { from, to } => {
            check_label(to)?;
            if after.has(to) {
                return Err(Error::new(code::DUPLICATE_OBJECT, format!("enum label \"{to}\" already exists")));
            }
            let found = after.labels.iter_mut().find(|known| known.label == *from);
            found.ok_or_else(|| missing_label(from))?.label.clone_from(to);
        }
        EnumAction::Rename(to) => after.identity.name.clone_from(to),
        EnumAction::SetSchema(schema) => {
            after.schema = context.schema(after.database, schema).await?.id();
            refuse_temporary(context, after.schema).await?;
        }
        EnumAction::OwnerTo(role) => {
            after.identity.owner = owner::role(context, role).await?;
        }
    }
    change(context, before, after).await?;
    Ok(Outcome::done("ALTER TYPE"))
}

/// Types outlive sessions: permanent tables may have them, of which backups would have no type.
async fn refuse_temporary(context: &Context, schema: DescriptorId) -> Result<()> {
    if temporary::holds(context, schema).await? {
        return Err(Error::unsupported("a temporary type"));
    }
    Ok(())
}

async fn create(context: &Context, name: &[String], labels: &[String], if_not_exists: bool) -> Result<Outcome> {
    let (database, schema, name) = context.place_for(name).await?;
    refuse_temporary(context, schema).await?;
    context.catalog().lock_name(Some(database), Some(schema), &name).await?;
    if context.catalog().lookup(Some(database), Some(schema), &name).await?.is_some() {
        let message = format!("type \"{name}\" already exists");
        return match if_not_exists {
            true => Ok(Outcome::skipped("CREATE TYPE", message)),
            false => Err(Error::new(code::DUPLICATE_OBJECT, message)),
        };
    }
    let mut identity = new_identity(context, &name).await?;
    default_privileges::grant(context, ObjectKind::Types, &[database, schema], &mut identity).await?;
    let array = DescriptorId(context.engine().store().create_space().await?.0);
    let mut made = TypeDescriptor { identity, database, schema, array, labels: Vec::new(), used_by: Vec::new() };
    for label in labels {
        if made.has(label) {
            let message = format!("enum label \"{label}\" is given twice");
            return Err(Error::new(code::UNIQUE_VIOLATION, message));
        }
        add(&mut made, label, None)?;
    }
    context.catalog().create(&Descriptor::Type(made)).await?;
    Ok(Outcome::done("CREATE TYPE"))
}

fn check_label(label: &str) -> Result<()> {
    if label.len() <= MAX_LABEL_BYTES {
        return Ok(());
    }
    let detail = format!("Labels must be {MAX_LABEL_BYTES} bytes or less.");
    Err(Error::new(code::INVALID_NAME, format!("invalid enum label \"{label}\"")).detail(detail))
}

fn missing_label(label: &str) -> Error {
    Error::new(code::INVALID_PARAMETER, format!("\"{label}\" is not an existing enum label"))
}

fn add(made: &mut TypeDescriptor, label: &str, place: Option<&LabelPlace>) -> Result<()> {
    check_label(label)?;
    let place = match place {
        None => Place::Last,
        Some(LabelPlace { before: true, label }) => Place::Before(label),
        Some(LabelPlace { before: false, label }) => Place::After(label),
    };
    made.add(label, place).map_err(|error| match error {
        NoPlace::Missing(label) => missing_label(&label),
        NoPlace::Full => {
            let message = format!("there is no room for enum label \"{label}\": too many were added in the same place");
            Error::new(code::LIMIT_EXCEEDED, message)
                .hint("Make a new type with all the labels, and change the columns to it.")
        }
    })
}

/// The type with a name, kept from all use by others until the transaction ends.
async fn locked(context: &Context, name: &[String]) -> Result<TypeDescriptor> {
    let found = context.find_object(name).await?.ok_or_else(|| missing(name))?;
    match &*found {
        Descriptor::Type(_) => lock(context, found.id()).await,
        other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("{} is not an enum", other.name()))),
    }
}

/// The error of a type that is not there.
pub fn missing(name: &[String]) -> Error {
    Error::new(code::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.join(".")))
}

/// Locks a type and reads it: whoever held the lock before may have changed it.
async fn lock(context: &Context, id: DescriptorId) -> Result<TypeDescriptor> {
    refuse_system(id)?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    match &*context.catalog().get(id).await? {
        Descriptor::Type(made) => Ok(made.clone()),
        other => Err(Error::internal(format!("type {} became a {}", other.name(), other.kind()))),
    }
}

/// Writes a type that has changed, and the copies that tables and views have of it.
async fn change(context: &Context, before: TypeDescriptor, after: TypeDescriptor) -> Result<()> {
    let old = context.made_type(&before).await?;
    let new = context.made_type(&after).await?;
    let is_renamed = (&before.identity.name, before.schema) != (&after.identity.name, after.schema);
    if is_renamed {
        let (database, schema, name) = (Some(after.database), Some(after.schema), &after.identity.name);
        context.catalog().lock_name(database, schema, name).await?;
        if context.catalog().lookup(database, schema, name).await?.is_some() {
            let moved = match before.schema == after.schema {
                true => String::new(),
                false => format!(" in schema \"{}\"", context.catalog().get(after.schema).await?.name()),
            };
            return Err(Error::new(code::DUPLICATE_OBJECT, format!("type \"{name}\" already exists{moved}")));
        }
        context.catalog().rename(&Descriptor::Type(before), &Descriptor::Type(after.clone())).await?;
    } else {
        context.catalog().write(&Descriptor::Type(after.clone()))?;
    }
    let (ColumnType::Enum(old), ColumnType::Enum(new)) = (&old, &new) else { return Ok(()) };
    let renamed: Vec<(&str, &str)> = renamed_labels(old, new).collect();
    let mut users = after.used_by.clone();
    if !renamed.is_empty() {
        users = with_views(context, users).await?;
    }
    for id in &users {
        context.catalog().lock(*id, LockMode::Exclusive).await?;
        let mut user = (*context.catalog().get(*id).await?).clone();
        for column_type in user.column_types_mut() {
            if let Some(copy) = column_type.enumeration_mut().filter(|copy| copy.id == new.id) {
                copy.clone_from(new);
            }
        }
        if is_renamed {
            let (from, to) = ([old.schema.clone(), old.name.clone()], [new.schema.clone(), new.name.clone()]);
            rename_in(&mut user, &from, &to)?;
        }
        for &(from, to) in &renamed {
            rename_label_in(context, &mut user, new, from, to).await?;
        }
        context.catalog().write(&user)?;
    }
    Ok(())
}

/// Gives a type another name in what is kept as SQL.
fn rename_in(user: &mut Descriptor, from: &[String], to: &[String]) -> Result<()> {
    let mut rename = |name: &mut ObjectName| {
        if name_parts(name).is_ok_and(|parts| parts == from) {
            *name = written_name(to);
        }
    };
    match user {
        Descriptor::Table(table) => {
            for sql in table.expressions_mut() {
                let mut expression = expression::parse(sql)?;
                each_type(&mut expression, &mut rename);
                *sql = sql_text(&expression);
            }
        }
        Descriptor::View(view) => {
            let mut query = super::super::parse_query(&view.query)?;
            each_type(&mut query, &mut rename);
            view.query = sql_text(&query);
        }
        _ => {}
    }
    Ok(())
}

/// These objects and all views that read them.
async fn with_views(context: &Context, mut objects: Vec<DescriptorId>) -> Result<Vec<DescriptorId>> {
    let mut at = 0;
    while let Some(id) = objects.get(at).copied() {
        at += 1;
        let views = match &*context.catalog().get(id).await? {
            Descriptor::Table(table) => table.views.clone(),
            Descriptor::View(view) => view.views.clone(),
            _ => Vec::new(),
        };
        let new: Vec<DescriptorId> = views.into_iter().filter(|view| !objects.contains(view)).collect();
        objects.extend(new);
    }
    Ok(objects)
}

/// The labels that have the same number and another name.
fn renamed_labels<'a>(old: &'a EnumType, new: &'a EnumType) -> impl Iterator<Item = (&'a str, &'a str)> {
    let renamed = |known: &'a EnumLabel| {
        let now = new.label(known.number).ok()?;
        (now != known.label).then_some((known.label.as_str(), now))
    };
    old.labels.iter().filter_map(renamed)
}

/// Gives a label another name where what is kept as SQL says it. Where that cannot be told from a text that happens to be the same, it
/// is refused.
async fn rename_label_in(
    context: &Context,
    user: &mut Descriptor,
    made: &EnumType,
    from: &str,
    to: &str,
) -> Result<()> {
    let own = [made.schema.clone(), made.name.clone()];
    match user {
        Descriptor::Table(table) => {
            let is_own = |column: &&mut Column| column.column_type.made_type() == Some(made.id);
            for default in table.columns.iter_mut().filter(is_own).filter_map(|column| column.default.as_mut()) {
                let mut value = expression::parse(default)?;
                rename_literal(&mut value, from, to);
                *default = sql_text(&value);
            }
            let of_type = table.columns.iter().filter(|column| column.column_type.made_type() == Some(made.id));
            let columns: Vec<String> = of_type.map(|column| column.name.clone()).collect();
            let name = table.identity.name.clone();
            let others = table.columns.iter().filter(|column| column.column_type.made_type() != Some(made.id));
            // Whatever text is the default of another column is no label.
            let others: Vec<String> = others.filter_map(|column| column.default.clone()).collect();
            for sql in table.expressions_mut() {
                let mut condition = expression::parse(sql)?;
                rename_labels(&mut condition, &own, &columns, from, to);
                if !others.contains(sql) && has_literal(&condition, from) {
                    return Err(still_said(from, "table", &name));
                }
                *sql = sql_text(&condition);
            }
        }
        Descriptor::View(view) => {
            let mut query = super::super::parse_query(&view.query)?;
            let columns = if is_plain(&query) { columns_read(context, view, made.id).await? } else { Vec::new() };
            rename_labels(&mut query, &own, &columns, from, to);
            if has_literal(&query, from) {
                return Err(still_said(from, "view", &view.identity.name));
            }
            view.query = sql_text(&query);
        }
        _ => {}
    }
    Ok(())
}

fn still_said(label: &str, kind: &str, name: &str) -> Error {
    let message = format!("cannot rename enum label \"{label}\" because {kind} {name} has it in an expression");
    Error::new(code::DEPENDENT_OBJECTS, message).hint("Drop what has it first, and create it again after.")
}

/// Whether the columns that a query names are those of the tables it names: there is no other query in it.
fn is_plain(query: &Query) -> bool {
    struct Queries(usize);
    impl Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut queries = Queries(0);
    let _ = query.visit(&mut queries);
    queries.0 == 1
}

/// The columns of a type that a view reads, without those whose name may stand for one of another type.
async fn columns_read(context: &Context, view: &ViewDescriptor, made: DescriptorId) -> Result<Vec<String>> {
    let (mut of_type, mut others) = (Vec::new(), BTreeSet::new());
    for source in &view.depends_on {
        let mut note = |name: &String, column_type: &ColumnType| match column_type.made_type() == Some(made) {
            true => of_type.push(name.clone()),
            false => drop(others.insert(name.clone())),
        };
        match &*context.catalog().get(*source).await? {
            Descriptor::Table(table) => table.columns.iter().for_each(|column| note(&column.name, &column.column_type)),
            Descriptor::View(other) => other.columns.iter().for_each(|column| note(&column.name, &column.column_type)),
            _ => {}
        }
    }
    of_type.retain(|name| !others.contains(name));
    Ok(of_type)
}

/// Renames a label where it is cast to its type, or beside one of these columns.
fn rename_labels<T: VisitMut>(tree: &mut T, own: &[String], columns: &[String], from: &str, to: &str) {
    struct Labels<'a> {
        own: &'a [String],
        columns: &'a [String],
        from: &'a str,
        to: &'a str,
    }
    impl Labels<'_> {
        fn is_own(&self, data_type: &SqlType) -> bool {
            matches!(data_type, SqlType::Custom(name, _) if name_parts(name).is_ok_and(|parts| parts == self.own))
        }

        fn is_of_type(&self, expression: &Expr) -> bool {
            match expression {
                Expr::Identifier(column) => self.columns.contains(&folded(column)),
                Expr::CompoundIdentifier(parts) => {
                    parts.last().is_some_and(|column| self.columns.contains(&folded(column)))
                }
                Expr::Cast { data_type, .. } => self.is_own(data_type),
                Expr::Nested(inner) => self.is_of_type(inner),
                _ => false,
            }
        }
    }
    impl VisitorMut for Labels<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            let (from, to) = (self.from, self.to);
            match expression {
                Expr::Cast { expr, data_type, .. } if self.is_own(data_type) => rename_literal(expr, from, to),
                Expr::BinaryOp { left, op, right } if compares(op) => {
                    if self.is_of_type(left) {
                        rename_literal(right, from, to);
                    }
                    if self.is_of_type(right) {
                        rename_literal(left, from, to);
                    }
                }
                Expr::InList { expr, list, .. } if self.is_of_type(expr) => {
                    list.iter_mut().for_each(|item| rename_literal(item, from, to));
                }
                Expr::Between { expr, low, high, .. } if self.is_of_type(expr) => {
                    rename_literal(low, from, to);
                    rename_literal(high, from, to);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Labels { own, columns, from, to });
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn rename_literal(expression: &mut Expr, from: &str, to: &str) {
    match expression {
        Expr::Nested(inner) => rename_literal(inner, from, to),
        Expr::Value(value) => {
            if let Value::SingleQuotedString(text) = &mut value.value
                && text == from
            {
                *text = to.into();
            }
        }
        _ => {}
    }
}

/// Whether a text is, or as an array may have, a label.
fn has_literal<T: Visit>(tree: &T, label: &str) -> bool {
    struct Literals<'a>(&'a str);
    impl Visitor for Literals<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let Expr::Value(value) = expression else { return ControlFlow::Continue(()) };
            let text = match &value.value {
                Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
                Value::DollarQuotedString(text) => &text.value,
                _ => return ControlFlow::Continue(()),
            };
            let has_it = text == self.0 || (text.trim_start().starts_with('{') && text.contains(self.0));
            if has_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    tree.visit(&mut Literals(label)).is_break()
}

/// Forgets what a table keeps as SQL and names a type that goes.
pub fn forget_expressions(table: &mut TableDescriptor, made: &EnumType) -> Result<()> {
    let own = [made.schema.clone(), made.name.clone()];
    let names = |sql: &str| -> Result<bool> {
        let (mut expression, mut found) = (expression::parse(sql)?, false);
        each_type(&mut expression, &mut |name| found |= name_parts(name).is_ok_and(|parts| parts == own));
        Ok(found)
    };
    let mut checks = Vec::new();
    for check in table.checks.drain(..) {
        if !names(&check.condition)? {
            checks.push(check);
        }
    }
    table.checks = checks;
    for column in &mut table.columns {
        if let Some(default) = &column.default
            && names(default)?
        {
            column.default = None;
        }
        if let Some(generated) = &column.generated
            && names(generated)?
        {
            let message = format!("cannot drop type {made} because column {} is computed with it", column.name);
            return Err(Error::new(code::DEPENDENT_OBJECTS, message));
        }
    }
    Ok(())
}

/// Visits the names of all types in casts that `sqlparser` does not know.
fn each_type<T: VisitMut>(tree: &mut T, visit: &mut dyn FnMut(&mut ObjectName)) {
    struct Types<'a>(&'a mut dyn FnMut(&mut ObjectName));
    impl Types<'_> {
        fn visit(&mut self, sql_type: &mut SqlType) {
            match sql_type {
                SqlType::Custom(name, _) => (self.0)(name),
                SqlType::Array(
                    ArrayElemTypeDef::SquareBracket(element, _)
                    | ArrayElemTypeDef::AngleBracket(element)
                    | ArrayElemTypeDef::Parenthesis(element),
                ) => self.visit(element),
                _ => {}
            }
        }
    }
    impl VisitorMut for Types<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            match expression {
                Expr::Cast { data_type, .. } => self.visit(data_type),
                Expr::TypedString(typed) => self.visit(&mut typed.data_type),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Types(visit));
}

/// Writes the types that somebody made with their schemas: which they are.
pub async fn qualify<T: VisitMut>(
    context: &Context,
    database: DescriptorId,
    tree: &mut T,
) -> Result<BTreeSet<DescriptorId>> {
    let mut names: Vec<ObjectName> = Vec::new();
    each_type(tree, &mut |name| names.push(name.clone()));
    let mut found = BTreeSet::new();
    for name in names {
        let Some(ColumnType::Enum(made)) = context.find_made_type(&name_parts(&name)?).await? else { continue };
        let Descriptor::Type(descriptor) = &*context.catalog().get(made.id).await? else { continue };
        if descriptor.database != database {
            return Err(Error::unsupported("a type of another database"));
        }
        let qualified = written_name(&[made.schema.clone(), made.name.clone()]);
        each_type(tree, &mut |other| {
            if *other == name {
                other.clone_from(&qualified);
            }
        });
        found.insert(made.id);
    }
    Ok(found)
}

/// Notes with types which tables and views use them, after an object has changed; `None` stands for one that is not there.
pub async fn link(context: &Context, before: Option<&Descriptor>, after: Option<&Descriptor>) -> Result<()> {
    let Some(id) = after.or(before).map(Descriptor::id) else { return Ok(()) };
    let (old, new) = (before.map(Descriptor::made_types), after.map(Descriptor::made_types));
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    if let Some(Descriptor::Table(table)) = after {
        refuse_other_types(context, table, &new).await?;
    }
    for gone in old.difference(&new) {
        let mut made = lock(context, *gone).await?;
        made.used_by.retain(|user| *user != id);
        context.catalog().write(&Descriptor::Type(made))?;
    }
    let home = after.and_then(|object| object.parents().0);
    for added in new.difference(&old) {
        let mut made = lock(context, *added).await?;
        if Some(made.database) != home {
            return Err(Error::unsupported("a column of a type of another database"));
        }
        made.used_by.push(id);
        context.catalog().write(&Descriptor::Type(made))?;
    }
    Ok(())
}

/// What a table keeps as SQL names only types of its columns, so that these are all that it needs.
async fn refuse_other_types(context: &Context, table: &TableDescriptor, known: &BTreeSet<DescriptorId>) -> Result<()> {
    let mut names = Vec::new();
    for sql in table.clone().expressions_mut() {
        let mut expression = expression::parse(sql)?;
        each_type(&mut expression, &mut |name| names.push(name.clone()));
    }
    let context = &context.inside_database(table.database).await?;
    for name in names {
        if let Some(made) = context.find_made_type(&name_parts(&name)?).await?.as_ref().and_then(ColumnType::made_type)
            && !known.contains(&made)
        {
            let message =
                format!("type {name} in an expression of table {}, of which no column is", table.identity.name);
            return Err(Error::unsupported(message));
        }
    }
    Ok(())
}
