//! A watch against a registry of the same process that does what a script says.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use larder_contracts::{
    catalog::{change, whole},
    registry::v1::{
        self as api, CatalogPiece, WatchCatalogResponse,
        registry_service_server::{RegistryService, RegistryServiceServer},
        watch_catalog_response::Event,
    },
    status::to_status,
};
use larder_definitions::{Catalog, Entity, JoinKey, Metadata, ObjectId, ObjectKind};
use larder_types::{Error, ErrorCode, KeyType, Name, ProjectNumber, Revision, Timestamp};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use super::{CatalogWatch, CatalogWatchOptions};
use crate::Transport;

/// How often a registry beats that does.
const BEAT: Duration = Duration::from_millis(10);

/// A heartbeat that is missed soon, where a test is about silence.
const SHORT: Duration = Duration::from_millis(40);

/// How long may take whatever must come: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stream does, after it said what it has to say.
#[derive(Debug, Clone, Copy)]
enum Then {
    End,
    Fall,
    Stop,
    BeSilent,
    Beat(u64),
}

type Script = (Vec<Event>, Then);

/// Plays a script a stream, and the last one again and again.
#[derive(Clone, Default)]
struct Registry {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Registry {
    fn playing(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts = Arc::new(Mutex::new(scripts.into_iter().collect()));
        Self { scripts, asked: Arc::default() }
    }

    /// The revisions that were named, stream by stream.
    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().clone()
    }

    fn watch(&self, options: CatalogWatchOptions) -> (CatalogWatch, JoinHandle<()>) {
        let transport = Transport::in_process(RegistryServiceServer::new(self.clone()));
        let (watch, follower) = CatalogWatch::new(transport, name("payments"), options);
        (watch, tokio::spawn(follower.run()))
    }
}

/// Methods that the script says nothing of, as `async_trait` would write them.
macro_rules! silent {
    ($($method:ident($request:ident) -> $response:ident;)*) => {$(
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            _: Request<api::$request>,
        ) -> BoxFuture<'async_trait, Result<Response<api::$response>, Status>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented("not in the script"))))
        }
    )*};
}

#[tonic::async_trait]
impl RegistryService for Registry {
    type GetCatalogStream = BoxStream<'static, Result<api::GetCatalogResponse, Status>>;
    type WatchCatalogStream = BoxStream<'static, Result<WatchCatalogResponse, Status>>;

    async fn get_catalog(
        &self,
        _: Request<api::GetCatalogRequest>,
    ) -> Result<Response<Self::GetCatalogStream>, Status> {
        Err(Status::unimplemented("not in the script"))
    }

    async fn watch_catalog(
        &self,
        request: Request<api::WatchCatalogRequest>,
    ) -> Result<Response<Self::WatchCatalogStream>, Status> {
        self.asked.lock().unwrap().push(request.into_inner().since);
        let (events, then) = {
            let mut scripts = self.scripts.lock().unwrap();
            let next = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
            next.ok_or_else(|| Status::unavailable("no script"))?
        };
        let said = futures::stream::iter(events.into_iter().map(answer));
        Ok(Response::new(match then {
            Then::End => said.boxed(),
            Then::Fall => said.chain(futures::stream::iter([Err(Status::internal("fell over"))])).boxed(),
            Then::Stop => said.chain(futures::stream::iter([Err(stopping())])).boxed(),
            Then::BeSilent => said.chain(futures::stream::pending()).boxed(),
            Then::Beat(revision) => {
                let beats = futures::stream::unfold((), move |()| async move {
                    tokio::time::sleep(BEAT).await;
                    Some((answer(Event::Heartbeat(api::Heartbeat { revision })), ()))
                });
                said.chain(beats).boxed()
            }
        }))
    }

    silent! {
        plan(PlanRequest) -> PlanResponse;
        apply(ApplyRequest) -> ApplyResponse;
        rollback(RollbackRequest) -> RollbackResponse;
        list_projects(ListProjectsRequest) -> ListProjectsResponse;
        get_object(GetObjectRequest) -> GetObjectResponse;
        list_objects(ListObjectsRequest) -> ListObjectsResponse;
        list_revisions(ListRevisionsRequest) -> ListRevisionsResponse;
        diff_revisions(DiffRevisionsRequest) -> DiffRevisionsResponse;
        search(SearchRequest) -> SearchResponse;
        get_lineage(GetLineageRequest) -> GetLineageResponse;
    }
}

/// What a registry says that stops in order.
fn stopping() -> Status {
    to_status(&Error::unavailable("the service is stopping"))
}

fn answer(event: Event) -> Result<WatchCatalogResponse, Status> {
    Ok(WatchCatalogResponse { event: Some(event) })
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A catalog with as many entities as its number says.
fn catalog(revision: u64) -> Catalog {
    let entity = |number: u64| Entity {
        name: name(&format!("entity_{number}")),
        join_keys: vec![JoinKey { name: name("id"), key_type: KeyType::Int64 }],
        metadata: Metadata::default(),
    };
    let entities = (0..revision).map(entity).map(|entity| (entity.name.clone(), Arc::new(entity)));
    let ids =
        (0..revision).map(|number| ObjectId { kind: ObjectKind::Entity, name: name(&format!("entity_{number}")) });
    Catalog {
        project: name("payments"),
        project_number: ProjectNumber(7),
        revision: Revision(revision),
        created_at: Timestamp::from_micros(0),
        entities: entities.collect(),
        sources: BTreeMap::new(),
        feature_views: BTreeMap::new(),
        on_demand_feature_views: BTreeMap::new(),
        feature_services: BTreeMap::new(),
        origins: ids.map(|id| (id, String::new())).collect(),
        not_understood: BTreeMap::new(),
    }
}

fn whole_of(revision: u64) -> Vec<Event> {
    whole(&catalog(revision)).into_iter().map(Event::Whole).collect()
}

fn changes(from: u64, to: u64) -> Vec<Event> {
    change(&catalog(from), &catalog(to)).into_iter().map(Event::Change).collect()
}

/// Silence is not minded.
fn options() -> CatalogWatchOptions {
    CatalogWatchOptions { heartbeat: PATIENCE, ..CatalogWatchOptions::default() }
}

async fn reach(watch: &CatalogWatch, revision: u64) {
    let there = watch.wait_for(Revision(revision), PATIENCE).await.unwrap();
    assert_eq!(*there, catalog(revision));
}

/// Until as many streams were opened.
async fn opened(registry: &Registry, streams: usize) -> Vec<u64> {
    let wait = async {
        while registry.asked().len() < streams {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    registry.asked()
}

#[tokio::test]
async fn the_whole_comes_first_and_then_each_change() {
    let script = [whole_of(3), changes(3, 4), changes(4, 9)].concat();
    let registry = Registry::playing([(script, Then::Beat(9))]);
    let (watch, task) = registry.watch(options());
    assert!(watch.latest().is_none() && watch.age().is_none());
    reach(&watch, 9).await;
    assert!(watch.age().unwrap() < PATIENCE);
    assert_eq!(registry.asked(), [0]);
    task.abort();
}

#[tokio::test]
async fn streams_that_end_or_fall_are_opened_from_the_revision_that_is_here() {
    for then in [Then::End, Then::Fall] {
        let registry = Registry::playing([(whole_of(2), then), (changes(2, 5), then), (Vec::new(), Then::Beat(5))]);
        let (watch, task) = registry.watch(options());
        reach(&watch, 5).await;
        assert_eq!(opened(&registry, 3).await, [0, 2, 5]);
        task.abort();
    }
}

#[tokio::test]
async fn a_silent_stream_is_opened_anew_and_meanwhile_the_catalog_is_not_current() {
    let registry = Registry::playing([(whole_of(2), Then::BeSilent), (Vec::new(), Then::BeSilent)]);
    let (watch, task) = registry.watch(CatalogWatchOptions { heartbeat: SHORT, ..options() });
    reach(&watch, 2).await;
    assert_eq!(opened(&registry, 3).await[..2], [0, 2]);
    assert!(watch.age().unwrap() > SHORT * 3);
    assert_eq!(watch.latest().unwrap().revision, Revision(2));
    task.abort();
}

#[tokio::test]
async fn a_gap_in_the_numbers_is_filled_by_a_new_stream() {
    let script = [whole_of(2), changes(4, 5)].concat();
    let registry = Registry::playing([(script, Then::BeSilent), (changes(2, 5), Then::Beat(5))]);
    let (watch, task) = registry.watch(options());
    reach(&watch, 5).await;
    assert_eq!(registry.asked(), [0, 2]);
    task.abort();
}

#[tokio::test]
async fn what_does_not_fit_twice_is_asked_for_as_a_whole() {
    let wrong = || (changes(4, 5), Then::BeSilent);
    let registry = Registry::playing([(whole_of(2), Then::End), wrong(), (whole_of(5), Then::Beat(5))]);
    let (watch, task) = registry.watch(options());
    reach(&watch, 5).await;
    assert_eq!(registry.asked(), [0, 2, 0]);
    task.abort();
}

#[tokio::test]
async fn a_change_that_was_lost_is_noticed_by_heartbeats() {
    let registry = Registry::playing([(whole_of(2), Then::Beat(3)), (changes(2, 3), Then::Beat(3))]);
    let (watch, task) = registry.watch(options());
    reach(&watch, 3).await;
    assert_eq!(registry.asked(), [0, 2]);
    task.abort();
}

#[tokio::test]
async fn a_registry_that_was_restored_from_before_is_believed() {
    let registry = Registry::playing([(whole_of(8), Then::Beat(3)), (whole_of(3), Then::Beat(3))]);
    let (watch, task) = registry.watch(options());
    let mut catalogs = watch.subscribe();
    let is_third = |seen: &Option<Arc<Catalog>>| seen.as_ref().is_some_and(|seen| seen.revision == Revision(3));
    tokio::time::timeout(PATIENCE, catalogs.wait_for(is_third)).await.unwrap().unwrap();
    assert_eq!(registry.asked(), [0, 0]);
    task.abort();
}

#[tokio::test]
async fn a_change_that_is_here_already_is_passed_over() {
    let script = [whole_of(4), changes(2, 4), changes(4, 5)].concat();
    let registry = Registry::playing([(script, Then::Beat(5))]);
    let (watch, task) = registry.watch(options());
    reach(&watch, 5).await;
    assert_eq!(registry.asked(), [0]);
    task.abort();
}

#[tokio::test]
async fn waiting_ends_and_says_what_is_here() {
    let registry = Registry::playing([(whole_of(2), Then::Beat(2))]);
    let (watch, task) = registry.watch(options());
    reach(&watch, 2).await;
    let error = watch.wait_for(Revision(3), SHORT).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    assert!(error.message().contains("payments is at revision 2 here, and 3 did not come"), "{error}");
    task.abort();
    let registry = Registry::default();
    let (watch, task) = registry.watch(options());
    // When it is asked again, it is known what it said first.
    opened(&registry, 2).await;
    let error = watch.wait_for(Revision(0), SHORT).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("no catalog of project payments is here yet: no script"), "{error}");
    task.abort();
}

#[tokio::test]
async fn a_kept_catalog_is_there_before_the_registry_and_the_first_stream_brings_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let kept = CatalogWatchOptions { state_folder: Some(folder.path().join("state")), ..options() };
    let registry = Registry::playing([(whole_of(2), Then::End), (changes(2, 4), Then::BeSilent)]);
    let (watch, task) = registry.watch(CatalogWatchOptions { heartbeat: SHORT, ..kept.clone() });
    reach(&watch, 4).await;
    // The stream after the next is opened when the file was written.
    opened(&registry, 3).await;
    task.abort();

    let registry = Registry::playing([(Vec::new(), Then::Fall), (whole_of(6), Then::Beat(6))]);
    let (watch, task) = registry.watch(kept.clone());
    assert_eq!(*watch.latest().unwrap(), catalog(4));
    assert!(watch.age().is_none());
    reach(&watch, 6).await;
    assert_eq!(registry.asked(), [0, 0]);
    task.abort();
}

#[test]
fn damaged_files_count_as_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = super::state_file::StateFile::new(folder.path(), &name("payments"));
    assert!(file.read(&name("payments")).is_none());
    file.write(&catalog(5)).unwrap();
    assert_eq!(file.read(&name("payments")), Some(catalog(5)));
    assert!(file.read(&name("other")).is_none());
    let path = folder.path().join("payments.catalog");
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 5, 20, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(file.read(&name("payments")).is_none(), "{cut}");
    }
    std::fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(file.read(&name("payments")).is_none());
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["payments.catalog"]);
}

#[test]
fn pieces_travel_as_they_are() {
    let pieces: Vec<CatalogPiece> = whole(&catalog(3));
    assert!(pieces.iter().all(|piece| piece.since == 0) && pieces.last().unwrap().last);
}

/// The lines of log that a thread writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn of_level(&self, level: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(level)).map(str::to_owned).collect()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Follows what `scripts` say until as many streams were opened; gives what was logged.
async fn logged(scripts: Vec<Script>, streams: usize) -> Lines {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let registry = Registry::playing(scripts);
    let (watch, task) = registry.watch(options());
    opened(&registry, streams).await;
    drop(watch);
    task.abort();
    lines
}

#[tokio::test]
async fn a_registry_that_stops_in_order_is_no_warning() {
    // It stops, is away, and is back; then the same again, with nothing new in between but that it is there.
    let there = || (vec![Event::Heartbeat(api::Heartbeat { revision: 2 })], Then::Stop);
    let scripts = vec![
        (whole_of(2), Then::Stop),
        (Vec::new(), Then::Stop),
        (Vec::new(), Then::End),
        (changes(2, 3), Then::Stop),
        (whole_of(2), Then::Stop),
        there(),
        there(),
        (whole_of(2), Then::BeSilent),
    ];
    let lines = logged(scripts, 8).await;
    assert_eq!(lines.of_level("WARN"), [""; 0]);
    assert!(lines.of_level("INFO").iter().any(|line| line.contains("the service is stopping")));
}

#[tokio::test]
async fn a_stream_that_breaks_is_one_warning_until_all_is_well_again() {
    for then in [Then::End, Then::Fall] {
        let broken = || (Vec::new(), then);
        let scripts =
            vec![(whole_of(2), then), broken(), broken(), (whole_of(2), then), broken(), (whole_of(2), Then::BeSilent)];
        let warnings = logged(scripts, 6).await.of_level("WARN");
        assert_eq!(warnings.len(), 2, "{then:?}: {warnings:?}");
    }
}
