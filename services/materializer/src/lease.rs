//! The lease of a run that this process works on: taken, renewed beside the work, given up before it is over.
//!
//! The rule is the same for materializations and training sets: the registry is asked again for as long as the lease is good
//! and what went wrong may go well later; whatever else it answers ends the work at once.

use std::time::Duration;

use larder_client::{LeaseGrant, RunsClient};
use larder_definitions::run::{Outcome, Progress, Run, RunPlan};
use larder_service::trace;
use larder_types::{Error, ErrorCode, LeaseNumber, Name, Result, Retry};
use tokio::time::{Instant, sleep};
use tracing::Span;

/// How long the registry may take for one answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often counts are reported and the lease is renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// How long one report may take.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// How long after a failure the registry is asked again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A run that is ours.
pub(crate) struct Lease {
    runs: RunsClient,
    project: Name,
    run_id: String,
    number: LeaseNumber,
    term: Duration,
}

/// Why a lease is kept no longer.
pub(crate) enum Lost {
    /// Somebody wants the run stopped.
    Cancelled,
    /// The registry does not renew it, or could not be asked for too long.
    Failed(Error),
}

/// Takes the lease of a run; none: the run has ended, or somebody else has it.
pub(crate) async fn take(
    runs: &RunsClient,
    project: &Name,
    run_id: &str,
    holder: &str,
) -> Result<Option<(Lease, Run)>> {
    match runs.within(ANSWER_WITHIN).acquire_lease(project, run_id, holder).await {
        Ok(grant) => Ok(Some(Lease::of(runs, project, grant))),
        Err(error) if matches!(error.code(), ErrorCode::Conflict | ErrorCode::FailedPrecondition) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Work on a run, which is part of the trace of whoever asked for it.
pub(crate) fn run_span(project: &Name, run: &Run) -> Span {
    let span = tracing::info_span!("run", %project, id = run.id);
    if let Some(traceparent) = &run.traceparent {
        trace::continues(&span, traceparent);
    }
    span
}

impl Lease {
    /// The lease that was granted, and the run as it stands.
    pub(crate) fn of(runs: &RunsClient, project: &Name, grant: LeaseGrant) -> (Self, Run) {
        let LeaseGrant { lease: number, term, run } = grant;
        let runs = runs.within(ANSWER_WITHIN);
        (Self { runs, project: project.clone(), run_id: run.id.clone(), number, term }, run)
    }

    pub(crate) fn project(&self) -> &Name {
        &self.project
    }

    pub(crate) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Renews it with the counts so far, until that is over.
    pub(crate) async fn keep(&self, counts: impl Fn() -> Progress) -> Lost {
        let every = (self.term / 6).min(REPORT_EVERY);
        let runs = self.runs.within(REPORT_WITHIN);
        let mut good_until = Instant::now() + self.term * 2 / 3;
        loop {
            sleep(every).await;
            let asked_at = Instant::now();
            match runs.report_progress(&self.project, &self.run_id, self.number, &counts(), None).await {
                Ok(true) => return Lost::Cancelled,
                Ok(false) => good_until = asked_at + self.term * 2 / 3,
                Err(error) => match error.code().retry() {
                    Retry::AfterBackoff if asked_at < good_until => {}
                    Retry::AfterBackoff | Retry::AfterReread | Retry::Never => return Lost::Failed(error),
                },
            }
        }
    }

    /// Tells those who wait for the run why it is left to be resumed; if they cannot be told, the log has it.
    pub(crate) async fn tell_trouble(&self, progress: &Progress, trouble: &Error) {
        let (runs, trouble) = (self.runs.within(REPORT_WITHIN), trouble.to_string());
        let told = runs.report_progress(&self.project, &self.run_id, self.number, progress, Some(&trouble)).await;
        if let Err(error) = told {
            tracing::debug!(run = self.run_id, %error, "the run's trouble was not reported");
        }
    }

    /// Fixes what there is to do.
    pub(crate) async fn plan(&self, plan: &RunPlan) -> Result<Run> {
        self.insist(|| self.runs.plan(&self.project, &self.run_id, self.number, plan)).await
    }

    /// The rows of parts are where they belong.
    pub(crate) async fn complete_parts(&self, parts: &[usize], progress: &Progress) -> Result<()> {
        self.runs.complete_parts(&self.project, &self.run_id, self.number, parts, progress).await
    }

    /// Ends the run.
    pub(crate) async fn finish(&self, outcome: &Outcome) -> Result<Run> {
        self.insist(|| self.runs.finish(&self.project, &self.run_id, self.number, outcome)).await
    }

    /// Asks again for as long as the lease is good without having been renewed.
    async fn insist<T, F: Future<Output = Result<T>>>(&self, ask: impl Fn() -> F) -> Result<T> {
        let give_up = Instant::now() + self.term / 2;
        loop {
            match ask().await {
                Err(error) if error.code().retry() == Retry::AfterBackoff && Instant::now() < give_up => {
                    sleep(RETRY_AFTER).await;
                }
                answer => return answer,
            }
        }
    }
}
