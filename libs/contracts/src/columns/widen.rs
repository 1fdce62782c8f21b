//! Columns of numbers in a narrower type than the one that is wanted.

use arrow::{array::ArrayRef, compute::cast, datatypes::DataType};
use larder_types::{Error, Result, ValueType};

/// A column that came for one of `wanted`: numbers may be of a narrower type that loses nothing. INVALID_ARGUMENT names the
/// field, and both types.
pub fn widen(field: impl Fn() -> String, values: &ArrayRef, wanted: ValueType) -> Result<ArrayRef> {
    let (found, target) = (values.data_type(), wanted.arrow());
    if *found == target {
        return Ok(values.clone());
    }
    let is_narrower = matches!(
        (found, &target),
        (DataType::Int32, DataType::Int64 | DataType::Float64) | (DataType::Float32, DataType::Float64)
    );
    if !is_narrower {
        return Err(wrong_type(field(), found, wanted));
    }
    cast(values, &target).map_err(|error| Error::internal(format!("{}: {error}", field())))
}

/// INVALID_ARGUMENT for a column of another type.
pub fn wrong_type(field: String, found: &DataType, wanted: ValueType) -> Error {
    let found = ValueType::from_arrow(found).map_or_else(|| found.to_string(), |found| found.to_string());
    Error::invalid_field(field, format!("has the type {found}; {wanted} is expected"))
}
