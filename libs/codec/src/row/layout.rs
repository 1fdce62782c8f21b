//! Where the parts of a row lie: computed once per schema, for writing and reading alike.

use larder_types::{Error, Result, ScalarType, SchemaNumber, ValueType};

use super::header_len;
use crate::RowSchema;

/// The bytes of one end offset.
pub(super) const END_BYTES: usize = 4;

/// Where the value of a column lies in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At this byte of the row.
    Fixed { at: usize },
    /// It is this one of the variable values.
    Variable { index: usize },
}

/// The places of everything in the rows of one schema.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: SchemaNumber,
    pub(super) nulls_at: usize,
    /// By column order.
    pub(super) places: Vec<Place>,
    pub(super) ends_at: usize,
    pub(super) variables: usize,
    /// Where the bytes of the variable values begin; the length of a row without any.
    pub(super) bytes_at: usize,
}

impl Layout {
    pub(super) fn new(schema: &RowSchema) -> Self {
        let nulls_at = header_len(schema.number());
        let mut ends_at = nulls_at + schema.columns().len().div_ceil(8);
        let mut variables = 0;
        let mut place = |value_type: ValueType| match fixed_width(value_type) {
            Some(width) => {
                ends_at += width;
                Place::Fixed { at: ends_at - width }
            }
            None => {
                variables += 1;
                Place::Variable { index: variables - 1 }
            }
        };
        let places = schema.columns().iter().map(|column| place(column.value_type)).collect();
        let bytes_at = ends_at + END_BYTES * variables;
        Self { schema: schema.number(), nulls_at, places, ends_at, variables, bytes_at }
    }

    /// Checks that a row, which names this schema and is not deleted, has every part at its place.
    pub(super) fn check(&self, row: &[u8]) -> Result<()> {
        let damaged = |what: &str| {
            let (schema, length) = (self.schema, row.len());
            Err(Error::data_loss(format!("an online row of {length} bytes, of schema {schema}, is damaged: {what}")))
        };
        if row.len() < self.bytes_at {
            return damaged(&format!("its fixed part alone takes {}", self.bytes_at));
        }
        let unused = 8 * (self.places.len().div_ceil(8)) - self.places.len();
        if unused > 0 && row[self.nulls_at + self.places.len() / 8].leading_zeros() < unused as u32 {
            return damaged("its null bitmap names columns beyond the last");
        }
        let mut last = 0;
        for index in 0..self.variables {
            let end = self.end(row, index);
            if end < last {
                return damaged("an end offset lies before the one in front of it");
            }
            last = end;
        }
        if self.bytes_at + last != row.len() {
            return damaged(&format!("its values end at byte {}", self.bytes_at + last));
        }
        Ok(())
    }

    /// Whether the column at `position` is null in a row that was checked.
    pub(super) fn is_null(&self, row: &[u8], position: usize) -> bool {
        row[self.nulls_at + position / 8] & (1 << (position % 8)) != 0
    }

    /// The bytes of one of the variable values of a row that was checked.
    pub(super) fn variable<'a>(&self, row: &'a [u8], index: usize) -> &'a [u8] {
        let start = if index == 0 { 0 } else { self.end(row, index - 1) };
        &row[self.bytes_at + start..self.bytes_at + self.end(row, index)]
    }

    fn end(&self, row: &[u8], index: usize) -> usize {
        read_end(&row[self.ends_at + END_BYTES * index..])
    }
}

/// The end offset at the start of `bytes`, which are at least four.
pub(super) fn read_end(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

/// The bytes of a value where all values of the type have the same size.
fn fixed_width(value_type: ValueType) -> Option<usize> {
    match value_type {
        ValueType::Scalar(scalar) => ScalarType::fixed_width(scalar),
        ValueType::List(_) => None,
    }
}
