//! A view's history to the online store: parts are read in batches, reduced to the latest row of each key, and written.

use std::{path::PathBuf, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::TimestampMicrosecondType,
};
use bytes::Bytes;
use futures::StreamExt;
use larder_definitions::{
    ResolvedView,
    run::{Part, Progress},
    view_rows::{ViewColumns, ViewRows},
};
use larder_offline_store::history::{
    CREATED_TIME, DELETED, EVENT_TIME, HistorySource, ROW_COLUMNS, ReadCounts, TimeRange,
};
use larder_online_store::{KeyWrite, OnlineStore, RowOutcome, WriteMode};
use larder_types::{Clock, Error, Name, Result, Timestamp};

use crate::{
    latest::{KeyedRow, LatestRows},
    plan::beside,
};

/// Rows of one call to the store: fewer cost the embedded one a transaction each too often.
const WRITE_ROWS: usize = 65_536;

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
    pub spill_folder: PathBuf,
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
        while let Some(batch) = stream.batches.next().await {
            let (kept, seen) = self.take_in(load, latest, batch?).await?;
            latest = kept;
            counts.future += seen.future;
            counts.expired += seen.expired;
            counts.refused += seen.refused;
            progress(with_reader(counts, &stream.counts));
        }
        Ok((latest, with_reader(counts, &stream.counts)))
    }

    /// Encodes a batch and keeps the latest rows, away from the threads that answer calls.
    async fn take_in(
        &self,
        load: &Load<'_>,
        mut latest: LatestRows,
        batch: RecordBatch,
    ) -> Result<(LatestRows, Progress)> {
        let (rows, started_at, now) = (Arc::clone(&load.rows), load.started_at, self.clock.now());
        let keys = load.view.key_space.keys.len();
        in_background(move || {
            let seen = offer(&rows, keys, &mut latest, &batch, started_at, now)?;
            Ok((latest, seen))
        })
        .await
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
        loop {
            let (back, chunk) = in_background(move || {
                let chunk: Vec<KeyedRow> = rows.by_ref().take(WRITE_ROWS).collect::<Result<_>>()?;
                Ok((rows, chunk))
            })
            .await?;
            rows = back;
            if chunk.is_empty() {
                return Ok(counts);
            }
            let writes = chunk.into_iter().map(|row| write_of(&load.rows, row)).collect::<Result<Vec<_>>>()?;
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

/// What was counted besides what the reader of the present part counted.
fn with_reader(counts: Progress, reader: &ReadCounts) -> Progress {
    Progress { read: counts.read + reader.read(), refused: counts.refused + reader.refused(), ..counts }
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
