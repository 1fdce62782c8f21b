//! Runs, leases and watermarks: what passes between the registry, which keeps them, and the materializer, which works.
//!
//! A run is the fold of its events; the registry appends events and never updates one.

mod event_times;
mod fold;
mod leftovers;
mod runs;
mod shared;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use larder_types::{Error, LeaseNumber, Name, Result, Revision, RowSetNumber, SchemaNumber, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    event_times::{EventTimes, overlapping},
    fold::apply_event,
    leftovers::{LEFTOVERS_KEPT, Leftover},
    runs::RunsState,
};

/// Names a run. Of a scheduled one: `<view>@<instant>`, so that whoever creates it first has it.
pub type RunId = String;

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunRequest {
    /// History of one view to the online store.
    Materialize(MaterializeRequest),
    /// A point-in-time training set.
    TrainingSet(TrainingSetRequest),
}

/// History of one view to the online store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterializeRequest {
    /// The view.
    pub view: Name,
    /// What of its history.
    pub scope: Scope,
    /// The instant of the schedule that asked for it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
}

/// How much of a view's history a materialization reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of it.
    Full,
    /// What arrived since the watermark.
    Incremental,
    /// Event times in [start, end).
    Range {
        /// Inclusive.
        start: Timestamp,
        /// Exclusive.
        end: Timestamp,
    },
}

impl Scope {
    /// That it can have rows. INVALID_ARGUMENT of `field` for a range that ends at or before its start.
    pub fn check(self, field: &str) -> Result<()> {
        match self {
            Self::Range { start, end } if start >= end => {
                Err(Error::invalid_field(field, format!("is empty: {start} is not before {end}")))
            }
            Self::Range { .. } | Self::Full | Self::Incremental => Ok(()),
        }
    }
}

/// What a training set was asked for: with the spine and the revision, enough to ask for it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingSetRequest {
    /// The feature service, or none where references were given.
    pub feature_service: Option<Name>,
    /// `view.feature` or `view`.
    pub references: Vec<String>,
    /// Where the spine came from: a path, or `streamed`.
    pub spine: String,
    /// The spine's column with the time; empty in runs of the first releases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event_time: String,
    /// Where the result goes: a path, or `streamed`.
    pub output: String,
    /// Whether features carry their full names.
    pub full_names: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nobody works on it yet.
    Pending,
    /// A worker holds its lease.
    Running,
    /// All of it is done.
    Succeeded,
    /// It cannot be done; see the error.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The name on the outside.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// What a run fixed at its start, so that a resumed one does the rest of the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The revision it works by.
    pub revision: Revision,
    /// When it started: later rows are left for a later run.
    pub started_at: Timestamp,
    /// The row set it writes, of a materialization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_set: Option<RowSetNumber>,
    /// What there is to do.
    pub parts: Vec<Part>,
    /// The watermarks to be moved when all parts are done.
    pub watermarks: Vec<Watermark>,
    /// Files that were read and are not there as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<GoneFile>,
    /// The greatest number of the leftovers that it meets.
    #[serde(default)]
    pub meets: u64,
    /// Digest and count of the spine, of a training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spine: Option<SpineDigest>,
}

/// What tells one spine from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpineDigest {
    /// Hexadecimal SHA-256 over its rows.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
}

/// A piece of work of a run, done when its rows are in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The source it reads.
    pub source: Name,
    /// What of it.
    pub what: PartKind,
    /// The event times of its rows, where they are known: parts without one in common have no rows that tie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_times: Option<EventTimes>,
    /// Whether its rows replace stored ones of equal times, since what it reads may have been corrected in place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

/// What a part reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// One file; a file that changed since fails the run by name.
    File(FileVersion),
    /// Event times in [start, end) of a table.
    TimeRange {
        /// Inclusive.
        start: Timestamp,
        /// Exclusive.
        end: Timestamp,
    },
    /// The push log from a position (exclusive) to another (inclusive).
    Log {
        /// By writer.
        from: BTreeMap<String, u64>,
        /// By writer.
        to: BTreeMap<String, u64>,
    },
}

/// A file as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileVersion {
    /// Its path or URL.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What the store calls this content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// How much was done, counted in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Read from sources.
    pub read: u64,
    /// Written to the online store or the training set.
    pub written: u64,
    /// Not written: the store had a newer one, or one as new.
    pub older: u64,
    /// Not written: past the view's ttl.
    pub expired: u64,
    /// Refused: a null event time or key.
    pub refused: u64,
    /// Left for a later run: later than the start of this one.
    pub future: u64,
    /// Parts that are done.
    pub parts_done: u64,
    /// Parts in all.
    pub parts: u64,
}

/// What is new is what lies after it. Belongs to (row set, source, query, schema).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Whose.
    pub key: WatermarkKey,
    /// Up to where everything is in the store.
    pub position: Position,
}

/// Whose watermark it is: a change of any of these starts a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WatermarkKey {
    /// Where the rows went.
    pub row_set: RowSetNumber,
    /// Where they came from.
    pub source: Name,
    /// What was read there: path, columns, query; compared, never read.
    pub query: String,
    /// What they were written with.
    pub schema: SchemaNumber,
}

/// Files that were read. In a plan they are left out: they are its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadFiles {
    /// As they were; one of each path.
    pub files: Vec<ReadFile>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// As it was.
    pub version: FileVersion,
    /// The event times of its rows, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_times: Option<EventTimes>,
    /// Whether it has rows later than the start of the run that read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
}

/// A file that is not there as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneFile {
    /// Of which source.
    pub source: Name,
    /// Where it was.
    pub path: String,
    /// The event times of the rows that it had, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_times: Option<EventTimes>,
}

/// What is known of the rows that a row set has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSetRecord {
    /// How far each source was read.
    pub watermarks: Vec<Watermark>,
    /// What no watermark accounts for.
    pub leftovers: Vec<Leftover>,
}

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// The files that were read.
    Files(ReadFiles),
    /// The last segment of each writer of the push log.
    Log(BTreeMap<String, u64>),
    /// Event or created times before this.
    Time(Timestamp),
}

/// How long a lease lasts unless renewed.
pub const LEASE_TERM: Duration = Duration::from_secs(15);

/// What happened to a run. The registry's clock gives `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Which run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: RunEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEventKind {
    /// Somebody asked for it.
    Created {
        /// What for.
        request: RunRequest,
        /// Who asked.
        principal: String,
        /// The W3C `traceparent` of the call that asked, so that whoever works on it later is part of the same trace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// A worker took it, or took it over. Renewals are not events: they live in the registry's memory.
    Leased {
        /// The new lease's number.
        number: LeaseNumber,
        /// The worker.
        holder: String,
    },
    /// The worker fixed what there is to do.
    Planned {
        /// Under which lease.
        lease: LeaseNumber,
        /// What.
        plan: Box<RunPlan>,
    },
    /// The rows of parts are in the store.
    PartsDone {
        /// Under which lease.
        lease: LeaseNumber,
        /// Their positions in the plan.
        parts: Vec<usize>,
        /// The run's counts with these parts.
        progress: Progress,
    },
    /// Somebody wants it stopped.
    CancelRequested {
        /// Who.
        principal: String,
    },
    /// Nothing more will happen. A success moves the plan's watermarks.
    Ended {
        /// Under which lease; none: it ended before a worker took it.
        lease: Option<LeaseNumber>,
        /// How.
        outcome: Outcome,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All parts are done.
    Succeeded {
        /// The final counts.
        progress: Progress,
        /// Where the result lies, of a training set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        error: String,
    },
    /// Somebody stopped it.
    Cancelled,
}

/// The fold of a run's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What it was asked to do.
    pub request: RunRequest,
    /// Who asked.
    pub principal: String,
    /// The W3C `traceparent` of the call that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The greatest lease ever given for it; `expires_at` is not part of the fold.
    pub lease: Option<(LeaseNumber, String)>,
    /// What it fixed at its start. Shared, since it may be long.
    #[serde(with = "shared")]
    pub plan: Option<Arc<RunPlan>>,
    /// Which parts of the plan are done.
    pub parts_done: Vec<bool>,
    /// How much was done.
    pub progress: Progress,
    /// Whether somebody wants it stopped.
    pub cancel_requested: bool,
    /// Why it failed; of a running one, what ended the last attempt.
    pub error: Option<String>,
    /// Where the result lies, of a training set.
    pub result: Option<String>,
}
