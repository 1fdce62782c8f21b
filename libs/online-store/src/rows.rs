//! What a read answers.

use bytes::Bytes;

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
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowsBuilder {
    /// Room for the rows of `keys` keys in `row_sets` row sets.
    pub fn new(keys: usize, row_sets: usize) -> Self {
        Self { row_sets, bytes: Vec::with_capacity(128 * keys * row_sets), ends: Vec::with_capacity(keys * row_sets) }
    }

    /// Adds the next row, or that there is none.
    pub fn push(&mut self, row: Option<&[u8]>) {
        self.bytes.extend_from_slice(row.unwrap_or_default());
        self.ends.push(self.bytes.len());
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
        let mut rows = RowsBuilder::new(2, 2);
        [Some(&b"a"[..]), None, None, Some(b"bc")].into_iter().for_each(|row| rows.push(row));
        let rows = rows.finish();
        assert_eq!((rows.get(0, 0), rows.get(0, 1)), (Some(&b"a"[..]), None));
        assert!(rows.row_set(1).eq([None, Some(&b"bc"[..])]));
        assert_eq!(RowsBuilder::new(3, 0).finish().byte_len(), 0);
    }
}
