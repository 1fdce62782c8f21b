//! Spines as files on this machine.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{RecordBatch, RecordBatchReader},
    datatypes::{Field, Schema, SchemaRef},
    error::ArrowError,
    ipc::reader::{FileReader, StreamReader},
};
use larder_offline_store::training::{check_csv_quotes, csv_types};
use larder_types::{Error, ScalarType, ValueType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    failure::{Failure, Outcome},
    input::{cell::Cell, typed},
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
            "arrow" | "feather" | "ipc" => (None, arrow_batches(file).map_err(wrong)?),
            "csv" => {
                check_csv_quotes(&file).map_err(|error| error.context(&name))?;
                (None, Box::new(csv_batches(file, types).map_err(wrong)?))
            }
            _ => {
                let message = format!("{name} is of no kind that a spine can be: name it .parquet, .arrow or .csv");
                return Err(Failure::wrong(message));
            }
        };
        let csv = (kind == "csv").then(|| path.to_owned());
        Ok(Self { name, rows, batches, has_begun: false, csv })
    }

    /// Its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.batches.schema()
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
    let (line, value) = (line_of(path, record.position()?)?, Cell::Plain(record.get(column)?.to_owned()));
    let wanted = ValueType::from_arrow(field.data_type());
    let hint = match wanted {
        Some(ValueType::Scalar(ScalarType::Timestamp)) => "; write RFC 3339, e.g. 2026-01-31T08:30:00Z".to_owned(),
        Some(wanted) => format!("; {}", typed::hint(wanted)),
        None => String::new(),
    };
    let wanted = wanted.map_or_else(|| field.data_type().to_string(), |wanted| wanted.to_string());
    Some(format!("line {line}, column {}: {value} is not a value of type {wanted}{hint}", field.name()))
}

/// A record begins after the blank lines that the reader has passed over.
fn line_of(path: &Path, position: &csv::Position) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(position.byte())).ok()?;
    let bytes = BufReader::new(file).bytes().map_while(Result::ok);
    let blank = bytes.take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count();
    Some(position.line() + blank as u64)
}

fn number_after(text: &str, before: &str) -> Option<usize> {
    let (_, rest) = text.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// What an Arrow file of the format with an index at its end begins with.
const INDEXED: &[u8] = b"ARROW1";

/// An Arrow file has an index (Feather V2), or is a stream of batches.
fn arrow_batches(mut file: File) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
    let mut begin = Vec::new();
    (&file).take(INDEXED.len() as u64).read_to_end(&mut begin)?;
    file.rewind()?;
    let file = BufReader::new(file);
    if begin == INDEXED {
        Ok(Box::new(FileReader::try_new(file, None)?))
    } else {
        Ok(Box::new(StreamReader::try_new(file, None)?))
    }
}

fn csv_batches(
    mut file: File,
    types: &BTreeMap<String, ValueType>,
) -> Result<impl RecordBatchReader + Send + use<>, ArrowError> {
    let wanted = |column: &str| match types.get(column) {
        Some(ValueType::Scalar(scalar)) if *scalar != ScalarType::Bytes => Some(*scalar),
        Some(ValueType::Scalar(_) | ValueType::List(_)) | None => None,
    };
    let found = csv_types(&file, |column| wanted(column).is_some())?;
    file.rewind()?;
    let column = |field: &Arc<Field>| match wanted(field.name()) {
        Some(scalar) => Field::new(field.name(), scalar.arrow(), true),
        None => field.as_ref().clone(),
    };
    let schema = Schema::new(found.fields().iter().map(column).collect::<Vec<_>>());
    arrow_csv::ReaderBuilder::new(Arc::new(schema)).with_header(true).with_batch_size(BATCH_ROWS).build(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Int64Type},
        ipc::writer::{FileWriter, StreamWriter},
    };

    use super::*;

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

    const TIME: &str = "write RFC 3339, e.g. 2026-01-31T08:30:00Z";

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
            (
                "cid,at\n\n1,2026-11-22\n\r\n\n\nx,2026-11-22\n".to_owned(),
                "line 7, column cid: \"x\" is not a value of type int64",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = SpineFile::open(&path, &wanted).unwrap().find_map(Result::err).unwrap();
            let told = error.message().strip_prefix(&format!("{}: ", path.display())).unwrap();
            let (value, hint) = told.rsplit_once("; ").unwrap();
            assert_eq!(value, message);
            assert_eq!(hint, if message.ends_with("int64") { "write a whole number of 64 bits" } else { TIME });
        }
    }

    #[test]
    fn a_quote_of_csv_that_is_never_closed_is_told_before_any_row_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        let rows = |from, to| -> String { (from..to).map(|row| format!("C1,2026-12-01,n{row}\n")).collect() };
        for (value, told) in [
            ("\"5 inch", "line 4: a quote opens a value here and is never closed"),
            ("\"5\" inch", "line 4: text stands behind the closing quote"),
        ] {
            let text = format!("cid,at,note\n{}C1,2026-12-01,{value}\n{}", rows(0, 2), rows(2, 1_000));
            fs::write(&path, text).unwrap();
            let error = SpineFile::open(&path, &BTreeMap::new()).err().unwrap().to_string();
            assert!(error.starts_with(&format!("error: {}: {told}", path.display())), "{error}");
        }
    }

    #[test]
    fn columns_of_csv_have_the_types_that_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.csv");
        let text = "card,at,amount,label,zip\n007,2026-01-01,100,1,80331\n12,2026-01-02T10:00:00+02:00,,2,01234\n";
        fs::write(&path, text).unwrap();
        let wanted = [("card", ScalarType::String), ("at", ScalarType::Timestamp), ("amount", ScalarType::Float64)];
        let wanted = wanted.map(|(name, scalar)| (name.to_owned(), ValueType::Scalar(scalar))).into();
        let read: Vec<RecordBatch> = SpineFile::open(&path, &wanted).unwrap().collect::<Result<_, _>>().unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&read).unwrap().to_string();
        let lines: Vec<String> = text.lines().map(|line| line.replace(' ', "")).collect();
        assert_eq!(lines[3..5], ["|007|2026-01-01T00:00:00Z|100.0|1|80331|", "|12|2026-01-02T08:00:00Z||2|01234|"]);
        assert_eq!(*read[0].column(3).data_type(), DataType::Int64);
        assert_eq!(*read[0].column(4).data_type(), DataType::Utf8);
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
    fn arrow_files_are_read_with_an_index_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spine.arrow");
        let ids = Int64Array::from_iter_values(0..10);
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap();
        let read = || SpineFile::open(&path, &BTreeMap::new())?.collect::<Result<Vec<_>, _>>().map_err(Failure::Error);
        let mut file = FileWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
        file.write(&batch).unwrap();
        file.finish().unwrap();
        assert_eq!(read().unwrap(), std::slice::from_ref(&batch));
        let mut stream = StreamWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
        stream.write(&batch).unwrap();
        stream.finish().unwrap();
        assert_eq!(read().unwrap(), [batch]);
        fs::write(&path, "id\n1\n").unwrap();
        assert!(read().unwrap_err().to_string().contains("spine.arrow is not a whole .arrow file"));
    }

    #[test]
    fn files_of_other_kinds_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (file, message) in [
            ("cut.parquet", "cut.parquet is not a whole .parquet file"),
            ("a.xlsx", "name it .parquet, .arrow or .csv"),
        ] {
            let path = folder.path().join(file);
            fs::write(&path, "PAR1").unwrap();
            let error = SpineFile::open(&path, &BTreeMap::new()).err().unwrap().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
