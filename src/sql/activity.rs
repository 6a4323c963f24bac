//! What the sessions of this node are doing, and how one of them is canceled or ended from elsewhere: by the protocol's cancel
//! request, by `CANCEL`, by `pg_cancel_backend` and `pg_terminate_backend`.
//!
//! A session writes here at the beginning of each statement and when it waits for the next one; nothing of it is stored.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::time::Timestamp;

/// Bytes of a statement that are kept, as many as PostgreSQL keeps by default (`track_activity_query_size`).
const SHOWN_BYTES: usize = 1024;

/// The open sessions of a node.
#[derive(Default)]
pub struct Activity {
    sessions: Mutex<BTreeMap<i32, Arc<SessionActivity>>>,
    last_id: AtomicI32,
}

/// One open session, as others see it.
pub struct SessionActivity {
    /// Its number, which the client knows as a process id.
    pub id: i32,
    /// What a cancel request has to know beside the number.
    pub secret: i32,
    /// Who is connected.
    pub user: String,
    /// From where.
    pub client: Option<SocketAddr>,
    /// Since when.
    pub since: Timestamp,
    cancel: watch::Sender<u64>,
    ended: watch::Sender<bool>,
    doing: Mutex<Doing>,
}

/// What a session does now.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Whether it runs a statement, and what it waits in otherwise.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// The database that it is in.
    pub database: String,
    /// What the client calls itself.
    pub application_name: String,
    /// The statement that runs, or ran last, without secrets and cut to a readable length; empty before the first.
    pub statement: Arc<str>,
    /// The one before it.
    pub previous: Arc<str>,
    /// When the statement began.
    pub statement_began: Option<Timestamp>,
    /// The transaction that is open, also that of a statement alone.
    pub transaction: Option<Transaction>,
    /// Transactions so far, with the open one.
    pub transactions: u64,
}

/// An open transaction.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// Drawn by lot, so that no other has it.
    pub id: [u8; 16],
    /// When its first statement began.
    pub began: Timestamp,
    /// Its statements so far.
    pub statements: u64,
    /// How often a statement was run again because it had lost a race.
    pub retries: u64,
}

/// What a session is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It runs a statement or sends its result.
    Active,
    /// It waits for the client.
    Idle,
    /// It waits for the client in a transaction.
    IdleInTransaction,
    /// It waits for the client to roll back.
    IdleInFailed,
}

impl Phase {
    /// As PostgreSQL calls it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Active => "active",
            Phase::Idle => "idle",
            Phase::IdleInTransaction => "idle in transaction",
            Phase::IdleInFailed => "idle in transaction (aborted)",
        }
    }
}

impl Activity {
    /// A session begins; it is there until the value is dropped.
    pub fn enter(
        self: &Arc<Self>,
        user: &str,
        database: &str,
        client: Option<SocketAddr>,
        now: Timestamp,
    ) -> OpenSession {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let doing = Doing {
            phase: Phase::Idle,
            since: now,
            database: database.into(),
            application_name: String::new(),
            statement: "".into(),
            previous: "".into(),
            statement_began: None,
            transaction: None,
            transactions: 0,
        };
        let session = Arc::new(SessionActivity {
            id,
            secret: rand::random(),
            user: user.into(),
            client,
            since: now,
            cancel: watch::channel(0).0,
            ended: watch::channel(false).0,
            doing: Mutex::new(doing),
        });
        self.lock().insert(id, session.clone());
        OpenSession { all: self.clone(), session }
    }

    /// All open sessions, in the order they began.
    pub fn sessions(&self) -> Vec<Arc<SessionActivity>> {
        self.lock().values().cloned().collect()
    }

    /// The session with a number.
    pub fn session(&self, id: i32) -> Option<Arc<SessionActivity>> {
        self.lock().get(&id).cloned()
    }

    /// Cancels what a session is doing; a wrong secret does nothing.
    pub fn cancel(&self, id: i32, secret: i32) {
        if let Some(session) = self.session(id).filter(|session| session.secret == secret) {
            session.cancel();
        }
    }

    /// Cancels the statement with an id as [`SessionActivity::statement_id`] makes them: whether it was still running.
    pub fn cancel_statement(&self, id: &str) -> bool {
        let Some(session) = session_number(id).and_then(|number| self.session(number)) else { return false };
        // Held until the request is made, so that it cannot meet the next statement.
        let doing = session.doing();
        let is_running = session.statement_id(&doing).is_some_and(|running| running == id);
        if is_running {
            session.cancel();
        }
        is_running
    }

    /// Ends the session with an id as [`SessionActivity::session_id`] makes them: whether there was one.
    pub fn end_session(&self, id: &str) -> bool {
        let session = session_number(id).and_then(|number| self.session(number));
        let session = session.filter(|session| session.session_id() == id);
        session.inspect(|session| session.end()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Arc<SessionActivity>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionActivity {
    /// An id that no other session of this node has had, also not before it started.
    pub fn session_id(&self) -> String {
        long_id(self.since, self.id)
    }

    /// The id of the statement that runs, if one does, which no other has had.
    pub fn statement_id(&self, doing: &Doing) -> Option<String> {
        let began = doing.statement_began.filter(|_| doing.phase == Phase::Active);
        began.map(|began| long_id(began, self.id))
    }

    /// What it does now.
    pub fn now_doing(&self) -> Doing {
        self.doing().clone()
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the statement that runs.
    pub fn cancel(&self) {
        self.cancel.send_modify(|requests| *requests += 1);
    }

    /// Ends the session as soon as it can be interrupted.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }
}

/// A session's own hold on its entry.
pub struct OpenSession {
    all: Arc<Activity>,
    session: Arc<SessionActivity>,
}

impl OpenSession {
    /// The entry.
    pub fn entry(&self) -> &SessionActivity {
        &self.session
    }

    /// Counts the requests to cancel a statement.
    pub fn cancels(&self) -> watch::Receiver<u64> {
        self.session.cancel.subscribe()
    }

    /// Turns true when the session is to end.
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.session.ended.subscribe()
    }

    /// A statement begins: a transaction of its own, or one more in that which is open.
    pub fn begin_statement(&self, statement: Arc<str>, now: Timestamp) {
        let mut doing = self.session.doing();
        let doing = &mut *doing;
        if doing.transaction.is_none() {
            doing.transactions += 1;
        }
        let first = Transaction { id: rand::random(), began: now, statements: 0, retries: 0 };
        doing.transaction.get_or_insert(first).statements += 1;
        doing.previous = std::mem::replace(&mut doing.statement, statement);
        doing.statement_began = Some(now);
        (doing.phase, doing.since) = (Phase::Active, now);
    }

    /// The statement is run again.
    pub fn note_retry(&self) {
        if let Some(transaction) = &mut self.session.doing().transaction {
            transaction.retries += 1;
        }
    }

    /// The session waits for its client.
    pub fn wait(&self, phase: Phase, now: Timestamp) {
        let mut doing = self.session.doing();
        if phase == Phase::Idle {
            doing.transaction = None;
        }
        (doing.phase, doing.since) = (phase, now);
    }

    /// The session is in another database, or the client has another name.
    pub fn describe(&self, database: &str, application_name: &str) {
        let mut doing = self.session.doing();
        if doing.database != database {
            doing.database = database.into();
        }
        if doing.application_name != application_name {
            doing.application_name = application_name.into();
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.all.lock().remove(&self.session.id);
    }
}

/// A statement as others may see it: what the client wrote, cut.
pub fn shown(text: &str) -> Arc<str> {
    text.get(..text.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default().into()
}

/// A time and the number of a session, as CockroachDB writes them.
fn long_id(time: Timestamp, session: i32) -> String {
    format!("{:016x}{session:016x}", time.0)
}

/// The number of the session in such an id.
fn session_number(id: &str) -> Option<i32> {
    id.get(16..).and_then(|number| i32::from_str_radix(number, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_statement_that_an_id_names_is_canceled() {
        let all = Arc::new(Activity::default());
        let session = all.enter("root", "defaultdb", None, Timestamp(5));
        let mut cancels = session.cancels();
        session.begin_statement("SELECT 1".into(), Timestamp(7));
        let running = || session.entry().statement_id(&session.entry().now_doing()).unwrap();
        let first = running();
        session.wait(Phase::Idle, Timestamp(8));
        assert!(!all.cancel_statement(&first), "it has ended");
        session.begin_statement("SELECT 2".into(), Timestamp(9));
        assert!(!all.cancel_statement(&first), "another one runs");
        for wrong in ["", "0", "no id", &"ä".repeat(16), &"f".repeat(40)] {
            assert!(!all.cancel_statement(wrong) && !all.end_session(wrong), "{wrong}");
        }
        all.cancel(session.entry().id, session.entry().secret.wrapping_add(1));
        assert!(!cancels.has_changed().unwrap());
        assert!(all.cancel_statement(&running()));
        assert_eq!(*cancels.borrow_and_update(), 1);
        assert!(all.end_session(&session.entry().session_id()));
        assert!(*session.ended().borrow());
        drop(session);
        assert!(all.sessions().is_empty());
    }

    #[test]
    fn transactions_and_their_statements_are_counted() {
        let all = Arc::new(Activity::default());
        let session = all.enter("root", "defaultdb", None, Timestamp(1));
        let begin = |at| session.begin_statement("SELECT 1".into(), Timestamp(at));
        begin(2);
        session.wait(Phase::Idle, Timestamp(3));
        begin(4);
        session.wait(Phase::IdleInTransaction, Timestamp(5));
        begin(6);
        session.note_retry();
        let doing = session.entry().now_doing();
        let transaction = doing.transaction.unwrap();
        assert_eq!((doing.transactions, transaction.statements, transaction.retries), (2, 2, 1));
        assert_eq!((transaction.began, doing.statement_began), (Timestamp(4), Some(Timestamp(6))));
        session.wait(Phase::Idle, Timestamp(7));
        assert!(session.entry().now_doing().transaction.is_none());
    }

    #[test]
    fn long_statements_are_cut_between_characters() {
        assert_eq!(&*shown("SELECT 1"), "SELECT 1");
        let long = format!("x{}", "ä".repeat(SHOWN_BYTES));
        assert_eq!(shown(&long).len(), SHOWN_BYTES - 1);
    }
}
