//! The push-ingest service: events in. It checks them, appends them to the push log and writes them online; it never reads
//! features for callers.
//!
//! A request is taken apart in [`grpc`], checked in [`batch`] against what its source consists of ([`feeds`]), and brought
//! in by [`ingest`]; [`online`] makes the writes for each view. How much is on its way is bounded by [`room`].

pub mod app;
pub mod batch;
pub mod config;
pub mod feeds;
pub mod grpc;
pub mod ingest;
pub mod online;
pub mod room;
mod told;

use std::sync::Arc;

use larder_client::{CatalogWatchOptions, Projects, Spawn, Transport};
use larder_contracts::push::v1::push_service_server::PushServiceServer;
use larder_online_store::OnlineStore;
use larder_push_log::PushLogWriter;
use larder_service::{
    server::{Endpoint, GrpcServer, Surroundings, TRANSPORT_MESSAGE_LIMIT},
    tasks::Tasks,
};
use larder_types::{Clock, Result, UniqueClock};

use crate::{
    app::PushIngest, config::Config, feeds::Feeds, grpc::PushGrpc, ingest::Ingest, room::Room, told::ToldOfTargets,
};

/// What the service works with.
pub struct Deps {
    /// Where rows are served from.
    pub store: Arc<dyn OnlineStore>,
    /// Where rows are kept.
    pub log: Arc<PushLogWriter>,
    /// The way to the registry.
    pub registry: Transport,
    /// Judges event times, gives created times.
    pub clock: Arc<dyn Clock>,
    /// Keeps projects up to date.
    pub spawn: Spawn,
    /// Sees batches through.
    pub tasks: Tasks,
    /// Metrics, readiness, shutdown.
    pub surroundings: Surroundings,
}

/// Takes batches by what the registry declares.
pub fn build(config: &Config, deps: Deps) -> Result<Endpoint> {
    let options = CatalogWatchOptions {
        state_folder: config.state_folder.clone(),
        stop: deps.surroundings.shutdown.token(),
        ..CatalogWatchOptions::default()
    };
    let (prefix, grace) = (config.key_prefix.clone(), *config.expiry_grace);
    let projects =
        Projects::new(deps.registry.clone(), options, Arc::clone(&deps.spawn), move |catalog, _: Option<&Feeds>| {
            Feeds::new(catalog, prefix.clone(), grace)
        });
    probe(&deps, &projects);
    let ingest = Ingest {
        store: deps.store,
        log: deps.log,
        created: UniqueClock::new(Arc::clone(&deps.clock)),
        clock: deps.clock,
        limits: config.limits(),
    };
    let service = PushServiceServer::new(PushGrpc {
        service: Arc::new(PushIngest::new(ingest, projects, deps.tasks)),
        room: Room::new(config.max_in_flight_bytes),
    });
    let service =
        service.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT).max_encoding_message_size(TRANSPORT_MESSAGE_LIMIT);
    GrpcServer::new("push_ingest", &config.server, deps.surroundings).add(ToldOfTargets(service)).build()
}

fn probe(deps: &Deps, projects: &Projects<Feeds>) {
    let (store, log, projects) = (Arc::clone(&deps.store), Arc::clone(&deps.log), projects.clone());
    let readiness = &deps.surroundings.readiness;
    readiness.vital_probe("online store", store, |store| async move { store.check_health().await });
    readiness.probe("push log", log, |log| async move { log.check_health().await });
    readiness.probe("catalogs of push-ingest", projects, |projects| async move { projects.check_health().await });
}
