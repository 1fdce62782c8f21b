//! Parquet files of the log: reading and writing their bytes.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use larder_connections::store_error;
use larder_types::{Error, Result};
use object_store::{ObjectStore, ObjectStoreExt, buffered::BufWriter, path::Path};
use parquet::{
    arrow::{
        AsyncArrowWriter, ProjectionMask,
        arrow_reader::ArrowReaderOptions,
        async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder},
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        properties::WriterProperties,
    },
};

use crate::{discovery::vanished, segment::BATCH_ROWS};

/// Bytes at a file's end that are read first: enough for the metadata of most.
const FOOTER_HINT: usize = 64 << 10;
const ROW_GROUP_ROWS: usize = 128 << 10;

/// A row group is in memory until it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;
/// About how many bytes of rows are decoded at once.
pub(crate) const BATCH_BYTES: u64 = 8 << 20;

/// How files are written: small row groups, so that writing and reading take little memory.
pub(crate) fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by("larder push log".to_owned())
        .build()
}

/// Starts a file that is written as it grows; it is there once the writer is closed.
pub(crate) fn create(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    schema: &SchemaRef,
) -> Result<AsyncArrowWriter<BufWriter>> {
    let upload = BufWriter::new(Arc::clone(store), path.clone());
    AsyncArrowWriter::try_new(upload, Arc::clone(schema), Some(writer_properties()))
        .map_err(|error| parquet_error(path, error))
}

/// Starts reading a file of `size` bytes, in batches of at most 8,192 rows.
pub(crate) async fn open(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    size: u64,
) -> Result<ParquetRecordBatchStreamBuilder<StoredFile>> {
    let file = StoredFile::new(Arc::clone(store), path.clone(), size);
    let builder = ParquetRecordBatchStreamBuilder::new(file).await.map_err(|error| parquet_error(path, error))?;
    Ok(builder.with_batch_size(BATCH_ROWS))
}

/// Of how many rows of these row groups and columns a batch has few megabytes; at most `most`.
pub fn batch_rows<'a>(
    groups: impl IntoIterator<Item = &'a RowGroupMetaData>,
    columns: &ProjectionMask,
    most: usize,
) -> usize {
    // Values of which a dictionary holds each once take more when they are decoded.
    let column_bytes = |column: &ColumnChunkMetaData| {
        let values = column.unencoded_byte_array_data_bytes().unwrap_or_default();
        column.uncompressed_size().max(values).max(0).unsigned_abs()
    };
    let rows = |group: &RowGroupMetaData| {
        let chosen = group.columns().iter().enumerate().filter(|(leaf, _)| columns.leaf_included(*leaf));
        let bytes: u64 = chosen.map(|(_, column)| column_bytes(column)).sum();
        let row_bytes = bytes / group.num_rows().max(1).unsigned_abs();
        usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(usize::MAX)
    };
    groups.into_iter().map(rows).min().unwrap_or(most).clamp(1, most.max(1))
}

/// What a failure to read or write a file means.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's set of errors is open")]
pub(crate) fn parquet_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<object_store::Error>() {
            Ok(missing) if matches!(*missing, object_store::Error::NotFound { .. }) => vanished(path),
            Ok(cause) => store_error(format_args!("reading or writing {path}"), *cause),
            Err(cause) => Error::unavailable(format!("reading or writing {path}: {cause}")).with_source(cause),
        },
        other => Error::data_loss(format!("the file {path} cannot be read: {other}")).with_source(other),
    }
}

/// A file in an object store, of known size, as the Parquet reader wants it.
#[derive(Debug, Clone)]
pub struct StoredFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl StoredFile {
    /// A file of `size` bytes. Nothing is read yet.
    pub fn new(store: Arc<dyn ObjectStore>, path: Path, size: u64) -> Self {
        Self { store, path, size }
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.store.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move { Ok(self.store.get_ranges(&self.path, &ranges).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new()
                .with_metadata_options(options.map(|options| options.metadata_options().clone()))
                .with_prefetch_hint(Some(FOOTER_HINT));
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}
