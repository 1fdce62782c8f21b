//! Writes a spine down as it comes in: its own columns, and the narrow ones that joins read.

use std::{fs::File, io::BufWriter, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::writer::StreamWriter,
};
use futures::TryStreamExt;
use larder_definitions::run::SpineDigest;
use larder_types::{Error, KeyType, Result, ScalarType, Timestamp};
use object_store::path::Path;

use super::{
    check::Needed,
    digest::SpineHasher,
    input::{Input, SpineBatch},
    pieces,
};
use crate::{
    SpillFolder,
    error::from_engine,
    plan::SpoolFile,
    widen::{NotRequest, inexact_request, to_int64, to_micros, widen, widen_request},
};

/// The column with the row number.
pub(super) const ROW: &str = "row";
/// The column with the time.
pub(super) const TIME: &str = "time";

/// The column with a join key.
pub(super) fn key_column(name: &str) -> String {
    format!("key.{name}")
}

/// The column with request data.
pub(super) fn request_column(name: &str) -> String {
    format!("request.{name}")
}

/// The spine's own column at a position.
pub(super) fn own_column(position: usize) -> String {
    format!("own.{position}")
}

/// A spine that was written down.
pub(super) struct Spooled {
    /// Its own columns, by their own names.
    pub(super) schema: SchemaRef,
    pub(super) digest: SpineDigest,
    /// The earliest and the latest time; none if it has no rows.
    pub(super) times: Option<(Timestamp, Timestamp)>,
    own: Written,
    narrow: Written,
}

struct Written {
    path: String,
    schema: SchemaRef,
}

impl Spooled {
    /// The row number and all own columns.
    pub(super) fn own(&self) -> Result<SpoolFile> {
        let columns = self.own.schema.fields().iter().map(|field| field.name().clone()).collect();
        self.own.read(columns)
    }

    /// The row number and these narrow columns.
    pub(super) fn narrow(&self, columns: impl IntoIterator<Item = String>) -> Result<SpoolFile> {
        let mut wanted = vec![ROW.to_owned()];
        for column in columns {
            if !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        self.narrow.read(wanted)
    }
}

impl Written {
    fn read(&self, columns: Vec<String>) -> Result<SpoolFile> {
        let schema = SpoolFile::schema_bytes(&self.schema).map_err(from_engine)?;
        Ok(SpoolFile { store: "file://".to_owned(), path: self.path.clone(), columns, schema })
    }
}

/// Reads a spine to its end. `INVALID_ARGUMENT` names a row without time.
pub(super) async fn write(input: Input, needed: &Needed, folder: &SpillFolder) -> Result<Spooled> {
    let Input { schema, mut batches, .. } = input;
    let mut own = Spool::create(folder, "own.arrow", own_schema(&schema))?;
    let mut narrow = Spool::create(folder, "narrow.arrow", narrow_schema(needed))?;
    let mut hasher = SpineHasher::new(&schema);
    let mut times: Option<(i64, i64)> = None;
    let mut rows = 0;
    while let Some(SpineBatch { batch, mut file }) = batches.try_next().await? {
        for batch in pieces::of(batch) {
            let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(rows..rows + batch.num_rows() as u64));
            let narrowed = narrow_columns(&batch, needed, file.as_ref(), rows)?;
            if let (Some(min), Some(max)) = (arrow::compute::min(&narrowed.times), arrow::compute::max(&narrowed.times))
            {
                times = Some(times.map_or((min, max), |(low, high)| (low.min(min), high.max(max))));
            }
            hasher.update(batch.columns(), batch.num_rows())?;
            folder.check_room()?;
            own.write(std::iter::once(&numbers).chain(batch.columns()))?;
            narrow.write(std::iter::once(&numbers).chain(&narrowed.columns))?;
            rows += batch.num_rows() as u64;
            if let Some((_, first)) = &mut file {
                *first += batch.num_rows() as u64;
            }
        }
    }
    let times = times.map(|(low, high)| (Timestamp::from_micros(low), Timestamp::from_micros(high)));
    let digest = SpineDigest { sha256: hasher.finish(), rows };
    Ok(Spooled { schema, digest, times, own: own.finish()?, narrow: narrow.finish()? })
}

fn own_schema(schema: &Schema) -> SchemaRef {
    let own = schema.fields().iter().enumerate();
    let own = own.map(|(position, field)| field.as_ref().clone().with_name(own_column(position)));
    Arc::new(Schema::new(std::iter::once(row_field()).chain(own).collect::<Vec<_>>()))
}

fn narrow_schema(needed: &Needed) -> SchemaRef {
    let mut fields = vec![row_field(), Field::new(TIME, ScalarType::Timestamp.arrow(), false)];
    fields.extend(needed.keys.iter().map(|(name, key)| Field::new(key_column(name.as_str()), key_type(*key), true)));
    let request = needed.request.iter();
    fields
        .extend(request.map(|(name, value_type)| Field::new(request_column(name.as_str()), value_type.arrow(), true)));
    Arc::new(Schema::new(fields))
}

fn row_field() -> Field {
    Field::new(ROW, DataType::UInt64, false)
}

/// Integers are keys by value, so they have one width here.
fn key_type(key: KeyType) -> DataType {
    match key {
        KeyType::Int32 | KeyType::Int64 => DataType::Int64,
        KeyType::Bool | KeyType::String | KeyType::Bytes | KeyType::Timestamp => key.scalar().arrow(),
    }
}

struct Narrow {
    times: arrow::array::TimestampMicrosecondArray,
    /// Time, keys, request data.
    columns: Vec<ArrayRef>,
}

fn narrow_columns(
    batch: &RecordBatch,
    needed: &Needed,
    file: Option<&(Arc<str>, u64)>,
    first_row: u64,
) -> Result<Narrow> {
    let column = |name: &str| {
        let found = batch.column_by_name(name);
        found.ok_or_else(|| Error::invalid_field("spine", format!("a batch has no column `{name}`")))
    };
    let times = to_micros(column(&needed.time)?)?;
    if let Some(null) = times.nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
        let place = row_name(file, first_row, null);
        return Err(Error::invalid_field("spine", format!("{place} has no time: column `{}` is null", needed.time)));
    }
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times.clone())];
    for (name, key) in &needed.keys {
        columns.push(match key {
            KeyType::Int32 | KeyType::Int64 => to_int64(column(name.as_str())?)?,
            KeyType::Bool | KeyType::String | KeyType::Bytes | KeyType::Timestamp => {
                widen(column(name.as_str())?, key.scalar().into())?
            }
        });
    }
    for (name, value_type) in &needed.request {
        let column = column(name.as_str())?;
        if let Some(NotRequest { position, why }) = inexact_request(column, *value_type)? {
            let place = row_name(file, first_row, position);
            return Err(Error::invalid_field(format!("spine.{name}"), format!("{place}: {why}")));
        }
        columns.push(widen_request(column, *value_type)?);
    }
    Ok(Narrow { times, columns })
}

/// Where a row is, counted from 1: the row at a position of a batch that begins at a row of a file, and of the spine.
fn row_name(file: Option<&(Arc<str>, u64)>, first_row: u64, position: usize) -> String {
    let number = |first: u64| first + position as u64 + 1;
    let of_spine = format!("row {} of the spine", number(first_row));
    match file {
        Some((file, first)) => format!("row {} of `{file}` ({of_spine})", number(*first)),
        None => of_spine,
    }
}

/// A file being written.
struct Spool {
    writer: StreamWriter<BufWriter<File>>,
    schema: SchemaRef,
    path: String,
}

impl Spool {
    fn create(folder: &SpillFolder, name: &str, schema: SchemaRef) -> Result<Self> {
        let path = folder.path().join(name);
        let file = File::create(&path).map_err(|error| failed(&error))?;
        let writer = StreamWriter::try_new(BufWriter::new(file), &schema).map_err(|error| failed(&error))?;
        let path = Path::from_absolute_path(&path).map_err(|error| failed(&error))?.to_string();
        Ok(Self { writer, schema, path })
    }

    fn write<'a>(&mut self, columns: impl Iterator<Item = &'a ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.cloned().collect());
        let batch = batch.map_err(|error| {
            Error::invalid_field("spine", format!("a batch does not have the columns of its schema: {error}"))
        })?;
        self.writer.write(&batch).map_err(|error| failed(&error))
    }

    fn finish(mut self) -> Result<Written> {
        self.writer.finish().map_err(|error| failed(&error))?;
        Ok(Written { path: self.path, schema: self.schema })
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::unavailable(format!("writing the spine to a temporary file: {error}"))
}
