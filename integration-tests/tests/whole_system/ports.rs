//! What every port says of itself: reflection lists the services, health follows the process.

use std::net::SocketAddr;

use larder_service::config::Span;
use tokio_stream::StreamExt;
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::sandbox::{Clients, Sandbox};

/// What every port has besides its own services.
const TOOLS: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// The services of each port.
fn ports(clients: &Clients) -> [(SocketAddr, Vec<&'static str>); 4] {
    [
        (clients.registry, vec!["larder.registry.v1.RegistryService", "larder.registry.v1.RunService"]),
        (clients.serving, vec!["larder.serving.v1.ServingService"]),
        (clients.push_ingest, vec!["larder.push.v1.PushService"]),
        (clients.materializer, vec!["larder.materializer.v1.MaterializerService"]),
    ]
}

fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_of_each_port_and_describes_them() {
    let mut sandbox = Sandbox::start().await;
    for (address, own) in ports(&sandbox) {
        let MessageResponse::ListServicesResponse(list) =
            reflect(address, MessageRequest::ListServices(String::new())).await
        else {
            panic!("{address} gives no list")
        };
        let mut listed: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        listed.sort();
        let mut expected = [own.as_slice(), &TOOLS].concat();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        for service in own {
            let described = reflect(address, MessageRequest::FileContainingSymbol(service.to_owned())).await;
            assert!(matches!(described, MessageResponse::FileDescriptorResponse(_)), "{service}: {described:?}");
        }
    }
    sandbox.stop().await;
}

async fn reflect(address: SocketAddr, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(channel(address));
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_answers_for_each_service_and_the_whole_port() {
    let mut sandbox = Sandbox::start().await;
    for (address, services) in ports(&sandbox) {
        for service in services.into_iter().chain([""]) {
            assert_eq!(health(address, service).await.unwrap(), ServingStatus::Serving, "{service}");
        }
        let unknown = health(address, "larder.shop.v1.ShopService").await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    }
    let ports = ports(&sandbox);
    sandbox.stop().await;
    for (address, _) in ports {
        assert_eq!(health(address, "").await.unwrap_err().code(), Code::Unavailable);
    }
}

/// Balancers ask, and send no more calls, while calls are answered still.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_about_to_close_says_so_first() {
    // Never over in this test, which leaves it running.
    let sandbox = Sandbox::start_with(|config| config.serving.server.stop_delay = Span::seconds(600)).await;
    for (address, _) in ports(&sandbox) {
        assert_eq!(health(address, "").await.unwrap(), ServingStatus::Serving);
    }
    sandbox.begin_stop();
    for (address, services) in ports(&sandbox) {
        for service in services.into_iter().chain([""]) {
            while health(address, service).await.unwrap() != ServingStatus::NotServing {
                tokio::task::yield_now().await;
            }
        }
    }
    sandbox.registry().projects().await.unwrap();
}

async fn health(address: SocketAddr, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel(address)).check(request).await.map(|answer| answer.into_inner().status())
}
