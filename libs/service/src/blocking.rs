//! Work that keeps a processor busy, away from the threads that answer calls: one great request would hold up the small
//! ones that happen to be on its thread.

use larder_types::{Error, Result};
use tracing::{Span, dispatcher};

/// So many values, rows or the like are worked on at once, where the call is: a fraction of a millisecond.
const LIGHT: usize = 4_096;

/// Does `work` on so many `units`: at once if they are few, else as [`work_beside`].
pub async fn work_on<T: Send + 'static>(units: usize, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    if units <= LIGHT { work() } else { work_beside(work).await }
}

/// Does `work` on a thread that may be busy for long. Dropping the future does not end work that has begun.
pub async fn work_beside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (span, subscriber) = (Span::current(), dispatcher::get_default(Clone::clone));
    let work = move || dispatcher::with_default(&subscriber, || span.in_scope(work));
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::internal(format!("the work on a call was cut off: {error}")).with_source(error))
    })
}
