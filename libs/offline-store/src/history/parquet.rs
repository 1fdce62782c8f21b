//! Reading a Parquet file of a source: only needed columns, only row groups that can have rows in the range.

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema},
};
use futures::{Stream, TryStreamExt};
use larder_types::{Error, Result, Timestamp};
use object_store::path::Path;
use parquet::{
    arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask},
    errors::ParquetError,
    file::{metadata::ParquetMetaData, statistics::Statistics},
};

use super::{HistorySchema, ReadCounts, SystemColumns, TimeRange, normalise::Normaliser, object_file::ObjectFile};
use crate::{storage::FoundFile, widen::micros_of};

/// What is wanted of a file.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) schema: HistorySchema,
    pub(super) system: SystemColumns,
    pub(super) range: TimeRange,
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
        let parts = path_parts(&file.place.path);
        let normaliser = Normaliser::new(name, builder.schema(), &wanted.schema, &wanted.system, &parts)?;
        let needed = normaliser.needed();
        let groups = row_groups(builder.metadata(), builder.schema(), &wanted);
        let mask = ProjectionMask::roots(builder.parquet_schema(), needed.iter().copied());
        let mut batches = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_batch_size(wanted.batch_rows)
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
pub(crate) async fn open(file: &FoundFile) -> Result<ParquetRecordBatchStreamBuilder<ObjectFile>> {
    let reader = ObjectFile::new(file.place.clone(), file.version.size);
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|error| unreadable(&file.version.path, error))
}

/// Why a file could not be read. What a store answers may be gone the next time; what is in the file will not.
pub(crate) fn unreadable(file: &str, error: ParquetError) -> Error {
    let cause = if let ParquetError::External(source) = &error { Some(source) } else { None };
    let store = cause.is_some_and(|cause| cause.is::<object_store::Error>());
    let described = if store {
        Error::unavailable(format!("reading `{file}`: {error}"))
    } else {
        Error::failed_precondition(format!("`{file}` is not a Parquet file, or was cut short or damaged: {error}"))
    };
    described.with_source(error)
}

/// The parts `name=value` of a path.
fn path_parts(path: &Path) -> Vec<(String, String)> {
    let decoded = path.parts().map(|part| part.as_ref().to_owned());
    decoded.filter_map(|part| part.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// The row groups that can have event times in the range.
fn row_groups(metadata: &ParquetMetaData, schema: &Schema, wanted: &Wanted) -> Vec<usize> {
    let all = 0..metadata.num_row_groups();
    let Ok(field) = schema.field_with_name(&wanted.system.event_time) else { return all.collect() };
    let DataType::Timestamp(unit, _) = field.data_type() else { return all.collect() };
    let path = [wanted.system.event_time.as_str()];
    let may_have_rows = |group: &usize| {
        let columns = metadata.row_group(*group).columns();
        let column = columns.iter().find(|column| column.column_path().parts() == path);
        let Some(Statistics::Int64(statistics)) = column.and_then(|column| column.statistics()) else { return true };
        let (Some(min), Some(max)) = (statistics.min_opt(), statistics.max_opt()) else { return true };
        let time = |raw: &i64| Timestamp::from_micros(micros_of(*raw, *unit));
        wanted.range.meets(time(min), time(max))
    };
    all.filter(may_have_rows).collect()
}
