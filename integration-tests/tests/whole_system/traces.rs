//! One trace goes from the caller's `traceparent` through the spans of every service and store that a call passes
//! through, in process and in the background: spans are exported into memory.

use std::collections::BTreeSet;

use larder_service::{config::TelemetryConfig, telemetry, trace};
use larder_test_kit::Spans;
use larder_types::{Clock, SystemClock};
use opentelemetry_sdk::trace::SpanData;
use tracing::Instrument;

use crate::{
    definitions::{SHOP, shop},
    history,
    sandbox::{Sandbox, assert_succeeded},
    training_equals_serving::{ask, push_clicks, train},
};

/// A caller from outside, whose trace and span no process of ours made.
struct Caller {
    trace: String,
    span: &'static str,
}

impl Caller {
    fn number(number: u8) -> Self {
        Self { trace: format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}"), span: "00f067aa0ba902b7" }
    }

    /// Calls with the caller's `traceparent`.
    async fn calls<T>(&self, call: impl Future<Output = T>) -> T {
        let span = tracing::info_span!("caller");
        trace::continues(&span, &format!("00-{}-{}-01", self.trace, self.span));
        call.instrument(span).await
    }
}

/// What calls are to pass through, by the names of spans.
const APPLY: &[&str] = &["/larder.registry.v1.RegistryService/Apply"];
const PUSH: &[&str] = &[
    "/larder.push.v1.PushService/Push",
    "/larder.registry.v1.RegistryService/ListProjects",
    "push log append",
    "online store write",
];
const MATERIALIZE: &[&str] = &[
    "/larder.materializer.v1.MaterializerService/Materialize",
    "/larder.registry.v1.RunService/CreateRun",
    // In the background, after the call was answered.
    "run",
    "/larder.registry.v1.RunService/GetWatermarks",
    "/larder.registry.v1.RunService/PlanRun",
    "/larder.registry.v1.RunService/FinishRun",
    "online store write",
];
const READ: &[&str] = &[
    "/larder.serving.v1.ServingService/GetOnlineFeatures",
    "/larder.registry.v1.RegistryService/ListProjects",
    "online store read",
];
const TRAIN: &[&str] = &[
    "/larder.materializer.v1.MaterializerService/GetHistoricalFeatures",
    "/larder.registry.v1.RunService/CreateRun",
    "/larder.registry.v1.RunService/AcquireLease",
    "/larder.registry.v1.RunService/PlanRun",
    "/larder.registry.v1.RunService/FinishRun",
];

#[test]
fn one_trace_goes_through_every_service_that_a_call_passes_through() {
    let spans = Spans::default();
    let config = TelemetryConfig {
        log_filter: "info,larder_online_store=debug,larder_push_log=debug".to_owned(),
        ..TelemetryConfig::default()
    };
    let subscriber = telemetry::subscriber(&config, &spans.provider(), std::io::sink).unwrap();
    // All tasks run on this thread, and so see its subscriber and that of no other test.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let expected = tracing::subscriber::with_default(subscriber, || runtime.block_on(calls()));
    drop(runtime);
    let spans = spans.ended();
    for (caller, names) in expected {
        check(&spans, &caller, names);
    }
}

/// A call to each service, by a caller of its own, and what it is to pass through.
async fn calls() -> Vec<(Caller, &'static [&'static str])> {
    let mut sandbox = Sandbox::start().await;
    let now = SystemClock.now();
    history::write(&sandbox.folder.path().join("history"), now, 2, 5);
    let callers: [Caller; 5] = [0, 1, 2, 3, 4].map(Caller::number);
    let [applies, pushes, materializes, reads, trains] = &callers;
    let revision = applies.calls(sandbox.apply(SHOP)).await.unwrap().revision;
    pushes.calls(push_clicks(&sandbox, now)).await;
    assert_succeeded(&materializes.calls(sandbox.materialize(&shop(), revision)).await);
    let customers: Vec<i64> = (0..10).collect();
    let answer = reads.calls(ask(&sandbox, &customers)).await;
    trains.calls(train(&sandbox, &customers, &answer)).await;
    // Every span ends with it.
    sandbox.stop().await;
    callers.into_iter().zip([APPLY, PUSH, MATERIALIZE, READ, TRAIN]).collect()
}

/// Of the caller's trace are spans of all these names, each below the caller's own by way of the others.
fn check(spans: &[SpanData], caller: &Caller, names: &[&str]) {
    let of_trace: Vec<&SpanData> =
        spans.iter().filter(|span| span.span_context.trace_id().to_string() == caller.trace).collect();
    let found: BTreeSet<&str> = of_trace.iter().map(|span| &*span.name).collect();
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not among {found:?}");
    // What goes on for as long as the process lives is of no call's trace.
    assert!(!found.contains("task"), "{found:?}");
    let ids: BTreeSet<String> = of_trace.iter().map(|span| span.span_context.span_id().to_string()).collect();
    for span in of_trace {
        let parent = span.parent_span_id.to_string();
        assert!(parent == caller.span || ids.contains(&parent), "{} hangs in the air", span.name);
    }
}
