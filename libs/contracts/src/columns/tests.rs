//! Every type, with nulls, odd bits and offsets, there and back; and everything that must be refused.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
        ListArray, NullArray, StringArray, TimestampMicrosecondArray, new_empty_array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{Field, Float32Type, Float64Type},
};
use larder_types::{ErrorCode, ScalarType, ValueType};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::{decode, decode_named, encode, encode_named};
use crate::{
    types::v1::{Column, NamedColumn, TypeKind},
    wire::Path,
};

/// Through bytes, as over the network.
fn there_and_back(array: &dyn Array) -> ArrayRef {
    let bytes = encode(array).unwrap().encode_to_vec();
    decode(Column::decode(&*bytes).unwrap(), &Path::ROOT.field("c")).unwrap()
}

/// Equal to the bit: Arrow's own equality takes NaN for unequal to itself or hides its payload.
fn assert_same(left: &dyn Array, right: &dyn Array) {
    assert_eq!(left.data_type(), right.data_type());
    assert_eq!(left.len(), right.len());
    let nulls = |array: &dyn Array| array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    assert_eq!(nulls(left), nulls(right));
    let valid = |row: &usize| left.is_valid(*row);
    match ValueType::from_arrow(left.data_type()).unwrap() {
        ValueType::Scalar(ScalarType::Float32) => {
            let bits = |array: &dyn Array| {
                let floats = array.as_primitive::<Float32Type>();
                (0..array.len()).filter(valid).map(|row| floats.value(row).to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(bits(left), bits(right));
        }
        ValueType::Scalar(ScalarType::Float64) => {
            let bits = |array: &dyn Array| {
                let floats = array.as_primitive::<Float64Type>();
                (0..array.len()).filter(valid).map(|row| floats.value(row).to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(bits(left), bits(right));
        }
        ValueType::Scalar(_) => assert_eq!(left.to_data(), right.to_data()),
        ValueType::List(_) => {
            for row in (0..left.len()).filter(valid) {
                assert_same(&left.as_list::<i32>().value(row), &right.as_list::<i32>().value(row));
            }
        }
    }
}

fn scalars(scalar: ScalarType) -> BoxedStrategy<ArrayRef> {
    const ROWS: std::ops::Range<usize> = 0..40;
    fn rows<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<Option<T>>> {
        vec(prop::option::weighted(0.8, value), ROWS)
    }
    fn array<A: Array + 'static>(array: A) -> ArrayRef {
        Arc::new(array)
    }
    match scalar {
        ScalarType::Bool => rows(any::<bool>()).prop_map(|v| array(BooleanArray::from(v))).boxed(),
        ScalarType::Int32 => rows(any::<i32>()).prop_map(|v| array(Int32Array::from(v))).boxed(),
        ScalarType::Int64 => rows(any::<i64>()).prop_map(|v| array(Int64Array::from(v))).boxed(),
        ScalarType::Float32 => {
            rows(any::<u32>().prop_map(f32::from_bits)).prop_map(|v| array(Float32Array::from(v))).boxed()
        }
        ScalarType::Float64 => {
            rows(any::<u64>().prop_map(f64::from_bits)).prop_map(|v| array(Float64Array::from(v))).boxed()
        }
        ScalarType::String => rows(any::<String>()).prop_map(|v| array(StringArray::from(v))).boxed(),
        ScalarType::Bytes => rows(vec(any::<u8>(), 0..9))
            .prop_map(|v| {
                let mut builder = BinaryBuilder::new();
                v.iter().for_each(|value| builder.append_option(value.as_deref()));
                array(builder.finish())
            })
            .boxed(),
        ScalarType::Timestamp => {
            rows(any::<i64>()).prop_map(|v| array(TimestampMicrosecondArray::from(v).with_timezone("UTC"))).boxed()
        }
    }
}

/// Lists over any items, where nulls may hide items.
fn lists(item: ScalarType) -> BoxedStrategy<ArrayRef> {
    (scalars(item), vec((any::<prop::sample::Index>(), prop::bool::weighted(0.8)), 0..20))
        .prop_map(move |(items, rows)| {
            let mut ends: Vec<usize> = rows.iter().map(|(end, _)| end.index(items.len() + 1)).collect();
            ends.sort_unstable();
            let offsets = OffsetBuffer::new(
                std::iter::once(0).chain(ends).map(|end| i32::try_from(end).unwrap()).collect::<Vec<_>>().into(),
            );
            let nulls = NullBuffer::from(rows.iter().map(|(_, valid)| *valid).collect::<Vec<_>>());
            let field = Arc::new(Field::new("item", item.arrow(), true));
            Arc::new(ListArray::new(field, offsets, items, Some(nulls))) as ArrayRef
        })
        .boxed()
}

fn arrays() -> impl Strategy<Value = ArrayRef> {
    let scalar = prop::sample::select(&ScalarType::ALL[..]);
    (scalar, any::<bool>()).prop_flat_map(|(scalar, list)| if list { lists(scalar) } else { scalars(scalar) })
}

fn columns() -> impl Strategy<Value = Column> {
    let values = (
        vec(any::<bool>(), 0..3),
        vec(any::<i32>(), 0..3),
        vec(any::<i64>(), 0..3),
        vec(any::<f32>(), 0..3),
        vec(any::<f64>(), 0..3),
        vec(any::<String>(), 0..3),
        vec(vec(any::<u8>(), 0..3), 0..3),
        vec(0..4_u32, 0..3),
    );
    let outside = (0..12_i32, 0..4_u32, vec(any::<u8>(), 0..2), any::<[bool; 8]>());
    let column = (outside, values).prop_map(|((kind, length, validity, keep), v)| Column {
        kind,
        length,
        validity: validity.into(),
        bools: if keep[0] { v.0 } else { vec![] },
        int32s: if keep[1] { v.1 } else { vec![] },
        int64s: if keep[2] { v.2 } else { vec![] },
        floats: if keep[3] { v.3 } else { vec![] },
        doubles: if keep[4] { v.4 } else { vec![] },
        strings: if keep[5] { v.5 } else { vec![] },
        blobs: if keep[6] { v.6.into_iter().map(Into::into).collect() } else { vec![] },
        list_lengths: if keep[7] { v.7 } else { vec![] },
        items: None,
    });
    column.prop_recursive(3, 3, 1, |inner| {
        (inner, 0..12_i32, 0..4_u32, vec(0..4_u32, 0..3)).prop_map(|(items, kind, length, list_lengths)| Column {
            kind,
            length,
            list_lengths,
            items: Some(Box::new(items)),
            ..Column::default()
        })
    })
}

proptest! {
    #[test]
    fn any_array_comes_back_bit_for_bit(array in arrays()) {
        assert_same(&*array, &*there_and_back(&array));
    }

    #[test]
    fn a_slice_comes_back_as_the_slice(array in arrays(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let (a, b) = (a.index(array.len() + 1), b.index(array.len() + 1));
        let slice = array.slice(a.min(b), a.abs_diff(b));
        assert_same(&*slice, &*there_and_back(&slice));
    }

    #[test]
    fn any_column_is_answered_without_a_panic(column in columns()) {
        let Ok(array) = decode(column.clone(), &Path::ROOT.field("c")) else { return Ok(()) };
        prop_assert_eq!(array.len(), column.length as usize);
        prop_assert!(ValueType::from_arrow(array.data_type()).is_some());
        array.to_data().validate_full().unwrap();
        assert_same(&*array, &*there_and_back(&array));
    }
}

#[test]
fn empty_columns_keep_their_type() {
    for scalar in ScalarType::ALL {
        for value_type in [ValueType::Scalar(scalar), ValueType::List(scalar)] {
            let empty = new_empty_array(&value_type.arrow());
            assert_same(&*empty, &*there_and_back(&empty));
        }
    }
}

#[test]
fn bits_of_floats_are_kept() {
    let bits = [0x7ff8_0000_0000_0001_u64, 0xfff0_0000_0000_0001, (-0.0_f64).to_bits(), f64::INFINITY.to_bits(), 1];
    let array = Float64Array::from_iter_values(bits.map(f64::from_bits));
    let back = there_and_back(&array);
    let back = back.as_primitive::<Float64Type>();
    assert_eq!(back.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
}

#[test]
fn nothing_is_sent_that_a_null_hides() {
    let nulls = || Some(NullBuffer::from(vec![false, true, false]));
    let numbers = Int64Array::new(vec![7, 8, 9].into(), nulls());
    assert_eq!(encode(&numbers).unwrap().int64s, [0, 8, 0]);
    let flags = BooleanArray::new(vec![true; 3].into(), nulls());
    assert_eq!(encode(&flags).unwrap().bools, [false, true, false]);
    let texts = StringArray::new(OffsetBuffer::from_lengths([1, 1, 1]), b"abc".to_vec().into(), nulls());
    assert_eq!(encode(&texts).unwrap().strings, ["", "b", ""]);
    let field = Arc::new(Field::new("item", ScalarType::Int64.arrow(), true));
    let items = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let column = encode(&ListArray::new(field, OffsetBuffer::from_lengths([1, 1, 1]), items, nulls())).unwrap();
    assert_eq!(column.list_lengths, [0, 1, 0]);
    assert_eq!(column.items.unwrap().int64s, [2]);
}

#[test]
fn validity_is_there_only_with_nulls_and_without_stray_bits() {
    let full = Int32Array::new(vec![1; 9].into(), Some(NullBuffer::new_valid(9)));
    assert!(encode(&full).unwrap().validity.is_empty());
    let sliced = Int32Array::from_iter((0..32).map(|row| (row % 3 != 0).then_some(row))).slice(5, 9);
    let column = encode(&sliced).unwrap();
    assert_eq!(&*column.validity, [0b0110_1101, 0b1]);
}

fn doubles(length: u32, values: Vec<f64>) -> Column {
    Column { kind: TypeKind::Float64.into(), length, doubles: values, ..Column::default() }
}

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    let list = |lengths: Vec<u32>, items| Column {
        kind: TypeKind::List.into(),
        length: u32::try_from(lengths.len()).unwrap(),
        list_lengths: lengths,
        items,
        ..Column::default()
    };
    let two = || Some(Box::new(doubles(2, vec![1.0, 2.0])));
    let cases = [
        (doubles(3, vec![1.0]), "`length` says 3 rows, and `doubles` has 1"),
        (doubles(u32::MAX, vec![]), "`length` says 4294967295 rows"),
        (
            Column { int64s: vec![1], ..doubles(1, vec![1.0]) },
            "kind float64, whose values are `doubles`, and has `int64s`",
        ),
        (Column { items: two(), ..doubles(1, vec![1.0]) }, "only a list has `items`"),
        (Column { validity: vec![1, 1].into(), ..doubles(1, vec![1.0]) }, "1 rows have 1 bytes of validity, not 2"),
        (Column { validity: vec![1].into(), ..doubles(0, vec![]) }, "0 rows have 0 bytes of validity, not 1"),
        (Column { kind: 0, ..doubles(1, vec![1.0]) }, "kind: is missing"),
        (list(vec![1, 1], None), "items: is missing"),
        (list(vec![1, 2], two()), "`list_lengths` add up to 3, and `items` has 2 rows"),
        (list(vec![u32::MAX, 3], two()), "add up to 4294967298"),
        (Column { validity: vec![1].into(), ..list(vec![1, 1], two()) }, "row 1 is null and has items"),
        (list(vec![2], Some(Box::new(doubles(2, vec![1.0])))), "items: `length` says 2 rows, and `doubles` has 1"),
    ];
    for (column, expected) in cases {
        let error = decode(column, &Path::ROOT.field("entities").field("income")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        assert!(error.message().starts_with("entities.income"), "{error}");
        assert!(error.message().contains(expected), "{error} should contain {expected}");
    }
}

#[test]
fn a_kind_of_a_later_release_is_told_from_a_wrong_one() {
    let error = decode(Column { kind: 42, ..doubles(1, vec![1.0]) }, &Path::ROOT.field("income")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unimplemented);
    assert!(error.message().contains("income.kind: type kind 42 (known are 1 to 9"), "{error}");
}

#[test]
fn named_columns_have_each_name_once() {
    let column = |name: &str| encode_named(name, &Int32Array::from(vec![1])).unwrap();
    let at = Path::ROOT;
    let at = at.field("entities");
    let decoded = decode_named(vec![column("b"), column("a")], &at).unwrap();
    assert_eq!(decoded.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    for (columns, expected) in [
        (vec![column("a"), column("a")], "entities.a: this column is given twice"),
        (vec![column("")], "entities[0].name: is missing"),
        (vec![NamedColumn { name: "a".into(), column: None }], "entities.a.column: is missing"),
    ] {
        assert!(decode_named(columns, &at).unwrap_err().message().contains(expected));
    }
}

#[test]
fn other_arrow_types_are_refused() {
    let error = encode_named("x", &NullArray::new(3)).unwrap_err();
    assert!(error.message().contains("column `x`: a column of the Arrow type Null"), "{error}");
}
