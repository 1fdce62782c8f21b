//! Stopping: calls are drained, streams end, tasks end and what is in memory is written in order, a second signal exits.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use larder_contracts::serving::v1::serving_service_client::ServingServiceClient;
use larder_service::{Host, OnFailure, Shutdown, TaskKind, Tasks, config::Span, shutdown::EXIT_INTERRUPTED};
use larder_test_kit::{Child, Exit};
use larder_types::{Error, ErrorCode};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::fake::{World, ask};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host over the world's endpoint, and a channel to it.
async fn host(world: &World, tasks: &Tasks) -> (Host, Channel) {
    let surroundings = &world.surroundings;
    let (shutdown, readiness) = (surroundings.shutdown.clone(), surroundings.readiness.clone());
    let mut host = Host::new(&world.config, shutdown, readiness, tasks.clone());
    let listener = larder_test_kit::listener().await;
    let channel = Channel::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap().connect_lazy();
    host.serve("serving", world.endpoint(), listener);
    (host, channel)
}

#[tokio::test]
async fn a_call_in_flight_is_answered_a_stream_ends_and_everything_closes_in_order() {
    let mut world = World::new();
    let tasks = Tasks::new(world.surroundings.shutdown.clone());
    let (mut host, channel) = host(&world, &tasks).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let step = |name: &'static str| {
        let order = Arc::clone(&order);
        async move {
            order.lock().unwrap().push(name);
            Ok(())
        }
    };
    host.flush("log", step("flush"));
    let task_step = step("task");
    let mut task_step = Some(task_step);
    tasks.spawn(TaskKind::new("worker", OnFailure::Stop), move |stop| {
        let step = task_step.take();
        async move {
            stop.cancelled().await;
            match step {
                Some(step) => step.await,
                None => Ok(()),
            }
        }
    });
    let running = tokio::spawn(host.run());

    let (_send, receive) = tokio::sync::mpsc::channel(1);
    let mut client = ServingServiceClient::new(channel.clone());
    let mut stream = client.stream_online_features(ReceiverStream::new(receive)).await.unwrap().into_inner();
    let mut watch = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let call = tokio::spawn(async move { client.get_online_features(ask("wait")).await });
    world.arrivals.recv().await.unwrap();

    world.surroundings.shutdown.begin("the test");
    let ended = stream.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    let ended = async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                other => return other,
            }
        }
    };
    assert_eq!(ended.await.unwrap_err().code(), Code::Unavailable);
    assert!(!world.surroundings.readiness.is_ready());
    assert!(!call.is_finished() && order.lock().unwrap().is_empty());

    world.gate.add_permits(1);
    call.await.unwrap().unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(*order.lock().unwrap(), ["task", "flush"]);
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_at_the_drain_timeout() {
    let mut world = World::new();
    world.config.drain_timeout = Span(Duration::from_millis(50));
    let tasks = Tasks::new(world.surroundings.shutdown.clone());
    let (host, channel) = host(&world, &tasks).await;
    let running = tokio::spawn(host.run());
    let call = tokio::spawn(async move { ServingServiceClient::new(channel).get_online_features(ask("wait")).await });
    world.arrivals.recv().await.unwrap();
    world.surroundings.shutdown.begin("the test");
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    call.abort();
}

#[tokio::test]
async fn a_task_that_may_not_fail_stops_the_host_with_its_error() {
    let world = World::new();
    let tasks = Tasks::new(world.surroundings.shutdown.clone());
    let (host, _channel) = host(&world, &tasks).await;
    tasks
        .spawn(TaskKind::new("push log writer", OnFailure::Stop), async |_| Err(Error::data_loss("segment 7 is torn")));
    let error = host.run().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLoss);
    assert_eq!(error.message(), "background task `push log writer`: segment 7 is torn");
}

#[tokio::test]
async fn a_task_is_restarted_after_errors_and_panics_and_another_is_only_logged() {
    let tasks = Tasks::new(Shutdown::new());
    let (starts, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (counted, notify) = (Arc::clone(&starts), Arc::clone(&again));
    tasks.spawn(TaskKind::new("watch", OnFailure::Restart), move |stop| {
        let (start, notify) = (counted.fetch_add(1, Ordering::SeqCst), Arc::clone(&notify));
        async move {
            match start {
                0 => Err(Error::unavailable("not there yet")),
                1 => panic!("as a defect would"),
                _ => {
                    notify.notify_one();
                    stop.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    tasks.spawn(TaskKind::new("warm-up", OnFailure::Log), async |_| Err(Error::unavailable("no")));
    again.notified().await;
    assert_eq!(starts.load(Ordering::SeqCst), 3);
    assert_eq!(tasks.running(), [("watch", 1)]);
    tasks.stop(PATIENCE).await.unwrap();
    assert_eq!(tasks.running(), []);
}

#[tokio::test]
async fn work_whose_caller_goes_is_brought_to_its_end_before_a_stop_is_over() {
    let tasks = Tasks::new(Shutdown::new());
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (say, said) = tokio::sync::oneshot::channel();
    let callers = tasks.clone();
    let caller = tokio::spawn(async move {
        let work = async move {
            begun.send(()).unwrap();
            wait.await.unwrap();
            say.send("done").unwrap();
        };
        callers.see_through(TaskKind::new("push", OnFailure::Log), work).await
    });
    has_begun.await.unwrap();
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let mut stopping = Box::pin(tasks.stop(PATIENCE));
    assert!((&mut stopping).now_or_never().is_none());
    assert_eq!(tasks.running(), [("push", 1)]);
    go_on.send(()).unwrap();
    stopping.await.unwrap();
    assert_eq!(said.await, Ok("done"));
}

#[tokio::test]
async fn work_that_panics_or_outlasts_the_stop_is_told_to_its_caller_and_dealt_with_as_declared() {
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let (logged, vital) = (TaskKind::new("push", OnFailure::Log), TaskKind::new("vital", OnFailure::Stop));
    assert_eq!(tasks.see_through(logged, async { 7 }).await.unwrap(), 7);
    let error = tasks.see_through::<()>(logged, async { panic!("as a defect would") }).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (ErrorCode::Internal, "panicked: as a defect would"));
    assert!(!shutdown.has_begun());
    let error = tasks.see_through::<()>(vital, async { panic!("as a defect would") }).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    let failure = shutdown.failure().map(Error::message);
    assert_eq!(failure, Some("background task `vital`: panicked: as a defect would"));

    let stuck = tasks.see_through::<()>(logged, std::future::pending());
    let (stuck, stopped) = tokio::join!(stuck, tasks.stop(Duration::from_millis(20)));
    assert_eq!(stuck.unwrap_err().code(), ErrorCode::Unavailable);
    assert_eq!(stopped.unwrap_err().message(), "background tasks did not end in time: push");
}

#[tokio::test]
async fn a_task_that_does_not_end_is_aborted_and_named() {
    let tasks = Tasks::new(Shutdown::new());
    tasks.spawn(TaskKind::new("stuck", OnFailure::Log), async |_| std::future::pending().await);
    let error = tasks.stop(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.message(), "background tasks did not end in time: stuck");
    assert_eq!(tasks.running(), []);
}

/// Not a test of its own: the program that the next test sends signals to.
#[test]
#[ignore = "run by two_signals_end_a_real_process"]
fn process_that_waits_for_signals() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().unwrap();
        println!("waiting");
        shutdown.begun().await;
        println!("stopping");
        std::future::pending::<()>().await;
    });
}

#[test]
fn two_signals_end_a_real_process() {
    let test = ["--exact", "stopping::process_that_waits_for_signals", "--ignored", "--nocapture"];
    let mut child = Child::spawn(std::env::current_exe().unwrap(), test);
    child.wait_for_line("waiting", PATIENCE);
    child.terminate();
    child.wait_for_line("stopping", PATIENCE);
    child.interrupt();
    assert_eq!(child.wait(PATIENCE), Exit::Code(EXIT_INTERRUPTED));
}
