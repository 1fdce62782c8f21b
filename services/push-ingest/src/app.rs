//! The push-ingest service: takes a batch to the push log and the online store, by one catalog.

use std::sync::Arc;

use larder_client::Projects;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
    tasks::{OnFailure, TaskKind, Tasks},
};
use larder_types::{Error, Result, Revision};

use crate::{
    batch::Batch,
    feeds::Feeds,
    ingest::{Ingest, IngestError, Ingested, Targets, Written},
};

/// Bringing one batch in: its caller is told how that went, and a defect in it is one batch's.
const PUSH: TaskKind = TaskKind::new("push", OnFailure::Log);

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

    /// Brings a batch in.
    pub async fn push(&self, request: Request, call: &CallContext) -> Result<Ingested, IngestError> {
        let targets = request.targets;
        let nothing_done = |error: Error| IngestError::before_all(error, targets);
        let feeds =
            self.projects.get(&request.project, request.min_revision, call.patience()).await.map_err(nothing_done)?;
        let feed = feeds.feed(&request.source).map_err(nothing_done)?;
        let source = Resource::new(ResourceKind::Source, &request.project, &request.source);
        authorize(&call.caller, Action::PushRows, &[source]).map_err(nothing_done)?;
        let (ingest, batch) = (Arc::clone(&self.ingest), request.batch);
        let work = async move { ingest.ingest(&feeds.catalog, &feed, batch, targets).await };
        // What has begun is brought to its end even if the caller goes: no batch is left half way between its targets.
        self.tasks.see_through(PUSH, work).await.unwrap_or_else(|error| {
            let error = error.context("taking the batch in");
            let unknown = |asked: bool| asked.then_some(Written::Unknown);
            Err(IngestError { error, online: unknown(targets.online), offline: unknown(targets.offline) })
        })
    }
}
