//! Appends, compactions, sweeps without grace and reads, all at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use larder_connections::{DurableLocal, test_suite::UnreliableStore};
use larder_push_log::{CompactorOptions, LogPosition, WriterOptions};
use larder_types::ErrorCode;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::support::{Content, Identity, Log, contents, deduped, identified};

const WRITERS: i64 = 3;
const APPENDS: i64 = 40;

/// What was acknowledged so far.
type Acknowledged = Arc<Mutex<Vec<(Identity, Content)>>>;

async fn append_all(log: Log, writer: i64, acknowledged: Acknowledged) {
    let appender =
        log.writer_with(WriterOptions { put_attempts: 50, retry_pause: Duration::ZERO, ..WriterOptions::default() });
    for number in 0..APPENDS {
        let (batch, rows) = (format!("{writer}-{number}"), contents(5, writer * 1_000 + number));
        let mut result = log.append(&appender, &batch, &rows).await;
        while let Err(error) = result {
            assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
            result = log.append(&appender, &batch, &rows).await;
        }
        acknowledged.lock().extend(identified(&batch, &rows));
    }
    appender.close().await;
}

async fn maintain(log: Log, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        for result in [log.compact().await.map(drop), log.sweep().await.map(drop)] {
            if let Err(error) = result {
                let code = error.code();
                assert!(matches!(code, ErrorCode::Unavailable | ErrorCode::Conflict), "{code:?}: {error}");
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Reads the whole log, and the log in pieces from where the last one ended.
async fn read_all(log: Log, acknowledged: Acknowledged, done: Arc<AtomicBool>) {
    let (mut position, mut in_pieces) = (LogPosition::default(), Vec::new());
    loop {
        let last = done.load(Ordering::SeqCst);
        let before = acknowledged.lock().clone();
        let (_, whole) = log.read_since(None).await;
        let (reached, piece) = log.read_since(Some(&position)).await;
        assert!(reached.covers(&position));
        position = reached;
        in_pieces.extend(piece);
        for found in [deduped(whole), deduped(in_pieces.iter().cloned())] {
            for (identity, content) in &before {
                assert_eq!(found.get(identity), Some(content));
            }
        }
        if last {
            return;
        }
        // Reads in memory never wait: without this they would keep the threads that the writers need.
        tokio::task::yield_now().await;
    }
}

async fn everything_at_once(log: Log) {
    let done = Arc::new(AtomicBool::new(false));
    let acknowledged = Acknowledged::default();
    let mut others = JoinSet::new();
    for _ in 0..2 {
        others.spawn(maintain(log.clone(), done.clone()));
        others.spawn(read_all(log.clone(), acknowledged.clone(), done.clone()));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(append_all(log.clone(), writer, acknowledged.clone()));
    }
    writers.join_all().await;
    done.store(true, Ordering::SeqCst);
    others.join_all().await;

    let (_, found) = log.read_since(None).await;
    assert_eq!(deduped(found), deduped(acknowledged.lock().clone()));
    assert_eq!(acknowledged.lock().len(), 5 * usize::try_from(WRITERS * APPENDS).unwrap());
}

fn without_grace(log: Log) -> Log {
    let options = CompactorOptions { grace: Duration::ZERO, ..log.options.clone() };
    Log { options, ..log }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_in_a_local_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path(), Duration::from_secs(3_600)).unwrap();
    everything_at_once(without_grace(Log::new(Arc::new(store)))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_over_a_store_that_loses_requests_and_replies() {
    let reliable = Log::in_memory();
    let store = UnreliableStore::new(Arc::clone(&reliable.store), 7, 2);
    everything_at_once(without_grace(Log { store: Arc::new(store), ..reliable })).await;
}
