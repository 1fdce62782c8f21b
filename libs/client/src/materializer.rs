//! History to the online store, and training sets.

use std::pin::Pin;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use larder_contracts::{
    Path, Wire as _,
    ipc::{IpcDecoder, IpcEncoder},
    materializer::v1::{self as api, materializer_service_client::MaterializerServiceClient},
    runs::range_to_wire,
    status::from_status,
};
use larder_definitions::{
    Asked,
    run::{Progress, Run},
};
use larder_types::{Error, Name, Result, Revision, Timestamp};

use crate::{
    RunFilter, RunPage, RunStream, Transport,
    call::{client, streaming, unary},
    runs::{read_page, read_run},
};

client! {
    /// Starts and follows runs, and builds training sets.
    MaterializerClient over MaterializerServiceClient<Transport>
}

/// What a training set is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingSet {
    /// The project.
    pub project: Name,
    /// A feature service, or references.
    pub features: Asked,
    /// A Parquet or CSV file, folder or glob under a configured root; none: the spine is streamed in.
    pub spine_path: Option<String>,
    /// The spine's column with the time.
    pub event_time: String,
    /// A Parquet file to write, under a configured root; none: the result is streamed out.
    pub output_path: Option<String>,
    /// Whether features are named `view.feature`.
    pub full_names: bool,
    /// The service waits until it knows this revision.
    pub min_revision: Revision,
}

/// What comes while a training set is built.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingSetEvent {
    /// The first: the run this is.
    Started(Box<Run>),
    /// Rows of the result, in the order of the spine; of one without rows, its columns.
    Rows(RecordBatch),
    /// How much was done.
    Progress(Progress),
    /// The last: how the run ended.
    Finished(Box<Run>),
}

/// A training set while it is built. An error, or the end without [`TrainingSetEvent::Finished`], means that it is not whole.
pub type TrainingSetStream = BoxStream<'static, Result<TrainingSetEvent>>;

/// The spine's batches, all of one schema.
type Spine = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

impl MaterializerClient {
    /// Starts a run for each view (empty: all that are served) over its history, or a range of it.
    pub async fn materialize(
        &self,
        project: &Name,
        views: &[Name],
        range: Option<(Timestamp, Timestamp)>,
        min_revision: Revision,
    ) -> Result<Vec<Run>> {
        let message = api::MaterializeRequest {
            project: project.to_string(),
            views: views.iter().map(ToString::to_string).collect(),
            range: range.map(|(start, end)| range_to_wire(start, end)),
            min_revision: min_revision.0,
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.materialize(request).await }).await?;
        let api::MaterializeResponse { runs } = answer;
        Path::ROOT.read_all("runs", runs)
    }

    /// Starts a run for each view (empty: all that are served) over what arrived since the last one.
    ///
    /// `scheduled_at` names the runs by an instant of their schedule: asked for twice, run once.
    pub async fn materialize_incremental(
        &self,
        project: &Name,
        views: &[Name],
        scheduled_at: Option<Timestamp>,
        min_revision: Revision,
    ) -> Result<Vec<Run>> {
        let message = api::MaterializeIncrementalRequest {
            project: project.to_string(),
            views: views.iter().map(ToString::to_string).collect(),
            min_revision: min_revision.0,
            scheduled_at: scheduled_at.map(Timestamp::as_micros),
        };
        let mut client = self.client.clone();
        let call = |request| async move { client.materialize_incremental(request).await };
        let api::MaterializeIncrementalResponse { runs } = unary(self.deadline, message, call).await?;
        Path::ROOT.read_all("runs", runs)
    }

    /// The run as it stands.
    pub async fn get_run(&self, project: &Name, run_id: &str) -> Result<Run> {
        let message = api::GetRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.get_run(request).await }).await?;
        let api::GetRunResponse { run } = answer;
        read_run(run)
    }

    /// Runs, newest first.
    pub async fn list_runs(&self, project: &Name, filter: &RunFilter) -> Result<RunPage> {
        let message = api::ListRunsRequest {
            project: project.to_string(),
            view: filter.view_to_wire(),
            states: filter.states_to_wire(),
            page_size: filter.page_size,
            page_token: filter.page_token.clone(),
        };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.list_runs(request).await }).await?;
        let api::ListRunsResponse { runs, next_page_token } = answer;
        read_page(runs, next_page_token)
    }

    /// The run now and at each change, until it has ended.
    pub async fn watch_run(&self, project: &Name, run_id: &str) -> Result<RunStream> {
        let message = api::WatchRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answers = streaming(self.deadline, async move { client.watch_run(message).await }).await?;
        let read = |answer: std::result::Result<api::WatchRunResponse, tonic::Status>| {
            let api::WatchRunResponse { run } = answer.map_err(from_status)?;
            read_run(run)
        };
        Ok(answers.map(read).boxed())
    }

    /// Wants the run stopped.
    pub async fn cancel_run(&self, project: &Name, run_id: &str) -> Result<Run> {
        let message = api::CancelRunRequest { project: project.to_string(), run_id: run_id.to_owned() };
        let mut client = self.client.clone();
        let answer = unary(self.deadline, message, |request| async move { client.cancel_run(request).await }).await?;
        let api::CancelRunResponse { run } = answer;
        read_run(run)
    }

    /// Builds a training set. `spine` is sent where the specification names no path; an error of it ends the stream.
    pub async fn training_set(
        &self,
        set: &TrainingSet,
        spine: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Result<TrainingSetStream> {
        let (report, refused) = tokio::sync::oneshot::channel();
        let spine: Spine = Box::pin(spine);
        let specification = specification_to_wire(set);
        let messages = async_stream::stream! {
            yield message(api::get_historical_features_request::Part::Specification(specification));
            let mut pieces = spine_pieces(spine);
            loop {
                match pieces.try_next().await {
                    Ok(Some(piece)) => yield message(api::get_historical_features_request::Part::Spine(piece)),
                    Ok(None) => return,
                    Err(error) => {
                        let _ = report.send(error);
                        return;
                    }
                }
            }
        };
        let mut client = self.client.clone();
        let answers = streaming(self.deadline, async move { client.get_historical_features(messages).await }).await?;
        Ok(events(answers.map_err(from_status).boxed(), refused).boxed())
    }
}

fn message(part: api::get_historical_features_request::Part) -> api::GetHistoricalFeaturesRequest {
    api::GetHistoricalFeaturesRequest { part: Some(part) }
}

fn specification_to_wire(set: &TrainingSet) -> api::TrainingSetSpecification {
    let TrainingSet { project, features, spine_path, event_time, output_path, full_names, min_revision } = set.clone();
    let features = match features {
        Asked::Service(name) => api::training_set_specification::Features::FeatureService(name.to_string()),
        Asked::References(references) => {
            let references = references.iter().map(ToString::to_string).collect();
            api::training_set_specification::Features::References(api::FeatureReferences { references })
        }
    };
    api::TrainingSetSpecification {
        project: project.to_string(),
        features: Some(features),
        spine_path: spine_path.unwrap_or_default(),
        event_time,
        output_path: output_path.unwrap_or_default(),
        full_names,
        min_revision: min_revision.0,
    }
}

/// The spine as one Arrow IPC stream; nothing where it has no batch.
fn spine_pieces(mut spine: Spine) -> BoxStream<'static, Result<bytes::Bytes>> {
    let pieces = async_stream::try_stream! {
        let mut encoder: Option<IpcEncoder> = None;
        while let Some(batch) = spine.next().await {
            let batch = batch?;
            let encoder = match &mut encoder {
                Some(encoder) => encoder,
                none => none.insert(IpcEncoder::new(&batch.schema())?),
            };
            for piece in encoder.encode(&batch)? {
                yield piece;
            }
        }
        if let Some(encoder) = encoder {
            for piece in encoder.finish()? {
                yield piece;
            }
        }
    };
    pieces.boxed()
}

fn events(
    mut answers: BoxStream<'static, Result<api::GetHistoricalFeaturesResponse>>,
    mut refused: tokio::sync::oneshot::Receiver<Error>,
) -> impl Stream<Item = Result<TrainingSetEvent>> {
    async_stream::try_stream! {
        let mut decoder = IpcDecoder::new();
        let (mut whole, mut has_rows) = (false, false);
        while let Some(answer) = answers.next().await {
            // Our own spine is at fault rather than what the service makes of its sudden end.
            if let Ok(error) = refused.try_recv() {
                Err(error)?;
            }
            let api::GetHistoricalFeaturesResponse { part } = answer?;
            match Path::ROOT.required("part", part)? {
                api::get_historical_features_response::Part::Started(run) => {
                    yield TrainingSetEvent::Started(Box::new(Run::from_wire(run, &Path::ROOT.field("started"))?));
                }
                api::get_historical_features_response::Part::Data(piece) => {
                    for rows in decoder.decode(piece)? {
                        has_rows = true;
                        yield TrainingSetEvent::Rows(rows);
                    }
                }
                api::get_historical_features_response::Part::Progress(progress) => {
                    let progress = Progress::from_wire(progress, &Path::ROOT.field("progress"))?;
                    yield TrainingSetEvent::Progress(progress);
                }
                api::get_historical_features_response::Part::Finished(run) => {
                    whole = true;
                    if let Some(schema) = decoder.schema().filter(|_| !has_rows) {
                        yield TrainingSetEvent::Rows(RecordBatch::new_empty(schema));
                    }
                    yield TrainingSetEvent::Finished(Box::new(Run::from_wire(run, &Path::ROOT.field("finished"))?));
                }
            }
        }
        if let Ok(error) = refused.try_recv() {
            Err(error)?;
        }
        if !whole {
            Err(Error::unavailable("the stream of a training set ended before its run"))?;
        }
    }
}
