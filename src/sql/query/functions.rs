//! Functions of keepsafe's own: casts with PostgreSQL's rules, and what depends on the session.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, TimeUnit};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::super::activity::SessionActivity;
use super::super::advisory::{Key, Mode};
use super::super::arrays::{ColumnBuilder, explicit_cast, only_value};
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::settings::is_planner_setting;
use super::super::time_zone::TimeZone;
use super::super::types::{anonymous_field, arrow_type, of_field};
use super::sequences;
use crate::catalog::{ColumnType, UNCONSTRAINED_SCALE};

type DfResult<T> = datafusion::error::Result<T>;

/// The function `cast:TYPE`, which the rewriter puts in the place of casts.
pub fn cast_by_name(context: &Context, name: &str) -> Option<Arc<ScalarUDF>> {
    let sql_type =
        Parser::new(&PostgreSqlDialect {}).try_with_sql(name.strip_prefix("cast:")?).ok()?.parse_data_type().ok()?;
    let target = context.column_type(&sql_type).map_err(|error| error.message);
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Cast { name: name.into(), target, zone: context.zone(), signature })))
}

/// The same for a type that is known.
pub fn cast_to(target: ColumnType, zone: TimeZone) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::from(Cast { name: format!("cast:{target}"), target: Ok(target), zone, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    name: String,
    /// Or why there is no such type.
    target: Result<ColumnType, String>,
    zone: TimeZone,
    signature: Signature,
}

impl Cast {
    fn target(&self) -> Result<&ColumnType> {
        self.target.as_ref().map_err(|message| Error::new(code::UNDEFINED_OBJECT, message.clone()))
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(arrow_type(self.target()?))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let field = anonymous_field(self.target()?).as_ref().clone().with_name(&self.name);
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let from = of_field(&args.arg_fields[0]);
        let is_scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if is_scalar { 1 } else { args.number_rows })?;
        let target = self.target()?;
        let mut builder = ColumnBuilder::new(target);
        if array.data_type() == &DataType::Null {
            (0..array.len()).try_for_each(|_| builder.push(&crate::catalog::Datum::Null))?;
        } else {
            explicit_cast(&array, &from, target, self.zone)?.iter().try_for_each(|datum| builder.push(datum))?;
        }
        let cast = builder.finish()?;
        if is_scalar {
            return Ok(ColumnarValue::Scalar(only_value(&cast)?));
        }
        Ok(ColumnarValue::Array(cast))
    }
}

/// A function whose value depends on the session or the transaction.
type Body = fn(&Context, &[ArrayRef], usize) -> Result<ArrayRef>;

struct SessionFunction {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    context: Context,
    body: Body,
}

impl std::fmt::Debug for SessionFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for SessionFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(self.context.txn(), other.context.txn())
    }
}

impl Eq for SessionFunction {}

impl Hash for SessionFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        // Of texts, it is the only one that is something else.
        let field = match self.name {
            "gen_random_uuid" => anonymous_field(&ColumnType::Uuid).as_ref().clone(),
            _ => Field::new(self.name, self.returns.clone(), true),
        };
        Ok(Arc::new(field.with_name(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<_>>>()?;
        Ok(ColumnarValue::Array((self.body)(&self.context, &arrays, args.number_rows)?))
    }
}

/// The functions of a session in one transaction.
pub fn of_session(context: &Context) -> HashMap<String, Arc<ScalarUDF>> {
    let text = || Signature::exact(vec![DataType::Utf8], Volatility::Volatile);
    let two_texts = Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Stable);
    let none = || Signature::nullary(Volatility::Stable);
    // One number of 64 bits, or two of 32.
    let numbers = || {
        let two = vec![DataType::Int64, DataType::Int64];
        let either = vec![TypeSignature::Exact(vec![DataType::Int64]), TypeSignature::Exact(two)];
        Signature::one_of(either, Volatility::Volatile)
    };
    let number = || Signature::exact(vec![DataType::Int64], Volatility::Volatile);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let logical = DataType::Decimal128(38, UNCONSTRAINED_SCALE as i8);
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let setval = Signature::one_of(
        vec![
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Int64]),
            TypeSignature::Exact(vec![DataType::Utf8, DataType::Int64, DataType::Boolean]),
        ],
        Volatility::Volatile,
    );
    let sends = Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Volatile);
    let setting = vec![DataType::Utf8];
    let or_missing = vec![DataType::Utf8, DataType::Boolean];
    let settings = || {
        let either = [setting.clone(), or_missing.clone()].map(TypeSignature::Exact);
        Signature::one_of(either.to_vec(), Volatility::Stable)
    };
    let set_config = vec![DataType::Utf8, DataType::Utf8, DataType::Boolean];
    let set_config = Signature::exact(set_config, Volatility::Volatile);
    let functions: Vec<(&'static str, Signature, DataType, Body)> = vec![
        ("now", none(), time.clone(), transaction_time),
        ("current_timestamp", none(), time.clone(), transaction_time),
        ("transaction_timestamp", none(), time.clone(), transaction_time),
        ("statement_timestamp", none(), time.clone(), transaction_time),
        ("clock_timestamp", Signature::nullary(Volatility::Volatile), time, clock_time),
        ("localtimestamp", none(), local, local_time),
        ("current_date", none(), DataType::Date32, current_date),
        ("cluster_logical_timestamp", none(), logical, logical_timestamp),
        ("current_database", none(), DataType::Utf8, |context, _, rows| texts(&context.session().database, rows)),
        ("current_catalog", none(), DataType::Utf8, |context, _, rows| texts(&context.session().database, rows)),
        ("current_schema", none(), DataType::Utf8, |context, _, rows| {
            let first = context.wait_for(context.first_schema())?.ok();
            Ok(Arc::new(StringArray::from(vec![first; rows])))
        }),
        ("current_user", none(), DataType::Utf8, |context, _, rows| texts(&context.session().user, rows)),
        ("current_role", none(), DataType::Utf8, |context, _, rows| texts(&context.session().user, rows)),
        ("session_user", none(), DataType::Utf8, |context, _, rows| texts(&context.session().session_user, rows)),
        ("user", none(), DataType::Utf8, |context, _, rows| texts(&context.session().user, rows)),
        ("pg_export_snapshot", none(), DataType::Utf8, |context, _, rows| {
            texts(&context.txn().snapshot().0.to_string(), rows)
        }),
        ("current_setting", settings(), DataType::Utf8, current_setting),
        ("set_config", set_config, DataType::Utf8, set_planner_setting),
        ("pg_backend_pid", none(), DataType::Int32, |context, _, rows| {
            Ok(Arc::new(Int32Array::from(vec![context.session().backend_id; rows])))
        }),
        ("pg_cancel_backend", number(), DataType::Boolean, |context, args, rows| {
            each_session(context, args, rows, SessionActivity::cancel)
        }),
        ("pg_terminate_backend", number(), DataType::Boolean, |context, args, rows| {
            each_session(context, args, rows, SessionActivity::end)
        }),
        ("version", none(), DataType::Utf8, |_, _, rows| texts(super::super::VERSION, rows)),
        ("pg_sleep", Signature::exact(vec![DataType::Float64], Volatility::Volatile), DataType::Utf8, pg_sleep),
        ("pg_notify", sends, DataType::Utf8, |context, args, rows| {
            let (channels, payloads) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
            for (channel, payload) in channels.iter().zip(payloads) {
                context.session().listener.notify(channel.unwrap_or_default(), payload.unwrap_or_default())?;
            }
            texts("", rows)
        }),
        ("gen_random_uuid", Signature::nullary(Volatility::Volatile), DataType::Utf8, random_uuids),
        ("unique_rowid", Signature::nullary(Volatility::Volatile), DataType::Int64, row_ids),
        ("nextval", text(), DataType::Int64, |context, args, _| each_sequence(context, args, sequences::next)),
        ("currval", text(), DataType::Int64, |context, args, _| each_sequence(context, args, sequences::current)),
        ("pg_get_serial_sequence", two_texts, DataType::Utf8, serial_sequence),
        ("lastval", Signature::nullary(Volatility::Volatile), DataType::Int64, last_value),
        ("pg_advisory_lock", numbers(), DataType::Utf8, |context, args, rows| {
            each_lock(context, args, rows, |key| {
                context.wait_for(context.session().locks.lock(key, Mode::Exclusive))?
            })?;
            texts("", rows)
        }),
        ("pg_advisory_lock_shared", numbers(), DataType::Utf8, |context, args, rows| {
            each_lock(context, args, rows, |key| context.wait_for(context.session().locks.lock(key, Mode::Shared))?)?;
            texts("", rows)
        }),
        ("pg_advisory_xact_lock", numbers(), DataType::Utf8, |context, args, rows| {
            each_lock(context, args, rows, |key| {
                context.wait_for(context.transaction_locks().lock(key, Mode::Exclusive))?
            })?;
            texts("", rows)
        }),
        ("pg_advisory_xact_lock_shared", numbers(), DataType::Utf8, |context, args, rows| {
            each_lock(context, args, rows, |key| {
                context.wait_for(context.transaction_locks().lock(key, Mode::Shared))?
            })?;
            texts("", rows)
        }),
        ("pg_try_advisory_lock", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| Ok(context.session().locks.try_lock(key, Mode::Exclusive)))?)
        }),
        ("pg_try_advisory_lock_shared", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| Ok(context.session().locks.try_lock(key, Mode::Shared)))?)
        }),
        ("pg_try_advisory_xact_lock", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| {
                Ok(context.transaction_locks().try_lock(key, Mode::Exclusive))
            })?)
        }),
        ("pg_try_advisory_xact_lock_shared", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| Ok(context.transaction_locks().try_lock(key, Mode::Shared)))?)
        }),
        ("pg_advisory_unlock", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| Ok(context.session().locks.unlock(key, Mode::Exclusive)))?)
        }),
        ("pg_advisory_unlock_shared", numbers(), DataType::Boolean, |context, args, rows| {
            booleans(each_lock(context, args, rows, |key| Ok(context.session().locks.unlock(key, Mode::Shared)))?)
        }),
        ("pg_advisory_unlock_all", Signature::nullary(Volatility::Volatile), DataType::Utf8, |context, _, rows| {
            context.session().locks.unlock_all();
            texts("", rows)
        }),
        ("setval", setval, DataType::Int64, set_value),
    ];
    let function = |(name, signature, returns, body)| {
        let function = SessionFunction { name, signature, returns, context: context.clone(), body };
        (name.to_string(), Arc::new(ScalarUDF::from(function)))
    };
    functions.into_iter().map(function).collect()
}

fn texts(text: &str, rows: usize) -> Result<ArrayRef> {
    Ok(Arc::new(StringArray::from(vec![text; rows])))
}

fn transaction_time(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let times = TimestampMicrosecondArray::from(vec![context.txn().snapshot().micros(); rows]);
    Ok(Arc::new(times.with_timezone("+00:00")))
}

/// What clocks show where the session is, at the time of the transaction.
fn local_now(context: &Context) -> i64 {
    context.zone().local(context.txn().snapshot().micros())
}

fn local_time(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    Ok(Arc::new(TimestampMicrosecondArray::from(vec![local_now(context); rows])))
}

fn clock_time(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let now = context.engine().store().now()?.micros();
    Ok(Arc::new(TimestampMicrosecondArray::from(vec![now; rows]).with_timezone("+00:00")))
}

fn current_date(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let days = local_now(context).div_euclid(86_400_000_000) as i32;
    Ok(Arc::new(Date32Array::from(vec![days; rows])))
}

/// The time the transaction reads at, in nanoseconds. It sees every commit acknowledged before it.
fn logical_timestamp(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let digits = i128::from(context.txn().snapshot().0) * 10i128.pow(u32::from(UNCONSTRAINED_SCALE));
    let values = Decimal128Array::from(vec![digits; rows]);
    Ok(Arc::new(values.with_precision_and_scale(38, UNCONSTRAINED_SCALE as i8)?))
}

fn random_uuids(_: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let uuids: Vec<String> = (0..rows).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    Ok(Arc::new(StringArray::from(uuids)))
}

fn row_ids(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let ids = (0..rows).map(|_| context.engine().unique_row_id()).collect::<Result<Vec<i64>>>()?;
    Ok(Arc::new(Int64Array::from(ids)))
}

fn pg_sleep(context: &Context, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let seconds = args[0].as_primitive::<datafusion::arrow::datatypes::Float64Type>();
    for index in 0..rows {
        if !seconds.is_null(index) && seconds.value(index) > 0.0 {
            let duration = std::time::Duration::from_secs_f64(seconds.value(index).min(3600.0));
            context.wait_for(tokio::time::sleep(duration))?;
        }
    }
    texts("", rows)
}

fn each_sequence(context: &Context, args: &[ArrayRef], act: fn(&Context, &str) -> Result<i64>) -> Result<ArrayRef> {
    let names = args[0].as_string::<i32>();
    let values = names.iter().map(|name| name.map(|name| act(context, name)).transpose());
    Ok(Arc::new(values.collect::<Result<Int64Array>>()?))
}

/// Does something with each lock that is named; `None` where a number is NULL.
fn each_lock<T>(
    context: &Context,
    args: &[ArrayRef],
    rows: usize,
    act: impl Fn(&Key) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    let number =
        |array: &ArrayRef, row: usize| (!array.is_null(row)).then(|| array.as_primitive::<Int64Type>().value(row));
    let one = |row: usize| {
        let Some(first) = number(&args[0], row) else { return Ok(None) };
        let second = args.get(1).map(|array| number(array, row));
        if second == Some(None) {
            return Ok(None);
        }
        let second = second.flatten();
        if second.is_some() && [Some(first), second].into_iter().flatten().any(|number| i32::try_from(number).is_err())
        {
            return Err(Error::new(code::NUMERIC_OUT_OF_RANGE, "integer out of range"));
        }
        let key = Key { database: context.session().database.clone(), numbers: (first, second) };
        act(&key).map(Some)
    };
    (0..rows).map(one).collect()
}

/// Does something to the sessions with some numbers: whether they are there.
fn each_session(context: &Context, args: &[ArrayRef], rows: usize, act: fn(&SessionActivity)) -> Result<ArrayRef> {
    let numbers = args[0].as_primitive::<Int64Type>();
    let one = |row: usize| {
        let session = i32::try_from(numbers.value(row)).ok().and_then(|id| context.engine().activity().session(id));
        (!numbers.is_null(row)).then(|| session.inspect(|session| act(session)).is_some())
    };
    booleans((0..rows).map(one).collect())
}

fn booleans(values: Vec<Option<bool>>) -> Result<ArrayRef> {
    Ok(Arc::new(BooleanArray::from(values)))
}

/// The sequence that belongs to a column, as `nextval` takes its name.
fn serial_sequence(context: &Context, args: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let (tables, columns) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
    let name = |(table, column): (Option<&str>, Option<&str>)| match (table, column) {
        (Some(table), Some(column)) => sequences::of_column(context, table, column),
        _ => Ok(None),
    };
    Ok(Arc::new(tables.iter().zip(columns.iter()).map(name).collect::<Result<StringArray>>()?))
}

/// `set_config` in a query with more in it: a session sets nothing while it computes a result, so only what has no effect can be set.
fn set_planner_setting(_: &Context, args: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let (names, values) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
    if names.iter().flatten().any(|name| !is_planner_setting(&name.to_lowercase())) {
        let message = "set_config with anything else in its query, or with values that are computed";
        return Err(Error::unsupported(message));
    }
    Ok(Arc::new(values.clone()))
}

fn current_setting(context: &Context, args: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let names = args[0].as_string::<i32>();
    let or_missing = |row: usize| args.get(1).is_some_and(|array| array.is_valid(row) && array.as_boolean().value(row));
    let value = |(row, name): (usize, Option<&str>)| match name.map(|name| context.session().settings.get(name)) {
        Some(Err(_)) if or_missing(row) => Ok(None),
        found => found.transpose(),
    };
    Ok(Arc::new(names.iter().enumerate().map(value).collect::<Result<StringArray>>()?))
}

fn last_value(context: &Context, _: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    let last = context.session().sequences.last();
    let last =
        last.ok_or_else(|| Error::new(code::NOT_IN_PREREQUISITE_STATE, "lastval is not yet defined in this session"))?;
    Ok(Arc::new(Int64Array::from(vec![last; rows])))
}

fn set_value(context: &Context, args: &[ArrayRef], _: usize) -> Result<ArrayRef> {
    let names = args[0].as_string::<i32>();
    let values = args[1].as_primitive::<Int64Type>();
    let set = |index: usize| -> Result<Option<i64>> {
        if names.is_null(index) || values.is_null(index) {
            return Ok(None);
        }
        let is_called = args.get(2).is_none_or(|flags| flags.is_null(index) || flags.as_boolean().value(index));
        sequences::set(context, names.value(index), values.value(index), is_called).map(Some)
    };
    Ok(Arc::new((0..names.len()).map(set).collect::<Result<Int64Array>>()?))
}
