//! The digest of a spine: SHA-256 over its columns and rows, whatever batches, files or Arrow encodings they came in.
//!
//! First the columns: for each its name and type as text, each with its length in front (8 bytes, little-endian). Then
//! row by row, column by column: a byte 0 for null, or 1 and the value:
//!
//! | type | bytes |
//! |---|---|
//! | bool | 1: 0 or 1 |
//! | integers, date, time, duration | 8, little-endian, sign or zero extended |
//! | timestamp | 8, little-endian: the number in the column's own unit |
//! | float16, float32, float64 | 2, 4 or 8: its bits, little-endian |
//! | string, bytes | the length (8, little-endian) and the bytes |
//! | anything else | its text as Arrow displays it, like a string |
//!
//! A dictionary counts as its values; large and view types as the plain ones.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "Arrow's enum: the table says what becomes of a type that is not named"
)]

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Float16Type, Float32Type, Float64Type, Int64Type, Schema, UInt64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use larder_types::{Error, Result};
use sha2::{Digest, Sha256};

/// Takes in a spine.
pub(super) struct SpineHasher {
    state: Sha256,
    buffer: Vec<u8>,
}

impl SpineHasher {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut hasher = Self { state: Sha256::new(), buffer: Vec::new() };
        for field in schema.fields() {
            hasher.put_bytes(field.name().as_bytes());
            hasher.put_bytes(plain_type(field.data_type()).to_string().as_bytes());
        }
        hasher.flush();
        hasher
    }

    pub(super) fn update(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let columns = columns.iter().map(Values::new).collect::<Result<Vec<_>>>()?;
        for row in 0..rows {
            for column in &columns {
                column.put(self, row)?;
            }
            if self.buffer.len() > 1 << 16 {
                self.flush();
            }
        }
        self.flush();
        Ok(())
    }

    /// In hexadecimal.
    pub(super) fn finish(self) -> String {
        self.state.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn flush(&mut self) {
        self.state.update(&self.buffer);
        self.buffer.clear();
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend((bytes.len() as u64).to_le_bytes());
        self.buffer.extend(bytes);
    }
}

/// A column in one of the forms of the table.
struct Values {
    array: ArrayRef,
    form: Form,
}

enum Form {
    Bool,
    Int,
    Unsigned,
    Half,
    Float,
    Double,
    Bytes,
    Text,
}

impl Values {
    fn new(column: &ArrayRef) -> Result<Self> {
        let plain = plain_type(column.data_type());
        let (form, target) = match &plain {
            DataType::Boolean => (Form::Bool, None),
            DataType::UInt64 => (Form::Unsigned, None),
            DataType::Float16 => (Form::Half, None),
            DataType::Float32 => (Form::Float, None),
            DataType::Float64 => (Form::Double, None),
            DataType::Utf8 | DataType::Binary => (Form::Bytes, Some(DataType::Binary)),
            found if found.is_integer() || is_time(found) => (Form::Int, Some(DataType::Int64)),
            _ => (Form::Text, None),
        };
        let failed = |error: arrow::error::ArrowError| Error::internal(format!("digest of a spine: {error}"));
        let array =
            if *column.data_type() == plain { Arc::clone(column) } else { cast(column, &plain).map_err(failed)? };
        let array = match target {
            Some(target) => through_int(&array, &target).map_err(failed)?,
            None => array,
        };
        Ok(Self { array, form })
    }

    fn put(&self, hasher: &mut SpineHasher, row: usize) -> Result<()> {
        if self.array.is_null(row) {
            hasher.buffer.push(0);
            return Ok(());
        }
        hasher.buffer.push(1);
        match self.form {
            Form::Bool => hasher.buffer.push(u8::from(self.array.as_boolean().value(row))),
            Form::Int => hasher.buffer.extend(self.array.as_primitive::<Int64Type>().value(row).to_le_bytes()),
            Form::Unsigned => hasher.buffer.extend(self.array.as_primitive::<UInt64Type>().value(row).to_le_bytes()),
            Form::Half => hasher.buffer.extend(self.array.as_primitive::<Float16Type>().value(row).to_le_bytes()),
            Form::Float => hasher.buffer.extend(self.array.as_primitive::<Float32Type>().value(row).to_le_bytes()),
            Form::Double => hasher.buffer.extend(self.array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
            Form::Bytes => hasher.put_bytes(self.array.as_binary::<i32>().value(row)),
            Form::Text => hasher.put_bytes(self.text(row)?.as_bytes()),
        }
        Ok(())
    }

    fn text(&self, row: usize) -> Result<String> {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(self.array.as_ref(), &options);
        let text = formatter.and_then(|formatter| formatter.value(row).try_to_string());
        text.map_err(|error| Error::internal(format!("digest of a spine: {error}")))
    }
}

fn is_time(found: &DataType) -> bool {
    found.is_temporal() && !matches!(found, DataType::Interval(_))
}

/// Times of 32 bits become int64 by way of int32.
fn through_int(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, target),
        _ => cast(array, target),
    }
}

fn plain_type(found: &DataType) -> DataType {
    match found {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, TimestampNanosecondArray},
        datatypes::{Field, Int32Type},
    };

    use super::*;

    fn digest(batches: &[RecordBatch]) -> String {
        let mut hasher = SpineHasher::new(&batches[0].schema());
        batches.iter().for_each(|batch| hasher.update(batch.columns(), batch.num_rows()).unwrap());
        hasher.finish()
    }

    fn batch(text: ArrayRef) -> RecordBatch {
        let rows = text.len();
        let numbers: Int32Array = (0..rows as i32).map(|row| (row != 1).then_some(row)).collect();
        let times = TimestampNanosecondArray::from_iter_values(0..rows as i64);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(|_| Some([Some(1), None])));
        let columns: Vec<(&str, ArrayRef)> =
            vec![("n", Arc::new(numbers)), ("s", text), ("t", Arc::new(times)), ("l", Arc::new(lists))];
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())
            .unwrap()
    }

    #[test]
    fn depends_on_rows_alone() {
        let whole = batch(Arc::new(StringArray::from(vec![Some("a"), None, Some("bc")])));
        let pieces = [whole.slice(0, 1), whole.slice(1, 2)];
        assert_eq!(digest(std::slice::from_ref(&whole)), digest(&pieces));
        let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("bc")].into_iter().collect();
        assert_eq!(digest(std::slice::from_ref(&whole)), digest(&[batch(Arc::new(dictionary))]));
        let other = batch(Arc::new(StringArray::from(vec![Some("a"), None, Some("b")])));
        assert_ne!(digest(std::slice::from_ref(&whole)), digest(&[other]));
        assert_ne!(digest(std::slice::from_ref(&whole)), digest(&[whole.slice(0, 2)]));
    }

    #[test]
    fn is_the_same_in_every_release() {
        let rows = batch(Arc::new(StringArray::from(vec![Some("a"), None, Some("bc")])));
        expect_test::expect!["b5d319b3d46b9b50918f62e6eda5dbd818afb9ac41eda039eb782a50a5c45675"]
            .assert_eq(&digest(&[rows]));
    }
}
