//! What every call is held to, in process.

use std::time::Duration;

use http_body_util::Full;
use larder_contracts::serving::v1::StreamOnlineFeaturesRequest;
use larder_service::{
    PeerAddress,
    config::{ByteSize, Span},
};
use tonic::{
    Code, Request,
    body::Body,
    codegen::{Bytes, Service, http},
};

use crate::fake::{World, ask};

const METHOD: &str = r#"method="GetOnlineFeatures",service="larder.serving.v1.ServingService"}"#;

fn total(code: &str) -> String {
    format!(r#"larder_grpc_calls_total{{code="{code}",{METHOD}"#)
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_deadline_exceeded() {
    let mut world = World::new();
    world.config.default_deadline = Span(Duration::from_millis(30));
    let status = world.client().get_online_features(ask("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "the call took longer than the 30ms that the call had");
    assert_eq!(world.metric(&total("DEADLINE_EXCEEDED")).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_call_whose_deadline_is_over_when_it_comes_is_not_begun() {
    let mut world = World::new();
    for what in ["answer", "wait"] {
        let mut request = Request::new(ask(what));
        request.set_timeout(Duration::ZERO);
        let status = world.client().get_online_features(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{what}");
    }
    assert!(world.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn the_callers_deadline_counts_up_to_the_limit() {
    let mut world = World::new();
    world.config.max_deadline = Span::seconds(7);
    for (given, least, most) in [(Some(3), 2, 3), (None, 4, 5), (Some(50), 6, 7)] {
        let mut request = Request::new(ask("wait"));
        if let Some(given) = given {
            request.set_timeout(Duration::from_secs(given));
        }
        world.gate.add_permits(1);
        world.client().get_online_features(request).await.unwrap();
        let context = world.arrivals.recv().await.unwrap();
        let remaining = context.deadline.remaining().unwrap();
        assert!(Duration::from_secs(least) < remaining && remaining <= Duration::from_secs(most), "{remaining:?}");
        assert_eq!(context.caller.address, PeerAddress::InProcess);
    }
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let world = World::new();
    let mut request = Request::new(ask("answer"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = world.client().get_online_features(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("`soon` is not a timeout"), "{}", status.message());
}

#[tokio::test]
async fn over_the_limit_of_calls_in_flight_a_call_is_refused_at_once_and_probes_are_not() {
    let mut world = World::new();
    world.config.max_in_flight = 1;
    let endpoint = world.endpoint();
    let client = larder_contracts::serving::v1::serving_service_client::ServingServiceClient::new(endpoint.clone());
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.get_online_features(ask("wait")).await });
    world.arrivals.recv().await.unwrap();
    assert_eq!(endpoint.pending().to_string(), "/larder.serving.v1.ServingService/GetOnlineFeatures 1");

    let status = client.clone().get_online_features(ask("answer")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().contains("limit of 1 calls in flight (fake.server.max_in_flight)"),
        "{}",
        status.message()
    );
    let mut health = tonic_health::pb::health_client::HealthClient::new(endpoint.clone());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();

    world.gate.add_permits(1);
    first.await.unwrap().unwrap();
    endpoint.drained().await;
    client.clone().get_online_features(ask("answer")).await.unwrap();
    assert_eq!(world.metric(&total("OK")).as_deref(), Some("2"));
    assert_eq!(world.metric(&total("RESOURCE_EXHAUSTED")).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_an_invalid_argument_that_names_the_limit() {
    let mut world = World::new();
    world.config.max_request_bytes = ByteSize(1 << 20);
    let mut client = world.client();
    let mut large = ask("answer");
    // Above our limit, and above the 4 MiB that the transport would take by itself.
    for size in [1 << 20, 5 << 20] {
        large.project = "x".repeat(size);
        let status = client.get_online_features(large.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("the limit is 1MiB (fake.server.max_request_bytes)"), "{}", status.message());
    }
    large.project = "x".repeat((1 << 20) - 100);
    client.get_online_features(large).await.unwrap();

    let mut world = World::new();
    world.config.max_request_bytes = ByteSize::mebibytes(6);
    world
        .client()
        .get_online_features({
            let mut request = ask("answer");
            request.project = "x".repeat(5 << 20);
            request
        })
        .await
        .unwrap();
}

/// What cannot be read is its sender's fault, and no defect of the service.
#[tokio::test]
async fn a_request_that_is_no_message_is_an_invalid_argument() {
    let world = World::new();
    // A frame of three bytes: field 1, a string of one byte, which is no UTF-8.
    for body in [&b"\0\0\0\0\x03\x0a\x01\xff"[..], b"\0\0\0\0\x01\xff", b""] {
        let request = http::Request::builder()
            .method("POST")
            .uri("/larder.serving.v1.ServingService/GetOnlineFeatures")
            .header("content-type", "application/grpc")
            .body(Body::new(Full::new(Bytes::from_static(body))))
            .unwrap();
        let response = world.endpoint().call(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "3", "{:?}", response.headers());
    }
    assert_eq!(world.metric(&total("INVALID_ARGUMENT")).as_deref(), Some("3"));
    assert!(world.metric(&total("INTERNAL")).is_none_or(|count| count == "0"));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_service_goes_on() {
    let world = World::new();
    let mut client = world.client();
    let status = client.get_online_features(ask("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("as asked"), "{}", status.message());
    client.get_online_features(ask("answer")).await.unwrap();
    assert_eq!(world.metric(&total("INTERNAL")).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_caller_who_goes_away_is_counted_and_gives_its_place_back() {
    let mut world = World::new();
    let endpoint = world.endpoint();
    let mut client = larder_contracts::serving::v1::serving_service_client::ServingServiceClient::new(endpoint.clone());
    let call = tokio::spawn(async move { client.get_online_features(ask("wait")).await });
    world.arrivals.recv().await.unwrap();
    call.abort();
    endpoint.drained().await;
    assert_eq!(world.metric(&total("CANCELLED")).as_deref(), Some("1"));
    assert_eq!(world.metric(&format!("larder_grpc_calls_in_flight{{{METHOD}")).as_deref(), Some("0"));
    assert_eq!(world.metric(&format!("larder_grpc_call_seconds_count{{{METHOD}")).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_silent_stream_ends_at_the_idle_limit() {
    let mut world = World::new();
    world.config.stream_idle_limit = Span::seconds(1);
    let (send, receive) = tokio::sync::mpsc::channel(4);
    send.send(StreamOnlineFeaturesRequest::default()).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut answers = world.client().stream_online_features(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no message came for 1s"), "{}", status.message());
}

#[tokio::test]
async fn a_stream_ends_at_the_deadline_that_its_caller_gave() {
    let world = World::new();
    let (_send, receive) = tokio::sync::mpsc::channel(1);
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    request.set_timeout(Duration::from_secs(1));
    let mut answers = world.client().stream_online_features(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn an_unknown_rpc_is_answered_with_near_ones() {
    use tonic::codegen::{Service, http};
    let mut endpoint = World::new().endpoint();
    let request = http::Request::post("/larder.serving.v1.ServingService/GetOnlineFeature");
    let response = endpoint.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("/larder.serving.v1.ServingService/GetOnlineFeatures"), "{}", status.message());
}
