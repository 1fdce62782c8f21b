//! redb's errors as ours.

use larder_types::Error;

/// What a failure of redb means to a caller.
#[expect(clippy::wildcard_enum_match_arm, reason = "redb's errors are not a closed set")]
pub(super) fn storage_error(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let code: fn(String) -> Error = match &error {
        redb::Error::DatabaseAlreadyOpen => {
            return Error::failed_precondition(
                "it is open already, in another process or in this one: only one may have it",
            )
            .with_source(error);
        }
        redb::Error::UpgradeRequired(_) => Error::failed_precondition,
        redb::Error::Corrupted(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::RepairAborted => {
            Error::data_loss
        }
        redb::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
            return Error::data_loss("it is not a data file of the embedded store").with_source(error);
        }
        redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => Error::unavailable,
        _ => Error::internal,
    };
    code(error.to_string()).with_source(error)
}

/// The error of a file that can be used no more until it is opened anew.
pub(super) fn lost(cause: &str) -> Error {
    Error::failed_precondition(format!(
        "the online store's file could not be read or written: {cause}; nothing is written to it until it is opened anew: see \
         that its disk works and has room, and start the process again"
    ))
}
