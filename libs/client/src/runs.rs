//! Runs, leases and watermarks, as the registry keeps them.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use larder_contracts::{
    Path, Wire as _,
    registry::v1::{self as api, run_service_client::RunServiceClient},
    status::from_status,
};
use larder_definitions::run::{Outcome, Progress, RowSetRecord, Run, RunPlan, RunRequest, RunState};
use larder_types::{LeaseNumber, Name, Result, RowSetNumber};

use crate::{
    Transport,
    call::{client, streaming, unary},
};

/// A run now and at each change, until it has ended.
pub type RunStream = BoxStream<'static, Result<Run>>;

client! {
    /// Creates, leads and ends runs.
    RunsClient over RunServiceClient<Transport>
}

/// A lease, from the moment it was answered on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Every part, watermark and end of the run carries it.
    pub lease: LeaseNumber,
    /// How long it lasts unless renewed.
    pub term: Duration,
    /// The run as it stands.
    pub run: Run,
}

/// Which runs are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of one view; none: of all.
    pub view: Option<Name>,
    /// In these states; empty: in any.
    pub states: Vec<RunState>,
    /// At most this many; 0: the service's limit.
    pub page_size: u32,
    /// What the page before gave; empty: the first page.
    pub page_token: String,
}

impl RunFilter {
    /// Those that have not ended.
    pub fn open() -> Self {
        Self { states: vec![RunState::Pending, RunState::Running], ..Self::default() }
    }

    pub(crate) fn view_to_wire(&self) -> String {
        self.view.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn states_to_wire(&self) -> Vec<i32> {
        self.states.iter().map(|state| state.to_wire()).collect()
    }
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Run>,
    /// For the next page; none: that was all.
    pub next_page_token: Option<String>,
}

impl RunsClient {
    /// Makes a run of that id, or finds it; the second says whether it was made. An empty id: the registry makes one.
    pub async fn create(&self, project: &Name, id: &str, request: &RunRequest) -> Result<(Run, bool)> {
        let request = Some(request.to_wire());
        let message = api::CreateRunRequest { project: project.to_string(), id: id.to_owned(), request };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.create_run(request).await }).await?;
        let api::CreateRunResponse { run, created } = answer;
        Ok((read_run(run)?, created))
    }

    /// Takes the run, where nobody holds it or the holder's lease is over.
    pub async fn acquire_lease(&self, project: &Name, run_id: &str, holder: &str) -> Result<LeaseGrant> {
        let (project, run_id) = (project.to_string(), run_id.to_owned());
        let message = api::AcquireLeaseRequest { project, run_id, holder: holder.to_owned() };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.acquire_lease(request).await }).await?;
        let api::AcquireLeaseResponse { lease, term, run } = answer;
        Ok(LeaseGrant { lease: LeaseNumber(lease), term: read_term(term)?, run: read_run(run)? })
    }

    /// Fixes what there is to do. A run that has a plan keeps it, and the answer shows that one.
    pub async fn plan(&self, project: &Name, run_id: &str, lease: LeaseNumber, plan: &RunPlan) -> Result<Run> {
        let (project, run_id) = (project.to_string(), run_id.to_owned());
        let message = api::PlanRunRequest { project, run_id, lease: lease.0, plan: Some(plan.to_wire()) };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.plan_run(request).await }).await?;
        let api::PlanRunResponse { run } = answer;
        read_run(run)
    }

    /// The rows of parts, by position in the plan, are in the store. `progress` is the whole run's, with these parts.
    pub async fn complete_parts(
        &self,
        project: &Name,
        run_id: &str,
        lease: LeaseNumber,
        parts: &[usize],
        progress: &Progress,
    ) -> Result<()> {
        let message = api::CompletePartsRequest {
            project: project.to_string(),
            run_id: run_id.to_owned(),
            lease: lease.0,
            parts: parts.iter().map(|part| u32::try_from(*part).unwrap_or(u32::MAX)).collect(),
            progress: Some(progress.to_wire()),
        };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.complete_parts(request).await }).await?;
        let api::CompletePartsResponse {} = answer;
        Ok(())
    }

    /// Tells those who watch the counts and, where an attempt at the run has ended without ending it, by what; the answer says
    /// whether somebody wants the run stopped.
    pub async fn report_progress(
        &self,
        project: &Name,
        run_id: &str,
        lease: LeaseNumber,
        progress: &Progress,
        trouble: Option<&str>,
    ) -> Result<bool> {
        let (project, run_id) = (project.to_string(), run_id.to_owned());
        let (progress, trouble) = (Some(progress.to_wire()), trouble.unwrap_or_default().to_owned());
        let message = api::ReportProgressRequest { project, run_id, lease: lease.0, progress, trouble };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.report_progress(request).await }).await?;
        let api::ReportProgressResponse { cancel_requested } = answer;
        Ok(cancel_requested)
    }

    /// Ends the run; a success moves its watermarks.
    pub async fn finish(&self, project: &Name, run_id: &str, lease: LeaseNumber, outcome: &Outcome) -> Result<Run> {
        let (project, run_id) = (project.to_string(), run_id.to_owned());
        let message = api::FinishRunRequest { project, run_id, lease: lease.0, outcome: Some(outcome.to_wire()) };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.finish_run(request).await }).await?;
        let api::FinishRunResponse { run } = answer;
        read_run(run)
    }

    /// Wants the run stopped.
    pub async fn cancel(&self, project: &Name, run_id: &str) -> Result<Run> {
        let message = api::CancelRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.cancel_run(request).await }).await?;
        let api::CancelRunResponse { run } = answer;
        read_run(run)
    }

    /// The run as it stands.
    pub async fn get(&self, project: &Name, run_id: &str) -> Result<Run> {
        let message = api::GetRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.get_run(request).await }).await?;
        let api::GetRunResponse { run } = answer;
        read_run(run)
    }

    /// Runs, newest first.
    pub async fn list(&self, project: &Name, filter: &RunFilter) -> Result<RunPage> {
        let message = api::ListRunsRequest {
            project: project.to_string(),
            view: filter.view_to_wire(),
            states: filter.states_to_wire(),
            page_size: filter.page_size,
            page_token: filter.page_token.clone(),
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.list_runs(request).await }).await?;
        let api::ListRunsResponse { runs, next_page_token } = answer;
        read_page(runs, next_page_token)
    }

    /// All runs that the filter lets through, newest first, however many pages they take.
    pub async fn list_all(&self, project: &Name, mut filter: RunFilter) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        loop {
            let page = self.list(project, &filter).await?;
            runs.extend(page.runs);
            match page.next_page_token {
                Some(token) => filter.page_token = token,
                None => return Ok(runs),
            }
        }
    }

    /// The run now and at each change, until it has ended.
    pub async fn watch(&self, project: &Name, run_id: &str) -> Result<RunStream> {
        let message = api::WatchRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answers = streaming(self.deadline, async move { client.watch_run(message).await }).await?;
        let read = |answer: std::result::Result<api::WatchRunResponse, tonic::Status>| {
            let api::WatchRunResponse { run } = answer.map_err(from_status)?;
            read_run(run)
        };
        Ok(answers.map(read).boxed())
    }

    /// How far each source of a row set was read, and what that does not account for.
    pub async fn row_set(&self, project: &Name, row_set: RowSetNumber) -> Result<RowSetRecord> {
        let message = api::GetWatermarksRequest { project: project.to_string(), row_set: row_set.0 };
        let mut client = self.client.clone();
        let answer =
            unary(self.deadline, message, |request| async move { client.get_watermarks(request).await }).await?;
        let api::GetWatermarksResponse { watermarks, leftovers } = answer;
        let watermarks = Path::ROOT.read_all("watermarks", watermarks)?;
        Ok(RowSetRecord { watermarks, leftovers: Path::ROOT.read_all("leftovers", leftovers)? })
    }
}

/// The run of an answer.
pub(crate) fn read_run(run: Option<api::Run>) -> Result<Run> {
    Path::ROOT.read("run", run)
}

/// A page of runs of an answer.
pub(crate) fn read_page(runs: Vec<api::Run>, next_page_token: String) -> Result<RunPage> {
    let next_page_token = Some(next_page_token).filter(|token| !token.is_empty());
    Ok(RunPage { runs: Path::ROOT.read_all("runs", runs)?, next_page_token })
}

fn read_term(term: Option<prost_types::Duration>) -> Result<Duration> {
    Path::ROOT.required("term", Path::ROOT.span("term", term)?)
}
