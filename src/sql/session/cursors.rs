//! Cursors: `DECLARE`, `FETCH`, `MOVE` and `CLOSE`.
//!
//! A cursor is a result that is read as it is fetched. It shows what there was when it was declared: before its transaction writes
//! anything more, what is left of it is read into memory, and so it is at the commit if it is to stay (`WITH HOLD`).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use futures::stream::{self, StreamExt, TryStreamExt};
use sqlparser::ast::{CloseCursor, Declare, DeclareType, Statement as Ast};

use super::super::context::{Context, CursorFacts};
use super::super::dml;
use super::super::error::{Error, Result, code};
use super::super::names::folded;
use super::super::query::{self, Batches, ExtraTables, OutputColumn, Visibility};
use super::transaction::State;
use super::{Response, Session};
use crate::parser::{Fetch, FetchRows, Statement};

/// More than this is not kept in memory for one cursor.
const MAX_KEPT_BYTES: usize = 512 << 20;

/// The cursors of a session.
#[derive(Default)]
pub(super) struct Cursors {
    open: Vec<OpenCursor>,
    /// How many there have been.
    opened: u64,
}

struct OpenCursor {
    facts: CursorFacts,
    number: u64,
    columns: Vec<OutputColumn>,
    /// Whether it was declared so as not to.
    never_scrolls: bool,
    /// Its transaction is committed.
    is_held: bool,
    rows: Rows,
}

/// A result, from the first row that is still kept on.
struct Rows {
    kept: VecDeque<RecordBatch>,
    /// How many rows come before those kept.
    passed: u64,
    /// What is still to be read. Never locked: a stream alone would keep a session to one thread.
    rest: Mutex<Option<Batches>>,
    /// Whether all rows are to be kept.
    keeps: bool,
    /// How many bytes are kept.
    bytes: usize,
    /// The error that reading has ended with.
    failed: Option<Error>,
    /// The number of the row it stands on, from 1; 0 is before the first, and after the last is one more than there are.
    at: u64,
}

impl Cursors {
    fn find(&mut self, name: &str) -> Result<&mut OpenCursor> {
        let missing = || Error::new(code::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist"));
        self.open.iter_mut().find(|cursor| cursor.facts.name == name).ok_or_else(missing)
    }

    /// What there is to know of them.
    pub(super) fn facts(&self) -> Vec<CursorFacts> {
        self.open.iter().map(|cursor| cursor.facts.clone()).collect()
    }

    /// Whether the transaction has any.
    pub(super) fn is_any_of_transaction(&self) -> bool {
        self.open.iter().any(|cursor| !cursor.is_held)
    }

    /// Where savepoints go back to.
    pub(super) fn mark(&self) -> u64 {
        self.opened
    }

    /// Closes those of the transaction that were opened after a mark.
    pub(super) fn close_since(&mut self, mark: u64) {
        self.open.retain(|cursor| cursor.is_held || cursor.number < mark);
    }

    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    /// Lets those stay that are to, after a commit, and closes the others.
    pub(super) fn committed(&mut self) {
        self.open.retain_mut(|cursor| {
            cursor.is_held |= cursor.facts.holds;
            cursor.is_held
        });
    }

    /// Reads what is left of those that hold, or of all, of the transaction.
    pub(super) async fn read_to_end(&mut self, all: bool) -> Result<()> {
        for cursor in self.open.iter_mut().filter(|cursor| !cursor.is_held && (all || cursor.facts.holds)) {
            cursor.rows.keeps = true;
            loop {
                match cursor.rows.read().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    // Whoever fetches that far is told, and nobody else.
                    Err(error) if error.sqlstate != code::RESOURCES_EXHAUSTED => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Rows {
    fn known(&self) -> u64 {
        self.passed + self.kept.iter().map(|batch| batch.num_rows() as u64).sum::<u64>()
    }

    /// Reads one more batch; `false` if there is none.
    async fn read(&mut self) -> Result<bool> {
        let rest = self.rest.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(batches) = rest else { return Ok(false) };
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match batches.try_next().await {
            Ok(Some(batch)) => {
                self.bytes += batch.get_array_memory_size();
                self.kept.push_back(batch);
                if self.bytes <= MAX_KEPT_BYTES || !self.keeps {
                    return Ok(true);
                }
                let message = format!("a cursor keeps more than {} MiB of rows in memory", MAX_KEPT_BYTES >> 20);
                let error = Error::new(code::RESOURCES_EXHAUSTED, message);
                let hint =
                    "Rows are kept by cursors WITH HOLD and with SCROLL, and by all when their transaction writes.";
                self.failed = Some(error.hint(hint));
                self.failed.clone().map_or(Ok(true), Err)
            }
            Ok(None) => {
                *rest = None;
                Ok(false)
            }
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn read_until(&mut self, number: u64) -> Result<()> {
        while self.known() < number && self.read().await? {}
        Ok(())
    }

    /// The rows from one number to another, both included, in order.
    fn between(&self, first: u64, last: u64) -> Vec<RecordBatch> {
        let mut found = Vec::new();
        let mut before = self.passed;
        for batch in &self.kept {
            let here = before + 1..=before + batch.num_rows() as u64;
            let (from, to) = (first.max(*here.start()), last.min(*here.end()));
            if from <= to {
                found.push(batch.slice((from - before - 1) as usize, (to - from + 1) as usize));
            }
            before = *here.end();
        }
        found
    }

    /// Forgets what comes before the row it stands on.
    fn forget_passed(&mut self) {
        while let Some(first) = self.kept.front()
            && self.passed + (first.num_rows() as u64) < self.at
        {
            self.passed += first.num_rows() as u64;
            self.bytes -= first.get_array_memory_size();
            self.kept.pop_front();
        }
    }
}

impl OpenCursor {
    /// All that is left, as it is read; for a cursor that keeps nothing.
    fn stream_rest(&mut self) -> Batches {
        let rows = &mut self.rows;
        let here = rows.between(rows.at + 1, rows.known());
        let rest = rows.rest.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Behind the last row, whose number nobody needs to know.
        (rows.passed, rows.at) = (u64::MAX / 2, u64::MAX / 2 + 1);
        rows.kept.clear();
        let here = stream::iter(here.into_iter().map(Ok));
        here.chain(stream::iter(rest).flatten()).boxed()
    }

    /// Goes on, and gives the rows it comes by: at most `count` after where it stands.
    async fn forward(&mut self, count: u64) -> Result<Vec<RecordBatch>> {
        let rows = &mut self.rows;
        let last = rows.at.saturating_add(count);
        rows.read_until(last).await?;
        let found = rows.between(rows.at + 1, last);
        rows.at = last.min(rows.known() + 1);
        if !self.facts.scrolls {
            self.rows.forget_passed();
        }
        Ok(found)
    }

    /// Goes back, and gives the rows it comes by, the last first.
    fn backward(&mut self, count: u64) -> Result<Vec<RecordBatch>> {
        self.check_scrolls()?;
        let rows = &mut self.rows;
        let first = rows.at.saturating_sub(count).max(1);
        let found = rows.between(first, rows.at.saturating_sub(1));
        rows.at = rows.at.saturating_sub(count);
        let reversed = found.iter().rev().flat_map(|batch| (0..batch.num_rows()).rev().map(|row| batch.slice(row, 1)));
        Ok(reversed.collect())
    }

    /// Goes to a row, and gives it.
    async fn go_to(&mut self, number: u64) -> Result<Vec<RecordBatch>> {
        if number < self.rows.at {
            self.check_scrolls()?;
            self.rows.at = number;
        } else if number > self.rows.at {
            self.forward(number - self.rows.at).await?;
        }
        Ok(self.rows.between(self.rows.at, self.rows.at))
    }

    /// As in PostgreSQL, one that was not declared `NO SCROLL` may go back if that costs nothing: all rows are still there.
    fn check_scrolls(&self) -> Result<()> {
        if self.facts.scrolls || (!self.never_scrolls && self.rows.passed == 0) {
            return Ok(());
        }
        let error = Error::new(code::NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward");
        Err(error.hint("Declare it with SCROLL option to enable backward scan."))
    }

    async fn fetch(&mut self, which: FetchRows) -> Result<Vec<RecordBatch>> {
        match which {
            FetchRows::All => self.forward(u64::MAX).await,
            FetchRows::BackwardAll => self.backward(u64::MAX),
            FetchRows::Count(0) | FetchRows::Relative(0) => Ok(self.rows.between(self.rows.at, self.rows.at)),
            FetchRows::Count(count) if count < 0 => self.backward(count.unsigned_abs()),
            FetchRows::Count(count) => self.forward(count.unsigned_abs()).await,
            FetchRows::Relative(count) => self.go_to(self.rows.at.saturating_add_signed(count)).await,
            FetchRows::Absolute(number) if number < 0 => {
                self.check_scrolls()?;
                while self.rows.read().await? {}
                self.go_to((self.rows.known() + 1).saturating_sub(number.unsigned_abs())).await
            }
            FetchRows::Absolute(number) => self.go_to(number.unsigned_abs()).await,
        }
    }
}

impl Session {
    /// The columns of a cursor.
    pub fn cursor_columns(&self, name: &str) -> Option<&[OutputColumn]> {
        self.cursors.open.iter().find(|cursor| cursor.facts.name == name).map(|cursor| cursor.columns.as_slice())
    }

    /// Closes a cursor, if there is one with the name.
    pub fn close_cursor(&mut self, name: &str) {
        self.cursors.open.retain(|cursor| cursor.facts.name != name);
    }

    /// `DECLARE`
    pub(super) async fn declare(&mut self, context: &Context, what: &[Declare], extra: &ExtraTables) -> Result<()> {
        let [Declare { names, declare_type: Some(DeclareType::Cursor), binary, scroll, hold, for_query, .. }] = what
        else {
            return Err(Error::unsupported("DECLARE of anything but a cursor"));
        };
        let ([name], Some(query)) = (&names[..], for_query) else {
            return Err(Error::unsupported("DECLARE of anything but a cursor for a query"));
        };
        if *binary == Some(true) {
            return Err(Error::unsupported("a BINARY cursor"));
        }
        if dml::locks_rows(&**query) {
            return Err(Error::unsupported("DECLARE CURSOR ... FOR UPDATE"));
        }
        let (name, hold) = (folded(name), *hold == Some(true));
        let is_alone = matches!(self.state, State::Idle);
        if is_alone && !hold {
            return Err(self.no_transaction("DECLARE CURSOR"));
        }
        if self.cursor_columns(&name).is_some() {
            return Err(Error::new(code::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        let planned = query::plan(context, query, extra, Visibility::AsNamed).await?;
        let (columns, batches) = planned.run().await?;
        let mut rows = Rows {
            kept: VecDeque::new(),
            passed: 0,
            rest: Mutex::new(Some(batches)),
            keeps: scroll == &Some(true) || is_alone,
            bytes: 0,
            failed: None,
            at: 0,
        };
        if is_alone {
            while rows.read().await? {}
        }
        let number = self.cursors.opened;
        self.cursors.opened += 1;
        let (scrolls, never_scrolls) = (*scroll == Some(true), *scroll == Some(false));
        let facts = CursorFacts { name, statement: format!("DECLARE {}", what[0]), holds: hold, scrolls };
        self.cursors.open.push(OpenCursor { facts, number, columns, never_scrolls, is_held: is_alone, rows });
        Ok(())
    }

    /// `FETCH`, `MOVE` and `CLOSE`
    pub(super) async fn run_cursor(&mut self, statement: &Statement) -> Result<Option<Response>> {
        match statement {
            Statement::Fetch(Fetch { moves, rows, cursor: name }) => {
                let cursor = self.cursors.find(name)?;
                let columns = cursor.columns.clone();
                if *rows == FetchRows::All && !cursor.rows.keeps && cursor.rows.failed.is_none() {
                    let mut batches = cursor.stream_rest();
                    if !moves {
                        return Ok(Some(Response::Rows { columns, batches, tag: "FETCH".into() }));
                    }
                    let mut count = 0;
                    while let Some(batch) = batches.try_next().await? {
                        count += batch.num_rows();
                    }
                    return Ok(Some(Response::Done(format!("MOVE {count}"))));
                }
                let found = cursor.fetch(*rows).await?;
                let count: usize = found.iter().map(RecordBatch::num_rows).sum();
                Ok(Some(match moves {
                    true => Response::Done(format!("MOVE {count}")),
                    false => {
                        let batches = stream::iter(found.into_iter().map(Ok)).boxed();
                        Response::Rows { columns, batches, tag: "FETCH".into() }
                    }
                }))
            }
            Statement::Sql(ordinary) => match &ordinary.ast {
                Ast::Close { cursor: CloseCursor::All } => {
                    self.cursors.close_all();
                    Ok(Some(Response::Done("CLOSE CURSOR ALL".into())))
                }
                Ast::Close { cursor: CloseCursor::Specific { name } } => {
                    let name = folded(name);
                    self.cursors.find(&name)?;
                    self.close_cursor(&name);
                    Ok(Some(Response::Done("CLOSE CURSOR".into())))
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Before a statement that may write: cursors show what there was when they were declared.
    pub(super) async fn settle_cursors(&mut self, statement: &Statement) -> Result<()> {
        let only_reads = match statement {
            Statement::Sql(ordinary) => match &ordinary.ast {
                // Locking rows moves the time that a transaction reads at.
                Ast::Query(query) => dml::with::only_reads(&**query),
                Ast::Copy { to, .. } => *to,
                Ast::Explain { .. } | Ast::Declare { .. } | Ast::Close { .. } => true,
                _ => false,
            },
            Statement::Show(_) => true,
            _ => false,
        };
        if only_reads { Ok(()) } else { self.cursors.read_to_end(true).await }
    }
}
