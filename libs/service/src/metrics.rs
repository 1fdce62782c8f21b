//! Metrics of one process, or of one test: a registry that is handed around, never a global one.
//!
//! Names are `larder_<area>_<noun>_<unit>`.

use std::sync::Arc;

use larder_types::{Error, Result};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
};
use tonic::Code;

/// Bounds of call latencies in seconds: an online read takes a fraction of a millisecond, an apply may take a minute.
const LATENCY_BOUNDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0,
    60.0,
];

/// The registry of metrics, and what every gRPC server counts. Clones share it.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: prometheus::Registry,
    calls: Arc<CallMetrics>,
    conditions: IntGaugeVec,
}

#[derive(Debug)]
struct CallMetrics {
    total: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGaugeVec,
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Result<Self> {
        let registry = prometheus::Registry::new();
        let calls = CallMetrics::new(&registry).map_err(|error| cannot_register(&error))?;
        let conditions = Opts::new("larder_condition_met", "1 where a condition of readiness holds, 0 where not");
        let conditions = IntGaugeVec::new(conditions, &["condition"]).map_err(|error| cannot_register(&error))?;
        let metrics = Self { registry, calls: Arc::new(calls), conditions };
        metrics.register(metrics.conditions.clone())?;
        Ok(metrics)
    }

    /// Adds a metric of a service's own.
    pub fn register(&self, metric: impl prometheus::core::Collector + 'static) -> Result<()> {
        self.registry.register(Box::new(metric)).map_err(|error| cannot_register(&error))
    }

    /// Every metric in Prometheus' text format.
    pub fn render(&self) -> Result<String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| Error::internal(format!("metrics cannot be written: {error}")))
    }

    /// Tells whether a condition of readiness holds.
    pub(crate) fn condition(&self, name: &str, holds: bool) {
        self.conditions.with_label_values(&[name]).set(i64::from(holds));
    }

    /// What is counted of one rpc.
    pub(crate) fn of_method(&self, service: &str, method: &str) -> MethodMetrics {
        let labels = [service, method];
        MethodMetrics {
            ok: self.calls.total.with_label_values(&[service, method, code_name(Code::Ok)]),
            seconds: self.calls.seconds.with_label_values(&labels),
            in_flight: self.calls.in_flight.with_label_values(&labels),
            total: self.calls.total.clone(),
            labels: labels.map(str::to_owned),
        }
    }
}

fn cannot_register(error: &prometheus::Error) -> Error {
    Error::internal(format!("a metric cannot be registered: {error}"))
}

impl CallMetrics {
    fn new(registry: &prometheus::Registry) -> prometheus::Result<Self> {
        let total = IntCounterVec::new(
            Opts::new("larder_grpc_calls_total", "Calls that have ended, by their gRPC code"),
            &["service", "method", "code"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new("larder_grpc_call_seconds", "How long calls took, streams until their end")
                .buckets(LATENCY_BOUNDS.to_vec()),
            &["service", "method"],
        )?;
        let in_flight = IntGaugeVec::new(
            Opts::new("larder_grpc_calls_in_flight", "Calls that are being worked on, and open streams"),
            &["service", "method"],
        )?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        Ok(Self { total, seconds, in_flight })
    }
}

/// The counters of one rpc, looked up once.
#[derive(Debug)]
pub(crate) struct MethodMetrics {
    ok: IntCounter,
    seconds: Histogram,
    in_flight: IntGauge,
    total: IntCounterVec,
    labels: [String; 2],
}

impl MethodMetrics {
    /// A call begins.
    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    /// A call that began is worked on no more: all that is left is to send its answer.
    pub(crate) fn leave(&self) {
        self.in_flight.dec();
    }

    /// A call that has left has ended.
    pub(crate) fn end(&self, code: Code, seconds: f64) {
        self.seconds.observe(seconds);
        self.count(code);
    }

    /// Counts a call that was refused before it began.
    pub(crate) fn count(&self, code: Code) {
        if code == Code::Ok {
            self.ok.inc();
        } else {
            let [service, method] = &self.labels;
            self.total.with_label_values(&[service.as_str(), method, code_name(code)]).inc();
        }
    }

    /// Calls being served now.
    pub(crate) fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }
}

/// A code's name as gRPC writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
