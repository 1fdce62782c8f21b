//! All runs of a project and the watermarks they moved: the fold of all events.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Error, Name, Result, RowSetNumber, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    EventTimes, Part, PartKind, Position, ReadFile, ReadFiles, RowSetRecord, Run, RunEvent, RunId, RunPlan, RunRequest,
    RunState, Scope, Watermark, WatermarkKey, apply_event, leftovers::Leftovers,
};
use crate::stored;

/// The newest snapshot format.
const FORMAT: u32 = 1;

/// How many materializations of a view that have ended are known: the newest.
const KEPT_OF_VIEW: usize = 100;

/// How many training sets that have ended are known: the newest.
const KEPT_TRAINING_SETS: usize = 1_000;

/// The runs and watermarks of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Snapshot", into = "Snapshot")]
pub struct RunsState {
    runs: BTreeMap<RunId, Run>,
    watermarks: BTreeMap<WatermarkKey, Position>,
    leftovers: BTreeMap<RowSetNumber, Leftovers>,
}

impl RunsState {
    /// Folds an event; nothing is changed where it is refused (see [`apply_event`]).
    ///
    /// Of a run that has ended its parts and positions are forgotten: the watermarks have what of them counts. The oldest
    /// runs that have ended are forgotten altogether: 100 of each view besides the last of its schedule, and 1,000 training
    /// sets are kept.
    pub fn apply(&mut self, event: &RunEvent) -> Result<&Run> {
        let run = apply_event(self.runs.get(&event.run).cloned(), event)?;
        let has_ended = run.state.is_final();
        if has_ended {
            self.account_for(&run, event.at);
            self.forget_oldest(&run);
        }
        let run = if has_ended { run.without_parts() } else { run };
        Ok(self.runs.entry(event.run.clone()).insert_entry(run).into_mut())
    }

    /// Makes room for a run that has ended among those like it.
    fn forget_oldest(&mut self, newest: &Run) {
        let is_like = |run: &Run| match (&run.request, &newest.request) {
            (RunRequest::Materialize(one), RunRequest::Materialize(other)) => one.view == other.view,
            (RunRequest::TrainingSet(_), RunRequest::TrainingSet(_)) => true,
            (RunRequest::Materialize(_) | RunRequest::TrainingSet(_), _) => false,
        };
        let kept = match newest.request {
            RunRequest::Materialize(_) => KEPT_OF_VIEW,
            RunRequest::TrainingSet(_) => KEPT_TRAINING_SETS,
        };
        let others = self.runs.values().filter(|run| run.state.is_final() && run.id != newest.id && is_like(run));
        let mut ended: Vec<_> = others.map(|run| (run.ended_at, run.id.clone())).collect();
        ended.sort_unstable();
        let too_many = (ended.len() + 1).saturating_sub(kept);
        // A schedule goes on from its last tick, however many other runs came after it.
        let last_tick = self.runs.values().chain([newest]).filter(|run| is_like(run)).filter_map(ticked).max();
        let last_tick = last_tick.map(|(_, id)| id.clone());
        for (_, id) in ended.into_iter().take(too_many).filter(|(_, id)| Some(id) != last_tick.as_ref()) {
            self.runs.remove(&id);
        }
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

    /// Up to where everything is in the store.
    pub fn watermark(&self, key: &WatermarkKey) -> Option<&Position> {
        self.watermarks.get(key)
    }

    /// What is known of a row set.
    pub fn row_set(&self, row_set: RowSetNumber) -> RowSetRecord {
        let watermarks = self.watermarks.iter().filter(|(key, _)| key.row_set == row_set);
        let watermarks = watermarks.map(|(key, position)| Watermark { key: key.clone(), position: position.clone() });
        let leftovers = self.leftovers.get(&row_set).map(|leftovers| leftovers.all.clone());
        RowSetRecord { watermarks: watermarks.collect(), leftovers: leftovers.unwrap_or_default() }
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

    /// Moves the watermarks of a materialization that has succeeded; what another may have written is left over.
    fn account_for(&mut self, run: &Run, ended_at: Timestamp) {
        let RunRequest::Materialize(request) = &run.request else { return };
        let Some(plan) = &run.plan else { return };
        let Some(row_set) = plan.row_set else { return };
        if run.state == RunState::Succeeded && !matches!(request.scope, Scope::Range { .. }) {
            self.move_watermarks(row_set, plan, ended_at);
        } else if !plan.parts.is_empty() {
            let rows = plan.parts.iter().filter_map(|part| {
                let times = part.event_times.unwrap_or(EventTimes::ALL).within(request.scope)?;
                Some((part.source.clone(), Some(times)))
            });
            self.leftovers.entry(row_set).or_default().add(rows, ended_at, false);
        }
    }

    /// A row set has the watermarks of its last plan. Were those of other queries, schemas and sources kept, going back to one
    /// of them would take for read what was written in another way since; so what they had is left over.
    fn move_watermarks(&mut self, row_set: RowSetNumber, plan: &RunPlan, ended_at: Timestamp) {
        if plan.watermarks.is_empty() {
            return;
        }
        let leftovers = self.leftovers.entry(row_set).or_default();
        let is_other = |key: &WatermarkKey| {
            key.row_set == row_set && plan.watermarks.iter().all(|watermark| watermark.key != *key)
        };
        for (key, position) in self.watermarks.extract_if(.., |key, _| is_other(key)) {
            let files = match position {
                Position::Files(ReadFiles { files }) => files,
                Position::Log(_) | Position::Time(_) => Vec::new(),
            };
            let rows = files.into_iter().map(|file| (key.source.clone(), file.event_times));
            leftovers.add(rows, ended_at, true);
        }
        for watermark in &plan.watermarks {
            let reached = watermark.position.with_files_of(plan, &watermark.key.source);
            let position = match self.watermarks.remove(&watermark.key) {
                Some(current) => current.without_gone(plan, &watermark.key.source).moved_to(&reached),
                None => reached,
            };
            self.watermarks.insert(watermark.key.clone(), position);
        }
        leftovers.add(plan.gone.iter().map(|file| (file.source.clone(), file.event_times)), ended_at, true);
        leftovers.meet(plan.meets, ended_at);
        if leftovers.all.is_empty() {
            self.leftovers.remove(&row_set);
        }
    }
}

/// The tick of a run that a schedule asked for, and its id.
fn ticked(run: &Run) -> Option<(Timestamp, &RunId)> {
    match &run.request {
        RunRequest::Materialize(request) => request.tick.map(|tick| (tick, &run.id)),
        RunRequest::TrainingSet(_) => None,
    }
}

impl Position {
    /// The position as a plan carries it.
    #[must_use]
    pub fn without_files(self) -> Self {
        match self {
            Self::Files(_) => Self::Files(ReadFiles::default()),
            Self::Log(_) | Self::Time(_) => self,
        }
    }

    /// The position that a run reached whose plan is this.
    fn with_files_of(&self, plan: &RunPlan, source: &Name) -> Self {
        let Self::Files(_) = self else { return self.clone() };
        let file = |part: &Part| match &part.what {
            PartKind::File(version) if part.source == *source => {
                let in_part = part.event_times.is_some_and(|times| times.last > plan.started_at);
                Some(ReadFile { version: version.clone(), event_times: part.event_times, in_part })
            }
            PartKind::File(_) | PartKind::TimeRange { .. } | PartKind::Log { .. } => None,
        };
        Self::Files(ReadFiles { files: plan.parts.iter().filter_map(file).collect() })
    }

    fn without_gone(mut self, plan: &RunPlan, source: &Name) -> Self {
        if let Self::Files(ReadFiles { files }) = &mut self {
            let gone = plan.gone.iter().filter(|file| file.source == *source).map(|file| file.path.as_str());
            let gone: BTreeSet<&str> = gone.collect();
            files.retain(|file| !gone.contains(file.version.path.as_str()));
        }
        self
    }

    /// The position after a run that reached `reached`. Times and log positions never go back, whichever of two runs ends
    /// first; files are added to those read before, each as it was read last.
    #[must_use]
    pub fn moved_to(self, reached: &Self) -> Self {
        match (self, reached) {
            (Self::Time(current), Self::Time(reached)) => Self::Time(current.max(*reached)),
            (Self::Log(mut merged), Self::Log(reached)) => {
                for (writer, segment) in reached {
                    let known = merged.entry(writer.clone()).or_insert(*segment);
                    *known = (*known).max(*segment);
                }
                Self::Log(merged)
            }
            (Self::Files(mut files), Self::Files(reached)) => {
                files.add(reached);
                Self::Files(files)
            }
            (Self::Time(_) | Self::Log(_) | Self::Files(_), _) => reached.clone(),
        }
    }
}

impl ReadFiles {
    fn add(&mut self, read: &Self) {
        let again: BTreeSet<&str> = read.files.iter().map(|file| file.version.path.as_str()).collect();
        self.files.retain(|file| !again.contains(file.version.path.as_str()));
        self.files.extend_from_slice(&read.files);
    }
}

impl EventTimes {
    /// Those that a run of this scope reads; none: it reads no row of them.
    fn within(self, scope: Scope) -> Option<Self> {
        let Scope::Range { start, end } = scope else { return Some(self) };
        let last = Timestamp::from_micros(end.as_micros().saturating_sub(1));
        let times = Self { first: self.first.max(start), last: self.last.min(last) };
        (times.first <= times.last).then_some(times)
    }
}

/// What is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    runs: Vec<Run>,
    watermarks: Vec<Watermark>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    leftovers: BTreeMap<RowSetNumber, Leftovers>,
}

impl From<Snapshot> for RunsState {
    fn from(Snapshot { runs, watermarks, leftovers }: Snapshot) -> Self {
        Self {
            runs: runs.into_iter().map(|run| (run.id.clone(), run)).collect(),
            watermarks: watermarks.into_iter().map(|watermark| (watermark.key, watermark.position)).collect(),
            leftovers,
        }
    }
}

impl From<RunsState> for Snapshot {
    fn from(state: RunsState) -> Self {
        let watermarks = state.watermarks.into_iter().map(|(key, position)| Watermark { key, position });
        Self { runs: state.runs.into_values().collect(), watermarks: watermarks.collect(), leftovers: state.leftovers }
    }
}
