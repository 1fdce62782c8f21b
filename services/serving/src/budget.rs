//! What an answer may still take, judged while it grows: before a value is repeated for many entities, and after each
//! piece that is computed.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use larder_types::{Error, Result};

use crate::config::Limits;

/// A row's version in an answer: two times, whether there is a row, and what frames them.
const VERSION_BYTES: usize = 21;

/// What one request has used of [`Limits`].
#[derive(Debug, Clone)]
pub struct Budget {
    limits: Limits,
    answer: usize,
    read: usize,
}

impl Budget {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, answer: 0, read: 0 }
    }

    /// RESOURCE_EXHAUSTED where an answer for so many entities would have too many values.
    pub fn check_entities(&self, rows: usize, features: usize) -> Result<()> {
        if rows.saturating_mul(features.max(1)) <= self.limits.max_values {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "{rows} entities × {features} features are more than the {} values that an answer may have \
             (serving.limits.max_values): {}",
            self.limits.max_values, WAY_OUT
        )))
    }

    /// So many bytes more go into the answer.
    pub fn answer(&mut self, bytes: usize) -> Result<()> {
        self.answer = self.answer.saturating_add(bytes);
        if self.answer <= self.limits.max_answer_bytes.bytes() {
            return Ok(());
        }
        Err(Error::resource_exhausted(format!(
            "the answer would have {} bytes or more; the limit is {} (serving.limits.max_answer_bytes): {WAY_OUT}",
            self.answer, self.limits.max_answer_bytes
        )))
    }

    /// The versions of so many rows go into the answer.
    pub fn versions(&mut self, versions: usize) -> Result<()> {
        self.answer(versions.saturating_mul(VERSION_BYTES))
    }

    /// So many bytes more are what the answer is made of.
    pub fn read(&mut self, bytes: usize) -> Result<()> {
        self.read = self.read.saturating_add(bytes);
        if self.read <= self.limits.max_read_bytes.bytes() { Ok(()) } else { Err(self.too_much_read()) }
    }

    /// How many bytes the answer has.
    pub fn answered(&self) -> usize {
        self.answer
    }

    /// How many bytes may still be read.
    pub fn left_to_read(&self) -> usize {
        self.limits.max_read_bytes.bytes().saturating_sub(self.read)
    }

    /// The error where more would have to be read.
    pub fn too_much_read(&self) -> Error {
        Error::resource_exhausted(format!(
            "the rows and request data behind the answer have more bytes than the limit of {} \
             (serving.limits.max_read_bytes): {WAY_OUT}",
            self.limits.max_read_bytes
        ))
    }
}

const WAY_OUT: &str = "ask for fewer entities at a time, or use StreamOnlineFeatures";

/// The bytes of a column's values from `start` to `end`, as they are sent; nearly.
pub fn bytes_between(values: &ArrayRef, start: usize, end: usize) -> usize {
    let between = |offsets: &[i32]| (offset(offsets[start]), offset(offsets[end]));
    let count = end - start;
    if let Some(texts) = values.as_string_opt::<i32>() {
        let (start, end) = between(texts.value_offsets());
        return end - start + 4 * count;
    }
    if let Some(bytes) = values.as_binary_opt::<i32>() {
        let (start, end) = between(bytes.value_offsets());
        return end - start + 4 * count;
    }
    if let Some(lists) = values.as_list_opt::<i32>() {
        let (start, end) = between(lists.value_offsets());
        return bytes_between(lists.values(), start, end) + 4 * count;
    }
    let width = if *values.data_type() == DataType::Boolean { Some(1) } else { values.data_type().primitive_width() };
    width.unwrap_or(16) * count
}

/// The bytes of all of a column's values.
pub fn bytes_of(values: &ArrayRef) -> usize {
    bytes_between(values, 0, values.len())
}

/// Offsets are never below zero.
fn offset(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{BooleanArray, Int32Array, ListArray, StringArray},
        datatypes::Int64Type,
    };

    use super::*;

    #[test]
    fn sizes_are_those_of_the_values_alone() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("de")]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![Some(3)]),
        ]));
        let cases: [(ArrayRef, [usize; 3]); 4] = [
            (Arc::new(Int32Array::from(vec![1, 2, 3])), [4, 4, 4]),
            (Arc::new(BooleanArray::from(vec![true, false, true])), [1, 1, 1]),
            (texts, [7, 4, 6]),
            (lists, [20, 4, 12]),
        ];
        for (values, each) in cases {
            let found: Vec<_> = (0..3).map(|row| bytes_between(&values, row, row + 1)).collect();
            assert_eq!(found, each, "{values:?}");
            assert_eq!(bytes_of(&values), each.iter().sum::<usize>());
            assert_eq!(bytes_of(&values.slice(1, 2)), each[1] + each[2]);
        }
    }
}
