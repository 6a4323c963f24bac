//! `RETURNING`: a query over the rows a statement has changed, and over what it joined them with.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::datasource::MemTable;
use sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor,
    TableWithJoins, Value, Visit, Visitor,
};

use super::super::arrays::{batch_of_rows, canonical_array, datum_at};
use super::super::context::Context;
use super::super::error::{Error, Result};
use super::super::names::{folded, name_parts};
use super::super::query::{self, Batches, ExtraTables, OutputColumn, Visibility};
use super::super::types::field;
use super::Row;
use crate::catalog::{ColumnType, Datum, Descriptor, TableDescriptor};

/// Stands before the columns of another table among those of a query.
const BESIDE: &str = "keepsafe_beside_";
/// Tells which rows of several tables belong together.
const AT: &str = "keepsafe_at";

/// The rows of another table, each beside the row of the changed table at the same place.
pub struct Beside {
    called: String,
    columns: Vec<OutputColumn>,
    /// Where its columns start in the query that finds the rows.
    start: usize,
    shown: Vec<bool>,
    rows: Vec<Row>,
}

/// What a statement calls the tables that it names beside the one that it changes.
pub fn names_beside(from: &[TableWithJoins]) -> Result<Vec<Ident>> {
    let mut names = Vec::new();
    for table in from {
        for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
            let alias = match factor {
                TableFactor::Table { alias, .. }
                | TableFactor::Derived { alias, .. }
                | TableFactor::UNNEST { alias, .. }
                | TableFactor::Function { alias, .. } => alias.as_ref().map(|alias| alias.name.clone()),
                _ => None,
            };
            let name = match (alias, factor) {
                (Some(alias), _) => alias,
                (None, TableFactor::Table { name, .. }) => {
                    Ident::with_quote('"', name_parts(name)?.pop().unwrap_or_default())
                }
                _ => return Err(Error::unsupported("RETURNING beside such a join")),
            };
            names.push(name);
        }
    }
    Ok(names)
}

/// Adds the columns of other tables to a query that finds rows.
pub fn select_beside(query: &mut Query, names: &[Ident]) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    for (index, name) in names.iter().enumerate() {
        let alias = Ident::with_quote('"', format!("{BESIDE}{index}"));
        select.projection.push(SelectItem::ExprWithAlias { expr: Expr::Value(Value::Null.into()), alias });
        let name = ObjectName(vec![ObjectNamePart::Identifier(name.clone())]);
        let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
        select.projection.push(SelectItem::QualifiedWildcard(kind, Default::default()));
    }
}

impl Beside {
    /// The other tables of a planned query.
    pub async fn all(context: &Context, names: &[Ident], columns: &[OutputColumn]) -> Result<Vec<Beside>> {
        let mut all: Vec<Beside> = Vec::new();
        let mut names = names.iter();
        for (at, column) in columns.iter().enumerate() {
            if column.name.starts_with(BESIDE)
                && let Some(name) = names.next()
            {
                let called = folded(name);
                all.push(Beside { called, columns: Vec::new(), start: at + 1, shown: Vec::new(), rows: Vec::new() });
            } else if let Some(beside) = all.last_mut() {
                beside.columns.push(column.clone());
                beside.shown.push(!is_hidden(context, column).await?);
            }
        }
        Ok(all)
    }

    /// Keeps what is beside a row.
    pub fn keep(&mut self, batch: &RecordBatch, index: usize) -> Result<()> {
        let mut row = Row::new();
        for (at, column) in self.columns.iter().enumerate() {
            let array = canonical_array(&batch.column(self.start + at).slice(index, 1), &column.column_type)?;
            row.push(datum_at(&*array, 0, &column.column_type)?.into_owned());
        }
        self.rows.push(row);
        Ok(())
    }

    fn relation(&self) -> Relation<'_> {
        let columns = self.columns.iter().zip(&self.shown);
        let columns = columns.map(|(column, shown)| (column.name.as_str(), &column.column_type, *shown)).collect();
        Relation { called: &self.called, columns, rows: &self.rows }
    }
}

async fn is_hidden(context: &Context, column: &OutputColumn) -> Result<bool> {
    let Some(origin) = &column.origin else { return Ok(false) };
    let table = context.catalog().find(origin.table).await?;
    Ok(
        matches!(table.as_deref(), Some(Descriptor::Table(table)) if table.column(origin.column).is_some_and(|column| column.hidden)),
    )
}

/// Rows that `RETURNING` sees under a name.
struct Relation<'a> {
    called: &'a str,
    /// Name, type, and whether `*` shows it.
    columns: Vec<(&'a str, &'a ColumnType, bool)>,
    rows: &'a [Row],
}

impl Relation<'_> {
    fn table(&self) -> Result<MemTable> {
        let number = ColumnType::Int8;
        let columns = || self.columns.iter().map(|(name, column_type, _)| (*name, *column_type)).chain([(AT, &number)]);
        let schema = Arc::new(Schema::new(columns().map(|(name, of)| field(name, of, true)).collect::<Vec<_>>()));
        let types: Vec<ColumnType> = columns().map(|(_, of)| of.clone()).collect();
        let at = |(at, row): (usize, &Row)| row.iter().cloned().chain([Datum::Int(at as i64)]).collect();
        let rows: Vec<Row> = self.rows.iter().enumerate().map(at).collect();
        let batch = batch_of_rows(&schema, &types, &rows)?;
        Ok(MemTable::try_new(schema, vec![vec![batch]])?)
    }

    fn all_columns(&self) -> impl Iterator<Item = SelectItem> {
        let column = |name: &str| {
            Expr::CompoundIdentifier([self.called, name].map(|part| Ident::with_quote('"', part)).to_vec())
        };
        self.columns.iter().filter(|(.., shown)| *shown).map(move |(name, ..)| SelectItem::UnnamedExpr(column(name)))
    }
}

/// Evaluates `items` over `rows` of `table`, which the statement calls `alias`.
pub async fn returning(
    context: &Context,
    (table, alias): (&TableDescriptor, &str),
    items: &[SelectItem],
    rows: &[Row],
    beside: &[Beside],
) -> Result<(Vec<OutputColumn>, Batches)> {
    if items.iter().any(|item| reads(item, &table.identity.name)) {
        return Err(Error::unsupported("a subquery in RETURNING that reads the table that is changed"));
    }
    let columns =
        table.columns.iter().map(|column| (column.name.as_str(), &column.column_type, !column.hidden)).collect();
    let own = Relation { called: alias, columns, rows };
    let relations: Vec<Relation<'_>> = std::iter::once(own).chain(beside.iter().map(Beside::relation)).collect();
    let mut extra = ExtraTables::new();
    for relation in &relations {
        extra.insert(relation.called.to_string(), Arc::new(relation.table()?) as _);
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let from: Vec<String> = relations.iter().map(|relation| quoted(relation.called)).collect();
    let together = from[1..].iter().map(|other| format!("{other}.{AT} = {}.{AT}", from[0])).collect::<Vec<_>>();
    let together = if together.is_empty() { "true".to_string() } else { together.join(" AND ") };
    let query = format!("SELECT 1 FROM {} WHERE {together} ORDER BY {}.{AT}", from.join(", "), from[0]);
    let mut query = super::super::parse_query(&query)?;
    let SetExpr::Select(select) = &mut *query.body else { return Err(Error::internal("a template is not a SELECT")) };
    select.projection = items.iter().flat_map(|item| expanded(item, &relations)).collect();
    query::plan(context, &query, &extra, Visibility::AsNamed).await?.run().await
}

/// `*` as the columns that it shows.
fn expanded(item: &SelectItem, relations: &[Relation<'_>]) -> Vec<SelectItem> {
    match item {
        SelectItem::Wildcard(_) => relations.iter().flat_map(Relation::all_columns).collect(),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let called = name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
            match relations.iter().find(|relation| Some(relation.called) == called.as_deref()) {
                Some(relation) => relation.all_columns().collect(),
                None => vec![item.clone()],
            }
        }
        other => vec![other.clone()],
    }
}

/// Whether a subquery reads a table of a name: it would see the rows as they are now, not as they were.
pub fn reads<T: Visit>(tree: &T, name: &str) -> bool {
    struct Find<'a>(&'a str);
    impl Visitor for Find<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> std::ops::ControlFlow<()> {
            match factor {
                TableFactor::Table { name, .. }
                    if name.0.last().and_then(ObjectNamePart::as_ident).map(folded).as_deref() == Some(self.0) =>
                {
                    std::ops::ControlFlow::Break(())
                }
                _ => std::ops::ControlFlow::Continue(()),
            }
        }
    }
    tree.visit(&mut Find(name)).is_break()
}

/// `SELECT * FROM alias`
pub fn select_from(alias: &str) -> Result<Query> {
    let quoted = format!("\"{}\"", alias.replace('"', "\"\""));
    super::super::parse_query(&format!("SELECT * FROM {quoted}"))
}
