//! Group commit, backpressure, and what an append says when it fails.

use std::{collections::HashSet, sync::Arc, time::Duration};

use larder_connections::{DurableLocal, test_suite::UnreliableStore};
use larder_push_log::{LogSchema, WriterOptions};
use larder_types::ErrorCode;
use tokio::task::JoinSet;

use crate::support::{Log, contents, deduped, identified, int64, name, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_at_the_same_time_share_segments() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(Arc::new(DurableLocal::open(folder.path(), Duration::ZERO).unwrap()));
    let writer = Arc::new(log.writer());
    let mut appends = JoinSet::new();
    for number in 0..200 {
        let (log, writer) = (log.clone(), Arc::clone(&writer));
        appends.spawn(async move { log.append(&writer, &format!("{number}"), &contents(2, number)).await.unwrap() });
    }
    let segments: HashSet<_> = appends.join_all().await.into_iter().collect();
    assert!(segments.len() <= 50, "{} segments for 200 appends", segments.len());
    let snapshot = log.snapshot(None).await.unwrap();
    assert_eq!(snapshot.files.len(), segments.len());
    assert_eq!(log.read(&snapshot).await.unwrap().len(), 400);
}

#[tokio::test]
async fn a_segment_is_bounded_and_has_one_schema() {
    let log = Log::in_memory();
    let writer = log.writer_with(WriterOptions { max_segment_rows: 10, ..WriterOptions::default() });
    let appends = (0..10).map(|number| log.append(&writer, "b", rows_of(number)));
    let other = LogSchema::new([(name("key"), int64())]).unwrap();
    let narrow = rows("c", &contents(1, 1)).project(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    assert_eq!(LogSchema::of(&narrow.schema()).unwrap(), other);
    let (positions, narrow) =
        futures::join!(futures::future::join_all(appends), writer.append(&log.project, &log.source, narrow));
    let segments: HashSet<_> = positions.into_iter().map(Result::unwrap).collect();
    assert!(!segments.contains(&narrow.unwrap()), "rows of another schema");
    let numbers: HashSet<_> = segments.iter().map(|segment| segment.number).collect();
    let snapshot = log.snapshot(None).await.unwrap();
    assert!(snapshot.files.iter().all(|file| file.rows <= 10), "{:?}", snapshot.files);
    assert!(numbers.len() >= 4, "{numbers:?}");
}

fn rows_of(number: i64) -> &'static [crate::support::Content] {
    Box::leak(contents(4, number).into_boxed_slice())
}

/// All are there before the first segment is begun.
#[tokio::test]
async fn whoever_appends_little_does_not_stand_in_line_behind_those_who_append_much() {
    let log = Log::in_memory();
    for options in [
        WriterOptions { max_segment_bytes: 64 << 10, ..WriterOptions::default() },
        // Not even where those who append much have all of the memory that they may.
        WriterOptions { max_segment_bytes: 64 << 10, max_waiting_bytes: 500 << 10, ..WriterOptions::default() },
    ] {
        let writer = log.writer_with(options);
        let great = contents(2_000, 1);
        let loads = futures::future::join_all((0..12).map(|_| log.append(&writer, "load", &great)));
        let (loads, few) = futures::join!(loads, log.append(&writer, "few", rows_of(1)));
        let loads: Vec<u64> = loads.into_iter().map(|position| position.unwrap().number).collect();
        assert!(loads.is_sorted() && loads[11] >= 11, "each has a segment of its own: {loads:?}");
        assert!(few.unwrap().number <= 1);
    }
}

#[tokio::test]
async fn more_than_may_wait_waits_outside() {
    let log = Log::in_memory();
    let writer = log.writer_with(WriterOptions { max_waiting_bytes: 1, ..WriterOptions::default() });
    let appends = (0..20).map(|number| log.append(&writer, "b", rows_of(number)));
    let segments: HashSet<_> = futures::future::join_all(appends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(segments.len(), 20, "no two fit into the memory for what waits");
}

#[tokio::test]
async fn wrong_rows_are_refused_before_anything_is_written() {
    let log = Log::in_memory();
    let writer = log.writer_with(WriterOptions { max_append_bytes: 100, ..WriterOptions::default() });
    let many = rows("b", &contents(50, 1));
    for (wrong, text) in [
        (many.slice(0, 0), "no rows"),
        (many.project(&[0, 1, 2]).unwrap(), "__batch_id"),
        (many, "send smaller batches"),
    ] {
        let error = writer.append(&log.project, &log.source, wrong).await.unwrap_err();
        assert!(error.known_not_written && error.code == ErrorCode::InvalidArgument, "{error:?}");
        assert!(error.message.contains(text), "{error}");
    }
    assert_eq!(log.snapshot(None).await.unwrap().files, []);
}

#[tokio::test]
async fn a_closed_writer_has_written_what_it_took() {
    let log = Log::in_memory();
    let writer = log.writer();
    let (appended, ()) = futures::join!(log.append(&writer, "b", rows_of(1)), writer.close());
    let found = deduped(log.read_since(None).await.1);
    match appended {
        Ok(_) => assert_eq!(found, deduped(identified("b", rows_of(1)))),
        Err(error) => assert!(error.known_not_written && found.is_empty(), "{error}"),
    }
    let error = log.append(&writer, "b", rows_of(1)).await.unwrap_err();
    assert!(error.known_not_written && error.code == ErrorCode::Unavailable, "{error}");
}

/// Each answer must be true: rows said not to be written never appear, acknowledged ones are there.
#[tokio::test]
async fn what_an_append_says_of_its_rows_is_true() {
    let (mut unknown, mut refused) = (0, 0);
    for seed in 0..60 {
        let reliable = Log::in_memory();
        let store = UnreliableStore::new(Arc::clone(&reliable.store), seed, 250);
        let log = Log { store: Arc::new(store), ..reliable.clone() };
        let writer =
            log.writer_with(WriterOptions { put_attempts: 2, retry_pause: Duration::ZERO, ..WriterOptions::default() });
        let (mut must, mut may) = (Vec::new(), Vec::new());
        for number in 0..20 {
            let (batch, content) = (format!("{number}"), contents(2, number));
            match log.append(&writer, &batch, &content).await {
                Ok(_) => must.extend(identified(&batch, &content)),
                Err(error) if error.known_not_written => refused += 1,
                Err(error) => {
                    assert!(error.message.contains("not known"), "{error}");
                    unknown += 1;
                    may.extend(identified(&batch, &content));
                }
            }
        }
        let found = deduped(reliable.read_since(None).await.1);
        assert!(must.iter().all(|(identity, content)| found.get(identity) == Some(content)), "seed {seed}");
        let possible = deduped(must.into_iter().chain(may));
        assert!(found.iter().all(|(identity, content)| possible.get(identity) == Some(content)), "seed {seed}");
    }
    assert!(unknown > 20 && refused > 20, "{unknown} unknown and {refused} refused show little");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_not_healthy_and_a_look_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("log");
    let log = Log::new(Arc::new(DurableLocal::open(&root, Duration::ZERO).unwrap()));
    let writer = log.writer();
    let before = files_in(&root);
    writer.check_health().await.unwrap();
    assert_eq!(files_in(&root), before);
    // A folder that is a file now.
    std::fs::remove_dir_all(&root).unwrap();
    std::fs::write(&root, b"").unwrap();
    let error = writer.check_health().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().starts_with("the push log cannot be written: "), "{error}");
}

fn files_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}
