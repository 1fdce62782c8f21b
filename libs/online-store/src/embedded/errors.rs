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
