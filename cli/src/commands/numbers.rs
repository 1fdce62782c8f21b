//! Numbers of the command line. What is none is refused in the words of who writes commands.

use larder_types::Revision;

/// The number of a revision.
pub(super) fn revision(text: &str) -> Result<Revision, String> {
    let wrong = |_| format!("`{text}` is not the number of a revision, such as 3: `larder revisions` lists them");
    text.parse().map(Revision).map_err(wrong)
}

/// So many of something, or none.
pub(super) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u32::MAX))
}

/// So many of something.
pub(super) fn count_above_zero(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a whole number from 1 to {}", u32::MAX);
    text.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)
}
