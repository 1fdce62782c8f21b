//! The serving service: online reads. It plans, fetches, computes and answers; it never writes to a store.
//!
//! A request is taken apart in [`grpc`], answered in [`app`] by one [`plan::Plan`] at one instant: its rows are checked in
//! [`entities`], its keys found in [`keys`], fetched and decoded in [`read`] as far as its [`budget`] goes. Plans are made
//! once per catalog and swapped as a whole ([`plans`]). Answers that are great have turns, and places until they were taken
//! ([`great`]).

pub mod app;
pub mod budget;
pub mod config;
pub mod entities;
pub mod great;
pub mod grpc;
pub mod keys;
pub mod plan;
pub mod plans;
pub mod read;

use std::sync::Arc;

use larder_client::{CatalogWatchOptions, Projects, Spawn, Transport};
use larder_contracts::serving::v1::serving_service_server::ServingServiceServer;
use larder_online_store::OnlineStore;
use larder_service::{
    Readiness,
    server::{Endpoint, GrpcServer, Surroundings, TRANSPORT_MESSAGE_LIMIT},
};
use larder_types::{Clock, Error, Result};
use prometheus::IntCounter;

use crate::{app::Serving, config::Config, great::GreatAnswers, grpc::ServingGrpc, plans::Plans};

/// What the service works with.
pub struct Deps {
    /// Where rows are read.
    pub store: Arc<dyn OnlineStore>,
    /// The way to the registry.
    pub registry: Transport,
    /// Judges ages.
    pub clock: Arc<dyn Clock>,
    /// Keeps projects up to date.
    pub spawn: Spawn,
    /// Metrics, readiness, shutdown.
    pub surroundings: Surroundings,
}

/// Answers calls by what the registry declares and the store has.
pub fn build(config: &Config, deps: Deps) -> Result<Endpoint> {
    let options = CatalogWatchOptions {
        state_folder: config.state_folder.clone(),
        stop: deps.surroundings.shutdown.token(),
        ..CatalogWatchOptions::default()
    };
    let prefix = config.key_prefix.clone();
    let compiled = plans_metric(&deps.surroundings)?;
    let projects =
        Projects::new(deps.registry, options, deps.spawn, move |catalog, previous: Option<&Plans>| match previous {
            Some(previous) => previous.renewed(catalog),
            None => Plans::new(catalog, prefix.clone(), compiled.clone()),
        });
    probe(&deps.surroundings.readiness, &deps.store, &projects);
    let great = GreatAnswers::new(config.answers_memory);
    let serving = Serving::new(deps.store, deps.clock, projects, config.limits, great);
    let service = ServingServiceServer::new(ServingGrpc(Arc::new(serving)));
    let service =
        service.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT).max_encoding_message_size(TRANSPORT_MESSAGE_LIMIT);
    GrpcServer::new("serving", &config.server, deps.surroundings).add(service).build()
}

fn probe(readiness: &Readiness, store: &Arc<dyn OnlineStore>, projects: &Projects<Plans>) {
    readiness.vital_probe("online store", Arc::clone(store), |store| async move { store.check_health().await });
    readiness.probe("catalogs of serving", projects.clone(), |projects| async move { projects.check_health().await });
}

/// One plan a feature service and revision: more tells of requests for references that are never the same.
fn plans_metric(surroundings: &Surroundings) -> Result<IntCounter> {
    let metric = IntCounter::new("larder_serving_plans_total", "Plans that were made to answer requests");
    let metric = metric.map_err(|error| Error::internal(format!("the metric of plans: {error}")))?;
    surroundings.metrics.register(metric.clone())?;
    Ok(metric)
}
