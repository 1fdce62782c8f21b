//! All runs of a project and the watermarks they moved: the fold of all events.

use std::collections::{BTreeMap, BTreeSet};

use larder_types::{Error, Name, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    GONE_FILES_KEPT, GoneFile, Part, PartKind, Position, ReadFile, ReadFiles, Run, RunEvent, RunId, RunPlan,
    RunRequest, RunState, Watermark, WatermarkKey, apply_event, overlapping,
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
            if let Some(plan) = &run.plan {
                plan.watermarks.iter().for_each(|watermark| self.move_watermark(plan, watermark));
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
    fn move_watermark(&mut self, plan: &RunPlan, watermark: &Watermark) {
        let reached = watermark.position.with_files_of(plan, &watermark.key.source);
        let position = match self.watermarks.remove(&watermark.key) {
            Some(current) => current.moved_to(&reached),
            None => reached,
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
    /// The position as a plan carries it.
    #[must_use]
    pub fn without_files(self) -> Self {
        match self {
            Self::Files(ReadFiles { files: _, gone }) => Self::Files(ReadFiles { files: Vec::new(), gone }),
            Self::Log(_) | Self::Time(_) => self,
        }
    }

    /// The position that a run reached whose plan is this.
    fn with_files_of(&self, plan: &RunPlan, source: &Name) -> Self {
        let Self::Files(ReadFiles { gone, .. }) = self else { return self.clone() };
        let file = |part: &Part| match &part.what {
            PartKind::File(version) if part.source == *source => {
                let in_part = part.event_times.is_some_and(|times| times.last > plan.started_at);
                Some(ReadFile { version: version.clone(), event_times: part.event_times, in_part })
            }
            PartKind::File(_) | PartKind::TimeRange { .. } | PartKind::Log { .. } => None,
        };
        Self::Files(ReadFiles { files: plan.parts.iter().filter_map(file).collect(), gone: gone.clone() })
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
        let read_now = read.files.iter().map(|file| file.version.path.as_str());
        let gone = read.gone.iter().map(|file| file.path.as_str());
        let other_now: BTreeSet<&str> = read_now.chain(gone).collect();
        self.files.retain(|file| !other_now.contains(file.version.path.as_str()));
        self.files.extend_from_slice(&read.files);
        self.gone.extend_from_slice(&read.gone);
        let last_missed = self.gone.iter().map(|file| file.missed_at).max();
        self.gone.retain(|file| last_missed.is_some_and(|last| file.is_remembered_at(last)));
        self.gone = overlapping_gone(std::mem::take(&mut self.gone));
    }
}

impl GoneFile {
    /// Whether what comes at that time may be its correction.
    pub fn is_remembered_at(&self, now: Timestamp) -> bool {
        now.minus(GONE_FILES_KEPT) <= self.missed_at
    }
}

/// Of those that were missed at one time and have event times in common, one stands for all.
fn overlapping_gone(files: Vec<GoneFile>) -> Vec<GoneFile> {
    let mut by_time: BTreeMap<Timestamp, Vec<GoneFile>> = BTreeMap::new();
    files.into_iter().for_each(|file| by_time.entry(file.missed_at).or_default().push(file));
    let mut joined = Vec::new();
    for files in by_time.into_values() {
        let times: Vec<_> = files.iter().map(|file| file.event_times).collect();
        for group in overlapping(&times) {
            let all = group.iter().map(|file| times[*file]).reduce(|one, other| Some(one?.with(other?)));
            let first = group.iter().map(|file| &files[*file]).min_by(|one, other| one.path.cmp(&other.path));
            joined.extend(first.map(|first| GoneFile { event_times: all.flatten(), ..first.clone() }));
        }
    }
    joined
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
