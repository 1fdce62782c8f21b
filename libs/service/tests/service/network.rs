//! Over a real socket: health, reflection, the admin port, and the same answers as in process.

use std::time::Duration;

use larder_contracts::serving::v1::serving_service_client::ServingServiceClient;
use larder_service::{
    PeerAddress,
    admin::Admin,
    bind,
    config::{ByteSize, Span},
};
use larder_types::ErrorCode;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::fake::{World, ask};

/// How long anything may take that must come: only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn serve(world: &World) -> Channel {
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(world.endpoint().serve(listener, CancellationToken::new()));
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// The process is one, however many streams it needs; its callers may be any number.
#[tokio::test]
async fn streams_of_the_process_itself_take_no_place_of_its_callers() {
    let mut world = World::new();
    world.config.max_streams = 1;
    let endpoint = world.endpoint();
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(endpoint.clone().serve(listener, CancellationToken::new()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();

    let own = ServingServiceClient::new(endpoint.clone());
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(own.clone().stream_online_features(tokio_stream::pending()).await.unwrap().into_inner());
    }
    let mut over_a_port = ServingServiceClient::new(channel);
    let (requests, receive) = mpsc::channel(1);
    let requested = tokio_stream::wrappers::ReceiverStream::new(receive);
    let first = over_a_port.stream_online_features(requested).await.unwrap();
    let second = over_a_port.stream_online_features(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    assert!(second.message().contains("limit of 1 open streams (fake.server.max_streams)"), "{second}");
    open.push(own.clone().stream_online_features(tokio_stream::pending()).await.unwrap().into_inner());

    // A stop waits for the caller's stream, and not for those that are opened anew until the tasks behind them end.
    assert!(futures::poll!(std::pin::pin!(endpoint.drained())).is_pending());
    drop((first, requests));
    tokio::time::timeout(PATIENCE, endpoint.drained()).await.unwrap();
    drop(open);
}

/// A thread that serves, and stands still while it is told to.
fn serve_on_a_thread(world: &World, listener: std::net::TcpListener) -> mpsc::UnboundedSender<Pause> {
    let endpoint = world.endpoint();
    let (pause, mut pauses) = mpsc::unbounded_channel::<Pause>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(endpoint.serve(TcpListener::from_std(listener).unwrap(), CancellationToken::new()));
            while let Some(Pause { begun, over }) = pauses.recv().await {
                begun.send(()).unwrap();
                let _ = over.recv();
            }
        });
    });
    pause
}

struct Pause {
    begun: oneshot::Sender<()>,
    over: std::sync::mpsc::Receiver<()>,
}

/// Callers with short deadlines give up many calls while a service is busy: that ends no others of their connection.
#[tokio::test]
async fn calls_that_are_given_up_end_no_others() {
    let mut world = World::new();
    let listener = larder_test_kit::listener().await.into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let pauses = serve_on_a_thread(&world, listener);
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let client = ServingServiceClient::new(channel);
    let waiting = tokio::spawn({
        let mut client = client.clone();
        async move { client.get_online_features(ask("wait")).await }
    });
    world.arrivals.recv().await.unwrap();

    let ((begun, has_begun), (end, over)) = (oneshot::channel(), std::sync::mpsc::channel());
    pauses.send(Pause { begun, over }).unwrap_or_else(|_| panic!("the thread is there"));
    has_begun.await.unwrap();
    let given_up = (0..200).map(|_| {
        let mut client = client.clone();
        async move { tokio::time::timeout(Duration::from_millis(50), client.get_online_features(ask("answer"))).await }
    });
    assert!(futures::future::join_all(given_up).await.iter().all(Result::is_err));
    end.send(()).unwrap();

    client.clone().get_online_features(ask("answer")).await.unwrap();
    world.gate.add_permits(1);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn health_follows_the_readiness() {
    let world = World::new();
    let catalog = world.surroundings.readiness.condition("catalog", "not read yet");
    let mut health = HealthClient::new(serve(&world).await);
    let service = || HealthCheckRequest { service: "larder.serving.v1.ServingService".to_owned() };
    let mut changes = health.watch(service()).await.unwrap().into_inner();
    let mut next = async || changes.message().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::NotServing);
    catalog.ready();
    assert_eq!(next().await, ServingStatus::Serving);
    assert_eq!(health.check(service()).await.unwrap().into_inner().status(), ServingStatus::Serving);
    let unknown = health.check(HealthCheckRequest { service: "other".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_what_is_served() {
    let world = World::new();
    let mut reflection = ServerReflectionClient::new(serve(&world).await);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.collect::<Result<_, _>>().await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.into_iter().next().unwrap().message_response else {
        panic!("not a list");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    expect_test::expect![[r#"
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "larder.serving.v1.ServingService",
        ]
    "#]]
    .assert_debug_eq(&names);
}

#[tokio::test]
async fn a_deadline_is_deadline_exceeded_here_too_and_the_callers_address_is_known() {
    let mut world = World::new();
    world.config.default_deadline = Span(Duration::from_millis(50));
    let mut client = ServingServiceClient::new(serve(&world).await);
    let status = client.get_online_features(ask("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let context = world.arrivals.recv().await.unwrap();
    assert!(matches!(context.caller.address, PeerAddress::Network(address) if address.ip().is_loopback()));
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_an_invalid_argument_here_too() {
    let mut world = World::new();
    world.config.max_request_bytes = ByteSize(1 << 20);
    let mut client = ServingServiceClient::new(serve(&world).await);
    let mut large = ask("answer");
    large.project = "x".repeat(5 << 20);
    let status = client.get_online_features(large).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("the limit is 1MiB"), "{}", status.message());
    client.get_online_features(ask("answer")).await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_key_to_change() {
    let taken = larder_test_kit::listener().await;
    let address = taken.local_addr().unwrap();
    let error = bind(address, "server.listen").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::FailedPrecondition);
    let expected = format!(
        "{address} is in use by another process: stop that one, or set server.listen (or LARDER__SERVER__LISTEN) to \
         another address; port 0 takes any free one"
    );
    assert_eq!(error.message(), expected);
}

#[tokio::test]
async fn the_admin_port_tells_of_life_readiness_and_metrics() {
    let world = World::new();
    let store = world.surroundings.readiness.condition("online store", "connecting");
    world.client().get_online_features(ask("answer")).await.unwrap();
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap();
    let admin = Admin { readiness: world.surroundings.readiness.clone(), metrics: world.surroundings.metrics.clone() };
    tokio::spawn(admin.serve(listener, CancellationToken::new()));
    let get = async |path: &'static str| {
        tokio::task::spawn_blocking(move || larder_test_kit::get(address, path).unwrap()).await.unwrap()
    };
    assert_eq!(get("/livez").await, (200, "alive\n".to_owned()));
    assert_eq!(get("/readyz").await, (503, "not ready: online store: connecting\n".to_owned()));
    store.ready();
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    let (status, metrics) = get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE larder_grpc_calls_total counter"), "{metrics}");
}
