//! Spines and training sets as files on this machine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, RecordBatchReader},
    datatypes::{Field, Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
};
use larder_offline_store::training::{parquet_batch, parquet_schema};
use larder_types::{Error, ScalarType, ValueType};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

use crate::{
    failure::{Failure, Outcome},
    input::cell::Cell,
};

/// Rows in a batch of a spine.
const BATCH_ROWS: usize = 8_192;

/// A spine, batch by batch.
pub(super) struct SpineFile {
    name: String,
    rows: Option<u64>,
    batches: Box<dyn RecordBatchReader + Send>,
    has_begun: bool,
    /// Where the text lies that its values are read from.
    csv: Option<PathBuf>,
}

impl SpineFile {
    /// Parquet, Arrow or CSV, by the name of the file. Columns of CSV have the `types` that are wanted of them; those of the
    /// others are found by reading all of it.
    pub(super) fn open(path: &Path, types: &BTreeMap<String, ValueType>) -> Outcome<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::io(format_args!("{name} cannot be opened"), &error))?;
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_owned();
        let wrong = |error: ArrowError| Failure::wrong(format!("{name} is not a whole .{kind} file: {error}"));
        let (rows, batches): (_, Box<dyn RecordBatchReader + Send>) = match kind.as_str() {
            "parquet" | "pq" => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(error.into()))?;
                let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
                let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| wrong(error.into()))?;
                (rows, Box::new(reader))
            }
            "arrow" | "feather" | "ipc" => {
                (None, Box::new(FileReader::try_new(BufReader::new(file), None).map_err(wrong)?))
            }
            "csv" => (None, Box::new(csv_batches(file, types).map_err(wrong)?)),
            _ => {
                let message = format!("{name} is of no kind that a spine can be: name it .parquet, .arrow or .csv");
                return Err(Failure::wrong(message));
            }
        };
        let csv = (kind == "csv").then(|| path.to_owned());
        Ok(Self { name, rows, batches, has_begun: false, csv })
    }

    /// How many rows it has, where the file says so.
    pub(super) fn rows(&self) -> Option<u64> {
        self.rows
    }
}

impl Iterator for SpineFile {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.next() {
            // Its columns tell what it is, though it has no rows.
            None if !self.has_begun => {
                self.has_begun = true;
                Some(Ok(RecordBatch::new_empty(self.batches.schema())))
            }
            None => None,
            Some(batch) => {
                self.has_begun = true;
                Some(batch.map_err(|error| self.wrong(&error)))
            }
        }
    }
}

impl SpineFile {
    fn wrong(&self, error: &ArrowError) -> Error {
        let value = self.csv.as_deref().and_then(|path| wrong_value(path, &self.batches.schema(), error));
        Error::invalid_argument(match value {
            Some(value) => format!("{}: {value}", self.name),
            None => format!("{} cannot be read: {error}", self.name),
        })
    }
}

/// The value that is none of its column's type, with its place in the file. The reader knows the positions of column and
/// row; what lines the row has, with line breaks in values, is found by reading up to it.
fn wrong_value(path: &Path, schema: &Schema, error: &ArrowError) -> Option<String> {
    let ArrowError::ParseError(text) = error else { return None };
    let (column, row) = (number_after(text, " column ")?, number_after(text, " at line ")?.checked_sub(1)?);
    let field = schema.fields().get(column)?;
    let mut file = csv::Reader::from_path(path).ok()?;
    let record = file.records().nth(row)?.ok()?;
    let (line, value) = (record.position()?.line(), Cell::Plain(record.get(column)?.to_owned()));
    let wanted = ValueType::from_arrow(field.data_type());
    let wanted = wanted.map_or_else(|| field.data_type().to_string(), |wanted| wanted.to_string());
    Some(format!("line {line}, column {}: {value} is not a value of type {wanted}", field.name()))
}

fn number_after(text: &str, before: &str) -> Option<usize> {
    let (_, rest) = text.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn csv_batches(
    mut file: File,
    types: &BTreeMap<String, ValueType>,
) -> Result<impl RecordBatchReader + Send + use<>, ArrowError> {
    let format = arrow_csv::reader::Format::default().with_header(true);
    let (found, _): (Schema, usize) = format.infer_schema(BufReader::new(&file), None)?;
    file.rewind()?;
    let column = |field: &Arc<Field>| match types.get(field.name()) {
        Some(ValueType::Scalar(scalar)) if *scalar != ScalarType::Bytes => {
            Field::new(field.name(), scalar.arrow(), true)
        }
        Some(ValueType::Scalar(_) | ValueType::List(_)) | None => field.as_ref().clone(),
    };
    let schema = Schema::new(found.fields().iter().map(column).collect::<Vec<_>>());
    arrow_csv::ReaderBuilder::new(Arc::new(schema)).with_format(format).with_batch_size(BATCH_ROWS).build(file)
}

/// A file that takes its name when it is whole, and is gone where it never becomes so.
pub(super) struct ResultFile {
    path: PathBuf,
    partial: PathBuf,
    is_parquet: bool,
    writer: Option<Writer>,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>, SchemaRef),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl ResultFile {
    /// Parquet or Arrow, by the name of the file.
    pub(super) fn create(path: &Path) -> Outcome<Self> {
        let is_parquet = match path.extension().and_then(|extension| extension.to_str()) {
            Some("parquet" | "pq") => true,
            Some("arrow" | "feather" | "ipc") => false,
            Some(_) | None => {
                let name = path.display();
                return Err(Failure::wrong(format!(
                    "{name} is of no kind that can be written: name it .parquet or .arrow"
                )));
            }
        };
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        File::create(&partial)
            .map_err(|error| Failure::io(format_args!("{} cannot be written", path.display()), &error))?;
        Ok(Self { path: path.to_owned(), partial, is_parquet, writer: None })
    }

    /// Adds rows; all batches have the first one's schema.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Outcome<()> {
        let written = self.writer_for(batch.schema().as_ref()).and_then(|writer| match writer {
            Writer::Parquet(writer, schema) => Ok(writer.write(&parquet_batch(batch, schema)?)?),
            Writer::Arrow(writer) => writer.write(batch),
        });
        written.map_err(|error| self.wrong(&error))
    }

    /// Makes it whole. What had its name before is there until this one outlives the machine.
    pub(super) fn finish(mut self) -> Outcome<()> {
        let closed = match self.writer.take() {
            None => return Err(Failure::wrong("the spine has no rows, so the training set has none either")),
            Some(Writer::Parquet(writer, _)) => writer.close().map(|_| ()).map_err(ArrowError::from),
            Some(Writer::Arrow(mut writer)) => writer.finish(),
        };
        let named = closed.and_then(|()| self.take_name().map_err(ArrowError::from));
        named.map_err(|error| self.wrong(&error))
    }

    fn take_name(&self) -> io::Result<()> {
        File::options().write(true).open(&self.partial)?.sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        // Windows cannot open a folder as a file; its journal keeps names.
        if cfg!(unix) { File::open(folder_of(&self.path))?.sync_all() } else { Ok(()) }
    }

    fn writer_for(&mut self, schema: &Schema) -> Result<&mut Writer, ArrowError> {
        if let Some(ref mut writer) = self.writer {
            return Ok(writer);
        }
        let (file, schema) = (File::create(&self.partial)?, Arc::new(schema.clone()));
        let writer = if self.is_parquet {
            let schema = parquet_schema(&schema);
            Writer::Parquet(Box::new(ArrowWriter::try_new(file, Arc::clone(&schema), None)?), schema)
        } else {
            Writer::Arrow(Box::new(FileWriter::try_new_buffered(file, &schema)?))
        };
        Ok(self.writer.insert(writer))
    }

    fn wrong(&self, error: &ArrowError) -> Failure {
        Failure::wrong(format!("{} cannot be written: {error}", self.path.display()))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        // Gone already where it was renamed; nothing can be done where it cannot be removed.
        let _ = fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Float64Array, Int64Array, StringArray, TimestampSecondArray},
        datatypes::{DataType, Field, Int64Type, TimeUnit},
    };

    use super::*;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("customer_id", Arc::new(StringArray::from(vec!["a", "b"])) as _),
            ("score", Arc::new(Float64Array::from(vec![Some(f64::NAN), None])) as _),
        ])
        .unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_and_only_whole_files_have_the_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["set.parquet", "set.arrow"] {
            let path = folder.path().join(name);
            let mut file = ResultFile::create(&path).unwrap();
            file.write(&batch()).unwrap();
            assert!(!path.exists());
            file.finish().unwrap();
            let read: Vec<RecordBatch> =
                SpineFile::open(&path, &BTreeMap::new()).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", [batch()]));
        }
        let mut abandoned = ResultFile::create(&folder.path().join("other.parquet")).unwrap();
        abandoned.write(&batch()).unwrap();
        drop(abandoned);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_without_a_folder_is_in_the_one_where_we_are() {
        for (path, folder) in [("set.parquet", "."), ("sets/set.parquet", "sets"), ("/set.parquet", "/")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder));
        }
    }

    #[test]
    fn times_in_seconds_are_times_in_parquet_too() {
        let folder = tempfile::tempdir().unwrap();
        let times = TimestampSecondArray::from(vec![1, -1]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([("t", Arc::new(times) as _)]).unwrap();
        for (name, unit) in [("set.parquet", TimeUnit::Millisecond), ("set.arrow", TimeUnit::Second)] {
            let path = folder.path().join(name);
            let mut file = ResultFile::create(&path).unwrap();
            file.write(&batch).unwrap();
            file.finish().unwrap();
            let read: Vec<RecordBatch> =
                SpineFile::open(&path, &BTreeMap::new()).unwrap().collect::<Result<_, _>>().unwrap();
            let expected = DataType::Timestamp(unit, Some("UTC".into()));
            assert_eq!(read[0].column(0), &arrow::compute::cast(batch.column(0), &expected).unwrap());
        }
    }

    #[test]
    fn columns_of_csv_get_the_types_of_all_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        fs::write(&path, "customer_id,event_timestamp,label\nC1,2026-01-01T00:00:00Z,1\nC2,2026-01-02T00:00:00Z,\n")
            .unwrap();
        let read: Vec<RecordBatch> =
            SpineFile::open(&path, &BTreeMap::new()).unwrap().collect::<Result<_, _>>().unwrap();
        let schema = read[0].schema();
        assert_eq!(schema.field(0), &Field::new("customer_id", DataType::Utf8, true));
        assert!(matches!(schema.field(1).data_type(), DataType::Timestamp(..)), "{schema}");
        assert_eq!(read[0].column(2).as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(1), None]));
    }

    #[test]
    fn a_value_of_csv_that_is_none_of_its_type_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        let wanted = [("cid", ScalarType::Int64), ("at", ScalarType::Timestamp)];
        let wanted = wanted.map(|(name, scalar)| (name.to_owned(), ValueType::Scalar(scalar))).into();
        for (text, message) in [
            ("cid,at\nabc,2026-11-22\n".to_owned(), "line 2, column cid: \"abc\" is not a value of type int64"),
            (
                format!("note,cid,at\n{}\"two\nlines\",2,2026-11-22\n,3,never\n", ",1,2026-11-22\n".repeat(20_000)),
                "line 20004, column at: \"never\" is not a value of type timestamp",
            ),
            (
                format!("cid,at\n{}x,2026-11-22\n", "1,2026-11-22\n".repeat(20_000)),
                "line 20002, column cid: \"x\" is not a value of type int64",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = SpineFile::open(&path, &wanted).unwrap().find_map(Result::err).unwrap();
            assert_eq!(error.message(), format!("{}: {message}", path.display()));
        }
    }

    #[test]
    fn columns_of_csv_have_the_types_that_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        fs::write(&path, "card,at,amount,label\n007,2026-01-01,100,1\n12,2026-01-02T10:00:00+02:00,,2\n").unwrap();
        let wanted = [("card", ScalarType::String), ("at", ScalarType::Timestamp), ("amount", ScalarType::Float64)];
        let wanted = wanted.map(|(name, scalar)| (name.to_owned(), ValueType::Scalar(scalar))).into();
        let read: Vec<RecordBatch> = SpineFile::open(&path, &wanted).unwrap().collect::<Result<_, _>>().unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&read).unwrap().to_string();
        let lines: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
        assert_eq!(lines[3..5], ["|007|2026-01-01T00:00:00Z|100.0|1|", "|12|2026-01-02T08:00:00Z||2|"]);
    }

    #[test]
    fn a_spine_without_rows_has_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        fs::write(&path, "card,at\n").unwrap();
        let read: Vec<RecordBatch> =
            SpineFile::open(&path, &BTreeMap::new()).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read.iter().map(|batch| (batch.num_rows(), batch.num_columns())).collect::<Vec<_>>(), [(0, 2)]);
    }

    #[test]
    fn files_of_other_kinds_are_refused_by_name() {
        for (path, message) in [("a.xlsx", "name it .parquet"), ("a", "name it .parquet or .arrow")] {
            let error = ResultFile::create(Path::new(path)).err().unwrap().to_string();
            assert!(error.contains(message), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let cut = folder.path().join("cut.parquet");
        fs::write(&cut, "PAR1").unwrap();
        let error = SpineFile::open(&cut, &BTreeMap::new()).err().unwrap().to_string();
        assert!(error.contains("cut.parquet is not a whole .parquet file"), "{error}");
    }
}
