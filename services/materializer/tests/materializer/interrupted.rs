//! Stores that do not answer one of their writes: their process is stopped then, before or after it, or they are away, or
//! slow.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode, interposed::Interposed};
use larder_types::{Error, Result, Timestamp};
use tokio_util::sync::CancellationToken;

/// Does not answer the write after so many, nor any later one; that write is done or not.
pub(crate) struct Interrupted {
    pub(crate) store: Arc<dyn OnlineStore>,
    pub(crate) writes_left: AtomicU32,
    pub(crate) is_done: bool,
    /// Stops its process; none: it goes on, and is told that the store is away.
    pub(crate) stop: Option<CancellationToken>,
}

#[async_trait]
impl Interposed for Interrupted {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    async fn on_write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        let more = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if more.is_ok() {
            return self.store.write(writes, mode, now).await;
        }
        if self.is_done {
            self.store.write(writes, mode, now).await?;
        }
        match &self.stop {
            Some(stop) => stop.cancel(),
            None => return Err(Error::unavailable("the store is away")),
        }
        std::future::pending().await
    }
}

/// Answers its first write when it is told to, and all others at once.
pub(crate) struct Slow {
    pub(crate) store: Arc<dyn OnlineStore>,
    pub(crate) writes: AtomicU32,
    pub(crate) go_on: CancellationToken,
}

#[async_trait]
impl Interposed for Slow {
    fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    async fn on_write(&self, writes: Vec<KeyWrite>, mode: WriteMode, now: Timestamp) -> Result<Vec<RowOutcome>> {
        if self.writes.fetch_add(1, Ordering::Relaxed) == 0 {
            self.go_on.cancelled().await;
        }
        self.store.write(writes, mode, now).await
    }
}
