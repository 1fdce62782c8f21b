//! Functions on lists. Positions count from 1, from the end where they are negative.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, BooleanArray, Int64Array, ListArray, UInt64Array, UInt64Builder},
    compute::{kernels::cmp, take},
    datatypes::Int64Type,
    error::ArrowError,
};

use super::{compare::ordered, to_array, to_arrays};
use crate::call::Kernel;

/// How many items, null ones too.
pub(crate) fn cardinality() -> Kernel {
    Arc::new(|arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let lists = array.as_list::<i32>();
        let length = |row| lists.is_valid(row).then(|| i64::from(lists.value_length(row)));
        Ok(Arc::new((0..rows).map(length).collect::<Int64Array>()))
    })
}

/// The item at a position; null where there is none.
pub(crate) fn element() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        let (lists, positions) = (arrays[0].as_list::<i32>(), arrays[1].as_primitive::<Int64Type>());
        let index = |row| {
            let (start, length) = bounds(lists, row)?;
            let position = positions.is_valid(row).then(|| positions.value(row))?;
            let from_start = if position < 0 { length.checked_add(position)? } else { position - 1 };
            (position != 0 && (0..length).contains(&from_start)).then(|| u64::try_from(start + from_start).ok())?
        };
        take(lists.values(), &(0..rows).map(index).collect::<UInt64Array>(), None)
    })
}

/// Whether an item equals a value; null where the list or the value is, or only a null could be it.
pub(crate) fn has() -> Kernel {
    Arc::new(|arguments, rows| {
        let arrays = to_arrays(arguments, rows)?;
        let lists = arrays[0].as_list::<i32>();
        let answer = |row| -> Result<Option<bool>, ArrowError> {
            if lists.is_null(row) || arrays[1].is_null(row) {
                return Ok(None);
            }
            let items = ordered(&lists.value(row));
            let value = arrow::array::Scalar::new(ordered(&arrays[1].slice(row, 1)));
            let equal = cmp::eq(&items, &value)?;
            Ok(if equal.has_true() { Some(true) } else { (items.null_count() == 0).then_some(false) })
        };
        Ok(Arc::new((0..rows).map(answer).collect::<Result<BooleanArray, _>>()?))
    })
}

/// The smallest, or the greatest, item that is not null; of equal ones the first.
pub(crate) fn extreme(greatest: bool) -> Kernel {
    Arc::new(move |arguments, rows| {
        let array = to_array(&arguments[0], rows)?;
        let lists = array.as_list::<i32>();
        let items = ordered(lists.values());
        let compare = arrow::array::make_comparator(&items, &items, arrow::compute::SortOptions::default())?;
        let mut indexes = UInt64Builder::with_capacity(rows);
        for row in 0..rows {
            let (start, length) = bounds(lists, row).unwrap_or((0, 0));
            let range = usize::try_from(start).unwrap_or(0)..usize::try_from(start + length).unwrap_or(0);
            let better = |best: usize, next: usize| {
                let order = compare(next, best);
                if greatest { order.is_gt() } else { order.is_lt() }
            };
            let best = range
                .filter(|item| items.is_valid(*item))
                .reduce(|best, next| if better(best, next) { next } else { best });
            indexes.append_option(best.and_then(|best| u64::try_from(best).ok()));
        }
        take(lists.values(), &indexes.finish(), None)
    })
}

/// Where the items of a row begin, and how many there are; nothing for null.
fn bounds(lists: &ListArray, row: usize) -> Option<(i64, i64)> {
    lists.is_valid(row).then(|| (lists.value_offsets()[row].into(), lists.value_length(row).into()))
}
