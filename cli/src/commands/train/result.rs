//! Training sets as files on this machine.

use std::{fs::File, io::BufWriter, path::Path, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::FileWriter,
};
use larder_offline_store::training::{check_parquet, parquet_batch, parquet_schema};
use larder_types::Error;
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};

use super::super::new_file::NewFile;
use crate::failure::{Failure, Outcome};

/// A row group is in memory until it is written.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A training set, which takes its name when it is whole.
pub(super) struct ResultFile {
    file: NewFile,
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
        if path.is_dir() {
            return Err(Failure::wrong(format!("{} is a folder: name a file", path.display())));
        }
        let file = NewFile::create(path)
            .map_err(|error| Failure::io(format_args!("{} cannot be written", path.display()), &error))?;
        Ok(Self { file, is_parquet, writer: None })
    }

    /// INVALID_ARGUMENT naming a column of the spine that this kind of file cannot hold.
    pub(super) fn check_spine(&self, spine: &Schema) -> Result<(), Error> {
        if self.is_parquet { check_parquet(spine) } else { Ok(()) }
    }

    /// Adds rows; all batches have the first one's schema.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Outcome<()> {
        let written = self.writer_for(batch.schema().as_ref()).and_then(|writer| match writer {
            Writer::Parquet(writer, schema) => Ok(writer.write(&parquet_batch(batch, schema)?)?),
            Writer::Arrow(writer) => writer.write(batch),
        });
        written.map_err(|error| self.wrong(&error))
    }

    /// Makes it whole.
    pub(super) fn finish(mut self) -> Outcome<()> {
        let closed = match self.writer.take() {
            None => return Err(Failure::Error(Error::internal("the training set came without its columns"))),
            Some(Writer::Parquet(writer, _)) => writer.close().map(|_| ()).map_err(ArrowError::from),
            Some(Writer::Arrow(mut writer)) => writer.finish(),
        };
        closed.map_err(|error| self.wrong(&error))?;
        let path = self.file.path().to_owned();
        self.file.finish().map_err(|error| wrong(&path, &error.into()))
    }

    fn writer_for(&mut self, schema: &Schema) -> Result<&mut Writer, ArrowError> {
        if let Some(ref mut writer) = self.writer {
            return Ok(writer);
        }
        let (file, schema) = (self.file.file()?, Arc::new(schema.clone()));
        let writer = if self.is_parquet {
            let schema = parquet_schema(&schema);
            let properties = WriterProperties::builder().set_max_row_group_bytes(Some(ROW_GROUP_BYTES)).build();
            Writer::Parquet(Box::new(ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?), schema)
        } else {
            Writer::Arrow(Box::new(FileWriter::try_new_buffered(file, &schema)?))
        };
        Ok(self.writer.insert(writer))
    }

    fn wrong(&self, error: &ArrowError) -> Failure {
        wrong(self.file.path(), error)
    }
}

fn wrong(path: &Path, error: &ArrowError) -> Failure {
    Failure::wrong(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use arrow::{
        array::{Float64Array, Int64Array, StringArray, TimestampSecondArray},
        datatypes::{DataType, TimeUnit},
    };

    use super::{super::spine::SpineFile, *};

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
    fn of_two_at_once_each_is_whole_and_the_last_has_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.arrow");
        let begun = |id: i64| {
            let mut file = ResultFile::create(&path).unwrap();
            file.write(&RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as _)]).unwrap())
                .unwrap();
            file
        };
        let ids = || -> Vec<RecordBatch> {
            SpineFile::open(&path, &BTreeMap::new()).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let (one, other, failed) = (begun(1), begun(2), begun(3));
        other.finish().unwrap();
        assert_eq!(ids()[0].column(0).as_ref(), &Int64Array::from(vec![2]));
        one.finish().unwrap();
        drop(failed);
        assert_eq!(ids()[0].column(0).as_ref(), &Int64Array::from(vec![1]));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["set.arrow"]);
        fs::write(folder.path().join("any"), "").unwrap();
        let rights = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions();
        assert_eq!(rights("set.arrow"), rights("any"));
    }

    #[test]
    fn what_cannot_be_a_training_set_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("folder.parquet")).unwrap();
        for (path, message) in [
            ("a.xlsx", "name it .parquet"),
            ("a", "name it .parquet or .arrow"),
            ("folder.parquet", "folder.parquet is a folder"),
        ] {
            let error = ResultFile::create(&folder.path().join(path)).err().unwrap().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
