//! Runs of training sets that nobody leads any more: their process died, or lost the registry for longer than a lease.
//! Unlike a materialization such a run cannot be resumed, since its caller has gone with the connection. So it is ended.

use larder_client::RunFilter;
use larder_definitions::run::{LEASE_TERM, Outcome, Run, RunRequest, RunState};
use larder_types::{Name, Result};
use tokio_util::sync::CancellationToken;

use super::Training;
use crate::{
    app::{LOOK_EVERY, log_failure},
    lease::{self, ANSWER_WITHIN},
};

/// What such a run ended with.
const WORKER_GONE: &str = "its worker is gone: ask for the training set again";

impl Training {
    /// Ends such runs of all projects, until `stop`.
    pub async fn end_left_behind(&self, stop: &CancellationToken) -> Result<()> {
        loop {
            for project in self.projects.follow_all().await? {
                log_failure(self.end_left_of(&project).await, "training sets left behind", &project);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn end_left_of(&self, project: &Name) -> Result<()> {
        for run in self.open_sets(project).await? {
            self.end_if_left(project, &run).await?;
        }
        Ok(())
    }

    /// Training sets that have not ended and that somebody leads, or should by now.
    async fn open_sets(&self, project: &Name) -> Result<Vec<Run>> {
        let mut open = self.runs.within(ANSWER_WITHIN).list_all(project, RunFilter::open()).await?;
        open.retain(|run| matches!(run.request, RunRequest::TrainingSet(_)));
        // Who made a run takes its lease at once.
        let now = self.clock.now();
        open.retain(|run| run.state != RunState::Pending || run.created_at.plus(LEASE_TERM) <= now);
        Ok(open)
    }

    /// Whether its lease is over, the registry says.
    async fn end_if_left(&self, project: &Name, run: &Run) -> Result<()> {
        let Some((lease, run)) = lease::take(&self.runs, project, &run.id, &self.holder).await? else { return Ok(()) };
        let outcome =
            if run.cancel_requested { Outcome::Cancelled } else { Outcome::Failed { error: WORKER_GONE.to_owned() } };
        tracing::warn!(%project, run = run.id, ?outcome, "a training set was left behind");
        lease.finish(&outcome).await.map(drop)
    }
}
