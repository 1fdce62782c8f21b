//! The one place where a gRPC server is built. What it makes, an [`Endpoint`], is a tower service that answers calls
//! over the network and, handed to a generated client as its transport, calls from the same process: limits, deadlines,
//! traces, metrics, health, reflection and drain are the same on both ways.

mod body;
mod encoded;
mod endpoint;
mod health;
mod limits;
mod methods;
mod stream;

pub use encoded::{EncodedMessage, EncodedStream, encoded, encoded_stream};
pub use endpoint::{Endpoint, PendingCalls};

use std::convert::Infallible;

use larder_types::{Error, Result};
use tonic::{
    body::Body,
    codegen::{Service, http::Request},
    server::NamedService,
    service::{Routes, RoutesBuilder},
};

use crate::{config::ServerConfig, metrics::Metrics, readiness::Readiness, shutdown::Shutdown};

/// Our own limit (`server.max_request_bytes`) lies below the transport's and answers with a reason, so every generated server
/// is made with `.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT)`, and every client takes as much for an answer.
pub use larder_contracts::TRANSPORT_MESSAGE_LIMIT;

/// What a server needs from the process it lives in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where calls are counted.
    pub metrics: Metrics,
    /// What health answers from.
    pub readiness: Readiness,
    /// Ends open streams.
    pub shutdown: Shutdown,
}

/// Collects the services of one [`Endpoint`].
#[derive(Debug)]
pub struct GrpcServer {
    section: &'static str,
    config: ServerConfig,
    surroundings: Surroundings,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl GrpcServer {
    /// A server without services, but for health and reflection. Messages name its settings by their `section`.
    pub fn new(section: &'static str, config: &ServerConfig, surroundings: Surroundings) -> Self {
        Self { section, config: config.clone(), surroundings, routes: Routes::builder(), names: Vec::new() }
    }

    /// Adds a generated service. Make it with `.max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT)`.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "adds a service, not a number")]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.names.push(S::NAME);
        self
    }

    /// The endpoint, with health and reflection. Fails when a service is not among the contracts.
    pub fn build(self) -> Result<Endpoint> {
        let Self { section, config, surroundings, mut routes, names } = self;
        let health = health::Health::new(surroundings.readiness, names.clone());
        let names = [names, TOOLS.to_vec()].concat();
        routes
            .add_service(tonic_health::pb::health_server::HealthServer::new(health))
            .add_service(reflection(&names).build_v1().map_err(no_reflection)?)
            .add_service(reflection(&names).build_v1alpha().map_err(no_reflection)?);
        let methods = methods::Methods::of(&names, &surroundings.metrics)?;
        Ok(Endpoint::new(routes.routes().prepare(), methods, section, &config, surroundings.shutdown))
    }
}

/// What every server answers besides its services: probes and tools.
const TOOLS: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

fn no_reflection(error: tonic_reflection::server::Error) -> Error {
    Error::internal("gRPC reflection cannot be built").with_source(error)
}

/// The contracts of everything that a server may answer.
const DESCRIPTORS: [&[u8]; 4] = [
    larder_contracts::FILE_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Reflection that lists `names`.
fn reflection(names: &[&'static str]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure();
    let builder =
        DESCRIPTORS.into_iter().fold(builder, |builder, set| builder.register_encoded_file_descriptor_set(set));
    names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}
