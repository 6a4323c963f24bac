//! Rows of a table as JSON: `row_to_json(t)`, `json_agg(t)`, `jsonb_build_object('order', o)`.
//!
//! The name of a table is what stands for its row, unless there is a column of that name. The syntax tree says `row:json(t.*)`; once tables
//! are known, [`expand`] puts their columns there. A row whose values are all NULL is NULL, as that of an outer join without a partner
//! is in PostgreSQL.

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr as Planned, LogicalPlan, lit};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    SetExpr, TableFactor,
};

use super::super::ddl::ROW_ID;
use super::own_expressions::change_each;
use super::rewrite::{call, is_called, normalized};
use super::subquery_order::SORT;

type DfResult<T> = datafusion::error::Result<T>;

/// The function of names and values, or of the columns of a table.
pub const ROW: &str = "row:json";

/// Functions whose arguments may be rows.
const OF_ROWS: [&str; 9] = [
    "row_to_json",
    "to_json",
    "to_jsonb",
    "json_agg",
    "jsonb_agg",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
];

/// Names the rows that functions of a query are given, but for those of queries inside of it.
pub fn name_rows(select: &mut Select) {
    let tables = tables_of(select);
    let change = |expression: &mut Expr| {
        let Expr::Function(function) = expression else { return };
        if OF_ROWS.iter().any(|name| is_called(function, name)) {
            name_in_arguments(function, &tables);
        }
    };
    change_each(&mut select.projection, change);
    change_each(&mut select.having, change);
}

fn name_in_arguments(function: &mut Function, tables: &HashSet<String>) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    for arg in &mut list.args {
        let FunctionArg::Unnamed(arg) = arg else { continue };
        match arg {
            FunctionArgExpr::QualifiedWildcard(table) => *arg = FunctionArgExpr::Expr(row_of(table.clone())),
            FunctionArgExpr::Expr(value) => match value {
                Expr::Identifier(name) if tables.contains(&normalized(name)) => *value = row_of(table_called(name)),
                Expr::Subquery(query) => name_only_row(query),
                _ => {}
            },
            _ => {}
        }
    }
}

/// `(SELECT x FROM (SELECT a, b) AS x)` gives rows of `x`.
fn name_only_row(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let tables = tables_of(select);
    if let [SelectItem::UnnamedExpr(value)] = &mut select.projection[..]
        && let Expr::Identifier(name) = &*value
        && tables.contains(&normalized(name))
    {
        *value = row_of(table_called(name));
    }
}

fn table_called(name: &Ident) -> ObjectName {
    ObjectName(vec![sqlparser::ast::ObjectNamePart::Identifier(name.clone())])
}

fn row_of(table: ObjectName) -> Expr {
    let mut row = call(ROW, Vec::new());
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut row {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table))];
    }
    row
}

/// What stands for rows: names of tables and subqueries, not of functions, which stand for their values.
fn tables_of(select: &Select) -> HashSet<String> {
    let relations = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let name = |relation: &TableFactor| match relation {
        TableFactor::Table { alias: Some(alias), args: None, .. } => Some(normalized(&alias.name)),
        TableFactor::Table { name, args: None, .. } => name.0.last().and_then(|part| part.as_ident()).map(normalized),
        TableFactor::Derived { alias: Some(alias), .. } => Some(normalized(&alias.name)),
        _ => None,
    };
    relations.filter_map(name).collect()
}

/// Puts columns and their names in the place of tables.
pub fn expand(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let expanded = expression.transform_up(|inner| Ok(expanded(inner, &schema)))?;
            Ok(expanded.update_data(|expression| name.restore(expression)))
        })
    })?;
    Ok(expanded.data)
}

fn expanded(expression: Planned, schema: &DFSchema) -> Transformed<Planned> {
    let Planned::ScalarFunction(ScalarFunction { func, args }) = &expression else {
        return Transformed::no(expression);
    };
    #[expect(deprecated, reason = "what the planner makes of `t.*` among arguments")]
    let [Planned::Wildcard { qualifier: Some(table), .. }] = &args[..] else { return Transformed::no(expression) };
    if func.name() != ROW {
        return Transformed::no(expression);
    }
    // A column of that name is meant before a table is.
    let named = schema.columns().into_iter().find(|column| column.name == table.table());
    if let Some(column) = named {
        return Transformed::yes(Planned::Column(column));
    }
    let of_table = schema.iter().filter(|(qualifier, _)| *qualifier == Some(table));
    let is_shown = |field: &str| field != ROW_ID && !field.starts_with(SORT);
    let args = of_table.filter(|(_, field)| is_shown(field.name())).flat_map(|(qualifier, field)| {
        let column = Column::new(qualifier.cloned(), field.name());
        [lit(field.name().clone()), Planned::Column(column)]
    });
    Transformed::yes(func.call(args.collect()))
}
