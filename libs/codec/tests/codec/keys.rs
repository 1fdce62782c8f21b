//! What keys say, case by case.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use larder_codec::{EncodedKeys, KeyEncoder, KeyScope, MAX_KEY_BYTES};
use larder_types::{EntityKey, ErrorCode, KeyPart, KeySpaceNumber, KeyType, ProjectNumber};

pub(crate) fn encoder(types: &[KeyType]) -> KeyEncoder {
    KeyEncoder::new(None, ProjectNumber(7), KeySpaceNumber(1), types).unwrap()
}

fn texts(keys: &EncodedKeys) -> Vec<Option<&str>> {
    keys.iter().map(|key| key.map(|key| std::str::from_utf8(key).unwrap())).collect()
}

#[test]
fn a_null_part_makes_no_key() {
    let columns: [ArrayRef; 2] = [
        Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        Arc::new(Int64Array::from(vec![Some(1), Some(2), None])),
    ];
    let keys = encoder(&[KeyType::String, KeyType::Int64]).encode(&columns, 3).unwrap();
    assert_eq!(texts(&keys), [Some("7.1:a:1"), None, None]);
    assert_eq!(keys.slice(0).unwrap(), "7.1:a:1");
    assert_eq!(keys.slice(2), None);
    assert_eq!(keys, keys.iter().collect());
}

#[test]
fn integers_are_encoded_by_value() {
    let narrow: [ArrayRef; 1] = [Arc::new(Int32Array::from(vec![5, i32::MIN]))];
    let wide: [ArrayRef; 1] = [Arc::new(Int64Array::from(vec![5, i64::from(i32::MIN)]))];
    for key_type in [KeyType::Int32, KeyType::Int64] {
        let keys = [&narrow, &wide].map(|columns| encoder(&[key_type]).encode(columns, 2).unwrap());
        assert_eq!(keys[0], keys[1]);
        assert_eq!(texts(&keys[0]), [Some("7.1:5"), Some("7.1:-2147483648")]);
    }
}

#[test]
fn a_view_without_entities_has_one_key_for_all_rows() {
    let keys = encoder(&[]).encode(&[], 2).unwrap();
    assert_eq!(texts(&keys), [Some("7.1"), Some("7.1")]);
    assert_eq!(encoder(&[]).decode(b"7.1").unwrap(), EntityKey::default());
    assert!(encoder(&[]).decode(b"7.1:").is_err());
}

#[test]
fn a_key_over_the_limit_is_refused_by_its_row_and_the_others_are_not() {
    let longest = MAX_KEY_BYTES - "7.1:".len();
    let texts = [longest, longest + 1, 1].map(|length| "x".repeat(length));
    let columns: [ArrayRef; 1] = [Arc::new(StringArray::from(texts.to_vec()))];
    let encoder = encoder(&[KeyType::String]);
    let error = encoder.encode(&columns, 3).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert_eq!(error.message(), "row 2: the entity key takes 4097 bytes, at most 4096 are allowed");
    let (keys, refused) = encoder.encode_each(&columns, 3).unwrap();
    assert_eq!(keys.iter().map(|key| key.map(<[u8]>::len)).collect::<Vec<_>>(), [Some(4096), None, Some(5)]);
    assert_eq!(refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1]);
    assert!(encoder.encode_one(&EntityKey(vec![KeyPart::String(texts[1].clone())])).is_err());
}

#[test]
fn columns_and_parts_of_other_types_are_refused() {
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let int: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let refusal = |columns: &[ArrayRef], rows: usize| {
        encoder(&[KeyType::Int64]).encode(columns, rows).unwrap_err().message().to_owned()
    };
    assert_eq!(refusal(&[float], 1), "key part 0 is int64, a column of Float64 was given");
    assert_eq!(refusal(std::slice::from_ref(&int), 2), "key part 0 has 1 values for 2 keys");
    assert_eq!(refusal(&[int.clone(), int], 1), "a key of 2 parts was given, the key space has 1");
    let error = encoder(&[KeyType::Int64]).encode_one(&EntityKey(vec![KeyPart::Bool(true)])).unwrap_err();
    assert_eq!(error.message(), "the key part Bool(true) is not int64");
}

#[test]
fn only_what_the_encoder_writes_is_read_back() {
    let cases: [(&[KeyType], &[&str]); 4] = [
        (&[KeyType::Int64], &["7.1", "7.1:", "7.1:+5", "7.1:05", "7.1:-0", "7.1:5:", "7.10:5", "8.1:5", "7.1:x"]),
        (&[KeyType::Bool], &["7.1:True", "7.1:1"]),
        (&[KeyType::String], &["7.1:%4a", "7.1:%41", "7.1:a:b", "7.1:{", "7.1:%", "7.1:%7", "7.1:\n", "7.1:%FF"]),
        (&[KeyType::Bytes], &["7.1:é", "7.1:%2d"]),
    ];
    for (types, keys) in cases {
        for key in keys {
            let error = encoder(types).decode(key.as_bytes()).unwrap_err();
            assert!(error.message().contains("is not a key of key space `7.1`"), "{key}: {error}");
        }
    }
}

#[test]
fn prefixes_that_could_be_mistaken_are_refused() {
    let new = |prefix: &str| KeyEncoder::new(Some(prefix), ProjectNumber(1), KeySpaceNumber(1), &[]);
    for good in ["", "larder:", "a", "A-b_c/"] {
        assert!(new(good).is_ok(), "{good}");
    }
    for bad in ["stage2", "a.", "{a}", "a b", "é", "a%", &"x".repeat(65)] {
        let error = new(bad).unwrap_err();
        assert!(error.message().contains("is not a prefix of keys"), "{error}");
    }
}

#[test]
fn a_scope_has_the_keys_of_its_numbers_alone() {
    let project = KeyScope::project(Some("p:"), ProjectNumber(1)).unwrap();
    let key_space = KeyScope::key_space(Some("p:"), ProjectNumber(1), KeySpaceNumber(2)).unwrap();
    let cases = [
        ("p:1.2", true, true),
        ("p:1.2:x", true, true),
        ("p:1.23:x", true, false),
        ("p:1.3", true, false),
        ("p:12.2:x", false, false),
        ("1.2:x", false, false),
        ("p:2.2", false, false),
    ];
    for (key, in_project, in_key_space) in cases {
        assert_eq!(project.contains(key.as_bytes()), in_project, "{key}");
        assert_eq!(key_space.contains(key.as_bytes()), in_key_space, "{key}");
        assert!(!in_project || key.as_bytes().starts_with(project.start()));
    }
}
