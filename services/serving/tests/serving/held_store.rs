//! An online store whose reads a test can hold up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use larder_codec::EncodedKeys;
use larder_online_store::{OnlineStore, Rows, interposed::Interposed};
use larder_types::{Result, RowSetNumber};
use tokio::sync::{Semaphore, watch};

/// Which reads wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// None.
    Nothing,
    /// Every one.
    All,
    /// Those of so many keys.
    Of(usize),
}

/// Passes everything on, reads when it is let.
pub(crate) struct HeldStore {
    inner: Arc<dyn OnlineStore>,
    held: watch::Sender<Held>,
    arrived: Semaphore,
    keys: AtomicUsize,
}

impl HeldStore {
    pub(crate) fn new(inner: Arc<dyn OnlineStore>) -> Self {
        Self { inner, held: watch::Sender::new(Held::Nothing), arrived: Semaphore::new(0), keys: AtomicUsize::new(0) }
    }

    /// How many keys were read since this was asked last.
    pub(crate) fn keys_read(&self) -> usize {
        self.keys.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn hold(&self, held: Held) {
        self.arrived.forget_permits(usize::MAX >> 4);
        self.held.send_replace(held);
    }

    /// Waits until so many reads have come since the last change of what is held.
    pub(crate) async fn arrived(&self, reads: u32) {
        self.arrived.acquire_many(reads).await.unwrap().forget();
    }
}

#[async_trait]
impl Interposed for HeldStore {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.inner
    }

    async fn on_read(&self, keys: &EncodedKeys, row_sets: &[RowSetNumber], max_bytes: usize) -> Result<Rows> {
        self.keys.fetch_add(keys.len(), Ordering::SeqCst);
        self.arrived.add_permits(1);
        let is_let = |held: &Held| match held {
            Held::Nothing => true,
            Held::All => false,
            Held::Of(count) => keys.len() != *count,
        };
        drop(self.held.subscribe().wait_for(is_let).await);
        self.inner.read_within(keys, row_sets, max_bytes).await
    }
}
