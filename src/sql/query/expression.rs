//! Expressions outside of queries: defaults, checks, times, setting values.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use sqlparser::ast::{Expr, Ident, Value, Visit, VisitMut, Visitor, VisitorMut};

use super::super::arrays::{ColumnBuilder, assign};
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::{field, of_field};
use super::provider::Planner;
use super::rewrite::{normalized, rewrite_expression};
use crate::catalog::{ColumnType, Datum, TableDescriptor};
use crate::parser::quote_ident_in_sql;

/// An expression that is ready to run over batches.
pub struct Compiled {
    expression: Arc<dyn PhysicalExpr>,
    /// The type of its values.
    pub column_type: ColumnType,
    zone: TimeZone,
}

/// Compiles an expression over the columns of `schema`.
pub fn compile(context: &Context, expression: Expr, schema: &SchemaRef) -> Result<Compiled> {
    compile_qualified(context, expression, &DFSchema::try_from(schema.as_ref().clone())?)
}

/// Whether an expression gives the same for the same row whenever, and for whomever, it is computed.
pub fn is_immutable(context: &Context, mut expression: Expr, schema: &SchemaRef) -> Result<bool> {
    rewrite_expression(&mut expression)?;
    Planner::new(context).is_immutable(expression, &DFSchema::try_from(schema.as_ref().clone())?)
}

/// An expression over the columns of a table as a plan has it.
pub fn planned(context: &Context, mut expression: Expr, schema: &SchemaRef) -> Result<datafusion::logical_expr::Expr> {
    rewrite_expression(&mut expression)?;
    Planner::new(context).simplified(expression, &DFSchema::try_from(schema.as_ref().clone())?)
}

/// The same over columns that belong to tables.
pub fn compile_qualified(context: &Context, mut expression: Expr, schema: &DFSchema) -> Result<Compiled> {
    rewrite_expression(&mut expression)?;
    let expression = Planner::new(context).compile(expression, schema)?;
    let field = expression.return_field(schema.as_arrow())?;
    Ok(Compiled { column_type: of_field(&field), expression, zone: context.zone() })
}

impl Compiled {
    /// Its value for each row.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(self.expression.evaluate(batch)?.into_array(batch.num_rows())?)
    }

    /// Its value for each row, as it is assigned to a column of a type.
    pub fn assigned(&self, batch: &RecordBatch, to: &ColumnType) -> Result<Vec<Datum<'static>>> {
        let array = self.evaluate(batch)?;
        match array.data_type().is_null() {
            true => Ok(vec![Datum::Null; batch.num_rows()]),
            false => assign(&array, &self.column_type, to, self.zone),
        }
    }

    /// The first row for which a condition is false; NULL is not.
    pub fn first_false(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let passed = self.evaluate(batch)?;
        let first = |passed: &BooleanArray| (0..passed.len()).find(|&at| passed.is_valid(at) && !passed.value(at));
        Ok(passed.as_boolean_opt().and_then(first))
    }
}

/// A batch of so many rows and no columns, for expressions that need none.
pub fn rows_without_columns(rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?)
}

/// The value of an expression that names no column.
pub fn constant(context: &Context, expression: Expr) -> Result<(ColumnType, Datum<'static>)> {
    let schema = Arc::new(Schema::empty());
    let compiled = compile(context, expression, &schema)?;
    let array = compiled.evaluate(&rows_without_columns(1)?)?;
    if array.data_type().is_null() {
        return Ok((ColumnType::Text, Datum::Null));
    }
    let mut values =
        super::super::arrays::explicit_cast(&array, &compiled.column_type, &compiled.column_type, context.zone())?;
    let value = values.pop().ok_or_else(|| Error::internal("an expression without a value"))?;
    Ok((compiled.column_type, value))
}

/// The value of an expression that names no column, as a value of some type: a literal is read as one, anything else is assigned.
pub fn value_for(context: &Context, expression: &Expr, to: &ColumnType) -> Result<Datum<'static>> {
    if let Expr::Value(value) = expression {
        match &value.value {
            Value::Null => return Ok(Datum::Null),
            Value::SingleQuotedString(literal) | Value::EscapedStringLiteral(literal) => {
                return text::parse(literal, to, context.zone());
            }
            Value::Number(digits, _)
                if matches!(
                    to,
                    ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Decimal { .. }
                ) =>
            {
                let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
                if is_whole || matches!(to, ColumnType::Decimal { .. }) {
                    return text::parse(digits, to, context.zone());
                }
            }
            Value::Boolean(value) if *to == ColumnType::Bool => return Ok(Datum::Bool(*value)),
            _ => {}
        }
    }
    let (from, datum) = constant(context, expression.clone())?;
    if datum.is_null() {
        return Ok(Datum::Null);
    }
    let mut builder = ColumnBuilder::new(&from);
    builder.push(&datum)?;
    let assigned = assign(&builder.finish()?, &from, to, context.zone())?;
    assigned.into_iter().next().ok_or_else(|| Error::internal("an expression without a value"))
}

/// The schema of all columns of a table, as its rows are checked and computed.
pub fn row_schema(table: &TableDescriptor) -> SchemaRef {
    let fields = table.columns.iter().map(|column| field(&column.name, &column.column_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Parses an expression that was stored as SQL.
pub fn parse(sql: &str) -> Result<Expr> {
    let dialect = sqlparser::dialect::PostgreSqlDialect {};
    let parsed = sqlparser::parser::Parser::new(&dialect).try_with_sql(sql).and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|_| Error::new(code::DATA_CORRUPTED, format!("a stored expression cannot be read: {sql}")))
}

/// The columns that a stored expression names, folded; none if it cannot be read.
pub fn columns_named(sql: &str) -> HashSet<String> {
    struct Named(HashSet<String>);
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            let column = match expression {
                Expr::Identifier(column) => Some(column),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            self.0.extend(column.map(normalized));
            ControlFlow::Continue(())
        }
    }
    let mut named = Named(HashSet::new());
    if let Ok(expression) = parse(sql) {
        let _ = Visit::visit(&expression, &mut named);
    }
    named.0
}

/// Takes the name of a table from in front of its columns.
pub fn unqualify(expression: &mut Expr, table: &str) {
    struct Unqualify<'a>(&'a str);
    impl VisitorMut for Unqualify<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression
                && let [.., table, column] = &parts[..]
                && normalized(table) == self.0
            {
                *expression = Expr::Identifier(column.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(expression, &mut Unqualify(table));
}

/// Gives a column another name wherever an expression has it.
pub fn rename_column(expression: &mut Expr, old: &str, new: &str) {
    struct Rename<'a>(&'a str, &'a str);
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            let column = match expression {
                Expr::Identifier(column) => Some(column),
                Expr::CompoundIdentifier(parts) => parts.last_mut(),
                _ => None,
            };
            if let Some(column) = column.filter(|column| normalized(column) == self.0) {
                *column = match quote_ident_in_sql(self.1) == self.1 {
                    true => Ident::new(self.1),
                    false => Ident::with_quote('"', self.1),
                };
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(expression, &mut Rename(old, new));
}
