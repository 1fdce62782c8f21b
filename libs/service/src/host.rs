//! What runs in one process, and the order in which it stops: not ready → stop accepting → drain calls → background
//! tasks → flush. Each phase says in the log what it still waits for.

use std::{future::Future, pin::Pin, time::Duration};

use larder_types::{Error, Result};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    admin::Admin, config::ServerConfig, readiness::Readiness, server::Endpoint, shutdown::Shutdown, tasks::Tasks,
};

/// How often a phase that waits says what for.
const NARRATION: Duration = Duration::from_secs(1);

type Work = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The servers, tasks and stores of one process, or of one instance of a service in a test.
pub struct Host {
    shutdown: Shutdown,
    readiness: Readiness,
    tasks: Tasks,
    stop_delay: Duration,
    drain_timeout: Duration,
    stop_accepting: CancellationToken,
    stop_admin: CancellationToken,
    endpoints: Vec<(&'static str, Endpoint)>,
    servers: Vec<(&'static str, Work)>,
    admins: Vec<Work>,
    flushes: Vec<(&'static str, Work)>,
}

impl Host {
    /// Nothing yet. `config` says how long stopping may take.
    pub fn new(config: &ServerConfig, shutdown: Shutdown, readiness: Readiness, tasks: Tasks) -> Self {
        Self {
            shutdown,
            readiness,
            tasks,
            stop_delay: *config.stop_delay,
            drain_timeout: *config.drain_timeout,
            stop_accepting: CancellationToken::new(),
            stop_admin: CancellationToken::new(),
            endpoints: Vec::new(),
            servers: Vec::new(),
            admins: Vec::new(),
            flushes: Vec::new(),
        }
    }

    /// Serves `endpoint` on `listener`.
    pub fn serve(&mut self, name: &'static str, endpoint: Endpoint, listener: TcpListener) {
        self.endpoints.push((name, endpoint.clone()));
        self.servers.push((name, Box::pin(endpoint.serve(listener, self.stop_accepting.clone()))));
    }

    /// Serves the admin port on `listener`, to the very end.
    pub fn admin(&mut self, admin: Admin, listener: TcpListener) {
        self.admins.push(Box::pin(admin.serve(listener, self.stop_admin.clone())));
    }

    /// Writes out what is in memory, once no call is served and no task runs.
    pub fn flush(&mut self, name: &'static str, work: impl Future<Output = Result<()>> + Send + 'static) {
        self.flushes.push((name, Box::pin(work)));
    }

    /// Runs until the shutdown begins, then stops in order. The error is the failure that began the shutdown, or the
    /// first one in stopping that may have lost something.
    pub async fn run(mut self) -> Result<()> {
        let mut servers = spawn_all(std::mem::take(&mut self.servers), &self.shutdown);
        let admins = std::mem::take(&mut self.admins).into_iter().map(|work| ("admin", work)).collect();
        let admins = spawn_all(admins, &self.shutdown);
        self.shutdown.begun().await;
        let stopped = self.stop(&mut servers).await;
        self.stop_admin.cancel();
        let _ = timeout(NARRATION, admins.join_all()).await;
        info!("stopped");
        match self.shutdown.failure() {
            Some(failure) => Err(Error::new(failure.code(), failure.message())),
            None => stopped,
        }
    }

    async fn stop(&mut self, servers: &mut JoinSet<()>) -> Result<()> {
        let _stopping = self.readiness.condition("running", "the service is stopping");
        info!(phase = "not ready", delay = ?self.stop_delay, "stopping");
        tokio::time::sleep(self.stop_delay).await;
        info!(phase = "stop accepting", "stopping");
        self.stop_accepting.cancel();
        drain_calls(&self.endpoints, self.drain_timeout, servers).await;
        info!(phase = "background tasks", pending = %self.pending_tasks(), "stopping");
        let tasks = self.tasks.stop(self.drain_timeout).await;
        let flushed = flush(std::mem::take(&mut self.flushes)).await;
        flushed.and(tasks)
    }

    fn pending_tasks(&self) -> String {
        let running: Vec<_> = self.tasks.running().into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        or_nothing(&running)
    }
}

async fn drain_calls(endpoints: &[(&'static str, Endpoint)], patience: Duration, servers: &mut JoinSet<()>) {
    info!(phase = "drain calls", pending = %pending_calls(endpoints), "stopping");
    let drained = async {
        for (_, endpoint) in endpoints {
            endpoint.drained().await;
        }
        while servers.join_next().await.is_some() {}
    };
    let say = || info!(phase = "drain calls", pending = %pending_calls(endpoints), "still waiting");
    if timeout(patience, narrate(drained, say)).await.is_err() {
        warn!(phase = "drain calls", cut = %pending_calls(endpoints), "server.drain_timeout is over: the rest is cut");
    }
    servers.shutdown().await;
}

fn pending_calls(endpoints: &[(&'static str, Endpoint)]) -> String {
    let pending = endpoints.iter().map(|(name, endpoint)| (name, endpoint.pending()));
    let pending: Vec<_> =
        pending.filter(|(_, calls)| calls.count() > 0).map(|(name, calls)| format!("{name}: {calls}")).collect();
    or_nothing(&pending)
}

fn or_nothing(pending: &[String]) -> String {
    if pending.is_empty() { "nothing".to_owned() } else { pending.join("; ") }
}

/// Runs servers; one that ends before it was told to begins the shutdown.
fn spawn_all(works: Vec<(&'static str, Work)>, shutdown: &Shutdown) -> JoinSet<()> {
    let mut set = JoinSet::new();
    for (name, work) in works {
        let shutdown = shutdown.clone();
        let served = async move {
            if let Err(error) = work.await {
                shutdown.fail(error.context(name));
            }
        };
        set.spawn(served.instrument(info_span!("server", name)));
    }
    set
}

/// Does the works one after the other; a failure is logged and does not keep the next from its turn.
async fn flush(works: Vec<(&'static str, Work)>) -> Result<()> {
    let mut outcome = Ok(());
    for (name, work) in works {
        info!(phase = "flush", pending = name, "stopping");
        if let Err(error) = narrate(work, || info!(phase = "flush", pending = name, "still waiting")).await {
            tracing::error!(phase = "flush", name, %error, "failed while stopping");
            outcome = outcome.and(Err(error.context(name)));
        }
    }
    outcome
}

/// Waits for `work`, and says every second that it still does.
async fn narrate<T>(work: impl Future<Output = T>, say: impl Fn()) -> T {
    let mut ticks = interval_at(Instant::now() + NARRATION, NARRATION);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = ticks.tick() => say(),
        }
    }
}
