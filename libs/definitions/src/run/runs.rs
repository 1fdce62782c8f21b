//! All runs of a project and the watermarks they moved: the fold of all events.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Error, Name, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Position, Run, RunEvent, RunId, RunRequest, RunState, Scope, Watermark, WatermarkKey, apply_event};
use crate::stored;

/// The newest snapshot format.
const FORMAT: u32 = 1;

/// The runs and watermarks of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Snapshot", into = "Snapshot")]
pub struct RunsState {
    runs: BTreeMap<RunId, Run>,
    watermarks: BTreeMap<WatermarkKey, Position>,
    /// Runs that have not ended, by the view they materialize.
    active: BTreeMap<Name, BTreeSet<RunId>>,
}

impl RunsState {
    /// Folds an event; nothing is changed where it is refused (see [`apply_event`]).
    pub fn apply(&mut self, event: &RunEvent) -> Result<&Run> {
        let run = apply_event(self.runs.get(&event.run).cloned(), event)?;
        if run.state == RunState::Succeeded {
            for watermark in run.plan.iter().flat_map(|plan| &plan.watermarks) {
                self.move_watermark(watermark);
            }
        }
        self.index(&run);
        Ok(self.runs.entry(event.run.clone()).insert_entry(run).into_mut())
    }

    /// Whether an event may be appended.
    pub fn check(&self, event: &RunEvent) -> Result<Run> {
        apply_event(self.runs.get(&event.run).cloned(), event)
    }

    /// The run of that id, or NOT_FOUND.
    pub fn run(&self, id: &str) -> Result<&Run> {
        self.runs.get(id).ok_or_else(|| Error::not_found(format!("run {id} is not known")))
    }

    /// Every run, by id.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// The runs of a view that have not ended: a tick during one of them is skipped and counted.
    pub fn active_runs_of(&self, view: &str) -> impl Iterator<Item = &Run> {
        self.active.get(view).into_iter().flatten().filter_map(|id| self.runs.get(id))
    }

    /// Whether a run of the view has not ended.
    pub fn is_active(&self, view: &str) -> bool {
        self.active_runs_of(view).next().is_some()
    }

    /// Up to where everything is in the store.
    pub fn watermark(&self, key: &WatermarkKey) -> Option<&Position> {
        self.watermarks.get(key)
    }

    /// Every watermark.
    pub fn watermarks(&self) -> impl Iterator<Item = (&WatermarkKey, &Position)> {
        self.watermarks.iter()
    }

    /// A snapshot, with the events it was folded from forgotten.
    pub fn encode(&self) -> Result<Vec<u8>> {
        stored::encode("the snapshot of runs", FORMAT, self)
    }

    /// Reads a snapshot. UNIMPLEMENTED for one of a newer release, DATA_LOSS for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        stored::decode("a snapshot of runs", FORMAT, bytes)
    }

    fn index(&mut self, run: &Run) {
        let view = match &run.request {
            RunRequest::Materialize(request) => &request.view,
            RunRequest::TrainingSet(_) => return,
        };
        if !run.state.is_final() {
            self.active.entry(view.clone()).or_default().insert(run.id.clone());
        } else if let Some(active) = self.active.get_mut(view) {
            active.remove(&run.id);
            if active.is_empty() {
                self.active.remove(view);
            }
        }
    }

    fn move_watermark(&mut self, watermark: &Watermark) {
        let position = match self.watermarks.get(&watermark.key) {
            Some(current) => current.moved_to(&watermark.position),
            None => watermark.position.clone(),
        };
        self.watermarks.insert(watermark.key.clone(), position);
    }
}

impl Position {
    /// The position after a run that reached `reached`. Times and log positions never go back, whichever of two runs ends
    /// first; of files the last list counts, since reading one again does no harm.
    #[must_use]
    pub fn moved_to(&self, reached: &Self) -> Self {
        match (self, reached) {
            (Self::Time(current), Self::Time(reached)) => Self::Time(*current.max(reached)),
            (Self::Log(current), Self::Log(reached)) => {
                let mut merged = current.clone();
                for (writer, segment) in reached {
                    let known = merged.entry(writer.clone()).or_insert(*segment);
                    *known = (*known).max(*segment);
                }
                Self::Log(merged)
            }
            (Self::Time(_) | Self::Log(_) | Self::Files(_), _) => reached.clone(),
        }
    }
}

/// Where a successful run moves a watermark, decided when it is planned; none: it stays.
///
/// `reached` is how far the source was listed or read; a time is never past `started_at`, the run's start. A range given by
/// hand speaks of event times: it moves the watermark of a source read by time, and only if it begins at or before it and
/// ends after it. What arrived cannot be said from event times, so it never moves one of files or of the push log.
pub fn watermark_move(
    current: Option<&Position>,
    scope: Scope,
    reached: Position,
    started_at: Timestamp,
) -> Option<Position> {
    let capped = match reached {
        Position::Time(time) => Position::Time(time.min(started_at)),
        Position::Files(_) | Position::Log(_) => reached,
    };
    match scope {
        Scope::Full | Scope::Incremental => Some(capped),
        Scope::Range { start, end } => {
            let Position::Time(_) = capped else { return None };
            let current = match current {
                Some(Position::Time(current)) => *current,
                Some(Position::Files(_) | Position::Log(_)) => return None,
                None => Timestamp::MIN,
            };
            let end = end.min(started_at);
            (start <= current && current < end).then_some(Position::Time(end))
        }
    }
}

/// What is written: the index of active runs is made again from the runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    runs: Vec<Run>,
    watermarks: Vec<Watermark>,
}

impl From<Snapshot> for RunsState {
    fn from(Snapshot { runs, watermarks }: Snapshot) -> Self {
        let mut state = Self::default();
        for run in runs {
            state.index(&run);
            state.runs.insert(run.id.clone(), run);
        }
        state.watermarks = watermarks.into_iter().map(|watermark| (watermark.key, watermark.position)).collect();
        state
    }
}

impl From<RunsState> for Snapshot {
    fn from(state: RunsState) -> Self {
        let watermarks = state.watermarks.into_iter().map(|(key, position)| Watermark { key, position });
        Self { runs: state.runs.into_values().collect(), watermarks: watermarks.collect() }
    }
}
