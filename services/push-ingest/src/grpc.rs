//! The wire: convert, call, convert back.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use larder_contracts::{
    Path, columns,
    push::v1::{
        BatchError, PushRequest, PushResponse, PushStreamRequest, PushStreamResponse, Refusal as WireRefusal,
        RowResult, Target, TargetState, Written as WireWritten, push_service_server::PushService,
        push_stream_response::Outcome,
    },
    status::to_status,
};
use larder_service::call::CallContext;
use larder_types::{Result, Revision, Timestamp};
use tonic::{Status, Streaming};
use uuid::Uuid;

use crate::{
    app::{PushIngest, Request},
    batch::Batch,
    ingest::{IngestError, Ingested, Targets, Written},
    online::RowState,
};

/// How many batches of a stream are on their way at the same time; a client that sends more waits.
const STREAM_AHEAD: usize = 64;

/// [`PushIngest`] as a gRPC service.
#[derive(Clone)]
pub struct PushGrpc(pub Arc<PushIngest>);

#[tonic::async_trait]
impl PushService for PushGrpc {
    async fn push(&self, request: tonic::Request<PushRequest>) -> Result<tonic::Response<PushResponse>, Status> {
        let call = CallContext::of(&request);
        let told = |error: IngestError| to_status(&error.into_error());
        let (id, request) = read_request(request.into_inner()).map_err(told)?;
        let pushed = self.0.push(request, &call).await.map_err(told)?;
        Ok(tonic::Response::new(wire_response(id, pushed)))
    }

    type PushStreamStream = Pin<Box<dyn Stream<Item = Result<PushStreamResponse, Status>> + Send>>;

    async fn push_stream(
        &self,
        request: tonic::Request<Streaming<PushStreamRequest>>,
    ) -> Result<tonic::Response<Self::PushStreamStream>, Status> {
        let call = CallContext::of(&request);
        let service = Arc::clone(&self.0);
        let answers = request.into_inner().map(move |message| {
            let (service, call) = (Arc::clone(&service), call.clone());
            async move { Ok(answer(&service, message?, &call).await) }
        });
        Ok(tonic::Response::new(Box::pin(answers.buffered(STREAM_AHEAD))))
    }
}

/// A batch of a stream: whatever is wrong with it is its own answer, and the stream goes on.
async fn answer(service: &PushIngest, message: PushStreamRequest, call: &CallContext) -> PushStreamResponse {
    let given = message.request.as_ref().map(|request| request.batch_id.clone()).unwrap_or_default();
    let request = Path::ROOT.required("request", message.request).map_err(IngestError::of_no_target);
    let (batch_id, outcome) = match request.and_then(read_request) {
        Err(error) => (given, Outcome::Error(wire_error(error))),
        Ok((id, request)) => match service.push(request, call).await {
            Ok(ingested) => (id.clone(), Outcome::Response(wire_response(id, ingested))),
            Err(error) => (id, Outcome::Error(wire_error(error))),
        },
    };
    PushStreamResponse { batch_id, outcome: Some(outcome) }
}

fn read_request(message: PushRequest) -> Result<(String, Request), IngestError> {
    let PushRequest { project, source, batch_id, columns, event_times, created_times, deleted, target, min_revision } =
        message;
    let at = Path::ROOT;
    let targets = read_target(target, &at).map_err(IngestError::of_no_target)?;
    let columns = columns::decode_named(columns, &at.field("columns"));
    let id = if batch_id.is_empty() { Uuid::now_v7().to_string() } else { batch_id };
    let times = |times: Vec<i64>| times.into_iter().map(Timestamp::from_micros).collect();
    let batch = Batch {
        id: id.clone(),
        columns: columns.map_err(|error| IngestError::before_all(error, targets))?,
        event_times: times(event_times),
        created_times: times(created_times),
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
