//! The streaming form: an answer for each request, in order, each by its own instant.

use std::time::Duration;

use futures::{StreamExt, stream};
use larder_client::OnlineRequest;
use larder_service::config::ByteSize;
use larder_types::{Clock, ErrorCode};
use tokio::sync::mpsc;

use crate::{
    held_store::Held,
    limits::{both_ways, great_cities},
    shop::{ints, references, service, shop, table},
};

fn city_of(customers: &[i64]) -> OnlineRequest {
    references(&["profile.city"], vec![("customer_id", ints(customers))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_the_order_of_requests_though_the_first_takes_longest() {
    let sandbox = shop().await;
    // The first request has three entities, the others one each.
    sandbox.store.hold(Held::Of(3));
    let first = std::iter::once(city_of(&[1, 2, 3]));
    let others = (0..60).map(|number| city_of(&[number % 5]));
    let requests = stream::iter(first.chain(others).collect::<Vec<_>>());
    let answers = sandbox.client().stream_online_features(requests).await.unwrap();
    let answers = tokio::spawn(answers.collect::<Vec<_>>());
    // Others are read while the first waits.
    sandbox.store.arrived(5).await;
    sandbox.store.hold(Held::Nothing);
    let answers = answers.await.unwrap();
    let shown: Vec<_> = answers.iter().map(|answer| table(answer.as_ref().unwrap()).remove(0).1).collect();
    let cities = ["NOT_FOUND", "Bern", "Oslo", "Rome", "Lyon"];
    assert_eq!(shown[0], ["Bern", "Oslo", "Rome"]);
    for (number, shown) in shown[1..].iter().enumerate() {
        assert_eq!(shown, &[cities[number % 5]]);
    }
    assert_eq!(shown.len(), 61);
}

#[tokio::test]
async fn each_request_is_judged_by_its_own_instant() {
    let sandbox = shop().await;
    let (requests, mut asked) = mpsc::channel(1);
    let mut answers =
        sandbox.client().stream_online_features(stream::poll_fn(move |cx| asked.poll_recv(cx))).await.unwrap();
    for expected in ["Lyon", "OUTSIDE_MAX_AGE"] {
        requests.send(city_of(&[4])).await.unwrap();
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!(table(&answer)[0].1, [expected]);
        assert_eq!(answer.replay.unwrap().instant, sandbox.clock.now());
        sandbox.clock.advance(Duration::from_secs(2 * 3_600));
    }
    drop(requests);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn the_first_request_that_cannot_be_answered_ends_the_stream_with_its_error() {
    let sandbox = shop().await;
    let wrong = references(&["profile.town"], vec![("customer_id", ints(&[1]))]);
    let requests = stream::iter([city_of(&[1]), city_of(&[2]), wrong, city_of(&[3])]);
    let answers: Vec<_> = sandbox.client().stream_online_features(requests).await.unwrap().collect().await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(answers[2].as_ref().unwrap_err().code(), ErrorCode::NotFound);
}

/// Of a stream, one is made when those before it have been taken: together they have more than there is room for.
#[tokio::test]
async fn great_answers_of_a_stream_are_made_one_after_the_other() {
    let sandbox = shop().await;
    great_cities(&sandbox, 2 << 20).await;
    let endpoint = sandbox.serving_with(|config| {
        config.limits.max_answer_bytes = ByteSize::mebibytes(9);
        config.answers_memory = ByteSize::mebibytes(9);
    });
    let (clients, _open) = both_ways(endpoint).await;
    for client in clients {
        let asked = (0..24).map(|number| if number % 3 == 0 { city_of(&[1, 2, 3, 4]) } else { city_of(&[number]) });
        let requests = stream::iter(asked.collect::<Vec<_>>());
        let answers: Vec<_> = client.stream_online_features(requests).await.unwrap().collect().await;
        let lengths: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().features[0].values.len()).collect();
        assert_eq!(lengths, [4, 1, 1].repeat(8));
    }
}

/// The limits are those of one message: a stream takes any number of entities.
#[tokio::test]
async fn limits_hold_for_each_message_of_a_stream() {
    let sandbox = shop().await;
    let endpoint = sandbox.serving_with(|config| {
        config.limits.max_values = 30;
        config.server.max_request_bytes = ByteSize(1_024);
        config.server.max_streams = 1;
    });
    let ([client, over_a_port], _open) = both_ways(endpoint).await;
    let all = |count: i64| service("profile_service", vec![("customer_id", ints(&(1..=count).collect::<Vec<_>>()))]);
    let cases = [
        (all(11), ErrorCode::ResourceExhausted, "serving.limits.max_values"),
        (all(400), ErrorCode::InvalidArgument, "server.max_request_bytes"),
    ];
    for (too_much, code, limit) in cases {
        let requests = stream::iter((0..50).map(|_| all(10)).chain([too_much]).collect::<Vec<_>>());
        let answers: Vec<_> = client.stream_online_features(requests).await.unwrap().collect().await;
        assert_eq!(answers.len(), 51);
        let error = answers[50].as_ref().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(limit), "{error}");
        assert!(answers[..50].iter().all(Result::is_ok));
    }
    let open = over_a_port.stream_online_features(stream::pending()).await.unwrap();
    let Err(error) = over_a_port.stream_online_features(stream::pending()).await else {
        panic!("two streams are open")
    };
    assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
    assert!(error.message().contains("server.max_streams"), "{error}");
    drop(open);
}
