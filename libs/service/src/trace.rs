//! One trace through every service: a call is part of the trace that its caller names by W3C `traceparent`, and else of
//! the one that it is made in, when it comes from the same process. Work that is done after its call was answered
//! keeps the `traceparent` of whoever asked ([`current`]), and is part of that trace ([`continues`]).

use std::{collections::HashMap, fmt::Display};

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of the span that this is called in, for work that is done later; none without a tracer.
pub fn current() -> Option<String> {
    let context = Span::current().context();
    let mut headers = HashMap::new();
    if context.span().span_context().is_valid() {
        TraceContextPropagator::new().inject_context(&context, &mut headers);
    }
    headers.remove(TRACEPARENT)
}

/// Makes `span`, which nobody has entered yet, a part of the trace that `traceparent` names.
pub fn continues(span: &Span, traceparent: &str) {
    let headers = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    if !span.is_disabled() {
        // Without a tracer there is no trace to be part of.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
    }
}

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
    headers.contains_key(TRACEPARENT).then(|| TraceContextPropagator::new().extract(&Headers(headers)))
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
