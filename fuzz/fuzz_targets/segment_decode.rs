//! Any bytes are a segment or an error, never a panic; a segment that was changed in any way is an error. Where only its
//! checksums are right, the decoder of its rows sees the bytes: then, too, there are rows or an error.

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

/// Length of the trailer, whose layout is in the header of the push log's `segment.rs`.
const TRAILER: usize = 48;

/// A segment with these bytes as its stream, and right checksums.
fn sealed(stream: &[u8]) -> Vec<u8> {
    let mut trailer = WHOLE[WHOLE.len() - TRAILER..].to_vec();
    trailer[24..32].copy_from_slice(&(stream.len() as u64).to_le_bytes());
    trailer[32..36].copy_from_slice(&crc32fast::hash(stream).to_le_bytes());
    let checksum = crc32fast::hash(&trailer[..40]);
    trailer[40..44].copy_from_slice(&checksum.to_le_bytes());
    [stream, &trailer].concat()
}

/// A panic that the decoder itself catches is no finding; one that comes out of it is, hook or not.
static QUIET: LazyLock<()> = LazyLock::new(|| {
    std::panic::set_hook(Box::new(|panic| {
        if panic.location().is_some_and(|location| location.file().contains("fuzz_targets")) {
            eprintln!("{panic}");
        }
    }));
});

fuzz_target!(|bytes: &[u8]| {
    LazyLock::force(&QUIET);
    let _ = decode_segment("fuzz", &bytes.to_vec().into());

    // The same bytes as a patch: a place, then what is laid over it.
    let Some((place, patch)) = bytes.split_first_chunk::<2>() else { return };
    let mut patched = WHOLE.clone();
    let place = usize::from(u16::from_le_bytes(*place)) % patched.len();
    patched[place..].iter_mut().zip(patch).for_each(|(byte, new)| *byte ^= new);
    let taken = decode_segment("fuzz", &patched.clone().into()).is_ok();
    assert_eq!(taken, patched == *WHOLE);

    for stream in [bytes, &patched[..patched.len() - TRAILER]] {
        let _ = decode_segment("fuzz", &sealed(stream).into());
    }
    assert!(decode_segment("fuzz", &sealed(&WHOLE[..WHOLE.len() - TRAILER]).into()).is_ok());
});
