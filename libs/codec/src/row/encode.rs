//! Columns into rows.

use arrow::{
    array::{Array, ArrayRef},
    buffer::BooleanBuffer,
};
use bytes::Bytes;
use larder_types::{Error, Result};

use super::{
    MAX_ROW_BYTES, header_len,
    layout::{END_BYTES, Layout, Place},
    source::{Variable, check_column, for_each_fixed},
    write_header,
};
use crate::{RowSchema, packed::Packed};

/// Packs columns into rows of one schema. Cheap to use many times.
#[derive(Debug)]
pub struct RowEncoder {
    schema: RowSchema,
    layout: Layout,
}

/// Rows in one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedRows(Packed);

impl RowEncoder {
    /// An encoder of rows of `schema`.
    pub fn new(schema: &RowSchema) -> Self {
        Self { schema: schema.clone(), layout: Layout::new(schema) }
    }

    /// The schema that the rows name.
    pub fn schema(&self) -> &RowSchema {
        &self.schema
    }

    /// Encodes rows of `columns`, which are those of the schema in its order, of exactly the types
    /// [`larder_types::ValueType::arrow`] gives.
    ///
    /// Times are microseconds; a source without created times gives the lowest, [`larder_types::Timestamp::MIN`]. Where
    /// `deleted` is set the row carries no values, whatever the columns have there. INVALID_ARGUMENT where columns do
    /// not fit the schema or each other, or a row would be longer than [`MAX_ROW_BYTES`].
    pub fn encode(
        &self,
        columns: &[ArrayRef],
        event_times: &[i64],
        created_times: &[i64],
        deleted: Option<&BooleanBuffer>,
    ) -> Result<EncodedRows> {
        let batch = Batch { encoder: self, columns, event_times, created_times, deleted };
        batch.check()?;
        let ends = batch.ends()?;
        let mut bytes = vec![0; ends.last().copied().unwrap_or(0)];
        batch.write(&ends, &mut bytes);
        Ok(EncodedRows(Packed::new(bytes, ends)))
    }
}

impl EncodedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all rows together.
    pub fn byte_len(&self) -> usize {
        self.0.byte_len()
    }

    /// A row. Panics beyond the last.
    pub fn get(&self, index: usize) -> &[u8] {
        self.0.get(index)
    }

    /// A row that keeps the whole buffer alive, without copying. Panics beyond the last.
    pub fn slice(&self, index: usize) -> Bytes {
        self.0.slice(index)
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// What is being encoded. The work goes column by column, so that types are looked at once a column.
struct Batch<'a> {
    encoder: &'a RowEncoder,
    columns: &'a [ArrayRef],
    event_times: &'a [i64],
    created_times: &'a [i64],
    deleted: Option<&'a BooleanBuffer>,
}

impl Batch<'_> {
    fn check(&self) -> Result<()> {
        let rows = self.len();
        let schema = &self.encoder.schema;
        if self.columns.len() != schema.columns().len() {
            return Err(Error::invalid_argument(format!(
                "schema {} has {} columns, {} were given",
                schema.number(),
                schema.columns().len(),
                self.columns.len()
            )));
        }
        let (created, deleted) = (self.created_times.len(), self.deleted.map_or(rows, BooleanBuffer::len));
        if created != rows || deleted != rows {
            return Err(Error::invalid_argument(format!(
                "{rows} event times, {created} created times and {deleted} deletions do not make rows"
            )));
        }
        schema.columns().iter().zip(self.columns).try_for_each(|(column, array)| check_column(*column, array, rows))
    }

    fn len(&self) -> usize {
        self.event_times.len()
    }

    fn is_live(&self, row: usize) -> bool {
        self.deleted.is_none_or(|deleted| !deleted.value(row))
    }

    fn variables(&self) -> impl Iterator<Item = Variable<'_>> {
        let columns = self.encoder.schema.columns().iter().zip(self.columns);
        columns.filter_map(|(column, array)| Variable::of(column.value_type, array.as_ref()))
    }

    /// Where each row ends in the buffer.
    fn ends(&self) -> Result<Vec<usize>> {
        let layout = &self.encoder.layout;
        let deleted = header_len(layout.schema);
        let mut sizes: Vec<usize> =
            (0..self.len()).map(|row| if self.is_live(row) { layout.bytes_at } else { deleted }).collect();
        for variable in self.variables() {
            for (row, size) in sizes.iter_mut().enumerate().filter(|(row, _)| self.is_live(*row)) {
                *size += variable.len(row);
            }
        }
        if let Some((row, size)) = sizes.iter().enumerate().find(|(_, size)| **size > MAX_ROW_BYTES) {
            return Err(Error::invalid_argument(format!(
                "row {row} takes {size} bytes, at most {MAX_ROW_BYTES} can be kept"
            )));
        }
        let mut end = 0;
        sizes.iter_mut().for_each(|size| {
            end += *size;
            *size = end;
        });
        Ok(sizes)
    }

    fn write(&self, ends: &[usize], bytes: &mut [u8]) {
        let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).take(ends.len()).collect();
        for (row, start) in starts.iter().enumerate() {
            let (event_time, created_time) = (self.event_times[row], self.created_times[row]);
            let schema = self.encoder.layout.schema;
            write_header(&mut bytes[*start..ends[row]], event_time, created_time, !self.is_live(row), schema);
        }
        self.write_nulls(&starts, bytes);
        self.write_fixed(&starts, bytes);
        self.write_variable(&starts, bytes);
    }

    fn write_nulls(&self, starts: &[usize], bytes: &mut [u8]) {
        for (position, array) in self.columns.iter().enumerate().filter(|(_, array)| array.null_count() > 0) {
            let at = self.encoder.layout.nulls_at + position / 8;
            for (row, start) in starts.iter().enumerate() {
                if array.is_null(row) && self.is_live(row) {
                    bytes[start + at] |= 1 << (position % 8);
                }
            }
        }
    }

    fn write_fixed(&self, starts: &[usize], bytes: &mut [u8]) {
        let columns = self.encoder.schema.columns().iter().zip(self.columns).zip(&self.encoder.layout.places);
        for ((column, array), place) in columns {
            let (Place::Fixed { at }, larder_types::ValueType::Scalar(scalar)) = (*place, column.value_type) else {
                continue;
            };
            for_each_fixed(scalar, array.as_ref(), 0..self.len(), |row, value| {
                if self.is_live(row) {
                    bytes[starts[row] + at..][..value.len()].copy_from_slice(value);
                }
            });
        }
    }

    fn write_variable(&self, starts: &[usize], bytes: &mut [u8]) {
        let layout = &self.encoder.layout;
        let mut ends = vec![0; starts.len()];
        for (index, variable) in self.variables().enumerate() {
            for (row, start) in starts.iter().enumerate().filter(|(row, _)| self.is_live(*row)) {
                let first = ends[row];
                ends[row] += variable.len(row);
                if ends[row] > first {
                    let values = start + layout.bytes_at;
                    variable.write(row, &mut bytes[values + first..values + ends[row]]);
                }
                let end = (ends[row] as u32).to_le_bytes();
                bytes[start + layout.ends_at + END_BYTES * index..][..END_BYTES].copy_from_slice(&end);
            }
        }
    }
}
