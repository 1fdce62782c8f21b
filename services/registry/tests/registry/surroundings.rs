//! A registry to test with, what it keeps its things in, and ways to call it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use larder_client::{RegistryClient, RunsClient, Transport};
use larder_connections::DurableLocal;
use larder_registry::config::Config;
use larder_registry_store::ObjectRegistryStore;
use larder_service::{Endpoint, Metrics, Readiness, Shutdown, Tasks, config::ServerConfig, server::Surroundings};
use larder_test_kit::temporary_folder;
use larder_types::{ManualClock, Name, Result};
use object_store::{ObjectStore, ObjectStoreExt as _, memory::InMemory, path::Path};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::http::{Request, Response},
};
use tower::Service;

/// How long anything may take that must come: only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The project that most tests use.
pub(crate) fn project() -> Name {
    name("payments")
}

/// An object store, and its folder if it has one.
pub(crate) struct Storage {
    pub(crate) objects: Arc<dyn ObjectStore>,
    folder: Option<TempDir>,
}

impl Storage {
    pub(crate) fn in_memory() -> Self {
        Self { objects: Arc::new(InMemory::new()), folder: None }
    }

    pub(crate) fn in_a_folder() -> Self {
        let folder = temporary_folder();
        let objects = DurableLocal::open(folder.path(), Duration::ZERO).unwrap();
        Self { objects: Arc::new(objects), folder: Some(folder) }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::in_memory(), Self::in_a_folder()]
    }

    /// The same folder, opened as a new process does.
    pub(crate) fn reopened(self) -> Self {
        let Some(folder) = self.folder else { return self };
        let objects = DurableLocal::open(folder.path(), Duration::ZERO).unwrap();
        Self { objects: Arc::new(objects), folder: Some(folder) }
    }

    /// Everything that is kept.
    pub(crate) async fn contents(&self) -> BTreeMap<String, Bytes> {
        let found: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        let mut contents = BTreeMap::new();
        for object in found {
            contents.insert(object.location.to_string(), self.read(object.location.as_ref()).await);
        }
        contents
    }

    pub(crate) async fn read(&self, path: &str) -> Bytes {
        self.objects.get(&Path::from(path)).await.unwrap().bytes().await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, content: impl Into<Bytes>) {
        self.objects.put(&Path::from(path), content.into().into()).await.unwrap();
    }

    pub(crate) async fn remove(&self, path: &str) {
        self.objects.delete(&Path::from(path)).await.unwrap();
    }
}

/// The service, over a storage.
pub(crate) struct Registry {
    pub(crate) endpoint: Endpoint,
    shutdown: Shutdown,
}

impl Registry {
    pub(crate) async fn start(storage: &Storage, clock: &ManualClock) -> Self {
        Self::try_start(storage, clock).await.unwrap()
    }

    pub(crate) async fn try_start(storage: &Storage, clock: &ManualClock) -> Result<Self> {
        Self::over(Arc::clone(&storage.objects), clock).await
    }

    pub(crate) async fn over(objects: Arc<dyn ObjectStore>, clock: &ManualClock) -> Result<Self> {
        let shutdown = Shutdown::new();
        let surroundings =
            Surroundings { metrics: Metrics::new()?, readiness: Readiness::new(), shutdown: shutdown.clone() };
        let store = Arc::new(ObjectRegistryStore::new(objects, Path::default()));
        let config = Config { server: ServerConfig::on_port(0) };
        let tasks = Tasks::new(shutdown.clone());
        let deps = larder_registry::Deps {
            store,
            clock: Arc::new(clock.clone()),
            tasks,
            former_workers: larder_registry::FormerWorkers::MayBeAtWork,
            surroundings,
        };
        let endpoint = larder_registry::build(&config, deps).await?;
        Ok(Self { endpoint, shutdown })
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::in_process(self.endpoint.clone())
    }

    /// A way over a port, for as long as the test runs.
    pub(crate) async fn over_a_port(&self) -> Transport {
        let listener = larder_test_kit::listener().await;
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.endpoint.clone().serve(listener, CancellationToken::new()));
        Transport::connect(&address.to_string()).unwrap()
    }

    pub(crate) async fn both_ways(&self) -> [Transport; 2] {
        [self.transport(), self.over_a_port().await]
    }

    pub(crate) fn definitions(&self) -> RegistryClient {
        RegistryClient::new(self.transport()).within(PATIENCE)
    }

    pub(crate) fn runs(&self) -> RunsClient {
        RunsClient::new(self.transport()).within(PATIENCE)
    }

    /// Ends streams, as a process does that was told to stop.
    pub(crate) fn stop(&self) {
        self.shutdown.begin("the test says so");
    }
}

/// A way to one registry after the other: who calls does not notice but by what happens to the calls.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Mutex<Endpoint>>);

impl Switch {
    pub(crate) fn to(registry: &Registry) -> Self {
        Self(Arc::new(Mutex::new(registry.endpoint.clone())))
    }

    pub(crate) fn turn(&self, registry: &Registry) {
        *self.0.lock() = registry.endpoint.clone();
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::in_process(self.clone())
    }
}

impl Service<Request<Body>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Endpoint as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.lock().call(request)
    }
}
