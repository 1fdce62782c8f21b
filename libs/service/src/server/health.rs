//! gRPC health, answered from the readiness itself, so that it is never behind it.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use crate::readiness::Readiness;

/// Health of the services `names`, and of the server as a whole under the empty name.
#[derive(Debug)]
pub(super) struct Health {
    readiness: Readiness,
    names: Vec<&'static str>,
}

impl Health {
    pub(super) fn new(readiness: Readiness, names: Vec<&'static str>) -> Self {
        Self { readiness, names }
    }

    fn knows(&self, name: &str) -> bool {
        name.is_empty() || self.names.contains(&name)
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        if !self.knows(&service) {
            let known = self.names.join(", ");
            return Err(Status::not_found(format!("there is no service `{service}` here; there is {known}")));
        }
        Ok(Response::new(response(status(self.readiness.is_ready()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        let known = self.knows(&service);
        let changes = WatchStream::new(self.readiness.subscribe());
        let answers = changes.map(move |unmet| {
            let status = if known { status(unmet.is_empty()) } else { ServingStatus::ServiceUnknown };
            Ok(response(status))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn status(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
