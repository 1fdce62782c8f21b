//! A Parquet file in an object store, for the Parquet reader.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use object_store::ObjectStoreExt;
use parquet::{
    arrow::{arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use crate::storage::Place;

/// Bytes read at the end of a file at once: most footers fit.
const FOOTER_BYTES: usize = 64 << 10;

/// Reads one file of known size.
#[derive(Debug, Clone)]
pub(crate) struct ObjectFile {
    place: Place,
    size: u64,
}

impl ObjectFile {
    pub(super) fn new(place: Place, size: u64) -> Self {
        Self { place, size }
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for ObjectFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.place.store.get_range(&self.place.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.place.store.get_ranges(&self.place.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new()
                .with_metadata_options(options.map(|options| options.metadata_options().clone()))
                .with_prefetch_hint(usize::try_from(size).ok().map(|size| size.min(FOOTER_BYTES)));
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}
