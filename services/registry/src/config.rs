//! What can be set of the registry.

use larder_service::config::{ByteSize, Problems, ServerConfig};
use serde::{Deserialize, Serialize};

/// `registry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens and what it takes.
    pub server: ServerConfig,
}

impl Config {
    /// Finds what is wrong with it.
    pub fn check(&self, problems: &mut Problems) {
        problems.section("server", |problems| self.server.check(problems));
    }
}

impl Default for Config {
    fn default() -> Self {
        // A materialization's plan names each of its files.
        let max_request_bytes = ByteSize::mebibytes(64);
        Self { server: ServerConfig { max_request_bytes, ..ServerConfig::on_port(6570) } }
    }
}
