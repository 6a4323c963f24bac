//! Functions that give rows: in `FROM`, and among output columns.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectNamePart, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};

use super::super::error::{Error, Result, code};
use super::super::text::quoted;
use super::literals::type_number;
use super::own_expressions::change_each;
use super::rewrite::{call, has_column, is_called, normalized};
use super::{catalog_forms, json};
use crate::parser::{quote_ident_in_sql as quote_ident, sql_text};

/// Those that give series.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// Others that give tables.
const TABLE_FUNCTIONS: [&str; 2] = ["unnest", "generate_subscripts"];

/// Those that make columns of the members of JSON objects.
const RECORDS: [&str; 4] = ["jsonb_to_record", "json_to_record", "jsonb_to_recordset", "json_to_recordset"];

/// Rewords those of records in `FROM`, which may be of columns beside them.
pub fn make_columns(query: &mut Query) -> Result<()> {
    struct Records(Option<Error>);
    impl VisitorMut for Records {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            let (name, alias, args) = match &*factor {
                TableFactor::Table { name, alias: Some(alias), args: Some(given), .. } => (name, alias, &given.args),
                TableFactor::Function { name, alias: Some(alias), args, .. } => (name, alias, args),
                _ => return ControlFlow::Continue(()),
            };
            let function = name.to_string().to_ascii_lowercase();
            if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(document))] = &args[..]
                && RECORDS.contains(&function.as_str())
            {
                match columns_of_members(&function, document, alias) {
                    Ok(instead) => *factor = instead,
                    Err(error) => {
                        self.0 = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut records = Records(None);
    let _ = VisitMut::visit(query, &mut records);
    records.0.map_or(Ok(()), Err)
}

/// Rewords one that stands in `FROM`.
pub fn in_from(factor: &mut TableFactor) -> Result<()> {
    match factor {
        TableFactor::Table { with_ordinality: true, .. } | TableFactor::UNNEST { with_ordinality: true, .. } => {
            return Err(Error::unsupported("WITH ORDINALITY"));
        }
        TableFactor::Table { name, alias, args: given @ Some(_), .. } => {
            catalog_forms::unqualify(name);
            let function = name.to_string().to_ascii_lowercase();
            if json::is_set_function(&function) {
                *factor = rows_of_json(factor, &function)?;
            } else if SERIES.contains(&function.as_str()) {
                name_column(alias, &function);
                for arg in given.iter_mut().flat_map(|given| &mut given.args) {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(end)) = arg {
                        type_number(end);
                    }
                }
            } else if !TABLE_FUNCTIONS.contains(&function.as_str()) {
                *factor = row_of_function(factor);
            }
        }
        TableFactor::UNNEST { alias, .. } => name_column(alias, "unnest"),
        _ => {}
    }
    Ok(())
}

fn name_column(alias: &mut Option<TableAlias>, function: &str) {
    let name = alias.as_ref().map_or_else(|| Ident::new(function), |alias| alias.name.clone());
    let alias =
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: name.clone(), columns: Vec::new(), at: None });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name, data_type: None });
    }
}

/// A function of one value in `FROM`, as a query with that one row.
fn row_of_function(factor: &TableFactor) -> TableFactor {
    let TableFactor::Table { name, alias, args: Some(given), .. } = factor else { return factor.clone() };
    let columns = alias.as_ref().map_or(&[][..], |alias| &alias.columns);
    if columns.len() > 1 || columns.iter().any(|column| column.data_type.is_some()) {
        return factor.clone();
    }
    let own = name.0.last().and_then(ObjectNamePart::as_ident).cloned().unwrap_or_else(|| Ident::new("function"));
    let args = FunctionArgumentList { duplicate_treatment: None, args: given.args.clone(), clauses: Vec::new() };
    let Expr::Function(mut function) = call("", Vec::new()) else { return factor.clone() };
    (function.name, function.args) = (name.clone(), FunctionArguments::List(args));
    let called = alias.as_ref().map_or(&own, |alias| &alias.name).clone();
    let column = alias.as_ref().and_then(|alias| alias.columns.first()).map_or(&called, |column| &column.name).clone();
    let text = format!("SELECT 1 AS {}", sql_text(&Expr::Identifier(column)));
    let Ok(mut query) = super::super::parse_query(&text) else { return factor.clone() };
    if let SetExpr::Select(select) = &mut *query.body
        && let Some(SelectItem::ExprWithAlias { expr, .. }) = select.projection.first_mut()
    {
        *expr = Expr::Function(function);
    }
    let alias = TableAlias { explicit: true, name: called, columns: Vec::new(), at: None };
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
}

/// `jsonb_to_record(document) AS alias (column type, ...)`, as a query that takes each column from the document.
fn columns_of_members(function: &str, document: &Expr, alias: &TableAlias) -> Result<TableFactor> {
    let is_lateral = has_column(document);
    let document = sql_text(document);
    let (value, rows) = match function.ends_with("set") {
        true => {
            let rows =
                format!(" FROM (SELECT jsonb_array_elements({document}) AS \"record:value\") AS \"record:rows\"");
            ("\"record:value\"".to_string(), rows)
        }
        false => (format!("({document})::JSONB"), String::new()),
    };
    let column = |column: &TableAliasColumnDef| {
        let data_type = column.data_type.as_ref()?;
        let name = normalized(&column.name);
        let operator = if matches!(data_type, SqlType::JSON | SqlType::JSONB) { "->" } else { "->>" };
        Some(format!("({value} {operator} {})::{data_type} AS {}", quoted(&name), quote_ident(&name)))
    };
    let columns =
        alias.columns.iter().map(column).collect::<Option<Vec<String>>>().filter(|columns| !columns.is_empty());
    let columns = columns.ok_or_else(|| {
        let message = "a column definition list is required for functions returning \"record\"";
        Error::new(code::SYNTAX_ERROR, message)
    })?;
    let text = format!("SELECT {}{rows}", columns.join(", "));
    let subquery = Box::new(super::super::parse_query(&text)?);
    let alias = TableAlias { explicit: true, name: alias.name.clone(), columns: Vec::new(), at: None };
    Ok(TableFactor::Derived { lateral: is_lateral, subquery, alias: Some(alias), sample: None })
}

/// A set-returning function on JSON in `FROM`, as `UNNEST` of its array.
fn rows_of_json(factor: &mut TableFactor, function: &str) -> Result<TableFactor> {
    let TableFactor::Table { alias, args: Some(given), .. } = factor else {
        return Err(Error::unsupported(format!("{function} here")));
    };
    let mut args = Vec::new();
    for arg in std::mem::take(&mut given.args) {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
            return Err(Error::unsupported(format!("this argument of {function}")));
        };
        args.push(arg);
    }
    let is_keys = function.ends_with("keys");
    let mut alias = alias.take();
    let named = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
    name_column(&mut alias, function);
    if !named && let Some(column) = alias.as_mut().and_then(|alias| alias.columns.first_mut()) {
        column.name = Ident::new(if is_keys { function } else { "value" });
    }
    let array_exprs = vec![call(&format!("{}{function}", json::AS_LIST), args)];
    Ok(TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality: false })
}

/// A set-returning function on JSON among other expressions.
pub fn each_of_json(function: &Function) -> Option<Expr> {
    let name = function.name.to_string().to_ascii_lowercase();
    let FunctionArguments::List(list) = &function.args else { return None };
    if !json::is_set_function(&name) {
        return None;
    }
    let mut array = call(&format!("{}{name}", json::AS_LIST), Vec::new());
    if let Expr::Function(array) = &mut array {
        array.args = FunctionArguments::List(list.clone());
    }
    let rows = call("unnest", vec![array]);
    // `unnest` forgets the type of the elements.
    Some(if name.ends_with("elements") { call("cast:JSONB", vec![rows]) } else { rows })
}

/// A set-returning function in a select list gives rows.
pub fn unnest_set_function(mut expression: Expr) -> Expr {
    change_each(&mut expression, |expression| {
        let Expr::Function(function) = expression else { return };
        if SERIES.iter().any(|name| is_called(function, name)) {
            *expression = call("unnest", vec![expression.clone()]);
        } else if let Some(inner) = unnested_again(function) {
            *expression = inner;
        }
    });
    expression
}

/// The rows that are to be made rows of once more.
fn unnested_again(function: &Function) -> Option<Expr> {
    let is_unnest = |function: &Function| function.name.to_string().trim_matches('"').eq_ignore_ascii_case("unnest");
    let argument = |function: &Function| match &function.args {
        FunctionArguments::List(list) => match &list.args[..] {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] if is_unnest(function) => Some(arg.clone()),
            _ => None,
        },
        _ => None,
    };
    let inner = argument(function)?;
    match &inner {
        Expr::Function(again) => argument(again).map(|_| inner.clone()),
        _ => None,
    }
}
