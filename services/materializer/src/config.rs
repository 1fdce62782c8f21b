//! What can be set of the materializer.

use std::path::PathBuf;

use larder_definitions::view_rows::DEFAULT_EXPIRY_GRACE;
use larder_service::config::{ByteSize, Problems, ServerConfig, Span};
use serde::{Deserialize, Serialize};

/// `materializer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it listens and what it takes.
    pub server: ServerConfig,
    /// The folders and URLs under which sources, spines and training sets may lie.
    pub roots: Vec<String>,
    /// How many materializations are worked on at once, one of each view.
    pub concurrent_runs: usize,
    /// How many bytes of rows all materializations together hold in memory; the rest goes to disk.
    pub materialization_memory: ByteSize,
    /// How many bytes of files are read at least before their rows are written: what a materialization that was killed does
    /// again at most. More save writes, since each key is written once for all files that are read together.
    pub batch_size: ByteSize,
    /// How many bytes the joins of a training set hold in memory; the rest goes to disk. A record batch of a spine that is
    /// streamed in has to fit, too.
    pub training_memory: ByteSize,
    /// How many training sets are computed at once; others wait for their turn.
    pub concurrent_training_sets: usize,
    /// How often the push log is rewritten as Parquet.
    pub rewrite_every: Span,
    /// How often rows that nobody can be given any more are removed from the online store.
    pub sweep_every: Span,
    /// Where what does not fit in memory goes; none: `spill` in the data folder where there is one (`larder up`), else the
    /// system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// How many bytes of the spill folder's disk stay free for others: work that would use them fails.
    pub spill_disk_kept_free: ByteSize,
    /// How far ahead of time push-ingest lets events be: rows of the push log that a materialization has to take all together
    /// are waited for so long.
    pub max_ahead: Span,
    /// How long a row that has grown too old stays in the online store.
    pub expiry_grace: Span,
    /// Stands in front of every key of the online store.
    pub key_prefix: Option<String>,
}

impl Config {
    /// Checks the ranges.
    pub fn check(&self, problems: &mut Problems) {
        problems.section("server", |problems| self.server.check(problems));
        problems.require(!self.roots.is_empty(), "roots", "name at least one folder or URL");
        problems.require(self.concurrent_runs > 0, "concurrent_runs", "must be above zero");
        problems.require(self.concurrent_training_sets > 0, "concurrent_training_sets", "must be above zero");
        problems.require(!self.rewrite_every.is_zero(), "rewrite_every", "must be above zero");
        problems.require(!self.sweep_every.is_zero(), "sweep_every", "must be above zero");
        problems.require(self.training_memory.bytes() > 0, "training_memory", "must be above zero");
        problems.require(self.materialization_memory.bytes() > 0, "materialization_memory", "must be above zero");
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::on_port(6572),
            roots: vec![".".to_owned()],
            concurrent_runs: 2,
            materialization_memory: ByteSize::mebibytes(256),
            batch_size: ByteSize::mebibytes(128),
            training_memory: ByteSize::mebibytes(1024),
            concurrent_training_sets: 2,
            rewrite_every: Span::seconds(60),
            sweep_every: Span::seconds(600),
            spill_folder: None,
            spill_disk_kept_free: ByteSize::mebibytes(1024),
            max_ahead: Span::seconds(60),
            expiry_grace: Span(DEFAULT_EXPIRY_GRACE),
            key_prefix: None,
        }
    }
}
