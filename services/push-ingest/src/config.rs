//! What can be set of the push-ingest service.

use std::path::PathBuf;

use larder_definitions::view_rows::DEFAULT_EXPIRY_GRACE;
use larder_service::config::{ByteSize, Problems, ServerConfig, Span};
use serde::{Deserialize, Serialize};

use crate::batch::Limits;

/// `push_ingest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens and what it takes.
    pub server: ServerConfig,
    /// The most rows of one batch.
    pub max_batch_rows: usize,
    /// Bytes of batches, encoded, that are on their way at the same time, over all calls and streams.
    pub max_in_flight_bytes: ByteSize,
    /// How far an event time may lie beyond the service's clock.
    pub max_ahead: Span,
    /// How long a row that has grown too old stays in the online store.
    pub expiry_grace: Span,
    /// Stands in front of every key of the online store.
    pub key_prefix: Option<String>,
    /// Where the last catalog of each project is kept, to start from it while the registry is away; none: nowhere.
    pub state_folder: Option<PathBuf>,
}

impl Config {
    /// Checks the ranges.
    pub fn check(&self, problems: &mut Problems) {
        problems.section("server", |problems| self.server.check(problems));
        problems.require(self.max_batch_rows > 0, "max_batch_rows", "must be above zero");
        problems.require(self.max_in_flight_bytes.bytes() > 0, "max_in_flight_bytes", "must be above zero");
    }

    /// What a batch may be.
    pub fn limits(&self) -> Limits {
        Limits { max_rows: self.max_batch_rows, max_ahead: *self.max_ahead }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::on_port(6571),
            max_batch_rows: 100_000,
            max_in_flight_bytes: ByteSize::mebibytes(256),
            max_ahead: Span::seconds(60),
            expiry_grace: Span(DEFAULT_EXPIRY_GRACE),
            key_prefix: None,
            state_folder: None,
        }
    }
}
