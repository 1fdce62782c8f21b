//! A store for tests in front of another, which takes reads or writes into its own hands.

use std::sync::Arc;

use async_trait::async_trait;
use larder_codec::{EncodedKeys, KeyScope};
use larder_types::{Result, RowSetNumber, Timestamp};

use crate::{Capabilities, KeyWrite, OnlineStore, RowOutcome, Rows, SweepReport, WriteMode};

/// Is an [`OnlineStore`] that passes on what it does not define.
#[async_trait]
pub trait Interposed: Send + Sync + 'static {
    /// The store behind it.
    fn store(&self) -> &Arc<dyn OnlineStore>;

    /// As [`OnlineStore::read_within`].
    async fn on_read(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
        self.store().read_within(keys, row_sets, max_bytes).await
    }

    /// As [`OnlineStore::write`].
    async fn on_write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        self.store().write(writes, mode, now).await
    }
}

#[async_trait]
impl<T: Interposed> OnlineStore for T {
    async fn read_within(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
        self.on_read(keys, row_sets, max_bytes).await
    }

    async fn write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        self.on_write(writes, mode, now).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<SweepReport> {
        self.store().sweep(now).await
    }

    async fn purge(&self, scope: &KeyScope, row_set: RowSetNumber) -> Result<u64> {
        self.store().purge(scope, row_set).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store().capabilities()
    }

    async fn check_health(&self) -> Result<()> {
        self.store().check_health().await
    }
}
