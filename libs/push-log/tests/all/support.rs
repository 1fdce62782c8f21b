//! A log with a naive model beside it: a map of what was acknowledged.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::TryStreamExt;
use larder_push_log::{
    Compactor, CompactorOptions, LogPosition, LogSchema, LogSnapshot, PushLog, PushLogWriter, PushedRows,
    SegmentPosition, WriterOptions,
};
use larder_types::{Error, ErrorCode, ManualClock, Name, ScalarType, SchemaNumber, Timestamp, ValueType};
use object_store::{ObjectStore, path::Path};

/// What makes a row the same row.
pub(crate) type Identity = (String, i32);

/// What a row says: event time, created time, key, value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) created: i64,
    pub(crate) event: i64,
    pub(crate) key: i64,
    pub(crate) value: i64,
}

pub(crate) const DAY: i64 = 86_400_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn int64() -> ValueType {
    ValueType::Scalar(ScalarType::Int64)
}

pub(crate) fn schema() -> LogSchema {
    LogSchema::new([(name("key"), int64()), (name("value"), int64())]).unwrap()
}

/// Rows of one batch.
pub(crate) fn rows(batch_id: &str, contents: &[Content]) -> RecordBatch {
    let pushed = PushedRows {
        batch_id,
        ingested_at: Timestamp::from_micros(7),
        schema_number: SchemaNumber(1),
        row_numbers: (0..i32::try_from(contents.len()).unwrap()).collect(),
        event_times: contents.iter().map(|row| Timestamp::from_micros(row.event)).collect(),
        created_times: contents.iter().map(|row| Timestamp::from_micros(row.created)).collect(),
        deleted: contents.iter().map(|row| row.value < 0).collect(),
    };
    let column = |of: fn(&Content) -> i64| Arc::new(contents.iter().map(of).collect::<Int64Array>());
    let values: Vec<(Name, Arc<dyn Array>)> =
        vec![(name("value"), column(|row| row.value)), (name("key"), column(|row| row.key))];
    schema().batch(&pushed, values).unwrap()
}

pub(crate) fn contents(count: usize, seed: i64) -> Vec<Content> {
    let row = |at: i64| Content {
        created: seed * 1_000 + at,
        event: (seed + at) % 3 * DAY,
        key: (seed * 7 + at) % 5,
        value: seed * 1_000_000 + at,
    };
    (0..i64::try_from(count).unwrap()).map(row).collect()
}

/// A log in a store.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) clock: ManualClock,
    pub(crate) project: Name,
    pub(crate) source: Name,
    pub(crate) options: CompactorOptions,
}

impl Log {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            clock: ManualClock::at("2026-01-31T08:30:00Z".parse().unwrap()),
            project: name("payments"),
            source: name("events"),
            options: CompactorOptions { merge_from: 3, max_step_bytes: 8_000, ..CompactorOptions::default() },
        }
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()))
    }

    pub(crate) fn writer(&self) -> PushLogWriter {
        self.writer_with(WriterOptions::default())
    }

    pub(crate) fn writer_with(&self, options: WriterOptions) -> PushLogWriter {
        PushLogWriter::open(Arc::clone(&self.store), Path::from("log"), options, &self.clock)
    }

    pub(crate) fn reader(&self) -> PushLog {
        PushLog::open(Arc::clone(&self.store), Path::from("log"))
    }

    pub(crate) fn compactor(&self) -> Compactor {
        let clock = Arc::new(self.clock.clone());
        Compactor::new(Arc::clone(&self.store), Path::from("log"), self.options.clone(), clock)
    }

    pub(crate) fn path(&self, under: &str) -> Path {
        Path::parse(format!("log/{}/{}/{under}", self.project, self.source)).unwrap()
    }

    pub(crate) async fn append(
        &self,
        writer: &PushLogWriter,
        batch_id: &str,
        contents: &[Content],
    ) -> Result<SegmentPosition, larder_push_log::AppendError> {
        writer.append(&self.project, &self.source, rows(batch_id, contents)).await
    }

    pub(crate) async fn compact(&self) -> Result<larder_push_log::CompactionReport, Error> {
        self.compactor().compact(&self.project, &self.source, &[name("key")]).await
    }

    pub(crate) async fn sweep(&self) -> Result<larder_push_log::SweepReport, Error> {
        self.compactor().sweep(&self.project, &self.source).await
    }

    pub(crate) async fn snapshot(&self, since: Option<&LogPosition>) -> Result<LogSnapshot, Error> {
        self.reader().snapshot(&self.project, &self.source, since).await
    }

    /// The rows of a snapshot, each as often as it is there.
    pub(crate) async fn read(&self, snapshot: &LogSnapshot) -> Result<Vec<(Identity, Content)>, Error> {
        let columns = [(name("key"), int64()), (name("value"), int64())];
        let mut found = Vec::new();
        for file in &snapshot.files {
            let batches: Vec<_> = self.reader().read_file(file, &columns).try_collect().await?;
            let of_file: Vec<_> = batches.iter().flat_map(unpack).collect();
            assert_eq!(of_file.len() as u64, file.rows, "{}", file.path);
            found.extend(of_file);
        }
        Ok(found)
    }

    /// Takes a snapshot and reads it, again when files vanished or the store failed.
    pub(crate) async fn read_since(&self, since: Option<&LogPosition>) -> (LogPosition, Vec<(Identity, Content)>) {
        loop {
            let result = async {
                let snapshot = self.snapshot(since).await?;
                let found = self.read(&snapshot).await?;
                Ok((snapshot.position, found))
            };
            match result.await {
                Ok(read) => return read,
                Err(error) => assert_eq!(Error::code(&error), ErrorCode::Unavailable, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    }
}

fn unpack(batch: &RecordBatch) -> Vec<(Identity, Content)> {
    assert!(batch.num_rows() <= 8_192);
    let time = |column: usize| batch.column(column).as_primitive::<TimestampMicrosecondType>();
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    let row = |at: usize| {
        let identity = (
            batch.column(3).as_string::<i32>().value(at).to_owned(),
            batch.column(4).as_primitive::<Int32Type>().value(at),
        );
        let content = Content {
            event: time(0).value(at),
            created: time(1).value(at),
            key: number(7).value(at),
            value: number(8).value(at),
        };
        assert_eq!(batch.column(6).as_boolean().value(at), content.value < 0);
        (identity, content)
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Of each row the content with the greatest created time.
pub(crate) fn deduped(found: impl IntoIterator<Item = (Identity, Content)>) -> BTreeMap<Identity, Content> {
    let mut best: BTreeMap<Identity, Content> = BTreeMap::new();
    for (identity, content) in found {
        let known = best.entry(identity).or_insert(content);
        *known = content.max(*known);
    }
    best
}

pub(crate) fn identified(batch_id: &str, contents: &[Content]) -> Vec<(Identity, Content)> {
    (0..).zip(contents).map(|(number, content)| ((batch_id.to_owned(), number), *content)).collect()
}
