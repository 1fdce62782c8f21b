//! A serving service that does what the test asks for by the name of the feature service.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use larder_contracts::serving::v1::{
    GetOnlineFeaturesRequest, GetOnlineFeaturesResponse, StreamOnlineFeaturesRequest, StreamOnlineFeaturesResponse,
    get_online_features_request::Features,
    serving_service_client::ServingServiceClient,
    serving_service_server::{ServingService, ServingServiceServer},
};
use larder_service::{
    CallContext, Endpoint, GrpcServer, Metrics, Readiness, Shutdown,
    config::ServerConfig,
    server::{EncodedMessage, Surroundings, TRANSPORT_MESSAGE_LIMIT, encoded, encoded_stream},
};
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status, Streaming};

/// What a test can see of the service, and hold up.
pub(crate) struct World {
    pub(crate) config: ServerConfig,
    pub(crate) surroundings: Surroundings,
    /// `wait` takes one of these to go on.
    pub(crate) gate: Arc<Semaphore>,
    /// Told when a `wait` call has come in.
    pub(crate) arrivals: mpsc::UnboundedReceiver<CallContext>,
    arrived: mpsc::UnboundedSender<CallContext>,
}

impl World {
    pub(crate) fn new() -> Self {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let metrics = Metrics::new().unwrap();
        let surroundings = Surroundings { metrics, readiness: Readiness::new(), shutdown: Shutdown::new() };
        let gate = Arc::new(Semaphore::new(0));
        Self { config: ServerConfig::on_port(0), surroundings, gate, arrivals, arrived }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let fake = Fake { gate: Arc::clone(&self.gate), arrived: self.arrived.clone() };
        let service = ServingServiceServer::new(fake).max_decoding_message_size(TRANSPORT_MESSAGE_LIMIT);
        GrpcServer::new("fake", &self.config, self.surroundings.clone()).add(service).build().unwrap()
    }

    pub(crate) fn client(&self) -> ServingServiceClient<Endpoint> {
        ServingServiceClient::new(self.endpoint())
    }

    /// Waits until a metric's line has this value.
    pub(crate) async fn metric_is(&self, line: &str, value: &str) {
        let is = async {
            while self.metric(line).as_deref() != Some(value) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), is).await;
        waited.unwrap_or_else(|_| panic!("{line} is {:?}", self.metric(line)));
    }

    /// The value of a metric's line.
    pub(crate) fn metric(&self, line: &str) -> Option<String> {
        let text = self.surroundings.metrics.render().unwrap();
        text.lines().find_map(|found| found.strip_prefix(line)).map(|value| value.trim().to_owned())
    }
}

struct Fake {
    gate: Arc<Semaphore>,
    arrived: mpsc::UnboundedSender<CallContext>,
}

/// A request for `what`: `answer`, `wait`, `panic`, `great` (an answer that the service encodes), `fail`.
pub(crate) fn ask(what: &str) -> GetOnlineFeaturesRequest {
    let features = Some(Features::FeatureService(what.to_owned()));
    GetOnlineFeaturesRequest { project: "test".to_owned(), features, ..Default::default() }
}

#[tonic::async_trait]
impl ServingService for Fake {
    async fn get_online_features(
        &self,
        request: Request<GetOnlineFeaturesRequest>,
    ) -> Result<Response<GetOnlineFeaturesResponse>, Status> {
        let context = CallContext::of(&request);
        match request.into_inner().features {
            Some(Features::FeatureService(what)) if what == "wait" => {
                self.arrived.send(context).unwrap();
                self.gate.acquire().await.unwrap().forget();
            }
            Some(Features::FeatureService(what)) if what == "panic" => panic!("as asked"),
            Some(Features::FeatureService(what)) if what == "great" => {
                return Ok(encoded(EncodedMessage::of(&GetOnlineFeaturesResponse::default())));
            }
            Some(Features::FeatureService(what)) if what == "fail" => return Err(Status::not_found("as asked")),
            _ => {}
        }
        Ok(Response::new(GetOnlineFeaturesResponse::default()))
    }

    type StreamOnlineFeaturesStream = Pin<Box<dyn Stream<Item = Result<StreamOnlineFeaturesResponse, Status>> + Send>>;

    async fn stream_online_features(
        &self,
        request: Request<Streaming<StreamOnlineFeaturesRequest>>,
    ) -> Result<Response<Self::StreamOnlineFeaturesStream>, Status> {
        let answer = |_| EncodedMessage::of(&StreamOnlineFeaturesResponse::default());
        Ok(encoded_stream(request.into_inner().map(move |request| request.map(answer))))
    }
}
