//! What a reader sees: a consistent set of files of a source's log.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use larder_types::{Error, Name, Result, Timestamp, ValueType};
use object_store::{ObjectStore, path::Path};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    LogPosition, Manifest, SegmentPosition,
    discovery::{FoundSegment, segments_after},
    layout::SourceLog,
    manifests, reading,
};

/// A snapshot that a compaction and a sweep overtake is begun again, so often at most.
const ATTEMPTS: usize = 16;

/// Reads the log of any source.
#[derive(Debug, Clone)]
pub struct PushLog {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

/// How the rows of a file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Sorted by key and time.
    Parquet,
    /// In the order in which they came.
    Segment,
}

/// A file of a snapshot. It can be sent to another process, which reads it from the same store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// In the store.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub path: Path,
    /// Bytes.
    pub size: u64,
    /// How it is stored.
    pub format: FileFormat,
    /// Which segment it is; none: a file made of several.
    pub segment: Option<SegmentPosition>,
    /// How many rows.
    pub rows: u64,
    /// The least event time.
    pub min_event_time: Timestamp,
    /// The greatest event time.
    pub max_event_time: Timestamp,
}

/// A source's log at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSnapshot {
    /// Everything up to it is in the files, as far as it was asked for. The next snapshot may go on from here.
    pub position: LogPosition,
    /// Each row is in one of them, except that a row sent twice may be there twice.
    pub files: Vec<LogFile>,
}

impl PushLog {
    /// The logs under `root`.
    pub fn open(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root }
    }

    /// The files of a source that together hold every row acknowledged so far; after `since` if given, with some rows
    /// before it where files hold both. A source without a log has no files.
    ///
    /// The files stay for the grace time of sweeps; see [`PushLog::read_file`] for one that is read too late.
    pub async fn snapshot(&self, project: &Name, source: &Name, since: Option<&LogPosition>) -> Result<LogSnapshot> {
        let log = SourceLog::new(Arc::clone(&self.store), &self.root, project, source);
        let beginning = LogPosition::default();
        let since = since.unwrap_or(&beginning);
        for _ in 0..ATTEMPTS {
            let manifest = manifests::newest(&log).await?;
            let segments = segments_after(&log, &manifest.position.clone().union(since)).await?;
            // A segment that was not found may have been compacted and swept meanwhile. Then there is a newer manifest.
            if manifests::is_newest(&log, manifest.number).await? {
                return Ok(snapshot_of(&log, &manifest, &segments, since));
            }
        }
        Err(Error::unavailable(format!("the push log of {source} is rewritten faster than it is read: try again")))
    }

    /// The rows of a file in batches of at most 8,192: the system columns, then `columns` in their order. A column that
    /// the file does not have is null, of the type asked for; one that it has is given as stored, whatever its type.
    ///
    /// [`larder_types::ErrorCode::Unavailable`] if the file was replaced and is gone: take a new snapshot.
    /// [`larder_types::ErrorCode::DataLoss`] if its bytes are not those that were written, naming it.
    pub fn read_file(&self, file: &LogFile, columns: &[(Name, ValueType)]) -> BoxStream<'static, Result<RecordBatch>> {
        reading::read(Arc::clone(&self.store), file.clone(), columns.to_vec())
    }
}

impl LogSnapshot {
    /// Without the files that have no event time in [`from`, `to`), each unbounded where it is none. Rows outside remain
    /// in files that have others inside.
    #[must_use]
    pub fn within(mut self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        self.files.retain(|file| {
            from.is_none_or(|from| file.max_event_time >= from) && to.is_none_or(|to| file.min_event_time < to)
        });
        self
    }

    /// A position from which reading goes on with all rows later than `latest`: before the first segment of each writer
    /// that has one, and where it began if a file made of several segments has one.
    pub fn position_until(&self, latest: Timestamp, began: &LogPosition) -> LogPosition {
        let mut position = self.position.clone();
        for later in self.files.iter().filter(|file| file.max_event_time > latest) {
            match later.segment {
                Some(segment) => position.retreat_before(segment),
                None => return began.clone(),
            }
        }
        position
    }
}

fn snapshot_of(log: &SourceLog, manifest: &Manifest, segments: &[FoundSegment], since: &LogPosition) -> LogSnapshot {
    let mut position = manifest.position.clone().union(since);
    let parquet = manifest.files.iter().filter(|file| !since.covers(&file.to)).map(|file| LogFile {
        path: log.file(&file.path),
        size: file.size,
        format: FileFormat::Parquet,
        segment: None,
        rows: file.rows,
        min_event_time: file.min_event_time,
        max_event_time: file.max_event_time,
    });
    let mut files: Vec<_> = parquet.collect();
    for segment in segments {
        position.advance(segment.position);
        files.push(LogFile {
            path: log.segment(segment.position),
            size: segment.size,
            format: FileFormat::Segment,
            segment: Some(segment.position),
            rows: segment.summary.rows,
            min_event_time: segment.summary.min_event_time,
            max_event_time: segment.summary.max_event_time,
        });
    }
    LogSnapshot { position, files }
}

fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.as_ref())
}

fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Path, D::Error> {
    Path::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
