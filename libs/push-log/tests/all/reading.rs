//! What a snapshot's files give: columns as asked for, pruned by time, and clear errors for what is gone or broken.

use arrow::{
    array::{Array, AsArray},
    datatypes::Int64Type,
};
use futures::TryStreamExt;
use larder_push_log::{FileFormat, LogSnapshot};
use larder_types::{Error, ErrorCode, ScalarType, Timestamp, ValueType};
use object_store::{ObjectStoreExt, path::Path};

use crate::support::{Content, DAY, Log, contents, int64, name};

async fn read_columns(log: &Log, snapshot: &LogSnapshot, columns: &[(&str, ValueType)]) -> Vec<Vec<Option<i64>>> {
    let columns: Vec<_> = columns.iter().map(|(column, value_type)| (name(column), *value_type)).collect();
    let mut found = Vec::new();
    for file in &snapshot.files {
        let batches: Vec<_> = log.reader().read_file(file, &columns).try_collect().await.unwrap();
        for batch in batches {
            assert_eq!(batch.num_columns(), 7 + columns.len());
            let column = |at: usize| batch.column(at).as_primitive_opt::<Int64Type>();
            found.extend((0..batch.num_rows()).map(|row| {
                (7..batch.num_columns())
                    .map(|at| column(at).filter(|found| found.is_valid(row)).map(|found| found.value(row)))
                    .collect()
            }));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn columns_come_as_asked_for_from_segments_and_files_alike() {
    let log = Log::in_memory();
    log.append(&log.writer(), "b", &[Content { created: 1, event: 2, key: 3, value: 4 }]).await.unwrap();
    let segment = log.snapshot(None).await.unwrap();
    log.compact().await.unwrap();
    let file = log.snapshot(None).await.unwrap();
    assert_eq!((segment.files[0].format, file.files[0].format), (FileFormat::Segment, FileFormat::Parquet));
    assert_eq!(segment.position, file.position);
    let list = ValueType::List(ScalarType::String);
    for snapshot in [&segment, &file] {
        assert_eq!(read_columns(&log, snapshot, &[]).await, [Vec::<Option<i64>>::new()]);
        let asked = [("value", int64()), ("new", list), ("key", ValueType::Scalar(ScalarType::Int32))];
        assert_eq!(read_columns(&log, snapshot, &asked).await, [[Some(4), None, Some(3)]]);
    }
}

#[tokio::test]
async fn files_outside_a_time_range_are_left_out() {
    for compacted in [false, true] {
        let log = Log::in_memory();
        let writer = log.writer();
        for day in 0..3 {
            let row = Content { created: 0, event: day * DAY + 5, key: day, value: 0 };
            log.append(&writer, &format!("{day} {compacted}"), &[row]).await.unwrap();
        }
        if compacted {
            log.compact().await.unwrap();
        }
        let at = |time: i64| Some(Timestamp::from_micros(time));
        for (from, to, days) in [
            (None, None, 3),
            (at(5), at(DAY + 5), 1),
            (at(6), at(DAY + 6), 1),
            (at(6), None, 2),
            (None, at(5), 0),
            (at(2 * DAY + 6), None, 0),
        ] {
            let snapshot = log.snapshot(None).await.unwrap().within(from, to);
            assert_eq!(snapshot.files.len(), days, "{from:?} {to:?} {compacted}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_is_read_back_from_json_and_an_unknown_source_is_empty() {
    let log = Log::in_memory();
    assert_eq!(log.snapshot(None).await.unwrap(), LogSnapshot::default());
    log.append(&log.writer(), "b", &contents(3, 1)).await.unwrap();
    log.compact().await.unwrap();
    let snapshot = log.snapshot(None).await.unwrap();
    let json = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<LogSnapshot>(&json).unwrap(), snapshot);
}

async fn error_of_reading(log: &Log, snapshot: &LogSnapshot) -> Error {
    log.read(snapshot).await.unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_gone_asks_for_a_new_snapshot() {
    let log = Log::in_memory();
    log.append(&log.writer(), "b", &contents(3, 1)).await.unwrap();
    for _ in 0..2 {
        let snapshot = log.snapshot(None).await.unwrap();
        for file in &snapshot.files {
            log.store.delete(&file.path).await.unwrap();
        }
        let error = error_of_reading(&log, &snapshot).await;
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert!(error.message().contains("take a new snapshot"), "{error}");
        log.append(&log.writer(), "c", &contents(3, 1)).await.unwrap();
        log.compact().await.unwrap();
    }
}

async fn spoil(log: &Log, path: &Path, how: impl Fn(&mut Vec<u8>)) {
    let mut bytes = log.store.get(path).await.unwrap().bytes().await.unwrap().to_vec();
    how(&mut bytes);
    log.store.put(path, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn broken_bytes_are_data_loss_and_name_the_file() {
    let flip: fn(&mut Vec<u8>) = |bytes| bytes[20] ^= 1;
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() / 2);
    for how in [flip, cut] {
        let log = Log::in_memory();
        log.append(&log.writer(), "b", &contents(3, 1)).await.unwrap();
        let snapshot = log.snapshot(None).await.unwrap();
        spoil(&log, &snapshot.files[0].path, how).await;
        let error = error_of_reading(&log, &snapshot).await;
        assert_eq!(error.code(), ErrorCode::DataLoss);
        assert!(error.message().contains(snapshot.files[0].path.as_ref()), "{error}");
        assert_eq!(log.compact().await.unwrap_err().code(), ErrorCode::DataLoss);
    }
    let log = Log::in_memory();
    log.append(&log.writer(), "b", &contents(3, 1)).await.unwrap();
    log.compact().await.unwrap();
    let snapshot = log.snapshot(None).await.unwrap();
    spoil(&log, &snapshot.files[0].path, |bytes| bytes.iter_mut().rev().take(4).for_each(|byte| *byte ^= 1)).await;
    let error = error_of_reading(&log, &snapshot).await;
    assert_eq!(error.code(), ErrorCode::DataLoss, "{error}");
    assert!(error.message().contains(snapshot.files[0].path.as_ref()), "{error}");
}

#[tokio::test]
async fn a_manifest_of_a_newer_release_is_refused_and_a_broken_one_is_data_loss() {
    for (from, to, code) in [
        ("\"format\":1", "\"format\":2", ErrorCode::Unimplemented),
        ("\"number\":1", "\"number\":3", ErrorCode::DataLoss),
        ("\"files\"", "\"filed\"", ErrorCode::DataLoss),
        ("date=", "../..", ErrorCode::DataLoss),
    ] {
        let log = Log::in_memory();
        log.append(&log.writer(), "b", &contents(3, 1)).await.unwrap();
        assert_eq!(log.compact().await.unwrap().manifest, 1);
        let path = log.path("_log/manifest/00000000000000000001.json");
        let text = String::from_utf8(log.store.get(&path).await.unwrap().bytes().await.unwrap().to_vec()).unwrap();
        let changed = text.replace(from, to).replace("../../", "../");
        assert_ne!(changed, text, "{from}");
        log.store.put(&path, changed.into()).await.unwrap();
        let error = log.snapshot(None).await.unwrap_err();
        assert_eq!(error.code(), code, "{to}: {error}");
        assert!(error.message().contains(path.as_ref()), "{error}");
        assert_eq!(log.compact().await.unwrap_err().code(), code);
    }
}
