//! Layered configuration: defaults < YAML file < environment (`LARDER__SECTION__KEY`) < flags.
//!
//! A service declares plain structs with serde and a [`Config::check`]; reading them here reports *every* problem at
//! once, each with the key's path and where its value came from. Keys that nobody knows are refused with the names they
//! resemble.

mod layers;
mod print;
mod problems;
mod read;
mod sections;
mod tree;
mod units;
mod yaml;

pub use layers::{Layers, Loaded};
pub use problems::{Problem, Problems};
pub use sections::{LogFormat, ServerConfig, TelemetryConfig};
pub use units::{ByteSize, Span};

use serde::{Serialize, de::DeserializeOwned};

/// What a binary is configured by. Its defaults are the lowest layer, so it must read back what it writes.
pub trait Config: Default + Serialize + DeserializeOwned {
    /// Says what is wrong with values that are right by themselves: ranges, and keys that do not fit together.
    fn check(&self, problems: &mut Problems);
}
