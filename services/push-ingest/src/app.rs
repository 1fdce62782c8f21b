//! The push-ingest service: takes a batch to the push log and the online store, by one catalog.

use larder_client::Projects;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
};
use larder_types::{Error, Result, Revision};

use crate::{
    batch::Batch,
    ingest::{Ingest, IngestError, Ingested, Targets},
    sources::Feeds,
};

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
    ingest: Ingest,
    projects: Projects<Feeds>,
}

impl PushIngest {
    /// Takes batches by the catalogs of `projects`.
    pub fn new(ingest: Ingest, projects: Projects<Feeds>) -> Self {
        Self { ingest, projects }
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
        self.ingest.ingest(&feeds.catalog, &feed, request.batch, targets).await
    }
}
