//! What a service makes of the newest catalog of every project it is asked about: plans, schemas, schedules.
//!
//! A project is followed from the first request that names it. Whatever is made of a catalog is made before anybody is given
//! it, and replaced as a whole: a request takes one and keeps it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use larder_definitions::{Catalog, unknown_name};
use larder_types::{Error, ErrorCode, Name, Result, Revision};
use parking_lot::RwLock;
use tokio::{sync::watch, time::Instant};

use crate::{CatalogWatch, CatalogWatchOptions, RegistryClient, Transport};

/// Runs what keeps a project up to date, for as long as the process lives.
pub type Spawn = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;

/// Makes something of a catalog, given what was made of the one before.
type Make<T> = Box<dyn Fn(Arc<Catalog>, Option<&T>) -> T + Send + Sync>;

/// What was made, and of which revision.
type Made<T> = Option<(Revision, Arc<T>)>;

/// How long the registry is asked whether a project is there.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// How long the registry may take to answer one who asks after its health.
const HEALTHY_WITHIN: Duration = Duration::from_secs(3);

/// For so many heartbeats the registry may be silent about a project that is followed, and its first catalog may be on its
/// way: 30 s.
const SILENT_BEATS: u32 = 15;

/// So many projects are named where something is wrong with more.
const NAMED: usize = 5;

/// Every project somebody asked about. Cheap to clone.
pub struct Projects<T>(Arc<Shared<T>>);

struct Shared<T> {
    registry: Transport,
    options: CatalogWatchOptions,
    spawn: Spawn,
    make: Make<T>,
    followed: RwLock<HashMap<Name, Followed<T>>>,
}

struct Followed<T> {
    since: Instant,
    watch: CatalogWatch,
    made: watch::Receiver<Made<T>>,
}

impl<T> Clone for Projects<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for Followed<T> {
    fn clone(&self) -> Self {
        Self { since: self.since, watch: self.watch.clone(), made: self.made.clone() }
    }
}

impl<T> fmt::Debug for Projects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projects").field("followed", &self.0.followed.read().len()).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Projects<T> {
    /// Asks the registry behind `registry`; `make` is called once for each new catalog of a project.
    pub fn new(
        registry: Transport,
        options: CatalogWatchOptions,
        spawn: Spawn,
        make: impl Fn(Arc<Catalog>, Option<&T>) -> T + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { registry, options, spawn, make: Box::new(make), followed: RwLock::default() };
        Self(Arc::new(shared))
    }

    /// What was made of a catalog of at least `min_revision`, at once or as soon as there is one within `patience`.
    ///
    /// NOT_FOUND with near names for a project that the registry does not have, UNAVAILABLE where no catalog of it ever
    /// came or the process stops, DEADLINE_EXCEEDED where the newest one is older.
    pub async fn get(&self, project: &str, min_revision: Revision, patience: Duration) -> Result<Arc<T>> {
        let known = self.0.followed.read().get(project).cloned();
        let followed = match known {
            Some(followed) => followed,
            None => self.follow(project).await?,
        };
        if let Some((revision, made)) = &*followed.made.borrow()
            && *revision >= min_revision
        {
            return Ok(Arc::clone(made));
        }
        tokio::select! {
            made = followed.wait_for(min_revision, patience) => made,
            () = self.0.options.stop.cancelled() => Err(stopping()),
        }
    }

    /// The projects that are followed.
    pub fn followed(&self) -> Vec<Name> {
        self.0.followed.read().keys().cloned().collect()
    }

    /// Those of the followed projects that `is` picks, by name.
    fn those(&self, is: impl Fn(&Name, &Followed<T>) -> bool) -> Vec<(Name, Followed<T>)> {
        let followed = self.0.followed.read();
        let picked = followed.iter().filter(|(name, followed)| is(name, followed));
        let mut picked: Vec<_> = picked.map(|(name, followed)| (name.clone(), followed.clone())).collect();
        picked.sort_by(|(a, _), (b, _)| a.cmp(b));
        picked
    }

    /// UNAVAILABLE while the registry does not answer, while it was not heard of for long by what follows a project's
    /// catalog, and while a project that it has is followed for long and no catalog of it came; for a condition of readiness.
    pub async fn check_health(&self) -> Result<()> {
        let asked = RegistryClient::new(self.0.registry.clone()).within(HEALTHY_WITHIN).projects().await;
        let known: HashSet<Name> = match asked {
            Ok(projects) => projects.into_iter().map(|project| project.name).collect(),
            // A registry with too much to do is there.
            Err(error) if error.code() == ErrorCode::ResourceExhausted => HashSet::new(),
            Err(error) => {
                return Err(Error::unavailable(format!("the registry does not answer: {error}")).with_source(error));
            }
        };
        let patience = self.0.options.heartbeat * SILENT_BEATS;
        // While no registry answered, anything may have been asked for: what it does not have is not waited for.
        let missing = self.those(|name, followed| {
            followed.watch.latest().is_none() && followed.since.elapsed() > patience && known.contains(name)
        });
        if let Some((_, first)) = missing.first() {
            let why = first.watch.problem().map(|problem| format!(" ({problem})")).unwrap_or_default();
            let names = listed(&missing);
            return Err(Error::unavailable(format!("no catalog of {names} came within {patience:?}{why}")));
        }
        let silent = self.those(|_, followed| {
            let age = followed.watch.age().unwrap_or_else(|| followed.since.elapsed());
            followed.watch.latest().is_some() && age > patience
        });
        if silent.is_empty() {
            return Ok(());
        }
        let names = listed(&silent);
        Err(Error::unavailable(format!(
            "the catalogs of {names} may be old: nothing was heard of them for {patience:?}"
        )))
    }

    /// Follows every project that the registry has.
    pub async fn follow_all(&self) -> Result<Vec<Name>> {
        let projects = RegistryClient::new(self.0.registry.clone()).projects().await?;
        let names: Vec<Name> = projects.into_iter().map(|project| project.name).collect();
        for name in &names {
            self.start(name.clone());
        }
        Ok(names)
    }

    /// A registry that is away cannot say that there is no such project: then what was kept of it serves.
    async fn follow(&self, project: &str) -> Result<Followed<T>> {
        let name = Name::new(project).map_err(|error| Error::invalid_field("project", error.to_string()))?;
        let registry = RegistryClient::new(self.0.registry.clone()).within(ASK_WITHIN);
        match registry.projects().await {
            Ok(projects) if !projects.iter().any(|project| project.name == name) => {
                let known: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
                Err(unknown_name("the registry", "project", project, &known))
            }
            Ok(_) => Ok(self.start(name)),
            Err(error) if matches!(error.code(), ErrorCode::Unavailable | ErrorCode::DeadlineExceeded) => {
                Ok(self.start(name))
            }
            Err(error) => Err(error),
        }
    }

    fn start(&self, name: Name) -> Followed<T> {
        let mut all = self.0.followed.write();
        if let Some(followed) = all.get(&name) {
            return followed.clone();
        }
        let (watch, follower) = CatalogWatch::new(self.0.registry.clone(), name.clone(), self.0.options.clone());
        let (sender, made) = watch::channel(None);
        let followed = Followed { since: Instant::now(), watch: watch.clone(), made };
        all.insert(name, followed.clone());
        drop(all);
        let shared = Arc::clone(&self.0);
        (self.0.spawn)(Box::pin(follower.run()));
        (self.0.spawn)(Box::pin(shared.keep_making(watch, sender)));
        followed
    }
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// To make something of a great catalog may take long: not on a thread that others wait for.
    async fn keep_making(self: Arc<Self>, watch: CatalogWatch, made: watch::Sender<Made<T>>) {
        let mut catalogs = watch.subscribe();
        loop {
            let newest = catalogs.borrow_and_update().clone();
            if let Some(catalog) = newest {
                let previous = made.borrow().as_ref().map(|(_, previous)| Arc::clone(previous));
                let revision = catalog.revision;
                let shared = Arc::clone(&self);
                let making = tokio::task::spawn_blocking(move || (shared.make)(catalog, previous.as_deref()));
                match making.await {
                    Ok(next) => drop(made.send_replace(Some((revision, Arc::new(next))))),
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => resume_unwind(panic),
                        // The process ends.
                        Err(_) => return,
                    },
                }
            }
            if catalogs.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What is not here when the process begins to stop will not come.
fn stopping() -> Error {
    Error::unavailable("the service is stopping: ask again, at another replica or in a moment")
}

/// Their names, or the first of many.
fn listed<T>(projects: &[(Name, T)]) -> String {
    let names: Vec<_> = projects.iter().take(NAMED).map(|(name, _)| name.as_str()).collect();
    let more = projects.len() - names.len();
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

impl<T> Followed<T> {
    async fn wait_for(&self, min_revision: Revision, patience: Duration) -> Result<Arc<T>> {
        let mut made = self.made.clone();
        let is_enough = |made: &Made<T>| made.as_ref().is_some_and(|(revision, _)| *revision >= min_revision);
        let waited = tokio::time::timeout(patience, made.wait_for(is_enough)).await;
        let found = waited.ok().and_then(|seen| Some(Arc::clone(&seen.ok()?.as_ref()?.1)));
        match found {
            Some(made) => Ok(made),
            None if self.watch.latest().is_some_and(|catalog| catalog.revision >= min_revision) => {
                Err(Error::unavailable("the newest catalog is here and not ready yet: try again"))
            }
            None => Err(self.watch.behind(min_revision, patience)),
        }
    }
}
