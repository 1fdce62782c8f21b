//! Training sets through the service: however one goes, its run ends, and says how.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::IntervalMonthDayNano,
};
use futures::{Stream, StreamExt, stream};
use larder_client::{Asked, MaterializerClient, TrainingSet, TrainingSetEvent, TrainingSetStream};
use larder_definitions::run::{LEASE_TERM, Run, RunRequest, RunState, Scope, TrainingSetRequest};
use larder_materializer::{config::Config, training::THREAD_NAME};
use larder_service::config::{ByteSize, Span};
use larder_types::{Error, ErrorCode, Result, Revision};
use parquet::arrow::ArrowWriter;
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Feed, Row},
    interrupted::Interrupted,
};

/// A project with a little history.
async fn feed() -> Feed {
    let feed = Feed::new(false).await;
    let row = |id| Row { id, event: 1, created: None, deleted: false, letter: 'a' };
    feed.write("a.parquet", &[row(1), row(2)], true);
    feed.clock.advance(Duration::from_secs(3600));
    feed
}

fn set(feed: &Feed) -> TrainingSet {
    TrainingSet {
        project: feed.project.clone(),
        features: Asked::References(vec!["profile".parse().unwrap()]),
        spine_path: None,
        event_time: "t".to_owned(),
        output_path: None,
        full_names: false,
        min_revision: Revision(0),
    }
}

fn spine_of_three() -> RecordBatch {
    spine_of(3)
}

fn spine_of(rows: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=rows));
    let times = TimestampMicrosecondArray::from_iter_values((0..rows).map(|_| 60_000_000));
    RecordBatch::try_from_iter([("id", ids), ("t", Arc::new(times.with_timezone("UTC")) as ArrayRef)]).unwrap()
}

/// A spine whose end does not come.
fn endless() -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::iter([Ok(spine_of_three())]).chain(stream::pending())
}

/// The run of a training set, which has begun.
async fn started(events: &mut TrainingSetStream) -> Run {
    let event = events.next().await.unwrap().unwrap();
    let TrainingSetEvent::Started(run) = event else { panic!("{event:?}") };
    *run
}

/// Reads to the end; gives the rows.
async fn all(mut events: TrainingSetStream) -> Result<(Run, usize)> {
    let mut rows = 0;
    while let Some(event) = events.next().await {
        match event? {
            TrainingSetEvent::Rows(batch) => rows += batch.num_rows(),
            TrainingSetEvent::Finished(run) => return Ok((*run, rows)),
            TrainingSetEvent::Started(_) | TrainingSetEvent::Progress(_) => {}
        }
    }
    Err(Error::unavailable("it ended early"))
}

#[tokio::test]
async fn one_that_is_read_to_its_end_succeeds() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let events =
        client.training_set(&set(&feed), stream::iter([Ok(spine_of_three()), Ok(spine_of_three())])).await.unwrap();
    let (run, rows) = all(events).await.unwrap();
    assert_eq!((run.state, rows, run.progress.written), (RunState::Succeeded, 6, 6), "{run:?}");
    assert_eq!(run.plan.unwrap().spine.as_ref().unwrap().rows, 6);
    assert_eq!(feed.run(&run.id).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn one_whose_caller_goes_away_is_cancelled() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    for reads in [0, 2] {
        let mut events = client.training_set(&set(&feed), endless()).await.unwrap();
        let run = started(&mut events).await;
        for _ in 0..reads {
            assert!(matches!(events.next().await, Some(Ok(TrainingSetEvent::Progress(_)))));
        }
        assert_eq!(feed.run(&run.id).await.state, RunState::Running);
        drop(events);
        assert_eq!(feed.ended(&run.id).await.state, RunState::Cancelled);
    }
}

/// One that has its turn until its result is read, which nobody does.
async fn unread(feed: &Feed, client: &MaterializerClient) -> TrainingSetStream {
    let mut events = client.training_set(&set(feed), stream::iter([Ok(spine_of(200_000))])).await.unwrap();
    let run = started(&mut events).await;
    // Its plan is fixed once it has its turn.
    while feed.run(&run.id).await.plan.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    events
}

/// Two at once is the default.
#[tokio::test]
async fn one_waits_for_its_turn_while_others_are_computed() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let mut others = vec![unread(&feed, &client).await, unread(&feed, &client).await];
    let mut waiting = client.training_set(&set(&feed), stream::iter([Ok(spine_of_three())])).await.unwrap();
    let run = started(&mut waiting).await;
    for _ in 0..2 {
        assert!(matches!(waiting.next().await, Some(Ok(TrainingSetEvent::Progress(_)))));
    }
    assert!(feed.run(&run.id).await.plan.is_none());
    others.pop();
    assert_eq!(all(waiting).await.unwrap().1, 3);

    // One that waits can be cancelled, and its caller can go.
    others.push(unread(&feed, &client).await);
    for goes in [true, false] {
        let spine = stream::iter([Ok(spine_of_three())]);
        let mut waiting = client.training_set(&set(&feed), spine).await.unwrap();
        let run = started(&mut waiting).await;
        if goes {
            drop(waiting);
        } else {
            client.cancel_run(&feed.project, &run.id).await.unwrap();
        }
        assert_eq!(feed.ended(&run.id).await.state, RunState::Cancelled);
    }
}

/// More of them than have their turn at once.
#[tokio::test]
async fn callers_who_never_finish_their_spines_keep_nobody_waiting() {
    let feed = feed().await;
    let config = Config { concurrent_training_sets: 1, ..Config::default() };
    let (client, _shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    let mut unfinished = Vec::new();
    for _ in 0..5 {
        let mut events = client.training_set(&set(&feed), endless()).await.unwrap();
        started(&mut events).await;
        unfinished.push(events);
    }
    for _ in 0..2 {
        let other = client.training_set(&set(&feed), stream::iter([Ok(spine_of_three())])).await.unwrap();
        assert_eq!(all(other).await.unwrap().1, 3);
    }
    // Nor does one whose turn comes while they send on.
    let path = feed.path("../spine.parquet");
    let mut file = ArrowWriter::try_new(fs::File::create(&path).unwrap(), spine_of_three().schema(), None).unwrap();
    file.write(&spine_of_three()).unwrap();
    file.close().unwrap();
    let spine_path = Some(path.canonicalize().unwrap().to_str().unwrap().to_owned());
    let named = client.training_set(&TrainingSet { spine_path, ..set(&feed) }, stream::empty()).await.unwrap();
    assert_eq!(all(named).await.unwrap().1, 3);
    for events in &mut unfinished {
        assert!(matches!(events.next().await, Some(Ok(TrainingSetEvent::Progress(_)))));
    }
}

#[tokio::test]
async fn one_whose_spine_does_not_go_on_ends() {
    let feed = feed().await;
    let mut config = Config::default();
    config.server.stream_idle_limit = Span::seconds(1);
    let (client, _shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    let mut events = client.training_set(&set(&feed), endless()).await.unwrap();
    let run = started(&mut events).await;
    let error = all(events).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    assert!(error.message().contains("materializer.server.stream_idle_limit"), "{error}");
    assert_eq!(feed.ended(&run.id).await.state, RunState::Failed);
}

/// Before anything is made for it, or computed.
#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_with_its_field() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let root = feed.path("..").canonicalize().unwrap();
    let inside = |name: &str| Some(root.join(name).to_str().unwrap().to_owned());
    let relative = || Some("set.parquet".to_owned());
    let nothing = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::ZERO]);
    let columns = |batch: RecordBatch| {
        [("i", Arc::new(nothing.clone()) as ArrayRef)]
            .into_iter()
            .chain([("id", batch.column(0).clone()), ("t", batch.column(1).clone())])
    };
    let interval = RecordBatch::try_from_iter(columns(spine_of(1))).unwrap();
    let plain = set(&feed);
    let [spine_path, output_path] = ["specification.spine_path", "specification.output_path"];
    for (set, spine, field, says) in [
        (TrainingSet { spine_path: relative(), ..plain.clone() }, None, spine_path, "is a relative path"),
        (TrainingSet { spine_path: inside("[/x.parquet"), ..plain.clone() }, None, spine_path, "is not a pattern"),
        (
            TrainingSet { output_path: relative(), ..plain.clone() },
            Some(spine_of_three()),
            output_path,
            "is a relative path",
        ),
        (
            TrainingSet { output_path: inside("*.parquet"), ..plain.clone() },
            Some(spine_of_three()),
            output_path,
            "is a pattern, in which `*`, `?` and `[` stand for others: name one file",
        ),
        (
            TrainingSet { output_path: inside("set.parquet"), ..plain.clone() },
            Some(interval),
            "spine.i",
            "which Parquet cannot hold",
        ),
    ] {
        let error = match client.training_set(&set, stream::iter(spine.map(Ok))).await {
            Ok(events) => all(events).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, [field], "{error}");
        assert!(error.message().contains(says), "{error}");
    }
    assert!(feed.all_runs().await.iter().all(|run| run.plan.is_none()));
}

#[tokio::test]
async fn a_batch_of_the_spine_that_is_too_great_is_refused() {
    let feed = feed().await;
    let config = Config { training_memory: ByteSize::mebibytes(1), ..Config::default() };
    let (client, _shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    let error = match client.training_set(&set(&feed), stream::iter([Ok(spine_of(200_000))])).await {
        Ok(events) => all(events).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.message().contains("have more than 1048576 bytes: send smaller ones"), "{error}");
}

/// Else two whose callers forgot them would keep all others waiting.
#[tokio::test]
async fn one_whose_caller_takes_nothing_gives_its_place_up() {
    let feed = feed().await;
    let mut config = Config { concurrent_training_sets: 1, ..Config::default() };
    config.server.stream_idle_limit = Span::seconds(1);
    let (client, _shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    let mut forgotten = client.training_set(&set(&feed), stream::iter([Ok(spine_of(200_000))])).await.unwrap();
    let run = started(&mut forgotten).await;
    let other = client.training_set(&set(&feed), stream::iter([Ok(spine_of_three())])).await.unwrap();
    assert_eq!(all(other).await.unwrap().1, 3);
    let run = feed.ended(&run.id).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(
        run.error.unwrap().contains("nothing of the result was taken for 1s (materializer.server.stream_idle_limit)")
    );
    assert_eq!(all(forgotten).await.unwrap_err().code(), ErrorCode::Unavailable);
}

#[tokio::test]
async fn one_that_somebody_cancels_stops_and_is_cancelled() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let mut events = client.training_set(&set(&feed), endless()).await.unwrap();
    let run = started(&mut events).await;
    client.cancel_run(&feed.project, &run.id).await.unwrap();
    let error = all(events).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Cancelled, "{error}");
    assert_eq!(feed.run(&run.id).await.state, RunState::Cancelled);
}

#[tokio::test]
async fn one_of_a_process_that_stops_fails_and_says_so() {
    let feed = feed().await;
    let (client, shutdown) = feed.service();
    let mut events = client.training_set(&set(&feed), endless()).await.unwrap();
    let run = started(&mut events).await;
    shutdown.begin("the test stops it");
    assert_eq!(all(events).await.unwrap_err().code(), ErrorCode::Unavailable);
    let run = feed.ended(&run.id).await;
    assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some("the materializer was stopped")));
}

#[tokio::test]
async fn one_that_fails_ends_its_run_with_the_reason() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let broken = TrainingSet { event_time: "when".to_owned(), ..set(&feed) };
    let mut events = client.training_set(&broken, endless()).await.unwrap();
    let run = started(&mut events).await;
    let error = all(events).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    let run = feed.ended(&run.id).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.error.unwrap().contains("there is no column `when`"));
}

#[tokio::test]
async fn names_that_do_not_exist_make_no_run() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    let features = Asked::References(vec!["profil".parse().unwrap()]);
    let refused = client.training_set(&TrainingSet { features, ..set(&feed) }, endless()).await;
    assert_eq!(refused.err().unwrap().code(), ErrorCode::NotFound);
    assert_eq!(training_sets(&feed).await, 0);
}

#[tokio::test]
async fn one_is_written_over_an_earlier_one_and_over_nothing_else() {
    let feed = feed().await;
    feed.push(&[Row { id: 1, event: 1, created: Some(1), deleted: false, letter: 'b' }], false).await;
    let (client, _shutdown) = feed.service();
    let root = feed.path("..").canonicalize().unwrap();
    let train = async |spine: Option<&str>, output: &str| {
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let set = TrainingSet { spine_path: spine.map(path), output_path: Some(path(output)), ..set(&feed) };
        let streamed = stream::iter(spine.is_none().then(|| Ok(spine_of_three())));
        all(client.training_set(&set, streamed).await?).await.map(|(run, _)| run)
    };
    let run = train(None, "set.parquet").await.unwrap();
    assert_eq!((run.state, run.result.as_deref()), (RunState::Succeeded, root.join("set.parquet").to_str()));
    let first = fs::read(root.join("set.parquet")).unwrap();
    assert_eq!(train(None, "set.parquet").await.unwrap().state, RunState::Succeeded);
    assert!(fs::read(root.join("set.parquet")).unwrap() == first);

    fs::write(root.join("larder.yaml"), "project: shop").unwrap();
    fs::write(root.join("notes.parquet"), "not what its name says, and somebody's").unwrap();
    let (before, sets) = (files_below(&root), training_sets(&feed).await);
    let segment = before.keys().find(|path| path.starts_with(root.join("log"))).unwrap();
    let segment = segment.strip_prefix(&root).unwrap().to_str().unwrap();
    for (spine, output, code, says) in [
        (None, "history/a.parquet", ErrorCode::InvalidArgument, "files of source files of project shop"),
        (None, "history/new.parquet", ErrorCode::InvalidArgument, "files of source files of project shop"),
        (None, "larder.yaml", ErrorCode::InvalidArgument, "name it .parquet"),
        (None, "notes.parquet", ErrorCode::AlreadyExists, "is no Parquet file"),
        (None, segment, ErrorCode::PermissionDenied, "keeps its own data"),
        (None, "log/new.parquet", ErrorCode::PermissionDenied, "keeps its own data"),
        (None, "../elsewhere.parquet", ErrorCode::PermissionDenied, "under none of the roots"),
        (Some("set.parquet"), "set.parquet", ErrorCode::InvalidArgument, "files of the spine"),
    ] {
        let error = train(spine, output).await.unwrap_err();
        assert_eq!(error.code(), code, "{output}: {error}");
        assert!(error.message().contains(says), "{output}: {error}");
    }
    assert_eq!(training_sets(&feed).await, sets, "no run was made");
    // Nor is anything of it read.
    let error = train(Some(segment), "other.parquet").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied, "{error}");
    assert!(files_below(&root) == before);
}

/// It would be passed over.
#[tokio::test]
async fn a_spine_that_is_streamed_in_beside_the_one_that_is_named_fails_the_run() {
    let feed = feed().await;
    let config = Config { concurrent_training_sets: 1, ..Config::default() };
    let (client, _shutdown) = feed.service_of(&config, feed.to_registry.clone(), feed.store.clone());
    let path = feed.path("../spine.parquet");
    let mut file = ArrowWriter::try_new(fs::File::create(&path).unwrap(), spine_of_three().schema(), None).unwrap();
    file.write(&spine_of_three()).unwrap();
    file.close().unwrap();
    let spine_path = Some(path.canonicalize().unwrap().to_str().unwrap().to_owned());
    let set = TrainingSet { spine_path, ..set(&feed) };
    // It comes while the run waits for its turn.
    let before_it = unread(&feed, &client).await;
    let (begin, begun) = oneshot::channel::<()>();
    let late = stream::once(async move {
        begun.await.unwrap();
        Ok(spine_of_three())
    });
    let mut events = client.training_set(&set, late).await.unwrap();
    let run = started(&mut events).await;
    begin.send(()).unwrap();
    let error = all(events).await.unwrap_err();
    // It has ended by then.
    let run = feed.run(&run.id).await;
    assert_eq!((error.code(), run.state), (ErrorCode::InvalidArgument, RunState::Failed), "{error}");
    assert!(error.message().contains("streamed in and named by specification.spine_path"), "{error}");
    assert_eq!((error.violations()[0].field.as_str(), run.error.as_deref()), ("part", Some(error.message())));
    let id = feed.all_runs().await.into_iter().find(|before| before.id != run.id).unwrap().id;
    drop(before_it);
    assert_eq!(feed.ended(&id).await.state, RunState::Cancelled);
    // Whenever it comes: whatever run there is has failed.
    let error = match client.training_set(&set, endless()).await {
        Ok(events) => all(events).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    assert!(feed.all_runs().await.iter().all(|run| matches!(run.state, RunState::Failed | RunState::Cancelled)));
}

/// The files of a folder.
fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.file_name().is_some_and(|name| name != "online") {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

async fn training_sets(feed: &Feed) -> usize {
    let runs = feed.all_runs().await.into_iter();
    runs.filter(|run| matches!(run.request, RunRequest::TrainingSet(_))).count()
}

/// Makes the run of a training set as a process does that then dies: before it has the lease, or with it.
async fn abandoned(feed: &Feed, has_lease: bool) -> Run {
    let request = RunRequest::TrainingSet(TrainingSetRequest {
        feature_service: None,
        references: vec!["profile".to_owned()],
        spine: "streamed".to_owned(),
        event_time: "t".to_owned(),
        output: "streamed".to_owned(),
        full_names: false,
    });
    let run = feed.runs.create(&feed.project, "", &request).await.unwrap().0;
    if has_lease {
        feed.runs.acquire_lease(&feed.project, &run.id, "a process that died").await.unwrap();
    }
    run
}

#[tokio::test]
async fn one_whose_process_died_is_ended_when_its_lease_is_over() {
    let feed = feed().await;
    let dead = [abandoned(&feed, true).await, abandoned(&feed, false).await, abandoned(&feed, true).await];
    feed.runs.cancel(&feed.project, &dead[2].id).await.unwrap();
    feed.clock.advance(LEASE_TERM);
    let alive = [abandoned(&feed, true).await, abandoned(&feed, false).await];
    feed.serve();
    for (run, state) in dead.iter().zip([RunState::Failed, RunState::Failed, RunState::Cancelled]) {
        let ended = feed.ended(&run.id).await;
        assert_eq!(ended.state, state);
        let says = ended.error.is_some_and(|error| error.contains("its worker is gone"));
        assert_eq!(says, state == RunState::Failed);
    }
    let states = [feed.run(&alive[0].id).await.state, feed.run(&alive[1].id).await.state];
    assert_eq!(states, [RunState::Running, RunState::Pending]);
}

#[tokio::test]
async fn a_materialization_that_is_worked_on_can_be_cancelled() {
    let feed = feed().await;
    let run = feed.create(Scope::Full).await;
    let writing = CancellationToken::new();
    let store =
        Interrupted { store: feed.store.clone(), writes_left: 0.into(), is_done: false, stop: Some(writing.clone()) };
    let working = async { feed.work(&run, Arc::new(store), &CancellationToken::new()).await };
    let cancelling = async {
        writing.cancelled().await;
        feed.runs.cancel(&feed.project, &run.id).await.unwrap()
    };
    let (ended, asked) = tokio::join!(working, cancelling);
    assert_eq!((asked.state, ended.state), (RunState::Running, RunState::Cancelled));
}

#[tokio::test]
async fn is_computed_on_threads_of_its_own() {
    let feed = feed().await;
    let (client, _shutdown) = feed.service();
    // The rest of the spine is asked for by whoever computes, once the run has begun.
    let (begin, begun) = oneshot::channel::<()>();
    let (tell, asked_on) = oneshot::channel();
    let rest = stream::once(async move {
        begun.await.unwrap();
        tell.send(std::thread::current().name().map(ToOwned::to_owned)).unwrap();
        Ok(spine_of_three())
    });
    let mut events = client.training_set(&set(&feed), stream::iter([Ok(spine_of_three())]).chain(rest)).await.unwrap();
    started(&mut events).await;
    begin.send(()).unwrap();
    let (run, rows) = all(events).await.unwrap();
    assert_eq!((run.state, rows), (RunState::Succeeded, 6));
    assert_eq!(asked_on.await.unwrap().as_deref(), Some(THREAD_NAME));
}
