//! One project's definitions: the fold of its revisions in memory, and the one way in which a revision is added.
//!
//! The store decides who gets a number. Whoever finds a number taken reads what is there and decides again, so several
//! registries on one store never disagree.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use larder_definitions::{
    Catalog, ChangeSet, Diff, Plan, RevisionMeta, RevisionRecord, RollbackRequest, change, diff, lineage::Lineage,
    search::SearchIndex, state::ProjectState,
};
use larder_registry_store::{Appended, Log, RegistryStore};
use larder_types::{Error, Name, ProjectNumber, Result, Revision};
use tokio::sync::{Mutex, watch};

use crate::projects::{of_entry, of_snapshot};

/// After so many revisions their fold is kept, so that a start need not read them.
const SNAPSHOT_EVERY: u64 = 100;

/// A project's state and what is made of it; replaced as a whole by each revision.
#[derive(Debug)]
pub struct Snapshot {
    /// What is declared, and which numbers were given.
    pub state: ProjectState,
    /// What services work from.
    pub catalog: Arc<Catalog>,
    search_index: OnceLock<SearchIndex>,
    lineage: OnceLock<Result<Lineage, String>>,
}

impl Snapshot {
    fn new(state: ProjectState, catalog: Catalog) -> Arc<Self> {
        let catalog = Arc::new(catalog);
        Arc::new(Self { state, catalog, search_index: OnceLock::new(), lineage: OnceLock::new() })
    }

    /// The words of the catalog; made when they are first asked for.
    pub fn search_index(&self) -> &SearchIndex {
        self.search_index.get_or_init(|| SearchIndex::of(&self.catalog))
    }

    /// What is made of what; made when it is first asked for.
    pub fn lineage(&self) -> Result<&Lineage> {
        let lineage = self.lineage.get_or_init(|| Lineage::of(&self.catalog).map_err(|error| error.to_string()));
        lineage.as_ref().map_err(Error::internal)
    }
}

/// A project's definitions.
pub struct Project {
    number: ProjectNumber,
    store: Arc<dyn RegistryStore>,
    /// Whoever adds a revision holds it. True: the outcome of an append is not known, so what is here may be old.
    adding: Mutex<bool>,
    newest: watch::Sender<Arc<Snapshot>>,
}

/// What a change made.
#[derive(Debug)]
pub struct Made {
    /// The newest revision, whether made by this change or not.
    pub revision: Revision,
    /// Whether this change made it.
    pub changed: bool,
    /// What it did.
    pub plan: Plan,
}

impl Project {
    /// Reads the project from the store.
    pub async fn open(store: Arc<dyn RegistryStore>, name: Name, number: ProjectNumber) -> Result<Self> {
        let log = Log::Revisions(number);
        let state = match store.latest_snapshot(log).await? {
            Some((number, bytes)) => ProjectState::decode(&bytes).map_err(of_snapshot(log, number))?,
            None => ProjectState::empty(name, number),
        };
        let entries = store.read_after(log, state.revision.0).await?;
        let state = fold(log, state, &entries)?;
        let catalog = Catalog::build(&state)?;
        let newest = watch::Sender::new(Snapshot::new(state, catalog));
        Ok(Self { number, store, adding: Mutex::new(false), newest })
    }

    /// The newest state.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.newest.borrow())
    }

    /// Told of every new state.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.newest.subscribe()
    }

    /// Makes a revision of the change that `change` makes of the newest state, unless nothing is different.
    ///
    /// CONFLICT where the change expects another revision than there is, ALREADY_EXISTS where another origin declared an
    /// object, INVALID_ARGUMENT with every problem otherwise.
    pub async fn apply(
        &self,
        change: impl Fn(&ProjectState) -> ChangeSet + Send + Sync,
        meta: &RevisionMeta,
    ) -> Result<Made> {
        self.add(|state| {
            let change = change(state);
            Ok((change::plan(state, &change)?, change::apply(state, &change, meta.clone())?))
        })
        .await
    }

    /// What [`Project::rollback`] would do now.
    pub async fn plan_rollback(&self, to: Revision, request: &RollbackRequest) -> Result<Plan> {
        let target = self.state_at(to).await?;
        change::plan_rollback(&self.current().state, &target, request)
    }

    /// Makes a revision with the definitions of `to`; of 0, with none.
    pub async fn rollback(&self, to: Revision, request: &RollbackRequest, meta: &RevisionMeta) -> Result<Made> {
        let target = self.state_at(to).await?;
        self.add(|state| {
            let plan = change::plan_rollback(state, &target, request)?;
            Ok((plan, change::rollback(state, &target, request, meta.clone())?))
        })
        .await
    }

    /// How the state at `to` differs from that at `from`.
    pub async fn diff(&self, from: Revision, to: Revision) -> Result<Diff> {
        Ok(diff(&self.state_at(from).await?, &self.state_at(to).await?))
    }

    /// The state at a revision; NOT_FOUND if there is none yet.
    pub async fn state_at(&self, revision: Revision) -> Result<ProjectState> {
        let current = self.current();
        if revision == current.state.revision {
            return Ok(current.state.clone());
        }
        if revision > current.state.revision {
            return Err(self.no_revision(revision, current.state.revision));
        }
        let mut state = self.kept_before(revision).await?;
        for number in state.revision.0 + 1..=revision.0 {
            let record = self.record(Revision(number)).await?;
            state = state.next(&record).map_err(of_entry(Log::Revisions(self.number), number))?;
        }
        Ok(state)
    }

    /// The last state at or before a revision that was kept; the empty one where none was.
    async fn kept_before(&self, revision: Revision) -> Result<ProjectState> {
        let log = Log::Revisions(self.number);
        for number in (1..=revision.0 / SNAPSHOT_EVERY).rev().map(|times| times * SNAPSHOT_EVERY) {
            if let Some(bytes) = self.store.read_snapshot(log, number).await? {
                return ProjectState::decode(&bytes).map_err(of_snapshot(log, number));
            }
        }
        Ok(ProjectState::empty(self.current().state.project.clone(), self.number))
    }

    /// The record of a revision; NOT_FOUND if there is none.
    pub async fn record(&self, revision: Revision) -> Result<RevisionRecord> {
        let log = Log::Revisions(self.number);
        match self.store.read(log, revision.0).await? {
            Some(bytes) => RevisionRecord::decode(&bytes).map_err(of_entry(log, revision.0)),
            None => Err(self.no_revision(revision, self.current().state.revision)),
        }
    }

    fn no_revision(&self, revision: Revision, newest: Revision) -> Error {
        let project = &self.current().state.project;
        Error::not_found(format!("project {project} has no revision {revision}; its newest is {newest}"))
    }

    /// Adds the record that `decide` makes of the newest state; asks it again whenever somebody else was first.
    async fn add<F>(&self, decide: F) -> Result<Made>
    where
        F: Fn(&ProjectState) -> Result<(Plan, Option<(RevisionRecord, ProjectState)>)> + Send,
    {
        let mut may_be_old = self.adding.lock().await;
        loop {
            if *may_be_old {
                self.catch_up().await?;
                *may_be_old = false;
            }
            let current = self.current();
            let (plan, next) = decide(&current.state)?;
            let Some((record, next)) = next else {
                return Ok(Made { revision: current.state.revision, changed: false, plan });
            };
            let catalog = Catalog::build_from(&next, Some(&current.catalog))?;
            let content = Bytes::from(record.encode()?);
            *may_be_old = true;
            let appended = self.store.append(Log::Revisions(self.number), record.number.0, content).await;
            if appended.is_err() && self.catch_up().await.is_ok() {
                // It may be there all the same; then it is shown at once.
                *may_be_old = false;
            }
            if appended? == Appended::Ours {
                *may_be_old = false;
                let revision = next.revision;
                self.publish(next, catalog);
                self.keep_snapshot().await;
                return Ok(Made { revision, changed: true, plan });
            }
        }
    }

    /// Takes in the revisions that others added.
    async fn catch_up(&self) -> Result<()> {
        let current = self.current();
        let log = Log::Revisions(self.number);
        let entries = self.store.read_after(log, current.state.revision.0).await?;
        if entries.is_empty() {
            return Ok(());
        }
        let state = fold(log, current.state.clone(), &entries)?;
        let catalog = Catalog::build_from(&state, Some(&current.catalog))?;
        self.publish(state, catalog);
        Ok(())
    }

    fn publish(&self, state: ProjectState, catalog: Catalog) {
        self.newest.send_replace(Snapshot::new(state, catalog));
    }

    /// Without it the next start reads more; so a failure is told and not returned.
    async fn keep_snapshot(&self) {
        let current = self.current();
        let revision = current.state.revision.0;
        if !revision.is_multiple_of(SNAPSHOT_EVERY) {
            return;
        }
        let written = match current.state.encode() {
            Ok(bytes) => self.store.write_snapshot(Log::Revisions(self.number), revision, Bytes::from(bytes)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(project = %current.state.project, revision, %error, "the snapshot of the definitions was not kept");
        }
    }
}

/// The state after the entries that follow it.
fn fold(log: Log, mut state: ProjectState, entries: &[Bytes]) -> Result<ProjectState> {
    for (number, entry) in (state.revision.0 + 1..).zip(entries) {
        let record = RevisionRecord::decode(entry).map_err(of_entry(log, number))?;
        state = state.next(&record).map_err(of_entry(log, number))?;
    }
    Ok(state)
}
