//! Reading one file of a snapshot.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{Field, Schema},
};
use async_stream::try_stream;
use futures::{StreamExt, stream::BoxStream};
use larder_connections::read_object;
use larder_types::{Error, Name, Result, ValueType};
use object_store::{ObjectStore, path::Path};
use parquet::arrow::ProjectionMask;

use crate::{
    FileFormat, LogFile, SYSTEM_COLUMNS,
    discovery::vanished,
    files,
    files::parquet_error,
    segment::{BATCH_ROWS, decode_segment},
};

/// The rows of `file`: system columns, then `columns` as asked for.
pub(crate) fn read(
    store: Arc<dyn ObjectStore>,
    file: LogFile,
    columns: Vec<(Name, ValueType)>,
) -> BoxStream<'static, Result<RecordBatch>> {
    match file.format {
        FileFormat::Segment => read_segment(store, file.path, columns),
        FileFormat::Parquet => read_parquet(store, file, columns),
    }
}

fn read_segment(
    store: Arc<dyn ObjectStore>,
    path: Path,
    columns: Vec<(Name, ValueType)>,
) -> BoxStream<'static, Result<RecordBatch>> {
    try_stream! {
        let bytes = read_object(store.as_ref(), &path).await?.ok_or_else(|| vanished(&path))?;
        for batch in decode_segment(path.as_ref(), &bytes)? {
            yield normalised(&path, &batch, &columns)?;
        }
    }
    .boxed()
}

fn read_parquet(
    store: Arc<dyn ObjectStore>,
    file: LogFile,
    columns: Vec<(Name, ValueType)>,
) -> BoxStream<'static, Result<RecordBatch>> {
    try_stream! {
        let builder = files::open(&store, &file.path, file.size).await?;
        let wanted = |name: &str| SYSTEM_COLUMNS.contains(&name) || columns.iter().any(|(column, _)| column == name);
        let fields = builder.schema().fields();
        let roots: Vec<_> = (0..fields.len()).filter(|index| wanted(fields[*index].name())).collect();
        let projection = ProjectionMask::roots(builder.parquet_schema(), roots);
        let rows = files::batch_rows(builder.metadata().row_groups(), &projection, BATCH_ROWS);
        let batches = builder.with_projection(projection).with_batch_size(rows).build();
        let mut batches = batches.map_err(|error| parquet_error(&file.path, error))?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| parquet_error(&file.path, error))?;
            yield normalised(&file.path, &batch, &columns)?;
        }
    }
    .boxed()
}

/// The batch with the columns asked for: as stored where they are, null where they are not.
fn normalised(path: &Path, batch: &RecordBatch, columns: &[(Name, ValueType)]) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(SYSTEM_COLUMNS.len() + columns.len());
    let mut arrays = Vec::with_capacity(fields.capacity());
    for name in SYSTEM_COLUMNS {
        let array = batch.column_by_name(name).ok_or_else(|| {
            Error::data_loss(format!("the file {path} lacks the column {name}, which every row of a push log has"))
        })?;
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(Arc::clone(array));
    }
    for (name, value_type) in columns {
        let stored = batch.column_by_name(name.as_str()).cloned();
        let array = stored.unwrap_or_else(|| new_null_array(&value_type.arrow(), batch.num_rows()));
        fields.push(Field::new(name.as_str(), array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| Error::data_loss(format!("the file {path} cannot be read: {error}")).with_source(error))
}
