//! The threads on which training sets are computed.
//!
//! A join takes a thread for as long as it has rows, and there may be several. On threads of their own they share the
//! processors with everything else by the operating system's measure, instead of keeping online reads and leases waiting.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use larder_types::{Error, Result};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};
use tokio_util::task::AbortOnDropHandle;

/// What the threads are called.
pub const THREAD_NAME: &str = "training-set";

/// How many spines that are streamed in may hold great batches at once.
const GREAT_BATCHES: usize = 2;

/// As many as there are processors, and as many again as wait for disks.
#[derive(Debug)]
pub struct Threads {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
    great_batches: Arc<Semaphore>,
}

impl Threads {
    /// Starts them.
    pub fn start() -> Result<Self> {
        let count = available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread().worker_threads(count).thread_name(THREAD_NAME).enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::resource_exhausted(format!("the threads of training sets cannot be started: {error}"))
                .with_source(error)
        })?;
        Ok(Self { runtime: Some(runtime), great_batches: Arc::new(Semaphore::new(GREAT_BATCHES)) })
    }

    /// The places of spines that hold great batches while they come in.
    pub(super) fn great_batches(&self) -> &Arc<Semaphore> {
        &self.great_batches
    }

    /// Does `work` on them. It is given up when the handle is dropped.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<AbortOnDropHandle<T>> {
        self.runtime.as_ref().map(|runtime| AbortOnDropHandle::new(runtime.spawn(work)))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Who drops this may be on a thread that must not wait.
            runtime.shutdown_background();
        }
    }
}
