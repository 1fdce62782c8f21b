//! A store fails: the error says of each target whether it has the rows, and the batch can be sent again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use larder_client::{BatchFailure, PushBatch, RowResult, Target, TargetState, Written};
use larder_connections::test_suite::UnreliableStore;
use larder_service::config::ByteSize;
use larder_types::{Error, ErrorCode, Revision};

use crate::{
    failing::Fate,
    sandbox::{Sandbox, assert_results},
};

/// What an error says of each target.
fn told(error: &Error) -> Vec<(&str, &str)> {
    let of_target = error.violations().iter().filter(|violation| violation.field.starts_with("targets."));
    of_target.map(|violation| (violation.field.as_str(), violation.description.as_str())).collect()
}

async fn stream_one(sandbox: &Sandbox, batch: PushBatch) -> BatchFailure {
    let mut outcomes = sandbox.client().push_stream(stream::iter([batch]), 1).await.unwrap();
    outcomes.next().await.unwrap().unwrap().result.unwrap_err()
}

fn states(written: &[(Target, Written)]) -> Vec<TargetState> {
    written.iter().map(|(target, written)| TargetState { target: *target, written: *written }).collect()
}

/// A batch of `target` fails by the unary call and by the stream, and both say the same of it.
async fn assert_fails(sandbox: &Sandbox, target: Target, expected: &[(Target, Written)]) {
    let batch = PushBatch { target, ..sandbox.batch("again", &["a"], &[1]) };
    let error = sandbox.push(batch.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    let words = expected.iter().map(|(target, written)| {
        let target = if *target == Target::Offline { "targets.offline" } else { "targets.online" };
        let written = match written {
            Written::Yes => "written",
            Written::No => "not written",
            Written::NotKnown => "not known",
        };
        (target, written)
    });
    assert_eq!(told(&error), words.collect::<Vec<_>>(), "{error}");
    let batch_id = error.violations().iter().find(|violation| violation.field == "batch_id");
    let is_begun = expected.iter().any(|(_, written)| *written != Written::No);
    assert_eq!(batch_id.map(|violation| violation.description.as_str()), is_begun.then_some("again"));
    let failure = stream_one(sandbox, batch).await;
    assert_eq!(failure.error.code(), ErrorCode::Unavailable);
    assert_eq!(failure.targets, states(expected));
}

#[tokio::test]
async fn a_failing_online_store_leaves_the_log_written_and_itself_not_known() {
    for fate in [Fate::Lost, Fate::Unanswered] {
        let sandbox = Sandbox::start().await;
        sandbox.store.let_be(fate);
        let log_has = [(Target::Offline, Written::Yes), (Target::Online, Written::NotKnown)];
        assert_fails(&sandbox, Target::OnlineAndOffline, &log_has).await;
        assert_fails(&sandbox, Target::Online, &[(Target::Online, Written::NotKnown)]).await;
        let batch = sandbox.batch("again", &["a"], &[1]);
        assert_results(
            &sandbox.push(PushBatch { target: Target::Offline, ..batch.clone() }).await.unwrap(),
            &[RowResult::Written],
        );

        sandbox.store.let_be(Fate::Done);
        assert_results(&sandbox.push(batch).await.unwrap(), &[RowResult::Written]);
        let served = sandbox.served(&["a"]).await;
        assert_eq!(served[0].0, "1");
        // However often it was sent, it is one row, and the one that is served.
        assert_eq!(sandbox.logged().await.len(), 4);
        let kept = sandbox.compacted().await;
        assert_eq!((kept.len(), kept[0].created_time), (1, served[0].1.unwrap().created_time.as_micros()));
    }
}

#[tokio::test]
async fn a_failing_log_is_not_known_and_the_online_store_not_written() {
    let sandbox = Sandbox::start().await;
    // The writer is known to the log; only its segments fail.
    sandbox.push(sandbox.batch("first", &["z"], &[0])).await.unwrap();
    sandbox.disk.break_down(true);
    let nothing = [(Target::Offline, Written::NotKnown), (Target::Online, Written::No)];
    let batch = sandbox.batch("again", &["a"], &[1]);
    let error = sandbox.push(batch.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    assert_eq!(told(&error), [("targets.offline", "not known"), ("targets.online", "not written")]);
    assert_eq!(sandbox.served(&["a"]).await[0].0, "NOT_FOUND");
    // What comes after it waits for it to be settled, and surely is not there.
    let failure = stream_one(&sandbox, sandbox.batch("next", &["b"], &[2])).await;
    let [(offline, _), online] = nothing;
    assert_eq!(failure.targets, states(&[(offline, Written::No), online]));
    // The online store does not need the log.
    let online = PushBatch { target: Target::Online, ..sandbox.batch("online", &["c"], &[3]) };
    assert_results(&sandbox.push(online).await.unwrap(), &[RowResult::Written]);

    sandbox.disk.break_down(false);
    assert_results(&sandbox.push(batch).await.unwrap(), &[RowResult::Written]);
    assert_eq!(sandbox.served(&["a"]).await[0].0, "1");
    let kept: Vec<_> = sandbox.compacted().await.into_iter().map(|row| row.batch).collect();
    assert_eq!(kept, ["again", "first"]);
}

#[tokio::test]
async fn a_log_that_takes_no_more_rows_is_surely_not_written() {
    let sandbox = Sandbox::start().await;
    sandbox.log.close().await;
    let nothing = [(Target::Offline, Written::No), (Target::Online, Written::No)];
    assert_fails(&sandbox, Target::OnlineAndOffline, &nothing).await;
    assert_fails(&sandbox, Target::Offline, &nothing[..1]).await;
    assert_eq!(sandbox.served(&["a"]).await[0].0, "NOT_FOUND");
    assert_eq!(sandbox.logged().await, []);
}

#[tokio::test]
async fn the_same_batch_sent_again_and_again_is_one_row_in_the_log() {
    let sandbox = Sandbox::start().await;
    let batch = sandbox.batch("same", &["a", "b"], &[1, 2]);
    for round in 0..5 {
        let answer = sandbox.push(batch.clone()).await.unwrap();
        assert_results(&answer, &[RowResult::Written; 2]);
        assert_eq!(answer.batch_id, "same");
        sandbox.clock.advance(Duration::from_micros(round));
    }
    let kept = sandbox.compacted().await;
    let identities: Vec<_> = kept.iter().map(|row| (row.batch.as_str(), row.row)).collect();
    assert_eq!(identities, [("same", 0), ("same", 1)]);
    for (row, (value, version)) in kept.iter().zip(sandbox.served(&["a", "b"]).await) {
        assert_eq!(value, row.clicks.unwrap().to_string());
        assert_eq!(version.unwrap().created_time.as_micros(), row.created_time);
        assert_eq!(version.unwrap().event_time.as_micros(), row.event_time);
    }
}

/// Requests and answers of both stores are lost at any time. Who sends a batch until it is acknowledged finds it once in
/// the log, and online what is newest in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_sent_until_it_is_acknowledged_counts_once() {
    const WRITERS: i64 = 3;
    const BATCHES: i64 = 8;
    let losing = |store| Arc::new(UnreliableStore::new(store, 11, 150)) as Arc<dyn object_store::ObjectStore>;
    let sandbox = Sandbox::over(losing, |_| ()).await;
    sandbox.store.let_be(Fate::InTurns);
    let writers = (0..WRITERS).map(|writer| {
        let client = sandbox.client();
        let batch = |number| {
            let customers = [&*format!("own {writer}"), "shared", &*format!("turn {}", number % 2)];
            let id = format!("{writer}-{number}");
            sandbox.batch(&id, &customers, &[number, writer * 100 + number, writer * 100 + number])
        };
        let batches: Vec<PushBatch> = (0..BATCHES).map(batch).collect();
        tokio::spawn(async move {
            let mut failed = 0;
            for batch in batches {
                while let Err(error) = client.push(batch.clone()).await {
                    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
                    failed += 1;
                }
            }
            failed
        })
    });
    let mut failed = 0;
    for writer in writers.collect::<Vec<_>>() {
        failed += writer.await.unwrap();
    }
    assert!(failed >= BATCHES * WRITERS, "{failed} calls failed");

    let kept = sandbox.compacted().await;
    let identities: Vec<_> = kept.iter().map(|row| (row.batch.clone(), row.row)).collect();
    let batches = (0..WRITERS).flat_map(|writer| (0..BATCHES).map(move |number| format!("{writer}-{number}")));
    let rows = batches.flat_map(|batch| (0..3).map(move |row| (batch.clone(), row)));
    assert_eq!(identities, rows.collect::<Vec<_>>());
    let mut newest = BTreeMap::new();
    for row in &kept {
        let known = newest.entry(row.customer.as_str()).or_insert(row);
        *known = [*known, row].into_iter().max_by_key(|row| (row.event_time, row.created_time)).unwrap();
    }
    let customers: Vec<&str> = newest.keys().copied().collect();
    assert_eq!(customers.len(), 3 + usize::try_from(WRITERS).unwrap());
    for (row, (value, version)) in newest.values().zip(sandbox.served(&customers).await) {
        assert_eq!(
            (value, version.unwrap().created_time.as_micros()),
            (row.clicks.unwrap().to_string(), row.created_time)
        );
    }
}

/// The log has the rows already: were the rest given up, training would know of them and serving would not.
#[tokio::test]
async fn a_batch_whose_caller_goes_away_is_brought_to_its_end_before_the_process_ends() {
    let sandbox = Sandbox::start().await;
    sandbox.store.let_be(Fate::Held);
    let (client, batch) = (sandbox.client(), sandbox.batch("left", &["ann"], &[7]));
    let caller = tokio::spawn(async move { client.push(batch).await });
    sandbox.store.arrived(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let mut stopping = Box::pin(sandbox.tasks.stop(Duration::from_secs(30)));
    assert!((&mut stopping).now_or_never().is_none(), "it waits for the batch");
    sandbox.store.let_be(Fate::Done);
    stopping.await.unwrap();
    sandbox.log.close().await;
    assert_eq!(sandbox.served(&["ann"]).await[0].0, "7");
    assert_eq!(sandbox.logged().await.len(), 1);
}

/// The server's own answer at the deadline could not say so, and would not name the batch.
#[tokio::test]
async fn a_batch_that_takes_longer_than_its_call_is_answered_before_with_what_is_not_known() {
    let sandbox = Sandbox::start().await;
    sandbox.push(sandbox.batch("first", &["z"], &[0])).await.unwrap();
    sandbox.store.let_be(Fate::Held);
    let quick = sandbox.client().within(Duration::from_secs(1));
    let error = quick.push(sandbox.batch("late", &["ann"], &[7])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error}");
    assert_eq!(told(&error), [("targets.offline", "not known"), ("targets.online", "not known")], "{error}");
    let batch_id = error.violations().iter().find(|violation| violation.field == "batch_id");
    assert_eq!(batch_id.map(|violation| violation.description.as_str()), Some("late"));
    // Before anything is begun it is known.
    let early =
        PushBatch { min_revision: Revision(9), target: Target::Offline, ..sandbox.batch("early", &["a"], &[1]) };
    let error = quick.push(early).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeadlineExceeded, "{error}");
    assert!(error.message().contains("is at revision 1 here, and 9 did not come within"), "{error}");
    assert_eq!(told(&error), [("targets.offline", "not written")], "{error}");

    sandbox.store.let_be(Fate::Done);
    sandbox.tasks.stop(Duration::from_secs(30)).await.unwrap();
    assert_eq!(sandbox.served(&["ann"]).await[0].0, "7", "it goes on without its caller");
}

/// A batch whose caller went still takes memory.
#[tokio::test]
async fn a_batch_keeps_its_place_until_it_is_brought_in_though_its_caller_goes() {
    for by_stream in [false, true] {
        // The batch of a stream takes an eighth at most, all of them a half.
        let room = ByteSize(if by_stream { 8 << 10 } else { 1 << 10 });
        let sandbox = Sandbox::with(|config| config.max_in_flight_bytes = room).await;
        sandbox.store.let_be(Fate::Held);
        for number in 0..if by_stream { 4 } else { 1 } {
            let (client, batch) = (sandbox.client(), sandbox.batch(&number.to_string(), &["ann"], &[7]));
            let caller = tokio::spawn(async move {
                if by_stream {
                    let outcomes = client.push_stream(stream::iter([batch]), 1).await;
                    outcomes.unwrap().collect::<Vec<_>>().await;
                } else {
                    client.push(batch).await.unwrap();
                }
            });
            sandbox.store.arrived(1).await;
            caller.abort();
            assert!(caller.await.unwrap_err().is_cancelled());
        }
        let quick = sandbox.client().within(Duration::from_secs(1));
        let next = || sandbox.batch("next", &["bob"; 200], &[1; 200]);
        let error = quick.push(next()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ResourceExhausted, "{error}");
        sandbox.store.let_be(Fate::Done);
        sandbox.push(next()).await.unwrap();
    }
}
