//! What queries of the system catalog are written with: casts to `regclass` and its like, operators and collations with their schema,
//! relations of things that keepsafe does not have.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Ident, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, Subscript,
    TableFactor, TableWithJoins, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

use super::super::error::{Error, Result};
use super::super::introspection::{catalog_columns, catalog_oid, never_has_rows};
use super::correlated;
use super::output_names::output_name;
use super::rewrite::{call, normalized, string_literal};

/// Types whose values are object identifiers that print as names.
const NAMED_OIDS: [&str; 5] = ["regclass", "regtype", "regnamespace", "regrole", "regproc"];
/// Options of tables, which there are none of.
const NO_OPTIONS: &str = "reloptions";

/// Whether a query reads the system's catalog, and not something of its own that is called the same.
pub fn is_of_catalog(query: &Query) -> bool {
    struct OfCatalog;
    impl Visitor for OfCatalog {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            if last_part(name).starts_with("pg_") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    query.visit(&mut OfCatalog).is_break() && !names_like_catalog(query)
}

/// Whether a query calls something of its own as the system's relations are called.
fn names_like_catalog(query: &Query) -> bool {
    struct Names;
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut ctes = query.with.iter().flat_map(|with| &with.cte_tables);
            let found = ctes.any(|cte| normalized(&cte.alias.name).starts_with("pg_"));
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    query.visit(&mut Names).is_break()
}

/// Rewords a query before everything else: selects that cannot have a row need no plan.
pub fn empty_selects(query: &mut Query, of_catalog: bool) {
    struct Empty;
    impl VisitorMut for Empty {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            if empty_body(&mut query.body) {
                query.order_by = None;
            }
            ControlFlow::Continue(())
        }
    }
    if of_catalog {
        let _ = VisitMut::visit(query, &mut ExpandedArrays);
        let _ = VisitMut::visit(query, &mut SystemColumns);
        let _ = VisitMut::visit(query, &mut OuterColumns::default());
        let _ = VisitMut::visit(query, &mut Empty);
    }
    show_names(&mut query.body, of_catalog);
}

/// `information_schema._pg_expandarray`, which gives the elements of an array and their numbers as records: only one field of them is ever
/// asked for. `(_pg_expandarray(a)).n` becomes the numbers, the function alone the elements, and `(k).x` what is called `k`.
struct ExpandedArrays;

impl VisitorMut for ExpandedArrays {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        // `a.b[1]` is read as `(a).b[1]`.
        if let Expr::CompoundFieldAccess { root, access_chain } = expression
            && let (Expr::Identifier(table), Some(AccessExpr::Dot(Expr::Identifier(column)))) =
                (&**root, access_chain.first())
            && access_chain.len() > 1
        {
            **root = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
            access_chain.remove(0);
        }
        let field = match &*expression {
            Expr::CompoundFieldAccess { root, access_chain } => match (&**root, &access_chain[..]) {
                (Expr::Nested(inner), [AccessExpr::Dot(Expr::Identifier(field))]) => {
                    Some((&**inner, normalized(field)))
                }
                _ => None,
            },
            _ => None,
        };
        let instead = match field {
            Some((Expr::Function(function), field)) => expanded(function).map(|array| match field.as_str() {
                "n" => {
                    let one = Expr::Value(Value::Number("1".into(), false).into());
                    call("unnest", vec![call("subscripts", vec![array, one])])
                }
                _ => call("unnest", vec![array]),
            }),
            Some((name @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)), field)) if field == "x" => {
                Some(name.clone())
            }
            _ => match &*expression {
                Expr::Function(function) => expanded(function).map(|array| call("unnest", vec![array])),
                _ => None,
            },
        };
        if let Some(instead) = instead {
            *expression = instead;
        }
        ControlFlow::Continue(())
    }
}

fn expanded(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match &list.args[..] {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] if last_part(&function.name) == "_pg_expandarray" => {
            Some(array.clone())
        }
        _ => None,
    }
}

/// What a select calls its relations, and what they are called.
fn relations_of(select: &Select) -> Vec<(Ident, String)> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    factors
        .filter_map(|factor| match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let own = name.0.last().and_then(ObjectNamePart::as_ident);
                let called = alias.as_ref().map(|alias| &alias.name).or(own)?;
                Some((called.clone(), last_part(name)))
            }
            _ => None,
        })
        .collect()
}

/// Puts the relation's object identifier where a query says `tableoid`: every row of a relation has the same.
struct SystemColumns;

impl VisitorMut for SystemColumns {
    type Break = ();

    // What is inside comes first, so that a name without a relation is one of the innermost.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = &mut *query.body else { return ControlFlow::Continue(()) };
        let relations = relations_of(select);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expression) = item
                && output_name(expression) == "tableoid"
            {
                *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias: Ident::new("tableoid") };
            }
        }
        let _ = VisitMut::visit(&mut **select, &mut TableOid { relations });
        ControlFlow::Continue(())
    }
}

struct TableOid {
    relations: Vec<(Ident, String)>,
}

impl VisitorMut for TableOid {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let relation = match &*expression {
            Expr::Identifier(name) if normalized(name) == "tableoid" => self.relations.first(),
            Expr::CompoundIdentifier(parts) if parts.len() == 2 && normalized(&parts[1]) == "tableoid" => {
                let is_it = |(called, _): &&(Ident, String)| normalized(called) == normalized(&parts[0]);
                self.relations.iter().find(is_it)
            }
            _ => None,
        };
        if let Some(oid) = relation.and_then(|(_, name)| catalog_oid(name)) {
            *expression = Expr::Value(Value::Number(oid.to_string(), false).into());
        }
        ControlFlow::Continue(())
    }
}

/// Says of which relation a column is, in a subquery that has no such column itself: only so is it known to come from outside.
#[derive(Default)]
struct OuterColumns {
    scopes: Vec<Scope>,
}

/// The names that one query knows.
#[derive(Default)]
struct Scope {
    relations: Vec<(Ident, String)>,
    /// Names of output columns, which it may sort by.
    outputs: Vec<String>,
    /// Whether there is nothing else whose columns are not known here.
    is_known: bool,
}

impl Scope {
    fn of(query: &Query) -> Scope {
        let SetExpr::Select(select) = &*query.body else { return Scope::default() };
        let relations = relations_of(select);
        let factors: usize = select.from.iter().map(|from| 1 + from.joins.len()).sum();
        let is_known = factors == relations.len() && relations.iter().all(|(_, name)| catalog_columns(name).is_some());
        let output = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
            _ => None,
        };
        Scope { relations, outputs: select.projection.iter().filter_map(output).collect(), is_known }
    }

    /// What it calls the relation that has a column.
    fn find(&self, column: &str) -> Option<&Ident> {
        let has = |(_, relation): &&(Ident, String)| catalog_columns(relation).is_some_and(|all| all.contains(&column));
        self.relations.iter().find(has).map(|(called, _)| called)
    }
}

impl VisitorMut for OuterColumns {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scopes.push(Scope::of(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    // A derived table does not see what stands beside it, unless it is lateral.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.scopes.push(Scope::default());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if matches!(factor, TableFactor::Derived { lateral: false, .. }) {
            self.scopes.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Identifier(name) = &*expression else { return ControlFlow::Continue(()) };
        let column = normalized(name);
        let Some((own, outer)) = self.scopes.split_last() else { return ControlFlow::Continue(()) };
        if !own.is_known || own.relations.is_empty() || own.find(&column).is_some() || own.outputs.contains(&column) {
            return ControlFlow::Continue(());
        }
        // Not beyond a query of which not everything is known.
        for scope in outer.iter().rev() {
            if let Some(called) = scope.find(&column) {
                *expression = Expr::CompoundIdentifier(vec![called.clone(), name.clone()]);
                break;
            }
            if !scope.is_known {
                break;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Empties what has no rows; whether that is all of it.
fn empty_body(body: &mut SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => empty_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            let (left, right) = (empty_body(left), empty_body(right));
            left && right
        }
        _ => false,
    }
}

fn empty_select(select: &mut Select) -> bool {
    let has_rows = !select.from.iter().any(has_no_rows);
    let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if has_rows || select.projection.iter().any(is_wild) || correlated::aggregates(&select.projection) {
        return false;
    }
    let null = || Expr::Cast {
        kind: sqlparser::ast::CastKind::DoubleColon,
        expr: Box::new(Expr::Value(Value::Null.into())),
        data_type: SqlType::Text,
        array: false,
        format: None,
    };
    for item in &mut select.projection {
        let name = match &*item {
            SelectItem::UnnamedExpr(expression) => Ident::with_quote('"', output_name(expression)),
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            _ => continue,
        };
        *item = if name.value == "?column?" {
            SelectItem::UnnamedExpr(null())
        } else {
            SelectItem::ExprWithAlias { expr: null(), alias: name }
        };
    }
    select.from = Vec::new();
    select.selection = Some(Expr::Value(Value::Boolean(false).into()));
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.distinct = None;
    true
}

/// Whether a query has been emptied.
pub fn is_empty(query: &Query) -> bool {
    let no = |condition: &Expr| matches!(condition, Expr::Value(value) if value.value == Value::Boolean(false));
    matches!(&*query.body, SetExpr::Select(select)
        if select.from.is_empty() && select.selection.as_ref().is_some_and(no))
}

/// Whether relations joined in this way give no row because one of them never has any.
fn has_no_rows(joined: &TableWithJoins) -> bool {
    let mut inner = vec![&joined.relation];
    for join in &joined.joins {
        match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => inner.push(&join.relation),
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {}
            _ => return false,
        }
    }
    inner.into_iter().any(|relation| match relation {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(normalized)).collect();
            let parts = parts.unwrap_or_default();
            never_has_rows(&parts.iter().map(String::as_str).collect::<Vec<_>>())
        }
        TableFactor::Table { name, args: Some(args), .. } if last_part(name) == "unnest" => {
            matches!(&args.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] if are_options(arg))
        }
        TableFactor::Table { name, args: Some(_), .. } => last_part(name) == "pg_options_to_table",
        TableFactor::UNNEST { array_exprs, .. } => matches!(&array_exprs[..], [arg] if are_options(arg)),
        _ => false,
    })
}

fn are_options(expression: &Expr) -> bool {
    matches!(expression, Expr::CompoundIdentifier(parts) if parts.last().map(normalized).as_deref() == Some(NO_OPTIONS))
}

fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(ObjectNamePart::as_ident).map(normalized).unwrap_or_default()
}

/// Takes `pg_catalog` away from a function that reads as well without.
pub fn unqualify(name: &mut ObjectName) {
    let first = name.0.first().and_then(ObjectNamePart::as_ident).map(normalized);
    if name.0.len() == 2 && first.as_deref() == Some("pg_catalog") {
        name.0.remove(0);
    }
}

/// Of values that print as names, a client sees the names; of `int2vector` and `oidvector`, numbers with blanks between them.
fn show_names(body: &mut SetExpr, of_catalog: bool) {
    match body {
        SetExpr::Select(select) => {
            for item in &mut select.projection {
                let (SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }) = item
                else {
                    continue;
                };
                if of_catalog && is_vector(expression) {
                    let name = Ident::with_quote('"', output_name(expression));
                    let shown = call("array_to_string", vec![expression.clone(), string_literal(" ".into())]);
                    *expression = shown.clone();
                    if let SelectItem::UnnamedExpr(_) = item {
                        *item = SelectItem::ExprWithAlias { expr: shown, alias: name };
                    }
                    continue;
                }
                if let Expr::Function(function) = &*expression
                    && last_part(&function.name) == "to_regclass"
                {
                    let name = Ident::with_quote('"', "to_regclass");
                    *expression = call("name:regclass", vec![expression.clone()]);
                    if let SelectItem::UnnamedExpr(expr) = item {
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
                    }
                    continue;
                }
                if let Expr::Cast { expr, data_type, .. } = expression
                    && let Some(kind) = named_oid(data_type)
                {
                    let name = match output_name(expr) {
                        name if name == "?column?" => kind.into(),
                        name => name,
                    };
                    *expression = call(&format!("name:{kind}"), vec![(**expr).clone()]);
                    let name = Ident::with_quote('"', name);
                    if let SelectItem::UnnamedExpr(expr) = item {
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
                    }
                }
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            show_names(left, of_catalog);
            show_names(right, of_catalog);
        }
        SetExpr::Query(query) => show_names(&mut query.body, of_catalog),
        _ => {}
    }
}

/// Which type of named object identifiers this is.
pub fn named_oid(data_type: &SqlType) -> Option<&'static str> {
    let name = data_type.to_string().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    NAMED_OIDS.into_iter().find(|known| *known == name)
}

/// What a query asks of domains and composite types only, of which there are none, as the NULL that it is: asyncpg asks so, in ways that
/// DataFusion does not plan.
pub fn of_no_type(expression: &Expr) -> Option<Expr> {
    let Expr::Case { operand: None, conditions, else_result, .. } = expression else { return None };
    let ([when], true) = (&conditions[..], else_result.as_ref().is_none_or(|other| is_null(other))) else {
        return None;
    };
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = &when.condition else { return None };
    let (Expr::CompoundIdentifier(parts), Expr::Value(kind)) = (&**left, &**right) else { return None };
    let is_kind = matches!(&kind.value, Value::SingleQuotedString(kind) if ["c", "d"].contains(&kind.as_str()));
    if !is_kind || parts.last().is_none_or(|part| normalized(part) != "typtype") {
        return None;
    }
    let result = when.result.to_string().to_lowercase();
    let of_type = match (result.contains("array_agg("), result.contains("attname")) {
        (true, true) => "TEXT[]",
        (true, false) => "INT8[]",
        (false, _) => "INT8",
    };
    Some(call(&format!("cast:{of_type}"), vec![Expr::Value(Value::Null.into())]))
}

fn is_null(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if value.value == Value::Null)
}

/// An expression to plan instead of one that only queries of the catalog have.
pub fn reword(expression: &Expr, of_catalog: bool) -> Result<Option<Expr>> {
    Ok(match expression {
        Expr::Cast { expr, data_type, .. } => match named_oid(data_type) {
            Some(kind) => Some(call(&format!("oid:{kind}"), vec![(**expr).clone()])),
            None => printed(expr, data_type),
        },
        // Text is compared by its bytes, whatever its collation is called.
        Expr::Collate { expr, collation }
            if ["default", "c", "posix"].contains(&last_part(collation).to_lowercase().as_str()) =>
        {
            Some((**expr).clone())
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(name), right } => {
            let op = named_operator(name)?;
            Some(Expr::BinaryOp { left: left.clone(), op, right: right.clone() })
        }
        Expr::Function(function) => reword_function(function, of_catalog),
        Expr::CompoundFieldAccess { root, access_chain } if of_catalog => from_zero(root, access_chain),
        // DataFusion escapes with a backslash only.
        Expr::Like { negated, any, expr, pattern, escape_char: Some(escape) } => Some(Expr::Like {
            negated: *negated,
            any: *any,
            expr: expr.clone(),
            pattern: escaped(pattern, escape),
            escape_char: None,
        }),
        Expr::ILike { negated, any, expr, pattern, escape_char: Some(escape) } => Some(Expr::ILike {
            negated: *negated,
            any: *any,
            expr: expr.clone(),
            pattern: escaped(pattern, escape),
            escape_char: None,
        }),
        _ => None,
    })
}

/// A pattern in which another character escapes than a backslash.
fn escaped(pattern: &Expr, escape: &ValueWithSpan) -> Box<Expr> {
    Box::new(call("escaped_pattern", vec![pattern.clone(), Expr::Value(escape.clone())]))
}

/// The text of a value that prints as a name.
fn printed(inner: &Expr, data_type: &SqlType) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = inner else { return None };
    let name = last_part(name);
    let kind = name.strip_prefix("oid:")?;
    let is_text =
        ["text", "pg_catalog.text", "varchar", "name"].contains(&data_type.to_string().to_lowercase().as_str());
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] = &list.args[..] else { return None };
    is_text.then(|| call(&format!("name:{kind}"), vec![arg.clone()]))
}

fn named_operator(parts: &[String]) -> Result<BinaryOperator> {
    let symbol = parts.last().map_or("", String::as_str);
    Ok(match symbol {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        ">" => BinaryOperator::Gt,
        "<=" => BinaryOperator::LtEq,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        other => return Err(Error::unsupported(format!("OPERATOR({other})"))),
    })
}

/// Whether this is a column of type `int2vector` or `oidvector`, which begin at 0.
fn is_vector(expression: &Expr) -> bool {
    let name = match expression {
        Expr::Identifier(name) => Some(normalized(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized),
        _ => None,
    };
    // Clients put something before.
    name.is_some_and(|name| {
        ["indkey", "indoption", "indclass", "indcollation"].iter().any(|known| name.ends_with(known))
    })
}

/// Subscripts of names, and of vectors of numbers, begin at 0.
fn from_zero(root: &Expr, access: &[AccessExpr]) -> Option<Expr> {
    let [AccessExpr::Subscript(Subscript::Index { index })] = access else { return None };
    let one = || Expr::Value(Value::Number("1".into(), false).into());
    let at = Expr::BinaryOp { left: Box::new(index.clone()), op: BinaryOperator::Plus, right: Box::new(one()) };
    let names = ["attname", "conname", "datname", "nspname", "relname", "rolname", "typname"];
    let is_name = matches!(root, Expr::Identifier(ident) if names.contains(&normalized(ident).as_str()));
    if is_name {
        return Some(call("substr", vec![root.clone(), at, one()]));
    }
    is_vector(root).then(|| call("array_element", vec![root.clone(), at]))
}

fn reword_function(function: &Function, of_catalog: bool) -> Option<Expr> {
    let name = last_part(&function.name);
    match &function.args {
        // No row is an empty array.
        FunctionArguments::Subquery(query) if name == "array" && is_empty(query) => {
            Some(call("cast:TEXT[]", vec![string_literal("{}".into())]))
        }
        FunctionArguments::List(list) if name == "generate_subscripts" => {
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array)), ..] = &list.args[..] else { return None };
            let first = if of_catalog && is_vector(array) { "0" } else { "1" };
            let first = Expr::Value(Value::Number(first.into(), false).into());
            Some(call("unnest", vec![call("subscripts", vec![array.clone(), first])]))
        }
        // No table is a partition of another.
        FunctionArguments::List(_) if name == "pg_partition_ancestors" => {
            Some(call("unnest", vec![call("cast:INT8[]", vec![string_literal("{}".into())])]))
        }
        _ => None,
    }
}
