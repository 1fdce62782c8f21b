//! Keys against the values they stand for.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use larder_types::{EntityKey, KeyPart, KeyType};
use proptest::prelude::*;

use crate::{
    keys::encoder,
    values::{Value, column},
};

const TYPES: [KeyType; 6] =
    [KeyType::Bool, KeyType::Int32, KeyType::Int64, KeyType::String, KeyType::Bytes, KeyType::Timestamp];

/// Few enough values that keys are often alike, and full of what needs escaping.
fn any_part(key_type: KeyType) -> BoxedStrategy<KeyPart> {
    let text =
        prop::collection::vec(prop::sample::select(vec![":", "%", "3A", "{", "}", "a", "\n", "é", "\u{85}"]), 0..4);
    let text = prop_oneof![text.prop_map(|parts| parts.concat()), any::<String>()];
    let bytes = prop_oneof![text.clone().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..4)];
    let int = prop_oneof![-2..=2_i64, any::<i64>()];
    match key_type {
        KeyType::Bool => any::<bool>().prop_map(KeyPart::Bool).boxed(),
        KeyType::Int32 => any::<i32>().prop_map(|value| KeyPart::Int(value.into())).boxed(),
        KeyType::Int64 => int.prop_map(KeyPart::Int).boxed(),
        KeyType::String => text.prop_map(KeyPart::String).boxed(),
        KeyType::Bytes => bytes.prop_map(KeyPart::Bytes).boxed(),
        KeyType::Timestamp => int.prop_map(KeyPart::Timestamp).boxed(),
    }
}

fn any_keys() -> impl Strategy<Value = (Vec<KeyType>, Vec<EntityKey>)> {
    prop::collection::vec(prop::sample::select(TYPES.to_vec()), 0..4).prop_flat_map(|types| {
        let key = types.iter().map(|key_type| any_part(*key_type)).collect::<Vec<_>>().prop_map(EntityKey);
        (Just(types), prop::collection::vec(key, 0..20))
    })
}

fn columns(types: &[KeyType], keys: &[EntityKey]) -> Vec<ArrayRef> {
    let value = |part: &KeyPart| match part {
        KeyPart::Bool(value) => Value::Bits((*value).into()),
        KeyPart::Int(value) | KeyPart::Timestamp(value) => Value::Bits(*value as u64),
        KeyPart::String(value) => Value::Bytes(value.clone().into_bytes()),
        KeyPart::Bytes(value) => Value::Bytes(value.clone()),
    };
    let of_part = |part: usize| keys.iter().map(|key| Some(value(&key.0[part]))).collect::<Vec<_>>();
    types.iter().enumerate().map(|(part, key_type)| column(key_type.scalar().into(), &of_part(part))).collect()
}

proptest! {
    #[test]
    fn different_keys_have_different_bytes_and_are_read_back((types, keys) in any_keys()) {
        let encoder = encoder(&types);
        let mut seen = HashMap::new();
        for key in &keys {
            let bytes = encoder.encode_one(key).unwrap();
            let is_forbidden = |byte: &u8| matches!(byte, b'{' | b'}' | 0..=0x1F | 0x7F);
            prop_assert!(!bytes.iter().any(is_forbidden));
            prop_assert!(std::str::from_utf8(&bytes).is_ok());
            prop_assert_eq!(&encoder.decode(&bytes).unwrap(), key);
            prop_assert_eq!(*seen.entry(bytes).or_insert(key), key);
        }
    }

    #[test]
    fn columns_and_single_keys_are_encoded_alike((types, keys) in any_keys()) {
        let encoder = encoder(&types);
        let encoded = encoder.encode(&columns(&types, &keys), keys.len()).unwrap();
        for (key, bytes) in keys.iter().zip(encoded.iter()) {
            prop_assert_eq!(bytes.unwrap(), &encoder.encode_one(key).unwrap());
        }
    }

    #[test]
    fn bytes_that_are_read_are_written_the_same(
        types in prop::collection::vec(prop::sample::select(TYPES.to_vec()), 0..3),
        parts in prop::collection::vec(prop::sample::select(vec!["7.1", ":", "1", "true", "%41", "%3A", "-", "é", "{"]), 0..6),
    ) {
        let bytes = parts.concat().into_bytes();
        if let Ok(key) = encoder(&types).decode(&bytes) {
            prop_assert_eq!(encoder(&types).encode_one(&key).unwrap(), bytes);
        }
    }
}
