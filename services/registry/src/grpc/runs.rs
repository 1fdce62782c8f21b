//! `larder.registry.v1.RunService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_stream::try_stream;
use futures::{Stream, StreamExt};
use larder_contracts::{
    Path, Wire,
    registry::v1::{self as api, run_service_server::RunService},
    status::to_status,
};
use larder_definitions::run::{
    LEASE_TERM, Outcome, Progress, RowSetRecord, Run, RunPlan, RunRequest, RunState, TrainingSetRequest,
};
use larder_service::{authorize::Action, call::CallContext, tasks::Tasks, trace};
use larder_types::{Error, LeaseNumber, Result, RowSetNumber, Timestamp};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{allow, allow_run, answer, page, see_through, unknown_token};
use crate::projects::{Kept, Projects};

/// Runs as a gRPC service.
#[derive(Clone)]
pub struct RunsGrpc {
    /// Every project.
    pub projects: Arc<Projects>,
    /// Brings changes to their end.
    pub tasks: Tasks,
}

#[tonic::async_trait]
impl RunService for RunsGrpc {
    async fn create_run(
        &self,
        request: Request<api::CreateRunRequest>,
    ) -> Result<Response<api::CreateRunResponse>, Status> {
        answer(request, async |call, api::CreateRunRequest { project, id, request }| {
            let kept = self.projects.get(&project)?;
            let request: RunRequest = Path::ROOT.read("request", request)?;
            check_size(&request)?;
            let id = if id.is_empty() { Uuid::now_v7().to_string() } else { short("id", id)? };
            allow_run(&call, action_of(&request), &project, &id)?;
            let principal = call.caller.principal.to_string();
            let traceparent = trace::current();
            let catalog = Arc::clone(&kept.definitions.current().catalog);
            let create = async move { kept.runs.create(id, request, &catalog, &principal, traceparent).await };
            let (run, created) = see_through(&self.tasks, create).await?;
            Ok(api::CreateRunResponse { run: Some(run.to_wire()), created })
        })
        .await
    }

    async fn acquire_lease(
        &self,
        request: Request<api::AcquireLeaseRequest>,
    ) -> Result<Response<api::AcquireLeaseResponse>, Status> {
        answer(request, async |call, api::AcquireLeaseRequest { project, run_id, holder }| {
            let kept = self.workable(&call, &project, &run_id)?;
            let holder = short("holder", holder)?;
            if holder.is_empty() {
                return Err(Error::invalid_field("holder", "is empty: name the worker"));
            }
            let acquire = async move { kept.runs.acquire_lease(&run_id, &holder).await };
            let (lease, run) = see_through(&self.tasks, acquire).await?;
            Ok(api::AcquireLeaseResponse { lease: lease.0, term: Some(term()?), run: Some(run.to_wire()) })
        })
        .await
    }

    async fn plan_run(&self, request: Request<api::PlanRunRequest>) -> Result<Response<api::PlanRunResponse>, Status> {
        answer(request, async |call, api::PlanRunRequest { project, run_id, lease, plan }| {
            let kept = self.workable(&call, &project, &run_id)?;
            let plan: RunPlan = Path::ROOT.read("plan", plan)?;
            let plan = async move { kept.runs.plan(&run_id, LeaseNumber(lease), plan).await };
            let run = see_through(&self.tasks, plan).await?;
            Ok(api::PlanRunResponse { run: Some(run.to_wire()) })
        })
        .await
    }

    async fn complete_parts(
        &self,
        request: Request<api::CompletePartsRequest>,
    ) -> Result<Response<api::CompletePartsResponse>, Status> {
        answer(request, async |call, api::CompletePartsRequest { project, run_id, lease, parts, progress }| {
            let kept = self.workable(&call, &project, &run_id)?;
            let progress: Progress = Path::ROOT.read("progress", progress)?;
            let parts = parts.into_iter().map(|part| part as usize).collect();
            let complete = async move { kept.runs.complete_parts(&run_id, LeaseNumber(lease), parts, progress).await };
            see_through(&self.tasks, complete).await?;
            Ok(api::CompletePartsResponse {})
        })
        .await
    }

    async fn report_progress(
        &self,
        request: Request<api::ReportProgressRequest>,
    ) -> Result<Response<api::ReportProgressResponse>, Status> {
        answer(request, async |call, api::ReportProgressRequest { project, run_id, lease, progress, trouble }| {
            let kept = self.workable(&call, &project, &run_id)?;
            let progress: Progress = Path::ROOT.read("progress", progress)?;
            let cancel_requested =
                kept.runs.report_progress(&run_id, LeaseNumber(lease), progress, cut_text(trouble))?;
            Ok(api::ReportProgressResponse { cancel_requested })
        })
        .await
    }

    async fn finish_run(
        &self,
        request: Request<api::FinishRunRequest>,
    ) -> Result<Response<api::FinishRunResponse>, Status> {
        answer(request, async |call, api::FinishRunRequest { project, run_id, lease, outcome }| {
            let kept = self.workable(&call, &project, &run_id)?;
            let outcome = cut(Path::ROOT.read("outcome", outcome)?);
            let lease = (lease > 0).then_some(LeaseNumber(lease));
            let run = see_through(&self.tasks, async move { kept.runs.finish(&run_id, lease, outcome).await }).await?;
            Ok(api::FinishRunResponse { run: Some(run.to_wire()) })
        })
        .await
    }

    async fn cancel_run(
        &self,
        request: Request<api::CancelRunRequest>,
    ) -> Result<Response<api::CancelRunResponse>, Status> {
        answer(request, async |call, api::CancelRunRequest { project, run_id }| {
            let kept = self.projects.get(&project)?;
            check_named(&run_id)?;
            allow_run(&call, Action::CancelRun, &project, &run_id)?;
            let cancel = async move { kept.runs.cancel(&run_id, &call.caller.principal.to_string()).await };
            let run = see_through(&self.tasks, cancel).await?;
            Ok(api::CancelRunResponse { run: Some(run.to_wire()) })
        })
        .await
    }

    async fn get_run(&self, request: Request<api::GetRunRequest>) -> Result<Response<api::GetRunResponse>, Status> {
        answer(request, async |call, api::GetRunRequest { project, run_id }| {
            let kept = self.readable(&call, &project)?;
            check_named(&run_id)?;
            Ok(api::GetRunResponse { run: Some(kept.runs.get(&run_id)?.to_wire()) })
        })
        .await
    }

    async fn list_runs(
        &self,
        request: Request<api::ListRunsRequest>,
    ) -> Result<Response<api::ListRunsResponse>, Status> {
        answer(request, async |call, api::ListRunsRequest { project, view, states, page_size, page_token }| {
            let kept = self.readable(&call, &project)?;
            let at = Path::ROOT.field("states");
            let states = states.into_iter().map(|state| RunState::from_wire(state, &at)).collect::<Result<Vec<_>>>()?;
            let runs = kept.runs.list((!view.is_empty()).then_some(view.as_str()), &states);
            let (runs, more) = page(after(runs, &page_token)?, page_size, "")?;
            let next_page_token = match runs.last() {
                Some(last) if !more.is_empty() => format!("{}/{}", last.created_at.as_micros(), last.id),
                Some(_) | None => String::new(),
            };
            Ok(api::ListRunsResponse { runs: runs.iter().map(Wire::to_wire).collect(), next_page_token })
        })
        .await
    }

    type WatchRunStream = Pin<Box<dyn Stream<Item = Result<api::WatchRunResponse, Status>> + Send>>;

    async fn watch_run(
        &self,
        request: Request<api::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        answer(request, async |call, api::WatchRunRequest { project, run_id }| {
            let kept = self.readable(&call, &project)?;
            check_named(&run_id)?;
            kept.runs.get(&run_id)?;
            let states = watch_run(kept, run_id).map(|run| match run {
                Ok(run) => Ok(api::WatchRunResponse { run: Some(run.to_wire()) }),
                Err(error) => Err(to_status(&error)),
            });
            Ok(Box::pin(states) as Self::WatchRunStream)
        })
        .await
    }

    async fn get_watermarks(
        &self,
        request: Request<api::GetWatermarksRequest>,
    ) -> Result<Response<api::GetWatermarksResponse>, Status> {
        answer(request, async |call, api::GetWatermarksRequest { project, row_set }| {
            let kept = self.readable(&call, &project)?;
            let RowSetRecord { watermarks, leftovers } = kept.runs.row_set(RowSetNumber(row_set));
            Ok(api::GetWatermarksResponse {
                watermarks: watermarks.iter().map(Wire::to_wire).collect(),
                leftovers: leftovers.iter().map(Wire::to_wire).collect(),
            })
        })
        .await
    }
}

impl RunsGrpc {
    fn readable(&self, call: &CallContext, project: &str) -> Result<Arc<Kept>> {
        let kept = self.projects.get(project)?;
        allow(call, Action::ReadRuns, project)?;
        Ok(kept)
    }

    fn workable(&self, call: &CallContext, project: &str, run: &str) -> Result<Arc<Kept>> {
        let kept = self.projects.get(project)?;
        check_named(run)?;
        allow_run(call, Action::WorkOnRuns, project, run)?;
        Ok(kept)
    }
}

/// The runs, newest first, that come after the last one of the page before, which the token names: others may have been
/// made meanwhile.
fn after(mut runs: Vec<Run>, token: &str) -> Result<Vec<Run>> {
    if !token.is_empty() {
        let last = token.split_once('/').and_then(|(at, id)| Some((Timestamp::from_micros(at.parse().ok()?), id)));
        let last = last.ok_or_else(unknown_token)?;
        runs.retain(|run| (run.created_at, run.id.as_str()) < last);
    }
    Ok(runs)
}

/// The most bytes of an id or of a worker's name: every list of runs carries them.
const LONGEST_NAME: usize = 256;

/// The most bytes of what a run is asked to do, which lists carry too.
const LONGEST_REQUEST: usize = 64 << 10;

/// The most bytes of what is kept of an error.
const LONGEST_ERROR: usize = 16 << 10;

fn check_named(run_id: &str) -> Result<()> {
    if run_id.is_empty() { Err(Error::invalid_field("run_id", "is missing: name a run")) } else { Ok(()) }
}

fn short(field: &'static str, name: String) -> Result<String> {
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let wrong = format!("has {} bytes: it may have {LONGEST_NAME}, and no control characters", name.len());
        return Err(Error::invalid_field(field, wrong));
    }
    Ok(name)
}

fn check_size(request: &RunRequest) -> Result<()> {
    let bytes = match request {
        RunRequest::Materialize(_) => 0,
        RunRequest::TrainingSet(TrainingSetRequest { references, spine, event_time, output, .. }) => {
            references.iter().chain([spine, event_time, output]).map(String::len).sum()
        }
    };
    if bytes > LONGEST_REQUEST {
        let wrong = format!(
            "has {bytes} bytes, and a run keeps {LONGEST_REQUEST} of what it was asked for: name whole views, or declare a \
             feature service"
        );
        return Err(Error::invalid_field("request", wrong));
    }
    Ok(())
}

/// The outcome as it is kept: the beginning of a long error.
fn cut(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed { error } => Outcome::Failed { error: cut_text(error) },
        Outcome::Succeeded { .. } | Outcome::Cancelled => outcome,
    }
}

fn cut_text(mut error: String) -> String {
    if error.len() > LONGEST_ERROR {
        error.truncate(error.floor_char_boundary(LONGEST_ERROR));
        error.push('…');
    }
    error
}

fn action_of(request: &RunRequest) -> Action {
    match request {
        RunRequest::Materialize(_) => Action::Materialize,
        RunRequest::TrainingSet(_) => Action::BuildTrainingSet,
    }
}

fn term() -> Result<prost_types::Duration> {
    LEASE_TERM.try_into().map_err(|error| Error::internal(format!("the term of a lease: {error}")))
}

/// How often a watched run is told at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// The run now and whenever it changed, until it has ended.
fn watch_run(kept: Arc<Kept>, id: String) -> impl Stream<Item = Result<Run>> + Send {
    try_stream! {
        let mut changes = kept.runs.watch();
        let mut told: Option<Run> = None;
        loop {
            changes.borrow_and_update();
            let run = kept.runs.get(&id)?.without_parts();
            let has_ended = run.state.is_final();
            if told.as_ref() != Some(&run) {
                told = Some(run.clone());
                yield run;
            }
            if has_ended {
                break;
            }
            let stopping = |_| Error::unavailable("the registry is stopping: open the stream anew");
            changes.changed().await.map_err(stopping)?;
            tokio::time::sleep(TELL_EVERY).await;
        }
    }
}
