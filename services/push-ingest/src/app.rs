//! The push-ingest service: takes a batch to the push log and the online store, by one catalog.

use std::sync::Arc;

use larder_client::Projects;
use larder_service::{
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
};
use larder_types::{Error, Result, Revision};
use tracing::{Instrument, instrument::WithSubscriber};

use crate::{
    batch::Batch,
    ingest::{Ingest, IngestError, Ingested, Targets, Written},
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
    ingest: Arc<Ingest>,
    projects: Projects<Feeds>,
}

impl PushIngest {
    /// Takes batches by the catalogs of `projects`.
    pub fn new(ingest: Ingest, projects: Projects<Feeds>) -> Self {
        Self { ingest: Arc::new(ingest), projects }
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
        let done = tokio::spawn(work.with_current_subscriber().in_current_span()).await;
        done.unwrap_or_else(|error| {
            let error = Error::internal(format!("taking the batch in stopped: {error}")).with_source(error);
            let unknown = |asked: bool| asked.then_some(Written::Unknown);
            Err(IngestError { error, online: unknown(targets.online), offline: unknown(targets.offline) })
        })
    }
}
