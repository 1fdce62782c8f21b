//! What is too much, and what it is told.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arrow::array::{ArrayRef, StringArray};
use larder_client::{OnlineRequest, ServingClient, Transport};
use larder_service::{
    Endpoint,
    config::{ByteSize, Span},
};
use larder_types::{Clock, Error, ErrorCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
};

use crate::{
    held_store::Held,
    sandbox::Sandbox,
    shop::{floats, ints, owned, references, service, shop, table},
};

/// Clients of `endpoint` in process and over a port, which is closed when the sender is dropped.
pub(crate) async fn both_ways(endpoint: Endpoint) -> ([ServingClient; 2], oneshot::Sender<()>) {
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap().to_string();
    let (open, closed) = oneshot::channel::<()>();
    let serving = endpoint.clone();
    tokio::spawn(async move {
        tokio::select! {
            served = serving.serve(listener, Default::default()) => served.unwrap(),
            _ = closed => {}
        }
    });
    let transports = [Transport::in_process(endpoint), Transport::connect(&address).unwrap()];
    (transports.map(ServingClient::new), open)
}

fn assert_is(error: &Error, code: ErrorCode, message: &str) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().contains(message), "{message}: {error}");
}

fn profiles(count: i64) -> OnlineRequest {
    let customers: Vec<i64> = (1..=count).collect();
    service("profile_service", vec![("customer_id", ints(&customers))])
}

#[tokio::test]
async fn an_answer_is_limited_in_values_and_in_bytes() {
    let sandbox = shop().await;
    let values = sandbox.serving_with(|config| config.limits.max_values = 30);
    let bytes = sandbox.serving_with(|config| config.limits.max_answer_bytes = ByteSize(2_000));
    for (endpoint, fits, too_many, limit) in [
        (values, 10, 11, "the 30 values that an answer may have (serving.limits.max_values)"),
        (bytes, 20, 200, "the limit is 2000 (serving.limits.max_answer_bytes)"),
    ] {
        let (clients, _open) = both_ways(endpoint).await;
        for client in clients {
            let answer = client.online_features(&profiles(fits)).await.unwrap();
            assert_eq!(answer.features[0].values.len() as i64, fits);
            let error = client.online_features(&profiles(too_many)).await.unwrap_err();
            assert_is(&error, ErrorCode::ResourceExhausted, limit);
            assert!(error.message().contains("use StreamOnlineFeatures"), "{error}");
        }
    }
}

/// What is counted is what is sent: short texts in columns with room to spare are no more than their bytes.
#[tokio::test]
async fn the_size_of_an_answer_is_that_of_its_values_and_versions() {
    let sandbox = shop().await;
    let now = sandbox.clock.now();
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(3_000); 4]));
    let columns = vec![
        ("customer_id", ints(&[1, 2, 3, 4])),
        ("score", floats(&[0.0; 4])),
        ("visits", Arc::new(arrow::array::Int32Array::from(vec![0; 4])) as ArrayRef),
        ("city", long),
    ];
    sandbox.push("visits", columns, vec![now; 4]).await;
    // Four texts and little more; with versions, 84 bytes more.
    let values = 4 * (8 + 4 + 4 + 3_000) + 4;
    for (limit, with_versions, fits) in
        [(values, false, true), (values - 5, false, false), (values, true, false), (values + 84, true, true)]
    {
        let endpoint = sandbox.serving_with(|config| config.limits.max_answer_bytes = ByteSize(limit));
        let client = ServingClient::new(Transport::in_process(endpoint));
        let asked = OnlineRequest { include_replay: with_versions, ..profiles(4) };
        let answer = client.online_features(&asked).await;
        assert_eq!(answer.is_ok(), fits, "{limit}, {with_versions}: {answer:?}");
    }
}

/// The transport's limit lies above ours, on both sides.
#[tokio::test]
async fn an_answer_as_great_as_is_allowed_comes_through() {
    let sandbox = shop().await;
    let columns = vec![
        ("customer_id", ints(&[1])),
        ("score", floats(&[0.0])),
        ("visits", Arc::new(arrow::array::Int32Array::from(vec![0])) as ArrayRef),
        ("city", Arc::new(StringArray::from(vec!["x".repeat(3_000)]))),
    ];
    sandbox.push("visits", columns, vec![sandbox.clock.now()]).await;
    let greater = sandbox.serving_with(|config| config.limits.max_answer_bytes = ByteSize::mebibytes(128));
    for (endpoint, entities) in [(sandbox.serving_with(|_| ()), 22_000), (greater, 30_000)] {
        let (clients, _open) = both_ways(endpoint).await;
        for client in clients {
            let asked = service("profile_service", vec![("customer_id", ints(&vec![1; entities]))]);
            let answer = client.within(Duration::from_secs(60)).online_features(&asked).await.unwrap();
            assert!(answer.features.iter().all(|feature| feature.values.len() == entities));
        }
    }
}

/// A number of rows that anybody can write is refused before anything is made of so many.
#[tokio::test]
async fn four_billion_rows_are_refused_at_once() {
    let sandbox = shop().await;
    let request_data = owned(vec![("total", floats(&[1.0]))]);
    for asked in
        [service("weather_service", vec![]), OnlineRequest { request_data, ..service("asked_service", vec![]) }]
    {
        let error = sandbox.ask(&OnlineRequest { rows: u32::MAX, ..asked }).await.unwrap_err();
        assert_is(&error, ErrorCode::ResourceExhausted, "serving.limits.max_values");
    }
}

/// However many entities share a key, and all do in a view without entity, its row is read once.
#[tokio::test]
async fn a_key_is_read_once() {
    let sandbox = shop().await;
    let now = sandbox.clock.now();
    sandbox.push("skies", vec![("temperature", floats(&[21.5]))], vec![now]).await;
    let rows: usize = 100_000;
    let asked = service("weather_service", vec![]);
    let answer = sandbox.ask(&OnlineRequest { rows: rows as u32, ..asked }).await.unwrap();
    assert_eq!(table(&answer), [("temperature", vec!["21.5".to_owned(); rows])]);
    assert_eq!(answer.replay.unwrap().views[0].versions.len(), rows);
    assert_eq!(sandbox.store.keys_read(), 1);

    let customers: Vec<i64> = (0..20_000).map(|row| row % 3 + 2).collect();
    let keys: ArrayRef =
        Arc::new(customers.iter().map(|key| (*key != 4).then_some(*key)).collect::<arrow::array::Int64Array>());
    let request_data = owned(vec![("total", floats(&[0.5])), ("bonus", ints(&[1]))]);
    let asked = service("derived_service", vec![("customer_id", keys)]);
    let answer = sandbox.ask(&OnlineRequest { request_data, ..asked }).await.unwrap();
    assert_eq!(sandbox.store.keys_read(), 3);
    let of = |customer: &i64, (second, others): (&str, &str)| if *customer == 2 { second } else { others }.to_owned();
    let expected = |shown| customers.iter().map(|customer| of(customer, shown)).collect::<Vec<_>>();
    assert_eq!(table(&answer), [("share", expected(("5", "NULL"))), ("reward", expected(("21", "1")))]);
    let found: Vec<_> = answer.replay.unwrap().views[0].versions.iter().map(Option::is_some).collect();
    assert_eq!(found, customers.iter().map(|customer| *customer < 4).collect::<Vec<_>>());
}

/// A few bytes that many entities share are refused before they are written down for each.
#[tokio::test]
async fn what_would_be_repeated_too_often_is_refused_before_it_is() {
    let sandbox = shop().await;
    let now = sandbox.clock.now();
    let columns = vec![
        ("customer_id", ints(&[1])),
        ("score", floats(&[0.0])),
        ("visits", Arc::new(arrow::array::Int32Array::from(vec![0])) as ArrayRef),
        ("city", Arc::new(StringArray::from(vec!["x".repeat(1 << 20)])) as ArrayRef),
    ];
    sandbox.push("visits", columns, vec![now]).await;
    // A hundred gigabytes, if it were made; the answer without it is small.
    let many = ints(&vec![1; 100_000]);
    let error = sandbox.ask(&references(&["profile.city"], vec![("customer_id", many.clone())])).await.unwrap_err();
    assert_is(&error, ErrorCode::ResourceExhausted, "the limit is 64MiB (serving.limits.max_answer_bytes)");
    let asked = references(&["profile.visits"], vec![("customer_id", many)]);
    let answer = sandbox.ask(&OnlineRequest { include_replay: false, ..asked }).await.unwrap();
    assert_eq!(answer.features[0].values.len(), 100_000);

    let endpoint = sandbox.serving_with(|config| config.limits.max_read_bytes = ByteSize(100_000));
    let client = ServingClient::new(Transport::in_process(endpoint));
    let request_data = owned(vec![("total", floats(&[1.0]))]);
    let data = OnlineRequest { request_data, rows: 100_000, ..service("asked_service", vec![]) };
    for asked in [data, profiles(4)] {
        let error = client.online_features(&asked).await.unwrap_err();
        assert_is(&error, ErrorCode::ResourceExhausted, "more bytes than the limit of 100000 (serving.limits.max_read");
    }
}

/// A transport on which nothing of an answer is taken: a call whose answer is there ends as CANCELLED.
#[derive(Clone)]
struct Untaken {
    endpoint: Endpoint,
    kept: Arc<Mutex<Vec<http::Response<Body>>>>,
}

impl Service<http::Request<Body>> for Untaken {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (answering, kept) = (self.endpoint.call(request), Arc::clone(&self.kept));
        Box::pin(async move {
            let response = answering.await?;
            if response.headers().contains_key("grpc-status") {
                return Ok(response);
            }
            kept.lock().push(response);
            Ok(Status::cancelled("kept").into_http())
        })
    }
}

/// Customers 1 to 4 in cities of so many bytes.
pub(crate) async fn great_cities(sandbox: &Sandbox, bytes: usize) {
    let columns = vec![
        ("customer_id", ints(&[1, 2, 3, 4])),
        ("score", floats(&[0.0; 4])),
        ("visits", Arc::new(arrow::array::Int32Array::from(vec![0; 4])) as ArrayRef),
        ("city", Arc::new(StringArray::from(vec!["x".repeat(bytes); 4])) as ArrayRef),
    ];
    sandbox.push("visits", columns, vec![sandbox.clock.now(); 4]).await;
}

#[tokio::test]
async fn great_answers_that_are_not_taken_have_room_for_so_many_bytes() {
    let sandbox = shop().await;
    great_cities(&sandbox, 1 << 20).await;
    let endpoint = sandbox.serving_with(|config| {
        config.limits.max_answer_bytes = ByteSize::mebibytes(5);
        config.answers_memory = ByteSize::mebibytes(9);
    });
    let kept = Arc::<Mutex<Vec<_>>>::default();
    let untaken = Transport::in_process(Untaken { endpoint: endpoint.clone(), kept: Arc::clone(&kept) });
    let (untaken, client) = (ServingClient::new(untaken), ServingClient::new(Transport::in_process(endpoint)));
    // One of 4 MiB by its rows, one of as much by entities that share a key.
    let shared = service("profile_service", vec![("customer_id", ints(&[1; 4]))]);
    for asked in [profiles(4), shared.clone()] {
        assert_eq!(untaken.online_features(&asked).await.unwrap_err().code(), ErrorCode::Cancelled);
    }
    for asked in [profiles(4), shared] {
        let error = client.online_features(&asked).await.unwrap_err();
        assert_is(&error, ErrorCode::ResourceExhausted, "the 9MiB that there is room for (serving.answers_memory)");
    }
    // What is not great is answered all the same.
    let small = service("profile_service", vec![("customer_id", ints(&[9; 1_000]))]);
    client.online_features(&small).await.unwrap();
    let answers = [untaken.online_features(&small).await, client.online_features(&small).await];
    assert_eq!(answers[0].as_ref().unwrap_err().code(), ErrorCode::Cancelled);
    assert!(answers[1].is_ok());

    kept.lock().remove(0);
    assert_eq!(client.online_features(&profiles(4)).await.unwrap().features[2].values.len(), 4);
    kept.lock().clear();
    let asked = profiles(4);
    let (first, second) = tokio::join!(client.online_features(&asked), client.online_features(&asked));
    assert!(first.is_ok() && second.is_ok());
}

/// Of more great answers than there are processors, some wait for their turns.
#[tokio::test]
async fn many_great_answers_at_once_are_all_made() {
    let sandbox = shop().await;
    great_cities(&sandbox, 1 << 20).await;
    let many = (0..64).map(|_| async { sandbox.ask(&profiles(4)).await.map(|answer| answer.features[2].values.len()) });
    for answered in futures::future::join_all(many).await {
        assert_eq!(answered.unwrap(), 4);
    }
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_told_the_limit() {
    let sandbox = shop().await;
    let endpoint = sandbox.serving_with(|config| config.server.max_request_bytes = ByteSize(2_048));
    let (clients, _open) = both_ways(endpoint).await;
    for client in clients {
        client.online_features(&profiles(200)).await.unwrap();
        let error = client.online_features(&profiles(300)).await.unwrap_err();
        assert_is(&error, ErrorCode::InvalidArgument, "the limit is 2KiB (serving.server.max_request_bytes)");
    }
}

#[tokio::test]
async fn a_deadline_ends_a_read_that_takes_longer() {
    let sandbox = shop().await;
    sandbox.ask(&profiles(1)).await.unwrap();
    sandbox.store.hold(Held::All);
    let hurried = sandbox.client().within(Duration::from_millis(50));
    assert_eq!(hurried.online_features(&profiles(1)).await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
    // The service's own, whatever its caller would give.
    let endpoint = sandbox.serving_with(|config| config.server.max_deadline = Span(Duration::from_millis(300)));
    let (clients, _open) = both_ways(endpoint).await;
    for client in clients {
        let error = client.within(Duration::from_secs(50)).online_features(&profiles(1)).await.unwrap_err();
        assert_is(&error, ErrorCode::DeadlineExceeded, "took longer than the 300ms that the call had");
    }
    sandbox.store.hold(Held::Nothing);
    sandbox.ask(&profiles(1)).await.unwrap();
}

#[tokio::test]
async fn over_the_limit_in_flight_a_call_is_refused_at_once() {
    let sandbox = shop().await;
    let endpoint = sandbox.serving_with(|config| config.server.max_in_flight = 2);
    let (clients, _open) = both_ways(endpoint).await;
    clients[0].online_features(&profiles(1)).await.unwrap();
    sandbox.store.hold(Held::All);
    let held = clients.clone().map(|client| tokio::spawn(async move { client.online_features(&profiles(1)).await }));
    sandbox.store.arrived(2).await;
    for client in &clients {
        let error = client.online_features(&profiles(1)).await.unwrap_err();
        assert_is(
            &error,
            ErrorCode::ResourceExhausted,
            "the limit of 2 calls in flight (serving.server.max_in_flight)",
        );
    }
    sandbox.store.hold(Held::Nothing);
    for answering in held {
        assert_eq!(table(&answering.await.unwrap().unwrap())[2].1, ["Bern"]);
    }
    clients[1].online_features(&profiles(1)).await.unwrap();
}
