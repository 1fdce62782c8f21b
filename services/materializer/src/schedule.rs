//! When a view's schedule asks for a run. Pure: decided from the runs there are and the time.

use larder_definitions::{
    ResolvedView,
    run::{Run, RunRequest},
    schedule::Ticks,
};
use larder_types::{Result, Timestamp};

/// What a schedule asks for at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A run for this tick.
    Run(Timestamp),
    /// Nothing, since this tick came during a run of the same view.
    Skipped(Timestamp),
}

/// What is due now.
///
/// Ticks that were missed are made up by one run, for the last of them. A tick during a run of the same view is skipped: it
/// is not made up when that run has ended, since a later tick is. Of a view that no schedule has run yet, nothing is due for
/// ticks before `declared_at`, when the catalog was made.
pub fn due(view: &ResolvedView, declared_at: Timestamp, runs: &[Run], now: Timestamp) -> Result<Due> {
    let Some(schedule) = &view.definition.schedule else { return Ok(Due::Nothing) };
    let Some(tick) = Ticks::new(schedule)?.last_until(now) else { return Ok(Due::Nothing) };
    let last_done = runs.iter().filter_map(tick_of).max();
    let is_new = last_done.map_or(tick >= declared_at, |done| done < tick);
    let is_during = |run: &Run| run.created_at <= tick && run.ended_at.is_none_or(|ended| ended > tick);
    Ok(match () {
        () if !is_new => Due::Nothing,
        () if runs.iter().any(is_during) => Due::Skipped(tick),
        // Made up when the run has ended that began after the tick.
        () if runs.iter().any(|run| !run.state.is_final()) => Due::Nothing,
        () => Due::Run(tick),
    })
}

fn tick_of(run: &Run) -> Option<Timestamp> {
    match &run.request {
        RunRequest::Materialize(request) => request.tick,
        RunRequest::TrainingSet(_) => None,
    }
}
