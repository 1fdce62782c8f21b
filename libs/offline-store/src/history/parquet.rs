//! Reading a Parquet file of a source: only needed columns, only row groups that can have rows in the range.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{max, min},
    datatypes::{DataType, Schema, TimeUnit},
};
use futures::{Stream, TryStreamExt};
use larder_connections::store_error;
use larder_definitions::run::EventTimes;
use larder_push_log::{StoredFile, batch_rows};
use larder_types::{Error, Result, Timestamp};
use parquet::{
    arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask},
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        statistics::Statistics,
    },
};

use super::{HistorySchema, ReadCounts, RowColumns, TimeRange, normalise::Normaliser};
use crate::{
    hive,
    storage::FoundFile,
    widen::{micros_of, to_micros},
};

/// What is wanted of a file.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) schema: HistorySchema,
    pub(super) system: RowColumns,
    pub(super) range: TimeRange,
    /// At most; of large rows fewer.
    pub(super) batch_rows: usize,
}

/// The rows of a file, normalised. A file that was changed since it was listed is an error that names it.
pub(super) fn read(
    file: FoundFile,
    wanted: Wanted,
    counts: ReadCounts,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    async_stream::try_stream! {
        file.check_unchanged().await?;
        let builder = open(&file).await?;
        let name = &file.version.path;
        let parts = hive::columns(file.place.path.parts());
        let normaliser = Normaliser::new(name, builder.schema(), &wanted.schema, &wanted.system, &parts)?;
        let needed = normaliser.needed();
        let groups = row_groups(builder.metadata(), builder.schema(), &wanted);
        let mask = ProjectionMask::roots(builder.parquet_schema(), needed.iter().copied());
        let chosen = groups.iter().map(|group| builder.metadata().row_group(*group));
        let rows = batch_rows(chosen, &mask, wanted.batch_rows);
        let mut batches = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(rows)
            .build()
            .map_err(|error| unreadable(name, error))?;
        while let Some(batch) = batches.try_next().await.map_err(|error| unreadable(name, error))? {
            let normalised = normaliser.apply(&batch, &needed, wanted.range)?;
            counts.add(batch.num_rows(), normalised.refused);
            if normalised.batch.num_rows() > 0 {
                yield normalised.batch;
            }
        }
        file.check_unchanged().await?;
    }
}

/// Opens a Parquet file. `FAILED_PRECONDITION` naming it, where it is none or cut short.
pub(crate) async fn open(file: &FoundFile) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>> {
    let reader = StoredFile::new(Arc::clone(&file.place.store), file.place.path.clone(), file.version.size);
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| unreadable(&file.version.path, error))
}

/// Why a file could not be read. What a store answers may be gone the next time; what is in the file will not.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's set of errors is open")]
pub(crate) fn unreadable(file: &str, error: ParquetError) -> Error {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::failed_precondition(format!("`{file}` is not a Parquet file, or was cut short or damaged: {error}"))
    };
    match error {
        ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
            Ok(missing) if matches!(*missing, object_store::Error::NotFound { .. }) => {
                Error::failed_precondition(format!("`{file}` was removed while it was read")).with_source(missing)
            }
            Ok(cause) => store_error(format_args!("reading `{file}`"), *cause),
            Err(cause) => damaged(&cause).with_source(cause),
        },
        other => damaged(&other).with_source(other),
    }
}

/// The least and the greatest event time in a file, from its statistics or, where it has none, from the column; none where
/// the file has no such column of times.
pub(super) async fn event_times(file: &FoundFile, column: &str) -> Result<Option<EventTimes>> {
    file.check_unchanged().await?;
    let builder = open(file).await?;
    let Some(unit) = time_unit(builder.schema(), column) else { return Ok(None) };
    let groups = builder.metadata().row_groups().iter();
    let known: Option<Vec<_>> = groups.map(|group| times_of_group(group, column, unit)).collect();
    match known {
        Some(known) => Ok(Some(known.into_iter().reduce(EventTimes::with).unwrap_or(EventTimes::NONE))),
        None => times_of_column(builder, file, column).await.map(Some),
    }
}

/// Reads the whole column.
async fn times_of_column(
    builder: ParquetRecordBatchStreamBuilder<StoredFile>,
    file: &FoundFile,
    column: &str,
) -> Result<EventTimes> {
    let name = &file.version.path;
    let wrong = |error| unreadable(name, error);
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let mut batches = builder.with_projection(mask).build().map_err(wrong)?;
    let mut found: Option<EventTimes> = None;
    while let Some(batch) = batches.try_next().await.map_err(wrong)? {
        let times = to_micros(batch.column(0))?;
        if let (Some(first), Some(last)) = (min(&times), max(&times)) {
            let times = EventTimes { first: Timestamp::from_micros(first), last: Timestamp::from_micros(last) };
            found = Some(found.map_or(times, |found| found.with(times)));
        }
    }
    Ok(found.unwrap_or(EventTimes::NONE))
}

/// The row groups that can have event times in the range.
fn row_groups(metadata: &ParquetMetaData, schema: &Schema, wanted: &Wanted) -> Vec<usize> {
    let all = 0..metadata.num_row_groups();
    let column = &wanted.system.event_time;
    let Some(unit) = time_unit(schema, column) else { return all.collect() };
    let may_have_rows = |group: &usize| {
        let times = times_of_group(metadata.row_group(*group), column, unit);
        times.is_none_or(|times| wanted.range.meets(times.first, times.last))
    };
    all.filter(may_have_rows).collect()
}

/// None: the column is none of times. Of one that a dictionary encodes the statistics are those of its values.
fn time_unit(schema: &Schema, column: &str) -> Option<TimeUnit> {
    let found = schema.field_with_name(column).ok()?.data_type();
    let values = if let DataType::Dictionary(_, values) = found { values } else { found };
    let DataType::Timestamp(unit, _) = values else { return None };
    Some(*unit)
}

/// What the statistics say; none where they say nothing.
fn times_of_group(group: &RowGroupMetaData, column: &str, unit: TimeUnit) -> Option<EventTimes> {
    let column = group.columns().iter().find(|found| found.column_path().parts() == [column])?;
    let Some(Statistics::Int64(statistics)) = column.statistics() else { return None };
    let time = |raw: &i64| Timestamp::from_micros(micros_of(*raw, unit));
    Some(EventTimes { first: time(statistics.min_opt()?), last: time(statistics.max_opt()?) })
}
