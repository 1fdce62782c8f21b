//! Parquet: it has types itself, and says how many rows there are.

use std::{fs::File, path::Path};

use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    errors::ParquetError,
};

use super::{Cells, Column, RowFile, Rows, check_distinct};
use crate::failure::{Failure, Outcome};

pub(super) struct ParquetFile {
    file: String,
    rows: u64,
    read: u64,
    reader: ParquetRecordBatchReader,
}

impl ParquetFile {
    /// Read in pieces of `max_rows`.
    pub(super) fn open(path: &Path, file: File, max_rows: usize) -> Outcome<Self> {
        let name = path.display().to_string();
        let wrong = |error: ParquetError| Failure::wrong(format!("{name} is not a whole Parquet file: {error}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(wrong)?;
        check_distinct(&name, builder.schema().fields().iter().map(|field| field.name().as_str()))?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let reader = builder.with_batch_size(max_rows).build().map_err(wrong)?;
        Ok(Self { file: name, rows, read: 0, reader })
    }
}

impl RowFile for ParquetFile {
    fn next(&mut self, _max_rows: usize) -> Outcome<Option<Rows>> {
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch.map_err(|error| Failure::wrong(format!("{} cannot be read: {error}", self.file)))?;
        let first = self.read + 1;
        self.read += batch.num_rows() as u64;
        let schema = batch.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| Column { name: field.name().clone(), cells: Cells::Typed(array.clone()) });
        Ok(Some(Rows { file: self.file.clone(), first, len: batch.num_rows(), columns: columns.collect() }))
    }

    fn progress(&self) -> (u64, u64) {
        (self.rows, self.read)
    }
}
