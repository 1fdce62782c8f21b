//! The wire: convert, call, convert back.

use std::{future::pending, pin::Pin, sync::Arc};

use async_stream::try_stream;
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use larder_client::RunFilter;
use larder_contracts::{
    Path, Wire,
    ipc::IpcEncoder,
    materializer::v1::{
        self as api, get_historical_features_request::Part as RequestPart,
        get_historical_features_response::Part as ResponsePart, materializer_service_server::MaterializerService,
        training_set_specification::Features,
    },
    registry::v1 as registry,
    runs::range_from_wire,
    status::{from_status, of_unreadable_request, to_status},
};
use larder_definitions::{
    run::{RunState, Scope},
    selection::Asked,
};
use larder_service::{
    authorize::{Action, Resource, authorize},
    call::{CallContext, answer},
};
use larder_types::{Error, ErrorCode, FeatureReference, Result, Revision, Timestamp};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    app::{self, Materializer},
    training::{self, Event, Events, Pieces},
};

/// [`Materializer`] as a gRPC service.
#[derive(Clone)]
pub struct MaterializerGrpc(pub Arc<Materializer>);

type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl MaterializerService for MaterializerGrpc {
    async fn materialize(
        &self,
        request: Request<api::MaterializeRequest>,
    ) -> Result<Response<api::MaterializeResponse>, Status> {
        answer(request, async |call, api::MaterializeRequest { project, views, range, min_revision }| {
            let scope = match range {
                None => Scope::Full,
                Some(range) => {
                    let (start, end) = range_from_wire(range, &Path::ROOT.field("range"))?;
                    Scope::Range { start, end }
                }
            };
            let request = app::Request { project, views, scope, tick: None, min_revision: Revision(min_revision) };
            Ok(api::MaterializeResponse { runs: self.materialize_views(&call, request).await? })
        })
        .await
    }

    async fn materialize_incremental(
        &self,
        request: Request<api::MaterializeIncrementalRequest>,
    ) -> Result<Response<api::MaterializeIncrementalResponse>, Status> {
        answer(request, async |call, message| {
            let api::MaterializeIncrementalRequest { project, views, min_revision, scheduled_at } = message;
            let tick = scheduled_at.map(Timestamp::from_micros);
            let min_revision = Revision(min_revision);
            let request = app::Request { project, views, scope: Scope::Incremental, tick, min_revision };
            Ok(api::MaterializeIncrementalResponse { runs: self.materialize_views(&call, request).await? })
        })
        .await
    }

    async fn get_run(&self, request: Request<api::GetRunRequest>) -> Result<Response<api::GetRunResponse>, Status> {
        answer(request, async |call, api::GetRunRequest { project, run_id }| {
            let name = Path::ROOT.name("project", &project)?;
            authorize(&call.caller, Action::ReadRuns, &[Resource::run(&project, &run_id)])?;
            let run = self.0.runs.get(&name, &run_id).await?;
            Ok(api::GetRunResponse { run: Some(run.to_wire()) })
        })
        .await
    }

    async fn list_runs(
        &self,
        request: Request<api::ListRunsRequest>,
    ) -> Result<Response<api::ListRunsResponse>, Status> {
        answer(request, async |call, api::ListRunsRequest { project, view, states, page_size, page_token }| {
            let name = Path::ROOT.name("project", &project)?;
            authorize(&call.caller, Action::ReadRuns, &[Resource::project(&project)])?;
            let at = Path::ROOT.field("states");
            let states = states.into_iter().map(|state| RunState::from_wire(state, &at)).collect::<Result<_>>()?;
            let view = Path::ROOT.optional_name("view", &view)?;
            let page = self.0.runs.list(&name, &RunFilter { view, states, page_size, page_token }).await?;
            Ok(api::ListRunsResponse {
                runs: page.runs.iter().map(Wire::to_wire).collect(),
                next_page_token: page.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    type WatchRunStream = AnswerStream<api::WatchRunResponse>;

    async fn watch_run(
        &self,
        request: Request<api::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        answer(request, async |call, api::WatchRunRequest { project, run_id }| {
            let name = Path::ROOT.name("project", &project)?;
            authorize(&call.caller, Action::ReadRuns, &[Resource::run(&project, &run_id)])?;
            let runs = self.0.runs.watch(&name, &run_id).await?;
            let answers = runs
                .map_ok(|run| api::WatchRunResponse { run: Some(run.to_wire()) })
                .map_err(|error| to_status(&error));
            Ok(Box::pin(answers) as Self::WatchRunStream)
        })
        .await
    }

    async fn cancel_run(
        &self,
        request: Request<api::CancelRunRequest>,
    ) -> Result<Response<api::CancelRunResponse>, Status> {
        answer(request, async |call, api::CancelRunRequest { project, run_id }| {
            let name = Path::ROOT.name("project", &project)?;
            authorize(&call.caller, Action::CancelRun, &[Resource::run(&project, &run_id)])?;
            let run = self.0.runs.cancel(&name, &run_id).await?;
            Ok(api::CancelRunResponse { run: Some(run.to_wire()) })
        })
        .await
    }

    type GetHistoricalFeaturesStream = AnswerStream<api::GetHistoricalFeaturesResponse>;

    async fn get_historical_features(
        &self,
        request: Request<Streaming<api::GetHistoricalFeaturesRequest>>,
    ) -> Result<Response<Self::GetHistoricalFeaturesStream>, Status> {
        let call = CallContext::of(&request);
        let events = self.train(request.into_inner(), &call).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(Box::pin(answers(events).map_err(|error| to_status(&error)))))
    }
}

impl MaterializerGrpc {
    async fn materialize_views(&self, call: &CallContext, request: app::Request) -> Result<Vec<registry::Run>> {
        authorize(&call.caller, Action::Materialize, &[Resource::project(&request.project)])?;
        let runs = self.0.materialize(request, call.patience()).await?;
        Ok(runs.iter().map(Wire::to_wire).collect())
    }

    async fn train(
        &self,
        mut messages: Streaming<api::GetHistoricalFeaturesRequest>,
        call: &CallContext,
    ) -> Result<Events> {
        let request = read_specification(&mut messages).await?;
        let is_named = request.spine.is_some();
        let of_message = move |error: Error| error.rename_fields(|field| field_of_message(field, is_named));
        let events = self.build(request, messages, call).await.map_err(of_message)?;
        Ok(events.map_err(of_message).boxed())
    }

    async fn build(
        &self,
        request: training::Request,
        messages: Streaming<api::GetHistoricalFeaturesRequest>,
        call: &CallContext,
    ) -> Result<Events> {
        let training = &self.0.training;
        let admitted = training.admit(request, call).await?;
        if admitted.wants_spine() {
            let spine = training.streamed_spine(pieces(messages)).await?;
            return training.build(admitted, Some(spine), pending().boxed()).await;
        }
        let mut objection = objection(messages).boxed();
        // What is here already makes no run.
        if let Some(error) = (&mut objection).now_or_never() {
            return Err(error);
        }
        training.build(admitted, None, objection).await
    }
}

/// The field of the message that a training set knows by another name: columns of the spine are those of what was sent for it.
fn field_of_message(field: &str, spine_is_named: bool) -> Option<String> {
    let (first, rest) = field.split_at(field.find('.').unwrap_or(field.len()));
    match first {
        "project" | "features" => Some(format!("specification.{field}")),
        "output" => Some(format!("specification.output_path{rest}")),
        "spine" | "entities" | "request_data" if spine_is_named => Some(format!("specification.spine_path{rest}")),
        "entities" | "request_data" => Some(format!("spine{rest}")),
        _ => None,
    }
}

async fn read_specification(messages: &mut Streaming<api::GetHistoricalFeaturesRequest>) -> Result<training::Request> {
    let first = messages.message().await.map_err(unreadable)?.and_then(|message| message.part);
    let Some(RequestPart::Specification(specification)) = first else {
        return Err(Path::ROOT.field("part").invalid("the first message is the specification"));
    };
    let at = Path::ROOT.field("specification");
    let api::TrainingSetSpecification {
        project,
        features,
        spine_path,
        event_time,
        output_path,
        full_names,
        min_revision,
    } = specification;
    if event_time.is_empty() {
        return Err(at.field("event_time").invalid("is missing: name the spine's column with the time"));
    }
    let features = asked(at.required("features", features)?, &at)?;
    Ok(training::Request {
        project,
        features,
        full_names,
        spine: (!spine_path.is_empty()).then_some(spine_path),
        event_time,
        output: (!output_path.is_empty()).then_some(output_path),
        min_revision: Revision(min_revision),
    })
}

fn asked(features: Features, at: &Path<'_>) -> Result<Asked> {
    match features {
        Features::FeatureService(name) => Ok(Asked::Service(at.name("feature_service", &name)?)),
        Features::References(api::FeatureReferences { references }) => {
            let at = at.field("references");
            let at = at.field("references");
            let read = |(position, text): (usize, &String)| {
                text.parse::<FeatureReference>().map_err(|error| at.index(position).invalid(error.message()))
            };
            Ok(Asked::References(references.iter().enumerate().map(read).collect::<Result<_>>()?))
        }
    }
}

/// The pieces of a spine that is streamed in.
fn pieces(mut messages: Streaming<api::GetHistoricalFeaturesRequest>) -> Pieces {
    let pieces = try_stream! {
        while let Some(piece) = next_piece(&mut messages).await? {
            yield piece;
        }
    };
    pieces.boxed()
}

/// What is wrong, once more comes than a specification that names its spine: a spine that is streamed in beside it would be
/// ignored.
async fn objection(mut messages: Streaming<api::GetHistoricalFeaturesRequest>) -> Error {
    match next_piece(&mut messages).await {
        Ok(Some(_)) => Path::ROOT
            .field("part")
            .invalid("a spine is streamed in and named by specification.spine_path, too: one of both is meant"),
        Err(error) if error.code() == ErrorCode::InvalidArgument => error,
        // That nothing more comes is as it should be.
        Ok(None) | Err(_) => pending().await,
    }
}

fn unreadable(status: Status) -> Error {
    from_status(of_unreadable_request(status))
}

async fn next_piece(messages: &mut Streaming<api::GetHistoricalFeaturesRequest>) -> Result<Option<Bytes>> {
    match messages.message().await.map_err(unreadable)?.map(|message| message.part) {
        None => Ok(None),
        Some(Some(RequestPart::Spine(piece))) => Ok(Some(piece)),
        Some(Some(RequestPart::Specification(_)) | None) => {
            Err(Path::ROOT.field("part").invalid("after the first message come pieces of the spine"))
        }
    }
}

/// Events as messages: batches become pieces of one Arrow IPC stream.
fn answers(mut events: Events) -> impl Stream<Item = Result<api::GetHistoricalFeaturesResponse>> + Send {
    let response = |part| api::GetHistoricalFeaturesResponse { part: Some(part) };
    try_stream! {
        let mut encoder: Option<IpcEncoder> = None;
        while let Some(event) = events.next().await {
            match event? {
                Event::Started(run) => yield response(ResponsePart::Started(run.to_wire())),
                Event::Schema(schema) => encoder = Some(IpcEncoder::new(&schema)?),
                Event::Batch(batch) => {
                    let encoder = encoder.as_mut().ok_or_else(|| Error::internal("a batch came before its schema"))?;
                    for piece in encoder.encode(&batch)? {
                        yield response(ResponsePart::Data(piece));
                    }
                }
                Event::Progress(progress) => yield response(ResponsePart::Progress(progress.to_wire())),
                Event::Finished(run) => {
                    if let Some(encoder) = encoder.take() {
                        for piece in encoder.finish()? {
                            yield response(ResponsePart::Data(piece));
                        }
                    }
                    yield response(ResponsePart::Finished(run.to_wire()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_message() {
        for (field, named, streamed) in [
            ("output", "specification.output_path", "specification.output_path"),
            ("spine", "specification.spine_path", "spine"),
            ("spine.i", "specification.spine_path.i", "spine.i"),
            ("entities.i", "specification.spine_path.i", "spine.i"),
            ("features", "specification.features", "specification.features"),
            ("part", "part", "part"),
        ] {
            let told = |is_named| field_of_message(field, is_named).unwrap_or_else(|| field.to_owned());
            assert_eq!((told(true).as_str(), told(false).as_str()), (named, streamed));
        }
    }

    #[test]
    fn a_reference_that_is_none_is_named() {
        let references = vec!["profile".to_owned(), "profile..age".to_owned()];
        let features = Features::References(api::FeatureReferences { references });
        let error = asked(features, &Path::ROOT.field("specification")).unwrap_err();
        assert_eq!(error.violations()[0].field, "specification.references.references[1]");
        assert!(error.message().contains("is not a feature reference"), "{error}");
    }
}
