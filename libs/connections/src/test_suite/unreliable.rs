//! A store that fails at random, as networks do.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, path::Path,
};

/// Fails calls at random, from a seed: a request is lost before it has an effect, or the reply is lost after it had one.
/// The caller cannot tell which.
///
/// An upload in parts is started unreliably and goes on reliably.
#[derive(Debug, Clone)]
pub struct UnreliableStore {
    inner: Arc<dyn ObjectStore>,
    /// Of 1,000 calls, how many lose their request, and how many others lose their reply.
    lost_per_mille: u64,
    state: Arc<AtomicU64>,
}

impl UnreliableStore {
    /// Over `inner`. Of 1,000 calls, `lost_per_mille` lose their request and as many their reply.
    pub fn new(inner: Arc<dyn ObjectStore>, seed: u64, lost_per_mille: u64) -> Self {
        Self { inner, lost_per_mille, state: Arc::new(AtomicU64::new(seed)) }
    }

    /// SplitMix64: the whole state is a counter, so that threads can share it.
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 1_000
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let fate = self.draw();
        if fate < self.lost_per_mille {
            return Err(lost("request"));
        }
        let result = call.await;
        if fate < 2 * self.lost_per_mille { Err(lost("reply")) } else { result }
    }
}

fn lost(what: &str) -> Error {
    Error::Generic { store: "UnreliableStore", source: format!("the {what} was lost").into() }
}

impl fmt::Display for UnreliableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnreliableStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for UnreliableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.call(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.call(self.inner.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call(self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |location: Path| {
            let this = this.clone();
            async move {
                let one = futures::stream::iter([Ok(location.clone())]).boxed();
                this.call(this.inner.delete_stream(one).try_collect::<Vec<_>>()).await.map(|_| location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let this = self.clone();
        let prefix = prefix.cloned();
        let listed = async move { this.call(this.inner.list(prefix.as_ref()).try_collect::<Vec<_>>()).await };
        futures::stream::once(listed)
            .flat_map(|listed| match listed {
                Ok(found) => futures::stream::iter(found.into_iter().map(Ok)).boxed(),
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.call(self.inner.rename_opts(from, to, options)).await
    }
}
