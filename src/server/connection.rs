//! One connection: startup, then messages until the client leaves.
//!
//! A task of its own reads messages ahead, so that the connection learns of a client that goes away while a statement runs.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt, TryStreamExt};
use pgwire::api::{ClientInfo, PgWireConnectionState};
use pgwire::error::PgWireError;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey, Startup};
use pgwire::messages::{PgWireBackendMessage as Message, PgWireFrontendMessage as Received, ProtocolVersion};
use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec, negotiate_tls};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::codec::Framed;
use tokio_util::task::AbortOnDropHandle;

use super::copy_binary::{self, BinaryRows};
use super::message;
use super::parameter;
use super::value::{Look, data_row};
use crate::catalog::Datum;
use crate::parser::{self, Parsed};
use crate::sql::error::code;
use crate::sql::notifications::Notification;
use crate::sql::types::pg_type;
use crate::sql::{self, Batches, Description, Engine, Error, OutputColumn, Parameter, Prepared, Response, Session};

type Socket = Framed<MaybeTls, PgWireMessageServerCodec<()>>;
type Outgoing = SplitSink<Socket, Message>;

/// A client must say who it is within this time.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages read ahead of what is being worked on.
const READ_AHEAD: usize = 64;

/// Serves one client.
pub async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    engine: Arc<Engine>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let starting = tokio::time::timeout(STARTUP_TIMEOUT, start(socket, peer, engine));
    let Ok(started) = starting.await else { return Ok(()) };
    let Some((socket, session)) = started? else { return Ok(()) };
    let (outgoing, incoming) = socket.split();
    let (sender, messages) = mpsc::channel(READ_AHEAD);
    let (gone_sender, gone) = watch::channel(false);
    // Ends with this function, also if that is in a panic: the reader keeps the socket open.
    let _reader = AbortOnDropHandle::new(tokio::spawn(read(incoming, sender, gone_sender)));
    let mut session = session;
    let progress = session.progress_notices();
    let notifications = session.take_notifications();
    let (cancels, ended) = (session.activity().cancels(), session.activity().ended());
    let mut connection = Connection {
        outgoing,
        messages,
        gone,
        stop,
        cancels,
        ended,
        session,
        progress,
        notifications,
        portals: HashMap::new(),
        waiting: Vec::new(),
        began: None,
    };
    connection.run().await
}

async fn read(
    mut incoming: SplitStream<Socket>,
    sender: mpsc::Sender<Result<Received, PgWireError>>,
    gone: watch::Sender<bool>,
) {
    while let Some(message) = incoming.next().await {
        let last = matches!(message, Err(_) | Ok(Received::Terminate(_)));
        if sender.send(message).await.is_err() || last {
            break;
        }
    }
    gone.send_replace(true);
}

/// Everything up to the first `ReadyForQuery`; `None` if the client is not to be served.
async fn start(socket: TcpStream, peer: SocketAddr, engine: Arc<Engine>) -> io::Result<Option<(Socket, Session)>> {
    let Some(mut socket) = negotiate_tls::<()>(socket, None).await? else { return Ok(None) };
    socket.set_protocol_version(ProtocolVersion::PROTOCOL3_0);
    let startup = match socket.next().await {
        Some(Ok(Received::Startup(startup))) => startup,
        Some(Ok(Received::CancelRequest(request))) => {
            let bytes = request.secret_key.to_bytes();
            if let Ok(secret) = <[u8; 4]>::try_from(&bytes[..]) {
                engine.activity().cancel(request.pid, i32::from_be_bytes(secret));
            }
            return Ok(None);
        }
        _ => return Ok(None),
    };
    let opened = open_session(&engine, &startup, peer).await;
    let mut session = match opened {
        Ok(session) => session,
        Err(error) => {
            socket.send(message::fatal(&error)).await?;
            return Ok(None);
        }
    };
    socket.set_state(PgWireConnectionState::ReadyForQuery);
    socket.feed(Message::Authentication(Authentication::Ok)).await?;
    let changed = session.take_changed_settings();
    for (name, default) in sql::reported_settings() {
        let value = changed.get(name).cloned().unwrap_or_else(|| default.to_string());
        socket.feed(Message::ParameterStatus(ParameterStatus::new(name.to_string(), value))).await?;
    }
    let known_as = session.activity().entry();
    let key = BackendKeyData::new(known_as.id, SecretKey::I32(known_as.secret));
    socket.feed(Message::BackendKeyData(key)).await?;
    session.wait_for_client();
    socket.send(message::ready(session.status())).await?;
    Ok(Some((socket, session)))
}

async fn open_session(engine: &Arc<Engine>, startup: &Startup, peer: SocketAddr) -> sql::Result<Session> {
    if startup.protocol_number_major != 3 {
        return Err(Error::unsupported(format!("protocol version {}", startup.protocol_number_major)));
    }
    let user = startup.parameters.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| {
        Error::new(code::INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet")
    })?;
    let database = startup.parameters.get("database").filter(|database| !database.is_empty()).unwrap_or(user);
    let mut session = Session::open(engine.clone(), user, database, Some(peer)).await?;
    for (name, value) in &startup.parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value) {
                    session.set_at_startup(&name, &value)?;
                }
            }
            _ => session.set_at_startup(name, value)?,
        }
    }
    Ok(session)
}

/// `-c name=value` and `--name=value` in the startup options.
fn options(text: &str) -> Vec<(String, String)> {
    let words = text.split_whitespace().map(|word| word.trim_start_matches("--").trim_start_matches("-c"));
    words.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// The type of a literal that has none yet.
const UNKNOWN: u32 = 705;

struct Connection {
    outgoing: Outgoing,
    messages: mpsc::Receiver<Result<Received, PgWireError>>,
    gone: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    /// Counts the requests to cancel what runs.
    cancels: watch::Receiver<u64>,
    /// Turns true when somebody ends the session.
    ended: watch::Receiver<bool>,
    session: Session,
    /// Notices of a statement that is still running.
    progress: mpsc::UnboundedReceiver<String>,
    /// What other sessions send.
    notifications: Option<mpsc::UnboundedReceiver<Notification>>,
    portals: HashMap<String, Portal>,
    /// An `Execute` that is put off until the next message, and what of portals and statements is closed after it.
    waiting: Vec<Received>,
    /// When the transaction began that is open.
    began: Option<Instant>,
}

struct Portal {
    prepared: Arc<Prepared>,
    parameters: Vec<Parameter>,
    formats: Vec<i16>,
    /// A result that was not fetched to its end.
    open: Option<OpenRows>,
    ran: bool,
}

struct OpenRows {
    columns: Vec<OutputColumn>,
    batches: Batches,
    /// The batch being sent, and the next row of it.
    current: Option<(datafusion::arrow::array::RecordBatch, usize)>,
    tag: String,
    sent: u64,
}

/// Why a statement stopped before its end.
enum Stop {
    /// It failed.
    Failed(Box<Error>),
    /// The connection has to end.
    Fatal(Box<Error>),
    /// The client is gone.
    Gone,
}

impl Stop {
    /// The same with the position of an error in the text that a statement was read from.
    fn located(self, text: &str, parsed: &Parsed) -> Stop {
        match self {
            Stop::Failed(error) => Stop::Failed(Box::new(sql::located(*error, text, parsed.span.clone()))),
            other => other,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(Box::new(error))
    }
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Stop::Gone
    }
}

/// What [`guard`] says when the client has left.
const GONE: &str = "the client left";
/// What [`guard`] says when the transaction has taken too long, not the statement.
const TRANSACTION_TIMEOUT: &str = "transaction timeout";

/// What [`guard`] says when somebody ends the session.
const ENDED: &str = "administrator command";

/// The next message of another session.
async fn heard(notifications: &mut Option<mpsc::UnboundedReceiver<Notification>>) -> Option<Notification> {
    match notifications {
        Some(notifications) => notifications.recv().await,
        None => None,
    }
}

/// The error of a session that somebody ended.
fn ended_by_others() -> Error {
    Error::new(code::SHUTDOWN, format!("terminating connection due to {ENDED}"))
}

/// Returns when the statement is to be canceled; requests so far were for earlier ones.
fn canceled(cancels: &watch::Receiver<u64>) -> impl Future<Output = ()> + use<> {
    let mut cancels = cancels.clone();
    async move {
        if cancels.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The error of a transaction that has taken too long.
fn transaction_timed_out() -> Error {
    Error::new(code::TRANSACTION_TIMEOUT, "terminating connection due to transaction timeout")
}

/// Returns after some time; without a limit, never.
async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Returns when a flag is set; if nobody can set it any more, never.
async fn turned(flag: &mut watch::Receiver<bool>) {
    let set = flag.wait_for(|set| *set).await.is_ok();
    if !set {
        std::future::pending::<()>().await;
    }
}

/// Returns when a flag is not set, or nobody can set it any more.
async fn not(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| !*set).await;
}

/// Waits for work unless it is canceled, the client leaves or is made to, or the time is up.
async fn guard<T>(
    cancel: impl Future<Output = ()>,
    (mut gone, mut ended): (watch::Receiver<bool>, watch::Receiver<bool>),
    (timeout, transaction_left): (Option<Duration>, Option<Duration>),
    mut committing: watch::Receiver<bool>,
    work: impl Future<Output = sql::Result<T>>,
) -> Result<sql::Result<T>, &'static str> {
    tokio::pin!(work);
    let left = turned(&mut gone);
    let why = tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        () = cancel => "user request",
        () = after(timeout) => "statement timeout",
        () = after(transaction_left) => TRANSACTION_TIMEOUT,
        () = left => GONE,
        () = turned(&mut ended) => ENDED,
    };
    // A commit that is under way cannot be taken back, and its outcome must be told.
    tokio::select! {
        biased;
        () = not(&mut committing) => Err(why),
        done = &mut work => Ok(done),
    }
}

/// Runs session work under [`guard`]; after anything but success the transaction cannot go on.
macro_rules! guarded {
    ($connection:expr, $work:expr) => {{
        let cancel = canceled(&$connection.cancels);
        let leaves = ($connection.gone.clone(), $connection.ended.clone());
        let limits = ($connection.session.statement_timeout(), $connection.transaction_left());
        let committing = $connection.session.committing();
        let done = {
            let work = guard(cancel, leaves, limits, committing, $work);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => break done,
                    Some(text) = $connection.progress.recv() => {
                        // A client that is gone is noticed by the guard.
                        let _ = $connection.outgoing.send(message::notice(text)).await;
                    }
                }
            }
        };
        // What was said last belongs to this statement, too.
        while let Ok(text) = $connection.progress.try_recv() {
            let _ = $connection.outgoing.feed(message::notice(text)).await;
        }
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                $connection.session.fail();
                Err(Stop::from(error))
            }
            Err(GONE) => {
                $connection.session.fail();
                Err(Stop::Gone)
            }
            Err(ENDED) => {
                $connection.session.fail();
                Err(Stop::Fatal(Box::new(ended_by_others())))
            }
            Err(TRANSACTION_TIMEOUT) => {
                $connection.session.fail();
                Err(Stop::Fatal(Box::new(transaction_timed_out())))
            }
            Err(why) => {
                let error = $connection.session.canceled(why);
                $connection.session.fail();
                Err(Stop::from(error))
            }
        }
    }};
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let in_transaction = self.session.status() != sql::Status::Idle;
            self.began = in_transaction.then(|| self.began.unwrap_or_else(Instant::now));
            let (idle, left) = (self.session.idle_timeout().filter(|_| in_transaction), self.transaction_left());
            let received = tokio::select! {
                biased;
                () = turned(&mut self.ended) => return self.outgoing.send(message::fatal(&ended_by_others())).await,
                () = turned(&mut self.stop) => {
                    let error = Error::new(code::SHUTDOWN, "terminating connection: the server is shutting down");
                    return self.outgoing.send(message::fatal(&error)).await;
                }
                received = self.messages.recv() => received,
                Some(notification) = heard(&mut self.notifications), if !in_transaction => {
                    self.outgoing.send(message::notification(notification)).await?;
                    continue;
                }
                () = after(idle) => {
                    let message = "terminating connection due to idle-in-transaction timeout";
                    return self.outgoing.send(message::fatal(&Error::new(code::IDLE_IN_TRANSACTION, message))).await;
                }
                () = after(left) => return self.outgoing.send(message::fatal(&transaction_timed_out())).await,
            };
            let received = match received {
                None | Some(Ok(Received::Terminate(_))) => return Ok(()),
                Some(Err(error)) => {
                    let error = Error::new(code::PROTOCOL_VIOLATION, error.to_string());
                    return self.outgoing.send(message::fatal(&error)).await;
                }
                Some(Ok(received)) => received,
            };
            self.cancels.mark_unchanged();
            let put_off = self.run_waiting(&received).await;
            let is_query = put_off.is_ok() && matches!(received, Received::Query(_));
            let is_sync = matches!(received, Received::Sync(_));
            let done = match (put_off, received) {
                (Err(stop), _) => Err(stop),
                (Ok(()), Received::Query(query)) => self.simple_query(&query.query).await,
                (Ok(()), received) => self.extended(received).await,
            };
            match done {
                Ok(()) if is_query => self.ready().await?,
                Ok(()) => {}
                Err(Stop::Fatal(error)) => return self.outgoing.send(message::fatal(&error)).await,
                Err(Stop::Gone) => return Ok(()),
                Err(Stop::Failed(error)) => {
                    self.session.fail();
                    self.outgoing.send(message::error(&error)).await?;
                    if !is_query && !is_sync && !self.skip_to_sync().await {
                        return Ok(());
                    }
                    self.ready().await?;
                }
            }
        }
    }

    /// What is left of the time that the transaction may take.
    fn transaction_left(&self) -> Option<Duration> {
        let began = self.began?;
        self.session.transaction_timeout().map(|limit| limit.saturating_sub(began.elapsed()))
    }

    /// After an error everything up to the next `Sync` is passed over; `false` if the client left.
    async fn skip_to_sync(&mut self) -> bool {
        while let Some(received) = self.messages.recv().await {
            match received {
                Ok(Received::Sync(_)) => return true,
                Ok(Received::Terminate(_)) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        false
    }

    async fn ready(&mut self) -> io::Result<()> {
        if self.session.status() == sql::Status::Idle {
            self.portals.clear();
        }
        self.session.wait_for_client();
        if self.session.status() == sql::Status::Idle {
            while let Some(Ok(notification)) = self.notifications.as_mut().map(mpsc::UnboundedReceiver::try_recv) {
                self.outgoing.feed(message::notification(notification)).await?;
            }
        }
        self.outgoing.send(message::ready(self.session.status())).await
    }

    /// Notices and changed settings, which go before the end of a statement.
    async fn send_news(&mut self) -> io::Result<()> {
        for text in self.session.take_notices() {
            self.outgoing.feed(message::notice(text)).await?;
        }
        for (name, value) in self.session.take_changed_settings() {
            self.outgoing.feed(Message::ParameterStatus(ParameterStatus::new(name.to_string(), value))).await?;
        }
        Ok(())
    }

    async fn simple_query(&mut self, sql: &str) -> Result<(), Stop> {
        let statements = match parser::parse(sql) {
            Ok(statements) => statements,
            Err(error) => {
                self.session.fail();
                return Err(Error::from(error).into());
            }
        };
        if statements.is_empty() {
            self.outgoing.feed(Message::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        let is_group = statements.len() > 1;
        for parsed in &statements {
            if is_group {
                guarded!(self, self.session.begin_group())?;
            }
            self.session.begin_statement(sql::activity::shown(&parsed.shown(sql)));
            let response = guarded!(self, self.session.execute(parsed, &[]));
            let response = response.map_err(|stop| stop.located(sql, parsed))?;
            self.respond(response).await?;
        }
        // Also one that began before this message.
        if self.session.is_in_group() {
            guarded!(self, self.session.end_group())?;
        }
        self.send_news().await?;
        Ok(())
    }

    /// Sends the whole of a response, as the simple protocol does.
    async fn respond(&mut self, response: Response) -> Result<(), Stop> {
        match response {
            Response::Rows { columns, batches, tag } => {
                self.outgoing.feed(message::row_description(&columns, &[])).await?;
                let mut rows = OpenRows { columns, batches, current: None, tag, sent: 0 };
                self.send_rows(&mut rows, &[], None).await?;
                self.send_news().await?;
                self.outgoing.feed(message::complete(rows_tag(&rows))).await?;
            }
            other => self.respond_without_rows(other).await?,
        }
        Ok(())
    }

    async fn respond_without_rows(&mut self, response: Response) -> Result<(), Stop> {
        match response {
            Response::Done(tag) => {
                self.send_news().await?;
                self.outgoing.feed(message::complete(tag)).await?;
            }
            Response::CopyIn { columns, binary } => {
                let format = if binary { message::BINARY } else { message::TEXT };
                let begin = CopyInResponse::new(format as i8, columns.len() as i16, vec![format; columns.len()]);
                self.outgoing.send(Message::CopyInResponse(begin)).await?;
                let tag = self.receive_copy(binary.then(|| BinaryRows::new(columns))).await?;
                self.outgoing.feed(message::complete(tag)).await?;
            }
            Response::CopyOut { columns, mut batches, format } => {
                let wire = if format.binary { message::BINARY } else { message::TEXT };
                let begin = CopyOutResponse::new(wire as i8, columns.len() as i16, vec![wire; columns.len()]);
                self.outgoing.feed(Message::CopyOutResponse(begin)).await?;
                if format.binary {
                    self.send_copy_data(copy_binary::header()).await?;
                } else if let Some(line) = sql::copy_header(&format, &columns) {
                    self.send_copy_data(line.into()).await?;
                }
                let mut count = 0;
                while let Some(batch) = guarded!(self, batches.try_next())? {
                    count += batch.num_rows();
                    if format.binary {
                        for row in 0..batch.num_rows() {
                            self.send_copy_data(copy_binary::row(&batch, row, &columns)?).await?;
                        }
                        continue;
                    }
                    for line in sql::copy_lines(&format, &columns, &batch)? {
                        self.send_copy_data(line.into()).await?;
                    }
                }
                if format.binary {
                    self.send_copy_data(copy_binary::trailer()).await?;
                }
                self.outgoing.feed(Message::CopyDone(CopyDone::new())).await?;
                self.outgoing.feed(message::complete(format!("COPY {count}"))).await?;
            }
            Response::Rows { .. } => {}
        }
        Ok(())
    }

    async fn send_copy_data(&mut self, data: Bytes) -> io::Result<()> {
        self.outgoing.feed(Message::CopyData(CopyData::new(data))).await
    }

    /// Takes the client's rows until it says that there are no more.
    async fn receive_copy(&mut self, mut binary: Option<BinaryRows>) -> Result<String, Stop> {
        loop {
            let limit = after(self.session.statement_timeout());
            let received = tokio::select! {
                biased;
                () = turned(&mut self.ended) => {
                    self.session.fail();
                    return Err(Stop::Fatal(Box::new(ended_by_others())));
                }
                () = canceled(&self.cancels) => {
                    let error = self.session.canceled("user request");
                    self.session.fail();
                    return Err(error.into());
                }
                received = self.messages.recv() => received,
                () = limit => {
                    let error = self.session.canceled("statement timeout");
                    self.session.fail();
                    return Err(error.into());
                }
            };
            match received {
                Some(Ok(Received::CopyData(data))) => {
                    let rows = binary.as_mut().map(|binary| binary.push(&data.data)).transpose();
                    let taken = match rows {
                        Ok(Some(rows)) => guarded!(self, self.session.copy_rows(rows)),
                        Ok(None) => guarded!(self, self.session.copy_data(&data.data)),
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = taken {
                        self.session.fail();
                        return Err(self.end_failed_copy(error).await);
                    }
                }
                Some(Ok(Received::CopyDone(_))) if binary.as_ref().is_some_and(|binary| binary.finish().is_err()) => {
                    self.session.fail();
                    return Err(Error::new(code::BAD_COPY_FORMAT, "unexpected EOF in COPY data").into());
                }
                Some(Ok(Received::CopyDone(_))) => return guarded!(self, self.session.copy_done()),
                Some(Ok(Received::CopyFail(fail))) => {
                    self.session.fail();
                    let message = format!("COPY from stdin failed: {}", fail.message);
                    return Err(Error::new(code::QUERY_CANCELED, message).into());
                }
                Some(Ok(Received::Flush(_) | Received::Sync(_))) => {}
                Some(Ok(_)) => {
                    self.session.fail();
                    return Err(
                        Error::new(code::PROTOCOL_VIOLATION, "unexpected message during COPY from stdin").into()
                    );
                }
                None | Some(Err(_)) => {
                    self.session.fail();
                    return Err(Stop::Gone);
                }
            }
        }
    }

    /// The client may have sent more before it hears of the error; that is passed over up to its end.
    async fn end_failed_copy(&mut self, error: Stop) -> Stop {
        loop {
            match self.messages.recv().await {
                Some(Ok(Received::CopyDone(_) | Received::CopyFail(_))) => return error,
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Stop::Gone,
            }
        }
    }

    /// Sends rows, at most `limit`; `true` if there may be more.
    async fn send_rows(&mut self, rows: &mut OpenRows, formats: &[i16], limit: Option<u64>) -> Result<bool, Stop> {
        let mut left = limit.unwrap_or(u64::MAX);
        let look = Look { formats, zone: self.session.time_zone(), iso_intervals: self.session.writes_iso_intervals() };
        loop {
            let (batch, start) = match rows.current.take() {
                Some(current) => current,
                None => match guarded!(self, rows.batches.try_next())? {
                    Some(batch) => (batch, 0),
                    None => return Ok(false),
                },
            };
            for row in start..batch.num_rows() {
                if left == 0 {
                    rows.current = Some((batch, row));
                    return Ok(true);
                }
                let data = data_row(&batch, row, &rows.columns, look)?;
                self.outgoing.feed(Message::DataRow(data)).await?;
                rows.sent += 1;
                left -= 1;
            }
        }
    }

    async fn extended(&mut self, received: Received) -> Result<(), Stop> {
        match received {
            Received::Parse(parse) => self.parse(parse).await,
            Received::Bind(bind) => self.bind(bind).await,
            Received::Describe(describe) => {
                let name = describe.name.unwrap_or_default();
                if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    let prepared = self.session.prepared(&name)?;
                    // What the client said of a parameter, it is told again.
                    let said = prepared.declared.iter().copied().chain(std::iter::repeat(0));
                    let known = prepared.description.parameters.iter().map(|column_type| pg_type(column_type).oid());
                    let oids =
                        said.zip(known).map(|(said, known)| if said == 0 || said == UNKNOWN { known } else { said });
                    let parameters = ParameterDescription::new(oids.collect());
                    self.outgoing.feed(Message::ParameterDescription(parameters)).await?;
                    self.describe_columns(&prepared, &[]).await
                } else {
                    // A cursor of SQL is a portal, too.
                    if !self.portals.contains_key(&name)
                        && let Some(columns) = self.session.cursor_columns(&name)
                    {
                        let described = message::row_description(columns, &[]);
                        return Ok(self.outgoing.feed(described).await?);
                    }
                    let portal = self.portals.get(&name).ok_or_else(|| no_portal(&name))?;
                    let (prepared, formats) = (portal.prepared.clone(), portal.formats.clone());
                    self.describe_columns(&prepared, &formats).await
                }
            }
            Received::Execute(execute) if self.may_wait(&execute) => {
                self.waiting.push(Received::Execute(execute));
                Ok(())
            }
            Received::Close(close) if !self.waiting.is_empty() => {
                self.waiting.push(Received::Close(close));
                Ok(())
            }
            Received::Sync(_) => {
                if self.session.is_in_group() {
                    guarded!(self, self.session.end_group())?;
                    self.send_news().await?;
                }
                Ok(self.ready().await?)
            }
            other => self.extended_at_once(other).await,
        }
    }

    /// Whether an `Execute` is put off. What comes before the next `Sync` is one transaction, but for a statement that is alone, which is
    /// tried again should it lose to another one: whether it is, the next message tells. A `COPY` takes the messages that follow itself.
    fn may_wait(&self, execute: &Execute) -> bool {
        let portal = self.portals.get(execute.name.as_deref().unwrap_or_default());
        let is_idle = self.session.status() == sql::Status::Idle && !self.session.is_in_group();
        is_idle && portal.is_some_and(|portal| !portal.ran && !portal.prepared.takes_rows())
    }

    /// Runs what was put off, now that it is known what comes next.
    async fn run_waiting(&mut self, next: &Received) -> Result<(), Stop> {
        if self.waiting.is_empty() || matches!(next, Received::Close(_)) {
            return Ok(());
        }
        if !matches!(next, Received::Sync(_)) {
            guarded!(self, self.session.begin_group())?;
        }
        for message in std::mem::take(&mut self.waiting) {
            self.extended_at_once(message).await?;
        }
        Ok(())
    }

    async fn extended_at_once(&mut self, received: Received) -> Result<(), Stop> {
        match received {
            Received::Execute(execute) => self.execute(execute).await,
            Received::Close(close) => {
                let name = close.name.unwrap_or_default();
                if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    self.session.forget(&name);
                } else if self.portals.remove(&name).is_none() {
                    self.session.close_cursor(&name);
                }
                Ok(self.outgoing.feed(Message::CloseComplete(CloseComplete::new())).await?)
            }
            Received::Flush(_) => Ok(self.outgoing.flush().await?),
            // What is left of a COPY that failed.
            Received::CopyData(_) | Received::CopyDone(_) | Received::CopyFail(_) => Ok(()),
            _ => Err(Error::new(code::PROTOCOL_VIOLATION, "unexpected message").into()),
        }
    }

    async fn describe_columns(&mut self, prepared: &Prepared, formats: &[i16]) -> Result<(), Stop> {
        let described = match &prepared.description.columns {
            Some(columns) => message::row_description(columns, formats),
            None => Message::NoData(NoData::new()),
        };
        Ok(self.outgoing.feed(described).await?)
    }

    async fn parse(&mut self, parse: Parse) -> Result<(), Stop> {
        let name = parse.name.unwrap_or_default();
        self.session.check_free(&name)?;
        let mut statements = parser::parse(&parse.query).map_err(Error::from)?;
        if statements.len() > 1 {
            return Err(
                Error::new(code::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement").into()
            );
        }
        let parsed = statements.pop();
        let declared = self.session.declared_types(&parse.type_oids).await?;
        let description = match &parsed {
            Some(parsed) => guarded!(self, self.session.describe(parsed, &declared))
                .map_err(|stop: Stop| stop.located(&parse.query, parsed))?,
            None => Description::default(),
        };
        let prepared = self.session.to_keep(parsed, &parse.query, description, parse.type_oids, false);
        self.session.keep(name, prepared);
        Ok(self.outgoing.feed(Message::ParseComplete(ParseComplete::new())).await?)
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        let prepared = self.session.prepared(&bind.statement_name.unwrap_or_default())?;
        let types = &self.session.parameter_types(&prepared).await?;
        if bind.parameters.len() != types.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement requires {}",
                bind.parameters.len(),
                types.len()
            );
            return Err(Error::new(code::PROTOCOL_VIOLATION, message).into());
        }
        let zone = self.session.time_zone();
        let mut parameters = Vec::with_capacity(types.len());
        for (index, (bytes, column_type)) in bind.parameters.iter().zip(types).enumerate() {
            let format = message::format_of(&bind.parameter_format_codes, index);
            let datum = match bytes {
                Some(bytes) => parameter::decode(bytes, format, column_type, zone)?,
                None => Datum::Null,
            };
            parameters.push((column_type.clone(), datum));
        }
        let formats = bind.result_column_format_codes;
        let portal = Portal { prepared, parameters, formats, open: None, ran: false };
        self.portals.insert(bind.portal_name.unwrap_or_default(), portal);
        Ok(self.outgoing.feed(Message::BindComplete(BindComplete::new())).await?)
    }

    async fn execute(&mut self, execute: Execute) -> Result<(), Stop> {
        let name = execute.name.unwrap_or_default();
        // Taken out while it runs, so that the connection can be used meanwhile.
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        let limit = u64::try_from(execute.max_rows).ok().filter(|limit| *limit > 0);
        let outcome = self.execute_portal(&mut portal, limit).await;
        if outcome.is_ok() {
            self.portals.insert(name, portal);
        }
        outcome
    }

    async fn execute_portal(&mut self, portal: &mut Portal, limit: Option<u64>) -> Result<(), Stop> {
        let prepared = portal.prepared.clone();
        if prepared.parsed.is_none() {
            return Ok(self.outgoing.feed(Message::EmptyQueryResponse(EmptyQueryResponse::new())).await?);
        }
        if !portal.ran {
            portal.ran = true;
            self.session.begin_statement(prepared.shown.clone());
            match guarded!(self, self.session.execute_prepared(&prepared, &portal.parameters))? {
                Response::Rows { columns, batches, tag } => {
                    let (columns, batches) = self.as_described(&prepared, columns, batches);
                    portal.open = Some(OpenRows { columns, batches, current: None, tag, sent: 0 });
                }
                other => return self.respond_without_rows(other).await,
            }
        }
        let Some(mut rows) = portal.open.take() else {
            // A query has no more rows; anything else cannot be done once more.
            if prepared.description.columns.is_none() {
                return Err(Error::new(code::NOT_IN_PREREQUISITE_STATE, "the portal cannot be run once more").into());
            }
            return Ok(self.outgoing.feed(message::complete("SELECT 0".into())).await?);
        };
        rows.sent = 0;
        if self.send_rows(&mut rows, &portal.formats, limit).await? {
            portal.open = Some(rows);
            return Ok(self.outgoing.feed(Message::PortalSuspended(PortalSuspended::new())).await?);
        }
        self.send_news().await?;
        Ok(self.outgoing.feed(message::complete(rows_tag(&rows))).await?)
    }

    /// Converts a result to the types the client was told of, should they differ now that the parameters are known.
    fn as_described(
        &self,
        prepared: &Prepared,
        columns: Vec<OutputColumn>,
        batches: Batches,
    ) -> (Vec<OutputColumn>, Batches) {
        match &prepared.description.columns {
            Some(described) if *described != columns && described.len() == columns.len() => {
                (described.clone(), sql::convert_batches(batches, columns, described.clone(), self.session.time_zone()))
            }
            _ => (columns, batches),
        }
    }
}

fn rows_tag(rows: &OpenRows) -> String {
    if rows.tag == "EXPLAIN" { rows.tag.clone() } else { format!("{} {}", rows.tag, rows.sent) }
}

fn no_portal(name: &str) -> Error {
    Error::new(code::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist"))
}
