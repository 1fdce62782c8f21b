//! What the process exits with. Scripts rely on these: they are only added to.

use std::process::ExitCode;

use larder_types::ErrorCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// The request was wrong, or something failed.
    Failed = 1,
    /// The command line was wrong: as the parser's own refusals.
    Usage = 2,
    /// A service is not reachable, or not ready, or did not answer in time.
    Unavailable = 3,
    /// Somebody else changed the same thing first.
    Conflict = 4,
    /// Validation found problems in the definitions.
    Invalid = 5,
    /// A run failed or was cancelled.
    RunFailed = 6,
    /// `plan --detailed-exitcode`: there are changes.
    Changes = 10,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// For `--help`.
pub(crate) const TABLE: &str = "  0  all went well
  1  the request was wrong, or something failed
  2  the command line was wrong
  3  a service is not reachable, not ready, or did not answer in time
  4  somebody else changed the same thing first: look again, then repeat
  5  validation found problems in the definitions
  6  a run failed or was cancelled
 10  `plan --detailed-exitcode`: there are changes
130  it was interrupted (not `up`, which stops in order)";

impl From<ErrorCode> for Exit {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Self::Unavailable,
            ErrorCode::Conflict => Self::Conflict,
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::FailedPrecondition
            | ErrorCode::PermissionDenied
            | ErrorCode::Unauthenticated
            | ErrorCode::ResourceExhausted
            | ErrorCode::Cancelled
            | ErrorCode::Unimplemented
            | ErrorCode::DataLoss
            | ErrorCode::Internal => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_code() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Unavailable,
            Exit::Conflict,
            Exit::Invalid,
            Exit::RunFailed,
            Exit::Changes,
            Exit::Interrupted,
        ] {
            let start = format!("{:>3}  ", exit as u8);
            assert!(TABLE.lines().any(|line| line.starts_with(&start)), "{exit:?}");
        }
    }

    #[test]
    fn what_can_be_tried_again_has_a_code_of_its_own() {
        assert_eq!(Exit::from(ErrorCode::Unavailable), Exit::Unavailable);
        assert_eq!(Exit::from(ErrorCode::Conflict), Exit::Conflict);
        assert_eq!(Exit::from(ErrorCode::NotFound), Exit::Failed);
    }
}
