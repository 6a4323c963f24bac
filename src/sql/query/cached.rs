//! Plans of prepared statements, kept from one run to the next.
//!
//! ```text
//!   SELECT t.a FROM t JOIN u ON u.t = t.id WHERE u.name = $1 AND t.day < $2 LIMIT $3
//!                                                open            open        fixed
//! ```
//!
//! Parameters that are compared with a column of their own type, in a condition, are open: the plan is made and optimized without their
//! values, which are put into it when it runs. All others are fixed, since what a query means may depend on them: there is a plan for
//! each of their values. A plan is used again only where each name in it still stands for the very same version of the same object,
//! in the transaction that asks, so nobody has to be told when a definition changes. What depends on the time or the session, on the
//! system's catalog or on types that somebody made is planned each time.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ExprSchema, ScalarValue};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, Volatility};
use sqlparser::ast::Query;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::error::Result;
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, field, from_sql, of_field};
use super::correlated::UNCERTAIN;
use super::table::StoreTable;
use super::{
    ExtraTables, Parameter, Planned, Sight, bind_some, catalog_forms, lateral, optimized, prepare_with, rewrite,
};
use crate::catalog::{ColumnType, Datum, Descriptor, DescriptorId};
use crate::kv::Txn;

/// Plans of one statement kept at most: one for each value of its fixed parameters.
const KEPT: usize = 8;
/// Rounds of finding out which parameters are open.
const ROUNDS: usize = 4;

/// The plans of a prepared statement.
#[derive(Default)]
pub struct PlanCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    plans: Vec<Arc<Template>>,
    /// Whether no plan of it can be kept.
    never: bool,
    generic_runs: u64,
    custom_runs: u64,
    made: u64,
}

/// A plan without the values of open parameters.
struct Template {
    zone: TimeZone,
    /// The open parameters, by index, and the type that each has in the plan.
    open: BTreeMap<usize, ColumnType>,
    /// The others, by index.
    fixed: BTreeMap<usize, Parameter>,
    sources: Vec<Source>,
    planned: Planned,
}

/// An object that a plan was made from.
struct Source {
    /// The database in which its name was looked up, if that is not the session's: that of a view.
    inside: Option<DescriptorId>,
    parts: Vec<String>,
    found: Arc<Descriptor>,
}

/// What a plan was made from.
#[derive(Default)]
pub struct Sources(Mutex<Found>);

#[derive(Default)]
struct Found {
    objects: Vec<Source>,
    /// Something else than a stored table or a view of such.
    others: bool,
}

impl Sources {
    /// Notes what a name stands for.
    pub fn note(&self, inside: Option<DescriptorId>, parts: &[String], found: &Arc<Descriptor>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_plain = matches!(**found, Descriptor::Table(_) | Descriptor::View(_)) && found.made_types().is_empty();
        noted.others |= !is_plain;
        noted.objects.push(Source { inside, parts: parts.to_vec(), found: found.clone() });
    }

    /// Notes that something else is read.
    pub fn note_other(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).others = true;
    }

    fn into_objects(self) -> Option<Vec<Source>> {
        let noted = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        (!noted.others).then_some(noted.objects)
    }
}

impl PlanCache {
    /// How often a kept plan was used, and how often one was made for a run alone.
    pub fn runs(&self) -> (u64, u64) {
        let kept = self.lock();
        (kept.generic_runs, kept.custom_runs)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A plan for a query and the values of its parameters out of what is kept, which it becomes part of when it runs again; `None`
    /// if it has to be planned for itself.
    pub async fn plan(&self, context: &Context, query: &Query, parameters: &[Parameter]) -> Result<Option<Planned>> {
        let candidates: Vec<Arc<Template>> = self.lock().plans.clone();
        for template in candidates {
            if let Some(values) = template.values(context.zone(), parameters)? {
                if template.is_current(context).await? {
                    self.lock().generic_runs += 1;
                    return template.with(context, &values).map(Some);
                }
                self.lock().plans.retain(|kept| !Arc::ptr_eq(kept, &template));
            }
        }
        let is_worth_it = {
            let kept = &mut *self.lock();
            kept.custom_runs += 1;
            // One that runs once needs none, and values that are others each time would make too many.
            !kept.never && kept.custom_runs > 1 && kept.made < KEPT as u64 + kept.generic_runs
        };
        if !is_worth_it {
            return Ok(None);
        }
        let Some(template) = Template::make(context, query, parameters).await else {
            self.lock().never = true;
            return Ok(None);
        };
        let values = template.values(context.zone(), parameters)?;
        let planned = values.map(|values| template.with(context, &values)).transpose()?;
        let kept = &mut *self.lock();
        kept.made += 1;
        kept.plans.push(Arc::new(template));
        if kept.plans.len() > KEPT {
            kept.plans.remove(0);
        }
        Ok(planned)
    }
}

impl Template {
    /// A plan that may be kept. What is wrong with a query is found by whoever plans it for itself.
    async fn make(context: &Context, query: &Query, parameters: &[Parameter]) -> Option<Template> {
        let may_be_open = |(index, (column_type, datum)): (usize, &Parameter)| {
            (!datum.is_null() && is_plain(column_type)).then(|| (index, column_type.clone()))
        };
        let mut open: BTreeMap<usize, ColumnType> = parameters.iter().enumerate().filter_map(may_be_open).collect();
        let is_of_catalog = catalog_forms::is_of_catalog(query);
        for _ in 0..ROUNDS {
            let mut bound = query.clone();
            bind_some(&mut bound, parameters, &|index| !open.contains_key(&index)).ok()?;
            let names = rewrite(&mut bound).ok()?;
            let sources = Sources::default();
            let all = super::rewrite::mentions(&bound, super::super::ddl::ROW_ID);
            let sight = Sight { all, keyed: !lateral::makes_rows(&bound), view: None, sources: &sources };
            let planner = prepare_with(context, &bound, &ExtraTables::new(), sight).await.ok()?;
            let fields = (0..parameters.len()).map(|index| open.get(&index).map(anonymous_field));
            let fields: Vec<Option<FieldRef>> = fields.collect();
            let Ok(logical) = planner.plan_open(bound, fields) else {
                // Perhaps it wants to know a value.
                if open.is_empty() {
                    return None;
                }
                open.clear();
                continue;
            };
            if !lasts(&logical)? {
                return None;
            }
            let used = Used::of(&logical, &open).ok()?;
            if used.is_settled(&open) {
                let objects = sources.into_objects()?;
                let optimize = || optimized(context, planner, logical, &names, is_of_catalog);
                let mut planned = tokio::task::block_in_place(optimize).ok()?;
                if !reads_tables_only(&planned.plan)? {
                    return None;
                }
                planned.plan = in_txn(planned.plan, None).ok()?;
                let others = parameters.iter().cloned().enumerate().filter(|(index, _)| !open.contains_key(index));
                let fixed = others.collect();
                return Some(Template { zone: context.zone(), open, fixed, sources: objects, planned });
            }
            open.retain(|index, column_type| match used.compared.get(index) {
                Some(with) if !used.elsewhere.contains(index) => {
                    column_type.clone_from(with);
                    true
                }
                _ => false,
            });
        }
        None
    }

    /// The values of the open parameters, if those of the fixed ones are what they were.
    fn values(&self, zone: TimeZone, parameters: &[Parameter]) -> Result<Option<BTreeMap<usize, ScalarValue>>> {
        let is_same = |(index, value): (&usize, &Parameter)| parameters.get(*index) == Some(value);
        if zone != self.zone || !self.fixed.iter().all(is_same) {
            return Ok(None);
        }
        let mut values = BTreeMap::new();
        for (index, column_type) in &self.open {
            let Some((given, datum)) = parameters.get(*index) else { return Ok(None) };
            if !is_value_of(datum, given, column_type) {
                return Ok(None);
            }
            values.insert(*index, scalar(datum, column_type)?);
        }
        Ok(Some(values))
    }

    /// Whether each name still stands for what it stood for. The catalog keeps one copy of each version of a descriptor.
    async fn is_current(&self, context: &Context) -> Result<bool> {
        for source in &self.sources {
            let found = match source.inside {
                None => context.find_object(&source.parts).await?,
                Some(database) => context.inside_database(database).await?.find_object(&source.parts).await?,
            };
            if !found.is_some_and(|found| Arc::ptr_eq(&found, &source.found)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The plan with these values, in a transaction.
    fn with(&self, context: &Context, values: &BTreeMap<usize, ScalarValue>) -> Result<Planned> {
        let value_of = |part: Expr| match &part {
            Expr::Placeholder(placeholder) => match number(&placeholder.id).and_then(|index| values.get(&index)) {
                Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
                None => Ok(Transformed::no(part)),
            },
            _ => Ok(Transformed::no(part)),
        };
        let plan = self.planned.plan.clone().transform_up_with_subqueries(|node| {
            node.map_expressions(|expression| expression.transform_up(value_of))
        })?;
        Ok(Planned {
            columns: self.planned.columns.clone(),
            engine: context.engine().clone(),
            state: self.planned.state.clone(),
            plan: in_txn(plan.data, Some(context.txn()))?,
        })
    }
}

/// A plan whose tables are seen by a transaction. One that is kept is seen by none, which it would keep from ending.
fn in_txn(plan: LogicalPlan, txn: Option<&Arc<dyn Txn>>) -> Result<LogicalPlan> {
    let moved = plan.transform_up_with_subqueries(|mut node| {
        if let LogicalPlan::TableScan(scan) = &mut node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = (&*provider as &dyn Any).downcast_ref::<StoreTable>()
        {
            scan.source = provider_as_source(Arc::new(table.in_txn(txn.cloned())));
            return Ok(Transformed::yes(node));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(moved.data)
}

/// How a plan uses its placeholders.
#[derive(Default)]
struct Used {
    /// Those that are compared with a column in a condition: the column's type.
    compared: BTreeMap<usize, ColumnType>,
    /// Those that stand somewhere else, or are compared with what is not quite like them.
    elsewhere: BTreeSet<usize>,
}

impl Used {
    fn of(plan: &LogicalPlan, open: &BTreeMap<usize, ColumnType>) -> datafusion::error::Result<Used> {
        let mut used = Used::default();
        plan.apply_with_subqueries(|node| {
            let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
            let schema = merge_schema(&node.inputs());
            node.apply_expressions(|expression| {
                let mut compared = Vec::new();
                let mut seen = Vec::new();
                expression.apply(|part| {
                    match part {
                        Expr::Placeholder(placeholder) => seen.extend(number(&placeholder.id)),
                        _ if !is_condition => {}
                        other => {
                            for (column, value) in compared_in(other) {
                                let field = match column {
                                    Expr::Column(column) => schema.field_from_column(column).ok().cloned(),
                                    Expr::OuterReferenceColumn(field, _) => Some(field.clone()),
                                    _ => None,
                                };
                                if let (Some(field), Expr::Placeholder(placeholder)) = (field, value) {
                                    compared.extend(number(&placeholder.id).map(|index| (index, of_field(&field))));
                                }
                            }
                        }
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
                for index in seen {
                    match compared.iter().position(|(other, _)| *other == index) {
                        Some(at) => {
                            let (_, column_type) = compared.swap_remove(at);
                            used.compare(index, column_type, open);
                        }
                        None => drop(used.elsewhere.insert(index)),
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(used)
    }

    fn compare(&mut self, index: usize, with: ColumnType, open: &BTreeMap<usize, ColumnType>) {
        let known = self.compared.get(&index).or(open.get(&index));
        let is_alike = known.is_some_and(|known| *known == with || (known.is_integer() && with.is_integer()));
        let is_text = known.is_some_and(|known| is_text(known) && is_text(&with));
        let differs = self.compared.get(&index).is_some_and(|known| *known != with && !is_text);
        if !is_plain(&with) || !(is_alike || is_text) || differs {
            self.elsewhere.insert(index);
        }
        self.compared.insert(index, if is_text { ColumnType::Text } else { with });
    }

    /// Whether the open parameters are used as open ones can be, with the types they have.
    fn is_settled(&self, open: &BTreeMap<usize, ColumnType>) -> bool {
        self.elsewhere.is_empty()
            && open.iter().all(|(index, column_type)| self.compared.get(index).is_some_and(|with| with == column_type))
    }
}

fn number(id: &str) -> Option<usize> {
    id.trim_start_matches('$').parse::<usize>().ok()?.checked_sub(1)
}

/// What an expression compares with what.
fn compared_in(expression: &Expr) -> Vec<(&Expr, &Expr)> {
    match expression {
        Expr::BinaryExpr(both) if is_comparison(both.op) => {
            vec![(&both.left, &both.right), (&both.right, &both.left)]
        }
        // Not within lists: those of one column are merged as if what is written differently were different.
        Expr::Between(between) => vec![(&between.expr, &between.low), (&between.expr, &between.high)],
        _ => Vec::new(),
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Whether values of a type compare as they are.
fn is_plain(column_type: &ColumnType) -> bool {
    use ColumnType::{Bool, Bytes, Date, Int2, Int4, Int8, Text, Time, Timestamp, TimestampTz, Uuid, VarChar};
    matches!(
        column_type,
        Bool | Int2 | Int4 | Int8 | Text | VarChar(_) | Bytes | Date | Time | Timestamp | TimestampTz | Uuid
    )
}

fn is_text(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Text | ColumnType::VarChar(_))
}

/// Whether a parameter is a value of the type that it has in a plan.
fn is_value_of(datum: &Datum<'_>, given: &ColumnType, wanted: &ColumnType) -> bool {
    match (datum, wanted) {
        (Datum::Null, _) => false,
        (Datum::Int(value), ColumnType::Int2) if given.is_integer() => i16::try_from(*value).is_ok(),
        (Datum::Int(value), ColumnType::Int4) if given.is_integer() => i32::try_from(*value).is_ok(),
        (Datum::Int(_), ColumnType::Int8) => given.is_integer(),
        _ => given == wanted || (is_text(given) && is_text(wanted)),
    }
}

fn scalar(datum: &Datum<'static>, column_type: &ColumnType) -> Result<ScalarValue> {
    let schema = Arc::new(Schema::new(vec![field("value", column_type, true)]));
    let batch = batch_of_rows(&schema, std::slice::from_ref(column_type), &[vec![datum.clone()]])?;
    Ok(ScalarValue::try_from_array(batch.column(0), 0)?)
}

/// Whether all functions of a plan give the same at any time and in any session.
fn lasts(plan: &LogicalPlan) -> Option<bool> {
    let mut lasts = true;
    let done = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    lasts &= (call.func.signature().volatility == Volatility::Immutable || call.name() == UNCERTAIN)
                        && has_built_in_type(call.name());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    done.ok().map(|_| lasts)
}

/// Whether a function is no cast to a type that somebody made, which may change.
fn has_built_in_type(function: &str) -> bool {
    let Some(name) = function.strip_prefix("cast:") else { return true };
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).and_then(|mut parser| parser.parse_data_type());
    parsed.is_ok_and(|sql_type| from_sql(&sql_type).is_ok())
}

/// Whether all that a plan reads is stored tables, in nodes that are DataFusion's.
fn reads_tables_only(plan: &LogicalPlan) -> Option<bool> {
    let mut only = true;
    let done = plan.apply_with_subqueries(|node| {
        only &= match node {
            LogicalPlan::Extension(_) | LogicalPlan::RecursiveQuery(_) => false,
            LogicalPlan::TableScan(scan) => source_as_provider(&scan.source)
                .is_ok_and(|provider| (&*provider as &dyn Any).downcast_ref::<StoreTable>().is_some()),
            _ => true,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    done.ok().map(|_| only)
}
