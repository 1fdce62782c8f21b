//! What can be set of the serving service.

use std::path::PathBuf;

use larder_contracts::MAX_MESSAGE_BYTES;
use larder_service::config::{ByteSize, Problems, ServerConfig};
use serde::{Deserialize, Serialize};

/// `serving`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens and what it takes.
    pub server: ServerConfig,
    /// The most an answer may have.
    pub limits: Limits,
    /// How many bytes of answers that are not small may wait to be taken, all callers together.
    pub answers_memory: ByteSize,
    /// Stands in front of every key of the online store.
    pub key_prefix: Option<String>,
    /// Where the last catalog of each project is kept, to start from it while the registry is away; none: nowhere.
    pub state_folder: Option<PathBuf>,
}

/// The most an answer may have; beyond it a request ends with RESOURCE_EXHAUSTED.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Entities × features.
    pub max_values: usize,
    /// Its values.
    pub max_answer_bytes: ByteSize,
    /// What it is made of: rows of the online store, and request data.
    pub max_read_bytes: ByteSize,
}

/// What the transport takes lies above it.
const MAX_ANSWER_BYTES: ByteSize = ByteSize(MAX_MESSAGE_BYTES as u64);

/// A column of variable values cannot have more than twice as many.
const MAX_READ_BYTES: ByteSize = ByteSize::mebibytes(1_024);

impl Config {
    /// Checks the ranges.
    pub fn check(&self, problems: &mut Problems) {
        problems.section("server", |problems| self.server.check(problems));
        problems.require(self.limits.max_values > 0, "limits.max_values", "must be above zero");
        for (key, size, most) in [
            ("limits.max_answer_bytes", self.limits.max_answer_bytes, MAX_ANSWER_BYTES),
            ("limits.max_read_bytes", self.limits.max_read_bytes, MAX_READ_BYTES),
        ] {
            let message = format!("must be above zero and at most {most}");
            problems.require((1..=most.bytes()).contains(&size.bytes()), key, message);
        }
        let least = self.limits.max_answer_bytes;
        let message = format!("must not be below limits.max_answer_bytes, which is {least}");
        problems.require(self.answers_memory >= least, "answers_memory", message);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::on_port(6567),
            limits: Limits::default(),
            answers_memory: ByteSize::mebibytes(512),
            key_prefix: None,
            state_folder: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_values: 5_000_000,
            max_answer_bytes: ByteSize::mebibytes(64),
            max_read_bytes: ByteSize::mebibytes(256),
        }
    }
}
