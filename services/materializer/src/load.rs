//! A view's history to the online store: parts are read in batches, reduced to the latest row of each key, and written.

use std::{iter, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::TimestampMicrosecondType,
};
use bytes::Bytes;
use futures::StreamExt;
use larder_definitions::{
    ResolvedView,
    run::{Part, PartKind, Progress},
    view_rows::{ViewColumns, ViewRows},
};
use larder_offline_store::{
    SpillFolder,
    history::{CREATED_TIME, DELETED, EVENT_TIME, HistorySource, PartStream, ROW_COLUMNS, ReadCounts, TimeRange},
};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode};
use larder_types::{Clock, Error, Name, Result, Timestamp};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    latest::{KeyedRow, LatestRows},
    plan::beside,
};

/// Rows of one call to the store at most: fewer cost the embedded one a transaction each too often.
const WRITE_ROWS: usize = 65_536;

/// Of the memory for rows, the part that is encoded or written at once.
const PIECE: usize = 8;

/// However much memory there is, a piece need not be larger, nor smaller.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=16 << 20;

/// What a load works with.
pub struct Loader {
    /// Where history is.
    pub history: HistorySource,
    /// Where rows go.
    pub store: Arc<dyn OnlineStore>,
    /// Judges which rows are too old to be written.
    pub clock: Arc<dyn Clock>,
    /// How many bytes of rows are held in memory.
    pub memory: usize,
    /// Where the rest goes.
    pub spill_folder: SpillFolder,
}

/// One view's load.
pub struct Load<'a> {
    /// The project.
    pub project: &'a Name,
    /// The view.
    pub view: &'a Arc<ResolvedView>,
    /// Makes its rows.
    pub rows: Arc<ViewRows>,
    /// Later rows are left for a later run.
    pub started_at: Timestamp,
    /// Which event times are read.
    pub range: TimeRange,
}

impl Loader {
    /// Loads the parts, whose rows count on from `counts`; `progress` is told the counts now and then.
    pub async fn load(
        &self,
        load: &Load<'_>,
        parts: &[&Part],
        mode: WriteMode,
        mut counts: Progress,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Progress> {
        let mut latest = LatestRows::new(self.memory, &self.spill_folder);
        for part in parts {
            (latest, counts) = self.read(load, part, load.range, latest, counts, progress).await?;
        }
        for (part, range) in beside(load.view, parts) {
            // These rows count where they are a part.
            (latest, _) = self.read(load, &part, range.and(load.range), latest, counts, &|_| {}).await?;
        }
        self.write(load, latest, mode, counts, progress).await
    }

    async fn read(
        &self,
        load: &Load<'_>,
        part: &Part,
        range: TimeRange,
        mut latest: LatestRows,
        mut counts: Progress,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(LatestRows, Progress)> {
        let mut stream = self.history.read_part(load.project, load.view, part, range).await?;
        let refused_before = counts.refused;
        loop {
            let taken = self.take_in(load, stream, latest).await;
            let (back, kept, seen) = taken.map_err(|error| error.context(name_of(part)))?;
            (stream, latest) = (back, kept);
            let Some(seen) = seen else {
                warn_of_refused(load, part, stream.counts.refused(), counts.refused - refused_before);
                return Ok((latest, with_reader(counts, &stream.counts)));
            };
            counts.future += seen.future;
            counts.expired += seen.expired;
            counts.refused += seen.refused;
            progress(with_reader(counts, &stream.counts));
        }
    }

    /// Decodes the next batch, encodes it and keeps the latest rows, away from the threads that answer calls; nothing is seen
    /// at the end of the part.
    async fn take_in(
        &self,
        load: &Load<'_>,
        mut stream: PartStream,
        mut latest: LatestRows,
    ) -> Result<(PartStream, LatestRows, Option<Progress>)> {
        let (rows, started_at, now) = (Arc::clone(&load.rows), load.started_at, self.clock.now());
        let (keys, piece_bytes) = (load.view.key_space.keys.len(), self.piece_bytes());
        let (runtime, unwanted) = (Handle::current(), CancellationToken::new());
        // Who gives up the run does not wait for what it reads.
        let _unwanted_when_dropped = unwanted.clone().drop_guard();
        in_background(move || {
            let batch = runtime.block_on(unwanted.run_until_cancelled(stream.batches.next())).flatten();
            let Some(batch) = batch.transpose()? else { return Ok((stream, latest, None)) };
            let mut seen = Progress::default();
            for piece in pieces(&batch, piece_bytes) {
                let of_piece = offer(&rows, keys, &mut latest, &piece, started_at, now)?;
                seen.future += of_piece.future;
                seen.expired += of_piece.expired;
                seen.refused += of_piece.refused;
            }
            Ok((stream, latest, Some(seen)))
        })
        .await
    }

    fn piece_bytes(&self) -> usize {
        (self.memory / PIECE).clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end())
    }

    async fn write(
        &self,
        load: &Load<'_>,
        latest: LatestRows,
        mode: WriteMode,
        mut counts: Progress,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Progress> {
        let mut rows = in_background(move || latest.finish()).await?;
        let piece_bytes = self.piece_bytes();
        loop {
            let of_view = Arc::clone(&load.rows);
            let (back, writes) = in_background(move || {
                let chunk = next_chunk(&mut rows, piece_bytes)?;
                let writes = chunk.into_iter().map(|row| write_of(&of_view, row)).collect::<Result<Vec<_>>>()?;
                Ok((rows, writes))
            })
            .await?;
            rows = back;
            if writes.is_empty() {
                return Ok(counts);
            }
            let per_key = load.rows.row_sets().len().max(1);
            let outcomes = self.store.write(writes, mode, self.clock.now()).await?;
            for outcome in outcomes.into_iter().step_by(per_key) {
                match outcome {
                    RowOutcome::Written => counts.written += 1,
                    RowOutcome::Older | RowOutcome::Equal => counts.older += 1,
                    RowOutcome::Expired => counts.expired += 1,
                }
            }
            progress(counts);
        }
    }
}

/// A part as people know it.
fn name_of(part: &Part) -> String {
    match &part.what {
        PartKind::File(version) => format!("`{}`", version.path),
        PartKind::Log { .. } => format!("the push log of {}", part.source),
        PartKind::TimeRange { .. } => format!("source {}", part.source),
    }
}

fn warn_of_refused(load: &Load<'_>, part: &Part, nulls: u64, long_keys: u64) {
    if nulls + long_keys > 0 {
        let (view, part) = (load.view.name(), name_of(part));
        tracing::warn!(
            %view,
            part,
            null_event_time_or_key = nulls,
            key_too_long = long_keys,
            "rows were refused"
        );
    }
}

/// What was counted besides what the reader of the present part counted.
fn with_reader(counts: Progress, reader: &ReadCounts) -> Progress {
    Progress { read: counts.read + reader.read(), refused: counts.refused + reader.refused(), ..counts }
}

/// Rows of so many bytes, and one more at most.
fn next_chunk(rows: &mut impl Iterator<Item = Result<KeyedRow>>, bytes: usize) -> Result<Vec<KeyedRow>> {
    let (mut chunk, mut held) = (Vec::new(), 0);
    while chunk.len() < WRITE_ROWS && held < bytes {
        let Some(row) = rows.next().transpose()? else { break };
        held += row.key.len() + row.row.len();
        chunk.push(row);
    }
    Ok(chunk)
}

/// The batch in pieces of about so many bytes.
fn pieces(batch: &RecordBatch, bytes: usize) -> impl Iterator<Item = RecordBatch> {
    let size = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
    let all: usize = batch.columns().iter().map(size).sum();
    let rows = batch.num_rows();
    let piece = (rows * bytes / all.max(1)).clamp(1, rows.max(1));
    iter::successors(Some(0), move |begin| Some(begin + piece))
        .take_while(move |begin| *begin < rows)
        .map(move |begin| batch.slice(begin, piece.min(rows - begin)))
}

fn write_of(rows: &ViewRows, row: KeyedRow) -> Result<KeyWrite> {
    let expires_at = rows.expires_at(&row.row)?;
    Ok(KeyWrite::to_row_sets(Bytes::from(row.key), Bytes::from(row.row), rows.row_sets(), expires_at))
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("materializing stopped: {error}")).with_source(error)))
}

/// Takes the rows of a normalised batch in; counts those that are not for this run.
fn offer(
    rows: &ViewRows,
    keys: usize,
    latest: &mut LatestRows,
    batch: &RecordBatch,
    started_at: Timestamp,
    now: Timestamp,
) -> Result<Progress> {
    let mut seen = Progress::default();
    let event_times = times(batch, EVENT_TIME)?;
    let latest_time = started_at.as_micros();
    seen.future = event_times.iter().filter(|time| **time > latest_time).count() as u64;
    if seen.future > 0 {
        let is_now = event_times.iter().map(|time| Some(*time <= latest_time)).collect();
        let present = filter_record_batch(batch, &is_now).map_err(|error| Error::internal(error.to_string()))?;
        let rest = offer(rows, keys, latest, &present, started_at, now)?;
        return Ok(Progress { future: seen.future, ..rest });
    }
    let columns: Vec<ArrayRef> = batch.columns().to_vec();
    let created_times = times(batch, CREATED_TIME)?;
    let deleted = batch.column_by_name(DELETED).and_then(|column| column.as_boolean_opt());
    let columns = ViewColumns {
        keys: &columns[..keys],
        features: &columns[keys + ROW_COLUMNS.len()..],
        event_times: &event_times,
        created_times: &created_times,
        deleted: deleted.map(|deleted| deleted.values()),
    };
    let encoded = rows.encode(&columns, now)?;
    seen.expired = encoded.expired.len() as u64;
    seen.refused = encoded.refused.len() as u64;
    for row in &encoded.rows {
        latest.offer(&row.key, &row.row)?;
    }
    Ok(seen)
}

fn times(batch: &RecordBatch, name: &str) -> Result<Vec<i64>> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let column = column.ok_or_else(|| Error::internal(format!("a batch of history has no column {name}")))?;
    Ok((0..column.len()).map(|row| column.value(row)).collect())
}

#[cfg(test)]
mod tests {
    use arrow::{array::StringArray, compute::concat_batches};

    use super::*;

    #[test]
    fn batches_are_taken_in_and_rows_are_written_in_pieces_of_bytes() {
        let texts = StringArray::from_iter_values((0..100).map(|row| format!("{row:1000}")));
        let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let found: Vec<_> = pieces(&batch.slice(10, 90), 10_100).collect();
        assert!(found.iter().all(|piece| piece.num_rows() <= 10), "{found:?}");
        assert_eq!(concat_batches(&batch.schema(), &found).unwrap(), batch.slice(10, 90));
        assert_eq!(pieces(&batch, 1).map(|piece| piece.num_rows()).collect::<Vec<_>>(), [1; 100]);
        assert_eq!(pieces(&batch, usize::MAX >> 8).count(), 1);
        assert_eq!(pieces(&batch.slice(0, 0), 1).count(), 0);

        let row = |number: u8| Ok(KeyedRow { key: [number].into(), row: vec![0; 99].into() });
        let mut rows = (0..10).map(row);
        let mut chunk = || next_chunk(&mut rows, 350).unwrap().len();
        assert_eq!([chunk(), chunk(), chunk(), chunk()], [4, 4, 2, 0]);
    }
}
