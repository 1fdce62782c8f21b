//! What is wrong with a batch as a whole: it is told, and nothing of it goes in.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array};
use futures::{StreamExt, stream};
use larder_client::{PushBatch, PushClient, RowResult, Target, Transport};
use larder_service::config::ByteSize;
use larder_types::{ErrorCode, Timestamp};

use crate::sandbox::{Sandbox, assert_results, columns, name, texts, with_column};

/// What is wrong, the code, the field that the error names first, and what it says.
type Case = (PushBatch, ErrorCode, &'static str, &'static str);

fn without_column(mut batch: PushBatch, column: &str) -> PushBatch {
    batch.columns.retain(|(name, _)| name != column);
    batch
}

fn wrong_columns(good: &PushBatch) -> Vec<Case> {
    let wrong = ErrorCode::InvalidArgument;
    let good = || good.clone();
    let mut twice = good();
    twice.columns.push(("clicks".to_owned(), Arc::new(Int64Array::from(vec![1, 2]))));
    vec![
        (
            without_column(good(), "customer_id"),
            wrong,
            "columns.customer_id",
            "is missing: an event of this source has a column of that name, string (a join key, never null)",
        ),
        (without_column(good(), "ratio"), wrong, "columns.ratio", "that name, float64 (its values may be null)"),
        (with_column(good(), "pages", texts(&["a", "b"])), wrong, "columns.pages", "did you mean page?"),
        (with_column(good(), "clicks", texts(&["1", "2"])), wrong, "columns.clicks", "has the type string; int64 is"),
        (
            with_column(good(), "customer_id", Arc::new(Int64Array::from(vec![1, 2]))),
            wrong,
            "columns.customer_id",
            "has the type int64; string is expected",
        ),
        (
            with_column(good(), "ratio", Arc::new(Int64Array::from(vec![1, 2]))),
            wrong,
            "columns.ratio",
            "has the type int64; float64 is expected",
        ),
        (with_column(good(), "page", texts(&["a"])), wrong, "columns.page", "has 1 rows, event_times has 2"),
        (twice, wrong, "columns.clicks", "is given twice"),
        (PushBatch { deleted: vec![true], ..good() }, wrong, "deleted", "has 1 rows, event_times has 2"),
        (
            PushBatch { created_times: vec![Timestamp::from_micros(1); 3], ..good() },
            wrong,
            "created_times",
            "has 3 rows, event_times has 2",
        ),
        (PushBatch { event_times: Vec::new(), ..good() }, wrong, "columns.", "has 2 rows, event_times has 0"),
    ]
}

fn wrong_places(good: &PushBatch) -> Vec<Case> {
    let good = || good.clone();
    let to = |source: &str| PushBatch { source: name(source), ..good() };
    let notes = PushBatch {
        columns: vec![("customer_id".to_owned(), texts(&["a", "b"])), ("note".to_owned(), texts(&["", ""]))],
        target: Target::Online,
        ..to("notes")
    };
    let id = |id: &str| PushBatch { batch_id: Some(id.to_owned()), ..good() };
    vec![
        (to("click"), ErrorCode::NotFound, "targets", "did you mean clicks?"),
        (PushBatch { project: name("shopp"), ..good() }, ErrorCode::NotFound, "targets", "did you mean shop?"),
        (to("files"), ErrorCode::InvalidArgument, "source", "`files` is not a push source"),
        (to("unread"), ErrorCode::FailedPrecondition, "targets", "no feature view reads push source unread"),
        (notes, ErrorCode::FailedPrecondition, "targets", "no view that is served reads push source notes"),
        (id(&"x".repeat(257)), ErrorCode::InvalidArgument, "batch_id", "has 257 bytes: an id has at most 256"),
        (id("two\nlines"), ErrorCode::InvalidArgument, "batch_id", "no control characters"),
    ]
}

#[tokio::test]
async fn every_wrong_batch_is_told_what_would_be_right_and_nothing_of_it_goes_in() {
    let sandbox = Sandbox::start().await;
    let good = sandbox.batch("good", &["a", "b"], &[1, 2]);
    for (batch, code, field, message) in wrong_columns(&good).into_iter().chain(wrong_places(&good)) {
        let targets: &[&str] = match batch.target {
            Target::Online => &["targets.online"],
            Target::Offline => &["targets.offline"],
            Target::OnlineAndOffline => &["targets.offline", "targets.online"],
        };
        let error = sandbox.push(batch).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(message), "{message}: {error}");
        assert!(error.violations()[0].field.starts_with(field), "{:?}", error.violations());
        let told = |target: &str| error.violations().iter().find(|told| told.field == target);
        for target in targets {
            assert_eq!(told(target).unwrap().description, "not written", "{error}");
        }
    }
    assert_eq!(sandbox.logged().await, []);
    assert_eq!(sandbox.served(&["a", "b"]).await, vec![("NOT_FOUND".to_owned(), None); 2]);
    assert_results(&sandbox.push(good).await.unwrap(), &[RowResult::Written; 2]);
}

#[tokio::test]
async fn all_columns_that_are_missing_are_named_at_once() {
    let sandbox = Sandbox::start().await;
    let batch = without_column(without_column(sandbox.batch("b", &["a"], &[1]), "customer_id"), "ratio");
    let error = sandbox.push(batch.clone()).await.unwrap_err();
    let message = "2 columns of this source's events are missing: customer_id, ratio";
    assert_eq!(error.message(), message);
    let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["columns.customer_id", "columns.ratio", "targets.offline", "targets.online"]);
    let outcomes = sandbox.client().push_stream(stream::iter([batch]), 1).await.unwrap();
    let outcomes: Vec<_> = outcomes.map(|outcome| outcome.unwrap().result.unwrap_err()).collect().await;
    assert_eq!(outcomes.iter().map(|failure| failure.error.message()).collect::<Vec<_>>(), [message]);
}

#[tokio::test]
async fn numbers_may_be_narrower_and_an_empty_batch_is_no_error() {
    let sandbox = Sandbox::start().await;
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
    for (id, ratio) in [("i", narrow.clone()), ("f", Arc::new(Float32Array::from(vec![0.5, 1.5])) as ArrayRef)] {
        let batch = with_column(sandbox.batch(id, &["a", "b"], &[0, 0]), "clicks", narrow.clone());
        assert_results(&sandbox.push(with_column(batch, "ratio", ratio)).await.unwrap(), &[RowResult::Written; 2]);
    }
    let served: Vec<_> = sandbox.served(&["a", "b"]).await.into_iter().map(|(value, _)| value).collect();
    assert_eq!(served, ["7", "NULL"]);
    let empty = sandbox.push(sandbox.batch("none", &[], &[])).await.unwrap();
    assert_results(&empty, &[]);
    assert_eq!(empty.batch_id, "none");
    // The longest id there may be, and one that the client makes.
    let longest = "é".repeat(128);
    assert_eq!(sandbox.push(sandbox.batch(&longest, &["a"], &[1])).await.unwrap().batch_id, longest);
    let made = PushBatch { batch_id: None, ..sandbox.batch("", &["a"], &[1]) };
    assert_eq!(sandbox.push(made).await.unwrap().batch_id.len(), 36);
}

#[tokio::test]
async fn a_batch_is_limited_in_rows_and_in_bytes() {
    let sandbox = Sandbox::with(|config| {
        config.max_batch_rows = 100;
        config.server.max_request_bytes = ByteSize(8 << 10);
    })
    .await;
    let listener = larder_test_kit::listener().await;
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(sandbox.endpoint.clone().serve(listener, Default::default()));
    let of = |rows: usize, customer: &str| {
        let batch = sandbox.batch("b", &[], &[]);
        let event_times = vec![batch.event_times.first().copied().unwrap_or(larder_test_kit::NEW_YEAR); rows];
        PushBatch { columns: columns(&vec![customer; rows], &vec![1; rows]), event_times, ..batch }
    };
    for client in [sandbox.client(), PushClient::new(Transport::connect(&address).unwrap())] {
        assert_eq!(client.push(of(100, "a")).await.unwrap().results.len(), 100);
        let error = client.push(of(101, "a")).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        let message = "the batch has 101 rows; the limit is 100 (push_ingest.max_batch_rows)";
        assert!(error.message().contains(message), "{error}");
        let error = client.push(of(50, &"x".repeat(200))).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("the limit is 8KiB (push_ingest.server.max_request_bytes)"), "{error}");
        let told: Vec<_> = error.violations().iter().map(|told| (&*told.field, &*told.description)).collect();
        assert_eq!(told, [("targets.offline", "not written"), ("targets.online", "not written")]);
    }
}
