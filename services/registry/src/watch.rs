//! What subscribers are told of a project's definitions: the whole or what changed, each new revision, heartbeats.

use std::sync::Arc;

use async_stream::try_stream;
use futures::Stream;
use larder_contracts::{
    catalog::{self, HEARTBEAT},
    registry::v1::{Heartbeat, WatchCatalogResponse, watch_catalog_response::Event},
};
use larder_definitions::Catalog;
use larder_service::blocking::work_beside;
use larder_types::{Error, Revision};
use tokio::sync::watch;

use crate::{project::Snapshot, projects::Kept};

/// Tells a subscriber who has `since` what changed, then every new revision.
///
/// Several revisions that come while a subscriber is busy are told as one. The stream ends when the registry stops.
pub fn watch_catalog(
    kept: Arc<Kept>,
    since: Revision,
) -> impl Stream<Item = Result<WatchCatalogResponse, Error>> + Send {
    try_stream! {
        let mut newest = kept.definitions.watch();
        let mut known = previous(&kept, since).await;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            let current = Arc::clone(&newest.borrow_and_update().catalog);
            let is_known = known.as_ref().is_some_and(|known| known.revision == current.revision);
            if !is_known {
                for response in news(known.as_deref(), &current) {
                    yield response;
                }
                known = Some(current);
            }
            let revision = known.as_ref().map_or(0, |known| known.revision.0);
            if !changed(&mut newest, &mut heartbeat).await? {
                yield WatchCatalogResponse { event: Some(Event::Heartbeat(Heartbeat { revision })) };
            }
        }
    }
}

/// The catalog that the subscriber has; none where it has none, or one that this registry does not know.
async fn previous(kept: &Kept, since: Revision) -> Option<Arc<Catalog>> {
    if since.0 == 0 {
        return None;
    }
    let current = kept.definitions.current();
    if since == current.state.revision {
        return Some(Arc::clone(&current.catalog));
    }
    let state = kept.definitions.state_at(since).await.ok()?;
    work_beside(move || Catalog::build(&state)).await.ok().map(Arc::new)
}

fn news(known: Option<&Catalog>, current: &Catalog) -> Vec<WatchCatalogResponse> {
    let response = |event| WatchCatalogResponse { event: Some(event) };
    match known {
        Some(known) => catalog::change(known, current).into_iter().map(Event::Change).map(response).collect(),
        None => catalog::whole(current).into_iter().map(Event::Whole).map(response).collect(),
    }
}

/// Waits for a new revision, or for the next heartbeat; says which it was.
async fn changed(
    newest: &mut watch::Receiver<Arc<Snapshot>>,
    heartbeat: &mut tokio::time::Interval,
) -> Result<bool, Error> {
    tokio::select! {
        changed = newest.changed() => match changed {
            Ok(()) => Ok(true),
            Err(_) => Err(Error::unavailable("the registry is stopping: open the stream anew")),
        },
        _ = heartbeat.tick() => Ok(false),
    }
}
