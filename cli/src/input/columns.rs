//! Columns of files that have types themselves, brought to the types that are wanted. A value that is not exactly one of the
//! type is an error; times finer than a microsecond are rounded down.
//!
//! What is history is judged by the types of its columns alone (`widen.rs` of `offline-store`), since runs are planned before
//! they read. Here every value is at hand, so the values count: integers of another width are taken where each of them fits, as
//! floats where each is exact, and a day is its midnight in UTC, as it is in text.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType, UInt64Type,
    },
    error::ArrowError,
};
use larder_types::{ScalarType, ValueType};

/// Whether the values of a column of `found` can be values of `wanted`.
pub(super) fn can_convert(found: &DataType, wanted: ValueType) -> bool {
    match wanted {
        // Whatever is wanted, it may be null.
        ValueType::Scalar(_) | ValueType::List(_) if *plain_type(found) == DataType::Null => true,
        ValueType::Scalar(scalar) => can_convert_scalar(plain_type(found), scalar),
        ValueType::List(scalar) => {
            item(found).is_some_and(|item| can_convert_scalar(plain_type(item.data_type()), scalar))
        }
    }
}

/// The column as [`ValueType::arrow`] has it; see [`can_convert`], which must have agreed.
pub(super) fn convert(column: &ArrayRef, wanted: ValueType) -> Result<ArrayRef, ArrowError> {
    if *plain_type(column.data_type()) == DataType::Null {
        return Ok(new_null_array(&wanted.arrow(), column.len()));
    }
    match wanted {
        ValueType::Scalar(scalar) => scalars(column, scalar),
        ValueType::List(scalar) => lists(column, scalar),
    }
}

/// The type of the values, however they are laid out.
pub(super) fn plain_type(found: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = found { values } else { found }
}

/// What a list has.
fn item(found: &DataType) -> Option<&FieldRef> {
    if let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = found {
        Some(item)
    } else {
        None
    }
}

/// The type as definitions would name it, or as it is called where they have none like it.
pub(super) fn name_of(found: &DataType) -> String {
    let found = plain_type(found);
    let own = ScalarType::ALL.into_iter().find(|scalar| *found == scalar.arrow()).map(ScalarType::as_str);
    match own {
        Some(name) => name.to_owned(),
        None if can_convert_scalar(found, ScalarType::String) => ScalarType::String.as_str().to_owned(),
        None if can_convert_scalar(found, ScalarType::Bytes) => ScalarType::Bytes.as_str().to_owned(),
        None if matches!(found, DataType::Timestamp(..)) => ScalarType::Timestamp.as_str().to_owned(),
        None => match item(found) {
            Some(item) => format!("list<{}>", name_of(item.data_type())),
            None => found.to_string().to_lowercase(),
        },
    }
}

fn can_convert_scalar(found: &DataType, wanted: ScalarType) -> bool {
    match wanted {
        _ if *found == DataType::Null => true,
        ScalarType::Bool => *found == DataType::Boolean,
        ScalarType::Int32 | ScalarType::Int64 => found.is_integer(),
        ScalarType::Float32 => matches!(found, DataType::Float16 | DataType::Float32),
        ScalarType::Float64 => found.is_floating() || found.is_integer(),
        ScalarType::String => matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
        ScalarType::Bytes => matches!(
            found,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        ScalarType::Timestamp => matches!(found, DataType::Timestamp(..) | DataType::Date32),
    }
}

fn scalars(column: &ArrayRef, wanted: ScalarType) -> Result<ArrayRef, ArrowError> {
    if *plain_type(column.data_type()) == DataType::Null {
        return Ok(new_null_array(&wanted.arrow(), column.len()));
    }
    let column = cast(column, plain_type(column.data_type()))?;
    let found = column.data_type();
    if wanted == ScalarType::Timestamp && matches!(found, DataType::Timestamp(TimeUnit::Nanosecond, _)) {
        return Ok(rounded_down(&column));
    }
    if wanted == ScalarType::Float64 && found.is_integer() {
        return exact_floats(&column);
    }
    cast(&column, &wanted.arrow())
}

/// Nanoseconds in microseconds, towards the past.
fn rounded_down(nanoseconds: &ArrayRef) -> ArrayRef {
    let nanoseconds = nanoseconds.as_primitive::<TimestampNanosecondType>();
    let microseconds = nanoseconds.unary::<_, TimestampMicrosecondType>(|time| time.div_euclid(1_000));
    Arc::new(microseconds.with_timezone("UTC"))
}

/// 2^53: every integer up to it is a float64, below zero too.
const EXACT: i128 = 1 << 53;

fn exact_floats(integers: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let values: Box<dyn Iterator<Item = i128> + '_> = match integers.as_primitive_opt::<UInt64Type>() {
        Some(unsigned) => Box::new(unsigned.iter().flatten().map(i128::from)),
        None => {
            let signed = cast(integers, &DataType::Int64)?;
            let signed = signed.as_primitive::<Int64Type>().clone();
            Box::new(signed.values().to_vec().into_iter().map(i128::from))
        }
    };
    match values.into_iter().find(|value| value.abs() > EXACT) {
        None => cast(integers, &DataType::Float64),
        Some(value) => Err(ArrowError::CastError(format!(
            "{value} is beyond the integers that a float64 has exactly: those up to 2^53"
        ))),
    }
}

/// The items are converted by themselves, as those of a column are.
fn lists(column: &ArrayRef, wanted: ScalarType) -> Result<ArrayRef, ArrowError> {
    let found = item(column.data_type())
        .ok_or_else(|| ArrowError::CastError(format!("{} is not a list", column.data_type())))?;
    let plain = cast(column, &DataType::List(Arc::clone(found)))?;
    let (_, offsets, values, nulls) = plain.as_list::<i32>().clone().into_parts();
    let item = Arc::new(Field::new_list_field(wanted.arrow(), true));
    Ok(Arc::new(ListArray::try_new(item, offsets, scalars(&values, wanted)?, nulls)?))
}

fn cast(column: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(column, target, &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            Date32Array, DictionaryArray, FixedSizeListArray, Float32Array, Int32Array, Int64Array, LargeListArray,
            NullArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array,
            UInt64Array,
        },
        buffer::OffsetBuffer,
        datatypes::Int32Type,
    };
    use larder_types::ScalarType::{Float32, Float64, Int32, Int64, String as Text, Timestamp as Time};

    use super::*;
    use crate::render::values;

    fn converted(column: &ArrayRef, wanted: ValueType) -> Result<Vec<String>, ArrowError> {
        assert!(can_convert(column.data_type(), wanted), "{} to {wanted}", column.data_type());
        let made = convert(column, wanted)?;
        assert_eq!(made.data_type(), &wanted.arrow());
        Ok((0..made.len()).map(|row| values::text(&made, row)).collect())
    }

    fn nanoseconds() -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(vec![Some(-1), Some(1_999), None]))
    }

    const ROUNDED: [&str; 3] = ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z", "null"];

    fn dictionary(keys: Vec<Option<i32>>, values: ArrayRef) -> ArrayRef {
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys.into(), values).unwrap())
    }

    #[test]
    fn values_come_through_however_they_are_laid_out() {
        let fine = |values: ArrayRef| Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let nested = dictionary(vec![Some(0), Some(1), None], nanoseconds());
        let cases: Vec<(ArrayRef, ValueType, &[&str])> = vec![
            (nanoseconds(), Time.into(), &ROUNDED),
            (
                dictionary(vec![Some(1), None, Some(0), Some(2)], nanoseconds()),
                Time.into(),
                &[ROUNDED[1], "null", ROUNDED[0], "null"],
            ),
            (
                Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("+05:00")),
                Time.into(),
                &["1970-01-01T00:00:00.001Z"],
            ),
            (Arc::new(Date32Array::from(vec![Some(-1), None])), Time.into(), &["1969-12-31T00:00:00Z", "null"]),
            (Arc::new(Int64Array::from(vec![Some(1), None])), Int32.into(), &["1", "null"]),
            (Arc::new(UInt64Array::from(vec![7])), Int64.into(), &["7"]),
            (Arc::new(UInt8Array::from(vec![7])), Float64.into(), &["7.0"]),
            (Arc::new(Int64Array::from(vec![1 - (1 << 53)])), Float64.into(), &["-9007199254740991.0"]),
            (
                Arc::new(Int64Array::from(vec![Some(1 << 53), None, Some(-(1 << 53))])),
                Float64.into(),
                &["9007199254740992.0", "null", "-9007199254740992.0"],
            ),
            (Arc::new(NullArray::new(2)), Int64.into(), &["null", "null"]),
            (Arc::new(NullArray::new(1)), ValueType::List(Text), &["null"]),
            (Arc::new(Float32Array::from(vec![0.5])), Float64.into(), &["0.5"]),
            (
                Arc::new(LargeListArray::new(fine(nested.clone()), OffsetBuffer::from_lengths([1, 2]), nested, None)),
                ValueType::List(Time),
                &["[\"1969-12-31T23:59:59.999999Z\"]", "[\"1970-01-01T00:00:00.000001Z\",null]"],
            ),
            (
                Arc::new(FixedSizeListArray::new(
                    fine(Arc::new(Int32Array::from(vec![0]))),
                    2,
                    Arc::new(Int32Array::from(vec![1, 2])),
                    None,
                )),
                ValueType::List(Float64),
                &["[1.0,2.0]"],
            ),
        ];
        for (column, wanted, expected) in cases {
            assert_eq!(converted(&column, wanted).unwrap(), expected, "{} to {wanted}", column.data_type());
        }
    }

    #[test]
    fn types_are_called_as_definitions_call_them() {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        for (found, name) in [
            (DataType::Float64, "float64"),
            (DataType::Int8, "int8"),
            (DataType::Utf8, "string"),
            (DataType::LargeUtf8, "string"),
            (DataType::BinaryView, "bytes"),
            (DataType::Boolean, "bool"),
            (DataType::Timestamp(TimeUnit::Second, None), "timestamp"),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "string"),
            (list(DataType::LargeUtf8), "list<string>"),
            (DataType::Date32, "date32"),
        ] {
            assert_eq!(name_of(&found), name);
        }
        let error =
            convert(&(Arc::new(Int64Array::from(vec![(1 << 53) + 1])) as ArrayRef), Float64.into()).unwrap_err();
        assert!(error.to_string().contains("9007199254740993 is beyond the integers"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_null() {
        let values: Vec<(ArrayRef, ValueType)> = vec![
            (Arc::new(Int64Array::from(vec![1 << 40])), Int32.into()),
            (Arc::new(UInt64Array::from(vec![u64::MAX])), Int64.into()),
            (Arc::new(Int64Array::from(vec![(1 << 53) + 1])), Float64.into()),
            (Arc::new(TimestampSecondArray::from(vec![i64::MAX])), Time.into()),
            (Arc::new(Date32Array::from(vec![i32::MAX])), Time.into()),
        ];
        for (column, wanted) in values {
            assert!(converted(&column, wanted).is_err(), "{} to {wanted}", column.data_type());
        }
        let types = [
            (DataType::Int64, Float32.into()),
            (DataType::Float64, Float32.into()),
            (DataType::Float64, Int64.into()),
            (DataType::Int64, Text.into()),
            (DataType::Int64, Time.into()),
            (DataType::Int64, ValueType::List(Int64)),
        ];
        for (found, wanted) in types {
            assert!(!can_convert(&found, wanted), "{found} to {wanted}");
        }
    }
}
