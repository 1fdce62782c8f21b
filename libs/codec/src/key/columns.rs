//! Columns of key parts, looked at once for all rows.

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray},
    datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use larder_types::{Error, KeyType, Result};

use super::text;

/// A column of one part of many keys.
pub(super) struct KeyColumn<'a> {
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
}

impl<'a> KeyColumn<'a> {
    pub(super) fn new(part: usize, array: &'a ArrayRef, key_type: KeyType, rows: usize) -> Result<Self> {
        let found = array.data_type();
        let values = match key_type {
            KeyType::Bool => array.as_boolean_opt().map(Values::Bool),
            KeyType::Int32 | KeyType::Int64 => {
                let narrow = array.as_primitive_opt::<Int32Type>().map(Values::Int32);
                narrow.or_else(|| array.as_primitive_opt::<Int64Type>().map(Values::Int64))
            }
            KeyType::String => array.as_string_opt().map(Values::String),
            KeyType::Bytes => array.as_binary_opt().map(Values::Bytes),
            KeyType::Timestamp if matches!(found, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                array.as_primitive_opt().map(Values::Timestamp)
            }
            KeyType::Timestamp => None,
        };
        let Some(values) = values else {
            return Err(Error::invalid_argument(format!(
                "key part {part} is {key_type}, a column of {found} was given"
            )));
        };
        if array.len() != rows {
            let values = array.len();
            return Err(Error::invalid_argument(format!("key part {part} has {values} values for {rows} keys")));
        }
        Ok(Self { array, values })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Adds a colon and the part.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b':');
        match self.values {
            Values::Bool(values) => text::write_bool(values.value(row), out),
            Values::Int32(values) => text::write_int(values.value(row).into(), out),
            Values::Int64(values) => text::write_int(values.value(row), out),
            Values::String(values) => text::write_string(values.value(row), out),
            Values::Bytes(values) => text::write_bytes(values.value(row), out),
            Values::Timestamp(values) => text::write_int(values.value(row), out),
        }
    }
}
