//! What is wrong with a row refuses that row, and the others go in.

use std::{sync::Arc, time::Duration};

use arrow::array::{ArrayRef, StringArray};
use larder_client::{PushBatch, RowResult};
use larder_service::config::Span;
use larder_types::{Clock, Timestamp};

use crate::sandbox::{Sandbox, assert_results, micros, with_column};

const MINUTE: i64 = 60_000_000;

#[tokio::test]
async fn rows_are_refused_one_by_one_with_the_reason() {
    let sandbox = Sandbox::start().await;
    let now = sandbox.clock.now();
    let long = "x".repeat(5_000);
    let customers: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a"), None, Some("c"), Some(&*long), Some("e"), None, Some("g")]));
    let batch = sandbox.batch("b", &[""; 7], &[1, 2, 3, 4, 5, 6, 7]);
    // Exactly as far ahead as may be, and a microsecond further.
    let ahead = [0, 0, MINUTE, 0, MINUTE + 1, 2 * MINUTE, -MINUTE];
    let event_times = ahead.iter().map(|offset| micros(now, *offset)).collect();
    let batch = PushBatch { event_times, ..with_column(batch, "customer_id", customers) };
    let answer = sandbox.push(batch).await.unwrap();
    let (written, refused) = (RowResult::Written, RowResult::Refused);
    assert_results(&answer, &[written, refused, written, refused, refused, refused, written]);
    let expected = [
        (1, "customer_id is null: a join key must have a value"),
        (3, "at most 4096 are allowed"),
        (4, "is more than 1m beyond the service's clock, 2026-01-01T00:00:00Z"),
        (5, "customer_id is null"),
    ];
    assert_eq!(answer.refusals.iter().map(|refusal| refusal.row).collect::<Vec<_>>(), [1, 3, 4, 5]);
    for (refusal, (row, reason)) in answer.refusals.iter().zip(expected) {
        assert!(refusal.reason.contains(reason), "{row}: {}", refusal.reason);
    }
    // Those that went in keep their places, in the log as in the answer.
    let logged: Vec<_> = sandbox.logged().await.into_iter().map(|row| (row.row, row.customer, row.clicks)).collect();
    let row = |number, customer: &str, clicks| (number, customer.to_owned(), Some(clicks));
    assert_eq!(logged, [row(0, "a", 1), row(2, "c", 3), row(6, "g", 7)]);
    let served = sandbox.served(&["a", "c", "e", "g"]).await;
    assert_eq!(served.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>(), ["1", "3", "NOT_FOUND", "7"]);
    assert_eq!(served[1].1.unwrap().event_time, micros(now, MINUTE));
}

#[tokio::test]
async fn a_batch_of_refused_rows_alone_is_answered_and_written_nowhere() {
    let sandbox = Sandbox::with(|config| config.max_ahead = Span(Duration::from_millis(1_500))).await;
    let late = micros(sandbox.clock.now(), 1_500_001);
    let batch = PushBatch { event_times: vec![late; 2], ..sandbox.batch("b", &["a", "b"], &[1, 2]) };
    let answer = sandbox.push(batch.clone()).await.unwrap();
    assert_results(&answer, &[RowResult::Refused; 2]);
    assert!(answer.refusals[0].reason.contains("more than 1500ms beyond"), "{}", answer.refusals[0].reason);
    assert_eq!(sandbox.logged().await, []);
    // The same batch is right a microsecond later.
    sandbox.clock.advance(Duration::from_micros(1));
    assert_results(&sandbox.push(batch).await.unwrap(), &[RowResult::Written; 2]);
}

/// Rows of sources without created times have the lowest one: a pushed row with it would tie with them.
#[tokio::test]
async fn a_row_with_the_lowest_created_time_there_is_is_refused() {
    let sandbox = Sandbox::start().await;
    let lowest = Timestamp::MIN;
    let batch = PushBatch {
        created_times: vec![lowest, micros(lowest, 1), sandbox.clock.now()],
        ..sandbox.batch("b", &["a", "b", "c"], &[1, 2, 3])
    };
    let answer = sandbox.push(batch).await.unwrap();
    assert_results(&answer, &[RowResult::Refused, RowResult::Written, RowResult::Written]);
    let told: Vec<_> = answer.refusals.iter().map(|refusal| (refusal.row, refusal.reason.as_str())).collect();
    assert_eq!(
        told,
        [(0, "its created time is the lowest there is, which rows of sources without created times have")]
    );
    let logged: Vec<_> = sandbox.logged().await.into_iter().map(|row| (row.row, row.created_time)).collect();
    assert_eq!(logged, [(1, i64::MIN + 1), (2, sandbox.clock.now().as_micros())]);
}
