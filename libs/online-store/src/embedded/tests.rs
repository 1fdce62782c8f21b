//! The embedded store: what it promises beyond the conformance suite.

use bytes::Bytes;
use larder_codec::EncodedKeys;
use larder_types::ErrorCode;
use redb::{TableDefinition, backends::InMemoryBackend};

use super::*;
use crate::{RowWrite, conformance::NaiveStore, forgetful::ForgetfulFile};

fn in_memory() -> EmbeddedStore {
    EmbeddedStore::open_on(InMemoryBackend::new(), &EmbeddedConfig::default()).unwrap()
}

mod embedded {
    async fn new_store() -> std::sync::Arc<dyn crate::OnlineStore> {
        std::sync::Arc::new(super::in_memory())
    }

    crate::online_store_conformance!(new_store);
}

/// The oracle keeps the promises, too.
mod naive {
    async fn new_store() -> std::sync::Arc<dyn crate::OnlineStore> {
        std::sync::Arc::new(super::NaiveStore::default())
    }

    crate::online_store_conformance!(new_store);
}

fn writes(keys: std::ops::Range<i64>) -> Vec<KeyWrite> {
    let row = |event: i64| {
        let schema = larder_codec::RowSchema::new(larder_types::SchemaNumber(1), Vec::new()).unwrap();
        larder_codec::RowEncoder::new(&schema).encode(&[], &[event], &[0], None).unwrap().slice(0)
    };
    let write = |key: i64| KeyWrite {
        key: Bytes::from(format!("1.1:{key}")),
        rows: vec![RowWrite { row_set: RowSetNumber(1), row: row(key), expires_at: None }],
    };
    keys.map(write).collect()
}

async fn write(store: &EmbeddedStore, keys: std::ops::Range<i64>) -> Result<Vec<RowOutcome>> {
    store.write(writes(keys), WriteMode::Newest, Timestamp::MIN).await
}

/// How many of the first keys are there.
async fn count(store: &EmbeddedStore, keys: i64) -> usize {
    let keys: EncodedKeys = (0..keys).map(|key| Some(format!("1.1:{key}"))).collect();
    store.read(&keys, &[RowSetNumber(1)]).await.unwrap().row_set(0).flatten().count()
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    for reopened in 0..5 {
        let store = EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap();
        assert_eq!(count(&store, 1_000).await, 100 * reopened as usize);
        write(&store, 100 * reopened..100 * (reopened + 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let _open = EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap();
    let error = EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.message().contains("online.redb: it is open already"), "{error}");
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let set_format = |format: u64| {
        let db = Database::create(&path).unwrap();
        let transaction = db.begin_write().unwrap();
        let meta = TableDefinition::<&str, u64>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    write(&EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap(), 0..10).await.unwrap();
    set_format(2);
    let error = EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    assert!(error.message().contains("it has format 2, this release reads format 1"), "{error}");
    set_format(1);
    assert_eq!(count(&EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap(), 10).await, 10);
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let text = "not a data file at all".repeat(1_000);
    std::fs::write(&path, &text).unwrap();
    let error = EmbeddedStore::open(&path, &EmbeddedConfig::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLoss, "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let error = EmbeddedStore::open(&folder.path().join("none/online.redb"), &EmbeddedConfig::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
}

#[tokio::test]
async fn a_write_is_done_although_its_caller_went_away() {
    let store = in_memory();
    let mut writing = Box::pin(write(&store, 0..10));
    let _ = writing.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    drop(writing);
    write(&store, 10..11).await.unwrap();
    assert_eq!(count(&store, 11).await, 11);
}

/// However many rows others sent before: it waits for the transaction under way and for its own, which ends for it.
#[tokio::test]
async fn a_call_with_few_rows_does_not_wait_for_those_with_many() {
    const GREAT: i64 = 20_000;
    let store = Arc::new(in_memory());
    let spawned = |keys: std::ops::Range<i64>| {
        let store = store.clone();
        tokio::spawn(async move { write(&store, keys).await.unwrap().len() })
    };
    let great: Vec<_> = (0..10).map(|call| spawned(GREAT * call..GREAT * (call + 1))).collect();
    let few = spawned(1_000_000..1_000_001);
    assert_eq!(few.await.unwrap(), 1);
    let written = count(&store, 10 * GREAT).await;
    assert!(written < 120_000, "{written} of 200000 rows of others were written before");
    for call in great {
        assert_eq!(call.await.unwrap(), 20_000);
    }
    assert_eq!(count(&store, 10 * GREAT).await, 200_000);
}

/// Also where a call is written by many transactions, and rows of one key come in several of them.
#[tokio::test]
async fn calls_that_are_written_in_pieces_are_answered_row_by_row() {
    let config = EmbeddedConfig { group_time: Duration::ZERO, ..EmbeddedConfig::default() };
    let store = Arc::new(EmbeddedStore::open_on(InMemoryBackend::new(), &config).unwrap());
    let calls = (0..3).map(|call| {
        let store = store.clone();
        tokio::spawn(async move {
            // Each key twice, so that the second of them is there already.
            let keys = 10_000 * call..10_000 * (call + 1);
            let twice = writes(keys.clone()).into_iter().chain(writes(keys)).collect();
            store.write(twice, WriteMode::Newest, Timestamp::MIN).await.unwrap()
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let outcomes = call.await.unwrap();
        assert_eq!(outcomes[..10_000], vec![RowOutcome::Written; 10_000]);
        assert_eq!(outcomes[10_000..], vec![RowOutcome::Equal; 10_000]);
    }
    assert_eq!(count(&store, 30_000).await, 30_000);
}

#[tokio::test]
async fn a_removal_of_many_steps_removes_all_and_nothing_else() {
    let store = in_memory();
    write(&store, 0..25_000).await.unwrap();
    let scope = KeyScope::project(None, larder_types::ProjectNumber(1)).unwrap();
    assert_eq!(store.purge(&scope, RowSetNumber(2)).await.unwrap(), 0);
    assert_eq!(store.sweep(Timestamp::MAX).await.unwrap(), SweepReport { examined: 25_000, removed: 0 });
    assert_eq!(store.purge(&scope, RowSetNumber(1)).await.unwrap(), 25_000);
    assert_eq!(count(&store, 25_000).await, 0);
}

#[tokio::test]
async fn what_was_answered_outlives_a_loss_of_power() {
    let disk = ForgetfulFile::default();
    let store = EmbeddedStore::open_on(disk.clone(), &EmbeddedConfig::default()).unwrap();
    for call in 0..10 {
        write(&store, 100 * call..100 * (call + 1)).await.unwrap();
        let mut draw = call;
        let at_random = || {
            draw = (draw * 1_103_515_245 + 12_345) % (1 << 31);
            draw % 16 < 8
        };
        for left in [disk.after_power_loss(|| false), disk.after_power_loss(at_random)] {
            let reopened = EmbeddedStore::open_on(left, &EmbeddedConfig::default()).unwrap();
            assert_eq!(count(&reopened, 1_000).await, 100 * (call as usize + 1));
        }
    }
}

#[tokio::test]
async fn a_failing_disk_is_told_to_callers_and_to_health() {
    let disk = ForgetfulFile::default();
    let store = EmbeddedStore::open_on(disk.clone(), &EmbeddedConfig::default()).unwrap();
    write(&store, 0..10).await.unwrap();
    store.check_health().await.unwrap();
    disk.fail();
    for _ in 0..2 {
        let error = write(&store, 10..20).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    }
    let error = store.check_health().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition, "{error}");
    assert!(error.message().contains("could not be read or written: I/O error: the disk is gone"), "{error}");
    // A process that opens the file anew has what was answered, and can write.
    drop(store);
    let reopened = EmbeddedStore::open_on(disk.after_power_loss(|| true), &EmbeddedConfig::default()).unwrap();
    reopened.check_health().await.unwrap();
    write(&reopened, 10..20).await.unwrap();
    assert_eq!(count(&reopened, 20).await, 20);
}

#[tokio::test]
async fn what_changes_nothing_is_not_synced() {
    let disk = ForgetfulFile::default();
    let store = EmbeddedStore::open_on(disk.clone(), &EmbeddedConfig::default()).unwrap();
    let mut rows = writes(0..20_000);
    rows.iter_mut().step_by(4).for_each(|write| write.rows[0].expires_at = Some(Timestamp::from_micros(7)));
    store.write(rows, WriteMode::Newest, Timestamp::MIN).await.unwrap();
    let before = disk.syncs();
    let unchanged = SweepReport { examined: 20_000, removed: 0 };
    assert_eq!(store.sweep(Timestamp::from_micros(7)).await.unwrap(), unchanged);
    assert_eq!(write(&store, 1..2).await.unwrap(), [RowOutcome::Equal]);
    assert_eq!(disk.syncs(), before);
    let swept = SweepReport { examined: 20_000, removed: 5_000 };
    assert_eq!(store.sweep(Timestamp::from_micros(8)).await.unwrap(), swept);
    assert!(disk.syncs() > before);
    assert_eq!(count(&store, 20_000).await, 15_000);
}

/// A row that is found too old and written anew before it is removed stays.
#[tokio::test]
async fn a_row_that_is_renewed_while_it_is_swept_stays() {
    let store = in_memory();
    let rows = |expires_at| {
        let mut rows = writes(0..2);
        rows.iter_mut().for_each(|write| write.rows[0].expires_at = expires_at);
        rows
    };
    store.write(rows(Some(Timestamp::from_micros(7))), WriteMode::Newest, Timestamp::MIN).await.unwrap();
    let removal = Removal::Expired { now: Timestamp::from_micros(8) };
    let found = find(&store.db, &removal, None).unwrap();
    assert_eq!(found.doomed.len(), 2);
    store.write(rows(None).split_off(1), WriteMode::Newest, Timestamp::MIN).await.unwrap();
    assert_eq!(store.writer.remove(removal, found.doomed).await.unwrap(), 1);
    assert_eq!(count(&store, 2).await, 1);
}
