//! Values from outside: files of rows and `name=value` arguments, read as they are and then made into columns of the types
//! that the catalog wants. What does not fit is told with its row and column.

pub(crate) mod cell;
mod columns;
mod csv;
mod json;
mod open;
pub(crate) mod pairs;
mod parquet;
pub(crate) mod typed;

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use cell::Cell;

use crate::failure::{Failure, Outcome};
pub(crate) use open::open;

/// Some rows of a file.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// What messages call it.
    pub(crate) file: String,
    /// The number of the first one, from 1.
    pub(crate) first: u64,
    /// How many.
    pub(crate) len: usize,
    pub(crate) columns: Vec<Column>,
}

/// A column as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) cells: Cells,
}

/// Values before they have the type that is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Cells {
    /// Of a file that has types itself.
    Typed(ArrayRef),
    /// Of a file or argument that has none, or few.
    Untyped(Vec<Cell>),
}

/// Refuses names that are there twice: which of the columns is meant cannot be told.
fn check_distinct<'n>(file: &str, names: impl IntoIterator<Item = &'n str>) -> Outcome<()> {
    let mut seen = BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(twice) => {
            Err(Failure::wrong(format!("{file}: column {twice} is there twice: give each a name of its own")))
        }
        None => Ok(()),
    }
}

/// A file of rows, read piece by piece.
pub(crate) trait RowFile: Send {
    /// At most so many more rows; none at the end.
    fn next(&mut self, max_rows: usize) -> Outcome<Option<Rows>>;

    /// How large the file is, and how far it was read, in the same unit.
    fn progress(&self) -> (u64, u64);
}

impl Rows {
    /// The column of that name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The names of its columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use ::parquet::arrow::ArrowWriter;
    use arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    #[test]
    fn a_csv_file_with_a_quote_that_is_never_closed_is_not_read_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        for (text, told) in [
            ("id,note\n1,\"all\nof it\"\n2,\"cut he", "line 4: a quote opens a value here and is never closed"),
            ("id,note\n1,\"all\nof it\"\n2,\"a\"b\n", "line 4: text stands behind the closing quote"),
        ] {
            fs::write(&path, text).unwrap();
            let error = open(&path, 10).err().unwrap().to_string();
            assert!(error.starts_with(&format!("error: {}: {told}", path.display())), "{error}");
        }
        fs::write(&path, "id,note\n1,\"all\nof it\"\n").unwrap();
        assert_eq!(open(&path, 10).unwrap().next(10).unwrap().map(|rows| rows.len), Some(1));
    }

    #[test]
    fn a_column_that_is_there_twice_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let of = |file: &str, content: Vec<u8>| {
            let path = folder.path().join(file);
            fs::write(&path, content).unwrap();
            open(&path, 10).map(drop).map_err(|error| error.to_string())
        };
        let column = || Field::new("z", DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), column(), column()]));
        let values = || Arc::new(Int64Array::from(vec![1])) as _;
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![values(), values(), values()]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        for (file, content) in [("a.csv", b"a,z,z\n1,2,3\n".to_vec()), ("a.parquet", writer.into_inner().unwrap())] {
            let message = of(file, content).unwrap_err();
            assert!(
                message.ends_with(&format!("{file}: column z is there twice: give each a name of its own")),
                "{message}"
            );
        }
        of("b.csv", b"a,z,Z\n1,2,3\n".to_vec()).unwrap();
    }
}
