//! Why a command did not do what it was asked to.

use std::{fmt, io};

use larder_definitions::Problem;
use larder_types::{Error, Violation};

use crate::{exit::Exit, render::numbers::counted};

/// Told on standard error at the end, once.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A call, a file or an argument.
    Error(Error),
    /// A run that was waited for.
    Run(Error),
    /// A command line that says what cannot be meant, though each part of it can be read.
    Usage(String),
    /// Definitions, each problem with its place.
    Definitions(Vec<Problem>),
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// How a command ended.
pub(crate) type Outcome<T = Exit> = Result<T, Failure>;

impl Failure {
    /// A request that is wrong in itself.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::Error(Error::invalid_argument(message))
    }

    /// A command line that is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Something outside that failed, e.g. a file: `doing` says what was being done.
    pub(crate) fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::wrong(format!("{doing}: {error}"))
    }

    /// What the process exits with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Error(error) => error.code().into(),
            Self::Run(_) => Exit::RunFailed,
            Self::Usage(_) => Exit::Usage,
            Self::Definitions(_) => Exit::Invalid,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) | Self::Run(error) => fmt_error(error, f),
            Self::Usage(message) => write!(f, "error: {message}"),
            Self::Interrupted => write!(f, "error: interrupted"),
            Self::Definitions(problems) => {
                problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
                write!(f, "error: {} in the definitions", counted(problems.len() as u64, "problem"))
            }
        }
    }
}

/// The message, and each violation on a line of its own; those that the message says already are left out.
fn fmt_error(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (message, violations) = (error.message(), error.violations());
    write!(f, "error: {message}")?;
    let is_said = |violation: &Violation| {
        let Violation { field, description } = violation;
        message.contains(&format!("{field}: {description}")) || (violations.len() == 1 && message.contains(description))
    };
    for violation in violations.iter().filter(|violation| !is_said(violation)) {
        match violation.field.as_str() {
            "" => write!(f, "\n  {}", violation.description)?,
            field => write!(f, "\n  {field}: {}", violation.description)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_listed_unless_the_message_says_the_only_one() {
        let error = Error::invalid_field("income", "is missing");
        assert_eq!(Failure::Error(error).to_string(), "error: income: is missing");
        let error = Error::invalid_field("income", "is missing").with_violation("targets.online", "not written");
        assert_eq!(Failure::Error(error).to_string(), "error: income: is missing\n  targets.online: not written");
        let error = Error::invalid_argument("two fields")
            .with_violation("income", "is missing")
            .with_violation("age", "is text");
        assert_eq!(Failure::Error(error).to_string(), "error: two fields\n  income: is missing\n  age: is text");
    }

    #[test]
    fn problems_come_before_their_count() {
        let problems = vec![Problem::new("a", "one"), Problem::new("b", "two")];
        assert_eq!(Failure::Definitions(problems).to_string(), "a: one\nb: two\nerror: 2 problems in the definitions");
    }
}
