//! Logs to standard error, spans to whoever was given as their exporter.

mod json;

use larder_types::{Error, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// A provider that exports nothing. Calls still have trace ids, which logs show and other services are told.
pub fn without_export() -> SdkTracerProvider {
    SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build()
}

/// Installs the subscriber and the panic hook of this process, once, in `main`. `provider` has the exporters; flush it
/// with its own `shutdown` when everything else has stopped.
pub fn install(config: &TelemetryConfig, provider: &SdkTracerProvider) -> Result<()> {
    let subscriber = subscriber(config, provider, std::io::stderr)?;
    subscriber.try_init().map_err(|error| Error::internal("the log is installed already").with_source(error))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, backtrace = %std::backtrace::Backtrace::capture(), "panic");
    }));
    Ok(())
}

/// The subscriber that [`install`] installs, writing to `writer`.
pub fn subscriber<W>(
    config: &TelemetryConfig,
    provider: &SdkTracerProvider,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + 'static>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let TelemetryConfig { log_format, log_filter } = config;
    let filter = EnvFilter::try_new(log_filter)
        .map_err(|error| Error::invalid_field("telemetry.log_filter", error.to_string()))?;
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("larder"));
    let lines: Box<dyn Layer<_> + Send + Sync> = match log_format {
        LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().event_format(json::Lines).with_writer(writer).boxed(),
    };
    Ok(Registry::default().with(spans).with(lines).with(filter))
}
