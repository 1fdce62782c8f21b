//! The wire: convert, call, convert back.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use larder_contracts::{
    Path, columns, encoded_len,
    push::v1::{
        BatchError, PushRequest, PushResponse, PushStreamRequest, PushStreamResponse, Refusal as WireRefusal,
        RowResult, Target, TargetState, Written as WireWritten, push_service_server::PushService,
        push_stream_response::Outcome,
    },
    status::{of_unreadable_request, to_status},
};
use larder_service::{begun::Begun, blocking::work_on, call::CallContext};
use larder_types::{Error, Result, Revision, Timestamp};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{
    app::{PushIngest, Request, TAKING_IN},
    batch::{Batch, Created},
    ingest::{IngestError, Ingested, Targets, Written},
    online::RowState,
    room::{Place, Room, StreamRoom},
    told::HandlerHas,
};

/// How many batches of a stream are on their way at the same time; a client that sends more waits.
const STREAM_AHEAD: usize = 64;

/// How long a batch of a stream without a deadline waits for those of other streams. Its sender is held back meanwhile.
const STREAM_PATIENCE: Duration = Duration::from_secs(30);

/// What a value takes in a message, to judge how long one takes to be read.
const BYTES_A_VALUE: usize = 8;

/// [`PushIngest`] as a gRPC service.
#[derive(Clone)]
pub struct PushGrpc {
    /// Takes batches.
    pub service: Arc<PushIngest>,
    /// For those on their way.
    pub room: Room,
}

#[tonic::async_trait]
impl PushService for PushGrpc {
    async fn push(&self, request: tonic::Request<PushRequest>) -> Result<tonic::Response<PushResponse>, Status> {
        HandlerHas::note(&request);
        let call = CallContext::of(&request);
        let told = |error: IngestError| to_status(&error.into_error());
        let message = request.into_inner();
        let target = message.target;
        let place = self.room.enter(encoded_len(&message), call.patience() / 2).await;
        let place = place.map_err(|error| told(nothing_done(error, target)))?;
        let created = self.service.created_now(unrecorded(&message));
        let read = call.deadline.within(TAKING_IN, async { Ok(read_request(message, created).await) }).await;
        let (id, request) = read.unwrap_or_else(|error| Err(nothing_done(error, target))).map_err(told)?;
        let pushed = self.service.push(request, place, &call).await.map_err(|error| told(error.of_batch(&id)))?;
        Ok(tonic::Response::new(wire_response(id, pushed)))
    }

    type PushStreamStream = Pin<Box<dyn Stream<Item = Result<PushStreamResponse, Status>> + Send>>;

    async fn push_stream(
        &self,
        request: tonic::Request<Streaming<PushStreamRequest>>,
    ) -> Result<tonic::Response<Self::PushStreamStream>, Status> {
        let call = CallContext::of(&request);
        let (service, room) = (Arc::clone(&self.service), self.room.of_stream());
        let patience = call.deadline.remaining().map_or(STREAM_PATIENCE, |_| call.patience());
        // One more is being answered, and one waits to be let in.
        let (sender, begun) = mpsc::channel(STREAM_AHEAD - 2);
        let reading = async move {
            let mut messages = request.into_inner();
            while let Some(message) = messages.next().await {
                let answer = match message.map_err(of_unreadable_request) {
                    Err(status) => Err(status),
                    // The next batch is read when this one has a place.
                    Ok(message) => {
                        let placed = place(message, &service, &room, patience).await;
                        let (service, call) = (Arc::clone(&service), call.clone());
                        Ok(Begun::new(async move { answer(&service, placed, &call).await }))
                    }
                };
                if sender.send(answer).await.is_err() {
                    return;
                }
            }
        };
        let reading = Begun::new(reading);
        let answers = ReceiverStream::new(begun).then(|answer| async move { answer?.done().await });
        // With the answers goes the reading.
        Ok(tonic::Response::new(Box::pin(answers.map(move |answer| (answer, &reading).0))))
    }
}

async fn place(message: PushStreamRequest, service: &PushIngest, room: &StreamRoom, patience: Duration) -> Placed {
    let rows = message.request.as_ref().map_or(0, |request| request.event_times.len());
    let place = room.enter(rows, encoded_len(&message), patience).await;
    let unrecorded = message.request.as_ref().map_or(0, unrecorded);
    Placed { created: service.created_now(unrecorded), message, place }
}

/// How many rows a batch has whose created times it does not bring.
fn unrecorded(request: &PushRequest) -> usize {
    if request.created_times.is_empty() { request.event_times.len() } else { 0 }
}

/// A batch of a stream, in its turn.
struct Placed {
    message: PushStreamRequest,
    place: Result<Place>,
    created: Created,
}

/// A batch of a stream: whatever is wrong with it is its own answer, and the stream goes on.
async fn answer(service: &PushIngest, placed: Placed, call: &CallContext) -> PushStreamResponse {
    let given = placed.message.request.as_ref().map(|request| request.batch_id.clone()).unwrap_or_default();
    let (batch_id, outcome) = match take(placed).await {
        Err(error) => (given, Outcome::Error(wire_error(error))),
        Ok((id, request, place)) => match service.push(request, place, call).await {
            Ok(ingested) => (id.clone(), Outcome::Response(wire_response(id, ingested))),
            Err(error) => (id, Outcome::Error(wire_error(error))),
        },
    };
    PushStreamResponse { batch_id, outcome: Some(outcome) }
}

async fn take(placed: Placed) -> Result<(String, Request, Place), IngestError> {
    let Placed { message, place, created } = placed;
    let request = Path::ROOT.required("request", message.request).map_err(IngestError::of_no_target)?;
    let place = place.map_err(|error| nothing_done(error, request.target))?;
    let (id, request) = read_request(request, created).await?;
    Ok((id, request, place))
}

fn nothing_done(error: Error, target: i32) -> IngestError {
    match read_target(target, &Path::ROOT) {
        Ok(targets) => IngestError::before_all(error, targets),
        Err(_) => IngestError::of_no_target(error),
    }
}

async fn read_request(message: PushRequest, created: Created) -> Result<(String, Request), IngestError> {
    let at = Path::ROOT;
    let targets = read_target(message.target, &at).map_err(IngestError::of_no_target)?;
    let read = work_on(encoded_len(&message) / BYTES_A_VALUE, move || read_batch(message, targets, created)).await;
    read.map_err(|error| IngestError::before_all(error, targets))
}

fn read_batch(message: PushRequest, targets: Targets, now: Created) -> Result<(String, Request)> {
    let PushRequest {
        project,
        source,
        batch_id,
        columns,
        event_times,
        created_times,
        deleted,
        target: _,
        min_revision,
    } = message;
    let columns = columns::decode_named(columns, &Path::ROOT.field("columns"))?;
    let id = if batch_id.is_empty() { Uuid::now_v7().to_string() } else { batch_id };
    let times = |times: Vec<i64>| times.into_iter().map(Timestamp::from_micros).collect();
    let batch = Batch {
        id: id.clone(),
        columns,
        event_times: times(event_times),
        created: if created_times.is_empty() { now } else { Created::Given(times(created_times)) },
        deleted,
    };
    Ok((id, Request { project, source, batch, targets, min_revision: Revision(min_revision) }))
}

fn read_target(target: i32, at: &Path<'_>) -> Result<Targets> {
    match Target::try_from(target) {
        Ok(Target::Unspecified | Target::OnlineAndOffline) => Ok(Targets { online: true, offline: true }),
        Ok(Target::Online) => Ok(Targets { online: true, offline: false }),
        Ok(Target::Offline) => Ok(Targets { online: false, offline: true }),
        Err(_) => Err(at.field("target").not_understood(format_args!("target {target}"))),
    }
}

fn wire_response(batch_id: String, ingested: Ingested) -> PushResponse {
    let Ingested { states, refusals, revision } = ingested;
    let refusals = refusals
        .into_iter()
        .map(|refusal| WireRefusal { row: u32::try_from(refusal.row).unwrap_or(u32::MAX), reason: refusal.reason });
    PushResponse {
        batch_id,
        results: states.into_iter().map(|state| wire_state(state).into()).collect(),
        refusals: refusals.collect(),
        revision: revision.0,
    }
}

fn wire_state(state: Option<RowState>) -> RowResult {
    match state {
        Some(RowState::Written) => RowResult::Written,
        Some(RowState::Older) => RowResult::Older,
        Some(RowState::Expired) => RowResult::Expired,
        None => RowResult::Refused,
    }
}

fn wire_error(error: IngestError) -> BatchError {
    let status = to_status(&error.error);
    let target = |target: Target, written: Option<Written>| {
        written.map(|written| TargetState { target: target.into(), written: wire_written(written).into() })
    };
    let targets = [target(Target::Offline, error.offline), target(Target::Online, error.online)];
    BatchError {
        code: status.code() as i32,
        message: status.message().to_owned(),
        targets: targets.into_iter().flatten().collect(),
    }
}

fn wire_written(written: Written) -> WireWritten {
    match written {
        Written::Yes => WireWritten::Yes,
        Written::No => WireWritten::No,
        Written::Unknown => WireWritten::Unspecified,
    }
}
