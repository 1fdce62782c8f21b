//! One trace through every service: spans are exported into memory.

use std::sync::{Arc, Mutex, Once};

use larder_contracts::serving::v1::serving_service_client::ServingServiceClient;
use larder_service::{
    OnFailure, Shutdown, TaskKind, Tasks,
    config::{LogFormat, TelemetryConfig},
    telemetry, trace,
};
use larder_test_kit::Spans;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};
use tracing::{Instrument, instrument::WithSubscriber};

use crate::fake::{World, ask};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn config(log_format: LogFormat) -> TelemetryConfig {
    TelemetryConfig { log_format, log_filter: "info,larder_service=debug".to_owned() }
}

fn traced_request() -> Request<larder_contracts::serving::v1::GetOnlineFeaturesRequest> {
    let mut request = Request::new(ask("answer"));
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
    request
}

/// The span of the one call, which must be part of the caller's trace.
fn assert_child_of_the_caller(spans: &Spans) {
    let spans = spans.ended();
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(span.name, "/larder.serving.v1.ServingService/GetOnlineFeatures");
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), PARENT);
}

#[tokio::test]
async fn traceparent_is_the_spans_parent_in_process() {
    let spans = Spans::default();
    let subscriber = telemetry::subscriber(&config(LogFormat::Text), &spans.provider(), std::io::sink).unwrap();
    let world = World::new();
    let call = async { world.client().get_online_features(traced_request()).await.unwrap() };
    call.with_subscriber(subscriber).await;
    assert_child_of_the_caller(&spans);
}

#[test]
fn traceparent_is_the_spans_parent_over_the_network() {
    let spans = Spans::default();
    let subscriber = telemetry::subscriber(&config(LogFormat::Text), &spans.provider(), std::io::sink).unwrap();
    // The server's own tasks see the subscriber too, since all of them run on this thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let world = World::new();
            let listener = larder_test_kit::listener().await;
            let address = listener.local_addr().unwrap();
            let endpoint = world.endpoint();
            let server = tokio::spawn(endpoint.clone().serve(listener, CancellationToken::new()));
            let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            ServingServiceClient::new(channel).get_online_features(traced_request()).await.unwrap();
            endpoint.drained().await;
            server.abort();
        });
    });
    drop(runtime);
    assert_child_of_the_caller(&spans);
}

#[tokio::test]
async fn in_process_a_call_belongs_to_the_span_that_it_is_made_in() {
    let spans = Spans::default();
    let subscriber = telemetry::subscriber(&config(LogFormat::Text), &spans.provider(), std::io::sink).unwrap();
    let world = World::new();
    let calls = async {
        let mut client = world.client();
        let calling = async { client.get_online_features(ask("answer")).await.unwrap() };
        calling.instrument(tracing::info_span!("caller")).await;
    };
    calls.with_subscriber(subscriber).await;
    let spans = spans.ended();
    let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (caller, call) = (span("caller"), span("/larder.serving.v1.ServingService/GetOnlineFeatures"));
    assert_eq!(call.span_context.trace_id(), caller.span_context.trace_id());
    assert_eq!(call.parent_span_id, caller.span_context.span_id());
}

#[test]
fn a_task_does_not_keep_the_span_open_in_which_it_was_started() {
    let spans = Spans::default();
    let subscriber = telemetry::subscriber(&config(LogFormat::Text), &spans.provider(), std::io::sink).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tasks = Tasks::new(Shutdown::new());
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let kind = TaskKind::new("follower", OnFailure::Log);
            tracing::info_span!("caller").in_scope(|| {
                tasks.spawn(kind, |stop| async move {
                    stop.cancelled().await;
                    Ok(())
                });
            });
            assert_eq!(tasks.running(), [("follower", 1)]);
            let names: Vec<_> = spans.ended().into_iter().map(|span| span.name).collect();
            assert_eq!(names, ["caller"]);
            tasks.stop(std::time::Duration::from_secs(10)).await.unwrap();
        });
    });
}

#[test]
fn work_that_is_done_later_goes_on_with_the_trace_of_who_asked() {
    let spans = Spans::default();
    let subscriber = telemetry::subscriber(&config(LogFormat::Text), &spans.provider(), std::io::sink).unwrap();
    assert_eq!(trace::current(), None);
    tracing::subscriber::with_default(subscriber, || {
        assert_eq!(trace::current(), None);
        let asked = tracing::info_span!("caller").in_scope(trace::current).unwrap();
        tracing::info_span!("task").in_scope(|| {
            let later = tracing::info_span!("later");
            trace::continues(&later, &asked);
            let _entered = later.enter();
        });
        // What is no traceparent leaves the span where it is.
        trace::continues(&tracing::info_span!("alone"), "0-1-2");
    });
    let spans = spans.ended();
    let span = |name: &str| &spans.iter().find(|span| span.name == name).unwrap().span_context;
    assert_eq!(span("later").trace_id(), span("caller").trace_id());
    assert_ne!(span("task").trace_id(), span("caller").trace_id());
    assert_ne!(span("alone").trace_id(), span("caller").trace_id());
}

/// A log line that somebody met while nobody listened may be taken for one that nobody wants, also by others at that moment:
/// so somebody always listens.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_line_in_json_has_the_trace_id_even_when_nothing_is_exported() {
    listen();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        telemetry::subscriber(&config(LogFormat::Json), &telemetry::without_export(), move || writer.clone()).unwrap();
    let world = World::new();
    let call = async {
        let mut request = traced_request();
        *request.get_mut() = ask("fail");
        world.client().get_online_features(request).await.unwrap_err()
    };
    call.with_subscriber(subscriber).await;
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["trace_id"], TRACE, "{line}");
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["code"], "NOT_FOUND");
    assert_eq!(line["spans"], serde_json::json!(["call"]));
}
