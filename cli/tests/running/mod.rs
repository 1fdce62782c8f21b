//! Runs the built command where no service answers.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failure of the surroundings is a failed test"
)]

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// In a folder of its own.
pub(crate) fn larder(arguments: &[&str]) -> Ran {
    larder_in(tempfile::tempdir().unwrap().path(), arguments)
}

/// In that folder. Nobody listens on port 1.
pub(crate) fn larder_in(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).current_dir(folder).env_clear();
    for service in ["REGISTRY", "SERVING", "PUSH_INGEST", "MATERIALIZER"] {
        command.env(format!("LARDER__CLIENT__{service}"), "http://127.0.0.1:1");
    }
    let done = command.output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
    Ran { code: done.status.code().expect("it was not killed"), out: text(done.stdout), err: text(done.stderr) }
}

/// A folder with that `larder.yaml`.
pub(crate) fn repository(definitions: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("larder.yaml"), definitions).unwrap();
    folder
}
