//! One trace through every service: a call is part of the trace that its caller names by W3C `traceparent`, and else of
//! the one that it is made in, when it comes from the same process.

use std::fmt::Display;

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The span of one call to `path`: a child of the caller's, if the headers name one.
pub(crate) fn call_span(path: &str, client: &impl Display, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "call",
        rpc = path,
        client = %client,
        otel.name = path,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.grpc.status_code = tracing::field::Empty,
    );
    if !span.is_disabled()
        && let Some(parent) = parent_in(headers)
    {
        // Without a tracer there is no trace to be part of.
        let _ = span.set_parent(parent);
    }
    span
}

fn parent_in(headers: &HeaderMap) -> Option<Context> {
    headers.contains_key("traceparent").then(|| TraceContextPropagator::new().extract(&Headers(headers)))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
