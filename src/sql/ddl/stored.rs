//! SQL that an object keeps: written so that it means the same to whoever reads it later.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{DataType as SqlType, Expr, Value, VisitMut, VisitorMut};

use super::super::context::Context;
use super::super::error::Result;
use super::super::text;
use super::super::time_zone::TimeZone;
use super::super::types::from_sql;
use super::enumeration;
use crate::catalog::{ColumnType, DescriptorId};

/// Names types with their schemas, and gives instants their offset: which types they are that somebody made.
pub async fn settle<T: VisitMut>(
    context: &Context,
    database: DescriptorId,
    tree: &mut T,
) -> Result<BTreeSet<DescriptorId>> {
    let _ = tree.visit(&mut Instants(context.zone()));
    enumeration::qualify(context, database, tree).await
}

/// The text of an instant, in UTC; as it was if it is none.
pub fn settled_instant(literal: &str, zone: TimeZone) -> String {
    match text::parse(literal, &ColumnType::TimestampTz, zone) {
        Ok(instant) => {
            let mut settled = String::new();
            text::format(&mut settled, &instant, &ColumnType::TimestampTz, TimeZone::UTC);
            settled
        }
        Err(_) => literal.into(),
    }
}

struct Instants(TimeZone);

impl Instants {
    fn settle(&self, value: &mut Value, data_type: &SqlType) {
        if let (Value::SingleQuotedString(literal), Ok(ColumnType::TimestampTz)) = (value, from_sql(data_type)) {
            *literal = settled_instant(literal, self.0);
        }
    }
}

impl VisitorMut for Instants {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::TypedString(typed) => self.settle(&mut typed.value.value, &typed.data_type),
            Expr::Cast { expr, data_type, .. } => {
                if let Expr::Value(value) = &mut **expr {
                    self.settle(&mut value.value, data_type);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
