//! `COMMENT ON`

use sqlparser::ast::{CommentObject, ObjectName};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::name_parts;
use super::index::locked_table_of;
use super::{enumeration, locked_table, named_column, refuse_system};
use crate::catalog::{Descriptor, DescriptorId};
use crate::kv::LockMode;

/// Says something about an object, or nothing any more.
pub async fn set(context: &Context, kind: CommentObject, name: &ObjectName, text: Option<&str>) -> Result<()> {
    // Nothing is said by an empty text.
    let comment = text.filter(|text| !text.is_empty()).map(str::to_string);
    let parts = name_parts(name)?;
    match kind {
        CommentObject::Column => {
            let Some((column, table)) = parts.split_last().filter(|(_, table)| !table.is_empty()) else {
                return Err(Error::new(code::SYNTAX_ERROR, "column name must be qualified"));
            };
            if let Some(Descriptor::View(view)) = context.find_object(table).await?.as_deref() {
                return set_of_view(context, view.identity.id, column, comment).await;
            }
            let mut table = locked_table(context, table).await?;
            let column = named_column(&table, column)?;
            table
                .columns
                .iter_mut()
                .filter(|known| known.id == column)
                .for_each(|known| known.comment.clone_from(&comment));
            Ok(context.catalog().write(&Descriptor::Table(table))?)
        }
        CommentObject::Index => {
            let (mut table, name) = locked_table_of(context, &parts).await?;
            let indexes = std::iter::once(&mut table.primary).chain(&mut table.indexes);
            indexes.filter(|index| index.name == name).for_each(|index| index.comment.clone_from(&comment));
            Ok(context.catalog().write(&Descriptor::Table(table))?)
        }
        CommentObject::Database => match &parts[..] {
            [name] => write(context, context.database(name).await?.id(), comment).await,
            _ => Err(Error::new(code::INVALID_NAME, "a database has a name of one part")),
        },
        CommentObject::Schema => write(context, context.schema_named(&parts).await?.id(), comment).await,
        CommentObject::Table | CommentObject::View | CommentObject::Sequence | CommentObject::Type => {
            let found = context.object(&parts).await.map_err(|error| match kind {
                CommentObject::Type => enumeration::missing(&parts),
                _ => error,
            })?;
            let wanted = kind.to_string().to_lowercase();
            if found.kind() != wanted {
                return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a {wanted}", found.name())));
            }
            write(context, found.id(), comment).await
        }
        other => Err(Error::unsupported(format!("COMMENT ON {other}"))),
    }
}

async fn set_of_view(context: &Context, id: DescriptorId, column: &str, comment: Option<String>) -> Result<()> {
    context.catalog().lock(id, LockMode::Exclusive).await?;
    let mut object = (*context.catalog().get(id).await?).clone();
    let Descriptor::View(view) = &mut object else { return Err(Error::internal("a view became something else")) };
    let Some(known) = view.columns.iter_mut().find(|known| known.name == column) else {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", view.identity.name);
        return Err(Error::new(code::UNDEFINED_COLUMN, message));
    };
    known.comment = comment;
    Ok(context.catalog().write(&object)?)
}

async fn write(context: &Context, id: DescriptorId, comment: Option<String>) -> Result<()> {
    refuse_system(id)?;
    context.catalog().lock(id, LockMode::Exclusive).await?;
    let mut object = (*context.catalog().get(id).await?).clone();
    object.identity_mut().comment = comment;
    Ok(context.catalog().write(&object)?)
}
