//! All runs of a project and the watermarks they moved: the fold of all events.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    GONE_FILES_KEPT, GoneFile, Position, ReadFiles, Run, RunEvent, RunId, RunRequest, RunState, Watermark,
    WatermarkKey, apply_event,
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
}

impl RunsState {
    /// Folds an event; nothing is changed where it is refused (see [`apply_event`]).
    ///
    /// Of a run that has ended its parts and positions are forgotten: the watermarks have what of them counts. The oldest
    /// runs that have ended are forgotten altogether: 100 of each view besides the last of its schedule, and 1,000 training
    /// sets are kept.
    pub fn apply(&mut self, event: &RunEvent) -> Result<&Run> {
        let run = apply_event(self.runs.get(&event.run).cloned(), event)?;
        if run.state == RunState::Succeeded {
            for watermark in run.plan.iter().flat_map(|plan| &plan.watermarks) {
                self.move_watermark(watermark);
            }
        }
        let has_ended = run.state.is_final();
        if has_ended {
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

    /// A source of a row set has one watermark. Were those of other queries and schemas kept, going back to one of them
    /// would take for read what was written in another way since.
    fn move_watermark(&mut self, watermark: &Watermark) {
        let position = match self.watermarks.remove(&watermark.key) {
            Some(current) => current.moved_to(&watermark.position),
            None => watermark.position.clone(),
        };
        let WatermarkKey { row_set, source, .. } = &watermark.key;
        self.watermarks.retain(|key, _| key.row_set != *row_set || key.source != *source);
        self.watermarks.insert(watermark.key.clone(), position);
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
        let read_now = read.files.iter().map(|file| file.version.path.as_str());
        let gone = read.gone.iter().map(|file| file.path.as_str());
        let other_now: BTreeSet<&str> = read_now.chain(gone).collect();
        self.files.retain(|file| !other_now.contains(file.version.path.as_str()));
        self.files.extend_from_slice(&read.files);
        let mut all_gone: BTreeMap<String, GoneFile> = BTreeMap::new();
        for gone in self.gone.drain(..).chain(read.gone.iter().cloned()) {
            match all_gone.get_mut(&gone.path) {
                Some(known) => known.add(&gone),
                None => _ = all_gone.insert(gone.path.clone(), gone),
            }
        }
        let last_missed = all_gone.values().map(|file| file.missed_at).max();
        self.gone.extend(all_gone.into_values().filter(|file| last_missed.is_some_and(|at| file.is_remembered_at(at))));
    }
}

impl GoneFile {
    /// Whether what comes at that time may be its correction.
    pub fn is_remembered_at(&self, now: Timestamp) -> bool {
        now.minus(GONE_FILES_KEPT) <= self.missed_at
    }

    /// It came back, and went again.
    fn add(&mut self, again: &Self) {
        let times = self.event_times.zip(again.event_times);
        self.event_times = times.map(|(known, again)| known.with(again));
        self.missed_at = self.missed_at.max(again.missed_at);
    }
}

/// What is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    runs: Vec<Run>,
    watermarks: Vec<Watermark>,
}

impl From<Snapshot> for RunsState {
    fn from(Snapshot { runs, watermarks }: Snapshot) -> Self {
        Self {
            runs: runs.into_iter().map(|run| (run.id.clone(), run)).collect(),
            watermarks: watermarks.into_iter().map(|watermark| (watermark.key, watermark.position)).collect(),
        }
    }
}

impl From<RunsState> for Snapshot {
    fn from(state: RunsState) -> Self {
        let watermarks = state.watermarks.into_iter().map(|(key, position)| Watermark { key, position });
        Self { runs: state.runs.into_values().collect(), watermarks: watermarks.collect() }
    }
}
