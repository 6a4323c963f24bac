//! `VALUES`, and what `UNION` and its like put together: literals that are of the type of what is in their column, and rows as queries, which
//! may have subqueries.

use sqlparser::ast::{
    CastKind, DataType as SqlType, ExactNumberInfo, Expr, Ident, SelectItem, SetExpr, SetOperator, SetQuantifier,
    TableFactor, Value, Values,
};

/// Whether a cast to this type may cut or round a value, which another value in the same column is not.
fn has_length(data_type: &SqlType) -> bool {
    data_type.to_string().contains('(')
}

/// In a column of `VALUES`, or of queries that are put together, of which some say their type, literals are of that type.
pub fn type_columns(body: &mut SetExpr, is_outermost: bool) {
    // In an INSERT numbers say nothing: a column of text has the strings beside them as they are.
    let reads_numbers = !(is_outermost && matches!(body, SetExpr::Values(_)));
    let is_set = matches!(body, SetExpr::SetOperation { .. });
    if !is_set && !matches!(body, SetExpr::Values(_)) {
        return;
    }
    if let SetExpr::SetOperation { left, right, .. } = body {
        [left, right].into_iter().for_each(|side| type_columns(side, false));
    }
    let mut rows = Vec::new();
    // What a table's columns are, nobody says here.
    if collect_rows(body, &mut rows).is_none() {
        return;
    }
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..width {
        let column = rows.iter().filter_map(|row| row.get(at).map(|value| &**value));
        let Some((data_type, kind)) = common_type(column, is_set, reads_numbers) else { continue };
        for value in rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            if matches!(value, Expr::Value(plain) if matches!(plain.value, Value::SingleQuotedString(_) | Value::Null))
            {
                let (data_type, kind, expr) = (data_type.clone(), kind.clone(), Box::new(value.clone()));
                **value = Expr::Cast { kind, expr, data_type, array: false, format: None };
            }
        }
    }
}

/// What the rows, or queries, of a body have in their columns; `None` if one has columns of a table that it does not name.
fn collect_rows<'a>(body: &'a mut SetExpr, rows: &mut Vec<Vec<&'a mut Expr>>) -> Option<()> {
    match body {
        SetExpr::Values(values) => rows.extend(values.rows.iter_mut().map(|row| row.content.iter_mut().collect())),
        SetExpr::Select(select) => {
            let columns = select.projection.iter_mut().map(|item| match item {
                SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                    Some(expression)
                }
                _ => None,
            });
            rows.push(columns.collect::<Option<Vec<_>>>()?);
        }
        SetExpr::SetOperation { left, right, .. } => {
            collect_rows(left, rows)?;
            collect_rows(right, rows)?;
        }
        SetExpr::Query(query) => collect_rows(&mut query.body, rows)?,
        _ => return None,
    }
    Some(())
}

/// The type that the values of a column say; in sets only if all that are more than literals say the same.
fn common_type<'a>(
    values: impl Iterator<Item = &'a Expr>,
    is_set: bool,
    reads_numbers: bool,
) -> Option<(SqlType, CastKind)> {
    let mut cast: Option<(SqlType, CastKind)> = None;
    let mut literal: Option<SqlType> = None;
    for value in values {
        let said = match value {
            Expr::Cast { data_type, kind, .. } => (data_type.clone(), kind.clone()),
            Expr::Interval(_) => (SqlType::Interval { fields: None, precision: None }, CastKind::DoubleColon),
            Expr::TypedString(typed) => (typed.data_type.clone(), CastKind::DoubleColon),
            Expr::Value(plain) => {
                match &plain.value {
                    Value::Number(digits, _) if reads_numbers => literal = Some(wider_number(literal, digits)),
                    Value::Boolean(_) if reads_numbers => literal = Some(SqlType::Bool),
                    _ => {}
                }
                continue;
            }
            _ if is_set => return None,
            _ => continue,
        };
        match &cast {
            _ if has_length(&said.0) => {}
            None => cast = Some(said),
            Some((data_type, _)) if is_set && *data_type != said.0 => return None,
            Some(_) => {}
        }
    }
    match (cast, literal) {
        (Some(_), Some(_)) if is_set => None,
        (Some(cast), _) => Some(cast),
        (None, literal) => literal.map(|literal| (literal, CastKind::DoubleColon)),
    }
}

/// The type of a number beside others.
fn wider_number(others: Option<SqlType>, digits: &str) -> SqlType {
    let is_wide = |data_type: &SqlType| matches!(others.as_ref(), Some(other) if other == data_type);
    let (decimal, long) = (SqlType::Numeric(ExactNumberInfo::None), SqlType::BigInt(None));
    if is_wide(&decimal) || digits.parse::<i64>().is_err() {
        decimal
    } else if is_wide(&long) || digits.parse::<i32>().is_err() {
        long
    } else {
        SqlType::Int(None)
    }
}

/// `VALUES` as `SELECT`s in their order.
pub fn selects_of(values: &Values) -> Option<SetExpr> {
    let width = values.rows.first()?.content.len();
    let columns: Vec<String> = (1..=width).map(|at| format!("column{at}")).collect();
    let ordered = format!("SELECT {} FROM (SELECT 1) AS \"values\" ORDER BY \"values:at\"", columns.join(", "));
    let mut ordered = super::super::parse_query(&ordered).ok()?;
    let SetExpr::Select(select) = &mut *ordered.body else { return None };
    let TableFactor::Derived { subquery, .. } = &mut select.from.first_mut()?.relation else { return None };
    *subquery.body = union_of(values)?;
    Some(SetExpr::Query(Box::new(ordered)))
}

fn union_of(values: &Values) -> Option<SetExpr> {
    let select = |(number, row): (usize, &sqlparser::ast::Parens<Vec<Expr>>)| {
        let item = |(at, value): (usize, &Expr)| SelectItem::ExprWithAlias {
            expr: value.clone(),
            alias: Ident::new(format!("column{}", at + 1)),
        };
        let mut query = super::super::parse_query("SELECT 1").ok()?;
        if let SetExpr::Select(select) = &mut *query.body {
            let number = SelectItem::ExprWithAlias {
                expr: Expr::Value(Value::Number(number.to_string(), false).into()),
                alias: Ident::with_quote('"', "values:at"),
            };
            select.projection = std::iter::once(number).chain(row.content.iter().enumerate().map(item)).collect();
        }
        Some(*query.body)
    };
    let selects = values.rows.iter().enumerate().map(select).collect::<Option<Vec<SetExpr>>>()?;
    selects.into_iter().reduce(|left, right| SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: SetQuantifier::All,
        left: Box::new(left),
        right: Box::new(right),
    })
}
