//! AND, OR, NOT with three values, and questions about null. All arguments are computed: nothing can fail in them.

use std::sync::Arc;

use arrow::{
    array::{AsArray, BooleanArray},
    compute,
};

use super::{to_array, to_arrays};
use crate::call::Kernel;

/// A question that always has an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Null,
    NotNull,
    True,
    NotTrue,
    False,
    NotFalse,
}

pub(crate) fn and() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        Ok(Arc::new(compute::and_kleene(arrays[0].as_boolean(), arrays[1].as_boolean())?))
    })
}

pub(crate) fn or() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        Ok(Arc::new(compute::or_kleene(arrays[0].as_boolean(), arrays[1].as_boolean())?))
    })
}

pub(crate) fn not() -> Kernel {
    Arc::new(|arguments, rows| Ok(Arc::new(compute::not(to_array(&arguments[0], rows)?.as_boolean())?)))
}

/// Answers `test`; all but the first two want a bool.
pub(crate) fn test(test: Test) -> Kernel {
    Arc::new(move |arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let is = |wanted: bool| -> BooleanArray {
            array.as_boolean().iter().map(|value| Some(value == Some(wanted))).collect()
        };
        Ok(Arc::new(match test {
            Test::Null => compute::is_null(&array)?,
            Test::NotNull => compute::is_not_null(&array)?,
            Test::True => is(true),
            Test::False => is(false),
            Test::NotTrue => compute::not(&is(true))?,
            Test::NotFalse => compute::not(&is(false))?,
        }))
    })
}
