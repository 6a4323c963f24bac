//! What types the placeholders of a statement have, as far as its syntax tells, and how to word it so that DataFusion tells more: it finds
//! the type of what is compared with something. The rules are those of <https://www.postgresql.org/docs/15/typeconv.html>.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, LimitClause, Query, SetExpr, Subscript, TableFactor, UnaryOperator, Value, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::super::types::from_sql;
use super::frames::{counted_distances, settle_frame};
use super::parameters::placeholder;
use super::rewrite::{call, is_called};
use crate::catalog::ColumnType;

const SERIES: &str = "generate_series";

/// Functions that take values of one type, and give that.
const OF_ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Functions, and the types of their arguments; `None` is one of any type.
const ARGUMENTS: [(&[&str], &[Option<ColumnType>]); 28] = {
    const ANY: Option<ColumnType> = None;
    const TEXT: Option<ColumnType> = Some(ColumnType::Text);
    const INT4: Option<ColumnType> = Some(ColumnType::Int4);
    const INT8: Option<ColumnType> = Some(ColumnType::Int8);
    const DOUBLE: Option<ColumnType> = Some(ColumnType::Float8);
    const DECIMAL: Option<ColumnType> = Some(ColumnType::DECIMAL);
    const BOOL: Option<ColumnType> = Some(ColumnType::Bool);
    const JSON: Option<ColumnType> = Some(ColumnType::Json);
    const BYTES: Option<ColumnType> = Some(ColumnType::Bytes);
    [
        (&["substr", "substring"], &[TEXT, INT4, INT4]),
        (&["left", "right", "repeat"], &[TEXT, INT4]),
        (&["lpad", "rpad"], &[TEXT, INT4, TEXT]),
        (&["overlay"], &[TEXT, TEXT, INT4, INT4]),
        (&["split_part"], &[TEXT, TEXT, INT4]),
        (&["chr"], &[INT4]),
        (&["round", "trunc"], &[DECIMAL, INT4]),
        (&["round", "trunc", "ceil", "ceiling", "floor", "abs", "sign", "sqrt", "cbrt", "exp", "ln", "log"], &[DOUBLE]),
        (&["power", "pow", "atan2"], &[DOUBLE, DOUBLE]),
        (&["sin", "cos", "tan", "asin", "acos", "atan", "degrees", "radians", "to_timestamp", "pg_sleep"], &[DOUBLE]),
        (&["make_date"], &[INT4, INT4, INT4]),
        (&["make_time"], &[INT4, INT4, DOUBLE]),
        (&["make_timestamp", "make_timestamptz"], &[INT4, INT4, INT4, INT4, INT4, DOUBLE]),
        (&LOCKS, &[INT8]),
        (&LOCKS, &[INT4, INT4]),
        (&["setval"], &[TEXT, INT8, BOOL]),
        (&["set_config"], &[TEXT, TEXT, BOOL]),
        (&["pg_cancel_backend", "pg_terminate_backend"], &[INT4]),
        (&["jsonb_array_length", "jsonb_typeof", "jsonb_pretty", "jsonb_strip_nulls", "jsonb_object_keys"], &[JSON]),
        (&["jsonb_array_elements", "jsonb_array_elements_text", "jsonb_each", "jsonb_each_text"], &[JSON]),
        (&["jsonb_extract_path", "jsonb_extract_path_text"], &[JSON, TEXT, TEXT, TEXT, TEXT]),
        (&["encode"], &[BYTES, TEXT]),
        (&["sha224", "sha256", "sha384", "sha512"], &[BYTES]),
        (&["array_length", "array_lower", "array_upper"], &[ANY, INT4]),
        (&["lag", "lead"], &[ANY, INT8, ANY]),
        (&["nth_value"], &[ANY, INT8]),
        (&["ntile"], &[INT8]),
        (&["current_setting"], &[TEXT, BOOL]),
    ]
};

const LOCKS: [&str; 10] = [
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
];

/// The types of placeholders, by their indexes, as they become known.
#[derive(Default)]
pub struct ParameterTypes {
    known: HashMap<usize, ColumnType>,
    /// Those that are taken away from something, added to it, and those that it is multiplied with.
    subtracted: HashSet<usize>,
    added: HashSet<usize>,
    factors: HashSet<usize>,
}

impl ParameterTypes {
    /// How many are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The type of one.
    pub fn get(&self, index: usize) -> Option<&ColumnType> {
        self.known.get(&index)
    }

    /// One has a type, unless it is known to have another.
    pub fn note(&mut self, index: usize, column_type: ColumnType) {
        self.known.entry(index).or_insert(column_type);
    }

    /// What an expression is, if it is a placeholder, has a type.
    pub fn note_expression(&mut self, expression: &Expr, column_type: &ColumnType) {
        if let Some(index) = placeholder(expression) {
            self.note(index, column_type.clone());
        }
    }

    /// One is compared or computed with something of a type.
    pub fn note_beside(&mut self, index: usize, beside: ColumnType) {
        let own = match beside {
            ColumnType::Timestamp | ColumnType::TimestampTz | ColumnType::Time if self.added.contains(&index) => {
                ColumnType::Interval
            }
            ColumnType::Date if self.added.contains(&index) => ColumnType::Int4,
            // What is taken out of a document is a key.
            ColumnType::Json if self.subtracted.contains(&index) => ColumnType::Text,
            ColumnType::Interval if self.factors.contains(&index) => ColumnType::Float8,
            other => other,
        };
        // Lengths are those of columns: a parameter has none.
        self.note(index, own.without_length());
    }

    /// Those that can be seen in the syntax: under a cast, in `LIMIT` and `OFFSET`, as arguments of functions.
    pub fn note_syntax<T: Visit>(&mut self, tree: &T) {
        let _ = tree.visit(&mut Hints(self));
    }
}

struct Hints<'a>(&'a mut ParameterTypes);

impl Hints<'_> {
    /// A series that has a number among its ends and its step has only numbers there.
    fn add_ends(&mut self, ends: &[&Expr]) {
        let mut numbers = ends.iter().filter_map(|end| match end {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => Some(digits.parse::<i32>().is_ok()),
                _ => None,
            },
            _ => None,
        });
        let Some(first) = numbers.next() else { return };
        let is_short = first && numbers.all(|is_short| is_short);
        let column_type = if is_short { ColumnType::Int4 } else { ColumnType::Int8 };
        ends.iter().for_each(|end| self.0.note_expression(end, &column_type));
    }

    fn add_arguments(&mut self, function: &Function) {
        let given = arguments(function);
        if is_called(function, SERIES) {
            return self.add_ends(&given);
        }
        if given.iter().all(|argument| placeholder(argument).is_none()) {
            return;
        }
        let fits = |(names, types): &&(&[&str], &[Option<ColumnType>])| {
            given.len() <= types.len() && names.iter().any(|name| is_called(function, name))
        };
        // Of those with a name, the shortest that has room for the arguments.
        let found = ARGUMENTS.iter().filter(fits).min_by_key(|(_, types)| types.len());
        for (argument, column_type) in given.iter().zip(found.map_or(&[][..], |(_, types)| types)) {
            column_type.iter().for_each(|column_type| self.0.note_expression(argument, column_type));
        }
        if (is_called(function, "jsonb_set") || is_called(function, "jsonb_insert")) && given.len() >= 3 {
            let texts = ColumnType::Array(Box::new(ColumnType::Text));
            let types = [ColumnType::Json, texts, ColumnType::Json, ColumnType::Bool];
            given.iter().zip(&types).for_each(|(argument, column_type)| self.0.note_expression(argument, column_type));
        }
    }
}

impl Visitor for Hints<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let offset = offset.as_ref().map(|offset| &offset.value);
            limit.iter().chain(offset).for_each(|expression| self.0.note_expression(expression, &ColumnType::Int8));
        }
        if let SetExpr::Select(select) = &*query.body {
            let conditions = select.selection.iter().chain(&select.having);
            conditions.for_each(|condition| self.0.note_expression(condition, &ColumnType::Bool));
        }
        let fetched = query.fetch.iter().filter_map(|fetch| fetch.quantity.as_ref());
        fetched.for_each(|quantity| self.0.note_expression(quantity, &ColumnType::Int8));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Cast { expr, data_type, .. } => {
                let named = from_sql(data_type).map(ColumnType::without_length);
                named.iter().for_each(|column_type| self.0.note_expression(expr, column_type));
            }
            Expr::Function(function) => {
                self.add_arguments(function);
                for distance in counted_distances(function) {
                    self.0.note_expression(distance, &ColumnType::Int8);
                }
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.0.note_expression(expr, &ColumnType::Text);
                let places = substring_from.iter().chain(substring_for);
                places.for_each(|place| self.0.note_expression(place, &ColumnType::Int4));
            }
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                [left, right].into_iter().for_each(|side| self.0.note_expression(side, &ColumnType::Bool));
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.0.note_expression(expr, &ColumnType::Bool),
            Expr::Case { operand: None, conditions, .. } => {
                conditions.iter().for_each(|when| self.0.note_expression(&when.condition, &ColumnType::Bool));
            }
            Expr::BinaryOp { left, op: BinaryOperator::Minus, right } => {
                self.0.subtracted.extend([left, right].into_iter().filter_map(|side| placeholder(side)));
            }
            Expr::BinaryOp { left, op: BinaryOperator::Plus, right } => {
                self.0.added.extend([left, right].into_iter().filter_map(|side| placeholder(side)));
            }
            Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => {
                self.0.factors.extend([left, right].into_iter().filter_map(|side| placeholder(side)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (name, args) = match factor {
            TableFactor::Table { name, args: Some(args), .. } => (name, &args.args),
            TableFactor::Function { name, args, .. } => (name, args),
            _ => return ControlFlow::Continue(()),
        };
        if name.to_string().eq_ignore_ascii_case(SERIES) {
            self.add_ends(&args.iter().filter_map(plain_argument).collect::<Vec<_>>());
        }
        ControlFlow::Continue(())
    }
}

/// The arguments of a function that are plain expressions.
fn arguments(function: &Function) -> Vec<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => list.args.iter().filter_map(plain_argument).collect(),
        _ => Vec::new(),
    }
}

fn plain_argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    }
}

/// Rewords what DataFusion finds no types of placeholders in as comparisons, in which it does: for a query that is planned and not run.
pub fn as_comparisons<T: VisitMut>(tree: &mut T) {
    struct Reword;
    impl VisitorMut for Reword {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            settle_frame(expression);
            if let Some(instead) = compared(expression) {
                *expression = Expr::Nested(Box::new(instead));
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Reword);
}

fn compared(expression: &Expr) -> Option<Expr> {
    use BinaryOperator::{ArrowAt, AtArrow, Minus, Modulo, Multiply, Plus};
    match expression {
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => Some(equal(left, right)),
        Expr::BinaryOp { left, op: Plus | Minus | Multiply | Modulo, right } => {
            let (open, model) = open_and_model(&[left, right])?;
            Some(like(open, model))
        }
        Expr::BinaryOp { left, op: AtArrow | ArrowAt, right } => {
            let (open, model) = open_and_model(&[left, right])?;
            Some(equal(open, model))
        }
        Expr::InList { expr, list, .. } if placeholder(expr).is_some() => {
            let all: Vec<&Expr> = std::iter::once(&**expr).chain(list).collect();
            let (open, model) = open_and_model(&all)?;
            Some(equal(open, model))
        }
        Expr::Array(array) => {
            let all: Vec<&Expr> = array.elem.iter().collect();
            let (_, model) = open_and_model(&all)?;
            let elem = array.elem.iter().map(|element| settled(element, model)).collect();
            Some(Expr::Array(Array { elem, named: array.named }))
        }
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }
            if placeholder(left).is_some() && !matches!(**right, Expr::Subquery(_)) =>
        {
            Some(equal(left, &first_of(right)))
        }
        Expr::Function(function) if OF_ONE_TYPE.iter().any(|name| is_called(function, name)) => {
            let given = arguments(function);
            let (_, model) = open_and_model(&given)?;
            let settled = given.iter().map(|argument| settled(argument, model)).collect();
            Some(call("coalesce", settled))
        }
        Expr::Function(function) => {
            let given = arguments(function);
            let (array, element) = match &given[..] {
                [array, element] if ARRAY_FIRST.iter().any(|name| is_called(function, name)) => (*array, *element),
                [element, array] if is_called(function, "array_prepend") => (*array, *element),
                _ => return None,
            };
            placeholder(element)?;
            Some(whatever(equal(element, &first_of(array)), array))
        }
        Expr::Case { operand, conditions, else_result, case_token, end_token } => {
            let mut conditions = conditions.clone();
            let open = operand.as_deref().filter(|operand| placeholder(operand).is_some());
            if let Some(operand) = open {
                conditions.iter_mut().for_each(|when| when.condition = equal(operand, &when.condition));
            }
            let results: Vec<&Expr> =
                conditions.iter().map(|when| &when.result).chain(else_result.as_deref()).collect();
            let model = open_and_model(&results).map(|(_, model)| model.clone());
            if open.is_none() && model.is_none() {
                return None;
            }
            let mut else_result = else_result.clone();
            if let Some(model) = &model {
                conditions.iter_mut().for_each(|when| when.result = settled(&when.result, model));
                else_result = else_result.map(|other| Box::new(settled(&other, model)));
            }
            let operand = operand.clone().filter(|_| open.is_none());
            let (case_token, end_token) = (case_token.clone(), end_token.clone());
            Some(Expr::Case { case_token, end_token, operand, conditions, else_result })
        }
        _ => None,
    }
}

/// The first element of an array.
fn first_of(array: &Expr) -> Expr {
    let one = Expr::value(Value::Number("1".into(), false));
    Expr::CompoundFieldAccess {
        root: Box::new(Expr::Nested(Box::new(array.clone()))),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index { index: one })],
    }
}

const ARRAY_FIRST: [&str; 3] = ["array_append", "array_position", "array_remove"];

/// A placeholder among operands of one type, and an operand that tells the type; `None` if there are not both.
fn open_and_model<'a>(operands: &[&'a Expr]) -> Option<(&'a Expr, &'a Expr)> {
    let (open, settled): (Vec<&Expr>, Vec<&Expr>) = operands.iter().partition(|operand| placeholder(operand).is_some());
    let is_null = |operand: &&&Expr| matches!(operand, Expr::Value(value) if value.value == Value::Null);
    Some((*open.first()?, *settled.iter().find(|operand| !is_null(operand))?))
}

/// A placeholder as something of the type of the model; anything else as it is.
fn settled(operand: &Expr, model: &Expr) -> Expr {
    if placeholder(operand).is_some() { like(operand, model) } else { operand.clone() }
}

/// A value of the type of the model, which a placeholder is compared with.
fn like(open: &Expr, model: &Expr) -> Expr {
    let is_short = matches!(model, Expr::Value(value)
        if matches!(&value.value, Value::Number(digits, false) if digits.parse::<i32>().is_ok()));
    if !is_short {
        return whatever(equal(open, model), model);
    }
    // DataFusion takes every whole number for one of eight bytes.
    let short = Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(model.clone()),
        data_type: DataType::Int4(None),
        array: false,
        format: None,
    };
    whatever(equal(open, &short), &short)
}

/// A value, whether the condition is true or not.
fn whatever(condition: Expr, value: &Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: value.clone() }],
        else_result: Some(Box::new(value.clone())),
    }
}

fn equal(left: &Expr, right: &Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left.clone()))),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::Nested(Box::new(right.clone()))),
    }
}
