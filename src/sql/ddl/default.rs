//! Default expressions.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value, VisitMut, VisitorMut};

use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::parse_name;
use super::super::query::expression::{compile, value_for};
use super::super::temporary;
use super::stored;
use crate::catalog::{ColumnType, Descriptor, DescriptorId, TableDescriptor};
use crate::parser::{quote_ident_in_sql, sql_text};

/// A default as the descriptor of a table keeps it: its SQL, with sequences named by schema, and the sequences it uses.
pub async fn normalize(
    context: &Context,
    table: &TableDescriptor,
    expression: &Expr,
    column_type: &ColumnType,
) -> Result<(String, Vec<DescriptorId>)> {
    let mut expression = expression.clone();
    let mut named = SequenceNames::default();
    let _ = expression.visit(&mut named);
    let mut sequences = Vec::new();
    let mut qualified = Vec::new();
    for name in named.found {
        let found = context.object(&parse_name(&name)?).await?;
        let Descriptor::Sequence(sequence) = &*found else {
            return Err(Error::new("42809", format!("\"{name}\" is not a sequence")));
        };
        if sequence.database != table.database {
            return Err(Error::unsupported("a default that uses a sequence of another database"));
        }
        if temporary::holds(context, sequence.schema).await? && !temporary::holds(context, table.schema).await? {
            // Backups have the table, and not the sequence.
            return Err(Error::unsupported("a temporary sequence in a default of a permanent table"));
        }
        let schema = context.catalog().get(sequence.schema).await?;
        let (schema, name) = (quote_ident_in_sql(schema.name()), quote_ident_in_sql(&sequence.identity.name));
        qualified.push(format!("{schema}.{name}"));
        sequences.push(sequence.identity.id);
    }
    let mut rename = SequenceNames { replace: qualified.into_iter().rev().collect(), ..SequenceNames::default() };
    let _ = expression.visit(&mut rename);
    stored::settle(context, table.database, &mut expression).await?;
    match &expression {
        // A literal is of the type of the column, or none.
        Expr::Value(_) => match value_for(context, &expression, column_type) {
            // Of how long it may be, PostgreSQL speaks when it is used.
            Err(error) if error.sqlstate != code::STRING_TOO_LONG => return Err(error),
            _ => {
                if let (Expr::Value(value), ColumnType::TimestampTz) = (&mut expression, column_type)
                    && let Value::SingleQuotedString(literal) = &mut value.value
                {
                    *literal = stored::settled_instant(literal, context.zone());
                }
            }
        },
        _ => drop(compile(context, expression.clone(), &Arc::new(Schema::empty()))?),
    }
    Ok((sql_text(&expression), sequences))
}

/// Whether a default gives each row a value of its own.
pub fn is_volatile(default: &str) -> bool {
    let lower = default.to_lowercase();
    ["nextval", "random", "unique_rowid", "uuid", "clock_timestamp"].iter().any(|volatile| lower.contains(volatile))
}

/// Finds the names given to `nextval`, or replaces them.
#[derive(Default)]
struct SequenceNames {
    found: Vec<String>,
    replace: Vec<String>,
}

impl VisitorMut for SequenceNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression
            && function.name.to_string().eq_ignore_ascii_case("nextval")
            && let FunctionArguments::List(list) = &mut function.args
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.first_mut()
        {
            // nextval('s'::regclass) names the same sequence.
            if let Expr::Cast { expr, .. } = argument {
                *argument = (**expr).clone();
            }
            if let Expr::Value(value) = argument
                && let Value::SingleQuotedString(name) = &mut value.value
            {
                self.found.push(name.clone());
                if let Some(replacement) = self.replace.pop() {
                    *name = replacement;
                }
            }
        }
        ControlFlow::Continue(())
    }
}
