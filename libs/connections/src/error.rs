//! What an object store's failure means to the rest of Larder.

use std::{error::Error as StdError, io, iter::successors};

use larder_types::{Error, ErrorCode};

/// How the operating system calls a path with more links on the way than it follows (ELOOP).
const TOO_MANY_LINKS: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// How a walk over a folder calls a link to a folder that it lies in; it is nothing that the operating system says.
const LOOP: &str = "File system loop found: ";

/// Words in front of a path that say nothing of what was being done.
const WORDS_IN_FRONT: [&str; 3] = ["Unable to walk dir: ", "IO error for operation on ", "Unable to open file "];

/// Says what was being done, e.g. `reading data/manifest/7.json`, and keeps the cause.
///
/// A failure that the store does not explain is [`ErrorCode::Unavailable`]: for a write, its effect is not known. Neither is
/// one of which the operating system says what may pass by itself, such as a full disk; what it says that will not pass is
/// [`ErrorCode::PermissionDenied`] or [`ErrorCode::FailedPrecondition`].
pub fn store_error(doing: impl std::fmt::Display, error: object_store::Error) -> Error {
    Error::new(code_of(&error), format!("{doing}: {}", described(&error))).with_source(error)
}

fn code_of(error: &object_store::Error) -> ErrorCode {
    use object_store::Error as Store;
    match error {
        Store::NotFound { .. } => ErrorCode::NotFound,
        Store::AlreadyExists { .. } => ErrorCode::AlreadyExists,
        Store::Precondition { .. } | Store::NotModified { .. } => ErrorCode::Conflict,
        Store::PermissionDenied { .. } => ErrorCode::PermissionDenied,
        Store::Unauthenticated { .. } => ErrorCode::Unauthenticated,
        Store::InvalidPath { .. } | Store::UnknownConfigurationKey { .. } => ErrorCode::InvalidArgument,
        Store::NotSupported { .. } | Store::NotImplemented { .. } => ErrorCode::Unimplemented,
        Store::Generic { source, .. } => code_of_cause(source.as_ref()),
        Store::JoinError { .. } => ErrorCode::Unavailable,
        _ => ErrorCode::Unavailable,
    }
}

fn code_of_cause(error: &(dyn StdError + 'static)) -> ErrorCode {
    let is_loop = |cause: &(dyn StdError + 'static)| cause.to_string().starts_with(LOOP);
    match causes(error).find_map(of_system) {
        Some(said) => code_of_system(said),
        None if causes(error).any(is_loop) => ErrorCode::FailedPrecondition,
        None => ErrorCode::Unavailable,
    }
}

/// What the operating system said. What others called an error of input or output is none.
fn of_system<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    cause.downcast_ref::<io::Error>().filter(|error| error.get_ref().is_none())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not named may pass by itself")]
fn code_of_system(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::TooManyLinks
        | io::ErrorKind::Unsupported => ErrorCode::FailedPrecondition,
        _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => ErrorCode::FailedPrecondition,
        _ => ErrorCode::Unavailable,
    }
}

/// The error and what lies beneath it, the outermost first.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    successors(Some(error), |error| beneath(*error))
}

fn beneath<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

/// The store's text without its own name, which is nobody's business.
fn described(error: &object_store::Error) -> String {
    let text =
        if let object_store::Error::Generic { source, .. } = error { source.to_string() } else { error.to_string() };
    let text = WORDS_IN_FRONT.iter().fold(text.as_str(), |text, words| text.strip_prefix(words).unwrap_or(text));
    match text.strip_prefix(LOOP) {
        Some(link) => format!("{link}: such a link cannot be followed, remove it"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_says_what_happened_and_the_message_what_was_being_done() {
        let missing = object_store::Error::NotFound { path: "a/b".into(), source: "gone".into() };
        let error = store_error("reading a/b", missing);
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.message().starts_with("reading a/b: "), "{error}");
        let unexplained = object_store::Error::Generic { store: "S3", source: "timeout".into() };
        let error = store_error("writing", unexplained);
        assert_eq!((error.code(), error.message()), (ErrorCode::Unavailable, "writing: timeout"));
    }

    #[test]
    fn what_will_not_pass_by_itself_is_told_from_what_may() {
        for (raw, code) in [
            (libc_code::EACCES, ErrorCode::PermissionDenied),
            (libc_code::EPERM, ErrorCode::PermissionDenied),
            (libc_code::ENOTDIR, ErrorCode::FailedPrecondition),
            (libc_code::EISDIR, ErrorCode::FailedPrecondition),
            (libc_code::EINVAL, ErrorCode::FailedPrecondition),
            (libc_code::EROFS, ErrorCode::FailedPrecondition),
            (libc_code::ENAMETOOLONG, ErrorCode::FailedPrecondition),
            (TOO_MANY_LINKS, ErrorCode::FailedPrecondition),
            (libc_code::EIO, ErrorCode::Unavailable),
            (libc_code::ENOSPC, ErrorCode::Unavailable),
            (libc_code::EMFILE, ErrorCode::Unavailable),
        ] {
            let said = || io::Error::from_raw_os_error(raw);
            // As it is, and as something that was wrapped on its way.
            for source in [Box::new(said()) as Box<dyn StdError + Send + Sync>, Box::new(io::Error::other(said()))] {
                let error = store_error("reading", object_store::Error::Generic { store: "LocalFileSystem", source });
                assert_eq!(error.code(), code, "{error}");
                assert!(!error.message().contains("Generic"), "{error}");
            }
        }
    }

    /// The same on every Unix that tests run on.
    mod libc_code {
        pub(super) const EPERM: i32 = 1;
        pub(super) const EIO: i32 = 5;
        pub(super) const EACCES: i32 = 13;
        pub(super) const ENOTDIR: i32 = 20;
        pub(super) const EISDIR: i32 = 21;
        pub(super) const EINVAL: i32 = 22;
        pub(super) const EMFILE: i32 = 24;
        pub(super) const ENOSPC: i32 = 28;
        pub(super) const EROFS: i32 = 30;
        pub(super) const ENAMETOOLONG: i32 = if cfg!(target_os = "linux") { 36 } else { 63 };
    }
}
