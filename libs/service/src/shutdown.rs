//! The signal to stop, from wherever it comes: SIGTERM, Ctrl-C, a task that the process cannot live without, a test.

use std::{
    sync::{Arc, OnceLock},
    task::Poll,
};

use futures::{Stream, StreamExt, stream};
use larder_types::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a process exits with when a second signal cuts its stop short.
pub const EXIT_INTERRUPTED: i32 = 130;

/// Says that it is time to stop, once. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    failure: Arc<OnceLock<Error>>,
}

impl Shutdown {
    /// Begins by [`Shutdown::begin`] alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with the first SIGTERM or SIGINT; the second one ends the process at once. Needs a tokio runtime.
    pub fn on_signals() -> Result<Self> {
        let no_signals = |error| Error::internal("signals cannot be listened to").with_source(error);
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let shutdown = Self::new();
        let signalled = shutdown.clone();
        // Lives as long as the process, whatever becomes of everything else: so not among the supervised tasks.
        tokio::spawn(async move {
            let signals = stream::poll_fn(|cx| match (terminate.poll_recv(cx), interrupt.poll_recv(cx)) {
                (Poll::Ready(_), _) => Poll::Ready(Some("SIGTERM")),
                (Poll::Pending, Poll::Ready(_)) => Poll::Ready(Some("SIGINT")),
                (Poll::Pending, Poll::Pending) => Poll::Pending,
            });
            obey(signals, signalled, || std::process::exit(EXIT_INTERRUPTED)).await;
        });
        Ok(shutdown)
    }

    /// Begins, since `reason`.
    pub fn begin(&self, reason: &str) {
        if !self.begun.is_cancelled() {
            tracing::info!(reason, "stopping");
            self.begun.cancel();
        }
    }

    /// Begins because the process cannot go on; the first failure is what it ends with.
    pub fn fail(&self, error: Error) {
        let reason = error.to_string();
        let _ = self.failure.set(error);
        self.begin(&reason);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// A token that is cancelled when it begins; cancelling the token begins nothing.
    pub fn token(&self) -> CancellationToken {
        self.begun.child_token()
    }

    /// The same as a future that owns what it needs.
    pub(crate) fn begun_owned(&self) -> WaitForCancellationFutureOwned {
        self.begun.clone().cancelled_owned()
    }

    /// The failure that it began with, if it did.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }
}

/// The first signal begins the shutdown, the second calls `exit`.
async fn obey(mut signals: impl Stream<Item = &'static str> + Unpin, shutdown: Shutdown, exit: impl FnOnce()) {
    let Some(first) = signals.next().await else { return };
    shutdown.begin(first);
    let Some(second) = signals.next().await else { return };
    tracing::warn!(signal = second, "second signal: exiting at once, what is in flight is lost");
    exit();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_begins_the_shutdown_and_the_second_one_exits() {
        let (send, receive) = tokio::sync::mpsc::unbounded_channel();
        let (shutdown, exited) = (Shutdown::new(), Arc::new(AtomicBool::new(false)));
        let obeying = obey(UnboundedReceiverStream::new(receive), shutdown.clone(), {
            let exited = Arc::clone(&exited);
            move || exited.store(true, Ordering::SeqCst)
        });
        let obeying = tokio::spawn(obeying);
        send.send("SIGTERM").unwrap();
        shutdown.begun().await;
        assert!(!exited.load(Ordering::SeqCst));
        send.send("SIGINT").unwrap();
        obeying.await.unwrap();
        assert!(exited.load(Ordering::SeqCst));
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_kept() {
        let shutdown = Shutdown::new();
        shutdown.fail(Error::unavailable("the disk is full"));
        shutdown.fail(Error::internal("and so is this"));
        assert!(shutdown.has_begun());
        assert_eq!(shutdown.failure().map(Error::message), Some("the disk is full"));
    }
}
