//! Panics that are caught: Arrow's decoder answers some wrong bytes with one. Anybody can send such bytes, so they are told to
//! whoever sent them, and nobody else's log is filled with them.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`; none: it panicked.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = CATCHING.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(before);
    done.ok()
}

/// Whether a panic of this thread, of which a panic hook is told, is caught and becomes the answer to wrong bytes. So one
/// is, and what panics while it is dealt with is not.
pub fn is_caught() -> bool {
    CATCHING.replace(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_where_it_is_expected_and_nowhere_else() {
        assert!(!is_caught());
        assert_eq!(caught(is_caught), Some(true));
        assert_eq!(caught(|| (is_caught(), is_caught())), Some((true, false)));
        assert_eq!(caught(|| panic!("as arrow does")), None::<()>);
        assert!(!is_caught());
        let elsewhere = caught(|| std::thread::spawn(is_caught).join().unwrap());
        assert_eq!(elsewhere, Some(false));
    }
}
