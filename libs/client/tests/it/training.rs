//! Training sets: a spine in, rows out, and a spine that breaks off.

use std::sync::{Arc, Mutex};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use larder_client::{Asked, MaterializerClient, TrainingSet, TrainingSetEvent};
use larder_contracts::{
    Wire as _,
    ipc::{IpcDecoder, IpcEncoder},
    materializer::v1::{
        self as api,
        get_historical_features_request::Part,
        get_historical_features_response::Part as Answer,
        materializer_service_server::{MaterializerService, MaterializerServiceServer},
    },
    status::to_status,
};
use larder_definitions::run::{Progress, Run, RunRequest, RunState, TrainingSetRequest};
use larder_types::{Error, ErrorCode, Revision, Timestamp};
use tonic::{Request, Response, Status, Streaming};

use crate::fake::{both_ways, name, silent};

/// Gives the spine back as the training set. Whether each spine was whole is kept.
#[derive(Clone, Default)]
struct Materializer {
    whole: Arc<Mutex<Vec<bool>>>,
}

fn run(state: RunState) -> Run {
    let request = TrainingSetRequest {
        feature_service: Some(name("service")),
        references: Vec::new(),
        spine: "streamed".into(),
        event_time: "t".to_owned(),
        output: "streamed".into(),
        full_names: false,
    };
    Run {
        id: "run".into(),
        request: RunRequest::TrainingSet(request),
        principal: "anonymous".into(),
        traceparent: None,
        state,
        created_at: Timestamp::from_micros(5),
        ended_at: None,
        lease: None,
        plan: None,
        parts_done: Vec::new(),
        progress: Progress::default(),
        cancel_requested: false,
        error: None,
        result: None,
    }
}

impl Materializer {
    async fn build(self, mut requests: Streaming<api::GetHistoricalFeaturesRequest>) -> Result<Vec<Answer>, Status> {
        let first = requests.message().await?.and_then(|request| request.part);
        let Some(Part::Specification(_)) = first else { return Err(Status::invalid_argument("no specification")) };
        let mut answers = vec![Answer::Started(run(RunState::Running).to_wire())];
        let (mut decoder, mut encoder) = (IpcDecoder::new(), None::<IpcEncoder>);
        while let Some(request) = requests.message().await? {
            let Some(Part::Spine(piece)) = request.part else { return Err(Status::invalid_argument("no spine")) };
            for batch in decoder.decode(piece).map_err(|error| to_status(&error))? {
                let encoder = encoder.get_or_insert_with(|| IpcEncoder::new(&batch.schema()).unwrap());
                answers.extend(encoder.encode(&batch).unwrap().into_iter().map(Answer::Data));
                answers.push(Answer::Progress(Progress { read: 1, ..Progress::default() }.to_wire()));
            }
        }
        let whole = decoder.finish();
        self.whole.lock().unwrap().push(whole.is_ok());
        whole.map_err(|error| to_status(&error))?;
        answers.extend(encoder.into_iter().flat_map(|encoder| encoder.finish().unwrap()).map(Answer::Data));
        answers.push(Answer::Finished(run(RunState::Succeeded).to_wire()));
        Ok(answers)
    }
}

#[tonic::async_trait]
impl MaterializerService for Materializer {
    type WatchRunStream = BoxStream<'static, Result<api::WatchRunResponse, Status>>;
    type GetHistoricalFeaturesStream = BoxStream<'static, Result<api::GetHistoricalFeaturesResponse, Status>>;

    async fn get_historical_features(
        &self,
        request: Request<Streaming<api::GetHistoricalFeaturesRequest>>,
    ) -> Result<Response<Self::GetHistoricalFeaturesStream>, Status> {
        let built = futures::stream::once(self.clone().build(request.into_inner()));
        let answers = built.map_ok(|answers| futures::stream::iter(answers.into_iter().map(Ok))).try_flatten();
        Ok(Response::new(answers.map_ok(|part| api::GetHistoricalFeaturesResponse { part: Some(part) }).boxed()))
    }

    async fn watch_run(&self, _: Request<api::WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        let states = [RunState::Pending, RunState::Running, RunState::Succeeded];
        let answers = states.map(|state| Ok(api::WatchRunResponse { run: Some(run(state).to_wire()) }));
        Ok(Response::new(futures::stream::iter(answers).boxed()))
    }

    silent! {
        materialize(api::MaterializeRequest) -> api::MaterializeResponse;
        materialize_incremental(api::MaterializeIncrementalRequest) -> api::MaterializeIncrementalResponse;
        get_run(api::GetRunRequest) -> api::GetRunResponse;
        list_runs(api::ListRunsRequest) -> api::ListRunsResponse;
        cancel_run(api::CancelRunRequest) -> api::CancelRunResponse;
    }
}

fn spine(rows: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows));
    RecordBatch::try_new(Arc::new(schema), vec![ids]).unwrap()
}

fn training_set() -> TrainingSet {
    TrainingSet {
        project: name("payments"),
        features: Asked::Service(name("service")),
        spine_path: None,
        event_time: "event_timestamp".into(),
        output_path: None,
        full_names: false,
        min_revision: Revision(0),
    }
}

#[tokio::test]
async fn a_spine_goes_in_and_rows_come_out_between_start_and_end() {
    let fake = Materializer::default();
    for transport in both_ways(MaterializerServiceServer::new(fake.clone())).await {
        // More than one piece, and more than the windows of a connection hold.
        let batches = [spine(0..400_000), spine(0..0), spine(400_000..400_010)];
        let sent = futures::stream::iter(batches.clone().map(Ok));
        let client = MaterializerClient::new(transport);
        let events: Vec<_> = client.training_set(&training_set(), sent).await.unwrap().try_collect().await.unwrap();
        assert!(matches!(&events[0], TrainingSetEvent::Started(run) if run.state == RunState::Running));
        assert!(matches!(events.last(), Some(TrainingSetEvent::Finished(run)) if run.state == RunState::Succeeded));
        let rows = events.iter().filter_map(|event| match event {
            TrainingSetEvent::Rows(rows) => Some(rows.clone()),
            TrainingSetEvent::Started(_) | TrainingSetEvent::Progress(_) | TrainingSetEvent::Finished(_) => None,
        });
        assert_eq!(rows.collect::<Vec<_>>(), batches);
    }
    assert_eq!(*fake.whole.lock().unwrap(), [true, true]);
}

#[tokio::test]
async fn a_spine_that_breaks_off_is_never_taken_for_a_whole_one() {
    let fake = Materializer::default();
    for transport in both_ways(MaterializerServiceServer::new(fake.clone())).await {
        let sent = futures::stream::iter([Ok(spine(0..10)), Err(Error::invalid_argument("row 10 has no time"))]);
        let client = MaterializerClient::new(transport);
        let events: Result<Vec<_>, _> = client.training_set(&training_set(), sent).await.unwrap().try_collect().await;
        let error = events.unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::InvalidArgument, "row 10 has no time"));
    }
    assert_eq!(*fake.whole.lock().unwrap(), [false, false]);
}

#[tokio::test]
async fn a_run_is_watched_until_it_has_ended() {
    for transport in both_ways(MaterializerServiceServer::new(Materializer::default())).await {
        let client = MaterializerClient::new(transport);
        let runs: Vec<_> = client.watch_run(&name("payments"), "run").await.unwrap().try_collect().await.unwrap();
        assert_eq!(runs, [RunState::Pending, RunState::Running, RunState::Succeeded].map(run));
    }
}
