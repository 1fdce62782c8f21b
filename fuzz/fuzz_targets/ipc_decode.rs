//! Any bytes, cut anywhere, as a stream of batches from the network: batches or an error. So are bytes laid over a stream that
//! was right. What could be read is written and read again with as many rows.

#![no_main]

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, DictionaryArray, Float64Array, RecordBatch, StringArray},
    datatypes::{Int32Type, Int64Type},
};
use larder_contracts::ipc::{IpcDecoder, IpcEncoder};
use larder_types::Result;
use libfuzzer_sys::fuzz_target;

static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let lists = [Some(vec![Some(1), None]), None, Some(Vec::new())];
    let lists = arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("words", Arc::new(dictionary)),
        ("texts", Arc::new(StringArray::from(vec![Some("a"), None, Some("bcd")]))),
        ("numbers", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]))),
        ("lists", Arc::new(lists)),
    ];
    written(&[
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true))).expect("rows")
    ])
});

fn written(batches: &[RecordBatch]) -> Vec<u8> {
    let mut encoder = IpcEncoder::new(&batches[0].schema()).expect("an encoder");
    let mut pieces: Vec<_> =
        batches.iter().flat_map(|batch| encoder.encode(batch).expect("it can be written")).collect();
    pieces.extend(encoder.finish().expect("it can be ended"));
    pieces.concat()
}

fn read(bytes: &[u8], cut: usize) -> Result<Vec<RecordBatch>> {
    let mut decoder = IpcDecoder::up_to(1 << 20);
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let mut batches = decoder.decode(first.to_vec().into())?;
    batches.extend(decoder.decode(second.to_vec().into())?);
    decoder.finish()?;
    Ok(batches)
}

fn rows(batches: &[RecordBatch]) -> Vec<usize> {
    batches.iter().map(RecordBatch::num_rows).collect()
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
    let Some((cut, rest)) = bytes.split_first_chunk::<2>() else { return };
    let cut = usize::from(u16::from_le_bytes(*cut));
    let mut patched = WHOLE.clone();
    let place = cut % patched.len();
    patched[place..].iter_mut().zip(rest).for_each(|(byte, new)| *byte ^= new);
    for bytes in [rest, patched.as_slice()] {
        let Ok(batches) = read(bytes, cut) else { continue };
        // Whatever came from the network, its values can be looked at.
        for column in batches.iter().flat_map(RecordBatch::columns) {
            column.to_data().validate_full().expect("it was validated");
            assert!(column.null_count() <= column.len());
        }
        if !batches.is_empty() {
            assert_eq!(rows(&read(&written(&batches), 0).expect("what was written can be read")), rows(&batches));
        }
    }
});
