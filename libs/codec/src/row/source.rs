//! Arrow columns as the encoder reads them: the little-endian bytes of fixed-width values, the bytes of variable ones.

use std::ops::Range;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, StringArray},
    datatypes::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use larder_types::{Error, Result, ScalarType, ValueType};

use super::layout::END_BYTES;
use crate::{SchemaColumn, varint};

/// Checks that `array` is of exactly the type of `column`, and as long as the times.
pub(super) fn check_column(column: SchemaColumn, array: &ArrayRef, rows: usize) -> Result<()> {
    let SchemaColumn { number, value_type } = column;
    if *array.data_type() != value_type.arrow() {
        let (wanted, found) = (value_type.arrow(), array.data_type());
        return Err(Error::invalid_argument(format!("column {number} is {value_type}, so {wanted}, not {found}")));
    }
    if array.len() != rows {
        let values = array.len();
        return Err(Error::invalid_argument(format!("column {number} has {values} values for {rows} event times")));
    }
    Ok(())
}

/// Calls `put` with the place in `range` and the bytes of each value that is not null. Only for fixed-width types.
pub(super) fn for_each_fixed(item: ScalarType, array: &dyn Array, range: Range<usize>, put: impl FnMut(usize, &[u8])) {
    macro_rules! primitive {
        ($type:ty) => {{
            let values = array.as_primitive::<$type>().values();
            for_each_valid(array, range, |index| values[index].to_le_bytes(), put)
        }};
    }
    match item {
        ScalarType::Bool => {
            let values = array.as_boolean();
            for_each_valid(array, range, |index| [u8::from(values.value(index))], put);
        }
        ScalarType::Int32 => primitive!(Int32Type),
        ScalarType::Int64 => primitive!(Int64Type),
        ScalarType::Float32 => primitive!(Float32Type),
        ScalarType::Float64 => primitive!(Float64Type),
        ScalarType::Timestamp => primitive!(TimestampMicrosecondType),
        ScalarType::String | ScalarType::Bytes => {}
    }
}

fn for_each_valid<const WIDTH: usize>(
    array: &dyn Array,
    range: Range<usize>,
    value: impl Fn(usize) -> [u8; WIDTH],
    mut put: impl FnMut(usize, &[u8]),
) {
    let start = range.start;
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => range.for_each(|index| put(index - start, &value(index))),
        Some(nulls) => {
            range.filter(|index| nulls.is_valid(*index)).for_each(|index| put(index - start, &value(index)));
        }
    }
}

/// A column of values of differing length.
#[derive(Clone, Copy)]
pub(super) enum Variable<'a> {
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    List(List<'a>),
}

/// A column of lists.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    lists: &'a ListArray,
    item: ScalarType,
}

impl<'a> Variable<'a> {
    /// The column as such a one, if its type is.
    pub(super) fn of(value_type: ValueType, array: &'a dyn Array) -> Option<Self> {
        match value_type {
            ValueType::Scalar(ScalarType::String) => Some(Self::Text(array.as_string())),
            ValueType::Scalar(ScalarType::Bytes) => Some(Self::Bytes(array.as_binary())),
            ValueType::Scalar(
                ScalarType::Bool
                | ScalarType::Int32
                | ScalarType::Int64
                | ScalarType::Float32
                | ScalarType::Float64
                | ScalarType::Timestamp,
            ) => None,
            ValueType::List(item) => Some(Self::List(List { lists: array.as_list(), item })),
        }
    }

    /// The bytes that a value takes; none for a null, whatever lies beneath it.
    pub(super) fn len(&self, index: usize) -> usize {
        if self.array().is_null(index) {
            return 0;
        }
        match self {
            Self::Text(values) => values.value(index).len(),
            Self::Bytes(values) => values.value(index).len(),
            Self::List(list) => list.len(index),
        }
    }

    /// Writes a value that is not null into `out`, which is as long as it takes and all zeros.
    pub(super) fn write(&self, index: usize, out: &mut [u8]) {
        match self {
            Self::Text(values) => out.copy_from_slice(values.value(index).as_bytes()),
            Self::Bytes(values) => out.copy_from_slice(values.value(index)),
            Self::List(list) => list.write(index, out),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Text(values) => *values,
            Self::Bytes(values) => *values,
            Self::List(list) => list.lists,
        }
    }
}

impl<'a> List<'a> {
    fn items(&self, index: usize) -> Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[index] as usize..offsets[index + 1] as usize
    }

    /// The items as values of differing length, if they are.
    fn variable_items(&self) -> Option<Variable<'a>> {
        Variable::of(self.item.into(), self.lists.values().as_ref())
    }

    fn len(&self, index: usize) -> usize {
        let items = self.items(index);
        let count = items.len();
        let values = match (self.item.fixed_width(), self.variable_items()) {
            (Some(width), _) => width * count,
            (None, Some(values)) => END_BYTES * count + items.map(|item| values.len(item)).sum::<usize>(),
            (None, None) => 0,
        };
        varint::len(count as u32) + count.div_ceil(8) + values
    }

    fn write(&self, index: usize, out: &mut [u8]) {
        let items = self.items(index);
        let count = items.len();
        varint::write(count as u32, out);
        let (nulls, values) = out[varint::len(count as u32)..].split_at_mut(count.div_ceil(8));
        let array = self.lists.values().as_ref();
        for (position, item) in items.clone().enumerate() {
            if array.is_null(item) {
                nulls[position / 8] |= 1 << (position % 8);
            }
        }
        match (self.item.fixed_width(), self.variable_items()) {
            (Some(width), _) => for_each_fixed(self.item, array, items, |position, bytes| {
                values[width * position..][..width].copy_from_slice(bytes);
            }),
            (None, Some(variable)) => write_variables(variable, items, values),
            (None, None) => {}
        }
    }
}

/// Writes the end offsets and the bytes of `items`.
fn write_variables(variable: Variable<'_>, items: Range<usize>, out: &mut [u8]) {
    let (ends, bytes) = out.split_at_mut(END_BYTES * items.len());
    let mut end = 0;
    for (item, slot) in items.zip(ends.chunks_exact_mut(END_BYTES)) {
        let start = end;
        end += variable.len(item);
        if end > start {
            variable.write(item, &mut bytes[start..end]);
        }
        slot.copy_from_slice(&(end as u32).to_le_bytes());
    }
}
