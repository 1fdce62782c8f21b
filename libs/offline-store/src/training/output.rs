//! Writes a training set as one Parquet file, durably, and over nothing but an earlier one.

use std::{io, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{TryStreamExt, stream::BoxStream};
use larder_connections::store_error;
use larder_types::{Error, ErrorCode, Result};
use object_store::{ObjectStoreExt, buffered::BufWriter};
use parquet::{
    arrow::AsyncArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::{
    input::named,
    parquet_columns::{check_parquet, parquet_batch, parquet_schema},
};
use crate::storage::{Place, Roots};

/// Rows of a row group.
const ROW_GROUP_ROWS: usize = 256 << 10;

/// A row group is in memory until it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// What a Parquet file begins and ends with.
const MAGIC: &[u8] = b"PAR1";

/// What it can be called.
const EXTENSION: &str = "parquet";

/// A file that a training set may be written to.
#[derive(Debug, Clone)]
pub struct Output {
    pub(super) location: String,
    /// Where writes are durable.
    pub(super) place: Place,
}

impl Output {
    /// Where it is, as it was named.
    pub fn location(&self) -> &str {
        &self.location
    }

    pub(super) async fn open(roots: &Roots, location: &str, read: &[(String, String)]) -> Result<Self> {
        let found = roots.place(location).map_err(|error| named("output", error))?;
        let wrong = |why: String| Error::invalid_field("output", format!("`{location}` {why}"));
        if location.contains(['*', '?', '[']) {
            return Err(wrong("is a pattern, in which `*`, `?` and `[` stand for others: name one file".to_owned()));
        }
        if found.path.extension() != Some(EXTENSION) {
            return Err(wrong("is written as Parquet: name it .parquet".to_owned()));
        }
        if found.is_folder() {
            return Err(wrong("is a folder: name a file, in it or beside it".to_owned()));
        }
        if let Some((what, path)) = read.iter().find(|(_, path)| roots.lists(path, EXTENSION, &found)) {
            return Err(wrong(format!("is among the files of {what} (`{path}`): name another place")));
        }
        check_replaceable(&found, location).await?;
        Ok(Self { location: location.to_owned(), place: roots.durable_place(location)? })
    }
}

/// What is replaced is a Parquet file too.
async fn check_replaceable(place: &Place, location: &str) -> Result<()> {
    let reading = |error| store_error(format_args!("reading `{location}`"), error);
    let size = match place.store.head(&place.path).await {
        Ok(meta) => meta.size,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(reading(error)),
    };
    let length = MAGIC.len() as u64;
    if size >= 2 * length {
        let ends = [0..length, size - length..size];
        let ends = place.store.get_ranges(&place.path, &ends).await.map_err(reading)?;
        if ends.iter().all(|end| end == MAGIC) {
            return Ok(());
        }
    }
    let message = format!("`{location}` is there and is no Parquet file: only an earlier training set is replaced");
    Err(Error::new(ErrorCode::AlreadyExists, message))
}

/// Writes all batches. The store shows the file when it is complete: a local one under a temporary name until then, one of
/// an object store as parts. Gives the number of rows.
pub(super) async fn write(
    mut batches: BoxStream<'static, Result<RecordBatch>>,
    schema: SchemaRef,
    output: &Output,
    progress: impl Fn(u64) + Send,
) -> Result<u64> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build();
    let Output { location, place } = output;
    let target = BufWriter::new(Arc::clone(&place.store), place.path.clone());
    let failed = |error| not_written(location, error);
    check_parquet(&schema)?;
    let schema = parquet_schema(&schema);
    let mut writer = AsyncArrowWriter::try_new(target, Arc::clone(&schema), Some(properties)).map_err(failed)?;
    let no_parquet = |error| Error::invalid_argument(format!("`{location}` cannot hold the spine: {error}"));
    let mut rows = 0;
    let written = async {
        while let Some(batch) = batches.try_next().await? {
            writer.write(&parquet_batch(&batch, &schema).map_err(no_parquet)?).await.map_err(failed)?;
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

/// Why a file could not be written: what its store said, through all that it came by.
fn not_written(location: &str, error: ParquetError) -> Error {
    let unexplained = |why: &dyn std::fmt::Display| Error::unavailable(format!("writing `{location}`: {why}"));
    let ParquetError::External(cause) = error else { return unexplained(&error).with_source(error) };
    let cause = match cause.downcast::<io::Error>() {
        Ok(wrapped) => match wrapped.downcast::<object_store::Error>() {
            Ok(cause) => Box::new(cause) as Box<dyn std::error::Error + Send + Sync>,
            Err(wrapped) => Box::new(wrapped),
        },
        Err(cause) => cause,
    };
    match cause.downcast::<object_store::Error>() {
        Ok(cause) => store_error(format_args!("writing `{location}`"), *cause),
        Err(cause) => unexplained(&cause).with_source(cause),
    }
}
