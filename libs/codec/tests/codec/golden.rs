//! The bytes that stores hold. Lines of the golden files are only ever added: what was written once must stay readable,
//! and the same values must go on making the same bytes, or equal rows would no longer be equal.

use std::{fmt::Write, sync::Arc};

use arrow::buffer::BooleanBuffer;
use expect_test::expect_file;
use larder_codec::{KeyEncoder, RowDecoder, RowEncoder};
use larder_types::{
    ColumnNumber, EntityKey, KeyPart, KeySpaceNumber, KeyType, ProjectNumber, ScalarType, Status, ValueType,
};

use crate::{
    rows::schema,
    values::{Value, answers, column},
};

/// A row: what it shows, its columns with their numbers, types and values, and whether it is deleted.
struct Case {
    name: String,
    columns: Vec<(u32, ValueType, Option<Value>)>,
    is_deleted: bool,
}

fn case(name: &str, columns: Vec<(u32, ValueType, Option<Value>)>) -> Case {
    Case { name: name.to_owned(), columns, is_deleted: false }
}

/// The least, the greatest and the oddest values of each type.
fn notable_values(scalar: ScalarType) -> Vec<Value> {
    let bits = |bits: &[u64]| bits.iter().copied().map(Value::Bits).collect();
    let texts = |texts: &[&[u8]]| texts.iter().map(|text| Value::Bytes(text.to_vec())).collect();
    match scalar {
        ScalarType::Bool => bits(&[0, 1]),
        ScalarType::Int32 => bits(&[0x7FFF_FFFF, 0x8000_0000, 0x0102_0304]),
        ScalarType::Int64 | ScalarType::Timestamp => bits(&[i64::MAX as u64, i64::MIN as u64, 0x0102_0304_0506_0708]),
        ScalarType::Float32 => bits(&[0x7FC0_0001, 0x8000_0000, 0x3FC0_0000]),
        ScalarType::Float64 => bits(&[0xFFF8_0000_0000_0001, 1 << 63, 1.5_f64.to_bits()]),
        ScalarType::String => texts(&[b"", "aé€𝄞".as_bytes()]),
        ScalarType::Bytes => texts(&[b"", &[0, 0xFF, 0x80]]),
    }
}

fn cases() -> Vec<Case> {
    let float = ScalarType::Float64.into();
    let mut cases = vec![
        case("no columns", vec![]),
        Case { name: "deleted".to_owned(), columns: vec![(1, float, None)], is_deleted: true },
    ];
    for scalar in ScalarType::ALL {
        for (index, value) in notable_values(scalar).into_iter().enumerate() {
            cases.push(case(&format!("{scalar} {index}"), vec![(1, scalar.into(), Some(value))]));
        }
        let items = notable_values(scalar).into_iter().map(Some).chain([None]).collect();
        let list = ValueType::List(scalar);
        cases.push(case(&format!("{list}"), vec![(1, list, Some(Value::List(items)))]));
        cases.push(case(&format!("{list} empty"), vec![(1, list, Some(Value::List(Vec::new())))]));
    }
    let nulls = |value_type: ValueType, number: usize| (number as u32, value_type, None);
    let types = ScalarType::ALL.into_iter().flat_map(|scalar| [ValueType::Scalar(scalar), ValueType::List(scalar)]);
    cases.push(case("nulls of every type", types.clone().zip(1..).map(|(t, number)| nulls(t, number)).collect()));
    let every = types.zip(1..).map(|(value_type, number)| {
        let value = match value_type {
            ValueType::Scalar(scalar) => notable_values(scalar).pop(),
            ValueType::List(item) => Some(Value::List(vec![notable_values(item).pop()])),
        };
        (number, value_type, value)
    });
    cases.push(case("every type", every.collect()));
    cases
}

#[test]
fn rows() {
    let mut text = String::from("# Lines are only added. What it is, in hexadecimal: the row of format version 1.\n");
    for Case { name, columns, is_deleted } in cases() {
        let types: Vec<_> = columns.iter().map(|(number, value_type, _)| (*number, *value_type)).collect();
        let schema = schema(300, &types);
        let arrays: Vec<_> =
            columns.iter().map(|(_, value_type, value)| column(*value_type, std::slice::from_ref(value))).collect();
        let deleted: BooleanBuffer = [is_deleted].into_iter().collect();
        let times = ([1_769_848_200_000_001], [-2]);
        let rows = RowEncoder::new(&schema).encode(&arrays, &times.0, &times.1, Some(&deleted)).unwrap();
        let hex: String = rows.get(0).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = writeln!(text, "{name}: {hex}");

        let wanted: Vec<_> = types.iter().map(|(number, value_type)| (ColumnNumber(*number), *value_type)).collect();
        let decoder = RowDecoder::new(&[Arc::new(schema)], &wanted).unwrap();
        let decoded = decoder.decode([Some(rows.get(0))], None).unwrap();
        for ((_, value_type, value), column) in columns.into_iter().zip(decoded) {
            let status = match (is_deleted, &value) {
                (true, _) => Status::NotFound,
                (false, None) => Status::Null,
                (false, Some(_)) => Status::Present,
            };
            assert_eq!(answers(value_type, &column), [(value, status)], "{name}");
        }
    }
    expect_file!["../golden/rows.txt"].assert_eq(&text);
}

#[test]
fn keys() {
    let cases = [
        (None, vec![], vec![]),
        (Some("larder:"), vec![], vec![]),
        (Some("team/stage-"), vec![KeyType::String], vec![KeyPart::String("CUST00000042".to_owned())]),
        (None, vec![KeyType::String], vec![KeyPart::String(String::new())]),
        (None, vec![KeyType::String], vec![KeyPart::String("a:b%{c} d\u{0}\u{7f}\u{85}é€𝄞".to_owned())]),
        (None, vec![KeyType::Bytes], vec![KeyPart::Bytes(b"a:b%{c} d\x00\x7F\xC3\xA9\xFF".to_vec())]),
        (None, vec![KeyType::Bool, KeyType::Bool], vec![KeyPart::Bool(true), KeyPart::Bool(false)]),
        (None, vec![KeyType::Int64, KeyType::Int64], vec![KeyPart::Int(i64::MIN), KeyPart::Int(i64::MAX)]),
        (None, vec![KeyType::Int32, KeyType::Int64], vec![KeyPart::Int(-5), KeyPart::Int(0)]),
        (None, vec![KeyType::Timestamp], vec![KeyPart::Timestamp(-1)]),
        (
            None,
            vec![KeyType::String, KeyType::Int64, KeyType::String],
            vec![KeyPart::String("x".to_owned()), KeyPart::Int(12), KeyPart::String("y".to_owned())],
        ),
    ];
    let mut text = String::from("# Lines are only added. An entity key of project 1, key space 23.\n");
    for (prefix, types, parts) in cases {
        let encoder = KeyEncoder::new(prefix, ProjectNumber(1), KeySpaceNumber(23), &types).unwrap();
        let key = EntityKey(parts);
        let bytes = encoder.encode_one(&key).unwrap();
        assert_eq!(encoder.decode(&bytes).unwrap(), key);
        let _ = writeln!(text, "{}", std::str::from_utf8(&bytes).unwrap());
    }
    expect_file!["../golden/keys.txt"].assert_eq(&text);
}
