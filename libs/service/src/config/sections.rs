//! The sections that every binary's configuration shares.

use std::net::{Ipv4Addr, SocketAddr};

use larder_contracts::MAX_MESSAGE_BYTES;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{ByteSize, Problems, Span};

/// `server`: where a service listens, and what it takes from callers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// The address of the gRPC port. Port 0 takes any free one.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// The address of the admin port: `/livez`, `/readyz`, `/metrics`.
    #[serde(deserialize_with = "address")]
    pub admin_listen: SocketAddr,
    /// Unary calls that are being worked on; one more is answered RESOURCE_EXHAUSTED at once.
    pub max_in_flight: usize,
    /// Open streams; one more is answered RESOURCE_EXHAUSTED at once.
    pub max_streams: usize,
    /// The size of one request message, encoded; a greater one is answered INVALID_ARGUMENT.
    pub max_request_bytes: ByteSize,
    /// How long a unary call may take whose caller gave no deadline.
    pub default_deadline: Span,
    /// How long a unary call may take whatever its caller gave.
    pub max_deadline: Span,
    /// How long a stream waits for its caller's next message, or for its caller to take any of a stream of answers.
    pub stream_idle_limit: Span,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_interval: Span,
    /// How long a connection has to answer that.
    pub keepalive_timeout: Span,
    /// How long a stopping service stays open after it says that it is not ready, so that balancers notice.
    pub stop_delay: Span,
    /// How long a stopping service waits for calls in flight, and for its background tasks.
    pub drain_timeout: Span,
}

impl ServerConfig {
    /// The defaults of a service on its own port (and the admin port a thousand above), on this machine only.
    pub fn on_port(port: u16) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: at(port),
            admin_listen: at(if port == 0 { 0 } else { port + 1000 }),
            max_in_flight: 1024,
            max_streams: 1024,
            max_request_bytes: ByteSize::mebibytes(16),
            default_deadline: Span::seconds(5),
            max_deadline: Span::seconds(60),
            stream_idle_limit: Span::seconds(600),
            keepalive_interval: Span::seconds(20),
            keepalive_timeout: Span::seconds(10),
            stop_delay: Span::seconds(0),
            drain_timeout: Span::seconds(20),
        }
    }

    /// Checks the ranges.
    pub fn check(&self, problems: &mut Problems) {
        let above_zero = "must be above zero";
        problems.require(self.max_in_flight > 0, "max_in_flight", above_zero);
        problems.require(self.max_streams > 0, "max_streams", above_zero);
        for (key, span) in [
            ("default_deadline", self.default_deadline),
            ("max_deadline", self.max_deadline),
            ("stream_idle_limit", self.stream_idle_limit),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
        ] {
            problems.require(!span.is_zero(), key, above_zero);
        }
        let fits = self.default_deadline <= self.max_deadline;
        let message = format!("must not be above max_deadline, which is {}", self.max_deadline);
        problems.require(fits, "default_deadline", message);
        let size = self.max_request_bytes.bytes();
        let message = format!("must be above zero and at most {}", ByteSize(MAX_MESSAGE_BYTES as u64));
        problems.require((1..=MAX_MESSAGE_BYTES).contains(&size), "max_request_bytes", message);
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self::on_port(0)
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| format!("`{text}` is not an address and a port: write them like 127.0.0.1:6567 or [::]:6567");
    text.parse().map_err(wrong).map_err(D::Error::custom)
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with the trace id.
    Json,
}

/// `telemetry`: logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged: a level (`info`), or levels by target (`info,larder_serving=debug`).
    pub log_filter: String,
}

impl TelemetryConfig {
    /// Checks the filter.
    pub fn check(&self, problems: &mut Problems) {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            let message = format!("{error}: write a level (error, warn, info, debug, trace), or target=level,…");
            problems.add("log_filter", message);
        }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log_filter: "info".to_owned() }
    }
}
