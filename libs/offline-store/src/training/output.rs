//! Writes a training set as one Parquet file.

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{TryStreamExt, stream::BoxStream};
use larder_connections::store_error;
use larder_types::{Error, Result};
use object_store::buffered::BufWriter;
use parquet::{
    arrow::AsyncArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use crate::storage::Place;

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 256 << 10;

/// Writes all batches. The store shows the file when it is complete: a local one under a temporary name until then, one of
/// an object store as parts. Gives the number of rows.
pub(super) async fn write(
    mut batches: BoxStream<'static, Result<RecordBatch>>,
    schema: SchemaRef,
    place: Place,
    location: &str,
    progress: impl Fn(u64) + Send,
) -> Result<u64> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let target = BufWriter::new(place.store, place.path);
    let failed = |error: ParquetError| Error::unavailable(format!("writing `{location}`: {error}")).with_source(error);
    let mut writer = AsyncArrowWriter::try_new(target, schema, Some(properties)).map_err(failed)?;
    let mut rows = 0;
    let written = async {
        while let Some(batch) = batches.try_next().await? {
            writer.write(&batch).await.map_err(failed)?;
            rows += batch.num_rows() as u64;
            progress(rows);
        }
        Ok(())
    };
    match written.await {
        Ok(()) => writer.close().await.map(|_| rows).map_err(failed),
        Err(error) => {
            let aborted = writer.into_inner().abort().await;
            if let Err(abort) = aborted {
                tracing::warn!(error = %store_error(format_args!("leaving {location}"), abort), "a part of a file is left behind");
            }
            Err(error)
        }
    }
}
