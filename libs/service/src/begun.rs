//! Work of a stream that goes on though nobody asks for it. The answers of a stream are futures that rest while their caller
//! takes nothing: what such a future holds, or has been given while it waited, is kept from everybody else. So what takes
//! places and turns is begun on a task of its own.

use std::future::Future;

use larder_contracts::status::to_status;
use larder_types::Error;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::{Instrument, instrument::WithSubscriber};

/// Work that was begun. It is given up when dropped.
#[derive(Debug)]
pub struct Begun<T>(AbortOnDropHandle<T>);

impl<T: Send + 'static> Begun<T> {
    /// Begins `work`.
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(work.with_current_subscriber().in_current_span())))
    }

    /// What comes of it.
    pub async fn done(self) -> Result<T, Status> {
        self.0.await.map_err(|error| to_status(&Error::internal(format!("the work on a call was cut off: {error}"))))
    }
}
