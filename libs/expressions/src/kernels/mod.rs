//! What operators and functions compute, over Arrow values. Every kernel is total: a row without a result is null.

pub(crate) mod arithmetic;
pub(crate) mod cast;
pub(crate) mod choose;
pub(crate) mod compare;
pub(crate) mod list;
pub(crate) mod logic;
pub(crate) mod rows;
pub(crate) mod text;
pub(crate) mod time;

use arrow::{array::ArrayRef, error::ArrowError};
use datafusion_expr::ColumnarValue;

/// An argument as an array, one value per row.
fn to_array(value: &ColumnarValue, rows: usize) -> Result<ArrayRef, ArrowError> {
    value.to_array(rows).map_err(ArrowError::from)
}

/// All arguments as arrays, one value per row.
fn to_arrays(arguments: &[ColumnarValue], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    arguments.iter().map(|argument| to_array(argument, rows)).collect()
}
