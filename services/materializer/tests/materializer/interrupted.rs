//! A store whose process is stopped at one of its writes, before or after it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use larder_codec::{EncodedKeys, KeyScope};
use larder_online_store::{Capabilities, KeyWrite, OnlineStore, RowOutcome, Rows, SweepReport, WriteMode};
use larder_types::{Result, RowSetNumber, Timestamp};
use tokio_util::sync::CancellationToken;

/// Stops its process at the write after so many; that write is done or not, and never answered.
pub(crate) struct Interrupted {
    pub(crate) store: Arc<dyn OnlineStore>,
    pub(crate) writes_left: AtomicU32,
    pub(crate) is_done: bool,
    pub(crate) stop: CancellationToken,
}

#[async_trait]
impl OnlineStore for Interrupted {
    async fn read(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber]) -> Result<Rows> {
        self.store.read(keys, row_sets).await
    }

    async fn write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        let more = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if more.is_ok() {
            return self.store.write(writes, mode, now).await;
        }
        if self.is_done {
            self.store.write(writes, mode, now).await?;
        }
        self.stop.cancel();
        std::future::pending().await
    }

    async fn sweep(&self, now: Timestamp) -> Result<SweepReport> {
        self.store.sweep(now).await
    }

    async fn purge(&self, scope: &KeyScope, row_set: RowSetNumber) -> Result<u64> {
        self.store.purge(scope, row_set).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn check_health(&self) -> Result<()> {
        self.store.check_health().await
    }
}
