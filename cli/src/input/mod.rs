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

use arrow::array::ArrayRef;
use cell::Cell;

use crate::failure::Outcome;
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
