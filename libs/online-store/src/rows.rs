//! What a read answers.

use bytes::Bytes;
use larder_types::{Error, Result};

/// Rows of N keys in R row sets, in one buffer. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    row_sets: usize,
    bytes: Bytes,
    /// Where each row ends and the next begins, key by key; a row that is not there is empty.
    ends: Vec<usize>,
}

/// Takes rows key by key, and of each key row set by row set.
#[derive(Debug)]
pub struct RowsBuilder {
    row_sets: usize,
    max_bytes: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What a row has more or less, to begin with room for a few; and no more room than this before there are rows to fill it.
const ROW_GUESS: usize = 128;
const MOST_ROOM: usize = 64 << 10;

impl RowsBuilder {
    /// For the rows of `keys` keys in `row_sets` row sets, which may have `max_bytes` together.
    pub fn new(keys: usize, row_sets: usize, max_bytes: usize) -> Self {
        let rows = keys.saturating_mul(row_sets);
        let room = rows.saturating_mul(ROW_GUESS).min(MOST_ROOM).min(max_bytes);
        Self { row_sets, max_bytes, bytes: Vec::with_capacity(room), ends: Vec::with_capacity(rows) }
    }

    /// Adds the next row, or that there is none. RESOURCE_EXHAUSTED where the rows would have too many bytes.
    pub fn push(&mut self, row: Option<&[u8]>) -> Result<()> {
        let row = row.unwrap_or_default();
        if row.len() > self.max_bytes - self.bytes.len() {
            return Err(Error::resource_exhausted(format!("the rows have more than {} bytes", self.max_bytes)));
        }
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The rows.
    pub fn finish(self) -> Rows {
        Rows { row_sets: self.row_sets, bytes: self.bytes.into(), ends: self.ends }
    }
}

impl Rows {
    /// The row of the key and the row set at these places of the request. Panics beyond them.
    pub fn get(&self, key: usize, row_set: usize) -> Option<&[u8]> {
        let index = key * self.row_sets + row_set;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..self.ends[index]]).filter(|row| !row.is_empty())
    }

    /// The rows of all keys in the row set at this place of the request.
    pub fn row_set(&self, row_set: usize) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        let keys = self.ends.len().checked_div(self.row_sets).unwrap_or(0);
        (0..keys).map(move |key| self.get(key, row_set))
    }

    /// The bytes of all rows together.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_key_and_row_set() {
        let mut rows = RowsBuilder::new(2, 2, 3);
        [Some(&b"a"[..]), None, None, Some(b"bc")].into_iter().for_each(|row| rows.push(row).unwrap());
        assert_eq!(rows.push(Some(b"d")).unwrap_err().code(), larder_types::ErrorCode::ResourceExhausted);
        let rows = rows.finish();
        assert_eq!((rows.get(0, 0), rows.get(0, 1)), (Some(&b"a"[..]), None));
        assert!(rows.row_set(1).eq([None, Some(&b"bc"[..])]));
        assert_eq!(RowsBuilder::new(3, 0, 0).finish().byte_len(), 0);
    }
}
