//! What is wrong with a configuration: all of it, not the first thing.

use std::fmt;

use larder_types::{Error, Violation};

/// One thing that is wrong, where, and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, e.g. `server.listen`; empty for the file as a whole.
    pub path: String,
    /// Where the value came from: `larder.yaml:3:9`, a variable's name, a flag, `default`.
    pub origin: String,
    /// What was wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, origin, message } = self;
        match path.as_str() {
            "" => write!(f, "{origin}: {message}"),
            path => write!(f, "{path} ({origin}): {message}"),
        }
    }
}

/// Collects what [`Config::check`](super::Config::check) finds.
#[derive(Debug, Default)]
pub struct Problems {
    section: Vec<String>,
    found: Vec<(Vec<String>, String)>,
}

impl Problems {
    /// Reports `key` of the section at hand.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        let path = self.section.iter().cloned().chain([key.to_owned()]).collect();
        self.found.push((path, message.into()));
    }

    /// Reports `key` unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, message: impl Into<String>) {
        if !holds {
            self.add(key, message);
        }
    }

    /// Checks what lies under `key`: the paths that `check` reports begin with it.
    pub fn section(&mut self, key: &str, check: impl FnOnce(&mut Self)) {
        self.section.push(key.to_owned());
        check(self);
        self.section.pop();
    }

    /// Every path with its message.
    pub(super) fn into_found(self) -> Vec<(Vec<String>, String)> {
        self.found
    }
}

/// One error that lists them all.
pub(super) fn to_error(mut problems: Vec<Problem>) -> Error {
    problems.sort_by(|a, b| (&a.path, &a.origin).cmp(&(&b.path, &b.origin)));
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    let violations = problems
        .into_iter()
        .map(|Problem { path, origin, message }| Violation {
            field: path,
            description: format!("{message} ({origin})"),
        })
        .collect();
    Error::invalid_fields(format!("the configuration has {count}:{lines}"), violations)
}
