//! Training sets: each is a run, whether its result is written or streamed.
//!
//! [`Training::admit`] resolves names and asks whether the caller may have what they name, and may write where they say;
//! [`Training::build`] makes the run. From then on a task of its own leads it ([`lead`]) and computes it on threads of their
//! own ([`Threads`]), so a run ends however its caller goes, and neither other calls nor leases wait for a join. It has its turn
//! once its spine is there: what comes from a caller comes when the caller sends it ([`incoming`]). Runs whose process died
//! are ended by whichever materializer is there ([`left_behind`]).

mod incoming;
mod lead;
mod left_behind;
mod threads;
mod told;

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use larder_client::{Projects, RunsClient};
use larder_definitions::{
    Catalog, SourceKind,
    run::{Progress, Run, RunRequest, TrainingSetRequest},
    selection::{Asked, Selection},
};
use larder_offline_store::training::{Output, Spine, TrainingRequest, TrainingSets};
use larder_service::{
    Shutdown, Tasks,
    authorize::{Action, Resource, ResourceKind, authorize},
    call::CallContext,
    tasks::{OnFailure, TaskKind},
};
use larder_types::{Clock, Error, Result, Revision};
use tokio::sync::Semaphore;

pub use self::{
    incoming::Pieces,
    threads::{THREAD_NAME, Threads},
};
use self::{
    incoming::Rules,
    lead::{Job, Lead},
};
use crate::lease::{ANSWER_WITHIN, Lease};

/// Where a spine or a result is that has no path.
const STREAMED: &str = "streamed";

/// Leading one training set: its failure ends its run, and a defect in it is told there.
const LEAD: TaskKind = TaskKind::new("training set", OnFailure::Log);

/// What a training set is asked for.
pub struct Request {
    /// The project.
    pub project: String,
    /// Which features.
    pub features: Asked,
    /// Whether features are called `view.feature`.
    pub full_names: bool,
    /// The spine's files; none: it is streamed in.
    pub spine: Option<String>,
    /// The spine's column with the time.
    pub event_time: String,
    /// A Parquet file to write; none: the result is streamed.
    pub output: Option<String>,
    /// The least revision to work by.
    pub min_revision: Revision,
}

/// A request whose names are known and whose caller may have what they name.
pub struct Admitted {
    request: Request,
    catalog: Arc<Catalog>,
    output: Option<Output>,
}

/// What happens while a training set is built.
#[derive(Debug)]
pub enum Event {
    /// It is this run.
    Started(Run),
    /// The schema of the batches, before the first.
    Schema(SchemaRef),
    /// Rows of the result.
    Batch(RecordBatch),
    /// Counts so far.
    Progress(Progress),
    /// It ended well.
    Finished(Run),
}

/// A training set while it is built. Dropped before its end, it ends its run.
pub type Events = BoxStream<'static, Result<Event>>;

/// Ready once the caller sends what cannot be meant, though all was well when it was admitted.
pub type Objection = BoxFuture<'static, Error>;

/// Builds training sets.
#[derive(Clone)]
pub struct Training {
    /// Names this process in leases.
    pub holder: String,
    /// The way to runs.
    pub runs: RunsClient,
    /// The newest catalogs.
    pub projects: Projects<Arc<Catalog>>,
    /// Computes.
    pub sets: TrainingSets,
    /// The instant at which a run starts.
    pub clock: Arc<dyn Clock>,
    /// Where is computed.
    pub threads: Arc<Threads>,
    /// One for each that is computed at once.
    pub places: Arc<Semaphore>,
    /// The most bytes of a record batch that is streamed in.
    pub largest_batch: usize,
    /// How long a caller may take nothing of what is streamed to it, and bring nothing of what it streams in.
    pub idle_limit: Duration,
    /// Lead runs.
    pub tasks: Tasks,
    /// Tells a caller who went from a process that stops.
    pub shutdown: Shutdown,
}

impl Training {
    /// Resolves the names of a request and asks whether its caller may. Nothing is made or read.
    pub async fn admit(&self, request: Request, call: &CallContext) -> Result<Admitted> {
        let catalog = self.projects.get(&request.project, request.min_revision, call.patience()).await?;
        let selection = Selection::resolve(&catalog, &request.features, request.full_names)?;
        authorize(&call.caller, Action::BuildTrainingSet, &resources(&request, &selection))?;
        let output = match &request.output {
            Some(location) => Some(self.output(location, &request, &catalog).await?),
            None => None,
        };
        Ok(Admitted { request, catalog: Arc::clone(&catalog), output })
    }

    /// A file to write that is no part of the spine, nor of any project's history.
    async fn output(&self, location: &str, request: &Request, catalog: &Arc<Catalog>) -> Result<Output> {
        let mut catalogs = vec![Arc::clone(catalog)];
        for project in self.projects.followed() {
            if project != catalog.project
                && let Ok(known) = self.projects.get(project.as_str(), Revision(0), Duration::ZERO).await
            {
                catalogs.push(Arc::clone(&known));
            }
        }
        let mut read: Vec<(String, String)> = Vec::new();
        for catalog in &catalogs {
            for source in catalog.sources.values() {
                let what = format!("source {} of project {}", source.definition.name, catalog.project);
                match &source.definition.kind {
                    SourceKind::Parquet(parquet) => read.push((what, parquet.path.clone())),
                    SourceKind::Push(_) | SourceKind::Postgres(_) => {}
                }
            }
        }
        read.extend(request.spine.iter().map(|spine| ("the spine".to_owned(), spine.clone())));
        self.sets.output(location, &read).await
    }

    /// A spine that is streamed in, once its schema is there.
    pub async fn streamed_spine(&self, pieces: Pieces) -> Result<Spine> {
        let great = Arc::clone(self.threads.great_batches());
        let rules = Rules { largest_batch: self.largest_batch, idle_limit: self.idle_limit, great };
        incoming::spine(pieces, rules).await
    }

    /// Builds the training set; `streamed` is its spine where the request names no path. A failure ends the run and then
    /// the stream; so does an objection.
    pub async fn build(&self, admitted: Admitted, streamed: Option<Spine>, objection: Objection) -> Result<Events> {
        let Admitted { request, catalog, output } = admitted;
        let lead = self.start(&catalog, kept_request(&request)).await?;
        let Request { features, full_names, spine, event_time, .. } = request;
        let spine = spine.map(Spine::Path).or(streamed).ok_or_else(lead::no_spine)?;
        let set = TrainingRequest { catalog, features, full_names, spine, event_time };
        let job = Job { sets: self.sets.clone(), set, output, started_at: self.clock.now() };
        let started = Event::Started(lead.run().clone());
        let (told, events) = told::channel(self.idle_limit);
        let mut work = Some((lead, job, told, objection));
        self.tasks.spawn(LEAD, move |stop| {
            let work = work.take();
            async move {
                if let Some((lead, job, told, objection)) = work {
                    lead.work(job, told, objection, stop).await;
                }
                Ok(())
            }
        });
        Ok(stream::once(std::future::ready(Ok(started))).chain(events).boxed())
    }

    async fn start(&self, catalog: &Catalog, kept: TrainingSetRequest) -> Result<Lead> {
        let (runs, project) = (self.runs.within(ANSWER_WITHIN), catalog.project.clone());
        let (run, _) = runs.create(&project, "", &RunRequest::TrainingSet(kept)).await?;
        let grant = runs.acquire_lease(&project, &run.id, &self.holder).await?;
        let (lease, run) = Lease::of(&runs, &project, grant);
        let (threads, places) = (Arc::clone(&self.threads), Arc::clone(&self.places));
        Ok(Lead::new(lease, run, threads, places, self.shutdown.clone()))
    }
}

impl Admitted {
    /// Whether the spine is to be streamed in.
    pub fn wants_spine(&self) -> bool {
        self.request.spine.is_none()
    }
}

fn resources<'a>(request: &'a Request, selection: &'a Selection) -> Vec<Resource<'a>> {
    let project = request.project.as_str();
    let views = selection.views.iter();
    let views = views.map(|view| Resource::new(ResourceKind::FeatureView, project, view.view.name().as_str()));
    let paths = request.spine.iter().chain(&request.output);
    let paths = paths.map(|path| Resource::new(ResourceKind::Path, project, path));
    std::iter::once(Resource::project(project)).chain(views).chain(paths).collect()
}

/// What is kept of a request, to ask for the same again.
fn kept_request(request: &Request) -> TrainingSetRequest {
    let (feature_service, references) = match &request.features {
        Asked::Service(name) => (Some(name.clone()), Vec::new()),
        Asked::References(references) => (None, references.iter().map(ToString::to_string).collect()),
    };
    let place = |path: &Option<String>| path.clone().unwrap_or_else(|| STREAMED.to_owned());
    let (spine, output) = (place(&request.spine), place(&request.output));
    let (event_time, full_names) = (request.event_time.clone(), request.full_names);
    TrainingSetRequest { feature_service, references, spine, event_time, output, full_names }
}
