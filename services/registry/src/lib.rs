//! The registry service: every definition as an append-only log of revisions, and runs, leases and watermarks. It never
//! touches feature values.
//!
//! [`projects`] keeps one [`project`] and its [`runs`] for every project, folded in memory from what the registry store has;
//! [`watch`] tells subscribers, [`explore`] searches; [`grpc`] is the wire.

pub mod config;
pub mod explore;
pub mod grpc;
pub mod project;
pub mod projects;
pub mod runs;
pub mod watch;

use std::sync::Arc;

use larder_contracts::registry::v1::{
    registry_service_server::RegistryServiceServer, run_service_server::RunServiceServer,
};
use larder_registry_store::RegistryStore;
use larder_service::{
    server::{Endpoint, GrpcServer, Surroundings, TRANSPORT_MESSAGE_LIMIT},
    tasks::Tasks,
};
use larder_types::{Clock, Result};
use tokio::sync::Semaphore;

pub use crate::runs::FormerWorkers;
use crate::{config::Config, projects::Projects};

/// What the service works with.
pub struct Deps {
    /// Where definitions and runs are kept.
    pub store: Arc<dyn RegistryStore>,
    /// Dates revisions, judges leases.
    pub clock: Arc<dyn Clock>,
    /// Brings changes to their end.
    pub tasks: Tasks,
    /// Whether a worker that took a lease of an earlier registry may still be at work. Where none can be, its runs are given
    /// to others at once.
    pub former_workers: FormerWorkers,
    /// Metrics, readiness, shutdown.
    pub surroundings: Surroundings,
}

/// Reads what the store has, and answers calls by it.
pub async fn build(config: &Config, deps: Deps) -> Result<Endpoint> {
    let Deps { store, clock, tasks, former_workers, surroundings } = deps;
    let projects = Arc::new(Projects::open(store, Arc::clone(&clock), former_workers).await?);
    let checks = Arc::new(Semaphore::new(grpc::CHECKED_AT_ONCE));
    let registry = grpc::RegistryGrpc { projects: Arc::clone(&projects), clock, tasks: tasks.clone(), checks };
    let registry = RegistryServiceServer::new(registry);
    let runs = RunServiceServer::new(grpc::RunsGrpc { projects, tasks });
    GrpcServer::new("registry", &config.server, surroundings)
        .add(registry.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT))
        .add(runs.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT))
        .build()
}
