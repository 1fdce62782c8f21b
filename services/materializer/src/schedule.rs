//! When a view's schedule asks for a run. Pure: decided from the runs there are and the time.

use larder_definitions::{
    ResolvedView,
    run::{Run, RunRequest},
    schedule::Ticks,
};
use larder_types::{Result, Timestamp};

/// What becomes of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: it has its run, or nobody asked for it.
    Nothing,
    /// Nothing yet: a run of the view goes on that began after it.
    Later,
    /// A run.
    Run,
    /// Nothing, since it came during a run of the same view.
    Skipped,
}

/// The view's last tick until now. Ticks that were missed are made up by one run, for this one.
pub fn last_tick(view: &ResolvedView, now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(schedule) = &view.definition.schedule else { return Ok(None) };
    Ok(Ticks::new(schedule)?.last_until(now))
}

/// Whether a schedule has run the view, as far back as its runs are known.
pub fn has_ticked(runs: &[Run]) -> bool {
    runs.iter().any(|run| tick_of(run).is_some())
}

/// What is due for the view's last tick, by all of its runs that are known.
///
/// A tick during a run of the same view is skipped: it is not made up when that run has ended, since a later tick is. Of a
/// view that no schedule has run yet, nothing is due for a tick that it had not `asked` for when it came. Runs for later
/// instants, made while a clock was wrong, are as good as none.
pub fn due(tick: Timestamp, asked: bool, runs: &[Run]) -> Due {
    let last_done = runs.iter().filter_map(tick_of).filter(|done| *done <= tick).max();
    let is_new = last_done.map_or(asked, |done| done < tick);
    let is_during = |run: &Run| run.created_at <= tick && run.ended_at.is_none_or(|ended| ended > tick);
    match () {
        () if !is_new => Due::Nothing,
        () if runs.iter().any(is_during) => Due::Skipped,
        () if runs.iter().any(|run| !run.state.is_final()) => Due::Later,
        () => Due::Run,
    }
}

fn tick_of(run: &Run) -> Option<Timestamp> {
    match &run.request {
        RunRequest::Materialize(request) => request.tick,
        RunRequest::TrainingSet(_) => None,
    }
}
