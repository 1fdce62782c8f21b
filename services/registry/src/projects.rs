//! Every project that the registry keeps.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use larder_definitions::{ProjectRecord, unknown_name};
use larder_registry_store::{Appended, Log, RegistryStore};
use larder_types::{Clock, Error, Name, ProjectNumber, Result};
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::{
    project::Project,
    runs::{FormerWorkers, Runs},
};

/// What is kept of a project.
pub struct Kept {
    /// Its number.
    pub number: ProjectNumber,
    /// Its definitions.
    pub definitions: Project,
    /// Its runs.
    pub runs: Runs,
}

/// Every project by name.
pub struct Projects {
    store: Arc<dyn RegistryStore>,
    clock: Arc<dyn Clock>,
    former_workers: FormerWorkers,
    kept: RwLock<BTreeMap<Name, Arc<Kept>>>,
    /// Whoever adds a project holds it; the number of the newest one.
    newest: Mutex<u64>,
}

impl Projects {
    /// Reads all projects from the store.
    pub async fn open(
        store: Arc<dyn RegistryStore>,
        clock: Arc<dyn Clock>,
        former_workers: FormerWorkers,
    ) -> Result<Self> {
        let projects = Self { store, clock, former_workers, kept: RwLock::default(), newest: Mutex::new(0) };
        projects.catch_up(&mut *projects.newest.lock().await).await?;
        Ok(projects)
    }

    /// The project of that name; NOT_FOUND with near names.
    pub fn get(&self, name: &str) -> Result<Arc<Kept>> {
        let kept = self.kept.read();
        kept.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = kept.keys().map(Name::as_str).collect();
            unknown_name("the registry", "project", name, &known)
        })
    }

    /// The project of that name; made if it is not there.
    pub async fn get_or_create(&self, name: &Name) -> Result<Arc<Kept>> {
        let mut newest = self.newest.lock().await;
        loop {
            if let Some(kept) = self.kept.read().get(name) {
                return Ok(Arc::clone(kept));
            }
            let number = *newest + 1;
            let entry = Bytes::from(ProjectRecord { name: name.clone() }.encode()?);
            match self.store.append(Log::Projects, number, entry.clone()).await? {
                Appended::Ours => self.take_in(&mut newest, &entry).await?,
                Appended::Taken(_) => self.catch_up(&mut newest).await?,
            }
        }
    }

    /// Every project, by name.
    pub fn all(&self) -> Vec<(Name, Arc<Kept>)> {
        self.kept.read().iter().map(|(name, kept)| (name.clone(), Arc::clone(kept))).collect()
    }

    async fn catch_up(&self, newest: &mut u64) -> Result<()> {
        for entry in self.store.read_after(Log::Projects, *newest).await? {
            self.take_in(newest, &entry).await?;
        }
        Ok(())
    }

    async fn take_in(&self, newest: &mut u64, entry: &[u8]) -> Result<()> {
        let ProjectRecord { name } = ProjectRecord::decode(entry).map_err(of_entry(Log::Projects, *newest + 1))?;
        let number = u32::try_from(*newest + 1).map(ProjectNumber);
        let number = number.map_err(|_| Error::resource_exhausted("all project numbers are given"))?;
        let definitions = Project::open(Arc::clone(&self.store), name.clone(), number).await?;
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let runs = Runs::open(store, clock, number, self.former_workers).await?;
        // Of two projects of one name, which only two registries at once can make, the first stays.
        self.kept.write().entry(name).or_insert_with(|| Arc::new(Kept { number, definitions, runs }));
        *newest += 1;
        Ok(())
    }
}

/// Says which entry of the registry's store an error is about.
pub(crate) fn of_entry(log: Log, number: u64) -> impl FnOnce(Error) -> Error {
    move |error| error.context(format!("registry store: entry {number} of {log}"))
}

/// The same of a snapshot.
pub(crate) fn of_snapshot(log: Log, number: u64) -> impl FnOnce(Error) -> Error {
    move |error| error.context(format!("registry store: snapshot {number} of {log}"))
}
