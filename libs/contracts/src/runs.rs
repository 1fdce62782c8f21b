//! Runs, their plans, watermarks and ends.

use std::sync::Arc;

use larder_definitions::run::{
    EventTimes, FileVersion, GoneFile, Leftover, MaterializeRequest, Outcome, Part, PartKind, Position, Progress,
    ReadFile, ReadFiles, Run, RunPlan, RunRequest, RunState, Scope, SpineDigest, TrainingSetRequest, Watermark,
    WatermarkKey,
};
use larder_types::{LeaseNumber, Result, Revision, RowSetNumber, SchemaNumber, Timestamp};

use crate::{
    registry::v1 as api,
    wire::{Path, Wire, all_to_wire, optional_text, text},
};

impl Wire for Run {
    type Message = api::Run;

    fn to_wire(&self) -> api::Run {
        api::Run {
            id: self.id.clone(),
            request: Some(self.request.to_wire()),
            principal: self.principal.clone(),
            traceparent: text(self.traceparent.as_ref()),
            state: self.state.to_wire(),
            created_at: self.created_at.to_wire(),
            ended_at: self.ended_at.map(Timestamp::as_micros),
            lease: self.lease.as_ref().map_or(0, |(number, _)| number.0),
            holder: self.lease.as_ref().map(|(_, holder)| holder.clone()).unwrap_or_default(),
            plan: self.plan.as_deref().map(RunPlan::to_wire),
            parts_done: self.parts_done.clone(),
            progress: Some(self.progress.to_wire()),
            cancel_requested: self.cancel_requested,
            error: text(self.error.as_ref()),
            result: text(self.result.as_ref()),
        }
    }

    fn from_wire(message: api::Run, at: &Path<'_>) -> Result<Self> {
        let api::Run {
            id,
            request,
            principal,
            state,
            created_at,
            ended_at,
            lease,
            holder,
            plan,
            parts_done,
            progress,
            cancel_requested,
            error,
            result,
            traceparent,
        } = message;
        Ok(Self {
            id,
            request: at.read("request", request)?,
            principal,
            traceparent: optional_text(traceparent),
            state: RunState::from_wire(state, &at.field("state"))?,
            created_at: Timestamp::from_micros(created_at),
            ended_at: ended_at.map(Timestamp::from_micros),
            lease: (lease > 0).then_some((LeaseNumber(lease), holder)),
            plan: at.read_optional("plan", plan)?.map(Arc::new),
            parts_done,
            progress: at.read_optional("progress", progress)?.unwrap_or_default(),
            cancel_requested,
            error: optional_text(error),
            result: optional_text(result),
        })
    }
}

impl Wire for RunRequest {
    type Message = api::RunRequest;

    fn to_wire(&self) -> api::RunRequest {
        let request = match self {
            Self::Materialize(request) => api::run_request::Request::Materialize(request.to_wire()),
            Self::TrainingSet(request) => api::run_request::Request::TrainingSet(request.to_wire()),
        };
        api::RunRequest { request: Some(request) }
    }

    fn from_wire(message: api::RunRequest, at: &Path<'_>) -> Result<Self> {
        let api::RunRequest { request } = message;
        match request.ok_or_else(|| at.none_known("its kind of run", &["materialize", "training_set"]))? {
            api::run_request::Request::Materialize(request) => {
                MaterializeRequest::from_wire(request, &at.field("materialize")).map(Self::Materialize)
            }
            api::run_request::Request::TrainingSet(request) => {
                TrainingSetRequest::from_wire(request, &at.field("training_set")).map(Self::TrainingSet)
            }
        }
    }
}

impl Wire for MaterializeRequest {
    type Message = api::MaterializeRunRequest;

    fn to_wire(&self) -> api::MaterializeRunRequest {
        api::MaterializeRunRequest {
            view: self.view.to_string(),
            scope: Some(self.scope.to_wire()),
            tick: self.tick.map(Timestamp::as_micros),
        }
    }

    fn from_wire(message: api::MaterializeRunRequest, at: &Path<'_>) -> Result<Self> {
        let api::MaterializeRunRequest { view, scope, tick } = message;
        Ok(Self {
            view: at.name("view", &view)?,
            scope: at.read("scope", scope)?,
            tick: tick.map(Timestamp::from_micros),
        })
    }
}

impl Wire for Scope {
    type Message = api::MaterializeScope;

    fn to_wire(&self) -> api::MaterializeScope {
        let scope = match *self {
            Self::Full => api::materialize_scope::Scope::Full(api::Full {}),
            Self::Incremental => api::materialize_scope::Scope::Incremental(api::Incremental {}),
            Self::Range { start, end } => api::materialize_scope::Scope::Range(range_to_wire(start, end)),
        };
        api::MaterializeScope { scope: Some(scope) }
    }

    fn from_wire(message: api::MaterializeScope, at: &Path<'_>) -> Result<Self> {
        let api::MaterializeScope { scope } = message;
        Ok(match scope.ok_or_else(|| at.not_understood("its scope"))? {
            api::materialize_scope::Scope::Full(api::Full {}) => Self::Full,
            api::materialize_scope::Scope::Incremental(api::Incremental {}) => Self::Incremental,
            api::materialize_scope::Scope::Range(range) => {
                let (start, end) = range_from_wire(range, &at.field("range"))?;
                Self::Range { start, end }
            }
        })
    }
}

/// [start, end)
pub fn range_to_wire(start: Timestamp, end: Timestamp) -> api::TimeRange {
    api::TimeRange { start: start.as_micros(), end: end.as_micros() }
}

/// [start, end); INVALID_ARGUMENT where it ends before it begins.
pub fn range_from_wire(message: api::TimeRange, at: &Path<'_>) -> Result<(Timestamp, Timestamp)> {
    let api::TimeRange { start, end } = message;
    let (start, end) = (Timestamp::from_micros(start), Timestamp::from_micros(end));
    if end < start {
        return Err(at.invalid(format!("a range of times ends at or after its start: {start} to {end}")));
    }
    Ok((start, end))
}

impl Wire for TrainingSetRequest {
    type Message = api::TrainingSetRunRequest;

    fn to_wire(&self) -> api::TrainingSetRunRequest {
        api::TrainingSetRunRequest {
            feature_service: text(self.feature_service.as_ref()),
            references: self.references.clone(),
            spine: self.spine.clone(),
            output: self.output.clone(),
            full_names: self.full_names,
            event_time: self.event_time.clone(),
        }
    }

    fn from_wire(message: api::TrainingSetRunRequest, at: &Path<'_>) -> Result<Self> {
        let api::TrainingSetRunRequest { feature_service, references, spine, output, full_names, event_time } = message;
        Ok(Self {
            feature_service: at.optional_name("feature_service", &feature_service)?,
            references,
            spine,
            output,
            full_names,
            event_time,
        })
    }
}

impl Wire for RunState {
    type Message = i32;

    fn to_wire(&self) -> i32 {
        match self {
            Self::Pending => api::RunState::Pending,
            Self::Running => api::RunState::Running,
            Self::Succeeded => api::RunState::Succeeded,
            Self::Failed => api::RunState::Failed,
            Self::Cancelled => api::RunState::Cancelled,
        }
        .into()
    }

    fn from_wire(message: i32, at: &Path<'_>) -> Result<Self> {
        match api::RunState::try_from(message) {
            Ok(api::RunState::Unspecified) => Err(at.invalid("is missing")),
            Ok(api::RunState::Pending) => Ok(Self::Pending),
            Ok(api::RunState::Running) => Ok(Self::Running),
            Ok(api::RunState::Succeeded) => Ok(Self::Succeeded),
            Ok(api::RunState::Failed) => Ok(Self::Failed),
            Ok(api::RunState::Cancelled) => Ok(Self::Cancelled),
            Err(_) => Err(at.not_understood(format_args!("run state {message}"))),
        }
    }
}

impl Wire for FileVersion {
    type Message = api::FileVersion;

    fn to_wire(&self) -> api::FileVersion {
        api::FileVersion { path: self.path.clone(), size: self.size, etag: text(self.etag.as_ref()) }
    }

    fn from_wire(message: api::FileVersion, _at: &Path<'_>) -> Result<Self> {
        let api::FileVersion { path, size, etag } = message;
        Ok(Self { path, size, etag: optional_text(etag) })
    }
}

impl Wire for Part {
    type Message = api::Part;

    fn to_wire(&self) -> api::Part {
        let what = match &self.what {
            PartKind::File(file) => api::part::What::File(file.to_wire()),
            PartKind::TimeRange { start, end } => api::part::What::TimeRange(range_to_wire(*start, *end)),
            PartKind::Log { from, to } => api::part::What::Log(api::LogRange {
                from: Some(api::LogPosition { segments: from.clone() }),
                to: Some(api::LogPosition { segments: to.clone() }),
            }),
        };
        api::Part {
            source: self.source.to_string(),
            what: Some(what),
            event_times: self.event_times.as_ref().map(Wire::to_wire),
            replaces: self.replaces,
        }
    }

    fn from_wire(message: api::Part, at: &Path<'_>) -> Result<Self> {
        let api::Part { source, what, event_times, replaces } = message;
        let what = match what.ok_or_else(|| at.not_understood("its kind of part"))? {
            api::part::What::File(file) => PartKind::File(FileVersion::from_wire(file, &at.field("file"))?),
            api::part::What::TimeRange(range) => {
                let (start, end) = range_from_wire(range, &at.field("time_range"))?;
                PartKind::TimeRange { start, end }
            }
            api::part::What::Log(api::LogRange { from, to }) => {
                let log = at.field("log");
                let api::LogPosition { segments: from } = log.required("from", from)?;
                let api::LogPosition { segments: to } = log.required("to", to)?;
                PartKind::Log { from, to }
            }
        };
        let event_times = times_from_wire(event_times, at)?;
        Ok(Self { source: at.name("source", &source)?, what, event_times, replaces })
    }
}

fn times_from_wire(times: Option<api::EventTimes>, at: &Path<'_>) -> Result<Option<EventTimes>> {
    times.map(|times| EventTimes::from_wire(times, &at.field("event_times"))).transpose()
}

impl Wire for ReadFile {
    type Message = api::ReadFile;

    fn to_wire(&self) -> api::ReadFile {
        api::ReadFile {
            version: Some(self.version.to_wire()),
            event_times: self.event_times.as_ref().map(Wire::to_wire),
            in_part: self.in_part,
        }
    }

    fn from_wire(message: api::ReadFile, at: &Path<'_>) -> Result<Self> {
        let api::ReadFile { version, event_times, in_part } = message;
        Ok(Self { version: at.read("version", version)?, event_times: times_from_wire(event_times, at)?, in_part })
    }
}

impl Wire for GoneFile {
    type Message = api::GoneFile;

    fn to_wire(&self) -> api::GoneFile {
        api::GoneFile {
            source: self.source.to_string(),
            path: self.path.clone(),
            event_times: self.event_times.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: api::GoneFile, at: &Path<'_>) -> Result<Self> {
        let api::GoneFile { source, path, event_times } = message;
        Ok(Self { source: at.name("source", &source)?, path, event_times: times_from_wire(event_times, at)? })
    }
}

impl Wire for Leftover {
    type Message = api::Leftover;

    fn to_wire(&self) -> api::Leftover {
        api::Leftover {
            number: self.number,
            source: self.source.to_string(),
            event_times: self.event_times.as_ref().map(Wire::to_wire),
            noted_at: self.noted_at.as_micros(),
            is_met: self.is_met,
        }
    }

    fn from_wire(message: api::Leftover, at: &Path<'_>) -> Result<Self> {
        let api::Leftover { number, source, event_times, noted_at, is_met } = message;
        let (source, event_times) = (at.name("source", &source)?, times_from_wire(event_times, at)?);
        Ok(Self { number, source, event_times, noted_at: Timestamp::from_micros(noted_at), is_met })
    }
}

impl Wire for EventTimes {
    type Message = api::EventTimes;

    fn to_wire(&self) -> api::EventTimes {
        api::EventTimes { first: self.first.as_micros(), last: self.last.as_micros() }
    }

    fn from_wire(message: api::EventTimes, _at: &Path<'_>) -> Result<Self> {
        let api::EventTimes { first, last } = message;
        Ok(Self { first: Timestamp::from_micros(first), last: Timestamp::from_micros(last) })
    }
}

impl Wire for WatermarkKey {
    type Message = api::WatermarkKey;

    fn to_wire(&self) -> api::WatermarkKey {
        api::WatermarkKey {
            row_set: self.row_set.0,
            source: self.source.to_string(),
            query: self.query.clone(),
            schema: self.schema.0,
        }
    }

    fn from_wire(message: api::WatermarkKey, at: &Path<'_>) -> Result<Self> {
        let api::WatermarkKey { row_set, source, query, schema } = message;
        Ok(Self {
            row_set: RowSetNumber(row_set),
            source: at.name("source", &source)?,
            query,
            schema: SchemaNumber(schema),
        })
    }
}

impl Wire for Watermark {
    type Message = api::Watermark;

    fn to_wire(&self) -> api::Watermark {
        let position = match &self.position {
            Position::Files(ReadFiles { files }) => {
                api::watermark::Position::Files(api::FileSet { files: all_to_wire(files) })
            }
            Position::Log(segments) => api::watermark::Position::Log(api::LogPosition { segments: segments.clone() }),
            Position::Time(time) => api::watermark::Position::Time(time.as_micros()),
        };
        api::Watermark { key: Some(self.key.to_wire()), position: Some(position) }
    }

    fn from_wire(message: api::Watermark, at: &Path<'_>) -> Result<Self> {
        let api::Watermark { key, position } = message;
        let position = match position.ok_or_else(|| at.not_understood("its position"))? {
            api::watermark::Position::Files(api::FileSet { files }) => {
                Position::Files(ReadFiles { files: at.field("files").read_all("files", files)? })
            }
            api::watermark::Position::Log(api::LogPosition { segments }) => Position::Log(segments),
            api::watermark::Position::Time(time) => Position::Time(Timestamp::from_micros(time)),
        };
        Ok(Self { key: at.read("key", key)?, position })
    }
}

impl Wire for SpineDigest {
    type Message = api::SpineDigest;

    fn to_wire(&self) -> api::SpineDigest {
        api::SpineDigest { sha256: self.sha256.clone(), rows: self.rows }
    }

    fn from_wire(message: api::SpineDigest, _at: &Path<'_>) -> Result<Self> {
        let api::SpineDigest { sha256, rows } = message;
        Ok(Self { sha256, rows })
    }
}

impl Wire for RunPlan {
    type Message = api::RunPlan;

    fn to_wire(&self) -> api::RunPlan {
        api::RunPlan {
            revision: self.revision.0,
            started_at: self.started_at.as_micros(),
            row_set: self.row_set.map(|number| number.0),
            parts: all_to_wire(&self.parts),
            watermarks: all_to_wire(&self.watermarks),
            spine: self.spine.as_ref().map(SpineDigest::to_wire),
            gone: all_to_wire(&self.gone),
            meets: self.meets,
        }
    }

    fn from_wire(message: api::RunPlan, at: &Path<'_>) -> Result<Self> {
        let api::RunPlan { revision, started_at, row_set, parts, watermarks, spine, gone, meets } = message;
        Ok(Self {
            revision: Revision(revision),
            started_at: Timestamp::from_micros(started_at),
            row_set: row_set.map(RowSetNumber),
            parts: at.read_all("parts", parts)?,
            watermarks: at.read_all("watermarks", watermarks)?,
            spine: at.read_optional("spine", spine)?,
            gone: at.read_all("gone", gone)?,
            meets,
        })
    }
}

impl Wire for Progress {
    type Message = api::Progress;

    fn to_wire(&self) -> api::Progress {
        let Self { read, written, older, expired, refused, future, parts_done, parts } = *self;
        api::Progress { read, written, older, expired, refused, future, parts_done, parts }
    }

    fn from_wire(message: api::Progress, _at: &Path<'_>) -> Result<Self> {
        let api::Progress { read, written, older, expired, refused, future, parts_done, parts } = message;
        Ok(Self { read, written, older, expired, refused, future, parts_done, parts })
    }
}

/// The end of a run, as the oneof of `FinishRunRequest`.
impl Wire for Outcome {
    type Message = api::finish_run_request::Outcome;

    fn to_wire(&self) -> Self::Message {
        match self {
            Self::Succeeded { progress, result } => Self::Message::Succeeded(api::Succeeded {
                progress: Some(progress.to_wire()),
                result: text(result.as_ref()),
            }),
            Self::Failed { error } => Self::Message::Failed(api::Failed { error: error.clone() }),
            Self::Cancelled => Self::Message::Cancelled(api::Cancelled {}),
        }
    }

    fn from_wire(message: Self::Message, at: &Path<'_>) -> Result<Self> {
        Ok(match message {
            Self::Message::Succeeded(api::Succeeded { progress, result }) => Self::Succeeded {
                progress: at.field("succeeded").read("progress", progress)?,
                result: optional_text(result),
            },
            Self::Message::Failed(api::Failed { error }) => Self::Failed { error },
            Self::Message::Cancelled(api::Cancelled {}) => Self::Cancelled,
        })
    }
}

#[cfg(test)]
mod tests {
    use larder_types::ErrorCode;
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::samples;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_run_comes_back(run in samples::run()) {
            let bytes = run.to_wire().encode_to_vec();
            prop_assert_eq!(Run::from_wire(api::Run::decode(&*bytes).unwrap(), &Path::ROOT).unwrap(), run);
        }

        #[test]
        fn any_outcome_comes_back(outcome in samples::outcome()) {
            prop_assert_eq!(Outcome::from_wire(outcome.to_wire(), &Path::ROOT).unwrap(), outcome);
        }
    }

    #[test]
    fn errors_name_the_field() {
        let part = api::Part {
            source: "s".into(),
            what: Some(api::part::What::TimeRange(api::TimeRange { start: 2, end: 1 })),
            ..Default::default()
        };
        let plan = |parts| api::RunPlan { parts, ..Default::default() };
        let root = Path::ROOT;
        let at = root.field("plan");
        let error = RunPlan::from_wire(plan(vec![part]), &at).unwrap_err();
        assert_eq!(error.violations()[0].field, "plan.parts[0].time_range");
        let new = api::Part { source: "s".into(), ..Default::default() };
        assert_eq!(RunPlan::from_wire(plan(vec![new]), &at).unwrap_err().code(), ErrorCode::Unimplemented);
        let state = RunState::from_wire(17, &root.field("state")).unwrap_err();
        assert_eq!((state.code(), &*state.violations()[0].field), (ErrorCode::Unimplemented, "state"));
    }
}
