//! All services in one process on embedded stores: `larder up`. The same code as the separate services with other adapters:
//! they call each other in process through the same layers, and listen on the same ports.

mod config;
pub mod stores;

use std::{net::SocketAddr, sync::Arc};

pub use config::Config;
use larder_client::{Spawn, Transport};
use larder_offline_store::{history::HistorySource, storage::Roots};
use larder_push_log::{Compactor, CompactorOptions, PushLogWriter, WriterOptions};
use larder_service::{
    Host, Metrics, Readiness, Shutdown, Tasks,
    admin::Admin,
    config::ServerConfig,
    listener::bind,
    server::{Endpoint, Surroundings},
    tasks::{OnFailure, TaskKind},
};
use larder_types::{Clock, Error, Result, SystemClock};
use object_store::path::Path;
use tokio::net::TcpListener;

use crate::stores::{DataFolder, Stores};

/// What the process works with; the rest is made of the configuration.
pub struct Deps {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Ends it.
    pub shutdown: Shutdown,
}

impl Deps {
    /// The machine's clock, and the signals of the process.
    pub fn of_process() -> Result<Self> {
        Ok(Self { clock: Arc::new(SystemClock), shutdown: Shutdown::on_signals()? })
    }
}

/// Everything, ready to be run.
pub struct App {
    host: Host,
    addresses: Addresses,
    folder: Option<DataFolder>,
}

/// Where the services listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Definitions and runs.
    pub registry: SocketAddr,
    /// Online reads.
    pub serving: SocketAddr,
    /// Events.
    pub push_ingest: SocketAddr,
    /// History and training sets.
    pub materializer: SocketAddr,
    /// Health, readiness, metrics of the whole process.
    pub admin: SocketAddr,
}

/// Keeping catalogs up to date never ends by itself; a panic in it is a defect that a restart would hide.
const FOLLOW: TaskKind = TaskKind::new("catalogs", OnFailure::Log);

/// Looking at what readiness depends on. It fails where only another process can go on.
const READINESS: TaskKind = TaskKind::new("readiness", OnFailure::Stop);

/// Opens the data folder and the ports, and builds all services.
pub async fn build(config: &Config, deps: Deps) -> Result<App> {
    // What cannot be read is told before anything is made.
    roots(config)?;
    let (folder, stores) = stores::open(&config.data, config.online_cache.bytes())?;
    build_on(config, deps, stores, Some(folder)).await
}

/// The same on stores that are open already.
pub async fn build_on(config: &Config, deps: Deps, stores: Stores, folder: Option<DataFolder>) -> Result<App> {
    let Deps { clock, shutdown } = deps;
    let surroundings =
        Surroundings { metrics: Metrics::new()?, readiness: Readiness::new(), shutdown: shutdown.clone() };
    let tasks = Tasks::new(shutdown.clone());
    let listeners = Listeners::bind(config).await?;
    let addresses = listeners.addresses()?;
    let log =
        Arc::new(PushLogWriter::open(Arc::clone(&stores.push_log), Path::default(), WriterOptions::default(), &*clock));
    let services = Services::build(config, &stores, &log, &clock, &surroundings, &tasks).await?;
    keep_probing(&surroundings, &tasks).await?;
    let mut host = Host::new(&config.serving.server, shutdown, surroundings.readiness.clone(), tasks);
    host.serve("registry", services.registry, listeners.registry);
    host.serve("serving", services.serving, listeners.serving);
    host.serve("push-ingest", services.push_ingest, listeners.push_ingest);
    host.serve("materializer", services.materializer, listeners.materializer);
    let admin = Admin { readiness: surroundings.readiness, metrics: surroundings.metrics };
    host.admin(admin, listeners.admin);
    host.flush("push log", async move {
        log.close().await;
        Ok(())
    });
    Ok(App { host, addresses, folder })
}

/// Looks once before anybody is told that the process is there, then again and again.
async fn keep_probing(surroundings: &Surroundings, tasks: &Tasks) -> Result<()> {
    let Surroundings { readiness, metrics, .. } = surroundings.clone();
    readiness.probe_all(&metrics).await?;
    tasks.spawn(READINESS, move |stop| {
        let (readiness, metrics) = (readiness.clone(), metrics.clone());
        async move { readiness.keep_probing(&metrics, stop).await }
    });
    Ok(())
}

impl App {
    /// Where the services listen: the ports that were asked for, or the free ones that were found.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until the shutdown begins, then stops in order.
    pub async fn run(self) -> Result<()> {
        let Self { host, folder, .. } = self;
        let stopped = host.run().await;
        drop(folder);
        stopped
    }
}

struct Services {
    registry: Endpoint,
    serving: Endpoint,
    push_ingest: Endpoint,
    materializer: Endpoint,
}

impl Services {
    async fn build(
        config: &Config,
        stores: &Stores,
        log: &Arc<PushLogWriter>,
        clock: &Arc<dyn Clock>,
        surroundings: &Surroundings,
        tasks: &Tasks,
    ) -> Result<Self> {
        let registry = larder_registry::Deps {
            store: Arc::clone(&stores.registry),
            clock: Arc::clone(clock),
            tasks: tasks.clone(),
            // The lock of the data folder says so: workers of this registry live in the process that has it.
            former_workers: larder_registry::FormerWorkers::AreGone,
            surroundings: surroundings.clone(),
        };
        let registry = larder_registry::build(&config.registry, registry).await?;
        let to_registry = Transport::in_process(registry.clone());
        let spawn = spawn_on(tasks);
        let serving = larder_serving::Deps {
            store: Arc::clone(&stores.online),
            registry: to_registry.clone(),
            clock: Arc::clone(clock),
            spawn: Arc::clone(&spawn),
            surroundings: surroundings.clone(),
        };
        let push_ingest = larder_push_ingest::Deps {
            store: Arc::clone(&stores.online),
            log: Arc::clone(log),
            registry: to_registry.clone(),
            clock: Arc::clone(clock),
            spawn: Arc::clone(&spawn),
            tasks: tasks.clone(),
            surroundings: surroundings.clone(),
        };
        let materializer = larder_materializer::Deps {
            store: Arc::clone(&stores.online),
            history: history(config, stores)?,
            compactor: Compactor::new(
                Arc::clone(&stores.push_log),
                Path::default(),
                CompactorOptions::default(),
                Arc::clone(clock),
            ),
            registry: to_registry,
            clock: Arc::clone(clock),
            spawn,
            tasks: tasks.clone(),
            surroundings: surroundings.clone(),
        };
        let mut of_materializer = config.materializer.clone();
        of_materializer.spill_folder.get_or_insert_with(|| stores::spill_folder(&config.data));
        Ok(Self {
            serving: larder_serving::build(&config.serving, serving)?,
            push_ingest: larder_push_ingest::build(&config.push_ingest, push_ingest)?,
            materializer: larder_materializer::build(&of_materializer, materializer)?,
            registry,
        })
    }
}

fn history(config: &Config, stores: &Stores) -> Result<HistorySource> {
    // The folders of roots may well contain the data folder: what is in it is the stores' alone.
    let roots = roots(config)?.closing(&config.data)?;
    Ok(HistorySource::new(Arc::new(roots)).with_push_log(Arc::clone(&stores.push_log), Path::default()))
}

fn roots(config: &Config) -> Result<Roots> {
    let roots = config.materializer.roots.iter().map(|root| absolute(root)).collect::<Result<Vec<_>>>();
    let opened = roots.and_then(|roots| Roots::open(roots.iter().map(String::as_str)));
    opened.map_err(|error| error.context("materializer.roots (LARDER__MATERIALIZER__ROOTS)"))
}

/// A local root is meant from where the process was started.
fn absolute(root: &str) -> Result<String> {
    if root.contains("://") {
        return Ok(root.to_owned());
    }
    let wrong = |error: std::io::Error| Error::failed_precondition(format!("{root}: {error}")).with_source(error);
    std::fs::canonicalize(root).map(|path| path.to_string_lossy().into_owned()).map_err(wrong)
}

fn spawn_on(tasks: &Tasks) -> Spawn {
    let tasks = tasks.clone();
    Arc::new(move |work| {
        let mut work = Some(work);
        tasks.spawn(FOLLOW, move |stop| {
            let work = work.take();
            async move {
                if let Some(work) = work {
                    tokio::select! {
                        () = work => {}
                        () = stop.cancelled() => {}
                    }
                }
                Ok(())
            }
        });
    })
}

struct Listeners {
    registry: TcpListener,
    serving: TcpListener,
    push_ingest: TcpListener,
    materializer: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self> {
        let grpc =
            async |server: &ServerConfig, name: &str| bind(server.listen, &format!("{name}.server.listen")).await;
        Ok(Self {
            registry: grpc(&config.registry.server, "registry").await?,
            serving: grpc(&config.serving.server, "serving").await?,
            push_ingest: grpc(&config.push_ingest.server, "push_ingest").await?,
            materializer: grpc(&config.materializer.server, "materializer").await?,
            admin: bind(config.serving.server.admin_listen, "serving.server.admin_listen").await?,
        })
    }

    fn addresses(&self) -> Result<Addresses> {
        let of = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Error::internal(format!("a port without an address: {error}")))
        };
        Ok(Addresses {
            registry: of(&self.registry)?,
            serving: of(&self.serving)?,
            push_ingest: of(&self.push_ingest)?,
            materializer: of(&self.materializer)?,
            admin: of(&self.admin)?,
        })
    }
}
