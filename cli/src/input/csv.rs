//! CSV with a line of headings. An empty place is null. A file whose quotes are wrong somewhere is not read at all.

use std::{
    fs::File,
    io::{self, Seek},
    path::Path,
};

use larder_offline_store::training::check_csv_quotes;

use super::{Cells, Column, RowFile, Rows, cell::Cell, check_distinct};
use crate::failure::{Failure, Outcome};

pub(super) struct CsvFile {
    file: String,
    size: u64,
    reader: csv::Reader<File>,
    headings: Vec<String>,
    read: u64,
}

impl CsvFile {
    pub(super) fn open(path: &Path, file: File) -> Outcome<Self> {
        let name = path.display().to_string();
        let file = checked(&name, file)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let mut reader = csv::Reader::from_reader(file);
        let headings: Vec<String> =
            reader.headers().map_err(|error| wrong(&name, &error))?.iter().map(str::to_owned).collect();
        check_distinct(&name, headings.iter().map(String::as_str))?;
        Ok(Self { file: name, size, reader, headings, read: 0 })
    }
}

impl RowFile for CsvFile {
    fn next(&mut self, max_rows: usize) -> Outcome<Option<Rows>> {
        let mut columns = vec![Vec::new(); self.headings.len()];
        let mut record = csv::StringRecord::new();
        let mut len = 0;
        while len < max_rows && self.reader.read_record(&mut record).map_err(|error| wrong(&self.file, &error))? {
            for (column, text) in columns.iter_mut().zip(&record) {
                column.push(if text.is_empty() { Cell::Null } else { Cell::Plain(text.to_owned()) });
            }
            len += 1;
        }
        let first = self.read + 1;
        self.read += len as u64;
        let column = |(name, cells): (&String, Vec<Cell>)| Column { name: name.clone(), cells: Cells::Untyped(cells) };
        let columns = self.headings.iter().zip(columns).map(column).collect();
        Ok((len > 0).then(|| Rows { file: self.file.clone(), first, len, columns }))
    }

    fn progress(&self) -> (u64, u64) {
        (self.size, self.reader.position().byte())
    }
}

/// The file at its beginning, once its quotes are known to be right. What can be read once alone, such as a pipe, is written
/// down for that.
fn checked(name: &str, mut file: File) -> Outcome<File> {
    let unread = |error: io::Error| unread(name, &error);
    if !file.metadata().map_err(unread)?.is_file() {
        let mut copy = tempfile::tempfile().map_err(unread)?;
        io::copy(&mut file, &mut copy).map_err(unread)?;
        copy.rewind().map_err(unread)?;
        file = copy;
    }
    check_csv_quotes(&file).map_err(|error| error.context(name))?;
    file.rewind().map_err(unread)?;
    Ok(file)
}

fn unread(file: &str, error: &io::Error) -> Failure {
    Failure::io(format_args!("{file} cannot be read"), error)
}

fn wrong(file: &str, error: &csv::Error) -> Failure {
    if let csv::ErrorKind::Io(error) = error.kind() {
        unread(file, error)
    } else {
        Failure::wrong(format!("{file} is not CSV: {error}"))
    }
}
