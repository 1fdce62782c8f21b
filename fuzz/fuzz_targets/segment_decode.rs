//! Any bytes are a segment or an error, never a panic; a segment that was changed in any way is an error.

#![no_main]

use std::sync::LazyLock;

use larder_push_log::{LogSchema, PushedRows, decode_segment, encode_segment};
use larder_types::{Name, ScalarType, SchemaNumber, Timestamp, ValueType};
use libfuzzer_sys::fuzz_target;

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let column = (Name::new("feature").expect("a name"), ValueType::List(ScalarType::String));
    let schema = LogSchema::new([column]).expect("a schema");
    let rows = PushedRows {
        batch_id: "batch",
        ingested_at: Timestamp::from_micros(3),
        schema_number: SchemaNumber(1),
        row_numbers: vec![0, 1],
        event_times: vec![Timestamp::from_micros(1); 2],
        created_times: vec![Timestamp::from_micros(2); 2],
        deleted: vec![false, true],
    };
    let batch = schema.batch(&rows, Vec::new()).expect("a batch");
    encode_segment(schema.arrow(), &[batch]).expect("a segment").to_vec()
});

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_segment("fuzz", &bytes.to_vec().into());

    // The same bytes as a patch: a place, then what is laid over it.
    let Some((place, patch)) = bytes.split_first_chunk::<2>() else { return };
    let mut patched = WHOLE.clone();
    let place = usize::from(u16::from_le_bytes(*place)) % patched.len();
    patched[place..].iter_mut().zip(patch).for_each(|(byte, new)| *byte ^= new);
    let taken = decode_segment("fuzz", &patched.clone().into()).is_ok();
    assert_eq!(taken, patched == *WHOLE);
});
