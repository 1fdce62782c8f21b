//! The wire: convert, call, convert back. A great answer is encoded here, in its turn, and not where it is sent.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{Stream, StreamExt, TryStreamExt};
use larder_codec::DecodedColumn;
use larder_contracts::{
    Path, columns, encoded_len,
    serving::v1::{
        Feature, FeatureReferences, GetOnlineFeaturesRequest, GetOnlineFeaturesResponse, Replay,
        StreamOnlineFeaturesRequest, StreamOnlineFeaturesResponse, ViewReplay, get_online_features_request::Features,
        serving_service_server::ServingService,
    },
    status::{of_unreadable_request, to_status},
    types::v1::RowVersion as WireVersion,
};
use larder_definitions::selection::Asked;
use larder_expressions::ENGINE_VERSION;
use larder_service::{
    begun::Begun,
    blocking::{work_beside, work_on},
    call::CallContext,
    server::{EncodedMessage, encoded, encoded_stream},
};
use larder_types::{FeatureReference, Result, Revision, RowVersion};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::{
    app::{Request, Response, Serving},
    great::{GREAT, Queued, SMALL},
    read,
};

/// How many requests of a stream are answered at the same time.
const STREAM_AHEAD: usize = 8;

/// What a value takes in a message, to judge how long one takes to be read.
const BYTES_A_VALUE: usize = 8;

/// [`Serving`] as a gRPC service.
#[derive(Clone)]
pub struct ServingGrpc(pub Arc<Serving>);

#[tonic::async_trait]
impl ServingService for ServingGrpc {
    async fn get_online_features(
        &self,
        request: tonic::Request<GetOnlineFeaturesRequest>,
    ) -> Result<tonic::Response<GetOnlineFeaturesResponse>, Status> {
        let call = CallContext::of(&request);
        let answered = self.answer(request.into_inner(), &call, None, |response| EncodedMessage::of(&response)).await;
        match answered.map_err(|error| to_status(&error))? {
            Answered::Small(response) if encoded_len(&response) <= SMALL => Ok(tonic::Response::new(response)),
            Answered::Small(response) => self.placed(EncodedMessage::of(&response)).map(encoded),
            Answered::Great(message) => Ok(encoded(message)),
        }
    }

    type StreamOnlineFeaturesStream = Pin<Box<dyn Stream<Item = Result<StreamOnlineFeaturesResponse, Status>> + Send>>;

    async fn stream_online_features(
        &self,
        request: tonic::Request<Streaming<StreamOnlineFeaturesRequest>>,
    ) -> Result<tonic::Response<Self::StreamOnlineFeaturesStream>, Status> {
        let call = CallContext::of(&request);
        let service = self.clone();
        let (taken, asked) = (Arc::new(watch::Sender::new(0)), AtomicU64::new(0));
        let waiting = taken.subscribe();
        let answers = request.into_inner().map(move |message| {
            let (service, call) = (service.clone(), call.clone());
            let queued = Queued { before: asked.fetch_add(1, Ordering::Relaxed), taken: waiting.clone() };
            let answering = async move {
                let StreamOnlineFeaturesRequest { request } = message.map_err(of_unreadable_request)?;
                let request = Path::ROOT.required("request", request).map_err(|error| to_status(&error))?;
                let answered = service.answer(request, &call, Some(queued), encode_for_stream).await;
                match answered.map_err(|error| to_status(&error))? {
                    Answered::Small(response) => service.placed(encode_for_stream(response)),
                    Answered::Great(message) => Ok(message),
                }
            };
            async move { Begun::new(answering).done().await? }
        });
        let answers = answers.buffered(STREAM_AHEAD).map_ok(move |message| message.keeping(CountsSent(taken.clone())));
        Ok(encoded_stream(until_error(answers)))
    }
}

/// Counts an answer of a stream when it was sent.
struct CountsSent(Arc<watch::Sender<u64>>);

impl Drop for CountsSent {
    fn drop(&mut self) {
        self.0.send_modify(|sent| *sent += 1);
    }
}

/// An answer as it leaves.
enum Answered {
    Small(GetOnlineFeaturesResponse),
    Great(EncodedMessage),
}

fn encode_for_stream(response: GetOnlineFeaturesResponse) -> EncodedMessage {
    EncodedMessage::of(&StreamOnlineFeaturesResponse { response: Some(response) })
}

impl ServingGrpc {
    /// With a place, if it is not small.
    fn placed(&self, message: EncodedMessage) -> Result<EncodedMessage, Status> {
        if message.byte_len() <= SMALL {
            return Ok(message);
        }
        let place = self.0.place(message.byte_len()).map_err(|error| to_status(&error))?;
        Ok(message.keeping(place))
    }

    async fn answer(
        &self,
        message: GetOnlineFeaturesRequest,
        call: &CallContext,
        queued: Option<Queued>,
        encode: fn(GetOnlineFeaturesResponse) -> EncodedMessage,
    ) -> Result<Answered> {
        let request = work_on(encoded_len(&message) / BYTES_A_VALUE, || read_request(message)).await?;
        let include_replay = request.include_replay;
        let mut response = self.0.answer(request, call, queued).await?;
        let bytes = response.answer.bytes;
        let turn = response.answer.turn.take();
        if bytes <= GREAT {
            drop(turn);
            let values: usize = response.answer.columns.iter().map(|column| column.values.len()).sum();
            let wire =
                work_on(values.max(bytes / read::BYTES_A_VALUE), move || wire_response(response, include_replay));
            return wire.await.map(Answered::Small);
        }
        let mut turn = match turn {
            Some(turn) => turn,
            None => self.0.late_turn().await?,
        };
        let encoded = work_beside(move || {
            turn.keep(bytes)?;
            let message = encode(wire_response(response, include_replay)?);
            turn.keep(message.byte_len())?;
            Ok(message.keeping(turn.end()))
        });
        encoded.await.map(Answered::Great)
    }
}

/// Takes the response apart column by column: it may be great.
fn wire_response(response: Response, include_replay: bool) -> Result<GetOnlineFeaturesResponse> {
    let replay = include_replay.then(|| replay(&response));
    let Response { plan, answer, instant: _ } = response;
    let features = plan.selection.outputs.iter().zip(answer.columns).map(|(output, column)| {
        let DecodedColumn { values, statuses } = column;
        Ok(Feature {
            name: output.name.clone(),
            values: Some(columns::encode(&values)?),
            statuses: statuses.unwrap_or_default().into(),
        })
    });
    Ok(GetOnlineFeaturesResponse { features: features.collect::<Result<_>>()?, replay })
}

/// The first error is the stream's last item.
fn until_error<T: Send + 'static>(
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> impl Stream<Item = Result<T, Status>> + Send {
    answers.scan(false, |failed, answer| {
        let before = std::mem::replace(failed, answer.is_err());
        std::future::ready((!before).then_some(answer))
    })
}

fn read_request(message: GetOnlineFeaturesRequest) -> Result<Request> {
    let GetOnlineFeaturesRequest {
        project,
        features,
        entities,
        request_data,
        full_names,
        include_replay,
        min_revision,
        rows,
    } = message;
    let at = Path::ROOT;
    let asked = match at.required("features", features)? {
        Features::FeatureService(name) => Asked::Service(at.name("feature_service", &name)?),
        Features::References(FeatureReferences { references }) => {
            let at = Path::ROOT.field("references");
            let at = at.field("references");
            let read = |(position, text): (usize, &String)| {
                text.parse::<FeatureReference>().map_err(|error| at.index(position).invalid(error.message()))
            };
            Asked::References(references.iter().enumerate().map(read).collect::<Result<_>>()?)
        }
    };
    Ok(Request {
        project,
        asked: Arc::new(asked),
        entities: columns::decode_named(entities, &at.field("entities"))?,
        request_data: columns::decode_named(request_data, &at.field("request_data"))?,
        full_names,
        include_replay,
        min_revision: Revision(min_revision),
        rows: rows as usize,
    })
}

fn replay(response: &Response) -> Replay {
    let views = response.versions().map(|(name, view, row_set, versions)| ViewReplay {
        name: name.to_string(),
        view: view.to_string(),
        row_set,
        versions: versions.iter().map(|version| version.map(wire_version).unwrap_or_default()).collect(),
        found: versions.iter().map(Option::is_some).collect(),
    });
    Replay {
        revision: response.plan.catalog.revision.0,
        instant: response.instant.as_micros(),
        engine_version: ENGINE_VERSION.to_owned(),
        views: views.collect(),
    }
}

fn wire_version(version: RowVersion) -> WireVersion {
    WireVersion { event_time: version.event_time.as_micros(), created_time: version.created_time.as_micros() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_that_is_none_is_named() {
        let references = vec!["profile".to_owned(), "profile..age".to_owned()];
        let features = Some(Features::References(FeatureReferences { references }));
        let message = GetOnlineFeaturesRequest { features, ..GetOnlineFeaturesRequest::default() };
        let error = read_request(message).err().unwrap();
        assert_eq!(error.violations()[0].field, "references.references[1]");
        assert!(error.message().contains("is not a feature reference"), "{error}");
    }
}
