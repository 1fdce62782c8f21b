//! Bars on standard error while something long is going on; nothing where nobody looks on.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use larder_definitions::run::{Progress, Run};

use crate::{
    console::say,
    render::numbers::{counted, grouped},
};

/// Bars below each other, one for each run.
#[derive(Debug, Default)]
pub(crate) struct Bars(MultiProgress);

impl Bars {
    /// A bar that counts the parts of a run.
    pub(crate) fn add(&self, name: &str) -> RunBar {
        let bar = self.0.add(bar(1, "{prefix:24!} {bar:30} {pos}/{len} parts {msg}"));
        bar.set_prefix(name.to_owned());
        RunBar(bar)
    }
}

/// Follows one run.
#[derive(Debug)]
pub(crate) struct RunBar(ProgressBar);

impl RunBar {
    /// A bar by itself.
    pub(crate) fn single(name: &str) -> Self {
        Bars::default().add(name)
    }

    /// Shows how far the run is.
    pub(crate) fn show(&self, run: &Run) {
        self.show_progress(&run.progress);
        if run.state.is_final() {
            self.0.finish();
        }
    }

    /// Says what ended the last attempt at the run.
    pub(crate) fn say_trouble(&self, run: &Run) {
        if let Some(trouble) = &run.error {
            self.0.suspend(|| say(&format!("{} is tried again after: {trouble}", run.id)));
        }
    }

    /// Shows the counts.
    pub(crate) fn show_progress(&self, progress: &Progress) {
        // Before the parts are known there is one: a bar without any would look full.
        self.0.set_length(progress.parts.max(1));
        self.0.set_position(progress.parts_done);
        self.0.set_message(format!("{} read, {} written", counted(progress.read, "row"), grouped(progress.written)));
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar over something whose size is known; 0 where it is not: without anything to fill, then.
pub(crate) fn sized(size: u64, what: &str) -> ProgressBar {
    let template = if size == 0 { "{prefix} {spinner} {msg}" } else { "{prefix} {bar:30} {percent:>3} % {msg}" };
    let bar = bar(size, template);
    bar.set_prefix(what.to_owned());
    bar
}

fn bar(size: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(size);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
