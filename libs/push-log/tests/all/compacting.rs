//! What compactions and sweeps leave behind.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    thread,
    time::Duration,
};

use futures::TryStreamExt;
use larder_push_log::{CompactorOptions, FileFormat, SweepReport};
use larder_types::Clock;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use crate::{
    support::{Content, DAY, Log, contents, deduped, identified},
    watched::{Touch, Watched},
};

const HOUR: Duration = Duration::from_secs(3_600);

async fn names(log: &Log, under: &str) -> BTreeSet<String> {
    let prefix = log.path(under);
    let listed: Vec<_> = log.store.list(Some(&prefix)).try_collect().await.unwrap();
    listed.into_iter().map(|object| object.location.to_string()).collect()
}

#[tokio::test]
async fn files_are_sorted_by_key_and_time_in_the_folder_of_their_day() {
    let log = Log::in_memory();
    let writer = log.writer();
    for number in 0..30 {
        log.append(&writer, &format!("{number}"), &contents(20, number)).await.unwrap();
    }
    let report = log.compact().await.unwrap();
    assert_eq!((report.segments, report.rows_read, report.rows_written), (30, 600, 600));
    assert!(report.files_merged >= 3, "{report:?}");
    assert_eq!(report, larder_push_log::CompactionReport { ..report.clone() });

    let snapshot = log.snapshot(None).await.unwrap();
    assert_eq!(snapshot.position, report.position);
    for file in &snapshot.files {
        assert_eq!(file.format, FileFormat::Parquet);
        let one = larder_push_log::LogSnapshot { files: vec![file.clone()], ..snapshot.clone() };
        let rows = log.read(&one).await.unwrap();
        let order: Vec<_> = rows.iter().map(|(_, row)| (row.key, row.event, row.created)).collect();
        assert!(order.is_sorted(), "{}", file.path);
        let day = file.min_event_time.as_micros() / DAY;
        assert!(rows.iter().all(|(_, row)| row.event / DAY == day), "{}", file.path);
        let folder = log.path(&format!("date=1970-01-0{}", day + 1));
        assert!(file.path.prefix_matches(&folder), "{}", file.path);
    }
    let again = log.compact().await.unwrap();
    assert_eq!((again.segments, again.files_written, again.manifest), (0, 0, report.manifest));
}

#[tokio::test]
async fn of_a_row_sent_again_the_latest_is_kept() {
    let log = Log::in_memory();
    let writer = log.writer();
    let row = |created: i64| Content { created, event: 5, key: 1, value: created };
    for created in [3, 9, 4] {
        log.append(&writer, "again", &[row(created), Content { event: 6, ..row(created) }]).await.unwrap();
    }
    let report = log.compact().await.unwrap();
    assert_eq!((report.rows_read, report.rows_written), (6, 2));
    // In files of several compactions they meet when the files are merged.
    for created in [7, 8] {
        log.append(&writer, "again", &[row(created)]).await.unwrap();
        log.append(&writer, &format!("other {created}"), &[row(1)]).await.unwrap();
        log.compact().await.unwrap();
    }
    let snapshot = log.snapshot(None).await.unwrap();
    assert_eq!(snapshot.files.len(), 1, "{:?}", snapshot.files);
    let mut rows = log.read(&snapshot).await.unwrap();
    rows.sort();
    let mut expected = identified("again", &[row(9), Content { event: 6, ..row(9) }]);
    expected.extend([7, 8].into_iter().flat_map(|created| identified(&format!("other {created}"), &[row(1)])));
    assert_eq!(rows, expected);
}

/// Who uses a batch id again for other values of equal times is not told that it is wrong: then the greatest row counts, by
/// the order that all readers have, and none may be taken from them.
#[tokio::test]
async fn other_values_under_a_batch_id_used_again_stay() {
    let log = Log::in_memory();
    let writer = log.writer();
    let row = |value: i64| Content { created: 3, event: 5, key: 1, value };
    for value in [99, 11, 99, 11] {
        log.append(&writer, "again", &[row(value)]).await.unwrap();
    }
    let report = log.compact().await.unwrap();
    assert_eq!((report.rows_read, report.rows_written), (4, 2));
    let values = async || {
        let rows = log.read(&log.snapshot(None).await.unwrap()).await.unwrap();
        rows.into_iter().map(|(_, content)| content.value).collect::<BTreeSet<_>>()
    };
    assert_eq!(values().await, BTreeSet::from([11, 99]));
    // In files of several compactions they meet when the files are merged.
    for value in [11, 50, 99] {
        log.append(&writer, "again", &[row(value)]).await.unwrap();
        log.compact().await.unwrap();
    }
    assert_eq!(values().await, BTreeSet::from([11, 50, 99]));
}

#[tokio::test]
async fn only_files_with_something_new_are_read_again() {
    let log = Log::in_memory();
    let (one, two) = (log.writer(), log.writer());
    log.append(&one, "1", &contents(3, 1)).await.unwrap();
    log.compact().await.unwrap();
    let first = log.snapshot(None).await.unwrap();
    assert_eq!(log.snapshot(Some(&first.position)).await.unwrap().files, []);
    log.append(&two, "2", &[contents(1, 2)[0]]).await.unwrap();
    log.compact().await.unwrap();
    let second = log.snapshot(Some(&first.position)).await.unwrap();
    let rows = log.read(&second).await.unwrap();
    assert_eq!(deduped(rows), deduped(identified("2", &[contents(1, 2)[0]])));
}

#[tokio::test]
async fn what_was_replaced_stays_for_the_grace_time_and_goes_then() {
    let log = Log::in_memory();
    let writer = log.writer();
    log.append(&writer, "1", &contents(3, 1)).await.unwrap();
    let before = log.snapshot(None).await.unwrap();
    log.compact().await.unwrap();
    log.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(log.sweep().await.unwrap(), SweepReport::default());
    assert_eq!(log.read(&before).await.unwrap().len(), 3);
    log.clock.advance(Duration::from_secs(1));
    assert_eq!(log.sweep().await.unwrap(), SweepReport { segments: 1, ..SweepReport::default() });
    assert_eq!(log.sweep().await.unwrap(), SweepReport::default());
    assert!(names(&log, "_log/segments").await.is_empty());
    // A writer goes on after its segments are gone.
    assert_eq!(log.append(&writer, "2", &contents(3, 2)).await.unwrap().number, 1);
    assert_eq!(log.read_since(None).await.1.len(), 6);
}

#[tokio::test]
async fn leftovers_and_old_manifests_are_swept_when_nobody_can_want_them() {
    let log = Log::in_memory();
    let writer = log.writer();
    for number in 0..40 {
        log.append(&writer, &format!("{number}"), &contents(1, number)).await.unwrap();
        log.compact().await.unwrap();
    }
    let file = log.snapshot(None).await.unwrap().files[0].clone();
    let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        u64::try_from(log.clock.now().as_micros() / 1_000_000).unwrap(),
        0,
    ));
    let orphan = log.path(&format!("date=1970-01-01/{id}.parquet"));
    log.store.copy(&file.path, &orphan).await.unwrap();
    log.clock.advance(2 * HOUR);
    assert_eq!(log.sweep().await.unwrap().orphans, 0);
    log.clock.advance(24 * HOUR);
    let report = log.sweep().await.unwrap();
    assert_eq!(report.orphans, 1, "{report:?}");
    let kept = names(&log, "_log/manifest").await;
    assert!(report.manifests > 20 && kept.len() == 1 + 17, "{report:?} {kept:?}");
    assert_eq!(log.read_since(None).await.1.len(), 40);

    // Without the hint, or with one that says something else, the newest manifest is found as well.
    for hint in [None, Some("1"), Some("x"), Some("999999")] {
        let path = log.path("_log/manifest/hint");
        match hint {
            None => log.store.delete(&path).await.unwrap(),
            Some(hint) => drop(log.store.put(&path, hint.into()).await.unwrap()),
        }
        assert_eq!(log.read_since(None).await.1.len(), 40, "{hint:?}");
    }
}

/// Of three small files two are merged, and the third with what comes next.
#[tokio::test]
async fn no_more_bytes_are_merged_at_once_than_may_be() {
    let log = Log::in_memory();
    let options = CompactorOptions { merge_bytes: 1, ..log.options.clone() };
    let log = Log { options, ..log };
    let writer = log.writer();
    let mut merged = Vec::new();
    for number in 0..4 {
        log.append(&writer, &format!("{number}"), &[contents(1, 3)[0]]).await.unwrap();
        merged.push(log.compact().await.unwrap().files_merged);
    }
    assert_eq!(merged, [0, 0, 2, 2]);
    assert_eq!(log.read_since(None).await.1.len(), 4);
}

#[tokio::test]
async fn compactions_at_the_same_time_do_not_double_anything() {
    let log = Log::in_memory();
    let writer = log.writer();
    let options = CompactorOptions { max_step_bytes: 1, ..log.options.clone() };
    let log = Log { options, ..log };
    for number in 0..12 {
        log.append(&writer, &format!("{number}"), &contents(2, number)).await.unwrap();
    }
    let reports = futures::future::join_all((0..4).map(|_| log.compact())).await;
    let reports: Vec<_> = reports.into_iter().map(Result::unwrap).collect();
    assert_eq!(reports.iter().map(|report| report.segments).sum::<u64>(), 12);
    assert!(reports.iter().any(|report| report.lost_races > 0), "{reports:?}");
    let snapshot = log.snapshot(None).await.unwrap();
    assert_eq!(log.read(&snapshot).await.unwrap().len(), 24);
    // Who lost removed its files; what is left is in force or retired.
    log.clock.advance(HOUR);
    log.sweep().await.unwrap();
    let stored: BTreeSet<_> = names(&log, "").await.into_iter().filter(|name| name.ends_with(".parquet")).collect();
    assert_eq!(stored, snapshot.files.iter().map(|file| file.path.to_string()).collect());
}

/// A merge decodes what it reads at once where it reads it: not on a thread that others wait for.
#[tokio::test]
async fn files_are_merged_beside_the_threads_that_others_wait_for() {
    let readers = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&readers);
    let log = Log::new(Arc::new(Watched::new(move |touch, path| {
        if touch == Touch::Read && path.as_ref().ends_with(".parquet") {
            seen.lock().insert(thread::current().id());
        }
    })));
    let writer = log.writer();
    for number in 0..30 {
        log.append(&writer, &format!("{number}"), &contents(20, number)).await.unwrap();
    }
    assert!(log.compact().await.unwrap().files_merged >= 3);
    let readers = readers.lock().clone();
    assert!(!readers.is_empty() && !readers.contains(&thread::current().id()), "{readers:?}");
}
