//! A defect in writing ends the task that writes, and not the source.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use larder_types::ErrorCode;

use crate::{
    support::{Log, contents, deduped, identified},
    watched::{Touch, Watched},
};

#[tokio::test]
async fn a_source_whose_task_panicked_is_written_by_another() {
    let panics = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&panics);
    let log = Log::new(Arc::new(Watched::new(move |touch, path| {
        if touch == Touch::Written && path.as_ref().contains("/segments/") && asked.swap(false, Ordering::SeqCst) {
            panic!("as asked");
        }
    })));
    let writer = log.writer();
    let rows = [contents(3, 1), contents(3, 2), contents(3, 3)];
    let first = log.append(&writer, "a", &rows[0]).await.unwrap();
    panics.store(true, Ordering::SeqCst);
    let error = log.append(&writer, "b", &rows[1]).await.unwrap_err();
    assert_eq!((error.code, error.known_not_written), (ErrorCode::Internal, false), "{error}");
    // The caller sends it again, as after every outcome that is not known.
    let again = log.append(&writer, "b", &rows[1]).await.unwrap();
    let last = log.append(&writer, "c", &rows[2]).await.unwrap();
    assert_ne!(again.writer, first.writer);
    assert_eq!((last.writer, again.number, last.number), (again.writer, 0, 1));
    let found = log.read(&log.snapshot(None).await.unwrap()).await.unwrap();
    let expected = ["a", "b", "c"].iter().zip(&rows).flat_map(|(batch, rows)| identified(batch, rows));
    assert_eq!(deduped(found), deduped(expected));
    writer.close().await;
    let error = log.append(&writer, "d", &rows[0]).await.unwrap_err();
    assert!(error.message.contains("shutting down"), "{error}");
}
