//! Values of features and keys, as text and as JSON.
//!
//! Both say enough to get the same value back: floats in their shortest exact form, times in RFC 3339, bytes in base64.
//! What JSON has no number for (NaN, infinities) is text there.

use arrow::{
    array::{
        Array, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::DataType,
    util::display::array_value_to_string,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use larder_types::Timestamp;
use serde_json::{Number, Value};

/// The value of a row; null where it is null. Types that are not ours (columns of a spine) are shown as text.
pub(crate) fn json(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let any = array.as_any();
    if let Some(values) = any.downcast_ref::<BooleanArray>() {
        values.value(row).into()
    } else if let Some(values) = any.downcast_ref::<Int32Array>() {
        values.value(row).into()
    } else if let Some(values) = any.downcast_ref::<Int64Array>() {
        values.value(row).into()
    } else if let Some(values) = any.downcast_ref::<Float32Array>() {
        // By way of its own shortest text: 0.1, and not what 0.1 of 32 bits is in 64.
        values.value(row).to_string().parse().map_or(Value::Null, float)
    } else if let Some(values) = any.downcast_ref::<Float64Array>() {
        float(values.value(row))
    } else if let Some(values) = any.downcast_ref::<StringArray>() {
        values.value(row).into()
    } else if let Some(values) = any.downcast_ref::<BinaryArray>() {
        BASE64_STANDARD.encode(values.value(row)).into()
    } else if let Some(values) = any.downcast_ref::<TimestampMicrosecondArray>() {
        Timestamp::from_micros(values.value(row)).to_string().into()
    } else if let DataType::List(_) = array.data_type() {
        let items = array.as_list::<i32>().value(row);
        (0..items.len()).map(|item| json(&items, item)).collect()
    } else {
        array_value_to_string(array, row).unwrap_or_default().into()
    }
}

/// The value of a row for a table.
pub(crate) fn text(array: &dyn Array, row: usize) -> String {
    let any = array.as_any();
    if array.is_null(row) {
        "null".to_owned()
    } else if let Some(values) = any.downcast_ref::<Float64Array>() {
        format!("{:?}", values.value(row))
    } else if let Some(values) = any.downcast_ref::<Float32Array>() {
        format!("{:?}", values.value(row))
    } else if let Value::String(text) = json(array, row) {
        text
    } else {
        json(array, row).to_string()
    }
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{array::ArrayRef, buffer::OffsetBuffer, datatypes::Field};

    use super::*;

    #[test]
    fn every_type_has_a_text_and_a_json() {
        let list = arrow::array::ListArray::new(
            Arc::new(Field::new("item", DataType::Int32, true)),
            OffsetBuffer::from_lengths([2]),
            Arc::new(Int32Array::from(vec![Some(1), None])),
            None,
        );
        let cases: Vec<(ArrayRef, &str, &str)> = vec![
            (Arc::new(BooleanArray::from(vec![true])), "true", "true"),
            (Arc::new(Int64Array::from(vec![i64::MIN])), "-9223372036854775808", "-9223372036854775808"),
            (Arc::new(Float32Array::from(vec![0.1])), "0.1", "0.1"),
            (Arc::new(Float64Array::from(vec![-0.0])), "-0.0", "-0.0"),
            (Arc::new(Float64Array::from(vec![f64::NAN])), "NaN", "\"NaN\""),
            (Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), "-inf", "\"-Infinity\""),
            (Arc::new(Float64Array::from(vec![1e300])), "1e300", "1e+300"),
            (Arc::new(StringArray::from(vec!["a\"b"])), "a\"b", "\"a\\\"b\""),
            (Arc::new(BinaryArray::from(vec![&b"\xff\x00"[..]])), "/wA=", "\"/wA=\""),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
                "1970-01-01T00:00:00.000001Z",
                "\"1970-01-01T00:00:00.000001Z\"",
            ),
            (Arc::new(list), "[1,null]", "[1,null]"),
            (Arc::new(Int64Array::from(vec![None])), "null", "null"),
        ];
        for (array, as_text, as_json) in cases {
            assert_eq!(text(&array, 0), as_text);
            assert_eq!(json(&array, 0).to_string(), as_json);
        }
    }
}
