//! Functions computed row by row: most of those on text and time, where a loop over bytes costs more than the call.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray},
    datatypes::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use larder_types::ScalarType;

use super::to_arrays;
use crate::{call::Kernel, kind::Kind};

/// One row of the arguments. Each is of the type that the function's list of parameters says.
pub(crate) struct Row<'a> {
    arguments: &'a [ArrayRef],
    row: usize,
}

impl<'a> Row<'a> {
    /// Whether the optional argument `at` was given.
    pub(crate) fn has(&self, at: usize) -> bool {
        at < self.arguments.len()
    }

    pub(crate) fn text(&self, at: usize) -> Option<&'a str> {
        let array = self.arguments[at].as_string::<i32>();
        array.is_valid(self.row).then(|| array.value(self.row))
    }

    pub(crate) fn bytes(&self, at: usize) -> Option<&'a [u8]> {
        let array = self.arguments[at].as_binary::<i32>();
        array.is_valid(self.row).then(|| array.value(self.row))
    }

    pub(crate) fn int(&self, at: usize) -> Option<i64> {
        let array = self.arguments[at].as_primitive::<Int64Type>();
        array.is_valid(self.row).then(|| array.value(self.row))
    }

    pub(crate) fn float(&self, at: usize) -> Option<f64> {
        let array = self.arguments[at].as_primitive::<Float64Type>();
        array.is_valid(self.row).then(|| array.value(self.row))
    }

    /// Microseconds since the epoch.
    pub(crate) fn time(&self, at: usize) -> Option<i64> {
        let array = self.arguments[at].as_primitive::<TimestampMicrosecondType>();
        array.is_valid(self.row).then(|| array.value(self.row))
    }
}

/// What a row gives; nothing is null.
#[derive(Clone, Copy)]
pub(crate) enum RowFunction {
    Bool(fn(&Row<'_>) -> Option<bool>),
    Int(fn(&Row<'_>) -> Option<i64>),
    Float(fn(&Row<'_>) -> Option<f64>),
    Text(fn(&Row<'_>) -> Option<String>),
    Time(fn(&Row<'_>) -> Option<i64>),
}

impl RowFunction {
    pub(crate) fn returns(self) -> ScalarType {
        match self {
            Self::Bool(_) => ScalarType::Bool,
            Self::Int(_) => ScalarType::Int64,
            Self::Float(_) => ScalarType::Float64,
            Self::Text(_) => ScalarType::String,
            Self::Time(_) => ScalarType::Timestamp,
        }
    }

    pub(crate) fn kernel(self) -> Kernel {
        Arc::new(move |arguments, rows| {
            let arguments = to_arrays(arguments, rows)?;
            let all = (0..rows).map(|row| Row { arguments: &arguments, row });
            Ok(match self {
                Self::Bool(f) => Arc::new(all.map(|row| f(&row)).collect::<BooleanArray>()),
                Self::Int(f) => Arc::new(all.map(|row| f(&row)).collect::<Int64Array>()),
                Self::Float(f) => {
                    Arc::new(all.map(|row| f(&row).map(super::arithmetic::quiet)).collect::<Float64Array>())
                }
                Self::Text(f) => Arc::new(all.map(|row| f(&row)).collect::<StringArray>()),
                Self::Time(f) => {
                    let instants: TimestampMicrosecondArray = all.map(|row| f(&row)).collect();
                    Arc::new(instants.with_data_type(Kind::TIMESTAMP.arrow()))
                }
            })
        })
    }
}
