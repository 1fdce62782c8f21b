//! The materializer service: history to the online store, training sets, and the push log rewritten. It keeps no metadata
//! of its own: runs are the registry's, and it scales by adding replicas.
//!
//! What is asked for becomes runs ([`app`]), which have their turns one after the other; [`worker`] takes and works on them
//! by a plan made in [`mod@plan`], moving rows in [`load`] through [`latest`]; [`schedule`] says what is due; [`training`]
//! builds training sets; [`grpc`] is the wire.

pub mod app;
pub mod config;
pub mod grpc;
pub mod latest;
mod lease;
pub mod load;
pub mod plan;
pub mod schedule;
pub mod training;
mod turns;
pub mod worker;

use std::sync::Arc;

use larder_client::{CatalogWatchOptions, Projects, RegistryClient, RunsClient, Spawn, Transport};
use larder_contracts::materializer::v1::materializer_service_server::MaterializerServiceServer;
use larder_definitions::Catalog;
use larder_offline_store::{
    SpillFolder,
    history::HistorySource,
    training::{TrainingOptions, TrainingSets},
};
use larder_online_store::OnlineStore;
use larder_push_log::Compactor;
use larder_service::{
    server::{Endpoint, GrpcServer, Surroundings, TRANSPORT_MESSAGE_LIMIT},
    tasks::{OnFailure, TaskKind, Tasks},
};
use larder_types::{Clock, Error, Result};
use prometheus::{IntCounterVec, Opts};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::{
    app::Materializer,
    config::Config,
    grpc::MaterializerGrpc,
    load::Loader,
    training::{Threads, Training},
    worker::{Failures, Worker},
};

/// What the service works with.
pub struct Deps {
    /// Where rows go.
    pub store: Arc<dyn OnlineStore>,
    /// Where history is.
    pub history: HistorySource,
    /// Rewrites the push log.
    pub compactor: Compactor,
    /// The way to the registry.
    pub registry: Transport,
    /// Tells what is the future and when schedules are due.
    pub clock: Arc<dyn Clock>,
    /// Keeps projects up to date.
    pub spawn: Spawn,
    /// Works in the background.
    pub tasks: Tasks,
    /// Metrics, readiness, shutdown.
    pub surroundings: Surroundings,
}

/// What runs in the background, and what happens when it fails.
const WORK: TaskKind = TaskKind::new("materializations", OnFailure::Restart);
const SCHEDULES: TaskKind = TaskKind::new("schedules", OnFailure::Restart);
const SWEEP: TaskKind = TaskKind::new("online store sweeping", OnFailure::Restart);
const COMPACT: TaskKind = TaskKind::new("push log rewriting", OnFailure::Restart);
const LEFT_BEHIND: TaskKind = TaskKind::new("training sets left behind", OnFailure::Restart);

/// Works on runs, and answers calls.
pub fn build(config: &Config, deps: Deps) -> Result<Endpoint> {
    let stop = deps.surroundings.shutdown.token();
    let options = CatalogWatchOptions { stop, ..CatalogWatchOptions::default() };
    let projects =
        Projects::new(deps.registry.clone(), options, deps.spawn, |catalog, _: Option<&Arc<Catalog>>| catalog);
    let runs = RunsClient::new(deps.registry.clone());
    let holder = format!("materializer-{}", Uuid::now_v7());
    let spill_folder = config.spill_folder.clone().unwrap_or_else(std::env::temp_dir);
    let spill_folder = SpillFolder::open(&spill_folder, config.spill_disk_kept_free.bytes() as u64)
        .map_err(|error| error.context("materializer.spill_folder"))?;
    let training_options = TrainingOptions {
        memory_limit: config.training_memory.bytes(),
        spill_folder: spill_folder.clone(),
        sets_at_once: config.concurrent_training_sets,
        key_prefix: config.key_prefix.clone(),
        ..TrainingOptions::default()
    };
    let materializer = Arc::new(Materializer {
        worker: Worker {
            holder: holder.clone(),
            registry: RegistryClient::new(deps.registry),
            runs: runs.clone(),
            projects: projects.clone(),
            loader: Loader {
                history: deps.history.clone(),
                store: deps.store,
                clock: Arc::clone(&deps.clock),
                memory: config.materialization_memory.bytes() / config.concurrent_runs.max(1),
                spill_folder,
            },
            clock: Arc::clone(&deps.clock),
            key_prefix: config.key_prefix.clone(),
            expiry_grace: *config.expiry_grace,
            batch_bytes: config.batch_size.bytes() as u64,
            failures: Failures::default(),
            waits_for: *config.max_ahead,
        },
        training: Training {
            holder,
            runs: runs.clone(),
            projects: projects.clone(),
            sets: TrainingSets::new(deps.history, training_options),
            clock: Arc::clone(&deps.clock),
            threads: Arc::new(Threads::start()?),
            places: Arc::new(Semaphore::new(config.concurrent_training_sets)),
            largest_batch: config.training_memory.bytes(),
            idle_limit: *config.server.stream_idle_limit,
            tasks: deps.tasks.clone(),
            shutdown: deps.surroundings.shutdown.clone(),
        },
        runs,
        projects,
        compactor: deps.compactor,
        clock: deps.clock,
        work_there: Notify::new(),
        concurrent_runs: config.concurrent_runs,
        rewrite_every: *config.rewrite_every,
        sweep_every: *config.sweep_every,
        skipped_ticks: skipped_ticks(&deps.surroundings)?,
    });
    start_tasks(&deps.tasks, &materializer);
    let service = MaterializerServiceServer::new(MaterializerGrpc(materializer));
    let service =
        service.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT).max_encoding_message_size(TRANSPORT_MESSAGE_LIMIT);
    GrpcServer::new("materializer", &config.server, deps.surroundings).add(service).build()
}

fn skipped_ticks(surroundings: &Surroundings) -> Result<IntCounterVec> {
    let words = "Ticks of schedules that came during a run of their view";
    let metric =
        IntCounterVec::new(Opts::new("larder_materialization_skipped_ticks_total", words), &["project", "view"]);
    let metric = metric.map_err(|error| Error::internal(format!("the metric of ticks: {error}")))?;
    surroundings.metrics.register(metric.clone())?;
    Ok(metric)
}

fn start_tasks(tasks: &Tasks, materializer: &Arc<Materializer>) {
    let shared = || Arc::clone(materializer);
    let (working, scheduling, sweeping, compacting, ending) = (shared(), shared(), shared(), shared(), shared());
    tasks.spawn(WORK, move |stop| {
        let materializer = Arc::clone(&working);
        async move { materializer.run(&stop).await }
    });
    tasks.spawn(SCHEDULES, move |stop| {
        let materializer = Arc::clone(&scheduling);
        async move { materializer.keep_schedules(&stop).await }
    });
    tasks.spawn(SWEEP, move |stop| {
        let materializer = Arc::clone(&sweeping);
        async move { materializer.sweep(&stop).await }
    });
    tasks.spawn(COMPACT, move |stop| {
        let materializer = Arc::clone(&compacting);
        async move { materializer.compact(&stop).await }
    });
    tasks.spawn(LEFT_BEHIND, move |stop| {
        let materializer = Arc::clone(&ending);
        async move { materializer.training.end_left_behind(&stop).await }
    });
}
