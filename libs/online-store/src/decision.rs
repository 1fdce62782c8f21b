//! Which of two rows stays: the one place where the embedded store decides it, without input or output.

use std::cmp::Ordering;

use larder_codec::compare_rows;
use larder_types::Timestamp;

use crate::{RowOutcome, WriteMode};

/// A row and its expiry, there or to be written. No expiry is [`Timestamp::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) row: &'a [u8],
    pub(crate) expires_at: Timestamp,
}

/// What becomes of `new`, and whether it is to be put in the place of `there`.
pub(crate) fn decide(
    there: Option<Stored<'_>>,
    new: Stored<'_>,
    mode: WriteMode,
    now: Timestamp,
) -> (RowOutcome, bool) {
    if new.expires_at < now {
        return (RowOutcome::Expired, false);
    }
    let Some(there) = there else { return (RowOutcome::Written, true) };
    match (compare_rows(new.row, there.row), mode) {
        (Ordering::Equal, _) => (RowOutcome::Equal, new.expires_at > there.expires_at),
        (Ordering::Greater, _) => (RowOutcome::Written, true),
        (Ordering::Less, WriteMode::Materialization) if have_equal_times(new.row, there.row) => {
            (RowOutcome::Written, true)
        }
        (Ordering::Less, WriteMode::Newest | WriteMode::Materialization) => (RowOutcome::Older, false),
    }
}

/// The times are bytes 1–16 of a row of any format version.
fn have_equal_times(a: &[u8], b: &[u8]) -> bool {
    a.get(1..17) == b.get(1..17)
}
