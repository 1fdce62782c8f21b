//! Bars on standard error while something long is going on; nothing where nobody looks on.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use larder_definitions::run::{Progress, Run};

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

/// So many of something, for people: `1 row`, `412,000 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(number))
}

/// Rows in a second, for people: `412,000`.
pub(crate) fn rate(rows: u64, seconds: f64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded for people"
    )]
    let rate = if seconds > 0.0 { (rows as f64 / seconds) as u64 } else { 0 };
    grouped(rate)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
            assert_eq!(counted(number, "row"), format!("{text} rows"));
        }
        assert_eq!(rate(1_000, 0.5), "2,000");
        assert_eq!(rate(1_000, 0.0), "0");
    }
}
