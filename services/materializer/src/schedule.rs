//! When a view's schedule asks for a run. Pure: decided from the runs there are and the time.

use larder_definitions::{
    ResolvedView,
    run::{Run, RunRequest},
    schedule::Ticks,
};
use larder_types::{Result, Timestamp};

/// The tick that is due now, if one is.
///
/// Ticks that were missed are made up by one run, for the last of them. A tick during a run of the same view is skipped: it
/// is not made up when that run has ended, since a later tick is. Of a view that no schedule has run yet, nothing is due for
/// ticks before `declared_at`, when the catalog was made.
pub fn due(view: &ResolvedView, declared_at: Timestamp, runs: &[Run], now: Timestamp) -> Result<Option<Timestamp>> {
    let Some(schedule) = &view.definition.schedule else { return Ok(None) };
    let Some(tick) = Ticks::new(schedule)?.last_until(now) else { return Ok(None) };
    let last_done = runs.iter().filter_map(tick_of).max();
    let is_new = last_done.map_or(tick >= declared_at, |done| done < tick);
    let is_active = runs.iter().any(|run| !run.state.is_final());
    let was_skipped = runs.iter().any(|run| run.created_at <= tick && run.ended_at.is_some_and(|ended| ended > tick));
    Ok((is_new && !is_active && !was_skipped).then_some(tick))
}

fn tick_of(run: &Run) -> Option<Timestamp> {
    match &run.request {
        RunRequest::Materialize(request) => request.tick,
        RunRequest::TrainingSet(_) => None,
    }
}
