//! Pushing: ids, answers, and the flow of a stream.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use arrow::array::{ArrayRef, Int64Array, NullArray};
use futures::{StreamExt as _, stream::BoxStream};
use larder_client::{PushBatch, PushClient, RowResult, Target, TargetState, Written};
use larder_contracts::push::v1::{
    self as api,
    push_service_server::{PushService, PushServiceServer},
    push_stream_response::Outcome,
};
use larder_types::{ErrorCode, Revision, Timestamp};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::fake::{both_ways, name};

/// Acknowledges what it gets, and fails batches of the source `full`.
#[derive(Clone, Default)]
struct PushIngest {
    batches: Arc<Mutex<Vec<api::PushRequest>>>,
}

fn answer(batch: &api::PushRequest) -> api::PushResponse {
    let refusals = vec![api::Refusal { row: 1, reason: "event time is null".into() }];
    api::PushResponse { batch_id: batch.batch_id.clone(), results: vec![1, 3, 2, 4, 99], refusals, revision: 3 }
}

#[tonic::async_trait]
impl PushService for PushIngest {
    type PushStreamStream = BoxStream<'static, Result<api::PushStreamResponse, Status>>;

    async fn push(&self, request: Request<api::PushRequest>) -> Result<Response<api::PushResponse>, Status> {
        let batch = request.into_inner();
        let answer = answer(&batch);
        self.batches.lock().unwrap().push(batch);
        Ok(Response::new(answer))
    }

    async fn push_stream(
        &self,
        request: Request<Streaming<api::PushStreamRequest>>,
    ) -> Result<Response<Self::PushStreamStream>, Status> {
        let acknowledge = |request: Result<api::PushStreamRequest, Status>| {
            let batch = request?.request.unwrap_or_default();
            let outcome = if batch.source == "full" {
                let targets =
                    vec![api::TargetState { target: 2, written: 1 }, api::TargetState { target: 1, written: 0 }];
                Outcome::Error(api::BatchError { code: Code::Unavailable.into(), message: "no room".into(), targets })
            } else {
                Outcome::Response(answer(&batch))
            };
            Ok(api::PushStreamResponse { batch_id: batch.batch_id, outcome: Some(outcome) })
        };
        Ok(Response::new(request.into_inner().map(acknowledge).boxed()))
    }
}

fn batch(source: &str, batch_id: Option<&str>) -> PushBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    PushBatch {
        project: name("payments"),
        source: name(source),
        batch_id: batch_id.map(str::to_owned),
        columns: vec![("id".into(), ids)],
        event_times: vec![Timestamp::from_micros(1), Timestamp::from_micros(2)],
        created_times: Vec::new(),
        deleted: vec![false, true],
        target: Target::Offline,
        min_revision: Revision(2),
    }
}

#[tokio::test]
async fn a_batch_is_answered_row_by_row_under_its_id() {
    let fake = PushIngest::default();
    for transport in both_ways(PushServiceServer::new(fake.clone())).await {
        let client = PushClient::new(transport);
        let answer = client.push(batch("events", Some("mine"))).await.unwrap();
        let results =
            [RowResult::Written, RowResult::Refused, RowResult::Older, RowResult::Expired, RowResult::Unknown];
        assert_eq!((answer.batch_id.as_str(), &answer.results[..]), ("mine", &results[..]));
        assert_eq!((answer.refusals[0].row, answer.revision), (1, Revision(3)));
        let made = [client.push(batch("events", None)).await, client.push(batch("events", None)).await];
        let [first, second] = made.map(|answer| answer.unwrap().batch_id);
        assert!(first < second && first.len() == 36, "{first} {second}");
    }
    let batches = fake.batches.lock().unwrap();
    assert_eq!((batches[0].target(), &batches[0].deleted[..]), (api::Target::Offline, &[false, true][..]));
    assert_eq!(batches[0].event_times, [1, 2]);
}

#[tokio::test]
async fn a_stream_acknowledges_in_order_and_never_has_more_in_flight() {
    const IN_FLIGHT: usize = 3;
    for transport in both_ways(PushServiceServer::new(PushIngest::default())).await {
        let taken = Arc::new(AtomicUsize::new(0));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let greatest = Arc::new(AtomicUsize::new(0));
        let batches = futures::stream::iter(0..50).map({
            let (taken, acknowledged, greatest) = (taken.clone(), acknowledged.clone(), greatest.clone());
            move |number| {
                let taken = taken.fetch_add(1, Ordering::SeqCst) + 1;
                greatest.fetch_max(taken - acknowledged.load(Ordering::SeqCst), Ordering::SeqCst);
                batch(if number == 7 { "full" } else { "events" }, Some(&number.to_string()))
            }
        });
        let mut outcomes = PushClient::new(transport).push_stream(batches, IN_FLIGHT).await.unwrap();
        let mut ids = Vec::new();
        while let Some(outcome) = outcomes.next().await {
            acknowledged.fetch_add(1, Ordering::SeqCst);
            let outcome = outcome.unwrap();
            if outcome.batch_id == "7" {
                let failure = outcome.result.unwrap_err();
                assert_eq!((failure.error.code(), failure.error.message()), (ErrorCode::Unavailable, "no room"));
                let log = TargetState { target: Target::Offline, written: Written::Yes };
                let online = TargetState { target: Target::Online, written: Written::NotKnown };
                assert_eq!(failure.targets, [log, online]);
            } else {
                assert_eq!(outcome.result.unwrap().batch_id, outcome.batch_id);
            }
            ids.push(outcome.batch_id);
        }
        assert_eq!(ids, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
        // One acknowledgement may be taken from the stream and not be counted above yet.
        assert!(greatest.load(Ordering::SeqCst) <= IN_FLIGHT + 1, "{greatest:?}");
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_sent_ends_the_stream_with_its_error_after_those_before_it() {
    for transport in both_ways(PushServiceServer::new(PushIngest::default())).await {
        let mut wrong = batch("events", None);
        wrong.columns[0].1 = Arc::new(NullArray::new(2));
        let batches = futures::stream::iter([batch("events", None), wrong, batch("events", None)]);
        let outcomes: Vec<_> = PushClient::new(transport).push_stream(batches, 9).await.unwrap().collect().await;
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
    }
}
