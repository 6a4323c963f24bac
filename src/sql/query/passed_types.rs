//! Types that are passed on.
//!
//! What `coalesce`, `CASE` and their like give is of the type of what they are given. DataFusion keeps Arrow's type and forgets what a field
//! says beyond it, that text is a UUID, JSON or a label. [`field_of`] finds it out; [`PassedTypes`] writes it into a plan.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Union, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, of_field};
use super::operators::adopt;
use crate::catalog::ColumnType;

type DfResult<T> = datafusion::error::Result<T>;

/// The field of an expression, with the type that is passed on to it.
pub fn field_of(expression: &Expr, schema: &DFSchema) -> DfResult<FieldRef> {
    let field = expression.to_field(schema)?.1;
    if !may_forget(&field) {
        return Ok(field);
    }
    match expression {
        Expr::Alias(alias) => field_of(&alias.expr, schema),
        Expr::ScalarSubquery(subquery) => Ok(subquery.subquery.schema().fields().first().cloned().unwrap_or(field)),
        _ => Ok(match passed_type(expression, schema)? {
            Some(passed) => {
                let typed = anonymous_field(&passed).as_ref().clone().with_name(field.name());
                Arc::new(typed.with_nullable(field.is_nullable()))
            }
            None => field,
        }),
    }
}

/// Whether a field may be of a type that it says nothing of.
fn may_forget(field: &FieldRef) -> bool {
    let holds_text = match field.data_type() {
        DataType::List(element) => element.data_type().is_string(),
        other => other.is_string(),
    };
    holds_text && field.metadata().is_empty()
}

fn passed_type(expression: &Expr, schema: &DFSchema) -> DfResult<Option<ColumnType>> {
    let mut passed = None;
    for value in passed_on(expression) {
        if is_open(value) {
            continue;
        }
        let column_type = of_field(field_of(value, schema)?.as_ref());
        match &passed {
            None => passed = Some(column_type),
            Some(other) if *other == column_type => {}
            Some(_) => return Ok(None),
        }
    }
    let is_element = matches!(expression, Expr::ScalarFunction(call) if call.name() == "array_element");
    Ok(match passed {
        Some(ColumnType::Array(element)) if is_element => Some(*element),
        other => other,
    }
    .filter(is_more_than_text))
}

fn is_more_than_text(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Uuid | ColumnType::Json | ColumnType::Enum(_) | ColumnType::Char(_) => true,
        ColumnType::Array(element) => is_more_than_text(element),
        _ => false,
    }
}

fn is_char(field: &FieldRef) -> bool {
    matches!(of_field(field), ColumnType::Char(_))
}

/// The values of which an expression gives one as it is.
fn passed_on(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::ScalarFunction(call) => match call.name() {
            "coalesce" | "greatest" | "least" => call.args.iter().collect(),
            "nullif" | "array_element" => call.args.iter().take(1).collect(),
            _ => Vec::new(),
        },
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref()).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether it takes the type of what is beside it.
fn is_open(value: &Expr) -> bool {
    match value {
        Expr::Literal(ScalarValue::Null, _) | Expr::Literal(ScalarValue::Utf8(_), None) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        Expr::Alias(alias) => is_open(&alias.expr),
        _ => false,
    }
}

/// Writes down what is passed on.
#[derive(Debug)]
pub struct PassedTypes;

impl AnalyzerRule for PassedTypes {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(write_down)?.data)
    }

    fn name(&self) -> &str {
        "passed_types"
    }
}

fn write_down(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let mut schema = DFSchema::empty();
    for input in plan.inputs() {
        schema.merge(input.schema());
    }
    let names = NamePreserver::new(&plan);
    let changed = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(expression.transform_up(|inner| typed(inner, &schema))?.update_data(|changed| name.restore(changed)))
    })?;
    // What is below may have changed.
    let plan = match changed.data {
        LogicalPlan::Union(union) => LogicalPlan::Union(united(union)?),
        // A table's own rows, and what has its types written down elsewhere.
        plan @ (LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_)) => plan,
        plan => plan.recompute_schema()?,
    };
    Ok(Transformed::yes(plan))
}

fn typed(expression: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    if let Expr::BinaryExpr(compared) = expression {
        return compared_as_typed(compared, schema);
    }
    let is_subquery = matches!(expression, Expr::ScalarSubquery(_));
    if !is_subquery && passed_on(&expression).is_empty() {
        return Ok(Transformed::no(expression));
    }
    // One of a query outside is not known here.
    let Ok(field) = expression.to_field(schema) else { return Ok(Transformed::no(expression)) };
    if !is_subquery && !may_forget(&field.1) {
        return Ok(Transformed::no(expression));
    }
    let returns = of_field(field_of(&expression, schema)?.as_ref());
    if !is_more_than_text(&returns) {
        return Ok(Transformed::no(expression));
    }
    let expression = literals_typed(expression, &returns)?;
    let typed = Typed { returns, signature: Signature::any(1, Volatility::Immutable) };
    Ok(Transformed::yes(ScalarUDF::from(typed).call(vec![expression])))
}

/// Literals beside a value whose type was not known yet when the comparison was planned.
fn compared_as_typed(compared: BinaryExpr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    if !compared.op.supports_propagation() || is_open(&compared.left) == is_open(&compared.right) {
        return Ok(Transformed::no(Expr::BinaryExpr(compared)));
    }
    let BinaryExpr { left, op, right } = compared;
    let (left_field, right_field) = (field_of(&left, schema), field_of(&right, schema));
    let beside = |value: Expr, other: DfResult<FieldRef>| match other {
        Ok(field) if is_open(&value) && is_more_than_text(&of_field(&field)) => adopt(value, &field, TimeZone::UTC),
        _ => Ok(value),
    };
    let (left, right) = (beside(*left, right_field)?, beside(*right, left_field)?);
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))))
}

/// The same with literals that are of the type that is passed on.
fn literals_typed(expression: Expr, returns: &ColumnType) -> DfResult<Expr> {
    let beside = anonymous_field(returns);
    let typed = |value: Expr| match is_open(&value) {
        // These types have nothing to do with a time zone.
        true => adopt(value, &beside, TimeZone::UTC),
        false => Ok(value),
    };
    Ok(match expression {
        Expr::ScalarFunction(mut call) if call.name() != "array_element" => {
            call.args = call.args.into_iter().map(typed).collect::<DfResult<_>>()?;
            Expr::ScalarFunction(call)
        }
        Expr::Case(mut case) => {
            for (_, then) in &mut case.when_then_expr {
                **then = typed(std::mem::take(&mut **then))?;
            }
            if let Some(otherwise) = &mut case.else_expr {
                **otherwise = typed(std::mem::take(&mut **otherwise))?;
            }
            Expr::Case(case)
        }
        other => other,
    })
}

/// A union that says of its columns what all its inputs say.
fn united(union: Union) -> DfResult<Union> {
    let said = |index: usize| -> HashMap<String, String> {
        let fields = || union.inputs.iter().map(|input| input.schema().field(index));
        // What is text beside such a value is a literal of its type.
        let typed = fields().find(|field| is_more_than_text(&of_field(field)) && !is_char(field));
        let said = typed.or(fields().next()).map(|field| field.metadata().clone()).unwrap_or_default();
        let agrees = |other: &FieldRef| *other.metadata() == said || typed.is_some() && other.metadata().is_empty();
        if fields().all(agrees) { said } else { HashMap::new() }
    };
    let fields = union.schema.iter().enumerate().map(|(index, (qualifier, field))| {
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_metadata(said(index))))
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), union.schema.metadata().clone())?;
    let schema = schema.with_functional_dependencies(union.schema.functional_dependencies().clone())?;
    Ok(Union { inputs: union.inputs, schema: Arc::new(schema) })
}

/// A value as it is, and its type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    returns: ColumnType,
    signature: Signature,
}

impl ScalarUDFImpl for Typed {
    fn name(&self) -> &str {
        "typed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let value = &args.arg_fields[0];
        let typed = value.as_ref().clone().with_metadata(anonymous_field(&self.returns).metadata().clone());
        Ok(Arc::new(typed))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
