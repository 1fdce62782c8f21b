//! What holds for every call: values, deadlines, errors, sizes and traces.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arrow::array::{Array as _, ArrayRef, AsArray as _, Float64Array, StringArray};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use larder_client::{Asked, OnlineRequest, ServingClient, Transport};
use larder_contracts::{
    columns::encode,
    serving::v1::{
        self as api,
        get_online_features_request::Features,
        serving_service_server::{ServingService, ServingServiceServer},
    },
    status::to_status,
    types::v1::Column,
};
use larder_test_kit::Spans;
use larder_types::{Error, ErrorCode, Revision, RowVersion, Status as FeatureStatus, Timestamp};
use opentelemetry::trace::TracerProvider as _;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, instrument::WithSubscriber as _};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::fake::{both_ways, name};

/// So many doubles have more than 64 MiB, which is what a service sends by default.
const MUCH: usize = 9_000_000;

/// What the server does with a request.
#[derive(Clone, Copy)]
enum Script {
    Answer,
    BeSilent,
    Refuse,
    AnswerMuch,
}

#[derive(Clone)]
struct Serving {
    script: Script,
    seen: Arc<Mutex<Vec<(http::HeaderMap, api::GetOnlineFeaturesRequest)>>>,
}

impl Serving {
    fn playing(script: Script) -> (Self, ServingServiceServer<Self>) {
        let fake = Self { script, seen: Arc::default() };
        (fake.clone(), ServingServiceServer::new(fake))
    }

    async fn answer(&self, request: api::GetOnlineFeaturesRequest) -> Result<api::GetOnlineFeaturesResponse, Status> {
        match self.script {
            Script::Answer => Ok(some_answer(&request)),
            Script::BeSilent => std::future::pending().await,
            Script::Refuse => Err(to_status(
                &Error::not_found("project p has no view `custmer`; did you mean customer?")
                    .with_violation("view", "unknown"),
            )),
            Script::AnswerMuch => Ok(api::GetOnlineFeaturesResponse {
                features: vec![feature("much", encode(&Float64Array::from(vec![0.5; MUCH])).unwrap(), &[])],
                replay: None,
            }),
        }
    }
}

#[tonic::async_trait]
impl ServingService for Serving {
    type StreamOnlineFeaturesStream = BoxStream<'static, Result<api::StreamOnlineFeaturesResponse, Status>>;

    async fn get_online_features(
        &self,
        request: Request<api::GetOnlineFeaturesRequest>,
    ) -> Result<Response<api::GetOnlineFeaturesResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.seen.lock().unwrap().push((metadata.into_headers(), message.clone()));
        self.answer(message).await.map(Response::new)
    }

    async fn stream_online_features(
        &self,
        request: Request<Streaming<api::StreamOnlineFeaturesRequest>>,
    ) -> Result<Response<Self::StreamOnlineFeaturesStream>, Status> {
        let fake = self.clone();
        let answers = request.into_inner().and_then(move |request| {
            let fake = fake.clone();
            async move {
                let response = Some(fake.answer(request.request.unwrap_or_default()).await?);
                Ok(api::StreamOnlineFeaturesResponse { response })
            }
        });
        Ok(Response::new(answers.boxed()))
    }
}

fn feature(name: &str, values: Column, statuses: &'static [u8]) -> api::Feature {
    api::Feature { name: name.into(), values: Some(values), statuses: statuses.into() }
}

fn some_answer(request: &api::GetOnlineFeaturesRequest) -> api::GetOnlineFeaturesResponse {
    let income = encode(&Float64Array::from(vec![Some(1.5), None, None])).unwrap();
    let of_later_release = Column { kind: 77, length: 3, ..Column::default() };
    let version = larder_contracts::types::v1::RowVersion { event_time: 7, created_time: 9 };
    let view = api::ViewReplay {
        name: "payer".into(),
        view: "customer".into(),
        row_set: 4,
        versions: vec![version, Default::default()],
        found: vec![true, false],
    };
    let replay = api::Replay { revision: 6, instant: 11, engine_version: "1".into(), views: vec![view] };
    api::GetOnlineFeaturesResponse {
        features: vec![feature("income", income, &[0, 2, 99]), feature("new", of_later_release, &[])],
        replay: request.include_replay.then_some(replay),
    }
}

fn request() -> OnlineRequest {
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    OnlineRequest {
        project: name("payments"),
        features: Asked::References(vec!["customer.income".parse().unwrap()]),
        entities: vec![("customer_id".into(), ids)],
        request_data: Vec::new(),
        full_names: true,
        include_replay: true,
        min_revision: Revision(5),
        rows: 0,
    }
}

#[tokio::test]
async fn values_statuses_and_the_replay_come_through() {
    let (fake, server) = Serving::playing(Script::Answer);
    for transport in both_ways(server).await {
        let answer = ServingClient::new(transport).online_features(&request()).await.unwrap();
        let income = &answer.features[0];
        assert_eq!(
            (income.name.as_str(), income.values.as_primitive::<arrow::datatypes::Float64Type>().value(0)),
            ("income", 1.5)
        );
        let statuses = [FeatureStatus::Present, FeatureStatus::NotFound, FeatureStatus::Null];
        assert_eq!([0, 1, 2].map(|row| income.status(row)), statuses);
        let new = &answer.features[1];
        assert_eq!((new.values.len(), new.values.logical_null_count()), (3, 3));
        let replay = answer.replay.unwrap();
        assert_eq!((replay.revision, replay.instant), (Revision(6), Timestamp::from_micros(11)));
        let version = RowVersion { event_time: Timestamp::from_micros(7), created_time: Timestamp::from_micros(9) };
        assert_eq!(replay.views[0].versions, [Some(version), None]);
    }
    let seen = fake.seen.lock().unwrap();
    let (_, message) = &seen[0];
    assert_eq!(message.features.as_ref().map(|features| matches!(features, Features::References(_))), Some(true));
    assert_eq!((message.entities[0].name.as_str(), message.min_revision), ("customer_id", 5));
}

#[tokio::test]
async fn a_call_ends_with_its_deadline_and_carries_it() {
    let (fake, server) = Serving::playing(Script::BeSilent);
    for transport in both_ways(server).await {
        let started = Instant::now();
        let client = ServingClient::new(transport).within(Duration::from_millis(80));
        let error = client.online_features(&request()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error}");
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
    for (headers, _) in &*fake.seen.lock().unwrap() {
        assert_eq!(headers["grpc-timeout"], "80000000n");
    }
}

#[tokio::test]
async fn errors_come_through_with_what_they_name() {
    let (_, server) = Serving::playing(Script::Refuse);
    for transport in both_ways(server).await {
        let error = ServingClient::new(transport).online_features(&request()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.message().ends_with("did you mean customer?"), "{error}");
        assert_eq!(error.violations()[0].field, "view");
    }
}

#[tokio::test]
async fn an_answer_of_more_than_64_mebibytes_comes_through() {
    let (_, server) = Serving::playing(Script::AnswerMuch);
    for transport in both_ways(server).await {
        let client = ServingClient::new(transport).within(Duration::from_secs(60));
        let answer = client.online_features(&request()).await.unwrap();
        assert_eq!(answer.features[0].values.len(), MUCH);
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = ServingClient::new(Transport::connect(&address.to_string()).unwrap());
    let error = client.online_features(&request()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
}

#[tokio::test]
async fn a_stream_answers_each_request_in_order_and_ends_with_the_first_error() {
    let (_, server) = Serving::playing(Script::Answer);
    for transport in both_ways(server).await {
        let client = ServingClient::new(transport);
        let mut wrong = request();
        wrong.entities[0].1 = Arc::new(arrow::array::NullArray::new(3));
        let requests = futures::stream::iter([request(), request(), wrong, request()]);
        let answers: Vec<_> = client.stream_online_features(requests).await.unwrap().collect().await;
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
        let error = answers.into_iter().next_back().unwrap().unwrap_err();
        assert!(error.message().contains("column `customer_id`"), "{error}");
    }
}

#[tokio::test]
async fn calls_carry_the_trace_and_the_span_they_are_made_in() {
    let spans = Spans::default();
    let layer = tracing_opentelemetry::layer().with_tracer(spans.provider().tracer("test"));
    let (fake, server) = Serving::playing(Script::Answer);
    let calls = async {
        for transport in both_ways(server).await {
            let client = ServingClient::new(transport);
            let call = async { client.online_features(&request()).await.unwrap() };
            call.instrument(tracing::info_span!("caller")).await;
        }
    };
    calls.with_subscriber(tracing_subscriber::registry().with(layer)).await;
    let callers = spans.ended().into_iter().filter(|span| span.name == "caller").map(|span| span.span_context);
    let callers: Vec<_> = callers.map(|span| format!("00-{}-{}-01", span.trace_id(), span.span_id())).collect();
    let seen = fake.seen.lock().unwrap();
    let parents: Vec<_> = seen.iter().map(|(headers, _)| headers["traceparent"].to_str().unwrap()).collect();
    assert_eq!(parents, callers);
    assert_eq!(parents.len(), 2);
}
