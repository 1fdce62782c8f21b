//! A training set that was built.

use larder_definitions::run::Run;
use larder_types::Name;
use serde_json::{Value, json};

use super::{
    Paint,
    numbers::{counted, rate},
    runs,
};
use crate::console::Report;

/// Where it lies, and how fast it was built.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) project: Name,
    pub(crate) run: Run,
    pub(crate) out: String,
    pub(crate) rows: u64,
    /// As this command saw it, reading and writing files included.
    pub(crate) seconds: f64,
}

impl Report for Trained {
    fn json(&self) -> Value {
        let Self { project, run, out, rows, seconds } = self;
        json!({ "project": project, "out": out, "rows": rows, "seconds": seconds, "run": runs::run_json(run) })
    }

    fn text(&self, _paint: Paint) -> String {
        let Self { run, out, rows, seconds, .. } = self;
        let rate = rate(*rows, *seconds);
        format!("{} in {out}: {seconds:.1} s, {rate} rows a second (run {})", counted(*rows, "row"), run.id)
    }
}
