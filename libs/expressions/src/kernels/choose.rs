//! Functions that give one of their arguments, bit for bit.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    compute::{self, kernels::cmp, kernels::zip::zip},
    error::ArrowError,
};

use super::{compare::ordered, to_arrays};
use crate::call::Kernel;

/// Which argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The first that is not null.
    Coalesce,
    /// The smallest that is not null; of equal ones the first.
    Least,
    /// The greatest that is not null; of equal ones the first.
    Greatest,
    /// The first, unless it equals the second.
    NullIf,
}

/// Chooses among arguments of one type.
pub(crate) fn choose(choice: Choice) -> Kernel {
    Arc::new(move |arguments, rows| {
        let mut arrays = to_arrays(arguments, rows)?.into_iter();
        let Some(first) = arrays.next() else { return Err(ArrowError::ComputeError("no arguments".to_owned())) };
        arrays.try_fold(first, |chosen, next| step(choice, &chosen, &next))
    })
}

fn step(choice: Choice, chosen: &ArrayRef, next: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match choice {
        Choice::Coalesce if chosen.null_count() == 0 => Ok(Arc::clone(chosen)),
        Choice::Coalesce => zip(&compute::is_null(chosen)?, next, chosen),
        Choice::Least => zip(&takes(chosen, &cmp::lt(&ordered(next), &ordered(chosen))?)?, next, chosen),
        Choice::Greatest => zip(&takes(chosen, &cmp::gt(&ordered(next), &ordered(chosen))?)?, next, chosen),
        Choice::NullIf => compute::nullif(chosen, &cmp::eq(&ordered(chosen), &ordered(next))?),
    }
}

/// Where the next one is taken: where it is `better`, and where there is none yet.
fn takes(chosen: &ArrayRef, better: &BooleanArray) -> Result<BooleanArray, ArrowError> {
    compute::or_kleene(better, &compute::is_null(chosen)?)
}
