//! Bytes that outlive a process. Files in `tests/golden` are only added to: old ones stay readable for ever.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use larder_push_log::{
    FileLayout, LogPosition, Manifest, ManifestFile, Retired, RetiredItem, WriterId, decode_segment, encode_segment,
};
use larder_types::{ErrorCode, Timestamp};
use proptest::prelude::*;

use crate::support::{Content, contents, int64, name, rows};

/// The committed bytes. Where there are none yet, `new` is written for a person to look at and commit.
fn golden(file: &str, new: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if !path.exists() {
        fs::write(&path, new).unwrap();
        panic!("{} is new: look at it and commit it", path.display());
    }
    fs::read(path).unwrap().into()
}

fn golden_rows() -> arrow::array::RecordBatch {
    let row = |number: i64| Content { created: 100 + number, event: number * 1_000, key: number, value: number - 1 };
    rows("batch-1", &[row(0), row(1), row(2)])
}

#[test]
fn a_segment_of_the_first_format_is_read() {
    let new = encode_segment(&golden_rows().schema(), &[golden_rows()]).unwrap();
    let stored = golden("segment-1.arrow", &new);
    assert_eq!(decode_segment("golden", &stored).unwrap(), [golden_rows()]);
    // The trailer is ours alone, so it is compared byte for byte but for the checksums of what Arrow writes.
    assert_eq!(stored[stored.len() - 48..][..24], new[new.len() - 48..][..24]);
}

#[test]
fn a_segment_is_a_stream_that_any_arrow_reader_reads() {
    let new = encode_segment(&golden_rows().schema(), &[golden_rows()]).unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(&new[..], None).unwrap();
    assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), [golden_rows()]);
}

fn golden_manifest() -> Manifest {
    let writer: WriterId = "0194b8a0-1c00-7000-8000-000000000001".parse().unwrap();
    let other: WriterId = "0194b8a0-1c00-7000-8000-000000000002".parse().unwrap();
    let at = |numbers: &[(WriterId, u64)]| LogPosition(numbers.iter().copied().collect());
    let time = Timestamp::from_micros;
    let mut manifest = Manifest::empty();
    manifest.number = 7;
    manifest.author = "0194b8a0-1c00-7000-8000-0000000000ff".parse().unwrap();
    manifest.written_at = time(1_769_848_200_000_000);
    manifest.position = at(&[(writer, 9), (other, 0)]);
    manifest.layouts = vec![FileLayout {
        columns: vec![(name("key"), int64()), (name("value"), int64())],
        sorted_by: vec![name("key")],
    }];
    manifest.files = vec![ManifestFile {
        path: "date=2026-01-31/0194b8a0-1c00-7000-8000-000000000003.parquet".into(),
        size: 1_234,
        rows: 56,
        min_event_time: time(1_769_817_600_000_000),
        max_event_time: time(1_769_848_200_000_000),
        layout: 0,
        from: at(&[(writer, 3)]),
        to: at(&[(writer, 9), (other, 0)]),
    }];
    manifest.retired = vec![
        Retired {
            at: time(5),
            item: RetiredItem::File("date=2026-01-31/0194b8a0-1c00-7000-8000-000000000004.parquet".into()),
        },
        Retired { at: time(6), item: RetiredItem::Segments { writer, first: 4, last: 9 } },
    ];
    manifest
}

#[test]
fn a_manifest_of_the_first_format_is_read_and_written_byte_for_byte() {
    let new = golden_manifest().encode().unwrap();
    let stored = golden("manifest-1.json", &new);
    assert_eq!(Manifest::decode("golden", &stored).unwrap(), golden_manifest());
    assert_eq!(stored, new);
}

#[test]
fn a_later_format_is_refused_and_named() {
    let mut segment = encode_segment(&golden_rows().schema(), &[golden_rows()]).unwrap().to_vec();
    let trailer = segment.len() - 48;
    segment[trailer + 36] = 2;
    let crc = crc32fast::hash(&segment[trailer..trailer + 40]).to_le_bytes();
    segment[trailer + 40..trailer + 44].copy_from_slice(&crc);
    let segment = decode_segment("s", &segment.into()).unwrap_err();
    let manifest = Manifest::decode("m", br#"{"format": 2, "anything": []}"#).unwrap_err();
    for error in [segment, manifest] {
        assert_eq!(error.code(), ErrorCode::Unimplemented);
        assert!(error.message().contains("format 2") && error.message().contains("reads 1"), "{error}");
    }
}

fn known(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::DataLoss | ErrorCode::Unimplemented)
}

proptest! {
    #[test]
    fn a_changed_segment_is_never_taken_for_a_whole_one(
        seed in 0..100_i64,
        count in 1..20_usize,
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
        cut in any::<bool>(),
    ) {
        let rows = rows("b", &contents(count, seed));
        let bytes = encode_segment(&rows.schema(), std::slice::from_ref(&rows)).unwrap();
        prop_assert_eq!(decode_segment("s", &bytes).unwrap(), vec![rows]);
        let mut changed = bytes.to_vec();
        let at = at.index(changed.len());
        if cut { changed.truncate(at) } else { changed[at] ^= by }
        prop_assert!(known(decode_segment("s", &changed.into()).unwrap_err().code()));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_segment("s", &bytes.clone().into()).is_err_and(|error| known(error.code())));
        prop_assert!(Manifest::decode("m", &bytes).is_err_and(|error| known(error.code())));
    }

    #[test]
    fn a_changed_manifest_is_decoded_or_refused(at in any::<prop::sample::Index>(), by in any::<u8>()) {
        let mut bytes = golden_manifest().encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = by;
        if let Err(error) = Manifest::decode("m", &bytes) {
            prop_assert!(known(error.code()));
        }
    }
}
