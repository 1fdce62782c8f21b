//! Spines of CSV. Needed columns have the types that are needed; the types of the others are found by looking at every row
//! ([`csv_types`]), once all quotes are known to be closed ([`check_csv_quotes`]).

use std::{fs::File, path::Path as FsPath, path::PathBuf, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    csv::ReaderBuilder,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use futures::{StreamExt, stream::BoxStream};
use larder_connections::store_error;
use larder_types::{Error, ErrorCode, Result, ScalarType, Timestamp, ValueType};
use object_store::ObjectStoreExt;
use tokio::{io::AsyncWriteExt, sync::mpsc, task::spawn_blocking};

use super::{
    check::Needed,
    csv_quotes::check_csv_quotes,
    csv_types::csv_types,
    input::{Input, SpineBatch, check_same},
};
use crate::{SpillFolder, storage::FoundFile};

/// How many batches are parsed ahead.
const BATCHES_AHEAD: usize = 2;

/// Copies the files, which may lie in an object store, and finds their types.
pub(super) async fn open(path: &str, files: Vec<FoundFile>, needed: &Needed, folder: &SpillFolder) -> Result<Input> {
    let mut copies = Vec::new();
    for (index, file) in files.iter().enumerate() {
        copies.push(copy(file, folder, &format!("spine-{index}.csv")).await?);
    }
    let mut found: Option<Schema> = None;
    for (file, copy) in files.iter().zip(&copies) {
        let inferred = infer(file, copy, needed).await?;
        found = Some(match found {
            Some(known) => unite(&known, &inferred, &files[0], file)?,
            None => inferred,
        });
    }
    let found = found.unwrap_or_else(Schema::empty);
    let read = typed(&found, needed, false)?;
    let given = typed(&found, needed, true)?;
    let schema = Arc::clone(&given);
    let copied = futures::stream::iter(files.into_iter().zip(copies));
    let batches = copied.flat_map(move |(file, copy)| {
        batches(file.version.path.as_str().into(), &copy, Arc::clone(&read), Arc::clone(&schema))
    });
    let batches = batches.boxed();
    Ok(Input { name: format!("spine `{path}`"), schema: given, batches })
}

async fn copy(file: &FoundFile, folder: &SpillFolder, to: &str) -> Result<PathBuf> {
    let to = folder.path().join(to);
    let name = &file.version.path;
    let failed = |error: object_store::Error| store_error(format_args!("reading `{name}`"), error);
    let mut chunks = file.place.store.get(&file.place.path).await.map_err(failed)?.into_stream();
    let written = |error: std::io::Error| Error::unavailable(format!("copying `{name}`: {error}"));
    let mut target = tokio::fs::File::create(&to).await.map_err(written)?;
    while let Some(chunk) = chunks.next().await {
        folder.check_room()?;
        target.write_all(&chunk.map_err(failed)?).await.map_err(written)?;
    }
    target.flush().await.map_err(written)?;
    Ok(to)
}

/// Reads all of it, on a thread that may wait.
async fn infer(file: &FoundFile, copy: &FsPath, needed: &Needed) -> Result<Schema> {
    let (name, copy, needed) = (file.version.path.clone(), copy.to_owned(), needed.clone());
    let inferred = spawn_blocking(move || {
        let opened = File::open(copy).map_err(|error| Error::internal(error.to_string()))?;
        check_csv_quotes(&opened).map_err(|error| wrong_quotes(&name, error))?;
        let types = csv_types(&opened, |column| needed.type_of(column).is_some());
        types.map_err(|error| unreadable(&name, &error.to_string()))
    });
    inferred.await.map_err(|error| Error::internal(error.to_string()))?
}

fn wrong_quotes(file: &str, error: Error) -> Error {
    let error = error.context(format_args!("`{file}`"));
    let is_wrong = error.code() == ErrorCode::InvalidArgument;
    if is_wrong { Error::invalid_field("spine", error.message()) } else { error }
}

fn unreadable(file: &str, why: &str) -> Error {
    Error::invalid_field("spine", format!("`{file}` cannot be read as CSV with a header: {why}"))
}

/// One schema for both: where types differ, numbers are float64 and everything else is text.
fn unite(known: &Schema, other: &Schema, first: &FoundFile, file: &FoundFile) -> Result<Schema> {
    let names = |schema: &Schema| -> Schema {
        let field = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
        Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
    };
    check_same(&names(known), &names(other), first, file)?;
    let unite = |(a, b): (&Arc<Field>, &Arc<Field>)| {
        let data_type = match (a.data_type(), b.data_type()) {
            (a, b) if a == b => a.clone(),
            (DataType::Null, other) | (other, DataType::Null) => other.clone(),
            (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
            _ => DataType::Utf8,
        };
        Field::new(a.name(), data_type, true)
    };
    Ok(Schema::new(known.fields().iter().zip(other.fields()).map(unite).collect::<Vec<_>>()))
}

/// The types that columns are read with, or, with times parsed, given on with.
fn typed(found: &Schema, needed: &Needed, times_parsed: bool) -> Result<SchemaRef> {
    let column = |field: &Arc<Field>| {
        let data_type = match needed.type_of(field.name()) {
            Some(ValueType::Scalar(ScalarType::Timestamp)) if !times_parsed => DataType::Utf8,
            Some(ValueType::Scalar(ScalarType::Bytes) | ValueType::List(_)) => {
                return Err(Error::invalid_field(
                    format!("spine.{}", field.name()),
                    "bytes and lists cannot be read from CSV: give the spine as Parquet",
                ));
            }
            Some(ValueType::Scalar(scalar)) => scalar.arrow(),
            None if *field.data_type() == DataType::Null => DataType::Utf8,
            None => field.data_type().clone(),
        };
        Ok(Field::new(field.name(), data_type, true))
    };
    let fields = found.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn batches(name: Arc<str>, copy: &FsPath, read: SchemaRef, given: SchemaRef) -> BoxStream<'static, Result<SpineBatch>> {
    let opened = File::open(copy).map_err(|error| Error::internal(error.to_string()));
    let reader = opened.and_then(|file| {
        let builder = ReaderBuilder::new(read).with_header(true).with_batch_size(8192);
        builder.build(file).map_err(|error| unreadable(&name, &error.to_string()))
    });
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => return futures::stream::iter([Err(error)]).boxed(),
    };
    let mut first = 0;
    let parsed = reader.map(move |batch| {
        let batch = batch.map_err(|error| unreadable(&name, &error.to_string()))?;
        let rows = batch.num_rows() as u64;
        let batch = with_times(&batch, &given, &name, first)?;
        first += rows;
        Ok(SpineBatch { batch, file: Some((Arc::clone(&name), first - rows)) })
    });
    read_ahead(parsed)
}

/// Items that are made on a thread that may wait, a few ahead of who wants them.
fn read_ahead<T: Send + 'static>(
    items: impl Iterator<Item = Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let (made, mut wanted) = mpsc::channel(BATCHES_AHEAD);
    let making = spawn_blocking(move || {
        for item in items {
            if made.blocking_send(item).is_err() {
                return;
            }
        }
    });
    let items = async_stream::stream! {
        while let Some(item) = wanted.recv().await {
            yield item;
        }
        // Items of a thread that panicked are not all there are.
        if let Err(error) = making.await {
            yield Err(Error::internal(format!("reading a spine: {error}")));
        }
    };
    items.boxed()
}

/// Parses the columns that are times. Those without a zone are UTC.
fn with_times(batch: &RecordBatch, given: &SchemaRef, file: &str, first: u64) -> Result<RecordBatch> {
    let column = |(array, field): (&ArrayRef, &Arc<Field>)| -> Result<ArrayRef> {
        if array.data_type() == field.data_type() {
            return Ok(Arc::clone(array));
        }
        let texts = array.as_string::<i32>();
        let time = |(row, text): (usize, Option<&str>)| match text {
            None => Ok(None),
            Some(text) => text.trim().parse::<Timestamp>().map(|time| Some(time.as_micros())).map_err(|error| {
                let row = first + row as u64 + 1;
                Error::invalid_field("spine", format!("`{file}`: row {row}, column `{}`: {error}", field.name()))
            }),
        };
        let times = texts.iter().enumerate().map(time).collect::<Result<TimestampMicrosecondArray>>()?;
        Ok(Arc::new(times.with_data_type(field.data_type().clone())))
    };
    let columns = batch.columns().iter().zip(given.fields()).map(column).collect::<Result<_>>()?;
    RecordBatch::try_new(Arc::clone(given), columns).map_err(|error| Error::internal(error.to_string()))
}
