//! `LIKE` in `CREATE TABLE`: columns as another table or view has them, and what else is asked for.

use sqlparser::ast::{
    CreateIndex, Expr, Ident, PrimaryKeyConstraint, SequenceOptions, Statement as Ast, TableConstraint,
    UniqueConstraint, Value, ValueWithSpan,
};

use super::super::context::Context;
use super::super::create_statement::{stored_names, storing};
use super::super::error::{Error, Result, code};
use super::super::query::expression;
use super::{default, index, serial};
use crate::catalog::{Column, ColumnId, Descriptor, Index, TableDescriptor};
use crate::parser::{LikeClause, as_index_option, quote_ident_in_sql, quote_name, sql_text};

/// Adds the columns of a clause; its keys and checks join the table's, and indexes are to be made when the table is there.
pub async fn copy(
    context: &Context,
    table: &mut TableDescriptor,
    clause: &LikeClause,
    constraints: &mut Vec<TableConstraint>,
    indexes: &mut Vec<CreateIndex>,
) -> Result<()> {
    let source = match &*context.object(&clause.name).await? {
        Descriptor::Table(source) => source.clone(),
        Descriptor::View(view) => {
            for column in &view.columns {
                add(table, Column::new(ColumnId(0), &column.name, column.column_type.clone()))?;
            }
            return Ok(());
        }
        other => {
            let message = format!("relation \"{}\" is invalid in LIKE clause", other.name());
            return Err(Error::new(code::WRONG_OBJECT_TYPE, message));
        }
    };
    for column in source.columns.iter().filter(|column| !column.hidden) {
        let mut copied = Column::new(ColumnId(table.next_column), &column.name, column.column_type.clone());
        (copied.nullable, copied.time_precision) = (column.nullable, column.time_precision);
        if clause.includes("GENERATED") {
            copied.generated.clone_from(&column.generated);
        }
        if clause.includes("COMMENTS") {
            copied.comment.clone_from(&column.comment);
        }
        if column.identity.is_some() {
            if clause.includes("IDENTITY") {
                copied.identity = column.identity;
                let options = sequence_options(context, &source, column.id).await?;
                serial::give_sequence(context, table, &mut copied, &options).await?;
            }
        } else if let Some(sql) = column.default.as_ref().filter(|_| clause.includes("DEFAULTS")) {
            let parsed = expression::parse(sql)?;
            let (sql, sequences) = default::normalize(context, table, &parsed, &copied.column_type).await?;
            copied.default = Some(sql);
            table.sequences.extend(sequences);
        }
        add(table, copied)?;
    }
    if clause.includes("CONSTRAINTS") {
        for check in &source.checks {
            constraints.push(constraint(&format!(
                "CONSTRAINT {} CHECK ({})",
                quote_ident_in_sql(&check.name),
                check.condition
            ))?);
        }
    }
    if clause.includes("INDEXES") {
        if source.columns.iter().any(|column| !column.hidden && source.in_primary_key(column.id)) {
            constraints.push(key_of(&source, &source.primary, "PRIMARY KEY")?);
        }
        for index in &source.indexes {
            let is_plain =
                index.columns.iter().all(|part| source.column(part.column).is_some_and(|column| !column.hidden));
            if index.unique && is_plain && index.predicate.is_none() {
                constraints.push(key_of(&source, index, "UNIQUE")?);
                continue;
            }
            let unique = if index.unique { "UNIQUE " } else { "" };
            let condition = index.predicate.and_then(|id| source.column(id)?.generated.clone());
            let condition = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
            let stored = storing(&source, index, "INCLUDE");
            let sql = format!("CREATE {unique}INDEX ON t ({}){stored}{condition}", parts(&source, index));
            let Ast::CreateIndex(create) = parse(&sql)? else { return Err(Error::internal("no CREATE INDEX")) };
            indexes.push(create);
        }
    }
    Ok(())
}

/// Makes the indexes of a table that is there.
pub async fn make_indexes(context: &Context, table: &[String], indexes: Vec<CreateIndex>) -> Result<()> {
    let Ast::CreateIndex(template) = parse(&format!("CREATE INDEX ON {} (a)", quote_name(table)))? else {
        return Err(Error::internal("no CREATE INDEX"));
    };
    for create in indexes {
        index::create(context, &CreateIndex { table_name: template.table_name.clone(), ..create }).await?;
    }
    Ok(())
}

fn add(table: &mut TableDescriptor, column: Column) -> Result<()> {
    if table.column_named(&column.name).is_some() {
        let message = format!("column \"{}\" specified more than once", column.name);
        return Err(Error::new(code::DUPLICATE_COLUMN, message));
    }
    table.columns.push(Column { id: ColumnId(table.next_column), ..column });
    table.next_column += 1;
    Ok(())
}

/// The columns and expressions of an index, as SQL.
fn parts(table: &TableDescriptor, index: &Index) -> String {
    let part = |part: &crate::catalog::IndexColumn| {
        let direction = if part.descending { " DESC" } else { "" };
        let column = table.column(part.column)?;
        Some(match &column.generated {
            Some(sql) if column.hidden => format!("({sql}){direction}"),
            _ => format!("{}{direction}", sql_text(&Expr::Identifier(Ident::with_quote('"', &column.name)))),
        })
    };
    index.columns.iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// How the sequence of an identity column counts.
async fn sequence_options(
    context: &Context,
    source: &TableDescriptor,
    column: ColumnId,
) -> Result<Vec<SequenceOptions>> {
    for id in &source.sequences {
        if let Descriptor::Sequence(sequence) = &*context.catalog().get(*id).await?
            && sequence.owned_by == Some((source.identity.id, column))
        {
            let number = |number: i64| Expr::Value(ValueWithSpan::from(Value::Number(number.to_string(), false)));
            return Ok(vec![
                SequenceOptions::IncrementBy(number(sequence.increment), true),
                SequenceOptions::StartWith(number(sequence.start), true),
            ]);
        }
    }
    Ok(Vec::new())
}

/// The constraint that has an index for its key.
fn key_of(table: &TableDescriptor, index: &Index, kind: &str) -> Result<TableConstraint> {
    let mut key = constraint(&format!("{kind} ({})", parts(table, index)))?;
    let stored = stored_names(table, index);
    match &mut key {
        TableConstraint::Unique(UniqueConstraint { index_options, .. })
        | TableConstraint::PrimaryKey(PrimaryKeyConstraint { index_options, .. })
            if !stored.is_empty() =>
        {
            index_options.push(as_index_option(&stored));
        }
        _ => {}
    }
    Ok(key)
}

fn constraint(sql: &str) -> Result<TableConstraint> {
    let Ast::CreateTable(create) = parse(&format!("CREATE TABLE t (a INT, {sql})"))? else {
        return Err(Error::internal("no CREATE TABLE"));
    };
    create.constraints.into_iter().next().ok_or_else(|| Error::internal("a template without a constraint"))
}

fn parse(sql: &str) -> Result<Ast> {
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let parsed = sqlparser::parser::Parser::parse_sql(&dialect, sql).map_err(Error::internal)?;
    parsed.into_iter().next().ok_or_else(|| Error::internal("a template is empty"))
}
