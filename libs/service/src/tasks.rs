//! What a process does beside its calls: background tasks, and work that outlives the call it was begun for. Each has a
//! name and a declared answer to its failure, and a process that stops waits for it.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use larder_types::{Error, Result};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, instrument::WithSubscriber};

use crate::shutdown::Shutdown;

/// What is done when a task fails or panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Start it anew, after a pause that doubles up to half a minute.
    Restart,
    /// Stop the process: it is of no use without this task.
    Stop,
    /// Say so, and go on without it.
    Log,
}

/// A kind of task. Each service lists its own as constants in one place, which then is the table of what runs in it and
/// what happens when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskKind {
    /// Its name in logs.
    pub name: &'static str,
    /// What is done when it fails.
    pub on_failure: OnFailure,
}

impl TaskKind {
    /// A kind of task.
    pub const fn new(name: &'static str, on_failure: OnFailure) -> Self {
        Self { name, on_failure }
    }
}

/// The first pause before a restart, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A task that ran this long is healthy: its next failure is a first one.
const HEALTHY: Duration = Duration::from_secs(60);

/// The background tasks of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tracker: TaskTracker,
    stop: CancellationToken,
    shutdown: Shutdown,
    running: Mutex<BTreeMap<&'static str, usize>>,
    abort: CancellationToken,
}

impl Tasks {
    /// None yet. A task that may not fail begins `shutdown` when it does.
    pub fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(Shared {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            shutdown,
            running: Mutex::default(),
            abort: CancellationToken::new(),
        }))
    }

    /// Starts a task. `start` makes its future, again for every restart, from the token that tells it to end; tasks are
    /// told to end after calls have been drained. Ending with `Ok` is not a failure.
    pub fn spawn<F>(&self, kind: TaskKind, mut start: impl FnMut(CancellationToken) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let entry = Entry::new(kind.name, self);
        // Of no trace: a task outlives the call in which it happens to be started, and would keep that call's span open.
        let span = tracing::info_span!(parent: None, "task", name = kind.name);
        let supervised = async move {
            let tasks = &entry.tasks;
            tokio::select! {
                () = tasks.supervise(kind, &mut start) => {}
                () = tasks.0.abort.cancelled() => tracing::warn!(task = kind.name, "aborted"),
            }
        };
        self.0.tracker.spawn(supervised.instrument(span));
    }

    /// Does work that is brought to its end even if its caller, who waits for the result, goes before. It is in the caller's
    /// span, nobody tells it to end, and a stop waits for it. An error means that there is no result: it panicked, or the
    /// stop waited for it in vain. What was begun once cannot be started anew, so to `Restart` is to log here.
    pub async fn see_through<T: Send + 'static>(
        &self,
        kind: TaskKind,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let entry = Entry::new(kind.name, self);
        let seen_through = async move {
            let tasks = &entry.tasks;
            tokio::select! {
                biased;
                done = unless_it_panics(work) => done.inspect_err(|error| tasks.failed_for_good(kind, error)),
                () = tasks.0.abort.cancelled() => {
                    tracing::warn!(task = kind.name, "aborted");
                    Err(Error::unavailable(format!("{} was aborted: the process stops", kind.name)))
                }
            }
        };
        let done = self.0.tracker.spawn(seen_through.with_current_subscriber().in_current_span()).await;
        done.unwrap_or_else(|error| Err(Error::internal(format!("{} was cut off", kind.name)).with_source(error)))
    }

    /// The names of what is running, with their number.
    pub fn running(&self) -> Vec<(&'static str, usize)> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|(name, count)| (*name, *count)).collect()
    }

    /// Tells all to end, and waits for it at most `patience`; what is left then is aborted and named in the error.
    pub async fn stop(&self, patience: Duration) -> Result<()> {
        self.0.stop.cancel();
        self.0.tracker.close();
        if tokio::time::timeout(patience, self.0.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let left: Vec<_> = self.running().into_iter().map(|(name, _)| name).collect();
        self.0.abort.cancel();
        self.0.tracker.wait().await;
        Err(Error::deadline_exceeded(format!("background tasks did not end in time: {}", left.join(", "))))
    }

    /// Does what `kind` says where nothing is started anew.
    fn failed_for_good(&self, kind: TaskKind, error: &Error) {
        match kind.on_failure {
            OnFailure::Log | OnFailure::Restart => {
                tracing::error!(task = kind.name, %error, "a background task failed");
            }
            OnFailure::Stop => {
                tracing::error!(task = kind.name, %error, "a task failed that the process cannot do without");
                let failure = Error::new(error.code(), error.message());
                self.0.shutdown.fail(failure.context(format_args!("background task `{}`", kind.name)));
            }
        }
    }

    async fn supervise<F>(&self, kind: TaskKind, start: &mut impl FnMut(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>>,
    {
        let mut pause = PAUSES.0;
        loop {
            let started = Instant::now();
            let Err(error) = unless_it_panics(start(self.0.stop.clone())).await.flatten() else { return };
            match kind.on_failure {
                OnFailure::Log | OnFailure::Stop => return self.failed_for_good(kind, &error),
                OnFailure::Restart if self.0.stop.is_cancelled() => return,
                OnFailure::Restart => {
                    pause = if started.elapsed() >= HEALTHY { PAUSES.0 } else { pause };
                    tracing::warn!(task = kind.name, %error, ?pause, "a background task failed and is started anew");
                    if self.0.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return;
                    }
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }
}

/// What comes of `work`; a panic is a failure like any other.
async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Result<T> {
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    outcome.map_err(|panic| Error::internal(format!("panicked: {}", panic_message(&*panic))))
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Counts a task as running while it lives.
struct Entry {
    name: &'static str,
    tasks: Tasks,
}

impl Entry {
    fn new(name: &'static str, tasks: &Tasks) -> Self {
        *tasks.0.running.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self { name, tasks: tasks.clone() }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = self.tasks.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}
