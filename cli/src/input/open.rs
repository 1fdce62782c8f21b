//! Which kind of file it is: by its name.

use std::{fs::File, path::Path};

use super::{RowFile, csv::CsvFile, json::JsonFile, parquet::ParquetFile};
use crate::failure::{Failure, Outcome};

/// Opens a file of rows, to be read in pieces of at most `max_rows`.
pub(crate) fn open(path: &Path, max_rows: usize) -> Outcome<Box<dyn RowFile>> {
    let name = path.display();
    let file = File::open(path).map_err(|error| Failure::io(format_args!("{name} cannot be opened"), &error))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(Box::new(CsvFile::open(path, file)?)),
        Some("jsonl" | "ndjson") => Ok(Box::new(JsonFile::lines(path, file))),
        Some("json") => Ok(Box::new(JsonFile::whole(path, file)?)),
        Some("parquet" | "pq") => Ok(Box::new(ParquetFile::open(path, file, max_rows)?)),
        Some(_) | None => Err(Failure::wrong(format!(
            "{name} is of no kind that can be read: name it .csv, .jsonl, .json or .parquet"
        ))),
    }
}
