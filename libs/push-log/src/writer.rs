//! Appending to the log, with group commit.
//!
//! Callers' rows of a source queue up while a segment of it is being made durable, and go together into the next. What
//! waits is bounded in bytes: beyond that callers wait. Sources do not wait for each other, nor those who append little for
//! the many who append much (`turns.rs`).

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use larder_types::{Clock, Error, Name, Timestamp};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    AppendError, LogSchema, SegmentPosition, WriterId,
    commit::{Append, Committer, Share},
    layout::SourceLog,
    rows::SystemColumns,
};

/// Shares of the memory for what waits are counted in units of so many bytes.
const SHARE_BYTES: usize = 1_024;
const QUEUED_APPENDS: usize = 4_096;

/// Appends of more bytes are loads. All of them together have half of the memory for what waits, so that those of few find
/// some.
const FEW_BYTES: usize = 64 << 10;

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// A segment takes more callers until it has so many rows …
    pub max_segment_rows: usize,
    /// … or bytes. One caller's rows are never split.
    pub max_segment_bytes: usize,
    /// One caller's rows have at most so many bytes in memory.
    pub max_append_bytes: usize,
    /// So many bytes may wait, for all sources together; callers beyond that wait to be let in.
    pub max_waiting_bytes: usize,
    /// How long the first of a group waits for others. Zero is right where writes take their time anyway.
    pub linger: Duration,
    /// How often a write without an answer is tried.
    pub put_attempts: u32,
    /// The pause before the second attempt; it doubles with each.
    pub retry_pause: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            max_segment_rows: 100_000,
            max_segment_bytes: 8 << 20,
            max_append_bytes: 64 << 20,
            max_waiting_bytes: 128 << 20,
            linger: Duration::ZERO,
            put_attempts: 5,
            retry_pause: Duration::from_millis(10),
        }
    }
}

/// Appends to the log of any source. One of it is one run of a writer: its id is new each time, and again for a source whose
/// task panicked.
pub struct PushLogWriter {
    store: Arc<dyn ObjectStore>,
    root: Path,
    id: WriterId,
    opened_at: (Timestamp, Instant),
    options: WriterOptions,
    waiting: Arc<Semaphore>,
    waiting_loads: Arc<Semaphore>,
    sources: Mutex<Sources>,
    /// The tasks that write, one a source, called `push log` in logs. Each ends when its queue is closed; one that panics
    /// closes its queue, its callers hear that the outcome is not known, and the next append of the source starts another.
    tasks: TaskTracker,
}

type SourceName = (Name, Name);

#[derive(Default)]
struct Sources {
    closed: bool,
    queues: HashMap<SourceName, mpsc::Sender<Append>>,
}

impl PushLogWriter {
    /// A writer under `root`. Nothing is written before the first append.
    pub fn open(store: Arc<dyn ObjectStore>, root: Path, options: WriterOptions, clock: &dyn Clock) -> Self {
        let [shares, of_loads] = [all_shares(&options), loads_shares(&options)];
        Self {
            store,
            root,
            id: WriterId::new(clock.now()),
            opened_at: (clock.now(), Instant::now()),
            options,
            waiting: Arc::new(Semaphore::new(shares)),
            waiting_loads: Arc::new(Semaphore::new(of_loads)),
            sources: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Whose segments these are, as long as no task panicked.
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// Appends `rows` ([`LogSchema`], columns in any order). When it returns the segment's position, the rows outlive
    /// process and machine, and every later snapshot has them.
    ///
    /// Dropping the future leaves the outcome unknown.
    pub async fn append(
        &self,
        project: &Name,
        source: &Name,
        rows: RecordBatch,
    ) -> Result<SegmentPosition, AppendError> {
        let span = tracing::debug_span!("push log append", %project, %source, rows = rows.num_rows());
        self.append_rows(project, source, rows).instrument(span).await
    }

    /// Whether something can be written beneath the root now: a small object is, and is removed again.
    pub async fn check_health(&self) -> Result<(), Error> {
        // No project's name has a hyphen, so this is in no project's folder.
        let path = self.root.clone().join(format!("write-check-{}", self.id));
        let failed = |error| Error::unavailable(format!("the push log cannot be written: {error}")).with_source(error);
        self.store.put(&path, PutPayload::from_static(b"written to see whether it can be\n")).await.map_err(failed)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes no more rows, and returns when all that were taken are durable or refused.
    pub async fn close(&self) {
        {
            let mut sources = self.sources.lock();
            sources.closed = true;
            sources.queues.clear();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn append_rows(
        &self,
        project: &Name,
        source: &Name,
        rows: RecordBatch,
    ) -> Result<SegmentPosition, AppendError> {
        let rows = check(&rows).map_err(|error| AppendError::not_written(&error))?;
        let bytes = rows.get_array_memory_size();
        if bytes > self.options.max_append_bytes {
            return Err(AppendError::not_written(&Error::invalid_argument(format!(
                "{bytes} bytes of rows are more than one append may have ({}): send smaller batches",
                self.options.max_append_bytes
            ))));
        }
        let share = self.share(bytes).await?;
        let queue = self.queue(project, source)?;
        let (answer, answered) = oneshot::channel();
        // The queue was open a moment ago, and closes only with the task that empties it.
        queue.send(Append { rows, bytes, answer, _share: share }).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| {
            Err(AppendError::not_known(&Error::internal("the task that writes the segment ended before it answered")))
        })
    }

    /// A load waits for loads first, and takes nothing meanwhile that others may have.
    async fn share(&self, bytes: usize) -> Result<Share, AppendError> {
        let take = async |of: &Arc<Semaphore>, all: usize| {
            let shares = u32::try_from(bytes.div_ceil(SHARE_BYTES).min(all)).unwrap_or(u32::MAX);
            Arc::clone(of).acquire_many_owned(shares).await.map_err(|_| closed())
        };
        let of_loads = match bytes {
            0..=FEW_BYTES => None,
            _ => Some(take(&self.waiting_loads, loads_shares(&self.options)).await?),
        };
        Ok(Share { _of_loads: of_loads, _of_all: take(&self.waiting, all_shares(&self.options)).await? })
    }

    fn queue(&self, project: &Name, source: &Name) -> Result<mpsc::Sender<Append>, AppendError> {
        let mut sources = self.sources.lock();
        if sources.closed {
            return Err(closed());
        }
        let name = (project.clone(), source.clone());
        let id = match sources.queues.get(&name) {
            Some(queue) if !queue.is_closed() => return Ok(queue.clone()),
            // Its task panicked: nobody knows which numbers it used last, so the next one has an id of its own.
            Some(_) => WriterId::new(self.opened_at.0.plus(self.opened_at.1.elapsed())),
            None => self.id,
        };
        let queue = self.start(id, project, source);
        sources.queues.insert(name, queue.clone());
        Ok(queue)
    }

    fn start(&self, id: WriterId, project: &Name, source: &Name) -> mpsc::Sender<Append> {
        let (queue, waiting) = mpsc::channel(QUEUED_APPENDS);
        let log = SourceLog::new(Arc::clone(&self.store), &self.root, project, source);
        // Of no trace: it outlives the append that it happens to be started for.
        let span = tracing::info_span!(parent: None, "task", name = "push log", %project, %source);
        self.tasks.spawn(Committer::new(log, id, self.options.clone()).run(waiting).instrument(span));
        queue
    }
}

fn all_shares(options: &WriterOptions) -> usize {
    (options.max_waiting_bytes / SHARE_BYTES).clamp(1, Semaphore::MAX_PERMITS)
}

fn loads_shares(options: &WriterOptions) -> usize {
    (all_shares(options) / 2).max(1)
}

fn check(rows: &RecordBatch) -> Result<RecordBatch, Error> {
    if rows.num_rows() == 0 {
        return Err(Error::invalid_argument("there are no rows to append"));
    }
    let rows = LogSchema::of(&rows.schema())?.ordered(rows)?;
    SystemColumns::of(&rows)?;
    Ok(rows)
}

fn ended() -> AppendError {
    AppendError::not_written(&Error::unavailable(
        "the task that writes the segments of this source has ended: try again",
    ))
}

fn closed() -> AppendError {
    AppendError::not_written(&Error::unavailable("the push log takes no more rows: the process is shutting down"))
}

impl fmt::Debug for PushLogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushLogWriter").field("id", &self.id).field("root", &self.root).finish_non_exhaustive()
    }
}
