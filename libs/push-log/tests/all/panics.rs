//! A defect in writing ends the task that writes, and not the source.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use larder_types::ErrorCode;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};

use crate::support::{Log, contents, deduped, identified};

/// Panics with the next segment, after it has written it.
#[derive(Debug, Default)]
struct Panicking {
    inner: InMemory,
    panics: AtomicBool,
}

impl fmt::Display for Panicking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Panicking")
    }
}

#[async_trait]
impl ObjectStore for Panicking {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options).await;
        if location.as_ref().contains("/segments/") && self.panics.swap(false, Ordering::SeqCst) {
            panic!("as asked");
        }
        put
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_source_whose_task_panicked_is_written_by_another() {
    let store = Arc::new(Panicking::default());
    let log = Log::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let writer = log.writer();
    let rows = [contents(3, 1), contents(3, 2), contents(3, 3)];
    let first = log.append(&writer, "a", &rows[0]).await.unwrap();
    store.panics.store(true, Ordering::SeqCst);
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
