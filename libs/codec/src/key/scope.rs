//! Which keys belong to a project or a key space: for scans and purges.

use std::fmt;

use larder_types::{Error, KeySpaceNumber, ProjectNumber, Result};

/// All keys of a project, or of one of its key spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyScope {
    /// Up to the dot behind the project, or up to the key space's number.
    start: String,
    is_project: bool,
}

impl KeyScope {
    /// All keys of `project`. INVALID_ARGUMENT where the prefix is not one.
    pub fn project(prefix: Option<&str>, project: ProjectNumber) -> Result<Self> {
        Ok(Self { start: format!("{}{project}.", check_prefix(prefix)?), is_project: true })
    }

    /// All keys of a key space of `project`. INVALID_ARGUMENT where the prefix is not one.
    pub fn key_space(prefix: Option<&str>, project: ProjectNumber, key_space: KeySpaceNumber) -> Result<Self> {
        Ok(Self { start: format!("{}{project}.{key_space}", check_prefix(prefix)?), is_project: false })
    }

    /// What all keys of it begin with; other keys may begin so, too.
    pub fn start(&self) -> &[u8] {
        self.start.as_bytes()
    }

    /// Whether a key belongs to it.
    pub fn contains(&self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.start());
        rest.is_some_and(|rest| self.is_project || matches!(rest.first(), None | Some(b':')))
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start)
    }
}

/// A prefix that could not end where a project's number begins, or holds a brace, would let two keys have one form.
fn check_prefix(prefix: Option<&str>) -> Result<&str> {
    let prefix = prefix.unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b':');
    if prefix.len() <= 64 && prefix.bytes().all(is_allowed) && !prefix.ends_with(|c: char| c.is_ascii_digit()) {
        return Ok(prefix);
    }
    Err(Error::invalid_argument(format!(
        "`{}` is not a prefix of keys: write at most 64 ASCII letters, digits, `_`, `-`, `/` and `:`, with no digit at the end, e.g. `larder:`",
        prefix.chars().take(80).collect::<String>()
    )))
}
