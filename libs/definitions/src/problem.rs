//! What is wrong with definitions, and where: by field, and by file, line and column where they were read from files.

use std::{fmt, sync::Arc};

use larder_types::{Error, Violation};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// As the user named it, or relative to the folder that was read.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong with definitions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was read, if it was read from a file.
    pub location: Option<Location>,
    /// The field, e.g. `feature_views.customer_features.ttl`; empty for a file that cannot be read at all.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem of a field, without a place in a file.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location: None, path: path.into(), message: message.into() }
    }

    /// A problem of a place in a file.
    pub fn at(location: Location, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { location: Some(location), path: path.into(), message: message.into() }
    }
}

/// `customer.yaml:12:7: …`, or `feature_views.customer_features.ttl: …` where no file is known.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{location}: {}", self.message),
            None if self.path.is_empty() => f.write_str(&self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// One INVALID_ARGUMENT with a violation for each problem. `None` where there is none.
pub fn problems_to_error(problems: &[Problem]) -> Option<Error> {
    let first = problems.first()?;
    let message = match problems.len() - 1 {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    };
    let violations = problems.iter().map(|problem| Violation {
        field: problem.path.clone(),
        description: match &problem.location {
            Some(location) => format!("{location}: {}", problem.message),
            None => problem.message.clone(),
        },
    });
    Some(Error::invalid_fields(message, violations.collect()))
}
