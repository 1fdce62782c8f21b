//! What every call is held to, in process.

use std::time::Duration;

use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use larder_contracts::serving::v1::StreamOnlineFeaturesRequest;
use larder_service::{
    PeerAddress,
    config::{ByteSize, Span},
};
use tokio_stream::StreamExt;
use tonic::{
    Code, Request, Status,
    body::Body,
    codegen::{Bytes, Service, http},
};
use tonic_types::StatusExt;

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

fn post(body: Body) -> http::Request<Body> {
    let request = http::Request::post("/larder.serving.v1.ServingService/GetOnlineFeatures");
    request.header("content-type", "application/grpc").body(body).unwrap()
}

/// What cannot be read is its sender's fault, and no defect of the service.
#[tokio::test]
async fn a_request_that_is_no_message_is_an_invalid_argument() {
    let world = World::new();
    let bodies = [
        // A frame of three bytes: field 1, a string of one byte, which is no UTF-8.
        &b"\0\0\0\0\x03\x0a\x01\xff"[..],
        b"\0\0\0\0\x01\xff",
        b"",
        // Cut short, in the message and before it.
        b"\0\0\0\0\x09\x0a",
        b"\0\0\0",
        // Bytes after the message.
        b"\0\0\0\0\0zzz",
        // Compressed, by nobody says what; a flag that there is not.
        b"\x01\0\0\0\0",
        b"\x07\0\0\0\0",
    ];
    for body in bodies {
        let request = post(Body::new(Full::new(Bytes::from_static(body))));
        let response = world.endpoint().call(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{body:?}: {status}");
        assert_eq!(reason(&status), "INVALID_ARGUMENT");
    }
    assert_eq!(world.metric(&total("INVALID_ARGUMENT")), Some(bodies.len().to_string()));
    assert!(world.metric(&total("INTERNAL")).is_none_or(|count| count == "0"));
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no details: {status}"));
    assert_eq!(info.domain, "larder");
    info.reason.clone()
}

#[tokio::test]
async fn what_the_transport_says_is_told_as_ours() {
    let world = World::new();
    let mut compressed = post(Body::new(Full::new(Bytes::from_static(b"\x01\0\0\0\x01x"))));
    compressed.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let response = world.endpoint().call(compressed).await.unwrap();
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "UNIMPLEMENTED"));
    assert!(status.message().contains("compressed with `gzip`"), "{status}");
    assert_eq!(response.headers()["grpc-accept-encoding"], "identity");

    // A connection that broke is no defect.
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = StreamBody::new(tokio_stream::once(Err::<Frame<Bytes>, _>(broken)));
    world.endpoint().call(post(Body::new(body))).await.unwrap();
    assert_eq!(world.metric(&total("CANCELLED")).as_deref(), Some("1"));

    // In a stream such a status is in the trailers.
    let mut cut = post(Body::new(Full::new(Bytes::from_static(b"\0\0\0\0\x09\x0a"))));
    *cut.uri_mut() = "/larder.serving.v1.ServingService/StreamOnlineFeatures".parse().unwrap();
    let body = world.endpoint().call(cut).await.unwrap().into_body();
    let collected = body.collect().await.unwrap();
    let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
}

/// Whether an answer is taken is up to its caller, who keeps nobody out.
#[tokio::test]
async fn a_call_that_has_its_answer_is_in_flight_no_more() {
    let mut world = World::new();
    world.config.max_in_flight = 1;
    world.config.default_deadline = Span(Duration::from_millis(50));
    world.config.max_deadline = Span(Duration::from_millis(50));
    let mut endpoint = world.endpoint();
    let message = || Body::new(Full::new(Bytes::from_static(b"\0\0\0\0\0")));
    let mut untaken = Vec::new();
    for _ in 0..3 {
        let response = endpoint.call(post(message())).await.unwrap();
        assert!(!response.headers().contains_key("grpc-status"), "{:?}", response.headers());
        assert_eq!(world.metric(&format!("larder_grpc_calls_in_flight{{{METHOD}")).as_deref(), Some("0"));
        untaken.push(response.into_body());
    }
    endpoint.drained().await;
    assert_eq!(world.metric(&total("OK")).as_deref(), Some("0"));
    // As many as may be in flight are kept, the others for as long as any call may take.
    world.metric_is(&total("UNAVAILABLE"), "2").await;
    let mut ends = Vec::new();
    for body in untaken {
        let collected = body.collect().await.unwrap();
        ends.push(Status::from_header_map(collected.trailers().unwrap()).unwrap());
    }
    assert_eq!(ends.iter().map(Status::code).collect::<Vec<_>>(), [Code::Ok, Code::Unavailable, Code::Unavailable]);
    let message = "nothing of the answer was taken for 50ms (fake.server.max_deadline)";
    assert!(ends[2].message().contains(message), "{}", ends[2]);
    assert_eq!(world.metric(&total("OK")).as_deref(), Some("1"));
}

#[tokio::test]
async fn an_answer_that_the_service_encoded_comes_through_and_is_not_kept_for_ever() {
    let mut world = World::new();
    world.client().get_online_features(ask("great")).await.unwrap();
    world.config.default_deadline = Span(Duration::from_millis(50));
    world.config.max_deadline = Span(Duration::from_millis(50));
    // A frame of nine bytes: field 2, the name of the feature service.
    let request = post(Body::new(Full::new(Bytes::from_static(b"\0\0\0\0\x07\x12\x05great"))));
    let response = world.endpoint().call(request).await.unwrap();
    world.metric_is(&total("UNAVAILABLE"), "1").await;
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "14");
}

/// One who takes some of it now and then goes on.
#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_ends_at_the_idle_limit() {
    let mut world = World::new();
    world.config.stream_idle_limit = Span(Duration::from_millis(400));
    let unavailable = total("UNAVAILABLE").replace("GetOnline", "StreamOnline");
    let messages = || {
        let message = |_| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"\0\0\0\0\0")));
        let paced = tokio_stream::iter(0..1000).throttle(Duration::from_millis(1)).map(message);
        let mut request = post(Body::new(StreamBody::new(paced)));
        *request.uri_mut() = "/larder.serving.v1.ServingService/StreamOnlineFeatures".parse().unwrap();
        request
    };
    let mut taken = world.endpoint().call(messages()).await.unwrap().into_body();
    let untaken = world.endpoint().call(messages()).await.unwrap().into_body();
    for _ in 0..12 {
        taken.frame().await.unwrap().unwrap().into_data().unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.metric_is(&unavailable, "1").await;
    let ended = untaken.collect().await.unwrap();
    let status = Status::from_header_map(ended.trailers().unwrap()).unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("nothing of the answer was taken for 400ms (fake.server.stream_idle_limit)"));
    taken.frame().await.unwrap().unwrap().into_data().unwrap();
    world.metric_is(&unavailable, "2").await;
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
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("/larder.serving.v1.ServingService/GetOnlineFeatures"), "{}", status.message());
}
