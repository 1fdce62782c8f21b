//! One error type for everything that crosses a crate's border.
//!
//! The set of codes is closed: `larder-contracts` maps each to a gRPC status in one total function. A code also says who
//! is at fault and whether sending the same request again can help.

use std::fmt;

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is wrong in itself; sending it again will fail again.
    InvalidArgument,
    /// A name in the request is known to nobody.
    NotFound,
    /// What was to be created is there already.
    AlreadyExists,
    /// The request is right, the state of the system is not: something must be done first.
    FailedPrecondition,
    /// Somebody else changed the same thing first: read again, then decide.
    Conflict,
    /// The caller may not do this.
    PermissionDenied,
    /// The caller did not say who it is.
    Unauthenticated,
    /// A limit was reached: on requests in flight, the size of an answer, memory.
    ResourceExhausted,
    /// The caller gave up.
    Cancelled,
    /// The time given was not enough.
    DeadlineExceeded,
    /// A part that is needed does not answer now.
    Unavailable,
    /// A kind, type or engine that this release does not understand.
    Unimplemented,
    /// Stored bytes are not what was written.
    DataLoss,
    /// A defect of Larder.
    Internal,
}

/// Whether to send the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It will fail again.
    Never,
    /// After a pause.
    AfterBackoff,
    /// After reading the state again.
    AfterReread,
}

impl ErrorCode {
    /// Every code, for tests of total maps.
    pub const ALL: [Self; 14] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::Conflict,
        Self::PermissionDenied,
        Self::Unauthenticated,
        Self::ResourceExhausted,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::Unimplemented,
        Self::DataLoss,
        Self::Internal,
    ];

    /// Whether the same request may succeed later.
    pub fn retry(self) -> Retry {
        match self {
            Self::ResourceExhausted | Self::DeadlineExceeded | Self::Unavailable => Retry::AfterBackoff,
            Self::Conflict => Retry::AfterReread,
            Self::InvalidArgument
            | Self::NotFound
            | Self::AlreadyExists
            | Self::FailedPrecondition
            | Self::PermissionDenied
            | Self::Unauthenticated
            | Self::Cancelled
            | Self::Unimplemented
            | Self::DataLoss
            | Self::Internal => Retry::Never,
        }
    }

    /// The code's name on the outside: metrics, logs, `--output json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Conflict => "CONFLICT",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Cancelled => "CANCELLED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::DataLoss => "DATA_LOSS",
            Self::Internal => "INTERNAL",
        }
    }
}

/// One thing that is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, e.g. `entities.customer_id` or `customer.yaml:12:7`.
    pub field: String,
    /// What was wrong, and what would be right.
    pub description: String,
}

/// A failure that a caller can understand and act on.
///
/// `message` says what was wrong, what was expected and, where names are involved, which near names exist.
#[derive(Debug)]
pub struct Error {
    code: ErrorCode,
    message: String,
    violations: Vec<Violation>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident),* $(,)?) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorCode::$code, message)
            })*
        }
    };
}

constructors! {
    /// [`ErrorCode::InvalidArgument`]
    invalid_argument => InvalidArgument,
    /// [`ErrorCode::NotFound`]
    not_found => NotFound,
    /// [`ErrorCode::AlreadyExists`]
    already_exists => AlreadyExists,
    /// [`ErrorCode::FailedPrecondition`]
    failed_precondition => FailedPrecondition,
    /// [`ErrorCode::Conflict`]
    conflict => Conflict,
    /// [`ErrorCode::ResourceExhausted`]
    resource_exhausted => ResourceExhausted,
    /// [`ErrorCode::Cancelled`]
    cancelled => Cancelled,
    /// [`ErrorCode::DeadlineExceeded`]
    deadline_exceeded => DeadlineExceeded,
    /// [`ErrorCode::Unavailable`]
    unavailable => Unavailable,
    /// [`ErrorCode::Unimplemented`]
    unimplemented => Unimplemented,
    /// [`ErrorCode::DataLoss`]
    data_loss => DataLoss,
    /// [`ErrorCode::Internal`]
    internal => Internal,
}

impl Error {
    /// An error of `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), violations: Vec::new(), source: None }
    }

    /// An [`ErrorCode::InvalidArgument`] that names the one field at fault.
    pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self::invalid_argument(format!("{field}: {description}")).with_violation(field, description)
    }

    /// An [`ErrorCode::InvalidArgument`] that names every field at fault.
    pub fn invalid_fields(message: impl Into<String>, violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::invalid_argument(message) }
    }

    /// Adds a field at fault.
    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(Violation { field: field.into(), description: description.into() });
        self
    }

    /// The same, its fields called by other names.
    #[must_use]
    pub fn rename_fields(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        for Violation { field, .. } in &mut self.violations {
            if let Some(name) = name(field) {
                *field = name;
            }
        }
        self
    }

    /// Keeps what caused it, for logs.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says in front what was being done: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The text for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The fields at fault.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_cause_and_says_what_was_being_done() {
        let error = Error::unavailable("connection refused")
            .with_source(std::io::Error::other("refused"))
            .context("reading revision 7");
        assert_eq!(error.to_string(), "reading revision 7: connection refused");
        assert!(std::error::Error::source(&error).is_some());
    }
}
