//! Where rows go, and what each is answered.

use std::time::Duration;

use larder_client::{PushBatch, RowResult, Target};
use larder_types::Clock;

use crate::sandbox::{Sandbox, assert_results, micros, name, served, texts, with_column};

const DAY: i64 = 86_400_000_000;

#[tokio::test]
async fn rows_go_to_the_targets_that_were_asked_for() {
    let sandbox = Sandbox::start().await;
    for (id, target) in [("on", Target::Online), ("off", Target::Offline), ("both", Target::OnlineAndOffline)] {
        let batch = PushBatch { target, ..sandbox.batch(id, &[id], &[5]) };
        assert_results(&sandbox.push(batch).await.unwrap(), &[RowResult::Written]);
    }
    let logged: Vec<_> = sandbox.logged().await.into_iter().map(|row| row.batch).collect();
    assert_eq!(logged, ["both", "off"]);
    let served: Vec<_> = sandbox.served(&["on", "off", "both"]).await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(served, ["5", "NOT_FOUND", "5"]);
}

#[tokio::test]
async fn each_row_is_answered_by_what_became_of_it() {
    let sandbox = Sandbox::start().await;
    let now = sandbox.clock.now();
    let at = |customer: &str, offset: i64, created: i64| PushBatch {
        event_times: vec![micros(now, offset)],
        created_times: vec![micros(now, created)],
        ..sandbox.batch("", &[customer], &[offset])
    };
    let cases = [
        // (event, created) orders rows.
        (at("a", 0, 0), RowResult::Written),
        (at("a", 0, 0), RowResult::Older),
        (at("a", 0, -1), RowResult::Older),
        (at("a", -1, 9), RowResult::Older),
        (at("a", 0, 1), RowResult::Written),
        (at("a", 1, -9), RowResult::Written),
        // A day old is not past the ttl of a day; beyond it there is the view of a week, beyond that none.
        (at("b", -DAY, 0), RowResult::Written),
        (at("c", -DAY - 1, 0), RowResult::Written),
        (at("c", -DAY - 2, 0), RowResult::Older),
        (at("d", -7 * DAY - 1, 0), RowResult::Expired),
    ];
    let count = cases.len();
    for (number, (batch, expected)) in cases.into_iter().enumerate() {
        let batch = PushBatch { batch_id: Some(number.to_string()), ..batch };
        assert_eq!(sandbox.push(batch).await.unwrap().results, [expected], "{number}");
    }
    assert_eq!(sandbox.logged().await.len(), count, "whatever became of them online, all are in the log");
    let customers = ["a", "b", "c", "d"];
    let pages = served(&sandbox.serving(), "last_page.last", &customers).await;
    let pages: Vec<_> = pages.iter().map(|(page, _)| page.as_str()).collect();
    assert_eq!(pages, ["/1", &format!("/{}", -DAY), &format!("/{}", -DAY - 1), "NOT_FOUND"]);
    let clicks: Vec<_> = sandbox.served(&customers).await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(clicks, ["1", &(-DAY).to_string(), "NOT_FOUND", "NOT_FOUND"]);
}

/// Nothing is to be done online, so the row is where it was to go.
#[tokio::test]
async fn rows_of_a_source_that_is_not_served_are_written() {
    let sandbox = Sandbox::start().await;
    let batch = PushBatch {
        source: name("notes"),
        columns: vec![("customer_id".to_owned(), texts(&["a"])), ("note".to_owned(), texts(&["hi"]))],
        ..sandbox.batch("n", &["a"], &[0])
    };
    for target in [Target::OnlineAndOffline, Target::Offline] {
        assert_results(&sandbox.push(PushBatch { target, ..batch.clone() }).await.unwrap(), &[RowResult::Written]);
    }
}

#[tokio::test]
async fn a_deletion_needs_its_keys_alone_and_is_ordered_like_any_row() {
    let sandbox = Sandbox::start().await;
    sandbox.push(sandbox.batch("put", &["a", "b", "c"], &[1, 2, 3])).await.unwrap();
    sandbox.clock.advance(Duration::from_secs(1));
    let columns = vec![("customer_id".to_owned(), texts(&["a"]))];
    let only_keys = PushBatch { columns, deleted: vec![true], ..sandbox.batch("del", &["a"], &[0]) };
    assert_results(&sandbox.push(only_keys).await.unwrap(), &[RowResult::Written]);
    let mixed = PushBatch { deleted: vec![true, false], ..sandbox.batch("mixed", &["b", "c"], &[20, 30]) };
    assert_results(&sandbox.push(mixed).await.unwrap(), &[RowResult::Written; 2]);
    let values = async |sandbox: &Sandbox| {
        let served = sandbox.served(&["a", "b", "c"]).await;
        served.into_iter().map(|(value, _)| value).collect::<Vec<_>>()
    };
    assert_eq!(values(&sandbox).await, ["NOT_FOUND", "NOT_FOUND", "30"]);

    // What happened before does not bring it back, what happens later does.
    let earlier = micros(sandbox.clock.now(), -1);
    let before = PushBatch { event_times: vec![earlier], ..sandbox.batch("before", &["a"], &[7]) };
    assert_results(&sandbox.push(before).await.unwrap(), &[RowResult::Older]);
    assert_eq!(values(&sandbox).await[0], "NOT_FOUND");
    sandbox.clock.advance(Duration::from_secs(1));
    sandbox.push(sandbox.batch("after", &["a"], &[8])).await.unwrap();
    assert_eq!(values(&sandbox).await[0], "8");

    // In the log too, a deletion has no values, whatever it came with.
    let deletions: Vec<_> = sandbox.logged().await.into_iter().filter(|row| row.deleted).collect();
    let deletions: Vec<_> = deletions.iter().map(|row| (row.customer.as_str(), row.clicks)).collect();
    assert_eq!(deletions, [("a", None), ("b", None)]);
}

#[tokio::test]
async fn a_null_is_a_value_like_any_other() {
    let sandbox = Sandbox::start().await;
    sandbox.push(sandbox.batch("one", &["a"], &[1])).await.unwrap();
    let nothing = std::sync::Arc::new(arrow::array::Int64Array::from(vec![None]));
    let batch = with_column(sandbox.batch("null", &["a"], &[0]), "clicks", nothing);
    assert_results(&sandbox.push(batch).await.unwrap(), &[RowResult::Written]);
    assert_eq!(sandbox.served(&["a"]).await[0].0, "NULL");
}
