//! The streaming form: an acknowledgement for each batch, in order, and no more on its way than is good.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use larder_client::{PushBatch, PushClient, RowResult, Target, TargetState, Transport, Written};
use larder_service::config::ByteSize;
use larder_types::{Clock, ErrorCode};

use crate::{
    failing::Fate,
    sandbox::{Sandbox, assert_results, columns, name},
};

/// As many batches of a stream are worked on at the same time.
const AHEAD: usize = 64;

async fn both_ways(sandbox: &Sandbox) -> [PushClient; 2] {
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(sandbox.endpoint.clone().serve(listener, Default::default()));
    [sandbox.client(), PushClient::new(Transport::connect(&address).unwrap())]
}

#[tokio::test]
async fn each_batch_is_acknowledged_and_a_bad_one_does_not_end_the_stream() {
    let sandbox = Sandbox::start().await;
    for (way, client) in both_ways(&sandbox).await.into_iter().enumerate() {
        let id = |number: i64| format!("{way}-{number}");
        let mut batches: Vec<PushBatch> =
            (0..30).map(|number| sandbox.batch(&id(number), &[&id(number)], &[number])).collect();
        batches[3].columns.clear();
        batches[7].source = name("click");
        batches[11].event_times[0] = larder_types::Timestamp::MAX;
        batches[12].target = Target::Online;
        batches[12].columns.clear();
        batches[13].batch_id = Some("x".repeat(1_000));
        let outcomes: Vec<_> = client.push_stream(stream::iter(batches), 8).await.unwrap().collect().await;
        assert_eq!(outcomes.len(), 30);
        let (no_log, not_online) = ((Target::Offline, Written::No), (Target::Online, Written::No));
        for (number, outcome) in (0..).zip(outcomes) {
            let outcome = outcome.unwrap();
            let (code, targets) = match number {
                3 | 13 => (ErrorCode::InvalidArgument, vec![no_log, not_online]),
                7 => (ErrorCode::NotFound, vec![no_log, not_online]),
                12 => (ErrorCode::InvalidArgument, vec![not_online]),
                11 => {
                    assert_results(&outcome.result.unwrap(), &[RowResult::Refused]);
                    continue;
                }
                _ => {
                    let answer = outcome.result.unwrap();
                    assert_eq!((outcome.batch_id, answer.batch_id.clone()), (id(number), id(number)));
                    assert_results(&answer, &[RowResult::Written]);
                    continue;
                }
            };
            let failure = outcome.result.unwrap_err();
            assert_eq!(failure.error.code(), code, "{number}: {}", failure.error);
            let targets: Vec<_> =
                targets.into_iter().map(|(target, written)| TargetState { target, written }).collect();
            assert_eq!(failure.targets, targets, "{number}");
        }
        assert_eq!(
            sandbox.served(&[&id(0), &id(29), &id(3)]).await.iter().map(|(value, _)| &**value).collect::<Vec<_>>(),
            ["0", "29", "NOT_FOUND"]
        );
    }
    assert_eq!(sandbox.logged().await.len(), 50);
}

/// A message over the size limit cannot be told from others: it ends the stream, after all that came before it.
#[tokio::test]
async fn a_message_over_the_size_limit_ends_the_stream_after_those_before_it() {
    let sandbox = Sandbox::with(|config| config.server.max_request_bytes = ByteSize(1_024)).await;
    for (way, client) in both_ways(&sandbox).await.into_iter().enumerate() {
        let good = (0..20).map(|number| sandbox.batch(&format!("{way}-{number}"), &["a"], &[number]));
        let great = sandbox.batch("great", &["a"; 200], &[0; 200]);
        let last = sandbox.batch("last", &["a"], &[0]);
        let batches: Vec<_> = good.chain([great, last]).collect();
        let outcomes: Vec<_> = client.push_stream(stream::iter(batches), 50).await.unwrap().collect().await;
        assert_eq!(outcomes.len(), 21);
        for outcome in &outcomes[..20] {
            assert!(outcome.as_ref().unwrap().result.is_ok());
        }
        let error = outcomes[20].as_ref().unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        assert!(error.message().contains("server.max_request_bytes"), "{error}");
    }
    assert!(sandbox.logged().await.iter().all(|row| row.batch != "last"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_works_on_so_many_batches_at_once_and_no_more() {
    let sandbox = Sandbox::start().await;
    for (way, client) in both_ways(&sandbox).await.into_iter().enumerate() {
        sandbox.store.let_be(Fate::Held);
        let batches: Vec<_> = (0..200)
            .map(|number| PushBatch {
                target: Target::Online,
                ..sandbox.batch(&format!("{way}-{number}"), &[&format!("{way}-{number}")], &[number])
            })
            .collect();
        let outcomes = client.push_stream(stream::iter(batches), 1_000).await.unwrap();
        let outcomes = tokio::spawn(outcomes.collect::<Vec<_>>());
        sandbox.store.arrived(u32::try_from(AHEAD).unwrap()).await;
        sandbox.store.let_be(Fate::Done);
        let outcomes = outcomes.await.unwrap();
        let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().batch_id.clone()).collect();
        assert_eq!(ids, (0..200).map(|number| format!("{way}-{number}")).collect::<Vec<_>>());
        sandbox.store.arrived(u32::try_from(200 - AHEAD).unwrap()).await;
    }
    assert_eq!(sandbox.store.most_at_once(), AHEAD);
}

/// A sender that is quicker than the service waits, however small what it sends is: nothing ends its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_many_small_batches_waits_for_the_service() {
    const BATCHES: usize = 3_000;
    let sandbox = Sandbox::start().await;
    let [_, client] = both_ways(&sandbox).await;
    sandbox.store.let_be(Fate::Held);
    let batch = |number: usize| PushBatch {
        target: Target::Online,
        ..sandbox.batch(&number.to_string(), &["a"], &[i64::try_from(number).unwrap()])
    };
    let batches: Vec<_> = (0..BATCHES).map(batch).collect();
    let outcomes = client.push_stream(stream::iter(batches), BATCHES).await.unwrap();
    let outcomes = tokio::spawn(outcomes.collect::<Vec<_>>());
    sandbox.store.arrived(u32::try_from(AHEAD).unwrap()).await;
    // Time for all that the windows let through to come and wait.
    tokio::time::sleep(Duration::from_millis(500)).await;
    sandbox.store.let_be(Fate::Done);
    let outcomes = outcomes.await.unwrap();
    let good = outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(|outcome| outcome.result.is_ok())).count();
    assert_eq!((outcomes.len(), good), (BATCHES, BATCHES), "{:?}", outcomes.last());
}

/// Of rows of one event time the one that was sent last is the newest, however long a batch before it takes to be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_row_that_was_sent_is_the_newest() {
    const ROWS: usize = 5_000;
    let sandbox = Sandbox::start().await;
    for (way, client) in both_ways(&sandbox).await.into_iter().enumerate() {
        let customer = format!("customer {way}");
        let batches = (0..6).map(|number| {
            let rows = if number % 2 == 0 { ROWS } else { 1 };
            let values = vec![i64::from(number); rows];
            PushBatch {
                target: Target::Online,
                ..sandbox.batch(&format!("{way}-{number}"), &vec![customer.as_str(); rows], &values)
            }
        });
        let outcomes = client.push_stream(stream::iter(batches.collect::<Vec<_>>()), 6).await.unwrap();
        let outcomes: Vec<_> = outcomes.collect().await;
        assert!(outcomes.len() == 6 && outcomes.iter().all(|outcome| outcome.as_ref().unwrap().result.is_ok()));
        assert_eq!(sandbox.served(&[&customer]).await[0].0, "5");
    }
}

/// The client takes no more from its source than may be unacknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sends_no_more_than_may_be_unacknowledged() {
    let sandbox = Sandbox::start().await;
    sandbox.store.let_be(Fate::Held);
    let batches: Vec<_> = (0..20).map(|number| sandbox.batch(&number.to_string(), &["a"], &[number])).collect();
    let outcomes = sandbox.client().push_stream(stream::iter(batches), 3).await.unwrap();
    let outcomes = tokio::spawn(outcomes.collect::<Vec<_>>());
    sandbox.store.arrived(3).await;
    sandbox.store.let_be(Fate::Done);
    assert_eq!(outcomes.await.unwrap().len(), 20);
    assert_eq!(sandbox.store.most_at_once(), 3);
    assert_eq!(sandbox.served(&["a"]).await[0].0, "19", "the last of a stream is the newest");
}

/// Batches of so many rows: few bytes, and much to do for the stores.
fn great_batches(sandbox: &Sandbox, count: i64, rows: i64) -> impl Iterator<Item = PushBatch> + use<> {
    let (template, now) = (sandbox.batch("", &[], &[]), sandbox.clock.now());
    (0..count).map(move |number: i64| {
        let customers: Vec<String> = (0..rows).map(|row| format!("{number}-{row}")).collect();
        let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
        PushBatch {
            batch_id: Some(number.to_string()),
            columns: columns(&customers, &vec![number; customers.len()]),
            event_times: vec![now; customers.len()],
            ..template.clone()
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_of_one_row_is_answered_beside_a_stream_that_sends_all_it_can() {
    const BATCHES: usize = 3;
    let sandbox = Sandbox::start().await;
    let batches = great_batches(&sandbox, 3, 10_000);
    let outcomes = sandbox.client().push_stream(stream::iter(batches), BATCHES).await.unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    let streaming = tokio::spawn(outcomes.for_each(move |outcome| {
        assert!(outcome.unwrap().result.is_ok());
        counted.fetch_add(1, Ordering::SeqCst);
        async {}
    }));
    sandbox.store.arrived(3).await;
    sandbox.push(sandbox.batch("one", &["ann"], &[7])).await.unwrap();
    let before = answered.load(Ordering::SeqCst);
    assert!(before < BATCHES, "all of the stream was written before");
    assert_eq!(sandbox.served(&["ann"]).await[0].0, "7");
    streaming.await.unwrap();
    assert_eq!(answered.load(Ordering::SeqCst), BATCHES);
}

/// Streams wait for each other, and leave room for calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_of_one_row_finds_room_beside_many_streams_that_wait_for_it() {
    const STREAMS: usize = 16;
    let sandbox = Sandbox::with(|config| config.max_in_flight_bytes = ByteSize::mebibytes(1)).await;
    sandbox.store.let_be(Fate::Held);
    let mut streaming = Vec::new();
    for _ in 0..STREAMS {
        let batches = great_batches(&sandbox, 3, 2_000);
        let outcomes = sandbox.client().push_stream(stream::iter(batches), 3).await.unwrap();
        streaming.push(tokio::spawn(outcomes.collect::<Vec<_>>()));
    }
    sandbox.store.arrived(4).await;
    // Time for more to come, if they could.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(sandbox.store.most_at_once() < STREAMS);
    let one = PushBatch { target: Target::Offline, ..sandbox.batch("one", &["ann"], &[7]) };
    tokio::time::timeout(Duration::from_secs(2), sandbox.push(one)).await.unwrap().unwrap();
    sandbox.store.let_be(Fate::Done);
    for outcomes in streaming {
        let outcomes = outcomes.await.unwrap();
        assert!(outcomes.len() == 3 && outcomes.iter().all(|outcome| outcome.as_ref().unwrap().result.is_ok()));
    }
}

/// What was not begun is not worked off when nobody waits for it any more; what was begun is brought to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_wait_are_dropped_with_their_stream() {
    let sandbox = Sandbox::start().await;
    let client = sandbox.client();
    sandbox.store.let_be(Fate::Held);
    let batches = great_batches(&sandbox, 64, 20_000);
    let outcomes = client.push_stream(stream::iter(batches), 64).await.unwrap();
    let streaming = tokio::spawn(outcomes.collect::<Vec<_>>());
    sandbox.store.arrived(3).await;
    // Time for more to come, if they could.
    tokio::time::sleep(Duration::from_millis(500)).await;
    streaming.abort();
    assert!(streaming.await.unwrap_err().is_cancelled());
    tokio::time::sleep(Duration::from_millis(500)).await;
    sandbox.store.let_be(Fate::Lost);
    sandbox.tasks.stop(Duration::from_secs(60)).await.unwrap();
    let batches: BTreeSet<_> = sandbox.logged().await.into_iter().map(|row| row.batch).collect();
    assert_eq!(batches.into_iter().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(sandbox.store.most_at_once(), 3);
}
