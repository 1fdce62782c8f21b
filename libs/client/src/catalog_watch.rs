//! Follows the catalog of a project, so that a service always has the newest one it can have.
//!
//! What the registry sends is a hint: after each connection the reader names the revision it has and is brought up to
//! date by number. A stream that is silent for three heartbeats is opened anew; so is one whose changes do not fit what is
//! here. A catalog is replaced as a whole: a reader that took one keeps it.

mod follower;
mod state_file;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use larder_contracts::catalog::HEARTBEAT;
use larder_definitions::Catalog;
use larder_types::{Error, Name, Result, Revision};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use follower::CatalogFollower;

use crate::Transport;

/// How a catalog is followed.
#[derive(Debug, Clone)]
pub struct CatalogWatchOptions {
    /// How often the registry says that it is there.
    pub heartbeat: Duration,
    /// Where the last catalog is kept, to start from it while no registry answers; none: nowhere.
    pub state_folder: Option<PathBuf>,
    /// From when on nobody waits any longer for a revision that is not here.
    pub stop: CancellationToken,
}

impl Default for CatalogWatchOptions {
    /// The heartbeat of the contract, nothing kept, and no end.
    fn default() -> Self {
        Self { heartbeat: HEARTBEAT, state_folder: None, stop: CancellationToken::new() }
    }
}

impl CatalogWatchOptions {
    /// A stream without a sign for so long is dead.
    fn silence(&self) -> Duration {
        self.heartbeat * 3
    }
}

/// The newest catalog of a project. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CatalogWatch {
    project: Name,
    catalog: watch::Receiver<Option<Arc<Catalog>>>,
    contact: watch::Receiver<Contact>,
}

/// What is known of the way to the registry.
#[derive(Debug, Clone, Default)]
struct Contact {
    heard_at: Option<Instant>,
    problem: Option<Arc<str>>,
}

impl CatalogWatch {
    /// A watch, and what keeps it up to date while its `run` is polled.
    ///
    /// Where a state folder is given and has a catalog of the project, the watch starts with it.
    pub fn new(transport: Transport, project: Name, options: CatalogWatchOptions) -> (Self, CatalogFollower) {
        let (follower, catalog, contact) = CatalogFollower::new(transport, project.clone(), options);
        (Self { project, catalog, contact }, follower)
    }

    /// The newest catalog that is here; none until the first one came.
    pub fn latest(&self) -> Option<Arc<Catalog>> {
        self.catalog.borrow().clone()
    }

    /// Tells of each new catalog.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.catalog.clone()
    }

    /// How long ago the registry was heard of last; none: never.
    pub fn age(&self) -> Option<Duration> {
        self.contact.borrow().heard_at.map(|at| at.elapsed())
    }

    /// What was wrong last with the way to the registry, until all is well again.
    pub(crate) fn problem(&self) -> Option<Arc<str>> {
        self.contact.borrow().problem.clone()
    }

    /// A catalog of at least `min_revision`, at once or as soon as it comes within `patience`.
    ///
    /// UNAVAILABLE where none ever came, DEADLINE_EXCEEDED where the newest one is older.
    pub async fn wait_for(&self, min_revision: Revision, patience: Duration) -> Result<Arc<Catalog>> {
        if let Some(catalog) = self.latest().filter(|catalog| catalog.revision >= min_revision) {
            return Ok(catalog);
        }
        let mut catalogs = self.catalog.clone();
        let is_enough =
            |catalog: &Option<Arc<Catalog>>| catalog.as_ref().is_some_and(|catalog| catalog.revision >= min_revision);
        let waited = tokio::time::timeout(patience, catalogs.wait_for(is_enough)).await;
        let catalog = waited.ok().and_then(|seen| seen.ok()?.clone());
        catalog.ok_or_else(|| self.behind(min_revision, patience))
    }

    /// Why there is none of at least `wanted` after so long.
    pub(crate) fn behind(&self, wanted: Revision, patience: Duration) -> Error {
        let Self { project, .. } = self;
        let why = self.problem().map(|problem| format!(": {problem}")).unwrap_or_default();
        match self.latest() {
            None => Error::unavailable(format!("no catalog of project {project} is here yet{why}")),
            Some(catalog) => Error::deadline_exceeded(format!(
                "project {project} is at revision {} here, and {wanted} did not come within {patience:.1?}{why}",
                catalog.revision
            )),
        }
    }
}
