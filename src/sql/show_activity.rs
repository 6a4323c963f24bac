//! `SHOW SESSIONS`, `SHOW STATEMENTS`, `SHOW TRANSACTIONS`, and `CANCEL` of what they show.

use std::sync::Arc;

use uuid::Builder;

use super::activity::{Activity, Doing, Phase, SessionActivity};
use super::context::Context;
use super::error::{Error, Result, code};
use super::ids;
use super::settings::SessionSettings;
use super::show::Shown;
use crate::catalog::{ColumnType, Datum};
use crate::parser::{Cancel, Canceled};
use crate::time::Timestamp;

/// There is one node.
const NODE_ID: i64 = 1;

fn time(time: Timestamp) -> Datum<'static> {
    time.micros().into()
}

fn text(text: &str) -> Datum<'static> {
    text.to_string().into()
}

fn client(session: &SessionActivity) -> Datum<'static> {
    session.client.map(|address| address.to_string()).into()
}

fn open_sessions(context: &Context) -> impl Iterator<Item = (Arc<SessionActivity>, Doing)> {
    let sessions = context.engine().activity().sessions().into_iter();
    sessions.map(|session| {
        let doing = session.now_doing();
        (session, doing)
    })
}

/// `SHOW SESSIONS`
pub fn sessions(context: &Context) -> Shown {
    let (text_type, time_type) = (|| ColumnType::Text, || ColumnType::TimestampTz);
    let mut shown = Shown::new(&[
        ("node_id", ColumnType::Int8),
        ("session_id", text_type()),
        ("status", text_type()),
        ("user_name", text_type()),
        ("client_address", text_type()),
        ("application_name", text_type()),
        ("active_queries", text_type()),
        ("last_active_query", text_type()),
        ("session_start", time_type()),
        ("active_query_start", time_type()),
        ("num_txns_executed", ColumnType::Int8),
    ]);
    for (session, doing) in open_sessions(context) {
        let is_active = doing.phase == Phase::Active;
        let (active, last) = if is_active { (&*doing.statement, &doing.previous) } else { ("", &doing.statement) };
        shown.rows.push(vec![
            NODE_ID.into(),
            session.session_id().into(),
            if is_active { "ACTIVE" } else { "IDLE" }.into(),
            text(&session.user),
            client(&session),
            text(&doing.application_name),
            text(active),
            text(last),
            time(session.since),
            doing.statement_began.filter(|_| is_active).map_or(Datum::Null, time),
            (doing.transactions as i64).into(),
        ]);
    }
    shown
}

/// `SHOW STATEMENTS`
pub fn statements(context: &Context) -> Shown {
    let text_type = || ColumnType::Text;
    let mut shown = Shown::new(&[
        ("query_id", text_type()),
        ("node_id", ColumnType::Int8),
        ("session_id", text_type()),
        ("user_name", text_type()),
        ("start", ColumnType::TimestampTz),
        ("query", text_type()),
        ("client_address", text_type()),
        ("application_name", text_type()),
        ("distributed", ColumnType::Bool),
        ("phase", text_type()),
    ]);
    for (session, doing) in open_sessions(context) {
        let Some(id) = session.statement_id(&doing) else { continue };
        shown.rows.push(vec![
            id.into(),
            NODE_ID.into(),
            session.session_id().into(),
            text(&session.user),
            doing.statement_began.map_or(Datum::Null, time),
            text(&doing.statement),
            client(&session),
            text(&doing.application_name),
            Datum::Bool(false),
            "executing".into(),
        ]);
    }
    shown
}

/// `SHOW TRANSACTIONS`
pub fn transactions(context: &Context) -> Shown {
    let mut shown = Shown::new(&[
        ("node_id", ColumnType::Int8),
        ("txn_id", ColumnType::Uuid),
        ("application_name", ColumnType::Text),
        ("num_stmts", ColumnType::Int8),
        ("num_retries", ColumnType::Int8),
        ("num_auto_retries", ColumnType::Int8),
    ]);
    for (_, doing) in open_sessions(context) {
        let Some(transaction) = doing.transaction else { continue };
        let retries = transaction.retries as i64;
        shown.rows.push(vec![
            NODE_ID.into(),
            Datum::Bytes(Builder::from_random_bytes(transaction.id).as_uuid().as_bytes().to_vec().into()),
            text(&doing.application_name),
            (transaction.statements as i64).into(),
            retries.into(),
            // A statement is run again by the server; clients that retry begin another transaction.
            retries.into(),
        ]);
    }
    shown
}

/// What the placeholders of a `CANCEL` stand for.
pub async fn cancel_parameters(
    context: &Context,
    cancel: &Cancel,
    settings: &SessionSettings,
) -> Result<Vec<ColumnType>> {
    ids::parameter_types(context, Some(&cancel.ids), &ColumnType::Text, settings).await
}

/// `CANCEL`: how many of what it names were running.
pub async fn cancel(
    context: &Context,
    cancel: &Cancel,
    settings: &SessionSettings,
    parameters: &[Option<String>],
) -> Result<usize> {
    let found = ids::values_of(context, &cancel.ids, &ColumnType::Text, settings, parameters).await?;
    let ids: Vec<&str> = found.iter().filter_map(Datum::as_text).collect();
    if cancel.one && ids.len() > 1 {
        let message = "more than one id returned by a subquery of one";
        let hint = format!("CANCEL {} takes several.", cancel.what.plural());
        return Err(Error::new(code::CARDINALITY_VIOLATION, message).hint(hint));
    }
    let activity = context.engine().activity();
    if !cancel.if_exists
        && let Some(missing) = ids.iter().find(|id| !is_there(activity, cancel.what, id))
    {
        let message = match cancel.what {
            Canceled::Queries => format!("no query with the id {missing} is running"),
            Canceled::Sessions => format!("there is no session with the id {missing}"),
        };
        return Err(Error::new(code::UNDEFINED_OBJECT, message));
    }
    let stopped = ids.iter().filter(|id| match cancel.what {
        Canceled::Queries => activity.cancel_statement(id),
        Canceled::Sessions => activity.end_session(id),
    });
    Ok(stopped.count())
}

fn is_there(activity: &Activity, what: Canceled, id: &str) -> bool {
    activity.sessions().iter().any(|session| match what {
        Canceled::Queries => session.statement_id(&session.now_doing()).is_some_and(|running| running == id),
        Canceled::Sessions => session.session_id() == id,
    })
}
