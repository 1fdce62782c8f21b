//! Columns of other Arrow types brought to ours, where nothing is lost by it.

#![expect(clippy::wildcard_enum_match_arm, reason = "Arrow's enum: a type that is not named is none of ours")]

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
};
use larder_types::{Error, Result, ScalarType, ValueType};

/// Whether a column of `found` can become one of `wanted` without loss. Finer times are rounded down. A column without any
/// value, to which some writers give no type, can become one of any.
pub(crate) fn can_widen(found: &DataType, wanted: ValueType) -> bool {
    has_no_values(found) || has_type(found, wanted)
}

/// Whether all values of a column are null by its type.
pub(crate) fn has_no_values(found: &DataType) -> bool {
    match found {
        DataType::Null => true,
        DataType::Dictionary(_, value) => has_no_values(value),
        _ => false,
    }
}

fn has_type(found: &DataType, wanted: ValueType) -> bool {
    match wanted {
        ValueType::Scalar(scalar) => can_widen_scalar(found, scalar),
        ValueType::List(item) => match found {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                has_no_values(field.data_type()) || can_widen_scalar(field.data_type(), item)
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
    if has_no_values(column.data_type()) {
        return Ok(new_null_array(&target, column.len()));
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
    if has_no_values(found.data_type()) {
        return cast(column, target);
    }
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
        found if has_no_values(found) => new_null_array(&ScalarType::Timestamp.arrow(), column.len()),
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

/// Request data that cannot be what is wanted: its position in the column, and why.
pub(crate) struct NotRequest {
    pub(crate) position: usize,
    pub(crate) why: String,
}

/// The first integer of request data that is no float64 exactly, where a float64 is to be made of it; see
/// [`can_be_request`], which must have agreed.
pub(crate) fn inexact_request(column: &ArrayRef, wanted: ValueType) -> Result<Option<NotRequest>> {
    if can_widen(column.data_type(), wanted) {
        return Ok(None);
    }
    let floats = cast(column, &DataType::Float64)?;
    let is_inexact = |value: Option<f64>| value.is_some_and(|value| value.abs() >= EXACT);
    let Some(position) = floats.as_primitive::<Float64Type>().iter().position(is_inexact) else { return Ok(None) };
    let value = cast(&column.slice(position, 1), &DataType::Utf8)?;
    let value = value.as_string::<i32>().value(0);
    let why = format!("{value} is beyond the integers that a float64 has exactly: those below 2^53");
    Ok(Some(NotRequest { position, why }))
}

/// Request data as [`ValueType::arrow`] has it; see [`can_be_request`] and [`inexact_request`], which must have agreed.
pub(crate) fn widen_request(column: &ArrayRef, wanted: ValueType) -> Result<ArrayRef> {
    if can_widen(column.data_type(), wanted) { widen(column, wanted) } else { cast(column, &DataType::Float64) }
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

/// What a column's type is declared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Nothing: what it has to be does not depend on any declaration.
    Not,
    /// A join key, which no float or list can be.
    Key,
    /// A feature.
    Feature,
}

/// What is there in place of what is wanted, and what would be right.
pub(crate) fn misfit(found: &DataType, wanted: &str, declared: Declared) -> String {
    let known = declarable(found);
    let (is, other) = match declared {
        Declared::Not => ("wanted", None),
        Declared::Key => ("declared", known.filter(|known| can_be_key(*known))),
        Declared::Feature => ("declared", known),
    };
    let declare = other.map(|other| format!("declare it as {other}, or ")).unwrap_or_default();
    format!("has type {}, {wanted} is {is}: {declare}convert it to {wanted}", type_name(found))
}

fn can_be_key(known: ValueType) -> bool {
    !matches!(known, ValueType::List(_) | ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64))
}

/// The name of a type in messages: ours where we have it, and otherwise what Parquet calls it.
pub(crate) fn type_name(found: &DataType) -> String {
    match (declarable(found), found) {
        (Some(known), _) if !is_narrower(found) => known.to_string(),
        (_, DataType::Dictionary(_, value)) => type_name(value),
        (_, DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale)) => {
            format!("decimal({precision}, {scale})")
        }
        (_, DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) => {
            format!("decimal({precision}, {scale})")
        }
        (_, DataType::Date32 | DataType::Date64) => "date".to_owned(),
        (_, DataType::Time32(_) | DataType::Time64(_)) => "time of day".to_owned(),
        (_, DataType::Duration(_)) => "duration".to_owned(),
        (_, DataType::Struct(_)) => "struct".to_owned(),
        (_, DataType::Map(..)) => "map".to_owned(),
        (_, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
            format!("list<{}>", type_name(item.data_type()))
        }
        (_, DataType::Null) => "null".to_owned(),
        (_, other) => other.to_string().to_lowercase(),
    }
}

/// Whether we have no type of that width, only wider ones.
fn is_narrower(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, value) => is_narrower(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_narrower(item.data_type())
        }
        other => is_small_int(other) || matches!(other, DataType::UInt32 | DataType::Float16 | DataType::Null),
    }
}

/// The first of our types that a column of `found` can become without loss: the narrowest, since those come first.
fn declarable(found: &DataType) -> Option<ValueType> {
    let scalars = || ScalarType::ALL.into_iter();
    let mut known = scalars().map(ValueType::Scalar).chain(scalars().map(ValueType::List));
    known.find(|known| has_type(found, *known))
}

fn cast(column: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, target, &options)
        .map_err(|error| Error::invalid_argument(format!("a column of {}: {error}", type_name(column.data_type()))))
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
            assert!(inexact_request(&ints(exact), float64).unwrap().is_none());
            let wide = widen_request(&ints(exact), float64).unwrap();
            assert_eq!(wide.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(exact as f64), None]);
        }
        for inexact in [(1 << 53) + 1, i64::MIN] {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1), Some(inexact), Some(inexact)]));
            let found = inexact_request(&column, float64).unwrap().unwrap();
            assert_eq!(found.position, 2);
            assert!(found.why.starts_with(&format!("{inexact} is beyond")), "{}", found.why);
        }
    }

    #[test]
    fn a_column_without_values_becomes_nulls_of_any_type() {
        let nulls: ArrayRef = Arc::new(arrow::array::NullArray::new(3));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Null));
        let scalars = ScalarType::ALL.into_iter();
        for wanted in scalars.clone().map(ValueType::Scalar).chain(scalars.map(ValueType::List)) {
            assert!(can_widen(&DataType::Null, wanted) && can_widen(&dictionary, wanted));
            let wide = widen(&nulls, wanted).unwrap();
            assert_eq!((wide.data_type(), wide.null_count()), (&wanted.arrow(), 3));
        }
        assert_eq!(to_micros(&nulls).unwrap().null_count(), 3);
        assert_eq!(to_int64(&nulls).unwrap().null_count(), 3);
        // Lists of which all are empty.
        let mut lists = arrow::array::ListBuilder::new(arrow::array::NullBuilder::new());
        lists.append(true);
        lists.append(false);
        let lists: ArrayRef = Arc::new(lists.finish());
        for item in ScalarType::ALL {
            let wide = widen(&lists, ValueType::List(item)).unwrap();
            assert_eq!((wide.data_type(), wide.null_count()), (&ValueType::List(item).arrow(), 1), "{item}");
            assert_eq!(wide.as_list::<i32>().value_length(0), 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_told_by_the_names_that_are_declared() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        for (found, wanted, expected) in [
            (
                DataType::Utf8,
                "int64",
                "has type string, int64 is declared: declare it as string, or convert it to int64",
            ),
            (dictionary, "int64", "has type string, int64 is declared: declare it as string, or convert it to int64"),
            (
                DataType::UInt16,
                "string",
                "has type uint16, string is declared: declare it as int32, or convert it to string",
            ),
            (
                DataType::Decimal128(10, 2),
                "float64",
                "has type decimal(10, 2), float64 is declared: convert it to float64",
            ),
            (DataType::Date32, "string", "has type date, string is declared: convert it to string"),
            (
                DataType::new_large_list(DataType::Int64, true),
                "int64",
                "has type list<int64>, int64 is declared: declare it as list<int64>, or convert it to int64",
            ),
            (DataType::UInt64, "int64", "has type uint64, int64 is declared: convert it to int64"),
        ] {
            assert_eq!(misfit(&found, wanted, Declared::Feature), expected);
        }
        let wanted = misfit(&DataType::Int64, "string", Declared::Not);
        assert_eq!(wanted, "has type int64, string is wanted: convert it to string");
        let key = misfit(&DataType::Float64, "string", Declared::Key);
        assert_eq!(key, "has type float64, string is declared: convert it to string");
    }
}
