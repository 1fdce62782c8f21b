//! Values one at a time, as a naive reader sees them: what the columns must say, whatever the bytes are.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray},
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{Field, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use larder_types::{ScalarType, Status, ValueType};
use proptest::prelude::*;

/// A value as its bits, so that NaN equals itself and -0.0 does not equal 0.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bits(u64),
    Bytes(Vec<u8>),
    List(Vec<Option<Value>>),
}

/// A column of `values`, which are of `value_type`. Beneath nulls lies something else than zero where that is possible.
pub(crate) fn column(value_type: ValueType, values: &[Option<Value>]) -> ArrayRef {
    match value_type {
        ValueType::Scalar(scalar) => scalar_column(scalar, values),
        ValueType::List(item) => {
            let lists = values.iter().map(|value| match value {
                Some(Value::List(items)) => items.as_slice(),
                Some(Value::Bits(_) | Value::Bytes(_)) => panic!("not a list"),
                None => &[],
            });
            let items: Vec<_> = lists.clone().flatten().cloned().collect();
            let field = Arc::new(Field::new("item", item.arrow(), true));
            let offsets = OffsetBuffer::from_lengths(lists.map(<[_]>::len));
            Arc::new(ListArray::new(field, offsets, scalar_column(item, &items), nulls(values)))
        }
    }
}

fn scalar_column(scalar: ScalarType, values: &[Option<Value>]) -> ArrayRef {
    let bits = |value: &Option<Value>| match value {
        Some(Value::Bits(bits)) => *bits,
        Some(Value::Bytes(_) | Value::List(_)) => panic!("not a number"),
        None => u64::MAX / 3,
    };
    let bytes = |value: &Option<Value>| match value {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        Some(Value::Bits(_) | Value::List(_)) => panic!("not bytes"),
        None => b"beneath".to_vec(),
    };
    let text = |value: &Option<Value>| String::from_utf8(bytes(value)).unwrap();
    let each = values.iter();
    macro_rules! primitive {
        ($type:ty, $convert:expr) => {
            Arc::new(
                PrimitiveArray::<$type>::new(each.map(bits).map($convert).collect::<Vec<_>>().into(), nulls(values))
                    .with_data_type(scalar.arrow()),
            )
        };
    }
    match scalar {
        ScalarType::Bool => {
            Arc::new(BooleanArray::new(each.map(|value| bits(value) & 1 == 1).collect(), nulls(values)))
        }
        ScalarType::Int32 => primitive!(Int32Type, |bits| bits as i32),
        ScalarType::Int64 => primitive!(Int64Type, |bits| bits as i64),
        ScalarType::Float32 => primitive!(Float32Type, |bits| f32::from_bits(bits as u32)),
        ScalarType::Float64 => primitive!(Float64Type, f64::from_bits),
        ScalarType::Timestamp => primitive!(TimestampMicrosecondType, |bits| bits as i64),
        ScalarType::String => {
            let dense = StringArray::from_iter_values(each.map(text));
            Arc::new(StringArray::new(dense.offsets().clone(), dense.values().clone(), nulls(values)))
        }
        ScalarType::Bytes => {
            let dense = BinaryArray::from_iter_values(each.map(bytes));
            Arc::new(BinaryArray::new(dense.offsets().clone(), dense.values().clone(), nulls(values)))
        }
    }
}

fn nulls(values: &[Option<Value>]) -> Option<NullBuffer> {
    Some(NullBuffer::from_iter(values.iter().map(Option::is_some))).filter(|nulls| nulls.null_count() > 0)
}

/// The value at `row` of a column of `value_type`.
pub(crate) fn value(value_type: ValueType, column: &dyn Array, row: usize) -> Option<Value> {
    assert_eq!(*column.data_type(), value_type.arrow());
    if column.is_null(row) {
        return None;
    }
    Some(match value_type {
        ValueType::Scalar(ScalarType::Bool) => Value::Bits(column.as_boolean().value(row).into()),
        ValueType::Scalar(ScalarType::Int32) => {
            Value::Bits(u64::from(column.as_primitive::<Int32Type>().value(row) as u32))
        }
        ValueType::Scalar(ScalarType::Int64) => Value::Bits(column.as_primitive::<Int64Type>().value(row) as u64),
        ValueType::Scalar(ScalarType::Float32) => {
            Value::Bits(column.as_primitive::<Float32Type>().value(row).to_bits().into())
        }
        ValueType::Scalar(ScalarType::Float64) => {
            Value::Bits(column.as_primitive::<Float64Type>().value(row).to_bits())
        }
        ValueType::Scalar(ScalarType::Timestamp) => {
            Value::Bits(column.as_primitive::<TimestampMicrosecondType>().value(row) as u64)
        }
        ValueType::Scalar(ScalarType::String) => Value::Bytes(column.as_string::<i32>().value(row).as_bytes().to_vec()),
        ValueType::Scalar(ScalarType::Bytes) => Value::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        ValueType::List(item) => {
            let items = column.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|position| value(item.into(), &items, position)).collect())
        }
    })
}

/// The values and statuses that a column should have, in one form to compare.
pub(crate) fn answers(value_type: ValueType, decoded: &larder_codec::DecodedColumn) -> Vec<(Option<Value>, Status)> {
    let status = |row: usize| match &decoded.statuses {
        Some(statuses) => Status::from_u8(statuses[row]).unwrap(),
        None => Status::Present,
    };
    if let Some(statuses) = &decoded.statuses {
        assert_eq!(statuses.len(), decoded.values.len());
        assert!(statuses.iter().any(|status| *status != 0), "statuses are left out where all are present");
    }
    (0..decoded.values.len()).map(|row| (value(value_type, &decoded.values, row), status(row))).collect()
}

/// Any type.
pub(crate) fn any_type() -> impl Strategy<Value = ValueType> {
    (prop::sample::select(ScalarType::ALL.to_vec()), any::<bool>())
        .prop_map(|(scalar, is_list)| if is_list { ValueType::List(scalar) } else { ValueType::Scalar(scalar) })
}

/// A value of `value_type`, or null. NaNs of all kinds, -0.0 and the ends of each range are likely.
pub(crate) fn any_value(value_type: ValueType) -> BoxedStrategy<Option<Value>> {
    match value_type {
        ValueType::Scalar(scalar) => prop::option::weighted(0.8, any_scalar(scalar)).boxed(),
        ValueType::List(item) => {
            let items = prop::collection::vec(prop::option::weighted(0.8, any_scalar(item)), 0..20);
            prop::option::weighted(0.8, items.prop_map(Value::List)).boxed()
        }
    }
}

fn any_scalar(scalar: ScalarType) -> BoxedStrategy<Value> {
    let special =
        prop::sample::select(vec![0, 1, u64::MAX, 1 << 63, 1 << 31, f64::NAN.to_bits(), (-0.0_f64).to_bits()]);
    let bits = prop_oneof![special, any::<u64>()];
    match scalar {
        ScalarType::Bool => any::<bool>().prop_map(|value| Value::Bits(value.into())).boxed(),
        ScalarType::Int32 | ScalarType::Float32 => bits.prop_map(|bits| Value::Bits(bits & 0xFFFF_FFFF)).boxed(),
        ScalarType::Int64 | ScalarType::Float64 | ScalarType::Timestamp => bits.prop_map(Value::Bits).boxed(),
        ScalarType::String => any::<String>().prop_map(|text| Value::Bytes(text.into_bytes())).boxed(),
        ScalarType::Bytes => prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed(),
    }
}
