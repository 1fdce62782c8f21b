//! Batches with dictionaries in pieces: a value that stands once in a dictionary may stand in many rows, and takes its bytes in
//! each of them where plain values are made of it.

use arrow::{
    array::{AnyDictionaryArray, Array, ArrayRef, AsArray, RecordBatch},
    datatypes::DataType,
};

/// The most bytes that the values of dictionaries take in a piece, unless it is one row.
const PIECE_BYTES: usize = 16 << 20;

/// The rows of a batch, in order.
pub(super) fn of(batch: RecordBatch) -> Vec<RecordBatch> {
    let dictionaries: Vec<Sizes<'_>> = batch.columns().iter().filter_map(Sizes::of).collect();
    if dictionaries.is_empty() {
        return vec![batch];
    }
    let (mut ends, mut bytes) = (Vec::new(), 0_usize);
    for row in 0..batch.num_rows() {
        let of_row = dictionaries.iter().map(|sizes| sizes.of_row(row)).fold(0, usize::saturating_add);
        if bytes > 0 && bytes.saturating_add(of_row) > PIECE_BYTES {
            ends.push(row);
            bytes = 0;
        }
        bytes = bytes.saturating_add(of_row);
    }
    ends.push(batch.num_rows());
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, end)| batch.slice(start, end - start)).collect()
}

/// The bytes of a dictionary's values, row by row.
struct Sizes<'a> {
    column: &'a dyn AnyDictionaryArray,
    keys: Vec<usize>,
    values: Vec<usize>,
}

impl<'a> Sizes<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        let column = column.as_any_dictionary_opt()?;
        Some(Self { column, keys: column.normalized_keys(), values: sizes(column.values().as_ref()) })
    }

    fn of_row(&self, row: usize) -> usize {
        if self.column.is_null(row) {
            return 0;
        }
        self.keys.get(row).and_then(|key| self.values.get(*key)).copied().unwrap_or_default()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: of other values an average is enough")]
fn sizes(values: &dyn Array) -> Vec<usize> {
    let lengths =
        |offsets: &[i64]| offsets.windows(2).map(|ends| (ends[1] - ends[0]).unsigned_abs() as usize).collect();
    let short = |offsets: &[i32]| lengths(&offsets.iter().map(|end| i64::from(*end)).collect::<Vec<_>>());
    match values.data_type() {
        DataType::Utf8 => short(values.as_string::<i32>().value_offsets()),
        DataType::Binary => short(values.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => lengths(values.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => lengths(values.as_binary::<i64>().value_offsets()),
        _ => vec![values.get_array_memory_size().div_ceil(values.len().max(1)); values.len()],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{DictionaryArray, Int32Array, StringArray},
        compute::concat_batches,
    };

    use super::*;

    #[test]
    fn great_values_that_stand_often_are_worked_on_piece_by_piece() {
        let keys = Int32Array::from_iter((0..40).map(|row| (row % 5 > 0).then_some(row % 2)));
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(6 << 20), "y".to_owned()]));
        let texts: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..40));
        let batch = RecordBatch::try_from_iter([("texts", texts), ("numbers", numbers)]).unwrap();
        let pieces = of(batch.clone());
        let great = |piece: &RecordBatch| {
            let texts = piece.column(0).as_any_dictionary();
            texts.normalized_keys().iter().enumerate().filter(|(row, key)| **key == 0 && texts.is_valid(*row)).count()
        };
        assert_eq!(pieces.iter().map(great).collect::<Vec<_>>(), [2; 8]);
        assert_eq!(concat_batches(&batch.schema(), &pieces).unwrap(), batch);
        assert_eq!(of(batch.slice(0, 0)).len(), 1);
        let plain = batch.project(&[1]).unwrap();
        assert_eq!(of(plain.clone()), [plain]);
    }
}
