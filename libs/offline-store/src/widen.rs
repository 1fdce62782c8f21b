//! Columns of other Arrow types brought to ours, where nothing is lost by it.

#![expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: a type that is not named is none of ours")]

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
};
use larder_types::{Error, Result, ScalarType, ValueType};

/// Whether a column of `found` can become one of `wanted` without loss. Finer times are rounded down.
pub(crate) fn can_widen(found: &DataType, wanted: ValueType) -> bool {
    match wanted {
        ValueType::Scalar(scalar) => can_widen_scalar(found, scalar),
        ValueType::List(item) => match found {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                can_widen_scalar(field.data_type(), item)
            }
            _ => false,
        },
    }
}

fn can_widen_scalar(found: &DataType, wanted: ScalarType) -> bool {
    if let DataType::Dictionary(_, value) = found {
        return can_widen_scalar(value, wanted);
    }
    match wanted {
        ScalarType::Bool => *found == DataType::Boolean,
        ScalarType::Int32 => is_small_int(found) || *found == DataType::Int32,
        ScalarType::Int64 => {
            is_small_int(found) || matches!(found, DataType::Int32 | DataType::UInt32 | DataType::Int64)
        }
        ScalarType::Float32 => matches!(found, DataType::Float16 | DataType::Float32),
        ScalarType::Float64 => matches!(found, DataType::Float16 | DataType::Float32 | DataType::Float64),
        ScalarType::String => matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        ScalarType::Bytes => matches!(
            found,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        ScalarType::Timestamp => matches!(found, DataType::Timestamp(..)),
    }
}

fn is_small_int(found: &DataType) -> bool {
    matches!(found, DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16)
}

/// The column as [`ValueType::arrow`] has it; see [`can_widen`], which must have agreed.
pub(crate) fn widen(column: &ArrayRef, wanted: ValueType) -> Result<ArrayRef> {
    let target = wanted.arrow();
    if *column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    match wanted {
        ValueType::Scalar(ScalarType::Timestamp) => Ok(Arc::new(to_micros(column)?)),
        ValueType::List(ScalarType::Timestamp) => widen_times_of_list(column, &target),
        ValueType::Scalar(_) | ValueType::List(_) => cast(column, &target),
    }
}

fn widen_times_of_list(column: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let DataType::List(item) = target else { return cast(column, target) };
    let found = match column.data_type() {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => field,
        _ => return cast(column, target),
    };
    let plain = cast(column, &DataType::List(Arc::clone(found)))?;
    let (_, offsets, values, nulls) = plain.as_list::<i32>().clone().into_parts();
    let values = widen(&values, ScalarType::Timestamp.into())?;
    let list = arrow::array::ListArray::try_new(Arc::clone(item), offsets, values, nulls);
    list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| Error::internal(error.to_string()))
}

/// A column of timestamps of any unit in microseconds, UTC: finer ones rounded down, those beyond what microseconds can
/// count at the border.
pub(crate) fn to_micros(column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let column = match column.data_type() {
        DataType::Dictionary(_, value) => cast(column, value)?,
        _ => Arc::clone(column),
    };
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err(Error::internal(format!("{} is not a timestamp", column.data_type())));
    };
    let raw = cast(&column, &DataType::Int64)?;
    let raw = raw.as_primitive::<Int64Type>();
    let unit = *unit;
    let micros = raw.unary::<_, arrow::datatypes::TimestampMicrosecondType>(|value| micros_of(value, unit));
    Ok(micros.with_data_type(ScalarType::Timestamp.arrow()))
}

/// A time of this unit in microseconds, rounded down.
pub(crate) fn micros_of(value: i64, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000_000),
        TimeUnit::Millisecond => value.saturating_mul(1_000),
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000),
    }
}

/// Whether a column of `found` can be request data of `wanted`: as [`can_widen`] has it, and whole numbers are written as
/// integers in many a file though float64 is wanted.
pub(crate) fn can_be_request(found: &DataType, wanted: ValueType) -> bool {
    can_widen(found, wanted) || (wanted == ScalarType::Float64.into() && is_integer(found))
}

/// Request data as [`ValueType::arrow`] has it; see [`can_be_request`], which must have agreed. An integer that is no
/// float64 exactly is an error.
pub(crate) fn widen_request(column: &ArrayRef, wanted: ValueType) -> Result<ArrayRef> {
    if can_widen(column.data_type(), wanted) {
        return widen(column, wanted);
    }
    let floats = cast(column, &DataType::Float64)?;
    let greatest = floats.as_primitive::<Float64Type>().iter().flatten().map(f64::abs).fold(0.0, f64::max);
    if greatest >= EXACT {
        let message = format!("{greatest:.0} is beyond the integers that a float64 has exactly: those below 2^53");
        return Err(Error::invalid_argument(message));
    }
    Ok(floats)
}

/// 2^53: every integer below it is a float64, and no other integer is rounded to less than it.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A column of integers of any width as int64; what is greater is null, as no key is.
pub(crate) fn to_int64(column: &ArrayRef) -> Result<ArrayRef> {
    arrow::compute::cast(column, &DataType::Int64).map_err(|error| Error::internal(error.to_string()))
}

/// Whether a column of `found` holds integers.
pub(crate) fn is_integer(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => value.is_integer(),
        other => other.is_integer(),
    }
}

fn cast(column: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, target, &options)
        .map_err(|error| Error::invalid_argument(format!("a column of {}: {error}", column.data_type())))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Int32Array, Int64Array, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn finer_times_are_rounded_down_and_coarser_ones_kept_within_bounds() {
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, -1_000, 1_999, 0]));
        assert_eq!(to_micros(&nanos).unwrap().values(), &[-1, -1, 1, 0]);
        let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![-2, i64::MAX]).with_timezone("+05:00"));
        assert_eq!(to_micros(&seconds).unwrap().values(), &[-2_000_000, i64::MAX]);
    }

    #[test]
    fn widens_what_loses_nothing_and_nothing_else() {
        let is = |found: &DataType, wanted: &str| can_widen(found, wanted.parse().unwrap());
        let dictionary = |value| DataType::Dictionary(Box::new(DataType::Int32), Box::new(value));
        for (found, wanted, expected) in [
            (DataType::Int32, "int64", true),
            (DataType::Int64, "int32", false),
            (DataType::Int32, "float64", false),
            (DataType::Float32, "float64", true),
            (DataType::Float64, "float32", false),
            (DataType::Date32, "timestamp", false),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "timestamp", true),
            (DataType::LargeUtf8, "string", true),
            (dictionary(DataType::Utf8), "string", true),
            (dictionary(DataType::Int64), "string", false),
            (DataType::new_large_list(DataType::Int32, true), "list<int64>", true),
            (DataType::Int32, "list<int32>", false),
        ] {
            assert_eq!(is(&found, wanted), expected, "{found} to {wanted}");
        }
    }

    #[test]
    fn widened_values_are_the_same_values() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(i32::MIN), None]));
        let wide = widen(&ints, ScalarType::Int64.into()).unwrap();
        assert_eq!(wide.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(i64::from(i32::MIN)), None]);
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![0.1_f32, f32::NAN]));
        let wide = widen(&floats, ScalarType::Float64.into()).unwrap();
        assert_eq!(wide.as_primitive::<Float64Type>().value(0), f64::from(0.1_f32));
    }

    #[test]
    fn integers_are_request_data_of_float64_where_they_are_exact() {
        let float64 = ScalarType::Float64.into();
        assert!(can_be_request(&DataType::Int64, float64) && can_be_request(&DataType::UInt8, float64));
        assert!(!can_be_request(&DataType::Int64, ScalarType::Float32.into()));
        let ints = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![Some(value), None])) };
        for exact in [0, -7, (1 << 53) - 1, 1 - (1 << 53)] {
            let wide = widen_request(&ints(exact), float64).unwrap();
            assert_eq!(wide.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(exact as f64), None]);
        }
        for inexact in [(1 << 53) + 1, i64::MIN] {
            let error = widen_request(&ints(inexact), float64).unwrap_err();
            assert!(error.message().contains("below 2^53"), "{error}");
        }
    }
}
