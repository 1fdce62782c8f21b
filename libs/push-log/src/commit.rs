//! Making the rows of one source durable: what one writer does with the batches that callers bring, group by group.

use std::fmt;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use larder_connections::{Created, create_once};
use larder_types::{Error, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    SegmentPosition, WriterId, WriterOptions,
    layout::SourceLog,
    segment::encode_segment,
    turns::{Size, next_groups},
};

/// Why rows were not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendError {
    /// True: the rows are not in the log and will not appear in it. False: it is not known; they may be there, or may
    /// appear. Appending them again is safe in both cases, under the same batch id and row numbers.
    pub known_not_written: bool,
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
}

impl AppendError {
    pub(crate) fn not_written(error: &Error) -> Self {
        Self { known_not_written: true, code: error.code(), message: error.message().to_owned() }
    }

    pub(crate) fn not_known(error: &Error) -> Self {
        Self {
            known_not_written: false,
            code: error.code(),
            message: format!("it is not known whether the rows are in the push log: {error}"),
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AppendError {}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// A caller's rows, and where the answer goes.
pub(crate) struct Append {
    pub(crate) rows: RecordBatch,
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Result<SegmentPosition, AppendError>>,
    /// A share of what may wait in memory, given back with the answer.
    pub(crate) _share: Share,
}

/// A share of what may wait in memory, of all and of what loads may have.
pub(crate) struct Share {
    pub(crate) _of_loads: Option<OwnedSemaphorePermit>,
    pub(crate) _of_all: OwnedSemaphorePermit,
}

/// Whether a segment was tried before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

/// Writes the segments of one source.
pub(crate) struct Committer {
    log: SourceLog,
    writer: WriterId,
    options: WriterOptions,
    registered: bool,
    next: u64,
    /// The segment with number `next`, if an attempt at it ended without an answer. No other content may get that number.
    unsettled: Option<Bytes>,
}

impl Committer {
    pub(crate) fn new(log: SourceLog, writer: WriterId, options: WriterOptions) -> Self {
        Self { log, writer, options, registered: false, next: 0, unsettled: None }
    }

    /// Until all callers are gone: takes what waits, makes it durable, answers.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Append>) {
        // In the order in which they came.
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = queue.recv().await else { return };
                waiting.push(first);
                if !self.options.linger.is_zero() {
                    tokio::time::sleep(self.options.linger).await;
                }
            }
            while let Ok(append) = queue.try_recv() {
                waiting.push(append);
            }
            for group in self.gather(&mut waiting) {
                for (schema, appends) in by_schema(group) {
                    self.commit_and_answer(&schema, appends).await;
                }
            }
        }
    }

    /// Takes those whose turn it is out of what waits: a group a segment.
    fn gather(&self, waiting: &mut Vec<Append>) -> Vec<Vec<Append>> {
        let size = |append: &Append| Size { rows: append.rows.num_rows(), bytes: append.bytes };
        let sizes: Vec<Size> = waiting.iter().map(size).collect();
        let most = Size { rows: self.options.max_segment_rows, bytes: self.options.max_segment_bytes };
        let groups = next_groups(&sizes, most);
        let mut taken: Vec<_> = waiting.drain(..).map(Some).collect();
        let mut take = |group: Vec<usize>| group.into_iter().filter_map(|place| taken[place].take()).collect();
        let groups = groups.into_iter().map(&mut take).collect();
        waiting.extend(taken.into_iter().flatten());
        groups
    }

    async fn commit_and_answer(&mut self, schema: &SchemaRef, appends: Vec<Append>) {
        let rows: Vec<_> = appends.iter().map(|append| append.rows.clone()).collect();
        let result = self.commit(schema, &rows).await;
        if let Err(error) = &result {
            tracing::warn!(segment = self.next, writer = %self.writer, %error, "rows were not acknowledged");
        }
        for append in appends {
            // A caller who gave up does not hear that its rows are durable; it may send them again.
            let _ = append.answer.send(result.clone());
        }
    }

    async fn commit(&mut self, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<SegmentPosition, AppendError> {
        self.register().await.map_err(|error| AppendError::not_written(&error))?;
        if let Some(earlier) = self.unsettled.clone() {
            self.put(earlier, Attempt::Again).await.map_err(|error| AppendError::not_written(&error))?;
        }
        let segment = encode_segment(schema, rows).map_err(|error| AppendError::not_written(&error))?;
        self.put(segment, Attempt::First).await.map_err(|error| match self.unsettled {
            Some(_) => AppendError::not_known(&error),
            None => AppendError::not_written(&error),
        })
    }

    /// Readers look for segments of registered writers only, so this comes before the first.
    async fn register(&mut self) -> Result<(), Error> {
        if !self.registered {
            let path = self.log.writer(self.writer);
            let content = Bytes::from(format!("{}\n", self.writer));
            self.create(&path, content).await?;
            self.registered = true;
        }
        Ok(())
    }

    async fn put(&mut self, segment: Bytes, attempt: Attempt) -> Result<SegmentPosition, Error> {
        let position = SegmentPosition { writer: self.writer, number: self.next };
        self.unsettled = Some(segment.clone());
        let result = self.create(&self.log.segment(position), segment).await;
        match &result {
            Ok(()) => {
                self.unsettled = None;
                self.next += 1;
            }
            // The store said no: nothing is there, the number is free.
            Err(error) if error.code() != ErrorCode::Unavailable && attempt == Attempt::First => self.unsettled = None,
            Err(_) => {}
        }
        result.map(|()| position)
    }

    /// [`ErrorCode::Unavailable`] if it is not known whether the object is there.
    async fn create(&self, path: &object_store::path::Path, content: Bytes) -> Result<(), Error> {
        let store = self.log.store.as_ref();
        let mut pause = self.options.retry_pause;
        for attempt in 1.. {
            match create_once(store, path, content.clone(), |found| found == content).await {
                Ok(Created::Ours) => return Ok(()),
                Ok(Created::Taken(_)) => {
                    return Err(Error::internal(format!(
                        "{path} was written by somebody else, under this writer's id"
                    )));
                }
                Err(error) if error.code() == ErrorCode::Unavailable && attempt < self.options.put_attempts => {
                    tracing::debug!(%path, %error, attempt, "a write is tried again");
                }
                Err(error) if attempt > 1 => return Err(Error::unavailable(error.message()).with_source(error)),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        Err(Error::internal("a write was tried without end"))
    }
}

/// A segment has one schema. The order of the appends is kept among those of a schema.
fn by_schema(group: Vec<Append>) -> Vec<(SchemaRef, Vec<Append>)> {
    let mut segments: Vec<(SchemaRef, Vec<Append>)> = Vec::new();
    for append in group {
        let schema = append.rows.schema();
        match segments.iter_mut().find(|(known, _)| *known == schema) {
            Some((_, appends)) => appends.push(append),
            None => segments.push((schema, vec![append])),
        }
    }
    segments
}
