//! What can be set of `larder up`.

use std::path::PathBuf;

use larder_service::config::{ByteSize, Config as Checked, Problems, ServerConfig, TelemetryConfig};
use serde::{Deserialize, Serialize};

/// Everything in one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The folder that holds all data. It belongs to one process at a time.
    pub data: PathBuf,
    /// Bytes of the online store that are kept in memory.
    pub online_cache: ByteSize,
    /// Logs.
    pub telemetry: TelemetryConfig,
    /// The registry.
    pub registry: RegistryConfig,
    /// Serving.
    pub serving: larder_serving::config::Config,
    /// Push-ingest.
    pub push_ingest: larder_push_ingest::config::Config,
    /// The materializer.
    pub materializer: larder_materializer::config::Config,
}

/// `registry`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryConfig {
    /// Where it listens and what it takes.
    pub server: ServerConfig,
}

impl Checked for Config {
    fn check(&self, problems: &mut Problems) {
        problems.require(!self.data.as_os_str().is_empty(), "data", "name a folder");
        problems.section("telemetry", |problems| self.telemetry.check(problems));
        problems.section("registry.server", |problems| self.registry.server.check(problems));
        problems.section("serving", |problems| self.serving.check(problems));
        problems.section("push_ingest", |problems| self.push_ingest.check(problems));
        problems.section("materializer", |problems| self.materializer.check(problems));
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".larder"),
            online_cache: ByteSize::mebibytes(256),
            telemetry: TelemetryConfig::default(),
            registry: RegistryConfig::default(),
            serving: larder_serving::config::Config::default(),
            push_ingest: larder_push_ingest::config::Config::default(),
            materializer: larder_materializer::config::Config::default(),
        }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self { server: ServerConfig::on_port(6570) }
    }
}
