//! What can be set of `larder up`.

use std::{net::SocketAddr, path::PathBuf};

use larder_service::config::{ByteSize, Config as Checked, Problems, TelemetryConfig};
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
    pub registry: larder_registry::config::Config,
    /// Serving.
    pub serving: larder_serving::config::Config,
    /// Push-ingest.
    pub push_ingest: larder_push_ingest::config::Config,
    /// The materializer.
    pub materializer: larder_materializer::config::Config,
}

impl Checked for Config {
    fn check(&self, problems: &mut Problems) {
        problems.require(!self.data.as_os_str().is_empty(), "data", "name a folder");
        problems.section("telemetry", |problems| self.telemetry.check(problems));
        problems.section("registry", |problems| self.registry.check(problems));
        problems.section("serving", |problems| self.serving.check(problems));
        problems.section("push_ingest", |problems| self.push_ingest.check(problems));
        problems.section("materializer", |problems| self.materializer.check(problems));
        self.check_agreement(problems);
        self.check_ports(problems);
    }
}

impl Config {
    /// No two of them listen at one address. Port 0 is another one each time.
    fn check_ports(&self, problems: &mut Problems) {
        let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, address) in [
            ("registry.server.listen", self.registry.server.listen),
            ("serving.server.listen", self.serving.server.listen),
            ("push_ingest.server.listen", self.push_ingest.server.listen),
            ("materializer.server.listen", self.materializer.server.listen),
            ("serving.server.admin_listen", self.serving.server.admin_listen),
        ] {
            let overlaps = |other: &SocketAddr| {
                let (one, other) = (address.ip(), other.ip());
                one == other || one.is_unspecified() || other.is_unspecified()
            };
            let same = taken
                .iter()
                .find(|(_, other)| address.port() != 0 && other.port() == address.port() && overlaps(other));
            if let Some((other, of_other)) = same {
                problems
                    .add(key, format!("is the port of {other}, too, which is {of_other}: each needs one of its own"));
            }
            taken.push((key, address));
        }
    }

    /// All services use one online store: keys that one of them does not find, or rows that one of them keeps for longer, are
    /// a mistake that nothing else would tell.
    fn check_agreement(&self, problems: &mut Problems) {
        let of_serving = &self.serving.key_prefix;
        let shown = of_serving.as_ref().map_or_else(|| "not set".to_owned(), |prefix| format!("`{prefix}`"));
        for (key, prefix) in [
            ("push_ingest.key_prefix", &self.push_ingest.key_prefix),
            ("materializer.key_prefix", &self.materializer.key_prefix),
        ] {
            let message = format!("must be the same as serving.key_prefix, which is {shown}: they share one store");
            problems.require(prefix == of_serving, key, message);
        }
        let (of_push, of_materializer) = (self.push_ingest.expiry_grace, self.materializer.expiry_grace);
        let message = format!("must be the same as push_ingest.expiry_grace, which is {of_push}: they share one store");
        problems.require(of_materializer == of_push, "materializer.expiry_grace", message);
        let (of_push, of_materializer) = (self.push_ingest.max_ahead, self.materializer.max_ahead);
        let message = format!("must be the same as push_ingest.max_ahead, which is {of_push}");
        problems.require(of_materializer == of_push, "materializer.max_ahead", message);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".larder"),
            online_cache: ByteSize::mebibytes(256),
            telemetry: TelemetryConfig::default(),
            registry: larder_registry::config::Config::default(),
            serving: larder_serving::config::Config::default(),
            push_ingest: larder_push_ingest::config::Config::default(),
            materializer: larder_materializer::config::Config::default(),
        }
    }
}
