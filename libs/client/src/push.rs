//! Events in.

use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use larder_contracts::{
    Path,
    push::v1::{self as api, push_service_client::PushServiceClient},
    status::{from_grpc, from_status},
};
use larder_types::{Error, Name, Result, Revision, Timestamp};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    Transport,
    call::{client, streaming, unary},
    serving::columns_to_wire,
};

client! {
    /// Pushes batches of events.
    PushClient over PushServiceClient<Transport>
}

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Target {
    /// The online store.
    Online,
    /// The push log.
    Offline,
    /// Both.
    #[default]
    OnlineAndOffline,
}

/// Rows of a push source.
#[derive(Debug, Clone)]
pub struct PushBatch {
    /// The project.
    pub project: Name,
    /// The push source.
    pub source: Name,
    /// Names the batch for all time, with at most 256 bytes and no control characters; none: the client makes one. Sending a
    /// batch again under its id is safe.
    pub batch_id: Option<String>,
    /// Join keys and features by the source's names, a row an event. Of a deletion only its keys count.
    pub columns: Vec<(String, ArrayRef)>,
    /// When each event happened.
    pub event_times: Vec<Timestamp>,
    /// When each was recorded; empty: when the service accepts it.
    pub created_times: Vec<Timestamp>,
    /// Which rows are deletions; empty: none.
    pub deleted: Vec<bool>,
    /// Where the rows go.
    pub target: Target,
    /// The service waits until it knows this revision.
    pub min_revision: Revision,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowResult {
    /// It is in every target asked for.
    Written,
    /// The online store has a newer row, or one as new.
    Older,
    /// It is nowhere; a refusal says why.
    Refused,
    /// It is past the ttl of every view it feeds.
    Expired,
    /// Something that a later release says.
    Unknown,
}

/// Why a row was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the batch.
    pub row: usize,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// The batch's id, given or made.
    pub batch_id: String,
    /// One a row.
    pub results: Vec<RowResult>,
    /// One a refused row.
    pub refusals: Vec<Refusal>,
    /// By which revision the rows were checked.
    pub revision: Revision,
}

/// Whether a target has the rows of a failed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// Nobody can tell: send the batch again under its id.
    NotKnown,
}

/// What a failed batch did to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetState {
    /// Which.
    pub target: Target,
    /// Whether it has the rows.
    pub written: Written,
}

/// Why a batch of a stream failed, and how far it came. Other batches of the stream are not touched by it.
#[derive(Debug)]
pub struct BatchFailure {
    /// Why.
    pub error: Error,
    /// How far it came.
    pub targets: Vec<TargetState>,
}

/// The acknowledgement of one batch of a stream.
#[derive(Debug)]
pub struct PushOutcome {
    /// Which batch.
    pub batch_id: String,
    /// What became of it.
    pub result: Result<PushAnswer, BatchFailure>,
}

impl PushClient {
    /// Pushes one batch. OK means that every row not refused is in every target asked for.
    pub async fn push(&self, batch: PushBatch) -> Result<PushAnswer> {
        let message = batch_to_wire(batch)?;
        let mut client = self.client.clone();
        answer_from_wire(unary(self.deadline, message, |request| async move { client.push(request).await }).await?)
    }

    /// Pushes batches, with at most `in_flight` of them unacknowledged: the next one is taken from `batches` when an
    /// acknowledgement was taken from the stream. Acknowledgements come in the order of the batches.
    ///
    /// An error of the stream, after which it ends, leaves batches unacknowledged: push them again under their ids (give
    /// them ids, or make them with [`PushClient::batch_id`]).
    pub async fn push_stream(
        &self,
        batches: impl Stream<Item = PushBatch> + Send + 'static,
        in_flight: usize,
    ) -> Result<BoxStream<'static, Result<PushOutcome>>> {
        let room = Arc::new(Semaphore::new(in_flight.max(1)));
        let (report, mut refused) = tokio::sync::oneshot::channel();
        let taken = room.clone();
        let messages = async_stream::stream! {
            futures::pin_mut!(batches);
            while let Ok(permit) = taken.acquire().await {
                permit.forget();
                let Some(batch) = batches.next().await else { return };
                match batch_to_wire(batch) {
                    Ok(request) => yield api::PushStreamRequest { request: Some(request) },
                    Err(error) => {
                        let _ = report.send(error);
                        return;
                    }
                }
            }
        };
        let mut client = self.client.clone();
        // A server may keep its answer's head back until the first acknowledgement: the deadline is for that one.
        let answers = streaming(self.deadline, async move { client.push_stream(messages).await }).await?;
        let read = move |answer: std::result::Result<api::PushStreamResponse, tonic::Status>| {
            room.add_permits(1);
            outcome_from_wire(answer.map_err(from_status)?)
        };
        let refused = futures::stream::once(async move { refused.try_recv().ok().map(Err) });
        Ok(answers.map(read).chain(refused.filter_map(std::future::ready)).boxed())
    }

    /// A new id for a batch; ids made later sort after it.
    pub fn batch_id() -> String {
        Uuid::now_v7().to_string()
    }
}

fn target_to_wire(target: Target) -> api::Target {
    match target {
        Target::Online => api::Target::Online,
        Target::Offline => api::Target::Offline,
        Target::OnlineAndOffline => api::Target::OnlineAndOffline,
    }
}

fn batch_to_wire(batch: PushBatch) -> Result<api::PushRequest> {
    let PushBatch { project, source, batch_id, columns, event_times, created_times, deleted, target, min_revision } =
        batch;
    Ok(api::PushRequest {
        project: project.to_string(),
        source: source.to_string(),
        batch_id: batch_id.unwrap_or_else(PushClient::batch_id),
        columns: columns_to_wire(&columns)?,
        event_times: event_times.into_iter().map(Timestamp::as_micros).collect(),
        created_times: created_times.into_iter().map(Timestamp::as_micros).collect(),
        deleted,
        target: target_to_wire(target).into(),
        min_revision: min_revision.0,
    })
}

fn answer_from_wire(answer: api::PushResponse) -> Result<PushAnswer> {
    let api::PushResponse { batch_id, results, refusals, revision } = answer;
    let result = |result: i32| match api::RowResult::try_from(result) {
        Ok(api::RowResult::Written) => RowResult::Written,
        Ok(api::RowResult::Older) => RowResult::Older,
        Ok(api::RowResult::Refused) => RowResult::Refused,
        Ok(api::RowResult::Expired) => RowResult::Expired,
        Ok(api::RowResult::Unspecified) | Err(_) => RowResult::Unknown,
    };
    let refusal = |api::Refusal { row, reason }| Refusal { row: row as usize, reason };
    Ok(PushAnswer {
        batch_id,
        results: results.into_iter().map(result).collect(),
        refusals: refusals.into_iter().map(refusal).collect(),
        revision: Revision(revision),
    })
}

fn outcome_from_wire(answer: api::PushStreamResponse) -> Result<PushOutcome> {
    let api::PushStreamResponse { batch_id, outcome } = answer;
    let result = match Path::ROOT.required("outcome", outcome)? {
        api::push_stream_response::Outcome::Response(answer) => Ok(answer_from_wire(answer)?),
        api::push_stream_response::Outcome::Error(error) => Err(failure_from_wire(error)),
    };
    Ok(PushOutcome { batch_id, result })
}

fn failure_from_wire(error: api::BatchError) -> BatchFailure {
    let api::BatchError { code, message, targets } = error;
    let target = |api::TargetState { target, written }| TargetState {
        target: match api::Target::try_from(target) {
            Ok(api::Target::Online) => Target::Online,
            Ok(api::Target::Offline) => Target::Offline,
            Ok(api::Target::OnlineAndOffline | api::Target::Unspecified) | Err(_) => Target::OnlineAndOffline,
        },
        written: match api::Written::try_from(written) {
            Ok(api::Written::Yes) => Written::Yes,
            Ok(api::Written::No) => Written::No,
            Ok(api::Written::Unspecified) | Err(_) => Written::NotKnown,
        },
    };
    BatchFailure {
        error: Error::new(from_grpc(tonic::Code::from_i32(code)), message),
        targets: targets.into_iter().map(target).collect(),
    }
}
