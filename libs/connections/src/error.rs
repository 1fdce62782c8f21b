//! What an object store's failure means to the rest of Larder.

use larder_types::{Error, ErrorCode};

/// Says what was being done, e.g. `reading data/manifest/7.json`, and keeps the cause.
///
/// A failure that the store does not explain is [`ErrorCode::Unavailable`]: for a write, its effect is not known.
pub fn store_error(doing: impl std::fmt::Display, error: object_store::Error) -> Error {
    let message = format!("{doing}: {error}");
    Error::new(code_of(&error), message).with_source(error)
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
        Store::Generic { .. } | Store::JoinError { .. } => ErrorCode::Unavailable,
        _ => ErrorCode::Unavailable,
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
        assert_eq!(store_error("writing", unexplained).code(), ErrorCode::Unavailable);
    }
}
