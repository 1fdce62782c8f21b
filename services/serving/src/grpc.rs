//! The wire: convert, call, convert back.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
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
use larder_service::{blocking::work_on, call::CallContext};
use larder_types::{FeatureReference, Result, Revision, RowVersion};
use tonic::{Status, Streaming};

use crate::app::{Request, Response, Serving};

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
        let answered = self.answer(request.into_inner(), &call).await;
        answered.map(tonic::Response::new).map_err(|error| to_status(&error))
    }

    type StreamOnlineFeaturesStream = Pin<Box<dyn Stream<Item = Result<StreamOnlineFeaturesResponse, Status>> + Send>>;

    async fn stream_online_features(
        &self,
        request: tonic::Request<Streaming<StreamOnlineFeaturesRequest>>,
    ) -> Result<tonic::Response<Self::StreamOnlineFeaturesStream>, Status> {
        let call = CallContext::of(&request);
        let service = self.clone();
        let answers = request.into_inner().map(move |message| {
            let (service, call) = (service.clone(), call.clone());
            async move {
                let StreamOnlineFeaturesRequest { request } = message.map_err(of_unreadable_request)?;
                let request = Path::ROOT.required("request", request).map_err(|error| to_status(&error))?;
                let response = service.answer(request, &call).await.map_err(|error| to_status(&error))?;
                Ok(StreamOnlineFeaturesResponse { response: Some(response) })
            }
        });
        Ok(tonic::Response::new(Box::pin(until_error(answers.buffered(STREAM_AHEAD)))))
    }
}

impl ServingGrpc {
    async fn answer(&self, message: GetOnlineFeaturesRequest, call: &CallContext) -> Result<GetOnlineFeaturesResponse> {
        let request = work_on(encoded_len(&message) / BYTES_A_VALUE, || read_request(message)).await?;
        let include_replay = request.include_replay;
        let response = self.0.answer(request, call).await?;
        let values = response.answer.columns.iter().map(|column| column.values.len()).sum();
        work_on(values, move || wire_response(&response, include_replay)).await
    }
}

fn wire_response(response: &Response, include_replay: bool) -> Result<GetOnlineFeaturesResponse> {
    let features = response.plan.selection.outputs.iter().zip(&response.answer.columns).map(|(output, column)| {
        Ok(Feature {
            name: output.name.clone(),
            values: Some(columns::encode(&column.values)?),
            statuses: column.statuses.clone().unwrap_or_default().into(),
        })
    });
    Ok(GetOnlineFeaturesResponse {
        features: features.collect::<Result<_>>()?,
        replay: include_replay.then(|| replay(response)),
    })
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
