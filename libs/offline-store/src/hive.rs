//! Columns in paths: folders called `name=value`, as Hive has them.
//!
//! What a path may not have stands there as `%XX`; null is `__HIVE_DEFAULT_PARTITION__`.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, StringArray, TimestampMicrosecondArray, UInt32Array, new_null_array},
    compute::{cast, take},
};
use larder_types::{Error, Result, ScalarType, Timestamp, ValueType};
use percent_encoding::percent_decode_str;

/// What stands for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns in the parts of a path.
pub(crate) fn columns(parts: impl Iterator<Item = impl AsRef<str>>) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let column = |part: &str| part.split_once('=').map(|(name, value)| (decoded(name), decoded(value)));
    parts.filter_map(|part| column(part.as_ref())).collect()
}

/// A value as a column of one row; none: it is not of that type.
pub(crate) fn parse(text: &str, wanted: ValueType) -> Option<ArrayRef> {
    let target = wanted.arrow();
    if matches!(wanted, ValueType::List(_)) {
        return None;
    }
    if text == NULL {
        return Some(new_null_array(&target, 1));
    }
    if wanted == ScalarType::Timestamp.into() {
        let time: Timestamp = text.parse().ok()?;
        let time = TimestampMicrosecondArray::from(vec![time.as_micros()]);
        return Some(Arc::new(time.with_data_type(target)));
    }
    let value: ArrayRef = Arc::new(StringArray::from(vec![text]));
    cast(&value, &target).ok().filter(|parsed| parsed.null_count() == 0)
}

/// A column of one row as one of so many.
pub(crate) fn repeat(value: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    let indices = UInt32Array::from(vec![0; rows]);
    take(value, &indices, None).map_err(|error| Error::internal(error.to_string()))
}
