//! Sequences: numbers that are handed out once, whatever becomes of the transaction that asked.
//!
//! A sequence's value is one row in a space of its own. Numbers are taken from it in blocks, in a transaction of their own,
//! so that most calls touch no disk; after a crash the rest of a block is skipped, as in PostgreSQL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::datasource::{MemTable, TableProvider};

use super::super::arrays::batch_of_rows;
use super::super::context::Context;
use super::super::error::{Error, Result, code};
use super::super::names::parse_name;
use super::{OutputColumn, schema_of};
use crate::catalog::row::{RowReader, RowWriter};
use crate::catalog::{self, ColumnId, ColumnType, Datum, Descriptor, DescriptorId, SequenceDescriptor};
use crate::kv::{self, SpaceId, Txn};
use crate::parser::quote_ident_in_sql;

/// Numbers taken at once.
const BLOCK: i64 = 32;
const VALUE_KEY: &[u8] = b"";
const LAST_VALUE: ColumnId = ColumnId(1);
const IS_CALLED: ColumnId = ColumnId(2);
const ATTEMPTS: usize = 100;

/// Blocks taken and not used up, for all sessions.
#[derive(Default)]
pub struct SequenceBlocks {
    blocks: Mutex<HashMap<SpaceId, Block>>,
    /// Held while a block is taken from the store or given up, for one sequence in so many: between its commit and its entry above
    /// no other block may get in.
    changing: [tokio::sync::Mutex<()>; 16],
}

impl SequenceBlocks {
    async fn change(&self, sequence: &SequenceDescriptor) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing[sequence.space.0 as usize % self.changing.len()].lock().await
    }

    fn blocks(&self) -> MutexGuard<'_, HashMap<SpaceId, Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number of a block.
    fn take(&self, sequence: &SequenceDescriptor) -> Option<i64> {
        let mut blocks = self.blocks();
        let block = blocks.get_mut(&sequence.space).filter(|block| block.left > 0)?;
        let value = block.next;
        block.left -= 1;
        block.next = block.next.wrapping_add(sequence.increment);
        Some(value)
    }

    /// Forgets the block of a sequence, and says which of its numbers was handed out last, if it is the block that ends where the
    /// sequence stands. Whoever takes the next one conflicts with a transaction that has read the sequence.
    pub async fn give_up(&self, sequence: &SequenceDescriptor, stands: SequenceValue) -> Option<i64> {
        let _changing = self.change(sequence).await;
        let block = self.blocks().remove(&sequence.space)?;
        let last_handed_out = block.next.wrapping_sub(sequence.increment);
        let end = last_handed_out.wrapping_add(block.left.wrapping_mul(sequence.increment));
        (end == stands.last_value).then_some(last_handed_out)
    }
}

struct Block {
    next: i64,
    left: i64,
}

/// What one session has taken: the values of `currval` and `lastval`.
#[derive(Default)]
pub struct SessionSequences {
    state: Mutex<(HashMap<DescriptorId, i64>, Option<i64>)>,
}

impl SessionSequences {
    /// The number taken last from any sequence.
    pub fn last(&self) -> Option<i64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn note(&self, id: DescriptorId, value: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.insert(id, value);
        state.1 = Some(value);
    }
}

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceValue {
    /// The value handed out last, or the first to be handed out.
    pub last_value: i64,
    /// Whether `last_value` was handed out.
    pub is_called: bool,
}

/// Reads where a sequence stands.
pub async fn read(txn: &dyn Txn, sequence: &SequenceDescriptor) -> Result<SequenceValue> {
    let mut value = SequenceValue { last_value: sequence.start, is_called: false };
    let Some((stored, _)) = txn.get(sequence.space, VALUE_KEY).await? else { return Ok(value) };
    let mut reader = RowReader::new(&stored)?;
    while let Some((column, datum)) = reader.next_column()? {
        match (column, datum) {
            (LAST_VALUE, Datum::Int(last)) => value.last_value = last,
            (IS_CALLED, Datum::Bool(called)) => value.is_called = called,
            _ => return Err(catalog::Error::corrupt("a sequence's value cannot be read").into()),
        }
    }
    Ok(value)
}

/// Writes where a sequence stands.
pub fn write(txn: &dyn Txn, sequence: &SequenceDescriptor, value: SequenceValue) -> Result<()> {
    let mut writer = RowWriter::default();
    writer.push(LAST_VALUE, &Datum::Int(value.last_value));
    writer.push(IS_CALLED, &Datum::Bool(value.is_called));
    Ok(txn.put(sequence.space, VALUE_KEY, Bytes::from(writer.finish()))?)
}

fn find(context: &Context, name: &str) -> Result<Arc<Descriptor>> {
    context.wait_for(context.object(&parse_name(name)?))?
}

fn sequence_of(descriptor: &Descriptor) -> Result<&SequenceDescriptor> {
    match descriptor {
        Descriptor::Sequence(sequence) => Ok(sequence),
        other => Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a sequence", other.name()))),
    }
}

/// `nextval`
pub fn next(context: &Context, name: &str) -> Result<i64> {
    let found = find(context, name)?;
    let sequence = sequence_of(&found)?;
    let value = match context.engine().sequences().take(sequence) {
        Some(value) => value,
        None => context.wait_for(take_block(context, sequence))??,
    };
    context.session().sequences.note(sequence.identity.id, value);
    Ok(value)
}

async fn take_block(context: &Context, sequence: &SequenceDescriptor) -> Result<i64> {
    let sequences = context.engine().sequences();
    let _changing = sequences.change(sequence).await;
    if let Some(value) = sequences.take(sequence) {
        return Ok(value);
    }
    for _ in 0..ATTEMPTS {
        let txn = context.engine().store().begin().await?;
        let is_new = is_new(&*txn, sequence).await?;
        if is_new {
            // The sequence was made by this very transaction: nobody else can see it yet.
            let (value, _) = advance(&**context.txn(), sequence, 1).await?;
            return Ok(value);
        }
        let (first, count) = advance(&*txn, sequence, BLOCK).await?;
        match txn.commit().await {
            Ok(_) => {
                let next = first.wrapping_add(sequence.increment);
                sequences.blocks().insert(sequence.space, Block { next, left: count - 1 });
                return Ok(first);
            }
            Err(kv::Error::Retry(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(kv::Error::Retry("a sequence is in great demand").into())
}

/// Whether a sequence was made, or given a new space, by the very transaction that uses it: a later one does not see its value.
async fn is_new(later: &dyn Txn, sequence: &SequenceDescriptor) -> Result<bool> {
    match later.get(sequence.space, VALUE_KEY).await {
        Ok(value) => Ok(value.is_none()),
        Err(kv::Error::Dropped(_)) => Err(kv::Error::Retry("a sequence was altered").into()),
        Err(error) => Err(error.into()),
    }
}

/// Takes up to `count` numbers: the first, and how many there were.
async fn advance(txn: &dyn Txn, sequence: &SequenceDescriptor, count: i64) -> Result<(i64, i64)> {
    let value = read(txn, sequence).await?;
    let first = if value.is_called { value.last_value.checked_add(sequence.increment) } else { Some(value.last_value) };
    let inside = |value: &i64| (sequence.minimum..=sequence.maximum).contains(value);
    let Some(first) = first.filter(inside) else {
        let bound = if sequence.increment > 0 { ("maximum", sequence.maximum) } else { ("minimum", sequence.minimum) };
        let message =
            format!("nextval: reached {} value of sequence \"{}\" ({})", bound.0, sequence.identity.name, bound.1);
        return Err(Error::new("2200H", message));
    };
    let room = if sequence.increment > 0 { sequence.maximum.abs_diff(first) } else { first.abs_diff(sequence.minimum) };
    let more = (room / sequence.increment.unsigned_abs()).min(count as u64 - 1) as i64;
    let last_value = first + more * sequence.increment;
    write(txn, sequence, SequenceValue { last_value, is_called: true })?;
    Ok((first, more + 1))
}

/// `pg_get_serial_sequence`: the name of the sequence that belongs to a column.
pub fn of_column(context: &Context, table: &str, column: &str) -> Result<Option<String>> {
    let found = find(context, table)?;
    let table = match &*found {
        Descriptor::Table(table) => table,
        // Migration tools ask of every relation.
        Descriptor::View(_) => return Ok(None),
        other => return Err(Error::new(code::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", other.name()))),
    };
    let missing = || {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.identity.name);
        Error::new(code::UNDEFINED_COLUMN, message)
    };
    let column = table.column_named(column).ok_or_else(missing)?.id;
    context.wait_for(async {
        for id in &table.sequences {
            let found = context.catalog().get(*id).await?;
            if let Descriptor::Sequence(sequence) = &*found
                && sequence.owned_by == Some((table.identity.id, column))
            {
                let schema = context.catalog().get(sequence.schema).await?;
                let (schema, name) = (quote_ident_in_sql(schema.name()), quote_ident_in_sql(found.name()));
                return Ok(Some(format!("{schema}.{name}")));
            }
        }
        Ok(None)
    })?
}

/// `currval`
pub fn current(context: &Context, name: &str) -> Result<i64> {
    let found = find(context, name)?;
    let sequence = sequence_of(&found)?;
    let state = context.session().sequences.state.lock().unwrap_or_else(PoisonError::into_inner);
    let undefined = || {
        let message = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.identity.name);
        Error::new(code::NOT_IN_PREREQUISITE_STATE, message)
    };
    state.0.get(&sequence.identity.id).copied().ok_or_else(undefined)
}

/// `setval`
pub fn set(context: &Context, name: &str, value: i64, is_called: bool) -> Result<i64> {
    let found = find(context, name)?;
    let sequence = sequence_of(&found)?;
    if !(sequence.minimum..=sequence.maximum).contains(&value) {
        let message = format!("setval: value {value} is out of bounds for sequence \"{}\"", sequence.identity.name);
        return Err(Error::new(code::NUMERIC_OUT_OF_RANGE, message));
    }
    context.wait_for(async {
        let sequences = context.engine().sequences();
        let _changing = sequences.change(sequence).await;
        for _ in 0..ATTEMPTS {
            let own = context.engine().store().begin().await?;
            let is_new = is_new(&*own, sequence).await?;
            let txn = if is_new { context.txn() } else { &own };
            write(&**txn, sequence, SequenceValue { last_value: value, is_called })?;
            if is_new {
                return Ok(value);
            }
            match own.commit().await {
                Ok(_) => {
                    sequences.blocks().remove(&sequence.space);
                    return Ok(value);
                }
                Err(kv::Error::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(kv::Error::Retry("a sequence is in great demand").into())
    })?
}

/// `SELECT ... FROM sequence`
pub async fn relation(context: &Context, sequence: &SequenceDescriptor) -> Result<Arc<dyn TableProvider>> {
    let value = read(&**context.txn(), sequence).await?;
    let types = [ColumnType::Int8, ColumnType::Int8, ColumnType::Bool];
    let columns: Vec<OutputColumn> = ["last_value", "log_cnt", "is_called"]
        .into_iter()
        .zip(&types)
        .map(|(name, column_type)| OutputColumn::new(name, column_type.clone()))
        .collect();
    let schema = schema_of(&columns);
    let row = vec![Datum::Int(value.last_value), Datum::Int(0), Datum::Bool(value.is_called)];
    let batch = batch_of_rows(&schema, &types, &[row])?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}
