//! Registry, push-ingest and serving on embedded stores in a temporary folder, calling each other in process.

use std::{path::Path as FsPath, sync::Arc, time::Duration};

use arrow::array::ArrayRef;
use larder_client::{
    Applied, ChangeRequest, OnlineAnswer, OnlineRequest, PushBatch, PushClient, RegistryClient, RowResult,
    ServingClient, Spawn, Target, Transport,
};
use larder_connections::DurableLocal;
use larder_definitions::{ChangeSet, yaml::read_text};
use larder_online_store::{EmbeddedConfig, EmbeddedStore, OnlineStore};
use larder_push_log::{PushLogWriter, WriterOptions};
use larder_registry_store::ObjectRegistryStore;
use larder_service::{Endpoint, Metrics, Readiness, Shutdown, Tasks, config::ServerConfig, server::Surroundings};
use larder_serving::config::Config;
use larder_types::{Clock, Error, ManualClock, Name, Result, Revision, Timestamp};
use object_store::path::Path;
use tempfile::TempDir;

use crate::held_store::HeldStore;

pub(crate) struct Sandbox {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<HeldStore>,
    pub(crate) registry: Transport,
    surroundings: Surroundings,
    serving: Endpoint,
    push_ingest: Endpoint,
    _folder: TempDir,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        let folder = larder_test_kit::temporary_folder();
        let clock = larder_test_kit::clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let local = |name: &str| Arc::new(DurableLocal::open(&folder.path().join(name), Duration::ZERO).unwrap());
        let registry_store = ObjectRegistryStore::new(local("registry"), Path::default());
        let server = ServerConfig::on_port(0);
        let registry = larder_registry::Deps {
            store: Arc::new(registry_store),
            clock: shared.clone(),
            tasks: Tasks::new(Shutdown::new()),
            former_workers: larder_registry::FormerWorkers::MayBeAtWork,
            surroundings: surroundings(),
        };
        let registry = Transport::in_process(
            larder_registry::build(&larder_registry::config::Config { server: server.clone() }, registry)
                .await
                .unwrap(),
        );
        let embedded = EmbeddedStore::open(&folder.path().join("online.redb"), &EmbeddedConfig::default()).unwrap();
        let embedded: Arc<dyn OnlineStore> = Arc::new(embedded);
        let log = PushLogWriter::open(local("push-log"), Path::default(), WriterOptions::default(), &clock);
        let push_ingest = larder_push_ingest::Deps {
            store: embedded.clone(),
            log: Arc::new(log),
            registry: registry.clone(),
            clock: shared,
            spawn: spawn(),
            tasks: Tasks::new(Shutdown::new()),
            surroundings: surroundings(),
        };
        let config = larder_push_ingest::config::Config { server, ..Default::default() };
        let push_ingest = larder_push_ingest::build(&config, push_ingest).unwrap();
        let store = Arc::new(HeldStore::new(embedded));
        let surroundings = surroundings();
        let serving = serving(&Config::default(), &store, &registry, &clock, surroundings.clone());
        Self { clock, store, registry, surroundings, serving, push_ingest, _folder: folder }
    }

    /// One that has the definitions of `yaml`.
    pub(crate) async fn with(yaml: &str) -> Self {
        let sandbox = Self::start().await;
        sandbox.apply(yaml).await.unwrap();
        sandbox
    }

    /// Another serving service on the same stores.
    pub(crate) fn serving_with(&self, configure: impl FnOnce(&mut Config)) -> Endpoint {
        let mut config = Config::default();
        configure(&mut config);
        serving(&config, &self.store, &self.registry, &self.clock, surroundings())
    }

    pub(crate) fn client(&self) -> ServingClient {
        ServingClient::new(Transport::in_process(self.serving.clone()))
    }

    pub(crate) async fn ask(&self, request: &OnlineRequest) -> Result<OnlineAnswer> {
        self.client().online_features(request).await
    }

    pub(crate) async fn apply(&self, yaml: &str) -> Result<Applied> {
        let declared = read_text("larder.yaml", FsPath::new("/"), yaml).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let project = declared.project.clone();
        let change = ChangeSet { puts: declared.into_objects(), origin: "test".to_owned(), ..ChangeSet::default() };
        let request = ChangeRequest { change, remove_missing: true };
        RegistryClient::new(self.registry.clone()).apply(&project, &request).await
    }

    /// Pushes events that happened at `event_times`, all of which are written.
    pub(crate) async fn push(&self, source: &str, columns: Vec<(&str, ArrayRef)>, event_times: Vec<Timestamp>) {
        self.push_by(Revision(0), source, columns, event_times, false).await.unwrap();
    }

    pub(crate) async fn push_by(
        &self,
        min_revision: Revision,
        source: &str,
        columns: Vec<(&str, ArrayRef)>,
        event_times: Vec<Timestamp>,
        deleted: bool,
    ) -> Result<(), Error> {
        let rows = event_times.len();
        let batch = PushBatch {
            project: name("shop"),
            source: name(source),
            batch_id: None,
            columns: columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect(),
            event_times,
            created_times: Vec::new(),
            deleted: vec![deleted; rows],
            target: Target::Online,
            min_revision,
        };
        let answer = PushClient::new(Transport::in_process(self.push_ingest.clone())).push(batch).await?;
        assert_eq!(answer.results, vec![RowResult::Written; rows], "{:?}", answer.refusals);
        Ok(())
    }

    /// Plans that the service made so far.
    pub(crate) fn plans(&self) -> u64 {
        let text = self.surroundings.metrics.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("larder_serving_plans_total "));
        line.unwrap().parse().unwrap()
    }
}

fn serving(
    config: &Config,
    store: &Arc<HeldStore>,
    registry: &Transport,
    clock: &ManualClock,
    surroundings: Surroundings,
) -> Endpoint {
    let deps = larder_serving::Deps {
        store: store.clone(),
        registry: registry.clone(),
        clock: Arc::new(clock.clone()),
        spawn: spawn(),
        surroundings,
    };
    larder_serving::build(config, deps).unwrap()
}

pub(crate) fn spawn() -> Spawn {
    Arc::new(|work| drop(tokio::spawn(work)))
}

fn surroundings() -> Surroundings {
    Surroundings { metrics: Metrics::new().unwrap(), readiness: Readiness::new(), shutdown: Shutdown::new() }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
