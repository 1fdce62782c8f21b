//! The push-ingest service: takes a batch to the push log and the online store, by one catalog.

use std::sync::Arc;

use larder_client::Projects;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
    tasks::{OnFailure, TaskKind, Tasks},
};
use larder_types::{Result, Revision};

use crate::{
    batch::{Batch, Created},
    feeds::{Feed, Feeds},
    ingest::{Ingest, IngestError, Ingested, Targets},
    room::Place,
};

/// Bringing one batch in: its caller is told how that went, and a defect in it is one batch's.
const PUSH: TaskKind = TaskKind::new("push", OnFailure::Log);

/// What a call is told took too long.
pub(crate) const TAKING_IN: &str = "taking the batch in";

/// A batch and where it goes.
#[derive(Debug, Clone)]
pub struct Request {
    /// The project.
    pub project: String,
    /// The push source.
    pub source: String,
    /// The rows.
    pub batch: Batch,
    /// Where they go.
    pub targets: Targets,
    /// The least revision to check by.
    pub min_revision: Revision,
}

/// Takes batches.
pub struct PushIngest {
    ingest: Arc<Ingest>,
    projects: Projects<Feeds>,
    tasks: Tasks,
}

impl PushIngest {
    /// Takes batches by the catalogs of `projects`, and sees them through among `tasks`.
    pub fn new(ingest: Ingest, projects: Projects<Feeds>, tasks: Tasks) -> Self {
        Self { ingest: Arc::new(ingest), projects, tasks }
    }

    /// The created times of a batch of so many rows that came just now and brings none. To be asked for in the order in which
    /// batches came, since they are worked on side by side.
    pub fn created_now(&self, rows: usize) -> Created {
        self.ingest.created_now(rows)
    }

    /// Brings a batch in, which has its place for as long as it is on its way. A call that has a deadline is answered before
    /// that: only this answer says what the targets may have.
    pub async fn push(&self, request: Request, place: Place, call: &CallContext) -> Result<Ingested, IngestError> {
        let targets = request.targets;
        let admitted = call.deadline.within(TAKING_IN, self.admit(&request, call)).await;
        let (feeds, feed) = admitted.map_err(|error| IngestError::before_all(error, targets))?;
        let (ingest, batch) = (Arc::clone(&self.ingest), request.batch);
        let work = async move {
            let ingested = ingest.ingest(&feeds.catalog, &feed, batch, targets).await;
            drop(place);
            ingested
        };
        // What has begun is brought to its end even if the caller goes: no batch is left half way between its targets.
        let seen_through = self.tasks.see_through(PUSH, work);
        let seen_through = async { seen_through.await.map_err(|error| error.context(TAKING_IN)) };
        let ended = call.deadline.within(TAKING_IN, seen_through).await;
        ended.unwrap_or_else(|error| Err(IngestError::unknown(error, targets)))
    }

    /// What the batch is brought in by, if its caller may.
    async fn admit(&self, request: &Request, call: &CallContext) -> Result<(Arc<Feeds>, Arc<Feed>)> {
        let feeds = self.projects.get(&request.project, request.min_revision, call.patience()).await?;
        let feed = feeds.feed(&request.source)?;
        let source = Resource::new(ResourceKind::Source, &request.project, &request.source);
        authorize(&call.caller, Action::PushRows, &[source])?;
        Ok((feeds, feed))
    }
}
