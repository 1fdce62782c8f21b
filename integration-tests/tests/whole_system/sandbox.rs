//! A running system in a temporary folder, and clients of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use larder_client::{
    Applied, ChangeRequest, MaterializerClient, PushClient, RegistryClient, RunsClient, ServingClient, Transport,
};
use larder_definitions::{
    ChangeSet,
    run::{Run, RunState},
    yaml::read_folder,
};
use larder_service::{Shutdown, config::ServerConfig};
use larder_standalone::{Addresses, Config, Deps};
use larder_types::{Clock, Name, Result, Revision, SystemClock, Timestamp};
use tempfile::TempDir;

/// Clients of a running system.
pub(crate) struct Clients {
    /// Where definitions are written.
    pub(crate) folder: PathBuf,
    pub(crate) registry: SocketAddr,
    pub(crate) serving: SocketAddr,
    pub(crate) push_ingest: SocketAddr,
    pub(crate) materializer: SocketAddr,
}

/// A system in this process, and its folder.
pub(crate) struct Sandbox {
    pub(crate) folder: TempDir,
    pub(crate) clock: LateClock,
    clients: Clients,
    shutdown: Shutdown,
    running: Option<tokio::task::JoinHandle<Result<()>>>,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other settings than the usual ones.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = larder_test_kit::temporary_folder();
        let mut config = config(folder.path());
        change(&mut config);
        let clock = LateClock::default();
        let (clients, shutdown, running) = start(&config, &clock, folder.path()).await;
        Self { folder, clock, clients, shutdown, running: Some(running) }
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let folder = self.folder.path();
        let (clients, shutdown, running) = start(&config(folder), &self.clock, folder).await;
        (self.clients, self.shutdown, self.running) = (clients, shutdown, Some(running));
    }

    pub(crate) async fn stop(&mut self) {
        self.begin_stop();
        if let Some(running) = self.running.take() {
            running.await.unwrap().unwrap();
        }
    }

    /// Says that it is time to stop, and does not wait for it.
    pub(crate) fn begin_stop(&self) {
        self.shutdown.begin("the test is over");
    }
}

/// The machine's clock, moved on.
#[derive(Debug, Clone, Default)]
pub(crate) struct LateClock(Arc<AtomicI64>);

impl LateClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for LateClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_micros(self.0.load(Ordering::SeqCst).try_into().unwrap()))
    }
}

impl std::ops::Deref for Sandbox {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Clients {
    pub(crate) fn registry(&self) -> RegistryClient {
        RegistryClient::new(to(self.registry))
    }

    pub(crate) fn runs(&self) -> RunsClient {
        RunsClient::new(to(self.registry))
    }

    pub(crate) fn serving(&self) -> ServingClient {
        ServingClient::new(to(self.serving))
    }

    pub(crate) fn push(&self) -> PushClient {
        PushClient::new(to(self.push_ingest))
    }

    pub(crate) fn materializer(&self) -> MaterializerClient {
        MaterializerClient::new(to(self.materializer)).within(Duration::from_secs(60))
    }

    /// Writes `yaml` as the folder's definitions and applies them.
    pub(crate) async fn apply(&self, yaml: &str) -> Result<Applied> {
        let repository = self.folder.join("definitions");
        std::fs::create_dir_all(&repository).unwrap();
        std::fs::write(repository.join("larder.yaml"), yaml).unwrap();
        let declared = read_folder(&repository).unwrap_or_else(|problems| panic!("{problems:?}"));
        let puts = declared.objects.into_iter().map(|(object, _)| object).collect();
        let change = ChangeSet { puts, origin: "test".to_owned(), ..ChangeSet::default() };
        let request = ChangeRequest { change, remove_missing: true };
        self.registry().apply(&declared.project, &request).await
    }

    /// Brings all views online, and waits until it is done.
    pub(crate) async fn materialize(&self, project: &Name, revision: Revision) -> Vec<Run> {
        let runs = self.materializer().materialize(project, &[], None, revision).await.unwrap();
        self.wait_for(project, runs).await
    }

    pub(crate) async fn wait_for(&self, project: &Name, runs: Vec<Run>) -> Vec<Run> {
        use futures::StreamExt;
        let mut ended = Vec::new();
        for run in runs {
            let mut states = self.runs().within(Duration::from_secs(60)).watch(project, &run.id).await.unwrap();
            let mut last = run;
            while let Some(run) = states.next().await {
                last = run.unwrap();
            }
            assert!(last.state.is_final(), "{last:?}");
            ended.push(last);
        }
        ended
    }
}

pub(crate) fn assert_succeeded(runs: &[Run]) {
    for run in runs {
        assert_eq!(run.state, RunState::Succeeded, "{:?}", run.error);
    }
}

fn to(address: SocketAddr) -> Transport {
    Transport::connect(&address.to_string()).unwrap()
}

/// Everything on free ports, with its data in `folder`, which is a root for sources too.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config { data: folder.join("data"), ..Config::default() };
    for server in [
        &mut config.registry.server,
        &mut config.serving.server,
        &mut config.push_ingest.server,
        &mut config.materializer.server,
    ] {
        *server = ServerConfig::on_port(0);
    }
    config.materializer.roots = vec![folder.to_string_lossy().into_owned()];
    config
}

impl Clients {
    /// Of a system at these addresses; its definitions are written in `folder`.
    pub(crate) fn at(addresses: Addresses, folder: &Path) -> Self {
        let Addresses { registry, serving, push_ingest, materializer, admin: _ } = addresses;
        Self { folder: folder.to_owned(), registry, serving, push_ingest, materializer }
    }
}

async fn start(
    config: &Config,
    clock: &LateClock,
    folder: &Path,
) -> (Clients, Shutdown, tokio::task::JoinHandle<Result<()>>) {
    let shutdown = Shutdown::new();
    let deps = Deps { clock: Arc::new(clock.clone()), shutdown: shutdown.clone() };
    let app = larder_standalone::build(config, deps).await.unwrap();
    let clients = Clients::at(app.addresses(), folder);
    (clients, shutdown, tokio::spawn(app.run()))
}
