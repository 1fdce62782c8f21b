//! Any bytes as an entity key: parts or an error. What could be read is the only form of its key.

#![no_main]

use larder_codec::KeyEncoder;
use larder_types::{KeySpaceNumber, KeyType, ProjectNumber};
use libfuzzer_sys::fuzz_target;

const TYPES: [KeyType; 6] =
    [KeyType::Bool, KeyType::Int32, KeyType::Int64, KeyType::String, KeyType::Bytes, KeyType::Timestamp];

// The first byte says how many parts, the next ones their types; the rest is the key behind the key space.
fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((chosen, text)) = rest.split_at_checked(usize::from(count % 4)) else { return };
    let types: Vec<_> = chosen.iter().map(|byte| TYPES[usize::from(*byte) % TYPES.len()]).collect();
    let encoder = KeyEncoder::new(Some("p:"), ProjectNumber(1), KeySpaceNumber(2), &types).expect("a good prefix");
    for key in [text.to_vec(), [b"p:1.2", text].concat()] {
        if let Ok(read) = encoder.decode(&key) {
            assert_eq!(encoder.encode_one(&read).expect("what was read can be written"), key);
        }
    }
});
