//! What services make of catalogs: made before anybody is given it, swapped whole, kept while nothing newer is ready.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc as gates,
    },
    time::Duration,
};

use futures::{StreamExt as _, future::join_all, stream::BoxStream};
use larder_client::{CatalogWatchOptions, Projects, Spawn, Transport};
use larder_contracts::{
    catalog::whole,
    registry::v1::{
        self as api, WatchCatalogResponse,
        registry_service_server::{RegistryService, RegistryServiceServer},
        watch_catalog_response::Event,
    },
};
use larder_definitions::Catalog;
use larder_types::{ErrorCode, ProjectNumber, Revision, Timestamp};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::fake::{both_ways, name, silent};

const PATIENCE: Duration = Duration::from_secs(30);
const NONE: Revision = Revision(0);

/// A registry of two projects whose revisions a test sets; every stream tells the whole of each.
#[derive(Clone)]
struct Registry {
    revisions: watch::Sender<u64>,
    /// The project of each stream.
    streams: Arc<Mutex<Vec<String>>>,
    is_away: Arc<AtomicBool>,
    /// Has no stream for the project `fraud`.
    is_full: Arc<AtomicBool>,
}

impl Registry {
    fn at(revision: u64) -> Self {
        Self {
            revisions: watch::Sender::new(revision),
            streams: Arc::default(),
            is_away: Arc::default(),
            is_full: Arc::default(),
        }
    }

    fn away() -> Self {
        let registry = Self::at(1);
        registry.is_away.store(true, Ordering::SeqCst);
        registry
    }

    fn check_that_it_is_here(&self) -> Result<(), Status> {
        if self.is_away.load(Ordering::SeqCst) { Err(Status::unavailable("gone fishing")) } else { Ok(()) }
    }

    fn service(&self) -> RegistryServiceServer<Self> {
        RegistryServiceServer::new(self.clone())
    }

    fn transport(&self) -> Transport {
        Transport::in_process(self.service())
    }
}

#[tonic::async_trait]
impl RegistryService for Registry {
    type GetCatalogStream = BoxStream<'static, Result<api::GetCatalogResponse, Status>>;
    type WatchCatalogStream = BoxStream<'static, Result<WatchCatalogResponse, Status>>;

    async fn list_projects(
        &self,
        _: Request<api::ListProjectsRequest>,
    ) -> Result<Response<api::ListProjectsResponse>, Status> {
        self.check_that_it_is_here()?;
        let project = |name: &str, number| api::Project { name: name.to_owned(), number, revision: 1 };
        let projects = vec![project("payments", 1), project("fraud", 2)];
        Ok(Response::new(api::ListProjectsResponse { projects }))
    }

    async fn watch_catalog(
        &self,
        request: Request<api::WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        self.check_that_it_is_here()?;
        let project = request.into_inner().project;
        if project == "fraud" && self.is_full.load(Ordering::SeqCst) {
            return Err(Status::resource_exhausted("too many streams"));
        }
        self.streams.lock().unwrap().push(project.clone());
        let wholes = WatchStream::new(self.revisions.subscribe()).flat_map(move |revision| {
            let pieces = whole(&catalog(&project, revision)).into_iter();
            futures::stream::iter(pieces.map(|piece| Ok(WatchCatalogResponse { event: Some(Event::Whole(piece)) })))
        });
        Ok(Response::new(wholes.boxed()))
    }

    async fn get_catalog(
        &self,
        _: Request<api::GetCatalogRequest>,
    ) -> Result<Response<Self::GetCatalogStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    silent! {
        plan(api::PlanRequest) -> api::PlanResponse;
        apply(api::ApplyRequest) -> api::ApplyResponse;
        rollback(api::RollbackRequest) -> api::RollbackResponse;
        get_object(api::GetObjectRequest) -> api::GetObjectResponse;
        list_objects(api::ListObjectsRequest) -> api::ListObjectsResponse;
        list_revisions(api::ListRevisionsRequest) -> api::ListRevisionsResponse;
        diff_revisions(api::DiffRevisionsRequest) -> api::DiffRevisionsResponse;
        search(api::SearchRequest) -> api::SearchResponse;
        get_lineage(api::GetLineageRequest) -> api::GetLineageResponse;
    }
}

fn catalog(project: &str, revision: u64) -> Catalog {
    Catalog::empty(name(project), ProjectNumber(1), Revision(revision), Timestamp::from_micros(0))
}

/// What is made in these tests: of which catalog, and of what was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plans {
    project: String,
    revision: u64,
    previous: Option<u64>,
}

fn make(catalog: Arc<Catalog>, previous: Option<&Plans>) -> Plans {
    let previous = previous.map(|previous| previous.revision);
    Plans { project: catalog.project.to_string(), revision: catalog.revision.0, previous }
}

/// Nobody is late here: what is heard once counts to the end of the test.
fn options() -> CatalogWatchOptions {
    CatalogWatchOptions { heartbeat: PATIENCE, ..CatalogWatchOptions::default() }
}

fn spawn() -> Spawn {
    Arc::new(|work| drop(tokio::spawn(work)))
}

fn projects(transport: Transport) -> Projects<Plans> {
    Projects::new(transport, options(), spawn(), make)
}

fn plans(revision: u64, previous: Option<u64>) -> Plans {
    Plans { project: "payments".to_owned(), revision, previous }
}

#[tokio::test]
async fn each_catalog_is_made_use_of_once_with_what_was_made_before() {
    let registry = Registry::at(1);
    for way in both_ways(registry.service()).await {
        registry.revisions.send_replace(1);
        let projects = projects(way);
        let first = projects.get("payments", NONE, PATIENCE).await.unwrap();
        assert_eq!(*first, plans(1, None));
        assert!(Arc::ptr_eq(&first, &projects.get("payments", Revision(1), PATIENCE).await.unwrap()), "made once");
        for revision in 2..=4 {
            registry.revisions.send_replace(revision);
            let next = projects.get("payments", Revision(revision), PATIENCE).await.unwrap();
            assert_eq!(*next, plans(revision, Some(revision - 1)));
        }
        // Who took one keeps it.
        assert_eq!(*first, plans(1, None));
        assert_eq!(projects.get("payments", NONE, PATIENCE).await.unwrap().revision, 4);
    }
}

/// A `make` that a test holds up: each takes one from the gate. The one thread there is goes on meanwhile.
#[tokio::test]
async fn the_last_one_is_served_while_the_next_is_made() {
    let registry = Registry::at(1);
    let (open, gate) = gates::channel::<()>();
    let (begun, mut making) = tokio::sync::mpsc::unbounded_channel();
    let gate = Mutex::new(gate);
    let slow = move |catalog: Arc<Catalog>, previous: Option<&Plans>| {
        begun.send(catalog.revision.0).unwrap();
        gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        make(catalog, previous)
    };
    let projects = Projects::new(registry.transport(), options(), spawn(), slow);
    let get = async |revision| projects.get("payments", Revision(revision), Duration::from_millis(20)).await;

    // The first catalog is here, and nothing was made of it yet.
    while making.try_recv().is_err() {
        let error = get(0).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    }
    let error = get(0).await.unwrap_err();
    assert_eq!(error.message(), "the newest catalog is here and not ready yet: try again");
    open.send(()).unwrap();
    assert_eq!(*projects.get("payments", NONE, PATIENCE).await.unwrap(), plans(1, None));

    registry.revisions.send_replace(2);
    assert_eq!(making.recv().await, Some(2));
    assert_eq!(*get(0).await.unwrap(), plans(1, None), "whole, and at once");
    assert_eq!(get(2).await.unwrap_err().code(), ErrorCode::Unavailable);
    // What comes meanwhile is not made one by one: the newest follows.
    for revision in 3..=9 {
        registry.revisions.send_replace(revision);
    }
    let waiting = {
        let projects = projects.clone();
        tokio::spawn(async move { projects.get("payments", Revision(9), PATIENCE).await })
    };
    assert_eq!(*get(0).await.unwrap(), plans(1, None));
    open.send(()).unwrap();
    assert_eq!(*projects.get("payments", Revision(2), PATIENCE).await.unwrap(), plans(2, Some(1)));
    drop((0..9).map(|_| open.send(())).collect::<Vec<_>>());
    let last = waiting.await.unwrap().unwrap();
    assert_eq!(last.revision, 9);
    assert!(last.previous.unwrap() >= 2);
}

#[tokio::test]
async fn a_project_that_is_not_there_is_told_with_near_names_and_not_followed() {
    let registry = Registry::at(1);
    let projects = projects(registry.transport());
    let error = projects.get("paymens", NONE, PATIENCE).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert_eq!(error.message(), "the registry has no project `paymens`; did you mean payments?");
    let error = projects.get("no such name", NONE, PATIENCE).await.unwrap_err();
    assert_eq!((error.code(), error.violations()[0].field.as_str()), (ErrorCode::InvalidArgument, "project"));
    assert!(projects.followed().is_empty() && registry.streams.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_project_is_followed_by_one_stream_whoever_asks_first() {
    let registry = Registry::at(7);
    let projects = projects(registry.transport());
    let asking = (0..20).map(|number| {
        let projects = projects.clone();
        let project = if number % 2 == 0 { "payments" } else { "fraud" };
        tokio::spawn(async move { (project, projects.get(project, NONE, PATIENCE).await.unwrap()) })
    });
    for answer in join_all(asking).await {
        let (project, made) = answer.unwrap();
        assert_eq!((made.project.as_str(), made.revision), (project, 7));
    }
    assert_eq!(projects.follow_all().await.unwrap(), [name("payments"), name("fraud")]);
    let mut streams = registry.streams.lock().unwrap().clone();
    streams.sort();
    assert_eq!(streams, ["fraud", "payments"]);
    let mut followed = projects.followed();
    followed.sort();
    assert_eq!(followed, [name("fraud"), name("payments")]);
}

#[tokio::test]
async fn a_revision_that_does_not_come_in_time_is_told_with_the_one_that_is_here() {
    let registry = Registry::at(3);
    let projects = projects(registry.transport());
    projects.get("payments", NONE, PATIENCE).await.unwrap();
    let error = projects.get("payments", Revision(4), Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    let told = "payments is at revision 3 here, and 4 did not come within 20.0ms";
    assert!(error.message().contains(told), "{error}");
    let away = Registry::away();
    let error = self::projects(away.transport()).get("payments", NONE, Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("no catalog of project payments is here yet"), "{error}");
}

#[tokio::test]
async fn who_waits_for_a_revision_is_sent_away_when_the_process_stops() {
    let registry = Registry::at(3);
    let options = options();
    let projects = Projects::new(registry.transport(), options.clone(), spawn(), make);
    projects.get("payments", NONE, PATIENCE).await.unwrap();
    let waiting = tokio::spawn({
        let projects = projects.clone();
        async move { projects.get("payments", Revision(4), PATIENCE).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    options.stop.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("the service is stopping"), "{error}");
    assert_eq!(*projects.get("payments", Revision(3), PATIENCE).await.unwrap(), plans(3, None), "what is here serves");
}

/// It cannot be known that there is no such project; what was kept of one that there is serves.
#[tokio::test]
async fn while_the_registry_is_away_the_kept_catalog_serves() {
    let folder = tempfile::tempdir().unwrap();
    let options = CatalogWatchOptions { state_folder: Some(folder.path().to_owned()), ..options() };
    let registry = Registry::at(5);
    let projects = |registry: &Registry| Projects::new(registry.transport(), options.clone(), spawn(), make);
    projects(&registry).get("payments", Revision(5), PATIENCE).await.unwrap();
    let is_kept = async {
        while !folder.path().join("payments.catalog").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_kept).await.unwrap();
    let away = Registry::away();
    let projects = projects(&away);
    assert_eq!(*projects.get("payments", NONE, PATIENCE).await.unwrap(), plans(5, None));
    assert_eq!(projects.followed(), [name("payments")]);
}

/// What the registry has and cannot be followed is told; what was only asked for is not.
#[tokio::test]
async fn a_project_whose_catalog_never_came_is_told() {
    let registry = Registry::at(1);
    let options = CatalogWatchOptions { heartbeat: Duration::from_millis(50), ..CatalogWatchOptions::default() };
    let projects = Projects::new(registry.transport(), options, spawn(), make);
    projects.get("payments", NONE, PATIENCE).await.unwrap();
    registry.is_full.store(true, Ordering::SeqCst);
    registry.is_away.store(true, Ordering::SeqCst);
    projects.get("no_such", NONE, Duration::ZERO).await.unwrap_err();
    registry.is_away.store(false, Ordering::SeqCst);
    projects.follow_all().await.unwrap();
    let until = async |is_healthy: bool| {
        let looking = async {
            loop {
                let health = projects.check_health().await;
                // Nothing is heard of what is well, but anew when its silent stream is opened again.
                let is_silent = health.as_ref().is_err_and(|error| error.message().contains("may be old"));
                if health.is_ok() == is_healthy && !is_silent {
                    return health;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap()
    };
    let error = until(false).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().starts_with("no catalog of fraud came within 750ms ("), "{error}");
    assert!(error.message().contains("too many streams"), "{error}");
    registry.is_full.store(false, Ordering::SeqCst);
    until(true).await.unwrap();
}
