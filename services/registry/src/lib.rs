//! The registry service: every definition as an append-only log of revisions, and runs, leases and watermarks. It never
//! touches feature values.
//!
//! [`projects`] keeps one [`project`] and its [`runs`] for every project, folded in memory from what the registry store has;
//! [`watch`] tells subscribers, [`explore`] searches; [`grpc`] is the wire.

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
    config::ServerConfig,
    server::{Endpoint, GrpcServer, Surroundings, TRANSPORT_MESSAGE_LIMIT},
};
use larder_types::{Clock, Result};

use crate::projects::Projects;

/// Reads what the store has, and answers calls by it.
pub async fn build(
    config: &ServerConfig,
    surroundings: Surroundings,
    store: Arc<dyn RegistryStore>,
    clock: Arc<dyn Clock>,
) -> Result<Endpoint> {
    let projects = Arc::new(Projects::open(store, Arc::clone(&clock)).await?);
    let registry = RegistryServiceServer::new(grpc::RegistryGrpc { projects: Arc::clone(&projects), clock });
    let runs = RunServiceServer::new(grpc::RunsGrpc { projects });
    GrpcServer::new(config, surroundings)
        .add(registry.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT))
        .add(runs.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT))
        .build()
}
