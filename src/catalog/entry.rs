//! Entries of secondary indexes.
//!
//! ```text
//!   key                               value
//!   columns | primary key             nothing           most indexes, and rows of a unique one that have a NULL in it
//!   columns                           primary key       other rows of a unique one
//!   as above                          varint(length) primary key | row value      indexes that store columns
//! ```
//!
//! In the last form the length is 0 where the primary key is at the end of the key, and the row value ([`super::row`])
//! has the stored columns, NULLs among them: what an entry says of them needs no descriptor of the time it was written.

use super::access::push_index_key;
use super::key::KeyReader;
use super::row::RowWriter;
use super::{ColumnId, ColumnType, Datum, Error, Index, Result, TableDescriptor};
use crate::kv::varint;

/// What an entry says of the row it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct IndexEntry<'a> {
    /// The key of the row.
    pub primary_key: &'a [u8],
    /// The columns that the index stores, as a row value.
    pub stored: Option<&'a [u8]>,
}

/// The key and value of a row's entry in a secondary index; `None` if that does not have the row.
pub fn index_entry(
    table: &TableDescriptor,
    index: &Index,
    row: &[Datum<'_>],
    primary_key: &[u8],
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let position = |column| table.position(column);
    if let Some(predicate) = index.predicate {
        let lost = || Error::corrupt("the condition of an index is not a column of its table");
        if row[position(predicate).ok_or_else(lost)?] != Datum::Bool(true) {
            return Ok(None);
        }
    }
    let mut key = Vec::with_capacity(primary_key.len() + 16);
    push_index_key(&mut key, table, index, row)?;
    let has_null =
        index.columns.iter().filter_map(|part| position(part.column)).any(|position| row[position].is_null());
    let pointer = if index.unique && !has_null {
        primary_key
    } else {
        key.extend_from_slice(primary_key);
        &[]
    };
    if index.stored.is_empty() {
        return Ok(Some((key, pointer.to_vec())));
    }
    let mut value = Vec::with_capacity(pointer.len() + 16);
    varint::push(&mut value, pointer.len() as u64);
    value.extend_from_slice(pointer);
    let mut stored = RowWriter::default();
    for (column, datum) in table.columns.iter().zip(row) {
        if index.stored.contains(&column.id) {
            stored.push(column.id, datum);
        }
    }
    value.extend_from_slice(&stored.finish());
    Ok(Some((key, value)))
}

impl Index {
    /// Whether its entries have the value of a column just as the row has it. A float in a key may be another zero.
    pub fn has(&self, table: &TableDescriptor, column: ColumnId) -> bool {
        let is_exact = |column_type: &ColumnType| {
            let of = if let ColumnType::Array(element) = column_type { element } else { column_type };
            !matches!(of, ColumnType::Float4 | ColumnType::Float8)
        };
        let sorts_by = self.columns.iter().any(|part| part.column == column);
        let in_key = sorts_by && table.column(column).is_some_and(|column| is_exact(&column.column_type));
        in_key || self.stored.contains(&column) || table.in_primary_key(column)
    }
}

impl<'a> IndexEntry<'a> {
    /// Reads the entry with a key and value; the values of the index's own columns are given to `each`, in their order.
    pub fn read(
        table: &TableDescriptor,
        index: &Index,
        key: &'a [u8],
        value: &'a [u8],
        mut each: impl FnMut(ColumnId, Datum<'static>),
    ) -> Result<IndexEntry<'a>> {
        let mut reader = KeyReader::new(key);
        for part in &index.columns {
            let lost = || Error::corrupt("an index has a column its table lacks");
            let column = table.column(part.column).ok_or_else(lost)?;
            each(part.column, reader.next(&column.column_type, part.descending)?);
        }
        let (pointer, stored) = split(index, value)?;
        Ok(IndexEntry { primary_key: if pointer.is_empty() { reader.rest() } else { pointer }, stored })
    }
}

/// The primary key that the entry of an index points to.
pub fn primary_key_of_entry<'a>(
    table: &TableDescriptor,
    index: &Index,
    key: &'a [u8],
    value: &'a [u8],
) -> Result<&'a [u8]> {
    let (pointer, _) = split(index, value)?;
    if !pointer.is_empty() {
        return Ok(pointer);
    }
    IndexEntry::read(table, index, key, value, |_, _| {}).map(|entry| entry.primary_key)
}

/// The primary key in the value of an entry, empty if that is at the end of its key, and the stored columns.
fn split<'a>(index: &Index, value: &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>)> {
    if index.stored.is_empty() {
        return Ok((value, None));
    }
    let damaged = || Error::corrupt(format!("an entry of index {} ends too early", index.name));
    let mut rest = value;
    let length = varint::take_number(&mut rest).and_then(|length| usize::try_from(length).ok()).ok_or_else(damaged)?;
    let pointer = varint::take(&mut rest, length).ok_or_else(damaged)?;
    Ok((pointer, Some(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::row::RowReader;
    use crate::catalog::{Column, DescriptorId, Identity, IndexColumn};
    use crate::kv::SpaceId;

    const PRIMARY_KEY: &[u8] = b"the key";

    /// A table of (1, 2, 3), and an index on the second column that stores the others asked for.
    fn table(unique: bool, stored: &[u32]) -> (TableDescriptor, Index) {
        let part = |id: u32| IndexColumn { column: ColumnId(id), descending: false };
        let primary = Index::new("p", SpaceId(1), true, vec![part(1)]);
        let identity = Identity::new(DescriptorId(3), "t", "root");
        let mut table = TableDescriptor::new(identity, DescriptorId(1), DescriptorId(2), primary);
        let types = [ColumnType::Int8, ColumnType::Float8, ColumnType::Text];
        table.columns = (1..)
            .zip(types)
            .map(|(id, column_type)| Column::new(ColumnId(id), format!("c{id}"), column_type))
            .collect();
        let stored = stored.iter().map(|id| ColumnId(*id)).collect();
        (table, Index { stored, ..Index::new("i", SpaceId(2), unique, vec![part(2)]) })
    }

    #[test]
    fn an_entry_leads_to_its_row_and_has_what_it_stores() {
        let rows = [
            [Datum::Int(1), Datum::Float(0.5), "x".into()],
            [Datum::Int(2), Datum::Null, Datum::Null],
            [Datum::Int(3), Datum::Float(-0.0), "".into()],
        ];
        for (unique, stored) in [(false, &[][..]), (true, &[]), (false, &[3]), (true, &[3]), (true, &[3, 2, 1, 2])] {
            let (table, index) = table(unique, stored);
            for row in &rows {
                let (key, value) = index_entry(&table, &index, row, PRIMARY_KEY).unwrap().unwrap();
                assert_eq!(primary_key_of_entry(&table, &index, &key, &value).unwrap(), PRIMARY_KEY);
                let mut sorted_by = Vec::new();
                let found = IndexEntry::read(&table, &index, &key, &value, |_, datum| sorted_by.push(datum)).unwrap();
                assert_eq!((found.primary_key, found.stored.is_some()), (PRIMARY_KEY, !stored.is_empty()));
                assert_eq!(sorted_by, [row[1].clone()]);
                let Some(stored) = found.stored else { continue };
                let mut reader = RowReader::new(stored).unwrap();
                while let Some((column, datum)) = reader.next_column().unwrap() {
                    assert!(index.stored.contains(&column));
                    let (found, wanted) = (format!("{datum:?}"), format!("{:?}", row[column.0 as usize - 1]));
                    assert_eq!(found, wanted, "also of the sign of zero");
                }
            }
        }
    }

    #[test]
    fn entries_that_end_too_early_are_errors() {
        let (table, index) = table(true, &[3]);
        let row = [Datum::Int(1), Datum::Float(0.5), "text".into()];
        let (key, value) = index_entry(&table, &index, &row, PRIMARY_KEY).unwrap().unwrap();
        for length in 0..=PRIMARY_KEY.len() {
            assert!(primary_key_of_entry(&table, &index, &key, &value[..length]).is_err());
        }
        assert!(IndexEntry::read(&table, &index, &key[..3], &value, |_, _| {}).is_err());
    }

    #[test]
    fn floats_are_read_from_rows_where_a_key_may_have_another_zero() {
        let (table, index) = table(false, &[3]);
        assert!(!index.has(&table, ColumnId(2)));
        assert!(index.has(&table, ColumnId(1)) && index.has(&table, ColumnId(3)));
        assert!(Index { stored: vec![ColumnId(2)], ..index }.has(&table, ColumnId(2)));
    }
}
